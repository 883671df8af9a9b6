// A case trains from its files alone: a model small enough to follow by hand in float64, as it is exported, folded, frozen in part, and broken.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromBytes, type Graph, interpret, type Slot, toBytes } from '@bitloom/graph'
import { encodeModel, type TensorToWrite } from '../onnx/encode.ts'
import { type SafetensorsTensor, writeSafetensors } from '../safetensors.ts'
import { gradcheck } from './gradcheck.ts'
import type { ReadFile } from './model.ts'
import { type Compile, evaluateCase, firstGradient, prepareCase, type Tensors, trainCase } from './run.ts'

/** The interpreter as a backend. */
const compile: Compile = (graph: Graph) => {
  let tensors = graph.slots.map((s: Slot) =>
    fromBytes(s.dtype, new Uint8Array(s.shape.reduce((n, d) => n * d, 1) * (s.dtype === 'u8' ? 1 : 4))),
  )
  return {
    write: (slot, bytes) => void (tensors[slot] = fromBytes(graph.slots[slot].dtype, bytes.slice())),
    read: (slot) => toBytes(tensors[slot]),
    step: () => {
      const { next } = interpret(graph, tensors)
      tensors = tensors.map((t, i) => next[i] ?? t)
    },
  }
}

const X = Float32Array.of(1, 2, -1, 0.5, 0.25, -2, 3, 1, -0.5, 0, 2, -1)
const Y = Float32Array.of(1, -1, 0.5, 2, 0, 1)
const ORDER = Int32Array.of(0, 1, 2, 3, 4, 5, 1, 0, 3, 2, 5, 4)
const W = Float32Array.of(0.5, -0.25, 1, 0.75, 0.125, -0.5)
const B = Float32Array.of(0.1, 0.2, -0.1)
const V = Float32Array.of(1, -1, 0.5)

/** h = x·Wᵀ + b, y = h·v: the second layer frozen. */
const model = (weight: TensorToWrite, folded: boolean): Uint8Array =>
  encodeModel({
    name: 'small',
    nodes: [
      ...(folded
        ? [
            { op: 'MatMul', inputs: ['x', weight.name], outputs: ['m'] },
            { op: 'Add', inputs: ['m', 'b'], outputs: ['h'] },
          ]
        : [{ op: 'Gemm', inputs: ['x', weight.name, 'b'], outputs: ['h'], ints: { transB: 1 } }]),
      { op: 'MatMul', inputs: ['h', 'v'], outputs: ['y'] },
    ],
    initializers: [weight, { name: 'b', shape: [3], data: B }, { name: 'v', shape: [3, 1], data: V }],
    inputs: [{ name: 'x', dtype: 'f32', shape: ['batch', 2] }],
    outputs: [{ name: 'y', dtype: 'f32', shape: ['batch', 1] }],
  })

const CASE = {
  name: 'small',
  model: {
    onnx: 'model.onnx',
    input: { name: 'x', dtype: 'float32', shape: ['batch', 2], from: 'train_x.f32', transform: 'none' },
    output: 'y',
  },
  trainable: ['w', 'b'],
  frozen: ['v'],
  buffers: [],
  loss: { type: 'mse', reduction: 'mean over all elements', target: 'float32 [batch,1]' },
  optimizer: { type: 'sgd', momentum: 0.9 },
  lr: { type: 'step', lr: 0.02, step_size: 2, gamma: 0.5 },
  grad_clip: null,
  steps: 6,
  batch_size: 2,
  data: {
    'train_x.f32': { dtype: 'float32', shape: [6, 2] },
    'train_y.f32': { dtype: 'float32', shape: [6, 1] },
    'eval_x.f32': { dtype: 'float32', shape: [6, 2] },
    'eval_y.f32': { dtype: 'float32', shape: [6, 1] },
    'batches.i32': { dtype: 'int32', shape: [6, 2] },
  },
}

const f32 = (shape: number[], data: Float32Array): SafetensorsTensor => ({ dtype: 'F32', shape, data })
const plain: TensorToWrite = { name: 'w', shape: [3, 2], data: W }

