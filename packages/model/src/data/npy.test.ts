// Files that NumPy wrote are read element for element; IDX files too; damaged, oversized and foreign ones are refused.
//
// The npz files beside this test were written by NumPy 2.4.6: np.savez_compressed(f4, i8, u1, b1, f2, scalar, u2, big='>f4') and np.savez(x=f4, y=u1).

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { deflateRawSync, gzipSync } from 'node:zlib'
import { readIdx } from './idx.ts'
import { readNpy, readNpz } from './npy.ts'
import { DataError } from './tensors.ts'

const fixture = (name: string) => new Uint8Array(readFileSync(new URL(`./npy.test.${name}.npz`, import.meta.url)))
const f4 = [1.5, -2, Number.POSITIVE_INFINITY, Math.fround(0.1), Math.fround(3e38), -0]

test('what NumPy saved compressed is read, each type as one that a graph knows', () => {
  const arrays = readNpz(fixture('deflated'))
  const seen = [...arrays].map(([name, t]) => [name, t.dtype, t.shape, [...t.data]])
  assert.deepEqual(seen, [
    ['f4', 'f32', [2, 3], f4],
    ['i8', 'i32', [3], [-(2 ** 31), 7, 2 ** 31 - 1]],
    ['u1', 'u8', [2, 1, 2], [0, 1, 2, 3]],
    ['b1', 'u8', [2], [1, 0]],
    ['f2', 'f32', [2], [0.5, 65504]],
    ['scalar', 'f32', [], [Math.fround(0.1)]],
    ['u2', 'i32', [1], [65535]],
    ['big', 'f32', [2], [1.25, -3]],
  ])
})

test('what NumPy saved uncompressed is read', () => {
  const arrays = readNpz(fixture('stored'))
  assert.deepEqual([...arrays.keys()], ['x', 'y'])
  assert.deepEqual([...arrays.get('x')!.data], f4)
})

test('no changed byte of an archive goes unnoticed in the values', () => {
  for (const kind of ['stored', 'deflated']) {
    const bytes = fixture(kind)
    const before = readNpz(bytes)
    let refused = 0
    for (let i = 0; i < bytes.length; i++) {
      const bad = bytes.slice()
      bad[i]! ^= 0x11
      try {
        const after = readNpz(bad)
        assert.deepEqual([...after.values()], [...before.values()].slice(0, after.size), `byte ${i} of ${kind}`)
      } catch (e) {
        assert.ok(e instanceof DataError, `byte ${i} of ${kind}: ${e}`)
        refused++
      }
    }
    assert.ok(refused > bytes.length / 2)
    for (let n = 0; n < bytes.length; n += 7) assert.throws(() => readNpz(bytes.subarray(0, n)), DataError)
  }
})

const npy = (dict: string, body = 0, size?: number) => {
  const text = Buffer.from(`${dict}\n`)
  return Buffer.concat([
    Buffer.from('\x93NUMPY\x01\x00', 'latin1'),
    Buffer.from(Uint16Array.of(size ?? text.length).buffer),
    text,
    Buffer.alloc(body),
  ])
}

test('arrays that are none of ours are refused, and say what to do', () => {
  const cases: [Uint8Array, RegExp][] = [
    [new Uint8Array(20), /does not begin like an npy file/],
    [npy("{'descr': '<f4', 'fortran_order': True, 'shape': (2, 2), }", 16), /Fortran order\n.*ascontiguousarray/],
    [npy("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8), /objects and records are not read/],
    [npy("{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (1,), }", 4), /objects and records/],
    [npy("{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", 8), /"<c8" are not read/],
    [npy("{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 8), /takes 12 bytes, the file has 8/],
    [npy("{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999, 99999999999), }"), /no size that is read/],
    [npy("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"), /describes no plain array/],
    [npy("{'descr': '<f4', 'fortran_order': False, 'shape': (), }", 4, 60_000), /a header of 60000 bytes/],
    [
      npy("{'descr': '<u4', 'fortran_order': False, 'shape': (1,), }", 4).map((b, i, all) => (i < all.length - 4 ? b : 0xff)),
      /element 0 is 4294967295, which no i32 holds/,
    ],
  ]
  for (const [bytes, message] of cases)
    assert.throws(
      () => readNpy(bytes),
      (e) => e instanceof DataError && message.test(e.message),
      `${message}`,
    )
})

/** An archive of one deflated file whose directory declares `declared` bytes. */
function archiveOf(content: Uint8Array, declared: number): Uint8Array {
  const packed = deflateRawSync(content)
  const local = Buffer.alloc(31)
  local.writeUInt32LE(0x04034b50, 0)
  local.writeUInt16LE(1, 26)
  const entry = Buffer.alloc(47)
  entry.writeUInt32LE(0x02014b50, 0)
  entry.writeUInt16LE(8, 10)
  entry.writeUInt32LE(packed.length, 20)
  entry.writeUInt32LE(declared, 24)
  entry.writeUInt16LE(1, 28)
  const end = Buffer.alloc(22)
  end.writeUInt32LE(0x06054b50, 0)
  end.writeUInt16LE(1, 10)
  end.writeUInt32LE(local.length + packed.length, 16)
  return Buffer.concat([local, packed, entry, end])
}

test('an archive that unpacks to more than it says is stopped', () => {
  const bomb = new Uint8Array(50_000_000)
  assert.throws(() => readNpz(archiveOf(bomb, 100)), /unpacks to more than the 100 bytes it declares/)
  assert.throws(() => readNpz(archiveOf(bomb, 0xfffffffe)), /above 2147483648 bytes/)
  assert.throws(() => readNpz(archiveOf(Uint8Array.of(1, 2, 3), 3)), /checksum differs/)
})

test('idx files are read, gzipped or not', () => {
  const file = Uint8Array.of(0, 0, 8, 2, 0, 0, 0, 2, 0, 0, 0, 3, 1, 2, 3, 4, 5, 255)
  const expected = { dtype: 'u8', shape: [2, 3], data: Uint8Array.of(1, 2, 3, 4, 5, 255) }
  assert.deepEqual(readIdx(file), expected)
  assert.deepEqual(readIdx(gzipSync(file)), expected)
  assert.deepEqual(readIdx(Uint8Array.of(0, 0, 0x0d, 1, 0, 0, 0, 1, 0x3f, 0xc0, 0, 0)), {
    dtype: 'f32',
    shape: [1],
    data: Float32Array.of(1.5),
  })
  assert.deepEqual(readIdx(Uint8Array.of(0, 0, 0x0b, 1, 0, 0, 0, 1, 0xff, 0xfe)), { dtype: 'i32', shape: [1], data: Int32Array.of(-2) })
  for (let n = 0; n < file.length; n++) assert.throws(() => readIdx(file.subarray(0, n)), DataError)
  assert.throws(() => readIdx(gzipSync(file).subarray(0, 20)), /gzip stream is damaged/)
  assert.throws(
    () => readIdx(Uint8Array.of(0, 0, 8, 3, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255, 255)),
    /no size that is read/,
  )
  assert.throws(() => readIdx(file.with(2, 7)), /element type 7/)
  assert.throws(() => readIdx(file.with(0, 1)), /two zero bytes/)
})
