// A training run described by a case file: what its fields mean, and a sentence that names any field that means nothing to us.

import { type Loss, lossByName } from '../named/loss.ts'
import { optimizerByName } from '../named/optimizer.ts'
import { type Named, OptionError, readOptions, show } from '../named/options.ts'
import type { Optimizer } from '../optim.ts'

type Json = Readonly<Record<string, unknown>>

/** A stored array: element type and shape, the first axis the record. */
export type StoredArray = { readonly dtype: string; readonly shape: readonly number[] }

/** An input of the model as the case describes it. */
export type CaseInput = {
  readonly name: string
  readonly dtype: string | undefined
  /** Sizes; a name is the batch axis. */
  readonly shape: readonly (number | string)[] | undefined
  readonly from: string | undefined
  readonly transform: string
  readonly fields: Json
}

export type ReferenceCase = {
  readonly name: string
  readonly title: string
  readonly onnx: string
  readonly inputs: readonly CaseInput[]
  readonly output: string | undefined
  /** Undefined: every float initializer. */
  readonly trainable: readonly string[] | undefined
  readonly frozen: readonly string[]
  readonly buffers: readonly string[]
  readonly loss: Loss
  /** Where targets come from and how they are changed, where the case says so. */
  readonly target: { readonly from: string | undefined; readonly transform: string; readonly fields: Json }
  readonly optimizer: Optimizer
  /** As written; `rates.ts` reads it. */
  readonly lr: unknown
  readonly clip: number | undefined
  readonly clipValue: number | undefined
  readonly steps: number
  /** Records an update. */
  readonly batch: number
  /** Passes an update. */
  readonly accumulate: number
  readonly files: Readonly<Record<string, StoredArray>>
}

const PROSE = [
  'labels',
  'logits',
  'label',
  'target',
  'targets',
  'output',
  'pred',
  'prediction',
  'predictions',
  'formula',
  'rule',
  'note',
  'meaning',
  'input',
  'torch',
  'classes',
  'num_classes',
  'description',
]

const isObject = (x: unknown): x is Json => typeof x === 'object' && x !== null && !Array.isArray(x)
const texts = (x: unknown): x is string[] => Array.isArray(x) && x.every((v) => typeof v === 'string')

/** Where an object may stand a name may too: "adam" is { type: "adam" }. */
function named(field: string, x: unknown): Named {
  if (typeof x === 'string') return { type: x }
  if (isObject(x)) {
    const type = x.type ?? x.name ?? x.kind
    if (typeof type === 'string') return { ...x, type }
  }
  return fail(`"${field}" is ${show(x)}; it needs a "type"`)
}

/**
 * What a parsed case.json means.
 * @throws {CaseError} a field is missing or not understood
 */
export const readCase = (json: unknown): ReferenceCase => withReasons(() => meaningOf(json))

function meaningOf(json: unknown): ReferenceCase {
  if (!isObject(json)) return fail('it holds no object')
  const model = isObject(json.model) ? json.model : fail(`"model" is ${show(json.model)}`)
  const files = filesOf(json.data)
  const given = Array.isArray(model.inputs) ? model.inputs : [...(model.input === undefined ? [] : [model.input].flat())]
  const inputs = given.map((x, i) => inputOf(x, `model.input${given.length > 1 ? `[${i}]` : ''}`))
  const names = (field: string): string[] | undefined => {
    const x = json[field]
    return x === undefined || x === null ? undefined : texts(x) ? x : fail(`"${field}" is ${show(x)}, not a list of names`)
  }
  const count = (field: string, x: unknown, fallback?: number): number => {
    const n = x ?? fallback
    return typeof n === 'number' && Number.isInteger(n) && n >= 1 ? n : fail(`"${field}" is ${show(n)}, not a number of at least 1`)
  }
  const order = Object.entries(files).find(([name]) => /^batches\b/.test(name))
  const output = isObject(model.output) ? model.output.name : texts(model.outputs) ? model.outputs[0] : model.output
  const { clip, clipValue } = clipping(json.grad_clip ?? json.clip ?? json.gradient_clipping)
  const loss = named('loss', json.loss)
  const optimizer = named('optimizer', json.optimizer)
  return {
    name: String(json.name ?? 'case'),
    title: String(json.title ?? json.name ?? 'a case'),
    onnx: String(model.onnx ?? 'model.onnx'),
    inputs,
    output: typeof output === 'string' ? output : undefined,
    trainable: names('trainable'),
    frozen: names('frozen') ?? [],
    buffers: names('buffers') ?? [],
    loss: lossOf(loss),
    target: targetOf(loss, json, model),
    optimizer: optimizerByName(optimizer.type, without(optimizer, ['lr', 'learning_rate']), [...PROSE, ...prose(optimizer)]),
    lr: rateOf(json.lr ?? json.learning_rate ?? json.schedule ?? json.lr_schedule ?? json.scheduler, optimizer),
    clip,
    clipValue,
    steps: count('steps', json.steps, order?.[1].shape[0]),
    batch: count('batch_size', json.batch_size ?? json.batch, order?.[1].shape[1]),
    accumulate: count(
      'accumulate',
      json.accumulate ??
        json.gradient_accumulation ??
        json.accumulation_steps ??
        json.grad_accumulation ??
        json.accumulation ??
        json.micro_batches,
      1,
    ),
    files,
  }
}

