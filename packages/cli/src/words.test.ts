// Small words: stretches of time, counts, hidden typing, the sentences of a task's events, the order of offers, verdicts on a computer.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ChainEvent, Offer, Spec } from '@bitloom/sdk'
import { checkSimd, judgeClock, judgeMemory, judgeNode, judgeSpace } from './checks.ts'
import { lineText, plansOf } from './commands/dev.ts'
import { findingText } from './commands/doctor.ts'
import { offersTable } from './commands/offers.ts'
import { disputeDepth } from './commands/quote.ts'
import { type Listed, SORTS } from './market.ts'
import { count, jsonOf, stretch } from './output.ts'
import { follow, progressText, teller, untilText } from './story.ts'
import { typed } from './unlock.ts'

test('stretches of time are read at a glance', () => {
  for (const [seconds, text] of [
    [0, '0 s'],
    [0.4, '0.4 s'],
    [59.6, '60 s'],
    [180, '3 min'],
    [3600, '60 min'],
    [7200, '2.0 h'],
    [200_000, '2.3 d'],
    [-5, '0 s'],
  ] as const)
    assert.equal(stretch(seconds), text)
  assert.equal(count(1, 'slice'), '1 slice')
  assert.equal(count(2n, 'slice'), '2 slices')
  assert.equal(jsonOf({ wei: 10n ** 20n }), '{"wei":"100000000000000000000"}')
  assert.equal(untilText(100, 40), 'in 60 s')
  assert.equal(untilText(100, 160), 'over for 60 s')
  assert.equal(untilText(0, 160), '–')
  assert.equal(progressText(1, { slices: 4 }), '1 of 4 slices')
})

test('hidden typing takes letters, erases, and ends on enter or on Ctrl-C', () => {
  assert.deepEqual(typed('', 'abc'), { text: 'abc' })
  assert.deepEqual(typed('abc', '\u007fd\r'), { text: 'abd', done: 'entered' })
  assert.deepEqual(typed('abc', '\u0015x\n'), { text: 'x', done: 'entered' })
  assert.deepEqual(typed('abc', '\u0003'), { text: 'abc', done: 'stopped' })
  assert.deepEqual(typed('a😀', '\b'), { text: 'a' }, 'one key erases one character')
  assert.deepEqual(typed('a', '\u001b[Ab\u001b[3~'), { text: 'ab' }, 'arrows type nothing')
})

const offer = (weiPerTeraop: bigint, operationsPerSecond: bigint, name: string): Offer => ({
  solver: `0x${name.repeat(20)}`,
  weiPerTeraop,
  operationsPerSecond,
  memoryBytes: 2n ** 31n,
  capacity: 1,
  validUntil: 4600n,
  minAssurance: 0,
  salt: '0x',
  contact: '',
})
const record = (accepted: number, convictions = 0) => ({ accepted, streak: accepted, convictions, missed: 0, withheld: 0 })
const listed: readonly Listed[] = [
  { offer: offer(3n, 10n, 'aa'), record: record(50), stakeWei: 10n ** 18n },
  { offer: offer(1n, 5n, 'bb'), record: record(90, 1), stakeWei: 0n },
  { offer: offer(1n, 7n, 'cc'), record: record(0), stakeWei: 0n },
]
const order = (by: string): string =>
  [...listed]
    .sort(SORTS[by]!)
    .map((l) => l.offer.solver.slice(2, 3))
    .join('')

test('offers sort by price, speed and record; a conviction outweighs any past', () => {
  assert.equal(order('price'), 'cba')
  assert.equal(order('speed'), 'acb')
  assert.equal(order('record'), 'acb')
  const text = offersTable(listed, 1000)
  assert.match(text, / 1 +0 +0 +convicted/)
  assert.match(text, /60 min/)
  assert.match(text, /clean/)
  assert.match(text, /new/)
})

test('a dispute is as deep as finding the step and the scalar in it', () => {
  assert.equal(disputeDepth(1, { disputeRounds: 8 }), 8)
  assert.equal(disputeDepth(32, { disputeRounds: 8 }), 9)
  assert.equal(disputeDepth(33, { disputeRounds: 8 }), 10)
})

const event = (name: string, args: Record<string, unknown>, contract: ChainEvent['contract'] = 'Market'): ChainEvent => ({
  contract,
  name,
  args,
  blockNumber: 7n,
  transactionHash: '0x',
  logIndex: 0,
})

