// The training steps that disputes are played about: the kinds of model that people bring, as deep as theirs and narrower, so that hundreds of games fit a test.

import { wasm } from '@bitloom/engine'
import type { Data, Expr, Graph } from '@bitloom/graph'
import { conv, conv2d, convParameters } from '@bitloom/model/conv'
import { crossEntropy } from '@bitloom/model/loss'
import { gelu, relu } from '@bitloom/model/math'
import {
  embedding,
  embeddingParameters,
  type Lookup,
  linear,
  linearParameters,
  mlp,
  mlpParameters,
  type Parameter,
} from '@bitloom/model/nn'
import { batchNormParameters, batchNormTraining, runningMoments } from '@bitloom/model/norm'
import { adam, adamw, sgd } from '@bitloom/model/optim'
import { maxPool2d } from '@bitloom/model/pool'
import { dropoutMask, kaimingUniform, STREAM } from '@bitloom/model/random'
import { RECIPES } from '@bitloom/model/recipes/index'
import { cosineRate, listedRate, warmUp } from '@bitloom/model/schedule'
import { type Job, type TrainingStep, trainingStep } from '@bitloom/model/step'
import { add, cast, div, mean, mul, reshape, slice } from '@bitloom/model/tensor'
import { randomWords } from '../../tools/words.ts'

/** A segment of a job: `slots` before its first step. */
export type Model = {
  readonly name: string
  readonly what: string
  readonly graph: Graph
  readonly slots: readonly Data[]
  readonly steps: number
  readonly job: Job
}

const STEPS = 2
const SEED = [7, 11] as const
const evaluate = (graph: Graph, slots: readonly Data[]): Data[] => wasm.evaluate(graph, slots).next

const bytes = (seed: number, n: number, below: number): Uint8Array => {
  const next = randomWords(seed)
  return Uint8Array.from({ length: n }, () => next() % below)
}

const modelOf = (name: string, what: string, job: Job): Model => {
  // Trained a little first: a fresh state has moments and a loss log of zeros.
  let state = job.state
  for (let i = 0; i < 2; i++) state = evaluate(job.graph, [...state, ...job.data])
  return { name, what, graph: job.graph, slots: [...state, ...job.data], steps: STEPS, job }
}

const made = (t: Omit<TrainingStep, 'seed' | 'evaluate' | 'steps' | 'count'> & { readonly count?: number; readonly steps?: number }): Job =>
  trainingStep({ count: 12, steps: 8, ...t, seed: SEED, evaluate })

/** A recipe at other sizes. */
async function recipe(name: string, settings: Readonly<Record<string, number | string>>): Promise<Job> {
  const found = await RECIPES[name]!()
  const defaults = Object.fromEntries(Object.entries(found.options).map(([option, o]) => [option, o.default]))
  return (await found.prepare({ ...defaults, ...settings, steps: 8 }, { evaluate, seed: SEED })).job
}

const pictures = (channels: number, size: number) => [
  { name: 'x', dtype: 'u8' as const, shape: [12, channels, size, size], data: bytes(5, 12 * channels * size * size, 256) },
  { name: 'y', dtype: 'u8' as const, shape: [12], data: bytes(6, 12, 3) },
]

const image = (batch: Lookup): Expr => div(cast(batch('x'), 'f32'), 255)

/** Convolution and batch norm by the batch's moments, which move the running ones. */
function unit(p: Lookup, x: Expr, name: string, stride: number, updates: Record<string, Expr>): Expr {
  const weight = p(`${name}.weight`)
  const y = conv2d(x, weight, { stride, padding: weight.shape[2] === 3 ? 1 : 0 })
  const normed = batchNormTraining(y, p(`${name}.bn.weight`), p(`${name}.bn.bias`))
  const [n, , h, w] = y.shape as [number, number, number, number]
  const next = runningMoments({ mean: p(`${name}.bn.running_mean`), variance: p(`${name}.bn.running_var`) }, normed, n * h * w)
  updates[`${name}.bn.running_mean`] = next.mean
  updates[`${name}.bn.running_var`] = next.variance
  return normed.y
}

const unitParameters = (name: string, from: number, to: number, kernel: number): Parameter[] => {
  const shape = [to, from, kernel, kernel]
  return [
    { name: `${name}.weight`, shape, initial: (key) => kaimingUniform(key, shape, from * kernel * kernel) },
    ...batchNormParameters(`${name}.bn`, to),
  ]
}

/** ResNet-8's blocks: each halves the picture but the first. */
const BLOCKS = [
  [4, 4, 1],
  [4, 6, 2],
  [6, 8, 2],
] as const