/** Fields that hold sentences: they tell people what other fields say already. */
const prose = (x: Json): string[] => Object.keys(x).filter((k) => typeof x[k] === 'string' && /\s/.test(x[k]))

/** The schedule as written, with the optimizer's rate where it says none itself. */
function rateOf(lr: unknown, optimizer: Json): unknown {
  const own = optimizer.lr ?? optimizer.learning_rate
  if (lr === undefined || lr === null) return own ?? fail('there is no "lr"')
  const schedule = typeof lr === 'string' ? { type: lr } : lr
  if (
    !isObject(schedule) ||
    own === undefined ||
    ['lr', 'max_lr', 'base_lr', 'initial_lr', 'peak_lr', 'maxLr', 'values', 'rates'].some((k) => k in schedule)
  )
    return schedule
  return { ...schedule, lr: own }
}

const without = (x: Json, names: readonly string[]): Json => Object.fromEntries(Object.entries(x).filter(([k]) => !names.includes(k)))

const TARGET_FIELDS = [
  'from',
  'labels_from',
  'label_from',
  'target_from',
  'targets_from',
  'transform',
  'target_transform',
  'labels_transform',
  'dtype',
  'shape',
  'mean',
  'std',
  'vocabulary',
  'kind',
]

const lossOf = (loss: Named): Loss => lossByName(loss.type, without(loss, ['type', 'kind', ...TARGET_FIELDS]), [...PROSE, ...prose(loss)])

function targetOf(loss: Json, json: Json, model: Json): ReferenceCase['target'] {
  const described = [loss.target, loss.labels, json.target, json.labels, model.target].find(isObject) ?? {}
  const from = described.from ?? loss.from ?? loss.labels_from ?? loss.target_from ?? loss.targets_from ?? loss.label_from
  const transform = described.transform ?? loss.target_transform ?? loss.labels_transform ?? loss.transform
  return {
    from: typeof from === 'string' ? from : undefined,
    transform: typeof transform === 'string' ? transform : '',
    fields: { ...loss, ...described },
  }
}

function inputOf(x: unknown, field: string): CaseInput {
  if (!isObject(x) || typeof x.name !== 'string') return fail(`"${field}" is ${show(x)}; it needs a "name"`)
  const shape = x.shape
  if (shape !== undefined && !(Array.isArray(shape) && shape.every((d) => typeof d === 'string' || (Number.isInteger(d) && d >= 1))))
    fail(`"${field}.shape" is ${show(shape)}`)
  return {
    name: x.name,
    dtype: typeof x.dtype === 'string' ? x.dtype : undefined,
    shape: shape as (number | string)[] | undefined,
    from: typeof x.from === 'string' ? x.from : undefined,
    transform: typeof x.transform === 'string' ? x.transform : '',
    fields: x,
  }
}

function filesOf(data: unknown): Record<string, StoredArray> {
  if (!isObject(data)) return fail(`"data" is ${show(data)}`)
  const out: Record<string, StoredArray> = {}
  for (const [name, entry] of Object.entries(data)) {
    if (!isObject(entry) || entry.dtype === undefined) continue
    if (!Array.isArray(entry.shape) || !entry.shape.every((d) => Number.isInteger(d) && d >= 1))
      fail(`"data.${name}.shape" is ${show(entry.shape)}`)
    // a file of a case is beside its case.json
    if (/[/\\]|^\.\.?$/.test(name)) fail(`"data.${name}" is not a plain file name`)
    out[name] = { dtype: String(entry.dtype), shape: entry.shape as number[] }
  }
  return out
}

/** Clipping by the global norm, by value, or not at all. */
function clipping(x: unknown): { clip: number | undefined; clipValue: number | undefined } {
  if (x === null || x === undefined || x === false || x === 'none') return { clip: undefined, clipValue: undefined }
  if (typeof x === 'number') return { clip: x, clipValue: undefined }
  if (!isObject(x)) return fail(`"grad_clip" is ${show(x)}`)
  const o = readOptions('grad_clip', x, PROSE)
  const text = (o.text(['type', 'kind']) ?? '').toLowerCase()
  const norm = o.maybe(['max_norm', 'norm', 'maxNorm', 'clip_norm'], { above: 0 })
  const value = o.maybe(['max_value', 'clip_value', 'value', 'max_abs', 'maxValue'], { above: 0 })
  const both = o.maybe(['max', 'limit', 'threshold'], { above: 0 })
  const kind = o.maybe('norm_type')
  o.done()
  if (text === 'none') return { clip: undefined, clipValue: undefined }
  if (kind !== undefined && kind !== 2) fail(`"grad_clip.norm_type" is ${kind}; only the L2 norm is supported`)
  if (norm === undefined && value === undefined && both === undefined) fail('"grad_clip" has neither "max_norm" nor "max_value"')
  const byValue = /value|element|clamp/.test(text) && norm === undefined
  return { clip: norm ?? (byValue ? undefined : both), clipValue: value ?? (byValue ? both : undefined) }
}

function withReasons<T>(f: () => T): T {
  try {
    return f()
  } catch (cause) {
    if (cause instanceof OptionError) throw new CaseError(`case.json: ${cause.message}`, { cause })
    throw cause
  }
}

const fail = (message: string): never => {
  throw new CaseError(`case.json: ${message}`)
}

/** A case that cannot be run as it is described. */
export class CaseError extends Error {
  override name = 'model.CaseError'
}
