// Random graphs through native code, against the interpreter: the same bits on one thread and on three that share everything, however small. BITLOOM_FUZZ_GRAPHS and BITLOOM_FUZZ_SEED as in graphs.test.ts.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { nativeMissing } from '@bitloom/engine/native/library'
import { nativeWith, prepare } from '@bitloom/engine/native/run'
import { findDifference } from './compare.ts'
import { randomSample } from './graphs.ts'

const count = Number(process.env.BITLOOM_FUZZ_GRAPHS ?? 150)
const first = Number(process.env.BITLOOM_FUZZ_SEED ?? 1)
const missing = nativeMissing()

test(`${count} random graphs from seed ${first} give the interpreter's bits`, {
  skip: missing === undefined ? false : `no native code here: ${missing}`,
}, () => {
  const backends = [nativeWith(), nativeWith({ threads: 3, small: 0 })]
  // Some hundred graphs at a time: a compiler's start costs more than a graph.
  for (let from = first; from < first + count; from += 200) {
    const seeds = Array.from({ length: Math.min(200, first + count - from) }, (_, i) => from + i)
    const graphs = seeds.map((seed) => randomSample(seed).graph)
    for (const options of [{}, { small: 0 }]) prepare(graphs, options)
    for (const seed of seeds)
      for (const backend of backends) {
        const found = findDifference(backend, randomSample(seed))
        assert.equal(found, undefined, `seed ${seed}, ${backend.name}`)
      }
  }
})
