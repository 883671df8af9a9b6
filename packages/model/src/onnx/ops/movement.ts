// Operators that only move elements: reshapes, transposes, slices, joins, borders.

import { type Expr, type Shape, sizeOf } from '@bitloom/graph'
import {
  add,
  axisOf,
  broadcastShape,
  broadcastTo,
  concat,
  flip,
  iota,
  le,
  pad,
  permute,
  range,
  reshape,
  slice,
  sub,
  where,
} from '../../tensor.ts'
import { OnnxError } from '../error.ts'
import type { OpImporter, OpNode, OpTable } from '../op.ts'
import { isKnown, knownInts, type Value } from '../value.ts'
import { shapeFrom } from './constants.ts'
import { concatKnown, expandKnown, gatherKnown, permuteKnown, reshapeKnown, sliceKnown } from './known-movement.ts'
import { takeAlong } from './rows.ts'

/** A value in another shape of the same size. */
function shaped(v: Value, shape: Shape): Value {
  if (sizeOf(v.shape) !== sizeOf(shape)) throw new OnnxError(`[${v.shape}] to [${shape}]: sizes differ`)
  return isKnown(v) ? reshapeKnown(v, shape) : reshape(v, shape)
}

const reshapeTo: OpImporter = (node) => {
  const x = node.value(0)
  const target = node.listAt(1, 'shape')
  if (!target) throw new OnnxError('the shape is missing')
  const keeps = node.int('allowzero', 0) === 0
  const copied = target.map((d, i) => (d === 0 && keeps ? (x.shape[i] ?? 0) : d))
  const open = copied.indexOf(-1)
  if (open < 0) return shaped(x, shapeFrom(copied))
  const rest = sizeOf(copied.toSpliced(open, 1))
  const size = rest === 0 ? 0 : sizeOf(x.shape) / rest
  if (!Number.isInteger(size)) throw new OnnxError(`[${x.shape}] to [${target}]: sizes differ`)
  return shaped(x, shapeFrom(copied.with(open, size)))
}

/** Axes of a shape of this rank, from the front, in ascending order. */
function axesOf(axes: readonly number[], rank: number): number[] {
  const like = new Array<number>(rank).fill(1)
  const from = axes.map((a) => axisOf(like, a))
  if (new Set(from).size !== from.length) throw new OnnxError(`axes [${axes}] name one twice`)
  return from.sort((a, b) => a - b)
}

const squeezeAxes: OpImporter = (node) => {
  const x = node.value(0)
  const given = node.listAt(1, 'axes')
  const axes = given ? axesOf(given, x.shape.length) : x.shape.flatMap((d, i) => (d === 1 ? [i] : []))
  for (const a of axes) if (x.shape[a] !== 1) throw new OnnxError(`axis ${a} of [${x.shape}] is not 1`)
  return shaped(
    x,
    x.shape.filter((_, i) => !axes.includes(i)),
  )
}

const unsqueezeAxes: OpImporter = (node) => {
  const x = node.value(0)
  const given = node.listAt(1, 'axes') ?? []
  const rank = x.shape.length + given.length
  const shape = [...x.shape]
  for (const a of axesOf(given, rank)) shape.splice(a, 0, 1)
  return shaped(x, shape)
}

const flatten: OpImporter = (node) => {
  const x = node.value(0)
  const axis = node.int('axis', 1)
  const at = axis < 0 ? axis + x.shape.length : axis
  if (at < 0 || at > x.shape.length) throw new OnnxError(`axis ${axis} of [${x.shape}]`)
  return shaped(x, [sizeOf(x.shape.slice(0, at)), sizeOf(x.shape.slice(at))])
}

const transposeAxes: OpImporter = (node) => {
  const x = node.value(0)
  const perm = node.ints('perm', x.shape.map((_, i) => i).reverse())
  if (axesOf(perm, x.shape.length).length !== x.shape.length) throw new OnnxError(`[${perm}] is no permutation of [${x.shape}]`)
  return isKnown(x) ? permuteKnown(x, perm) : permute(x, perm)
}

