// Labelled images come out the same whichever way they are kept, and pairs that do not fit are refused.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { gzipSync } from 'node:zlib'
import { writeSafetensors } from '../safetensors.ts'
import { readLabelled } from './labelled.ts'
import { DataError } from './tensors.ts'

const dir = mkdtempSync(join(tmpdir(), 'bitloom-labelled-'))
after(() => rmSync(dir, { recursive: true, force: true }))

const idx = (shape: readonly number[], data: Uint8Array): Uint8Array => {
  const header = Buffer.alloc(4 + 4 * shape.length)
  header.set([0, 0, 8, shape.length])
  shape.forEach((d, i) => void header.writeUInt32BE(d, 4 + 4 * i))
  return Buffer.concat([header, data])
}
const pixels = (n: number): Uint8Array => Uint8Array.from({ length: n }, (_, i) => (i * 7) % 256)

test('without a path: the installed digits, 9,003 and 997', async () => {
  const { train, held, classes, size } = await readLabelled(undefined, { validation: 0.1 })
  assert.deepEqual([train.count, held.count, classes, size], [9003, 997, 10, [1, 28, 28]])
})

test("MNIST's four files are two parts, gzipped or not", async () => {
  const path = join(dir, 'four')
  mkdirSync(path)
  writeFileSync(join(path, 'train-images-idx3-ubyte.gz'), gzipSync(idx([3, 2, 2], pixels(12))))
  writeFileSync(join(path, 'train-labels-idx1-ubyte'), idx([3], Uint8Array.of(0, 4, 2)))
  writeFileSync(join(path, 't10k-images-idx3-ubyte'), idx([1, 2, 2], pixels(4)))
  writeFileSync(join(path, 't10k-labels-idx1-ubyte.gz'), gzipSync(idx([1], Uint8Array.of(1))))
  const { train, held, classes, size } = await readLabelled(path, { validation: 0.5 })
  assert.deepEqual([train.count, held.count, classes, size], [3, 1, 5, [1, 2, 2]])
  assert.deepEqual([...train.tensors[0].data], [...pixels(12)])
  assert.deepEqual([...held.tensors[1].data], [1])
  writeFileSync(join(path, 't10k-labels-idx1-ubyte.gz'), gzipSync(idx([2], Uint8Array.of(1, 1))))
  await assert.rejects(readLabelled(path, { validation: 0.5 }), /"labels" is u8 \[2\], not 1 class numbers/)
})

test('tensors named images and labels, flat or with channels', async () => {
  const write = (name: string, images: readonly number[], labels: Int32Array): string => {
    const n = images.reduce((a, b) => a * b, 1)
    const path = join(dir, name)
    writeFileSync(
      path,
      writeSafetensors({
        images: { dtype: 'U8', shape: images, data: pixels(n) },
        labels: { dtype: 'I32', shape: [labels.length], data: labels },
      }),
    )
    return path
  }
  const four = Int32Array.of(0, 1, 1, 0)
  for (const [shape, size] of [
    [
      [4, 3, 2, 2],
      [3, 2, 2],
    ],
    [
      [4, 2, 3],
      [1, 2, 3],
    ],
    [
      [4, 9],
      [1, 3, 3],
    ],
  ] as const) {
    const found = await readLabelled(write('a.safetensors', shape, four), { validation: 1 })
    assert.deepEqual([found.size, found.train.count, found.held.count, found.classes], [size, 3, 1, 2])
  }
  await assert.rejects(readLabelled(write('b.safetensors', [4, 7], four), { validation: 1 }), /not bytes of square or 2-D images/)
  await assert.rejects(readLabelled(write('c.safetensors', [4, 4], Int32Array.of(0, -1, 1, 0)), { validation: 1 }), /a label is -1/)
  await assert.rejects(
    readLabelled(join(dir, 'gone'), { validation: 1 }),
    (e) => e instanceof DataError && /no file or folder/.test(e.message),
  )
})
