// IDX, the format of MNIST and its relatives, plain or gzipped (http://yann.lecun.com/exdb/mnist/, "the IDX file format").

import { gunzipSync } from 'node:zlib'
import { convert, DataError, type DataTensor, elementsOf, MAX_DATA_BYTES, STORED_BYTES, type Stored } from './tensors.ts'

const TYPES: Record<number, Stored> = { 8: 'u8', 9: 'i8', 11: 'i16', 12: 'i32', 13: 'f32', 14: 'f64' }
const MAX_RANK = 6

/**
 * The tensor of an IDX file; bytes stay u8, integers become i32, floats f32.
 * @param name what errors call the file
 * @throws {DataError} it is no IDX file, or its size and its header differ
 */
export function readIdx(bytes: Uint8Array, name = 'idx'): DataTensor {
  const plain = bytes[0] === 0x1f && bytes[1] === 0x8b ? gunzip(bytes, name) : bytes
  const view = new DataView(plain.buffer, plain.byteOffset, plain.byteLength)
  if (plain.length < 4 || view.getUint16(0) !== 0) throw new DataError(`${name}: does not begin with two zero bytes; is it an IDX file?`)
  const [stored, rank] = [TYPES[plain[2]!], plain[3]!]
  if (stored === undefined || rank > MAX_RANK || plain.length < 4 + 4 * rank)
    throw new DataError(`${name}: element type ${plain[2]} and ${rank} axes in ${plain.length} bytes`)
  const shape = Array.from({ length: rank }, (_, axis) => view.getUint32(4 + 4 * axis))
  const expected = elementsOf(name, shape, stored) * STORED_BYTES[stored]
  const body = plain.subarray(4 + 4 * rank)
  if (body.length !== expected) throw new DataError(`${name}: ${stored} [${shape}] takes ${expected} bytes, the file has ${body.length}`)
  return convert(name, shape, stored, body, false)
}

function gunzip(bytes: Uint8Array, name: string): Uint8Array {
  try {
    return gunzipSync(bytes, { maxOutputLength: MAX_DATA_BYTES })
  } catch (cause) {
    throw new DataError(`${name}: its gzip stream is damaged or unpacks to more than ${MAX_DATA_BYTES} bytes`, { cause })
  }
}
