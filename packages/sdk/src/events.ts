// The chain's log as a stream: every event of the network's contracts, in order, from a cursor that the caller keeps.

import { type Address, BlockNotFoundError, type Hash, type Log, parseEventLogs } from 'viem'
import { type Bitloom, type ContractName, explained, fullAbi } from './client.ts'

export type ChainEvent = {
  readonly contract: ContractName
  readonly name: string
  readonly args: Readonly<Record<string, unknown>>
  readonly blockNumber: bigint
  readonly transactionHash: Hash
  readonly logIndex: number
}

const WATCHED = ['Stake', 'Market', 'Audit', 'Decoys', 'Dispute'] as const satisfies readonly ContractName[]
/** Blocks asked for at once: what public RPC servers allow; halved as often as one of them allows less. */
const SPAN = 2000n
const TOO_MUCH = /range|too (many|large|big)|exceed|more than|limit/i

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
  let span = SPAN
  for (let at = from; at <= latest; ) {
    const until = at + span - 1n < latest ? at + span - 1n : latest
    let logs: Log<bigint, number, false>[]
    try {
      logs = await explained('eth_getLogs', () => bitloom.chain.getLogs({ address, fromBlock: at, toBlock: until }))
    } catch (error) {
      if (until === at || !(error instanceof Error) || !TOO_MUCH.test(reasonsOf(error))) throw error
      span = (until - at + 1n) / 2n
      continue
    }
    at = until + 1n
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

/** Everything that an error and its causes say. */
const reasonsOf = (error: Error): string => `${error.message} ${error.cause instanceof Error ? reasonsOf(error.cause) : ''}`

/** How far back a reader goes at least when the chain has replaced blocks: what Ethereum finalises in, twice over. */
export const REWIND_BLOCKS = 64n

/** A block that was read, by its hash. */
export type Mark = { readonly block: bigint; readonly hash: Hash }

/**
 * Where a reader of the log stands: the block to read next, the last one read, by whose hash a chain that has changed its mind is noticed, and older ones, each
 * about twice as far back as the one before, by which it is found out how far the change goes.
 */
export type Place = { readonly next: bigint; readonly last?: Mark; readonly marks?: readonly Mark[] }

/** Of marks, newest first: the oldest at each power of two of distance from `head`, so that some thirty reach back for ever. */
function thinned(marks: readonly Mark[], head: bigint): Mark[] {
  const kept = new Map<number, Mark>()
  for (const mark of marks) kept.set((head - mark.block).toString(2).length, mark)
  return [...kept.values()]
}

/**
 * Events from a place on. Where the chain has replaced blocks that were read before, it reads again from the newest block that is known to stand, and at least
 * the last 64: `rewoundTo` is the first of them, and whatever the reader took from that block on holds no more; `deep` where more than those 64 had to be read.
 */
export async function readOn(
  bitloom: Bitloom,
  place: Place,
): Promise<{ readonly events: ChainEvent[]; readonly place: Place; readonly rewoundTo?: bigint; readonly deep?: true }> {
  const head = await explained('eth_getBlock', () => bitloom.chain.getBlock())
  let { next, marks = [] } = place
  let moved: { readonly rewoundTo?: bigint; readonly deep?: true } = {}
  if (place.last !== undefined && (await standing(bitloom, place.last, head)) === 'replaced') {
    const first = BigInt(bitloom.network.fromBlock)
    const near = place.last.block + 1n - REWIND_BLOCKS
    const safe = await safeFrom(bitloom, marks, head, near, first)
    next = safe > first ? safe : first
    marks = marks.filter(({ block }) => block < next)
    moved = { rewoundTo: next, ...(next < near ? { deep: true } : {}) }
  }
  if (head.number < next)
    return { events: [], place: { next, marks, ...(moved.rewoundTo === undefined && place.last ? { last: place.last } : {}) }, ...moved }
  const { events } = await readEvents(bitloom, next, head.number)
  const last = { block: head.number, hash: head.hash }
  // a head that the chain has replaced while it was being read is noticed at the next visit, by its hash
  return { events, place: { next: head.number + 1n, last, marks: thinned([last, ...marks], head.number) }, ...moved }
}

/** The first block to read again: after the newest mark that stands, and `near` at most; `first` where every mark that is still told was replaced. */
async function safeFrom(
  bitloom: Bitloom,
  marks: readonly Mark[],
  head: { readonly number: bigint; readonly hash: Hash },
  near: bigint,
  first: bigint,
): Promise<bigint> {
  let replaced = 0
  for (const mark of marks) {
    const is = await standing(bitloom, mark, head)
    if (is === 'stands') return mark.block + 1n < near ? mark.block + 1n : near
    if (is === 'replaced' && mark.block < near) replaced++
  }
  return replaced > 0 ? first : near
}

/** Whether the chain still has a block by this hash. One that it does not tell any more (a pruned chain) is unknown. */
async function standing(
  bitloom: Bitloom,
  mark: Mark,
  head: { readonly number: bigint; readonly hash: Hash },
): Promise<'stands' | 'replaced' | 'unknown'> {
  if (head.number < mark.block) return 'replaced'
  const judge = (hash: Hash): 'stands' | 'replaced' => (hash === mark.hash ? 'stands' : 'replaced')
  if (head.number === mark.block) return judge(head.hash)
  try {
    return judge((await explained('eth_getBlock', () => bitloom.chain.getBlock({ blockNumber: mark.block }))).hash)
  } catch (error) {
    if (isMissing(error)) return 'unknown'
    throw error
  }
}

const isMissing = (error: unknown): boolean =>
  error instanceof BlockNotFoundError || (error instanceof Error && error.cause !== undefined && isMissing(error.cause))

/** The chain's own time, in unix seconds: what every deadline is measured by. */
export const chainTime = async (bitloom: Bitloom): Promise<number> =>
  Number((await explained('eth_getBlock', () => bitloom.chain.getBlock())).timestamp)
