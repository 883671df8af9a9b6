// The two faces of a slice: what differs, what does not, and which of them a claim shows at which block.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { probeCommit } from '@bitloom/dispute'
import { fromHex, toHex } from '@bitloom/graph'
import { type DecoySeal, isDecoy, sliceCommitment } from '@bitloom/sdk'
import type { Address, Hex } from 'viem'
import { ANCHOR_DEPTH, ANCHOR_MEMORY, falseDigest, maskSlice, toShow } from './decoy.ts'

const word = (byte: string): Hex => `0x${byte.repeat(32)}`
const address = (byte: string): Address => `0x${byte.repeat(20)}`
const of = { chainId: 31337, decoys: address('dd') }
const slice = { taskId: 7n, slice: 3, solver: address('aa') }
const truth = ['01', '02', '03', '04'].map((b) => ({ stateRoot: word(b), probeCommit: word(`a${b[1]}`) }))
const masked = maskSlice(word('5e'), of, slice, truth)

test('a decoy has the same states and another commitment in every leaf, of digests that nobody comes to', () => {
  assert.deepEqual(
    masked.decoy.map((leaf) => leaf.stateRoot),
    truth.map((leaf) => leaf.stateRoot),
  )
  assert.ok(masked.decoy.every((leaf, i) => leaf.probeCommit !== truth[i]!.probeCommit))
  assert.equal(new Set(masked.decoy.map((leaf) => leaf.probeCommit)).size, 4)
  assert.equal(masked.decoy[2]!.probeCommit, toHex(probeCommit(fromHex(falseDigest(masked.secret, 2)))))
  assert.notEqual(masked.trueRoot, masked.decoyRoot)
})

test('the secret is the same after a restart, and another for every node, chain, task, slice and solver', () => {
  assert.deepEqual(maskSlice(word('5e'), of, slice, truth), masked)
  const others = [
    maskSlice(word('5f'), of, slice, truth),
    maskSlice(word('5e'), { ...of, chainId: 1 }, slice, truth),
    maskSlice(word('5e'), { ...of, decoys: address('de') }, slice, truth),
    maskSlice(word('5e'), of, { ...slice, taskId: 8n }, truth),
    maskSlice(word('5e'), of, { ...slice, slice: 4 }, truth),
    maskSlice(word('5e'), of, { ...slice, solver: address('ab') }, truth),
  ]
  assert.equal(new Set([masked, ...others].map((m) => m.secret)).size, 7)
})

test('a claim shows what its bit says, once the anchor lies deep enough; a decoy only while the chain still knows the anchor for long', () => {
  const hashes = Array.from({ length: 64 }, (_, i) => word(i.toString(16).padStart(2, '0')))
  const heads = hashes.find((hash) => isDecoy(hash, masked, 8))!
  const tails = hashes.find((hash) => !isDecoy(hash, masked, 8))!
  const seal: DecoySeal = { commitment: sliceCommitment(masked), priceWei: 1n, anchorBlock: 100n, used: false }
  assert.equal(toShow(masked, seal, 8, 99n, undefined), 'wait')
  assert.equal(toShow(masked, seal, 8, 100n + ANCHOR_DEPTH - 1n, heads), 'wait')
  assert.equal(toShow(masked, seal, 8, 100n + ANCHOR_DEPTH, heads), 'decoy')
  assert.equal(toShow(masked, seal, 8, 100n + ANCHOR_DEPTH, tails), 'truth')
  assert.equal(toShow(masked, seal, 8, 250n, heads), 'wait', 'it might be mined too late')
  assert.equal(toShow(masked, seal, 8, 250n, tails), 'truth', 'plain or not')
  assert.equal(toShow(masked, seal, 8, 100n + ANCHOR_MEMORY, undefined), 'truth')
  assert.equal(toShow(masked, { ...seal, used: true }, 8, 100n + ANCHOR_DEPTH, heads), 'truth')
})

test('what cannot be opened is claimed only when nothing has to be', () => {
  const strange: DecoySeal = { commitment: word('77'), priceWei: 1n, anchorBlock: 100n, used: false }
  for (const head of [100n, 110n, 355n]) assert.equal(toShow(masked, strange, 8, head, word('01')), 'wait')
  assert.equal(toShow(masked, strange, 8, 356n, undefined), 'truth')
})
