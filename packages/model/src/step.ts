// A training step as one graph: which examples, the loss, its gradients, the update, the loss log and the probe, and the state it starts from.

import {
  allocate,
  type Data,
  type Dtype,
  type Expr,
  type Graph,
  input,
  interpret,
  makeGraph,
  type Shape,
  type Slot,
  sizeOf,
} from '@bitloom/graph'
import { gradients } from './grad.ts'
import type { Lookup, Parameter } from './nn.ts'
import { clipByNorm, clipByValue, type Optimizer } from './optim.ts'
import { probeOf } from './probe.ts'
import { type Key, keyOf, STREAM } from './random.ts'
import { listed, sequential, shuffled } from './sampler.ts'
import type { Schedule } from './schedule.ts'
import { add, broadcastTo, div, divu, eq, full, gather, mul, range, remu, reshape, where } from './tensor.ts'

/** Everything a task's graph and slots are: what a solver runs and a contract can judge. */
export type Job = {
  readonly name: string
  readonly graph: Graph
  /** The state before step 0, in state-slot order. */
  readonly state: Data[]
  /** In data-slot order. */
  readonly data: Data[]
  readonly steps: number
  readonly batch: number
  /** Names of the state slots that make the model. */
  readonly parameters: string[]
  readonly stepSlot: number
  readonly lossSlot: number
  /** Computes the initial state from given parameters (zeros elsewhere) and the same data slots. */
  readonly initial: Graph
}

/** A tensor of the data set, as stored; its first axis is the example. */
export type DataTensor = { readonly name: string; readonly dtype: Dtype; readonly shape: Shape; readonly data: Data }

/** What a loss may read. */
export type StepContext = {
  readonly parameter: Lookup
  /** The batch's rows of a data tensor, [batch, ..]. */
  readonly batch: Lookup
  /** A whole data tensor. */
  readonly data: Lookup
  /** Numbers of the batch's examples, i32 [batch]. */
  readonly index: Expr
  /** i32, rank 0, from 0. */
  readonly step: Expr
  /** The key of a random stream: dropout, augmentation. */
  readonly random: (stream: number) => Key
}

export type TrainingStep = {
  readonly name: string
  readonly parameters: readonly Parameter[]
  readonly data: readonly DataTensor[]
  /** Examples that training draws from: the first `count` rows. */
  readonly count: number
  /** Examples a forward pass. */
  readonly batch: number
  /** Updates. */
  readonly steps: number
  /** Passes an update, 1 by default: their mean gradient is what the optimizer sees; the job then has steps·accumulate steps, and logs a loss for each. */
  readonly accumulate?: number
  readonly seed: readonly [number, number]
  /** The loss, f32 of one element; `updates` are next values of frozen parameters (running statistics). */
  readonly loss: (context: StepContext) => Expr | { readonly loss: Expr; readonly updates: Readonly<Record<string, Expr>> }
  readonly optimizer: Optimizer
  readonly schedule: Schedule
  /** Largest norm of all gradients together; none by default. */
  readonly clip?: number
  /** Largest absolute value of a gradient's element, held before the norm is taken; none by default. */
  readonly clipValue?: number
  /** `listed` reads row `step` of the data tensor `order`, i32[steps·accumulate, batch]. */
  readonly order?: 'shuffled' | 'sequential' | 'listed'
  /** Evaluates the initial state; the interpreter by default. */
  readonly evaluate?: (graph: Graph, slots: readonly Data[]) => Data[]
}

/**
 * The job that trains `parameters` for `steps` updates. State slots: parameters, moments, where passes accumulate the gradients so far (`fc1.weight.g`), shared
 * optimizer state, `step` i32[1], `loss` f32[steps·accumulate]. Data slots: the data tensors, then `seed` i32[2].
 * @throws {StepError} the parts do not fit each other
 */
export function trainingStep(t: TrainingStep): Job {
  check(t)
  const trained = t.parameters.filter((p) => !p.frozen)
  const passes = t.accumulate ?? 1
  const state: (Slot & { given?: Float32Array })[] = [
    ...t.parameters.map((p) => stateSlot(p.name, 'f32', p.shape, p.initial instanceof Float32Array ? p.initial : undefined)),
    ...trained.flatMap((p) => t.optimizer.moments.map((m) => stateSlot(`${p.name}.${m}`, 'f32', p.shape))),
    ...(passes > 1 ? trained.map((p) => stateSlot(`${p.name}.g`, 'f32', p.shape)) : []),
    ...t.optimizer.shared.map((name) => stateSlot(name, 'f32', [1])),
    stateSlot('step', 'i32', [1]),
    stateSlot('loss', 'f32', [t.steps * passes]),
  ]
  const slots: Slot[] = [
    ...state.map(({ name, kind, dtype, shape }) => ({ name, kind, dtype, shape })),
    ...t.data.map(({ name, dtype, shape }): Slot => ({ name, kind: 'data', dtype, shape })),
    { name: 'seed', kind: 'data', dtype: 'i32', shape: [2] },
  ]
  const inputs = new Map(slots.map((s, at) => [s.name, input(at, s.dtype, s.shape)]))
  if (inputs.size < slots.length)
    fail(`two slots are called "${slots.find((s, i) => slots.findIndex((o) => o.name === s.name) < i)?.name}"`)
  const read: Lookup = (name) => inputs.get(name) ?? fail(`there is no slot "${name}"; the slots are ${[...inputs.keys()].join(', ')}`)
  const next = stepExprs(t, trained, read)
  const graph = makeGraph(
    slots,
    state.map((s) => next.state.get(s.name) ?? read(s.name)),
    next.probe,
  )

  const data = [...t.data.map((d) => d.data), Int32Array.from(t.seed)]
  const initial = initialGraph(t, slots, read)
  const blank = state.map((s) => s.given ?? allocate(s.dtype, sizeOf(s.shape)))
  const evaluate = t.evaluate ?? ((g, s) => interpret(g, s).next)
  const slotOf = (name: string): number => slots.findIndex((s) => s.name === name)
  return {
    name: t.name,
    graph,
    state: evaluate(initial, [...blank, ...data]),
    data,
    steps: t.steps * passes,
    batch: t.batch,
    parameters: t.parameters.map((p) => p.name),
    stepSlot: slotOf('step'),
    lossSlot: slotOf('loss'),
    initial,
  }
}

