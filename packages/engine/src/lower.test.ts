// What lowering promises backends: folds in one pass only where asked for and where nothing lies between them, products turned round only where that is cheaper, no kernel that nobody reads.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { constI32, type Expr, expr, type Graph, input, makeGraph, type Shape } from '@bitloom/graph'
import type { Nest, Work } from './kernel.ts'
import { lower } from './lower.ts'

/** A step whose state slots take `next`; inputs 10, 11, … are its data slots. */
const stepOf = (next: readonly Expr[], data: readonly Shape[]): Graph => {
  const place = (e: Expr): Expr =>
    e.op === 'input' ? input(e.attrs[0] - 10 + next.length, e.dtype, e.shape) : { ...e, inputs: e.inputs.map(place) }
  return makeGraph(
    [
      ...next.map((e, s) => ({ name: `out${s}`, kind: 'state' as const, dtype: e.dtype, shape: e.shape })),
      ...data.map((shape, s) => ({ name: `in${s}`, kind: 'data' as const, dtype: 'f32' as const, shape })),
    ],
    next.map(place),
    constI32(0),
  )
}

/** All works but the one that stores the probe, a constant. */
const worksOf = (graph: Graph, joinedFolds: boolean): Work[] =>
  lower(graph, { trace: false, joinedFolds })
    .kernels.filter((k) => !k.exprs.includes(graph.probe))
    .flatMap((k) => k.work)
const foldsOf = (works: readonly Work[]): Nest[] => works.filter((w): w is Nest => w.kind === 'nest' && w.fold !== undefined)

const shape = [40, 30]
const [x, y] = [input(10, 'f32', shape), input(11, 'f32', shape)]
const sum = (e: Expr, axis = 1): Expr => expr('sum', [e], { attrs: [axis] })
const product = expr('mul', [x, y])
const squares = expr('mul', [product, product])

test('sums over one axis of what is computed from the same tensors are one nest, their operands inside it', () => {
  const graph = stepOf([sum(x), sum(product), sum(squares)], [shape, shape])
  const works = worksOf(graph, true)
  assert.equal(works.length, 1)
  const [nest] = foldsOf(works)
  assert.equal(nest.stores.length, 3)
  assert.equal(nest.nodes.filter((n) => n.kind === 'op').length, 2, 'the product once for both')
  assert.equal(nest.nodes.filter((n) => n.kind === 'load').length, 2)
})

test('a backend that does not ask for joined folds gets one store a fold', () => {
  for (const nest of foldsOf(worksOf(stepOf([sum(x), sum(product), sum(squares)], [shape, shape]), false)))
    assert.equal(nest.stores.length, 1)
})

test('folds stay apart where one needs the other, or they differ in axis or op', () => {
  const wide = expr('expand', [expr('reshape', [sum(x)], { shape: [40, 1] })], { shape })
  for (const pair of [
    [sum(x), sum(expr('sub', [x, wide]))],
    [sum(x), sum(x, 0)],
    [sum(x), expr('maxOver', [x], { attrs: [1] })],
  ])
    for (const nest of foldsOf(worksOf(stepOf(pair, [shape]), true))) assert.equal(nest.stores.length, 1)
})

test('a product whose transpose fills more tiles and packs less is computed turned round and copied', () => {
  const turned = (m: number, n: number, k: number): boolean => {
    const b = expr('permute', [input(11, 'f32', [n, k])], { attrs: [1, 0] })
    const works = worksOf(stepOf([expr('dot', [input(10, 'f32', [m, k]), b])], [[m, k], [n, k]]), true) // biome-ignore format: one line
    const [dot] = works.filter((w) => w.kind === 'dot')
    assert.equal(works.length, 2, 'the product, then one pass that makes its NaNs one, from where it lies')
    return dot.m === n
  }
  assert.ok(turned(32, 144, 12544), "a convolution's weights")
  assert.ok(!turned(768, 384, 128))
})

test('a trace stores every expr, a step only what is needed', () => {
  const graph = stepOf([sum(expr('neg', [x]))], [shape])
  assert.equal(worksOf(graph, false).length, 1)
  assert.equal(lower(graph, true).kernels.length, graph.exprs.filter((e) => e.op !== 'input').length)
})

test('a tensor that a product needs with its axes exchanged is kept in that order, unless another reader would then copy it', () => {
  const [a, b, c] = [3, 5, 40]
  const y = expr('neg', [input(10, 'f32', [a, b, c])])
  const turned = expr('reshape', [expr('permute', [y], { attrs: [1, 0, 2] })], { shape: [b, a * c] })
  const product = expr('dot', [turned, input(11, 'f32', [a * c, 7])])
  const data = [[a, b, c], [a * c, 7], [b * c, 7]] // biome-ignore format: one line
  assert.equal(worksOf(stepOf([product, sum(y)], data), true).filter((w) => w.kind !== 'dot').length, 3, 'no copy: neg, sum, one NaN')
  const asIs = expr('dot', [expr('reshape', [y], { shape: [a, b * c] }), input(12, 'f32', [b * c, 7])])
  const works = worksOf(stepOf([product, asIs], data), true)
  assert.equal(works.filter((w) => w.kind === 'nest' && w.nodes.length === 1 && w.stores[0].access.strides.length === 3).length, 1)
})
