// Convolutions, their transposes and pools over one, two and three axes, against loops over every window in float64.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allocate, type Expr, input, interpret, makeGraph, type Shape, type Slot, sizeOf, stridesOf, unravel } from '@bitloom/graph'
import { ConvError, convolve, convolveTranspose } from './conv.ts'
import { averagePool, globalAveragePool, globalLpPool, globalMaxPool, lpPool, maxPool, maxPoolIndices } from './pool.ts'
import { SpatialError, type SpatialOptions, slidesOf } from './spatial.ts'
import { constant } from './tensor.ts'

const draw = (shape: Shape, seed = 0): Float32Array =>
  Float32Array.from({ length: sizeOf(shape) }, (_, i) => (((i * 37 + seed * 11) % 64) - 31.5) / 16)

function run(shapes: readonly Shape[], f: (...x: Expr[]) => readonly Expr[]): { shape: Shape; data: number[] }[] {
  const make = (first: number): readonly Expr[] => f(...shapes.map((s, i) => input(first + i, 'f32', s)))
  const results = make(make(0).length)
  const slots: Slot[] = [
    ...results.map((e, i): Slot => ({ name: `y${i}`, kind: 'state', dtype: e.dtype, shape: e.shape })),
    ...shapes.map((shape, i): Slot => ({ name: `x${i}`, kind: 'data', dtype: 'f32', shape })),
  ]
  const graph = makeGraph(slots, results, constant(0, 'i32'))
  const { next } = interpret(graph, [...results.map((e) => allocate(e.dtype, sizeOf(e.shape))), ...shapes.map(draw)])
  return results.map((e, i) => ({ shape: e.shape, data: [...next[i]] }))
}

const close = (got: readonly number[], expected: readonly number[], what: string): void => {
  assert.equal(got.length, expected.length, what)
  got.forEach((v, i) => {
    assert.ok(Math.abs(v - expected[i]) < 1e-5 * Math.max(1, Math.abs(expected[i])), `${what} [${i}]: ${v}, not ${expected[i]}`)
  })
}

type Window = {
  readonly out: number
  /** Kernel place and the coordinates it reads, which may lie on the border. */
  readonly reads: readonly { readonly place: number; readonly at: readonly number[]; readonly inside: boolean }[]
}

/** Every window over spatial sizes, in row-major order. */
function windowsOf(sizes: Shape, kernel: Shape, strides: Shape, dilations: Shape, low: Shape, counts: Shape): Window[] {
  return Array.from({ length: sizeOf(counts) }, (_, out) => {
    const o = unravel(out, counts)
    const reads = Array.from({ length: sizeOf(kernel) }, (_, place) => {
      const k = unravel(place, kernel)
      const at = sizes.map((_, a) => o[a] * strides[a] + k[a] * dilations[a] - low[a])
      return { place, at, inside: at.every((p, a) => p >= 0 && p < sizes[a]) }
    })
    return { out, reads }
  })
}

const flat = (at: readonly number[], sizes: Shape): number => stridesOf(sizes).reduce((n, s, a) => n + s * at[a], 0)

type Setting = Required<Pick<SpatialOptions, 'strides' | 'dilations' | 'pads'>>
const SETTINGS: readonly [sizes: Shape, kernel: Shape, setting: Setting][] = [
  [[9], [3], { strides: [2], dilations: [1], pads: [1, 0] }],
  [[8], [2], { strides: [1], dilations: [3], pads: [0, 2] }],
  [[5, 6], [3, 2], { strides: [2, 1], dilations: [1, 2], pads: [1, 0, 0, 2] }],
  [[4, 3, 5], [2, 3, 2], { strides: [1, 2, 2], dilations: [2, 1, 1], pads: [0, 1, 1, 1, 1, 0] }],
]
const countsOf = (sizes: Shape, kernel: Shape, s: Setting): number[] =>
  sizes.map((d, a) => Math.floor((d + s.pads[a] + s.pads[sizes.length + a] - (kernel[a] - 1) * s.dilations[a] - 1) / s.strides[a]) + 1)

