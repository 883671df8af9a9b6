// Disputes about a real training step (an MLP with ReLU, cross-entropy, AdamW, shuffling): a lie in an expr of every op is found in it, in any step of a segment.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { cheat, differs, type Knowledge, openGame, play, replay } from '@bitloom/dispute'
import { elementOf } from '@bitloom/dispute/knowledge'
import { wasm } from '@bitloom/engine'
import { type Data, interpret, sizeOf } from '@bitloom/graph'
import { crossEntropy } from '@bitloom/model/loss'
import { relu } from '@bitloom/model/math'
import { mlp, mlpParameters } from '@bitloom/model/nn'
import { adamw } from '@bitloom/model/optim'
import { constantRate } from '@bitloom/model/schedule'
import { trainingStep } from '@bitloom/model/step'

const STEPS = 6
const COUNT = 12
const job = trainingStep({
  name: 'mlp',
  parameters: mlpParameters([8, 6, 3]),
  data: [
    { name: 'x', dtype: 'f32', shape: [COUNT, 8], data: Float32Array.from({ length: COUNT * 8 }, (_, i) => Math.cos(i)) },
    { name: 'y', dtype: 'i32', shape: [COUNT], data: Int32Array.from({ length: COUNT }, (_, i) => i % 3) },
  ],
  count: COUNT,
  batch: 4,
  steps: STEPS,
  seed: [3, 5],
  loss: ({ parameter, batch }) => crossEntropy(mlp(parameter, batch('x'), 2, relu), batch('y')),
  optimizer: adamw({ weightDecay: 0.01 }),
  schedule: constantRate(0.01),
})
const { graph } = job
const slots: Data[] = [...job.state, ...job.data]
const run = { graph, slots, steps: STEPS, evaluate: interpret }
const honest: Knowledge = replay(run)

test('a lie about any op of the step is convicted, and an honest solver withstands it', () => {
  const exchanges: number[] = []
  const met = new Map<string, number>()
  graph.exprs.forEach((e, expr) => {
    // Three of each op, spread over the graph and over the steps.
    const before = met.get(e.op) ?? 0
    if (before === 3 || (before > 0 && expr % 7 !== 0)) return
    met.set(e.op, before + 1)
    const step = expr % STEPS
    const element = sizeOf(e.shape) - 1
    const right = elementOf(graph, expr, element, honest.trace(step).tensor(expr))
    const word = (e.dtype === 'u8' ? right ^ 1 : right ^ 0x40400000) >>> 0
    const liar = cheat(run, { kind: 'expr', step, expr, element, word })
    const what = `${e.op} at ${expr}, step ${step}`
    if (!differs(honest, STEPS, openGame(liar, STEPS).hi)) return // swallowed: a dead ReLU, a mask, a comparison
    const match = play(openGame(liar, STEPS), liar, honest)
    assert.ok(match.verdict.convicted, `${what}: ${match.verdict.ground}, stuck: ${match.stuck}`)
    assert.deepEqual([match.game.step, match.verdict.expr], [step, expr], what)
    assert.equal(match.verdict.ground, e.op === 'input' ? 'input' : 'scalar', what)
    const slander = play(openGame(honest, STEPS), honest, liar)
    assert.ok(!slander.verdict.convicted, what)
    exchanges.push(match.exchanges)
  })
  assert.ok(exchanges.length > 20, `${exchanges.length} games`)
  console.log(
    `# ${graph.exprs.length} exprs, ${exchanges.length} games, ${Math.min(...exchanges)} to ${Math.max(...exchanges)} exchanges each`,
  )
})

test('whoever is cross-examined may have run another backend: the bits are the same', () => {
  const fast = replay({ ...run, evaluate: wasm.evaluate })
  for (let step = 0; step <= STEPS; step++) assert.deepEqual(fast.parts(step), honest.parts(step))
  for (let step = 0; step < STEPS; step++) assert.deepEqual(fast.trace(step).roots, honest.trace(step).roots)
})

test('a run that stops half-way, or starts from another state, is convicted', () => {
  const lazy = replay({
    ...run,
    stepper: (step, s, visit) => {
      const result = interpret(graph, s, visit)
      return step < 3 ? result : { ...result, next: s.slice(0, graph.next.length) }
    },
  })
  const match = play(openGame(lazy, STEPS), lazy, honest)
  assert.deepEqual([match.verdict.convicted, match.verdict.ground, match.game.step], [true, 'state', 3])
  const other = slots.map((t, s) => (s === 0 ? t.map((x) => x * 2) : t)) as Data[]
  const elsewhere = replay({ ...run, slots: other })
  // The start moment is the claim's own; a solver that ran from another state cannot open the first step.
  const game = { ...openGame(elsewhere, STEPS), lo: openGame(honest, STEPS).lo }
  const opened = play(game, elsewhere, honest)
  assert.ok(opened.verdict.convicted)
  assert.equal(opened.stuck, 'StartDiffers')
})
