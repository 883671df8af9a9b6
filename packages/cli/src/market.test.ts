// What people ask of providers, and how they type amounts and times.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import type { Offer, SolverRecord } from '@bitloom/sdk'
import { secondsIn, secondsUntil, since, weiOf } from './amount.ts'
import { type Command, parseCall, UsageError } from './command.ts'
import {
  addressList,
  type Filters,
  filtersOf,
  type Listed,
  leftOut,
  MARKET_OPTIONS,
  mustHave,
  objection,
  orderOf,
  select,
} from './market.ts'

const addressOf = (n: number): `0x${string}` => `0x${n.toString(16).padStart(40, 'A')}`
const listed = (n: number, offer: Partial<Offer> = {}, record: Partial<SolverRecord> = {}, stakeWei = 0n): Listed => ({
  offer: {
    ...{ solver: addressOf(n), weiPerTeraop: 100n, memoryBytes: 2n ** 30n, operationsPerSecond: 10n, capacity: 1 },
    ...{ validUntil: 0n, minAssurance: 0, salt: '0x', contact: '', ...offer },
  },
  record: { accepted: 0, streak: 0, convictions: 0, missed: 0, withheld: 0, ...record },
  stakeWei,
})
const COMMAND = {
  ...{ name: 'x', summary: '', run: async () => 0 },
  options: { ...MARKET_OPTIONS, deadline: { type: 'string', help: '' }, since: { type: 'string', help: '' } },
} as Command
const call = (...argv: string[]) => parseCall(COMMAND, argv)

test('every wish leaves out what does not satisfy it, and says why', () => {
  const cases: [Filters, Listed, string | undefined][] = [
    [{}, listed(1), undefined],
    [{}, listed(1, { capacity: 0 }), 'takes no task at the moment'],
    [{ maxWeiPerTeraop: 99n }, listed(1), 'dearer than 9.900e-17 BLT'],
    [{ maxWeiPerTeraop: 100n }, listed(1), undefined],
    [{ minMemoryBytes: 2 ** 30 + 1 }, listed(1), 'too little memory'],
    [{ minMemoryBytes: 2 ** 30 }, listed(1), undefined],
    [{ assurance: 1 }, listed(1, { minAssurance: 2 }), 'wants more assurance'],
    [{ minStakeWei: 5n }, listed(1, {}, {}, 4n), 'less than 5.000e-18 BLT at stake'],
    [{ minStakeWei: 5n }, listed(1, {}, {}, 5n), undefined],
    [{ minAccepted: 3 }, listed(1, {}, { accepted: 2 }), 'fewer than 3 accepted slices'],
    [{ deny: new Set([addressOf(1).toLowerCase()]) }, listed(1), 'denied'],
    [{ allow: new Set([addressOf(2).toLowerCase()]) }, listed(1), 'not on the list of those allowed'],
    [{ allow: new Set([addressOf(1).toLowerCase()]) }, listed(1), undefined],
  ]
  for (const [wanted, one, why] of cases) assert.equal(objection(one, wanted), why)
})

test('orders: price, speed, record; a conviction weighs more than any number of slices', () => {
  const all = [
    listed(1, { weiPerTeraop: 3n, operationsPerSecond: 30n }, { accepted: 5000 }),
    listed(2, { weiPerTeraop: 1n, operationsPerSecond: 10n }, { accepted: 9_000_000, convictions: 1 }),
    listed(3, { weiPerTeraop: 2n, operationsPerSecond: 20n }, { accepted: 5000, missed: 1 }),
    listed(4, { weiPerTeraop: 1n, operationsPerSecond: 11n }),
  ]
  const order = (by: string): number[] =>
    select(all, {}, orderOf(call('--sort', by))).kept.map(({ offer }) => all.findIndex((one) => one.offer === offer) + 1)
  assert.deepEqual(order('price'), [4, 2, 3, 1])
  assert.deepEqual(order('speed'), [1, 3, 4, 2])
  assert.deepEqual(order('record'), [1, 3, 4, 2])
  assert.throws(() => orderOf(call('--sort', 'toString')), /price, speed, record/)
})

