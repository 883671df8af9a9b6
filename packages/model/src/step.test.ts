// A job is whole: its graph trains, logs, walks the data in the sampler's order and starts from a state that anybody can compute again.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Data, encodeGraph, type Graph, graphId, interpret, toHex, verifyGraph } from '@bitloom/graph'
import { mse } from './loss.ts'
import { type Lookup, linear, linearParameters } from './nn.ts'
import { adamw, type Optimizer, sgd } from './optim.ts'
import { mnistEvaluation, mnistJob, PIXELS } from './recipes/mnist.ts'
import { constantRate } from './schedule.ts'
import { type Job, StepError, type TrainingStep, trainingStep } from './step.ts'
import { cast, meanAll, mul } from './tensor.ts'

const slotOf = (graph: Graph, name: string): number => graph.slots.findIndex((s) => s.name === name)

/** The state after `steps` steps and the probes on the way, by the interpreter. */
function run(job: Job, steps: number): { state: Data[]; probes: Data[] } {
  let state = job.state
  const probes: Data[] = []
  for (let s = 0; s < steps; s++) {
    const result = interpret(job.graph, [...state, ...job.data])
    state = result.next
    probes.push(result.probe)
  }
  return { state, probes }
}

/** y = 2·x₀ - x₁ from 24 examples. */
function small(more: Partial<TrainingStep> = {}, optimizer: Optimizer = sgd({ momentum: 0.5 })): Job {
  const x = Float32Array.from({ length: 48 }, (_, i) => ((i * 7) % 13) / 13 - 0.5)
  const y = Float32Array.from({ length: 24 }, (_, i) => 2 * x[2 * i] - x[2 * i + 1])
  return trainingStep({
    name: 'small',
    parameters: linearParameters('fc', 2, 1),
    data: [
      { name: 'x', dtype: 'f32', shape: [24, 2], data: x },
      { name: 'y', dtype: 'f32', shape: [24, 1], data: y },
    ],
    ...{ count: 24, batch: 8, steps: 60, seed: [3, 4] },
    loss: ({ parameter, batch }) => mse(linear(parameter, 'fc', batch('x')), batch('y')),
    optimizer,
    schedule: constantRate(1),
    ...more,
  })
}

test('slots come in the documented order and their exprs fit', () => {
  const job = small({}, adamw())
  assert.deepEqual(
    job.graph.slots.map((s) => `${s.kind} ${s.name} ${s.dtype}[${s.shape}]`),
    [
      ...['state fc.weight f32[1,2]', 'state fc.bias f32[1]'],
      ...['state fc.weight.m f32[1,2]', 'state fc.weight.v f32[1,2]', 'state fc.bias.m f32[1]', 'state fc.bias.v f32[1]'],
      ...['state adam.c1 f32[1]', 'state adam.c2 f32[1]', 'state step i32[1]', 'state loss f32[60]'],
      ...['data x f32[24,2]', 'data y f32[24,1]', 'data seed i32[2]'],
    ],
  )
  assert.deepEqual(job.parameters, ['fc.weight', 'fc.bias'])
  assert.equal(job.graph.slots[job.stepSlot].name, 'step')
  assert.equal(job.graph.slots[job.lossSlot].name, 'loss')
  assert.ok(verifyGraph(encodeGraph(job.graph)).ok)
  assert.ok(verifyGraph(encodeGraph(job.initial)).ok)
})

test('it learns the line, counts its steps and logs each loss once', () => {
  const job = small()
  const { state } = run(job, 60)
  const log = state[job.lossSlot] as Float32Array
  assert.equal(state[job.stepSlot][0], 60)
  assert.ok(log[0] > 0.1 && log[59] < 1e-5, `losses ${log[0]} … ${log[59]}`)
  assert.ok(Math.abs(state[0][0] - 2) < 0.01 && Math.abs(state[0][1] + 1) < 0.01, `weights ${state[0]}`)
  const half = run(job, 30).state[job.lossSlot] as Float32Array
  assert.deepEqual(half.slice(0, 30), log.slice(0, 30))
  assert.ok(half.slice(30).every((x) => x === 0))
})