const expandTo: OpImporter = (node) => {
  const x = node.value(0)
  const target = shapeFrom(node.knownInts(1))
  const shape = [...target, ...x.shape].includes(0) ? target : broadcastShape(x.shape, target)
  if (isKnown(x) && sizeOf(shape) <= 2 ** 16) return expandKnown(x, shape)
  return broadcastTo(node.toExpr(x), shape)
}

/** Values one after the other; tensors without elements add nothing. */
function joined(node: OpNode, values: readonly Value[], axis: number): Value {
  if (values.every(isKnown)) return concatKnown(values, axis)
  return concat(
    values.filter((v) => sizeOf(v.shape) > 0).map((v) => node.toExpr(v)),
    axis,
  )
}

const concatenate: OpImporter = (node) => {
  const values = node.inputs.map((_, i) => node.value(i))
  if (values.length === 0) throw new OnnxError('it has no inputs')
  const axis = axisOf(values[0].shape, node.int('axis'))
  for (const v of values)
    if (v.shape.length !== values[0].shape.length || v.shape.some((d, i) => i !== axis && d !== values[0].shape[i]))
      throw new OnnxError(`[${values[0].shape}] and [${v.shape}] along axis ${axis}`)
  return joined(node, values, axis)
}

/** `count` elements of one axis from `start` by `step`, already inside. */
function cut(node: OpNode, v: Value, axis: number, start: number, count: number, step: number): Value {
  if (start === 0 && step === 1 && count === v.shape[axis]) return v
  if (isKnown(v)) return sliceKnown(v, axis, start, count, step)
  if (count < 1) throw new OnnxError(`axis ${axis} of [${v.shape}]: nothing is left, and a tensor without elements has no place in a graph`)
  const stop = start + count * step
  return slice(node.toExpr(v), axis, start, step < 0 && stop < 0 ? -v.shape[axis] - 1 : stop, step)
}

const sliceAxes: OpImporter = (node) => {
  let x = node.value(0)
  const [starts, ends] = [node.listAt(1, 'starts'), node.listAt(2, 'ends')]
  if (!starts || !ends || starts.length !== ends.length) throw new OnnxError('starts and ends are missing or differ in number')
  const axes = node.listAt(3, 'axes') ?? starts.map((_, i) => i)
  const steps = node.listAt(4, 'steps') ?? starts.map(() => 1)
  if (axes.length !== starts.length || steps.length !== starts.length)
    throw new OnnxError(`${starts.length} starts, ${axes.length} axes, ${steps.length} steps`)
  axes.forEach((a, i) => {
    const axis = axisOf(x.shape, a)
    const [d, step] = [x.shape[axis], steps[i]]
    if (!Number.isInteger(step) || step === 0) throw new OnnxError(`a step of ${step}`)
    const from = (p: number): number => (p < 0 ? p + d : p)
    const [low, high] = step > 0 ? [0, d] : [-1, d - 1]
    const start = Math.max(step > 0 ? 0 : -1, Math.min(high, from(starts[i])))
    const end = Math.max(low, Math.min(high, from(ends[i])))
    x = cut(node, x, axis, start, Math.max(0, Math.ceil((end - start) / step)), step)
  })
  return x
}

const split: OpImporter = (node) => {
  const x = node.value(0)
  const axis = axisOf(x.shape, node.int('axis', 0))
  const d = x.shape[axis]
  const chunk = Math.ceil(d / node.outputs)
  const sizes = node.listAt(1, 'split') ?? Array.from({ length: node.outputs }, (_, i) => Math.max(0, Math.min(chunk, d - i * chunk)))
  if (sizes.reduce((n, s) => n + s, 0) !== d) throw new OnnxError(`axis ${axis} of [${x.shape}] in parts of ${sizes}`)
  let at = 0
  return sizes.map((size, i) => {
    const start = at
    at += size
    return node.wants(i) ? cut(node, x, axis, start, size, 1) : undefined
  })
}

