// Learning rates as exprs of the step counter (i32, rank 0, from 0): the schedule is part of the graph.

import type { Expr } from '@bitloom/graph'
import { add, and, cast, constant, div, divu, lt, min, mul, shr, sub, where } from './tensor.ts'
import { cosTurns } from './trig.ts'

/** The learning rate (f32, rank 0) of a step. */
export type Schedule = (step: Expr) => Expr

export const constantRate =
  (lr: number): Schedule =>
  () =>
    constant(lr)

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

/** `after`, which sees steps from 0 again, behind a linear rise: step s < warmup has (s+1)/of of what `after` begins with, by default of `warmup`. */
export const warmUp =
  (warmup: number, after: Schedule, of = warmup): Schedule =>
  (step) => {
    const rise = div(cast(add(step, 1), 'f32'), of)
    return where(lt(step, warmup), mul(rise, after(constant(0, 'i32'))), after(sub(step, warmup)))
  }
