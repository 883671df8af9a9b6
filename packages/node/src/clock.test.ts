// The chain's clock: this computer's clock may jump by hours in either direction, and nothing that the chain judges notices.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { signOffer, verifyOffer } from '@bitloom/sdk'
import { privateKeyToAccount } from 'viem/accounts'
import { openChainClock } from './clock.ts'

test('between blocks it runs on by what has passed here, and no further than a minute without a block', () => {
  let passed = 5_000
  const clock = openChainClock(1_000_000, () => passed)
  assert.equal(clock.nowMs(), 1_000_000_000)
  passed += 1_500
  assert.equal(clock.nowMs(), 1_000_001_500)
  clock.set(1_000_000) // the same block again: time goes on from when it was first seen
  assert.equal(clock.nowMs(), 1_000_001_500)
  clock.set(1_000_012)
  assert.equal(clock.nowMs(), 1_000_012_000)
  passed += 3_600_000
  assert.equal(clock.nowMs(), 1_000_072_000, 'a chain that stands still')
  clock.set(1_000_005)
  assert.equal(clock.nowMs(), 1_000_005_000, 'a chain that went back')
})

test('an offer stays valid while the wall clock jumps, and ends when the chain says so', async (t) => {
  t.mock.timers.enable({ apis: ['Date'], now: 1_700_000_000_000 })
  const account = privateKeyToAccount(`0x${'11'.repeat(32)}`)
  const market = { chainId: 31337, market: account.address }
  const signed = await signOffer(account, market, {
    ...{ solver: account.address, weiPerTeraop: 1n, memoryBytes: 1n, operationsPerSecond: 1n, capacity: 1 },
    ...{ validUntil: 1_700_003_600n, minAssurance: 0, salt: `0x${'07'.repeat(32)}`, contact: '/ip4/127.0.0.1/tcp/1 http://127.0.0.1:1' },
  })
  const message = JSON.parse(JSON.stringify(signed, (_, v) => (typeof v === 'bigint' ? String(v) : v)))
  let passed = 0
  const clock = openChainClock(1_700_000_000, () => passed)
  const valid = async (): Promise<boolean> =>
    (await verifyOffer({ ...message, ...(await import('@bitloom/sdk')).offerToJson(signed) }, market, Math.floor(clock.nowMs() / 1000))).ok
  for (const jumpMs of [0, 7_200_000, -7_200_000, 365 * 86_400_000]) {
    t.mock.timers.setTime(1_700_000_000_000 + jumpMs)
    assert.equal(await valid(), true, `after a jump of ${jumpMs} ms`)
  }
  passed += 1000
  clock.set(1_700_003_601)
  assert.equal(await valid(), false)
})
