// Broadcasting, axes and slices mean what NumPy means; long sums are two folds; nothing is simplified away.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { constI32, type Data, type Expr, input, interpret, makeGraph, type Slot } from '@bitloom/graph'
import * as t from './tensor.ts'

/** The value of an expr without inputs, by the interpreter. */
function evaluated(e: Expr): number[] {
  const slots: Slot[] = [{ name: 'y', kind: 'state', dtype: e.dtype, shape: e.shape }]
  const n = e.shape.reduce((a, b) => a * b, 1)
  const blank: Data = e.dtype === 'f32' ? new Float32Array(n) : new Int32Array(n)
  return [...interpret(makeGraph(slots, [e], constI32(0)), [blank]).next[0]]
}

const x23 = t.add(t.mul(t.iota([2, 3], 0), 3), t.iota([2, 3], 1)) // 0 … 5
const f23 = t.cast(x23, 'f32')

test('shapes broadcast from the last axis', () => {
  assert.deepEqual(t.broadcastShape([2, 1, 3], [4, 1]), [2, 4, 3])
  assert.deepEqual(t.broadcastShape([], [5]), [5])
  assert.throws(() => t.broadcastShape([2, 3], [2]), t.TensorError)
  assert.deepEqual(evaluated(t.add(x23, t.vector([10, 20, 30], 'i32'))), [10, 21, 32, 13, 24, 35])
  assert.deepEqual(evaluated(t.mul(t.reshape(t.range(2), [2, 1]), t.range(3))), [0, 0, 0, 0, 1, 2])
  assert.throws(() => t.add(1, 2), t.TensorError)
})

test('a number takes the dtype beside it, and rounds to f32', () => {
  assert.equal(t.add(f23, 1).dtype, 'f32')
  assert.equal(t.sub(1, x23).dtype, 'i32')
  assert.deepEqual(evaluated(t.full([2], 0.1)), [Math.fround(0.1), Math.fround(0.1)])
  assert.deepEqual(evaluated(t.xor(t.range(2), 0xffffffff)), [-1, -2])
})

test('integer comparisons, extremes and magnitudes that the op table leaves out', () => {
  const [a, b] = [t.vector([-3, 0, 5], 'i32'), t.vector([2, 0, -5], 'i32')]
  assert.deepEqual(evaluated(t.le(a, b)), [1, 1, 0])
  assert.deepEqual(evaluated(t.ge(a, 0)), [0, 1, 1])
  assert.deepEqual(evaluated(t.gt(a, b)), [0, 0, 1])
  assert.deepEqual(evaluated(t.ne(a, b)), [1, 0, 1])
  assert.deepEqual(evaluated(t.min(a, b)), [-3, 0, -5])
  assert.deepEqual(evaluated(t.max(a, b)), [2, 0, 5])
  assert.deepEqual(evaluated(t.abs(a)), [3, 0, 5])
  assert.deepEqual(evaluated(t.neg(a)), [3, 0, -5])
  assert.deepEqual(evaluated(t.ceil(t.vector([-1.5, 1.5, 2]))), [-1, 2, 2])
})

test('slices count as in Python', () => {
  const of = (start: number, stop: number, stride?: number): number[] => evaluated(t.slice(t.range(6), 0, start, stop, stride))
  assert.deepEqual(of(1, 4), [1, 2, 3])
  assert.deepEqual(of(-2, 99), [4, 5])
  assert.deepEqual(of(0, -1, 2), [0, 2, 4])
  assert.deepEqual(of(5, -99, -2), [5, 3, 1])
  assert.deepEqual(of(4, 1, -1), [4, 3, 2])
  assert.throws(() => of(3, 3), t.TensorError)
  assert.deepEqual(evaluated(t.flip(x23, 1)), [2, 1, 0, 5, 4, 3])
})

