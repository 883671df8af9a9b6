// Safetensors files come back bit for bit, equal ones are equal bytes, PyTorch's are read and reproduced, and hostile ones are refused.

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { toBytes } from '@bitloom/graph'
import fc from 'fast-check'
import { openSafetensors, readSafetensors, SafetensorsError, type SafetensorsTensor, writeSafetensors } from './safetensors.ts'

/** A file from a header's text and a body. */
function fileOf(header: string, body = new Uint8Array(0), declared?: bigint): Uint8Array {
  const text = new TextEncoder().encode(header)
  const out = new Uint8Array(8 + text.length + body.length)
  new DataView(out.buffer).setBigUint64(0, declared ?? BigInt(text.length), true)
  out.set(text, 8)
  out.set(body, 8 + text.length)
  return out
}
const entry = (dtype: string, shape: string, begin: number, end: number) =>
  `{"dtype":"${dtype}","shape":${shape},"data_offsets":[${begin},${end}]}`

test('what is written is read back bit for bit, whatever the names and shapes', () => {
  const tensor = fc.oneof(
    fc
      .array(fc.integer(), { minLength: 6, maxLength: 6 })
      .map((x): SafetensorsTensor => ({ dtype: 'I32', shape: [2, 3], data: Int32Array.from(x) })),
    fc.array(fc.float(), { maxLength: 9 }).map((x): SafetensorsTensor => ({ dtype: 'F32', shape: [x.length], data: Float32Array.from(x) })),
    fc.uint8Array({ minLength: 1, maxLength: 1 }).map((x): SafetensorsTensor => ({ dtype: 'U8', shape: [], data: x })),
  )
  const names = fc.string({ unit: 'grapheme', maxLength: 12 }).filter((s) => s !== '__metadata__' && s !== '__proto__')
  fc.assert(
    fc.property(
      fc.dictionary(names, tensor, { maxKeys: 8, noNullPrototype: true }),
      fc.dictionary(names, fc.string(), { maxKeys: 4, noNullPrototype: true }),
      (tensors, metadata) => {
        const bytes = writeSafetensors(tensors, metadata)
        assert.equal(
          bytes.length,
          8 + Number(new DataView(bytes.buffer).getBigUint64(0, true)) + Object.values(tensors).reduce((n, t) => n + t.data.byteLength, 0),
        )
        const back = readSafetensors(bytes)
        assert.deepEqual([...back.keys()].sort(), Object.keys(tensors).sort())
        for (const [name, t] of back) {
          assert.deepEqual([t.dtype, t.stored, t.shape], [tensors[name]!.dtype, tensors[name]!.dtype, tensors[name]!.shape])
          assert.deepEqual(toBytes(t.data), toBytes(tensors[name]!.data))
        }
        assert.deepEqual({ ...openSafetensors(bytes).metadata }, metadata)
      },
    ),
  )
})

test('the order in which tensors and metadata were given does not show, and every tensor is aligned', () => {
  const a: SafetensorsTensor = { dtype: 'F32', shape: [1], data: Float32Array.of(1.5) }
  const pixel: SafetensorsTensor = { dtype: 'U8', shape: [1], data: Uint8Array.of(7) }
  const one = writeSafetensors({ '10': a, '9': pixel, b: a, '2': a }, { y: '1', x: '2' })
  assert.deepEqual(writeSafetensors({ b: a, '2': a, '10': a, '9': pixel }, { x: '2', y: '1' }), one)
  const headerBytes = Number(new DataView(one.buffer).getBigUint64(0, true))
  assert.equal(headerBytes % 8, 0)
  const header = new TextDecoder().decode(one.subarray(8, 8 + headerBytes))
  assert.match(header, /^\{"__metadata__":\{"x":"2","y":"1"\},"10":.*,"2":.*,"b":.*,"9":.*\} *$/)
  for (const { dtype, bytes } of openSafetensors(one).entries.values())
    if (dtype === 'F32') assert.equal((bytes.byteOffset - one.byteOffset) % 4, 0)
})

