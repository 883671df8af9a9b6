// Every recipe trains, is judged, and comes out as a file with which another runtime finds the same loss on the same held-out examples.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { wasm } from '@bitloom/engine'
import { type Data, fromBytes, graphId, toBytes, toHex } from '@bitloom/graph'
import * as ort from 'onnxruntime-web'
import { readMnist } from '../data/mnist.ts'
import { decodeModel } from '../onnx/decode.ts'
import { exportMlp } from '../onnx/export.ts'
import { writeSafetensors } from '../safetensors.ts'
import { RECIPES } from './index.ts'
import { mnistJob } from './mnist.ts'
import { onnxRecipe } from './onnx.ts'
import type { Prepared, Recipe, Settings } from './recipe.ts'

ort.env.wasm.numThreads = 1

const dir = mkdtempSync(join(tmpdir(), 'bitloom-recipes-'))
after(() => rmSync(dir, { recursive: true, force: true }))

const machine = { evaluate: (graph: Parameters<typeof wasm.evaluate>[0], slots: readonly Data[]) => wasm.evaluate(graph, slots).next }
const run = { ...machine, seed: [3, 4] as const }

async function readied(recipe: Recipe, settings: Settings): Promise<Prepared> {
  const defaults = Object.fromEntries(Object.entries(recipe.options).map(([name, o]) => [name, o.default]))
  return recipe.prepare({ ...defaults, ...settings }, run)
}

/** The state after `steps` steps of a job. */
function trained(job: { graph: Prepared['job']['graph']; data: readonly Data[] }, start: readonly Data[], steps: number): Data[] {
  const program = wasm.compile(job.graph)
  ;[...start, ...job.data].forEach((tensor, slot) => {
    program.write(slot, toBytes(tensor))
  })
  for (let step = 0; step < steps; step++) program.step()
  return start.map((_, slot) => fromBytes(job.graph.slots[slot].dtype, program.read(slot).slice()))
}

/** Trains, judges, and gives the exported model with what it was judged by. */
async function through(recipe: Recipe, settings: Settings) {
  const p = await readied(recipe, settings)
  const state = trained(p.job, p.job.state, p.job.steps)
  const tensor = (name: string): Float32Array => state[p.job.graph.slots.findIndex((s) => s.name === name)] as Float32Array
  const held = p.judge!.job
  const metrics = held.read(trained(held, held.stateFor(held.parameters.map(tensor)), held.steps))
  const losses = state[p.job.lossSlot] as Float32Array
  assert.ok(losses.every(Number.isFinite))
  return { p, tensor, metrics, losses, held, model: p.onnx!(tensor, { 'bitloom.recipe': recipe.name }) }
}

async function outputs(model: Uint8Array, x: ort.Tensor): Promise<Float32Array> {
  const session = await ort.InferenceSession.create(model)
  const result = await session.run({ [session.inputNames[0]]: x })
  await session.release()
  return result[session.outputNames[0]].data as Float32Array
}

/** Mean cross-entropy and accuracy of logits, in float64. */
function crossEntropyOf(logits: Float32Array, labels: ArrayLike<number>, classes: number): { loss: number; accuracy: number } {
  let [loss, right] = [0, 0]
  for (let i = 0; i < labels.length; i++) {
    const row = logits.subarray(i * classes, (i + 1) * classes)
    const top = Math.max(...row)
    loss += Math.log(row.reduce((n, v) => n + Math.exp(v - top), 0)) + top - row[labels[i]]
    if (row.indexOf(top) === labels[i]) right++
  }
  return { loss: loss / labels.length, accuracy: right / labels.length }
}

const near = (a: number | undefined, b: number, what: string): void =>
  assert.ok(a !== undefined && Math.abs(a - b) <= 2e-5 * Math.abs(b), `${what}: ${a}, onnxruntime ${b}`)

test('mnist is the job that documents and examples know, whatever the recipe does around it', async () => {
  const recipe = await RECIPES.mnist()
  const { job } = await readied(recipe, { steps: 640 })
  const { train } = readMnist()
  const plain = mnistJob({ ...train, seed: run.seed, steps: 640, hidden: 128, evaluate: machine.evaluate })
  assert.equal(toHex(graphId(job.graph)), toHex(graphId(plain.graph)))
  assert.deepEqual(job.state, plain.state)
})

