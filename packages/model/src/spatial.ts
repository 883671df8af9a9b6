// Where sliding windows lie along spatial axes: strides, dilations, borders and counts, as ONNX and PyTorch define them for convolutions and pools.

import { type Expr, expr, type Shape, sizeOf } from '@bitloom/graph'
import { withDerivative } from './derivative.ts'
import { RULES, type Rule } from './grad.ts'
import { full, pad, permute, reshape, slice, window } from './tensor.ts'

export type AutoPad = 'NOTSET' | 'VALID' | 'SAME_UPPER' | 'SAME_LOWER'

/** One number a spatial axis; `pads` lists what lies before each axis, then what lies behind each. */
export type SpatialOptions = {
  readonly strides?: readonly number[]
  readonly dilations?: readonly number[]
  readonly pads?: readonly number[]
  readonly autoPad?: AutoPad
  /** A last window that reaches beyond the border counts too, if it starts inside. */
  readonly ceilMode?: boolean
}

/** The windows of one axis: `count` of them, `stride` apart, over `low` + `size` + `high` places. `over` is how far the last one reaches beyond those. */
export type Slide = {
  readonly size: number
  readonly kernel: number
  readonly stride: number
  readonly dilation: number
  readonly low: number
  readonly high: number
  readonly over: number
  readonly count: number
}

/**
 * The windows of each spatial axis.
 * @param sizes of the spatial axes
 * @throws {SpatialError} a list has another length than there are axes, or a window is wider than its axis
 */
export function slidesOf(sizes: Shape, kernel: readonly number[], options: SpatialOptions = {}): Slide[] {
  const { strides = sizes.map(() => 1), dilations = sizes.map(() => 1), pads = sizes.flatMap(() => [0, 0]), autoPad = 'NOTSET' } = options
  const n = sizes.length
  if (n < 1 || n > 3) throw new SpatialError(`${n} spatial axes; windows slide over 1, 2 or 3`)
  if (kernel.length !== n || strides.length !== n || dilations.length !== n || pads.length !== 2 * n)
    throw new SpatialError(`${n} spatial axes, but kernel [${kernel}], strides [${strides}], dilations [${dilations}], pads [${pads}]`)
  checkCounts({ kernel, strides, dilations })
  return sizes.map((size, i) => {
    const [stride, dilation] = [strides[i], dilations[i]]
    const span = (kernel[i] - 1) * dilation + 1
    let [low, high] = autoPad === 'NOTSET' ? [pads[i], pads[n + i]] : [0, 0]
    if (autoPad === 'SAME_UPPER' || autoPad === 'SAME_LOWER') {
      const total = Math.max(0, (Math.ceil(size / stride) - 1) * stride + span - size)
      low = autoPad === 'SAME_UPPER' ? Math.floor(total / 2) : Math.ceil(total / 2)
      high = total - low
    }
    if (low < 0 || high < 0) throw new SpatialError(`pads [${pads}]: a border below 0 is a crop; slice first`)
    const free = size + low + high - span
    let count = Math.floor(free / stride) + 1
    if (options.ceilMode) {
      count = Math.ceil(free / stride) + 1
      if ((count - 1) * stride >= size + low) count--
    }
    if (count < 1) throw new SpatialError(`a window of ${span} over ${low} + ${size} + ${high} places of spatial axis ${i}`)
    return { size, kernel: kernel[i], stride, dilation, low, high, over: Math.max(0, (count - 1) * stride - free), count }
  })
}

/**
 * Checks that every number of these lists is whole and at least 1.
 * @throws {SpatialError} naming the list
 */
export function checkCounts(lists: Readonly<Record<string, readonly number[]>>): void {
  for (const [name, list] of Object.entries(lists))
    if (!list.every((n) => Number.isInteger(n) && n >= 1)) throw new SpatialError(`${name} [${list}] must be whole numbers of 1 or more`)
}

/** x [a, b, spatial..] with the borders of `slides` around it. */
export const bordered = (x: Expr, slides: readonly Slide[], fill = 0): Expr =>
  pad(x, [0, 0, ...slides.map((s) => s.low)], [0, 0, ...slides.map((s) => s.high + s.over)], undefined, fill)

/** Windows along one axis, their new axis right behind it; a window that would start behind the last one counted is left out. */
export const slideAlong = (x: Expr, axis: number, s: Slide): Expr =>
  slice(window(x, axis, s.kernel, s.stride, s.dilation), axis, 0, s.count)

/**
 * x [a, b, spatial..], borders included, as columns [a·kernel, b·count]: row (a, kernel place), column (b, window), both row-major. Up to two spatial axes are
 * one permute; with a third the windows of one axis are folded away before the next, because a tensor has at most six axes.
 */
export function columnsOf(x: Expr, slides: readonly Slide[]): Expr {
  const [a, b, ...sizes] = x.shape
  const [rows, columns] = [a * sizeOf(slides.map((s) => s.kernel)), b * sizeOf(slides.map((s) => s.count))]
  if (slides.length <= 2) {
    const windows = slides.reduce((w, s, i) => slideAlong(w, 2 + 2 * i, s), x)
    const perm = slides.length === 1 ? [0, 3, 1, 2] : [0, 3, 5, 1, 2, 4]
    return reshape(permute(windows, perm), [rows, columns])
  }
  let y = reshape(x, [a, b, sizes[0], sizeOf(sizes.slice(1))])
  slides.forEach((s, i) => {
    const turned = permute(slideAlong(y, 2, s), [0, 3, 1, 2, 4])
    const rest = sizes.slice(i + 1)
    const heads = [y.shape[0] * s.kernel, y.shape[1] * s.count]
    y = rest.length > 0 ? reshape(turned, [...heads, rest[0], sizeOf(rest.slice(1))]) : reshape(turned, heads)
  })
  return y
}

/** The transpose of `columnsOf`: columns [a·kernel, b·count] added up where they overlap, to [a, b, low + size + high ..]. */
export function overlapColumns(columns: Expr, slides: readonly Slide[]): Expr {
  const lengths = slides.map((s) => s.low + s.size + s.high)
  let a = columns.shape[0]
  let b = columns.shape[1]
  let rest = 1
  let y = columns
  for (let i = slides.length - 1; i >= 0; i--) {
    const { kernel, count, stride, dilation } = slides[i]
    a /= kernel
    b /= count
    const apart = permute(reshape(y, [a, kernel, b, count, rest]), [0, 2, 3, 1, 4])
    y = overlap(apart, 2, lengths[i], stride, dilation)
    rest *= lengths[i]
  }
  return reshape(y, [a, b, ...lengths])
}

/** Windows [.., count, kernel, ..] added up into one axis of `length` places: the transpose of `window`, whose gradient rule it is. */
function overlap(windows: Expr, axis: number, length: number, stride: number, dilation: number): Expr {
  const places = windows.shape.toSpliced(axis, 2, length)
  const attrs = [axis, windows.shape[axis + 1], stride, dilation]
  const like = expr('window', [full(places, 0)], { attrs })
  const y = (RULES.window as Rule)(like, windows)[0]!
  return withDerivative(y, [windows], (dy) => [expr('window', [dy], { attrs })])
}

export class SpatialError extends Error {
  override name = 'model.SpatialError'
}
