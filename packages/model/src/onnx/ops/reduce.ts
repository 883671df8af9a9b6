// Operators that fold axes away: sums, means, norms, products, largest and smallest.

import { type Expr, sizeOf } from '@bitloom/graph'
import { stopGradient, withDerivative } from '../../derivative.ts'
import { exp, log } from '../../math.ts'
import {
  abs,
  add,
  axisOf,
  broadcastTo,
  concat,
  div,
  eq,
  LONG,
  max,
  maxOver,
  min,
  minOver,
  mul,
  pad,
  permute,
  reshape,
  slice,
  sqrt,
  sub,
  sum,
  where,
} from '../../tensor.ts'
import { OnnxError } from '../error.ts'
import type { OpImporter, OpNode, OpTable } from '../op.ts'
import { isFloat, isKnown } from '../value.ts'
import { foldKnown, reshapeKnown } from './known-movement.ts'

/** The folded axes as one last axis: [kept.., n]. */
function gathered(x: Expr, axes: readonly number[]): Expr {
  const kept = x.shape.map((_, i) => i).filter((i) => !axes.includes(i))
  return reshape(permute(x, [...kept, ...axes]), [...kept.map((i) => x.shape[i]), axes.reduce((n, a) => n * x.shape[a], 1)])
}

const keptShape = (x: Expr, axes: readonly number[], keep: boolean): number[] =>
  x.shape.flatMap((d, i) => (axes.includes(i) ? (keep ? [1] : []) : [d]))

/**
 * The sum over axes (ascending). More than `LONG` terms are folded in two stages, rows then totals, so that rounding errors grow with √n instead of n
 * (as `total` of tensor.ts).
 */
export function sumOver(x: Expr, axes: readonly number[], keep: boolean): Expr {
  const n = axes.reduce((p, a) => p * x.shape[a], 1)
  if (axes.length === 0) return x
  if (n <= LONG || x.dtype === 'i32') return reshape(sum(x, axes), keptShape(x, axes, keep))
  const rows = gathered(x, axes)
  const width = Math.ceil(Math.sqrt(n))
  const count = Math.ceil(n / width)
  const kept = rows.shape.slice(0, -1)
  const flat = reshape(rows, [sizeOf(kept), n])
  const apart = reshape(pad(flat, [0, 0], [0, count * width - n]), [sizeOf(kept), count, width])
  return reshape(sum(sum(apart, 2), 1), keptShape(x, axes, keep))
}

/** Folds axes by pairs of halves: log2(n) rounds of any associative operator, whose gradient is its own. */
function paired(x: Expr, axes: readonly number[], keep: boolean, f: (a: Expr, b: Expr) => Expr): Expr {
  if (axes.length === 0) return x
  let rows = gathered(x, axes)
  while (rows.shape[rows.shape.length - 1] > 1) {
    const n = rows.shape[rows.shape.length - 1]
    const half = Math.floor(n / 2)
    const both = f(slice(rows, -1, 0, half), slice(rows, -1, half, 2 * half))
    rows = n % 2 === 0 ? both : joinLast(both, slice(rows, -1, n - 1, n), f)
  }
  return reshape(rows, keptShape(x, axes, keep))
}

/** An odd entry joins the first of the rest. */
function joinLast(rows: Expr, odd: Expr, f: (a: Expr, b: Expr) => Expr): Expr {
  const n = rows.shape[rows.shape.length - 1]
  const first = f(slice(rows, -1, 0, 1), odd)
  return n === 1 ? first : concat([first, slice(rows, -1, 1, n)], -1)
}

export const mostOver = (x: Expr, axes: readonly number[], keep: boolean): Expr =>
  x.dtype === 'f32' ? maxOver(x, axes, keep) : paired(x, axes, keep, max)
export const leastOver = (x: Expr, axes: readonly number[], keep: boolean): Expr =>
  x.dtype === 'f32' ? minOver(x, axes, keep) : paired(x, axes, keep, min)
