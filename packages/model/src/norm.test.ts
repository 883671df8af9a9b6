// Normalisations against their formulas in float64.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allocate, type Expr, input, interpret, makeGraph, type Shape, type Slot, sizeOf, unravel } from '@bitloom/graph'
import {
  batchNorm,
  batchNormTraining,
  groupNorm,
  groupwise,
  instanceNorm,
  layerNormFrom,
  NormError,
  rmsNorm,
  runningMoments,
  standardize,
} from './norm.ts'
import { constant } from './tensor.ts'

const draw = (shape: Shape, seed = 0): Float32Array =>
  Float32Array.from({ length: sizeOf(shape) }, (_, i) => (((i * 37 + seed * 11) % 64) - 31.5) / 16)

function run(shapes: readonly Shape[], f: (...x: Expr[]) => readonly Expr[]): number[][] {
  const make = (first: number): readonly Expr[] => f(...shapes.map((s, i) => input(first + i, 'f32', s)))
  const results = make(make(0).length)
  const slots: Slot[] = [
    ...results.map((e, i): Slot => ({ name: `y${i}`, kind: 'state', dtype: e.dtype, shape: e.shape })),
    ...shapes.map((shape, i): Slot => ({ name: `x${i}`, kind: 'data', dtype: 'f32', shape })),
  ]
  const graph = makeGraph(slots, results, constant(0, 'i32'))
  return interpret(graph, [...results.map((e) => allocate(e.dtype, sizeOf(e.shape))), ...shapes.map(draw)]).next.map((d) => [...d])
}

const close = (got: readonly number[], expected: readonly number[], what: string): void => {
  assert.equal(got.length, expected.length, what)
  got.forEach((v, i) => {
    assert.ok(Math.abs(v - expected[i]) < 3e-6 * Math.max(1, Math.abs(expected[i])), `${what} [${i}]: ${v}, not ${expected[i]}`)
  })
}

/** Elements that share a key, standardised together; also each key's mean and variance in order of appearance. */
function standardized(x: Float32Array, keyOf: (i: number) => string, eps: number) {
  const groups = new Map<string, number[]>()
  x.forEach((v, i) => {
    groups.set(keyOf(i), [...(groups.get(keyOf(i)) ?? []), v])
  })
  const moments = new Map(
    [...groups].map(([key, v]) => {
      const mean = v.reduce((a, b) => a + b) / v.length
      return [key, { mean, variance: v.reduce((a, b) => a + (b - mean) ** 2, 0) / v.length }]
    }),
  )
  const y = Array.from(x, (v, i) => {
    const { mean, variance } = moments.get(keyOf(i))!
    return (v - mean) / Math.sqrt(variance + eps)
  })
  return { y, means: [...moments.values()].map((m) => m.mean), variances: [...moments.values()].map((m) => m.variance) }
}

const shape: Shape = [3, 4, 2, 5]
const at = (i: number): number[] => unravel(i, shape)
const x = draw(shape)
const [w, b] = [draw([4], 1), draw([4], 2)]

test('batch norm by its batch, by running moments, and the moments that are kept', () => {
  const by = standardized(x, (i) => `${at(i)[1]}`, 1e-3)
  const outcome = run([shape, [4], [4]], (a, weight, bias) => {
    const trained = batchNormTraining(a, weight, bias, 1e-3)
    const running = { mean: weight, variance: bias }
    const kept = [30, 0].map((count) => runningMoments(running, trained, count, 0.3))
    return [trained.y, trained.mean, trained.variance, kept[0].mean, kept[0].variance, kept[1].variance]
  })
  const affine = by.y.map((v, i) => v * w[at(i)[1]] + b[at(i)[1]])
  const next = (old: Float32Array, now: readonly number[]): number[] => now.map((v, c) => 0.7 * old[c] + 0.3 * v)
  const unbiased = by.variances.map((v) => (v * 30) / 29)
  const expected = [affine, by.means, by.variances, next(w, by.means), next(b, unbiased), next(b, by.variances)]
  outcome.forEach((o, i) => {
    close(o, expected[i], `output ${i}`)
  })
  const [fixed] = run([shape, [4], [4]], (a, weight, bias) => [batchNorm(a, { mean: weight, variance: constant(0.5) }, weight, bias, 0.25)])
  close(
    fixed,
    Array.from(x, (v, i) => ((v - w[at(i)[1]]) / Math.sqrt(0.75)) * w[at(i)[1]] + b[at(i)[1]]),
    'by running moments',
  )
})

test('instance, group, layer and root-mean-square norm', () => {
  const channel = (v: readonly number[]): number[] => v.map((u, i) => u * w[at(i)[1]] + b[at(i)[1]])
  const half = (i: number): number => Math.floor(at(i)[1] / 2)
  const [instance, group, byGroup] = run([shape, [4], [4], [2], [2]], (a, c, d, e, f) => [
    instanceNorm(a, c, d, 1e-2),
    groupNorm(a, 2, c, d, 1e-2),
    groupNorm(a, 2, e, f, 1e-2),
  ])
  close(instance, channel(standardized(x, (i) => `${at(i).slice(0, 2)}`, 1e-2).y), 'instance norm')
  const grouped = standardized(x, (i) => `${at(i)[0]} ${half(i)}`, 1e-2).y
  close(group, channel(grouped), 'group norm')
  const [gw, gb] = [draw([2], 3), draw([2], 4)]
  close(
    byGroup,
    grouped.map((v, i) => v * gw[half(i)] + gb[half(i)]),
    'group norm with a weight a group',
  )
  const [layer, mean, rms] = run([shape, [2, 5]], (a, weight) => {
    const { y, mean } = layerNormFrom(a, 2, weight, undefined, 1e-2)
    return [y, mean, rmsNorm(a, -2, weight, 1e-2)]
  })
  const lw = draw([2, 5], 1)
  const key = (i: number): string => `${at(i).slice(0, 2)}`
  const by = standardized(x, key, 1e-2)
  close(
    layer,
    by.y.map((v, i) => v * lw[i % 10]),
    'layer norm',
  )
  close(mean, by.means, 'means')
  const squares = standardized(
    x.map((v) => v * v),
    key,
    0,
  ).means
  close(
    rms,
    Array.from(x, (v, i) => (v / Math.sqrt(squares[Math.floor(i / 10)] + 1e-2)) * lw[i % 10]),
    'rms norm',
  )
})

test('moments keep their axes; groups that do not divide the channels are refused', () => {
  const { mean } = standardize(input(0, 'f32', shape), [1, 3])
  assert.deepEqual(mean.shape, [3, 1, 2, 1])
  assert.throws(() => groupwise(input(0, 'f32', shape), 3), NormError)
})
