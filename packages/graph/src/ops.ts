// The op table: every primitive's code, operands, attributes and shape rule. Adding a row is a protocol change (docs/numerics.md §3).

import type { Dtype } from './dtype.ts'
import { checkShape, type Shape, ShapeError, sameShape, sizeOf } from './shape.ts'

/** What a shape rule sees of an operand, and what it yields. */
export type TensorType = { readonly dtype: Dtype; readonly shape: Shape }

export type OpKind = 'leaf' | 'unary' | 'binary' | 'ternary' | 'movement' | 'indexed' | 'fold'

/**
 * One primitive. `infer` checks operands, attributes and the stated result, and returns the result's type;
 * ops whose result is not implied by their operands (leaves, reshape, expand, slice, scatterAdd, casts) take it from `stated`.
 */
export type Op = {
  readonly code: number
  readonly kind: OpKind
  /** Number of operands; concat takes 1..MAX_CONCAT. */
  readonly arity: number
  readonly infer: (inputs: readonly TensorType[], attrs: readonly number[], stated: TensorType) => TensorType
}

export const MAX_CONCAT = 16
export const MAX_SLOTS = 4096

const fail = (message: string): never => {
  throw new ShapeError(message)
}
const show = (t: TensorType): string => `${t.dtype}[${t.shape}]`
const isI32 = (x: number): boolean => Number.isInteger(x) && x >= -(2 ** 31) && x < 2 ** 31
const isWord = (x: number): boolean => Number.isInteger(x) && x >= 0 && x < 2 ** 32

function attrsOf(name: string, attrs: readonly number[], n: number): void {
  if (attrs.length !== n) fail(`${name}: ${attrs.length} attributes, not ${n}`)
}
function axisOf(name: string, attrs: readonly number[], t: TensorType): number {
  attrsOf(name, attrs, 1)
  const axis = attrs[0]!
  if (!Number.isInteger(axis) || axis < 0 || axis >= t.shape.length) fail(`${name}: axis ${axis} of ${show(t)}`)
  return axis
}
function want(name: string, t: TensorType, ...dtypes: Dtype[]): void {
  if (!dtypes.includes(t.dtype)) fail(`${name}: ${show(t)} is not ${dtypes.join(' or ')}`)
}

const unary =
  (name: string, ...dtypes: Dtype[]): Op['infer'] =>
  ([x], attrs) => {
    attrsOf(name, attrs, 0)
    want(name, x!, ...dtypes)
    return x!
  }

const binary =
  (name: string, dtypes: Dtype[], result?: Dtype): Op['infer'] =>
  ([a, b], attrs) => {
    attrsOf(name, attrs, 0)
    want(name, a!, ...dtypes)
    if (a!.dtype !== b!.dtype || !sameShape(a!.shape, b!.shape)) fail(`${name}: ${show(a!)} and ${show(b!)} differ`)
    return { dtype: result ?? a!.dtype, shape: a!.shape }
  }

const dropAxis = (shape: Shape, axis: number): number[] => shape.filter((_, i) => i !== axis)

const fold =
  (name: string, dtypes: Dtype[], result?: Dtype): Op['infer'] =>
  ([x], attrs) => {
    want(name, x!, ...dtypes)
    return { dtype: result ?? x!.dtype, shape: dropAxis(x!.shape, axisOf(name, attrs, x!)) }
  }

