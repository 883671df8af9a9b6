// The sample of peers is bounded and uniform, whoever came when.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { openHeard } from './heard.ts'

/** Repeatable numbers from 0 to below 1 (splitmix32). */
function seeded(seed: number): () => number {
  let state = seed | 0
  return () => {
    state = (state + 0x9e3779b9) | 0
    let z = Math.imul(state ^ (state >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return ((z ^ (z >>> 15)) >>> 0) / 2 ** 32
  }
}

test('of all peers that ever came each is kept with the same chance', () => {
  const [most, peers, runs] = [16, 160, 2000]
  const kept = new Uint32Array(peers)
  const random = seeded(1)
  for (let run = 0; run < runs; run++) {
    const heard = openHeard(most, random)
    for (let n = 0; n < peers; n++) heard.hear(`peer${n}`, [`address${n}`])
    assert.equal(heard.addresses().length, most)
    for (const address of heard.addresses()) kept[Number(address.slice('address'.length))]!++
  }
  const expected = (runs * most) / peers
  const chi = kept.reduce((sum, got) => sum + (got - expected) ** 2 / expected, 0) / (peers - 1)
  // chi² by its degrees of freedom: 1, with a spread of 0.11; five of these away is no chance
  assert.ok(chi > 0.45 && chi < 1.55, `chi² ${chi}`)
})

test('a peer is kept once, with its latest addresses, two of them at most, and an address that does not answer goes', () => {
  const heard = openHeard(4)
  heard.hear('a', [])
  assert.deepEqual(heard.addresses(), [])
  heard.hear('a', ['1'])
  heard.hear('a', ['2', '3', '4'])
  heard.hear('b', ['5'])
  assert.deepEqual(heard.addresses(), ['2', '3', '5'])
  heard.drop('2')
  heard.drop('5')
  heard.drop('unknown')
  assert.deepEqual(heard.addresses(), ['3'])
})
