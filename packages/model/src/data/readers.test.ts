// What the readers make of files that spreadsheets, pandas, cameras and strangers wrote: typed, exact, in one order, or refused with what to do.

import assert from 'node:assert/strict'
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { crc32, deflateSync } from 'node:zlib'
import { parquetWriteBuffer } from 'hyparquet-writer'
import jpeg from 'jpeg-js'
import { PNG } from 'pngjs'
import { writeSafetensors } from '../safetensors.ts'
import { readCsv } from './csv.ts'
import { requireFinite, splitDataset, splitOf, tensorOf } from './dataset.ts'
import { decodeImage, readImages } from './images.ts'
import { readParquet } from './parquet.ts'
import { readData, readTable } from './read.ts'
import { tableData } from './table.ts'
import { DataError } from './tensors.ts'

const dir = mkdtempSync(join(tmpdir(), 'bitloom-readers-'))
after(() => rmSync(dir, { recursive: true, force: true }))
const bytes = (text: string): Uint8Array => new TextEncoder().encode(text)
const file = (name: string, content: string | Uint8Array): string => {
  writeFileSync(join(dir, name), content)
  return join(dir, name)
}

test('a csv with quotes, semicolons, a byte order mark and any line ends is read cell by cell', () => {
  const columns = readCsv(bytes('\ufeffname;"the ""big"" one";n\r\n"a;b";"two\nlines";1\r\nc;;-2.5e3\r\n\r\n'))
  assert.deepEqual(columns, [
    { name: 'name', cells: ['a;b', 'c'] },
    { name: 'the "big" one', cells: ['two\nlines', ''] },
    { name: 'n', cells: ['1', '-2.5e3'] },
  ])
  assert.deepEqual(
    readCsv(bytes('a\tb\n1\t2\n')).map((c) => c.cells),
    [['1'], ['2']],
  )
})

test('a csv that is none is refused with its line', () => {
  const cases: [string | Uint8Array, RegExp][] = [
    ['a,b\n1,2\n3\n', /line 3/],
    ['a,b\n1,"2\n', /line 2|quote/i],
    ['', /empty/],
    ['1,2\n3,4\n', /first line holds numbers only\nGive the file/],
    [Uint8Array.of(0x61, 0x0a, 0xff, 0xfe), /no UTF-8/],
    [`a\n${'x'.repeat(2 ** 20 + 10)}\n`, /max_record_size|Max Record/i],
  ]
  for (const [content, message] of cases)
    assert.throws(
      () => readCsv(typeof content === 'string' ? bytes(content) : content),
      (e) => e instanceof DataError && message.test(e.message),
      `${message}`,
    )
})

const WAGES = 'sex,education,wage,union\nf,12,5.5,no\nm,16,20,yes\nm,12,8.25,no\nf,9,4,no\n'

test('columns are typed, words get an index table, the target is found by name', () => {
  const set = tableData(readCsv(bytes(WAGES)), { target: 'wage' })
  assert.equal(set.table.task, 'regression')
  assert.deepEqual([...tensorOf(set, 'x').data], [12, 16, 12, 9])
  assert.deepEqual([...tensorOf(set, 'categories').data], [0, 0, 1, 1, 1, 0, 0, 0])
  assert.deepEqual(set.table.categorical, [
    { name: 'sex', values: ['f', 'm'] },
    { name: 'union', values: ['no', 'yes'] },
  ])
  assert.deepEqual(
    [tensorOf(set, 'y').shape, [...tensorOf(set, 'y').data]],
    [
      [4, 1],
      [5.5, 20, 8.25, 4],
    ],
  )
  const classes = tableData(readCsv(bytes(WAGES)), { target: 'sex', drop: ['union'] })
  assert.deepEqual(
    [classes.classes, [...tensorOf(classes, 'y').data]],
    [
      ['f', 'm'],
      [0, 1, 1, 0],
    ],
  )
  assert.throws(() => tableData(readCsv(bytes(WAGES)), { target: 'salary' }), /no column "salary"\nThe columns are: "sex", "education"/)
  assert.throws(() => tableData(readCsv(bytes('a,y\n1,2\n1,\n')), { target: 'y' }), /target "y" is missing in row 1/)
})

