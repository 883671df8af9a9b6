// Exprs that carry a derivative of their own: a closed form is shorter, and often more exact, than what the op rules of grad.ts add up to.

import type { Expr } from '@bitloom/graph'

/** From the gradient of what follows, the gradient of each of `of`; undefined where none flows. */
export type Derivative = { readonly of: readonly Expr[]; readonly rule: (dy: Expr) => readonly (Expr | undefined)[] }

const marks = new WeakMap<Expr, Derivative>()

/** `y`, whose gradients skip the exprs between it and `of` and follow `rule` instead. Changes no value. */
export function withDerivative(y: Expr, of: readonly Expr[], rule: Derivative['rule']): Expr {
  const marked = { ...y }
  marks.set(marked, { of, rule })
  return marked
}

/** `x`, through which no gradient flows. */
export const stopGradient = (x: Expr): Expr => withDerivative(x, [], () => [])

/** The derivative given to this very expr, if any. */
export const derivativeOf = (e: Expr): Derivative | undefined => marks.get(e)
