// Exprs: an op applied to exprs. Immutable; equal exprs become one when a graph is made of them (graph.ts).

import type { Dtype } from './dtype.ts'
import { infer, type OpName } from './ops.ts'
import type { Shape } from './shape.ts'

export type Expr = {
  readonly op: OpName
  readonly dtype: Dtype
  readonly shape: Shape
  readonly inputs: readonly Expr[]
  /** Integers, in the order the op table documents; `const` and `pad` hold bits as unsigned words. */
  readonly attrs: readonly number[]
}

/** What `expr` may be told of the result, where the op does not imply it. */
export type Stated = { readonly dtype?: Dtype; readonly shape?: Shape; readonly attrs?: readonly number[] }

/**
 * Applies `op`; the result's type is inferred and checked.
 * @throws {ShapeError} operands and attributes do not fit the op
 */
export function expr(op: OpName, inputs: readonly Expr[], stated: Stated = {}): Expr {
  const attrs = stated.attrs ?? []
  const type = infer(op, inputs, attrs, { dtype: stated.dtype ?? inputs[0]?.dtype ?? 'f32', shape: stated.shape ?? inputs[0]?.shape ?? [] })
  return { op, dtype: type.dtype, shape: type.shape, inputs, attrs }
}

const scratch = new DataView(new ArrayBuffer(4))

/** The bits of a number rounded to f32; every NaN has the one canonical pattern. */
export function bitsOf(x: number): number {
  if (x !== x) return 0x7fc00000
  scratch.setFloat32(0, x)
  return scratch.getUint32(0)
}

/** The f32 with these bits. */
export function ofBits(bits: number): number {
  scratch.setUint32(0, bits)
  return scratch.getFloat32(0)
}

export const input = (slot: number, dtype: Dtype, shape: Shape): Expr => expr('input', [], { dtype, shape, attrs: [slot] })
export const constF32 = (x: number): Expr => expr('const', [], { dtype: 'f32', attrs: [bitsOf(x)] })
export const constI32 = (x: number): Expr => expr('const', [], { dtype: 'i32', attrs: [x >>> 0] })
export const iota = (shape: Shape, axis: number): Expr => expr('iota', [], { dtype: 'i32', shape, attrs: [axis] })