const tile: OpImporter = (node) => {
  const repeats = node.knownInts(1)
  const given = node.value(0)
  if (isKnown(given) && repeats.length === given.shape.length && sizeOf(given.shape) * sizeOf(repeats) <= 2 ** 16)
    return repeats.reduce((k, r, axis) => {
      const d = k.shape[axis]
      return gatherKnown(k, knownInts(Array.from({ length: d * r }, (_, i) => i % d)), axis)
    }, given)
  let x = node.expr(0)
  if (repeats.length !== x.shape.length) throw new OnnxError(`${repeats.length} repeats of [${x.shape}]`)
  repeats.forEach((r, axis) => {
    if (r === 1) return
    const shape = x.shape.with(axis, x.shape[axis] * r)
    const [outer, inner] = [sizeOf(x.shape.slice(0, axis)), sizeOf(x.shape.slice(axis))]
    x = reshape(broadcastTo(reshape(x, [outer, 1, inner]), [outer, r, inner]), shape)
  })
  return x
}

/** A border of an axis that repeats what is inside: its edge, its mirror image, or its other end. */
function border(x: Expr, axis: number, low: number, high: number, mode: string): Expr {
  const d = x.shape[axis]
  if (mode === 'edge') {
    const edge = (at: number, n: number): Expr[] => (n > 0 ? [broadcastTo(slice(x, axis, at, at + 1), x.shape.with(axis, n))] : [])
    return concat([...edge(0, low), x, ...edge(d - 1, high)], axis)
  }
  if ((mode === 'reflect' && Math.max(low, high) < d) || (mode === 'wrap' && Math.max(low, high) <= d)) {
    const part = (from: number, to: number): Expr[] =>
      to > from ? [mode === 'wrap' ? slice(x, axis, from, to) : flip(slice(x, axis, from, to), axis)] : []
    const [before, after] = mode === 'wrap' ? [part(d - low, d), part(0, high)] : [part(1, 1 + low), part(d - 1 - high, d - 1)]
    return concat([...before, x, ...after], axis)
  }
  // borders wider than the tensor go round or back and forth
  const period = mode === 'wrap' ? d : 2 * (d - 1)
  const index = Array.from({ length: low + d + high }, (_, i) => {
    const at = period === 0 ? 0 : (((i - low) % period) + period) % period
    return at < d ? at : period - at
  })
  return takeAlong(x, index, axis)
}

const padding: OpImporter = (node) => {
  const mode = node.string('mode', 'constant')
  if (!['constant', 'reflect', 'edge', 'wrap'].includes(mode)) throw new OnnxError(`mode "${mode}"`)
  const pads = node.listAt(1, 'pads') ?? node.ints('paddings')
  let x = node.expr(0)
  const rank = x.shape.length
  const axes = node.inputs[3] ? node.knownInts(3).map((a) => axisOf(x.shape, a)) : x.shape.map((_, i) => i)
  if (pads.length !== 2 * axes.length) throw new OnnxError(`${pads.length} pads for ${axes.length} axes`)
  const [low, high] = [new Array<number>(rank).fill(0), new Array<number>(rank).fill(0)]
  axes.forEach((axis, i) => {
    low[axis] = pads[i]
    high[axis] = pads[axes.length + i]
  })
  for (let axis = 0; axis < rank; axis++) {
    const [l, h, d] = [Math.min(0, low[axis]), Math.min(0, high[axis]), x.shape[axis]]
    if (l < 0 || h < 0) {
      if (d + l + h < 1) throw new OnnxError(`axis ${axis} of [${x.shape}] cut by ${-l} and ${-h}: nothing is left`)
      x = slice(x, axis, -l, d + h)
    }
  }
  const [before, after] = [low.map((p) => Math.max(0, p)), high.map((p) => Math.max(0, p))]
  if (mode !== 'constant') {
    for (let axis = 0; axis < rank; axis++) if (before[axis] + after[axis] > 0) x = border(x, axis, before[axis], after[axis], mode)
    return x
  }
  const fill = node.inputs[2] ? node.known(2).values[0] : node.float('value', 0)
  return pad(x, before, after, undefined, fill ?? 0)
}

