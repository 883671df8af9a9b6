// Safetensors: the file that weights travel in, written deterministically and read with every offset distrusted.
//
// Layout (https://huggingface.co/docs/safetensors): u64 header size, little-endian; a JSON header, padded with spaces; the tensors' bytes, without holes.

import { canonical, type Data, fromBytes, type Shape, toBytes } from '@bitloom/graph'
import { repeatedKey } from './json.ts'

/** The dtypes that a graph knows, by their names in the file. */
export type SafetensorsDtype = 'F32' | 'I32' | 'U8'
/** Every dtype that a file may hold and we can read. */
export type StoredDtype = SafetensorsDtype | 'F64' | 'F16' | 'BF16' | 'I64'

export type SafetensorsTensor = { readonly dtype: SafetensorsDtype; readonly shape: Shape; readonly data: Data }
/** A tensor as read: `stored` is its dtype in the file, `dtype` what `data` holds now. */
export type LoadedTensor = SafetensorsTensor & { readonly stored: StoredDtype }
/** A tensor's place in a file: `bytes` is a view, untouched. */
export type SafetensorsEntry = { readonly dtype: StoredDtype; readonly shape: Shape; readonly bytes: Uint8Array }
export type SafetensorsFile = {
  readonly metadata: Readonly<Record<string, string>>
  readonly entries: ReadonlyMap<string, SafetensorsEntry>
}

export const MAX_HEADER_BYTES = 2 ** 24
export const MAX_TENSORS = 65_536
const MAX_TENSOR_RANK = 8
const METADATA = '__metadata__'
const WIDTHS: Record<StoredDtype, number> = { F64: 8, I64: 8, F32: 4, I32: 4, F16: 2, BF16: 2, U8: 1 }

/**
 * A file with these tensors: four-byte dtypes first, so that all stay aligned, then by name; equal input gives equal bytes.
 * @throws {SafetensorsError} a shape and its data differ, or a name or metadata value cannot be written
 */
export function writeSafetensors(
  tensors: Readonly<Record<string, SafetensorsTensor>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const names = Object.keys(tensors).sort((a, b) => WIDTHS[tensors[b]!.dtype] - WIDTHS[tensors[a]!.dtype] || (a < b ? -1 : 1))
  if (names.length > MAX_TENSORS) fail(`${names.length} tensors, more than ${MAX_TENSORS}`)
  const fields: string[] = []
  const keys = Object.keys(metadata).sort()
  for (const key of keys)
    if (typeof metadata[key] !== 'string') fail(`metadata "${key}" is ${typeof metadata[key]}; the format allows strings only`)
  if (keys.length > 0) fields.push(`"${METADATA}":{${keys.map((k) => `${JSON.stringify(k)}:${JSON.stringify(metadata[k])}`).join()}}`)
  let end = 0
  for (const name of names) {
    const { dtype, shape, data } = tensors[name]!
    if (name === METADATA) fail(`a tensor cannot be named "${METADATA}"`)
    const right = { F32: Float32Array, I32: Int32Array, U8: Uint8Array }[dtype]
    if (!right || !(data instanceof right)) fail(`"${name}": ${dtype} is not held by ${data?.constructor?.name}`)
    if (elementsOf(name, shape) !== data.length) fail(`"${name}": shape [${shape}] and ${data.length} elements differ`)
    const begin = end
    end += data.byteLength
    // The header is put together by hand: an object would move names like "10" to the front.
    fields.push(`${JSON.stringify(name)}:{"dtype":"${dtype}","shape":[${shape}],"data_offsets":[${begin},${end}]}`)
  }
  const header = new TextEncoder().encode(`{${fields.join()}}`)
  const size = Math.ceil(header.length / 8) * 8
  if (size > MAX_HEADER_BYTES) fail(`a header of ${size} bytes is above ${MAX_HEADER_BYTES}`)
  const out = new Uint8Array(8 + size + end)
  new DataView(out.buffer).setBigUint64(0, BigInt(size), true)
  out.set(header, 8)
  out.fill(0x20, 8 + header.length, 8 + size)
  let at = 8 + size
  for (const name of names) {
    const bytes = toBytes(tensors[name]!.data)
    out.set(bytes, at)
    at += bytes.length
  }
  return out
}