for (const [sizes, kernel, setting] of SETTINGS)
  test(`over [${sizes}] by [${kernel}]: convolution, its transpose, pools`, () => {
    const counts = countsOf(sizes, kernel, setting)
    const windows = windowsOf(sizes, kernel, setting.strides, setting.dilations, setting.pads, counts)
    const [n, groups, inner, outer] = [2, 2, 2, 1]
    const [area, out, places] = [sizeOf(sizes), sizeOf(counts), sizeOf(kernel)]
    const shapes: Shape[] = [
      [n, groups * inner, ...sizes],
      [groups * outer, inner, ...kernel],
      [n, groups * outer, ...counts],
    ]
    const [x, w, g] = shapes.map(draw)
    const y = new Array<number>(n * groups * outer * out).fill(0)
    const back = new Array<number>(n * groups * inner * area).fill(0)
    for (let e = 0; e < n; e++)
      for (let o = 0; o < groups * outer; o++)
        for (let c = 0; c < inner; c++)
          for (const { out: at, reads } of windows)
            for (const r of reads) {
              if (!r.inside) continue
              const from = (e * groups * inner + Math.floor(o / outer) * inner + c) * area + flat(r.at, sizes)
              const to = (e * groups * outer + o) * out + at
              const weight = w[(o * inner + c) * places + r.place]
              y[to] += x[from] * weight
              back[from] += g[to] * weight
            }
    // what the strides leave over at the end is put back by outputPadding
    const outputPadding = sizes.map(
      (d, a) =>
        d +
        setting.pads[a] +
        setting.pads[sizes.length + a] -
        (kernel[a] - 1) * setting.dilations[a] -
        1 -
        (counts[a] - 1) * setting.strides[a],
    )
    const [conv, transposed] = run(shapes, (a, b, c) => [
      convolve(a, b, { ...setting, groups }),
      convolveTranspose(c, b, { ...setting, groups, outputPadding }),
    ])
    assert.deepEqual([conv.shape, transposed.shape], [shapes[2], shapes[0]])
    close(conv.data, y, 'convolution')
    close(transposed.data, back, 'transpose')

    const channels = groups * inner
    const pooled = (f: (values: number[], inside: number, at: number[]) => number): number[] =>
      Array.from({ length: n * channels }, (_, c) =>
        windows.map(({ reads }) => {
          const own = reads.filter((r) => r.inside)
          const at = own.map((r) => c * area + flat(r.at, sizes))
          return f(
            at.map((i) => x[i]),
            own.length,
            at,
          )
        }),
      ).flat()
    const add = (v: readonly number[]): number => v.reduce((a, b) => a + b, 0)
    const pools = run([shapes[0]], (a) => [
      maxPool(a, kernel, setting),
      averagePool(a, kernel, setting),
      averagePool(a, kernel, { ...setting, countBorder: true }),
      lpPool(a, kernel, 2, setting),
      maxPoolIndices(a, kernel, setting),
    ])
    const by = [
      pooled((v) => Math.max(...v)),
      pooled((v, inside) => add(v) / inside),
      pooled((v) => add(v) / places),
      pooled((v) => Math.sqrt(add(v.map((u) => u * u)))),
      pooled((v, _, at) => at[v.indexOf(Math.max(...v))]),
    ]
    pools.forEach((p, i) => {
      close(p.data, by[i], ['max', 'mean', 'mean with border', 'norm', 'index'][i])
    })
  })

test('global pools', () => {
  const x = draw([2, 3, 4, 5])
  const rows = Array.from({ length: 6 }, (_, r) => [...x.subarray(r * 20, r * 20 + 20)])
  const [mean, max, norm] = run([[2, 3, 4, 5]], (a) => [globalAveragePool(a), globalMaxPool(a), globalLpPool(a, 1)])
  assert.deepEqual(mean.shape, [2, 3, 1, 1])
  close(
    mean.data,
    rows.map((r) => r.reduce((a, b) => a + b) / 20),
    'mean',
  )
  close(
    max.data,
    rows.map((r) => Math.max(...r)),
    'max',
  )
  close(
    norm.data,
    rows.map((r) => r.reduce((a, b) => a + Math.abs(b), 0)),
    'norm',
  )
})

test('rounding up counts a last window that starts inside, and never what lies behind the border', () => {
  const counted = (size: number, pads: [number, number], ceilMode: boolean): number =>
    slidesOf([size], [3], { strides: [2], pads, ceilMode })[0].count
  assert.deepEqual([counted(6, [0, 0], false), counted(6, [0, 0], true)], [2, 3])
  // torch: MaxPool1d(3, 2, padding=1, ceil_mode=True) of 6 gives 4, of 5 gives 3
  assert.deepEqual([counted(6, [1, 1], true), counted(5, [1, 1], true)], [4, 3])
  const [y] = run([[1, 1, 6]], (a) => [averagePool(a, [3], { strides: [2], pads: [1, 1], ceilMode: true, countBorder: true })])
  const x = draw([1, 1, 6])
  // the last window covers x[5], the border, and one place beyond it that does not count
  close(y.data, [(x[0] + x[1]) / 3, (x[1] + x[2] + x[3]) / 3, (x[3] + x[4] + x[5]) / 3, x[5] / 2], 'mean')
})

test('SAME pads keep ⌈size/stride⌉ windows, the odd place at the end or the start', () => {
  const [upper] = slidesOf([7], [4], { strides: [2], autoPad: 'SAME_UPPER' })
  const [lower] = slidesOf([7], [4], { strides: [2], autoPad: 'SAME_LOWER' })
  assert.deepEqual([upper.count, upper.low, upper.high, lower.count, lower.low, lower.high], [4, 1, 2, 4, 2, 1])
})

test('what does not fit is refused', () => {
  const x = input(0, 'f32', [1, 3, 4])
  assert.throws(() => convolve(x, input(1, 'f32', [2, 2, 3])), ConvError)
  assert.throws(() => convolve(x, input(1, 'f32', [2, 3, 5])), SpatialError)
  assert.throws(() => convolve(x, input(1, 'f32', [2, 3, 3]), { strides: [1, 1] }), SpatialError)
  assert.throws(() => convolve(x, input(1, 'f32', [2, 3, 3]), { strides: [0] }), SpatialError)
  assert.throws(() => convolve(x, input(1, 'f32', [2, 3, 3]), { pads: [-1, 0] }), SpatialError)
  assert.throws(() => convolveTranspose(x, input(1, 'f32', [3, 2, 3]), { strides: [-1] }), SpatialError)
  assert.throws(() => convolveTranspose(x, input(1, 'f32', [3, 2, 3]), { pads: [-1, 0] }), ConvError)
  assert.throws(() => convolveTranspose(x, input(1, 'f32', [2, 3, 3])), ConvError)
  assert.throws(() => convolveTranspose(x, input(1, 'f32', [3, 2, 3]), { pads: [3, 3] }), ConvError)
})
