// Faults add up to a ban that ends, time forgives, and the table stays bounded whatever names strangers make up.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { BAN_AT, BAN_MS } from './limits.ts'
import { FAULTS, openStandings } from './standing.ts'

test('faults add up to a ban, which ends on probation; slow answers are forgiven', () => {
  let time = 0
  const standings = openStandings(() => time)
  const times = Math.ceil(BAN_AT / FAULTS.lied)
  for (let i = 1; i < times; i++) assert.equal(standings.blame('liar', 'lied'), false)
  assert.equal(standings.isBanned('liar'), false)
  assert.equal(standings.blame('liar', 'lied'), true)
  assert.equal(standings.blame('liar', 'lied'), false) // banned already
  assert.deepEqual(standings.banned(), ['liar'])
  time += BAN_MS
  assert.equal(standings.isBanned('liar'), false)
  for (let hour = 0; hour < 24; hour++) {
    for (let i = 0; i < 20; i++) standings.blame('slow', 'slow')
    time += 3_600_000
  }
  assert.equal(standings.isBanned('slow'), false)
  assert.equal(standings.faultsOf('slow'), 0)
})

test('patience multiplies what is borne', () => {
  const standings = openStandings(() => 0)
  const faults = (patience: number): number => {
    for (let i = 1; ; i++) if (standings.blame(`x${patience}`, 'malformed', patience)) return i
  }
  assert.equal(faults(4), 4 * faults(1))
})

test('the table is bounded, and whoever is banned stays in it while others come and go', () => {
  const standings = openStandings(() => 0, 100)
  while (!standings.blame('liar', 'lied'));
  for (let i = 0; i < 5000; i++) standings.blame(`stranger ${i}`, 'slow')
  assert.equal(standings.isBanned('liar'), true)
  // even if all are banned
  for (let i = 0; i < 300; i++) while (!standings.blame(`liar ${i}`, 'lied'));
  assert.ok(standings.banned().length <= 100)
})
