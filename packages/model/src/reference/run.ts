// Runs a case: trains from its files alone and gives what its comparison reads (losses, the first gradient, weights along the way, the evaluation).

import { type Data, type Expr, fromBytes, type Graph, toBytes } from '@bitloom/graph'
import { evaluation } from '../evaluation.ts'
import { gradients } from '../grad.ts'
import { evaluationJob } from '../metrics.ts'
import type { Lookup } from '../nn.ts'
import { OnnxError } from '../onnx/error.ts'
import type { Imported } from '../onnx/import.ts'
import { slotName } from '../onnx/names.ts'
import { keyOf } from '../random.ts'
import { type LoadedTensor, readSafetensors, type SafetensorsTensor } from '../safetensors.ts'
import { type DataTensor, type Job, trainingStep } from '../step.ts'
import { div, gather, reshape } from '../tensor.ts'
import { CaseError, type ReferenceCase, readCase } from './case.ts'
import { type Feed, feedOf, forward, importCase, type ReadFile, tensorOf } from './model.ts'
import { RATES, ratesOf } from './rates.ts'
import { type Weights, weightsOfCase } from './weights.ts'

/** The part of an engine's backend that a run needs. */
export type Compile = (graph: Graph) => {
  readonly write: (slot: number, bytes: Uint8Array) => void
  readonly read: (slot: number) => Uint8Array
  readonly step: () => void
}

export type Prepared = {
  readonly case: ReferenceCase
  readonly job: Job
  readonly weights: Weights
  /** The case's names of parameters, where slots had to shorten them. */
  readonly names: Readonly<Record<string, string>>
  readonly imported: Imported
  readonly feed: Feed
  /** Records a pass. */
  readonly batch: number
  readonly notes: readonly string[]
  /** The i32[steps·accumulate, batch] table of record numbers. */
  readonly order: DataTensor
  readonly bytes: Uint8Array
}

export type Tensors = Record<string, SafetensorsTensor>

/** Updates after which the weights are kept. */
export const KEPT = [1, 10, 50, 200] as const

/**
 * Everything of a case that training needs, out of its files.
 * @param limit trains no more updates than this
 * @throws {CaseError} a field or a file does not say what is needed
 */
export function prepareCase(read: ReadFile, limit = Number.POSITIVE_INFINITY): Prepared {
  const need = (name: string): Uint8Array => read(name) ?? fail(`there is no "${name}" in the case's folder`)
  const c = readCase(parse('case.json', need('case.json')))
  const steps = Math.min(c.steps, limit)
  const batch = recordsAPass(c)
  const bytes = need(c.onnx)
  const imported = importCase(c, bytes, batch, read)
  const initial = read('init.safetensors')
  const given = initial ? tensorsIn('init.safetensors', initial) : new Map<string, LoadedTensor>()
  const weights = weightsOfCase(
    { trainable: c.trainable?.map(slotName), frozen: c.frozen.map(slotName), buffers: c.buffers.map(slotName) },
    imported.parameters,
    new Map([...given].map(([name, t]) => [slotName(name), t])),
  )
  const own = [...(c.trainable ?? []), ...c.frozen, ...c.buffers, ...given.keys()].map((name) => [slotName(name), name])
  const names: Record<string, string> = { ...imported.names, ...Object.fromEntries(own) }
  const feed = feedOf(c, imported.inputs, batch, 'train', read)
  const order = orderOf(c, steps, batch, read)
  const past = order.data.find((i) => i < 0 || i >= feed.count)
  if (past !== undefined) fail(`batches: record ${past} of ${feed.count}`)
  const curve = read('curve.json')
  const listed = curve ? (parse('curve.json', curve) as { lr?: unknown } | null)?.lr : undefined
  const rates = ratesOf(c.lr, steps, Array.isArray(listed) ? listed : undefined)
  const job = trainingStep({
    name: c.name,
    parameters: weights.parameters,
    data: [
      ...feed.data,
      ...imported.constants,
      order,
      ...(rates.table ? [{ name: RATES, dtype: 'f32', shape: [steps], data: rates.table } as const] : []),
    ],
    count: feed.count,
    batch,
    steps,
    accumulate: c.accumulate,
    seed: [0, 0],
    order: 'listed',
    loss: ({ parameter, batch: rows, data, random, step }) => {
      const { output, target, updates } = forward(c, imported, feed, batch, weights.lookup, {
        parameter,
        rows,
        constant: data,
        training: true,
        random,
        step,
      })
      return { loss: c.loss.value(output, target), updates }
    },
    optimizer: c.optimizer,
    schedule: rates.schedule,
    ...(c.clip === undefined ? {} : { clip: c.clip }),
    ...(c.clipValue === undefined ? {} : { clipValue: c.clipValue }),
  })
  const notes = [...imported.warnings, ...weights.notes, ...feed.notes, ...rates.notes]
  return { case: c, job, weights, names, imported, feed, batch, notes, order, bytes }
}

