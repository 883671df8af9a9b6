// A table with named columns as tensors: numbers as f32, words as numbers of an index table, the target apart, all of it said.

import { canonical } from '@bitloom/graph'
import type { DataTensor as Named } from '../step.ts'
import { columnMoments, type Dataset, type Split, standardise } from './dataset.ts'
import { DataError } from './tensors.ts'

/** Cells of one column, top to bottom: text where the file holds text. Missing is ''/null/undefined. */
export type Column = { readonly name: string; readonly cells: readonly unknown[] }

export type TableOptions = {
  /** Column to predict. */
  readonly target: string
  readonly drop?: readonly string[]
  /** Whether the target is a class or a quantity; by default a class where it is text, or whole numbers of at most 20 kinds. */
  readonly task?: 'classification' | 'regression'
  /** Rows whose mean and deviation the numeric columns are standardised by; without it they stay as they are. */
  readonly standardise?: Split
  /** What errors call the file. */
  readonly name?: string
}

/** What the columns became. */
export type TableInfo = {
  readonly task: 'classification' | 'regression'
  /** Columns of `x` in order. */
  readonly numeric: readonly string[]
  /** Columns of `categories` in order, and what their numbers mean. */
  readonly categorical: readonly { readonly name: string; readonly values: readonly string[] }[]
  /** What `x` (and a regression's `y`) was standardised by. */
  readonly moments?: { readonly mean: readonly number[]; readonly deviation: readonly number[] }
  readonly targetMoments?: { readonly mean: number; readonly deviation: number }
}

export type TableData = Dataset & { readonly table: TableInfo }

const MAX_CATEGORIES = 1024
const MAX_CLASSES_AUTO = 20
const NUMBER = /^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$/
const MISSING = /^(|na|n\/a|nan|null|none|\?)$/i

/**
 * `x` f32 [rows, numeric columns], `categories` i32 [rows, categorical columns] where there are any, and `y`: i32 [rows] classes or f32 [rows, 1].
 * Missing numbers are NaN (see `requireFinite`); a missing word is a category of its own.
 * @throws {DataError} no such target, columns of unequal length, or a column with more than 1024 different words
 */
export function tableData(columns: readonly Column[], options: TableOptions): TableData {
  const { target, drop = [], name = 'table' } = options
  const names = columns.map((c) => c.name)
  for (const wanted of [target, ...drop])
    if (!names.includes(wanted)) throw new DataError(`${name}: there is no column "${wanted}"\nThe columns are: ${listOf(names)}.`)
  const twice = names.find((n, i) => names.indexOf(n) !== i)
  if (twice !== undefined) throw new DataError(`${name}: two columns are named "${twice}"`)
  const count = columns[0]?.cells.length ?? 0
  for (const c of columns)
    if (c.cells.length !== count) throw new DataError(`${name}: "${c.name}" has ${c.cells.length} cells, not ${count}`)
  if (count === 0) throw new DataError(`${name}: there are no rows`)
  const used = columns.filter((c) => c.name !== target && !drop.includes(c.name))
  const numeric = used.filter(isNumeric)
  const categorical = used.filter((c) => !isNumeric(c)).map((c) => ({ column: c, values: valuesOf(c, name) }))
  if (used.length === 0) throw new DataError(`${name}: no column is left to predict "${target}" from`)
  const notes: string[] = []
  const raw = new Float32Array(count * numeric.length)
  numeric.forEach((c, j) => {
    c.cells.forEach((cell, i) => {
      raw[i * numeric.length + j] = numberOf(cell)
    })
  })
  const moments = options.standardise ? columnMoments(raw, numeric.length, options.standardise.train) : undefined
  const x = moments ? standardise(raw, numeric.length, moments) : canonical(raw)
  if (moments)
    notes.push(
      `${numeric.length} numeric columns standardised by mean and deviation of the ${options.standardise!.train.length} training rows`,
    )
  for (const { column, values } of categorical) notes.push(`column "${column.name}" holds ${values.length} categories`)
  const y = targetOf(columns.find((c) => c.name === target)!, options, name)
  const tensors: Named[] = [
    ...(numeric.length > 0 ? [{ name: 'x', dtype: 'f32' as const, shape: [count, numeric.length], data: x }] : []),
    ...(categorical.length > 0 ? [categoriesOf(categorical, count)] : []),
    y.tensor,
  ]
  return {
    tensors,
    count,
    ...(y.classes ? { classes: y.classes } : {}),
    features: numeric.map((c) => c.name),
    notes,
    table: {
      task: y.classes ? 'classification' : 'regression',
      numeric: numeric.map((c) => c.name),
      categorical: categorical.map(({ column, values }) => ({ name: column.name, values })),
      ...(moments ? { moments } : {}),
      ...(y.moments ? { targetMoments: y.moments } : {}),
    },
  }
}

