// Sums, products, roots, comparisons and logic, element by element.

import { type Expr, sizeOf } from '@bitloom/graph'
import { withDerivative } from '../../derivative.ts'
import { exp, log } from '../../math.ts'
import { pow, power } from '../../pow.ts'
import {
  abs,
  add,
  and,
  broadcastShape,
  broadcastTo,
  cast,
  ceil,
  div,
  divu,
  eq,
  floor,
  ge,
  gt,
  le,
  lt,
  max,
  min,
  mul,
  ne,
  neg,
  not,
  or,
  remu,
  shl,
  shr,
  sqrt,
  sub,
  where,
  xor,
} from '../../tensor.ts'
import { cos, sin } from '../../trig.ts'
import { OnnxError } from '../error.ts'
import type { OpImporter, OpNode, OpTable } from '../op.ts'
import { ELEMENT } from '../schema.ts'
import { isFloat, isKnown, type Known, kindOf, roundTo, type Value } from '../value.ts'
import { binary, combine, graphOnly, mapKnown, unary, zipKnown } from './elementwise.ts'

/** Whole quotient towards zero, as ONNX and C divide integers. */
function quotient(a: Expr, b: Expr): Expr {
  const q = divu(abs(a), abs(b))
  return where(lt(xor(a, b), 0), neg(q), q)
}

/** Remainder with the sign of the divisor (Python's) or, with `fmod`, of the dividend (C's). */
function remainder(a: Expr, b: Expr, fmod: boolean): Expr {
  if (a.dtype === 'f32') {
    const whole = div(a, b)
    const toZero = where(lt(whole, 0), ceil(whole), floor(whole))
    return sub(a, mul(fmod ? toZero : floor(whole), b))
  }
  const size = remu(abs(a), abs(b))
  const r = where(lt(a, 0), neg(size), size)
  return fmod ? r : where(and(ne(r, 0), lt(xor(r, b), 0)), add(r, b), r)
}

/** Half to even, as ONNX's Round: exact below 2^23, above which every f32 is whole. */
function roundEven(x: Expr): Expr {
  const down = floor(x)
  const part = sub(x, down)
  const isOdd = ne(floor(mul(down, 0.5)), mul(down, 0.5))
  return add(down, where(or(lt(0.5, part), and(eq(part, 0.5), isOdd)), 1, cast(lt(x, x), 'f32')))
}

function roundNumber(x: number): number {
  const down = Math.floor(x)
  const part = x - down
  return part > 0.5 || (part === 0.5 && down % 2 !== 0) ? down + 1 : down
}

export const sign = (x: Expr): Expr =>
  x.dtype === 'i32' ? sub(gt(x, 0), lt(x, 0)) : where(eq(x, x), cast(sub(gt(x, 0), lt(x, 0)), 'f32'), x)

const divide: OpImporter = (node) => {
  const whole = !isFloat(node.value(0)) && !isFloat(node.value(1))
  return combine(node, node.value(0), node.value(1), (x, y) => (whole ? (y === 0 ? 0 : Math.trunc(x / y)) : x / y), whole ? quotient : div)
}

const modulo: OpImporter = (node) => {
  const fmod = node.int('fmod', 0) === 1
  const numbers = (x: number, y: number): number => (fmod ? x % y : x - y * Math.floor(x / y))
  return combine(node, node.value(0), node.value(1), numbers, (a, b) => remainder(a, b, fmod))
}

/** Powers: a known exponent by products and roots where they do; integers by repeated products. */
const raise: OpImporter = (node) => {
  const [x, y] = [node.value(0), node.value(1)]
  if (isKnown(x) && isKnown(y) && !isFloat(x)) return zipKnown(x, y, (a, b) => a ** b, x.known)
  const exponent = node.toKnown(y)
  const uniform = exponent && exponent.values.length > 0 && exponent.values.every((v) => v === exponent.values[0])
  const base = node.toExpr(x)
  if (base.dtype === 'i32') {
    if (!uniform || exponent.values[0] < 0 || exponent.values[0] > 31 || exponent.values[0] % 1 !== 0)
      return cast(pow(cast(base, 'f32'), cast(node.toExpr(y), 'f32')), 'i32')
    let product = broadcastTo(where(eq(base, base), 1, base), broadcastShape(base.shape, y.shape))
    for (let i = 0; i < exponent.values[0]; i++) product = mul(product, base)
    return product
  }
  if (uniform) return power(broadcastTo(base, broadcastShape(base.shape, y.shape)), exponent.values[0])
  return pow(base, cast(node.toExpr(y), 'f32'))
}

