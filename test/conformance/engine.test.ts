// The WebAssembly engine against vectors/ops.json: every op and dtype, random and edge values, traced and fused, on 1, 2 and 3 threads, the same bits.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Backend, streamableSlots, wasm, wasmWith } from '@bitloom/engine'
import { toBytes } from '@bitloom/graph'
import { mnistJob } from '@bitloom/model'
import { loadOpVectors } from '../vectors.ts'

const byOp = Map.groupBy(loadOpVectors(), (v) => v.op)

const threaded = [wasmWith({ threads: 2, small: 0 }), wasmWith({ threads: 3, small: 0 })]

for (const [op, vectors] of byOp)
  test(`${op}: ${vectors.length} golden cases, traced and fused, on 1, 2 and 3 threads`, () => {
    for (const v of vectors) {
      wasm.evaluate(v.graph, v.slots, (at, data) => {
        if (at === v.position) assert.deepEqual(toBytes(data), toBytes(v.result.data), `${v.name}, traced`)
      })
      for (const backend of [wasm, ...threaded]) {
        const program = backend.compile(v.graph)
        v.slots.forEach((data, s) => {
          program.write(s, toBytes(data))
        })
        program.step()
        assert.deepEqual(Uint8Array.from(program.read(0)), toBytes(v.expected), `${v.name}, fused, ${backend.name}`)
        program.close()
      }
    }
  })

test('20 steps of an MLP leave the same state on 1, 2 and 3 threads, whatever is cut, the data held or streamed', () => {
  const count = 200
  const images = Uint8Array.from({ length: count * 784 }, (_, i) => (i * i * 31 + 17 * i) >>> 3)
  const { graph, state, data } = mnistJob({
    images,
    labels: Uint8Array.from({ length: count }, (_, i) => i % 10),
    count,
    seed: [3, 4],
    steps: 20,
    batch: 64,
    hidden: 128,
  })
  const streamable = streamableSlots(graph)
  assert.deepEqual(
    streamable.map((s) => graph.slots[s].name),
    ['images', 'labels'],
  )
  const after = (backend: Backend, streamed: readonly number[] = []): Uint8Array[] => {
    const program = backend.compile(graph, { streamed })
    for (const [s, tensor] of [...state, ...data].entries()) program.write(s, toBytes(tensor))
    for (let step = 0; step < 20; step++) program.step()
    const result = [...state.map((_, s) => Uint8Array.from(program.read(s))), program.probe()]
    program.close()
    return result
  }
  const wanted = after(wasm)
  for (const threads of [1, 2]) assert.deepEqual(after(wasmWith({ threads }), streamable), wanted, `${threads} threads, streamed`)
  for (const threads of [2, 3])
    for (const options of [{ threads }, { threads, small: 0 }]) assert.deepEqual(after(wasmWith(options)), wanted, `${threads} threads`)
})
