// Convolution and its transpose out of window, permute, reshape and dot (docs/numerics.md §3), over one, two or three axes. Layout and meaning are PyTorch's:
// [batch, channels, spatial..].

import { type Expr, expr, sizeOf } from '@bitloom/graph'
import type { Lookup, Parameter } from './nn.ts'
import { type Key, kaimingUniform } from './random.ts'
import { bordered, checkCounts, columnsOf, overlapColumns, type Slide, type SpatialOptions, slidesOf } from './spatial.ts'
import { add, pad, permute, reshape, slice, transpose } from './tensor.ts'

export type ConvOptions = {
  /** Of height and width, or of both. */
  readonly stride?: number | readonly [number, number]
  readonly dilation?: number | readonly [number, number]
  /** Zeros around: height and width, or top, left, bottom, right. */
  readonly padding?: number | readonly [number, number] | readonly [number, number, number, number]
  readonly groups?: number
}

export const both = (x: number | readonly [number, number] = 1): readonly [number, number] => (typeof x === 'number' ? [x, x] : x)
const sides = (p: ConvOptions['padding'] = 0): readonly number[] =>
  typeof p === 'number' ? [p, p, p, p] : p.length === 2 ? [p[0], p[1], p[0], p[1]] : p

/** The same options axis by axis. */
export const spatialOf = (o: ConvOptions): SpatialOptions => ({
  strides: both(o.stride),
  dilations: both(o.dilation),
  pads: sides(o.padding),
})

/** Batch and channels exchanged. */
const exchanged = (x: Expr): Expr => permute(x, [1, 0, ...x.shape.slice(2).map((_, i) => i + 2)])

/**
 * Cross-correlation of x [n, c, spatial..] with weight [o, c/groups, kernel..], as one (batched) product: weight times columns. Each output folds channel, then
 * the kernel's places in row-major order, borders included.
 * @throws {ConvError} channels and groups do not fit
 */
export function convolve(x: Expr, weight: Expr, options: SpatialOptions & { readonly groups?: number } = {}): Expr {
  const { groups = 1 } = options
  const [n, channels, ...sizes] = x.shape
  const [outputs, inner, ...kernel] = weight.shape
  if (inner * groups !== channels || outputs % groups !== 0)
    throw new ConvError(`convolution of [${x.shape}] with weight [${weight.shape}] in ${groups} groups: channels differ`)
  const slides = slidesOf(sizes, kernel, options)
  const columns = columnsOf(bordered(exchanged(x), slides), slides)
  const terms = inner * sizeOf(kernel)
  const product =
    groups === 1
      ? expr('dot', [reshape(weight, [outputs, terms]), columns])
      : expr('dot', [reshape(weight, [groups, outputs / groups, terms]), reshape(columns, [groups, terms, -1])])
  return exchanged(reshape(product, [outputs, n, ...slides.map((s) => s.count)]))
}

/** `convolve` over height and width. */
export const conv2d = (x: Expr, weight: Expr, options: ConvOptions = {}): Expr =>
  convolve(x, weight, { ...spatialOf(options), ...(options.groups === undefined ? {} : { groups: options.groups }) })

export type TransposeOptions = SpatialOptions & {
  readonly groups?: number
  /** Places added behind each axis. */
  readonly outputPadding?: readonly number[]
  /** Sizes of the result's spatial axes; the borders follow from them. */
  readonly outputShape?: readonly number[]
}

/**
 * The transpose of `convolve` in x: x [n, c, spatial..] with weight [c, o/groups, kernel..]; each axis becomes
 * (size - 1)·stride + (kernel - 1)·dilation + 1 - pads + outputPadding.
 * @throws {ConvError} channels and groups do not fit, or nothing is left
 */
