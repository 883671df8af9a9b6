// What a watcher looks at: what pays first, a share of the rest, and never more than its balance can challenge.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Hex } from 'viem'
import {
  ATTESTED_SHARE,
  COST_SHARE,
  chooseClaims,
  chooseSegment,
  expectedWei,
  looksLeft,
  type Prospect,
  waitsForAttesters,
} from './watch.ts'

const salt = `0x${'5a'.repeat(32)}` as Hex
const price = 10n ** 18n
const claim: Prospect = {
  claimId: 1n,
  segments: 10,
  audited: 2,
  slicePriceWei: price,
  bondWei: 4n * price,
  decoyOneIn: 0,
  accepted: 0,
  convictions: 0,
}
const policy = { share: 0, costShare: COST_SHARE }
const many = Array.from({ length: 2000 }, (_, i) => ({ ...claim, claimId: BigInt(i) }))

test('a record, an audit that looks everywhere and a small bond make a look worth less; a conviction and errors on purpose make it worth more', () => {
  const worth = (over: Partial<Prospect>): number => expectedWei({ ...claim, ...over }, policy)
  assert.ok(worth({ accepted: 100 }) < worth({}))
  assert.ok(worth({ convictions: 3 }) > worth({}))
  assert.ok(worth({ bondWei: price }) < worth({}))
  assert.equal(worth({ audited: 10 }), -0.08e18, 'its cost alone: the tenth part of a slice at four fifths of its price')
  assert.ok(worth({ segments: 1000, audited: 20, decoyOneIn: 64 }) > 0, 'a segment of many is cheap, and every one of a decoy shows it')
  assert.ok(worth({ segments: 10, decoyOneIn: 64 }) < 0)
})

test('what promises a gain is looked at first and always; of the rest a share, which nobody can foresee', () => {
  const rich = { ...claim, claimId: 77n, convictions: 40, bondWei: 400n * price }
  assert.deepEqual(chooseClaims([claim, rich], policy, salt), [rich])
  const tenth = chooseClaims(many, { ...policy, share: 0.1 }, salt)
  assert.ok(tenth.length > 150 && tenth.length < 250, `${tenth.length} of 2000`)
  assert.deepEqual(chooseClaims(many, { ...policy, share: 0.1 }, salt), tenth, 'the same after a restart')
  assert.notDeepEqual(chooseClaims(many, { ...policy, share: 0.1 }, `0x${'5b'.repeat(32)}`), tenth)
  assert.equal(chooseClaims(many, { ...policy, share: 1 }, salt).length, 2000)
  assert.equal(chooseClaims([rich, ...many], { ...policy, share: 1 }, salt)[0], rich)
})

test('every segment may be looked at; some looks wait for the draw and go where verifiers attest', () => {
  const waiting = many.filter((c) => waitsForAttesters(c.claimId, salt))
  assert.ok(Math.abs(waiting.length / many.length - ATTESTED_SHARE) < 0.05)
  assert.ok(waiting.every((c) => [3, 7].includes(chooseSegment(c.claimId, 10, [3, 7], salt))))
  assert.equal(new Set(many.map((c) => chooseSegment(c.claimId, 10, [], salt))).size, 10)
})

test('no more looks than disputes that the balance covers', () => {
  assert.equal(looksLeft(35n, 10n, 0), 3)
  assert.equal(looksLeft(35n, 10n, 2), 1)
  assert.equal(looksLeft(35n, 10n, 5), 0)
  assert.equal(looksLeft(9n, 10n, 0), 0)
})
