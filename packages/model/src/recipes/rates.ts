// The learning rate that recipes share: constant, or a cosine behind a linear rise, by three options.

import { constantRate, cosineRate, type Schedule, warmUp } from '../schedule.ts'
import { count, quantity, text } from './recipe.ts'

/** `--lr`, `--schedule`, `--warmup`, `--lr-end`. */
export const rateOptions = (lr: number, schedule: 'constant' | 'cosine', warmup = 0, end = lr / 10) => ({
  lr: quantity(lr, 'learning rate at its highest', { min: 0 }),
  schedule: text(schedule, 'how it goes on', 'NAME', ['constant', 'cosine']),
  warmup: count(warmup, 'steps over which it rises from 0', { min: 0 }),
  'lr-end': quantity(end, 'cosine: learning rate at the end', { min: 0 }),
})

/** The schedule that these options say. */
export function rateOf(s: { lr: number; schedule: string; warmup: number; 'lr-end': number; steps: number }): Schedule {
  const rest = Math.max(1, s.steps - s.warmup)
  const after = s.schedule === 'cosine' ? cosineRate(s.lr, rest, s['lr-end']) : constantRate(s.lr)
  return s.warmup > 0 ? warmUp(s.warmup, after) : after
}
