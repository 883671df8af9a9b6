// What a program promises beside its bits: state stays and is updated in place, slots swap cleanly, bad bytes are refused, code is readable.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { SlotError, wasm } from '@bitloom/engine'
import { constF32, constI32, type Expr, expr, type Graph, input, interpret, makeGraph, toBytes } from '@bitloom/graph'

const n = 1000
const filled = (value: Expr, shape: readonly number[]): Expr =>
  expr('expand', [expr('reshape', [value], { shape: shape.map(() => 1) })], { shape })
const state = (name: string, dtype: 'f32' | 'i32', shape: readonly number[]) => ({ name, kind: 'state' as const, dtype, shape })

/** x' = x + 0.5·y, y' = x·y: each reads what the other overwrites. */
const crossed = (): Graph => {
  const [x, y] = [input(0, 'f32', [n]), input(1, 'f32', [n])]
  const next = [expr('add', [x, expr('mul', [filled(constF32(0.5), [n]), y])]), expr('mul', [x, y])]
  return makeGraph([state('x', 'f32', [n]), state('y', 'f32', [n])], next, constI32(0))
}

test('state that is read across is updated as if all at once, and stays between steps', () => {
  const graph = crossed()
  const program = wasm.compile(graph)
  let slots = [Float32Array.from({ length: n }, (_, i) => i / n), Float32Array.from({ length: n }, (_, i) => 1 - i / n)]
  slots.forEach((s, i) => {
    program.write(i, toBytes(s))
  })
  for (let step = 0; step < 5; step++) {
    slots = interpret(graph, slots).next as Float32Array<ArrayBuffer>[]
    program.step()
    slots.forEach((s, i) => {
      assert.deepEqual(program.read(i), toBytes(s))
    })
  }
})

test('an elementwise update lives in the slot itself: no second copy of the state', () => {
  // Momentum: m' = 0.9·m + x, x' = x - 0.1·m'.
  const [x, m] = [input(0, 'f32', [n]), input(1, 'f32', [n])]
  const moved = expr('add', [expr('mul', [filled(constF32(0.9), [n]), m]), x])
  const next = [expr('sub', [x, expr('mul', [filled(constF32(0.1), [n]), moved])]), moved]
  const program = wasm.compile(makeGraph([state('x', 'f32', [n]), state('m', 'f32', [n])], next, constI32(0)))
  assert.equal(program.kernels, 2, 'one for both updates, one for the probe')
  assert.ok(program.peakBytes < 2 * 4 * n + 1024, `${program.peakBytes} bytes`)
})

test('slots that swap, and a slot that keeps its value', () => {
  const [a, b, c] = [0, 1, 2].map((s) => input(s, 'i32', [3]))
  const graph = makeGraph(
    ['a', 'b', 'c'].map((name) => state(name, 'i32', [3])),
    [b, a, c],
    a,
  )
  const program = wasm.compile(graph)
  for (let s = 0; s < 3; s++) program.write(s, toBytes(Int32Array.of(s, 10 * s, 100 * s)))
  program.step()
  assert.deepEqual(
    [0, 1, 2].map((s) => program.read(s)[0]),
    [1, 0, 2],
  )
  assert.deepEqual(program.probe(), toBytes(Int32Array.of(0, 0, 0)), 'the probe sees the slot as it was before the step')
})

test('bytes that are no tensor of the slot are refused by name', () => {
  const program = wasm.compile(crossed())
  assert.throws(() => program.write(0, new Uint8Array(8)), new SlotError('slot 0 "x" f32[1000] holds 4000 bytes, not 8'))
  assert.throws(() => program.write(2, new Uint8Array(8)), /no slot 2: the graph has 2/)
  const foreign = new Uint32Array(n)
  foreign[5] = 0xffc00000
  assert.throws(() => program.write(1, new Uint8Array(foreign.buffer)), /element 5 is the NaN 0xffc00000; the one NaN is 0x7fc00000/)
})

test('profile names every kernel and counts as a step; text shows the code', () => {
  const graph = crossed()
  const [one, two] = [wasm.compile(graph), wasm.compile(graph)]
  for (const p of [one, two]) for (const s of [0, 1]) p.write(s, toBytes(new Float32Array(n).fill(0.75)))
  one.step()
  const times = two.profile()
  assert.equal(times.length, two.kernels)
  assert.deepEqual(two.read(0), one.read(0))
  assert.match(one.text(), /f32x4\.mul/)
})

test('kernels that differ only in their buffers are one function, and steps that differ in nothing keep their bits', () => {
  const layers = 6
  const slots = Array.from({ length: 2 * layers }, (_, s) => state(`s${s}`, 'f32', [n]))
  const [x, g] = [(l: number) => input(2 * l, 'f32', [n]), (l: number) => input(2 * l + 1, 'f32', [n])]
  // Each layer is walked by its own kernel: what it reads was reversed.
  const next = Array.from({ length: layers }, (_, l) => {
    const reversed = expr('slice', [g(l)], { shape: [n], attrs: [n - 1, -1] })
    return [expr('sub', [x(l), expr('mul', [filled(constF32(0.25), [n]), reversed])]), expr('neg', [g(l)])]
  }).flat()
  const graph = makeGraph(slots, next, constI32(0))
  const data = slots.map((_, s) => Float32Array.from({ length: n }, (_, i) => (i * (s + 1)) % 17))
  const program = wasm.compile(graph)
  const functions = program.text().match(/^\(func \$k/gm)?.length ?? 0
  assert.ok(program.kernels >= 2 * layers && functions <= 4, `${functions} functions for ${program.kernels} kernels`)
  data.forEach((tensor, s) => {
    program.write(s, toBytes(tensor))
  })
  program.step()
  interpret(graph, data).next.forEach((tensor, s) => {
    assert.deepEqual(program.read(s), toBytes(tensor))
  })
})
