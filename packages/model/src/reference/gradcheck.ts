// What an exported graph gives for given inputs, and the gradient of Σ output·cotangent with respect to every parameter and float input.

import { type Data, type Expr, fromBytes, sizeOf, toBytes } from '@bitloom/graph'
import { evaluation } from '../evaluation.ts'
import { gradients } from '../grad.ts'
import { decodeModel, type OnnxModel } from '../onnx/decode.ts'
import { type Imported, type ImportOptions, importModel } from '../onnx/import.ts'
import { ELEMENT } from '../onnx/schema.ts'
import { keyOf } from '../random.ts'
import { readSafetensors, type SafetensorsTensor } from '../safetensors.ts'
import { add, mul, total } from '../tensor.ts'
import { CaseError } from './case.ts'
import { externalOf, type ReadFile } from './model.ts'
import { type Found, find, type Pool, poolOf } from './pool.ts'
import type { Compile, Tensors } from './run.ts'

export type Checked = {
  readonly outputs: Tensors
  readonly gradients: Tensors
  readonly summary: {
    readonly model: string
    readonly opset: number
    readonly training: boolean
    /** Σ output·cotangent. */
    readonly value: number
    readonly inputs: Readonly<Record<string, { shape: readonly number[]; from: string }>>
    readonly cotangents: Readonly<Record<string, string>>
    readonly outputs: Readonly<Record<string, { shape: readonly number[] }>>
    /** Euclidean norm and largest element of each gradient. */
    readonly gradients: Readonly<Record<string, { shape: readonly number[]; norm: number; largest: number }>>
    readonly notes: readonly string[]
  }
}

type Json = Readonly<Record<string, unknown>>
const isObject = (x: unknown): x is Json => typeof x === 'object' && x !== null && !Array.isArray(x)

/**
 * Checks the graph that lies in a folder.
 * @param files every file's path inside the folder, `/` between parts
 * @param training batch norm by the batch, dropout at work; by default what the graph was exported for
 * @throws {CaseError} no model, or an input that no file gives
 */
