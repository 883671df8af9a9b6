// The recipe of the quickstart: digits (or any 28×28 grey images in ten classes) with a small MLP, cross-entropy and AdamW.

import type { Data, Expr, Graph } from '@bitloom/graph'
import { type Evaluation, evaluation } from '../evaluation.ts'
import { crossEntropy } from '../loss.ts'
import { relu } from '../math.ts'
import { type Lookup, mlp, mlpParameters } from '../nn.ts'
import { adamw } from '../optim.ts'
import { constantRate, type Schedule } from '../schedule.ts'
import { type Job, trainingStep } from '../step.ts'
import { argmax, cast, div, eq, reshape, sum } from '../tensor.ts'

export const PIXELS = 28 * 28
export const CLASSES = 10

export type MnistOptions = {
  /** u8 [count, 784]. */
  readonly images: Uint8Array
  /** u8 [count], 0 … 9. */
  readonly labels: Uint8Array
  readonly count: number
  readonly seed: readonly [number, number]
  /** Training steps; or `epochs` passes over the data. */
  readonly steps?: number
  readonly epochs?: number
  readonly batch?: number
  readonly hidden?: number
  readonly lr?: number
  /** A constant `lr` by default. */
  readonly schedule?: Schedule
  readonly evaluate?: (graph: Graph, slots: readonly Data[]) => Data[]
}

const logitsOf = (p: Lookup, images: Expr): Expr => mlp(p, div(cast(images, 'f32'), 255), 2, relu)

/**
 * The job: MLP 784-hidden-10 with ReLU, parameters named as in PyTorch (`fc1.weight` [hidden, 784]), AdamW with weight decay 0.01.
 * @throws {RangeError} neither or both of steps and epochs, or tensors that do not fit `count`
 */
export function mnistJob(options: MnistOptions): Job {
  const { images, labels, count, seed, batch = 64, hidden = 128, lr = 1e-3 } = options
  if (images.length !== count * PIXELS || labels.length !== count)
    throw new RangeError(`${count} examples need ${count * PIXELS} pixels and ${count} labels, not ${images.length} and ${labels.length}`)
  if ((options.steps === undefined) === (options.epochs === undefined)) throw new RangeError('give either steps or epochs')
  return trainingStep({
    name: 'mnist',
    parameters: mlpParameters([PIXELS, hidden, CLASSES]),
    data: [
      { name: 'images', dtype: 'u8', shape: [count, PIXELS], data: images },
      { name: 'labels', dtype: 'u8', shape: [count], data: labels },
    ],
    count,
    batch,
    steps: options.steps ?? Math.ceil((options.epochs! * count) / batch),
    seed,
    loss: ({ parameter, batch: rows }) => crossEntropy(logitsOf(parameter, rows('images')), cast(rows('labels'), 'i32')),
    optimizer: adamw({ weightDecay: 0.01 }),
    schedule: options.schedule ?? constantRate(lr),
    ...(options.evaluate ? { evaluate: options.evaluate } : {}),
  })
}

/** The evaluation of such a model on `count` images: `logits` f32 [count, 10], `correct` i32 [1] and mean `loss` f32 [1]. */
export const mnistEvaluation = (count: number, hidden = 128): Evaluation =>
  evaluation(
    mlpParameters([PIXELS, hidden, CLASSES]),
    [
      { name: 'images', dtype: 'u8', shape: [count, PIXELS] },
      { name: 'labels', dtype: 'u8', shape: [count] },
    ],
    (read) => {
      const logits = logitsOf(read, read('images'))
      const labels = cast(read('labels'), 'i32')
      return [
        { name: 'logits', value: logits },
        { name: 'correct', value: reshape(sum(eq(argmax(logits, -1), labels)), [1]) },
        { name: 'loss', value: reshape(crossEntropy(logits, labels), [1]) },
      ]
    },
  )
