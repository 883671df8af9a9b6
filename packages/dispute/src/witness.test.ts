// A witness proves what it should on tensors of many chunks, deep in a wide trace; the trees are those of vectors/merkle.json (Merkle.t.sol).
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { CHUNK, depthOf, toBytes } from '@bitloom/graph'
import { loadOpVectors } from '../../../test/vectors.ts'
import { ask, SPOILS, spoilt, traceOf } from '../../../tools/scalar-questions.ts'
import { merkleFile } from '../../../tools/vectors-merkle.ts'
import { gasQuestions } from '../../../tools/vectors-scalar.ts'
import { judge } from './arbiter.ts'

test('vectors/merkle.json is what graph/merkle gives', () => {
  assert.equal(readFileSync(new URL('../../../vectors/merkle.json', import.meta.url), 'utf8'), merkleFile())
})

test('proofs are as deep as a trace of 512 exprs and tensors of 1 MiB', () => {
  for (const { name, question: q } of gasQuestions()) {
    assert.ok(judge(q.leaf, q.element, q.term, q.acc, q.trace, q.exprs, q.operands).ok, name)
    for (const o of q.operands) assert.equal(o.traceProof.length, depthOf(512), name)
    if (name !== 'gather' && name !== 'scatterAdd') for (const o of q.operands) assert.equal(o.chunkProof.length, 10, name)
  }
})

test('every element of a tensor with a part of a last chunk can be proved, and no spoilt proof is taken', () => {
  const v = loadOpVectors().find((x) => x.name === 'sum f32[300] axis 0')!
  const t = traceOf(v)
  const bytes = toBytes(v.operands[0]!.data)
  for (let term = 0; term < 300; term++) {
    const q = ask(t, 0, term, 0)
    const { chunk } = q.operands[0]!
    assert.deepEqual(chunk.subarray((4 * term) % CHUNK, ((4 * term) % CHUNK) + 4), bytes.subarray(4 * term, 4 * term + 4))
    assert.ok(judge(q.leaf, 0, term, 0, q.trace, q.exprs, q.operands).ok, `term ${term}`)
    const [error, how, spoil] = SPOILS[term % SPOILS.length]!
    const bad = spoilt(q, 0, spoil, 8 * term + 5)
    if (bad) assert.deepEqual(judge(q.leaf, 0, term, 0, q.trace, q.exprs, bad.operands), { ok: false, error }, how)
  }
})
