// Powers: of a constant exponent by few products, of any exponent by a logarithm and a product that carry more bits than an f32 (docs/functions.md).

import { type Expr, ofBits } from '@bitloom/graph'
import { withDerivative } from './derivative.ts'
import { decompose, log, polynomial, reduceExp, scale } from './math.ts'
import {
  abs,
  add,
  and,
  bitcast,
  broadcastShape,
  broadcastTo,
  cast,
  div,
  eq,
  floor,
  full,
  le,
  lt,
  max,
  min,
  mul,
  ne,
  or,
  sqrt,
  sub,
  where,
} from './tensor.ts'

/** The unevaluated sum of two f32, the second below half a last place of the first. */
type Two = { readonly high: Expr; readonly low: Expr }

/** log2(m) = s·(2/ln2) + s·z·L(z) with s = (m-1)/(m+1), z = s². */
const LOG2 = [0x3f76384f, 0x3f13bb71, 0x3ed2e764, 0x3eac5925].map(ofBits)
/** 2/ln 2 in two parts. */
const SLOPE = [0x4038aa3b, 0x33257060].map(ofBits)
const LN2 = ofBits(0x3f317218)
const INFINITY = Number.POSITIVE_INFINITY

/** a·b exactly, by halves of 12 bits (Dekker 1971); a and b far from the ends of the range. */
function product(a: Expr, b: Expr): Two {
  const upper = (x: Expr): Expr => bitcast(and(bitcast(x), 0xfffff000))
  const [ah, bh] = [upper(a), upper(b)]
  const [al, bl] = [sub(a, ah), sub(b, bh)]
  const high = mul(a, b)
  return { high, low: add(add(add(sub(mul(ah, bh), high), mul(ah, bl)), mul(al, bh)), mul(al, bl)) }
}

/** The sum of two numbers of which the first is larger or zero. */
function sum(a: Expr, b: Expr): Two {
  const high = add(a, b)
  return { high, low: add(sub(a, high), b) }
}

/** log2 of a positive finite number, relative error about 2^-30. */
function log2(x: Expr): Two {
  const small = lt(x, 2 ** -126)
  const { k, m } = decompose(where(small, mul(x, 2 ** 25), x))
  const e = sub(cast(k, 'f32'), where(small, full(x.shape, 25), 0))
  const f = sub(m, 1)
  const t = add(f, 2)
  const s = div(f, t)
  // what the quotient left over, t's own rounding included
  const back = product(s, t)
  const rest = sub(sub(sub(f, back.high), back.low), mul(s, sub(f, sub(t, 2))))
  const sLow = div(rest, t)
  const z = mul(s, s)
  const straight = product(s, full(x.shape, SLOPE[0]))
  const low = add(add(straight.low, add(mul(sLow, SLOPE[0]), mul(s, SLOPE[1]))), mul(mul(s, z), polynomial(z, LOG2)))
  const whole = sum(e, straight.high)
  return sum(whole.high, add(whole.low, low))
}

/**
 * x^y with the special cases of C's pow (C17 F.10.4.4): a negative x needs a whole y, x⁰ and 1^y are 1. Results below 2^-126 are 0.
 */
export function pow(base: Expr, exponent: Expr): Expr {
  const shape = broadcastShape(base.shape, exponent.shape)
  const [x, y] = [broadcastTo(base, shape), broadcastTo(exponent, shape)]
  const a = abs(x)
  const logarithm = log2(a)
  // beyond ±2^33 every power of anything but 1 is 0 or inf, and halves stay far from overflow
  const held = min(max(y, -(2 ** 33)), 2 ** 33)
  const p = product(held, logarithm.high)
  const k = floor(add(p.high, 0.5))
  const r = add(sub(p.high, k), add(p.low, mul(held, logarithm.low)))
  const { k: more, less1 } = reduceExp(mul(r, LN2))
  const mantissa = scale(add(less1, 1), more)
  const n = cast(k, 'i32')
  const over = or(lt(128, n), and(eq(n, 128), le(1, mantissa)))
  const under = or(lt(n, -126), and(eq(n, -126), lt(mantissa, 1)))
  const finite = where(over, INFINITY, where(under, 0, scale(mantissa, n)))
  // 0 and inf to the power y
  const edge = where(eq(lt(0, y), lt(1, a)), INFINITY, full(shape, 0))
  const size = where(or(eq(a, 0), eq(a, INFINITY)), edge, finite)
  const isWhole = eq(floor(y), y)
  const half = mul(y, 0.5)
  const isOdd = and(isWhole, ne(floor(half), half))
  const sign = and(bitcast(x), 0x80000000)
  const signed = bitcast(or(bitcast(size), where(isOdd, sign, 0)))
  const real = where(and(and(lt(x, 0), lt(a, INFINITY)), and(ne(isWhole, 1), lt(abs(y), INFINITY))), Number.NaN, signed)
  const known = where(or(ne(x, x), ne(y, y)), Number.NaN, real)
  const value = where(or(eq(x, 1), or(eq(y, 0), and(eq(x, -1), eq(abs(y), INFINITY)))), 1, known)
  return withDerivative(value, [x, y], (dy) => [
    where(eq(y, 0), 0, mul(dy, mul(y, pow(x, sub(y, 1))))),
    where(and(eq(x, 0), le(0, y)), 0, mul(mul(dy, value), log(x))),
  ])
}

/** x to a constant power: products, a root or a quotient where they do, as PyTorch does for 2, 3, ±1/2 and -1; else `pow`. */
export function power(x: Expr, exponent: number): Expr {
  switch (exponent) {
    case 0:
      return full(x.shape, 1)
    case 0.5:
      return sqrt(x)
    case 1:
      return x
    case 2:
      return mul(x, x)
    case 3:
      return mul(mul(x, x), x)
    case -0.5:
      return div(1, sqrt(x))
    case -1:
      return div(1, x)
    case -2:
      return div(1, mul(x, x))
    default:
      return pow(x, full(x.shape, exponent))
  }
}
