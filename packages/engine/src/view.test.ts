// Views say where elements lie: each movement op's view is held to the graph's own rule for it.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { expr, input, type Shape, sizeOf, sourceOf, unravel } from '@bitloom/graph'
import { viewOf } from './layout.ts'
import { contiguous, reshaped, type View } from './view.ts'

const positions = (view: View, shape: Shape): number[] =>
  Array.from({ length: sizeOf(shape) }, (_, i) => unravel(i, shape).reduce((sum, at, axis) => sum + at * view.strides[axis], view.offset))

const cases = [
  { op: 'permute', from: [2, 3, 4], attrs: [2, 0, 1] },
  { op: 'expand', from: [2, 1, 4], shape: [2, 5, 4] },
  { op: 'slice', from: [5, 7], shape: [2, 3], attrs: [4, 1, -3, 2] },
  { op: 'window', from: [3, 9], attrs: [1, 3, 2, 2] },
  { op: 'reshape', from: [4, 6], shape: [2, 2, 3, 2] },
] as const
for (const { op, from, ...stated } of cases)
  test(`${op} as a view reads the elements that the op's rule names`, () => {
    const e = expr(op, [input(0, 'f32', from)], stated)
    const view = viewOf({ ...e, inputs: [0] }, from, contiguous(from))
    assert.ok(view)
    const wanted = Array.from({ length: sizeOf(e.shape) }, (_, i) => sourceOf({ ...e, attrs: e.attrs }, [from], i))
    assert.deepEqual(
      positions(view, e.shape),
      wanted.map((s) => (s === 'fill' ? -1 : s.index)),
    )
  })

test('a reshape of a transposed view is no view, unless only joined axes split', () => {
  const transposed: View = { offset: 0, strides: [1, 6] }
  assert.equal(reshaped(transposed, [6, 4], [24]), undefined)
  assert.deepEqual(reshaped(transposed, [6, 4], [2, 3, 4]), { offset: 0, strides: [3, 1, 6] })
  assert.deepEqual(reshaped(transposed, [6, 4], [6, 1, 2, 2]), { offset: 0, strides: [1, 0, 12, 6] })
})

test('a broadcast axis splits and joins freely', () => {
  assert.deepEqual(reshaped({ offset: 3, strides: [0, 0] }, [4, 6], [24]), { offset: 3, strides: [0] })
})
