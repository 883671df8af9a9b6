// Losses by name and plain JSON options, for recipes, the command line and case files alike.

import type { Expr } from '@bitloom/graph'
import { balancedTotal } from '../balanced.ts'
import {
  bceElements,
  bceWithLogitsElements,
  type CrossEntropyOptions,
  crossEntropyElements,
  type Elements,
  huberElements,
  l1Elements,
  mseElements,
  nllElements,
  type Reduction,
  reduced,
  smoothL1Elements,
} from '../loss.ts'
import { cast, reshape } from '../tensor.ts'
import { byName, type Options, readOptions, show } from './options.ts'

/** A loss of a model's output and what it should have been. */
export type Loss = {
  readonly name: string
  /** What a target is: class numbers (integers; where floats of the output's shape are given, probabilities) or values. */
  readonly target: 'class' | 'value'
  readonly reduction: Reduction
  /** The axis of the output that holds the classes, where `target` is `class`. */
  readonly classAxis: (output: Expr, target: Expr) => number
  /** Before the reduction; its first axis is the example. The target may have any dtype. */
  readonly elements: (output: Expr, target: Expr) => Elements
  /** f32 of rank 0: what a step makes small. */
  readonly value: (output: Expr, target: Expr) => Expr
}

type Maker = {
  readonly target: Loss['target']
  readonly make: (o: Options) => { axis?: number; elements: (axis: number) => (x: Expr, t: Expr) => Elements }
}

const classOptions = (o: Options, smoothing: boolean): { axis?: number; options: CrossEntropyOptions } => {
  const weight = o.numbers(['weight', 'weights', 'class_weights'])
  const labelSmoothing = smoothing ? o.number(['label_smoothing', 'labelSmoothing'], 0, { min: 0, max: 1 }) : 0
  const axis = o.maybe(['axis', 'class_axis', 'classAxis', 'dim'], { whole: true })
  const ignoreIndex = o.number(['ignore_index', 'ignoreIndex'], Number.NaN, { whole: true })
  return {
    ...(axis === undefined ? {} : { axis }),
    options: { labelSmoothing, ...(weight ? { weight } : {}), ...(Number.isNaN(ignoreIndex) ? {} : { ignoreIndex }) },
  }
}

const crossEntropyMaker: Maker = {
  target: 'class',
  make: (o) => {
    const { axis, options } = classOptions(o, true)
    return { ...(axis === undefined ? {} : { axis }), elements: (at) => (x, t) => crossEntropyElements(x, t, { ...options, axis: at }) }
  },
}
const nllMaker: Maker = {
  target: 'class',
  make: (o) => {
    const { axis, options } = classOptions(o, false)
    return { ...(axis === undefined ? {} : { axis }), elements: (at) => (x, t) => nllElements(x, t, { ...options, axis: at }) }
  },
}
const values = (make: (o: Options) => (x: Expr, t: Expr) => Elements): Maker => ({
  target: 'value',
  make: (o) => {
    const elements = make(o)
    return { elements: () => elements }
  },
})
const weighted = (o: Options): { weight?: number[] } => {
  const weight = o.numbers(['weight', 'weights'])
  return weight ? { weight } : {}
}
const logits = values((o) => {
  const posWeight = o.numbers(['pos_weight', 'posWeight'])
  const options = { ...weighted(o), ...(posWeight ? { posWeight } : {}) }
  return (x, t) => bceWithLogitsElements(x, t, options)
})
const probabilities = values((o) => {
  const options = weighted(o)
  return (p, t) => bceElements(p, t, options)
})
const squares = values(() => mseElements)
const distances = values(() => l1Elements)
const huber = values((o) => {
  const delta = o.number('delta', 1, { above: 0 })
  return (x, t) => huberElements(x, t, delta)
})
const smooth = values((o) => {
  const beta = o.number('beta', 1, { min: 0 })
  return (x, t) => smoothL1Elements(x, t, beta)
})

