// The model of a case: its ONNX file at a batch size, fed from the case's records, with targets beside its output.

import { type Data, type Expr, fromBytes, type Shape, sizeOf } from '@bitloom/graph'
import type { Lookup } from '../nn.ts'
import { type Imported, importOnnx, type Port } from '../onnx/import.ts'
import type { ReadExternal } from '../onnx/tensorproto.ts'
import type { Key } from '../random.ts'
import type { DataTensor } from '../step.ts'
import { full, permute, reshape, slice } from '../tensor.ts'
import { CaseError, type CaseInput, type ReferenceCase, type StoredArray } from './case.ts'
import { FormulaError } from './formula.ts'
import { type Transform, transformOf } from './transform.ts'

/** Reads a file of the case by its plain name; undefined where there is none. */
export type ReadFile = (name: string) => Uint8Array | undefined

/** The part of the data that a model is fed from: `train_*` files, or `eval_*` in their place. */
export type Part = 'train' | 'eval'

export type Feed = {
  readonly data: readonly DataTensor[]
  /** Records. */
  readonly count: number
  /** What a batch of records gives the model and the loss. */
  readonly inputs: (rows: Lookup) => Readonly<Record<string, Expr>>
  readonly target: (rows: Lookup, output: Expr) => Expr
  readonly notes: readonly string[]
}

/** What a forward pass reads. */
export type Reading = {
  readonly parameter: Lookup
  /** The batch's rows of a data tensor. */
  readonly rows: Lookup
  readonly constant: Lookup
  readonly training: boolean
  readonly random: (stream: number) => Key
  readonly step?: Expr
}

/** The name of a file's data slot; no parameter is called so. */
const slotOf = (file: string): string => `data/${file}`

/** The model at `batch` records; axes that the case or the file leaves open are the batch. */
export function importCase(c: ReferenceCase, bytes: Uint8Array, batch: number, read: ReadFile): Imported {
  const shapes: Record<string, Shape> = {}
  for (const { name, shape } of c.inputs) if (shape) shapes[name] = shape.map((d) => (typeof d === 'number' ? d : batch))
  return importOnnx(bytes, { inputs: shapes, external: externalOf(read, c.onnx) })
}

/** Reads weights that lie beside a model, from the folder that the model is in. */
export const externalOf =
  (read: ReadFile, model: string): ReadExternal =>
  (location, offset, length) => {
    const bytes = read(model.includes('/') ? `${model.slice(0, model.lastIndexOf('/'))}/${location}` : location)
    if (!bytes) throw new CaseError(`the model's weights lie in "${location}", which is not beside it`)
    return bytes.subarray(offset, length === undefined ? undefined : offset + length)
  }

/** The file of the other part: train_x.u8 becomes eval_x.u8. */
function partOf(file: string, part: Part, c: ReferenceCase): string {
  if (part === 'train') return file
  const own = file.replace(/train/, 'eval')
  const names = [own, own.replace(/eval/, 'test'), own.replace(/eval/, 'val'), own.replace(/eval/, 'valid')]
  const found = names.find((name) => name !== file && Object.hasOwn(c.files, name))
  if (found) return found
  // another element type is another ending
  const stem = own.replace(/\.\w+$/, '.')
  const near = Object.keys(c.files).find((name) => name.startsWith(stem))
  return near ?? fail(`"data" has no "${own}" to evaluate on; it has ${Object.keys(c.files).join(', ')}`)
}

/** Where an input's records are: as it says, else the case's train_x or train_windows. */
function sourceOf(input: CaseInput, c: ReferenceCase): string {
  if (input.from !== undefined) {
    if (Object.hasOwn(c.files, input.from)) return input.from
    const inside = Object.keys(c.files).find((name) => input.from!.includes(name))
    return (
      inside ?? fail(`"model.input.from" is "${input.from}", which "data" does not describe; it has ${Object.keys(c.files).join(', ')}`)
    )
  }
  const found = Object.keys(c.files).find(
    (name) => /^train_(x|windows|inputs?|images|tokens|features|data)\b/.test(name) || name.startsWith(`train_${input.name}.`),
  )
  return found ?? fail(`nothing says where input "${input.name}" comes from; give it "from"`)
}

