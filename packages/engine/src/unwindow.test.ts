// A window's gradient is recognised exactly: every size, stride and dilation that the model can write, and nothing that only looks like one.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Expr, expr, input, interpret, makeGraph, type Shape, toBytes } from '@bitloom/graph'
import { lower } from './lower.ts'
import { unwindowOf } from './unwindow.ts'
import { wasm } from './wasm/run.ts'

interface Sizes {
  readonly before: readonly number[]
  readonly after: readonly number[]
  readonly size: number
  readonly count: number
  readonly stride: number
  readonly dilation: number
  /** Elements beyond the last window. */
  readonly beyond: number
}

/** The exprs of the gradient, `fill` and `start` 0 where it is one. */
const written = (s: Sizes, fill = 0, start = 0): { e: Expr; shape: Shape } => {
  const { before, after, size, count, stride, dilation } = s
  const axis = before.length
  const length = (count - 1) * stride + (size - 1) * dilation + 1 + s.beyond
  const shape = [...before, size, count, ...after]
  const zeros = shape.map(() => 0)
  const high = zeros.with(axis + 1, length + dilation - ((count - 1) * stride + 1))
  const between = zeros.with(axis + 1, count > 1 ? stride - 1 : 0)
  const padded = expr('pad', [input(1, 'f32', shape)], { attrs: [...zeros, ...high, ...between, fill] })
  const flat = expr('reshape', [padded], { shape: [...before, size * (length + dilation), ...after] })
  const cut = expr('slice', [flat], {
    shape: [...before, size * length, ...after],
    attrs: [...zeros.slice(1).with(axis, start), ...zeros.slice(1).map(() => 1)],
  })
  const rows = expr('reshape', [cut], { shape: [...before, size, length, ...after] })
  return { e: expr('sum', [rows], { attrs: [axis] }), shape }
}

const graphOf = ({ e, shape }: { e: Expr; shape: Shape }) =>
  makeGraph(
    [
      { name: 'out', kind: 'state', dtype: 'f32', shape: e.shape },
      { name: 'in', kind: 'data', dtype: 'f32', shape },
    ],
    [e],
    expr('const', [], { dtype: 'i32', attrs: [0] }),
  )

const plain: Sizes = { before: [2], after: [3], size: 3, count: 7, stride: 1, dilation: 1, beyond: 0 }

test('the sizes are read back from the pad and the reshapes', () => {
  const sizes = { ...plain, size: 2, count: 5, stride: 3, dilation: 2, beyond: 1 }
  const graph = graphOf(written(sizes))
  const { source, ...found } = unwindowOf(graph, graph.next[0])!
  assert.deepEqual(found, { axis: 1, size: 2, count: 5, stride: 3, dilation: 2 })
  assert.equal(graph.exprs[source].op, 'input')
})

test('a pad with another value, or a slice that starts later, is no window gradient', () => {
  for (const graph of [graphOf(written(plain, 0x3f800000)), graphOf(written(plain, 0x80000000)), graphOf(written(plain, 0, 1))])
    assert.equal(unwindowOf(graph, graph.next[0]), undefined)
})

test('every way of adding windows up gives the bits of the exprs, minus zeros and infinities too', () => {
  const cases: Sizes[] = []
  for (const size of [1, 2, 3, 5])
    for (const stride of [1, 2, 5])
      for (const dilation of [1, 2])
        for (const [before, after] of [
          [[], [3]],
          [[2, 3], []],
        ] as const)
          cases.push(
            { before, after, size, count: 6, stride, dilation, beyond: size % 2 },
            { before, after, size, count: 1, stride, dilation, beyond: 0 },
            { before, after, size, count: 7, stride, dilation, beyond: 0 },
          )
  let recognised = 0
  for (const sizes of cases) {
    const made = written(sizes)
    const graph = graphOf(made)
    if (unwindowOf(graph, graph.next[0]) !== undefined) recognised++
    const n = made.shape.reduce((a, b) => a * b, 1)
    const values = Float32Array.from(
      { length: n },
      (_, i) => [-0, 0, 1.5, -2.25, Number.POSITIVE_INFINITY, 1e-40, 3][i % 7] * (1 + (i % 5)),
    )
    const slots = [new Float32Array(made.e.shape.reduce((a, b) => a * b, 1)), values]
    const program = wasm.compile(graph)
    slots.forEach((data, s) => {
      program.write(s, toBytes(data))
    })
    program.step()
    assert.deepEqual(program.read(0), toBytes(interpret(graph, slots).next[0]), JSON.stringify(sizes))
  }
  assert.equal(recognised, cases.length)
})

test('rows that lie element by element are one pass, and even masked places lie inside the source', () => {
  for (const [size, dilation, count] of [
    [3, 1, 7],
    [2, 5, 1],
    [5, 2, 6],
  ]) {
    const { e, shape } = written({ before: [2], after: [], size, count, stride: 1, dilation, beyond: 0 })
    const graph = graphOf({ e, shape })
    const works = lower(graph, false).kernels.flatMap((k) => (k.exprs.includes(graph.next[0]) ? k.work : []))
    if (count < dilation) {
      assert.ok(works.length > 1, 'windows that lie closer than they reach')
      continue
    }
    assert.equal(works.length, 1)
    const [nest] = works
    assert.ok(nest.kind === 'nest' && nest.fold === undefined)
    for (const node of nest.nodes) {
      if (node.kind !== 'load') continue
      const { offset, strides } = node.access
      const last = strides.reduce((at, stride, axis) => at + stride * (nest.shape[axis] - 1), offset)
      assert.ok(offset >= 0 && last < 2 * size * count && strides.every((s) => s >= 0), `${offset} to ${last} of ${2 * size * count}`)
    }
  }
})
