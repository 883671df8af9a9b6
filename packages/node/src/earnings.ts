// What an address earned and lost, out of the chain's log alone: every movement of its money in the ledger, with the task and the role that it was for.
// The entries of an address add up to what it owns less what it brought in, so none can be forgotten.

import { type Bitloom, type ChainEvent, explained } from '@bitloom/sdk'
import type { Address, Hash } from 'viem'

export type EarningRole = 'solver' | 'verifier' | 'challenger' | 'submitter'
export type EntryKind =
  | 'price' // a slice that was accepted
  | 'audit fee'
  | 'jackpot' // a forced error caught
  | 'conviction' // a lie proved: shares of the liar's bond, of its attesters' seats, of the pool
  | 'defence' // the bond of a challenger that was wrong
  | 'compensation' // a part of the bond of a solver that failed one's task
  | 'fine'
  | 'escrow' // put at stake for one's own task
  | 'refund' // and what of it was not needed

/** One movement of money. */
export type Entry = {
  readonly blockNumber: bigint
  readonly transactionHash: Hash
  readonly taskId?: bigint
  readonly role: EarningRole
  readonly kind: EntryKind
  /** Positive: came in. */
  readonly wei: bigint
}

type Names = { readonly submitter: Map<bigint, string>; readonly task: Map<bigint, bigint>; readonly claim: Map<bigint, bigint> }

/**
 * Every movement of `me`'s money, in the order of the log. Deposits, withdrawals, locks and seats move nothing in or out.
 * @param events the whole log of the network, in order
 */
export function entriesOf(events: readonly ChainEvent[], me: Address): Entry[] {
  const names: Names = { submitter: new Map(), task: new Map(), claim: new Map() }
  for (const { name, args } of events) {
    if (name === 'Submitted') names.submitter.set(args.taskId as bigint, lower(args.submitter))
    if (name === 'Claimed') names.task.set(args.claimId as bigint, args.taskId as bigint)
    if (name === 'Challenged') names.claim.set(args.gameId as bigint, args.claimId as bigint)
  }
  const entries: Entry[] = []
  for (let at = 0; at < events.length; ) {
    let end = at
    while (end < events.length && events[end]!.transactionHash === events[at]!.transactionHash) end++
    entries.push(...inTransaction(events.slice(at, end), lower(me), names))
    at = end
  }
  return entries
}

const lower = (x: unknown): string => String(x).toLowerCase()

/** The task that an event is about, by its own word, its claim's or its game's. */
function taskOf({ args }: ChainEvent, { task, claim }: Names): bigint | undefined {
  if (typeof args.taskId === 'bigint') return args.taskId
  const claimId = typeof args.claimId === 'bigint' ? args.claimId : claim.get(args.gameId as bigint)
  return claimId === undefined ? undefined : task.get(claimId)
}

function inTransaction(events: readonly ChainEvent[], me: string, names: Names): Entry[] {
  const find = (...wanted: readonly string[]): ChainEvent | undefined =>
    events.find((e) => e.contract !== 'Stake' && wanted.includes(e.name))
  const taskId = events.map((e) => taskOf(e, names)).find((id) => id !== undefined)
  const { blockNumber, transactionHash } = events[0]!
  const settled = find('Settled')
  const ended = find('Finished', 'Halted', 'Cancelled')
  const convicted = find('Convicted')
  const isSubmitter = taskId !== undefined && names.submitter.get(taskId) === me
  const entries: Entry[] = []
  const seen = new Set<string>()
  /** True once: of two like movements in one transaction the first is the one that was meant. */
  const first = (what: string): boolean => !seen.has(what) && seen.add(what) !== undefined
  const note = (role: EarningRole, kind: EntryKind, wei: bigint, id = taskId): void => {
    if (wei !== 0n) entries.push({ blockNumber, transactionHash, ...(id === undefined ? {} : { taskId: id }), role, kind, wei })
  }
  for (const { contract, name, args } of events) {
    if (contract !== 'Stake') continue
    const wei = args.amountWei as bigint
    const [who, to] = [lower(args.who ?? args.owner ?? args.from), lower(args.to)]
    switch (name) {
      case 'Escrowed':
        if (who === me) note('submitter', 'escrow', -wei, args.taskId as bigint)
        break
      case 'Released': {
        if (to !== me) break
        const id = args.taskId as bigint
        if (settled && lower(settled.args.solver) === me && wei === settled.args.solverWei && first('price'))
          note('solver', 'price', wei, id)
        else if (ended && isSubmitter && wei === ended.args.refundWei && first('refund')) note('submitter', 'refund', wei, id)
        else note('verifier', 'audit fee', wei, id)
        break
      }
      case 'Slashed':
        if (who === me) note(find('Uncontested') && !convicted ? 'challenger' : 'solver', 'fine', -wei)
        if (to !== me) break
        if (convicted && lower(convicted.args.challenger) === me && first('conviction')) note('challenger', 'conviction', wei)
        else if (isSubmitter && (convicted || find('Voided', 'DeadlineMissed'))) note('submitter', 'compensation', wei)
        else note('solver', 'defence', wei)
        break
      case 'SeatSlashed':
        if (who === me) note('verifier', 'fine', -wei)
        if (to === me) note('challenger', 'conviction', wei)
        break
      case 'Rewarded':
        if (to !== me) break
        if (convicted && lower(convicted.args.challenger) === me) note('challenger', 'conviction', wei)
        else note(find('Settled') ? 'verifier' : 'challenger', 'jackpot', wei)
    }
  }
  return entries
}

