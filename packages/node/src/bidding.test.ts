// Who gets a task next: within budget and deadline, never twice for its failures; and the arithmetic behind what people are told before they pay.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type ChainEvent, escrowFor, LOCAL_WINDOWS, type Offer, type SignedOffer, type Spec, termsFor } from '@bitloom/sdk'
import type { Address, Hex } from 'viem'
import { openBidding } from './bidding.ts'
import { auditedByOne, catchChance, expectedSeconds, windowsWithin } from './estimate.ts'
import { committedWei, reaches } from './spending.ts'

const ZERO = `0x${'00'.repeat(32)}` as Hex
const spec = {
  ...{ graphId: ZERO, initialState: ZERO, dataRoot: ZERO, exprs: 1, stateSlots: 1, dataSlots: 1, probe: 0 },
  ...{ stepsPerCheckpoint: 10, checkpointsPerSlice: 10, slices: 4, operationsPerStep: 1_000_000n },
  ...{ assurance: 1, verifiers: 2, segments: 1, ...LOCAL_WINDOWS },
} as Spec
const NOW = 1_800_000_000

const addressOf = (name: string): Address => `0x${Buffer.from(name).toString('hex').padEnd(40, '0')}`
const offerOf = (name: string, over: Partial<Offer> = {}): SignedOffer => ({
  offer: {
    ...{ solver: addressOf(name), weiPerTeraop: 10n ** 12n, memoryBytes: 1n, operationsPerSecond: 10n ** 9n, capacity: 1 },
    ...{ validUntil: BigInt(NOW + 600), minAssurance: 0, salt: ZERO, contact: name, ...over },
  },
  signature: `0x${Buffer.from(`${name}${over.salt ?? ''}`).toString('hex')}`,
})
const escrow = (one: SignedOffer, slices: number): bigint => escrowFor(spec, termsFor(spec, one.offer), slices)
const nameOf = (bid: object): string | undefined => ('offer' in bid ? (bid.offer as SignedOffer).offer.contact : undefined)

test('offers are taken in their order, each once; then what the market offers, without whoever has lost the task', () => {
  const [a, b] = [offerOf('a'), offerOf('b')]
  const later = offerOf('a', { salt: `0x${'01'.repeat(32)}` })
  const more = [a, later, b, offerOf('c'), offerOf('d')]
  const bidding = openBidding({ spec, limits: {}, blockSeconds: 1, offers: [a, b, a] })
  assert.equal(nameOf(bidding.next(4, 0n, NOW)), 'a')
  bidding.fell(addressOf('a'))
  assert.equal(nameOf(bidding.next(4, 0n, NOW)), 'b')
  bidding.giveBack(b)
  assert.equal(nameOf(bidding.next(4, 0n, NOW)), 'b', 'what the chain did not hear of is offered again')
  assert.equal(nameOf(bidding.next(4, 0n, NOW)), 'a', 'the caller’s own list says twice')
  assert.equal(nameOf(bidding.next(4, 0n, NOW, more)), 'c')
  assert.equal(nameOf(bidding.next(4, 0n, NOW, more)), 'd')
  assert.deepEqual(bidding.next(4, 0n, NOW, more), { refusals: [] })
})

test('what could not be taken for another reason is told in the end', () => {
  const bidding = openBidding({ spec, limits: {}, blockSeconds: 1, offers: [offerOf('a')] })
  bidding.next(4, 0n, NOW)
  bidding.turnDown(offerOf('a'), 'the wallet does not hold it')
  assert.deepEqual(bidding.next(4, 0n, NOW), { refusals: [`for ${addressOf('a')} the wallet does not hold it`] })
})

test('an offer that was taken back is not tried', () => {
  const [a, b] = [offerOf('a'), offerOf('b')]
  const bidding = openBidding({ spec, limits: {}, blockSeconds: 1, offers: [a, b], isGone: (one) => one === a })
  assert.equal(nameOf(bidding.next(4, 0n, NOW, [a])), 'b')
  assert.deepEqual(bidding.next(4, 0n, NOW, [a]), { refusals: [] })
})

test('an offer that is over is left out without a word', () => {
  const bidding = openBidding({ spec, limits: {}, blockSeconds: 1, offers: [offerOf('old', { validUntil: BigInt(NOW) }), offerOf('new')] })
  assert.equal(nameOf(bidding.next(4, 0n, NOW)), 'new')
})

