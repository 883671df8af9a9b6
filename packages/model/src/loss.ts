// Losses: what a step makes small. Each gives one f32 (rank 0), the mean over its elements, long sums in two stages (docs/numerics.md §4).

import type { Expr } from '@bitloom/graph'
import { withDerivative } from './derivative.ts'
import { exp, log, softplus } from './math.ts'
import { abs, add, broadcastTo, cast, div, le, maxOver, meanAll, mul, neg, oneHot, reshape, sub, sum, unsqueeze, where } from './tensor.ts'

/** log Σ exp(x) over the last axis, its largest entry subtracted first. */
export function logSumExp(x: Expr): Expr {
  const top = maxOver(x, -1, true)
  const e = exp(sub(x, top))
  const total = sum(e, -1)
  const y = add(log(total), reshape(top, total.shape))
  return withDerivative(y, [x], (dy) => [mul(unsqueeze(dy, -1), div(e, unsqueeze(total, -1)))])
}

/**
 * -log softmax(logits)[label] of each row; its gradient is softmax - one-hot.
 * @param logits f32 [.., classes]
 * @param labels i32 [..]
 */
export function crossEntropyRows(logits: Expr, labels: Expr): Expr {
  const top = maxOver(logits, -1, true)
  const shifted = sub(logits, top)
  const e = exp(shifted)
  const total = sum(e, -1)
  const hit = oneHot(labels, logits.shape[logits.shape.length - 1])
  const y = sub(log(total), sum(where(hit, shifted, 0), -1))
  return withDerivative(y, [logits], (dy) => [
    mul(sub(div(e, unsqueeze(total, -1)), cast(hit, 'f32')), broadcastTo(unsqueeze(dy, -1), logits.shape)),
  ])
}

/** Mean cross-entropy of logits [.., classes] and class numbers i32 [..]. */
export const crossEntropy = (logits: Expr, labels: Expr): Expr => meanAll(crossEntropyRows(logits, labels))

/** Mean squared error. */
export function mse(x: Expr, target: Expr): Expr {
  const d = sub(x, target)
  return meanAll(mul(d, d))
}

/** Mean absolute error. */
export const l1 = (x: Expr, target: Expr): Expr => meanAll(abs(sub(x, target)))

/** Huber's loss: d²/2 where |d| ≤ delta, else delta·(|d| - delta/2). */
export function huber(x: Expr, target: Expr, delta = 1): Expr {
  const d = sub(x, target)
  const a = abs(d)
  return meanAll(where(le(a, delta), mul(mul(d, d), 0.5), mul(sub(a, delta / 2), delta)))
}

/** Binary cross-entropy of logits and targets in [0, 1]: softplus(x) - x·target. */
export const bceWithLogits = (x: Expr, target: Expr): Expr => meanAll(sub(softplus(x), mul(x, target)))

/** Binary cross-entropy of probabilities; logarithms are held at -100 and above, as PyTorch does. */
export function bce(p: Expr, target: Expr): Expr {
  const floored = (q: Expr): Expr => where(le(-100, log(q)), log(q), -100)
  const hit = mul(target, floored(p))
  const miss = mul(sub(1, target), floored(sub(1, p)))
  return meanAll(neg(add(hit, miss)))
}