export type Gas = {
  readonly transactionHash: Hash
  readonly blockNumber: bigint
  readonly taskId?: bigint
  readonly gas: bigint
  readonly wei: bigint
}

/** Receipts asked for at once. */
const AT_ONCE = 64

/**
 * What `me` spent on gas, in wei of ether: its transactions about tasks that it has to do with, and about its own stake. Transactions that were refused leave
 * nothing in the log, so they are not among these.
 */
export async function gasOfMine(bitloom: Bitloom, events: readonly ChainEvent[], me: Address): Promise<Gas[]> {
  const names: Names = { submitter: new Map(), task: new Map(), claim: new Map() }
  for (const { name, args } of events) {
    if (name === 'Claimed') names.task.set(args.claimId as bigint, args.taskId as bigint)
    if (name === 'Challenged') names.claim.set(args.gameId as bigint, args.claimId as bigint)
  }
  const concernsMe = ({ args }: ChainEvent): boolean =>
    Object.values(args).some((value) => (Array.isArray(value) ? value.some((one) => lower(one) === lower(me)) : lower(value) === lower(me)))
  const mine = new Set(events.filter(concernsMe).map((e) => taskOf(e, names)))
  mine.delete(undefined)
  const about = new Map<Hash, bigint | undefined>()
  for (const event of events) {
    const taskId = taskOf(event, names)
    if ((taskId !== undefined && mine.has(taskId)) || concernsMe(event))
      about.set(event.transactionHash, about.get(event.transactionHash) ?? taskId)
  }
  const all: Gas[] = []
  const hashes = [...about.keys()]
  for (let at = 0; at < hashes.length; at += AT_ONCE) {
    const receipts = await Promise.all(
      hashes
        .slice(at, at + AT_ONCE)
        .map((hash) => explained('eth_getTransactionReceipt', () => bitloom.chain.getTransactionReceipt({ hash }))),
    )
    for (const { from, gasUsed, effectiveGasPrice, transactionHash, blockNumber } of receipts) {
      if (lower(from) !== lower(me)) continue
      const taskId = about.get(transactionHash)
      all.push({
        transactionHash,
        blockNumber,
        gas: gasUsed,
        wei: gasUsed * effectiveGasPrice,
        ...(taskId === undefined ? {} : { taskId }),
      })
    }
  }
  return all
}

/** Unix seconds of blocks. */
export async function timesOf(bitloom: Bitloom, blocks: Iterable<bigint>): Promise<Map<bigint, number>> {
  const numbers = [...new Set(blocks)]
  const times = new Map<bigint, number>()
  for (let at = 0; at < numbers.length; at += AT_ONCE) {
    const found = await Promise.all(
      numbers
        .slice(at, at + AT_ONCE)
        .map((blockNumber) => explained('eth_getBlock', () => bitloom.chain.getBlock({ blockNumber, includeTransactions: false }))),
    )
    for (const { number, timestamp } of found) times.set(number, Number(timestamp))
  }
  return times
}

/** Sums of entries by a key, in the order in which the keys first come. */
export function sumBy<K>(entries: readonly Entry[], keyOf: (entry: Entry) => K): Map<K, bigint> {
  const sums = new Map<K, bigint>()
  for (const entry of entries) sums.set(keyOf(entry), (sums.get(keyOf(entry)) ?? 0n) + entry.wei)
  return sums
}

/** What was earned by working for others: everything but one's own tasks. */
export const isWork = ({ role }: Entry): boolean => role !== 'submitter'
