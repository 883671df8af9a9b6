// Convolutions and pools against seven nested loops in float64, with strides, dilations, borders and groups.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Expr, input, interpret, makeGraph, type Shape, type Slot, sizeOf } from '@bitloom/graph'
import { ConvError, type ConvOptions, conv2d } from './conv.ts'
import { gradients } from './grad.ts'
import { batchMoments, batchNorm, runningMoments } from './norm.ts'
import { averagePool2d, maxPool2d } from './pool.ts'
import { constant, mul, sum } from './tensor.ts'

const values = (shape: Shape, seed: number): Float32Array =>
  Float32Array.from({ length: sizeOf(shape) }, (_, i) => (((i * 37 + seed * 11) % 64) - 31.5) / 16)

function evaluated(f: (...x: Expr[]) => readonly Expr[], ...shapes: Shape[]): Float32Array[] {
  const count = f(...shapes.map((s, i) => input(i, 'f32', s))).length
  const inputs = shapes.map((s, i) => input(count + i, 'f32', s))
  const results = f(...inputs)
  const slots: Slot[] = [
    ...results.map((e, i): Slot => ({ name: `y${i}`, kind: 'state', dtype: 'f32', shape: e.shape })),
    ...shapes.map((shape, i): Slot => ({ name: `x${i}`, kind: 'data', dtype: 'f32', shape })),
  ]
  const blank = results.map((e) => new Float32Array(sizeOf(e.shape)))
  const graph = makeGraph(slots, results, constant(0, 'i32'))
  return interpret(graph, [...blank, ...shapes.map((s, i) => values(s, i))]).next as Float32Array[]
}

type Loop = { stride: [number, number]; dilation: [number, number]; padding: [number, number, number, number]; groups: number }

/** Visits every (output element, weight element or window place, input element or -1 on the border). */
function places(x: Shape, w: Shape, o: Loop, visit: (out: number, weight: number, at: number) => void): number[] {
  const [n, c, h, width] = x
  const [outputs, inner, kh, kw] = w
  const oh = Math.floor((h + o.padding[0] + o.padding[2] - (kh - 1) * o.dilation[0] - 1) / o.stride[0]) + 1
  const ow = Math.floor((width + o.padding[1] + o.padding[3] - (kw - 1) * o.dilation[1] - 1) / o.stride[1]) + 1
  let out = 0
  for (let b = 0; b < n; b++)
    for (let k = 0; k < outputs; k++)
      for (let i = 0; i < oh; i++)
        for (let j = 0; j < ow; j++, out++)
          for (let ci = 0; ci < inner; ci++)
            for (let p = 0; p < kh; p++)
              for (let q = 0; q < kw; q++) {
                const channel = Math.floor(k / (outputs / o.groups)) * inner + ci
                const row = i * o.stride[0] + p * o.dilation[0] - o.padding[0]
                const column = j * o.stride[1] + q * o.dilation[1] - o.padding[1]
                const inside = row >= 0 && row < h && column >= 0 && column < width
                visit(out, ((k * inner + ci) * kh + p) * kw + q, inside ? ((b * c + channel) * h + row) * width + column : -1)
              }
  return [n, outputs, oh, ow]
}

const plain: Loop = { stride: [1, 1], dilation: [1, 1], padding: [0, 0, 0, 0], groups: 1 }
const close = (got: Float32Array, expected: ArrayLike<number>, what: string): void => {
  assert.equal(got.length, expected.length, what)
  got.forEach((v, i) => {
    assert.ok(Math.abs(v - expected[i]) < 1e-4, `${what} [${i}]: ${v}, not ${expected[i]}`)
  })
}

const CASES: [string, Shape, Shape, Partial<Loop>][] = [
  ['plain', [2, 3, 5, 6], [4, 3, 3, 2], {}],
  ['strided with a border', [2, 2, 7, 6], [3, 2, 3, 3], { stride: [2, 2], padding: [1, 1, 1, 1] }],
  ['uneven', [1, 2, 8, 7], [2, 2, 2, 3], { stride: [3, 1], dilation: [2, 2], padding: [0, 1, 2, 0] }],
  ['grouped', [2, 4, 4, 4], [6, 2, 3, 3], { groups: 2, padding: [1, 1, 1, 1] }],
  ['depthwise', [1, 3, 5, 5], [3, 1, 3, 3], { groups: 3 }],
]