function resnet(): Job {
  const parameters = [
    ...unitParameters('stem', 3, 4, 3),
    ...BLOCKS.flatMap(([from, to, stride], i) => [
      ...unitParameters(`b${i}.a`, from, to, 3),
      ...unitParameters(`b${i}.b`, to, to, 3),
      ...(stride > 1 ? unitParameters(`b${i}.short`, from, to, 1) : []),
    ]),
    ...linearParameters('fc', 8, 3),
  ]
  return made({
    ...{ name: 'resnet', parameters, data: pictures(3, 8), batch: 3 },
    loss: ({ parameter: p, batch }) => {
      const updates: Record<string, Expr> = {}
      let x = relu(unit(p, image(batch), 'stem', 1, updates))
      BLOCKS.forEach(([, , stride], i) => {
        const inner = unit(p, relu(unit(p, x, `b${i}.a`, stride, updates)), `b${i}.b`, 1, updates)
        x = relu(add(inner, stride > 1 ? unit(p, x, `b${i}.short`, stride, updates) : x))
      })
      return { loss: crossEntropy(linear(p, 'fc', mean(x, [2, 3])), cast(batch('y'), 'i32')), updates }
    },
    optimizer: sgd({ momentum: 0.9, weightDecay: 5e-4 }),
    schedule: cosineRate(0.1, 8),
  })
}

function cnn(): Job {
  return made({
    ...{ name: 'cnn', data: pictures(1, 10), batch: 3 },
    parameters: [...convParameters('conv1', 1, 4, 3), ...convParameters('conv2', 4, 6, 3), ...linearParameters('fc', 24, 3)],
    loss: ({ parameter: p, batch }) => {
      const first = maxPool2d(relu(conv(p, 'conv1', image(batch), { padding: 1 })), 2, { stride: 2 })
      const second = maxPool2d(relu(conv(p, 'conv2', first, { padding: 1 })), 2, { stride: 2 })
      return crossEntropy(linear(p, 'fc', reshape(second, [3, 24])), cast(batch('y'), 'i32'))
    },
    optimizer: adamw(),
    schedule: cosineRate(0.01, 8),
  })
}

/** Adam, dropout, rates out of a data slot, rows out of another, two passes an update, gradients held. */
function dropout(): Job {
  return made({
    name: 'dropout',
    parameters: mlpParameters([9, 8, 8, 3]),
    data: [
      { name: 'x', dtype: 'u8', shape: [12, 9], data: bytes(7, 12 * 9, 256) },
      { name: 'y', dtype: 'u8', shape: [12], data: bytes(8, 12, 3) },
      { name: 'order', dtype: 'i32', shape: [16, 4], data: Int32Array.from(bytes(9, 64, 12)) },
      { name: 'rates', dtype: 'f32', shape: [8], data: Float32Array.from({ length: 8 }, (_, i) => 2 ** -(4 + i)) },
    ],
    batch: 4,
    accumulate: 2,
    order: 'listed',
    loss: ({ parameter: p, batch, step, random }) => {
      let layer = 0
      const dropped = (x: Expr): Expr => mul(relu(x), dropoutMask(random(STREAM.dropout + layer++), x.shape, 0.25, step))
      return crossEntropy(mlp(p, div(cast(batch('x'), 'f32'), 255), 3, dropped), cast(batch('y'), 'i32'))
    },
    optimizer: adam({ amsgrad: true }),
    schedule: listedRate('rates'),
    clip: 1,
    clipValue: 0.5,
  })
}

/** Words looked up and averaged: the gradient scatters. */
function words(): Job {
  return made({
    name: 'words',
    parameters: [...embeddingParameters('wte', 19, 6), ...linearParameters('fc', 6, 19)],
    data: [{ name: 'text', dtype: 'u8', shape: [12, 5], data: bytes(10, 60, 19) }],
    batch: 4,
    loss: ({ parameter: p, batch }) => {
      const tokens = cast(batch('text'), 'i32')
      const context = mean(embedding(p, 'wte', slice(tokens, 1, 0, 4)), 1)
      return crossEntropy(linear(p, 'fc', gelu(context)), reshape(slice(tokens, 1, 4, 5), [4]))
    },
    optimizer: sgd({ momentum: 0.9 }),
    schedule: warmUp(2, cosineRate(0.1, 6)),
  })
}

/** The models by name; a recipe's data is what the recipe ships with. */
export const MODELS: Readonly<Record<string, () => Promise<Model>>> = {
  chargpt: async () =>
    modelOf(
      'chargpt',
      'the shakespeare recipe: 4 blocks, 4 heads, AdamW, warm-up, clipping; 16 wide, block 8, batch 2',
      await recipe('shakespeare', { width: 16, block: 8, batch: 2 }),
    ),
  lstm: async () =>
    modelOf(
      'lstm',
      'the lstm recipe: embedding, LSTM, head, AdamW, clipping; unrolled over 6, 8 wide',
      await recipe('lstm', { width: 6, hidden: 8, block: 6, batch: 2 }),
    ),
  resnet: async () =>
    modelOf('resnet', 'ResNet-8 with batch norm and its running moments, SGD with momentum; 4 to 8 channels on 8×8', resnet()),
  cnn: async () => modelOf('cnn', 'two convolutions with pooling and a linear layer, AdamW; on 10×10', cnn()),
  dropout: async () =>
    modelOf('dropout', 'MLP with dropout, Adam with amsgrad, listed rates and rows, two passes an update, gradients held', dropout()),
  words: async () => modelOf('words', 'an embedding averaged, a linear layer, SGD with momentum, warm-up; its gradient scatters', words()),
}
