// The vectorised hasher gives the roots that graph/merkle defines, for every length around a chunk, a group of four, a slab and a power of two.
import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { test } from 'node:test'
import { tensorRoot, toHex } from '@bitloom/graph'
import { chunkHashes, fastTensorRoot } from './sha256.ts'

const bytesOf = (n: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => (i * 167 + (i >> 8) * 13 + n) & 255)

test('roots equal the definition for lengths around every boundary', () => {
  const lengths = [0, 1, 4, 1020, 1023, 1024, 1025, 2048, 3000, 4096, 4100, 5 * 1024, 8 * 1024, 9 * 1024 + 4, 100_000]
  for (const n of lengths) assert.equal(toHex(fastTensorRoot(bytesOf(n))), toHex(tensorRoot(bytesOf(n))), `${n} bytes`)
})

test('roots equal the definition across slabs', () => {
  for (const chunks of [1023, 1024, 1025, 2049])
    assert.equal(toHex(fastTensorRoot(bytesOf(chunks * 1024 - 4))), toHex(tensorRoot(bytesOf(chunks * 1024 - 4))), `${chunks}`)
})

test('each chunk hash is SHA-256 of a zero byte and the chunk', () => {
  const bytes = bytesOf(6 * 1024)
  const hashes = chunkHashes(bytes)
  for (let i = 0; i < 6; i++) {
    const wanted = createHash('sha256')
      .update(Uint8Array.of(0))
      .update(bytes.subarray(1024 * i, 1024 * (i + 1)))
      .digest()
    assert.deepEqual(hashes.subarray(32 * i, 32 * (i + 1)), new Uint8Array(wanted))
  }
})

test('a short tensor after a long one sees no rest of it', () => {
  fastTensorRoot(new Uint8Array(50_000).fill(255))
  assert.equal(toHex(fastTensorRoot(bytesOf(10))), toHex(tensorRoot(bytesOf(10))))
})
