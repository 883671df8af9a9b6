// Optimizers by name and plain JSON options, for recipes, the command line and case files alike.

import type { Shape } from '@bitloom/graph'
import { slotName } from '../onnx/names.ts'
import { adagrad, adam, adamw, type Decays, lion, maximizing, type Optimizer, rmsprop, scaledRates, sgd } from '../optim.ts'
import { byName, matches, type Options, readOptions, show } from './options.ts'

type Selector = (name: string, shape: Shape) => boolean

const betasOf = (o: Options, fallback: readonly [number, number]): [number, number] => {
  const both = o.numbers('betas')
  const one = o.maybe(['beta1', 'beta_1'])
  const two = o.maybe(['beta2', 'beta_2'])
  if (both && both.length !== 2) o.fail(`"betas" has ${both.length} numbers, not 2`)
  if (both && (one !== undefined || two !== undefined)) o.fail('give either "betas" or "beta1" and "beta2"')
  const betas: [number, number] = [both?.[0] ?? one ?? fallback[0], both?.[1] ?? two ?? fallback[1]]
  for (const b of betas) if (!(b >= 0 && b < 1)) o.fail(`a beta of ${b}; betas are in 0 … 1, 1 excluded`)
  return betas
}
const epsOf = (o: Options, fallback: number): number => o.number(['eps', 'epsilon'], fallback, { min: 0 })

type Maker = (o: Options, decay: { weightDecay?: number; decays: Decays }) => Optimizer

const momentumOf = (o: Options): number => o.number('momentum', 0, { min: 0 })
const sgdMaker: Maker = (o, decay) =>
  sgd({ ...decay, momentum: momentumOf(o), dampening: o.number('dampening', 0), nesterov: o.flag('nesterov', false) })

const OPTIMIZERS: Readonly<Record<string, Maker>> = {
  sgd: sgdMaker,
  momentum: sgdMaker,
  adam: (o, decay) => {
    const options = { ...decay, betas: betasOf(o, [0.9, 0.999]), eps: epsOf(o, 1e-8), amsgrad: o.flag('amsgrad', false) }
    // a case may call decoupled decay Adam's: the field decides, not the name
    return o.flag(['decoupled', 'decoupled_weight_decay', 'decoupledWeightDecay'], false)
      ? adamw({ weightDecay: 0, ...options })
      : adam(options)
  },
  adamw: (o, decay) => adamw({ ...decay, betas: betasOf(o, [0.9, 0.999]), eps: epsOf(o, 1e-8), amsgrad: o.flag('amsgrad', false) }),
  rmsprop: (o, decay) =>
    rmsprop({
      ...decay,
      alpha: o.number(['alpha', 'rho', 'smoothing'], 0.99, { min: 0, max: 1 }),
      eps: epsOf(o, 1e-8),
      momentum: momentumOf(o),
      centered: o.flag('centered', false),
    }),
  adagrad: (o, decay) =>
    adagrad({
      ...decay,
      lrDecay: o.number(['lr_decay', 'lrDecay'], 0, { min: 0 }),
      eps: epsOf(o, 1e-10),
      initialAccumulator: o.number(['initial_accumulator_value', 'initial_accumulator', 'initialAccumulator'], 0, { min: 0 }),
    }),
  lion: (o, decay) => lion({ ...decay, betas: betasOf(o, [0.9, 0.99]) }),
}

/** The names that `optimizerByName` knows. */
export const OPTIMIZER_NAMES: readonly string[] = Object.keys(OPTIMIZERS)

/** Whether a pattern, or a whole name longer than a slot's may be, is this parameter's. */
const means = (pattern: string, name: string): boolean => matches(pattern, name) || (!pattern.includes('*') && slotName(pattern) === name)

/**
 * Which parameters a text, a list of patterns or an object means: `all`, `none`, `matrices` (2 dims and more), `weights` (names ending in weight), prose that
 * begins so or says `>= 2 dims`, patterns with `*`, or { min_dims, match, except }.
 * @throws {OptionError} the selector is not understood
 */
