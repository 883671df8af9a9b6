// Losses, as PyTorch defines them: what a step makes small. Most give one f32 (rank 0), the mean over its elements, long sums in two stages (docs/numerics.md §4);
// `Elements` are a loss before its reduction, for other reductions and for data sets larger than a batch.

import { type Expr, sizeOf } from '@bitloom/graph'
import { withDerivative } from './derivative.ts'
import { exp, log, softplus } from './math.ts'
import {
  abs,
  add,
  broadcastTo,
  cast,
  div,
  le,
  lt,
  max,
  maxOver,
  mul,
  ne,
  neg,
  oneHot,
  permute,
  reshape,
  sub,
  sum,
  total,
  unsqueeze,
  vector,
  where,
} from './tensor.ts'

/** One value an element, its weight already inside; the mean divides by the sum of `weights`, or by the number of elements where there are none. */
export type Elements = { readonly values: Expr; readonly weights?: Expr }

/** `batchmean` is the sum over the number of examples (the first axis). */
export type Reduction = 'mean' | 'sum' | 'batchmean'

/** The elements of a loss made one number, f32 of rank 0. `sumOf` adds them up. */
export function reduced({ values, weights }: Elements, reduction: Reduction = 'mean', sumOf: (x: Expr) => Expr = total): Expr {
  if (reduction === 'sum') return sumOf(values)
  if (reduction === 'batchmean') return div(sumOf(values), values.shape[0] ?? 1)
  return div(sumOf(values), weights ? sumOf(weights) : sizeOf(values.shape))
}

/** log Σ exp(x) over the last axis, its largest entry subtracted first. */
export function logSumExp(x: Expr): Expr {
  const top = maxOver(x, -1, true)
  const e = exp(sub(x, top))
  const total = sum(e, -1)
  const y = add(log(total), reshape(top, total.shape))
  return withDerivative(y, [x], (dy) => [mul(unsqueeze(dy, -1), div(e, unsqueeze(total, -1)))])
}

/**
 * -log softmax(logits)[label] of each row; its gradient is softmax - one-hot.
 * @param logits f32 [.., classes]
 * @param labels i32 [..]
 */
export function crossEntropyRows(logits: Expr, labels: Expr): Expr {
  const top = maxOver(logits, -1, true)
  const shifted = sub(logits, top)
  const e = exp(shifted)
  const total = sum(e, -1)
  const hit = oneHot(labels, logits.shape[logits.shape.length - 1])
  const y = sub(log(total), sum(where(hit, shifted, 0), -1))
  return withDerivative(y, [logits], (dy) => [
    mul(sub(div(e, unsqueeze(total, -1)), cast(hit, 'f32')), broadcastTo(unsqueeze(dy, -1), logits.shape)),
  ])
}

/**
 * -Σ target·log softmax(logits) of each row, for any target; its gradient is Σtarget·softmax - target.
 * @param target f32, of the logits' shape
 */
export function softCrossEntropyRows(logits: Expr, target: Expr): Expr {
  const top = maxOver(logits, -1, true)
  const shifted = sub(logits, top)
  const e = exp(shifted)
  const partition = sum(e, -1)
  const mass = sum(target, -1)
  const y = sub(mul(log(partition), mass), sum(mul(target, shifted), -1))
  return withDerivative(y, [logits, target], (dy) => {
    const spread = broadcastTo(unsqueeze(dy, -1), logits.shape)
    const soft = mul(div(e, unsqueeze(partition, -1)), unsqueeze(mass, -1))
    return [mul(sub(soft, target), spread), mul(sub(unsqueeze(log(partition), -1), shifted), spread)]
  })
}

export type CrossEntropyOptions = {
  /** A factor for each class. */
  readonly weight?: readonly number[]
  /** Rows of this label count for nothing; PyTorch's default is -100. */
  readonly ignoreIndex?: number
  /** The share of the target that is spread evenly over all classes. */
  readonly labelSmoothing?: number
  /** Where the classes are: -1 (default) or, as for pictures [n, classes, ..], 1. */
  readonly axis?: number
}

/** The class axis moved to the end. */
function classesLast(x: Expr, axis: number): Expr {
  const at = axis < 0 ? axis + x.shape.length : axis
  if (at === x.shape.length - 1) return x
  const rest = x.shape.flatMap((_, i) => (i === at ? [] : [i]))
  return permute(x, [...rest, at])
}