const LOSSES: Readonly<Record<string, Maker>> = {
  cross_entropy: crossEntropyMaker,
  softmax_cross_entropy: crossEntropyMaker,
  sequence_cross_entropy: crossEntropyMaker,
  nll: nllMaker,
  nll_loss: nllMaker,
  bce_with_logits: logits,
  binary_cross_entropy_with_logits: logits,
  sigmoid_cross_entropy: logits,
  bce: probabilities,
  binary_cross_entropy: probabilities,
  mse: squares,
  mse_loss: squares,
  l1: distances,
  l1_loss: distances,
  mae: distances,
  huber,
  huber_loss: huber,
  smooth_l1: smooth,
  smooth_l1_loss: smooth,
}

/** The names that `lossByName` knows. */
export const LOSS_NAMES: readonly string[] = Object.keys(LOSSES)

/** The class axis where none was given: the one whose removal leaves the labels' shape, the last if in doubt; probabilities have theirs last, pictures' second. */
function axisFor(x: Expr, t: Expr): number {
  const without = (axis: number): string => `${x.shape.filter((_, i) => i !== axis)}`
  const last = x.shape.length - 1
  const labels = `${t.shape}`
  if (labels === without(last)) return last
  if (labels === without(1)) return 1
  if (labels === `${x.shape}` && t.dtype === 'f32') return x.shape.length > 3 ? 1 : last
  // labels [n, 1] of a table's one column
  return last
}

/** The reduction that a text begins with: `mean over batch*time` is a mean. */
function reductionOf(o: Options): Reduction {
  const text = (o.text('reduction') ?? 'mean').trim().toLowerCase()
  if (
    text === 'batchmean' ||
    (/^mean over (the )?batch\b/.test(text) && /\bsum\b/.test(text)) ||
    /^sum\b.*\bmean over (the )?batch/.test(text)
  )
    return 'batchmean'
  if (/^mean\b/.test(text)) return 'mean'
  if (/^sum\b/.test(text)) return 'sum'
  return o.fail(`reduction ${show(text)} is none of mean, sum, batchmean`)
}

/**
 * The loss of that name. Options are PyTorch's: `reduction`, `weight`, `ignore_index`, `label_smoothing`, `axis`; `pos_weight`; `delta`; `beta`.
 * @param described fields of the options that are prose
 * @throws {OptionError} the name or an option is not understood
 */
export function lossByName(name: string, given: Readonly<Record<string, unknown>> = {}, described: readonly string[] = []): Loss {
  const maker = byName('loss', LOSSES, name)
  const o = readOptions(`loss ${name}`, given, ['type', 'name', ...described])
  const reduction = reductionOf(o)
  const { axis, elements } = maker.make(o)
  o.done()
  const classAxis: Loss['classAxis'] = (x, t) => (axis === undefined ? axisFor(x, t) : axis < 0 ? axis + x.shape.length : axis)
  const apply: Loss['elements'] = (x, t) => {
    if (maker.target === 'value') return elements(-1)(x, valuesLike(x, cast(t, 'f32')))
    const at = classAxis(x, t)
    return elements(at)(x, labelsFor(x, t, at))
  }
  return {
    name,
    target: maker.target,
    reduction,
    classAxis,
    elements: apply,
    value: (x, t) => reduced(apply(x, t), reduction, balancedTotal),
  }
}

/** Targets in the output's shape where only axes of size 1 tell them apart; [n] for [n, 1] would broadcast to [n, n] otherwise. */
function valuesLike(x: Expr, t: Expr): Expr {
  const plain = (e: Expr): string => `${e.shape.filter((d) => d !== 1)}`
  return plain(x) === plain(t) ? reshape(t, x.shape) : t
}

/** Class numbers as i32 in the output's shape without its class axis; probabilities as they are. */
function labelsFor(x: Expr, t: Expr, axis: number): Expr {
  if (`${t.shape}` === `${x.shape}` && t.dtype === 'f32') return t
  const rows = x.shape.filter((_, i) => i !== axis)
  const labels = cast(t, 'i32')
  const size = (shape: readonly number[]): number => shape.reduce((n, d) => n * d, 1)
  return size(labels.shape) === size(rows) ? reshape(labels, rows) : labels
}
