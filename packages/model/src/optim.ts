// Optimizers as PyTorch defines them: exprs from parameter, gradient and moments to the next ones.

import type { Expr, Shape } from '@bitloom/graph'
import { add, constant, div, eq, lt, max, min, mul, neg, sqrt, sub, total, where } from './tensor.ts'

export type Optimizer = {
  /** Per-parameter state, each of the parameter's shape and 0 at first: `fc1.weight.m`. */
  readonly moments: readonly string[]
  /** Shared state, each f32[1] and 0 at first: `adam.c1`. */
  readonly shared: readonly string[]
  /** The shared state of this step, from that of the last. */
  readonly advance: (shared: readonly Expr[]) => Expr[]
  /** The next parameter and moments. `lr` is rank 0, `shared` is this step's. */
  readonly update: (p: Tensors) => { readonly parameter: Expr; readonly moments: readonly Expr[] }
}

/** What an update reads. */
export type Tensors = {
  readonly name: string
  readonly parameter: Expr
  readonly gradient: Expr
  readonly moments: readonly Expr[]
  readonly shared: readonly Expr[]
  readonly lr: Expr
}

/** Which parameters decay; all by default. A number takes the place of `weightDecay` for that parameter: decay groups. */
export type Decays = (name: string, shape: Shape) => boolean | number

type Decay = { readonly weightDecay?: number; readonly decays?: Decays }

const rateOf = ({ weightDecay = 0, decays = () => true }: Decay, name: string, shape: Shape): number => {
  const chosen = decays(name, shape)
  return typeof chosen === 'number' ? chosen : chosen ? weightDecay : 0
}

/** The gradient with weight decay added, as an L2 penalty does. */
const penalised = (decay: Decay, { name, parameter, gradient }: Tensors): Expr => {
  const rate = rateOf(decay, name, parameter.shape)
  return rate !== 0 ? add(gradient, mul(parameter, rate)) : gradient
}

/** The parameter shrunk by 1 - lr·decay, as decoupled weight decay does. */
const shrunk = (decay: Decay, { name, parameter, lr }: Tensors): Expr => {
  const rate = rateOf(decay, name, parameter.shape)
  return rate !== 0 ? mul(parameter, sub(1, mul(lr, rate))) : parameter
}

export type SgdOptions = Decay & { readonly momentum?: number; readonly dampening?: number; readonly nesterov?: boolean }

/**
 * Stochastic gradient descent: v ← momentum·v + (1 - dampening)·g (v ← g at the first step), w ← w - lr·v (Nesterov: g + momentum·v in place of v). Weight
 * decay is added to the gradient. Source: torch.optim.SGD.
 */
export function sgd(options: SgdOptions = {}): Optimizer {
  const { momentum = 0, dampening = 0, nesterov = false } = options
  if (nesterov && (momentum === 0 || dampening !== 0)) throw new OptimizerError('sgd: nesterov needs a momentum above 0 and no dampening')
  const damped = momentum !== 0 && dampening !== 0
  return {
    moments: momentum === 0 ? [] : ['m'],
    shared: damped ? ['sgd.t'] : [],
    advance: (shared) => shared.map((t) => add(t, 1)),
    update: (p) => {
      const { parameter, moments, shared, lr } = p
      const g = penalised(options, p)
      if (momentum === 0) return { parameter: sub(parameter, mul(g, lr)), moments: [] }
      const v = add(mul(moments[0], momentum), damped ? mul(g, where(eq(shared[0], 1), 1, constant(1 - dampening))) : g)
      return { parameter: sub(parameter, mul(nesterov ? add(g, mul(v, momentum)) : v, lr)), moments: [v] }
    },
  }
}

export type AdamOptions = Decay & { readonly betas?: readonly [number, number]; readonly eps?: number; readonly amsgrad?: boolean }

/**
 * Adam (Kingma and Ba 2015), weight decay added to the gradient; `amsgrad` divides by the largest second moment so far (Reddi et al. 2018). Source:
 * torch.optim.Adam.
 *
 * Bias correction: 1 - beta^t is kept as state by the recursion c ← beta·c + (1 - beta) from 0, the same moving average that the moments follow, so
 * it needs no pow and its rounding errors do not grow as those of 1 - beta^t would near beta = 1.
 */
export const adam = (options: AdamOptions = {}): Optimizer => adamLike(options, false)

/** AdamW (Loshchilov and Hutter 2019): weights shrink by 1 - lr·weightDecay beside the Adam step; source: torch.optim.AdamW. */
export const adamw = (options: AdamOptions = {}): Optimizer => adamLike({ weightDecay: 0.01, ...options }, true)

/** old·beta + x·(1 - beta). */
const average = (old: Expr, x: Expr, beta: number): Expr => add(mul(old, beta), mul(x, 1 - beta))

function adamLike(options: AdamOptions, decoupled: boolean): Optimizer {
  const { betas = [0.9, 0.999], eps = 1e-8, amsgrad = false } = options
  return {
    moments: amsgrad ? ['m', 'v', 'vmax'] : ['m', 'v'],
    shared: ['adam.c1', 'adam.c2'],
    advance: (shared) => betas.map((beta, i) => add(mul(shared[i], beta), 1 - beta)),
    update: (p) => {
      const { parameter, gradient, moments, shared, lr } = p
      const g = decoupled ? gradient : penalised(options, p)
      const w = decoupled ? shrunk(options, p) : parameter
      const m = average(moments[0], g, betas[0])
      const v = average(moments[1], mul(g, g), betas[1])
      const largest = amsgrad ? max(moments[2], v) : v
      const denominator = add(div(sqrt(largest), sqrt(shared[1])), eps)
      const next = sub(w, div(mul(m, div(lr, shared[0])), denominator))
      return { parameter: next, moments: amsgrad ? [m, v, largest] : [m, v] }
    },
  }
}

