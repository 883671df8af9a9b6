// An evaluation job counts every held-out example once, whatever the size of its chunks.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Data, interpret } from '@bitloom/graph'
import { type EvaluationJob, evaluationJob, MetricError } from './metrics.ts'
import { lossByName } from './named/loss.ts'
import { linear } from './nn.ts'

const WEIGHT = Float32Array.of(1, -1, 0.5, 2, 0, -0.5)
const BIAS = Float32Array.of(0.1, 0, -0.1)
const X = Float32Array.from({ length: 14 }, (_, i) => Math.fround(((i * 5) % 11) / 4 - 1))
const LABELS = Uint8Array.of(0, 1, 2, 0, 1, 2, 2)

const logits = Array.from({ length: 7 }, (_, r) =>
  [0, 1, 2].map((c) => X[2 * r] * WEIGHT[2 * c] + X[2 * r + 1] * WEIGHT[2 * c + 1] + BIAS[c]),
)
const losses = logits.map((row, r) => Math.log(row.reduce((a, v) => a + Math.exp(v), 0)) - row[LABELS[r]])
const right = logits.map((row, r) => Number(row.indexOf(Math.max(...row)) === LABELS[r]))
const mean = (x: readonly number[]): number => x.reduce((a, b) => a + b, 0) / x.length

const job = (batch: number, options: Record<string, unknown> = {}, count = 7): EvaluationJob =>
  evaluationJob({
    name: 'held out',
    parameters: [
      { name: 'fc.weight', shape: [3, 2] },
      { name: 'fc.bias', shape: [3] },
    ],
    data: [
      { name: 'x', dtype: 'f32', shape: [7, 2], data: X },
      { name: 'y', dtype: 'u8', shape: [7], data: LABELS },
    ],
    ...{ count, batch },
    loss: lossByName('cross_entropy', options),
    forward: ({ parameter, batch: rows }) => ({ output: linear(parameter, 'fc', rows('x')), target: rows('y') }),
  })

function run(j: EvaluationJob): { metrics: ReturnType<EvaluationJob['read']>; state: Data[] } {
  let state = j.stateFor([WEIGHT, BIAS])
  for (let s = 0; s < j.steps; s++) state = interpret(j.graph, [...state, ...j.data]).next
  return { metrics: j.read(state), state }
}

test('loss, accuracy and perplexity do not depend on the chunks', () => {
  for (const batch of [1, 2, 3, 7, 10]) {
    const j = job(batch)
    const { metrics, state } = run(j)
    assert.equal(j.steps, Math.ceil(7 / batch))
    assert.ok(Math.abs(metrics.loss! - mean(losses)) < 1e-6, `${batch}: ${metrics.loss}`)
    assert.ok(Math.abs(metrics.perplexity! - Math.exp(mean(losses))) < 1e-5)
    assert.equal(metrics.accuracy, mean(right))
    assert.deepEqual(state.slice(0, 2), [WEIGHT, BIAS], 'the model is left alone')
    assert.equal(state[j.stepSlot][0], j.steps)
    const chunk = losses.slice(0, batch)
    assert.ok(Math.abs(state[j.lossSlot][0] - mean(chunk)) < 1e-6, 'each chunk logs its loss')
  }
})

test('fewer examples than rows, ignored labels, sums', () => {
  assert.ok(Math.abs(run(job(2, {}, 3)).metrics.loss! - mean(losses.slice(0, 3))) < 1e-6)
  const kept = [...LABELS].flatMap((l, r) => (l === 2 ? [] : [r]))
  const ignoring = run(job(3, { ignore_index: 2 })).metrics
  assert.ok(Math.abs(ignoring.loss! - mean(kept.map((r) => losses[r]))) < 1e-6)
  assert.equal(ignoring.accuracy, mean(kept.map((r) => right[r])))
  const summed = run(job(4, { reduction: 'sum' })).metrics
  assert.ok(Math.abs(summed.loss! - 7 * mean(losses)) < 1e-5)
  assert.ok(Math.abs(summed.perplexity! - Math.exp(mean(losses))) < 1e-5, 'perplexity is of the mean')
})

test('distances of quantities, and accuracy of yes and no', () => {
  const values = evaluationJob({
    name: 'values',
    parameters: [{ name: 'w.weight', shape: [1, 2] }],
    data: [
      { name: 'x', dtype: 'f32', shape: [7, 2], data: X },
      { name: 'y', dtype: 'f32', shape: [7], data: X.slice(0, 7) },
    ],
    ...{ count: 7, batch: 3, loss: lossByName('mse') },
    forward: ({ parameter, batch: rows }) => ({
      output: linear(parameter, 'w', rows('x'), false),
      target: rows('y'),
    }),
  })
  let state = values.stateFor([Float32Array.of(2, -1)])
  for (let s = 0; s < values.steps; s++) state = interpret(values.graph, [...state, ...values.data]).next
  const off = Array.from({ length: 7 }, (_, r) => 2 * X[2 * r] - X[2 * r + 1] - X[r])
  const { loss, mae } = values.read(state)
  assert.ok(Math.abs(loss! - mean(off.map((d) => d * d))) < 1e-6 && Math.abs(mae! - mean(off.map(Math.abs))) < 1e-6, `${loss}, ${mae}`)
  assert.throws(() => job(0), MetricError)
})
