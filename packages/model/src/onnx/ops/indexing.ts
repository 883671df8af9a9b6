// Operators that pick and place by number: gathers, scatters, one-hot tables, largest entries.

import { type Expr, sizeOf } from '@bitloom/graph'
import { stopGradient } from '../../derivative.ts'
import {
  add,
  and,
  argmax,
  axisOf,
  broadcastTo,
  cast,
  concat,
  eq,
  flip,
  full,
  gather,
  iota,
  lt,
  mul,
  or,
  reshape,
  sar,
  scatterAdd,
  shl,
  slice,
  sub,
  sum,
  transpose,
  unsqueeze,
  where,
} from '../../tensor.ts'
import { OnnxError } from '../error.ts'
import type { OpImporter, OpNode, OpTable } from '../op.ts'
import { isKnown, known } from '../value.ts'
import { gatherKnown, sliceKnown } from './known-movement.ts'
import { leastOver, mostOver } from './reduce.ts'
import { elementPlaces, fromFront, takeAlong, tuplePlaces } from './rows.ts'

const gatherRows: OpImporter = (node) => {
  const [x, given] = [node.value(0), node.value(1)]
  const axis = axisOf(x.shape, node.int('axis', 0))
  const index = node.toKnown(given)
  if (isKnown(x) && index) return gatherKnown(x, index, axis)
  const e = node.toExpr(x)
  if (!index) return takeAlong(e, fromFront(node.toExpr(given), e.shape[axis]), axis)
  // one row, or rows side by side, are a slice
  const rows = [...index.values].map((i) => (i < 0 ? i + e.shape[axis] : i))
  for (const r of rows) if (!(r >= 0 && r < e.shape[axis])) throw new OnnxError(`index ${r} of axis ${axis} of [${e.shape}]`)
  const shape = [...e.shape.slice(0, axis), ...index.shape, ...e.shape.slice(axis + 1)]
  if (rows.length > 0 && rows.every((r, i) => r === rows[0] + i)) return reshape(slice(e, axis, rows[0], rows[0] + rows.length), shape)
  return takeAlong(e, node.toExpr(known('i64', index.shape, rows)), axis)
}

const gatherElements: OpImporter = (node) => {
  const [x, index] = [node.expr(0), node.expr(1)]
  if (index.shape.length !== x.shape.length) throw new OnnxError(`[${x.shape}] by [${index.shape}]: ranks differ`)
  const axis = axisOf(x.shape, node.int('axis', 0))
  return gather(reshape(x, [sizeOf(x.shape)]), elementPlaces(x.shape, index, axis))
}

/** Batch axes in front become a coordinate of each tuple. */
function withBatch(tuples: Expr, batch: number): Expr {
  if (batch === 0) return tuples
  const lead = tuples.shape.slice(0, -1)
  const coordinates = Array.from({ length: batch }, (_, axis) => reshape(iota(lead, axis), [...lead, 1]))
  return concat([...coordinates, tuples], -1)
}

const gatherTuples: OpImporter = (node) => {
  const [x, given] = [node.expr(0), node.expr(1)]
  const tuples = withBatch(given, node.int('batch_dims', 0))
  const depth = tuples.shape[tuples.shape.length - 1]
  if (depth > x.shape.length) throw new OnnxError(`tuples of ${depth} into [${x.shape}]`)
  const { places, rows } = tuplePlaces(x.shape, tuples)
  const rest = x.shape.slice(depth)
  return reshape(gather(reshape(x, [rows, ...rest]), places), [...tuples.shape.slice(0, -1), ...rest])
}

/** What is placed at rows nobody else writes, and 1 where something was: f32 by one scatter, i32 by two halves, each exact. */
function placedRows(updates: Expr, places: Expr, rows: number): { readonly placed: Expr; readonly hit: Expr } {
  const marks = scatterAdd(full([updates.shape[0]], 1), places, rows)
  const hit = lt(0, marks)
  const put = (e: Expr): Expr => scatterAdd(e, places, rows)
  const placed =
    updates.dtype === 'f32'
      ? put(updates)
      : or(shl(cast(put(cast(sar(updates, 16), 'f32')), 'i32'), 16), cast(put(cast(and(updates, 0xffff), 'f32')), 'i32'))
  return { placed, hit }
}

