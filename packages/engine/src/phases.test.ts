// Waits between works: one wherever a thread could touch what another still writes, none where nobody could.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Buffer, Kernel, Work } from './kernel.ts'
import { turnsOf } from './phases.ts'
import { planArena } from './plan.ts'

let word = 99
const below = (n: number): number => Math.floor(((word = (Math.imul(word, 1664525) + 1013904223) >>> 0) / 2 ** 32) * n)

/** An elementwise kernel over `size` elements; small ones are not cut. */
const kernel = (reads: number[], writes: number[], size: number): Kernel => {
  const access = (buffer: number) => ({ buffer, dtype: 'f32' as const, offset: 0, strides: [1] })
  const nodes = reads.map((b) => ({ kind: 'load' as const, access: access(b) }))
  const stores = writes.map((b) => ({ node: 0, access: access(b), canonical: false }))
  const work: Work = { kind: 'nest', shape: [size], nodes, stores }
  return { name: '', work: [work], reads, writes, exprs: [] }
}
const [large, small] = [100_000, 10]
const waitsOf = (kernels: readonly Kernel[], buffers: readonly Buffer[]) => {
  const slotOf = buffers.map((b) => b.slot)
  const plan = planArena(buffers, { kernels, slotOf, kept: new Set() })
  return { plan, turns: turnsOf(kernels, plan, buffers) }
}
const slots = (n: number, elements: number): Buffer[] => Array.from({ length: n }, (_, slot) => ({ bytes: 4 * elements, slot }))

test('kernels that share nothing, or only what all read, do not wait', () => {
  const { turns } = waitsOf([kernel([0], [1], large), kernel([0], [2], large), kernel([3], [4], large)], slots(5, large))
  assert.deepEqual(
    turns.map((t) => t.wait),
    [false, false, false],
  )
})

test('a reader waits for the writer, a writer for the readers; small kernels in a row are one thread and wait for nobody', () => {
  const after = (kernels: Kernel[]) => waitsOf(kernels, slots(5, large)).turns.map((t) => t.wait)
  assert.deepEqual(after([kernel([0], [1], large), kernel([1], [2], large), kernel([3], [1], large)]), [false, true, true])
  assert.deepEqual(after([kernel([0], [1], small), kernel([1], [2], small), kernel([2], [0], small)]), [false, false, false])
  assert.deepEqual(after([kernel([0], [1], small), kernel([1], [2], large), kernel([2], [3], small)]), [false, true, true])
})

test('temporaries that share memory at different times are waited for', () => {
  const buffers: Buffer[] = [...slots(1, large), ...Array.from({ length: 3 }, () => ({ bytes: 4 * large }))]
  // 1 is dead when 3 is written, and lies at its place: who writes 3 must not overtake who still reads 1.
  const { plan, turns } = waitsOf(
    [kernel([0], [1], large), kernel([1], [2], large), kernel([0], [3], large), kernel([2, 3], [0], large)],
    buffers,
  )
  assert.equal(plan.addresses[3], plan.addresses[1])
  assert.deepEqual(
    turns.map((t) => t.wait),
    [false, true, true, true],
  )
})

test('in random steps every conflict between threads has a wait between, and every wait has a conflict', () => {
  for (let round = 0; round < 300; round++) {
    const count = 4 + below(12)
    const buffers: Buffer[] = [...slots(4, large), ...Array.from({ length: count }, () => ({ bytes: 4 * large }))]
    const kernels = Array.from({ length: count }, (_, i) =>
      kernel([below(4 + i), below(4 + i)], below(4) === 0 ? [below(4)] : [4 + i], below(3) === 0 ? small : large),
    )
    // A temporary that nobody wrote has no place.
    const written = new Set(kernels.flatMap((k) => k.writes))
    const valid = kernels.map((k) => ({ ...k, reads: k.reads.filter((b) => b < 4 || written.has(b)) }))
    const { plan, turns } = waitsOf(valid, buffers)
    const bytes = (list: readonly number[]) => list.map((b) => [plan.addresses[b], plan.addresses[b] + buffers[b].bytes])
    const touch = (a: readonly number[], b: readonly number[]): boolean =>
      bytes(a).some(([start, end]) => bytes(b).some(([from, to]) => start < to && from < end))
    const conflict = (i: number, j: number): boolean =>
      (turns[i].cut.along !== 'whole' || turns[j].cut.along !== 'whole') &&
      (touch(valid[i].writes, [...valid[j].reads, ...valid[j].writes]) || touch(valid[i].reads, valid[j].writes))
    let last = 0
    turns.forEach((turn, j) => {
      if (turn.wait) {
        assert.ok(
          turns.some((_, i) => i >= last && i < j && conflict(i, j)),
          `round ${round}: nothing to wait for before ${j}`,
        )
        last = j
      }
      for (let i = last; i < j; i++) assert.ok(!conflict(i, j), `round ${round}: ${i} and ${j} at the same time`)
    })
  }
})
