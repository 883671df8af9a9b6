// SIGKILL at any instant: nodes are killed at seeded moments again and again while tasks run and a lie is disputed. Nothing is claimed twice, no gas is paid twice, no clock is missed, no bit differs.

import assert from 'node:assert/strict'
import { writeFileSync } from 'node:fs'
import { after, before, test } from 'node:test'
import { getRecord } from '@bitloom/sdk'
import type { Address, Hex } from 'viem'
import { type House, localRoot, type Run, type Submitter, solver, startHouse, verifier } from './network.ts'

/** Kills while each task runs: a few here, hundreds where asked for. */
const KILLS = Number(process.env.BITLOOM_TEST_KILLS ?? 4)
const SEED = Number(process.env.BITLOOM_TEST_SEED ?? 1)
/** Longest pause between two kills. */
const PAUSE_MS = 2_500
/** Nodes that are soon back: nothing is compiled at the start. */
const QUICK = ['--backend', 'wasm', '--threads', '1']
/** A busy machine takes tens of seconds to start a node; every stage ends as soon as everybody has done their part. */
const WINDOWS = { confirmSeconds: 900, sliceSeconds: 3000, sealSeconds: 900, discloseSeconds: 900, revealSeconds: 900, clockSeconds: 900 }

let house: House
let submitter: Submitter
before(async () => {
  house = await startHouse([
    solver('liar', '70', ['--cheat', '1', ...QUICK]),
    solver('alpha', '80', QUICK),
    ...['one', 'two'].map((name) => ({ name, args: [...verifier(name).args, ...QUICK] })),
  ])
  submitter = await house.submitter()
})
after(() => house?.stop())