test('standardising uses the training rows only, and says so', () => {
  const rows = Array.from({ length: 10 }, (_, i) => `${i},${i * i},7`).join('\n')
  const split = splitOf(10, { validation: 2 })
  const set = tableData(readCsv(bytes(`a,y,same\n${rows}\n`)), { target: 'y', task: 'regression', standardise: split })
  const mean = 3.5 // of 0 … 7
  const deviation = Math.sqrt(5.25)
  assert.deepEqual(
    [...tensorOf(set, 'x').data].filter((_, i) => i % 2 === 0),
    Array.from({ length: 10 }, (_, i) => Math.fround((i - mean) / deviation)),
  )
  assert.ok([...tensorOf(set, 'x').data].filter((_, i) => i % 2 === 1).every((v) => v === 0))
  assert.match(set.notes.join(), /2 numeric columns standardised .* 8 training rows/)
  assert.equal(set.table.targetMoments!.mean, 17.5)
})

test('what no training survives is refused by row and column, unless asked for', async () => {
  const path = file('gap.csv', 'a,b,y\n1,2,0\n3,,1\n')
  await assert.rejects(readData(path, { target: 'y' }), /x: NaN in row 1, column "b"\nMend or drop it; with --allow-nan/)
  assert.equal((await readData(path, { target: 'y', allowNan: true })).count, 2)
  const x = { name: 'x', dtype: 'f32' as const, shape: [2, 1], data: Float32Array.of(1, Number.POSITIVE_INFINITY) }
  assert.throws(() => requireFinite({ tensors: [x], count: 2, notes: [] }), /Infinity in row 1, column 0/)
})

test('a validation part is the last rows, or a fraction drawn the same way everywhere', () => {
  assert.deepEqual([...splitOf(5, { validation: 2 }).held], [3, 4])
  assert.deepEqual([...splitOf(10, { validation: 0.3, seed: 7 }).held], [...splitOf(10, { validation: 0.3, seed: 7 }).held])
  assert.notDeepEqual([...splitOf(100, { validation: 0.3, seed: 7 }).held], [...splitOf(100, { validation: 0.3, seed: 8 }).held])
  const { train, held } = splitOf(1000, { validation: 0.1 })
  assert.equal(new Set([...train, ...held]).size, 1000)
  assert.throws(() => splitOf(3, { validation: 3 }), /leaves none to train on/)
  assert.throws(() => splitOf(3, { validation: 1.5 }), /whole number of examples or a fraction/)
  const set = { tensors: [{ name: 'x', dtype: 'u8' as const, shape: [3, 2], data: Uint8Array.of(1, 2, 3, 4, 5, 6) }], count: 3, notes: [] }
  assert.deepEqual([...splitDataset(set, { validation: 1 }).held.tensors[0].data], [5, 6])
})

const COLUMNS = [
  { name: 'n', data: [1, 2, 3], type: 'INT32' as const },
  { name: 'x', data: [0.5, -1, 2e10], type: 'DOUBLE' as const },
  { name: 'word', data: ['a', 'b', 'a'], type: 'STRING' as const },
  { name: 'big', data: [1n, 2n, 3n], type: 'INT64' as const },
]
const parquet = new Uint8Array(parquetWriteBuffer({ columnData: COLUMNS }))

test('parquet columns are read as they were written, and a damaged file is refused', async () => {
  const columns = await readParquet(parquet)
  assert.deepEqual(
    columns.map((c) => [c.name, c.cells]),
    COLUMNS.map((c) => [c.name, c.data]),
  )
  const set = tableData(columns, { target: 'word' })
  assert.deepEqual([...tensorOf(set, 'x').data].slice(0, 3), [1, 0.5, 1])
  await assert.rejects(readParquet(parquet.subarray(0, 40)), DataError)
  await assert.rejects(readParquet(new Uint8Array(0)), DataError)
  // a thread each, so not every byte; some of these would never end by themselves
  let refused = 0
  const tried = Array.from({ length: 16 }, (_, k) => Math.floor(((k + 0.5) * parquet.length) / 16))
  for (const at of tried) {
    const bad = parquet.slice()
    bad[at] ^= 0x55
    try {
      await readParquet(bad, 'bent.parquet', 1000)
    } catch (e) {
      assert.ok(e instanceof DataError, `byte ${at}: ${e}`)
      refused++
    }
  }
  assert.ok(refused > tried.length / 4, `${refused} of ${tried.length}`)
})