test('pad, concat, gather, scatterAdd, oneHot', () => {
  assert.deepEqual(evaluated(t.pad(t.range(3), [1], [2], [1], -7)), [-7, 0, -7, 1, -7, 2, -7, -7])
  assert.deepEqual(
    evaluated(
      t.concat(
        Array.from({ length: 40 }, (_, i) => t.full([1], i, 'i32')),
        0,
      ),
    ),
    Array.from({ length: 40 }, (_, i) => i),
  )
  assert.deepEqual(evaluated(t.gather(x23, t.reshape(t.vector([1, 0], 'i32'), [2, 1]))), [3, 4, 5, 0, 1, 2])
  assert.deepEqual(t.gather(x23, t.reshape(t.vector([1, 0], 'i32'), [2, 1])).shape, [2, 1, 3])
  assert.deepEqual(evaluated(t.scatterAdd(f23, t.vector([2, 2], 'i32'), 3)), [0, 0, 0, 0, 0, 0, 3, 5, 7])
  assert.deepEqual(evaluated(t.oneHot(t.vector([2, 0], 'i32'), 3)), [0, 0, 1, 1, 0, 0])
})

test('folds take axes in any order, last axis first, and keep them as 1 when asked', () => {
  assert.deepEqual(evaluated(t.sum(f23, 0)), [3, 5, 7])
  assert.deepEqual(evaluated(t.sum(f23, -1)), [3, 12])
  assert.deepEqual(t.sum(f23, [0, 1]).inputs[0].attrs, [1])
  assert.deepEqual(t.sum(f23, 1, true).shape, [2, 1])
  assert.deepEqual(evaluated(t.mean(f23)), [2.5])
  assert.deepEqual(evaluated(t.maxOver(f23, 0)), [3, 4, 5])
  assert.deepEqual(evaluated(t.minOver(f23, 1)), [0, 3])
  assert.deepEqual(evaluated(t.argmax(f23, 1)), [2, 2])
  assert.throws(() => t.sum(f23, 2), t.TensorError)
})

test('a long total is rows, then their sum', () => {
  const n = 1000
  const values = Float32Array.from({ length: n }, (_, i) => ((i * 37) % 101) / 7)
  const expected = (() => {
    const width = Math.ceil(Math.sqrt(n))
    let all = 0
    for (let r = 0; r * width < n; r++)
      all = Math.fround(all + values.slice(r * width, (r + 1) * width).reduce((a, b) => Math.fround(a + b), 0))
    return all
  })()
  const slots: Slot[] = [
    { name: 'y', kind: 'state', dtype: 'f32', shape: [] },
    { name: 'x', kind: 'data', dtype: 'f32', shape: [10, 100] },
  ]
  const graph = makeGraph(slots, [t.total(input(1, 'f32', [10, 100]))], constI32(0))
  assert.equal(interpret(graph, [new Float32Array(1), values]).next[0][0], expected)
  assert.equal(t.total(input(0, 'f32', [t.LONG])).inputs[0].op, 'input')
})

test('matrix products follow NumPy', () => {
  const a = f23
  const b = t.cast(t.iota([3, 2], 0), 'f32')
  assert.deepEqual(evaluated(t.matmul(a, b)), [5, 5, 14, 14])
  assert.deepEqual(evaluated(t.matmul(t.vector([1, 2]), a)), [6, 9, 12])
  assert.deepEqual(evaluated(t.matmul(a, t.vector([1, 0, 2]))), [4, 13])
  const batched = t.matmul(t.broadcastTo(a, [4, 1, 2, 3]), t.broadcastTo(b, [5, 3, 2]))
  assert.deepEqual(batched.shape, [4, 5, 2, 2])
  assert.deepEqual(t.matmul(t.broadcastTo(a, [4, 2, 3]), b).shape, [4, 2, 2])
  assert.throws(() => t.matmul(a, a), /inner sizes 3 and 2 differ/)
})

test('only what moves nothing is left out: an equal shape, a transpose of a transpose', () => {
  assert.equal(t.reshape(f23, [2, 3]), f23)
  assert.equal(t.transpose(t.transpose(f23)), f23)
  assert.equal(t.permute(f23, [0, 1]), f23)
  assert.equal(t.mul(f23, 1).op, 'mul')
  assert.equal(t.add(f23, 0).op, 'add')
  assert.deepEqual(t.reshape(f23, [-1, 2]).shape, [3, 2])
})