function categoriesOf(categorical: readonly { column: Column; values: readonly string[] }[], count: number): Named {
  const data = new Int32Array(count * categorical.length)
  categorical.forEach(({ column, values }, j) => {
    const number = new Map(values.map((v, k) => [v, k]))
    column.cells.forEach((cell, i) => {
      data[i * categorical.length + j] = number.get(wordOf(cell))!
    })
  })
  return { name: 'categories', dtype: 'i32', shape: [count, categorical.length], data }
}

type Target = { readonly tensor: Named; readonly classes?: readonly string[]; readonly moments?: { mean: number; deviation: number } }

function targetOf(column: Column, options: TableOptions, name: string): Target {
  const count = column.cells.length
  column.cells.forEach((cell, i) => {
    if (isMissing(cell)) throw new DataError(`${name}: the target "${column.name}" is missing in row ${i}\nDrop the row, or fill it in.`)
  })
  const numbers = isNumeric(column) ? column.cells.map(numberOf) : undefined
  const kinds = new Set(column.cells.map(wordOf)).size
  const task =
    options.task ?? (!numbers || (kinds <= MAX_CLASSES_AUTO && numbers.every(Number.isInteger)) ? 'classification' : 'regression')
  if (task === 'classification') {
    const classes = valuesOf(column, name)
    const number = new Map(classes.map((v, k) => [v, k]))
    const data = Int32Array.from(column.cells, (cell) => number.get(wordOf(cell))!)
    return { tensor: { name: 'y', dtype: 'i32', shape: [count], data }, classes }
  }
  if (!numbers) throw new DataError(`${name}: the target "${column.name}" holds words, which no regression predicts`)
  const raw = Float32Array.from(numbers)
  if (!options.standardise) return { tensor: { name: 'y', dtype: 'f32', shape: [count, 1], data: canonical(raw) } }
  const moments = columnMoments(raw, 1, options.standardise.train)
  const data = standardise(raw, 1, moments)
  return {
    tensor: { name: 'y', dtype: 'f32', shape: [count, 1], data },
    moments: { mean: moments.mean[0], deviation: moments.deviation[0] },
  }
}

const isMissing = (cell: unknown): boolean => cell === null || cell === undefined || (typeof cell === 'string' && MISSING.test(cell.trim()))
const wordOf = (cell: unknown): string => (isMissing(cell) ? '' : typeof cell === 'string' ? cell.trim() : String(cell))

function numberOf(cell: unknown): number {
  if (isMissing(cell)) return Number.NaN
  return typeof cell === 'string' ? Number(cell.trim()) : Number(cell)
}

/** Numbers, with gaps allowed; a column of gaps only is one of numbers, too. */
const isNumeric = (c: Column): boolean =>
  c.cells.every(
    (cell) =>
      isMissing(cell) ||
      typeof cell === 'number' ||
      typeof cell === 'bigint' ||
      typeof cell === 'boolean' ||
      (typeof cell === 'string' && NUMBER.test(cell.trim())),
  )

/** The different words of a column: numbers by size, the rest by code unit, so that no locale decides. */
function valuesOf(c: Column, name: string): string[] {
  const seen = new Set<string>()
  for (const cell of c.cells) {
    seen.add(wordOf(cell))
    if (seen.size > MAX_CATEGORIES)
      throw new DataError(
        `${name}: column "${c.name}" holds more than ${MAX_CATEGORIES} different words\nLeave it out with --drop ${c.name}, or number it yourself.`,
      )
  }
  const values = [...seen]
  return values.every((v) => NUMBER.test(v)) ? values.sort((a, b) => Number(a) - Number(b)) : values.sort((a, b) => (a < b ? -1 : 1))
}

const listOf = (names: readonly string[]): string =>
  names
    .slice(0, 40)
    .map((n) => `"${n.slice(0, 60)}"`)
    .join(', ') + (names.length > 40 ? ', …' : '')
