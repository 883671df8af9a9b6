// The arena: tensors that live at the same time never overlap, others share; too much is refused in words.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Buffer, Kernel } from './kernel.ts'
import { ArenaError, planArena } from './plan.ts'

const kernel = (reads: number[], writes: number[]): Kernel => ({ name: '', work: [], reads, writes, exprs: [] })

/** A chain 0 -> 1 -> 2 -> … of equal temporaries after one slot. */
const chain = (length: number, bytes: number) => {
  const buffers: Buffer[] = [{ bytes, slot: 0 }, ...Array.from({ length }, () => ({ bytes }))]
  const kernels = Array.from({ length }, (_, i) => kernel([i], [i + 1]))
  return { buffers, lifetimes: { kernels, slotOf: buffers.map((b) => b.slot), kept: new Set([length]) } }
}

test('a chain of any length needs two temporaries', () => {
  for (const length of [2, 3, 10, 100]) {
    const { buffers, lifetimes } = chain(length, 6400)
    const plan = planArena(buffers, lifetimes)
    assert.equal(plan.slotBytes, 6400)
    assert.equal(plan.liveBytes, 2 * 6400)
    assert.equal(plan.end, 64 + 3 * 6400)
  }
})

test('tensors alive together never overlap', () => {
  const buffers: Buffer[] = Array.from({ length: 40 }, (_, i) => ({ bytes: 64 + ((i * 97) % 1000) }))
  const kernels = Array.from({ length: 40 }, (_, i) => kernel(i >= 7 ? [i - 7, i - (i % 5) - 1] : [], [i]))
  const { addresses } = planArena(buffers, { kernels, slotOf: buffers.map(() => undefined), kept: new Set([39]) })
  const last = buffers.map((_, b) => (b === 39 ? 40 : Math.max(b, ...kernels.map((k, time) => (k.reads.includes(b) ? time : -1)))))
  for (let a = 0; a < 40; a++)
    for (let b = a + 1; b < 40; b++) {
      if (last[a] < b) continue
      assert.ok(addresses[a] + buffers[a].bytes <= addresses[b] || addresses[b] + buffers[b].bytes <= addresses[a], `${a} and ${b}`)
    }
})

test('more than 4 GB is refused before anything is allocated, with the sizes', () => {
  const { buffers, lifetimes } = chain(3, 1.5 * 2 ** 30)
  assert.throws(
    () => planArena(buffers, lifetimes),
    (error: unknown) =>
      error instanceof ArenaError && /4\.50 GiB \(1\.50 GiB of it slots\); one WebAssembly memory holds 4\.00 GiB/.test(error.message),
  )
})
