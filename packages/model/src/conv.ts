// Convolution, pooling and batch norm out of window, permute, reshape and dot (docs/numerics.md §3). Layout and meaning are PyTorch's: [batch, channels, height, width].

import { type Expr, expr } from '@bitloom/graph'
import type { Lookup, Parameter } from './nn.ts'
import { type Key, kaimingUniform } from './random.ts'
import { add, div, full, maxOver, mean, mul, pad, permute, reshape, sqrt, sub, sum, window } from './tensor.ts'

export type ConvOptions = {
  /** Of height and width, or of both. */
  readonly stride?: number | readonly [number, number]
  readonly dilation?: number | readonly [number, number]
  /** Zeros around: height and width, or top, left, bottom, right. */
  readonly padding?: number | readonly [number, number] | readonly [number, number, number, number]
  readonly groups?: number
}

const both = (x: number | readonly [number, number] = 1): readonly [number, number] => (typeof x === 'number' ? [x, x] : x)
const sides = (p: ConvOptions['padding'] = 0): readonly number[] =>
  typeof p === 'number' ? [p, p, p, p] : p.length === 2 ? [p[0], p[1], p[0], p[1]] : p

/** x [a, b, height, width] with a border, as windows [a, b, out height, kernel height, out width, kernel width]. */
function windows(x: Expr, kernel: readonly [number, number], options: ConvOptions, fill: number): Expr {
  const [top, left, bottom, right] = sides(options.padding)
  const [stride, dilation] = [both(options.stride), both(options.dilation)]
  const bordered = pad(x, [0, 0, top, left], [0, 0, bottom, right], undefined, fill)
  return window(window(bordered, 2, kernel[0], stride[0], dilation[0]), 4, kernel[1], stride[1], dilation[1])
}

/**
 * Cross-correlation of x [n, c, h, w] with weight [o, c/groups, kh, kw], as one (batched) product: weight times columns. Each output folds channel, then row, then
 * column of the kernel, borders included.
 * @throws {ConvError} channels and groups do not fit
 */
export function conv2d(x: Expr, weight: Expr, options: ConvOptions = {}): Expr {
  const { groups = 1 } = options
  const [n, channels] = x.shape
  const [outputs, inner, kh, kw] = weight.shape
  if (inner * groups !== channels || outputs % groups !== 0)
    throw new ConvError(`conv2d: [${x.shape}] with weight [${weight.shape}] in ${groups} groups: channels differ`)
  const patches = windows(permute(x, [1, 0, 2, 3]), [kh, kw], options, 0)
  const [, , oh, , ow] = patches.shape
  const terms = inner * kh * kw
  const columns = permute(patches, [0, 3, 5, 1, 2, 4])
  const product =
    groups === 1
      ? expr('dot', [reshape(weight, [outputs, terms]), reshape(columns, [terms, n * oh * ow])])
      : expr('dot', [reshape(weight, [groups, outputs / groups, terms]), reshape(columns, [groups, terms, n * oh * ow])])
  return permute(reshape(product, [outputs, n, oh, ow]), [1, 0, 2, 3])
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

/** `conv2d` with `name.weight`, plus `name.bias`. */
export const conv = (p: Lookup, name: string, x: Expr, options: ConvOptions = {}): Expr =>
  add(conv2d(x, p(`${name}.weight`), options), reshape(p(`${name}.bias`), [-1, 1, 1]))

/** Largest of each window, which starts where the last ended unless a stride is given; the border counts as -inf. */
export function maxPool2d(x: Expr, kernel: number | readonly [number, number], options: ConvOptions = {}): Expr {
  const size = both(kernel)
  return maxOver(windows(x, size, { stride: size, ...options }, Number.NEGATIVE_INFINITY), [3, 5])
}

/** Mean of each window, the border's zeros counted. */
export function averagePool2d(x: Expr, kernel: number | readonly [number, number], options: ConvOptions = {}): Expr {
  const size = both(kernel)
  return div(sum(windows(x, size, { stride: size, ...options }, 0), [3, 5]), size[0] * size[1])
}

/** What a batch norm over axes 0, 2, 3 sees: mean and (biased) variance of each channel, [c]. */
export function batchMoments(x: Expr): { readonly mean: Expr; readonly variance: Expr } {
  const centre = mean(x, [0, 2, 3], true)
  const d = sub(x, centre)
  return { mean: reshape(centre, [-1]), variance: mean(mul(d, d), [0, 2, 3]) }
}

/** (x - mean) / √(variance + eps) · weight + bias, each [c]. In training give the batch's moments, else the running ones. */
export function batchNorm(x: Expr, moments: { mean: Expr; variance: Expr }, weight: Expr, bias: Expr, eps = 1e-5): Expr {
  const channel = (v: Expr): Expr => reshape(v, [-1, 1, 1])
  const y = div(sub(x, channel(moments.mean)), sqrt(add(channel(moments.variance), eps)))
  return add(mul(y, channel(weight)), channel(bias))
}

/** The next running moments, as torch.nn.BatchNorm2d: the variance that is kept is the unbiased one of `count` elements a channel. */
export function runningMoments(
  running: { mean: Expr; variance: Expr },
  batch: { mean: Expr; variance: Expr },
  count: number,
  momentum = 0.1,
): { mean: Expr; variance: Expr } {
  const next = (old: Expr, now: Expr): Expr => add(mul(old, 1 - momentum), mul(now, momentum))
  return { mean: next(running.mean, batch.mean), variance: next(running.variance, mul(batch.variance, count / (count - 1))) }
}

/** Weight 1, bias 0, and the frozen running mean 0 and variance 1 of a batch norm. */
export const batchNormParameters = (name: string, channels: number): Parameter[] =>
  [
    { name: `${name}.weight`, start: 1, frozen: false },
    { name: `${name}.bias`, start: 0, frozen: false },
    { name: `${name}.running_mean`, start: 0, frozen: true },
    { name: `${name}.running_var`, start: 1, frozen: true },
  ].map(({ start, ...rest }) => ({ ...rest, shape: [channels], initial: () => full([channels], start) }))

export class ConvError extends Error {
  override name = 'model.ConvError'
}
