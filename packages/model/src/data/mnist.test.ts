// The digits are real, exact, in an order that never changes, and a broken file is refused.

import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { MnistError, PIXELS, readMnist } from './mnist.ts'

const sha = (...parts: Uint8Array[]) => parts.reduce((h, p) => h.update(p), createHash('sha256')).digest('hex')

test('10,000 digits, split the same way every time', () => {
  const { train, test: held } = readMnist()
  assert.deepEqual([train.count, held.count], [9003, 997])
  for (const part of [train, held]) {
    assert.equal(part.images.length, part.count * PIXELS)
    assert.equal(part.labels.length, part.count)
    assert.deepEqual([...part.labels.subarray(0, 12)], [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 0, 1])
  }
  const counts = new Array<number>(10).fill(0)
  for (const label of [...train.labels, ...held.labels]) counts[label]!++
  assert.deepEqual(counts, [1001, 1127, 991, 1032, 980, 863, 1014, 1070, 944, 978])
  assert.equal(
    sha(train.images, train.labels, held.images, held.labels),
    '5ffd510ba1de9b99d6bf6d8a2522c41d9dca0b6f92680d6ea96fbf881f18f078',
  )
})

test('the first image is the zero that opens the MNIST training set', () => {
  const { train } = readMnist()
  const lit = [...train.images.subarray(0, PIXELS)].filter((pixel) => pixel > 0)
  assert.deepEqual(lit.slice(0, 5), [51, 159, 253, 159, 50])
})

test('no image is in both parts', () => {
  const { train, test: held } = readMnist()
  const key = (images: Uint8Array, i: number) => sha(images.subarray(i * PIXELS, (i + 1) * PIXELS))
  const seen = new Set(Array.from({ length: train.count }, (_, i) => key(train.images, i)))
  for (let i = 0; i < held.count; i++) assert.ok(!seen.has(key(held.images, i)), `test image ${i}`)
})

test('a missing or malformed file is refused by name', () => {
  const directory = mkdtempSync(join(tmpdir(), 'bitloom-mnist-'))
  try {
    assert.throws(
      () => readMnist(directory),
      (e) => e instanceof MnistError && /0\.json: cannot be read.*\n.*npm install/s.test(e.message),
    )
    const image = new Array<number>(PIXELS).fill(0)
    for (let digit = 0; digit < 10; digit++) writeFileSync(join(directory, `${digit}.json`), JSON.stringify({ data: image }))
    assert.deepEqual(readMnist(directory).train.count, 10)
    const broken: [unknown, RegExp][] = [
      ['{', /3\.json: cannot be read/],
      [null, /3\.json: "data" is no list/],
      [{ data: image.slice(1) }, /no list of whole images/],
      [{ data: [] }, /no list of whole images/],
      [{ data: image.with(5, 0.5) }, /value 5 is 0\.5, no pixel/],
      [{ data: image.with(6, 1.004) }, /value 6 is 1\.004/],
      [{ data: (image as unknown[]).with(7, '0') }, /value 7 is "0"/],
      [{ data: (image as unknown[]).with(8, null) }, /value 8 is null/],
    ]
    for (const [content, message] of broken) {
      writeFileSync(join(directory, '3.json'), typeof content === 'string' ? content : JSON.stringify(content))
      assert.throws(
        () => readMnist(directory),
        (e) => e instanceof MnistError && message.test(e.message),
        `${message}`,
      )
    }
  } finally {
    rmSync(directory, { recursive: true })
  }
})