/** mulberry32: the same kills for the same seed, as far as the machine keeps time. */
function dice(seed: number): () => number {
  let a = seed
  return () => {
    a = (a + 0x6d2b79f5) | 0
    let t = Math.imul(a ^ (a >>> 15), a | 1)
    t = (t + Math.imul(t ^ (t >>> 7), t | 61)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

/** Kills and restarts nodes until the run is over or the kills are used up. @returns who was killed, in order */
async function killing(run: Run, victims: readonly string[], kills: number, seed: number): Promise<string[]> {
  const roll = dice(seed)
  const killed: string[] = []
  let over = false
  run.outcome.then(
    () => (over = true),
    () => (over = true),
  )
  while (!over && killed.length < kills) {
    await new Promise((resolve) => setTimeout(resolve, roll() * PAUSE_MS))
    const victim = victims[Math.floor(roll() * victims.length)]!
    await house.kill(victim)
    killed.push(victim)
    // some come back at once, some a moment later: others have gone on without them by then
    await new Promise((resolve) => setTimeout(resolve, roll() * roll() * PAUSE_MS))
    await house.restart(victim)
  }
  return killed
}

type Sent = {
  readonly from: string
  readonly to: string
  readonly input: Hex
  readonly ok: boolean
  readonly block: bigint
  readonly gas: bigint
}
/** Every transaction since block `from`, the submitter's too: it may have been quicker than a node. */
async function sentSince(from: bigint): Promise<Sent[]> {
  const { chain } = house.bitloom
  const head = await chain.getBlockNumber({ cacheTime: 0 })
  const numbers = Array.from({ length: Number(head - from) + 1 }, (_, i) => from + BigInt(i))
  const sent: Sent[] = []
  // a few hundred blocks a task, asked for together: a request each would take minutes on a busy machine
  await Promise.all(
    numbers.map(async (n) => {
      for (const { from, to, hash, input } of (await chain.getBlock({ blockNumber: n, includeTransactions: true })).transactions) {
        const { status, gasUsed } = await chain.getTransactionReceipt({ hash })
        sent.push({ from: house.nameOf(from), to: String(to), input, ok: status === 'success', block: n, gas: gasUsed })
      }
    }),
  )
  return sent
}

/** What an account paid for and what it got; `twice`: an action that the same account had done already. */
function judged(sent: readonly Sent[]): { transactions: number; lostRaces: number; twice: Sent[]; unexplained: Sent[] } {
  const nodes = new Set(house.embedded.nodes.map(({ name }) => name))
  const failed = sent.filter(({ ok, from }) => !ok && nodes.has(from))
  const same = (a: Sent, b: Sent): boolean => a.to === b.to && a.input === b.input
  const done = (one: Sent): Sent[] => sent.filter((other) => other.ok && same(one, other) && other.block <= one.block)
  const twice = failed.filter((one) => done(one).some(({ from }) => from === one.from))
  const lost = failed.filter((one) => !twice.includes(one) && done(one).length > 0)
  return {
    transactions: sent.length,
    lostRaces: lost.length,
    twice,
    unexplained: failed.filter((one) => !twice.includes(one) && !lost.includes(one)),
  }
}

const report: Record<string, unknown> = { seed: SEED, killsAskedFor: KILLS }
after(() => {
  if (process.env.BITLOOM_TEST_REPORT !== undefined) writeFileSync(process.env.BITLOOM_TEST_REPORT, `${JSON.stringify(report, null, 2)}\n`)
})

async function unharmed(name: string): Promise<void> {
  const address = house.node(name).address as Address
  assert.ok(
    !house.events.some(
      (e) =>
        ['Slashed', 'VerifierSlashed'].includes(e.name) &&
        Object.values(e.args).some((v) => String(v).toLowerCase() === address.toLowerCase() && e.args.to !== v),
    ),
    `${name} was slashed: ${JSON.stringify(
      house.events.filter((e) => /Slashed/.test(e.name)).map((e) => [e.name, e.args]),
      (_, v) => (typeof v === 'bigint' ? String(v) : v),
    )}`,
  )
  const { convictions, missed, withheld } = await getRecord(house.bitloom, address)
  assert.deepEqual([convictions, missed, withheld], [0, 0, 0], name)
}

test('an honest task among kills', async (t) => {
  const from = await house.bitloom.chain.getBlockNumber({ cacheTime: 0 })
  const run = await submitter.submit({
    steps: 300,
    segments: 2,
    slices: Math.max(4, Math.ceil(KILLS / 2)),
    solvers: ['alpha'],
    windows: WINDOWS,
  })
  const killed = await killing(run, ['alpha', 'one', 'alpha', 'two'], KILLS, SEED)
  const outcome = await run.outcome
  assert.equal(outcome.stateRoot, await localRoot(run.job), 'the root of training alone')
  assert.deepEqual(outcome.solvers.map(house.nameOf), ['alpha'], 'nobody had to take over')
  const claims = outcome.events.filter((e) => e.name === 'Claimed').map((e) => Number(e.args.slice))
  assert.deepEqual(claims, [...new Set(claims)], 'no slice is claimed twice')
  for (const name of ['alpha', 'one', 'two']) await unharmed(name)
  const { transactions, lostRaces, twice, unexplained } = judged(await sentSince(from))
  assert.deepEqual(twice, [], 'gas was paid twice for one action')
  assert.deepEqual(unexplained, [], 'transactions that failed and that nobody else had sent first')
  assert.equal(await house.missingWei(), 0n)
  report.honest = { kills: killed.length, slices: run.spec.slices, transactions, lostRaces, paidTwice: twice.length }
  t.diagnostic(JSON.stringify(report.honest))
  assert.ok(killed.length > 0)
})

test('a lie disputed among kills: its solver is convicted, and the next one ends the task', async (t) => {
  const from = await house.bitloom.chain.getBlockNumber({ cacheTime: 0 })
  const run = await submitter.submit({ steps: 100, segments: 2, slices: 3, solvers: ['liar', 'alpha'], windows: WINDOWS })
  const taskId = await run.taskId
  const killed = await killing(run, ['one', 'two', 'liar', 'alpha'], KILLS, SEED + 1)
  const outcome = await run.outcome
  assert.equal(outcome.stateRoot, await localRoot(run.job))
  assert.deepEqual(outcome.solvers.map(house.nameOf), ['liar', 'alpha'])
  const decided = house.events.filter((e) => e.name === 'Decided')
  assert.ok(
    decided.some((e) => e.args.convicted === true),
    'the lie was decided',
  )
  assert.ok(
    decided.every((e) => e.args.convicted === true),
    'no challenger lost',
  )
  for (const name of ['alpha', 'one', 'two']) await unharmed(name)
  const settled = house.events.filter((e) => e.name === 'Settled' && e.args.taskId === taskId).map((e) => Number(e.args.slice))
  assert.deepEqual(settled, [0, 1, 2])
  const { transactions, lostRaces, twice, unexplained } = judged(await sentSince(from))
  assert.deepEqual(twice, [])
  assert.deepEqual(unexplained, [])
  assert.equal(await house.missingWei(), 0n)
  report.disputed = { kills: killed.length, transactions, lostRaces, paidTwice: twice.length, games: decided.length }
  t.diagnostic(JSON.stringify(report.disputed))
})
