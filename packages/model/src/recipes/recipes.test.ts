// Every recipe trains, is judged, and comes out as a file with which another runtime finds the same loss on the same held-out examples.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { wasm } from '@bitloom/engine'
import { type Data, fromBytes, graphId, toBytes, toHex } from '@bitloom/graph'
import * as ort from 'onnxruntime-web'
import { readMnist } from '../data/mnist.ts'
import { RECIPES } from './index.ts'
import { mnistJob } from './mnist.ts'
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
  const regression = await through(recipe, { steps: 60, data: table, target: 'wage', drop: 'pay' })
  assert.ok(regression.losses[59] < regression.losses[0] / 2)
  const [x, categories, y] = regression.held.data as [Float32Array, Int32Array, Float32Array]
  const features = Float32Array.from({ length: 3 * x.length }, (_, i) =>
    i % 3 === 0 ? x[i / 3] : Number(categories[Math.floor(i / 3)] === (i % 3) - 1),
  )
  const guesses = await outputs(regression.model, new ort.Tensor('float32', features, [x.length, 3]))
  const loss = guesses.reduce((n, v, i) => n + (v - y[i]) ** 2, 0) / y.length
  near(regression.metrics.loss, loss, 'loss')
  near(regression.metrics.mae, guesses.reduce((n, v, i) => n + Math.abs(v - y[i]), 0) / y.length, 'mae')

  const classification = await through(recipe, { steps: 60, data: table, target: 'pay', drop: 'wage' })
  assert.ok(classification.metrics.accuracy! > 0.8)
  await assert.rejects(readied(recipe, { steps: 2, data: table }), /say which column to predict: --target NAME/)
  await assert.rejects(readied(recipe, { steps: 2 }), /needs a table: --data FILE/)
})
