// The learning rate of a case: by its formula, else by the schedule that its type names.

import { type Expr, type Graph, input, interpret, makeGraph } from '@bitloom/graph'
import { scheduleByName } from '../named/schedule.ts'
import { listedRate, type Schedule } from '../schedule.ts'
import { reshape } from '../tensor.ts'
import { cutOutside, evaluateFormula, FormulaError, numbers } from './formula.ts'

/** Rates in a table, one a step, or exprs of the step. */
export type Rates = { readonly schedule: Schedule; readonly table?: Float32Array; readonly notes: readonly string[] }

/** The data tensor that a table of rates is. */
export const RATES = 'rates'

const COUNTERS = ['it', 't', 'i', 'step', 'steps_done', 'iter']

/** Rates by a formula of pieces "condition: value; else value", step by step; the counter begins where "it=0..199" says. */
export function ratesByFormula(text: string, fields: Readonly<Record<string, unknown>>, steps: number): Float32Array {
  const span = /[,(]?\s*(?:for\s+)?\b(it|t|i|step|iter)\s*(?:=|in)\s*(\d+)\s*(?:\.\.|…|,).*$/.exec(text)
  const start = span ? Number(span[2]) : 0
  const pieces = cutOutside(span ? text.slice(0, span.index) : text, /;/).map((piece) => {
    const rest = /^(?:else|otherwise)\b\s*:?(.*)$/is.exec(piece)
    if (rest) return { when: undefined, value: rest[1] }
    const [head, ...tail] = cutOutside(piece, /:/)
    return tail.length > 0 ? { when: head.replace(/^if\b/, ''), value: tail.join(':') } : { when: undefined, value: piece }
  })
  const value = (piece: string): string => piece.replace(/^\s*(?:lr|rate)(?:_?\w*|\([^)]*\))\s*=(?!=)/, '')
  return Float32Array.from({ length: steps }, (_, step) => {
    const algebra = numbers((name) => (COUNTERS.includes(name) ? start + step : fieldOf(name, fields)))
    for (const { when, value: text } of pieces)
      if (when === undefined || evaluateFormula(when, algebra) !== 0) {
        const rate = evaluateFormula(value(text), algebra)
        if (!Number.isFinite(rate) || rate < 0) throw new FormulaError(`a rate of ${rate} at step ${step}`)
        return rate
      }
    throw new FormulaError(`no piece of "${text}" covers step ${step}`)
  })
}

/** A number among the fields, by its name or the beginning of it: `max` is `max_lr`, `decay` is `decay_steps`. */
function fieldOf(name: string, fields: Readonly<Record<string, unknown>>): number | undefined {
  const own = (key: string): number | undefined => (Object.hasOwn(fields, key) && typeof fields[key] === 'number' ? fields[key] : undefined)
  const exact = own(name)
  if (exact !== undefined) return exact
  const near = Object.keys(fields).filter((k) => own(k) !== undefined && k.startsWith(`${name}_`))
  if (near.length === 1) return own(near[0])
  if (near.length === 0 && (name === 'lr' || name === 'lr0' || name === 'base'))
    return own('lr') ?? own('base_lr') ?? own('initial_lr') ?? own('max_lr')
  return undefined
}

/**
 * The rates that a case's `lr` means. `listed` are the rates of the recorded run, where they are known: they are what counts where the field means something
 * else or nothing that we understand, and `notes` say so.
 * @throws {OptionError} the schedule is not understood and no rates are listed
 */
export function ratesOf(lr: unknown, steps: number, listed?: readonly number[]): Rates {
  const fields =
    typeof lr === 'number' ? { type: 'constant', lr } : Array.isArray(lr) ? { type: 'listed', values: lr } : (lr as Record<string, unknown>)
  const notes: string[] = []
  const tabled = (values: ArrayLike<number>): Rates => ({
    schedule: listedRate(RATES),
    table: Float32Array.from(values).subarray(0, steps),
    notes,
  })
  const known = listed && listed.length >= steps && listed.every((x) => typeof x === 'number') ? listed : undefined
  let found: Rates | undefined
  const given = fields.values ?? fields.rates
  if (Array.isArray(given) && given.length >= steps && given.every((x) => typeof x === 'number')) found = tabled(given)
  if (!found && typeof fields.formula === 'string')
    try {
      found = tabled(ratesByFormula(fields.formula, fields, steps))
    } catch (error) {
      if (!(error instanceof FormulaError)) throw error
      notes.push(`lr.formula is not understood (${error.message}); lr.type and its fields are used`)
    }
  if (!found)
    try {
      found = { schedule: scheduleByName(String(fields.type ?? 'constant'), fields, steps), notes }
    } catch (error) {
      if (!known) throw error
      notes.push(`lr is not understood (${(error as Error).message.split('\n')[0]}); the rates listed in curve.json are used`)
      return tabled(known)
    }
  if (!known) return found
  const rates = found.table ?? evaluateRates(found.schedule, steps)
  const off = rates.findIndex((x, i) => Math.abs(x - known[i]) > 2e-6 * Math.abs(known[i]) + 1e-12)
  if (off < 0) return found
  notes.push(`lr says ${rates[off]} at step ${off}, curve.json lists ${known[off]}; the listed rates are used`)
  return tabled(known)
}

/** The rate of every step of a schedule. */
export function evaluateRates(schedule: Schedule, steps: number): Float32Array {
  const step: Expr = input(1, 'i32', [1])
  const slots = [
    { name: 'rate', kind: 'state', dtype: 'f32', shape: [1] },
    { name: 'step', kind: 'data', dtype: 'i32', shape: [1] },
  ] as const
  const graph: Graph = makeGraph([...slots], [reshape(schedule(reshape(step, [])), [1])], step)
  return Float32Array.from({ length: steps }, (_, i) => interpret(graph, [new Float32Array(1), Int32Array.of(i)]).next[0][0])
}
