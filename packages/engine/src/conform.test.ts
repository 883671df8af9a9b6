// The self-test passes on this machine, and notices a backend that is wrong in one bit.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Backend, selfTest, wasm } from '@bitloom/engine'

test('the WebAssembly backend proves itself in a few seconds', () => {
  const result = selfTest(wasm)
  assert.ok(result.ok, result.ok ? '' : result.reason)
  assert.ok(result.elements > 10_000)
  assert.ok(result.gflops > 0.1)
})

test('one flipped bit in one tensor fails the self-test and is named', () => {
  const liar: Backend = {
    name: 'liar',
    compile: (graph) => {
      const program = wasm.compile(graph)
      const floor = graph.next.findIndex((at) => graph.exprs[at].op === 'floor')
      return {
        ...program,
        step: () => {
          program.step()
          if (floor >= 0) program.read(floor)[9 * 4] ^= 1
        },
      }
    },
    evaluate: wasm.evaluate,
  }
  const result = selfTest(liar)
  assert.deepEqual(result, { ok: false, reason: 'liar: floor f32[784] fused differs from the interpreter at element 9' })
})

test('a backend that throws fails the self-test with its words', () => {
  const broken: Backend = {
    ...wasm,
    name: 'broken',
    compile: () => {
      throw new Error('no memory')
    },
  }
  assert.deepEqual(selfTest(broken), { ok: false, reason: 'broken: no memory' })
})
