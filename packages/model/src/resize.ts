// Resampling along axes (ONNX Resize and Upsample): which elements each result reads, and how much of each, follow from sizes that are known when the graph is made.

import { type Expr, expr } from '@bitloom/graph'
import { type Ratio, tableOf } from './table.ts'
import { add, axisOf, gather, mul, or, permute, reshape, slice, where } from './tensor.ts'

export type ResizeMode = 'nearest' | 'linear' | 'cubic'
export type CoordinateMode =
  | 'half_pixel'
  | 'half_pixel_symmetric'
  | 'pytorch_half_pixel'
  | 'align_corners'
  | 'asymmetric'
  | 'tf_half_pixel_for_nn'
  | 'tf_crop_and_resize'
export type NearestMode = 'round_prefer_floor' | 'round_prefer_ceil' | 'floor' | 'ceil'

/** One axis to resize. `scale` says where results lie when it is not exactly size / old size; `region` is tf_crop_and_resize's part of the axis, from and to. */
export type ResizeAxis = {
  readonly axis: number
  readonly size: number
  readonly scale?: number
  readonly region?: readonly [number, number]
}

export type ResizeOptions = {
  readonly mode?: ResizeMode
  readonly coordinates?: CoordinateMode
  readonly nearest?: NearestMode
  readonly cubicA?: number
  readonly excludeOutside?: boolean
  /** Where an axis shrinks, each result averages over all that it stands for. */
  readonly antialias?: boolean
  /** What tf_crop_and_resize puts where it reads outside. */
  readonly extrapolation?: number
}

/** Where along the old axis result i lies. */
function placeOf(mode: CoordinateMode, i: number, old: number, { size, scale = size / old, region = [0, 1] }: ResizeAxis): number {
  switch (mode) {
    case 'half_pixel':
      return (i + 0.5) / scale - 0.5
    case 'half_pixel_symmetric':
      return (old / 2) * (1 - size / (scale * old)) + (i + 0.5) / scale - 0.5
    case 'pytorch_half_pixel':
      return size > 1 ? (i + 0.5) / scale - 0.5 : 0
    case 'align_corners':
      return size > 1 ? (i * (old - 1)) / (size - 1) : 0
    case 'asymmetric':
      return i / scale
    case 'tf_half_pixel_for_nn':
      return (i + 0.5) / scale
    case 'tf_crop_and_resize': {
      const [from, to] = region
      return size > 1 ? from * (old - 1) + (i * (to - from) * (old - 1)) / (size - 1) : 0.5 * (from + to) * (old - 1)
    }
  }
}

function roundedTo(x: number, mode: NearestMode): number {
  if (mode === 'floor') return Math.floor(x)
  if (mode === 'ceil') return Math.ceil(x)
  return mode === 'round_prefer_floor' ? Math.ceil(x - 0.5) : Math.floor(x + 0.5)
}

/** Keys's cubic convolution (1981) at a distance. */
function cubicWeight(distance: number, a: number): number {
  const d = Math.abs(distance)
  if (d <= 1) return ((a + 2) * d - (a + 3)) * d * d + 1
  return d < 2 ? ((a * d - 5 * a) * d + 8 * a) * d - 4 * a : 0
}

/** More than any picture's side; where results lie is a list that is made at once. */
export const MAX_SIZE = 2 ** 17
const MAX_SHRINKING = 64

/** What one result reads: elements and weights. */
type Taps = { readonly at: readonly number[]; readonly weights: readonly number[] }

/** Linear and cubic filters reach 1 and 2 elements to each side, or, antialiased, as much farther as the axis shrinks. */
function tapsOf(x: number, old: number, scale: number, options: ResizeOptions): Taps {
  const { mode = 'nearest', nearest = 'round_prefer_floor', cubicA = -0.75, excludeOutside = false, antialias = false } = options
  if (mode === 'nearest') return { at: [roundedTo(x, nearest)], weights: [1] }
  const narrow = antialias ? Math.min(scale, 1) : 1
  const reach = mode === 'linear' ? 1 : 2
  const first = Math.floor(-reach / narrow) + 1
  const base = Math.floor(x)
  const at = Array.from({ length: 2 - 2 * first }, (_, k) => base + first + k)
  const raw = at.map((p) => {
    const distance = (p - x) * narrow
    return mode === 'linear' ? Math.max(0, 1 - Math.abs(distance)) : cubicWeight(distance, cubicA)
  })
  const counted = raw.map((w, k) => (excludeOutside && (at[k] < 0 || at[k] >= old) ? 0 : w))
  const all = excludeOutside || antialias ? counted.reduce((a, b) => a + b) : 1
  return { at, weights: counted.map((w) => w / all) }
}