const classWeights = (weight: readonly number[] | undefined, classes: number): Expr | undefined => {
  if (weight && weight.length !== classes) throw new LossError(`${weight.length} class weights for ${classes} classes`)
  return weight && vector(weight)
}

/** Each row's class weight; 0 where its label is ignored. */
const rowWeights = (labels: Expr, w: Expr | undefined, classes: number, kept: Expr | undefined): Expr => {
  const own = w ? sum(where(oneHot(labels, classes), broadcastTo(w, [...labels.shape, classes]), 0), -1) : undefined
  return own && kept ? where(kept, own, 0) : (own ?? cast(kept!, 'f32'))
}

/**
 * Cross-entropy of logits with class numbers (i32, the logits' shape without the class axis) or with probabilities (f32, the logits' shape).
 * A mean divides by the weights of the rows that count, or for probabilities by the number of rows; source: torch.nn.CrossEntropyLoss.
 * @throws {LossError} shapes or the number of weights do not fit
 */
export function crossEntropyElements(logits: Expr, target: Expr, options: CrossEntropyOptions = {}): Elements {
  const { weight, ignoreIndex, labelSmoothing = 0, axis = -1 } = options
  const x = classesLast(logits, axis)
  const classes = x.shape[x.shape.length - 1]
  const w = classWeights(weight, classes)
  if (target.dtype === 'f32') {
    const given = classesLast(target, axis)
    if (`${given.shape}` !== `${x.shape}`) throw new LossError(`probabilities [${target.shape}] for logits [${logits.shape}]`)
    const smooth = labelSmoothing === 0 ? given : add(mul(given, 1 - labelSmoothing), labelSmoothing / classes)
    return { values: softCrossEntropyRows(x, w ? mul(smooth, w) : smooth) }
  }
  if (`${target.shape}` !== `${x.shape.slice(0, -1)}`)
    throw new LossError(`labels [${target.shape}] for logits [${logits.shape}], classes on axis ${axis}`)
  const kept = ignoreIndex === undefined ? undefined : ne(target, ignoreIndex)
  if (!w && !kept && labelSmoothing === 0) return { values: crossEntropyRows(x, target) }
  const weights = w || kept ? rowWeights(target, w, classes, kept) : undefined
  let rows: Expr
  if (labelSmoothing === 0) rows = w ? mul(crossEntropyRows(x, target), weights!) : crossEntropyRows(x, target)
  else {
    const one = cast(oneHot(target, classes), 'f32')
    const smooth = add(mul(one, 1 - labelSmoothing), labelSmoothing / classes)
    rows = softCrossEntropyRows(x, w ? mul(smooth, w) : smooth)
  }
  const values = kept ? where(kept, rows, 0) : rows
  return weights ? { values, weights } : { values }
}

/** Mean cross-entropy of logits [.., classes] and class numbers i32 [..] (or probabilities f32 [.., classes]). */
export const crossEntropy = (logits: Expr, target: Expr, options: CrossEntropyOptions = {}): Expr =>
  reduced(crossEntropyElements(logits, target, options))

/** Negative log-likelihood: -x[label] of log-probabilities, weights and ignored labels as in cross-entropy; source: torch.nn.NLLLoss. */
export function nllElements(x: Expr, labels: Expr, options: Omit<CrossEntropyOptions, 'labelSmoothing'> = {}): Elements {
  const { weight, ignoreIndex, axis = -1 } = options
  const last = classesLast(x, axis)
  const classes = last.shape[last.shape.length - 1]
  if (`${labels.shape}` !== `${last.shape.slice(0, -1)}`) throw new LossError(`labels [${labels.shape}] for log-probabilities [${x.shape}]`)
  const w = classWeights(weight, classes)
  const kept = ignoreIndex === undefined ? undefined : ne(labels, ignoreIndex)
  const rows = neg(sum(where(oneHot(labels, classes), last, 0), -1))
  if (!w && !kept) return { values: rows }
  const weights = rowWeights(labels, w, classes, kept)
  const weighted = w ? mul(rows, weights) : rows
  return { values: kept ? where(kept, weighted, 0) : weighted, weights }
}

/** (x - target)². */
export function mseElements(x: Expr, target: Expr): Elements {
  const d = sub(x, target)
  return { values: mul(d, d) }
}

