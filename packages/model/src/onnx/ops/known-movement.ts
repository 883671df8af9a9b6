// Movement of tensors known while importing, where a shape chain needs it: what a graph's movement ops do, and tensors without elements too, which no graph has.

import { type Shape, sizeOf, stridesOf, unravel } from '@bitloom/graph'
import { OnnxError } from '../error.ts'
import { type Known, known } from '../value.ts'

/** Element [i, j, …] of the result is element start + i·steps[0] + j·steps[1] + … of the tensor. */
export function strided(k: Known, shape: Shape, start: number, steps: readonly number[]): Known {
  const n = sizeOf(shape)
  const values = new Float64Array(checked(n))
  const at = new Array<number>(shape.length).fill(0)
  let from = start
  for (let i = 0; i < n; i++) {
    values[i] = k.values[from]
    for (let axis = shape.length - 1; axis >= 0; axis--) {
      from += steps[axis]
      if (++at[axis] < shape[axis]) break
      from -= steps[axis] * shape[axis]
      at[axis] = 0
    }
  }
  return known(k.known, shape, values)
}

const MOST = 2 ** 22
function checked(n: number): number {
  if (n > MOST) throw new OnnxError(`${n} elements are too many to compute while importing`)
  return n
}

export const permuteKnown = (k: Known, perm: readonly number[]): Known => {
  const steps = stridesOf(k.shape)
  return strided(
    k,
    perm.map((p) => k.shape[p]),
    0,
    perm.map((p) => steps[p]),
  )
}

export const reshapeKnown = (k: Known, shape: Shape): Known => known(k.known, shape, k.values)

/** Axes of size 1 repeated, axes of size 1 put in front. */
export function expandKnown(k: Known, shape: Shape): Known {
  const lead = shape.length - k.shape.length
  const steps = stridesOf(k.shape)
  return strided(
    k,
    shape,
    0,
    shape.map((_, axis) => (axis < lead || k.shape[axis - lead] === 1 ? 0 : steps[axis - lead])),
  )
}

/** `count` elements of an axis from `start` by `step`. */
export function sliceKnown(k: Known, axis: number, start: number, count: number, step: number): Known {
  const steps = stridesOf(k.shape)
  const from = count > 0 ? start * steps[axis] : 0
  return strided(k, k.shape.with(axis, count), from, steps.with(axis, steps[axis] * step))
}

export function concatKnown(parts: readonly Known[], axis: number): Known {
  const shape = parts[0].shape.with(
    axis,
    parts.reduce((n, p) => n + p.shape[axis], 0),
  )
  const outer = sizeOf(shape.slice(0, axis))
  const inner = sizeOf(shape.slice(axis + 1))
  const values = new Float64Array(checked(sizeOf(shape)))
  let at = 0
  for (let i = 0; i < outer; i++)
    for (const p of parts) {
      const run = p.shape[axis] * inner
      values.set(p.values.subarray(i * run, (i + 1) * run), at)
      at += run
    }
  return known(parts[0].known, shape, values)
}

/** Rows of an axis by number; negative ones count from the end. */
export function gatherKnown(k: Known, index: Known, axis: number): Known {
  const [outer, d, inner] = [sizeOf(k.shape.slice(0, axis)), k.shape[axis], sizeOf(k.shape.slice(axis + 1))]
  const shape = [...k.shape.slice(0, axis), ...index.shape, ...k.shape.slice(axis + 1)]
  const values = new Float64Array(checked(sizeOf(shape)))
  let at = 0
  for (let i = 0; i < outer; i++)
    for (const given of index.values) {
      const row = given < 0 ? given + d : given
      if (!(row >= 0 && row < d)) throw new OnnxError(`index ${given} of axis ${axis} of [${k.shape}]`)
      values.set(k.values.subarray((i * d + row) * inner, (i * d + row + 1) * inner), at)
      at += inner
    }
  return known(k.known, shape, values)
}

/** Folds axes of a known tensor, in row-major order; the axes stay with size 1. */
export function foldKnown(k: Known, axes: readonly number[], start: number, f: (acc: number, x: number) => number): Known {
  const shape = k.shape.map((d, axis) => (axes.includes(axis) ? 1 : d))
  const steps = stridesOf(shape)
  const values = new Float64Array(checked(sizeOf(shape))).fill(start)
  k.values.forEach((x, i) => {
    const at = unravel(i, k.shape).reduce((n, c, axis) => n + (axes.includes(axis) ? 0 : c * steps[axis]), 0)
    values[at] = f(values[at], x)
  })
  return known(k.known, shape, values)
}
