// Comma-separated values with a header line, as spreadsheets and pandas write them: columns by name, their cells as text. Quoting is csv-parse's business.

import { CsvError as ParseError } from 'csv-parse'
import { parse } from 'csv-parse/sync'
import type { Column } from './table.ts'
import { DataError } from './tensors.ts'

const MAX_CSV_BYTES = 2 ** 28
const MAX_COLUMNS = 4096
const SEPARATORS = [',', ';', '\t', '|'] as const

export type CsvOptions = {
  /** What stands between cells; by default whichever of , ; tab | the header line holds most of. */
  readonly separator?: string
  readonly name?: string
}

/**
 * The columns of a csv text: UTF-8, quotes doubled inside quotes, any line ends; the first line names them.
 * @throws {DataError} it is no UTF-8, a row has more or fewer cells than the header (by its line), quotes do not close, or it is too large
 */
export function readCsv(bytes: Uint8Array, { separator, name = 'csv' }: CsvOptions = {}): Column[] {
  if (bytes.length > MAX_CSV_BYTES)
    throw new DataError(`${name}: ${bytes.length} bytes, more than ${MAX_CSV_BYTES}\nSave it as npy or parquet.`)
  const text = textOf(bytes, name)
  const rows = rowsOf(text, separator ?? separatorOf(text), name)
  const header = rows[0]
  if (!header) throw new DataError(`${name}: the file is empty`)
  if (header.length > MAX_COLUMNS) throw new DataError(`${name}: ${header.length} columns, more than ${MAX_COLUMNS}`)
  const names = header.map((h) => h.trim())
  if (names.every((n) => n !== '' && Number.isFinite(Number(n))))
    throw new DataError(`${name}: the first line holds numbers only\nGive the file a first line with the columns' names.`)
  return names.map((n, j) => ({ name: n === '' ? `column ${j + 1}` : n, cells: rows.slice(1).map((row) => row[j]) }))
}

function rowsOf(text: string, delimiter: string, name: string): string[][] {
  try {
    return parse(text, { bom: true, delimiter, skip_empty_lines: true, max_record_size: 2 ** 20 }) as unknown as string[][]
  } catch (error) {
    if (!(error instanceof ParseError)) throw error
    throw new DataError(`${name}: ${error.message}`, { cause: error })
  }
}

/** UTF-8, or a refusal that says where. */
export function textOf(bytes: Uint8Array, name: string): string {
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes)
  } catch (cause) {
    throw new DataError(`${name}: the file is no UTF-8 text\nConvert it: iconv -f LATIN1 -t UTF-8 FILE`, { cause })
  }
}

function separatorOf(text: string): string {
  const line = text.slice(0, Math.min(2 ** 16, (text.indexOf('\n') + 1 || text.length + 1) - 1)).replace(/"[^"]*"/g, '')
  const counts = SEPARATORS.map((s) => line.split(s).length)
  return SEPARATORS[counts.indexOf(Math.max(...counts))]
}
