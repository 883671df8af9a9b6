// The thread in which a parquet file is taken apart: it gets the bytes, answers with columns or with why not, and may be ended at any time.

import { parentPort, workerData } from 'node:worker_threads'
import { parquetMetadataAsync, parquetRead } from 'hyparquet'
import type { Answer } from './parquet.ts'

const MAX_CELLS = 2 ** 27
const MAX_COLUMNS = 4096
/** Snappy packs no tighter than about 1:21 and dictionaries not much more; what claims more is a bomb. */
const MAX_RATIO = 256

async function columnsOf(bytes: Uint8Array<ArrayBuffer>): Promise<Answer> {
  const { buffer } = bytes
  const file = { byteLength: buffer.byteLength, slice: (begin: number, end?: number) => buffer.slice(begin, end) }
  const metadata = await parquetMetadataAsync(file)
  const rows = Number(metadata.num_rows)
  const fields = metadata.schema.slice(1)
  if (fields.some((s) => (s.num_children ?? 0) > 0 || s.repetition_type === 'REPEATED')) return { refused: 'nested columns are not read' }
  if (fields.length === 0 || fields.length > MAX_COLUMNS) return { refused: `${fields.length} columns; 1 to ${MAX_COLUMNS} are read` }
  if (!Number.isSafeInteger(rows) || rows < 1 || rows * fields.length > MAX_CELLS)
    return { refused: `${metadata.num_rows} rows of ${fields.length} columns; at most ${MAX_CELLS} cells are read` }
  const packed = metadata.row_groups.flatMap((g) => g.columns)
  const unpacked = packed.reduce((n, c) => n + Number(c.meta_data?.total_uncompressed_size ?? 0), 0)
  if (unpacked > MAX_RATIO * bytes.length) return { refused: `${bytes.length} bytes that claim to unpack to ${unpacked}` }
  let table: unknown[][] = []
  await parquetRead({ file, metadata, onComplete: (read) => void (table = read) })
  if (table.length !== rows) return { refused: `${table.length} rows where ${rows} are declared` }
  return { columns: fields.map(({ name }, j) => ({ name, cells: table.map((row) => row[j]) })) }
}

const answer = await columnsOf(workerData as Uint8Array<ArrayBuffer>).catch(
  (error: unknown): Answer => ({ refused: (error as Error).message }),
)
parentPort!.postMessage(answer)
