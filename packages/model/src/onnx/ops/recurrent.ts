// RNN, GRU and LSTM as ONNX states them: activations by name, initial states, peepholes, lengths of sequences, both layouts.

import type { Expr } from '@bitloom/graph'
import { type Activate, activation, type Direction, gru, lstm, type Recurrent, type RecurrentOptions, rnn } from '../../recurrent.ts'
import { permute, transpose } from '../../tensor.ts'
import { OnnxError } from '../decode.ts'
import type { OpNode, OpTable } from '../op.ts'

/** Activations that take numbers, each from the lists that the node gives, in order. */
const TAKES_ALPHA = ['affine', 'leakyrelu', 'thresholdedrelu', 'scaledtanh', 'hardsigmoid', 'elu']
const TAKES_BETA = ['affine', 'scaledtanh', 'hardsigmoid']

function activationsOf(node: OpNode): Activate[] {
  const [alphas, betas] = [[...node.floats('activation_alpha', [])], [...node.floats('activation_beta', [])]]
  return node.strings('activations', []).map((name) => {
    const kind = name.toLowerCase()
    return activation(name, TAKES_ALPHA.includes(kind) ? alphas.shift() : undefined, TAKES_BETA.includes(kind) ? betas.shift() : undefined)
  })
}

function optionsOf(node: OpNode, time: number): RecurrentOptions {
  const direction = node.string('direction', 'forward')
  if (!['forward', 'reverse', 'bidirectional'].includes(direction)) throw new OnnxError(`direction "${direction}"`)
  return {
    direction: direction as Direction,
    activations: activationsOf(node),
    ...(node.has('clip') ? { clip: node.float('clip') } : {}),
    ...lengthsOf(node, time),
  }
}

/** Lengths that are all the whole time are none. */
function lengthsOf(node: OpNode, time: number): { lengths?: Expr } {
  const given = node.inputs[4]
  if (!given) return {}
  const now = node.toKnown(given)
  return now?.values.every((n) => n === time) ? {} : { lengths: node.toExpr(given) }
}

/** Runs `f` over time-first tensors and gives the outputs in the node's layout. */
function layer(
  node: OpNode,
  f: (x: Expr, options: RecurrentOptions, state: (i: number) => Expr | undefined) => Recurrent,
): (Expr | undefined)[] {
  const batchFirst = node.int('layout', 0) === 1
  const turned = (e: Expr | undefined): Expr | undefined => (e && batchFirst ? transpose(e, 0, 1) : e)
  const x = turned(node.expr(0))!
  const { y, h, c } = f(x, optionsOf(node, x.shape[0]), (i) => turned(node.optional(i)))
  return [batchFirst ? permute(y, [2, 0, 1, 3]) : y, turned(h), turned(c)]
}

const weightsOf = (node: OpNode) => ({ w: node.expr(1), r: node.expr(2), b: node.optional(3) })

export const recurrent: OpTable = {
  RNN: (node) => layer(node, (x, options, state) => rnn(x, weightsOf(node), state(5), options)),
  GRU: (node) =>
    layer(node, (x, options, state) =>
      gru(x, weightsOf(node), state(5), { ...options, linearBeforeReset: node.int('linear_before_reset', 0) !== 0 }),
    ),
  LSTM: (node) =>
    layer(node, (x, options, state) =>
      lstm(x, weightsOf(node), state(5), state(6), { ...options, peepholes: node.optional(7), coupled: node.int('input_forget', 0) !== 0 }),
    ),
}
