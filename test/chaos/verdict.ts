// What a chaos run proved, or did not: everybody's money against the books, every accepted state against training alone, every lie against its author's bond.

import {
  type ChainEvent,
  freeOf,
  getSpec,
  getTask,
  lockedOf,
  priceWei,
  readLedger,
  rootsOf,
  type Spec,
  type Terms,
  tokensOf,
} from '@bitloom/sdk'
import type { Hash, Hex } from 'viem'
import type { RunTask } from './bench.ts'
import { keepBooks } from './books.ts'
import type { Happened } from './faults.ts'
import { type Fleet, TOKENS } from './fleet.ts'
import { honestRoots, jobOf } from './jobs.ts'
import type { ChaosPlan } from './plan.ts'

/** An event about a task, when the bench heard of it. */
export type Mark = { readonly taskId: bigint; readonly name: string; readonly at: number }

export type Evidence = {
  readonly fleet: Fleet
  readonly plan: ChaosPlan
  readonly tasks: readonly RunTask[]
  readonly events: readonly ChainEvent[]
  readonly marks: readonly Mark[]
  readonly faults: readonly Happened[]
  readonly skipped: number
  readonly crashes: readonly { readonly node: string; readonly at: number; readonly tasks: readonly bigint[] }[]
  /** How often each event was logged by a node. */
  readonly lines: ReadonlyMap<string, number>
  readonly lies: readonly { readonly node: string; readonly taskId: bigint; readonly segment: number }[]
  readonly statuses: readonly { readonly name: string; readonly status: number | null }[]
  readonly submitters: readonly string[]
  readonly seconds: number
  /** Of all nodes together, from the start of the first to the last word. */
  readonly load: { readonly cpuSeconds: number; readonly upSeconds: number }
}

/** One thing that had to hold. `wrong`: where it does not. */
export type Check = { readonly what: string; readonly ok: boolean; readonly detail: string; readonly wrong: readonly string[] }

/** Code of Types.sol's Verdict. */
const DIFFERENT = 4

