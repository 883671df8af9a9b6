// A graph is canonical, survives its encoding, is refused when tampered with, and means what the interpreter says.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  bitsOf,
  constF32,
  constI32,
  costOf,
  decodeGraph,
  encodeGraph,
  expr,
  graphId,
  graphLeaves,
  graphTree,
  input,
  interpret,
  iota,
  leafHash,
  makeGraph,
  printDot,
  printGraph,
  proofOf,
  proves,
  rootOf,
  toHex,
  verifyGraph,
} from './index.ts'

/** w' = w - 0.5 * (x·w), probe = the bits of the first element of x·w. */
function small(flip = false) {
  const slots = [
    { name: 'w', kind: 'state', dtype: 'f32', shape: [3, 2] },
    { name: 'x', kind: 'data', dtype: 'f32', shape: [3, 3] },
  ] as const
  const w = input(0, 'f32', [3, 2])
  const x = input(1, 'f32', [3, 3])
  const product = expr('dot', [x, w])
  const half = expr('expand', [expr('reshape', [constF32(0.5)], { shape: [1, 1] })], { shape: [3, 2] })
  const again = flip ? expr('dot', [input(1, 'f32', [3, 3]), input(0, 'f32', [3, 2])]) : product
  const scaled = expr('mul', [again, half])
  const corner = expr('reshape', [expr('slice', [product], { shape: [1, 1], attrs: [0, 0, 1, 1] })], { shape: [1] })
  return makeGraph(slots, [expr('sub', [w, scaled])], expr('bitcast', [corner]))
}

test('equal exprs are one, and the order depends on structure alone', () => {
  assert.deepEqual(small(true), small(false))
  assert.equal(small().exprs.filter((e) => e.op === 'dot').length, 1)
})

test('encode and decode are inverse, and the id is the root of the leaves', () => {
  const graph = small()
  assert.deepEqual(decodeGraph(encodeGraph(graph)), graph)
  const verdict = verifyGraph(encodeGraph(graph))
  assert.ok(verdict.ok)
  assert.equal(toHex(graphId(verdict.graph)), toHex(rootOf(graphTree(graph))))
  const leaves = graphLeaves(graph)
  const tree = graphTree(graph)
  leaves.forEach((leaf, at) => {
    assert.ok(proves(rootOf(tree), tree.levels.length - 1, at, leafHash(leaf), proofOf(tree, at)))
    assert.ok(!proves(rootOf(tree), tree.levels.length - 1, at ^ 1, leafHash(leaf), proofOf(tree, at)))
  })
})

test('any changed byte of an encoded graph is refused or makes another id', () => {
  const bytes = encodeGraph(small())
  const id = toHex(graphId(small()))
  let refused = 0
  for (let i = 0; i < bytes.length; i++) {
    for (const bit of [1, 128]) {
      const bad = bytes.slice()
      bad[i]! ^= bit
      const verdict = verifyGraph(bad)
      if (verdict.ok) assert.notEqual(toHex(graphId(verdict.graph)), id, `byte ${i}`)
      else refused++
    }
  }
  for (let n = 0; n < bytes.length; n++) assert.ok(!verifyGraph(bytes.subarray(0, n)).ok, `cut at ${n}`)
  assert.ok(refused > bytes.length)
})

test('a huge, cyclic or shapeless graph is refused without being built', () => {
  const graph = small()
  const huge = { ...graph, slots: [{ ...graph.slots[0]!, shape: [2 ** 31 - 1, 2 ** 31 - 1] }, graph.slots[1]!] }
  assert.match((verifyGraph(encodeGraph(huge)) as { reason: string }).reason, /2\^32/)
  const cyclic = { ...graph, exprs: graph.exprs.map((e) => (e.op === 'sub' ? { ...e, inputs: [graph.next[0]!, e.inputs[1]!] } : e)) }
  assert.match((verifyGraph(encodeGraph(cyclic)) as { reason: string }).reason, /does not come before/)
  const unused = { ...graph, next: [0] }
  assert.match((verifyGraph(encodeGraph(unused)) as { reason: string }).reason, /order|never used|fed/)
})

test('the interpreter means what the ops say', () => {
  const w = Float32Array.of(1, 2, 3, 4, 5, 6)
  const x = Float32Array.of(1, 0, 0, 0, 1, 0, 1, 1, 1)
  const { next, probe } = interpret(small(), [w, x])
  assert.deepEqual([...next[0]!], [0.5, 1, 1.5, 2, 0.5, 0])
  assert.deepEqual([...probe], [bitsOf(1)])
})

test('a fold is strict and left to right, from +0', () => {
  const slots = [{ name: 'x', kind: 'state', dtype: 'f32', shape: [1, 3] }] as const
  const x = input(0, 'f32', [1, 3])
  const total = expr('reshape', [expr('sum', [x], { attrs: [1] })], { shape: [1] })
  const graph = makeGraph(slots, [x], total)
  assert.deepEqual([...interpret(graph, [Float32Array.of(1e8, 1, -1e8)]).probe], [0])
  assert.ok(Object.is(interpret(graph, [Float32Array.of(-0, -0, -0)]).probe[0], 0))
})

test('NaN has one pattern, whoever made it', () => {
  const slots = [{ name: 'x', kind: 'state', dtype: 'f32', shape: [2] }] as const
  const x = input(0, 'f32', [2])
  const zero = expr('expand', [expr('reshape', [constF32(0)], { shape: [1] })], { shape: [2] })
  const graph = makeGraph(slots, [x], expr('bitcast', [expr('neg', [expr('mul', [x, zero])])]))
  assert.deepEqual([...interpret(graph, [Float32Array.of(Number.POSITIVE_INFINITY, Number.NaN)]).probe], [0x7fc00000, 0x7fc00000])
})

test('integer ops wrap, and division by zero has a value', () => {
  const slots = [{ name: 'x', kind: 'state', dtype: 'i32', shape: [4] }] as const
  const x = input(0, 'i32', [4])
  const spread = (v: number) => expr('expand', [expr('reshape', [constI32(v)], { shape: [1] })], { shape: [4] })
  const run = (e: ReturnType<typeof expr>) => [
    ...interpret(makeGraph(slots, [x], e), [Int32Array.of(7, -7, 2 ** 31 - 1, -(2 ** 31))]).probe,
  ]
  assert.deepEqual(run(expr('divu', [x, spread(0)])), [0, 0, 0, 0])
  assert.deepEqual(run(expr('remu', [x, spread(0)])), [7, -7, 2 ** 31 - 1, -(2 ** 31)])
  assert.deepEqual(run(expr('add', [x, spread(1)])), [8, -6, -(2 ** 31), -(2 ** 31) + 1])
  assert.deepEqual(run(expr('shr', [x, spread(33)])), [3, 2147483644, 2 ** 30 - 1, 2 ** 30])
  assert.deepEqual(run(expr('mul', [x, iota([4], 0)])), [0, -7, -2, -(2 ** 31)])
})

test('cost counts a dot as two operations a term, movement as none', () => {
  const cost = costOf(small())
  assert.equal(cost.operations, BigInt(2 * 18 + 6 + 6 + 1))
  assert.equal(cost.stateBytes, 24)
  assert.equal(cost.dataBytes, 36)
  assert.match(printGraph(small()), /= dot %\d+ %\d+ : f32\[3,2\]/)
  assert.match(printDot(small()), /^digraph step/)
})