/** |x - target|; its slope at 0 is 0. */
export const l1Elements = (x: Expr, target: Expr): Elements => ({ values: abs(sub(x, target)) })

/** Huber's loss: d²/2 where |d| ≤ delta, else delta·(|d| - delta/2). */
export function huberElements(x: Expr, target: Expr, delta = 1): Elements {
  const d = sub(x, target)
  const a = abs(d)
  return { values: where(le(a, delta), mul(mul(d, d), 0.5), mul(sub(a, delta / 2), delta)) }
}

/** Smooth L1: d²/(2·beta) where |d| < beta, else |d| - beta/2; with beta 0 it is L1. Source: torch.nn.SmoothL1Loss. */
export function smoothL1Elements(x: Expr, target: Expr, beta = 1): Elements {
  if (beta === 0) return l1Elements(x, target)
  const d = sub(x, target)
  const a = abs(d)
  return { values: where(lt(a, beta), div(mul(mul(d, d), 0.5), beta), sub(a, beta / 2)) }
}

export type BceOptions = {
  /** A factor for the positive share of each class (the last axis), or one for all. */
  readonly posWeight?: readonly number[]
  /** A factor for each class (the last axis), or one for all. */
  readonly weight?: readonly number[]
}

const along = (x: Expr, factors: readonly number[]): Expr => {
  const last = x.shape[x.shape.length - 1] ?? 1
  if (factors.length !== 1 && factors.length !== last) throw new LossError(`${factors.length} weights for [${x.shape}]`)
  return broadcastTo(factors.length === 1 ? reshape(vector(factors), []) : vector(factors), x.shape)
}

/** Binary cross-entropy of logits and targets in [0, 1]: softplus(x) - x·target, the positive share times `posWeight`; source: torch.nn.BCEWithLogitsLoss. */
export function bceWithLogitsElements(x: Expr, target: Expr, options: BceOptions = {}): Elements {
  const { posWeight, weight } = options
  const values = posWeight
    ? add(mul(sub(1, target), x), mul(add(mul(target, sub(along(x, posWeight), 1)), 1), softplus(neg(x))))
    : sub(softplus(x), mul(x, target))
  return { values: weight ? mul(values, along(x, weight)) : values }
}

/** Binary cross-entropy of probabilities; logarithms are held at -100 and above, and the slope's divisor at 1e-12, as PyTorch does. */
export function bceElements(p: Expr, target: Expr, options: Pick<BceOptions, 'weight'> = {}): Elements {
  const floored = (q: Expr): Expr => where(le(-100, log(q)), log(q), -100)
  const hit = mul(target, floored(p))
  const miss = mul(sub(1, target), floored(sub(1, p)))
  const values = withDerivative(neg(add(hit, miss)), [p, target], (dy) => [
    mul(dy, div(sub(p, target), max(mul(sub(1, p), p), 1e-12))),
    mul(dy, sub(floored(sub(1, p)), floored(p))),
  ])
  return { values: options.weight ? mul(values, along(p, options.weight)) : values }
}

/** Mean squared error. */
export const mse = (x: Expr, target: Expr): Expr => reduced(mseElements(x, target))
/** Mean absolute error. */
export const l1 = (x: Expr, target: Expr): Expr => reduced(l1Elements(x, target))
/** The mean of Huber's loss. */
export const huber = (x: Expr, target: Expr, delta = 1): Expr => reduced(huberElements(x, target, delta))
/** The mean of smooth L1. */
export const smoothL1 = (x: Expr, target: Expr, beta = 1): Expr => reduced(smoothL1Elements(x, target, beta))
/** The mean binary cross-entropy of logits. */
export const bceWithLogits = (x: Expr, target: Expr, options: BceOptions = {}): Expr => reduced(bceWithLogitsElements(x, target, options))
/** The mean binary cross-entropy of probabilities. */
export const bce = (p: Expr, target: Expr): Expr => reduced(bceElements(p, target))
/** The mean negative log-likelihood of log-probabilities. */
export const nll = (x: Expr, labels: Expr, options: Omit<CrossEntropyOptions, 'labelSmoothing'> = {}): Expr =>
  reduced(nllElements(x, labels, options))

export class LossError extends Error {
  override name = 'model.LossError'
}