/** Looks at everything. */
export async function examine(e: Evidence): Promise<Check[]> {
  const checks: Check[] = []
  const check = (what: string, detail: string, wrong: readonly string[]): void =>
    void checks.push({ what, ok: wrong.length === 0, detail, wrong: wrong.slice(0, 20) })
  const { fleet, events } = e
  const { watcher } = fleet
  const named = (name: string): ChainEvent[] => events.filter((one) => one.name === name)
  const specs = new Map<bigint, Spec>()
  for (const { args } of named('Submitted')) specs.set(args.taskId as bigint, await getSpec(watcher, args.taskId as bigint))

  // models
  const roots = new Map<bigint, Hex[]>()
  for (const task of e.tasks) if (task.taskId !== undefined) roots.set(task.taskId, honestRoots(jobOf(task.part), task.part))
  const wrongModels = e.tasks.flatMap(({ outcome, error, taskId }) => {
    if (!outcome) return [`task ${taskId ?? '(without a number)'} failed: ${error}`]
    const own = rootsOf(outcome.state)
    return outcome.stateRoot === roots.get(outcome.taskId)!.at(-1) && own.length > 0 ? [] : [`task ${outcome.taskId}: ${outcome.stateRoot}`]
  })
  check('every model is its local run’s', `${e.tasks.length - wrongModels.length} of ${e.tasks.length} tasks`, wrongModels)
  const wrongSlices = named('Settled').flatMap(({ args }) => {
    const claim = named('Claimed').find((c) => c.args.claimId === args.claimId)!
    const want = roots.get(args.taskId as bigint)?.[Number(args.slice)]
    return claim.args.endState === want ? [] : [`task ${args.taskId} slice ${args.slice}: ${claim.args.endState}, not ${want}`]
  })
  check('every accepted slice ends in its local run’s state', `${named('Settled').length} slices`, wrongSlices)

  // lies: a claim whose end is not the honest one; a lie in its middle ends elsewhere too, since every later state follows from it
  const lies = named('Claimed').filter(({ args }) => args.endState !== roots.get(args.taskId as bigint)?.[Number(args.slice)])
  const convicted = new Map(named('Convicted').map(({ args }) => [args.claimId as bigint, args]))
  const voided = new Map(named('Voided').map(({ args }) => [args.claimId as bigint, args]))
  const settled = new Set(named('Settled').map(({ args }) => args.claimId as bigint))
  const others = lies.filter(({ args }) => !convicted.has(args.claimId as bigint))
  // a liar may fall before it is convicted: it is dead, cut off, or does not disclose; then it has no price, and nobody has said yet that it lied
  const fell = others.filter(({ args }) => voided.has(args.claimId as bigint))
  const accused = new Set([
    ...named('Challenged').map(({ args }) => args.claimId as bigint),
    ...events
      .filter((x) => x.contract === 'Audit' && x.name === 'Revealed' && Number(x.args.verdict) === DIFFERENT)
      .map(({ args }) => args.claimId as bigint),
  ])
  check(
    'every lie that was found out cost its author the bond, and none was accepted',
    `${lies.length} lying claims: ${lies.length - others.length} convicted, ${fell.length} void before that; ${e.lies.length} lies told in training`,
    others
      .filter(({ args }) => !voided.has(args.claimId as bigint) || accused.has(args.claimId as bigint))
      .map(
        ({ args }) =>
          `claim ${args.claimId} of ${fleet.nameOf(args.solver)} about task ${args.taskId} ${settled.has(args.claimId as bigint) ? 'was accepted' : voided.has(args.claimId as bigint) ? 'is void without a conviction' : 'is open'}`,
      ),
  )
  const innocent = [...convicted.values()].filter((args) => fleet.hosts.find((h) => h.address === args.solver)?.part.character !== 'cheat')
  check(
    'nobody honest was convicted',
    `${convicted.size} convictions`,
    innocent.map((args) => `${fleet.nameOf(args.solver)}: claim ${args.claimId}`),
  )

  // money
  const books = keepBooks(events, (taskId) => specs.get(taskId)!, watcher.network.contracts.Stake)
  check('every amount is what the rules say', `${events.length} events`, books.contradictions)
  const people = [
    ...fleet.hosts.map((h) => ({ name: h.part.name, address: h.address, honest: h.part.character === 'honest' })),
    ...e.submitters.map((address, i) => ({ name: `submitter ${i + 1}`, address: address as Hex, honest: true })),
  ]
  const unequal: string[] = []
  for (const { name, address } of people) {
    const [free, locked, tokens] = await Promise.all([freeOf(watcher, address), lockedOf(watcher, address), tokensOf(watcher, address)])
    const key = address.toLowerCase()
    const paidIn = events
      .filter((x) => x.name === 'Deposited' && String(x.args.who).toLowerCase() === key)
      .reduce((sum, x) => sum + (x.args.amountWei as bigint), 0n)
    if (free !== (books.free.get(key) ?? 0n)) unequal.push(`${name} has ${free} wei free, not ${books.free.get(key) ?? 0n}`)
    if (locked !== (books.locked.get(key) ?? 0n)) unequal.push(`${name} has ${locked} wei locked, not ${books.locked.get(key) ?? 0n}`)
    if (tokens !== TOKENS - paidIn) unequal.push(`${name} has ${tokens} wei in its wallet, not ${TOKENS - paidIn}`)
  }
  const ledger = await readLedger(watcher)
  const sum = (values: Iterable<bigint>): bigint => [...values].reduce((a, b) => a + b, 0n)
  for (const [what, have, want] of [
    ['the pool', ledger.poolWei, books.poolWei],
    ['burnt', ledger.burntWei, books.burntWei],
    ['deposited', ledger.depositedWei, books.depositedWei],
    ['seats', ledger.seatsWei, sum(books.seats.values())],
    ['escrow', ledger.escrowWei, sum(books.escrow.values())],
  ] as const)
    if (have !== want) unequal.push(`${what}: ${have} wei, not ${want}`)
  check(
    'everybody has, to the wei, what the rules give them',
    `${people.length} accounts, pool ${ledger.poolWei}, burnt ${ledger.burntWei} wei`,
    unequal,
  )
  const punished = people
    .filter((p) => p.honest)
    .flatMap(({ name, address }) => (books.takenFrom.get(address.toLowerCase()) ?? []).map((why) => `${name}: ${why}`))
  check('nothing was taken from anybody honest', `${people.filter((p) => p.honest).length} honest accounts`, punished)
  const mispriced = named('Offered').flatMap(({ args }) => {
    const spec = specs.get(args.taskId as bigint)!
    const part = fleet.hosts.find((h) => h.address === args.solver)!.part
    const want = priceWei(
      BigInt(part.price) * 10n ** 18n,
      spec.operationsPerStep * BigInt(spec.stepsPerCheckpoint * spec.checkpointsPerSlice),
    )
    const { slicePriceWei } = args.terms as Terms
    return slicePriceWei === want ? [] : [`task ${args.taskId}: ${slicePriceWei} wei a slice; ${part.name} asks for ${want}`]
  })
  check('everybody works at the price it asked for', `${named('Offered').length} agreements`, mispriced)
  check(
    'money in is money out and money held',
    `${ledger.depositedWei} wei deposited`,
    ledger.differenceWei === 0n ? [] : [`${ledger.differenceWei} wei are missing`],
  )

  // nothing stuck
  const stuck: string[] = []
  for (const taskId of specs.keys()) {
    const task = await getTask(watcher, taskId)
    if (task.status !== 'done') stuck.push(`task ${taskId} is ${task.status}`)
    if (task.openClaim !== 0n) stuck.push(`task ${taskId}: claim ${task.openClaim} is open`)
  }
  if (ledger.escrowWei !== 0n) stuck.push(`${ledger.escrowWei} wei in escrow`)
  if (ledger.lockedWei !== 0n) stuck.push(`${ledger.lockedWei} wei locked`)
  check('nothing is stuck', `${specs.size} tasks, no escrow, no bond, no claim, no game left`, stuck)
  check('nobody fell by itself', `${fleet.hosts.length} nodes`, [
    ...fleet.casualties,
    ...e.statuses
      .filter(({ status }) => status !== 0)
      .map(({ name, status }) => `${name} was asked to stop and ended with status ${status}`),
  ])
  return checks
}

/** Gas and number of all transactions, from the blocks themselves: those that failed too. */
export async function readGas({
  fleet,
}: Evidence): Promise<{ readonly transactions: number; readonly failed: number; readonly gas: bigint }> {
  const { chain, network } = fleet.watcher
  const latest = await chain.getBlockNumber({ cacheTime: 0 })
  const total = { transactions: 0, failed: 0, gas: 0n }
  const ours = new Set(Object.values(network.contracts).map((address) => address.toLowerCase()))
  for (let number = BigInt(network.fromBlock); number <= latest; number++) {
    const block = await chain.getBlock({ blockNumber: number })
    for (const hash of block.transactions as Hash[]) {
      const receipt = await chain.getTransactionReceipt({ hash })
      if (receipt.to === null || !ours.has(receipt.to.toLowerCase())) continue
      total.transactions++
      total.gas += receipt.gasUsed
      if (receipt.status !== 'success') total.failed++
    }
  }
  return total
}