const trilu: OpImporter = (node) => {
  const x = node.expr(0)
  const k = node.inputs[1] ? node.known(1).values[0] : 0
  const upper = node.int('upper', 1) === 1
  const sides = x.shape.slice(-2)
  const [row, column] = [iota(sides, 0), iota(sides, 1)]
  const shifted = k === 0 ? row : add(row, Math.max(-(2 ** 30), Math.min(2 ** 30, k)))
  return where(upper ? le(shifted, column) : le(column, shifted), x, 0)
}

/** [n, c, h, w] with blocks of channels laid out in space. */
const depthToSpace: OpImporter = (node) => {
  const x = node.expr(0)
  const b = node.int('blocksize')
  const [n, c, h, w] = x.shape
  const crd = node.string('mode', 'DCR') === 'CRD'
  const apart = crd ? reshape(x, [n, c / (b * b), b, b, h, w]) : reshape(x, [n, b, b, c / (b * b), h, w])
  return reshape(permute(apart, crd ? [0, 1, 4, 2, 5, 3] : [0, 3, 4, 1, 5, 2]), [n, c / (b * b), h * b, w * b])
}

const spaceToDepth: OpImporter = (node) => {
  const x = node.expr(0)
  const b = node.int('blocksize')
  const [n, c, h, w] = x.shape
  return reshape(permute(reshape(x, [n, c, h / b, b, w / b, b]), [0, 3, 5, 1, 2, 4]), [n, c * b * b, h / b, w / b])
}

/** Reverses the first `length` elements of the time axis, for each batch its own. */
const reverseSequence: OpImporter = (node) => {
  const x = node.expr(0)
  const [time, batch] = [node.int('time_axis', 0), node.int('batch_axis', 1)]
  if (time + batch !== 1) throw new OnnxError(`time axis ${time} and batch axis ${batch}`)
  const flat = reshape(x, [x.shape[0], x.shape[1], -1])
  const rows = permute(flat, [batch, time, 2])
  const lengths = reshape(node.expr(1), [-1, 1])
  const [b, t] = rows.shape
  const at = broadcastTo(reshape(range(t), [1, t]), [b, t])
  const turned = where(le(lengths, at), at, sub(sub(broadcastTo(lengths, [b, t]), at), 1))
  const index = add(turned, rowStart(b, t))
  const picked = takeAlong(reshape(rows, [b * t, rows.shape[2]]), reshape(index, [b * t]), 0)
  return reshape(permute(reshape(picked, [b, t, rows.shape[2]]), time === 0 ? [1, 0, 2] : [0, 1, 2]), x.shape)
}

/** The flat number of each row's first element, [b, t]. */
const rowStart = (b: number, t: number): Expr => sub(reshape(range(b * t), [b, t]), broadcastTo(reshape(range(t), [1, t]), [b, t]))

export const movement: OpTable = {
  Reshape: reshapeTo,
  Squeeze: squeezeAxes,
  Unsqueeze: unsqueezeAxes,
  Flatten: flatten,
  Transpose: transposeAxes,
  Expand: expandTo,
  Concat: concatenate,
  Slice: sliceAxes,
  Split: split,
  Tile: tile,
  Pad: padding,
  Trilu: trilu,
  DepthToSpace: depthToSpace,
  SpaceToDepth: spaceToDepth,
  ReverseSequence: reverseSequence,
}