const stateSlot = (name: string, dtype: Dtype, shape: Shape, given?: Float32Array): Slot & { given?: Float32Array } => ({
  ...{ name, kind: 'state', dtype, shape },
  ...(given ? { given } : {}),
})

/** Each state slot's next value and the probe. */
function stepExprs(t: TrainingStep, trained: readonly Parameter[], read: Lookup): { state: Map<string, Expr>; probe: Expr } {
  const [seed, step] = [read('seed'), reshape(read('step'), [])]
  const first = mul(step, t.batch)
  const index =
    t.order === 'listed'
      ? listed(read('order'), step)
      : t.order === 'sequential'
        ? sequential(first, t.batch, t.count)
        : shuffled(seed, first, t.batch, t.count)
  const context: StepContext = {
    parameter: read,
    batch: (name) => gather(read(name), index),
    index,
    data: read,
    step,
    random: (stream) => keyOf(seed, stream),
  }
  const result = t.loss(context)
  const { loss, updates } = 'loss' in result ? result : { loss: result, updates: {} }
  const passes = t.accumulate ?? 1
  const raw = gradients(
    passes === 1 ? loss : div(loss, passes),
    trained.map((p) => read(p.name)),
  )
  const summed = passes === 1 ? raw : raw.map((g, i) => add(read(`${trained[i].name}.g`), g))
  const held = t.clipValue === undefined ? summed : clipByValue(summed, t.clipValue)
  const used = t.clip === undefined ? held : clipByNorm(held, t.clip)
  const lr = t.schedule(passes === 1 ? step : divu(step, passes), read)
  // between updates everything that the optimizer owns stays as it is
  const due = passes === 1 ? undefined : eq(remu(step, passes), passes - 1)
  const state = new Map<string, Expr>(Object.entries(updates))
  const set = (name: string, next: Expr): void => void state.set(name, due ? where(due, next, read(name)) : next)
  const { optimizer } = t
  const advanced = optimizer.advance(optimizer.shared.map((name) => reshape(read(name), [])))
  trained.forEach((p, i) => {
    const moments = optimizer.moments.map((m) => read(`${p.name}.${m}`))
    const after = optimizer.update({ name: p.name, parameter: read(p.name), gradient: used[i], moments, shared: advanced, lr })
    set(p.name, after.parameter)
    optimizer.moments.forEach((m, k) => {
      set(`${p.name}.${m}`, after.moments[k])
    })
    if (due) state.set(`${p.name}.g`, where(due, 0, summed[i]))
  })
  optimizer.shared.forEach((name, i) => {
    set(name, reshape(advanced[i], [1]))
  })
  state.set('step', add(read('step'), 1))
  const log = [t.steps * passes]
  state.set('loss', where(eq(range(log[0]), broadcastTo(step, log)), reshape(loss, [1]), read('loss')))
  return { state, probe: probeOf(raw, seed, step) }
}

/** The graph that computes the initial state: drawn parameters from the seed, given ones as they are, everything else 0. */
function initialGraph(t: TrainingStep, slots: readonly Slot[], read: Lookup): Graph {
  const seed = read('seed')
  const drawn = new Map(
    t.parameters.map((p, i) => [p.name, typeof p.initial === 'function' ? p.initial(keyOf(seed, STREAM.initial + i)) : read(p.name)]),
  )
  const next = slots.filter((s) => s.kind === 'state').map((s) => drawn.get(s.name) ?? full(s.shape, 0, s.dtype))
  return makeGraph(slots, next, read('seed'))
}

function check(t: TrainingStep): void {
  if (!Number.isInteger(t.steps) || t.steps < 1) fail(`${t.steps} steps; a job has at least one`)
  if (!Number.isInteger(t.batch) || t.batch < 1) fail(`a batch of ${t.batch}`)
  const passes = t.accumulate ?? 1
  if (!Number.isInteger(passes) || passes < 1) fail(`${passes} passes an update; there is at least one`)
  // INVARIANT: positions are 32-bit words; beyond that the order of examples would start anew
  if (t.steps * passes * t.batch > 2 ** 32) fail(`${t.steps * passes} steps of ${t.batch} examples: more than 2^32 positions`)
  if (t.parameters.every((p) => p.frozen)) fail('there is no parameter to train')
  for (const d of t.data) if (d.data.length !== sizeOf(d.shape)) fail(`data "${d.name}": ${d.data.length} elements for [${d.shape}]`)
  for (const p of t.parameters)
    if (p.initial instanceof Float32Array && p.initial.length !== sizeOf(p.shape))
      fail(`parameter "${p.name}": ${p.initial.length} elements for [${p.shape}]`)
}

const fail = (message: string): never => {
  throw new StepError(message)
}

export class StepError extends Error {
  override name = 'model.StepError'
}
