// The losses that ONNX has as operators: negative log likelihood and softmax cross-entropy of class numbers, over [n, classes, ..].

import { type Expr, sizeOf } from '@bitloom/graph'
import { withDerivative } from '../../derivative.ts'
import { crossEntropyRows } from '../../loss.ts'
import { exp, log } from '../../math.ts'
import { div, eq, full, gather, maxOver, mul, neg, oneHot, permute, reshape, sub, sum, total, where } from '../../tensor.ts'
import { OnnxError } from '../decode.ts'
import type { OpNode, OpTable } from '../op.ts'

/** [n, classes, ..] as [rows, classes]. */
function rowsOf(x: Expr): Expr {
  const { length } = x.shape
  return reshape(permute(x, [0, ...Array.from({ length: length - 2 }, (_, i) => i + 2), 1]), [-1, x.shape[1]])
}

/** The inverse of `rowsOf`. */
function unrowed(rows: Expr, shape: readonly number[]): Expr {
  const { length } = shape
  const turned = reshape(rows, [shape[0], ...shape.slice(2), shape[1]])
  return permute(turned, [0, length - 1, ...Array.from({ length: length - 2 }, (_, i) => i + 1)])
}

/** x - log Σ exp(x) of each row. */
function logSoftmaxRows(x: Expr): Expr {
  const shifted = sub(x, maxOver(x, 1, true))
  const e = exp(shifted)
  const all = sum(e, 1, true)
  return withDerivative(sub(shifted, log(all)), [x], (dy) => [sub(dy, mul(div(e, all), sum(dy, 1, true)))])
}

/** Weights the rows' losses by class, leaves out ignored labels, and reduces; a mean is over the weights that count. */
function reduced(node: OpNode, rows: Expr, labels: Expr): Expr {
  const flat = reshape(labels, [-1])
  const classWeights = node.optional(2)
  const ignored = node.has('ignore_index') ? eq(flat, node.int('ignore_index')) : undefined
  const reduction = node.string('reduction', 'mean')
  if (!['none', 'sum', 'mean'].includes(reduction)) throw new OnnxError(`reduction "${reduction}"`)
  const byClass = classWeights ? gather(classWeights, flat) : undefined
  const counted = byClass ?? (ignored ? full(flat.shape, 1) : undefined)
  const weights = counted && ignored ? where(ignored, 0, counted) : counted
  // an ignored row is 0 whatever it holds, and no gradient flows into it
  const weighted = byClass ? mul(rows, byClass) : rows
  const losses = ignored ? where(ignored, 0, weighted) : weighted
  if (reduction === 'none') return reshape(losses, labels.shape)
  if (reduction === 'sum') return total(losses)
  return weights ? div(total(losses), total(weights)) : div(total(losses), sizeOf(flat.shape))
}

export const losses: OpTable = {
  NegativeLogLikelihoodLoss: (node) => {
    const [x, labels] = [rowsOf(node.expr(0)), node.expr(1)]
    const picked = sum(where(oneHot(reshape(labels, [-1]), x.shape[1]), x, 0), 1)
    return reduced(node, neg(picked), labels)
  },
  SoftmaxCrossEntropyLoss: (node) => {
    const [x, labels] = [rowsOf(node.expr(0)), node.expr(1)]
    const loss = reduced(node, crossEntropyRows(x, reshape(labels, [-1])), labels)
    return node.wants(1) ? [loss, unrowed(logSoftmaxRows(x), node.shape(0))] : loss
  },
}
