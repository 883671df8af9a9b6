// The hashing thread gives the roots that the definition gives, hands memory back, and fails aloud.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { tensorRoot, toHex } from '@bitloom/graph'
import { groupNode } from '../network/groups.ts'
import { HashingError, openHasher } from './hashing.ts'

const bytes = (n: number, seed: number): Uint8Array<ArrayBuffer> => {
  const made = new Uint8Array(n)
  for (let i = 0, word = seed; i < n; i++) made[i] = (word = (Math.imul(word, 1664525) + 1013904223) >>> 0) >>> 24
  return made
}

test('roots of every size are tensor roots, with the nodes of groups, and the copies come back whole', async () => {
  const hasher = openHasher()
  const sizes = [0, 4, 1024, 8191, 100_000, 2 ** 20, 2 ** 20 + 4, 3 * 2 ** 20 + 12_344]
  const given = sizes.map((n, i) => bytes(n, i))
  const { hashed, copies, cpuMs } = await hasher.hash(given.map((one) => one.slice()))
  assert.deepEqual(
    hashed.map(({ root }) => toHex(root)),
    given.map((one) => toHex(tensorRoot(one))),
  )
  assert.deepEqual(copies, given)
  assert.ok(cpuMs > 0)
  const last = given[given.length - 1]!
  assert.deepEqual(
    hashed[hashed.length - 1]!.nodes.map(toHex),
    [0, 1, 2, 3].map((g) => toHex(groupNode(last.subarray(g * 2 ** 20, (g + 1) * 2 ** 20), 10))),
  )
  assert.deepEqual(hashed[0]!.nodes, [])
  await hasher.close()
})

test('calls at once are answered each by itself', async () => {
  const hasher = openHasher()
  const given = [1, 2, 3].map((seed) => bytes(50_000, seed))
  const answers = await Promise.all(given.map((one) => hasher.hash([one.slice()])))
  assert.deepEqual(
    answers.map(({ hashed }) => toHex(hashed[0]!.root)),
    given.map((one) => toHex(tensorRoot(one))),
  )
  await hasher.close()
})

test('what cannot be handed over is an error, and the hasher still works; a closed one says so, also to whoever waits', async () => {
  const hasher = openHasher()
  const gone = bytes(1000, 1)
  structuredClone(gone, { transfer: [gone.buffer] })
  await assert.rejects(hasher.hash([gone]))
  const one = bytes(2000, 2)
  assert.equal(toHex((await hasher.hash([one.slice()])).hashed[0]!.root), toHex(tensorRoot(one)))
  const waiting = assert.rejects(hasher.hash([bytes(2 ** 25, 3)]), HashingError)
  await new Promise((resolve) => setImmediate(resolve))
  await hasher.close()
  await waiting
  await assert.rejects(hasher.hash([bytes(10, 4)]), /closed/)
})