test('half, bfloat16, float64 and int64 become dtypes that a graph knows', () => {
  const body = new Uint8Array(2 * 8 + 2 * 8 + 6 * 2 + 2 * 2)
  const view = new DataView(body.buffer)
  view.setFloat64(0, 1 + 2 ** -24 + 2 ** -40, true) // just above the tie, so it rounds up
  view.setFloat64(8, 1 + 2 ** -24, true) // the tie, to even
  view.setBigInt64(16, -(2n ** 31n), true)
  view.setBigInt64(24, 2n ** 31n - 1n, true)
  ;[0x3c00, 0x0001, 0xfc00, 0x7e01, 0x8000, 0x7bff].forEach((bits, i) => void view.setUint16(32 + 2 * i, bits, true))
  ;[0x3f80, 0xff81].forEach((bits, i) => void view.setUint16(44 + 2 * i, bits, true))
  const header = `{"d":${entry('F64', '[2]', 0, 16)},"l":${entry('I64', '[2]', 16, 32)},"h":${entry('F16', '[6]', 32, 44)},"b":${entry('BF16', '[2]', 44, 48)}}`
  const read = readSafetensors(fileOf(header, body))
  assert.deepEqual([...read.get('d')!.data], [1 + 2 ** -23, 1])
  assert.deepEqual(read.get('l')!.data, Int32Array.of(-(2 ** 31), 2 ** 31 - 1))
  assert.deepEqual([...read.get('h')!.data], [1, 2 ** -24, Number.NEGATIVE_INFINITY, Number.NaN, -0, 65504])
  assert.deepEqual(new Uint32Array(read.get('b')!.data.buffer), Uint32Array.of(0x3f800000, 0x7fc00000))
  assert.equal(read.get('b')!.stored, 'BF16')
  // A Buffer's slice is a view, and its memory begins anywhere: the values are the same, and stay when the file's memory is used again.
  const pooled = Buffer.concat([Buffer.alloc(3), fileOf(header, body)]).subarray(3)
  const copied = readSafetensors(pooled)
  pooled.fill(0)
  assert.deepEqual(copied, read)
  view.setBigInt64(24, 2n ** 31n, true)
  assert.throws(() => readSafetensors(fileOf(header, body)), /"l": element 1 is 2147483648, which no i32 holds/)
})

test('a file that breaks a rule is refused, and says which', () => {
  const two = new Uint8Array(8)
  const cases: [Uint8Array, RegExp][] = [
    [new Uint8Array(7), /too few/],
    [fileOf('{}', two, 2n ** 63n), /a header of 9223372036854775808 bytes is above/],
    [fileOf('{}', undefined, 100n), /cut short/],
    [fileOf('[]'), /does not begin with/],
    [fileOf('{"a":'), /no JSON/],
    [fileOf('{}', two), /8 bytes after the last tensor/],
    [fileOf('{"a":3}'), /"a" is no object/],
    [fileOf(`{"a":${entry('F32', '[1]', 0, 4)},"b":${entry('F32', '[1]', 0, 4)}}`, two), /inside the tensor before/],
    [fileOf(`{"a":${entry('F32', '[1]', 4, 8)}}`, two), /leaving a hole/],
    [fileOf(`{"a":${entry('F32', '[1]', 0, 4)}}`, two), /4 bytes after the last tensor/],
    [fileOf(`{"a":${entry('F32', '[2]', 8, 16)}}`, two), /bytes 8 to 16 of 8/],
    [fileOf(`{"a":${entry('F32', '[2]', 8, 0)}}`, two), /bytes 8 to 0/],
    [fileOf(`{"a":${entry('F32', '[3]', 0, 8)}}`, two), /takes 12 bytes, not 8/],
    [fileOf(`{"a":${entry('F32', '[1e999]', 0, 8)}}`, two), /no list of up to 8 sizes/],
    [fileOf(`{"a":${entry('F32', '[-2]', 0, 8)}}`, two), /no list/],
    [fileOf(`{"a":${entry('F32', '[0.5]', 0, 8)}}`, two), /no list/],
    [fileOf(`{"a":${entry('F32', '[4294967296,4294967296,0]', 0, 0)}}`), /more than 2\^32/],
    [fileOf(`{"a":${entry('F32', '"2"', 0, 8)}}`, two), /no list/],
    [fileOf(`{"a":${entry('F8_E4M3', '[8]', 0, 8)}}`, two), /dtype "F8_E4M3" is not one of/],
    [fileOf(`{"a":${entry('toString', '[8]', 0, 8)}}`, two), /dtype "toString"/],
    [fileOf(`{"a":{"dtype":"F32","shape":[2],"data_offsets":[0,1.5]}}`, two), /no two positions/],
    [fileOf(`{"a":{"dtype":"F32","shape":[2]}}`, two), /data_offsets missing/],
    [fileOf(`{"a":${entry('F32', '[2]', 0, 8).replace('{', '{"more":1,')}}`, two), /unknown field "more"/],
    [fileOf(`{"a":${entry('F32', '[2]', 0, 8)},"\\u0061":${entry('F32', '[0]', 8, 8)}}`, two), /"a" appears twice/],
    [fileOf(`{"a"${' '.repeat(99)}:${entry('F32', '[2]', 0, 8).replace('{', '{"dtype":"U8",')}}`, two), /"dtype" appears twice/],
    [fileOf('{"__metadata__":{"n":1}}'), /metadata "n" is no string/],
    [fileOf('{"__metadata__":[]}'), /no object/],
  ]
  for (const [bytes, message] of cases)
    assert.throws(
      () => readSafetensors(bytes),
      (e) => e instanceof SafetensorsError && message.test(e.message),
      `${message}`,
    )
})

