// The WebAssembly engine against vectors/ops.json: every op and dtype, random and edge values, traced and fused, the same bits.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { wasm } from '@bitloom/engine'
import { toBytes } from '@bitloom/graph'
import { loadOpVectors } from '../vectors.ts'

const byOp = Map.groupBy(loadOpVectors(), (v) => v.op)

for (const [op, vectors] of byOp)
  test(`${op}: ${vectors.length} golden cases, traced and fused`, () => {
    for (const v of vectors) {
      wasm.evaluate(v.graph, v.slots, (at, data) => {
        if (at === v.position) assert.deepEqual(toBytes(data), toBytes(v.result.data), `${v.name}, traced`)
      })
      const program = wasm.compile(v.graph)
      v.slots.forEach((data, s) => {
        program.write(s, toBytes(data))
      })
      program.step()
      assert.deepEqual(program.read(0), toBytes(v.expected), `${v.name}, fused`)
    }
  })
