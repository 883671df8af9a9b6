// Opening a dispute, and what one costs. Moves are played by whoever holds a player (node/court).

import { type Hex, parseEventLogs, type TransactionReceipt } from 'viem'
import { type Bitloom, fullAbi } from '../client.ts'

/** A leaf of a claim's tree, shown. */
export type LeafOpening = { readonly stateRoot: Hex; readonly probeCommit: Hex; readonly proof: readonly Hex[] }

/** Says that `segment` of a claim is wrong; locks the challenge bond out of the free balance. */
export async function challenge(
  bitloom: Bitloom,
  claimId: bigint,
  segment: number,
  start: LeafOpening,
  end: LeafOpening,
): Promise<{ readonly gameId: bigint; readonly receipt: TransactionReceipt }> {
  const receipt = await bitloom.send('Dispute', 'challenge', [claimId, segment, start, end])
  const [event] = parseEventLogs({ abi: fullAbi('Dispute'), logs: receipt.logs, eventName: 'Challenged' }) as unknown as [
    { args: { gameId: bigint } },
  ]
  return { gameId: event.args.gameId, receipt }
}

/** The challenger of a game whose claim fell otherwise: its bond back. */
export const withdrawMoot = (bitloom: Bitloom, gameId: bigint): Promise<TransactionReceipt> =>
  bitloom.send('Dispute', 'withdrawMoot', [gameId])
export const challengeBondWei = (bitloom: Bitloom): Promise<bigint> => bitloom.read('Dispute', 'CHALLENGE_BOND') as Promise<bigint>
