// exp, log and what follows from them, out of primitives that round once: range reduction and a polynomial (docs/numerics.md §5, docs/functions.md).
// Coefficients are weighted minimax fits, rounded one by one with the rest refitted, and given by their bits. Derivatives are closed forms.

import { type Expr, ofBits } from '@bitloom/graph'
import { withDerivative } from './derivative.ts'
import { abs, add, and, bitcast, cast, div, eq, floor, full, le, lt, max, min, mul, neg, or, sar, shl, sqrt, sub, where } from './tensor.ts'

const LOG2E = ofBits(0x3fb8aa3b)
/** ln 2 in two parts: the first has 16 bits, so that its product with an exponent is exact. */
const LN2_HIGH = ofBits(0x3f317200)
const LN2_LOW = ofBits(0x35bfbe8e)
/** The largest argument whose exp is finite, and the smallest whose exp is normal. */
const EXP_MAX = ofBits(0x42b17217)
const EXP_MIN = ofBits(0xc2aeac4f)
/** exp(r) = 1 + r + r²·q(r) for |r| ≤ ln2/2: relative error 3.2e-9. */
const EXP = [0x3efffffe, 0x3e2aaa49, 0x3d2aac5e, 0x3c091ce3, 0x3ab520aa].map(ofBits)
/** log(1+f) = 2s + s·z·R(z) with s = f/(2+f), z = s². */
const LOG = [0x3f2aaaaa, 0x3eccce13, 0x3e91e9f0, 0x3e789d77].map(ofBits)
/** tanh(x) = x + x·z·T(z) for z = x² ≤ 0.55². */
const TANH = [0xbeaaaaa4, 0x3e08862f, 0xbd5c82e2, 0x3cac08fb, 0xbbca2a79].map(ofBits)
const TANH_SMALL = ofBits(0x3f0ccccd) // 0.55
/** erf(x) = x + x·E(z) for z = x² ≤ 0.84². */
const ERF = [0x3e0375d4, 0xbec093a0, 0x3de716ad, 0xbcdbff7b, 0x3baa12b0, 0xba520c36, 0x38a32a93].map(ofBits)
const ERF_SMALL = ofBits(0x3f570a3d) // 0.84
/** erfc(x) = exp(-Q(x)) from there to where erf rounds to 1. */
const ERFC = [0xb91b779f, 0x3f908fa8, 0x3f2234db, 0x3ddd20c7, 0xbccc1c1b, 0x3b8615f6, 0xb9db0d14, 0x37a4a702].map(ofBits)
const ERF_ONE = ofBits(0x407c28f6) // 3.94
const TWO_OVER_SQRT_PI = ofBits(0x3f906ebb)
const SQRT_HALF_BITS = 0x3f3504f3
const SQRT_HALF = ofBits(SQRT_HALF_BITS)
const SQRT_TWO_OVER_PI = ofBits(0x3f4c422a)

/** Horner's scheme: coefficients from the constant up. */
export const polynomial = (x: Expr, coefficients: readonly number[]): Expr =>
  coefficients
    .slice(0, -2)
    .reduceRight((acc, c) => add(mul(acc, x), c), add(mul(x, coefficients[coefficients.length - 1]), coefficients[coefficients.length - 2]))

/** x = k·ln2 + r; exp(r) - 1 = r + r²·q(r). */
export function reduceExp(x: Expr): { k: Expr; less1: Expr } {
  const k = floor(add(mul(x, LOG2E), 0.5))
  const r = sub(sub(x, mul(k, LN2_HIGH)), mul(k, LN2_LOW))
  return { k: cast(k, 'i32'), less1: add(r, mul(mul(r, r), polynomial(r, EXP))) }
}

/** `y`·2^k by adding k to the exponent; meaningless where the result is not normal. */
export const scale = (y: Expr, k: Expr): Expr => bitcast(add(bitcast(y), shl(k, 23)))

/** e^x: +0 below -87.3365 (no subnormal results), inf above 88.7228. */
export function exp(x: Expr): Expr {
  const { k, less1 } = reduceExp(x)
  const y = where(lt(EXP_MAX, x), Number.POSITIVE_INFINITY, where(lt(x, EXP_MIN), 0, scale(add(1, less1), k)))
  return withDerivative(y, [x], (dy) => [mul(dy, y)])
}

/** e^x - 1; x itself where it is tiny. */
export function expm1(x: Expr): Expr {
  const { k, less1 } = reduceExp(x)
  const power = scale(full(x.shape, 1), k)
  const near = add(mul(less1, power), sub(power, 1))
  const y = where(lt(x, -17.5), -1, where(lt(25, x), exp(x), where(eq(x, 0), x, near)))
  return withDerivative(y, [x], (dy) => [mul(dy, add(y, 1))])
}

/** A normal positive u = 2^k·m with m in [√½, √2). */
export function decompose(u: Expr): { k: Expr; m: Expr } {
  const offset = sub(bitcast(u), SQRT_HALF_BITS)
  return { k: sar(offset, 23), m: bitcast(add(and(offset, 0x007fffff), SQRT_HALF_BITS)) }
}

