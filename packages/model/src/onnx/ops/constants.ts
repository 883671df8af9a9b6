// Where known values come from: constants of the file, shapes, and the ranges and fillings computed from them.

import { type Shape, sizeOf } from '@bitloom/graph'
import { eq, full, iota, sub } from '../../tensor.ts'
import { OnnxError } from '../error.ts'
import type { OpImporter, OpNode, OpTable } from '../op.ts'
import { ELEMENT } from '../schema.ts'
import { isFloat, type Known, kindOf, known, knownInts, MAX_KNOWN, roundTo, type Value } from '../value.ts'

const constant: OpImporter = (node) => {
  if (node.has('value')) return node.tensor('value')
  if (node.has('value_float')) return known('f32', [], [Math.fround(node.float('value_float'))])
  if (node.has('value_int')) return known('i64', [], [node.int('value_int')])
  if (node.has('value_floats')) return known('f32', [node.floats('value_floats').length], node.floats('value_floats').map(Math.fround))
  if (node.has('value_ints')) return knownInts(node.ints('value_ints'))
  throw new OnnxError('the constant holds no numbers (texts and sparse tensors are not read)')
}

/** `shape` since opset 15 from axis `start` to `end`. */
const shapeOf: OpImporter = (node) => {
  const shape = node.shape(0)
  const at = (i: number): number => Math.max(0, Math.min(shape.length, i < 0 ? i + shape.length : i))
  const [start, end] = [at(node.int('start', 0)), at(node.int('end', shape.length))]
  return knownInts(shape.slice(start, Math.max(start, end)))
}

/** A shape given as a tensor. */
export function shapeFrom(values: readonly number[]): number[] {
  for (const d of values) if (!Number.isSafeInteger(d) || d < 0) throw new OnnxError(`[${values.slice(0, 8)}] is no shape`)
  return [...values]
}

/** A tensor of one value: known while it is small, since it may be a shape in the making. */
function filled(shape: Shape, like: Known): Value {
  const value = like.values[0]
  if (sizeOf(shape) <= MAX_KNOWN / 16) return known(like.known, shape, new Float64Array(sizeOf(shape)).fill(value))
  return full(shape, value, isFloat(like) ? 'f32' : 'i32')
}

const constantOfShape: OpImporter = (node) =>
  filled(shapeFrom(node.knownInts(0)), node.has('value') ? node.tensor('value') : known('f32', [], [0]))

const range: OpImporter = (node) => {
  const first = node.known(0)
  const [start, limit, delta] = [first, node.known(1), node.known(2)].map((k) => k.values[0])
  const n = Math.max(0, Math.ceil((limit - start) / delta))
  if (!(n <= MAX_KNOWN)) throw new OnnxError(`a range from ${start} to ${limit} by ${delta}`)
  return known(
    first.known,
    [n],
    Float64Array.from({ length: n }, (_, i) => roundTo(first.known, start + i * delta)),
  )
}

const eyeLike: OpImporter = (node) => {
  const shape = node.shape(0)
  const element = node.int('dtype', isFloat(node.value(0)) ? ELEMENT.f32 : ELEMENT.i64)
  const kind = kindOf(element)
  if (!kind || shape.length !== 2) throw new OnnxError(`[${shape}] of element type ${element}`)
  const k = node.int('k', 0)
  const [rows, columns] = shape
  if (sizeOf(shape) > MAX_KNOWN / 16) return eq(sub(iota(shape, 1), iota(shape, 0)), k)
  return known(
    kind,
    shape,
    Float64Array.from({ length: rows * columns }, (_, i) => ((i % columns) - Math.floor(i / columns) === k ? 1 : 0)),
  )
}

/** Places of what is not zero, as a table [rank, count]: only of a tensor known now, since the size is the data's. */
const nonZero: OpImporter = (node) => {
  const x = node.known(0)
  const places = [...x.values.keys()].filter((i) => x.values[i] !== 0)
  const rank = Math.max(1, x.shape.length)
  const rows: number[] = []
  for (let axis = 0; axis < rank; axis++) {
    const inner = sizeOf(x.shape.slice(axis + 1))
    rows.push(...places.map((i) => Math.floor(i / inner) % (x.shape[axis] ?? 1)))
  }
  return known('i64', [rank, places.length], rows)
}

const sizeNow = (node: OpNode): Known => known('i64', [], [sizeOf(node.shape(0))])

export const constants: OpTable = {
  Constant: constant,
  ConstantOfShape: constantOfShape,
  Shape: shapeOf,
  Size: sizeNow,
  Range: range,
  EyeLike: eyeLike,
  NonZero: nonZero,
}
