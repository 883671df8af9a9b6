// Pools over one, two or three spatial axes, folded axis by axis from the last: [batch, channels, spatial..]. Meaning and ties are PyTorch's.

import { type Expr, sizeOf } from '@bitloom/graph'
import { both, type ConvOptions, spatialOf } from './conv.ts'
import { power } from './pow.ts'
import { bordered, columnsOf, type Slide, type SpatialOptions, slideAlong, slidesOf } from './spatial.ts'
import { abs, add, argmax, div, divu, full, iota, maxOver, mean, mul, pad, remu, reshape, sqrt, sub, sum } from './tensor.ts'

/** Windows along each spatial axis, the last first, each folded before the next is opened: k·d reads an element instead of k^d. */
const folded = (x: Expr, slides: readonly Slide[], fold: (x: Expr, axis: number) => Expr): Expr =>
  slides.reduceRight((y, s, i) => (s.kernel === 1 && s.stride === 1 ? y : fold(slideAlong(y, i + 2, s), i + 3)), x)

/** Largest of each window; borders count as -inf. The gradient goes to the first largest. */
export function maxPool(x: Expr, kernel: readonly number[], options: SpatialOptions = {}): Expr {
  const slides = slidesOf(x.shape.slice(2), kernel, options)
  return folded(bordered(x, slides, Number.NEGATIVE_INFINITY), slides, maxOver)
}

/**
 * Where in x each window's first largest element lies: i32 positions in row-major order over all of x, spatial axes counted backwards where `columnMajor`.
 */
export function maxPoolIndices(x: Expr, kernel: readonly number[], options: SpatialOptions = {}, columnMajor = false): Expr {
  const [n, c, ...sizes] = x.shape
  const slides = slidesOf(sizes, kernel, options)
  const counts = slides.map((s) => s.count)
  const flat = bordered(reshape(x, [n * c, 1, ...sizes]), slides, Number.NEGATIVE_INFINITY)
  const best = argmax(reshape(columnsOf(flat, slides), [n * c, sizeOf(kernel), sizeOf(counts)]), 1)
  const shape = [n * c, ...counts]
  const strides = sizes.map((_, i) => sizeOf(columnMajor ? sizes.slice(0, i) : sizes.slice(i + 1)))
  const at = slides.map((s, i) => {
    const place = remu(divu(reshape(best, shape), sizeOf(kernel.slice(i + 1))), s.kernel)
    return mul(sub(add(mul(iota(shape, i + 1), s.stride), mul(place, s.dilation)), s.low), strides[i])
  })
  const within = at.reduce((a, b) => add(a, b))
  return reshape(add(within, mul(iota(shape, 0), sizeOf(sizes))), [n, c, ...counts])
}

/** Mean of each window: of the elements inside x, or, with `countBorder`, of x and its border (never of what `ceilMode` reaches beyond). */
export function averagePool(x: Expr, kernel: readonly number[], options: SpatialOptions & { readonly countBorder?: boolean } = {}): Expr {
  const { countBorder = false } = options
  const slides = slidesOf(x.shape.slice(2), kernel, options)
  const total = folded(bordered(x, slides), slides, sum)
  const even = slides.every((s) => s.over === 0 && (countBorder || (s.low === 0 && s.high === 0)))
  return div(total, even ? sizeOf(kernel) : counts(slides, countBorder))
}

/** How many elements each window holds, [spatial..]: the product of its counts along each axis. */
function counts(slides: readonly Slide[], countBorder: boolean): Expr {
  const along = slides.map((s, i) => {
    const [low, high] = countBorder ? [0, 0] : [s.low, s.high]
    const ones = pad(full([s.size + s.low + s.high - low - high], 1), [low], [high + s.over])
    return reshape(
      sum(slideAlong(ones, 0, s), 1),
      slides.map((_, j) => (i === j ? -1 : 1)),
    )
  })
  return along.reduce((a, b) => mul(a, b))
}

/** (Σ |x|^p)^(1/p) of each window. */
export function lpPool(x: Expr, kernel: readonly number[], p = 2, options: SpatialOptions = {}): Expr {
  const slides = slidesOf(x.shape.slice(2), kernel, options)
  return root(folded(bordered(p === 2 ? mul(x, x) : power(abs(x), p), slides), slides, sum), p)
}

const root = (x: Expr, p: number): Expr => (p === 2 ? sqrt(x) : power(x, 1 / p))
const spatialAxes = (x: Expr): number[] => x.shape.slice(2).map((_, i) => i + 2)

/** Mean over all spatial axes, which stay with size 1. */
export const globalAveragePool = (x: Expr): Expr => mean(x, spatialAxes(x), true)
/** Largest over all spatial axes, which stay with size 1. */
export const globalMaxPool = (x: Expr): Expr => maxOver(x, spatialAxes(x), true)
/** (Σ |x|^p)^(1/p) over all spatial axes, which stay with size 1. */
export const globalLpPool = (x: Expr, p = 2): Expr => root(sum(p === 2 ? mul(x, x) : power(abs(x), p), spatialAxes(x), true), p)

/** Largest of each window, which starts where the last ended unless a stride is given; the border counts as -inf. */
export function maxPool2d(x: Expr, kernel: number | readonly [number, number], options: ConvOptions = {}): Expr {
  return maxPool(x, both(kernel), spatialOf({ stride: both(kernel), ...options }))
}

/** Mean of each window, the border's zeros counted. */
export function averagePool2d(x: Expr, kernel: number | readonly [number, number], options: ConvOptions = {}): Expr {
  return averagePool(x, both(kernel), { ...spatialOf({ stride: both(kernel), ...options }), countBorder: true })
}