test('a task is followed through its claims and their disputes, and no other task is', () => {
  const mine = follow(2n)
  const events = [
    event('Submitted', { taskId: 1n }),
    event('Submitted', { taskId: 2n }),
    event('Claimed', { taskId: 1n, claimId: 1n }),
    event('Claimed', { taskId: 2n, claimId: 2n }),
    event('Drawn', { claimId: 1n }, 'Audit'),
    event('Drawn', { claimId: 2n }, 'Audit'),
    event('Challenged', { claimId: 2n, gameId: 0n }, 'Dispute'),
    event('Challenged', { claimId: 1n, gameId: 1n }, 'Dispute'),
    event('Deposited', { who: '0x' }, 'Stake'),
  ]
  assert.deepEqual(
    mine(events).map((e) => e.args.taskId ?? e.args.claimId),
    [2n, 2n, 2n, 2n],
  )
  assert.equal(
    mine([event('Moved', { gameId: 0n }, 'Dispute'), event('Moved', { gameId: 1n }, 'Dispute')]).length,
    1,
    'what it learnt holds for later events',
  )
})

test('what the narrator of training leaves out is told, too', () => {
  const tell = teller({ slices: 4, checkpointsPerSlice: 10 } as Spec, undefined)
  const solver = `0x${'ab'.repeat(20)}`
  assert.match(tell(event('Submitted', { taskId: 3n, submitter: solver })).join(), /task 3 by 0xababab…abab in block 7/)
  assert.match(tell(event('Offered', { solver, fromSlice: 1n, escrowWei: 10n ** 18n })).join(), /from slice 2 on; 1 BLT in escrow/)
  assert.match(tell(event('Cancelled', { refundWei: 0n })).join(), /cancelled/)
  assert.match(tell(event('Expired', { solver })).join(), /did not take it/)
  assert.deepEqual(tell(event('Unlocked', {}, 'Stake')), [])
  tell(event('Challenged', { gameId: 0n, segment: 0, challenger: solver, solver }, 'Dispute'))
  // packed by hand, as docs/protocol.md lays it out: the solver to move in the tensor of expr 12
  const words = (...parts: [number, number][]): string =>
    parts.map(([bytes, value]) => value.toString(16).padStart(2 * bytes, '0')).join('')
  const state = words(
    [1, 4],
    [1, 0],
    [8, 0],
    [4, 60],
    [4, 60],
    [20, 1],
    [20, 2],
    [32, 3],
    [4, 9],
    [1, 4],
    [4, 0],
    [32, 4],
    [1, 0],
    [8, 2304],
    [4, 1],
  )
  const papers = words(
    [8, 1],
    [4, 0],
    [4, 20],
    [4, 1],
    [4, 0],
    [4, 3],
    [32, 1],
    [32, 2],
    [32, 0],
    [4, 5],
    [32, 5],
    [32, 6],
    [32, 7],
    [4, 12],
    [32, 8],
  )
  const expr = tell(event('Moved', { gameId: 0n, state: `0x${state}`, papers: `0x${papers}` }, 'Dispute')).join()
  assert.match(expr, /expr 12$/, 'without the graph an expr is its number')
})

test('a computer is judged by what the code needs', () => {
  assert.equal(judgeNode('v24.21.0').status, 'ok')
  assert.equal(judgeNode('v22.18.0').status, 'warn')
  assert.equal(judgeNode('v22.17.9').status, 'fail')
  assert.equal(judgeNode('v20.20.2').status, 'fail')
  assert.equal(checkSimd().status, 'ok')
  assert.equal(judgeSpace(1e8, '/x').status, 'fail')
  assert.equal(judgeSpace(1e9, '/x').status, 'warn')
  assert.equal(judgeSpace(1e10, '/x').status, 'ok')
  assert.equal(judgeMemory(1e9).status, 'warn')
  for (const [skew, status] of [
    [0, 'ok'],
    [10, 'ok'],
    [30, 'warn'],
    [200, 'fail'],
    [-30, 'ok'],
    [-120, 'warn'],
    [-900, 'fail'],
  ] as const)
    assert.equal(judgeClock(skew).status, status, `${skew}`)
  assert.equal(judgeNode('v24.0.0').todo, undefined, 'nothing to do where nothing is wrong')
  assert.match(findingText(judgeNode('v18.0.0')), /fail.*node.*\n.*Node 24/)
})

test('a development network has one cheat at most, and it is the cheapest', () => {
  const plans = plansOf(3, 2, true)
  assert.deepEqual(
    plans.map((p) => p.name),
    ['solver-1', 'solver-2', 'solver-3', 'verifier-1', 'verifier-2'],
  )
  const priceOf = (i: number): number => Number(plans[i]!.args[plans[i]!.args.indexOf('--price') + 1])
  assert.ok(plans[0]!.args.includes('--cheat'))
  assert.ok(!plans[1]!.args.includes('--cheat') && priceOf(0) < priceOf(1) && priceOf(0) < priceOf(2))
  assert.ok(plansOf(2, 0, false).every((p) => !p.args.includes('--cheat')))
  assert.equal(
    lineText({ node: 'solver-1', time: 'x', event: 'trained', taskId: '1', root: `0x${'ab'.repeat(32)}`, nested: {} }).replace(/ +/g, ' '),
    'solver-1 trained taskId 1 root 0xababab…abab',
  )
})
