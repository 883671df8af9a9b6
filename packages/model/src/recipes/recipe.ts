// What a recipe is: options with defaults and help, and a function that prepares a job, the job that judges it, and the files that come out.

import type { Data, Expr, Graph } from '@bitloom/graph'
import { type EvaluationJob, evaluationJob, type MetricName } from '../metrics.ts'
import type { Loss } from '../named/loss.ts'
import type { Lookup, Parameter } from '../nn.ts'
import type { Optimizer } from '../optim.ts'
import type { Key } from '../random.ts'
import type { Schedule } from '../schedule.ts'
import { type DataTensor, type Job, type StepContext, trainingStep } from '../step.ts'

/** An option that a person may set: `--name VALUE`, or `--name` alone for a flag. */
export type RecipeOption = {
  readonly kind: 'number' | 'text' | 'flag'
  readonly help: string
  readonly default: number | string | boolean | undefined
  /** What help writes for the value. */
  readonly value?: string
  readonly min?: number
  readonly max?: number
  readonly whole?: boolean
  readonly choices?: readonly string[]
}
export type RecipeOptions = Readonly<Record<string, RecipeOption>>

type Bounds = { readonly min?: number; readonly max?: number; readonly whole?: boolean }

/** A whole number of at least 1, unless told otherwise. */
export const count = (fallback: number, help: string, bounds: Bounds = { min: 1 }) =>
  ({ kind: 'number', default: fallback, help, whole: true, value: 'N', ...bounds }) as const
/** A number. */
export const quantity = (fallback: number, help: string, bounds: Bounds = {}) =>
  ({ kind: 'number', default: fallback, help, value: 'X', ...bounds }) as const
/** Text with a default. */
export const text = (fallback: string, help: string, value = 'TEXT', choices?: readonly string[]) =>
  ({ kind: 'text', default: fallback, help, value, ...(choices ? { choices } : {}) }) as const
/** Text that may be left out. */
export const maybe = (help: string, value = 'TEXT', choices?: readonly string[]) =>
  ({ kind: 'text', default: undefined, help, value, ...(choices ? { choices } : {}) }) as const
export const flag = (help: string) => ({ kind: 'flag', default: false, help }) as const

type ValueOf<O> = O extends { kind: 'number' }
  ? number
  : O extends { kind: 'flag' }
    ? boolean
    : O extends { default: string }
      ? string
      : string | undefined
/** The values of a recipe's options, and the number of steps, which every recipe has. */
export type SettingsOf<O> = { readonly [K in keyof O]: ValueOf<O[K]> } & { readonly steps: number }
export type Settings = Readonly<Record<string, number | string | boolean | undefined>>

/** What prepares and judges: any evaluator that gives the interpreter's bits. */
export type Machine = {
  readonly evaluate: (graph: Graph, slots: readonly Data[]) => Data[]
}

/** What a run knows beside the options. */
export type Run = Machine & { readonly seed: readonly [number, number] }

/** Held-out examples, and the job that measures a model on them. */
export type Judge = { readonly job: EvaluationJob; readonly examples: number; readonly what: string }

export type Prepared = {
  readonly job: Job
  readonly judge?: Judge
  /** Passes over the training data. */
  readonly epochs: number
  /** What a person should know before it starts, a line each. */
  readonly about: readonly string[]
  readonly schedule: Schedule
  /** Steps an update, 1 by default. */
  readonly passes?: number
  readonly onnx?: (tensor: (name: string) => Float32Array, metadata: Readonly<Record<string, string>>) => Uint8Array
  /** Further files of a trained model by name. */
  readonly files?: (tensor: (name: string) => Float32Array, machine: Machine) => Readonly<Record<string, Uint8Array | string>>
}

/** How a run is cut into what is claimed and paid. */
export type Cut = { readonly stepsPerCheckpoint: number; readonly checkpointsPerSlice: number; readonly slices: number }

export type Recipe = {
  readonly name: string
  /** One line: model, loss, optimizer, data. */
  readonly title: string
  readonly options: RecipeOptions
  /** The cut of a run of the recipe's own length, which is their product. */
  readonly cut: Cut
  /** The file it was read from, where it is none of ours. */
  readonly file?: string
  /** Whether it can run without a file of the user's. */
  readonly alone: boolean
  /** @throws {Error} with what to do about it */
  readonly prepare: (settings: Settings, run: Run) => Promise<Prepared>
}

