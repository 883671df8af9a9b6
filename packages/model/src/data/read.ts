// Data by its path: what lies there decides how it is read, and every refusal says what would be read instead.

import { type Dirent, existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { basename, extname, join } from 'node:path'
import { sizeOf } from '@bitloom/graph'
import { readSafetensors } from '../safetensors.ts'
import type { DataTensor as Named } from '../step.ts'
import { readCsv, textOf } from './csv.ts'
import { type Dataset, requireFinite, splitOf } from './dataset.ts'
import { readIdx } from './idx.ts'
import { readNpy, readNpz } from './npy.ts'
import { type Column, type TableData, tableData } from './table.ts'
import { DataError, type DataTensor, MAX_DATA_BYTES } from './tensors.ts'

export type ReadOptions = {
  /** Of a table: the column to predict. */
  readonly target?: string
  readonly drop?: readonly string[]
  readonly task?: 'classification' | 'regression'
  /** Of a table: numeric columns to mean 0 and deviation 1 over the training rows. */
  readonly standardise?: boolean
  /** Held back: the last so many examples, or a fraction drawn with `seed`; the standardising must know. Default 0. */
  readonly validation?: number
  readonly seed?: number
  readonly separator?: string
  /** Of images. */
  readonly resize?: readonly [number, number]
  readonly channels?: 1 | 3
  readonly allowNan?: boolean
}

const MAX_FILE_BYTES = MAX_DATA_BYTES
const MAX_ENTRIES = 4096
const KINDS = '.csv, .tsv, .parquet, .npy, .npz, .safetensors, idx (.gz), or a folder of such tensors, or of one folder of images a class'

/**
 * The data at a path. Tables give `x`, `categories` and `y`; image folders `images` and `labels`; tensor files their arrays by name (a lone array is `x`); a
 * folder of tensor files each array by its file's name.
 * @throws {DataError} nothing readable lies there, or it is damaged; the message says what to do
 */
export async function readData(path: string, options: ReadOptions = {}): Promise<Dataset> {
  if (!existsSync(path)) throw new DataError(`there is no file or folder ${path}`)
  const set = statSync(path).isDirectory() ? await readFolder(path, options) : await readOne(path, options)
  return options.allowNan ? set : requireFinite(set)
}

/** A table file's columns. @throws {DataError} it is no csv, tsv or parquet */
export async function readColumns(path: string, options: Pick<ReadOptions, 'separator'> = {}): Promise<Column[]> {
  const name = basename(path)
  const kind = extname(name).toLowerCase()
  if (kind === '.parquet') return (await import('./parquet.ts')).readParquet(readBytes(path), name)
  const separator = options.separator ?? (kind === '.tsv' ? '\t' : undefined)
  return readCsv(readBytes(path), { name, ...(separator === undefined ? {} : { separator }) })
}

/** A table, typed, with its target by name. */
export async function readTable(path: string, options: ReadOptions): Promise<TableData> {
  const columns = await readColumns(path, options)
  const { target, drop, task, standardise, validation = 0, seed } = options
  if (target === undefined)
    throw new DataError(
      `${basename(path)}: say which column to predict: --target NAME\nThe columns are: ${columns.map((c) => `"${c.name}"`).join(', ')}.`,
    )
  const count = columns[0]?.cells.length ?? 0
  const split = standardise ? splitOf(count, { validation, ...(seed === undefined ? {} : { seed }) }) : undefined
  return tableData(columns, {
    target,
    name: basename(path),
    ...(drop ? { drop } : {}),
    ...(task ? { task } : {}),
    ...(split ? { standardise: split } : {}),
  })
}

/** A text file. @throws {DataError} it is missing, too large or no UTF-8 */
export function readText(path: string, maxBytes = 2 ** 28): string {
  if (!existsSync(path)) throw new DataError(`there is no file ${path}`)
  return textOf(readBytes(path, maxBytes), basename(path))
}

async function readOne(path: string, options: ReadOptions): Promise<Dataset> {
  const kind = extname(path).toLowerCase()
  if (kind === '.csv' || kind === '.tsv' || kind === '.parquet') return readTable(path, options)
  const tensors = tensorsOf(path)
  if (!tensors) throw new DataError(`${basename(path)}: not a kind of data that is read\nRead are: ${KINDS}.`)
  return datasetOf(tensors, basename(path))
}

/** The arrays of a tensor file by name; undefined where the name says it is none. */
function tensorsOf(path: string): Map<string, DataTensor> | undefined {
  const name = basename(path)
  const plain = name.replace(/\.gz$/i, '')
  const kind = extname(plain).toLowerCase()
  if (kind === '.npy') return new Map([['x', readNpy(readBytes(path), name)]])
  if (kind === '.npz') return readNpz(readBytes(path), name)
  if (kind === '.safetensors') return fromSafetensors(readBytes(path))
  if (/(-|\.)idx\d?(-ubyte)?$/i.test(plain) || kind === '.idx') return new Map([['x', readIdx(readBytes(path), name)]])
  return undefined
}

function fromSafetensors(bytes: Uint8Array): Map<string, DataTensor> {
  const dtypes = { F32: 'f32', I32: 'i32', U8: 'u8' } as const
  return new Map(
    [...readSafetensors(bytes)].map(([name, t]) => [
      name,
      { dtype: dtypes[t.dtype], shape: t.shape, data: t.data, ...(t.stored === 'F64' ? { stored: 'f64' as const } : {}) },
    ]),
  )
}

async function readFolder(path: string, options: ReadOptions): Promise<Dataset> {
  const entries = readdirSync(path, { withFileTypes: true }).filter((e) => !e.name.startsWith('.'))
  if (entries.length > MAX_ENTRIES) throw new DataError(`${path}: ${entries.length} entries, more than ${MAX_ENTRIES}`)
  if (entries.some((e: Dirent) => e.isDirectory())) return (await import('./images.ts')).readImages(path, options)
  const tensors = new Map<string, DataTensor>()
  for (const { name } of entries.sort((a, b) => (a.name < b.name ? -1 : 1))) {
    const found = tensorsOf(join(path, name))
    if (!found) continue
    const stem = name.replace(/\.gz$/i, '').replace(/\.[a-z]+$|[-.]idx\d?(-ubyte)?$/i, '')
    for (const [key, tensor] of found) {
      const called = found.size === 1 ? stem : key
      if (tensors.has(called)) throw new DataError(`${path}: two arrays are named "${called}"`)
      tensors.set(called, tensor)
    }
  }
  if (tensors.size === 0) throw new DataError(`${path}: nothing in it is read\nRead are: ${KINDS}.`)
  return datasetOf(tensors, basename(path))
}

/** All with as many examples as each other. */
function datasetOf(tensors: ReadonlyMap<string, DataTensor>, name: string): Dataset {
  const named: Named[] = [...tensors].map(([name, { dtype, shape, data }]) => ({ name, dtype, shape, data }))
  const notes = [...tensors].flatMap(([key, { stored }]) => (stored === 'f64' ? [`${key} was float64 and is rounded to float32`] : []))
  const counts = named.map((t) => t.shape[0] ?? 0)
  if (named.some((t) => t.shape.length === 0 || sizeOf(t.shape) === 0)) throw new DataError(`${name}: an array without examples`)
  if (counts.some((c) => c !== counts[0]))
    throw new DataError(
      `${name}: the arrays do not hold equally many examples: ${named
        .slice(0, 16)
        .map((t) => `${t.name} [${t.shape}]`)
        .join(', ')}`,
    )
  return { tensors: named, count: counts[0], notes }
}

function readBytes(path: string, maxBytes = MAX_FILE_BYTES): Uint8Array {
  const { size } = statSync(path)
  if (size > maxBytes) throw new DataError(`${basename(path)}: ${size} bytes, more than ${maxBytes}`)
  return new Uint8Array(readFileSync(path))
}