for (const [name, xShape, wShape, part] of CASES)
  test(`conv2d, ${name}: value and both gradients`, () => {
    const loop = { ...plain, ...part }
    const [x, w] = [values(xShape, 0), values(wShape, 1)]
    const run = (a: Expr, b: Expr): Expr => conv2d(a, b, loop as ConvOptions)
    const shape = run(input(0, 'f32', xShape), input(1, 'f32', wShape)).shape
    const seed = values(shape, 2)
    const [y, dx, dw] = [new Float64Array(sizeOf(shape)), new Float64Array(x.length), new Float64Array(w.length)]
    const expected = places(xShape, wShape, loop, (out, weight, at) => {
      if (at < 0) return
      y[out] += x[at] * w[weight]
      dx[at] += seed[out] * w[weight]
      dw[weight] += seed[out] * x[at]
    })
    assert.deepEqual(shape, expected)
    const got = evaluated((a, b, s) => [run(a, b), ...gradients(sum(mul(run(a, b), s)), [a, b])], xShape, wShape, shape)
    for (const [i, by] of [y, dx, dw].entries()) close(got[i], by, ['y', 'dx', 'dw'][i])
  })

test('pools', () => {
  const x = values([2, 3, 6, 5], 0)
  const loop: Loop = { ...plain, stride: [2, 2], padding: [1, 1, 1, 1], groups: 3 }
  const [most, total] = [new Map<number, number>(), new Map<number, number>()]
  places([2, 3, 6, 5], [3, 1, 3, 2], loop, (out, _, at) => {
    const v = at < 0 ? undefined : x[at]
    most.set(out, Math.max(most.get(out) ?? Number.NEGATIVE_INFINITY, v ?? Number.NEGATIVE_INFINITY))
    total.set(out, (total.get(out) ?? 0) + (v ?? 0))
  })
  const options: ConvOptions = { stride: 2, padding: 1 }
  const [max, average] = evaluated((a) => [maxPool2d(a, [3, 2], options), averagePool2d(a, [3, 2], options)], [2, 3, 6, 5])
  close(max, [...most.values()], 'max')
  close(
    average,
    [...total.values()].map((t) => t / 6),
    'average',
  )
})

test('batch norm: moments, normalised values and running statistics', () => {
  const shape = [2, 3, 4, 5]
  const x = values(shape, 0)
  const channel = (c: number): number[] => [...x].filter((_, i) => Math.floor(i / 20) % 3 === c)
  const means = [0, 1, 2].map((c) => channel(c).reduce((a, b) => a + b) / 40)
  const variances = [0, 1, 2].map((c) => channel(c).reduce((a, b) => a + (b - means[c]) ** 2, 0) / 40)
  const [w, b] = [values([3], 1), values([3], 2)]
  const [mean, variance, y, nextMean, nextVariance] = evaluated(
    (a, weight, bias) => {
      const moments = batchMoments(a)
      const running = runningMoments({ mean: weight, variance: bias }, moments, 40)
      return [moments.mean, moments.variance, batchNorm(a, moments, weight, bias), running.mean, running.variance]
    },
    ...[shape, [3], [3]],
  )
  close(mean, means, 'mean')
  close(variance, variances, 'variance')
  const at = (i: number): number => Math.floor(i / 20) % 3
  close(
    y,
    [...x].map((v, i) => ((v - means[at(i)]) / Math.sqrt(variances[at(i)] + 1e-5)) * w[at(i)] + b[at(i)]),
    'y',
  )
  close(
    nextMean,
    means.map((m, c) => 0.9 * w[c] + 0.1 * m),
    'running mean',
  )
  close(
    nextVariance,
    variances.map((v, c) => 0.9 * b[c] + (0.1 * v * 40) / 39),
    'running variance',
  )
})

test('channels that do not fit are refused', () => {
  assert.throws(() => conv2d(input(0, 'f32', [1, 3, 4, 4]), input(1, 'f32', [2, 2, 3, 3])), ConvError)
})
