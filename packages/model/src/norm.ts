// Normalisations: over the batch, each channel, groups of channels, or the last axes. Meaning and defaults are PyTorch's and ONNX's, which agree but for the
// running variance (`runningMoments`).

import { type Expr, type Shape, sizeOf } from '@bitloom/graph'
import { balancedMean } from './balanced.ts'
import { perChannel } from './conv.ts'
import { withDerivative } from './derivative.ts'
import type { Parameter } from './nn.ts'
import { add, axisOf, div, full, mean, mul, reshape, sqrt, sub } from './tensor.ts'

export type Moments = { readonly mean: Expr; readonly variance: Expr }
export type Standardized = Moments & { readonly y: Expr }

/**
 * (x - mean) / √(variance + eps) over `axes`; mean and (biased) variance keep those axes with size 1. The gradient is the closed form
 * (dy - mean(dy) - y·mean(dy·y)) / √(variance + eps).
 */
export function standardize(x: Expr, axes: readonly number[], eps = 1e-5): Standardized {
  const centre = balancedMean(x, axes, true)
  const d = sub(x, centre)
  const variance = balancedMean(mul(d, d), axes, true)
  const deviation = sqrt(add(variance, eps))
  const y = div(d, deviation)
  const marked = withDerivative(y, [x], (dy) => {
    const along = mul(y, balancedMean(mul(dy, y), axes, true))
    return [div(sub(sub(dy, balancedMean(dy, axes, true)), along), deviation)]
  })
  return { y: marked, mean: centre, variance }
}

/** Every axis but that of the channels. */
const batchAxes = (x: Expr): number[] => x.shape.flatMap((_, i) => (i === 1 ? [] : [i]))

/** What a batch norm of x [n, c, ..] sees: mean and (biased) variance of each channel, [c]. */
export function batchMoments(x: Expr): Moments {
  const axes = batchAxes(x)
  const centre = balancedMean(x, axes, true)
  const d = sub(x, centre)
  return { mean: reshape(centre, [-1]), variance: balancedMean(mul(d, d), axes) }
}

/** (x - mean) / √(variance + eps) · weight + bias, each [c]. In training give the batch's moments, else the running ones. */
export function batchNorm(x: Expr, moments: Moments, weight: Expr, bias: Expr, eps = 1e-5): Expr {
  const y = div(sub(x, perChannel(moments.mean, x)), sqrt(add(perChannel(moments.variance, x), eps)))
  return affine(y, weight, bias)
}

const affine = (y: Expr, weight: Expr, bias: Expr): Expr => add(mul(y, perChannel(weight, y)), perChannel(bias, y))

/** A batch norm by the batch's own moments, and those moments, [c]. */
export function batchNormTraining(x: Expr, weight: Expr, bias: Expr, eps = 1e-5): Standardized {
  const { y, mean, variance } = standardize(x, batchAxes(x), eps)
  return { y: affine(y, weight, bias), mean: reshape(mean, [-1]), variance: reshape(variance, [-1]) }
}

/**
 * The next running moments: old·(1 - momentum) + batch·momentum. With the `count` elements a channel the variance kept is the unbiased one, as
 * torch.nn.BatchNorm's; with count 0 the biased one, as ONNX's training mode states it (its momentum is 1 - PyTorch's).
 */
export function runningMoments(running: Moments, batch: Moments, count: number, momentum = 0.1): Moments {
  const next = (old: Expr, now: Expr): Expr => add(mul(old, 1 - momentum), mul(now, momentum))
  const kept = count > 1 ? mul(batch.variance, count / (count - 1)) : batch.variance
  return { mean: next(running.mean, batch.mean), variance: next(running.variance, kept) }
}

/** Weight 1, bias 0, and the frozen running mean 0 and variance 1 of a batch norm. */
export const batchNormParameters = (name: string, channels: number): Parameter[] =>
  [
    { name: `${name}.weight`, start: 1, frozen: false },
    { name: `${name}.bias`, start: 0, frozen: false },
    { name: `${name}.running_mean`, start: 0, frozen: true },
    { name: `${name}.running_var`, start: 1, frozen: true },
  ].map(({ start, ...rest }) => ({ ...rest, shape: [channels], initial: () => full([channels], start) }))

/** Each channel of each example of x [n, c, spatial..] by its own moments; weight and bias [c]. */
export function instanceNorm(x: Expr, weight: Expr, bias: Expr, eps = 1e-5): Expr {
  return affine(groupwise(x, x.shape[1], eps), weight, bias)
}

/** Channels in `groups` equal groups, each standardised with all its places (Wu and He 2018). */
export function groupwise(x: Expr, groups: number, eps = 1e-5): Expr {
  const [n, c] = x.shape
  if (c % groups !== 0) throw new NormError(`group norm: ${c} channels in ${groups} groups`)
  const places = sizeOf(x.shape.slice(2))
  // channels apart from places, so that long sums are folded in two stages
  const apart = reshape(x, [n, groups, c / groups, places])
  return reshape(standardize(apart, [2, 3], eps).y, x.shape)
}

/** Group norm; weight and bias [c] or, as ONNX opset 18 has it, [groups]. */
export function groupNorm(x: Expr, groups: number, weight: Expr, bias: Expr, eps = 1e-5): Expr {
  const y = groupwise(x, groups, eps)
  if (weight.shape[0] === x.shape[1]) return affine(y, weight, bias)
  const apart = reshape(y, [x.shape[0], groups, -1])
  return reshape(add(mul(apart, reshape(weight, [groups, 1])), reshape(bias, [groups, 1])), x.shape)
}

/** Layer norm over the axes from `axis` on (Ba, Kiros and Hinton 2016); weight and bias broadcast. */
export function layerNormFrom(x: Expr, axis: number, weight: Expr, bias?: Expr, eps = 1e-5): Standardized {
  const standard = standardize(x, axesFrom(x.shape, axis), eps)
  const y = mul(standard.y, weight)
  return { ...standard, y: bias ? add(y, bias) : y }
}

/** x / √(mean(x²) + eps) · weight over the axes from `axis` on (Zhang and Sennrich 2019). */
export function rmsNorm(x: Expr, axis: number, weight: Expr, eps = 1e-5): Expr {
  const axes = axesFrom(x.shape, axis)
  const size = sqrt(add(mean(mul(x, x), axes, true), eps))
  const y = div(x, size)
  const marked = withDerivative(y, [x], (dy) => [div(sub(dy, mul(y, mean(mul(dy, y), axes, true))), size)])
  return mul(marked, weight)
}

const axesFrom = (shape: Shape, axis: number): number[] => {
  const first = axisOf(shape, axis)
  return shape.flatMap((_, i) => (i >= first ? [i] : []))
}

export class NormError extends Error {
  override name = 'model.NormError'
}
