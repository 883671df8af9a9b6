// Groups hashed natively, in WebAssembly, on threads and by the definition are one and the same; damage to one bit is seen by all.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fastTensorRoot } from '@bitloom/engine'
import { tensorRoot } from '@bitloom/graph/merkle'
import { toHex } from '@bitloom/graph/sha256'
import { groupBuffer, groupHasher, nodesOf } from './grouphash.ts'
import { GROUP_BYTES, groupNode, rootOfGroups } from './groups.ts'
import { groupHash } from './nativehash.ts'

function noise(bytes: number, seed = 1): Uint8Array<ArrayBuffer> {
  const words = new Uint32Array(Math.ceil(bytes / 4))
  for (let i = 0, x = seed; i < words.length; i++) words[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0
  return new Uint8Array(words.buffer, 0, bytes)
}

test('every way of hashing a group gives the tensor root of its bytes', (t) => {
  const { name, reason, hash } = groupHash()
  t.diagnostic(`${name}${reason === undefined ? '' : ` (${reason})`}`)
  for (const seed of [1, 2, 3, 4, 5]) {
    const group = noise(GROUP_BYTES, seed)
    const expected = toHex(tensorRoot(group))
    assert.equal(toHex(hash(group)), expected)
    assert.equal(toHex(fastTensorRoot(group)), expected)
    assert.equal(toHex(groupNode(group, 10)), expected)
    group[seed * 10_007] ^= 1
    assert.notEqual(toHex(hash(group)), expected)
  }
  assert.equal(toHex(hash(new Uint8Array(GROUP_BYTES))), toHex(tensorRoot(new Uint8Array(GROUP_BYTES))))
  assert.equal(toHex(hash(noise(5000))), toHex(tensorRoot(noise(5000))))
})

test('threads answer each its own question, however many are under way, about memory they know and memory they do not', async () => {
  const groups = Array.from({ length: 24 }, (_, i) => noise(GROUP_BYTES, i + 1))
  const hashGroup = groupHasher(groups.length)
  const shared = groups.map((group) => {
    const buffer = groupBuffer(GROUP_BYTES, 2)
    buffer.set(group)
    return buffer
  })
  for (const round of [1, 2]) {
    const nodes = await Promise.all(shared.map(hashGroup))
    for (const [i, node] of nodes.entries()) assert.equal(toHex(node), toHex(fastTensorRoot(shared[i]!)), `group ${i}, round ${round}`)
    for (const buffer of shared) buffer[77] = 255 - buffer[77]! // the same memory, another content
  }
})

test('a blob’s nodes make its root, with a short last group too', async () => {
  for (const bytes of [10, GROUP_BYTES + 1, 9 * GROUP_BYTES, 9 * GROUP_BYTES + 12345]) {
    const blob = noise(bytes, bytes)
    assert.equal(toHex(rootOfGroups(await nodesOf(blob))), toHex(tensorRoot(blob)))
  }
  assert.equal(groupBuffer(100, 1).length, 100)
  assert.equal(groupBuffer(100, 2).length, GROUP_BYTES)
})
