// Save and load: a small model is trained on real digits, written as safetensors and as ONNX, and both files are shown to hold what was trained.
// Run: node examples/03-save-and-load.ts

import assert from 'node:assert/strict'
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type Data, input, interpret, makeGraph, ofBits, toBytes } from '@bitloom/graph'
import { curveCsv, curveSvg, plotTerminal } from '@bitloom/model/curve'
import { PIXELS, readMnist } from '@bitloom/model/data/mnist'
import { gradients } from '@bitloom/model/grad'
import { exp, log, relu } from '@bitloom/model/math'
import { exportMlp } from '@bitloom/model/onnx/export'
import { readSafetensors, writeSafetensors } from '@bitloom/model/safetensors'
import { sequential } from '@bitloom/model/sampler'
import {
  add,
  argmax,
  bitcast,
  cast,
  div,
  gather,
  matmul,
  maxOver,
  mean,
  mul,
  oneHot,
  reshape,
  sub,
  sum,
  transpose,
} from '@bitloom/model/tensor'
import * as ort from 'onnxruntime-web'

const [HIDDEN, CLASSES, BATCH, STEPS, RATE] = [16, 10, 50, 120, 0.5]
const digits = readMnist()

// 1. The step, as a graph: pick a batch, predict, measure, move every weight against its gradient.
const shapes = { 'fc1.weight': [HIDDEN, PIXELS], 'fc1.bias': [HIDDEN], 'fc2.weight': [CLASSES, HIDDEN], 'fc2.bias': [CLASSES] }
const names = Object.keys(shapes) as (keyof typeof shapes)[]
const slots = [
  ...names.map((name) => ({ name, kind: 'state' as const, dtype: 'f32' as const, shape: shapes[name] })),
  { name: 'step', kind: 'state' as const, dtype: 'i32' as const, shape: [] },
  { name: 'images', kind: 'data' as const, dtype: 'u8' as const, shape: [digits.train.count, PIXELS] },
  { name: 'labels', kind: 'data' as const, dtype: 'u8' as const, shape: [digits.train.count] },
]
const leaves = slots.map((slot, i) => input(i, slot.dtype, slot.shape))
const weights = leaves.slice(0, 4)
const [step, images, labels] = leaves.slice(4)

const forward = (pixels: typeof images) => {
  const hidden = relu(add(matmul(div(cast(pixels!, 'f32'), 255), transpose(weights[0]!)), weights[1]!))
  return add(matmul(hidden, transpose(weights[2]!)), weights[3]!)
}
const rows = sequential(mul(step!, BATCH), BATCH, digits.train.count)
const logits = forward(gather(images!, rows))
const shifted = sub(logits, maxOver(logits, 1, true))
const target = cast(oneHot(cast(gather(labels!, rows), 'i32'), CLASSES), 'f32')
const loss = mean(sub(log(sum(exp(shifted), 1)), sum(mul(shifted, target), 1)), 0)
const moved = gradients(loss, weights).map((g, i) => sub(weights[i]!, mul(g, RATE)))
const graph = makeGraph(slots, [...moved, add(step!, 1)], reshape(bitcast(loss), [1]))

// 2. Train it with the interpreter that defines what the graph means. (The engine gives the same bits, faster.)
let word = 1
const draw = (n: number, bound: number) =>
  Float32Array.from({ length: n }, () => ((word = (Math.imul(word, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1) * bound)
let state: Data[] = [
  draw(HIDDEN * PIXELS, 1 / 28),
  new Float32Array(HIDDEN),
  draw(CLASSES * HIDDEN, 1 / 4),
  new Float32Array(CLASSES),
  Int32Array.of(0),
]
const losses: number[] = []
for (let i = 0; i < STEPS; i++) {
  const { next, probe } = interpret(graph, [...state, digits.train.images, digits.train.labels])
  state = next
  losses.push(ofBits(probe[0]! >>> 0))
}
console.log(plotTerminal(losses, { width: 72, height: 8 }))

// 3. Safetensors: the same bits come back.
const directory = mkdtempSync(join(tmpdir(), 'bitloom-'))
const place = (name: string) => join(directory, name)
const trained = Object.fromEntries(
  names.map((name, i) => [name, { dtype: 'F32' as const, shape: shapes[name], data: state[i] as Float32Array }]),
)
writeFileSync(place('model.safetensors'), writeSafetensors(trained, { steps: String(STEPS) }))
const loaded = readSafetensors(readFileSync(place('model.safetensors')))
for (const name of names) assert.deepEqual(toBytes(loaded.get(name)!.data), toBytes(trained[name]!.data))

// 4. ONNX, from the loaded weights: another runtime predicts what ours predicts.
const tensor = (name: string) => ({ shape: loaded.get(name)!.shape, data: loaded.get(name)!.data as Float32Array })
const layers = ['fc1', 'fc2'].map((name) => ({ name, weight: tensor(`${name}.weight`), bias: tensor(`${name}.bias`) }))
writeFileSync(place('model.onnx'), exportMlp({ layers, activation: 'relu', inputDtype: 'u8', inputDivisor: 255 }))
ort.env.wasm.numThreads = 1
const session = await ort.InferenceSession.create(readFileSync(place('model.onnx')))
const { count } = digits.test
const result = await session.run({ x: new ort.Tensor('uint8', digits.test.images, [count, PIXELS]) })
const theirs = result.logits!.data as Float32Array

// Ours is one more graph: what it guesses is a state that it writes.
const guessing = [
  ...slots.slice(0, 4),
  { name: 'guess', kind: 'state' as const, dtype: 'i32' as const, shape: [count] },
  { name: 'images', kind: 'data' as const, dtype: 'u8' as const, shape: [count, PIXELS] },
]
const guess = argmax(forward(input(5, 'u8', [count, PIXELS])), 1)
const predict = makeGraph(guessing, [...weights, guess], weights[3]!)
const { next } = interpret(predict, [...names.map((name) => loaded.get(name)!.data), new Int32Array(count), digits.test.images])
const ours = next[4]!
for (let i = 0; i < count; i++) {
  const row = theirs.subarray(i * CLASSES, (i + 1) * CLASSES)
  assert.equal(row.indexOf(Math.max(...row)), ours[i], `digit ${i}`)
}
const right = digits.test.labels.filter((label, i) => label === ours[i]).length

// 5. The curve, for a spreadsheet and for a page.
writeFileSync(place('loss.csv'), curveCsv(losses))
writeFileSync(place('loss.svg'), curveSvg(losses, { title: 'A small model on real digits' }))
console.log(`${STEPS} steps: ${right} of ${count} digits it had never seen are right (${((100 * right) / count).toFixed(1)} %)`)
console.log('model.safetensors holds the same bits; onnxruntime reads model.onnx and gives the same answer for every digit')
console.log(`Files: ${directory}`)
