// The meter: CPU time booked once and under the right name, whatever is nested, thrown or restarted.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { addReadings, openMeter } from './meter.ts'

/** Keeps this thread busy for `ms` of CPU time. */
function burn(ms: number): void {
  const cpu = (): number => {
    const { user, system } = process.threadCpuUsage()
    return (user + system) / 1000
  }
  for (const end = cpu() + ms; cpu() < end; ) Math.sqrt(ms)
}
const near = (x: number, ms: number): boolean => x > 0.8 * ms && x < ms + 25

test('what is nested is booked under its own name, and not twice', () => {
  const meter = openMeter()
  const value = meter.measure(
    'train',
    () => {
      burn(40)
      meter.measure('hash', () => {
        burn(60)
        meter.measure('dispute', () => burn(30))
      })
      return 'result'
    },
    3,
  )
  assert.equal(value, 'result')
  const { train, hash, dispute, audit } = meter.readings()
  assert.ok(near(train.cpuMs, 40) && near(hash.cpuMs, 60) && near(dispute.cpuMs, 30), JSON.stringify(meter.readings()))
  assert.deepEqual([train.steps, hash.steps, audit], [3, 0, { cpuMs: 0, steps: 0 }])
})

test('work that throws is booked, and does not unbalance what comes after', () => {
  const meter = openMeter()
  assert.throws(() =>
    meter.measure('audit', () => {
      meter.measure('hash', () => burn(30))
      throw new Error('mid-way')
    }),
  )
  meter.measure('train', () => burn(30), 1)
  const { audit, hash, train } = meter.readings()
  assert.ok(near(hash.cpuMs, 30) && near(train.cpuMs, 30) && audit.cpuMs < 25, JSON.stringify(meter.readings()))
})

test('idle time costs nothing', async () => {
  const meter = openMeter()
  const before = performance.now()
  meter.measure('train', () => Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 80))
  assert.ok(performance.now() - before >= 79)
  assert.ok(meter.readings().train.cpuMs < 40, `${meter.readings().train.cpuMs} ms`)
})

test('an earlier life counts, and processes add up', () => {
  const meter = openMeter()
  const life = {
    train: { cpuMs: 10, steps: 2 },
    audit: { cpuMs: 0, steps: 0 },
    dispute: { cpuMs: 1, steps: 0 },
    hash: { cpuMs: 5.5, steps: 0 },
  }
  meter.resume(life)
  assert.deepEqual(meter.readings(), life)
  assert.deepEqual(addReadings([life, meter.readings()]).train, { cpuMs: 20, steps: 4 })
  assert.deepEqual(addReadings([]).hash, { cpuMs: 0, steps: 0 })
})