/** The first of many combined with each of the others. */
const folded =
  (numbers: (x: number, y: number) => number, exprs: (a: Expr, b: Expr) => Expr): OpImporter =>
  (node) => {
    if (node.inputs.length < 1) throw new OnnxError('it has no inputs')
    return node.inputs.map((_, i) => node.value(i)).reduce((a, b) => combine(node, a, b, numbers, exprs))
  }

/** The one of two that `wins`; NaN from either side stays one; of equal ones both get half of the gradient, as in PyTorch. */
const choice =
  (op: (a: Expr, b: Expr) => Expr, wins: (a: Expr, b: Expr) => Expr) =>
  (left: Expr, right: Expr): Expr => {
    if (left.dtype === 'i32') return op(left, right)
    const shape = broadcastShape(left.shape, right.shape)
    const [a, b] = [broadcastTo(left, shape), broadcastTo(right, shape)]
    return withDerivative(where(ne(b, b), b, op(a, b)), [a, b], (dy) => {
      const tied = where(eq(a, b), mul(dy, 0.5), 0)
      return [where(wins(a, b), dy, tied), where(wins(b, a), dy, tied)]
    })
  }
const largest = choice(max, gt)
const smallest = choice(min, lt)

/** A bound of Clip: an input since opset 11, an attribute before. */
const bound = (node: OpNode, i: number, attribute: string): Value | undefined =>
  node.inputs[i] ?? (node.has(attribute) ? { known: 'f32', shape: [], values: Float64Array.of(node.float(attribute)) } : undefined)

const clip: OpImporter = (node) => {
  const [low, high] = [bound(node, 1, 'min'), bound(node, 2, 'max')]
  let x = node.value(0)
  if (low) x = combine(node, x, low, Math.max, max)
  if (high) x = combine(node, x, high, Math.min, min)
  return x
}

/** The kind that a cast's target is, checked. */
function castTo(node: OpNode, element: number): Value {
  const kind = kindOf(element)
  if (!kind) throw new OnnxError(`a cast to element type ${element}; numbers and truth values are read`)
  const x = node.value(0)
  if (isKnown(x)) return mapKnown(x, (v) => (kind === 'bool' || Number.isFinite(v) || kind === 'f32' || kind === 'f64' ? v : 0), kind)
  if (kind === 'bool') return ne(x, 0)
  const e = cast(x, kind === 'f32' || kind === 'f64' ? 'f32' : 'i32')
  if (x.dtype === 'i32' && NARROW[element] !== undefined) return narrow(e, ...NARROW[element])
  return e
}

/** Bits and signedness of integers that i32 is wider than. */
const NARROW: Readonly<Record<number, readonly [number, boolean]>> = {
  [ELEMENT.u8]: [8, false],
  [ELEMENT.i8]: [8, true],
  [ELEMENT.u16]: [16, false],
  [ELEMENT.i16]: [16, true],
}

const narrow = (x: Expr, bits: number, signed: boolean): Expr => {
  const low = and(x, 2 ** bits - 1)
  return signed ? sub(xor(low, 2 ** (bits - 1)), 2 ** (bits - 1)) : low
}

const logic = (numbers: (x: boolean, y: boolean) => boolean, exprs: (a: Expr, b: Expr) => Expr): OpImporter =>
  binary((x, y) => (numbers(x !== 0, y !== 0) ? 1 : 0), exprs, 'bool')

const compare = (numbers: (x: number, y: number) => boolean, exprs: (a: Expr, b: Expr) => Expr): OpImporter =>
  binary((x, y) => (numbers(x, y) ? 1 : 0), exprs, 'bool')