function files(change: object = {}, onnx = model(plain, false)): ReadFile {
  const all: Record<string, Uint8Array> = {
    'case.json': new TextEncoder().encode(JSON.stringify({ ...CASE, ...change })),
    'model.onnx': onnx,
    'init.safetensors': writeSafetensors({ w: f32([3, 2], W), b: f32([3], B), v: f32([3, 1], V) }),
    'train_x.f32': toBytes(X),
    'train_y.f32': toBytes(Y),
    'eval_x.f32': toBytes(X),
    'eval_y.f32': toBytes(Y),
    'batches.i32': toBytes(ORDER),
  }
  return (name) => all[name]
}

/** The case in float64: losses, first gradient, weights after each update. */
function byHand(): { losses: number[]; gradient: number[]; weights: number[][] } {
  let [w, velocity] = [[...W, ...B], new Array<number>(9).fill(0)]
  const out = { losses: [] as number[], gradient: [] as number[], weights: [] as number[][] }
  for (let t = 0; t < 6; t++) {
    const g = new Array<number>(9).fill(0)
    let loss = 0
    for (const r of ORDER.slice(2 * t, 2 * t + 2)) {
      const h = [0, 1, 2].map((j) => X[2 * r] * w[2 * j] + X[2 * r + 1] * w[2 * j + 1] + w[6 + j])
      const d = h.reduce((sum, x, j) => sum + x * V[j], 0) - Y[r]
      loss += (d * d) / 2
      for (const j of [0, 1, 2]) {
        g[2 * j] += d * V[j] * X[2 * r]
        g[2 * j + 1] += d * V[j] * X[2 * r + 1]
        g[6 + j] += d * V[j]
      }
    }
    if (t === 0) out.gradient = g
    velocity = velocity.map((v, i) => 0.9 * v + g[i])
    w = w.map((x, i) => x - 0.02 * 0.5 ** Math.floor(t / 2) * velocity[i])
    out.losses.push(loss)
    out.weights.push(w)
  }
  return out
}

const close = (got: ArrayLike<number>, expected: readonly number[], what: string): void => {
  assert.equal(got.length, expected.length, what)
  expected.forEach((x, i) => {
    assert.ok(Math.abs(got[i] - x) <= 2e-6 * Math.max(1, Math.abs(x)), `${what} [${i}]: ${got[i]}, not ${x}`)
  })
}

function runs(read: ReadFile): {
  losses: number[]
  kept: Map<number, Tensors>
  gradient: Tensors
  notes: readonly string[]
  held: Record<string, number> | undefined
} {
  const p = prepareCase(read)
  const kept = new Map<number, Tensors>()
  const gradient = firstGradient(p, compile)
  const losses = trainCase(p, compile, (update, tensors) => void kept.set(update, tensors))
  return { losses, kept, gradient, notes: p.notes, held: evaluateCase(p, kept.get(6)!, compile, read) }
}

test('a case trains as it says, and what is frozen keeps its bits', () => {
  const { losses, kept, gradient, held } = runs(files())
  const expected = byHand()
  close(losses, expected.losses, 'losses')
  close(gradient.w.data, expected.gradient.slice(0, 6), 'gradient of w')
  close(gradient.b.data, expected.gradient.slice(6), 'gradient of b')
  assert.deepEqual([...kept.keys()], [1, 6])
  for (const [update, tensors] of kept) {
    close(tensors.w.data, expected.weights[update - 1].slice(0, 6), `w after ${update}`)
    close(tensors.b.data, expected.weights[update - 1].slice(6), `b after ${update}`)
    assert.deepEqual(tensors.v.data, V)
  }
  const w = expected.weights[5]
  const off = [...Y].map(
    (y, r) => [0, 1, 2].reduce((sum, j) => sum + (X[2 * r] * w[2 * j] + X[2 * r + 1] * w[2 * j + 1] + w[6 + j]) * V[j], 0) - y,
  )
  close([held!.loss, held!.mae], [off.reduce((a, d) => a + d * d, 0) / 6, off.reduce((a, d) => a + Math.abs(d), 0) / 6], 'held out')
})

