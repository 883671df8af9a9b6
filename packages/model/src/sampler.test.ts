// Every epoch sees every example once, in another order, wherever the batches fall.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Expr, input, interpret, makeGraph } from '@bitloom/graph'
import { listed, planPermutation, SamplerError, sequential, shuffled } from './sampler.ts'
import { reshape } from './tensor.ts'

/** The examples of positions first, … by the interpreter. */
function examples(index: (seed: Expr, first: Expr) => Expr, n: number, first: number, seed: readonly [number, number] = [5, 6]): number[] {
  const slots = [
    { name: 'index', kind: 'state', dtype: 'i32', shape: [n] },
    { name: 'first', kind: 'data', dtype: 'i32', shape: [1] },
    { name: 'seed', kind: 'data', dtype: 'i32', shape: [2] },
  ] as const
  const e = index(input(2, 'i32', [2]), input(1, 'i32', [1]))
  const graph = makeGraph(slots, [e], input(1, 'i32', [1]))
  return [...interpret(graph, [new Int32Array(n), Int32Array.of(first), Int32Array.from(seed)]).next[0]]
}

const isPermutation = (order: readonly number[]): boolean => [...order].sort((a, b) => a - b).every((x, i) => x === i)

for (const count of [1, 2, 7, 60, 97, 1000, 9000])
  test(`each of three epochs of ${count} examples is a permutation`, () => {
    const epochs = [0, 1, 2].map((e) => examples((seed, first) => shuffled(seed, first, count, count), count, e * count))
    for (const order of epochs) assert.ok(isPermutation(order))
    if (count >= 60) assert.equal(new Set(epochs.map(String)).size, 3)
  })

test('batches that do not divide the epoch tile the same orders', () => {
  const count = 60
  const whole = [0, 60, 120, 180].flatMap((at) => examples((seed, first) => shuffled(seed, first, count, count), count, at))
  for (const batch of [7, 32, 64, 150]) {
    const tiles: number[] = []
    while (tiles.length < 180) tiles.push(...examples((seed, first) => shuffled(seed, first, batch, count), batch, tiles.length))
    assert.deepEqual(tiles.slice(0, 180), whole.slice(0, 180), `batches of ${batch}`)
  }
})

test('orders differ with the seed and look random', () => {
  const order = (seed: readonly [number, number]): number[] => examples((s, first) => shuffled(s, first, 1000, 1000), 1000, 0, seed)
  const one = order([1, 1])
  assert.notDeepEqual(one, order([1, 2]))
  // fixed points are Poisson(1); neighbours stay neighbours about twice in n
  assert.ok(one.filter((x, i) => x === i).length < 8)
  assert.ok(one.filter((x, i) => i > 0 && Math.abs(x - one[i - 1]) === 1).length < 12)
  const correlation = one.reduce((sum, x, i) => sum + (x - 499.5) * (i - 499.5), 0) / (1000 * 83333)
  assert.ok(Math.abs(correlation) < 0.12, `rank correlation ${correlation}`)
})

test('a plan covers the count, with leftovers rarer than 2^-20', () => {
  for (const count of [1, 2, 3, 7, 11, 60, 97, 1009, 9000, 60_000, 99_991, 2 ** 31 - 1]) {
    const { a, b, walks } = planPermutation(count)
    assert.ok(a * b >= count && walks <= 20, `${count}: ${a}x${b}, ${walks} walks`)
    assert.ok(((a * b - count) / (a * b)) ** (walks + 1) <= 2 ** -20)
  }
  for (const count of [0, 1.5, 2 ** 31]) assert.throws(() => planPermutation(count), SamplerError)
})

test('sequential wraps, listed reads its row', () => {
  assert.deepEqual(
    examples((_, first) => sequential(first, 4, 3), 4, 4),
    [1, 2, 0, 1],
  )
  const slots = [
    { name: 'index', kind: 'state', dtype: 'i32', shape: [2] },
    { name: 'order', kind: 'data', dtype: 'i32', shape: [3, 2] },
    { name: 'step', kind: 'data', dtype: 'i32', shape: [1] },
  ] as const
  const graph = makeGraph(slots, [listed(input(1, 'i32', [3, 2]), reshape(input(2, 'i32', [1]), []))], input(2, 'i32', [1]))
  const got = interpret(graph, [new Int32Array(2), Int32Array.of(9, 8, 7, 6, 5, 4), Int32Array.of(1)]).next[0]
  assert.deepEqual([...got], [7, 6])
})
