// The contents of a zip archive, stored or deflated: as much of the format as npz files use (APPNOTE 6.3.10, §4.3), every offset and size bounded.

import { crc32, inflateRawSync } from 'node:zlib'
import { DataError, MAX_DATA_BYTES } from './tensors.ts'

const [END, ENTRY, LOCAL] = [0x06054b50, 0x02014b50, 0x04034b50]
const WIDE = 0xffffffff

/**
 * The files of an archive by path, in the directory's order. All together may unpack to 2^31 bytes.
 * @throws {DataError} it is no zip archive, is damaged, encrypted or too large, or holds a path twice
 */
export function readZip(bytes: Uint8Array, maxFiles: number): Map<string, Uint8Array> {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const need = (at: number, n: number, what: string): void => {
    if (at < 0 || at + n > bytes.length) throw new DataError(`zip: ${what} at ${at} lies outside ${bytes.length} bytes`)
  }
  const end = findEnd(view)
  const files = view.getUint16(end + 10, true)
  if (files > maxFiles) throw new DataError(`zip: ${files} files, more than ${maxFiles}`)
  let at = view.getUint32(end + 16, true)
  let unpacked = 0
  const out = new Map<string, Uint8Array>()
  for (let f = 0; f < files; f++) {
    need(at, 46, 'a directory entry')
    if (view.getUint32(at, true) !== ENTRY) throw new DataError(`zip: no directory entry at ${at}`)
    const [flags, method, crc] = [view.getUint16(at + 8, true), view.getUint16(at + 10, true), view.getUint32(at + 16, true)]
    const [nameBytes, extraBytes, commentBytes] = [28, 30, 32].map((o) => view.getUint16(at + o, true)) as [number, number, number]
    need(at, 46 + nameBytes + extraBytes + commentBytes, 'a directory entry')
    const path = new TextDecoder().decode(bytes.subarray(at + 46, at + 46 + nameBytes))
    const [packed, size, local] = wideSizes(view, at, at + 46 + nameBytes, extraBytes)
    if (flags & 1) throw new DataError(`zip: "${path}" is encrypted`)
    unpacked += size
    if (!(unpacked <= MAX_DATA_BYTES)) throw new DataError(`zip: "${path}" brings the archive above ${MAX_DATA_BYTES} bytes`)
    need(local, 30, `"${path}"`)
    if (view.getUint32(local, true) !== LOCAL) throw new DataError(`zip: "${path}" has no header at ${local}`)
    const begin = local + 30 + view.getUint16(local + 26, true) + view.getUint16(local + 28, true)
    need(begin, packed, `"${path}"`)
    const content = unpack(path, method, bytes.subarray(begin, begin + packed), size)
    if (crc32(content) !== crc) throw new DataError(`zip: "${path}" is damaged: its checksum differs`)
    if (out.has(path)) throw new DataError(`zip: "${path}" appears twice`)
    out.set(path, content)
    at += 46 + nameBytes + extraBytes + commentBytes
  }
  return out
}

/** The end-of-directory record stands at the end, before a comment of up to 65,535 bytes. */
function findEnd(view: DataView): number {
  for (let at = view.byteLength - 22; at >= Math.max(0, view.byteLength - 22 - 0xffff); at--)
    if (view.getUint32(at, true) === END && at + 22 + view.getUint16(at + 20, true) === view.byteLength) return at
  throw new DataError('zip: no end of directory; is it a zip archive, and whole?')
}

/** Packed size, unpacked size and place of an entry; NumPy always reserves the 64-bit fields, in the extra data with id 1. */
function wideSizes(view: DataView, entry: number, extra: number, extraBytes: number): [packed: number, size: number, local: number] {
  let [packed, size, local] = [20, 24, 42].map((o) => view.getUint32(entry + o, true)) as [number, number, number]
  for (let at = extra; at + 4 <= extra + extraBytes; ) {
    const [id, n] = [view.getUint16(at, true), view.getUint16(at + 2, true)]
    let field = at + 4
    at += 4 + n
    if (id !== 1 || at > extra + extraBytes) continue
    const next = (): number => {
      field += 8
      if (field > at) throw new DataError(`zip: the 64-bit sizes of the entry at ${entry} are missing`)
      return Number(view.getBigUint64(field - 8, true))
    }
    if (size === WIDE) size = next()
    if (packed === WIDE) packed = next()
    if (local === WIDE) local = next()
  }
  return [packed, size, local]
}

function unpack(path: string, method: number, packed: Uint8Array, size: number): Uint8Array {
  if (method !== 0 && method !== 8) throw new DataError(`zip: "${path}" is packed by method ${method}; only stored and deflated are read`)
  let content = packed
  if (method === 8)
    try {
      content = inflateRawSync(packed, { maxOutputLength: Math.max(size, 1) })
    } catch (cause) {
      throw new DataError(`zip: "${path}" is damaged or unpacks to more than the ${size} bytes it declares`, { cause })
    }
  if (content.length !== size) throw new DataError(`zip: "${path}" holds ${content.length} bytes, not the ${size} it declares`)
  return content
}