/** Records and targets of one part of the case. */
export function feedOf(c: ReferenceCase, ports: readonly Port[], batch: number, part: Part, read: ReadFile): Feed {
  const data = new Map<string, DataTensor>()
  const notes: string[] = []
  const store = (file: string, perRecord?: unknown): DataTensor => {
    const name = partOf(file, part, c)
    const there = data.get(name)
    if (there) return there
    const tensor = tensorOf(name, c.files[name], read, perRecord)
    data.set(name, tensor)
    return tensor
  }
  let windows: { tensor: DataTensor; length: number } | undefined
  const feeds = ports.map((port): { name: string; feed: (rows: Lookup) => Expr } => {
    const input = c.inputs.find((x) => x.name === port.name) ?? {
      name: port.name,
      dtype: undefined,
      shape: undefined,
      from: undefined,
      transform: '',
      fields: {},
    }
    const described = c.inputs.length === 0 || c.inputs.some((x) => x.name === port.name)
    const filled = constantOf(input) ?? (described ? undefined : initialState(port, notes))
    if (filled !== undefined) return { name: port.name, feed: () => full(port.shape, filled, port.dtype) }
    const tensor = store(sourceOf(input, c), input.fields.rows_per_record)
    const axis = batchAxis(input, port, batch)
    const shape = port.shape.filter((_, i) => i !== axis)
    const transform = understood(() =>
      transformOf(
        { field: `model.input "${port.name}"`, dtype: port.dtype, shape, transform: input.transform, fields: input.fields },
        tensor.shape.slice(1),
      ),
    )
    if (part === 'train') notes.push(...transform.notes)
    if (transform.ahead) windows = { tensor, length: sizeOf(tensor.shape.slice(1)) }
    return { name: port.name, feed: (rows) => toAxis(transform.apply(rows(tensor.name)), axis) }
  })
  const target = targetsOf(c, store, windows, notes)
  const counts = [...data.values()].map((d) => d.shape[0])
  if (counts.length === 0) fail('no input reads any records')
  return {
    data: [...data.values()],
    count: Math.min(...counts),
    inputs: (rows) => Object.fromEntries(feeds.map((f) => [f.name, f.feed(rows)])),
    target,
    notes,
  }
}

/** 0 for what a recurrent model starts from, where the case says nothing about it. */
function initialState(port: Port, notes: string[]): number {
  if (!/^(h|c|hx|cx|h_?0|c_?0|.*(state|hidden|cell|initial).*)$/i.test(port.name))
    fail(`"model.input" says nothing about input "${port.name}"`)
  notes.push(`the case says nothing about input "${port.name}"; it is 0`)
  return 0
}

/** A number that fills the whole input, where the case says one: initial states. */
function constantOf(input: CaseInput): number | undefined {
  const text = input.from ?? (typeof input.fields.value === 'number' ? String(input.fields.value) : undefined)
  if (text === undefined) return undefined
  if (/^zeros?\b/i.test(text)) return 0
  if (/^ones?\b/i.test(text)) return 1
  return /^-?\d+(\.\d+)?$/.test(text) ? Number(text) : undefined
}

/** Which axis of an input is the batch: the one with a name, else the first. */
const batchAxis = (input: CaseInput, port: Port, batch: number): number => {
  const open = (input.shape ?? []).findIndex((d) => typeof d === 'string')
  const axis = open >= 0 ? open : 0
  if (port.shape[axis] !== batch) fail(`input "${port.name}" [${port.shape}] has no axis of ${batch} records`)
  return axis
}

/** [n, ..] with its first axis moved to `axis`. */
const toAxis = (x: Expr, axis: number): Expr =>
  axis === 0
    ? x
    : permute(
        x,
        x.shape.map((_, i) => (i < axis ? i + 1 : i === axis ? 0 : i)),
      )

/** [.., n at axis, ..] with that axis first. */
const fromAxis = (x: Expr, axis: number): Expr => permute(x, [axis, ...x.shape.flatMap((_, i) => (i === axis ? [] : [i]))])

/** Targets: as the case says, else the tokens one ahead of a window, else the case's train_y. */
function targetsOf(
  c: ReferenceCase,
  store: (file: string) => DataTensor,
  windows: { tensor: DataTensor; length: number } | undefined,
  notes: string[],
): Feed['target'] {
  const { from, transform, fields } = c.target
  const named = from === undefined ? undefined : Object.keys(c.files).find((name) => from === name || from.includes(name))
  if (from !== undefined && named === undefined) fail(`"loss" takes its target from "${from}", which "data" does not describe`)
  const beside = Object.keys(c.files).find((name) => /^train_(y|labels?|targets?)\b/.test(name))
  const file = named ?? (windows ? undefined : beside)
  if (file !== undefined && store(file) !== windows?.tensor) {
    const tensor = store(file)
    const stored = tensor.shape.slice(1)
    const made: Transform | undefined =
      transform === ''
        ? undefined
        : understood(() =>
            transformOf(
              {
                field: 'loss.target',
                dtype: c.loss.target === 'class' && tensor.dtype !== 'f32' ? 'i32' : 'f32',
                shape: stored,
                transform,
                fields,
              },
              stored,
            ),
          )
    if (made) notes.push(...made.notes)
    return (rows) => (made ? made.apply(rows(tensor.name)) : rows(tensor.name))
  }
  if (!windows) return fail('nothing says what the targets are; "data" needs a train_y file, or "loss" a "from"')
  const { tensor, length } = windows
  const next = understood(() =>
    transformOf({ field: 'loss.target', dtype: 'i32', shape: [length - 1], transform: '', fields: {} }, [length - 1]),
  )
  return (rows) => next.apply(tail(rows(tensor.name), length))
}

