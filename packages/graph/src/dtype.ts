// Element types: what one element of a tensor is, its size, and its code in the encoding (docs/numerics.md §1).

export type Dtype = 'f32' | 'i32' | 'u8'

/** Codes used by `encode` and by Scalar.sol. */
export const DTYPES: readonly Dtype[] = ['f32', 'i32', 'u8']

/** Bytes of one element. */
export const bytesOf = (dtype: Dtype): number => (dtype === 'u8' ? 1 : 4)

export const dtypeCode = (dtype: Dtype): number => DTYPES.indexOf(dtype)

/** A tensor's elements in row-major order. */
export type Data = Float32Array | Int32Array | Uint8Array

/** Allocates `n` zero elements. */
export function allocate(dtype: Dtype, n: number): Data {
  if (dtype === 'f32') return new Float32Array(n)
  if (dtype === 'i32') return new Int32Array(n)
  return new Uint8Array(n)
}

/** The little-endian bytes of `data`, as a view (every machine we run on is little-endian; `assertLittleEndian` says so at start). */
export const toBytes = (data: Data): Uint8Array => new Uint8Array(data.buffer, data.byteOffset, data.byteLength)

/** Elements from little-endian bytes; copies only where the alignment demands it. */
export function fromBytes(dtype: Dtype, bytes: Uint8Array): Data {
  if (dtype === 'u8') return bytes
  if (bytes.byteLength % 4 !== 0) throw new RangeError(`fromBytes: ${bytes.byteLength} bytes are no whole number of ${dtype} elements`)
  const aligned = bytes.byteOffset % 4 === 0 ? bytes : new Uint8Array(bytes) // not slice: a Buffer's is a view
  const n = aligned.byteLength / 4
  return dtype === 'f32' ? new Float32Array(aligned.buffer, aligned.byteOffset, n) : new Int32Array(aligned.buffer, aligned.byteOffset, n)
}

if (new Uint8Array(new Uint32Array([1]).buffer)[0] !== 1)
  throw new Error('Bitloom needs a little-endian machine: tensors are hashed as little-endian bytes')