export function gradcheck(files: readonly string[], read: ReadFile, compile: Compile, training?: boolean): Checked {
  const manifest = manifestOf(files, read)
  const name = modelOf(files, manifest)
  const model = decodeModel(read(name) ?? fail(`there is no ${name}`), { external: externalOf(read, name) })
  const described = describedIn(manifest)
  const pool = poolOf(
    files.filter((f) => f !== name),
    read,
    described,
  )
  const given = inputsOf(model, pool, manifest)
  const trains = training ?? (typeof manifest.training === 'boolean' ? manifest.training : trainsItself(model))
  const { imported, known } = bind(model, given)
  const parameters = imported.parameters
  const own = files.includes('init.safetensors') ? readSafetensors(read('init.safetensors')!) : new Map<string, SafetensorsTensor>()
  // slots shorten long names; results have the file's
  const nameOf = (n: string): string => (Object.hasOwn(imported.names, n) ? imported.names[n] : n)
  const values = parameters.map((p): Data => {
    const other = own.get(nameOf(p.name))
    return other && other.data instanceof Float32Array && other.data.length === sizeOf(p.shape) ? other.data : (p.initial as Float32Array)
  })
  const trained = parameters.filter((p) => !p.frozen)
  const floats = imported.inputs.filter((p) => p.dtype === 'f32')
  // an input may be called v, as a cotangent may
  const taken = new Set(given.values())
  const rest = pool.filter((e) => !taken.has(e.tensor) && e.tensor.from.replace(/: .*/, '') !== 'init.safetensors')
  const cotangents = cotangentsOf(imported, rest, manifest)
  const slot = (kind: string, of: string): string => `${kind}/${of}`
  const tables = [
    ...imported.inputs.map((p) => ({
      name: slot('input', p.name),
      dtype: p.dtype,
      shape: p.shape,
      data: dataOf(given.get(p.name)!, p.dtype, p.name),
    })),
    ...[...cotangents].map(([output, t]) => ({ name: slot('cotangent', output), dtype: 'f32' as const, shape: t.shape, data: t.data })),
    ...imported.constants,
    { name: 'seed', dtype: 'i32' as const, shape: [2], data: Int32Array.of(0, 0) },
  ]
  const graph = evaluation(parameters, tables, (lookup) => {
    const input = (n: string): Expr => lookup(slot('input', n))
    const { outputs } = imported.apply({
      parameter: lookup,
      input,
      constant: lookup,
      training: trains,
      random: (stream) => keyOf(lookup('seed'), stream),
    })
    const products = [...cotangents.keys()].map((n) => total(mul(outputs[n], lookup(slot('cotangent', n)))))
    const targets = [...trained.map((p) => lookup(p.name)), ...floats.map((p) => input(p.name))]
    const sum = products.length > 0 ? products.reduce((a, b) => add(a, b)) : undefined
    const slopes = sum ? gradients(sum, targets) : []
    return [
      ...Object.entries(outputs).map(([n, value]) => ({ name: slot('output', n), value })),
      ...(sum ? [...trained, ...floats].map((p, i) => ({ name: slot('gradient', p.name), value: slopes[i] })) : []),
      ...(sum ? [{ name: 'value', value: sum }] : []),
    ]
  })
  const program = compile(graph.graph)
  graph
    .slots(
      values,
      tables.map((t) => t.data),
    )
    .forEach((t, i) => {
      program.write(i, toBytes(t))
    })
  program.step()
  const result = (n: string): SafetensorsTensor | undefined => {
    const at = graph.graph.slots.findIndex((s) => s.name === n)
    if (at < 0) return undefined
    const { dtype, shape } = graph.graph.slots[at]
    return { dtype: dtype === 'f32' ? 'F32' : 'I32', shape, data: fromBytes(dtype, program.read(at).slice()) }
  }
  const outputs: Tensors = Object.fromEntries(imported.outputs.map((p) => [p.name, result(slot('output', p.name))!]))
  const slopes: Tensors = Object.fromEntries(
    [...trained, ...floats].flatMap((p) => {
      const t = result(slot('gradient', p.name))
      return t ? [[nameOf(p.name), t] as const] : []
    }),
  )
  return {
    outputs,
    gradients: slopes,
    summary: {
      model: name,
      opset: imported.opset,
      training: trains,
      value: result('value')?.data[0] ?? 0,
      inputs: Object.fromEntries([...given].map(([n, t]) => [n, { shape: t.shape, from: t.from }])),
      cotangents: Object.fromEntries([...cotangents].map(([n, t]) => [n, t.from])),
      outputs: Object.fromEntries(imported.outputs.map((p) => [p.name, { shape: p.shape }])),
      gradients: Object.fromEntries(Object.entries(slopes).map(([n, t]) => [n, { shape: t.shape, ...sizesOf(t.data) }])),
      notes: [...imported.warnings, ...(known.length > 0 ? [`taken as constants of the graph: ${known.join(', ')}`] : [])],
    },
  }
}

const sizesOf = (data: Data): { norm: number; largest: number } => {
  let [squares, largest] = [0, 0]
  for (const x of data) {
    squares += x * x
    largest = Math.max(largest, Math.abs(x))
  }
  return { norm: Math.sqrt(squares), largest }
}

/** case.json, manifest.json or meta.json, where there is one. */
function manifestOf(files: readonly string[], read: ReadFile): Json {
  const file = files.find((f) => /^(case|manifest|meta|gradcheck|config|info)\.json$/i.test(f))
  if (!file) return {}
  try {
    const json: unknown = JSON.parse(new TextDecoder().decode(read(file)!))
    return isObject(json) ? json : {}
  } catch (cause) {
    throw new CaseError(`${file} is no JSON`, { cause })
  }
}

type Stored = { readonly dtype: string; readonly shape: readonly number[] }