/** The last length-1 tokens of records. */
function tail(raw: Expr, length: number): Expr {
  const flat = reshape(raw, [raw.shape[0], length])
  return slice(flat, 1, 1, length)
}

/** The output of a case's model, records first, and what its running statistics become. */
export function forward(
  c: ReferenceCase,
  imported: Imported,
  feed: Feed,
  batch: number,
  lookup: (read: Lookup) => Lookup,
  r: Reading,
): { output: Expr; target: Expr; updates: Readonly<Record<string, Expr>> } {
  const inputs = feed.inputs(r.rows)
  const { outputs, updates } = imported.apply({
    parameter: lookup(r.parameter),
    input: (name) => inputs[name] ?? fail(`the model has an input "${name}" that the case does not feed`),
    constant: r.constant,
    training: r.training,
    random: r.random,
    ...(r.step ? { step: r.step } : {}),
  })
  const name = c.output !== undefined && c.output in outputs ? c.output : Object.keys(outputs)[0]
  if (c.output !== undefined && name !== c.output && !(c.output in outputs) && Object.keys(outputs).length > 1)
    fail(`"model.output" is "${c.output}"; the model has ${Object.keys(outputs).join(', ')}`)
  const y = outputs[name]
  // a model that keeps time in front gives [time, batch, ..]
  const late = c.inputs[0]?.shape?.findIndex((d) => typeof d === 'string') ?? 0
  const output = late > 0 && y.shape.length > late && y.shape[late] === batch && y.shape[0] !== batch ? fromAxis(y, late) : y
  return { output, target: feed.target(r.rows, output), updates }
}

const ELEMENTS: Readonly<
  Record<string, { readonly dtype: DataTensor['dtype']; readonly width: number; readonly convert?: (view: DataView, n: number) => Data }>
> = {
  uint8: { dtype: 'u8', width: 1 },
  bool: { dtype: 'u8', width: 1 },
  int8: { dtype: 'i32', width: 1, convert: (v, n) => Int32Array.from({ length: n }, (_, i) => v.getInt8(i)) },
  int16: { dtype: 'i32', width: 2, convert: (v, n) => Int32Array.from({ length: n }, (_, i) => v.getInt16(2 * i, true)) },
  uint16: { dtype: 'i32', width: 2, convert: (v, n) => Int32Array.from({ length: n }, (_, i) => v.getUint16(2 * i, true)) },
  int32: { dtype: 'i32', width: 4 },
  int64: { dtype: 'i32', width: 8, convert: (v, n) => Int32Array.from({ length: n }, (_, i) => Number(v.getBigInt64(8 * i, true))) },
  float32: { dtype: 'f32', width: 4 },
  float64: { dtype: 'f32', width: 8, convert: (v, n) => Float32Array.from({ length: n }, (_, i) => v.getFloat64(8 * i, true)) },
}

/**
 * A file of the case as a data tensor, its first axis the record.
 * @throws {CaseError} it is missing, too short or too long, or of an element type that is not read
 */
export function tensorOf(file: string, stored: StoredArray, read: ReadFile, perRecord?: unknown): DataTensor {
  const element = ELEMENTS[stored.dtype] ?? fail(`"data.${file}.dtype" is ${stored.dtype}; it may be ${Object.keys(ELEMENTS).join(', ')}`)
  const bytes = read(file) ?? fail(`"${file}" is not in the case's folder`)
  const n = sizeOf(stored.shape)
  if (bytes.length !== n * element.width)
    fail(`"${file}" has ${bytes.length} bytes; ${stored.dtype} [${stored.shape}] takes ${n * element.width}`)
  const own = new Uint8Array(bytes)
  const data = element.convert ? element.convert(new DataView(own.buffer), n) : fromBytes(element.dtype, own)
  const flat = stored.shape.length === 1 && typeof perRecord === 'number' && perRecord > 1 && n % perRecord === 0
  return { name: slotOf(file), dtype: element.dtype, shape: flat ? [n / perRecord, perRecord] : stored.shape, data }
}

function understood<T>(f: () => T): T {
  try {
    return f()
  } catch (cause) {
    if (cause instanceof FormulaError) throw new CaseError(`case.json: ${cause.message}`, { cause })
    throw cause
  }
}

const fail = (message: string): never => {
  throw new CaseError(`case.json: ${message}`)
}