export type RmspropOptions = Decay & {
  readonly alpha?: number
  readonly eps?: number
  readonly momentum?: number
  readonly centered?: boolean
}

/**
 * RMSprop: w ← w - lr·g/(√s + eps) with s ← alpha·s + (1 - alpha)·g²; `centered` takes the squared mean gradient from s, `momentum` averages the quotient.
 * Source: torch.optim.RMSprop.
 */
export function rmsprop(options: RmspropOptions = {}): Optimizer {
  const { alpha = 0.99, eps = 1e-8, momentum = 0, centered = false } = options
  return {
    moments: ['s', ...(centered ? ['a'] : []), ...(momentum !== 0 ? ['m'] : [])],
    shared: [],
    advance: () => [],
    update: (p) => {
      const { parameter, moments, lr } = p
      const g = penalised(options, p)
      const s = average(moments[0], mul(g, g), alpha)
      const a = centered ? average(moments[1], g, alpha) : undefined
      const root = add(sqrt(a ? sub(s, mul(a, a)) : s), eps)
      const before = a ? [s, a] : [s]
      if (momentum === 0) return { parameter: sub(parameter, div(mul(g, lr), root)), moments: before }
      const m = add(mul(moments[before.length], momentum), div(g, root))
      return { parameter: sub(parameter, mul(m, lr)), moments: [...before, m] }
    },
  }
}

export type AdagradOptions = Decay & { readonly lrDecay?: number; readonly eps?: number; readonly initialAccumulator?: number }

/** Adagrad (Duchi, Hazan and Singer 2011): w ← w - lr/(1 + (t-1)·lrDecay)·g/(√Σg² + eps); source: torch.optim.Adagrad. */
export function adagrad(options: AdagradOptions = {}): Optimizer {
  const { lrDecay = 0, eps = 1e-10, initialAccumulator = 0 } = options
  const counts = lrDecay !== 0 || initialAccumulator !== 0
  return {
    moments: ['s'],
    shared: counts ? ['adagrad.t'] : [],
    advance: (shared) => shared.map((t) => add(t, 1)),
    update: (p) => {
      const { parameter, moments, shared, lr } = p
      const g = penalised(options, p)
      const old = initialAccumulator !== 0 ? where(eq(shared[0], 1), constant(initialAccumulator), moments[0]) : moments[0]
      const s = add(old, mul(g, g))
      const rate = lrDecay !== 0 ? div(lr, add(mul(sub(shared[0], 1), lrDecay), 1)) : lr
      return { parameter: sub(parameter, div(mul(g, rate), add(sqrt(s), eps))), moments: [s] }
    },
  }
}

/** Lion (Chen et al. 2023): w ← w·(1 - lr·weightDecay) - lr·sign(b1·m + (1-b1)·g), then m ← b2·m + (1-b2)·g; the sign of 0 is 0. */
export function lion(options: Decay & { readonly betas?: readonly [number, number] } = {}): Optimizer {
  const { betas = [0.9, 0.99] } = options
  return {
    moments: ['m'],
    shared: [],
    advance: () => [],
    update: (p) => {
      const { gradient, moments, lr } = p
      const direction = average(moments[0], gradient, betas[0])
      const step = where(lt(0, direction), lr, where(lt(direction, 0), neg(lr), 0))
      return { parameter: sub(shrunk(options, p), step), moments: [average(moments[0], gradient, betas[1])] }
    },
  }
}

/** The optimizer uphill: it sees every gradient's negative. */
export const maximizing = (o: Optimizer): Optimizer => ({ ...o, update: (p) => o.update({ ...p, gradient: neg(p.gradient) }) })

/** The optimizer with the learning rate of each parameter times a factor: learning-rate groups. */
export const scaledRates = (o: Optimizer, factor: (name: string, shape: Shape) => number): Optimizer => ({
  ...o,
  update: (p) => {
    const f = factor(p.name, p.parameter.shape)
    return o.update(f === 1 ? p : { ...p, lr: mul(p.lr, f) })
  },
})

/** √(Σ g²) over all gradients: each summed in two stages, then one after the other. */
export const gradientNorm = (gradients: readonly Expr[]): Expr => sqrt(gradients.map((g) => total(mul(g, g))).reduce((a, b) => add(a, b)))

/** Gradients scaled by min(1, limit / (norm + 1e-6)); source: torch.nn.utils.clip_grad_norm_. */
export function clipByNorm(gradients: readonly Expr[], limit: number): Expr[] {
  const scale = min(div(constant(limit), add(gradientNorm(gradients), 1e-6)), 1)
  return gradients.map((g) => mul(g, scale))
}

/** Every gradient element held in -limit … limit; source: torch.nn.utils.clip_grad_value_. */
export const clipByValue = (gradients: readonly Expr[], limit: number): Expr[] => gradients.map((g) => min(max(g, -limit), limit))

export class OptimizerError extends Error {
  override name = 'model.OptimizerError'
}