const batchesOf = (c: ReferenceCase): string =>
  Object.keys(c.files).find((name) => /^batches\b/.test(name)) ?? fail('case.json: "data" has no batches file')

/** A row of the batches is an update's records, all passes in it; or, where there are that many rows, one pass's. */
function recordsAPass(c: ReferenceCase): number {
  const rows = c.files[batchesOf(c)].shape[0]
  if (c.accumulate > 1 && rows >= c.steps * c.accumulate) return c.batch
  if (c.batch % c.accumulate !== 0) fail(`case.json: ${c.batch} records an update do not divide into ${c.accumulate} passes`)
  return c.batch / c.accumulate
}

/** The order of records, pass by pass. */
function orderOf(c: ReferenceCase, steps: number, batch: number, read: ReadFile): DataTensor {
  const file = batchesOf(c)
  const { data, shape } = tensorOf(file, c.files[file], read)
  const passes = steps * c.accumulate
  if (shape.length !== 2 || shape[1] !== c.batch || data.length < passes * batch || !(data instanceof Int32Array))
    fail(`case.json: "data.${file}" is [${shape}]; ${steps} steps of ${c.batch} record numbers are needed`)
  return { name: 'order', dtype: 'i32', shape: [passes, batch], data: data.slice(0, passes * batch) as Int32Array }
}

/** The gradient of the first update's loss with respect to every trained parameter, before clipping. */
export function firstGradient(p: Prepared, compile: Compile): Tensors {
  const { case: c, imported, feed, batch, weights, order } = p
  const trained = weights.parameters.filter((x) => !x.frozen)
  const tables = [...feed.data, ...imported.constants]
  const graph = evaluation(
    weights.parameters,
    [
      ...tables,
      { name: 'index', dtype: 'i32', shape: [batch] },
      { name: 'seed', dtype: 'i32', shape: [2] },
      { name: 'pass', dtype: 'i32', shape: [1] },
    ],
    (read) => {
      const rows: Lookup = (name) => gather(read(name), read('index'))
      const random = (stream: number) => keyOf(read('seed'), stream)
      const reading = { parameter: read, rows, constant: read, training: true, random, step: reshape(read('pass'), []) }
      const { output, target } = forward(c, imported, feed, batch, weights.lookup, reading)
      const loss = c.loss.value(output, target)
      const values: Expr[] = gradients(
        c.accumulate === 1 ? loss : div(loss, c.accumulate),
        trained.map((x) => read(x.name)),
      )
      return trained.map((x, i) => ({ name: `gradient/${x.name}`, value: values[i] }))
    },
  )
  const program = compile(graph.graph)
  const sums = trained.map((x) => new Float32Array((x.initial as Float32Array).length))
  for (let pass = 0; pass < c.accumulate; pass++) {
    const index = order.data.slice(pass * batch, (pass + 1) * batch)
    const given = [...tables.map((d) => d.data), index, Int32Array.of(0, 0), Int32Array.of(pass)]
    graph
      .slots(
        weights.parameters.map((x) => x.initial as Data),
        given,
      )
      .forEach((tensor, slot) => {
        program.write(slot, toBytes(tensor))
      })
    program.step()
    trained.forEach((x, i) => {
      const slot = graph.graph.slots.findIndex((s) => s.name === `gradient/${x.name}`)
      const g = fromBytes('f32', program.read(slot).slice())
      sums[i] = sums[i].map((v, k) => v + g[k])
    })
  }
  return Object.fromEntries(trained.map((x, i) => [nameOf(p, x), { dtype: 'F32' as const, shape: x.shape, data: sums[i] }]))
}