const isStored = (x: unknown): x is Json & Stored =>
  isObject(x) && typeof x.dtype === 'string' && Array.isArray(x.shape) && x.shape.every((d) => Number.isInteger(d) && (d as number) >= 0)

/** Raw arrays that a manifest describes: under "data" by file, or wherever an object has a file, a dtype and a shape. */
function describedIn(manifest: Json): Record<string, Stored> {
  const out: Record<string, Stored> = {}
  if (isObject(manifest.data)) for (const [file, entry] of Object.entries(manifest.data)) if (isStored(entry)) out[file] = entry
  for (const group of [manifest.inputs, manifest.feeds, manifest.cotangents, manifest.grad_outputs, manifest.outputs])
    if (typeof group === 'object' && group !== null)
      for (const entry of Object.values(group)) {
        const file = isStored(entry) ? ((entry as Json).file ?? (entry as Json).from ?? (entry as Json).path) : undefined
        if (typeof file === 'string') out[file] ??= entry as Stored
      }
  return out
}

function modelOf(files: readonly string[], manifest: Json): string {
  const stated = [manifest.onnx, manifest.model, isObject(manifest.model) ? manifest.model.onnx : undefined].find(
    (x) => typeof x === 'string',
  )
  if (typeof stated === 'string' && files.includes(stated)) return stated
  const models = files.filter((f) => f.endsWith('.onnx'))
  if (models.length === 1) return models[0]
  return (
    models.find((f) => /(^|\/)model\.onnx$/.test(f)) ??
    fail(models.length === 0 ? 'there is no .onnx file' : `there are several models: ${models.join(', ')}; call one model.onnx`)
  )
}

/** Whether the graph was exported to train: a batch norm that says so, or that hands out its running moments. */
const trainsItself = (model: OnnxModel): boolean =>
  model.nodes.some(
    (n) =>
      n.op === 'BatchNormalization' && (n.attributes.training_mode === 1 || (n.opset < 14 && n.outputs.filter((o) => o !== '').length > 1)),
  )

/** What a manifest says about one name: a file, `file:key`, or an object with `file` and `key`. */
function stated(x: unknown, name: string): { file: string; key: string } | undefined {
  if (Array.isArray(x)) {
    const entry = x.find((e) => isObject(e) && e.name === name)
    return entry === undefined ? undefined : stated({ [name]: entry }, name)
  }
  if (!isObject(x)) return undefined
  const entry = x[name]
  if (typeof entry === 'string') {
    const [file, ...key] = entry.split(':')
    return { file, key: key.join(':') }
  }
  if (!isObject(entry)) return undefined
  const file = entry.file ?? entry.from ?? entry.path
  const key = entry.key ?? entry.tensor
  return typeof file === 'string' ? { file, key: typeof key === 'string' ? key : '' } : undefined
}

/** A cotangent's file in the entry of its output: { name, cotangent: "file" }. */
function besideOutput(outputs: unknown, name: string): { file: string; key: string } | undefined {
  const entry = Array.isArray(outputs) ? outputs.find((e) => isObject(e) && e.name === name) : isObject(outputs) ? outputs[name] : undefined
  return isObject(entry) ? stated({ [name]: entry.cotangent ?? entry.grad }, name) : undefined
}

/** The tensor that a manifest names. */
const statedTensor = (pool: Pool, at: { file: string; key: string } | undefined, name: string): Found | undefined =>
  at &&
  pool.find(
    ({ tensor: { from }, key }) =>
      (from === at.file || from.startsWith(`${at.file}: `)) && (key === at.key || (at.key === '' && (key === '' || key === name))),
  )?.tensor

const last = (path: string): string => path.slice(path.lastIndexOf('/') + 1)
const plain = (s: string): string => s.replace(/[^a-z0-9]/gi, '_')

