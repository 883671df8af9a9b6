// Recipes by name: which job, how it is cut into claims, how it is judged, and what comes out of it.

import { wasm } from '@bitloom/engine'
import { type Data, sha256 } from '@bitloom/graph'
import { type Evaluation, type Job, mnistEvaluation, mnistJob } from '@bitloom/model'
import { readMnist } from '@bitloom/model/data/mnist'
import { exportMlp } from '@bitloom/model/onnx/export'
import type { Plan } from '@bitloom/sdk'
import { UsageError } from './command.ts'

export type RecipeOptions = { readonly seed: number; readonly slices?: number }

/** The parts of a plan that follow from the recipe. */
export type Cut = Pick<Plan, 'stepsPerCheckpoint' | 'checkpointsPerSlice' | 'slices'>

export type Recipe = {
  readonly title: string
  readonly cut: (options: RecipeOptions) => Cut
  readonly job: (options: RecipeOptions) => Promise<Job> | Job
  /** Held-out accuracy and loss of a trained state. */
  readonly judge: (job: Job, state: readonly Data[]) => { readonly accuracy: number; readonly loss: number; readonly examples: number }
  readonly onnx: (job: Job, state: readonly Data[], metadata: Readonly<Record<string, string>>) => Uint8Array
  /** Passes over the training data, for people. */
  readonly epochs: (job: Job) => number
}

/** A 64-bit task seed from a small number a person types. */
export function seedWords(seed: number): [number, number] {
  const digest = new DataView(sha256(new TextEncoder().encode(`bitloom seed ${seed}`)).buffer.slice(0))
  return [digest.getInt32(0), digest.getInt32(4)]
}

const HIDDEN = 128

/** The tensors of a job's parameters, in order. */
const parametersOf = (job: Job, state: readonly Data[]): Data[] =>
  job.parameters.map((name) => state[job.graph.slots.findIndex((s) => s.name === name)]!)

const evaluate = (e: Evaluation, parameters: readonly Data[], data: readonly Data[]): Data[] =>
  wasm.evaluate(e.graph, e.slots(parameters, data)).next

const mnist: Recipe = {
  title: 'MLP 784-128-10, cross-entropy, AdamW, batch 64, 9,003 real handwritten digits',
  cut: ({ slices = 10 }) => ({ stepsPerCheckpoint: 32, checkpointsPerSlice: 10, slices }),
  job: (options) => {
    const { stepsPerCheckpoint, checkpointsPerSlice, slices } = mnist.cut(options)
    return mnistJob({
      ...readMnist().train,
      seed: seedWords(options.seed),
      steps: stepsPerCheckpoint * checkpointsPerSlice * slices,
      hidden: HIDDEN,
      evaluate: (graph, slots) => wasm.evaluate(graph, slots).next,
    })
  },
  judge: (job, state) => {
    const { test } = readMnist()
    const e = mnistEvaluation(test.count, HIDDEN)
    const next = evaluate(e, parametersOf(job, state), [test.images, test.labels])
    return { accuracy: e.read(next, 'correct')[0]! / test.count, loss: e.read(next, 'loss')[0]!, examples: test.count }
  },
  onnx: (job, state, metadata) => {
    const [w1, b1, w2, b2] = parametersOf(job, state) as Float32Array[]
    return exportMlp({
      layers: [
        { name: 'fc1', weight: { shape: [HIDDEN, 784], data: w1! }, bias: { shape: [HIDDEN], data: b1! } },
        { name: 'fc2', weight: { shape: [10, HIDDEN], data: w2! }, bias: { shape: [10], data: b2! } },
      ],
      activation: 'relu',
      inputDtype: 'u8',
      inputDivisor: 255,
      modelName: 'mnist',
      metadata,
    })
  },
  epochs: (job) => (job.steps * job.batch) / readMnist().train.count,
}

export const RECIPES: Readonly<Record<string, Recipe>> = { mnist }

/** @throws {UsageError} there is no such recipe */
export function recipeOf(name: string | undefined): Recipe {
  const recipe = name === undefined ? undefined : RECIPES[name]
  if (!recipe)
    throw new UsageError(
      `${name === undefined ? 'Say what to train' : `There is no recipe "${name}"`}. Recipes: ${Object.keys(RECIPES).join(', ')}`,
    )
  return recipe
}

export const recipeJob = async (name: string, options: RecipeOptions): Promise<Job> => recipeOf(name).job(options)
