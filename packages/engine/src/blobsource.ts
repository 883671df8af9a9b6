// Rows of a tensor from a Blob or a File that a person picked, in a browser's worker: read as each step asks, never held whole.
import type { RowReader } from './backend.ts'

/** What we use of a Blob, which browsers and Node both have. */
export interface RowBlob {
  readonly size: number
  slice(start: number, end: number): RowBlob
}

interface SyncReader {
  readAsArrayBuffer(blob: RowBlob): ArrayBuffer
}
const scope = globalThis as unknown as { readonly FileReaderSync?: new () => SyncReader }

/**
 * Rows of `rowBytes` from a blob, the first at byte `offset`; rows that follow each other are read at once.
 * @throws {BlobError} here no worker's FileReaderSync exists; the reader throws it where the blob ends early
 */
export const blobRows = (blob: RowBlob, rowBytes: number, offset = 0): RowReader => {
  if (scope.FileReaderSync === undefined)
    throw new BlobError('blobs are read row by row only in a browser worker (FileReaderSync)\nuse fileRows, or write the slot whole')
  const reader = new scope.FileReaderSync()
  return (rows, into) => {
    for (let i = 0; i < rows.length; ) {
      let next = i + 1
      while (next < rows.length && rows[next] === rows[next - 1] + 1) next++
      const start = offset + rows[i] * rowBytes
      const end = start + (next - i) * rowBytes
      if (end > blob.size) throw new BlobError(`the blob has ${blob.size} bytes; rows ${rows[i]} to ${rows[next - 1]} end at byte ${end}`)
      into.set(new Uint8Array(reader.readAsArrayBuffer(blob.slice(start, end))), i * rowBytes)
      i = next
    }
  }
}

/** A blob that cannot be read, or does not hold the tensor it should. */
export class BlobError extends Error {
  override name = 'engine.BlobError'
}
