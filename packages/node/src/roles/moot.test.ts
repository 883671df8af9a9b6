// Which games about a claim that showed a decoy are moot, however often and in whatever order its blocks are read.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { fromHex } from '@bitloom/graph'
import type { ChainEvent } from '@bitloom/sdk'
import type { Hex } from 'viem'
import type { Quarrel } from '../court.ts'
import { openStore } from '../store.ts'
import { isMoot, noteMoots } from './moot.ts'

const word = (byte: string): Hex => `0x${byte.repeat(32)}`
const about = (root: string, claimId = 7n) => ({ claimId, game: { root: fromHex(word(root)) } }) as unknown as Quarrel
const opened = { contract: 'Decoys', name: 'Opened', args: { claimId: 7n, decoy: true, root: word('aa') } } as unknown as ChainEvent

test('a game about the true root is never moot, though the opening be read again after its challenge', () => {
  const store = openStore(':memory:')
  assert.equal(isMoot(store, about('dd')), false)
  noteMoots(store, opened)
  // a block was replaced: the last 64 are read again, when the challenge that came after the opening is known already
  store.put('games', '7/2', { gameId: '2', claimId: '7', block: '12' })
  noteMoots(store, opened)
  assert.equal(isMoot(store, about('aa')), false, 'must be defended')
  assert.equal(isMoot(store, about('dd')), true)
  assert.equal(isMoot(store, about('dd', 8n)), false)
})
