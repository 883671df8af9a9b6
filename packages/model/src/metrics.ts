// How good a model is on data it has not seen: loss, accuracy, perplexity and mean absolute error as a job of its own, chunk by chunk through the data set, so that
// it is run, claimed and disputed as training is.

import { allocate, type Data, type Expr, input, makeGraph, type Shape, type Slot, sizeOf } from '@bitloom/graph'
import { reduced } from './loss.ts'
import type { Loss } from './named/loss.ts'
import type { Lookup } from './nn.ts'
import { probeOf } from './probe.ts'
import type { DataTensor, Job } from './step.ts'
import { abs, add, argmax, broadcastTo, cast, eq, full, gather, lt, mul, ne, range, reshape, sub, sum, total, where } from './tensor.ts'

export type MetricName = 'loss' | 'accuracy' | 'perplexity' | 'mae'

/** What a forward pass may read. */
export type EvaluationContext = {
  readonly parameter: Lookup
  /** The chunk's rows of a data tensor, [batch, ..]; rows beyond the end repeat the last and count for nothing. */
  readonly batch: Lookup
  /** A whole data tensor. */
  readonly data: Lookup
}

export type EvaluationTask = {
  readonly name: string
  readonly parameters: readonly { readonly name: string; readonly shape: Shape }[]
  readonly data: readonly DataTensor[]
  /** Examples: the first `count` rows. */
  readonly count: number
  /** Examples a step. */
  readonly batch: number
  readonly loss: Loss
  /** The model as it is used: no dropout, running statistics as they are. The output's first axis is the example. */
  readonly forward: (context: EvaluationContext) => { readonly output: Expr; readonly target: Expr }
  /** The default is what `metricsOf` gives. */
  readonly metrics?: readonly MetricName[]
  readonly seed?: readonly [number, number]
}

export type EvaluationJob = Job & {
  /** The state before step 0 for these parameters, in the task's order. */
  readonly stateFor: (parameters: readonly Data[]) => Data[]
  /** The metrics of the state after the last step. */
  readonly read: (state: readonly Data[]) => Partial<Record<MetricName, number>>
}

/** Loss always; accuracy and perplexity of classes, accuracy of yes and no, mean absolute error of quantities. */
export const metricsOf = (loss: Loss): MetricName[] =>
  loss.target === 'class' ? ['loss', 'accuracy', 'perplexity'] : isBinary(loss) ? ['loss', 'accuracy'] : ['loss', 'mae']

const isBinary = (loss: Loss): boolean => /bce|binary|sigmoid/.test(loss.name)

/** 1 where a prediction is right, and 1 where it counts; i32, one a prediction. */
function hits(loss: Loss, output: Expr, target: Expr): { right: Expr; counts: Expr | undefined } {
  if (loss.target === 'value') {
    const yes = loss.name.includes('logit') || loss.name.includes('sigmoid') ? lt(0, output) : lt(0.5, output)
    return { right: eq(yes, reshape(lt(0.5, cast(target, 'f32')), yes.shape)), counts: undefined }
  }
  const axis = loss.classAxis(output, target)
  const chosen = argmax(output, axis)
  const soft = target.dtype === 'f32' && `${target.shape}` === `${output.shape}`
  const label = soft ? argmax(target, axis) : reshape(cast(target, 'i32'), chosen.shape)
  const { weights } = loss.elements(output, target)
  return { right: eq(chosen, label), counts: weights ? ne0(weights) : undefined }
}

const ne0 = (x: Expr): Expr => ne(x, 0)

/**
 * The evaluation as a job: step i adds chunk i to the sums. State slots: parameters, `sum` f32[1], `weight` f32[1], `right` i32[1], `counted` i32[1], `distance` f32[1],
 * `elements` f32[1], `step` i32[1], `loss` f32[steps] (each chunk's). Data slots: the data tensors, then `seed` i32[2].
 * @throws {MetricError} sizes do not fit, or the loss has no such metric
 */
