// A data set larger than the arena, its rows read from a file as each step asks: the same bits as held whole, and every misuse refused.
import assert from 'node:assert/strict'
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { planOf, SlotError, streamableSlots, ThreadError, wasm, wasmWith } from '@bitloom/engine'
import { type Dtype, expr, type Graph, input, makeGraph, toBytes } from '@bitloom/graph'
import { fileRows, SourceError } from './rowsource.ts'

const [examples, width, batch] = [50_000, 40, 16]

const folder = mkdtempSync(join(tmpdir(), 'rows-'))
const opened: number[] = []
after(() => {
  for (const descriptor of opened) closeSync(descriptor)
  rmSync(folder, { recursive: true })
})
const fileOf = (name: string, bytes: Uint8Array): number => {
  writeFileSync(join(folder, name), bytes)
  const descriptor = openSync(join(folder, name), 'r')
  opened.push(descriptor)
  return descriptor
}

/** sums += the rows that index + 3·step picks (some beyond both ends, some in a row), step += 1. */
const graphOf = (dtype: Dtype, alsoWhole = false): Graph => {
  const [sums, step, set, index] = [
    input(0, 'f32', [batch, width]),
    input(1, 'i32', []),
    input(2, dtype, [examples, width]),
    input(3, 'i32', [batch]),
  ]
  const every = (of: typeof step) => expr('expand', [expr('reshape', [of], { shape: [1] })], { shape: [batch] })
  const three = expr('const', [], { dtype: 'i32', attrs: [3] })
  const gathered = expr('gather', [set, expr('add', [index, every(expr('mul', [step, three]))])])
  const next = expr('add', [sums, dtype === 'f32' ? gathered : expr('cast', [gathered], { dtype: 'f32' })])
  const slots = [
    { name: 'sums', kind: 'state' as const, dtype: 'f32' as const, shape: [batch, width] },
    { name: 'step', kind: 'state' as const, dtype: 'i32' as const, shape: [] },
    { name: 'set', kind: 'data' as const, dtype, shape: [examples, width] },
    { name: 'index', kind: 'data' as const, dtype: 'i32' as const, shape: [batch] },
  ]
  const seen = expr('reshape', [expr('slice', [set], { shape: [1, 1], attrs: [0, 0, 1, 1] })], { shape: [] })
  return makeGraph(slots, [next, expr('add', [step, expr('const', [], { dtype: 'i32', attrs: [1] })])], alsoWhole ? seen : step)
}
const index = toBytes(
  Int32Array.from({ length: batch }, (_, i) => (i < 5 ? 1000 + i : i === 5 ? -7 : i === 6 ? 2 * examples : (i * 7919) % examples)),
)
const dataOf = (dtype: Dtype): Uint8Array =>
  dtype === 'u8'
    ? Uint8Array.from({ length: examples * width }, (_, i) => (i * 31) >>> 5)
    : toBytes(Float32Array.from({ length: examples * width }, (_, i) => (i % 1013) / 7))

for (const dtype of ['u8', 'f32'] as const)
  test(`${dtype} rows from a file, on 1 and 2 threads, give the bits of the whole set`, () => {
    const graph = graphOf(dtype)
    const data = dataOf(dtype)
    const whole = wasm.compile(graph)
    whole.write(2, data)
    whole.write(3, index)
    const header = 12
    const descriptor = fileOf(dtype, Buffer.concat([Buffer.alloc(header), data]))
    const runs = [1, 2].flatMap((threads) => {
      const fromFile = wasmWith({ threads, small: 0 }).compile(graph, { streamed: [2] })
      fromFile.source!(2, fileRows(descriptor, data.byteLength / examples, header))
      const fromBytes = wasmWith({ threads, small: 0 }).compile(graph, { streamed: [2] })
      fromBytes.write(2, data)
      return [fromFile, fromBytes]
    })
    for (const program of runs) {
      program.write(3, index)
      assert.ok(program.peakBytes < data.byteLength / 50, `${program.peakBytes} bytes for a set of ${data.byteLength}`)
      assert.equal(program.peakBytes, planOf(graph, { threads: program.threads, small: 0, streamed: [2] }).peakBytes)
    }
    for (let step = 0; step < 4; step++) {
      whole.step()
      for (const program of runs) {
        program.step()
        for (const slot of [0, 1]) assert.deepEqual(Uint8Array.from(program.read(slot)), whole.read(slot), `step ${step}`)
      }
    }
    for (const program of runs) program.close()
  })

test('a set that the graph also reads otherwise, or that is no data slot, cannot be streamed', () => {
  assert.deepEqual(streamableSlots(graphOf('f32')), [2])
  assert.deepEqual(streamableSlots(graphOf('f32', true)), [])
  assert.throws(
    () => wasm.compile(graphOf('f32', true), { streamed: [2] }),
    (error: unknown) =>
      error instanceof SlotError && /^slot 2 "set" cannot be streamed: .* reads it otherwise than by gathered rows/.test(error.message),
  )
  assert.throws(() => wasm.compile(graphOf('u8'), { streamed: [3] }), /slot 3 "index" cannot be streamed/)
  assert.throws(() => wasm.compile(graphOf('u8'), { streamed: [0] }), /slot 0 cannot be streamed: the graph has no such data slot/)
  assert.throws(() => wasm.compile(graphOf('u8')).source!(2, () => undefined), /slot 2 is not streamed/)
})

test('without a source, with a file that ends early, or with a foreign NaN, a step fails in words', () => {
  const missing = wasm.compile(graphOf('u8'), { streamed: [2] })
  assert.throws(() => missing.step(), /slot 2 "set" is streamed and has no source/)
  assert.throws(() => missing.read(2), /slot 2 is streamed/)
  assert.throws(() => missing.write(2, new Uint8Array(8)), /slot 2 "set" u8\[50000,40\] holds 2000000 bytes, not 8/)

  const short = wasm.compile(graphOf('u8'), { streamed: [2] })
  short.source!(2, fileRows(fileOf('short', new Uint8Array(1002 * width + 7)), width))
  short.write(3, index)
  assert.throws(
    () => short.step(),
    (error: unknown) =>
      error instanceof SourceError && /^the file ends at byte 40087, inside row 1002; rows have 40 bytes$/.test(error.message),
  )

  const foreign = Uint8Array.from(dataOf('f32'))
  new DataView(foreign.buffer).setUint32(4 * 1001 * width, 0xffc00000, true)
  const nan = wasm.compile(graphOf('f32'), { streamed: [2] })
  nan.write(2, foreign)
  nan.write(3, index)
  assert.throws(() => nan.step(), /slot 2 "set": row 1001 holds a NaN other than the one NaN/)

  const threaded = wasmWith({ threads: 2, small: 0 }).compile(graphOf('u8'), { streamed: [2] })
  assert.throws(
    () => threaded.step(),
    (error: unknown) => error instanceof ThreadError && error.cause instanceof SlotError && /has no source/.test(error.message),
  )
  threaded.close()
})