test('the same task is the same graph and state; another seed shares the graph and nothing else', () => {
  const [one, two, other] = [small(), small(), small({ seed: [3, 5] })]
  assert.equal(toHex(graphId(one.graph)), toHex(graphId(two.graph)))
  assert.deepEqual(one.state, two.state)
  assert.equal(toHex(graphId(one.graph)), toHex(graphId(other.graph)))
  assert.notDeepEqual(one.state[0], other.state[0])
  assert.notDeepEqual(run(one, 2).state[one.lossSlot], run(other, 2).state[other.lossSlot])
})

test('the initial graph gives the initial state', () => {
  const drawn = small()
  const blank = drawn.state.map((d) => (d instanceof Float32Array ? new Float32Array(d.length) : new Int32Array(d.length)))
  assert.deepEqual(interpret(drawn.initial, [...blank, ...drawn.data]).next, drawn.state)
  const given = small({
    parameters: [{ name: 'fc.weight', shape: [1, 2], initial: Float32Array.of(5, 6) }, linearParameters('fc', 2, 1)[1]],
  })
  assert.deepEqual(given.state[0], Float32Array.of(5, 6))
})

test('probes are gradient words that change from step to step and with the seed', () => {
  const [one, other] = [run(small(), 3), run(small({ seed: [3, 5] }), 3)]
  const all = [...one.probes, ...other.probes].map(String)
  assert.equal(new Set(all).size, all.length)
  const words = new Float32Array((one.probes[0] as Int32Array).buffer)
  assert.equal(words.length, 8)
  // with plain momentum from 0 the first moments are the gradients
  const moments = new Set(['fc.weight.m', 'fc.bias.m'].flatMap((name) => [...run(small(), 1).state[slotOf(small().graph, name)]]))
  for (const w of words) assert.ok(moments.has(w), `${w} is none of ${[...moments]}`)
})

test('frozen parameters stay, and updates replace them', () => {
  const frozen = [
    ...linearParameters('fc', 2, 1),
    { name: 'scale', shape: [], initial: Float32Array.of(3), frozen: true },
    { name: 'seen', shape: [], initial: Float32Array.of(0), frozen: true },
  ]
  const withScale = small({
    parameters: frozen,
    loss: ({ parameter, batch, step }) => ({
      loss: mul(mse(linear(parameter, 'fc', batch('x')), batch('y')), parameter('scale')),
      updates: { seen: cast(step, 'f32') },
    }),
  })
  const { state } = run(withScale, 3)
  assert.equal(state[slotOf(withScale.graph, 'scale')][0], 3)
  assert.equal(state[slotOf(withScale.graph, 'seen')][0], 2)
})

test('an epoch sees every example once', () => {
  const mark = (parameter: Lookup, rows: Lookup) => mul(meanAll(rows('x')), meanAll(parameter('w')))
  const seen = trainingStep({
    name: 'seen',
    parameters: [{ name: 'w', shape: [1], initial: Float32Array.of(1) }],
    data: [{ name: 'x', dtype: 'f32', shape: [12], data: Float32Array.from({ length: 12 }, (_, i) => 2 ** i) }],
    ...{ count: 12, batch: 4, steps: 3, seed: [1, 1], optimizer: sgd(), schedule: constantRate(0) },
    loss: ({ parameter, batch }) => mark(parameter, batch),
  })
  const log = run(seen, 3).state[seen.lossSlot] as Float32Array
  assert.equal(
    log.reduce((a, b) => a + b * 4, 0),
    4095,
  )
})

