// sin and cos out of primitives, of radians and of turns: reduction to |r| ≤ π/4 and two polynomials (docs/functions.md).

import { type Expr, ofBits } from '@bitloom/graph'
import { withDerivative } from './derivative.ts'
import { polynomial } from './math.ts'
import { add, and, cast, eq, floor, mul, neg, shr, sub, where } from './tensor.ts'

const TWO_PI = ofBits(0x40c90fdb)
const TWO_OVER_PI = ofBits(0x3f22f983)
/** π/2 in four parts: the first three have at most 9 bits, so that their products with a quadrant number below 2^15 are exact. */
const HALF_PI = [0x3fc90000, 0x39fd8000, 0x34a88000, 0x2e85a309].map(ofBits)
/** sin(r) = r + r·z·S(z), cos(r) = 1 - z/2 + z²·C(z), z = r², |r| ≤ π/4. */
const SIN = [0xbe2aaaa2, 0x3c088363, 0xb94c8e0d].map(ofBits)
const COS = [0x3d2aaaa5, 0xbab60613, 0x37ccf38c].map(ofBits)

/** sin(r + quadrant·π/2). */
function quadrantSin(r: Expr, quadrant: Expr): Expr {
  const z = mul(r, r)
  const s = add(r, mul(mul(r, z), polynomial(z, SIN)))
  const c = add(sub(1, mul(z, 0.5)), mul(mul(z, z), polynomial(z, COS)))
  const value = where(and(quadrant, 1), c, s)
  return where(and(shr(quadrant, 1), 1), neg(value), value)
}

/** Quadrant number and rest of an angle in radians. */
function reduce(x: Expr): { r: Expr; quadrant: Expr } {
  const q = floor(add(mul(x, TWO_OVER_PI), 0.5))
  return { r: HALF_PI.reduce((rest, part) => sub(rest, mul(q, part)), x), quadrant: cast(q, 'i32') }
}

/** Sine of radians; measured for |x| ≤ 2^15, beyond which the reduction wears out (docs/functions.md); NaN at ±inf. */
export function sin(x: Expr): Expr {
  const { r, quadrant } = reduce(x)
  return withDerivative(where(eq(x, 0), x, quadrantSin(r, quadrant)), [x], (dy) => [mul(dy, cos(x))])
}

/** Cosine of radians; measured for |x| ≤ 2^15. */
export function cos(x: Expr): Expr {
  const { r, quadrant } = reduce(x)
  return withDerivative(quadrantSin(r, add(quadrant, 1)), [x], (dy) => [mul(dy, neg(sin(x)))])
}

/** cos(2π·u): the reduction is exact, so it is as good for every |u| < 2^21. */
export function cosTurns(u: Expr): Expr {
  const { r, quadrant } = reduceTurns(u)
  return withDerivative(quadrantSin(r, add(quadrant, 1)), [u], (dy) => [mul(dy, mul(neg(sinTurns(u)), TWO_PI))])
}

/** sin(2π·u): the reduction is exact, so it is as good for every |u| < 2^21. */
export function sinTurns(u: Expr): Expr {
  const { r, quadrant } = reduceTurns(u)
  return withDerivative(quadrantSin(r, quadrant), [u], (dy) => [mul(dy, mul(cosTurns(u), TWO_PI))])
}

function reduceTurns(u: Expr): { r: Expr; quadrant: Expr } {
  const q = floor(add(mul(u, 4), 0.5))
  return { r: mul(sub(u, mul(q, 0.25)), TWO_PI), quadrant: cast(q, 'i32') }
}
