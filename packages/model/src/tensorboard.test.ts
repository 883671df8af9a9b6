// Event files carry the checksums that TensorBoard demands, and read back as they were written.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { crc32c, EventsError, readEvents, writeEvents } from './tensorboard.ts'

test("CRC-32C gives RFC 3720's values", () => {
  assert.equal(crc32c(new Uint8Array(32)), 0x8a9136aa)
  assert.equal(crc32c(new Uint8Array(32).fill(0xff)), 0x62a8ab43)
  assert.equal(crc32c(Uint8Array.from({ length: 32 }, (_, i) => i)), 0x46dd794e)
  assert.equal(crc32c(new TextEncoder().encode('123456789')), 0xe3069283)
})

test('the file begins as TensorFlow begins one, and holds what was written', () => {
  const scalars = [
    { tag: 'loss', step: 1, value: 2.5 },
    { tag: 'held-out/accuracy', step: 300, value: Math.fround(0.93) },
    { tag: 'loss', step: 2 ** 31 + 5, value: Number.NaN },
  ]
  const bytes = writeEvents(scalars)
  // length 24, its checksum, then wall time 0 (proto3 leaves it out or writes it) and the version
  assert.ok(new TextDecoder('latin1').decode(bytes.subarray(0, 48)).includes('brain.Event:2'))
  assert.deepEqual(readEvents(bytes), scalars)
  assert.deepEqual(writeEvents(scalars), bytes)
})

test('a changed or missing byte is noticed', () => {
  const bytes = writeEvents([{ tag: 'loss', step: 7, value: 1 }])
  const first = bytes.length - readEventsLength(bytes)
  for (let i = 0; i < bytes.length; i++) {
    const bad = bytes.slice()
    bad[i] ^= 0x10
    assert.throws(() => readEvents(bad), EventsError, `byte ${i}`)
    if (i > 0 && i !== first) assert.throws(() => readEvents(bytes.subarray(0, i)), EventsError, `cut at ${i}`)
  }
})

/** Bytes of everything after the first record. */
function readEventsLength(bytes: Uint8Array): number {
  return bytes.length - 16 - Number(new DataView(bytes.buffer).getBigUint64(0, true))
}
