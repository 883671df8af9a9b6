// A small run of tools/fuzz-scalar.ts: the judge and the real Arbiter in an EVM agree on random scalar steps, right and spoilt.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fuzz } from '../../../tools/fuzz-scalar.ts'

test('the twins agree on 1,500 random scalar steps', { timeout: 120_000 }, async () => {
  const { differences, words, refusals } = await fuzz(1500, 0x5ca1a6)
  assert.deepEqual(differences, [])
  assert.ok(words > 700 && refusals > 200, `${words} words, ${refusals} refusals`)
})
