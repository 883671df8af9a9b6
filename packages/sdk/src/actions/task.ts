// The life of a task: submitted, confirmed, claimed slice by slice, settled, halted, handed on.

import type { Address, Hex, TransactionReceipt } from 'viem'
import { parseEventLogs } from 'viem'
import { type Bitloom, fullAbi } from '../client.ts'
import type { SignedOffer } from '../offer.ts'
import { escrowFor, type Spec, type Terms } from '../spec.ts'
import { freeOf, type Permit, signPermit } from './stake.ts'

export const TASK_STATUS = ['none', 'offered', 'running', 'halted', 'done', 'cancelled'] as const
export type TaskStatus = (typeof TASK_STATUS)[number]

/** A task as the market holds it. */
export type Task = {
  readonly taskId: bigint
  readonly submitter: Address
  readonly status: TaskStatus
  /** Slices accepted, of all solvers together. */
  readonly accepted: number
  /** Unix seconds: to confirm, or to claim the next slice. */
  readonly deadline: number
  readonly solver: Address
  /** 0: none. */
  readonly openClaim: bigint
  /** State root after the last accepted slice. */
  readonly state: Hex
  readonly offerHash: Hex
}

export type Claim = {
  readonly claimId: bigint
  readonly taskId: bigint
  readonly solver: Address
  readonly slice: number
  readonly root: Hex
  readonly startState: Hex
  readonly endState: Hex
  readonly status: 'none' | 'open' | 'settled' | 'void'
  readonly games: number
  readonly blockNumber: bigint
}

export type SolverRecord = {
  readonly accepted: number
  readonly streak: number
  readonly convictions: number
  readonly missed: number
  readonly withheld: number
}

export async function getTask(bitloom: Bitloom, taskId: bigint): Promise<Task> {
  const t = (await bitloom.read('Market', 'taskOf', [taskId])) as { status: number; deadline: number; accepted: number } & Omit<
    Task,
    'taskId' | 'status' | 'deadline' | 'accepted'
  >
  return { ...t, taskId, status: TASK_STATUS[t.status]!, deadline: Number(t.deadline), accepted: Number(t.accepted) }
}

export async function getClaim(bitloom: Bitloom, claimId: bigint): Promise<Claim> {
  const c = (await bitloom.read('Market', 'claimOf', [claimId])) as { status: number } & Omit<Claim, 'claimId' | 'status'>
  return { ...c, claimId, status: (['none', 'open', 'settled', 'void'] as const)[c.status]! }
}

export const getSpec = (bitloom: Bitloom, taskId: bigint): Promise<Spec> => bitloom.read('Market', 'specOf', [taskId]) as Promise<Spec>
export const getTerms = (bitloom: Bitloom, taskId: bigint): Promise<Terms> => bitloom.read('Market', 'termsOf', [taskId]) as Promise<Terms>
export const getRecord = (bitloom: Bitloom, solver: Address): Promise<SolverRecord> =>
  bitloom.read('Market', 'recordOf', [solver]) as Promise<SolverRecord>

/** A permit for what the free balance lacks; an empty one where it lacks nothing. */
async function permitFor(bitloom: Bitloom, needWei: bigint): Promise<Permit> {
  const free = await freeOf(bitloom, bitloom.account!.address)
  return signPermit(bitloom, needWei > free ? needWei - free : 0n)
}

/** Starts a task: one transaction that carries spec and offer and pulls the escrow. */
export async function submitTask(
  bitloom: Bitloom,
  spec: Spec,
  terms: Terms,
  signed: SignedOffer,
): Promise<{ readonly taskId: bigint; readonly receipt: TransactionReceipt }> {
  const receipt = await bitloom.send('Market', 'submit', async () => [
    spec,
    terms,
    signed.offer,
    signed.signature,
    await permitFor(bitloom, escrowFor(spec, terms)),
  ])
  const [event] = parseEventLogs({ abi: fullAbi('Market'), logs: receipt.logs, eventName: 'Submitted' }) as unknown as [
    { args: { taskId: bigint } },
  ]
  return { taskId: event.args.taskId, receipt }
}

/** Gives a halted task to the next offer, from the last accepted state. */
export async function handOnTask(
  bitloom: Bitloom,
  taskId: bigint,
  spec: Spec,
  accepted: number,
  terms: Terms,
  signed: SignedOffer,
): Promise<TransactionReceipt> {
  return bitloom.send('Market', 'handOn', async () => [
    taskId,
    terms,
    signed.offer,
    signed.signature,
    await permitFor(bitloom, escrowFor(spec, terms, spec.slices - accepted)),
  ])
}

export const confirmTask = (bitloom: Bitloom, taskId: bigint): Promise<TransactionReceipt> => bitloom.send('Market', 'confirm', [taskId])
export const expireTask = (bitloom: Bitloom, taskId: bigint): Promise<TransactionReceipt> => bitloom.send('Market', 'expire', [taskId])
export const cancelTask = (bitloom: Bitloom, taskId: bigint): Promise<TransactionReceipt> => bitloom.send('Market', 'cancel', [taskId])
export const settleTask = (bitloom: Bitloom, taskId: bigint): Promise<TransactionReceipt> => bitloom.send('Market', 'settle', [taskId])
export const missDeadline = (bitloom: Bitloom, taskId: bigint): Promise<TransactionReceipt> =>
  bitloom.send('Market', 'missDeadline', [taskId])

const NO_ANCHOR: Hex = `0x${'00'.repeat(32)}`

/**
 * Claims a slice: the root over its segments' end moments, and the proof that the last of them holds `endState`; where the slice was sealed and its
 * anchor is not forgotten, the anchor's hash that it went by (refused where the chain has another).
 */
export const claimSlice = (
  bitloom: Bitloom,
  claim: {
    readonly taskId: bigint
    readonly slice: number
    readonly root: Hex
    readonly endState: Hex
    readonly probeCommit: Hex
    readonly anchorHash?: Hex | undefined
    readonly proof: readonly Hex[]
  },
): Promise<TransactionReceipt> =>
  bitloom.send('Market', 'claim', [
    claim.taskId,
    claim.slice,
    claim.root,
    claim.endState,
    claim.probeCommit,
    claim.anchorHash ?? NO_ANCHOR,
    claim.proof,
  ])