export function convolveTranspose(x: Expr, weight: Expr, options: TransposeOptions = {}): Expr {
  const { groups = 1 } = options
  const [n, channels, ...sizes] = x.shape
  const [inputs, inner, ...kernel] = weight.shape
  if (inputs !== channels || channels % groups !== 0)
    throw new ConvError(`transposed convolution of [${x.shape}] with weight [${weight.shape}] in ${groups} groups: channels differ`)
  const slides = transposedSlides(sizes, kernel, options)
  const terms = inner * sizeOf(kernel)
  const rows = reshape(exchanged(x), [groups, channels / groups, -1])
  const columns = expr('dot', [transpose(reshape(weight, [groups, channels / groups, terms])), rows])
  const added = overlapColumns(
    reshape(columns, [groups * terms, -1]),
    slides.map((s) => s.slide),
  )
  const cut = slides.reduce((y, { from, to, more }, i) => {
    const kept = slice(y, i + 2, from, to)
    const none = y.shape.map(() => 0)
    return more > 0 ? pad(kept, none, none.with(i + 2, more)) : kept
  }, added)
  return exchanged(reshape(cut, [groups * inner, n, ...cut.shape.slice(2)]))
}

/** Windows over each result axis, which part of it is kept (from, to), and how many zeros follow. */
function transposedSlides(sizes: readonly number[], kernel: readonly number[], options: TransposeOptions) {
  const n = sizes.length
  const { strides = sizes.map(() => 1), dilations = sizes.map(() => 1), outputPadding = sizes.map(() => 0) } = options
  const { pads = sizes.flatMap(() => [0, 0]), autoPad = 'NOTSET', outputShape } = options
  if ([strides, dilations, outputPadding, kernel, pads.slice(n)].some((list) => list.length !== n))
    throw new ConvError(`${n} spatial axes, but strides [${strides}], dilations [${dilations}], pads [${pads}], kernel [${kernel}]`)
  checkCounts({ kernel, strides, dilations })
  if ([...pads, ...outputPadding].some((p) => !(p >= 0)))
    throw new ConvError(`pads [${pads}] and output padding [${outputPadding}] below 0`)
  return sizes.map((count, i) => {
    const [stride, dilation] = [strides[i], dilations[i]]
    const length = (count - 1) * stride + (kernel[i] - 1) * dilation + 1
    const same = autoPad === 'SAME_UPPER' || autoPad === 'SAME_LOWER'
    const wanted = outputShape?.slice(-n)[i] ?? (same ? count * stride : undefined)
    let [low, high] = autoPad === 'VALID' ? [0, 0] : [pads[i], pads[n + i]]
    if (wanted !== undefined) {
      const total = Math.max(0, length + outputPadding[i] - wanted)
      low = autoPad === 'SAME_UPPER' ? Math.floor(total / 2) : Math.ceil(total / 2)
      high = total - low
    }
    const size = wanted ?? length - low - high + outputPadding[i]
    const to = Math.min(length, low + size)
    if (size < 1 || low >= length)
      throw new ConvError(`transposed convolution: axis ${i} of ${length} places, less pads ${low} and ${high}: nothing is left`)
    const slide: Slide = { size: length, kernel: kernel[i], stride, dilation, low: 0, high: 0, over: 0, count }
    return { slide, from: low, to, more: low + size - to }
  })
}

/** `name.weight` [out, in/groups, k, k] and `name.bias` [out], both uniform in ±1/√fan in, as torch.nn.Conv2d. */
export function convParameters(name: string, inputs: number, outputs: number, kernel: number, groups = 1): Parameter[] {
  const shape = [outputs, inputs / groups, kernel, kernel]
  const fanIn = (inputs / groups) * kernel * kernel
  return [
    { name: `${name}.weight`, shape, initial: (key: Key) => kaimingUniform(key, shape, fanIn) },
    { name: `${name}.bias`, shape: [outputs], initial: (key: Key) => kaimingUniform(key, [outputs], fanIn) },
  ]
}

/** A vector [channels] against x [n, channels, spatial..]. */
export const perChannel = (v: Expr, x: Expr): Expr => reshape(v, [-1, ...x.shape.slice(2).map(() => 1)])

/** `conv2d` with `name.weight`, plus `name.bias`. */
export const conv = (p: Lookup, name: string, x: Expr, options: ConvOptions = {}): Expr =>
  add(conv2d(x, p(`${name}.weight`), options), reshape(p(`${name}.bias`), [-1, 1, 1]))

export class ConvError extends Error {
  override name = 'model.ConvError'
}
