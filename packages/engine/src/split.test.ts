// A work computed piece by piece, in any order, gives the bits of the whole: every kind of work, every axis a cut may run along.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Data, type Expr, expr, input, interpret, makeGraph, type Shape, sizeOf, toBytes } from '@bitloom/graph'
import { lower } from './lower.ts'
import { planArena } from './plan.ts'
import { schedule } from './schedule.ts'
import { type Cut, cutOf, shareOf } from './split.ts'
import { build } from './wasm/build.ts'

let word = 7
const draw = (): number => (word = (Math.imul(word, 1664525) + 1013904223) >>> 0)
const floats = (shape: Shape): Float32Array => Float32Array.from({ length: sizeOf(shape) }, () => draw() / 2 ** 31 - 1)

/** Runs one expr over slots, its kernel's pieces one by one from the last to the first, and compares it with the interpreter. */
const check = (e: Expr, data: readonly { readonly shape: Shape; readonly data: Data }[]): Cut => {
  const kind = (d: Data) => (d instanceof Float32Array ? 'f32' : d instanceof Int32Array ? 'i32' : 'u8')
  const slots = [
    { name: 'out', kind: 'state' as const, dtype: e.dtype, shape: e.shape },
    ...data.map((d, s) => ({ name: `in${s}`, kind: 'data' as const, dtype: kind(d.data), shape: d.shape }) as const),
  ]
  const graph = makeGraph(slots, [e], expr('const', [], { dtype: 'i32', attrs: [0] }))
  const zero = e.dtype === 'f32' ? new Float32Array(sizeOf(e.shape)) : new Int32Array(sizeOf(e.shape))
  const lowered = lower(graph, { trace: false, joinedFolds: true })
  const { kernels, slotOf, copies } = schedule(lowered)
  const plan = planArena(lowered.buffers, { kernels, slotOf, kept: new Set([...copies.map((c) => c.buffer), lowered.probe]) })
  const { memory, pieces } = build(kernels, plan, { buffers: lowered.buffers, small: 0 })
  data.forEach((d, s) => {
    new Uint8Array(memory.buffer, plan.addresses[s + 1]).set(toBytes(d.data))
  })
  for (const { run, units } of pieces.flat()) for (let unit = units - 1; unit >= 0; unit--) run(unit, unit + 1)
  const at = plan.addresses[lowered.next[0]]
  const wanted = toBytes(interpret(graph, [zero, ...data.map((d) => d.data)]).next[0])
  assert.deepEqual(new Uint8Array(memory.buffer, at, wanted.length), wanted)
  const works = kernels.flatMap((k) => k.work)
  const main = works.find((w) => w.kind !== 'nest') ?? works.toSorted((a, b) => cutOf(b, 0).units - cutOf(a, 0).units)[0]
  return cutOf(main, 0)
}
const f32 = (...shape: number[]) => ({ shape, data: floats(shape) })
const index = (rows: number, count: number) => ({
  shape: [count],
  data: Int32Array.from({ length: count }, () => (draw() % (rows + 4)) - 2),
})

test('elementwise: along the lanes, with and without a rest', () => {
  for (const n of [16, 17, 64, 100, 1003]) {
    const cut = check(expr('mul', [input(1, 'f32', [n]), input(2, 'f32', [n])]), [f32(n), f32(n)])
    assert.equal(cut.units, Math.ceil(n / 16))
  }
})

test('elementwise over a transposed operand: along an outer axis, or an inner one where the outer one is short', () => {
  for (const [m, n] of [
    [40, 21],
    [3, 70],
    [2, 9],
  ]) {
    const turned = expr('permute', [input(1, 'f32', [n, m])], { attrs: [1, 0] })
    const cut = check(expr('add', [turned, input(2, 'f32', [m, n])]), [f32(n, m), f32(m, n)])
    assert.equal(cut.along, 'axis')
  }
  const deep = expr('permute', [input(1, 'f32', [5, 33, 6])], { attrs: [1, 2, 0] })
  check(expr('neg', [deep]), [f32(5, 33, 6)])
})

test('an index that counts along the axis that is cut', () => {
  const n = 90
  const counted = expr('iota', [], { dtype: 'i32', shape: [n, 7], attrs: [0] })
  check(expr('add', [counted, input(1, 'i32', [n, 7])]), [{ shape: [n, 7], data: Int32Array.from({ length: n * 7 }, draw) }])
})

test('reversed operands', () => {
  const reversed = expr('slice', [input(1, 'f32', [50, 7])], { shape: [50, 7], attrs: [49, 6, -1, -1] })
  check(expr('add', [reversed, input(2, 'f32', [50, 7])]), [f32(50, 7), f32(50, 7)])
})

test('folds over each axis', () => {
  for (const op of ['sum', 'maxOver', 'argmax'] as const)
    for (const axis of [0, 1, 2]) check(expr(op, [input(1, 'f32', [19, 6, 37])], { attrs: [axis] }), [f32(19, 6, 37)])
})

test('products: row panels, column panels, through batches', () => {
  for (const [batch, m, n] of [
    [[], 64, 33],
    [[], 13, 100],
    [[3, 2], 17, 9],
    [[4], 6, 40],
  ] as const) {
    const [a, b] = [
      [...batch, m, 20],
      [...batch, 20, n],
    ]
    const cut = check(expr('dot', [input(1, 'f32', a), input(2, 'f32', b)]), [f32(...a), f32(...b)])
    assert.equal(cut.along, m >= n ? 'rows' : 'columns')
  }
})

test('rows gathered and added: by rows, by columns', () => {
  for (const row of [1, 7, 70, 128]) {
    check(expr('gather', [input(1, 'f32', [30, row]), input(2, 'i32', [50])]), [f32(30, row), index(30, 50)])
    const cut = check(expr('scatterAdd', [input(1, 'f32', [50, row]), input(2, 'i32', [50])], { shape: [30, row] }), [
      f32(50, row),
      index(30, 50),
    ])
    assert.equal(cut.along, row >= 64 ? 'columns' : 'rows')
  }
})

test('works in sequence: filled, then copied into', () => {
  check(expr('pad', [input(1, 'f32', [40, 9])], { attrs: [1, 2, 3, 0, 0, 1, 0x3f800000] }), [f32(40, 9)])
  check(expr('concat', [input(1, 'f32', [40, 9]), input(2, 'f32', [40, 3])], { attrs: [1] }), [f32(40, 9), f32(40, 3)])
})

test('shares cover all pieces once, and differ by at most one', () => {
  for (const units of [1, 2, 5, 100, 101])
    for (const threads of [1, 2, 3, 16]) {
      const shares = Array.from({ length: threads }, (_, thread) => shareOf(units, thread, threads))
      assert.equal(shares[0][0], 0)
      assert.equal(shares[threads - 1][1], units)
      for (let t = 1; t < threads; t++) assert.equal(shares[t][0], shares[t - 1][1])
      const sizes = shares.map(([from, to]) => to - from)
      assert.ok(Math.max(...sizes) - Math.min(...sizes) <= 1)
    }
})

test('what is small stays whole', () => {
  assert.deepEqual(cutOf({ kind: 'dot', batch: [], m: 8, n: 8, k: 8, a: side, b: side, c: { buffer: 0 } }).along, 'whole')
})
const side = { buffer: 0, offset: 0, batch: [], row: 8, column: 1 }