export const OPS = {
  // leaves
  /** input(slot): the slot's tensor at the start of the step. */
  input: {
    code: 0,
    kind: 'leaf',
    arity: 0,
    infer: (_, attrs, stated) => {
      attrsOf('input', attrs, 1)
      if (!Number.isInteger(attrs[0]) || attrs[0]! < 0 || attrs[0]! >= MAX_SLOTS)
        fail(`input: slot ${attrs[0]} is not in 0..${MAX_SLOTS - 1}`)
      return stated
    },
  },
  /** const(bits): a rank-0 f32 or i32, given by its bits. */
  const: {
    code: 1,
    kind: 'leaf',
    arity: 0,
    infer: (_, attrs, stated) => {
      attrsOf('const', attrs, 1)
      want('const', stated, 'f32', 'i32')
      const bits = attrs[0]!
      if (!isWord(bits)) fail(`const: ${bits} is no 32-bit word`)
      if (stated.shape.length !== 0) fail(`const: rank ${stated.shape.length}; a const has rank 0, expand it`)
      if (stated.dtype === 'f32' && (bits & 0x7fffffff) >>> 0 > 0x7f800000 && bits !== 0x7fc00000)
        fail(`const: NaN bits 0x${bits.toString(16)}; the one NaN is 0x7fc00000`)
      return stated
    },
  },
  /** iota(axis): i32 coordinates along an axis. */
  iota: {
    code: 2,
    kind: 'leaf',
    arity: 0,
    infer: (_, attrs, stated) => {
      want('iota', stated, 'i32')
      axisOf('iota', attrs, stated)
      return stated
    },
  },
  // unary
  neg: { code: 8, kind: 'unary', arity: 1, infer: unary('neg', 'f32') },
  abs: { code: 9, kind: 'unary', arity: 1, infer: unary('abs', 'f32') },
  sqrt: { code: 10, kind: 'unary', arity: 1, infer: unary('sqrt', 'f32') },
  floor: { code: 11, kind: 'unary', arity: 1, infer: unary('floor', 'f32') },
  not: { code: 12, kind: 'unary', arity: 1, infer: unary('not', 'i32') },
  /** f32<->i32, u8->i32, u8->f32; the result's dtype is stated. */
  cast: {
    code: 13,
    kind: 'unary',
    arity: 1,
    infer: ([x], attrs, stated) => {
      attrsOf('cast', attrs, 0)
      want('cast', stated, 'f32', 'i32')
      if (x!.dtype === stated.dtype) fail(`cast: ${show(x!)} is ${stated.dtype} already`)
      return { dtype: stated.dtype, shape: x!.shape }
    },
  },
  bitcast: {
    code: 14,
    kind: 'unary',
    arity: 1,
    infer: ([x], attrs) => {
      attrsOf('bitcast', attrs, 0)
      want('bitcast', x!, 'f32', 'i32')
      return { dtype: x!.dtype === 'f32' ? 'i32' : 'f32', shape: x!.shape }
    },
  },
  // binary
  add: { code: 16, kind: 'binary', arity: 2, infer: binary('add', ['f32', 'i32']) },
  sub: { code: 17, kind: 'binary', arity: 2, infer: binary('sub', ['f32', 'i32']) },
  mul: { code: 18, kind: 'binary', arity: 2, infer: binary('mul', ['f32', 'i32']) },
  div: { code: 19, kind: 'binary', arity: 2, infer: binary('div', ['f32']) },
  min: { code: 20, kind: 'binary', arity: 2, infer: binary('min', ['f32']) },
  max: { code: 21, kind: 'binary', arity: 2, infer: binary('max', ['f32']) },
  lt: { code: 22, kind: 'binary', arity: 2, infer: binary('lt', ['f32', 'i32'], 'i32') },
  le: { code: 23, kind: 'binary', arity: 2, infer: binary('le', ['f32'], 'i32') },
  eq: { code: 24, kind: 'binary', arity: 2, infer: binary('eq', ['f32', 'i32'], 'i32') },
  divu: { code: 25, kind: 'binary', arity: 2, infer: binary('divu', ['i32']) },
  remu: { code: 26, kind: 'binary', arity: 2, infer: binary('remu', ['i32']) },
  and: { code: 27, kind: 'binary', arity: 2, infer: binary('and', ['i32']) },
  or: { code: 28, kind: 'binary', arity: 2, infer: binary('or', ['i32']) },
  xor: { code: 29, kind: 'binary', arity: 2, infer: binary('xor', ['i32']) },
  shl: { code: 30, kind: 'binary', arity: 2, infer: binary('shl', ['i32']) },
  shr: { code: 31, kind: 'binary', arity: 2, infer: binary('shr', ['i32']) },
  sar: { code: 32, kind: 'binary', arity: 2, infer: binary('sar', ['i32']) },
  ltu: { code: 33, kind: 'binary', arity: 2, infer: binary('ltu', ['i32']) },
  // ternary
  /** where(cond, a, b): a where cond is not 0, else b. */
  where: {
    code: 40,
    kind: 'ternary',
    arity: 3,
    infer: ([c, a, b], attrs) => {
      attrsOf('where', attrs, 0)
      want('where', c!, 'i32')
      want('where', a!, 'f32', 'i32')
      if (a!.dtype !== b!.dtype || !sameShape(a!.shape, b!.shape) || !sameShape(a!.shape, c!.shape))
        fail(`where: ${show(c!)}, ${show(a!)} and ${show(b!)} differ`)
      return a!
    },
  },
  // movement
  reshape: {
    code: 48,
    kind: 'movement',
    arity: 1,
    infer: ([x], attrs, stated) => {
      attrsOf('reshape', attrs, 0)
      if (sizeOf(x!.shape) !== sizeOf(stated.shape)) fail(`reshape: [${x!.shape}] to [${stated.shape}]: sizes differ`)
      return { dtype: x!.dtype, shape: stated.shape }
    },
  },
  /** permute(perm): result axis i is operand axis perm[i]. */
  permute: {
    code: 49,
    kind: 'movement',
    arity: 1,
    infer: ([x], perm) => {
      const rank = x!.shape.length
      attrsOf('permute', perm, rank)
      if (![...perm].sort((a, b) => a - b).every((p, i) => p === i)) fail(`permute: [${perm}] is no permutation of ${rank} axes`)
      return { dtype: x!.dtype, shape: perm.map((p) => x!.shape[p]!) }
    },
  },
  /** expand: axes of size 1 repeat to the stated size; the rank stays. */
  expand: {
    code: 50,
    kind: 'movement',
    arity: 1,
    infer: ([x], attrs, stated) => {
      attrsOf('expand', attrs, 0)
      if (x!.shape.length !== stated.shape.length || !x!.shape.every((d, i) => d === stated.shape[i] || d === 1))
        fail(`expand: [${x!.shape}] to [${stated.shape}]`)
      return { dtype: x!.dtype, shape: stated.shape }
    },
  },
  /** slice(start, stride per axis): result[i] = x[start + i*stride], stride not 0; the counts are the stated shape. */
  slice: {
    code: 51,
    kind: 'movement',
    arity: 1,
    infer: ([x], attrs, stated) => {
      const rank = x!.shape.length
      attrsOf('slice', attrs, 2 * rank)
      if (stated.shape.length !== rank) fail(`slice: [${x!.shape}] to [${stated.shape}]: ranks differ`)
      for (let axis = 0; axis < rank; axis++) {
        const start = attrs[axis]!
        const stride = attrs[rank + axis]!
        const d = x!.shape[axis]!
        const last = start + (stated.shape[axis]! - 1) * stride
        if (!isI32(start) || !isI32(stride) || stride === 0 || start < 0 || start >= d || last < 0 || last >= d)
          fail(`slice: axis ${axis} of [${x!.shape}]: ${stated.shape[axis]} from ${start} by ${stride}`)
      }
      return { dtype: x!.dtype, shape: stated.shape }
    },
  },
  /** pad(low, high, interior per axis, bits): `interior` elements between neighbours, `low`/`high` around, filled with `bits`. */
  pad: {
    code: 52,
    kind: 'movement',
    arity: 1,
    infer: ([x], attrs) => {
      const rank = x!.shape.length
      attrsOf('pad', attrs, 3 * rank + 1)
      const bits = attrs[3 * rank]!
      if (!isWord(bits) || (x!.dtype === 'u8' && bits > 255)) fail(`pad: fill ${bits} does not fit ${x!.dtype}`)
      if (x!.dtype === 'f32' && (bits & 0x7fffffff) >>> 0 > 0x7f800000 && bits !== 0x7fc00000)
        fail(`pad: NaN bits 0x${bits.toString(16)}; the one NaN is 0x7fc00000`)
      const shape = x!.shape.map((d, axis) => {
        const [low, high, interior] = [attrs[axis]!, attrs[rank + axis]!, attrs[2 * rank + axis]!]
        if (![low, high, interior].every((p) => isI32(p) && p >= 0))
          fail(`pad: axis ${axis}: low ${low}, high ${high}, interior ${interior} must be 0 or more`)
        return low + d + (d - 1) * interior + high
      })
      return { dtype: x!.dtype, shape }
    },
  },
  /** concat(axis) of 1..16 operands. */
  concat: {
    code: 53,
    kind: 'movement',
    arity: -1,
    infer: (inputs, attrs) => {
      if (inputs.length < 1 || inputs.length > MAX_CONCAT) fail(`concat: ${inputs.length} operands, not 1..${MAX_CONCAT}`)
      const first = inputs[0]!
      const axis = axisOf('concat', attrs, first)
      for (const t of inputs)
        if (
          t.dtype !== first.dtype ||
          t.shape.length !== first.shape.length ||
          !sameShape(dropAxis(t.shape, axis), dropAxis(first.shape, axis))
        )
          fail(`concat: ${show(first)} and ${show(t)} on axis ${axis}`)
      const shape = [...first.shape]
      shape[axis] = inputs.reduce((n, t) => n + t.shape[axis]!, 0)
      return { dtype: first.dtype, shape }
    },
  },
  /** window(axis, size, stride, dilation): [.., n, ..] -> [.., count, size, ..]; result[o,k] = x[o*stride + k*dilation]. */
  window: {
    code: 54,
    kind: 'movement',
    arity: 1,
    infer: ([x], attrs) => {
      attrsOf('window', attrs, 4)
      const [axis, size, stride, dilation] = attrs as readonly [number, number, number, number]
      axisOf('window', [axis], x!)
      for (const p of [size, stride, dilation])
        if (!isI32(p) || p < 1) fail(`window: size ${size}, stride ${stride}, dilation ${dilation} must be 1 or more`)
      const span = (size - 1) * dilation + 1
      const d = x!.shape[axis]!
      if (span > d) fail(`window: a span of ${span} on axis ${axis} of [${x!.shape}]`)
      const shape = [...x!.shape]
      shape.splice(axis, 1, Math.floor((d - span) / stride) + 1, size)
      return { dtype: x!.dtype, shape }
    },
  },
  // indexed
  /** gather(x[R, rest], index i32[n]) -> [n, rest]; an index is clamped to 0..R-1. */
  gather: {
    code: 56,
    kind: 'indexed',
    arity: 2,
    infer: ([x, index], attrs) => {
      attrsOf('gather', attrs, 0)
      want('gather', index!, 'i32')
      if (x!.shape.length < 1 || index!.shape.length !== 1) fail(`gather: rows of ${show(x!)} by ${show(index!)}; the index has rank 1`)
      return { dtype: x!.dtype, shape: [index!.shape[0]!, ...x!.shape.slice(1)] }
    },
  },
  /** scatterAdd(source f32[n, rest], index i32[n]) -> stated [R, rest]: row r folds, from +0, the source rows whose clamped index is r. */
  scatterAdd: {
    code: 57,
    kind: 'indexed',
    arity: 2,
    infer: ([source, index], attrs, stated) => {
      attrsOf('scatterAdd', attrs, 0)
      want('scatterAdd', source!, 'f32')
      want('scatterAdd', index!, 'i32')
      if (
        source!.shape.length < 1 ||
        !sameShape(index!.shape, source!.shape.slice(0, 1)) ||
        !sameShape(stated.shape.slice(1), source!.shape.slice(1)) ||
        stated.shape.length !== source!.shape.length
      )
        fail(`scatterAdd: ${show(source!)} by ${show(index!)} into [${stated.shape}]`)
      return { dtype: 'f32', shape: stated.shape }
    },
  },
  // folds: strict, left to right (docs/numerics.md §4); the folded axis is gone from the result
  sum: { code: 64, kind: 'fold', arity: 1, infer: fold('sum', ['f32', 'i32']) },
  maxOver: { code: 65, kind: 'fold', arity: 1, infer: fold('maxOver', ['f32']) },
  /** dot: [batch.., M, K] x [batch.., K, N] -> [batch.., M, N]. */
  dot: {
    code: 66,
    kind: 'fold',
    arity: 2,
    infer: ([a, b], attrs) => {
      attrsOf('dot', attrs, 0)
      want('dot', a!, 'f32')
      want('dot', b!, 'f32')
      const rank = a!.shape.length
      if (rank < 2 || b!.shape.length !== rank || !sameShape(a!.shape.slice(0, -2), b!.shape.slice(0, -2)))
        fail(`dot: [${a!.shape}] x [${b!.shape}]: batch axes differ`)
      if (a!.shape[rank - 1] !== b!.shape[rank - 2])
        fail(`dot: [${a!.shape}] x [${b!.shape}]: inner sizes ${a!.shape[rank - 1]} and ${b!.shape[rank - 2]} differ`)
      return { dtype: 'f32', shape: [...a!.shape.slice(0, -1), b!.shape[rank - 1]!] }
    },
  },
  argmax: { code: 67, kind: 'fold', arity: 1, infer: fold('argmax', ['f32'], 'i32') },
} satisfies Record<string, Op>

export type OpName = keyof typeof OPS

export const OP_NAMES = Object.keys(OPS) as OpName[]

/** The op with this code, or undefined. */
export const opByCode = (code: number): OpName | undefined => BY_CODE.get(code)
const BY_CODE = new Map<number, OpName>(OP_NAMES.map((name) => [OPS[name].code, name]))

/**
 * The result type of an op, checked.
 * @throws {ShapeError} operands, attributes or the stated result do not fit
 */
export function infer(op: OpName, inputs: readonly TensorType[], attrs: readonly number[], stated: TensorType): TensorType {
  const row: Op = OPS[op]
  if (row.arity >= 0 && inputs.length !== row.arity) fail(`${op}: ${inputs.length} operands, not ${row.arity}`)
  const result = row.infer(inputs, attrs, stated)
  checkShape(result.shape)
  return result
}
