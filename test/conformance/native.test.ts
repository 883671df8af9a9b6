// Native code against vectors/ops.json and against WebAssembly: every op and dtype on 1 and 2 threads, and an MLP's state after several steps. Skipped where no C can be compiled.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Backend, wasm } from '@bitloom/engine'
import { nativeMissing } from '@bitloom/engine/native/library'
import { nativeWith, prepare } from '@bitloom/engine/native/run'
import { toBytes } from '@bitloom/graph'
import { mnistJob } from '@bitloom/model'
import { loadOpVectors } from '../vectors.ts'

const missing = nativeMissing()
const skip = missing === undefined ? false : `no native code here: ${missing}`
const backends = (): Backend[] => [nativeWith(), nativeWith({ threads: 2, small: 0 })]

test('every golden case, on 1 and 2 threads', { skip }, () => {
  const vectors = loadOpVectors()
  const graphs = vectors.map((v) => v.graph)
  for (const options of [{}, { small: 0 }]) prepare(graphs, options)
  for (const backend of backends())
    for (const v of vectors) {
      const program = backend.compile(v.graph)
      v.slots.forEach((data, s) => {
        program.write(s, toBytes(data))
      })
      program.step()
      assert.deepEqual(Uint8Array.from(program.read(0)), toBytes(v.expected), `${v.name}, ${backend.name}`)
      program.close()
    }
})

test("10 steps of an MLP leave WebAssembly's state, on 1, 2 and 3 threads, whatever is cut", { skip }, () => {
  const count = 200
  const images = Uint8Array.from({ length: count * 784 }, (_, i) => (i * i * 31 + 17 * i) >>> 3)
  const labels = Uint8Array.from({ length: count }, (_, i) => i % 10)
  const { graph, state, data } = mnistJob({ images, labels, count, seed: [3, 4], steps: 10, batch: 64, hidden: 128 })
  const after = (backend: Backend): Uint8Array[] => {
    const program = backend.compile(graph)
    for (const [s, tensor] of [...state, ...data].entries()) program.write(s, toBytes(tensor))
    for (let step = 0; step < 9; step++) program.step()
    assert.equal(program.profile().length, program.kernels)
    const result = [...state.map((_, s) => Uint8Array.from(program.read(s))), program.probe()]
    program.close()
    return result
  }
  const wanted = after(wasm)
  for (const backend of [...backends(), nativeWith({ threads: 3 })]) assert.deepEqual(after(backend), wanted, backend.name)
})