for (const model of ['mlp', 'cnn'])
  test(`mnist ${model}: onnxruntime finds the judge's loss and accuracy`, async () => {
    const { metrics, model: file, losses } = await through(await RECIPES.mnist(), { steps: 24, model })
    assert.ok(losses[23] < losses[0] * 0.8, `${losses[0]} to ${losses[23]}`)
    const { images, labels, count } = readMnist().test
    const theirs = crossEntropyOf(await outputs(file, new ort.Tensor('uint8', images, [count, 784])), labels, 10)
    near(metrics.loss, theirs.loss, 'loss')
    assert.equal(metrics.accuracy, theirs.accuracy)
  })

test('shakespeare: the same loss in onnxruntime, and a text that the model wrote', async () => {
  const { p, tensor, metrics, model, held } = await through(await RECIPES.shakespeare(), {
    steps: 6,
    layers: 2,
    width: 32,
    block: 16,
    batch: 8,
    sample: 40,
  })
  const windows = held.data[0] as Uint8Array
  const n = windows.length / 17
  const column = (from: number): Int32Array =>
    Int32Array.from({ length: n * 16 }, (_, i) => windows[Math.floor(i / 16) * 17 + (i % 16) + from])
  const logits = await outputs(model, new ort.Tensor('int32', column(0), [n, 16]))
  const theirs = crossEntropyOf(logits, column(1), logits.length / (n * 16))
  near(metrics.loss, theirs.loss, 'loss')
  near(metrics.perplexity, Math.exp(theirs.loss), 'perplexity')
  const files = p.files!(tensor, machine)
  assert.equal(Array.from(files['sample.txt'] as string).length, 41)
  assert.equal((JSON.parse(files['vocabulary.json'] as string) as { tokens: string[] }).tokens.length, 61)
})

test('shakespeare takes a text and byte pairs', async () => {
  const path = join(dir, 'my.txt')
  writeFileSync(path, 'To be, or not to be, that is the question: '.repeat(40))
  const p = await readied(await RECIPES.shakespeare(), { steps: 2, data: path, tokens: 'byte-pairs', layers: 1, width: 16, block: 8 })
  assert.match(p.about[0], /different byte-pairs/)
  writeFileSync(path, 'too short')
  await assert.rejects(readied(await RECIPES.shakespeare(), { steps: 2, data: path }), /too few for windows of 65/)
})

const table = join(dir, 'wages.csv')
const rows = Array.from({ length: 90 }, (_, i) => {
  const [sex, years] = [i % 3 === 0 ? 'f' : 'm', 8 + (i % 11)]
  return `${sex},${years},${(years * 1.5 + (sex === 'f' ? 0 : 2) + (i % 7) / 10).toFixed(2)},${years > 12 ? 'high' : 'low'}`
})
writeFileSync(table, `sex,years,wage,pay\n${rows.join('\n')}\n`)

test('tabular: a quantity and a class from one table, and the same numbers in onnxruntime', async () => {
  const recipe = await RECIPES.tabular()
  const regression = await through(recipe, { steps: 60, data: table, target: 'wage', drop: 'pay', lr: 0.01 })
  assert.ok(regression.losses[59] < regression.losses[0] / 2)
  const [x, categories, y] = regression.held.data as [Float32Array, Int32Array, Float32Array]
  const features = Float32Array.from({ length: 3 * x.length }, (_, i) =>
    i % 3 === 0 ? x[i / 3] : Number(categories[Math.floor(i / 3)] === (i % 3) - 1),
  )
  const guesses = await outputs(regression.model, new ort.Tensor('float32', features, [x.length, 3]))
  const loss = guesses.reduce((n, v, i) => n + (v - y[i]) ** 2, 0) / y.length
  near(regression.metrics.loss, loss, 'loss')
  near(regression.metrics.mae, guesses.reduce((n, v, i) => n + Math.abs(v - y[i]), 0) / y.length, 'mae')

  const classification = await through(recipe, { steps: 60, data: table, target: 'pay', drop: 'wage', lr: 0.01 })
  assert.ok(classification.metrics.accuracy! > 0.8)
  await assert.rejects(readied(recipe, { steps: 2, data: table }), /say which column to predict: --target NAME/)
  await assert.rejects(readied(recipe, { steps: 2 }), /needs a table: --data FILE/)
})