const png = (width: number, height: number, pixel: (x: number, y: number) => readonly number[]): Buffer => {
  const image = new PNG({ width, height })
  for (let y = 0; y < height; y++) for (let x = 0; x < width; x++) image.data.set(pixel(x, y), 4 * (y * width + x))
  return PNG.sync.write(image)
}

test('a folder of images is read class by class, in the order of names', async () => {
  const root = join(dir, 'pets')
  for (const c of ['cat', 'Dog', '.git']) mkdirSync(join(root, c), { recursive: true })
  writeFileSync(
    join(root, 'cat', 'b.png'),
    png(2, 1, (x) => [10 * x, 20, 30, 255]),
  )
  writeFileSync(
    join(root, 'cat', 'a.PNG'),
    png(2, 1, () => [100, 0, 0, 128]),
  )
  writeFileSync(join(root, 'Dog', '1.jpg'), jpeg.encode({ width: 2, height: 1, data: Buffer.alloc(8, 200) }, 100).data)
  writeFileSync(join(root, 'Dog', 'notes.txt'), 'not an image')
  const set = await readData(root)
  assert.deepEqual(set.classes, ['Dog', 'cat'])
  const [images, labels] = set.tensors
  assert.deepEqual(
    [images.shape, [...labels.data]],
    [
      [3, 3, 1, 2],
      [0, 1, 1],
    ],
  )
  assert.deepEqual([...images.data.subarray(6)], [50, 50, 0, 0, 0, 0, 0, 10, 20, 20, 30, 30])
  for (const v of images.data.subarray(0, 6)) assert.ok(Math.abs(v - 200) <= 2)
  const grey = readImages(root, { channels: 1, resize: [1, 2] }).tensors[0]
  assert.deepEqual(
    [grey.shape, [...grey.data.subarray(2)]],
    [
      [3, 1, 2, 1],
      [15, 15, 18, 18],
    ],
  )
  writeFileSync(
    join(root, 'cat', 'c.png'),
    png(3, 1, () => [0, 0, 0, 255]),
  )
  assert.throws(() => readImages(root), /c\.png is 3×1, .* is 2×1\nBring all to one size: --resize 2x1/)
  rmSync(join(root, 'cat', 'c.png'))
  const outside = file(
    'outside.png',
    png(2, 1, () => [0, 0, 0, 255]),
  )
  symlinkSync(outside, join(root, 'cat', 'z.png'))
  assert.throws(() => readImages(root), /z\.png: the link leads out of/)
  mkdirSync(join(dir, 'bare'))
  assert.throws(() => readImages(join(dir, 'bare')), /0 sub-folders; put each class's images/)
})

/** A png of these header fields around this compressed data. */
function crafted(width: number, height: number, interlace: number, packed: Uint8Array): Uint8Array {
  const chunk = (type: string, body: Uint8Array): Buffer => {
    const out = Buffer.alloc(12 + body.length)
    out.writeUInt32BE(body.length)
    out.write(type, 4, 'latin1')
    out.set(body, 8)
    out.writeUInt32BE(crc32(out.subarray(4, 8 + body.length)), 8 + body.length)
    return out
  }
  const header = Buffer.alloc(13)
  header.writeUInt32BE(width)
  header.writeUInt32BE(height, 4)
  header.set([8, 0, 0, 0, interlace], 8)
  return Buffer.concat([
    Buffer.from('89504e470d0a1a0a', 'hex'),
    chunk('IHDR', header),
    chunk('IDAT', packed),
    chunk('IEND', new Uint8Array(0)),
  ])
}

test('images that are bombs, cut or bent are refused within bounded memory', () => {
  assert.throws(() => decodeImage(crafted(2 ** 31 - 1, 2 ** 31 - 1, 0, new Uint8Array(4))), /at most 67108864 are read/)
  const bomb = deflateSync(new Uint8Array(2 ** 26))
  assert.throws(() => decodeImage(crafted(1, 1, 1, bomb)), /interlaced png is not read\nSave it without/)
  const before = process.memoryUsage().arrayBuffers
  try {
    decodeImage(crafted(1, 1, 0, bomb))
  } catch (e) {
    assert.ok(e instanceof DataError)
  }
  assert.ok(process.memoryUsage().arrayBuffers - before < 2 ** 24, 'a 64 MiB stream behind one pixel is not unpacked')
  const good = png(9, 7, (x, y) => [x * 20, y * 30, x ^ y, 255])
  const photo = jpeg.encode({ width: 9, height: 7, data: Buffer.alloc(9 * 7 * 4, 90) }, 50).data
  for (const whole of [good, photo])
    for (let i = 0; i < whole.length; i++)
      for (const bad of [whole.subarray(0, i), Uint8Array.from(whole, (b, k) => (k === i ? b ^ 0x24 : b))])
        try {
          const image = decodeImage(bad)
          assert.ok(image.width * image.height <= 2 ** 26 && image.data.length === 4 * image.width * image.height)
        } catch (e) {
          assert.ok(e instanceof DataError, `byte ${i}: ${e}`)
        }
})

test('a path is read by what lies there', async () => {
  const x = { dtype: 'F32' as const, shape: [2, 3], data: Float32Array.of(1, 2, 3, 4, 5, 6) }
  const y = { dtype: 'I32' as const, shape: [2], data: Int32Array.of(1, 0) }
  const set = await readData(file('both.safetensors', writeSafetensors({ x, y })))
  assert.deepEqual(
    set.tensors.map((t) => [t.name, t.dtype, t.shape]),
    [
      ['x', 'f32', [2, 3]],
      ['y', 'i32', [2]],
    ],
  )
  await assert.rejects(
    readData(file('odd.safetensors', writeSafetensors({ x, y: { ...y, shape: [1], data: y.data.slice(1) } }))),
    /equally many/,
  )
  await assert.rejects(readData(join(dir, 'nothing')), /no file or folder/)
  await assert.rejects(readData(file('notes.docx', 'x')), /not a kind of data that is read\nRead are: \.csv/)
  await assert.rejects(readData(file('t.csv', 'a,b\n1,2\n')), /say which column to predict: --target NAME\nThe columns are: "a", "b"/)
  const folder = join(dir, 'idx')
  mkdirSync(folder)
  writeFileSync(join(folder, 'train-images-idx3-ubyte'), Uint8Array.of(0, 0, 8, 3, 0, 0, 0, 1, 0, 0, 0, 1, 0, 0, 0, 2, 7, 9))
  writeFileSync(join(folder, 'train-labels-idx1-ubyte'), Uint8Array.of(0, 0, 8, 1, 0, 0, 0, 1, 4))
  assert.deepEqual(
    (await readData(folder)).tensors.map((t) => [t.name, t.shape, [...t.data]]),
    [
      ['train-images', [1, 1, 2], [7, 9]],
      ['train-labels', [1], [4]],
    ],
  )
  assert.equal((await readTable(file('w.parquet', parquet), { target: 'word' })).count, 3)
})

test('random bytes under any name are refused, and nothing else', async () => {
  let word = 12345
  const next = (): number => {
    word = (Math.imul(word, 1664525) + 1013904223) >>> 0
    return word >>> 24
  }
  for (let round = 0; round < 60; round++) {
    const junk = Uint8Array.from({ length: 1 + next() * 4 }, next)
    for (const name of ['j.csv', 'j.parquet', 'j.npy', 'j.npz', 'j.safetensors', 'j.idx.gz'])
      try {
        await readData(file(name, junk), { target: 'y' })
        assert.fail(`${name} of round ${round} was taken for data`)
      } catch (e) {
        assert.match((e as Error).name, /^model\.(DataError|SafetensorsError)$/, `${name}, round ${round}: ${e}`)
      }
  }
})