export function evaluationJob(t: EvaluationTask): EvaluationJob {
  const { count, batch, loss } = t
  if (!Number.isInteger(count) || count < 1 || !Number.isInteger(batch) || batch < 1)
    throw new MetricError(`${count} examples in chunks of ${batch}`)
  const metrics = t.metrics ?? metricsOf(loss)
  const counted = metrics.includes('accuracy')
  const measured = metrics.includes('mae')
  if (counted && !metricsOf(loss).includes('accuracy')) throw new MetricError(`accuracy of a model with loss ${loss.name}`)
  if (measured && loss.target === 'class') throw new MetricError(`mean absolute error of a model with loss ${loss.name}`)
  const steps = Math.ceil(count / batch)
  const own: Slot[] = [
    ...['sum', 'weight', ...(measured ? ['distance', 'elements'] : [])].map(
      (name): Slot => ({ name, kind: 'state', dtype: 'f32', shape: [1] }),
    ),
    ...(counted ? ['right', 'counted'] : []).map((name): Slot => ({ name, kind: 'state', dtype: 'i32', shape: [1] })),
    { name: 'step', kind: 'state', dtype: 'i32', shape: [1] },
    { name: 'loss', kind: 'state', dtype: 'f32', shape: [steps] },
  ]
  const slots: Slot[] = [
    ...t.parameters.map(({ name, shape }): Slot => ({ name, kind: 'state', dtype: 'f32', shape })),
    ...own,
    ...t.data.map(({ name, dtype, shape }): Slot => ({ name, kind: 'data', dtype, shape })),
    { name: 'seed', kind: 'data', dtype: 'i32', shape: [2] },
  ]
  const inputs = new Map(slots.map((s, at) => [s.name, input(at, s.dtype, s.shape)]))
  if (inputs.size < slots.length) throw new MetricError('a parameter, a data tensor or a sum have the same name')
  const read: Lookup = (name) => {
    const e = inputs.get(name)
    if (!e) throw new MetricError(`there is no slot "${name}"; the slots are ${[...inputs.keys()].join(', ')}`)
    return e
  }
  const step = reshape(read('step'), [])
  const index = add(mul(step, batch), range(batch))
  const { output, target } = t.forward({ parameter: read, data: read, batch: (name) => gather(read(name), index) })
  // rows beyond the end are no examples
  const inside = count % batch === 0 ? undefined : lt(index, count)
  const masked = (x: Expr): Expr => {
    if (!inside) return x
    if (sizeOf(x.shape) % batch !== 0) throw new MetricError(`[${x.shape}] is not ${batch} examples`)
    const rows = reshape(x, [batch, -1])
    return where(broadcastTo(reshape(inside, [batch, 1]), rows.shape), rows, full(rows.shape, 0, rows.dtype as 'f32' | 'i32'))
  }
  const { values, weights } = loss.elements(output, target)
  const present = (like: Expr): Expr => masked(full(like.shape, 1))
  const chunk = { values: masked(values), weights: weights ? masked(weights) : present(values) }
  const next = new Map<string, Expr>()
  const plus = (name: string, x: Expr): void => void next.set(name, add(read(name), reshape(x, [1])))
  plus('sum', total(chunk.values))
  plus('weight', total(chunk.weights))
  if (counted) {
    const { right, counts } = hits(loss, output, target)
    const kept = masked(counts ?? full(right.shape, 1, 'i32'))
    plus('right', sum(reshape(mul(masked(right), kept), [-1])))
    plus('counted', sum(reshape(kept, [-1])))
  }
  if (measured) {
    const distance = abs(sub(output, reshape(cast(target, 'f32'), output.shape)))
    plus('distance', total(masked(distance)))
    plus('elements', total(present(distance)))
  }
  next.set('step', add(read('step'), 1))
  next.set('loss', where(eq(range(steps), broadcastTo(step, [steps])), reshape(reduced(chunk), [1]), read('loss')))
  const states = slots.filter((s) => s.kind === 'state')
  const graph = makeGraph(
    slots,
    states.map((s) => next.get(s.name) ?? read(s.name)),
    probeOf([output], read('seed'), step),
  )
  const stateFor = (parameters: readonly Data[]): Data[] => {
    if (parameters.length !== t.parameters.length)
      throw new MetricError(`${parameters.length} tensors for ${t.parameters.length} parameters`)
    return [...parameters, ...own.map((s) => allocate(s.dtype, sizeOf(s.shape)))]
  }
  const at = (name: string): number => slots.findIndex((s) => s.name === name)
  return {
    name: t.name,
    graph,
    state: stateFor(t.parameters.map((p) => allocate('f32', sizeOf(p.shape)))),
    data: [...t.data.map((d) => d.data), Int32Array.from(t.seed ?? [0, 0])],
    steps,
    batch,
    parameters: t.parameters.map((p) => p.name),
    stepSlot: at('step'),
    lossSlot: at('loss'),
    initial: makeGraph(
      slots,
      states.map((s) => (own.includes(s) ? full(s.shape, 0, s.dtype as 'f32' | 'i32') : read(s.name))),
      read('seed'),
    ),
    stateFor,
    read: (state) => {
      const value = (name: string): number => state[at(name)][0]
      const mean = loss.reduction === 'sum' ? value('sum') : value('sum') / (loss.reduction === 'batchmean' ? count : value('weight'))
      const known: Record<MetricName, () => number> = {
        loss: () => mean,
        // of the mean, whatever the loss adds up
        perplexity: () => Math.exp(value('sum') / value('weight')),
        accuracy: () => value('right') / value('counted'),
        mae: () => value('distance') / value('elements'),
      }
      return Object.fromEntries(metrics.map((m) => [m, known[m]()]))
    },
  }
}

export class MetricError extends Error {
  override name = 'model.MetricError'
}