export function parameterSelector(given: unknown, fail: Options['fail']): Selector {
  if (Array.isArray(given) && given.every((x) => typeof x === 'string')) return (name) => given.some((pattern) => means(pattern, name))
  if (typeof given === 'object' && given !== null && !Array.isArray(given)) {
    const o = readOptions('selector', given as Record<string, unknown>)
    const dims = o.number(['min_dims', 'min_ndim', 'minDims'], 0, { min: 0, whole: true })
    const [match, except] = [o.any(['match', 'names', 'parameters']), o.any(['except', 'exclude'])]
    o.done()
    const [wanted, unwanted] = [
      match === undefined ? () => true : parameterSelector(match, fail),
      except === undefined ? () => false : parameterSelector(except, fail),
    ]
    return (name, shape) => shape.length >= dims && wanted(name, shape) && !unwanted(name, shape)
  }
  if (typeof given === 'boolean') return () => given
  if (typeof given !== 'string') return fail(`${show(given)} says no set of parameters`)
  const text = given.trim().toLowerCase()
  const dims =
    /(?:>=|≥|at least|min(?:imum)?)\s*(\d)\s*(?:-?d\b|dim|axes|rank)/.exec(text) ??
    /(?:dim|ndim|rank)\w*(?:\(\))?\s*(?:>=|≥)\s*(\d)/.exec(text)
  const above = /(?:>|more than)\s*(\d)\s*(?:-?d\b|dim|axes)/.exec(text) ?? /(?:dim|ndim|rank)\w*(?:\(\))?\s*>\s*(\d)/.exec(text)
  if (dims) return (_, shape) => shape.length >= Number(dims[1])
  if (above) return (_, shape) => shape.length > Number(above[1])
  if (/^matri/.test(text)) return (_, shape) => shape.length >= 2
  if (/^(no|none|nothing)\b(?! bias| norm)/.test(text)) return () => false
  // a bias or a norm's scale has one axis, whatever it is called
  if (/(no|not|except|without|excluding|but)\b.*\b(bias|norm|bn)/.test(text)) return exceptFor(/\bbias/.test(text), /norm|\bbn/.test(text))
  if (/^weights?\b/.test(text)) return (name) => /(^|[._])weight/.test(name)
  if (/^(all|every|everything)\b/.test(text)) return () => true
  if (!/\s/.test(given)) return (name) => means(given, name)
  return fail(
    `${show(given)} says no set of parameters that we understand\nSay all, none, matrices, weights, a list of name patterns, or {"min_dims": 2}.`,
  )
}

const exceptFor =
  (biases: boolean, norms: boolean): Selector =>
  (name, shape) =>
    !(biases && /(^|[._])bias/.test(name)) && !(norms && shape.length < 2 && !/(^|[._])bias/.test(name))

/** Weight decay and learning-rate factors of named groups: [{ match, weight_decay, lr_factor }]; the first that matches. */
function groupsOf(o: Options): { match: Selector; decay: number | undefined; factor: number | undefined }[] {
  const given = o.any(['groups', 'param_groups', 'parameter_groups'])
  if (given === undefined) return []
  if (!Array.isArray(given)) return o.fail(`"groups" is ${show(given)}, not a list`)
  return given.map((group, i) => {
    const g = readOptions(`optimizer group ${i}`, group as Record<string, unknown>, ['note', 'name'])
    const match = parameterSelector(g.any(['match', 'parameters', 'params', 'names']), g.fail)
    const decay = g.maybe(['weight_decay', 'weightDecay'], { min: 0 })
    const factor = g.maybe(['lr_factor', 'lr_scale', 'lr_mult', 'lrFactor'], { min: 0 })
    g.done()
    return { match, decay, factor }
  })
}

/**
 * The optimizer of that name. Options are PyTorch's: `momentum`, `dampening`, `nesterov`, `betas` (or `beta1`, `beta2`), `eps`, `amsgrad`, `alpha`, `centered`,
 * `lr_decay`, `initial_accumulator_value`, `weight_decay`, `maximize`; `decay_only` / `no_decay` choose who decays, `groups` gives sets of parameters a weight
 * decay or a factor on the learning rate of their own.
 * @param described fields of the options that are prose
 * @throws {OptionError} the name or an option is not understood
 */
export function optimizerByName(name: string, given: Readonly<Record<string, unknown>> = {}, described: readonly string[] = []): Optimizer {
  const make = byName('optimizer', OPTIMIZERS, name)
  const o = readOptions(`optimizer ${name}`, given, ['type', 'name', 'foreach', 'fused', 'capturable', 'differentiable', ...described])
  const weightDecay = o.maybe(['weight_decay', 'weightDecay', 'decay'], { min: 0 })
  const [only, never] = [
    o.any(['decay_only', 'decayOnly', 'decay_on', 'decay_parameters', 'decayed', 'weight_decay_on', 'weight_decay_only']),
    o.any(['no_decay', 'noDecay', 'not_decayed']),
  ]
  const [decayed, spared] = [
    only === undefined ? () => true : parameterSelector(only, o.fail),
    never === undefined ? () => false : parameterSelector(never, o.fail),
  ]
  const groups = groupsOf(o)
  const decays: Decays = (parameter, shape) =>
    groups.find((g) => g.match(parameter, shape))?.decay ?? (decayed(parameter, shape) && !spared(parameter, shape))
  if (!o.flag(['bias_correction', 'biasCorrection'], true)) o.fail('moments without bias correction are not supported')
  const maximize = o.flag('maximize', false)
  const optimizer = make(o, { ...(weightDecay === undefined ? {} : { weightDecay }), decays })
  o.done()
  const scaled = groups.some((g) => g.factor !== undefined)
    ? scaledRates(optimizer, (parameter, shape) => groups.find((g) => g.match(parameter, shape))?.factor ?? 1)
    : optimizer
  return maximize ? maximizing(scaled) : scaled
}
