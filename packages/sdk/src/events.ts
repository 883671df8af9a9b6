// The chain's log as a stream: every event of the network's contracts, in order, from a cursor that the caller keeps.

import { type Address, BlockNotFoundError, type Hash, parseEventLogs } from 'viem'
import { type Bitloom, type ContractName, explained, fullAbi } from './client.ts'

export type ChainEvent = {
  readonly contract: ContractName
  readonly name: string
  readonly args: Readonly<Record<string, unknown>>
  readonly blockNumber: bigint
  readonly transactionHash: Hash
  readonly logIndex: number
}

const WATCHED = ['Stake', 'Market', 'Audit', 'Dispute'] as const satisfies readonly ContractName[]
/** Blocks asked for at once: what public RPC servers allow. */
const SPAN = 2000n

/**
 * Events from block `from` on, up to `to` or the newest block.
 * @returns the events, and the block to ask from next time
 */
export async function readEvents(
  bitloom: Bitloom,
  from: bigint,
  to?: bigint,
): Promise<{ readonly events: ChainEvent[]; readonly next: bigint }> {
  const latest = to ?? (await explained('eth_blockNumber', () => bitloom.chain.getBlockNumber({ cacheTime: 0 })))
  const byAddress = new Map<string, ContractName>(WATCHED.map((c) => [bitloom.network.contracts[c].toLowerCase(), c]))
  const address = WATCHED.map((c) => bitloom.network.contracts[c]) as Address[]
  const events: ChainEvent[] = []
  for (let at = from; at <= latest; at += SPAN) {
    const until = at + SPAN - 1n < latest ? at + SPAN - 1n : latest
    const logs = await explained('eth_getLogs', () => bitloom.chain.getLogs({ address, fromBlock: at, toBlock: until }))
    for (const log of logs) {
      const contract = byAddress.get(log.address.toLowerCase())
      if (!contract) continue
      const [event] = parseEventLogs({ abi: fullAbi(contract), logs: [log] }) as unknown as {
        eventName: string
        args: Record<string, unknown>
      }[]
      if (event)
        events.push({
          contract,
          name: event.eventName,
          args: event.args,
          blockNumber: log.blockNumber,
          transactionHash: log.transactionHash,
          logIndex: log.logIndex,
        })
    }
  }
  return { events, next: from > latest + 1n ? from : latest + 1n }
}

/** How far back a reader goes when the chain has replaced blocks: what Ethereum finalises in, twice over. */
export const REWIND_BLOCKS = 64n

/** Where a reader of the log stands: the block to read next, and the last one read, by whose hash a chain that has changed its mind is noticed. */
export type Place = { readonly next: bigint; readonly last?: { readonly block: bigint; readonly hash: Hash } }

/**
 * Events from a place on. Where the chain has replaced blocks that were read before, it reads the last ones again: `rewoundTo` is the first of them, and
 * whatever the reader took from that block on holds no more.
 */
export async function readOn(
  bitloom: Bitloom,
  place: Place,
): Promise<{ readonly events: ChainEvent[]; readonly place: Place; readonly rewoundTo?: bigint }> {
  const head = await explained('eth_getBlock', () => bitloom.chain.getBlock())
  let { next } = place
  let rewoundTo: bigint | undefined
  if (place.last !== undefined && (await isReplaced(bitloom, place.last, head))) {
    const first = BigInt(bitloom.network.fromBlock)
    next = place.last.block + 1n - REWIND_BLOCKS > first ? place.last.block + 1n - REWIND_BLOCKS : first
    rewoundTo = next
  }
  const moved = { ...(rewoundTo === undefined ? {} : { rewoundTo }) }
  if (head.number < next) return { events: [], place: { ...place, next }, ...moved }
  const { events } = await readEvents(bitloom, next, head.number)
  return { events, place: { next: head.number + 1n, last: { block: head.number, hash: head.hash } }, ...moved }
}

/** Whether another block stands where `last` stood. One that is merely not told any more (a pruned chain) was not replaced. */
async function isReplaced(
  bitloom: Bitloom,
  last: { readonly block: bigint; readonly hash: Hash },
  head: { readonly number: bigint; readonly hash: Hash },
): Promise<boolean> {
  if (head.number < last.block) return true
  if (head.number === last.block) return head.hash !== last.hash
  try {
    return (await explained('eth_getBlock', () => bitloom.chain.getBlock({ blockNumber: last.block }))).hash !== last.hash
  } catch (error) {
    if (isMissing(error)) return false
    throw error
  }
}

const isMissing = (error: unknown): boolean =>
  error instanceof BlockNotFoundError || (error instanceof Error && error.cause !== undefined && isMissing(error.cause))

/** The chain's own time, in unix seconds: what every deadline is measured by. */
export const chainTime = async (bitloom: Bitloom): Promise<number> =>
  Number((await explained('eth_getBlock', () => bitloom.chain.getBlock())).timestamp)
