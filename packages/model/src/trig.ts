// sin and cos out of primitives, of radians and of turns: reduction to |r| ≤ π/4 and two polynomials (docs/functions.md).

import { type Expr, ofBits } from '@bitloom/graph'
import { withDerivative } from './derivative.ts'
import { polynomial } from './math.ts'
import { add, and, cast, eq, floor, max, min, mul, neg, shr, sub, where } from './tensor.ts'

const TWO_PI = ofBits(0x40c90fdb)
const TWO_PI_LOW = ofBits(0xb43bbd2e)
const TWO_OVER_PI = ofBits(0x3f22f983)
/** π/2 in four parts: the first three have at most 9 bits, so that their products with a quadrant number below 2^15 are exact. */
const HALF_PI = [0x3fc90000, 0x39fd8000, 0x34a88000, 0x2e85a309].map(ofBits)
/** sin(r) = r + r·z·S(z), cos(r) = 1 - z/2 + z²·C(z), z = r², |r| ≤ π/4. */
const SIN = [0xbe2aaaa2, 0x3c088363, 0xb94c8e0d].map(ofBits)
const COS = [0x3d2aaaa5, 0xbab60613, 0x37ccf38c].map(ofBits)

/** An angle r + low, |r| ≤ π/4, low being what rounding r lost, beyond a number of quadrants. */
type Reduced = { readonly r: Expr; readonly low: Expr; readonly quadrant: Expr }

/** The sine of a reduced angle `more` quadrants on. */
function quadrantSin({ r, low, quadrant }: Reduced, more: number): Expr {
  const z = mul(r, r)
  const half = mul(z, 0.5)
  const h = sub(1, half)
  const s = add(r, add(mul(mul(r, z), polynomial(z, SIN)), mul(low, h)))
  // (1 - h) - z/2 is what rounding h lost
  const c = add(h, add(sub(sub(1, h), half), sub(mul(mul(z, z), polynomial(z, COS)), mul(r, low))))
  const turned = more === 0 ? quadrant : add(quadrant, more)
  const value = where(and(turned, 1), c, s)
  return where(and(shr(turned, 1), 1), neg(value), value)
}

/** Beyond its range the reduction still gives an angle, if not the right one; within, r is at most 0.79. */
const BOUND = 0.8125

function reduce(x: Expr): Reduced {
  const q = floor(add(mul(x, TWO_OVER_PI), 0.5))
  const [first, second, third, fourth] = HALF_PI
  const exact = sub(sub(x, mul(q, first)), mul(q, second))
  const near = sub(exact, mul(q, third))
  const rest = sub(sub(sub(exact, near), mul(q, third)), mul(q, fourth))
  const r = min(max(add(near, rest), -BOUND), BOUND)
  return { r, low: min(max(add(sub(near, r), rest), -1e-6), 1e-6), quadrant: cast(q, 'i32') }
}

/** Sine of radians, for |x| ≤ 2^15; beyond, a number in [-1, 1] that loses its meaning (docs/functions.md); NaN at ±inf. */
export function sin(x: Expr): Expr {
  return withDerivative(where(eq(x, 0), x, quadrantSin(reduce(x), 0)), [x], (dy) => [mul(dy, cos(x))])
}

/** Cosine of radians, for |x| ≤ 2^15 like `sin`. */
export function cos(x: Expr): Expr {
  return withDerivative(quadrantSin(reduce(x), 1), [x], (dy) => [mul(dy, neg(sin(x)))])
}

/** cos(2π·u): the reduction is exact, so it is as good for every |u| < 2^21. */
export function cosTurns(u: Expr): Expr {
  return withDerivative(quadrantSin(reduceTurns(u), 1), [u], (dy) => [mul(dy, mul(neg(sinTurns(u)), TWO_PI))])
}

/** sin(2π·u): the reduction is exact, so it is as good for every |u| < 2^21. */
export function sinTurns(u: Expr): Expr {
  return withDerivative(quadrantSin(reduceTurns(u), 0), [u], (dy) => [mul(dy, mul(cosTurns(u), TWO_PI))])
}

function reduceTurns(u: Expr): Reduced {
  const q = floor(add(mul(u, 4), 0.5))
  const rest = sub(u, mul(q, 0.25))
  return { r: mul(rest, TWO_PI), low: mul(rest, TWO_PI_LOW), quadrant: cast(q, 'i32') }
}
