// What flows along an edge of an ONNX graph while it is imported: a tensor known now (shapes, axes, masks), or an expr of the graph to be.
//
// Known tensors hold every element as a double: exact for all floats, for 32-bit integers, and for 64-bit ones up to 2^53 (INT64_MAX only ever means "to the end").

import { type Expr, type Shape, sizeOf } from '@bitloom/graph'
import { halfToNumber } from '../safetensors.ts'
import { OnnxError, type OnnxTensor } from './decode.ts'
import { ELEMENT } from './schema.ts'

/** What a known element is; narrower integers are `i64`, narrower floats `f32`. */
export type Kind = 'f32' | 'f64' | 'i64' | 'bool'
export type Known = { readonly known: Kind; readonly shape: Shape; readonly values: Float64Array }
/** Exprs are f32 or i32; integers of every width and truth values are i32. */
export type Value = Known | Expr

/** More elements than this are not computed while importing. */
export const MAX_KNOWN = 2 ** 22

export const isKnown = (v: Value): v is Known => 'known' in v
export const isFloat = (v: Value): boolean => (isKnown(v) ? v.known === 'f32' || v.known === 'f64' : v.dtype === 'f32')
/** The dtype that a value has as an expr. */
export const dtypeOf = (v: Value): 'f32' | 'i32' => (isFloat(v) ? 'f32' : 'i32')

/**
 * A known tensor of these elements.
 * @throws {OnnxError} more than MAX_KNOWN elements, or not as many as the shape says
 */
export function known(kind: Kind, shape: Shape, values: ArrayLike<number>): Known {
  const n = sizeOf(shape)
  if (n > MAX_KNOWN) throw new OnnxError(`[${shape}]: more than ${MAX_KNOWN} elements to compute while importing`)
  if (n !== values.length) throw new OnnxError(`[${shape}] and ${values.length} elements differ`)
  return { known: kind, shape, values: values instanceof Float64Array ? values : Float64Array.from(values) }
}

/** A rank-1 int64 tensor: a shape, axes. */
export const knownInts = (values: readonly number[]): Known => known('i64', [values.length], values)

/** The kind of a file's element type; undefined where it has none (strings, complex numbers). */
export function kindOf(element: number): Kind | undefined {
  switch (element) {
    case ELEMENT.f32:
    case ELEMENT.f16:
    case ELEMENT.bf16:
      return 'f32'
    case ELEMENT.f64:
      return 'f64'
    case ELEMENT.bool:
      return 'bool'
    case ELEMENT.u8:
    case ELEMENT.i8:
    case ELEMENT.u16:
    case ELEMENT.i16:
    case ELEMENT.i32:
    case ELEMENT.u32:
    case ELEMENT.i64:
    case ELEMENT.u64:
      return 'i64'
    default:
      return undefined
  }
}

/** A file's tensor as a known one. */
export function knownOf(t: OnnxTensor): Known {
  const kind = kindOf(t.element)!
  if (sizeOf(t.shape) > MAX_KNOWN)
    throw new OnnxError(`tensor "${t.name}" [${t.shape}]: more than ${MAX_KNOWN} elements to compute with while importing`)
  const { data } = t
  if (data instanceof BigInt64Array) return known(kind, t.shape, Float64Array.from(data, Number))
  if (t.element === ELEMENT.f16) return known(kind, t.shape, Float64Array.from(data, halfToNumber))
  return known(kind, t.shape, Float64Array.from(data, t.element === ELEMENT.bool ? (x) => (x ? 1 : 0) : (x) => x))
}

/** Rounds to what the kind can hold; integers wrap nowhere and are cut towards zero. */
export function roundTo(kind: Kind, x: number): number {
  if (kind === 'f32') return Math.fround(x)
  if (kind === 'f64') return x
  if (kind === 'bool') return x !== 0 ? 1 : 0
  return Number.isNaN(x) ? 0 : Math.max(-(2 ** 63), Math.min(2 ** 63, Math.trunc(x))) + 0
}