/** The held-out windows of a text recipe, as inputs and targets. */
function windowsOf(held: { readonly data: readonly Data[] }, block: number): { x: Int32Array; y: Int32Array; n: number } {
  const windows = held.data[0]
  const n = windows.length / (block + 1)
  const column = (from: number): Int32Array =>
    Int32Array.from({ length: n * block }, (_, i) => windows[Math.floor(i / block) * (block + 1) + (i % block) + from])
  return { x: column(0), y: column(1), n }
}

test('lstm: PyTorch’s gates in our order, and the same loss in onnxruntime', async () => {
  const { metrics, model, held, losses } = await through(await RECIPES.lstm(), {
    steps: 8,
    hidden: 24,
    width: 12,
    block: 10,
    batch: 8,
    sample: 5,
  })
  assert.ok(losses[7] < losses[0])
  const { x, y, n } = windowsOf(held, 10)
  const logits = await outputs(model, new ort.Tensor('int32', x, [n, 10]))
  near(metrics.loss, crossEntropyOf(logits, y, logits.length / y.length).loss, 'loss')
})

test('resnet-8: batch norm judged by its running statistics, and so in onnxruntime', async () => {
  const images = Uint8Array.from({ length: 80 * 3 * 8 * 8 }, (_, i) => (i * 37 + (Math.floor(i / 192) % 2) * ((i % 64) * 3)) % 256)
  const labels = Int32Array.from({ length: 80 }, (_, i) => i % 2)
  const path = join(dir, 'pictures.safetensors')
  writeFileSync(
    path,
    writeSafetensors({ images: { dtype: 'U8', shape: [80, 3, 8, 8], data: images }, labels: { dtype: 'I32', shape: [80], data: labels } }),
  )
  const { p, metrics, model, tensor } = await through(await RECIPES['resnet-8'](), {
    steps: 10,
    data: path,
    width: 4,
    batch: 16,
    validation: 20,
  })
  assert.ok(
    tensor('stem.bn.running_mean').some((v) => v !== 0),
    'running statistics moved',
  )
  assert.match(p.about[0], /60 images of 8×8 in 2 classes to train on, 20 held back/)
  const logits = await outputs(model, new ort.Tensor('uint8', images.slice(60 * 192), [20, 3, 8, 8]))
  const theirs = crossEntropyOf(logits, labels.slice(60), 2)
  assert.ok(Math.abs(metrics.loss! - theirs.loss) < 1e-4 * theirs.loss, `${metrics.loss} ${theirs.loss}`)
})

test('lora: the base stays bit for bit, the adapters learn, and merged they are one model', async () => {
  const base = await through(await RECIPES.shakespeare(), { steps: 3, layers: 1, width: 16, heads: 2, block: 8, batch: 4, sample: 0 })
  const path = join(dir, 'base', 'model.safetensors')
  mkdirSync(join(dir, 'base'))
  const { job } = base.p
  const shapeOf = (name: string) => job.graph.slots.find((s) => s.name === name)!.shape
  writeFileSync(
    path,
    writeSafetensors(Object.fromEntries(job.parameters.map((n) => [n, { dtype: 'F32', shape: shapeOf(n), data: base.tensor(n) }]))),
  )
  writeFileSync(join(dir, 'base', 'vocabulary.json'), base.p.files!(base.tensor, machine)['vocabulary.json'])
  const recipe = await RECIPES.lora()
  const { tensor, metrics, model, held, p } = await through(recipe, {
    steps: 12,
    weights: path,
    heads: 2,
    rank: 2,
    batch: 8,
    sample: 0,
    data: 'bible',
    lr: 0.02,
  })
  for (const name of job.parameters) assert.deepEqual(tensor(name), base.tensor(name), name)
  assert.ok(tensor('blocks.0.qkv.lora_b').some((v) => v !== 0))
  const { x, y, n } = windowsOf(held, 8)
  const logits = await outputs(model, new ort.Tensor('int32', x, [n, 8]))
  near(metrics.loss, crossEntropyOf(logits, y, 61).loss, 'loss of the merged model')
  assert.ok((p.files!(tensor, machine)['merged.safetensors'] as Uint8Array).length > 1000)
  await assert.rejects(readied(recipe, { steps: 2 }), /lora needs a base: --weights FILE\nTrain one/)
})

