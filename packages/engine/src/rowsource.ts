// Rows of a tensor from the file where they lie, read as each step asks for them.
import { readSync } from 'node:fs'
import type { RowReader } from './backend.ts'

/** The most bytes one read asks for. */
const READ_BYTES = 2 ** 30

/**
 * Rows of `rowBytes` from an open file, the first at byte `offset`; rows that follow each other are read at once. The descriptor stays the caller's.
 * The reader throws a SourceError where the file ends early.
 */
export const fileRows =
  (descriptor: number, rowBytes: number, offset = 0): RowReader =>
  (rows, into) => {
    for (let i = 0; i < rows.length; ) {
      let next = i + 1
      while (next < rows.length && rows[next] === rows[next - 1] + 1) next++
      let at = i * rowBytes
      let position = offset + rows[i] * rowBytes
      while (at < next * rowBytes) {
        const read = readSync(descriptor, into, at, Math.min(next * rowBytes - at, READ_BYTES), position)
        if (read === 0)
          throw new SourceError(
            `the file ends at byte ${position}, inside row ${Math.floor((position - offset) / rowBytes)}; rows have ${rowBytes} bytes`,
          )
        at += read
        position += read
      }
      i = next
    }
  }

/** A data file that does not hold the tensor it should. */
export class SourceError extends Error {
  override name = 'engine.SourceError'
}
