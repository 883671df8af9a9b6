// Convolutions and pools as ONNX states them, opsets 1 to 22.

import type { Expr } from '@bitloom/graph'
import { convolve, convolveTranspose, perChannel } from '../../conv.ts'
import { averagePool, globalAveragePool, globalLpPool, globalMaxPool, lpPool, maxPool, maxPoolIndices } from '../../pool.ts'
import type { AutoPad, SpatialOptions } from '../../spatial.ts'
import { add, cast } from '../../tensor.ts'
import { OnnxError } from '../decode.ts'
import type { OpNode, OpTable } from '../op.ts'

const AUTO_PADS: readonly string[] = ['NOTSET', 'VALID', 'SAME_UPPER', 'SAME_LOWER'] satisfies AutoPad[]

function autoPadOf(node: OpNode): AutoPad {
  const autoPad = node.string('auto_pad', 'NOTSET') || 'NOTSET'
  if (!AUTO_PADS.includes(autoPad)) throw new OnnxError(`auto_pad "${autoPad}" is none of ${AUTO_PADS.join(', ')}`)
  return autoPad as AutoPad
}

/** Strides, dilations, pads and rounding, of as many spatial axes as input 0 has. */
function spatialOptions(node: OpNode): SpatialOptions {
  const axes = node.shape(0).slice(2)
  return {
    strides: node.ints(
      'strides',
      axes.map(() => 1),
    ),
    dilations: node.ints(
      'dilations',
      axes.map(() => 1),
    ),
    pads: node.ints(
      'pads',
      axes.flatMap(() => [0, 0]),
    ),
    autoPad: autoPadOf(node),
    ceilMode: node.int('ceil_mode', 0) !== 0,
  }
}

function biased(y: Expr, bias: Expr | undefined): Expr {
  return bias ? add(y, perChannel(bias, y)) : y
}

/** Convolutions name the kernel's shape again; it is the weight's. */
function checkKernel(node: OpNode): void {
  const kernel = node.shape(1).slice(2)
  if (node.has('kernel_shape') && `${node.ints('kernel_shape')}` !== `${kernel}`)
    throw new OnnxError(`kernel_shape [${node.ints('kernel_shape')}], but the weight is [${node.shape(1)}]`)
}

const pool = (f: (x: Expr, kernel: readonly number[], node: OpNode) => Expr) => (node: OpNode) =>
  f(node.expr(0), node.ints('kernel_shape'), node)

/** Integers are pooled as floats, which hold those below 2^24 exactly. */
const ofFloats =
  (f: (x: Expr) => Expr) =>
  (x: Expr): Expr =>
    cast(f(cast(x, 'f32')), x.dtype === 'i32' ? 'i32' : 'f32')

export const convolutions: OpTable = {
  Conv: (node) => {
    checkKernel(node)
    const y = convolve(node.expr(0), node.expr(1), { ...spatialOptions(node), groups: node.int('group', 1) })
    return biased(y, node.optional(2))
  },
  ConvTranspose: (node) => {
    checkKernel(node)
    const y = convolveTranspose(node.expr(0), node.expr(1), {
      ...spatialOptions(node),
      groups: node.int('group', 1),
      ...(node.has('output_padding') ? { outputPadding: node.ints('output_padding') } : {}),
      ...(node.has('output_shape') ? { outputShape: node.ints('output_shape') } : {}),
    })
    return biased(y, node.optional(2))
  },
  MaxPool: (node) => {
    const [x, kernel, options] = [node.expr(0), node.ints('kernel_shape'), spatialOptions(node)]
    const y = ofFloats((v) => maxPool(v, kernel, options))(x)
    return node.wants(1) ? [y, maxPoolIndices(cast(x, 'f32'), kernel, options, node.int('storage_order', 0) !== 0)] : y
  },
  AveragePool: pool((x, kernel, node) =>
    averagePool(x, kernel, { ...spatialOptions(node), countBorder: node.int('count_include_pad', 0) !== 0 }),
  ),
  LpPool: pool((x, kernel, node) => lpPool(x, kernel, node.int('p', 2), spatialOptions(node))),
  GlobalAveragePool: (node) => globalAveragePool(node.expr(0)),
  GlobalMaxPool: (node) => globalMaxPool(node.expr(0)),
  GlobalLpPool: (node) => globalLpPool(node.expr(0), node.int('p', 2)),
}