function inputsOf(model: OnnxModel, pool: Pool, manifest: Json): Map<string, Found> {
  const out = new Map<string, Found>()
  const missing: string[] = []
  model.inputs.forEach(({ name }, i) => {
    const isInputs = (stem: string): boolean => /input/i.test(stem) || /(^|\/)(x|data|feeds?|args?)$/i.test(stem)
    const own = (key: string): boolean => key === name || plain(key) === plain(name)
    const tensor =
      statedTensor(pool, stated(manifest.inputs, name) ?? stated(manifest.feeds, name), name) ??
      find(pool, [
        (stem, key) => isInputs(stem) && own(key),
        (_, key) => [`input/${name}`, `inputs/${name}`, `input.${name}`, `inputs.${name}`, `in/${name}`, `input_${name}`].includes(key),
        (_, key) => own(key),
        (stem, key) =>
          key === '' &&
          (own(last(stem)) || own(last(stem).replace(/^(inputs?|in|x)[._-]/i, '')) || own(last(stem).replace(/[._-](input|in)$/i, ''))),
        (stem, key) => key === '' && new RegExp(`(^|/)(inputs?|in|arg)[._-]?${i}$`, 'i').test(stem),
        (stem, key) => isInputs(stem) && [`${i}`, `input_${i}`, `input${i}`, `arr_${i}`].includes(key),
        (stem, key) => model.inputs.length === 1 && isInputs(stem) && key !== '' && pool.filter((e) => e.stem === stem).length === 1,
        (stem, key) => model.inputs.length === 1 && key === '' && /(^|\/)(inputs?|x)$/i.test(stem),
        (_, key) => model.inputs.length === 1 && /^(inputs?|x)$/i.test(key),
      ])
    if (tensor) out.set(name, tensor)
    else missing.push(name)
  })
  if (missing.length > 0)
    fail(
      `no file gives input ${missing.map((m) => `"${m}"`).join(', ')}\nPut it in inputs.safetensors or inputs.npz under that name, or in ${missing[0]}.npy or input_0.pb. Found: ${
        pool
          .slice(0, 20)
          .map((e) => e.tensor.from)
          .join(', ') || 'no tensors'
      }.`,
    )
  return out
}

/** The model at the given inputs' sizes; where an operator must know an integer input, integers become constants of the graph. */
function bind(model: OnnxModel, given: ReadonlyMap<string, Found>): { imported: Imported; known: string[] } {
  const shapes = (names: readonly string[]): ImportOptions['inputs'] =>
    Object.fromEntries([...given].filter(([n]) => names.includes(n)).map(([n, t]) => [n, fitted(model, n, t.shape)]))
  const all = [...given.keys()]
  try {
    return { imported: importModel(model, { inputs: shapes(all)! }), known: [] }
  } catch (cause) {
    const integers = all.filter((n) => given.get(n)!.dtype === 'i32')
    if (integers.length === 0) throw cause
    const values = Object.fromEntries(
      integers.map((n) => {
        const t = given.get(n)!
        const element = model.inputs.find((v) => v.name === n)!.element
        return [n, { name: n, element: element === ELEMENT.i64 ? ELEMENT.i32 : element, shape: t.shape, data: t.data as Int32Array }]
      }),
    )
    const imported = importModel(model, { inputs: shapes(all.filter((n) => !integers.includes(n)))!, values })
    return { imported, known: integers }
  }
}

/** A rank-0 input may be written as [1], and the other way round. */
function fitted(model: OnnxModel, name: string, shape: readonly number[]): readonly number[] {
  const declared = model.inputs.find((v) => v.name === name)?.shape
  const open = declared?.filter((d) => typeof d !== 'number') ?? []
  // a flat array takes the declared shape; what is left over is the one open axis
  if (declared && declared.length > 1 && shape.length === 1 && open.length <= 1) {
    const known = declared.reduce<number>((n, d) => (typeof d === 'number' ? n * d : n), 1)
    if (shape[0] % known === 0 && (open.length === 1 || shape[0] === known))
      return declared.map((d) => (typeof d === 'number' ? d : shape[0] / known))
  }
  return declared && declared.length !== shape.length && sizeOf(shape) === 1 ? declared.map(() => 1) : shape
}

