// A data set as training takes it: named tensors whose first axis is the example, what was found out about them, and a part held back for judging.

import { canonical, type Data, sizeOf } from '@bitloom/graph'
import type { DataTensor as Named } from '../step.ts'
import { DataError } from './tensors.ts'

export type Dataset = {
  /** All with the same first axis, the examples. */
  readonly tensors: readonly Named[]
  readonly count: number
  /** What a class number in the labels means. */
  readonly classes?: readonly string[]
  /** Names along the last axis of the features. */
  readonly features?: readonly string[]
  /** What was done to the data that its owner should know. */
  readonly notes: readonly string[]
}

/** Which examples train and which are held back: numbers of examples, in order. */
export type Split = { readonly train: Int32Array; readonly held: Int32Array }

/** `validation` examples held back: a whole number is the last so many, a fraction below 1 is drawn with `seed`. */
export type SplitOptions = { readonly validation: number; readonly seed?: number }

/**
 * Holds examples back.
 * @throws {DataError} nothing would be left to train on
 */
export function splitOf(count: number, { validation, seed = 1 }: SplitOptions): Split {
  if (!(validation >= 0) || (validation >= 1 && !Number.isInteger(validation)))
    throw new DataError(`a validation part of ${validation}: give a whole number of examples or a fraction below 1`)
  const held = validation < 1 ? Math.round(count * validation) : validation
  if (held >= count) throw new DataError(`${held} of ${count} examples held back leaves none to train on`)
  const order = Int32Array.from({ length: count }, (_, i) => i)
  if (validation < 1) shuffle(order, seed)
  return { train: order.slice(0, count - held).sort(), held: order.slice(count - held).sort() }
}

/** Fisher and Yates, with Marsaglia's xorshift32 (2003): the same order on every machine. */
function shuffle(order: Int32Array, seed: number): void {
  let word = (Math.imul(seed, 0x9e3779b9) ^ 0x5bd1e995) >>> 0 || 1
  for (let i = order.length - 1; i > 0; i--) {
    word ^= word << 13
    word ^= word >>> 17
    word ^= word << 5
    const j = (word >>> 0) % (i + 1)
    const kept = order[i]
    order[i] = order[j]
    order[j] = kept
  }
}

/** A tensor's rows by number. */
export function rowsOf(tensor: Named, rows: Int32Array): Named {
  const width = sizeOf(tensor.shape.slice(1))
  const make = tensor.data.constructor as new (n: number) => Data
  const data = new make(rows.length * width)
  rows.forEach((row, i) => {
    data.set(tensor.data.subarray(row * width, (row + 1) * width), i * width)
  })
  return { ...tensor, shape: [rows.length, ...tensor.shape.slice(1)], data }
}

/** Both parts of a data set. */
export function splitDataset(set: Dataset, options: SplitOptions): { readonly train: Dataset; readonly held: Dataset } {
  const { train, held } = splitOf(set.count, options)
  const part = (rows: Int32Array): Dataset => ({ ...set, count: rows.length, tensors: set.tensors.map((t) => rowsOf(t, rows)) })
  return { train: part(train), held: part(held) }
}

/** A tensor of the set by name. @throws {DataError} there is none */
export function tensorOf(set: Dataset, name: string): Named {
  const found = set.tensors.find((t) => t.name === name)
  if (!found) throw new DataError(`the data has no tensor "${name}"; it has ${set.tensors.map((t) => t.name).join(', ') || 'none'}`)
  return found
}

/**
 * Refuses what no training survives.
 * @throws {DataError} a NaN or an infinity, by row and column
 */
export function requireFinite(set: Dataset): Dataset {
  for (const { name, shape, data } of set.tensors) {
    if (!(data instanceof Float32Array)) continue
    const at = data.findIndex((x) => !Number.isFinite(x))
    if (at < 0) continue
    const width = sizeOf(shape.slice(1))
    const column = at % width
    const called = set.features?.length === width && name === 'x' ? `"${set.features[column]}"` : String(column)
    throw new DataError(
      `${name}: ${data[at]} in row ${Math.floor(at / width)}, column ${called}\nMend or drop it; with --allow-nan it is used as it is.`,
    )
  }
  return set
}

/**
 * Mean and standard deviation (of the population) of each column of some rows of f32 [count, width], added up in float64 in order; gaps (NaN) are left out,
 * and a constant column gets 1.
 */
export function columnMoments(
  data: Float32Array,
  width: number,
  rows: Int32Array,
): { readonly mean: number[]; readonly deviation: number[] } {
  const means: number[] = []
  const deviations: number[] = []
  for (let c = 0; c < width; c++) {
    const present = Array.from(rows, (row) => data[row * width + c]).filter((x) => !Number.isNaN(x))
    const mean = present.length > 0 ? present.reduce((n, x) => n + x, 0) / present.length : 0
    const variance = present.length > 0 ? present.reduce((n, x) => n + (x - mean) ** 2, 0) / present.length : 0
    means.push(mean)
    deviations.push(Math.sqrt(variance) || 1)
  }
  return { mean: means, deviation: deviations }
}

/** (x - mean) / deviation, column by column, each rounded once. */
export const standardise = (
  data: Float32Array,
  width: number,
  { mean, deviation }: { mean: readonly number[]; deviation: readonly number[] },
) => canonical(data.map((x, i) => (x - mean[i % width]) / deviation[i % width]))
