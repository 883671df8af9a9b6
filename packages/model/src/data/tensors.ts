// What every reader of a data file yields: elements of a dtype that a graph knows, or a clear refusal.

import { canonical, type Data, type Dtype, type Shape } from '@bitloom/graph'
import { halfToNumber } from '../safetensors.ts'

/** `stored` is the element type in the file where it was wider than what is kept. */
export type DataTensor = { readonly dtype: Dtype; readonly shape: Shape; readonly data: Data; readonly stored?: Stored }

/** Element types as files store them. */
export type Stored = 'u8' | 'bool' | 'i8' | 'i16' | 'u16' | 'i32' | 'u32' | 'i64' | 'u64' | 'f16' | 'f32' | 'f64'

export const STORED_BYTES: Record<Stored, number> = {
  u8: 1,
  bool: 1,
  i8: 1,
  i16: 2,
  u16: 2,
  i32: 4,
  u32: 4,
  i64: 8,
  u64: 8,
  f16: 2,
  f32: 4,
  f64: 8,
}

/** More than this in one file is not read into memory at once. */
export const MAX_DATA_BYTES = 2 ** 31

/**
 * The number of elements of a shape read from a file.
 * @throws {DataError} an axis is no whole number, or there are more than 2^31 bytes
 */
export function elementsOf(name: string, shape: Shape, stored: Stored): number {
  let n = 1
  for (const d of shape) {
    n *= d
    if (!Number.isSafeInteger(d) || d < 0 || n * STORED_BYTES[stored] > MAX_DATA_BYTES)
      throw new DataError(`${name}: shape [${shape.slice(0, 8)}] of ${stored} is no size that is read (at most ${MAX_DATA_BYTES} bytes)`)
  }
  return n
}

/**
 * `bytes` as elements: u8 and bool stay bytes, floats become f32 (f64 rounded to nearest), integers i32 where each one fits.
 * @throws {DataError} an integer does not fit i32, naming its place
 */
export function convert(name: string, shape: Shape, stored: Stored, bytes: Uint8Array, littleEndian: boolean): DataTensor {
  if (stored === 'u8' || stored === 'bool') return { dtype: 'u8', shape, data: new Uint8Array(bytes) }
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const width = STORED_BYTES[stored]
  const n = bytes.byteLength / width
  const read = READ[stored]
  if (stored === 'f16' || stored === 'f32' || stored === 'f64') {
    const floats = new Float32Array(n)
    for (let i = 0; i < n; i++) floats[i] = Number(read(view, i * width, littleEndian))
    return { dtype: 'f32', shape, data: canonical(floats), ...(stored === 'f64' ? { stored } : {}) }
  }
  const integers = new Int32Array(n)
  for (let i = 0; i < n; i++) {
    const value = read(view, i * width, littleEndian)
    integers[i] = Number(value)
    if (typeof value === 'bigint' ? BigInt(integers[i]!) !== value : integers[i] !== value)
      throw new DataError(`${name}: element ${i} is ${value}, which no i32 holds\nStore quantities as float32.`)
  }
  return { dtype: 'i32', shape, data: integers }
}

const READ: Record<Exclude<Stored, 'u8' | 'bool'>, (view: DataView, at: number, little: boolean) => number | bigint> = {
  i8: (v, at) => v.getInt8(at),
  i16: (v, at, little) => v.getInt16(at, little),
  u16: (v, at, little) => v.getUint16(at, little),
  i32: (v, at, little) => v.getInt32(at, little),
  u32: (v, at, little) => v.getUint32(at, little),
  i64: (v, at, little) => v.getBigInt64(at, little),
  u64: (v, at, little) => v.getBigUint64(at, little),
  f16: (v, at, little) => halfToNumber(v.getUint16(at, little)),
  f32: (v, at, little) => v.getFloat32(at, little),
  f64: (v, at, little) => v.getFloat64(at, little),
}

/** A data file is not what it should be. */
export class DataError extends Error {
  override name = 'model.DataError'
}
