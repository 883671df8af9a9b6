// The figures of one task, measured: gas, exchanges, money, compute. For people and for machines.

import type { ChainEvent } from '@bitloom/sdk'
import { type Bitloom, gasOf } from '@bitloom/sdk'
import type { Hash } from 'viem'
import { placeOf } from './place.ts'

export type TaskFigures = {
  /** Gas of everything that a settled slice took: claim, draw, seals, disclosure, reveals, settlement. */
  readonly gasPerSlice: number
  /** Gas of the disputes, from challenge to verdict. */
  readonly gasDispute: number
  /** A solver's reveal and the challenger's answer are one exchange. */
  readonly disputeExchanges: number
  readonly disputeTransactions: number
  readonly cheatCaught: boolean
  /** Bonds of convicted solvers. */
  readonly cheatSlashedWei: bigint
  readonly solversWei: bigint
  readonly verifiersWei: bigint
}

const transactionsOf = (events: readonly ChainEvent[]): Hash[] => [...new Set(events.map((e) => e.transactionHash))]

/** Counts a task's events and sums its gas. */
export async function figuresOf(
  bitloom: Bitloom,
  events: readonly ChainEvent[],
  bondOf: (claimId: string) => bigint,
): Promise<TaskFigures> {
  const settled = events.filter((e) => e.name === 'Settled')
  const paid = new Set(settled.map((e) => String(e.args.claimId)))
  const happy = events.filter((e) => e.args.claimId !== undefined && paid.has(String(e.args.claimId)))
  const games = new Set(events.filter((e) => e.name === 'Challenged').map((e) => String(e.args.gameId)))
  const moves = events.filter((e) => e.args.gameId !== undefined && games.has(String(e.args.gameId)))
  const convicted = events.filter((e) => e.name === 'Convicted')
  const wei = (name: string): bigint => settled.reduce((n, e) => n + (e.args[name] as bigint), 0n)
  return {
    gasPerSlice: settled.length === 0 ? 0 : Math.round(Number(await gasOf(bitloom, transactionsOf(happy))) / settled.length),
    gasDispute: Number(await gasOf(bitloom, transactionsOf(moves))),
    // after a solver's answer it is the challenger's turn
    disputeExchanges: moves.filter((e) => e.name === 'Moved' && e.args.state !== '0x' && placeOf(e).toMove === 'challenger').length,
    disputeTransactions: transactionsOf(moves).length,
    cheatCaught: convicted.length > 0,
    cheatSlashedWei: convicted.reduce((n, e) => n + bondOf(String(e.args.claimId)), 0n),
    solversWei: wei('solverWei'),
    verifiersWei: wei('verifiersWei'),
  }
}