/**
 * The tensors of a file, copied, in dtypes that a graph knows: F16 and BF16 widen exactly, F64 is rounded to the nearest f32, I64 must fit i32.
 * Every NaN gets the one bit pattern (docs/numerics.md §2). For the stored bits use `openSafetensors`.
 * @throws {SafetensorsError} the file breaks a rule of the format, or an I64 does not fit
 */
export function readSafetensors(bytes: Uint8Array): Map<string, LoadedTensor> {
  const out = new Map<string, LoadedTensor>()
  for (const [name, { dtype, shape, bytes: raw }] of openSafetensors(bytes).entries) {
    const data = convert(name, dtype, raw)
    out.set(name, { dtype: data instanceof Float32Array ? 'F32' : data instanceof Int32Array ? 'I32' : 'U8', shape, data, stored: dtype })
  }
  return out
}

/**
 * A file's metadata and where its tensors lie, all checked: known dtypes, sizes that fit, no repeated name, no overlap, no hole, nothing left over.
 * @throws {SafetensorsError} the file breaks a rule of the format
 */
export function openSafetensors(bytes: Uint8Array): SafetensorsFile {
  if (bytes.length < 8) fail(`${bytes.length} bytes are too few for a header size`)
  const declared = new DataView(bytes.buffer, bytes.byteOffset, 8).getBigUint64(0, true)
  if (declared > BigInt(MAX_HEADER_BYTES)) fail(`a header of ${declared} bytes is above ${MAX_HEADER_BYTES}; is this a safetensors file?`)
  const size = Number(declared)
  if (8 + size > bytes.length) fail(`a header of ${size} bytes in a file of ${bytes.length}: the file is cut short`)
  const header = parseHeader(bytes.subarray(8, 8 + size))
  const body = bytes.subarray(8 + size)
  const metadata: Record<string, string> = Object.create(null)
  const places: { name: string; dtype: StoredDtype; shape: number[]; begin: number; end: number }[] = []
  for (const [name, value] of Object.entries(header)) {
    if (!isObject(value)) fail(`"${clip(name)}" is no object`)
    const fields = value as Record<string, unknown>
    if (name === METADATA) {
      for (const [k, v] of Object.entries(fields)) metadata[k] = typeof v === 'string' ? v : fail(`metadata "${clip(k)}" is no string`)
    } else places.push({ name, ...placeOf(clip(name), fields, body.length) })
  }
  if (places.length > MAX_TENSORS) fail(`${places.length} tensors, more than ${MAX_TENSORS}`)
  places.sort((a, b) => a.begin - b.begin || a.end - b.end)
  const entries = new Map<string, SafetensorsEntry>()
  let covered = 0
  for (const { name, dtype, shape, begin, end } of places) {
    if (begin !== covered)
      fail(
        `"${clip(name)}" begins at ${begin}, ${begin < covered ? 'inside the tensor before it, which ends' : 'leaving a hole'} at ${covered}`,
      )
    covered = end
    entries.set(name, { dtype, shape, bytes: body.subarray(begin, end) })
  }
  if (covered !== body.length) fail(`${body.length - covered} bytes after the last tensor belong to none`)
  return { metadata, entries }
}

function parseHeader(bytes: Uint8Array): Record<string, unknown> {
  if (bytes[0] !== 0x7b) fail('the header does not begin with "{"')
  let header: unknown
  let text: string
  try {
    text = new TextDecoder('utf-8', { fatal: true }).decode(bytes)
    header = JSON.parse(text)
  } catch (cause) {
    throw new SafetensorsError('the header is no JSON text in UTF-8', { cause })
  }
  const twice = repeatedKey(text)
  if (twice !== undefined) fail(`the name "${clip(twice)}" appears twice`)
  return header as Record<string, unknown>
}

