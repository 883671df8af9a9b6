// What the chain says, as the roles read it: plain values, so that a role is a function of them.

import type { Address, Hex } from 'viem'

export type TaskStatus = 'offered' | 'running' | 'halted' | 'done' | 'cancelled'

export type TaskView = {
  readonly taskId: bigint
  readonly status: TaskStatus
  readonly submitter: Address
  readonly solver: Address
  /** Slices accepted so far; the next to claim. */
  readonly slice: number
  readonly slices: number
  /** State root that the next slice starts from. */
  readonly acceptedState: Hex
  /** Unix seconds by which the solver must confirm, or claim the next slice. */
  readonly deadline: number
  /** The unsettled claim, or 0. */
  readonly claimId: bigint
}

/** Where a claim's audit stands; each stage ends early when everybody has done their part. */
export type Stage = 'drawing' | 'sealing' | 'disclosing' | 'revealing' | 'challenging' | 'passed' | 'void'

export type AuditView = {
  readonly claimId: bigint
  readonly stage: Stage
  /** Unix seconds at which the stage's time is over. */
  readonly deadline: number
  /** Drawing: the block whose hash is the seed exists. */
  readonly drawable: boolean
  readonly assignments: readonly { readonly segment: number; readonly verifier: Address }[]
  readonly sealed: readonly Address[]
  readonly revealed: readonly Address[]
}

export type GameView = {
  readonly gameId: bigint
  readonly claimId: bigint
  readonly segment: number
  readonly solver: Address
  readonly challenger: Address
  readonly decided: boolean
  readonly solverToMove: boolean
  /** Unix seconds at which the mover's clock runs out. */
  readonly deadline: number
}

export const sameAddress = (a: Address, b: Address): boolean => a.toLowerCase() === b.toLowerCase()
