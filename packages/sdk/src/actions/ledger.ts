// The ledger as a whole: does every wei that came in have a place? (docs/protocol.md §5)

import type { Address, Hash } from 'viem'
import { type Bitloom, explained } from '../client.ts'
import { readEvents } from '../events.ts'

export type Ledger = {
  readonly depositedWei: bigint
  readonly withdrawnWei: bigint
  readonly freeWei: bigint
  readonly lockedWei: bigint
  readonly escrowWei: bigint
  readonly seatsWei: bigint
  readonly poolWei: bigint
  readonly burntWei: bigint
  /** Money in minus money out and money held: 0, always. */
  readonly differenceWei: bigint
}

const isAddress = (x: unknown): x is Address => typeof x === 'string' && /^0x[0-9a-fA-F]{40}$/.test(x)

/** Sums every account that the ledger's own log has ever named. */
export async function readLedger(bitloom: Bitloom): Promise<Ledger> {
  const { events } = await readEvents(bitloom, BigInt(bitloom.network.fromBlock))
  const people = new Set<Address>()
  const tasks = new Set<bigint>()
  for (const { contract, args } of events) {
    if (typeof args.taskId === 'bigint') tasks.add(args.taskId)
    if (contract === 'Stake') for (const value of Object.values(args)) if (isAddress(value)) people.add(value)
  }
  const stake = (name: string, ...args: unknown[]): Promise<bigint> => bitloom.read('Stake', name, args) as Promise<bigint>
  const total = async (values: Promise<bigint>[]): Promise<bigint> => (await Promise.all(values)).reduce((a, b) => a + b, 0n)
  const seats = Number(await stake('seatCount'))
  const seatWei = async (index: number): Promise<bigint> =>
    ((await bitloom.read('Stake', 'seatOf', [BigInt(index)])) as { stakeWei: bigint }).stakeWei
  const [depositedWei, withdrawnWei, poolWei, burntWei, freeWei, lockedWei, escrowWei, seatsWei] = await Promise.all([
    stake('depositedWei'),
    stake('withdrawnWei'),
    stake('poolWei'),
    stake('burntWei'),
    total([...people].map((who) => stake('freeOf', who))),
    total([...people].map((who) => stake('lockedOf', who))),
    total([...tasks].map((taskId) => stake('escrowOf', taskId))),
    total(Array.from({ length: seats }, (_, index) => seatWei(index))),
  ])
  return {
    depositedWei,
    withdrawnWei,
    poolWei,
    burntWei,
    freeWei,
    lockedWei,
    escrowWei,
    seatsWei,
    differenceWei: depositedWei - withdrawnWei - poolWei - burntWei - freeWei - lockedWei - escrowWei - seatsWei,
  }
}

/** Gas that these transactions used, each counted once. */
export async function gasOf(bitloom: Bitloom, transactions: Iterable<Hash>): Promise<bigint> {
  let gas = 0n
  for (const hash of new Set(transactions))
    gas += (await explained('eth_getTransactionReceipt', () => bitloom.chain.getTransactionReceipt({ hash }))).gasUsed
  return gas
}
