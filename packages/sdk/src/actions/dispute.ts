// Opening a dispute, reading one back from the log, and what one costs. Moves are played by whoever holds a player (node/court).

import { type Address, formatLog, type Hex, numberToHex, parseEventLogs, type RpcLog, type TransactionReceipt } from 'viem'
import { type Bitloom, explained, fullAbi } from '../client.ts'

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
  return { gameId: gameIdIn(receipt), receipt }
}

/** The same where the segment's own leaf is the hash of nothing that anybody was shown: the solver has to open it, or lose. */
export async function challengeLeaf(
  bitloom: Bitloom,
  claimId: bigint,
  segment: number,
  start: LeafOpening,
  leaf: Hex,
  proof: readonly Hex[],
): Promise<{ readonly gameId: bigint; readonly receipt: TransactionReceipt }> {
  const receipt = await bitloom.send('Dispute', 'challengeLeaf', [claimId, segment, start, leaf, proof])
  return { gameId: gameIdIn(receipt), receipt }
}

function gameIdIn(receipt: TransactionReceipt): bigint {
  const [event] = parseEventLogs({ abi: fullAbi('Dispute'), logs: receipt.logs, eventName: 'Challenged' }) as unknown as [
    { args: { gameId: bigint } },
  ]
  return event.args.gameId
}

/** What the contract keeps of a game: a hash of its state, 0 once it is over. */
export type KeptGame = { readonly state: Hex; readonly challenger: Address; readonly claimId: bigint }

/** @throws {RevertError} NoGame */
export const keptGame = (bitloom: Bitloom, gameId: bigint): Promise<KeptGame> =>
  bitloom.read('Dispute', 'gameOf', [gameId]) as Promise<KeptGame>

/** A game as the log tells it: who plays about what, and how it stands or stood last, in the bytes that every move brings along. */
export type GameLog = {
  readonly claimId: bigint
  readonly solver: Address
  readonly challenger: Address
  readonly segment: number
  readonly state: Hex
  readonly papers: Hex
  readonly closed: boolean
}

/** Blocks asked for at once: what public RPC servers allow. */
const SPAN = 2000n

/**
 * Reads a game back from the log, from block `from` on (default: the network's first).
 * @throws {RevertError} NoGame
 */
export async function readGame(bitloom: Bitloom, gameId: bigint, from: bigint = BigInt(bitloom.network.fromBlock)): Promise<GameLog> {
  await keptGame(bitloom, gameId)
  const latest = await explained('eth_blockNumber', () => bitloom.chain.getBlockNumber({ cacheTime: 0 }))
  const logs: RpcLog[] = []
  for (let at = from; at <= latest; at += SPAN) {
    const until = at + SPAN - 1n < latest ? at + SPAN - 1n : latest
    const filter = {
      address: bitloom.network.contracts.Dispute,
      topics: [null, numberToHex(gameId, { size: 32 })],
      fromBlock: numberToHex(at),
      toBlock: numberToHex(until),
    } as const
    logs.push(...(await explained('eth_getLogs', () => bitloom.chain.request({ method: 'eth_getLogs', params: [filter as never] }))))
  }
  const events = parseEventLogs({ abi: fullAbi('Dispute'), logs: logs.map((log) => formatLog(log)) }) as unknown as {
    eventName: string
    args: Record<string, unknown>
  }[]
  const challenged = events.find((e) => e.eventName === 'Challenged')?.args
  const moved = events.filter((e) => e.eventName === 'Moved').map((e) => e.args as { state: Hex; papers: Hex })
  const state = moved.findLast((m) => m.state !== '0x')?.state
  const papers = moved.findLast((m) => m.papers !== '0x')?.papers
  if (!challenged || !state || !papers) throw new GameNotLoggedError(gameId, from)
  return {
    claimId: challenged.claimId as bigint,
    solver: challenged.solver as Address,
    challenger: challenged.challenger as Address,
    segment: Number(challenged.segment),
    state,
    papers,
    closed: moved.at(-1)!.state === '0x',
  }
}

/** The challenger of a game whose claim fell otherwise, or showed a decoy: its bond back. */
export async function withdrawMoot(bitloom: Bitloom, gameId: bigint): Promise<TransactionReceipt> {
  const { state, papers } = await readGame(bitloom, gameId)
  return bitloom.send('Dispute', 'withdrawMoot', [gameId, state, papers])
}

export const challengeBondWei = (bitloom: Bitloom): Promise<bigint> => bitloom.read('Dispute', 'CHALLENGE_BOND') as Promise<bigint>

/** The chain's log lacks a game that the contract knows: its server does not keep old logs. */
export class GameNotLoggedError extends Error {
  override name = 'sdk.GameNotLoggedError'
  constructor(gameId: bigint, from: bigint) {
    super(
      `The log from block ${from} on does not have dispute ${gameId}, which the contract knows.\nUse an RPC server that keeps all logs.`,
    )
  }
}