test('what is left out is counted, and nothing left is a refusal with the reasons', () => {
  const all = [listed(1), listed(2), listed(3, { weiPerTeraop: 500n })]
  const selection = select(all, { maxWeiPerTeraop: 200n, deny: new Set([addressOf(1).toLowerCase()]) }, orderOf(call()))
  assert.equal(leftOut(selection), '2 offers left out: denied (1), dearer than 2.000e-16 BLT (1)')
  assert.equal(mustHave(selection, '').length, 1)
  assert.throws(
    () => mustHave(select(all, { minAccepted: 1 }, orderOf(call())), ''),
    /None of 3 offers will do: fewer than 1 accepted slices \(3\); such as .*\nAsk for less/,
  )
  assert.throws(() => mustHave(select([], {}, orderOf(call())), 'nobody'), /nobody/)
})

test('lists of addresses: on the line, in a file, with remarks; anything else is told', (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'bitloom-list-'))
  t.after(() => rmSync(dir, { recursive: true }))
  const file = join(dir, 'deny.txt')
  writeFileSync(file, `# those that let me down\n${addressOf(1)}  # twice\n\n ${addressOf(2)}\n`)
  assert.deepEqual(
    [...addressList(`${file},${addressOf(3)}`, 'deny')!],
    [1, 2, 3].map((n) => addressOf(n).toLowerCase()),
  )
  assert.equal(addressList(undefined, 'deny'), undefined)
  assert.equal(addressList('', 'allow')!.size, 0, 'an empty list allows nobody')
  assert.throws(() => addressList('0x12', 'deny'), /--deny: "0x12" is no address/)
  assert.throws(() => addressList(join(dir, 'none.txt'), 'deny'), /neither an address .* nor a file/)
  writeFileSync(file, 'a poem\n')
  assert.throws(() => addressList(file, 'deny'), /"a poem" is no address/)
})

test('filters are read from flags, in the units that people use', () => {
  assert.deepEqual(filtersOf(call()), {})
  const wanted = filtersOf(call('--max-price', '1.5', '--min-memory', '100', '--min-stake', '50', '--min-accepted', '7'))
  assert.deepEqual(wanted, {
    maxWeiPerTeraop: 15n * 10n ** 17n,
    minMemoryBytes: 100 * 2 ** 20,
    minStakeWei: 50n * 10n ** 18n,
    minAccepted: 7,
  })
  for (const flags of [
    ['--max-price', 'much'],
    ['--min-memory', '-1'],
    ['--min-accepted', '1.5'],
    ['--min-stake', '1e3'],
  ])
    assert.throws(() => filtersOf(call(...flags)), UsageError)
  assert.equal(weiOf(call(), 'max-price'), undefined)
})

test('stretches and moments', () => {
  assert.deepEqual(['45s', '90m', '2h', '1h30m', '3d', '1.5 h', '10 min'].map(secondsIn), [45, 5400, 7200, 5400, 259_200, 5400, 600])
  assert.deepEqual(['', '45', 'h', '2 fortnights', '-3h'].map(secondsIn), [undefined, undefined, undefined, undefined, undefined])
  const now = Date.parse('2026-05-01T10:00:00Z')
  assert.equal(secondsUntil(call('--deadline', '2h'), 'deadline', now), 7200)
  assert.equal(secondsUntil(call('--deadline', '2026-05-01T11:00:00Z'), 'deadline', now), 3600)
  assert.equal(secondsUntil(call(), 'deadline', now), undefined)
  assert.throws(() => secondsUntil(call('--deadline', '2026-05-01T09:00:00Z'), 'deadline', now), /is over already/)
  assert.throws(() => secondsUntil(call('--deadline', 'soon'), 'deadline', now), /such as 90m, 2h/)
  assert.equal(since(call('--since', '1d'), 'since', now), now / 1000 - 86_400)
  assert.throws(() => since(call('--since', 'ever'), 'since', now), /such as 7d/)
})