test('the budget is the whole life’s: what is spent and what is at stake now, to the wei', () => {
  const [dear, cheap] = [offerOf('dear', { weiPerTeraop: 3n * 10n ** 12n }), offerOf('cheap')]
  const spent = 1234n
  const enough = spent + escrow(cheap, 2)
  const take = (budgetWei: bigint) =>
    openBidding({ spec, limits: { budgetWei }, blockSeconds: 1, offers: [dear, cheap] }).next(2, spent, NOW)
  assert.equal(nameOf(take(enough)), 'cheap')
  const none = take(enough - 1n)
  assert.ok('refusals' in none && none.refusals.length === 2)
  assert.match(none.refusals[1]!, /1234 wei are spent, and the budget is/)
  assert.equal(nameOf(take(spent + escrow(dear, 2))), 'dear')
})

test('an offer that cannot make the deadline is passed over for one that can', () => {
  const [slow, fast] = [offerOf('slow', { operationsPerSecond: 10n ** 6n }), offerOf('fast', { operationsPerSecond: 10n ** 9n })]
  const deadlineAt = NOW + 60
  const bidding = openBidding({ spec, limits: { deadlineAt }, blockSeconds: 1, offers: [slow, fast] })
  assert.equal(nameOf(bidding.next(4, 0n, NOW)), 'fast')
  const late = bidding.next(4, 0n, NOW)
  assert.ok('refusals' in late)
  assert.match(late.refusals[0]!, /it needs about \d+ s, and 60 s are left to the deadline/)
})

test('what a task has cost is what went into its escrow less what came back', () => {
  const event = (name: string, args: Record<string, unknown>): ChainEvent => ({
    ...{ contract: 'Market', name, args, blockNumber: 1n, transactionHash: ZERO, logIndex: 0 },
  })
  const story = [
    event('Offered', { taskId: 7n, escrowWei: 1000n }),
    event('Offered', { taskId: 8n, escrowWei: 9999n }),
    event('Halted', { taskId: 7n, refundWei: 700n }),
    event('Offered', { taskId: 7n, escrowWei: 800n }),
    event('Finished', { taskId: 7n, refundWei: 50n }),
  ]
  assert.deepEqual(
    story.map((_, i) => committedWei(story.slice(0, i + 1), 7n)),
    [1000n, 1000n, 300n, 1100n, 1050n],
  )
})

test('limits are inclusive at the last wei and the last second', () => {
  assert.equal(reaches({ budgetWei: 10n, deadlineAt: NOW + 5 }, 4n, 6n, NOW, 5), undefined)
  assert.equal(reaches({ budgetWei: 10n }, 4n, 7n, NOW, 5)?.what, 'budget')
  assert.equal(reaches({ deadlineAt: NOW + 5 }, 4n, 7n, NOW, 5.1)?.what, 'deadline')
  assert.equal(reaches({}, 10n ** 30n, 10n ** 30n, NOW, 1e9), undefined)
})

test('expected time: training beside audits, never less than either, more for whoever is slower or checked more', () => {
  const at = (over: Partial<Spec>, speed = 10n ** 6n): number => expectedSeconds({ ...spec, ...over }, speed, { blockSeconds: 2 })
  const training = (4 * 100 * 1_000_000) / 10 ** 6 // four slices of a hundred steps of a second
  const checked = at({})
  assert.ok(checked > training && checked < 2 * training)
  assert.ok(at({ assurance: 0 }) < checked && checked < at({ assurance: 2 }))
  assert.ok(at({}, 5n * 10n ** 5n) > 1.9 * checked)
  assert.equal(at({}, 0n), Number.POSITIVE_INFINITY)
  // two verifiers share what is checked; past probation each has one of the ten segments
  assert.deepEqual([auditedByOne(spec, 0), auditedByOne(spec, 2), auditedByOne({ ...spec, assurance: 0 }, 2)], [5, 1, 0])
})

test('a deadline shortens what a solver may take for a slice, and never lengthens anything', () => {
  assert.deepEqual(windowsWithin(LOCAL_WINDOWS, undefined, 4), LOCAL_WINDOWS)
  assert.equal(windowsWithin(LOCAL_WINDOWS, 400, 4).sliceSeconds, 100)
  assert.deepEqual(windowsWithin(LOCAL_WINDOWS, 10 ** 6, 4), LOCAL_WINDOWS)
  assert.equal(windowsWithin(LOCAL_WINDOWS, 4, 4).sliceSeconds, 30, 'nor below what a chain needs')
})

test('catching: the liar packs its steps, the draw comes after', () => {
  const near = (a: number, b: number): void => assert.ok(Math.abs(a - b) < 1e-12, `${a} ${b}`)
  near(catchChance(spec, 2, 1), 0.2)
  near(catchChance(spec, 2, 10), 0.2) // still one segment
  near(catchChance(spec, 2, 11), 1 - (8 * 7) / (10 * 9))
  near(catchChance(spec, 10, 1), 1)
  near(catchChance(spec, 0, 100), 0)
  near(catchChance(spec, 1, 100), 1)
  near(catchChance(spec, 3, 0), 0)
})
