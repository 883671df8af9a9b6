// The optimizers of ai.onnx.preview.training, as its version 1 states them: pure functions of rate, count, tensors, gradients and moments.

import type { Expr } from '@bitloom/graph'
import { pow } from '../../pow.ts'
import { add, cast, constant, div, full, lt, mul, reshape, sqrt, sub, where } from '../../tensor.ts'
import { OnnxError } from '../decode.ts'
import type { OpNode, OpTable } from '../op.ts'

/** What `f` makes of each tensor, its gradient and its moments; the node lists all tensors, then all gradients, and so on. */
function each(node: OpNode, moments: number, f: (x: Expr, g: Expr, m: readonly Expr[]) => readonly Expr[]): Expr[] {
  const kinds = 2 + moments
  const count = (node.inputs.length - 2) / kinds
  if (!Number.isInteger(count) || count < 1)
    throw new OnnxError(`${node.inputs.length} inputs are no rate, count and ${kinds} times as many tensors`)
  const decay = node.float('norm_coefficient', 0)
  const results = Array.from({ length: count }, (_, i) => {
    const [x, g, ...m] = Array.from({ length: kinds }, (_, k) => node.expr(2 + k * count + i))
    return f(x, decay === 0 ? g : add(mul(x, decay), g), m)
  })
  return results[0].flatMap((_, k) => results.map((r) => r[k]))
}

/** The rate and how many updates came before, both rank 0. */
const rateAndCount = (node: OpNode): [rate: Expr, count: Expr] => [reshape(node.expr(0), []), reshape(node.expr(1), [])]

/** 1 - beta^count, or 1 before the first update. */
const correction = (beta: number, count: Expr): Expr => where(lt(0, count), sub(1, pow(full([], beta), cast(count, 'f32'))), constant(1))

export const trainingOps: OpTable = {
  'ai.onnx.preview.training.Adam': (node) => {
    const [rate, count] = rateAndCount(node)
    const [alpha, beta, eps] = [node.float('alpha', 0.9), node.float('beta', 0.999), node.float('epsilon', 1e-6)]
    const after = node.float('norm_coefficient_post', 0)
    const adjusted = div(mul(rate, sqrt(correction(beta, count))), correction(alpha, count))
    return each(node, 2, (x, g, [v, h]) => {
      const nextV = add(mul(v, alpha), mul(g, 1 - alpha))
      const nextH = add(mul(h, beta), mul(mul(g, g), 1 - beta))
      const next = sub(x, div(mul(nextV, adjusted), add(sqrt(nextH), eps)))
      return [after === 0 ? next : mul(next, 1 - after), nextV, nextH]
    })
  },
  'ai.onnx.preview.training.Adagrad': (node) => {
    const [rate, count] = rateAndCount(node)
    const [decay, eps] = [node.float('decay_factor', 0), node.float('epsilon', 1e-6)]
    const adjusted = decay === 0 ? rate : div(rate, add(mul(cast(count, 'f32'), decay), 1))
    return each(node, 1, (x, g, [h]) => {
      const nextH = add(h, mul(g, g))
      return [sub(x, div(mul(g, adjusted), add(sqrt(nextH), eps))), nextH]
    })
  },
  'ai.onnx.preview.training.Momentum': (node) => {
    const [rate, count] = rateAndCount(node)
    const [alpha, beta] = [node.float('alpha'), node.float('beta')]
    const mode = node.string('mode')
    if (mode !== 'standard' && mode !== 'nesterov') throw new OnnxError(`mode "${mode}" is neither standard nor nesterov`)
    const share = where(lt(0, count), constant(beta), constant(1))
    return each(node, 1, (x, g, [v]) => {
      const nextV = add(mul(v, alpha), mul(g, share))
      return [sub(x, mul(mode === 'nesterov' ? add(g, mul(nextV, alpha)) : nextV, rate)), nextV]
    })
  },
  'ai.onnx.preview.training.Gradient': () => {
    throw new OnnxError('a Gradient operator is not read\nExport the loss itself: its gradients are made here, as exprs.')
  },
}
