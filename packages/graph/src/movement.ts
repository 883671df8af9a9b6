// Where an element of a movement op comes from: one rule for the interpreter and for disputes. Twin: Scalar.sol `source`.

import type { GraphExpr } from './graph.ts'
import { ravel, type Shape, unravel } from './shape.ts'

/** Element `index` of operand `operand`, or the pad's fill. */
export type Source = { readonly operand: number; readonly index: number } | 'fill'

/**
 * The element that element `index` of a movement op's result copies.
 * @param operands shapes of the op's operands
 */
export function sourceOf(e: Pick<GraphExpr, 'op' | 'attrs' | 'shape'>, operands: readonly Shape[], index: number): Source {
  const from = operands[0]!
  if (e.op === 'reshape') return { operand: 0, index }
  const at = unravel(index, e.shape)
  const rank = from.length
  const { attrs } = e
  switch (e.op) {
    case 'permute': {
      const source = new Array<number>(rank)
      attrs.forEach((p, axis) => {
        source[p] = at[axis]!
      })
      return { operand: 0, index: ravel(source, from) }
    }
    case 'expand':
      return {
        operand: 0,
        index: ravel(
          at.map((i, axis) => (from[axis] === 1 ? 0 : i)),
          from,
        ),
      }
    case 'slice':
      return {
        operand: 0,
        index: ravel(
          at.map((i, axis) => attrs[axis]! + i * attrs[rank + axis]!),
          from,
        ),
      }
    case 'pad': {
      const source: number[] = []
      for (let axis = 0; axis < rank; axis++) {
        const i = at[axis]! - attrs[axis]!
        const step = attrs[2 * rank + axis]! + 1
        if (i < 0 || i % step !== 0 || i / step >= from[axis]!) return 'fill'
        source.push(i / step)
      }
      return { operand: 0, index: ravel(source, from) }
    }
    case 'concat': {
      const axis = attrs[0]!
      let operand = 0
      while (at[axis]! >= operands[operand]![axis]!) {
        at[axis]! -= operands[operand]![axis]!
        operand++
      }
      return { operand, index: ravel(at, operands[operand]!) }
    }
    case 'window': {
      const [axis, , stride, dilation] = attrs as readonly [number, number, number, number]
      const [k] = at.splice(axis + 1, 1)
      at[axis] = at[axis]! * stride + k! * dilation
      return { operand: 0, index: ravel(at, from) }
    }
    default:
      throw new TypeError(`${e.op} moves nothing`)
  }
}
