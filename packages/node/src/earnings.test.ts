// The books of an address: every movement of its money in the ledger once, under the role and the task it was for.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { ChainEvent } from '@bitloom/sdk'
import type { Address, Hash } from 'viem'
import { type Entry, entriesOf, isWork, sumBy } from './earnings.ts'

const addressOf = (name: string): Address => `0x${Buffer.from(name).toString('hex').padEnd(40, '0')}`
const [SOLVER, SUBMITTER, VERIFIER, CHALLENGER, NOBODY] = [...['sol', 'sub', 'ver', 'cha'].map(addressOf), addressOf('')] as [
  Address,
  Address,
  Address,
  Address,
  Address,
]
let block = 0n
/** Events of one transaction. */
const tx = (...events: [ChainEvent['contract'], string, Record<string, unknown>][]): ChainEvent[] => {
  block += 1n
  const transactionHash = `0x${block.toString(16).padStart(64, '0')}` as Hash
  return events.map(([contract, name, args], logIndex) => ({ contract, name, args, blockNumber: block, transactionHash, logIndex }))
}
const stake = (name: string, args: Record<string, unknown>): [ChainEvent['contract'], string, Record<string, unknown>] => [
  'Stake',
  name,
  args,
]
const market = (name: string, args: Record<string, unknown>): [ChainEvent['contract'], string, Record<string, unknown>] => [
  'Market',
  name,
  args,
]

const story: ChainEvent[] = [
  ...tx(stake('Deposited', { who: SOLVER, amountWei: 9999n })),
  ...tx(
    market('Submitted', { taskId: 1n, submitter: SUBMITTER }),
    stake('Deposited', { who: SUBMITTER, amountWei: 1000n }),
    stake('Escrowed', { taskId: 1n, from: SUBMITTER, amountWei: 1000n }),
    market('Offered', { taskId: 1n, solver: SOLVER, escrowWei: 1000n }),
  ),
  ...tx(stake('Locked', { who: SOLVER, amountWei: 400n }), market('Confirmed', { taskId: 1n, solver: SOLVER })),
  ...tx(market('Claimed', { taskId: 1n, claimId: 5n, solver: SOLVER })),
  // a slice that was paid; its audit fee is as high as its price, and only who it went to tells them apart
  ...tx(
    stake('Released', { taskId: 1n, to: VERIFIER, amountWei: 98n }),
    stake('Rewarded', { to: VERIFIER, amountWei: 7n }),
    ['Decoys', 'Caught', { claimId: 5n, catcher: VERIFIER, rewardWei: 7n }],
    stake('Released', { taskId: 1n, to: SOLVER, amountWei: 98n }),
    stake('Released', { taskId: 1n, to: NOBODY, amountWei: 2n }),
    market('Settled', { taskId: 1n, claimId: 5n, solver: SOLVER, solverWei: 98n, verifiersWei: 98n }),
  ),
  ...tx(market('Claimed', { taskId: 1n, claimId: 6n, solver: SOLVER })),
  ...tx(['Dispute', 'Challenged', { gameId: 3n, claimId: 6n, challenger: VERIFIER }], stake('Locked', { who: VERIFIER, amountWei: 10n })),
  // a challenger that was wrong
  ...tx(
    stake('Slashed', { who: VERIFIER, to: SOLVER, amountWei: 5n }),
    stake('Slashed', { who: VERIFIER, to: NOBODY, amountWei: 5n }),
    market('Uncontested', { claimId: 6n, challenger: VERIFIER }),
    ['Dispute', 'Decided', { gameId: 3n, convicted: false }],
  ),
  ...tx(['Dispute', 'Challenged', { gameId: 4n, claimId: 6n, challenger: CHALLENGER }]),
  // a conviction: bond, pool, an attester's seat, the escrow back
  ...tx(
    stake('Slashed', { who: SOLVER, to: CHALLENGER, amountWei: 200n }),
    stake('Slashed', { who: SOLVER, to: SUBMITTER, amountWei: 100n }),
    stake('Slashed', { who: SOLVER, to: NOBODY, amountWei: 100n }),
    stake('Rewarded', { to: CHALLENGER, amountWei: 50n }),
    stake('SeatSlashed', { index: 0n, owner: VERIFIER, to: CHALLENGER, amountWei: 30n }),
    stake('SeatSlashed', { index: 0n, owner: VERIFIER, to: NOBODY, amountWei: 30n }),
    market('Convicted', { taskId: 1n, claimId: 6n, challenger: CHALLENGER, solver: SOLVER }),
    stake('Released', { taskId: 1n, to: SUBMITTER, amountWei: 802n }),
    market('Halted', { taskId: 1n, refundWei: 802n }),
  ),
  ...tx(stake('Withdrawn', { who: SOLVER, amountWei: 1n })),
]
const plain = (who: Address): string[] => entriesOf(story, who).map(({ role, kind, wei, taskId }) => `${role} ${kind} ${wei} ${taskId}`)

test('everybody’s movements, each under its role, kind and task', () => {
  assert.deepEqual(plain(SOLVER), [
    'solver price 98 1',
    'solver defence 5 1',
    'solver fine -200 1',
    'solver fine -100 1',
    'solver fine -100 1',
  ])
  assert.deepEqual(plain(VERIFIER), [
    'verifier audit fee 98 1',
    'verifier jackpot 7 1',
    'challenger fine -5 1',
    'challenger fine -5 1',
    'verifier fine -30 1',
    'verifier fine -30 1',
  ])
  assert.deepEqual(plain(CHALLENGER), ['challenger conviction 200 1', 'challenger conviction 50 1', 'challenger conviction 30 1'])
  assert.deepEqual(plain(SUBMITTER), ['submitter escrow -1000 1', 'submitter compensation 100 1', 'submitter refund 802 1'])
})

test('what leaves one arrives at another, is the pool’s, or burnt: nothing is counted twice', () => {
  const all = [SOLVER, SUBMITTER, VERIFIER, CHALLENGER, NOBODY].flatMap((who) => entriesOf(story, who))
  // the pool's own payments come from outside these five
  const rewards = 7n + 50n
  assert.equal(
    all.reduce((sum, { wei }) => sum + wei, 0n),
    rewards,
  )
})

test('who submits to itself is refunded and paid, each once', () => {
  const own = [
    ...tx(market('Submitted', { taskId: 2n, submitter: SOLVER }), stake('Escrowed', { taskId: 2n, from: SOLVER, amountWei: 200n })),
    ...tx(market('Claimed', { taskId: 2n, claimId: 9n, solver: SOLVER })),
    ...tx(
      stake('Released', { taskId: 2n, to: SOLVER, amountWei: 100n }),
      market('Settled', { taskId: 2n, claimId: 9n, solver: SOLVER, solverWei: 100n, verifiersWei: 0n }),
      stake('Released', { taskId: 2n, to: SOLVER, amountWei: 100n }),
      market('Finished', { taskId: 2n, refundWei: 100n }),
    ),
  ]
  const entries: Entry[] = entriesOf(own, SOLVER)
  assert.deepEqual(
    [...sumBy(entries, ({ kind }) => kind)],
    [
      ['escrow', -200n],
      ['price', 100n],
      ['refund', 100n],
    ],
  )
  assert.equal(
    entries.filter(isWork).reduce((sum, { wei }) => sum + wei, 0n),
    100n,
  )
})
