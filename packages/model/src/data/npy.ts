// NumPy's files: npy (one array) and npz (a zip of them), as np.save, np.savez and np.savez_compressed write them.
//
// npy (https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html): "\x93NUMPY", version, header length, a Python dict, the elements.

import { convert, DataError, type DataTensor, elementsOf, STORED_BYTES, type Stored } from './tensors.ts'
import { readZip } from './zip.ts'

const DESCR: Record<string, Stored> = {
  u1: 'u8',
  b1: 'bool',
  i1: 'i8',
  i2: 'i16',
  u2: 'u16',
  i4: 'i32',
  u4: 'u32',
  i8: 'i64',
  u8: 'u64',
  f2: 'f16',
  f4: 'f32',
  f8: 'f64',
}
const MAGIC = [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59]
/** NumPy itself refuses headers above 10,000 characters unless told otherwise. */
const MAX_HEADER_BYTES = 10_000
const MAX_ARRAYS = 4096

/**
 * The array of an npy file; bytes and booleans become u8, integers i32, floats f32.
 * @param name what errors call the file
 * @throws {DataError} it is no npy file, holds Python objects or Fortran order, or its size and its header differ
 */
export function readNpy(bytes: Uint8Array, name = 'npy'): DataTensor {
  if (bytes.length < 12 || !MAGIC.every((b, i) => bytes[i] === b)) throw new DataError(`${name}: does not begin like an npy file`)
  const major = bytes[6]!
  if (major < 1 || major > 3) throw new DataError(`${name}: npy version ${major} is not read`)
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const begin = major === 1 ? 10 : 12
  const size = major === 1 ? view.getUint16(8, true) : view.getUint32(8, true)
  if (size > MAX_HEADER_BYTES || begin + size > bytes.length)
    throw new DataError(`${name}: a header of ${size} bytes in a file of ${bytes.length}`)
  const { order, stored, shape } = parseHeader(new TextDecoder().decode(bytes.subarray(begin, begin + size)), name)
  const expected = elementsOf(name, shape, stored) * STORED_BYTES[stored]
  const body = bytes.subarray(begin + size)
  if (body.length !== expected) throw new DataError(`${name}: ${stored} [${shape}] takes ${expected} bytes, the file has ${body.length}`)
  return convert(name, shape, stored, body, order !== '>')
}

/**
 * The arrays of an npz file, by the names they were saved under.
 * @throws {DataError} the archive is damaged, or one of its arrays is
 */
export function readNpz(bytes: Uint8Array, name = 'npz'): Map<string, DataTensor> {
  const out = new Map<string, DataTensor>()
  for (const [path, content] of readZip(bytes, MAX_ARRAYS)) {
    if (!path.endsWith('.npy')) throw new DataError(`${name}: "${path}" is no npy file`)
    out.set(path.slice(0, -4), readNpy(content, `${name}/${path}`))
  }
  return out
}

/** The three fields of the header, a Python dict literal whose keys NumPy writes in alphabetical order. */
function parseHeader(text: string, name: string): { order: string; stored: Stored; shape: number[] } {
  const match = /^\{'descr': '([<>|=]?)([a-zA-Z]\d+)', 'fortran_order': (True|False), 'shape': \(((?:\d+, ?)*\d*)\),? *\} *\n?$/.exec(text)
  if (!match)
    throw new DataError(`${name}: header ${JSON.stringify(text.slice(0, 120))} describes no plain array (objects and records are not read)`)
  const [, order, descr, fortran, sizes] = match as unknown as [string, string, string, string, string]
  const stored = Object.hasOwn(DESCR, descr) ? DESCR[descr] : undefined
  if (!stored) throw new DataError(`${name}: elements of type "${order}${descr}" are not read, only ${Object.keys(DESCR)}`)
  const shape = sizes.split(',').flatMap((d) => (d.trim() === '' ? [] : [Number(d)]))
  if (fortran === 'True' && shape.length > 1)
    throw new DataError(`${name}: the array is in Fortran order\nSave it as np.save(file, np.ascontiguousarray(array)).`)
  return { order, stored, shape }
}
