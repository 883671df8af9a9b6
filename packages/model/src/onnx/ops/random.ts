// Operators that draw: from the task's own randomness, counted by the step, so that a drawing can be disputed like a product.

import { type Expr, sizeOf } from '@bitloom/graph'
import { dropoutMask, normal, uniform } from '../../random.ts'
import { add, cast, full, lt, mul, ne } from '../../tensor.ts'
import { OnnxError } from '../error.ts'
import type { OpImporter, OpNode, OpTable } from '../op.ts'
import { isFloat, known, type Value } from '../value.ts'
import { shapeFrom } from './constants.ts'

/** What a node keeps everything of: the value, and a mask of ones where one is asked for. */
const kept = (node: OpNode): (Value | undefined)[] => {
  const x = node.value(0)
  return [
    x,
    node.wants(1)
      ? sizeOf(x.shape) < 2 ** 16
        ? known('bool', x.shape, new Float64Array(sizeOf(x.shape)).fill(1))
        : full(x.shape, 1, 'i32')
      : undefined,
  ]
}

/**
 * Zeroes elements with probability `ratio` and scales the others by 1/(1 - ratio). Since opset 12 the file says whether it trains; before, the operator in a
 * file means that the exporter was asked for training.
 */
const dropout: OpImporter = (node) => {
  const ratio = node.inputs[1] ? node.known(1).values[0] : node.float('ratio', 0.5)
  const trains = node.opset >= 12 ? (node.knownOptional(2)?.values[0] ?? 0) !== 0 : true
  if (!(ratio >= 0 && ratio <= 1)) throw new OnnxError(`a dropout of ${ratio}`)
  if (!node.training || !trains || ratio === 0) return kept(node)
  const x = node.expr(0)
  if (ratio === 1) return [full(x.shape, 0), full(x.shape, 0, 'i32')]
  const { key, step } = node.random()
  const mask = dropoutMask(key, x.shape, ratio, step)
  return [mul(x, mask), node.wants(1) ? ne(mask, 0) : undefined]
}

const uniformOf = (node: OpNode, shape: readonly number[]): Expr => {
  const { key, step } = node.random()
  const [low, high] = [node.float('low', 0), node.float('high', 1)]
  return add(mul(uniform(key, shape, step), high - low), low)
}
const normalOf = (node: OpNode, shape: readonly number[]): Expr => {
  const { key, step } = node.random()
  return add(mul(normal(key, shape, step), node.float('scale', 1)), node.float('mean', 0))
}

const bernoulli: OpImporter = (node) => {
  const p = node.expr(0)
  const { key, step } = node.random()
  const drawn = lt(uniform(key, p.shape, step), p)
  return isFloat(p) && !node.has('dtype') ? cast(drawn, 'f32') : node.int('dtype', 1) === 1 ? cast(drawn, 'f32') : drawn
}

export const randoms: OpTable = {
  Dropout: dropout,
  RandomUniform: (node) => uniformOf(node, shapeFrom(node.ints('shape'))),
  RandomUniformLike: (node) => uniformOf(node, node.shape(0)),
  RandomNormal: (node) => normalOf(node, shapeFrom(node.ints('shape'))),
  RandomNormalLike: (node) => normalOf(node, node.shape(0)),
  Bernoulli: bernoulli,
}