/** k·ln2 + log(1+f) + correction, for 1+f in [√½, √2]. */
function assembleLog(k: Expr, f: Expr, correction?: Expr): Expr {
  const s = div(f, add(f, 2))
  const z = mul(s, s)
  const half = mul(mul(f, 0.5), f)
  const e = cast(k, 'f32')
  const low = mul(e, LN2_LOW)
  const tail = add(mul(s, add(half, mul(z, polynomial(z, LOG)))), correction ? add(low, correction) : low)
  return sub(mul(e, LN2_HIGH), sub(sub(half, tail), f))
}

/** Natural logarithm: -inf at ±0, NaN below, right for subnormals. */
export function log(x: Expr): Expr {
  const small = lt(x, 2 ** -126)
  const { k, m } = decompose(where(small, mul(x, 2 ** 25), x))
  const value = assembleLog(sub(k, where(small, 25, full(x.shape, 0, 'i32'))), sub(m, 1))
  const y = where(lt(0, x), where(lt(x, Number.POSITIVE_INFINITY), value, x), where(eq(x, 0), Number.NEGATIVE_INFINITY, Number.NaN))
  return withDerivative(y, [x], (dy) => [div(dy, x)])
}

/** log(1+x), accurate where x is small; -inf at -1, NaN below. */
export function log1p(x: Expr): Expr {
  const u = add(x, 1)
  const near = and(lt(-0.29, x), lt(x, 0.41))
  const { k, m } = decompose(u)
  // what rounding 1+x lost, relative to u
  const lost = div(where(lt(u, 2), sub(x, sub(u, 1)), sub(1, sub(u, x))), u)
  const value = assembleLog(where(near, 0, k), where(near, x, sub(m, 1)), where(near, 0, lost))
  const finite = where(eq(x, 0), x, value)
  const y = where(lt(0, u), where(lt(u, Number.POSITIVE_INFINITY), finite, u), where(eq(u, 0), Number.NEGATIVE_INFINITY, Number.NaN))
  return withDerivative(y, [x], (dy) => [div(dy, u)])
}

/** y, which is not negative, with the sign bit of x: -0 stays -0. */
const copySign = (y: Expr, x: Expr): Expr => bitcast(or(bitcast(y), and(bitcast(x), 0x80000000)))

export function tanh(x: Expr): Expr {
  const a = abs(x)
  const z = mul(x, x)
  const small = add(a, mul(mul(a, z), polynomial(z, TANH)))
  const large = sub(1, div(2, add(exp(add(a, a)), 1)))
  const y = copySign(where(lt(a, TANH_SMALL), small, large), x)
  return withDerivative(y, [x], (dy) => [mul(dy, sub(1, mul(y, y)))])
}

/** 1 / (1 + e^-x). */
export function sigmoid(x: Expr): Expr {
  const y = div(1, add(exp(neg(x)), 1))
  return withDerivative(y, [x], (dy) => [mul(dy, mul(y, sub(1, y)))])
}

/** x·sigmoid(x); -0 at -inf. */
export function silu(x: Expr): Expr {
  const s = sigmoid(x)
  return withDerivative(mul(max(x, -200), s), [x], (dy) => [mul(dy, mul(s, add(mul(x, sub(1, s)), 1)))])
}

/** The error function 2/√π·∫₀ˣ e^-t² dt. */
export function erf(x: Expr): Expr {
  const a = abs(x)
  const z = mul(x, x)
  const small = add(a, mul(a, polynomial(z, ERF)))
  const large = sub(1, exp(neg(polynomial(min(a, ERF_ONE), ERFC))))
  const y = copySign(where(lt(a, ERF_SMALL), small, large), x)
  return withDerivative(y, [x], (dy) => [mul(dy, mul(exp(neg(z)), TWO_OVER_SQRT_PI))])
}

/** x·Φ(x) with the error function, as PyTorch's default; -0 at -inf. */
export function gelu(x: Expr): Expr {
  const half = add(erf(mul(x, SQRT_HALF)), 1)
  return mul(mul(max(x, -20), 0.5), half)
}

/** gelu's tanh form: x/2·(1 + tanh(√(2/π)·(x + 0.044715·x³))). */
export function geluTanh(x: Expr): Expr {
  const inner = mul(add(x, mul(mul(mul(x, x), x), 0.044715)), SQRT_TWO_OVER_PI)
  return mul(mul(max(x, -20), 0.5), add(tanh(inner), 1))
}

/** log(1 + e^x), linear where x is large. */
export function softplus(x: Expr): Expr {
  const y = add(max(x, 0), log1p(exp(neg(abs(x)))))
  return withDerivative(y, [x], (dy) => [mul(dy, sigmoid(x))])
}

/** max(x, 0), but a NaN stays one; gradient 0 at 0. */
export const relu = (x: Expr): Expr => where(le(x, 0), 0, x)

/** 1/√x: two roundings. */
export const rsqrt = (x: Expr): Expr => div(1, sqrt(x))