function placeOf(
  name: string,
  fields: Record<string, unknown>,
  bodyBytes: number,
): { dtype: StoredDtype; shape: number[]; begin: number; end: number } {
  const { dtype, shape, data_offsets: offsets } = fields
  for (const key of Object.keys(fields))
    if (key !== 'dtype' && key !== 'shape' && key !== 'data_offsets') fail(`"${name}": unknown field "${clip(key)}"`)
  if (typeof dtype !== 'string' || !Object.hasOwn(WIDTHS, dtype))
    fail(`"${name}": dtype ${clip(JSON.stringify(dtype) ?? 'missing')} is not one of ${Object.keys(WIDTHS)}`)
  const elements = elementsOf(name, shape)
  if (!Array.isArray(offsets) || offsets.length !== 2 || !offsets.every((x) => Number.isSafeInteger(x) && x >= 0))
    fail(`"${name}": data_offsets ${clip(JSON.stringify(offsets) ?? 'missing')} are no two positions`)
  const [begin, end] = offsets as [number, number]
  if (begin > end || end > bodyBytes) fail(`"${name}": bytes ${begin} to ${end} of ${bodyBytes}`)
  const width = WIDTHS[dtype as StoredDtype]
  if (elements * width !== end - begin) fail(`"${name}": ${dtype} [${shape}] takes ${elements * width} bytes, not ${end - begin}`)
  return { dtype: dtype as StoredDtype, shape: shape as number[], begin, end }
}

/** The number of elements of a shape that may hold zeros, as the format allows. */
function elementsOf(name: string, shape: unknown): number {
  if (
    !Array.isArray(shape) ||
    shape.length > MAX_TENSOR_RANK ||
    !shape.every((d) => Number.isSafeInteger(d) && d >= 0 && !Object.is(d, -0))
  )
    return fail(`"${name}": shape ${clip(JSON.stringify(shape) ?? 'missing')} is no list of up to ${MAX_TENSOR_RANK} sizes`)
  let elements = 1
  for (const d of shape as number[]) {
    elements *= d
    if (elements > 2 ** 32) fail(`"${name}": [${shape}] has more than 2^32 elements`)
  }
  return elements
}

function convert(name: string, dtype: StoredDtype, raw: Uint8Array): Data {
  // SAFETY: the result never aliases a buffer that its owner may change; `slice` would not do, a Buffer's is a view.
  const bytes = new Uint8Array(raw)
  const view = new DataView(bytes.buffer)
  const n = bytes.length / WIDTHS[dtype]
  switch (dtype) {
    case 'U8':
      return bytes
    case 'I32':
      return fromBytes('i32', bytes)
    case 'F32':
      return canonical(fromBytes('f32', bytes))
    case 'F64':
      return canonical(Float32Array.from({ length: n }, (_, i) => view.getFloat64(8 * i, true)))
    case 'F16':
      return canonical(Float32Array.from({ length: n }, (_, i) => halfToNumber(view.getUint16(2 * i, true))))
    case 'BF16': {
      const words = Uint32Array.from({ length: n }, (_, i) => view.getUint16(2 * i, true) << 16)
      return canonical(new Float32Array(words.buffer))
    }
    case 'I64':
      return Int32Array.from({ length: n }, (_, i) => {
        const x = view.getBigInt64(8 * i, true)
        return BigInt.asIntN(32, x) === x
          ? Number(x)
          : fail(`"${clip(name)}": element ${i} is ${x}, which no i32 holds\nStore it as I32, or as F32 if it is a quantity.`)
      })
  }
}

/** The value of an IEEE-754 binary16, exactly. */
export function halfToNumber(bits: number): number {
  const sign = bits & 0x8000 ? -1 : 1
  const exponent = (bits >> 10) & 31
  const fraction = bits & 1023
  if (exponent === 0) return sign * fraction * 2 ** -24
  if (exponent === 31) return fraction ? Number.NaN : sign * Number.POSITIVE_INFINITY
  return sign * (1024 + fraction) * 2 ** (exponent - 25)
}

const isObject = (x: unknown): boolean => typeof x === 'object' && x !== null && !Array.isArray(x)
const clip = (text: string): string => (text.length > 80 ? `${text.slice(0, 80)}…` : text)
const fail = (message: string): never => {
  throw new SafetensorsError(message)
}

/** A safetensors file, or what should become one, breaks a rule of the format. */
export class SafetensorsError extends Error {
  override name = 'model.SafetensorsError'
}
