// threefry gives Random123's known answers, draws are what their names say, and initial values are PyTorch's distributions.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Expr, input, interpret, makeGraph } from '@bitloom/graph'
import { dropoutMask, kaimingUniform, keyOf, normal, RandomError, threefry, uniform, words, xavierUniform } from './random.ts'
import { constant, full, vector } from './tensor.ts'

/** The value of an expr of a seed (slot 1, i32[2]), by the interpreter. */
function evaluated(build: (seed: Expr) => Expr, seed: readonly [number, number] = [1, 2]): Float32Array | Int32Array {
  const e = build(input(1, 'i32', [2]))
  const slots = [
    { name: 'y', kind: 'state', dtype: e.dtype, shape: e.shape },
    { name: 'seed', kind: 'data', dtype: 'i32', shape: [2] },
  ] as const
  const n = e.shape.reduce((a, b) => a * b, 1)
  const blank = e.dtype === 'f32' ? new Float32Array(n) : new Int32Array(n)
  const graph = makeGraph(slots, [e], input(1, 'i32', [2]))
  return interpret(graph, [blank, Int32Array.from(seed)]).next[0] as Float32Array | Int32Array
}

test('threefry-2x32-20 gives the known answers of Random123', () => {
  // kat_vectors of Random123 1.14: counter, key, result
  const cases = [
    [0, 0, 0, 0, 0x6b200159, 0x99ba4efe],
    [0xffffffff, 0xffffffff, 0xffffffff, 0xffffffff, 0x1cb996fc, 0xbb002be7],
    [0x243f6a88, 0x85a308d3, 0x13198a2e, 0x03707344, 0xc4923a9c, 0x483df7a0],
  ]
  const column = (k: number): Expr =>
    vector(
      cases.map((c) => c[k]),
      'i32',
    )
  for (const word of [0, 1]) {
    const got = evaluated(() => threefry([column(2), column(3)], column(0), column(1))[word])
    assert.deepEqual(
      [...got].map((w) => w >>> 0),
      cases.map((c) => c[4 + word]),
    )
  }
})

test('words are first words, then second words, of counters (step, 0), (step, 1), …', () => {
  const key = (seed: Expr) => keyOf(seed, 3)
  const five = evaluated((seed) => words(key(seed), constant(7, 'i32'), 5))
  const [first, second] = [0, 1].map((w) => evaluated((seed) => threefry(key(seed), full([3], 7, 'i32'), vector([0, 1, 2], 'i32'))[w]))
  assert.deepEqual([...five], [...first, second[0], second[1]])
})

test('streams, steps and seeds give different words', () => {
  const draw = (stream: number, step: number, seed: [number, number]): string =>
    `${evaluated((s) => words(keyOf(s, stream), constant(step, 'i32'), 4), seed)}`
  const all = [draw(0, 0, [0, 0]), draw(1, 0, [0, 0]), draw(0, 1, [0, 0]), draw(0, 0, [1, 0]), draw(0, 0, [0, 1])]
  assert.equal(new Set(all).size, all.length)
})

test('uniform fills [0, 1) evenly', () => {
  const x = evaluated((seed) => uniform(keyOf(seed, 0), [100, 100]))
  assert.ok(x.every((v) => v >= 0 && v < 1))
  const bins = new Array<number>(10).fill(0)
  for (const v of x) bins[Math.floor(v * 10)]++
  const chi = bins.reduce((sum, n) => sum + (n - 1000) ** 2 / 1000, 0)
  assert.ok(chi < 27.9, `chi-squared ${chi} with 9 degrees of freedom: beyond the 0.1 % point`)
})

test('normal has the moments and the tails of a normal', () => {
  const x = [...evaluated((seed) => normal(keyOf(seed, 0), [20_001]))]
  const moment = (k: number): number => x.reduce((sum, v) => sum + v ** k, 0) / x.length
  // five standard errors each: 1, √2, √15, √96 over √n
  for (const [k, expected, spread] of [
    [1, 0, 1],
    [2, 1, 1.42],
    [3, 0, 3.9],
    [4, 3, 9.8],
  ] as const)
    assert.ok(Math.abs(moment(k) - expected) < (5 * spread) / Math.sqrt(x.length), `moment ${k}: ${moment(k)}`)
  const beyond2 = x.filter((v) => Math.abs(v) > 2).length / x.length
  assert.ok(Math.abs(beyond2 - 0.0455) < 0.0075, `${beyond2} beyond 2`)
})

test('dropout keeps an expected sum: 0 or 1/(1-p)', () => {
  const x = evaluated((seed) => dropoutMask(keyOf(seed, 0), [8000], 0.25, constant(3, 'i32')))
  assert.ok(x.every((v) => v === 0 || v === Math.fround(1 / 0.75)))
  const kept = x.filter((v) => v !== 0).length / x.length
  assert.ok(Math.abs(kept - 0.75) < 0.025, `${kept} kept`)
  assert.ok(evaluated((seed) => dropoutMask(keyOf(seed, 0), [50], 0, constant(3, 'i32'))).every((v) => v === 1))
  assert.throws(() => dropoutMask(keyOf(input(0, 'i32', [2]), 0), [2], 1, constant(0, 'i32')), RandomError)
})

test('initial values keep to their bounds and reach towards them', () => {
  for (const [x, bound] of [
    [evaluated((seed) => kaimingUniform(keyOf(seed, 0), [50, 64], 64)), 1 / 8],
    [evaluated((seed) => xavierUniform(keyOf(seed, 0), [50, 46], 46, 50)), 0.25],
  ] as const) {
    const most = Math.max(...x.map(Math.abs))
    assert.ok(most <= bound && most > 0.99 * bound, `${most} of ${bound}`)
    assert.ok(Math.abs([...x].reduce((a, b) => a + b, 0) / x.length) < bound / 10)
  }
})
