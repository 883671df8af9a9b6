// Games about a decoy are moot once its claim shows the truth: whoever opened one has its bond back, and nobody moves in it any more.

import { toHex } from '@bitloom/graph'
import { type Bitloom, type ChainEvent, getMask } from '@bitloom/sdk'
import type { Hex } from 'viem'
import { type Quarrel, viewOf } from '../court.ts'
import type { Store } from '../store.ts'
import type { GameView } from './views.ts'

/** The true roots of claims that showed a decoy. */
const TRUTHS = 'true-roots'

/** Hears that a claim showed a decoy: games about another root than the true one are moot. By the root, since blocks are read twice and in another order. */
export function noteMoots(store: Store, { contract, name, args }: ChainEvent): void {
  if (contract === 'Decoys' && name === 'Opened' && args.decoy === true) store.put(TRUTHS, String(args.claimId), args.root)
}

export function isMoot(store: Store, { claimId, game }: Pick<Quarrel, 'claimId' | 'game'>): boolean {
  const root = store.get<Hex>(TRUTHS, String(claimId))
  return root !== undefined && root !== toHex(game.root)
}

/** The games about a claim as it stands. */
export const liveGames = (store: Store, quarrels: readonly Quarrel[]): GameView[] =>
  quarrels.filter((quarrel) => !isMoot(store, quarrel)).map(viewOf)

/** Whether games about a claim stand still: its seal is not opened, and the time by which it must be is not over. */
export async function isStill(bitloom: Bitloom, claimId: bigint, decoyOneIn: number, nowSeconds: number): Promise<boolean> {
  if (decoyOneIn === 0) return false
  const mask = await getMask(bitloom, claimId)
  return mask !== undefined && !mask.opened && nowSeconds <= mask.openBy
}