test('passes that accumulate gradients train as one batch of them all would', () => {
  const order = { order: 'sequential', steps: 6 } as const
  for (const more of [{}, { clip: 0.5 }, { clipValue: 0.1 }]) {
    const whole = small({ ...order, ...more, batch: 8 }, adamw())
    const parts = small({ ...order, ...more, batch: 2, accumulate: 4 }, adamw())
    assert.equal(parts.steps, 24)
    const [a, b] = [run(whole, 6).state, run(parts, 24).state]
    for (const name of ['fc.weight', 'fc.bias', 'fc.weight.m', 'fc.bias.v', 'adam.c1']) {
      const [x, y] = [a[slotOf(whole.graph, name)], b[slotOf(parts.graph, name)]]
      x.forEach((v, i) => {
        assert.ok(Math.abs(v - y[i]) <= 2e-6 * Math.max(1, Math.abs(v)), `${name}: ${v}, ${y[i]}`)
      })
    }
    const [whole6, parts24] = [a[whole.lossSlot], b[parts.lossSlot]]
    for (let s = 0; s < 6; s++) {
      const mean = [0, 1, 2, 3].reduce((sum, k) => sum + parts24[4 * s + k] / 4, 0)
      assert.ok(Math.abs(mean - whole6[s]) < 1e-6, `loss ${s}: ${mean}, ${whole6[s]}`)
    }
  }
  const between = small({ ...order, batch: 2, accumulate: 4 }, adamw())
  const three = run(between, 3).state
  for (const name of ['fc.weight', 'fc.bias.v', 'adam.c1']) {
    const at = slotOf(between.graph, name)
    assert.deepEqual(three[at], between.state[at], `${name} stays as it is between updates`)
  }
  assert.throws(() => small({ accumulate: 0 }), StepError)
})

test('two slots of one name are refused', () => {
  assert.throws(
    () => small({ parameters: [...linearParameters('fc', 2, 1), { name: 'loss', shape: [1], initial: Float32Array.of(1) }] }),
    /called "loss"/,
  )
})

test('parts that do not fit are refused', () => {
  assert.throws(() => small({ steps: 0 }), StepError)
  assert.throws(() => small({ batch: 0.5 }), StepError)
  assert.throws(() => small({ steps: 2 ** 30 }), StepError)
  assert.throws(() => small({ data: [{ name: 'x', dtype: 'f32', shape: [3], data: new Float32Array(2) }] }), StepError)
  assert.throws(() => small({ parameters: [{ name: 'w', shape: [2], initial: new Float32Array(3) }] }), StepError)
  assert.throws(() => small({ loss: ({ batch }) => meanAll(batch('z')) }), /no slot "z"/)
})

test('the MNIST recipe learns two kinds of picture, and its evaluation says so', () => {
  const count = 20
  const images = Uint8Array.from({ length: count * PIXELS }, (_, i) =>
    Math.floor(i / PIXELS) % 2 === (i % PIXELS < 392 ? 0 : 1) ? 200 : (i * 31) % 60,
  )
  const labels = Uint8Array.from({ length: count }, (_, i) => (i % 2) * 7)
  const job = mnistJob({ images, labels, count, seed: [1, 2], epochs: 4, batch: 10, hidden: 4, lr: 0.02 })
  assert.equal(job.steps, 8)
  const { state } = run(job, 8)
  const losses = state[job.lossSlot] as Float32Array
  const held = mnistEvaluation(count, 4)
  const parameters = job.parameters.map((_, slot) => state[slot])
  const { next } = interpret(held.graph, held.slots(parameters, [images, labels]))
  const loss = held.read(next, 'loss')[0]
  assert.ok(losses[7] < losses[0] / 2 && loss < losses[0] / 2, `${losses}, ${loss}`)
  assert.equal(held.read(next, 'correct')[0], count)
  assert.equal(held.read(next, 'logits').length, count * 10)
  assert.throws(() => mnistJob({ images, labels, count, seed: [1, 2] }), RangeError)
  assert.throws(() => mnistJob({ images, labels, count: 3, seed: [1, 2], steps: 1 }), RangeError)
})
