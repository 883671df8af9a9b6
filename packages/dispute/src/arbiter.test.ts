// The judge's verdicts, right and wrong witnesses alike, are those that the real Arbiter is held to (vectors/scalar.json, test/Scalar.t.sol).
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { depthOf } from '@bitloom/graph'
import type { Question } from '../../../tools/scalar-questions.ts'
import { refused, scalarFile, steps } from '../../../tools/vectors-scalar.ts'
import { type Judgement, judge } from './arbiter.ts'
import { ARBITER_ERRORS } from './leaf.ts'

const ask = (q: Question): Judgement => judge(q.leaf, q.element, q.term, q.acc, q.trace, q.exprs, q.operands)

test('vectors/scalar.json is what this side gives', () => {
  assert.equal(readFileSync(new URL('../../../vectors/scalar.json', import.meta.url), 'utf8'), scalarFile())
})

test('right steps give the word', () => {
  for (const { name, question, word } of steps()) assert.deepEqual(ask(question), { ok: true, word }, name)
})

test('wrong steps are refused by name, every name at least once', () => {
  const cases = refused()
  for (const { name, question, error } of cases) assert.deepEqual(ask(question), { ok: false, error }, name)
  assert.deepEqual([...new Set(cases.map((c) => c.error))].sort(), [...ARBITER_ERRORS].sort())
})

test('a witness has one operand a read, with proofs as deep as the trees', () => {
  for (const { name, question } of steps()) {
    for (const o of question.operands) {
      assert.equal(o.chunk.length, 1024, name)
      assert.equal(o.traceProof.length, depthOf(question.exprs), name)
    }
  }
})

test('types that do not fit the op are refused, not computed', () => {
  const { question } = steps().find((s) => s.name.startsWith('dot'))!
  // The inner size of the first operand no longer equals the second's.
  const leaf = question.leaf.slice()
  leaf[6 + 4 * 2 + 6 + 4 + 3]! ^= 64
  assert.deepEqual(ask({ ...question, leaf }), { ok: false, error: 'MalformedLeaf' })
})
