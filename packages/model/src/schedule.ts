// Learning rates as exprs of the step counter (i32, rank 0, from 0): the schedule is part of the graph.

import type { Expr } from '@bitloom/graph'
import type { Lookup } from './nn.ts'
import { add, and, cast, constant, div, divu, gather, le, lt, min, mul, reshape, shr, sub, where } from './tensor.ts'
import { cosTurns } from './trig.ts'

/** The learning rate (f32, rank 0) of a step; `data` gives whole data tensors, for rates that are listed. */
export type Schedule = (step: Expr, data?: Lookup) => Expr

export const constantRate =
  (lr: number): Schedule =>
  () =>
    constant(lr)

/** Rates listed in the data tensor f32[steps] of that name, one a step; beyond the end the last. */
export const listedRate =
  (name: string): Schedule =>
  (step, data) => {
    if (!data) throw new ScheduleError(`the rates are listed in data tensor "${name}", and there is no data`)
    return reshape(gather(data(name), reshape(step, [1])), [])
  }

/**
 * lr times gamma^⌊step/every⌋: factors gamma^(2^i), rounded once each, are multiplied where bit i of the exponent is set.
 * @param steps how many steps there will be: bounds the exponent
 */
export function stepDecay(lr: number, every: number, gamma: number, steps: number): Schedule {
  return (step) => {
    const exponent = divu(step, every)
    let rate = constant(lr)
    let factor = gamma
    for (let bit = 0; 2 ** bit <= Math.floor(steps / every); bit++) {
      rate = where(and(shr(exponent, bit), 1), mul(rate, factor), rate)
      factor *= factor
    }
    return rate
  }
}

/** lr times gamma for each milestone that the step has reached; source: torch.optim.lr_scheduler.MultiStepLR. */
export function multiStepDecay(lr: number, milestones: readonly number[], gamma: number): Schedule {
  const rising = [...milestones].sort((a, b) => a - b)
  return (step) => {
    let rate = constant(lr)
    rising.forEach((milestone, i) => {
      rate = where(le(milestone, step), constant(lr * gamma ** (i + 1)), rate)
    })
    return rate
  }
}

/** lr·gamma^step. */
export const exponentialRate = (lr: number, gamma: number, steps: number): Schedule => stepDecay(lr, 1, gamma, steps)

/** Progress from 0 at `from` to 1 at `to`, held outside. */
function progress(step: Expr, from: number, to: number): Expr {
  const done = div(cast(sub(step, from), 'f32'), Math.max(1, to - from))
  return where(lt(step, from), 0, min(done, 1))
}

/** A straight line from `lr` at step 0 to `end` at step `steps`. */
export const linearRate =
  (lr: number, steps: number, end = 0): Schedule =>
  (step) =>
    add(mul(progress(step, 0, steps), Math.fround(end) - Math.fround(lr)), lr)

/** Half a cosine from `lr` at step 0 to `end` at step `steps` (Loshchilov and Hutter 2017). */
export const cosineRate =
  (lr: number, steps: number, end = 0): Schedule =>
  (step) =>
    add(mul(mul(add(cosTurns(mul(progress(step, 0, steps), 0.5)), 1), 0.5), lr - end), end)

export type OneCycleOptions = {
  /** The share of the steps that rises; 0.3. */
  readonly rising?: number
  /** The first rate is the peak over this; 25. */
  readonly divFactor?: number
  /** The last rate is the first over this; 10,000. */
  readonly finalDivFactor?: number
  /** Straight lines in place of half cosines. */
  readonly straight?: boolean
}

/** Up to `peak` and down again (Smith and Topin 2018), the momentum left alone; source: torch.optim.lr_scheduler.OneCycleLR with cycle_momentum off. */
export function oneCycleRate(peak: number, steps: number, options: OneCycleOptions = {}): Schedule {
  const { rising = 0.3, divFactor = 25, finalDivFactor = 1e4, straight = false } = options
  const first = peak / divFactor
  const top = rising * steps - 1
  const last = steps - 1
  const leg = (step: Expr, from: number, to: number, a: number, b: number): Expr => {
    const done = min(div(sub(cast(step, 'f32'), from), to - from), 1)
    const weight = straight ? sub(1, done) : mul(add(cosTurns(mul(done, 0.5)), 1), 0.5)
    return add(mul(weight, a - b), b)
  }
  return (step) =>
    where(
      le(cast(step, 'f32'), top),
      leg(step, 0, Math.max(top, 1), first, peak),
      leg(step, top, Math.max(last, top + 1), peak, first / finalDivFactor),
    )
}

/** `after`, which sees steps from 0 again, behind a linear rise: step s < warmup has (s+1)/of of what `after` begins with, by default of `warmup`. */
export const warmUp =
  (warmup: number, after: Schedule, of = warmup): Schedule =>
  (step, data) => {
    const rise = div(cast(add(step, 1), 'f32'), of)
    return where(lt(step, warmup), mul(rise, after(constant(0, 'i32'), data)), after(sub(step, warmup), data))
  }

export class ScheduleError extends Error {
  override name = 'model.ScheduleError'
}
