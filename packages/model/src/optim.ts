// Optimizers as PyTorch defines them: exprs from parameter, gradient and moments to the next ones.

import type { Expr, Shape } from '@bitloom/graph'
import { add, constant, div, min, mul, sqrt, sub, total } from './tensor.ts'

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

/** Which parameters decay; all by default. */
export type Decays = (name: string, shape: Shape) => boolean

/**
 * Stochastic gradient descent: v ← momentum·v + g, w ← w - lr·v (Nesterov: g + momentum·v in place of v). Weight decay is added to the gradient.
 * Source: torch.optim.SGD with dampening 0.
 */
export function sgd(options: { momentum?: number; nesterov?: boolean; weightDecay?: number; decays?: Decays } = {}): Optimizer {
  const { momentum = 0, nesterov = false, weightDecay = 0, decays = () => true } = options
  if (nesterov && momentum === 0) throw new OptimizerError('sgd: nesterov needs a momentum above 0')
  return {
    moments: momentum === 0 ? [] : ['m'],
    shared: [],
    advance: () => [],
    update: ({ name, parameter, gradient, moments, lr }) => {
      const g = weightDecay !== 0 && decays(name, parameter.shape) ? add(gradient, mul(parameter, weightDecay)) : gradient
      if (momentum === 0) return { parameter: sub(parameter, mul(g, lr)), moments: [] }
      const v = add(mul(moments[0], momentum), g)
      return { parameter: sub(parameter, mul(nesterov ? add(g, mul(v, momentum)) : v, lr)), moments: [v] }
    },
  }
}

type AdamOptions = { betas?: readonly [number, number]; eps?: number; weightDecay?: number; decays?: Decays }

/**
 * Adam (Kingma and Ba 2015), weight decay added to the gradient; source: torch.optim.Adam.
 *
 * Bias correction: 1 - beta^t is kept as state by the recursion c ← beta·c + (1 - beta) from 0, the same moving average that the moments follow, so
 * it needs no pow and its rounding errors do not grow as those of 1 - beta^t would near beta = 1.
 */
export const adam = (options: AdamOptions = {}): Optimizer => adamLike(options, false)

/** AdamW (Loshchilov and Hutter 2019): weights shrink by 1 - lr·weightDecay beside the Adam step; source: torch.optim.AdamW. */
export const adamw = (options: AdamOptions = {}): Optimizer => adamLike({ weightDecay: 0.01, ...options }, true)

function adamLike(options: AdamOptions, decoupled: boolean): Optimizer {
  const { betas = [0.9, 0.999], eps = 1e-8, weightDecay = 0, decays = () => true } = options
  const average = (old: Expr, x: Expr, beta: number): Expr => add(mul(old, beta), mul(x, 1 - beta))
  return {
    moments: ['m', 'v'],
    shared: ['adam.c1', 'adam.c2'],
    advance: (shared) => betas.map((beta, i) => add(mul(shared[i], beta), 1 - beta)),
    update: ({ name, parameter, gradient, moments, shared, lr }) => {
      const decay = weightDecay !== 0 && decays(name, parameter.shape)
      const g = decay && !decoupled ? add(gradient, mul(parameter, weightDecay)) : gradient
      const w = decay && decoupled ? mul(parameter, sub(1, mul(lr, weightDecay))) : parameter
      const m = average(moments[0], g, betas[0])
      const v = average(moments[1], mul(g, g), betas[1])
      const denominator = add(div(sqrt(v), sqrt(shared[1])), eps)
      return { parameter: sub(w, div(mul(m, div(lr, shared[0])), denominator)), moments: [m, v] }
    },
  }
}

/** √(Σ g²) over all gradients: each summed in two stages, then one after the other. */
export const gradientNorm = (gradients: readonly Expr[]): Expr => sqrt(gradients.map((g) => total(mul(g, g))).reduce((a, b) => add(a, b)))

/** Gradients scaled by min(1, limit / (norm + 1e-6)); source: torch.nn.utils.clip_grad_norm_. */
export function clipByNorm(gradients: readonly Expr[], limit: number): Expr[] {
  const scale = min(div(constant(limit), add(gradientNorm(gradients), 1e-6)), 1)
  return gradients.map((g) => mul(g, scale))
}

export class OptimizerError extends Error {
  override name = 'model.OptimizerError'
}