/** Rows of any axis by an index. */
function gatherAlong(x: Expr, axis: number, index: Expr): Expr {
  const perm = [axis, ...x.shape.map((_, i) => i).filter((i) => i !== axis)]
  return permute(
    gather(permute(x, perm), index),
    perm.map((_, i) => perm.indexOf(i)),
  )
}

/** Each element `times` times along an axis. */
function repeated(x: Expr, axis: number, times: number): Expr {
  const apart = x.shape.toSpliced(axis + 1, 0, 1)
  const spread = expr('expand', [reshape(x, apart)], { shape: apart.with(axis + 1, times) })
  return reshape(spread, x.shape.with(axis, x.shape[axis] * times))
}

/** Elements of an axis by a list of positions: a repetition or a slice where they are one. */
function pick(x: Expr, axis: number, at: readonly number[], ratios: readonly Ratio[]): Expr {
  const [n, old] = [at.length, x.shape[axis]]
  const times = n / old
  if (x.shape.length < 6 && Number.isInteger(times) && at.every((p, i) => p === Math.floor(i / times))) return repeated(x, axis, times)
  const by = n > 1 ? at[1] - at[0] : 1
  if (by > 0 && at.every((p, i) => p === at[0] + i * by)) return slice(x, axis, at[0], at[n - 1] + 1, by)
  return gatherAlong(x, axis, tableOf(at, 'i32', ratios))
}

/**
 * x resampled along the given axes, one after the other.
 * @throws {ResizeError} an axis comes to nothing
 */
export function resize(x: Expr, axes: readonly ResizeAxis[], options: ResizeOptions = {}): Expr {
  const { coordinates = 'half_pixel', extrapolation = 0 } = options
  let outside: Expr | undefined
  const y = axes.reduce((now, entry) => {
    const axis = axisOf(x.shape, entry.axis)
    const old = now.shape[axis]
    const { size } = entry
    if (!Number.isInteger(size) || size < 1 || size > MAX_SIZE)
      throw new ResizeError(`resize: ${size} elements along axis ${axis} of [${x.shape}], not 1..${MAX_SIZE}`)
    const farther = options.antialias ? old / size : 1
    if (farther > MAX_SHRINKING)
      throw new ResizeError(`resize: axis ${axis} of [${x.shape}] to ${size}: antialiasing over ${farther} elements`)
    // rounded as PyTorch and onnxruntime round it: 17 / 1.7 is 10, which decides about the nearest element
    const places = Array.from({ length: size }, (_, i) => Math.fround(placeOf(coordinates, i, old, entry)))
    const shape = now.shape.map((_, i) => (i === axis ? size : 1))
    if (coordinates === 'tf_crop_and_resize') {
      const beyond = reshape(
        tableOf(
          places.map((p) => Number(p < 0 || p > old - 1)),
          'i32',
        ),
        shape,
      )
      outside = outside ? or(outside, beyond) : beyond
    }
    if (size === old && places.every((p, i) => p === i)) return now
    const taps = places.map((p) => tapsOf(p, old, entry.scale ?? size / old, options))
    const ratios: Ratio[] = [
      [old, size],
      [2 * old, 2 * size],
      [Math.max(old - 1, 1), Math.max(size - 1, 1)],
    ]
    const terms = taps[0].at.flatMap((_, k) => {
      const weights = taps.map((t) => Math.fround(t.weights[k]))
      // what nobody reads is left out: an axis that stays as it is costs nothing
      if (weights.every((w) => w === 0)) return []
      const at = taps.map((t) => Math.min(Math.max(t.at[k], 0), old - 1))
      const read = pick(now, axis, at, ratios)
      return [weights.every((w) => w === 1) ? read : mul(read, reshape(tableOf(weights, 'f32'), shape))]
    })
    return terms.reduce((a, b) => add(a, b))
  }, x)
  return outside ? where(outside, extrapolation, y) : y
}

export class ResizeError extends Error {
  override name = 'model.ResizeError'
}
