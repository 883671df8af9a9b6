// Learning-rate schedules by name and plain JSON options, for recipes, the command line and case files alike.

import {
  constantRate,
  cosineRate,
  exponentialRate,
  linearRate,
  multiStepDecay,
  oneCycleRate,
  type Schedule,
  stepDecay,
  warmUp,
} from '../schedule.ts'
import { OptionError, type Options, readOptions } from './options.ts'

/** Makes a schedule of what follows the warm-up: `steps` is how many there are then. */
type Maker = (o: Options, lr: number, steps: number) => Schedule

const endOf = (o: Options, lr: number): number => {
  const factor = o.maybe(['end_factor', 'final_factor', 'min_lr_ratio'])
  return (
    o.maybe(['min_lr', 'end', 'end_lr', 'final_lr', 'eta_min', 'lr_min', 'minLr', 'lr_end']) ?? (factor === undefined ? 0 : lr * factor)
  )
}

const SCHEDULES: Readonly<Record<string, Maker>> = {
  constant: (_, lr) => constantRate(lr),
  step: (o, lr, steps) => {
    const every = o.maybe(['step_size', 'every', 'stepSize', 'period'], { min: 1, whole: true })
    const milestones = o.numbers(['milestones', 'steps_at', 'at'])
    const gamma = o.number(['gamma', 'factor'], 0.1, { min: 0 })
    if (milestones) return multiStepDecay(lr, milestones, gamma)
    return every === undefined ? o.fail('a step schedule needs "step_size" or "milestones"') : stepDecay(lr, every, gamma, steps)
  },
  multistep: (o, lr) => {
    const milestones = o.numbers(['milestones', 'steps_at', 'at']) ?? o.fail('a multistep schedule needs "milestones"')
    return multiStepDecay(lr, milestones, o.number(['gamma', 'factor'], 0.1, { min: 0 }))
  },
  exponential: (o, lr, steps) =>
    exponentialRate(lr, o.maybe(['gamma', 'factor'], { min: 0 }) ?? o.fail('an exponential schedule needs "gamma"'), steps),
  linear: (o, lr, steps) => linearRate(lr, steps, endOf(o, lr)),
  cosine: (o, lr, steps) => cosineRate(lr, steps, endOf(o, lr)),
  onecycle: (o, lr, steps) => {
    const shape = o.text(['anneal_strategy', 'annealStrategy']) ?? 'cos'
    if (o.flag(['cycle_momentum', 'cycleMomentum'], false)) o.fail('a momentum that cycles is not supported; set "cycle_momentum" to false')
    return oneCycleRate(lr, steps, {
      rising: o.number(['pct_start', 'pctStart', 'rising'], 0.3, { above: 0, below: 1 }),
      divFactor: o.number(['div_factor', 'divFactor'], 25, { above: 0 }),
      finalDivFactor: o.number(['final_div_factor', 'finalDivFactor'], 1e4, { above: 0 }),
      straight: shape === 'linear',
    })
  },
}

/** The names that `scheduleByName` knows; `warm-up + NAME` is one too. */
export const SCHEDULE_NAMES: readonly string[] = Object.keys(SCHEDULES)

/** A name's parts: `linear warmup + cosine` is a warm-up before `cosine`. */
function partsOf(name: string): { warm: boolean; kind: string } {
  const plain = name.toLowerCase().replace(/warm[\s_-]*up/g, 'warmup')
  const warm = plain.includes('warmup')
  const rest = warm ? plain.replace(/(linear[\s_-]*)?warmup/g, '') : plain
  const words = rest
    .split(/[^a-z]+/)
    .filter((w) => !['', 'then', 'lr', 'schedule', 'decay', 'annealing', 'with', 'and', 'of', 'to'].includes(w))
  const joined = words.join('').replace(/lr$/, '')
  const kind =
    { multisteps: 'multistep', cos: 'cosine', half: 'cosine', exp: 'exponential', steps: 'step', fixed: 'constant' }[joined] ?? joined
  return { warm, kind: kind === '' ? 'constant' : kind }
}

/**
 * The schedule of that name: constant, step (`step_size`, `gamma`), multistep (`milestones`, `gamma`), exponential (`gamma`), linear and cosine (`min_lr`), one-cycle
 * (`pct_start`, `div_factor`, `final_div_factor`, `anneal_strategy`). `lr` (or `max_lr`) is the rate that it starts from or, for one-cycle, its peak; `warmup`
 * steps rise to it first, step s at (s+1)/`warmup_divisor`, by default `warmup`; `decay_steps` (by default `steps`) is when linear and cosine end, counted
 * with the warm-up.
 * @param steps how many steps the job has
 * @throws {OptionError} the name or an option is not understood
 */
export function scheduleByName(
  name: string,
  given: Readonly<Record<string, unknown>>,
  steps: number,
  described: readonly string[] = [],
): Schedule {
  const { warm, kind } = partsOf(name)
  const make = Object.hasOwn(SCHEDULES, kind) ? SCHEDULES[kind] : undefined
  if (!make)
    throw new OptionError(
      `there is no schedule "${name}"\nThere are ${SCHEDULE_NAMES.join(', ')}, each with a warm-up where "warmup" says so.`,
    )
  const o = readOptions(`schedule ${name}`, given, ['type', 'name', 'formula', 'rule', 'note', 'meaning', ...described])
  const lr = o.maybe(['lr', 'max_lr', 'base_lr', 'initial_lr', 'peak_lr', 'maxLr'], { min: 0 }) ?? o.fail('there is no "lr"')
  const warmup = o.number(['warmup', 'warmup_steps', 'warmup_iters', 'warmupSteps'], 0, { min: 0, whole: true })
  const divisor = o.maybe(['warmup_divisor', 'warmupDivisor'], { above: 0 })
  if (warm && warmup === 0) o.fail('a warm-up needs "warmup", its number of steps')
  const end = o.number(['decay_steps', 'total_steps', 'T_max', 't_max', 'total_iters', 'lr_decay_iters', 'decaySteps', 'steps'], steps, {
    min: 1,
  })
  const after = make(o, lr, Math.max(1, end - warmup))
  o.done()
  return warmup === 0 ? after : warmUp(warmup, after, divisor ?? warmup)
}