test('passes that accumulate give the same updates, whichever way the batches are written', () => {
  const expected = byHand()
  const once = runs(files({ accumulate: 2 }))
  close(once.losses, expected.losses, 'losses')
  close(once.gradient.w.data, expected.gradient.slice(0, 6), 'gradient')
  close(once.kept.get(6)!.w.data, expected.weights[5].slice(0, 6), 'w')
  const rows = { ...CASE.data, 'batches.i32': { dtype: 'int32', shape: [12, 1] } }
  close(runs(files({ accumulate: 2, batch_size: 1, data: rows })).losses, expected.losses, 'losses, a row a pass')
})

test('a weight that the export folded and renamed is found by its value', () => {
  // small tensors look too much alike to be told by their values, so a wider weight than above
  const wide = Float32Array.from({ length: 12 }, (_, i) => Math.fround(Math.sin(i + 1)))
  const turned = Float32Array.from({ length: 12 }, (_, i) => wide[(i % 6) * 2 + Math.floor(i / 6)])
  const onnx = encodeModel({
    name: 'folded',
    nodes: [{ op: 'MatMul', inputs: ['x', 'onnx::MatMul_7'], outputs: ['y'] }],
    initializers: [{ name: 'onnx::MatMul_7', shape: [2, 6], data: turned }],
    inputs: [{ name: 'x', dtype: 'f32', shape: ['batch', 2] }],
    outputs: [{ name: 'y', dtype: 'f32', shape: ['batch', 6] }],
  })
  const targets = new Float32Array(36).fill(0.5)
  const data = { ...CASE.data, 'train_y.f32': { dtype: 'float32', shape: [6, 6] }, 'eval_y.f32': { dtype: 'float32', shape: [6, 6] } }
  const base = files({ trainable: ['head.weight'], frozen: [], data }, onnx)
  const read: ReadFile = (name) =>
    name === 'init.safetensors'
      ? writeSafetensors({ 'head.weight': f32([6, 2], wide) })
      : name.endsWith('_y.f32')
        ? toBytes(targets)
        : base(name)
  const { kept, notes } = runs(read)
  assert.ok(
    notes.some((n) => /"onnx::MatMul_7" of the model holds the transpose of "head.weight"/.test(n)),
    notes.join('\n'),
  )
  const after = kept.get(1)!['head.weight']
  assert.deepEqual(after.shape, [6, 2])
  const gradient = [...wide].map((_, i) =>
    [0, 1].reduce(
      (sum, r) => sum + ((X[2 * r] * wide[2 * (i >> 1)] + X[2 * r + 1] * wide[2 * (i >> 1) + 1] - 0.5) * X[2 * r + (i % 2)]) / 6,
      0,
    ),
  )
  close(
    after.data,
    [...wide].map((x, i) => x - 0.02 * gradient[i]),
    'head.weight',
  )
})

test('a case that does not fit its files says where', () => {
  const refused = (read: ReadFile, reason: RegExp): void => assert.throws(() => runs(read), reason)
  refused(files({ trainable: ['w', 'head.weight'] }), /"trainable" names head\.weight, which the model does not have/)
  refused(files({ data: { ...CASE.data, 'train_x.f32': { dtype: 'float32', shape: [7, 2] } } }), /"train_x\.f32" has 48 bytes/)
  refused(files({ data: { ...CASE.data, 'train_x.f32': { dtype: 'complex64', shape: [6, 2] } } }), /complex64/)
  refused(files({ data: { ...CASE.data, 'batches.i32': { dtype: 'int32', shape: [3, 4] } } }), /"data\.batches\.i32" is \[3,4\]/)
  refused((name) => (name === 'model.onnx' ? undefined : files()(name)), /no "model\.onnx"/)
  refused((name) => (name === 'batches.i32' ? toBytes(ORDER.map((x) => x + 1)) : files()(name)), /record 6 of 6/)
  refused((name) => (name === 'case.json' ? new TextEncoder().encode('{') : files()(name)), /case\.json is no JSON/)
  const other = { ...CASE.model, input: { ...CASE.model.input, name: 'z' } }
  refused(files({ model: other }), /there is no input "z"/)
})

