// The learning rate that recipes share: constant, a line or a cosine, behind a linear rise; imported models have the rest of them, too.

import { constantRate, cosineRate, exponentialRate, linearRate, oneCycleRate, type Schedule, stepDecay, warmUp } from '../schedule.ts'
import { count, quantity, text } from './recipe.ts'

/** `--lr`, `--schedule`, `--warmup`, `--lr-end`. */
export const rateOptions = (lr: number, schedule: 'constant' | 'cosine', warmup = 0, end = lr / 10) => ({
  lr: quantity(lr, 'learning rate at its highest', { min: 0 }),
  schedule: text(schedule, 'how it goes on', 'NAME', ['constant', 'linear', 'cosine']),
  warmup: count(warmup, 'steps over which it rises from 0', { min: 0 }),
  'lr-end': quantity(end, 'linear and cosine: learning rate at the end', { min: 0 }),
})

/** And `--every`, `--gamma`, for rates that fall in steps. */
export const allRateOptions = (lr: number) => {
  const common = rateOptions(lr, 'constant')
  const choices = ['constant', 'linear', 'cosine', 'step', 'exponential', 'onecycle']
  return {
    ...common,
    schedule: { ...common.schedule, choices },
    every: count(0, 'step: steps between two falls; 0 for a third of the run', { min: 0 }),
    gamma: quantity(0.1, 'step and exponential: what it is multiplied by', { min: 0, max: 1 }),
  }
}

type Rates = {
  readonly lr: number
  readonly schedule: string
  readonly warmup: number
  readonly 'lr-end': number
  readonly every?: number
  readonly gamma?: number
}

/** The schedule that these options say, for so many updates. */
export function rateOf(s: Rates, updates: number): Schedule {
  // a short run rises over a quarter of it at most
  const warmup = Math.min(s.warmup, Math.floor(updates / 4))
  const rest = Math.max(1, updates - warmup)
  const after = shapeOf(s, rest)
  return warmup > 0 ? warmUp(warmup, after) : after
}

function shapeOf({ lr, schedule, 'lr-end': end, every = 0, gamma = 0.1 }: Rates, steps: number): Schedule {
  switch (schedule) {
    case 'linear':
      return linearRate(lr, steps, end)
    case 'cosine':
      return cosineRate(lr, steps, end)
    case 'step':
      return stepDecay(lr, every || Math.max(1, Math.ceil(steps / 3)), gamma, steps)
    case 'exponential':
      return exponentialRate(lr, gamma, steps)
    case 'onecycle':
      return oneCycleRate(lr, steps)
    default:
      return constantRate(lr)
  }
}
