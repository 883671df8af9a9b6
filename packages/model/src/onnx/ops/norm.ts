// Normalisations as ONNX states them, batch norm with its running statistics as state.

import { type Expr, sizeOf } from '@bitloom/graph'
import { rsqrt } from '../../math.ts'
import { batchNorm, batchNormTraining, groupNorm, instanceNorm, layerNormFrom, rmsNorm, runningMoments } from '../../norm.ts'
import { pow } from '../../pow.ts'
import { abs, add, div, full, mean, mul, pad, sqrt, sub, sum, window } from '../../tensor.ts'
import { OnnxError } from '../decode.ts'
import type { OpNode, OpTable } from '../op.ts'

/**
 * In training: by the batch's own moments. Outputs 1 and 2 are the running moments as ONNX states them, with the batch's biased variance; the state keeps the
 * unbiased one, because that is what PyTorch's training, of which the file is an export, does.
 */
function batchNormalization(node: OpNode): Expr | Expr[] {
  if (node.int('spatial', 1) !== 1)
    throw new OnnxError('batch norm of each place apart (spatial 0) is not read\nExport with opset 9 or later.')
  const [x, weight, bias] = [node.expr(0), node.expr(1), node.expr(2)]
  const running = { mean: node.running(3), variance: node.running(4) }
  const eps = node.float('epsilon', 1e-5)
  if (!node.training) {
    // nobody asks for the running moments of a file for inference; those of a training file stay as they are
    const y = batchNorm(x, running, weight, bias, eps)
    return node.outputs > 1 ? [y, running.mean, running.variance, running.mean, running.variance] : y
  }
  const momentum = 1 - node.float('momentum', 0.9)
  const batch = batchNormTraining(x, weight, bias, eps)
  const [unbiased, biased] = [sizeOf(x.shape) / x.shape[1], 0].map((count) => runningMoments(running, batch, count, momentum))
  node.update(3, unbiased.mean)
  node.update(4, unbiased.variance)
  return [batch.y, biased.mean, biased.variance, batch.mean, batch.variance]
}

/** x / (bias + alpha/size · Σ x²)^beta, the sum over `size` neighbouring channels. */
function localResponse(node: OpNode): Expr {
  const [x, size] = [node.expr(0), node.int('size')]
  const [before, behind] = [Math.floor((size - 1) / 2), Math.ceil((size - 1) / 2)]
  const none = x.shape.map(() => 0)
  const squares = pad(mul(x, x), none.with(1, before), none.with(1, behind))
  const base = add(mul(sum(window(squares, 1, size), 2), node.float('alpha', 1e-4) / size), node.float('bias', 1))
  return div(x, pow(base, full([], node.float('beta', 0.75))))
}

export const normalizations: OpTable = {
  BatchNormalization: batchNormalization,
  InstanceNormalization: (node) => instanceNorm(node.expr(0), node.expr(1), node.expr(2), node.float('epsilon', 1e-5)),
  GroupNormalization: (node) => groupNorm(node.expr(0), node.int('num_groups'), node.expr(1), node.expr(2), node.float('epsilon', 1e-5)),
  LayerNormalization: (node) => {
    const eps = node.float('epsilon', 1e-5)
    const { y, mean, variance } = layerNormFrom(node.expr(0), node.int('axis', -1), node.expr(1), node.optional(2), eps)
    return node.outputs > 1 ? [y, mean, rsqrt(add(variance, eps))] : y
  },
  RMSNormalization: (node) => rmsNorm(node.expr(0), node.int('axis', -1), node.expr(1), node.float('epsilon', 1e-5)),
  LRN: localResponse,
  LpNormalization: (node) => {
    const [x, axis] = [node.expr(0), node.int('axis', -1)]
    return div(x, node.int('p', 2) === 1 ? sum(abs(x), axis, true) : sqrt(sum(mul(x, x), axis, true)))
  },
  MeanVarianceNormalization: (node) => {
    const [x, axes] = [node.expr(0), node.ints('axes', [0, 2, 3])]
    const d = sub(x, mean(x, axes, true))
    return div(d, add(sqrt(mean(mul(d, d), axes, true)), 1e-9))
  },
}