/** Trains; `keep` gets the weights (and frozen tensors and buffers) after each of the updates in KEPT and after the last. Returns each update's loss. */
export function trainCase(
  p: Prepared,
  compile: Compile,
  keep: (update: number, tensors: Tensors) => void,
  progress: (update: number, loss: number) => void = () => {},
): number[] {
  const { job, case: c } = p
  const program = compile(job.graph)
  ;[...job.state, ...job.data].forEach((tensor, slot) => {
    program.write(slot, toBytes(tensor))
  })
  const updates = job.steps / c.accumulate
  const losses: number[] = []
  for (let update = 1; update <= updates; update++) {
    for (let pass = 0; pass < c.accumulate; pass++) program.step()
    const log = fromBytes('f32', program.read(job.lossSlot).slice()).slice((update - 1) * c.accumulate, update * c.accumulate)
    losses.push([...log].reduce((a, b) => a + b, 0) / c.accumulate)
    progress(update, losses[losses.length - 1])
    if ((KEPT as readonly number[]).includes(update) || update === updates) keep(update, tensorsOf(p, job.graph, program.read))
  }
  return losses
}

/** A parameter's name in the case. */
const nameOf = (p: Prepared, parameter: { readonly name: string }): string =>
  Object.hasOwn(p.names, parameter.name) ? p.names[parameter.name] : parameter.name

/** The case's tensors as they are now; constants of the formula are not among them. */
function tensorsOf(p: Prepared, graph: Graph, read: (slot: number) => Uint8Array): Tensors {
  const named = new Set([...p.case.frozen, ...p.case.buffers].map(slotName))
  const wanted = p.weights.parameters.filter((x) => !x.frozen || named.has(x.name))
  return Object.fromEntries(
    wanted.map((x) => {
      const slot = graph.slots.findIndex((s) => s.name === x.name)
      return [nameOf(p, x), { dtype: 'F32' as const, shape: x.shape, data: fromBytes('f32', read(slot).slice()) }]
    }),
  )
}

/** Loss, and accuracy or mean absolute error, on the records of the eval_* files, in eval mode; undefined where the case has none. */
export function evaluateCase(p: Prepared, tensors: Tensors, compile: Compile, read: ReadFile): Record<string, number> | undefined {
  const { case: c, weights } = p
  if (!Object.keys(c.files).some((name) => /^(eval|test|val)/.test(name))) return undefined
  const count = feedOf(c, p.imported.inputs, p.batch, 'eval', read).count
  const [chunk, imported] = importForEvaluation(p, count, read)
  const feed = feedOf(c, imported.inputs, chunk, 'eval', read)
  const job = evaluationJob({
    name: `${c.name}, held out`,
    parameters: weights.parameters,
    data: [...feed.data, ...imported.constants],
    count,
    batch: chunk,
    loss: c.loss,
    forward: ({ parameter, batch: rows, data }) =>
      forward(c, imported, feed, chunk, weights.lookup, {
        parameter,
        rows,
        constant: data,
        training: false,
        random: () => keyOf(data('seed'), 0),
      }),
  })
  const program = compile(job.graph)
  const given = weights.parameters.map((x) => (tensors[nameOf(p, x)]?.data ?? x.initial) as Data)
  const state = job.stateFor(given)
  ;[...state, ...job.data].forEach((tensor, slot) => {
    program.write(slot, toBytes(tensor))
  })
  for (let i = 0; i < job.steps; i++) program.step()
  const after = job.graph.slots.flatMap((s, slot) => (s.kind === 'state' ? [fromBytes(s.dtype, program.read(slot).slice())] : []))
  return { ...job.read(after), n: count }
}

/** Records of an evaluation chunk, where the model's batch axis is free. */
const CHUNK = 64

/** The model in chunks of its own batch where the file fixes that, else of a size that suits evaluation. */
function importForEvaluation(p: Prepared, count: number, read: ReadFile): [number, Imported] {
  const chunk = Math.min(count, CHUNK)
  try {
    return [chunk, importCase(p.case, p.bytes, chunk, read)]
  } catch (error) {
    if (!(error instanceof OnnxError)) throw error
    return [p.batch, p.imported]
  }
}

/** The tensors of a file; a damaged one is named. */
function tensorsIn(name: string, bytes: Uint8Array): ReadonlyMap<string, LoadedTensor> {
  try {
    return readSafetensors(bytes)
  } catch (cause) {
    throw new CaseError(`${name}: ${(cause as Error).message}`, { cause })
  }
}

function parse(name: string, bytes: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder().decode(bytes))
  } catch (cause) {
    throw new CaseError(`${name} is no JSON`, { cause })
  }
}

const fail = (message: string): never => {
  throw new CaseError(message)
}
