// Activations, softmax and its kin, as ONNX defines them through the opsets.

import { type Expr, sizeOf } from '@bitloom/graph'
import { perChannel } from '../../conv.ts'
import { withDerivative } from '../../derivative.ts'
import { erf, exp, expm1, gelu, geluTanh, log, log1p, relu, sigmoid, silu, softplus, tanh } from '../../math.ts'
import { softmax } from '../../nn.ts'
import {
  abs,
  add,
  axisOf,
  cast,
  div,
  gt,
  le,
  lt,
  max,
  maxOver,
  min,
  mul,
  neg,
  reshape,
  sqrt,
  sub,
  sum,
  transpose,
  where,
} from '../../tensor.ts'
import { cos, sin } from '../../trig.ts'
import { OnnxError } from '../error.ts'
import type { OpImporter, OpNode, OpTable } from '../op.ts'
import { isKnown } from '../value.ts'
import { graphOnly, mapKnown } from './elementwise.ts'

/** α·(eˣ - 1) for x ≤ 0; nothing overflows on the side that is not taken. */
const expOf = (x: Expr): Expr => expm1(min(x, 0))
const elu = (x: Expr, alpha: number): Expr => where(le(x, 0), mul(expOf(x), alpha), x)
const celu = (x: Expr, alpha: number): Expr => add(max(x, 0), mul(expOf(div(x, alpha)), alpha))
const selu = (x: Expr, alpha: number, gamma: number): Expr => mul(elu(x, alpha), gamma)
const hardSigmoid = (x: Expr, alpha: number, beta: number): Expr => max(min(add(mul(x, alpha), beta), 1), 0)
/** At 0 the slope is the negative side's, as in PyTorch. */
const leaky = (x: Expr, slope: Expr | number): Expr => where(le(x, 0), mul(x, slope), x)
const mish = (x: Expr): Expr => mul(x, tanh(softplus(x)))
const swish = (x: Expr, alpha: number): Expr => (alpha === 1 ? silu(x) : mul(x, sigmoid(mul(x, alpha))))

/** log softmax over the last axis; gradient dy - softmax·Σdy. */
export function logSoftmax(x: Expr): Expr {
  const shifted = sub(x, maxOver(x, -1, true))
  const y = sub(shifted, log(sum(exp(shifted), -1, true)))
  return withDerivative(y, [x], (dy) => [sub(dy, mul(exp(y), sum(dy, -1, true)))])
}

/** Over one axis since opset 13; before, over all axes from `axis` on (default 1), flattened. */
const overAxis =
  (f: (x: Expr) => Expr): OpImporter =>
  (node) => {
    const x = node.expr(0)
    if (node.opset >= 13) {
      const axis = axisOf(x.shape, node.int('axis', -1))
      return transpose(f(transpose(x, axis, -1)), axis, -1)
    }
    const given = node.int('axis', 1)
    const axis = given < 0 ? given + x.shape.length : given
    if (axis < 0 || axis > x.shape.length) throw new OnnxError(`axis ${given} of [${x.shape}]`)
    if (axis === x.shape.length - 1) return f(x)
    return reshape(f(reshape(x, [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))])), x.shape)
  }

const rectify: OpImporter = (node) => {
  const x = node.value(0)
  if (isKnown(x)) return mapKnown(x, (v) => Math.max(v, 0))
  return x.dtype === 'i32' ? max(x, 0) : relu(x)
}

/** Until opset 7 a slope for each channel is a plain vector. */
const prelu: OpImporter = (node) => {
  const [x, slope] = [node.expr(0), node.expr(1)]
  return leaky(x, node.opset < 7 && slope.shape.length === 1 && slope.shape[0] > 1 ? perChannel(slope, x) : slope)
}
const gaussian: OpImporter = (node) => (node.string('approximate', 'none') === 'tanh' ? geluTanh(node.expr(0)) : gelu(node.expr(0)))

/** asinh(x) = sign(x)·log(|x| + √(x²+1)), by log1p so that small x keep their digits. */
function asinh(x: Expr): Expr {
  const a = abs(x)
  const size = log1p(add(a, div(mul(a, a), add(sqrt(add(mul(a, a), 1)), 1))))
  return withDerivative(where(lt(x, 0), neg(size), size), [x], (dy) => [div(dy, sqrt(add(mul(x, x), 1)))])
}

const acosh = (x: Expr): Expr => log1p(add(sub(x, 1), sqrt(mul(sub(x, 1), add(x, 1)))))
const atanh = (x: Expr): Expr => mul(sub(log1p(x), log1p(neg(x))), 0.5)
const sinh = (x: Expr): Expr => {
  const y = mul(sub(expm1(x), expm1(neg(x))), 0.5)
  return withDerivative(y, [x], (dy) => [mul(dy, cosh(x))])
}
const cosh = (x: Expr): Expr => {
  const y = mul(add(exp(x), exp(neg(x))), 0.5)
  return withDerivative(y, [x], (dy) => [mul(dy, sinh(x))])
}
const tan = (x: Expr): Expr => div(sin(x), cos(x))

const shrink = (x: Expr, lambd: number, bias: number): Expr => where(lt(x, -lambd), add(x, bias), where(gt(x, lambd), sub(x, bias), 0))

const withAttributes =
  (f: (x: Expr, node: OpNode) => Expr): OpImporter =>
  (node) =>
    f(node.expr(0), node)

/** SELU's constants (Klambauer et al. 2017), as the standard rounds them. */
const [SELU_ALPHA, SELU_GAMMA] = [1.6732631921768188, 1.0507010221481323]

export const activations: OpTable = {
  Relu: rectify,
  Tanh: graphOnly(tanh),
  Sigmoid: graphOnly(sigmoid),
  Softplus: graphOnly(softplus),
  Erf: graphOnly(erf),
  Mish: graphOnly(mish),
  Gelu: gaussian,
  Swish: withAttributes((x, n) => swish(x, n.float('alpha', 1))),
  HardSwish: graphOnly((x) => mul(x, hardSigmoid(x, Math.fround(1 / 6), 0.5))),
  HardSigmoid: withAttributes((x, n) => hardSigmoid(x, n.float('alpha', 0.2), n.float('beta', 0.5))),
  Elu: withAttributes((x, n) => elu(x, n.float('alpha', 1))),
  Celu: withAttributes((x, n) => celu(x, n.float('alpha', 1))),
  Selu: withAttributes((x, n) => selu(x, n.float('alpha', SELU_ALPHA), n.float('gamma', SELU_GAMMA))),
  LeakyRelu: withAttributes((x, n) => leaky(x, n.float('alpha', 0.01))),
  PRelu: prelu,
  ThresholdedRelu: withAttributes((x, n) => where(gt(x, n.float('alpha', 1)), x, 0)),
  Softsign: graphOnly((x) => div(x, add(abs(x), 1))),
  Shrink: withAttributes((x, n) => shrink(cast(x, 'f32'), n.float('lambd', 0.5), n.float('bias', 0))),
  Softmax: overAxis(softmax),
  LogSoftmax: overAxis(logSoftmax),
  Sinh: graphOnly(sinh),
  Cosh: graphOnly(cosh),
  Tan: graphOnly(tan),
  Asinh: graphOnly(asinh),
  Acosh: graphOnly(acosh),
  Atanh: graphOnly(atanh),
}
