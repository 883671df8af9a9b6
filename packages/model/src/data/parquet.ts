// Parquet tables: columns by name, with numbers as numbers. The format is hyparquet's business; the bounds are ours.
//
// A bent file can keep hyparquet busy for ever (one flipped byte in a small file is enough), so it works in a thread of its own with a limit of time and memory.

import { Worker } from 'node:worker_threads'
import type { Column } from './table.ts'
import { DataError } from './tensors.ts'

/** "PAR1", at both ends. */
const MAGIC = [0x50, 0x41, 0x52, 0x31]
const MAX_PARQUET_BYTES = 2 ** 30
/** What a slow machine needs for the largest file, many times over. */
const LIMIT_MS = 120_000
const HEAP_MIB = 4096

/** What the thread answers. */
export type Answer = { readonly columns: Column[] } | { readonly refused: string }

/**
 * The flat columns of a parquet file (uncompressed or snappy).
 * @throws {DataError} it is no parquet file, is damaged, nested, packed by another codec, too large, or not read in time
 */
export async function readParquet(bytes: Uint8Array, name = 'parquet', limitMs = LIMIT_MS): Promise<Column[]> {
  if (bytes.length > MAX_PARQUET_BYTES) throw new DataError(`${name}: ${bytes.length} bytes, more than ${MAX_PARQUET_BYTES}`)
  if (bytes.length < 12 || ![0, bytes.length - 4].every((at) => MAGIC.every((b, i) => bytes[at + i] === b)))
    throw new DataError(`${name}: does not begin and end like a parquet file; is it whole?`)
  const worker = new Worker(new URL('./parquet.worker.ts', import.meta.url), {
    workerData: new Uint8Array(bytes),
    resourceLimits: { maxOldGenerationSizeMb: HEAP_MIB },
  })
  let timer: NodeJS.Timeout | undefined
  try {
    const answer = await new Promise<Answer>((resolve) => {
      worker.once('message', resolve)
      worker.once('error', (error) => resolve({ refused: error.message }))
      worker.once('exit', () => resolve({ refused: 'the reader ended without an answer' }))
      timer = setTimeout(
        () => resolve({ refused: `not read within ${limitMs / 1000} s; the file is damaged, or made to be so slow` }),
        limitMs,
      )
    })
    if ('refused' in answer)
      throw new DataError(
        `${name}: ${answer.refused}\nSave it again, uncompressed or with snappy: df.to_parquet(path, compression='snappy')`,
      )
    return answer.columns
  } finally {
    clearTimeout(timer)
    await worker.terminate()
  }
}
