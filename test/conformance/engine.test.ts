// The WebAssembly engine against vectors/ops.json: every op and dtype, random and edge values, traced and fused, on 1, 2 and 3 threads, the same bits.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { wasm, wasmWith } from '@bitloom/engine'
import { toBytes } from '@bitloom/graph'
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
