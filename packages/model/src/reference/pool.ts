// The tensors that lie in a folder, under every name that a person may have meant: for checks whose layout nobody fixed.

import { readNpy, readNpz } from '../data/npy.ts'
import { decodeTensor } from '../onnx/tensorproto.ts'
import { isFloat, knownOf } from '../onnx/value.ts'
import { readSafetensors } from '../safetensors.ts'
import { CaseError } from './case.ts'
import { type ReadFile, tensorOf } from './model.ts'

export type Found = {
  readonly dtype: 'f32' | 'i32'
  readonly shape: readonly number[]
  readonly data: Float32Array | Int32Array
  readonly from: string
}

/** Tensors by file stem and name inside the file, `stem` and `key` both ''. */
export type Pool = readonly { readonly stem: string; readonly key: string; readonly tensor: Found }[]

const MAX_FILES = 4096

/** Raw little-endian arrays that nothing describes: their ending says what they hold, the model which shape they have. */
const RAW: Readonly<Record<string, { readonly dtype: string; readonly width: number }>> = {
  u8: { dtype: 'uint8', width: 1 },
  i32: { dtype: 'int32', width: 4 },
  i64: { dtype: 'int64', width: 8 },
  f32: { dtype: 'float32', width: 4 },
  f64: { dtype: 'float64', width: 8 },
}

/**
 * Reads every tensor file of a folder: safetensors, npy, npz, ONNX tensors (.pb), JSON (nested lists, or an object of them) and the raw arrays that a case.json
 * describes. Paths may have folders in front.
 * @throws {CaseError} a file is damaged
 */
export function poolOf(
  files: readonly string[],
  read: ReadFile,
  described: Readonly<Record<string, { dtype: string; shape: readonly number[] }>>,
): Pool {
  if (files.length > MAX_FILES) throw new CaseError(`${files.length} files; at most ${MAX_FILES} are read`)
  const out: { stem: string; key: string; tensor: Found }[] = []
  for (const file of files) {
    const bytes = read(file)
    const dot = file.lastIndexOf('.')
    const [stem, ending] = dot > file.lastIndexOf('/') ? [file.slice(0, dot), file.slice(dot + 1).toLowerCase()] : [file, '']
    if (!bytes) continue
    const put = (key: string, t: { shape: readonly number[]; data: ArrayLike<number>; dtype?: string }): void => {
      const floats = t.data instanceof Float32Array || t.data instanceof Float64Array
      const data = floats ? Float32Array.from(t.data) : Int32Array.from(t.data)
      out.push({ stem, key, tensor: { dtype: floats ? 'f32' : 'i32', shape: t.shape, data, from: key === '' ? file : `${file}: ${key}` } })
    }
    if (ending === 'safetensors') for (const [key, t] of readSafetensors(bytes)) put(key, t)
    else if (ending === 'npy') put('', readNpy(bytes, file))
    else if (ending === 'npz') for (const [key, t] of readNpz(bytes, file)) put(key, t)
    else if (ending === 'pb') {
      const t = decodeTensor(bytes)
      const value = knownOf(t)
      const { shape, values } = value
      const data = isFloat(value) ? Float32Array.from(values) : Int32Array.from(values)
      put('', { shape, data })
      if (t.name !== '') put(t.name, { shape, data })
    } else if (ending === 'json') for (const [key, t] of tensorsOfJson(file, bytes)) put(key, t)
    else if (Object.hasOwn(described, file)) put('', tensorOf(file, described[file], read))
    else if (Object.hasOwn(RAW, ending) && bytes.length > 0 && bytes.length % RAW[ending].width === 0)
      put('', tensorOf(file, { dtype: RAW[ending].dtype, shape: [bytes.length / RAW[ending].width] }, read))
  }
  return out
}

/** Numbers in nested lists, or { shape, data }, or an object of such. */
function tensorsOfJson(file: string, bytes: Uint8Array): [string, { shape: number[]; data: Float32Array | Int32Array }][] {
  let json: unknown
  try {
    json = JSON.parse(new TextDecoder().decode(bytes))
  } catch (cause) {
    throw new CaseError(`${file} is no JSON`, { cause })
  }
  const whole = tensorOfJson(json)
  if (whole) return [['', whole]]
  if (typeof json !== 'object' || json === null || Array.isArray(json)) return []
  return Object.entries(json).flatMap(([key, value]): [string, { shape: number[]; data: Float32Array | Int32Array }][] => {
    const t = tensorOfJson(value)
    if (t) return [[key, t]]
    // { inputs: { x: .. }, cotangents: { y: .. } }; a plain list of numbers may as well be a shape
    if (typeof value !== 'object' || value === null || Array.isArray(value)) return []
    return Object.entries(value).flatMap(([name, inner]): [string, { shape: number[]; data: Float32Array | Int32Array }][] => {
      const u = tensorOfJson(inner)
      return u && (!Array.isArray(inner) || u.shape.length > 1) ? [[`${key}/${name}`, u]] : []
    })
  })
}

function tensorOfJson(x: unknown): { shape: number[]; data: Float32Array | Int32Array } | undefined {
  if (typeof x === 'object' && x !== null && 'data' in x && 'shape' in x && Array.isArray(x.data) && Array.isArray(x.shape)) {
    const flat = tensorOfJson(x.data.flat(Number.POSITIVE_INFINITY))
    const float = 'dtype' in x && /float/.test(String(x.dtype))
    return flat && { shape: x.shape as number[], data: float ? Float32Array.from(flat.data) : flat.data }
  }
  if (!Array.isArray(x)) return undefined
  const shape: number[] = []
  for (let at: unknown = x; Array.isArray(at); at = at[0]) {
    shape.push(at.length)
    if (shape.length > 8 || at.length === 0) return undefined
  }
  const flat: unknown[] = x.flat(8)
  if (flat.length !== shape.reduce((n, d) => n * d, 1) || !flat.every((v) => typeof v === 'number' || typeof v === 'boolean'))
    return undefined
  return { shape, data: flat.every((v) => Number.isInteger(Number(v))) ? Int32Array.from(flat, Number) : Float32Array.from(flat, Number) }
}

const RESULTS = /(^|[/_.-])(outputs?|grads?|gradients?|expected|results?|final|probes\w*|curve|envelope|summary)([/_.-]|\d|$)/i

/** The best tensor among those whose file and key fit one of `wanted`, in the order wished for; files of results come last. */
export function find(pool: Pool, wanted: readonly ((stem: string, key: string) => boolean)[], results = false): Found | undefined {
  for (const fits of wanted)
    for (const late of [false, true]) {
      const found = pool.find(
        ({ stem, key }) => (RESULTS.test(stem) || RESULTS.test(key)) === late && (late ? results : true) && fits(stem, key),
      )
      if (found) return found.tensor
    }
  return undefined
}