test('gradcheck: outputs and gradients for inputs in any of their places', () => {
  const x = X.slice(0, 4)
  const expected = {
    y: [0, 1].map((r) => [0, 1, 2].reduce((sum, j) => sum + (x[2 * r] * W[2 * j] + x[2 * r + 1] * W[2 * j + 1] + B[j]) * V[j], 0)),
  }
  const text = (json: unknown): Uint8Array => new TextEncoder().encode(JSON.stringify(json))
  const layouts: Record<string, Uint8Array>[] = [
    {
      'inputs.json': text({
        x: [
          [1, 2],
          [-1, 0.5],
        ],
      }),
      'cotangent.json': text([[2], [-1]]),
    },
    {
      'inputs.safetensors': writeSafetensors({ x: f32([2, 2], x), 'cotangent/y': f32([2, 1], Float32Array.of(2, -1)) }),
      'outputs.safetensors': writeSafetensors({ x: f32([1], B.slice(0, 1)) }),
    },
    {
      'data/x.json': text({ shape: [2, 2], data: [1, 2, -1, 0.5], dtype: 'float32' }),
      'cotangents.safetensors': writeSafetensors({ y: f32([2, 1], Float32Array.of(2, -1)) }),
    },
    {
      'manifest.json': text({
        inputs: { x: 'a.bin' },
        cotangents: { y: 'b.safetensors:dy' },
        data: { 'a.bin': { dtype: 'float32', shape: [2, 2] } },
      }),
      'a.bin': toBytes(x),
      'b.safetensors': writeSafetensors({ dy: f32([2, 1], Float32Array.of(2, -1)) }),
    },
    { 'x.f32': toBytes(x), 'grad_y.json': text([[2], [-1]]) },
    { 'case.json': text({ inputs: { x: { shape: [2, 2], data: [1, 2, -1, 0.5], dtype: 'float32' } }, cotangents: { y: [[2], [-1]] } }) },
    {
      'case.json': text({
        inputs: [{ name: 'x', file: 'in/x.bin', dtype: 'float32', shape: [2, 2] }],
        outputs: [{ name: 'y', cotangent: 'dy.f32' }],
      }),
      'in/x.bin': toBytes(x),
      'dy.f32': toBytes(Float32Array.of(2, -1)),
    },
  ]
  for (const layout of layouts) {
    const all: Record<string, Uint8Array> = { 'model.onnx': model(plain, false), ...layout }
    const { outputs, gradients, summary } = gradcheck(Object.keys(all), (name) => all[name], compile)
    close(outputs.y.data, expected.y, 'y')
    const cot = [2, -1]
    close(
      gradients.x.data,
      [0, 1, 2, 3].map((i) => cot[i >> 1] * [0, 1, 2].reduce((sum, j) => sum + W[2 * j + (i % 2)] * V[j], 0)),
      'dx',
    )
    close(
      gradients.w.data,
      [...W].map((_, i) => [0, 1].reduce((sum, r) => sum + cot[r] * x[2 * r + (i % 2)] * V[i >> 1], 0)),
      'dw',
    )
    close(gradients.b.data, [...V], 'db')
    assert.ok(Math.abs(summary.value - (2 * expected.y[0] - expected.y[1])) < 1e-6)
    assert.deepEqual(Object.keys(gradients), ['w', 'b', 'v', 'x'])
  }
  const ones = gradcheck(['model.onnx', 'x.json'], (name) => (name === 'x.json' ? text([[1, 2]]) : model(plain, false)), compile)
  assert.equal(ones.summary.cotangents.y, 'ones')
  close(ones.gradients.b.data, [...V], 'db of ones')
  assert.throws(() => gradcheck(['model.onnx'], () => model(plain, false), compile), /no file gives input "x"/)
  assert.throws(() => gradcheck([], () => undefined, compile), /no \.onnx file/)
})