test('gpt2: a small one goes through its own file names and ONNX', async () => {
  const small = { layers: 1, heads: 2, width: 8, block: 6, batch: 4, sample: 0 }
  const path = join(dir, 'few.txt')
  writeFileSync(path, 'the cat sat on the mat and the dog lay on the log. '.repeat(12))
  const first = await through(await RECIPES.gpt2(), { ...small, steps: 2, data: path })
  const { x, y, n } = windowsOf(first.held, 6)
  const logits = await outputs(first.model, new ort.Tensor('int32', x, [n, 6]))
  near(first.metrics.loss, crossEntropyOf(logits, y, 50257).loss, 'loss')
  const file = join(dir, 'gpt2.safetensors')
  const { job } = first.p
  const entries = job.parameters.map((name) => {
    const shape = job.graph.slots.find((s) => s.name === name)!.shape
    return [`transformer.${name}`, { dtype: 'F32' as const, shape, data: first.tensor(name) }] as const
  })
  writeFileSync(file, writeSafetensors(Object.fromEntries(entries)))
  const again = await readied(await RECIPES.gpt2(), { ...small, steps: 1, block: 4, data: path, weights: file })
  const at = again.job.graph.slots.findIndex((s) => s.name === 'wpe.weight')
  assert.deepEqual(again.job.state[at], first.tensor('wpe.weight').slice(0, 4 * 8))
  await assert.rejects(readied(await RECIPES.gpt2(), { ...small, steps: 1, data: path, weights: join(dir, 'none') }), /there is no file/)
})

test('an exported model trains on a table, on arrays and in part, and the file it came from holds what it learned', async () => {
  const dense = (name: string, outputs: number, inputs: number, from: number) => ({
    name,
    weight: { shape: [outputs, inputs], data: Float32Array.from({ length: outputs * inputs }, (_, i) => Math.sin(from + i) / 2) },
    bias: { shape: [outputs], data: new Float32Array(outputs) },
  })
  const path = join(dir, 'table.onnx')
  writeFileSync(path, exportMlp({ layers: [dense('fc1', 6, 3, 1), dense('fc2', 1, 6, 2)], activation: 'tanh' }))
  const recipe = onnxRecipe(path)
  const common = { data: table, target: 'wage', drop: 'pay', steps: 40, lr: 0.02, freeze: 'fc1.*' }
  const { p, metrics, model, held, losses } = await through(recipe, common)
  assert.ok(losses[39] < losses[0])
  assert.match(p.about[0], /2 tensors train \(7 numbers\), 2 stay; .* loss mse, adamw/)
  const [before, after] = [readFileSync(path), model].map((b) => decodeModel(new Uint8Array(b)).initializers)
  assert.deepEqual(after.get('fc1.weight')!.data, before.get('fc1.weight')!.data)
  assert.notDeepEqual(after.get('fc2.weight')!.data, before.get('fc2.weight')!.data)
  const [x, categories, y] = held.data as [Float32Array, Int32Array, Float32Array]
  const features = Float32Array.from({ length: 3 * x.length }, (_, i) =>
    i % 3 === 0 ? x[i / 3] : Number(categories[Math.floor(i / 3)] === (i % 3) - 1),
  )
  const guesses = await outputs(model, new ort.Tensor('float32', features, [x.length, 3]))
  near(metrics.loss, guesses.reduce((n, v, i) => n + (v - y[i]) ** 2, 0) / y.length, 'loss')

  await assert.rejects(
    readied(recipe, { ...common, freeze: undefined, drop: 'pay,sex' }),
    /input "x" is \[batch, 3\], but an example of the data is \[1\]/,
  )
  await assert.rejects(readied(recipe, { ...common, loss: 'mee' }), /mee/)
  await assert.rejects(readied(recipe, { steps: 2 }), /needs data: --data PATH/)
})