/** Rows written over or added to; where two updates meet without `add`, ONNX leaves the result open and so does this. */
function scattered(node: OpNode, x: Expr, updates: Expr, places: Expr): Expr {
  const reduction = node.string('reduction', 'none')
  const rows = x.shape[0]
  if (reduction === 'add')
    return add(x, x.dtype === 'f32' ? scatterAdd(updates, places, rows) : cast(scatterAdd(cast(updates, 'f32'), places, rows), 'i32'))
  if (reduction !== 'none') throw new OnnxError(`reduction "${reduction}" is not supported; "none" and "add" are`)
  const { placed, hit } = placedRows(updates, places, rows)
  return where(reshape(hit, [rows, ...new Array<number>(x.shape.length - 1).fill(1)]), placed, x)
}

const scatterElements: OpImporter = (node) => {
  const [x, index, updates] = [node.expr(0), node.expr(1), node.expr(2)]
  const axis = axisOf(x.shape, node.int('axis', 0))
  const n = sizeOf(index.shape)
  const places = reshape(elementPlaces(x.shape, index, axis), [n])
  return reshape(scattered(node, reshape(x, [sizeOf(x.shape)]), reshape(updates, [n]), places), x.shape)
}

const scatterTuples: OpImporter = (node) => {
  const [x, tuples, updates] = [node.expr(0), node.expr(1), node.expr(2)]
  const { places, rows } = tuplePlaces(x.shape, tuples)
  const rest = x.shape.slice(tuples.shape[tuples.shape.length - 1])
  const flat = reshape(updates, [sizeOf(tuples.shape.slice(0, -1)), ...rest])
  return reshape(scattered(node, reshape(x, [rows, ...rest]), flat, places), x.shape)
}

const oneHot: OpImporter = (node) => {
  const index = node.expr(0)
  const depth = Math.trunc(node.known(1).values[0])
  const rank = index.shape.length + 1
  const axis = axisOf(new Array<number>(rank).fill(1), node.int('axis', -1))
  const shape = index.shape.toSpliced(axis, 0, depth)
  const number = fromFront(cast(index, 'i32'), depth)
  const hit = eq(iota(shape, axis), broadcastTo(unsqueeze(number, axis), shape))
  const [off, on] = [0, 1].map((i): Expr => {
    const pair = node.value(2)
    const value = isKnown(pair) ? sliceKnown(pair, 0, i, 1, 1) : slice(pair, 0, i, i + 1)
    return reshape(node.toExpr(value), [])
  })
  return where(hit, on, off)
}

/** Place of the first (or last) largest along an axis. */
function placeOfMost(x: Expr, axis: number, last: boolean): Expr {
  const n = x.shape[axis]
  if (last) return sub(n - 1, placeOfMost(flip(x, axis), axis, false))
  if (x.dtype === 'f32') return argmax(x, axis)
  const most = mostOver(x, [axis], true)
  return leastOver(where(eq(x, most), iota(x.shape, axis), n), [axis], false)
}

const argOf =
  (most: boolean): OpImporter =>
  (node) => {
    const x = node.expr(0)
    const axis = axisOf(x.shape, node.int('axis', 0))
    const at = placeOfMost(most ? x : x.dtype === 'f32' ? sub(0, x) : sub(-1, x), axis, node.int('select_last_index', 0) === 1)
    return node.int('keepdims', 1) === 1 ? unsqueeze(at, axis) : at
  }

/** Above this many entries along the axis every pair is not compared any more. */
const PAIRS = 4096
const PICKS = 64