test('a flipped or missing byte is refused or changes values only: nothing else is thrown', () => {
  const bytes = writeSafetensors(
    { w: { dtype: 'F32', shape: [2, 2], data: Float32Array.of(1, 2, 3, 4) }, n: { dtype: 'U8', shape: [3], data: Uint8Array.of(1, 2, 3) } },
    { by: 'test' },
  )
  let refused = 0
  const attempt = (bad: Uint8Array) => {
    try {
      readSafetensors(bad)
    } catch (e) {
      assert.ok(e instanceof SafetensorsError, `${e}`)
      refused++
    }
  }
  for (let i = 0; i < bytes.length; i++)
    for (let bit = 0; bit < 8; bit++) {
      const bad = bytes.slice()
      bad[i]! ^= 1 << bit
      attempt(bad)
    }
  assert.ok(refused > bytes.length)
  for (let n = 0; n < bytes.length; n++) assert.throws(() => readSafetensors(bytes.subarray(0, n)), SafetensorsError)
})

test('what cannot be written is refused', () => {
  const data = Float32Array.of(1, 2)
  assert.throws(() => writeSafetensors({ w: { dtype: 'F32', shape: [3], data } }), /"w": shape \[3\] and 2 elements differ/)
  assert.throws(() => writeSafetensors({ w: { dtype: 'I32', shape: [2], data } }), /I32 is not held by Float32Array/)
  assert.throws(() => writeSafetensors({ __metadata__: { dtype: 'F32', shape: [2], data } }), /cannot be named/)
  assert.throws(() => writeSafetensors({}, { n: 1 as unknown as string }), /strings only/)
})

const torch = new URL('../../../../shared/reference/torch/', import.meta.url)
test("PyTorch's files are read, and written again as the same bytes", {
  skip: !existsSync(torch) && 'no reference runs stand beside the repository',
}, () => {
  let files = 0
  for (const kase of readdirSync(torch, { withFileTypes: true })) {
    if (!kase.isDirectory()) continue
    const bytes = new Uint8Array(readFileSync(new URL(`${kase.name}/init.safetensors`, torch)))
    const declared = JSON.parse(readFileSync(new URL(`${kase.name}/case.json`, torch), 'utf8')) as {
      parameters: number
      trainable: string[]
      frozen: string[]
      buffers: string[]
    }
    const tensors = readSafetensors(bytes)
    assert.deepEqual([...tensors.keys()].sort(), [...declared.trainable, ...declared.frozen, ...declared.buffers].sort())
    assert.equal(
      [...declared.trainable, ...declared.frozen].reduce((n, name) => n + tensors.get(name)!.data.length, 0),
      declared.parameters,
    )
    assert.deepEqual(
      Buffer.from(writeSafetensors(Object.fromEntries(tensors), openSafetensors(bytes).metadata)).equals(bytes),
      true,
      kase.name,
    )
    files++
  }
  assert.ok(files > 0)
})
