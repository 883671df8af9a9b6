// From a stored record to what a model takes: scaling, layout, one-hot and windows, as a case's `transform` says it.

import { type Expr, type Shape, sizeOf } from '@bitloom/graph'
import { add, broadcastTo, cast, constant, div, mul, neg, oneHot, permute, reshape, slice, sub, vector } from '../tensor.ts'
import { type Algebra, cutOutside, evaluateFormula, FormulaError } from './formula.ts'

/** What a case says about an input, or about the target. */
export type Described = {
  /** What messages call it: `model.input`. */
  readonly field: string
  readonly dtype: 'f32' | 'i32'
  /** One record's shape, without the batch axis. */
  readonly shape: Shape
  readonly transform: string
  /** Arrays and numbers that the transform may name: mean, std. */
  readonly fields: Readonly<Record<string, unknown>>
}

export type Transform = {
  /** Tokens at the end of a record that are not this input but the next ones' targets. */
  readonly ahead: number
  /** [n, ..record] as stored to [n, ..shape]. */
  readonly apply: (raw: Expr) => Expr
  readonly notes: readonly string[]
}

const DTYPE = '(?:u?int(?:8|16|32|64)|float(?:16|32|64)?|long|u8|i32|i64|f32|f64|bool)'
const HARMLESS =
  /^(?:row[- ]major|c[- ]order|contiguous|already\b|standardi[sz]ed|normali[sz]ed already|reshaped?\b|view(?:ed)?\b|flatten|unflatten|as stored|per channel|channels? first|nchw$|chw$|little)/i
const TO_CHANNELS_FIRST =
  /n?hwc\b[\w\s]*?(?:->|→|=>|\bto\b)\s*(?:\w+\s+)?n?chw|permute\(\s*0\s*,\s*3\s*,\s*1\s*,\s*2\s*\)|transpose\(\s*0\s*,\s*3\s*,\s*1\s*,\s*2\s*\)|channels? last/i

/**
 * The transform that a text means, for records of `stored` shape.
 * @throws {FormulaError} it is not understood
 */
export function transformOf(d: Described, stored: Shape): Transform {
  const notes: string[] = []
  const hot = /one[-_ ]?hot/i.test(d.transform) && d.dtype === 'f32'
  const wanted = hot ? d.shape.slice(0, -1) : d.shape
  const [have, want] = [sizeOf(stored), sizeOf(wanted)]
  const ahead = have === want + 1 ? 1 : 0
  if (have !== want && ahead === 0) throw new FormulaError(`${d.field}: a record [${stored}] is not the input [${d.shape}]`)
  const formulas: string[] = []
  let unread: FormulaError | undefined
  let channelsFirst =
    d.shape.length === 3 && stored.length === 3 && `${stored}` !== `${d.shape}` && `${[stored[2], stored[0], stored[1]]}` === `${d.shape}`
  const moments = momentsOf(d)
  const own: Described = { ...d, fields: { ...d.fields, ...moments } }
  for (const clause of clausesOf(d.transform)) {
    const text = clause.replace(/^(?:then|and)\s+/i, '')
    if (TO_CHANNELS_FIRST.test(text) && d.shape.length === 3) {
      channelsFirst = true
      continue
    }
    if (/^(?:none|identity|raw|as is|no)\b/i.test(text) || /\bwindow\b|\btargets?\b|one[-_ ]?hot/i.test(text)) continue
    if (NORMALISE.test(text) && !/\balready\b/i.test(text) && moments) {
      if (!formulas.some((f) => /\bmean\b/.test(f))) formulas.push('(x - mean) / std')
      continue
    }
    if (HARMLESS.test(text)) continue
    // "u8 token id -> int64": a change of dtype, which the input's own dtype says already
    if (
      new RegExp(`^${DTYPE}?[\\w\\s]*(?:->|→|=>|to|as)\\s*${DTYPE}$`, 'i').test(text) ||
      new RegExp(`^${DTYPE}(?:\\(\\w+\\))?$`, 'i').test(text)
    )
      continue
    const formula = formulaIn(text)
    try {
      evaluateFormula(formula, checking(own))
      formulas.push(formula)
    } catch (error) {
      if (!(error instanceof FormulaError)) throw error
      unread ??= error
      notes.push(`${d.field}.transform: "${text}" is not understood and left out`)
    }
  }
  if (formulas.length === 0 && unread) throw unread
  const record = channelsFirst ? [d.shape[1], d.shape[2], d.shape[0]] : wanted
  return {
    ahead,
    notes,
    apply: (raw) => {
      const n = raw.shape[0]
      const first = ahead ? slice(reshape(raw, [n, have]), 1, 0, want) : raw
      const shaped = reshape(first, [n, ...record])
      if (hot) return cast(oneHot(cast(shaped, 'i32'), d.shape[d.shape.length - 1]), 'f32')
      // each formula goes on from what the one before it gave
      const tensor = formulas.reduce((e: Expr, formula) => {
        const value = evaluateFormula(formula, exprs(own, e, channelsFirst))
        return typeof value === 'number' ? broadcastTo(constant(value), shaped.shape) : value
      }, shaped)
      return cast(channelsFirst ? permute(tensor, [0, 3, 1, 2]) : tensor, d.dtype)
    },
  }
}

const NORMALISE = /^(?:normali[sz]e|standardi[sz]e)\b|^(?:normali[sz]ed|standardi[sz]ed)\b.*\b(?:mean|std|by|with|using|per)\b/i

