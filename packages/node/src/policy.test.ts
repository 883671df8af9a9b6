// A provider's rules: every one of them says no by itself and yes when it is kept; and what a machine says of itself is read right.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { openMachine, othersBetween, powerOf } from './machine.ts'
import { autoPrice, isWithin, mayTake, type Policy, parseSchedule, type Request, type Situation } from './policy.ts'
import { openStore } from './store.ts'
import { openPace, TRAINING_SHARE } from './throughput.ts'

const policy: Policy = { capacity: 2, minAssurance: 1 }
const situation: Situation = { minuteOfDay: 12 * 60, power: 'mains', tasks: 0 }
const request: Request = { submitter: '0xAbC0000000000000000000000000000000000001', assurance: 1 }
const low = request.submitter.toLowerCase()

test('each rule alone says no, with its reason and whose it is, and yes when it is kept', () => {
  const cases: [string, Partial<Policy>, Partial<Situation>, Partial<Request>, RegExp, 'ours' | 'theirs'][] = [
    ['capacity', {}, { tasks: 2 }, {}, /2 of 2 tasks in hand/, 'ours'],
    ['assurance', {}, {}, { assurance: 0 }, /assurance is 0, we want 1/, 'theirs'],
    ['deny', { deny: new Set([low]) }, {}, {}, /do not work for/, 'theirs'],
    ['allow', { allow: new Set(['0x1']) }, {}, {}, /not on the list/, 'theirs'],
    ['schedule', { schedule: [{ from: 22 * 60, to: 7 * 60 }] }, {}, {}, /it is 12:00, outside 22:00-07:00/, 'ours'],
    ['battery', { onBattery: false }, { power: 'battery' }, {}, /on its battery/, 'ours'],
    ['power unknown', { onBattery: false }, { power: 'unknown' }, {}, /does not tell/, 'ours'],
    ['idle', { idleShare: 0.2 }, { othersShare: 0.21 }, {}, /others use 21 % of the processor, more than 20 %/, 'ours'],
    ['idle not known', { idleShare: 0.2 }, {}, {}, /in a moment/, 'ours'],
  ]
  for (const [name, p, s, r, reason, whose] of cases) {
    const verdict = mayTake({ ...policy, ...p }, { ...situation, ...s }, { ...request, ...r })
    assert.ok(!verdict.ok, name)
    assert.match(verdict.reason, reason)
    assert.equal(verdict.whose, whose, name)
  }
  const kept: Policy = {
    ...policy,
    ...{ allow: new Set([low]), deny: new Set(['0x2']), onBattery: false, idleShare: 0.2, schedule: [{ from: 11 * 60, to: 13 * 60 }] },
  }
  assert.deepEqual(mayTake(kept, { ...situation, othersShare: 0.2, tasks: 1 }, request), { ok: true })
  assert.deepEqual(mayTake(policy, { ...situation, power: 'battery' }, request), { ok: true }, 'a battery is no reason unless it is said')
})

test('without a request the lists do not matter: an offer is for everybody who may ask', () => {
  assert.deepEqual(mayTake({ ...policy, allow: new Set() }, situation), { ok: true })
})

test('a span takes its first minute and not its last, over midnight too', () => {
  const night = { from: 22 * 60, to: 7 * 60 }
  assert.deepEqual(
    [22 * 60, 23 * 60 + 59, 0, 7 * 60 - 1, 7 * 60, 21 * 60 + 59].map((m) => isWithin(night, m)),
    [true, true, true, true, false, false],
  )
  assert.ok(isWithin({ from: 0, to: 0 }, 0) && isWithin({ from: 0, to: 0 }, 1439))
})

test('schedules are read, nonsense is not', () => {
  assert.deepEqual(parseSchedule('22:00-07:00'), [{ from: 1320, to: 420 }])
  assert.deepEqual(parseSchedule('8:30-12:00, 13:00-24:00'), [
    { from: 510, to: 720 },
    { from: 780, to: 0 },
  ])
  for (const text of ['', 'night', '22-7', '25:00-07:00', '22:60-07:00', '22:00-07:00,', '22:00'])
    assert.equal(parseSchedule(text), undefined, text)
})

test('the automatic price earns an hour’s cost and the margin in an hour, never a wei less', () => {
  const cost = 10n ** 18n + 7n
  for (const speed of [1n, 999n, 10n ** 9n, 37n * 10n ** 9n + 1n]) {
    const price = autoPrice(cost, 25, speed)
    const earned = (p: bigint): bigint => p * 3600n * speed
    assert.ok(earned(price) >= (cost * 125n * 10n ** 12n) / 100n)
    assert.ok(earned(price - 1n) < (cost * 125n * 10n ** 12n) / 100n)
  }
  assert.ok(autoPrice(cost, 0, 0n) > 0n)
})

test('others’ use of the processor is everything less our own', () => {
  const before = { atMs: 0, busyMs: 1000, totalMs: 10_000, ownMs: 200 }
  assert.equal(othersBetween(before, { atMs: 10_000, busyMs: 6000, totalMs: 30_000, ownMs: 4200 }), 0.05)
  assert.equal(othersBetween(before, { atMs: 10_000, busyMs: 1000, totalMs: 30_000, ownMs: 4200 }), 0, 'rounding never makes it negative')
  assert.equal(othersBetween(before, { atMs: 10, busyMs: 1001, totalMs: 10_010, ownMs: 200 }), undefined, 'too soon to tell')
  const now = openMachine().situation(3)
  assert.equal(now.tasks, 3)
  assert.ok(now.minuteOfDay >= 0 && now.minuteOfDay < 1440)
})

test('the power supply as Linux tells it', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'bitloom-power-'))
  t.after(() => rmSync(dir, { recursive: true }))
  let made = 0
  const folder = (supplies: Record<string, Record<string, string>>): string => {
    const base = join(dir, String(made++))
    mkdirSync(base)
    for (const [name, files] of Object.entries(supplies)) {
      mkdirSync(join(base, name))
      for (const [file, text] of Object.entries(files)) writeFileSync(join(base, name, file), `${text}\n`)
    }
    return base
  }
  const BAT0 = { type: 'Battery', status: 'Discharging' }
  assert.equal(powerOf(join(dir, 'none')), 'unknown')
  assert.equal(powerOf(folder({})), 'mains', 'no battery at all')
  assert.equal(powerOf(folder({ BAT0, AC: { type: 'Mains', online: '0' } })), 'battery')
  assert.equal(powerOf(folder({ BAT0, AC: { type: 'Mains', online: '1' } })), 'mains')
  assert.equal(powerOf(folder({ BAT0: { type: 'Battery', status: 'Charging' } })), 'mains')
  assert.equal(powerOf(folder({ mouse: { ...BAT0, scope: 'Device' } })), 'mains', 'a mouse')
})

test('the pace in offers is half of the proof’s until training has been timed, then what was timed, after a restart too', () => {
  const store = openStore(':memory:')
  const pace = openPace(store, 1000n)
  assert.equal(pace.perSecond(), BigInt(1000 * TRAINING_SHARE))
  pace.trained(100n, 50)
  assert.equal(pace.perSecond(), BigInt(1000 * TRAINING_SHARE), 'a moment is not enough')
  pace.trained(700_000n, 950)
  assert.equal(pace.perSecond(), 700_100n)
  assert.equal(openPace(store, 1000n).perSecond(), 700_100n)
  for (let i = 0; i < 200; i++) pace.trained(60_000n, 60_000)
  assert.ok(pace.perSecond() < 1010n, `${pace.perSecond()}: the machine has become slow, and offers say so`)
  store.close()
})