/** Places of the k largest along the last axis, largest first, of equal ones the first: [.., k]. */
function topPlaces(x: Expr, k: number): Expr {
  const n = x.shape[x.shape.length - 1]
  if (n <= PAIRS) {
    // an entry's rank is the number of those that go before it
    const pairs = [...x.shape, n]
    const [self, other] = [broadcastTo(unsqueeze(x, -1), pairs), broadcastTo(unsqueeze(x, -2), pairs)]
    const [i, j] = [iota(pairs, -2), iota(pairs, -1)]
    const before = or(lt(self, other), and(eq(self, other), lt(j, i)))
    const rank = sum(before, -1)
    const places = [...x.shape.slice(0, -1), k, n]
    const chosen = eq(broadcastTo(unsqueeze(rank, -2), places), iota(places, -2))
    return sum(mul(chosen, iota(places, -1)), -1)
  }
  if (k > PICKS || x.dtype !== 'f32')
    throw new OnnxError(`the ${k} largest of ${n} (${x.dtype}): at most ${PAIRS} entries, or ${PICKS} largest of f32`)
  let rest = x
  const picks: Expr[] = []
  for (let i = 0; i < k; i++) {
    const at = argmax(rest, -1)
    picks.push(unsqueeze(at, -1))
    rest = where(eq(iota(x.shape, -1), broadcastTo(unsqueeze(at, -1), x.shape)), Number.NEGATIVE_INFINITY, rest)
  }
  return concat(picks, -1)
}

const topK: OpImporter = (node) => {
  const x = node.expr(0)
  const axis = axisOf(x.shape, node.int('axis', -1))
  const k = node.inputs[1] ? node.known(1).values[0] : node.int('k')
  if (!Number.isInteger(k) || k < 1 || k > x.shape[axis]) throw new OnnxError(`the ${k} largest of [${x.shape}] along axis ${axis}`)
  const last = transpose(x, axis, -1)
  const key = node.int('largest', 1) === 1 ? last : last.dtype === 'f32' ? sub(0, last) : sub(-1, last)
  const places = topPlaces(stopGradient(key), k)
  const values = gather(reshape(last, [sizeOf(last.shape)]), elementPlaces(last.shape, places, last.shape.length - 1))
  return [transpose(values, axis, -1), transpose(places, axis, -1)]
}

/** Running sums along an axis in log2(n) rounds: each adds what lies twice as far back. */
function runningSum(x: Expr, axis: number): Expr {
  const d = x.shape[axis]
  let y = x
  for (let by = 1; by < d; by *= 2) y = add(y, shifted(y, axis, by))
  return y
}

/** Moved `by` places towards the end of an axis, zeros first. */
function shifted(x: Expr, axis: number, by: number): Expr {
  const d = x.shape[axis]
  if (by >= d) return full(x.shape, 0, x.dtype)
  return concat([full(x.shape.with(axis, by), 0, x.dtype), slice(x, axis, 0, d - by)], axis)
}

const cumSum: OpImporter = (node) => {
  const x = node.expr(0)
  const axis = axisOf(x.shape, node.known(1).values[0])
  const reverse = node.int('reverse', 0) === 1
  const forward = reverse ? flip(x, axis) : x
  const total = runningSum(node.int('exclusive', 0) === 1 ? shifted(forward, axis, 1) : forward, axis)
  return reverse ? flip(total, axis) : total
}

/** Rows where a mask known now is not 0. */
const compress: OpImporter = (node) => {
  const [x, mask] = [node.expr(0), node.known(1)]
  const rows = [...mask.values.keys()].filter((i) => mask.values[i] !== 0)
  if (rows.length === 0) throw new OnnxError('nothing is left, and a tensor without elements has no place in a graph')
  if (!node.has('axis')) return takeAlong(reshape(x, [sizeOf(x.shape)]), rows, 0)
  return takeAlong(x, rows, node.int('axis'))
}

const hardmax: OpImporter = (node) => {
  const x = node.expr(0)
  const axis = axisOf(x.shape, node.int('axis', -1))
  return cast(eq(iota(x.shape, axis), broadcastTo(unsqueeze(argmax(x, axis), axis), x.shape)), 'f32')
}

export const indexing: OpTable = {
  Gather: gatherRows,
  GatherElements: gatherElements,
  GatherND: gatherTuples,
  ScatterElements: scatterElements,
  Scatter: scatterElements,
  ScatterND: scatterTuples,
  OneHot: oneHot,
  ArgMax: argOf(true),
  ArgMin: argOf(false),
  TopK: topK,
  CumSum: cumSum,
  Compress: compress,
  Hardmax: hardmax,
}
