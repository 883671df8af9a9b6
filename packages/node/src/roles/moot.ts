// Games about a decoy are moot once its claim shows the truth: whoever opened one has its bond back, and nobody moves in it any more.

import { type Bitloom, type ChainEvent, getMask } from '@bitloom/sdk'
import { type Quarrel, viewOf } from '../court.ts'
import type { Store } from '../store.ts'
import type { GameView } from './views.ts'

const MOOT = 'moot-games'

/** Hears that a claim showed a decoy: the games about it that are known by then, from the same log, are moot. */
export function noteMoots(store: Store, { contract, name, args }: ChainEvent): void {
  if (contract === 'Dispute' && name === 'Withdrawn') store.delete(MOOT, String(args.gameId))
  if (contract !== 'Decoys' || name !== 'Opened' || args.decoy !== true) return
  for (const { value } of store.list<{ gameId: string }>('games', { prefix: `${args.claimId}/` })) store.put(MOOT, value.gameId, true)
}

export const isMoot = (store: Store, gameId: bigint): boolean => store.has(MOOT, String(gameId))

/** The games about a claim as it stands. */
export const liveGames = (store: Store, quarrels: readonly Quarrel[]): GameView[] =>
  quarrels.filter(({ gameId }) => !isMoot(store, gameId)).map(viewOf)

/** Whether games about a claim stand still: its seal is not opened, and the time by which it must be is not over. */
export async function isStill(bitloom: Bitloom, claimId: bigint, decoyOneIn: number, nowSeconds: number): Promise<boolean> {
  if (decoyOneIn === 0) return false
  const mask = await getMask(bitloom, claimId)
  return mask !== undefined && !mask.opened && nowSeconds <= mask.openBy
}
