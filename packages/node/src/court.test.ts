// What the court writes to disk: a stranger's games must not fill a node.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Bitloom, ChainEvent } from '@bitloom/sdk'
import { openCourt } from './court.ts'
import { openStore } from './store.ts'

const [me, other] = ['0x00000000000000000000000000000000000000Aa', '0x00000000000000000000000000000000000000bb']
const values = Array.from({ length: 32 }, (_, i) => `0x${String(i).padStart(64, '0')}`)

/** The events of a game up to the solver's first values. */
const gameOf = (gameId: bigint, challenger: string, block = 1n): ChainEvent[] =>
  [
    { name: 'Challenged', args: { gameId, claimId: 7n, challenger } },
    { name: 'Revealed', args: { gameId, level: 0, values } },
    {
      name: 'StepOpened',
      args: { gameId, opened: { preState: values[0], preChain: values[1], postState: values[2], postChain: values[3] } },
    },
    { name: 'ChunkShown', args: { gameId, chunk: `0x${'00'.repeat(1024)}` } },
  ].map((event, i) => ({ ...event, contract: 'Dispute', blockNumber: block + BigInt(i), transactionHash: '0x', logIndex: i }))

test('reveals are kept of the games that this node plays as challenger, and of no other', () => {
  const store = openStore(':memory:')
  const court = openCourt({ account: { address: me } } as unknown as Bitloom, store)
  for (const event of [...gameOf(1n, me.toLowerCase()), ...gameOf(2n, other)]) court.onEvent(event)
  assert.deepEqual(
    court.revealsIn(1n).map((r) => [r.level, r.values.length]),
    [
      ['steps', 32],
      ['open', 4],
      ['chunk', 1],
    ],
  )
  assert.deepEqual(court.revealsIn(2n), [])
  assert.equal(store.list('games', { prefix: '7/' }).length, 2, 'both are known as games about the claim')
})

test('a node without a key keeps no reveals at all', () => {
  const store = openStore(':memory:')
  const court = openCourt({ account: undefined } as unknown as Bitloom, store)
  for (const event of gameOf(3n, other)) court.onEvent(event)
  assert.deepEqual(court.revealsIn(3n), [], 'without a key nobody plays')
})

test('a block read twice reveals nothing twice, and what the chain has replaced is forgotten', () => {
  const store = openStore(':memory:')
  const court = openCourt({ account: { address: me } } as unknown as Bitloom, store)
  const events = gameOf(4n, me, 9n)
  for (const event of [...events, ...events]) court.onEvent(event)
  assert.deepEqual(
    court.revealsIn(4n).map((r) => r.level),
    ['steps', 'open', 'chunk'],
  )
  court.rewind(12n)
  assert.deepEqual(
    court.revealsIn(4n).map((r) => r.level),
    ['steps', 'open'],
  )
  court.onEvent({ ...events[3]!, blockNumber: 13n })
  assert.equal(court.revealsIn(4n).length, 3)
})

test('a game whose challenge the chain has replaced is known no more, until it is told again', () => {
  const store = openStore(':memory:')
  const court = openCourt({ account: { address: me } } as unknown as Bitloom, store)
  for (const event of [...gameOf(5n, other, 9n), ...gameOf(6n, other, 12n)]) court.onEvent(event)
  court.rewind(12n)
  assert.deepEqual(
    store.list('games').map(({ key }) => key),
    ['7/5'],
  )
  court.onEvent(gameOf(6n, other, 13n)[0]!)
  assert.equal(store.list('games').length, 2)
})