/** Steps of a transform: cut at commas, semicolons, "then", and before words that normalise. */
const clausesOf = (text: string): string[] =>
  cutOutside(
    text
      .replace(MOMENTS, '')
      .replace(/\s(?:and\s+then|then|followed by)\s/gi, '; ')
      .replace(/\s(?:and\s+)?(?=(?:normali[sz]|standardi[sz])ed?\b)(?<!\balready\s)/gi, '; '),
    /[,;]/,
  )

/** The arithmetic in a step: "x = u8/255 per channel" is u8/255, "divided by 255" is x / 255. */
function formulaIn(text: string): string {
  const plain = text
    .replace(/^[a-z_]\w*\s*=(?!=)\s*/i, '')
    .replace(/\s+(?:per[- ]channel|channel[- ]?wise|element[- ]?wise|row[- ]major|in float32|as float32)\s*$/i, '')
  if (/^(?:\w+\s+)?(?:scaled?|rescaled?|mapped)\s+to\s+\[\s*0\s*,\s*1\.?0?\s*\]/i.test(plain)) return 'x / 255'
  const divided = /^(?:\w+\s+)?divided?\s+by\s+(\S+)$/i.exec(plain)
  if (divided) return `x / ${divided[1]}`
  return /^[/*]/.test(plain) ? `x ${plain}` : plain
}

const LIST = '\\s*[=:]?\\s*[[(]?\\s*([\\d.]+(?:\\s*,\\s*[\\d.]+)*)\\s*[\\])]?'
/** "mean 0.5, std [0.2, 0.3]" in a text. */
const MOMENTS = new RegExp(`\\(?\\bmeans?${LIST}\\s*[,;]?\\s*(?:and\\s+)?stds?${LIST}\\)?`, 'i')

/** Mean and deviation that a case gives beside its transform, or in the text itself. */
function momentsOf(d: Described): { mean: number[]; std: number[] } | undefined {
  const inside = [d.fields.normalize, d.fields.normalise, d.fields.normalization, d.fields.standardize].find(
    (x) => typeof x === 'object' && x !== null && !Array.isArray(x),
  )
  const fields = { ...d.fields, ...(inside as Record<string, unknown> | undefined) }
  const [mean, std] = [
    listOf(fields.mean ?? fields.means ?? fields.channel_mean),
    listOf(fields.std ?? fields.stds ?? fields.channel_std ?? fields.sigma),
  ]
  if (mean && std) return { mean, std }
  const found = MOMENTS.exec(d.transform)
  const numbersIn = (text: string): number[] => text.split(',').map(Number)
  return found ? { mean: numbersIn(found[1]), std: numbersIn(found[2]) } : undefined
}

const RAW = [
  ...['u8', 'x', 'X', 'f32', 'i32', 'raw', 'image', 'images', 'pixel', 'pixels', 'value', 'v', 'uint8', 'record', 'float32', 'float'],
  ...['input', 'data', 'byte', 'bytes', 'img', 'row', 'rows'],
]
const FLOATS = ['float32', 'float', 'f32']
const INTEGERS = ['int64', 'int32', 'int', 'long', 'i64', 'i32']

/** Finds out whether a formula can be evaluated at all, before there is a tensor. */
const checking = (d: Described): Algebra<null> => ({
  number: () => null,
  negate: () => null,
  name: (name) => {
    if (!RAW.includes(name) && listOf(d.fields[name]) === undefined)
      throw new FormulaError(`${d.field}.transform: "${name}" in "${d.transform}" means nothing here`)
    return null
  },
  call: (name) => {
    if (!FLOATS.includes(name) && !INTEGERS.includes(name)) throw new FormulaError(`${d.field}.transform: there is no function "${name}"`)
    return null
  },
  binary: (operator) => {
    if (!'+-*/'.includes(operator)) throw new FormulaError(`${d.field}.transform: "${operator}" in "${d.transform}"`)
    return null
  },
})

const listOf = (x: unknown): number[] | undefined => {
  const list = typeof x === 'number' ? [x] : x
  return Array.isArray(list) && list.length > 0 && list.every((v) => typeof v === 'number') ? list : undefined
}

function exprs(d: Described, raw: Expr, channelsLast: boolean): Algebra<Expr | number> {
  const along = (values: readonly number[]): Expr | number => {
    if (values.length === 1) return values[0]
    const axis = !channelsLast && raw.shape.length > 2 && raw.shape[1] === values.length ? 1 : raw.shape.length - 1
    if (raw.shape[axis] !== values.length)
      throw new FormulaError(`${d.field}.transform: ${values.length} values for records [${raw.shape.slice(1)}]`)
    return reshape(
      vector(values),
      raw.shape.map((size, i) => (i === axis ? size : 1)),
    )
  }
  const two = {
    '+': [add, (a: number, b: number) => a + b],
    '-': [sub, (a: number, b: number) => a - b],
    '*': [mul, (a: number, b: number) => a * b],
    '/': [div, (a: number, b: number) => a / b],
  } as const
  return {
    number: (x) => x,
    negate: (x) => (typeof x === 'number' ? -x : neg(x)),
    name: (name) => (RAW.includes(name) && listOf(d.fields[name]) === undefined ? cast(raw, 'f32') : along(listOf(d.fields[name])!)),
    call: (name, [x]) => {
      if (typeof x === 'number') return FLOATS.includes(name) ? Math.fround(x) : Math.trunc(x)
      return cast(x, FLOATS.includes(name) ? 'f32' : 'i32')
    },
    binary: (operator, a, b) => {
      const [onExprs, onNumbers] = two[operator as keyof typeof two]
      return typeof a === 'number' && typeof b === 'number' ? onNumbers(a, b) : onExprs(a, b)
    },
  }
}
