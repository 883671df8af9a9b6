// Random graphs through the engine, traced and fused, against the interpreter: the same bits everywhere. Several threads cut everything, however small. BITLOOM_FUZZ_GRAPHS sets how many, BITLOOM_FUZZ_SEED where to start.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { wasm, wasmWith } from '@bitloom/engine'
import { findDifference } from './compare.ts'
import { randomSample } from './graphs.ts'

const count = Number(process.env.BITLOOM_FUZZ_GRAPHS ?? 500)
const first = Number(process.env.BITLOOM_FUZZ_SEED ?? 1)

for (const backend of [wasm, wasmWith({ threads: 2, small: 0 }), wasmWith({ threads: 3, small: 0 })])
  test(`${backend.name}: ${count} random graphs from seed ${first} give the interpreter's bits, traced and fused, over three steps`, () => {
    for (let seed = first; seed < first + count; seed++) {
      const found = findDifference(backend, randomSample(seed))
      if (found === undefined) continue
      // The simplest failing graph of this seed: the smallest target size that still fails.
      for (let size = 1; size <= 40; size++) {
        const small = findDifference(backend, randomSample(seed, size))
        if (small !== undefined) assert.fail(`seed ${seed}, ${size} exprs asked for: ${small}`)
      }
      assert.fail(`seed ${seed}: ${found}`)
    }
  })
