// Elementwise operators on values: computed at once where everything is known (shape arithmetic), else written as exprs that broadcast.

import { type Expr, type Shape, sizeOf } from '@bitloom/graph'
import { broadcastShape } from '../../tensor.ts'
import { OnnxError } from '../error.ts'
import type { OpImporter, OpNode } from '../op.ts'
import { isKnown, type Kind, type Known, known, MAX_KNOWN, roundTo, type Value } from '../value.ts'

/** The flat index into `shape` of every element of the shape it is broadcast to. */
function broadcastIndex(shape: Shape, to: Shape): (i: number) => number {
  if (sizeOf(shape) === 1) return () => 0
  if (`${shape}` === `${to}`) return (i) => i
  const lead = to.length - shape.length
  return (i) => {
    let [at, stride, rest] = [0, 1, i]
    for (let axis = to.length - 1; axis >= lead; axis--) {
      const d = shape[axis - lead]
      const c = rest % to[axis]
      rest = Math.floor(rest / to[axis])
      if (d !== 1) at += c * stride
      stride *= d
    }
    return at
  }
}

/** The kind of an arithmetic result: a double only among doubles, as files that are right never mix. */
const join = (a: Known, b: Known): Kind =>
  a.known === 'f32' || b.known === 'f32' ? 'f32' : a.known === b.known ? a.known : a.known === 'f64' || b.known === 'f64' ? 'f64' : 'i64'

/** Known tensors combined element by element; `kind` of the result, by default that of the operands. */
export function zipKnown(a: Known, b: Known, f: (x: number, y: number) => number, kind: Kind = join(a, b)): Known {
  const shape = a.shape.includes(0) || b.shape.includes(0) ? emptyShape(a.shape, b.shape) : broadcastShape(a.shape, b.shape)
  const [ia, ib] = [broadcastIndex(a.shape, shape), broadcastIndex(b.shape, shape)]
  return known(
    kind,
    shape,
    Float64Array.from({ length: sizeOf(shape) }, (_, i) => roundTo(kind, f(a.values[ia(i)], b.values[ib(i)]))),
  )
}

/** Axes of size 0 stay 0 against 1. */
function emptyShape(a: Shape, b: Shape): number[] {
  const rank = Math.max(a.length, b.length)
  return Array.from({ length: rank }, (_, i) => {
    const [x, y] = [a[i - rank + a.length] ?? 1, b[i - rank + b.length] ?? 1]
    return x === 1 ? y : x
  })
}

/** A known tensor's elements one by one. */
export const mapKnown = (a: Known, f: (x: number) => number, kind: Kind = a.known): Known =>
  known(
    kind,
    a.shape,
    a.values.map((x) => roundTo(kind, f(x))),
  )

const MOST = MAX_KNOWN / 4

/** Both operands, if both are known and the result is small enough to be. */
function bothKnown(a: Value, b: Value): readonly [Known, Known] | undefined {
  if (!isKnown(a) || !isKnown(b)) return undefined
  if (a.shape.includes(0) || b.shape.includes(0)) return [a, b]
  return sizeOf(broadcastShape(a.shape, b.shape)) <= MOST ? [a, b] : undefined
}

/** Two values of one operator: on numbers where both are known, else on exprs. */
export function combine(
  node: OpNode,
  a: Value,
  b: Value,
  numbers: (x: number, y: number) => number,
  exprs: (a: Expr, b: Expr) => Expr,
  kind?: Kind,
): Value {
  const now = bothKnown(a, b)
  return now ? zipKnown(...now, numbers, kind) : exprs(node.toExpr(a), node.toExpr(b))
}

/** A binary operator. `numbers` is exact or rounds once (the result is then rounded to f32 where the operands are). */
export const binary =
  (numbers: (x: number, y: number) => number, exprs: (a: Expr, b: Expr) => Expr, kind?: Kind): OpImporter =>
  (node) => {
    if (node.opset < 7 && node.has('axis'))
      throw new OnnxError('it broadcasts along an axis of its own, as before opset 7\nExport with opset 17.')
    return combine(node, node.value(0), node.value(1), numbers, exprs, kind)
  }

/** A unary operator that numbers compute exactly or with one rounding. */
export const unary =
  (numbers: (x: number) => number, exprs: (x: Expr) => Expr, kind?: Kind): OpImporter =>
  (node) => {
    const x = node.value(0)
    return isKnown(x) ? mapKnown(x, numbers, kind) : exprs(node.toExpr(x))
  }

/** A function of exprs. */
export const graphOnly =
  (f: (x: Expr) => Expr): OpImporter =>
  (node) =>
    f(node.expr(0))