function dataOf(t: Found, dtype: 'f32' | 'i32', name: string): Data {
  if (t.dtype === dtype) return t.data
  if (dtype === 'f32') return Float32Array.from(t.data)
  if (!t.data.every((x) => Number.isInteger(x))) fail(`input "${name}" takes integers; ${t.from} holds others`)
  return Int32Array.from(t.data)
}

/** The cotangent of each float output: as given, 0 where only others have one, ones where none is given. */
function cotangentsOf(imported: Imported, pool: Pool, manifest: Json): Map<string, Found> {
  const floats = imported.outputs.filter((o) => o.dtype === 'f32')
  const single = floats.length === 1
  const KINDS = '(?:co_?tangents?|cots?|grad_?outputs?|output_?grads?|grad_out|d_?out|dy|v(?:jp)?|upstream|seeds?)'
  const isCotangent = new RegExp(`(^|/)${KINDS}$`, 'i')
  const out = new Map<string, Found>()
  floats.forEach(({ name, shape }, i) => {
    const own = (key: string): boolean => key === name || plain(key) === plain(name)
    const combined = new RegExp(`(^|/)${KINDS}[/._-](.+)$`, 'i')
    const behind = (text: string): string => combined.exec(text)?.[2] ?? ''
    const numbered = (key: string): boolean => new RegExp(`^(?:${KINDS}|output)?[._/-]?${i}$`, 'i').test(last(key))
    const tensor =
      statedTensor(
        pool,
        stated(manifest.cotangents, name) ??
          stated(manifest.cotangent, name) ??
          stated(manifest.grad_outputs, name) ??
          besideOutput(manifest.outputs, name),
        name,
      ) ??
      (typeof manifest.cotangent === 'string' && single ? statedTensor(pool, { file: manifest.cotangent, key: '' }, name) : undefined) ??
      find(
        pool,
        [
          (stem, key) => isCotangent.test(stem) && own(key),
          (_, key) => own(behind(key)),
          (stem, key) => key === '' && own(behind(stem)),
          (stem, key) => single && key === '' && isCotangent.test(stem),
          (_, key) => single && isCotangent.test(key),
          (stem, key) => isCotangent.test(stem) && numbered(key),
          (_, key) => isCotangent.test(key.replace(/[._/-]?\d+$/, '')) && numbered(key),
          (stem, key) => key === '' && isCotangent.test(stem.replace(/[._-]?\d+$/, '')) && numbered(stem),
          // grad_y where y is an output: gradients that are expected have names of inputs and parameters
          (_, key) => /^grad[._/-]/i.test(key) && own(key.slice(5)),
          (stem, key) => key === '' && /^grad[._-]/i.test(last(stem)) && own(last(stem).slice(5)),
          (stem, key) => single && isCotangent.test(stem) && key !== '' && pool.filter((e) => e.stem === stem).length === 1,
        ],
        true,
      )
    if (!tensor) return
    const n = sizeOf(shape)
    if (tensor.data.length !== n) fail(`the cotangent of "${name}" (${tensor.from}) has shape [${tensor.shape}], the output [${shape}]`)
    out.set(name, { dtype: 'f32', shape, data: Float32Array.from(tensor.data), from: tensor.from })
  })
  // one cotangent for several outputs: it is the first's that it fits
  const sole =
    out.size === 0 ? pool.find(({ stem, key }) => isCotangent.test(key) || (key === '' && isCotangent.test(stem)))?.tensor : undefined
  const fits = sole && floats.find(({ shape }) => sizeOf(shape) === sole.data.length)
  if (sole && fits) out.set(fits.name, { dtype: 'f32', shape: fits.shape, data: Float32Array.from(sole.data), from: sole.from })
  if (out.size === 0)
    for (const { name, shape } of floats)
      out.set(name, { dtype: 'f32', shape, data: new Float32Array(sizeOf(shape)).fill(1), from: 'ones' })
  return out
}

const fail = (message: string): never => {
  throw new CaseError(message)
}