export const productOver = (x: Expr, axes: readonly number[], keep: boolean): Expr => paired(x, axes, keep, mul)

const count = (x: Expr, axes: readonly number[]): number => axes.reduce((n, a) => n * x.shape[a], 1)

export const meanOver = (x: Expr, axes: readonly number[], keep: boolean): Expr => div(sumOver(x, axes, keep), count(x, axes))

/** √Σx²; gradient 0 where it is 0, as torch.norm. */
function norm2(x: Expr, axes: readonly number[], keep: boolean): Expr {
  const y = sqrt(sumOver(mul(x, x), axes, keep))
  const lifted = x.shape.map((d, i) => (axes.includes(i) ? 1 : d))
  return withDerivative(y, [x], (dy) => {
    const factor = reshape(where(eq(y, 0), 0, div(dy, y)), lifted)
    return [mul(broadcastTo(factor, x.shape), x)]
  })
}

/** log Σ eˣ, the largest entry taken out first. */
function logSumExp(x: Expr, axes: readonly number[], keep: boolean): Expr {
  const top = stopGradient(maxOver(x, axes, true))
  const shift = where(eq(abs(top), Number.POSITIVE_INFINITY), 0, top)
  const y = add(log(sumOver(exp(sub(x, shift)), axes, true)), shift)
  return reshape(y, keptShape(x, axes, keep))
}

type Fold = (x: Expr, axes: readonly number[], keep: boolean) => Expr

/** Axes from input 1 (opset 18; of ReduceSum 13) or an attribute; none means all, or with `noop_with_empty_axes` nothing. */
export function foldAxes(node: OpNode): number[] | undefined {
  const rank = node.shape(0).length
  const given = node.listAt(1, 'axes')
  if (!given || given.length === 0) return node.int('noop_with_empty_axes', 0) === 1 ? undefined : Array.from({ length: rank }, (_, i) => i)
  const axes = [...new Set(given.map((a) => axisOf(node.shape(0), a)))].sort((a, b) => a - b)
  if (axes.length !== given.length) throw new OnnxError(`axes [${given}] name one twice`)
  return axes
}

const folding =
  (
    f: Fold,
    numbers?: { readonly start: number; readonly step: (acc: number, x: number) => number },
    alone: (x: Expr) => Expr = (x) => x,
  ): OpImporter =>
  (node) => {
    const x = node.value(0)
    const axes = foldAxes(node)
    const keep = node.int('keepdims', 1) === 1
    if (axes === undefined) return alone(node.expr(0))
    if (isKnown(x) && !isFloat(x) && numbers) {
      const all = foldKnown(x, axes, numbers.start, numbers.step)
      return keep
        ? all
        : reshapeKnown(
            all,
            x.shape.filter((_, i) => !axes.includes(i)),
          )
    }
    return f(node.expr(0), axes, keep)
  }

const square = (x: Expr): Expr => mul(x, x)

export const reductions: OpTable = {
  ReduceSum: folding(sumOver, { start: 0, step: (a, b) => a + b }),
  ReduceMean: folding(meanOver),
  ReduceMax: folding(mostOver, { start: Number.NEGATIVE_INFINITY, step: Math.max }),
  ReduceMin: folding(leastOver, { start: Number.POSITIVE_INFINITY, step: Math.min }),
  ReduceProd: folding(productOver, { start: 1, step: (a, b) => a * b }),
  ReduceL1: folding((x, axes, keep) => sumOver(abs(x), axes, keep), undefined, abs),
  ReduceL2: folding(norm2, undefined, abs),
  ReduceSumSquare: folding((x, axes, keep) => sumOver(square(x), axes, keep), undefined, square),
  ReduceLogSum: folding((x, axes, keep) => log(sumOver(x, axes, keep)), undefined, log),
  ReduceLogSumExp: folding(logSumExp),
}