const choose: OpImporter = (node) => {
  const [c, a, b] = [node.value(0), node.value(1), node.value(2)]
  if (isKnown(c) && isKnown(a) && isKnown(b) && sizeOf(c.shape) + sizeOf(a.shape) + sizeOf(b.shape) < 2 ** 20) {
    // a then b where the condition says so: two joins keep the broadcasting in one place
    const left = zipKnown(c, a, (t, x) => (t !== 0 ? x : 0), a.known)
    const right = zipKnown(c, b, (t, x) => (t === 0 ? x : 0), b.known)
    const all = zipKnown(left, right, (x) => x, a.known)
    const other = zipKnown(left, right, (_, y) => y, a.known)
    const pick = zipKnown(c, all, (t) => t, 'bool')
    return {
      known: a.known,
      shape: all.shape,
      values: all.values.map((x, i) => roundTo(a.known, pick.values[i] !== 0 ? x : other.values[i])),
    }
  }
  return where(node.toExpr(c), node.toExpr(a), node.toExpr(b))
}

const bits = (numbers: (x: number, y: number) => number, exprs: (a: Expr, b: Expr) => Expr): OpImporter => binary(numbers, exprs)

const shift: OpImporter = (node) => {
  const left = node.string('direction') === 'LEFT'
  return combine(node, node.value(0), node.value(1), (x, y) => (left ? x * 2 ** y : Math.floor(x / 2 ** y)), left ? shl : shr)
}

const mean: OpImporter = (node) => {
  const total = folded((x, y) => x + y, add)(node) as Value
  return combine(node, total, { known: 'f32', shape: [], values: Float64Array.of(node.inputs.length) }, (x, y) => x / y, div)
}

const isInfinite: OpImporter = (node) => {
  const x = node.expr(0)
  const [up, down] = [eq(x, Number.POSITIVE_INFINITY), eq(x, Number.NEGATIVE_INFINITY)]
  const [wantsUp, wantsDown] = [node.int('detect_positive', 1) === 1, node.int('detect_negative', 1) === 1]
  return wantsUp && wantsDown ? or(up, down) : wantsUp ? up : wantsDown ? down : and(up, down)
}

const keep = (x: Known | Expr): Value => x

export const arithmetic: OpTable = {
  Identity: (node) => keep(node.value(0)),
  Add: binary((x, y) => x + y, add),
  Sub: binary((x, y) => x - y, sub),
  Mul: binary((x, y) => x * y, mul),
  Div: divide,
  Mod: modulo,
  Pow: raise,
  Sum: folded((x, y) => x + y, add),
  Mean: mean,
  Max: folded(Math.max, largest),
  Min: folded(Math.min, smallest),
  Clip: clip,
  Neg: unary((x) => -x, neg),
  Abs: unary(Math.abs, abs),
  Sign: unary(Math.sign, sign),
  Floor: unary(Math.floor, floor),
  Ceil: unary(Math.ceil, ceil),
  Round: unary(roundNumber, roundEven),
  Reciprocal: unary(
    (x) => 1 / x,
    (x) => div(1, x),
  ),
  Sqrt: unary(Math.sqrt, sqrt),
  Exp: graphOnly(exp),
  Log: graphOnly(log),
  Sin: graphOnly(sin),
  Cos: graphOnly(cos),
  Cast: (node) => castTo(node, node.int('to')),
  CastLike: (node) => (isFloat(node.value(1)) ? castTo(node, ELEMENT.f32) : castTo(node, ELEMENT.i64)),
  Equal: compare((x, y) => x === y, eq),
  Less: compare((x, y) => x < y, lt),
  LessOrEqual: compare((x, y) => x <= y, le),
  Greater: compare((x, y) => x > y, gt),
  GreaterOrEqual: compare((x, y) => x >= y, ge),
  And: logic((x, y) => x && y, and),
  Or: logic((x, y) => x || y, or),
  Xor: logic((x, y) => x !== y, xor),
  Not: unary(
    (x) => (x === 0 ? 1 : 0),
    (x) => xor(x, 1),
    'bool',
  ),
  BitwiseAnd: bits((x, y) => Number(BigInt(x) & BigInt(y)), and),
  BitwiseOr: bits((x, y) => Number(BigInt(x) | BigInt(y)), or),
  BitwiseXor: bits((x, y) => Number(BigInt(x) ^ BigInt(y)), xor),
  BitwiseNot: unary((x) => -x - 1, not),
  BitShift: shift,
  Where: choose,
  IsNaN: graphOnly((x) => ne(x, x)),
  IsInf: isInfinite,
}