/** A recipe whose `prepare` sees its own options typed. */
export const recipe = <O extends RecipeOptions>(
  r: Omit<Recipe, 'options' | 'prepare'> & {
    readonly options: O
    readonly prepare: (settings: SettingsOf<O>, run: Run) => Promise<Prepared> | Prepared
  },
): Recipe => ({ ...r, prepare: async (settings, run) => r.prepare(settings as SettingsOf<O>, run) })

/** What a model reads while it trains or is judged. */
export type ForwardContext = {
  readonly parameter: Lookup
  /** The batch's rows of a data tensor. */
  readonly batch: Lookup
  readonly training: boolean
  readonly step?: Expr
  readonly random?: (stream: number) => Key
}

/** A model, its loss and its data: everything of which a job and its judge are made. */
export type Training = {
  readonly name: string
  readonly parameters: readonly Parameter[]
  readonly forward: (c: ForwardContext) => {
    readonly output: Expr
    readonly target: Expr
    readonly updates?: Readonly<Record<string, Expr>>
  }
  readonly loss: Loss
  readonly optimizer: Optimizer
  readonly schedule: Schedule
  readonly clip?: number
  readonly clipValue?: number
  readonly batch: number
  /** Steps of the job: updates times `accumulate`. */
  readonly steps: number
  /** Steps an update: their mean gradient is what the optimizer sees. */
  readonly accumulate?: number
  readonly train: Source
  readonly held?: Held
  /** Data tensors that are no examples: tables of the model. */
  readonly tables?: readonly DataTensor[]
  readonly metrics?: readonly MetricName[]
  readonly run: Run
}

/** Examples to judge by; a model that differs in use (its batch is built in) says how. */
export type Held = Source & {
  readonly what: string
  readonly forward?: Training['forward']
  readonly tables?: readonly DataTensor[]
  /** Examples a step of the judge. */
  readonly batch?: number
}

/** Examples: rows of tensors, or what `rows` makes of a batch's numbers. */
export type Source = {
  readonly tensors: readonly DataTensor[]
  readonly count: number
  /** Of examples that overlap: how many of them one is worth in an epoch. */
  readonly each?: number
  readonly rows?: (name: string, context: StepContext) => Expr | undefined
}

/** Most examples of a step of the judge. */
const JUDGED_AT_ONCE = 256

/** The job and the judge of a training. */
export function prepare(t: Training): Pick<Prepared, 'job' | 'judge' | 'epochs' | 'schedule' | 'passes'> {
  const { name, parameters, batch, steps, loss, run } = t
  const tables = t.tables ?? []
  const passes = t.accumulate ?? 1
  if (steps % passes !== 0)
    throw new RecipeError(`${steps} steps are no whole number of updates of ${passes} steps each\nGive --steps as a multiple of it.`)
  const job = trainingStep({
    name,
    parameters,
    data: [...t.train.tensors, ...tables],
    count: t.train.count,
    batch,
    steps: steps / passes,
    ...(passes > 1 ? { accumulate: passes } : {}),
    seed: run.seed,
    loss: (c) => {
      const rows: Lookup = (n) => (tables.some((table) => table.name === n) ? c.data(n) : (t.train.rows?.(n, c) ?? c.batch(n)))
      const { output, target, updates } = t.forward({ parameter: c.parameter, batch: rows, training: true, step: c.step, random: c.random })
      return { loss: loss.value(output, target), updates: updates ?? {} }
    },
    optimizer: t.optimizer,
    schedule: t.schedule,
    ...(t.clip === undefined ? {} : { clip: t.clip }),
    ...(t.clipValue === undefined ? {} : { clipValue: t.clipValue }),
    evaluate: run.evaluate,
  })
  const epochs = (steps * batch * (t.train.each ?? 1)) / t.train.count
  if (!t.held || t.held.count === 0) return { job, epochs, schedule: t.schedule, passes }
  const given = t.held
  const known = given.tables ?? tables
  const held = evaluationJob({
    name: `${name} judged`,
    parameters,
    data: [...given.tensors, ...known],
    count: given.count,
    batch: given.batch ?? Math.min(given.count, Math.max(batch, Math.min(JUDGED_AT_ONCE, 4 * batch))),
    loss,
    forward: (c) => {
      const rows: Lookup = (n) => (known.some((table) => table.name === n) ? c.data(n) : c.batch(n))
      return (given.forward ?? t.forward)({ parameter: c.parameter, batch: rows, training: false })
    },
    ...(t.metrics ? { metrics: t.metrics } : {}),
  })
  return { job, epochs, schedule: t.schedule, passes, judge: { job: held, examples: t.held.count, what: t.held.what } }
}

/** A recipe was asked for something it cannot do. */
export class RecipeError extends Error {
  override name = 'model.RecipeError'
}
