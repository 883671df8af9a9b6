// One tensor of an ONNX file: from raw bytes, from the typed lists of some exporters, or from a file beside the model, its size checked before it is believed.

import type { Shape } from '@bitloom/graph'
import { OnnxError } from './error.ts'
import { ELEMENT, TensorProto } from './schema.ts'

/** Halves are held by their bits; bfloat16 is a Float32Array, for which it is exact. */
export type OnnxData =
  | Float32Array
  | Float64Array
  | Int32Array
  | BigInt64Array
  | Uint8Array
  | Int8Array
  | Uint16Array
  | Int16Array
  | Uint32Array
/** `element` is one of `ELEMENT`'s codes; bool and u8 are held by a Uint8Array. */
export type OnnxTensor = { readonly name: string; readonly element: number; readonly shape: Shape; readonly data: OnnxData }

/**
 * The bytes of a file beside the model. `location` is relative and climbs out of no folder; `length` undefined means to the file's end.
 */
export type ReadExternal = (location: string, offset: number, length: number | undefined) => Uint8Array

export type RawTensor = {
  name: string
  dataType: number
  dataLocation: number
  dims: number[]
  rawData: Uint8Array
  floatData: number[]
  int32Data: number[]
  int64Data: number[]
  doubleData: number[]
  uint64Data: number[]
  externalData: { key: string; value: string }[]
}

/** Bytes of one element in a file. */
const WIDTHS: Readonly<Record<number, number>> = {
  [ELEMENT.f32]: 4,
  [ELEMENT.u8]: 1,
  [ELEMENT.i8]: 1,
  [ELEMENT.u16]: 2,
  [ELEMENT.i16]: 2,
  [ELEMENT.i32]: 4,
  [ELEMENT.i64]: 8,
  [ELEMENT.bool]: 1,
  [ELEMENT.f16]: 2,
  [ELEMENT.bf16]: 2,
  [ELEMENT.f64]: 8,
  [ELEMENT.u32]: 4,
  [ELEMENT.u64]: 8,
}

/**
 * A tensor file of ONNX's test data (`input_0.pb`).
 * @throws {OnnxError} it is none
 */
export function decodeTensor(bytes: Uint8Array): OnnxTensor {
  let raw: RawTensor
  try {
    raw = TensorProto.toObject(TensorProto.decode(bytes), { longs: Number, defaults: true, arrays: true }) as RawTensor
  } catch (cause) {
    throw new OnnxError('the file is no protobuf message of an ONNX tensor', { cause })
  }
  return tensorOf(raw)
}

/** A decoded message as a tensor. */
export function tensorOf(t: RawTensor, external?: ReadExternal): OnnxTensor {
  const where = `tensor "${t.name}"`
  const element = t.dataType
  const width = WIDTHS[element]
  if (width === undefined) throw new OnnxError(`${where}: element type ${element} is not read`)
  let n = 1
  for (const d of t.dims) {
    n *= d
    if (!Number.isSafeInteger(d) || d < 0 || n > 2 ** 32) throw new OnnxError(`${where}: shape [${t.dims.slice(0, 8)}]`)
  }
  if (t.dims.length > 64) throw new OnnxError(`${where}: ${t.dims.length} axes`)
  const raw = t.dataLocation === 0 ? t.rawData : externalBytes(where, t, n * width, external)
  const listed =
    element === ELEMENT.f32
      ? t.floatData
      : element === ELEMENT.f64
        ? t.doubleData
        : element === ELEMENT.i64
          ? t.int64Data
          : element === ELEMENT.u32 || element === ELEMENT.u64
            ? t.uint64Data
            : t.int32Data
  const given = raw.length > 0 ? raw.length / width : listed.length
  if (given !== n) throw new OnnxError(`${where}: shape [${t.dims}] and ${given} elements differ`)
  return { name: t.name, element, shape: t.dims, data: raw.length > 0 ? ofRaw(element, raw) : ofList(element, listed) }
}

function externalBytes(where: string, t: RawTensor, bytes: number, external: ReadExternal | undefined): Uint8Array {
  const facts = new Map(t.externalData.map(({ key, value }) => [key, value]))
  const location = facts.get('location') ?? ''
  if (!external)
    throw new OnnxError(`${where} lies in another file ("${location}")\nExport the model as one file (PyTorch: external_data=False).`)
  const parts = location.split(/[/\\]/)
  if (location === '' || location.includes('\0') || /^[/\\]|^[a-z]:/i.test(location) || parts.includes('..'))
    throw new OnnxError(`${where}: its file "${location}" lies outside of the model's folder`)
  const [offset, length] = [Number(facts.get('offset') ?? 0), facts.has('length') ? Number(facts.get('length')) : bytes]
  if (!Number.isSafeInteger(offset) || offset < 0 || length !== bytes)
    throw new OnnxError(`${where}: ${length} bytes from ${offset} of "${location}" are not the ${bytes} of [${t.dims}]`)
  const read = external(location, offset, length)
  if (read.length !== bytes) throw new OnnxError(`${where}: "${location}" holds ${read.length} of the ${bytes} bytes that should be there`)
  return read
}

function ofRaw(element: number, raw: Uint8Array): OnnxData {
  const { buffer } = Uint8Array.from(raw)
  switch (element) {
    case ELEMENT.f32:
      return new Float32Array(buffer)
    case ELEMENT.f64:
      return new Float64Array(buffer)
    case ELEMENT.i64:
    case ELEMENT.u64:
      return new BigInt64Array(buffer)
    case ELEMENT.i32:
      return new Int32Array(buffer)
    case ELEMENT.u32:
      return new Uint32Array(buffer)
    case ELEMENT.i8:
      return new Int8Array(buffer)
    case ELEMENT.i16:
      return new Int16Array(buffer)
    case ELEMENT.u16:
    case ELEMENT.f16:
      return new Uint16Array(buffer)
    case ELEMENT.bf16:
      return wide(new Uint16Array(buffer))
    default:
      return new Uint8Array(buffer)
  }
}

function ofList(element: number, numbers: readonly number[]): OnnxData {
  switch (element) {
    case ELEMENT.f32:
      return Float32Array.from(numbers)
    case ELEMENT.f64:
      return Float64Array.from(numbers)
    case ELEMENT.i64:
    case ELEMENT.u64:
      // a list's numbers are doubles here: 2^63 - 1 arrives as 2^63, which must not become negative
      return BigInt64Array.from(numbers, (x) => (x >= 2 ** 63 ? 2n ** 63n - 1n : BigInt(x)))
    case ELEMENT.i32:
      return Int32Array.from(numbers)
    case ELEMENT.u32:
      return Uint32Array.from(numbers)
    case ELEMENT.i8:
      return Int8Array.from(numbers)
    case ELEMENT.i16:
      return Int16Array.from(numbers)
    case ELEMENT.u16:
    case ELEMENT.f16:
      return Uint16Array.from(numbers)
    case ELEMENT.bf16:
      return wide(Uint16Array.from(numbers))
    default:
      return Uint8Array.from(numbers)
  }
}

/** bfloat16 is the upper half of a float32. */
const wide = (halves: Uint16Array): Float32Array => new Float32Array(Uint32Array.from(halves, (x) => x << 16).buffer)
