// Resampling against the examples of ONNX's operator documentation, and against bilinear interpolation written out in float64.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Expr, input, interpret, makeGraph, type Shape, sizeOf } from '@bitloom/graph'
import { type ResizeAxis, ResizeError, type ResizeOptions, resize } from './resize.ts'
import { TableError, tableOf } from './table.ts'
import { constant } from './tensor.ts'

function run(shape: Shape, data: readonly number[], f: (x: Expr) => Expr): number[] {
  const y = f(input(1, 'f32', shape))
  const slots = [
    { name: 'y', kind: 'state' as const, dtype: y.dtype, shape: y.shape },
    { name: 'x', kind: 'data' as const, dtype: 'f32' as const, shape },
  ]
  const blank = y.dtype === 'i32' ? new Int32Array(sizeOf(y.shape)) : new Float32Array(sizeOf(y.shape))
  return [...interpret(makeGraph(slots, [y], constant(0, 'i32')), [blank, Float32Array.from(data)]).next[0]]
}

const close = (got: readonly number[], expected: readonly number[]): void => {
  assert.equal(got.length, expected.length)
  got.forEach((v, i) => {
    assert.ok(Math.abs(v - expected[i]) < 2e-6 * Math.max(1, Math.abs(expected[i])), `[${i}]: ${v}, not ${expected[i]}`)
  })
}

const square = Array.from({ length: 16 }, (_, i) => i + 1)
const both = (size: number, scale?: number): ResizeAxis[] => [2, 3].map((axis) => ({ axis, size, ...(scale ? { scale } : {}) }))
const resized = (axes: readonly ResizeAxis[], options: ResizeOptions): number[] =>
  run([1, 1, 4, 4], square, (x) => resize(x, axes, options))

test("ONNX's documented examples", () => {
  close(resized(both(2, 0.6), { mode: 'linear', antialias: true }), [2.875, 4.5, 9.375, 11])
  close(resized(both(2, 0.6), { mode: 'cubic', antialias: true }), [2.5180721, 4.2858863, 9.589329, 11.357142])
  close(
    resized(both(3), { mode: 'linear', antialias: true }),
    [2.3636363, 3.590909, 4.818182, 7.2727275, 8.5, 9.727273, 12.181818, 13.409091, 14.636364],
  )
  close(
    run([1, 1, 2, 4], square.slice(0, 8), (x) =>
      resize(
        x,
        [
          { axis: 2, size: 1, scale: 0.6 },
          { axis: 3, size: 2, scale: 0.6 },
        ],
        { mode: 'linear' },
      ),
    ),
    [2.6666665, 4.3333331],
  )
})

test('bilinear interpolation, halves of elements and corners', () => {
  for (const [coordinates, place] of [
    ['half_pixel', (i: number, old: number, size: number) => ((i + 0.5) * old) / size - 0.5],
    ['align_corners', (i: number, old: number, size: number) => (i * (old - 1)) / (size - 1)],
    ['asymmetric', (i: number, old: number, size: number) => (i * old) / size],
  ] as const)
    for (const size of [2, 3, 7, 8, 33]) {
      const at = Array.from({ length: size }, (_, i) => Math.min(Math.max(place(i, 4, size), 0), 3))
      const expected = at.flatMap((y) => at.map((x) => 1 + 4 * y + x)) // the square is linear in both
      close(resized(both(size), { mode: 'linear', coordinates }), expected)
    }
})

test('nearest elements by every way of rounding', () => {
  const rounded = {
    floor: Math.floor,
    ceil: Math.ceil,
    round_prefer_floor: (x: number) => Math.ceil(x - 0.5),
    round_prefer_ceil: Math.round,
  }
  for (const [nearest, round] of Object.entries(rounded))
    for (const size of [1, 3, 5, 8, 21, 40])
      for (const [coordinates, place] of [
        ['half_pixel', (i: number) => ((i + 0.5) * 4) / size - 0.5],
        ['asymmetric', (i: number) => (i * 4) / size],
      ] as const) {
        const options = { mode: 'nearest', coordinates, nearest: nearest as keyof typeof rounded } as const
        const got = run([1, 1, 4, 4], square, (x) => resize(x, [{ axis: 3, size }], options))
        const at = Array.from({ length: size }, (_, i) => Math.min(Math.max(round(place(i)), 0), 3))
        close(
          got,
          [0, 4, 8, 12].flatMap((row) => at.map((p) => row + p + 1)),
        )
      }
})

test('tables: what follows a rule needs few exprs, what follows none has a limit', () => {
  const lists: readonly (readonly number[])[] = [
    [5, 5, 5],
    Array.from({ length: 100 }, (_, i) => 3 + 7 * i),
    Array.from({ length: 100 }, (_, i) => Math.floor((i * 3 - 5) / 8)),
    Array.from({ length: 60 }, (_, i) => i % 3),
    Array.from({ length: 50 }, (_, i) => (i * i) % 17),
  ]
  for (const list of lists)
    assert.deepEqual(
      run([1], [0], () => tableOf(list, 'i32', [[3, 8]])),
      list,
    )
  assert.throws(
    () =>
      tableOf(
        Array.from({ length: 5000 }, (_, i) => (i * i) % 31),
        'i32',
      ),
    TableError,
  )
  assert.throws(() => resized(both(0), {}), ResizeError)
  assert.throws(() => resized(both(2 ** 30), {}), ResizeError)
  assert.throws(() => run([1000], square, (x) => resize(x, [{ axis: 0, size: 1 }], { mode: 'linear', antialias: true })), ResizeError)
})
