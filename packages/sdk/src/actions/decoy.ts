// Forced errors: the solver seals a slice before the block that decides whether its claim shows the truth or a decoy, and opens it later (docs/protocol.md §3).

import { type Address, encodeAbiParameters, type Hex, keccak256, type TransactionReceipt } from 'viem'
import type { Bitloom } from '../client.ts'

/** What a solver commits itself to before it claims. */
export type SealedSlice = {
  readonly taskId: bigint
  readonly slice: number
  readonly solver: Address
  /** The claim root over the true moments, and over those with false probe commitments. */
  readonly trueRoot: Hex
  readonly decoyRoot: Hex
  readonly secret: Hex
}

/** A seal as the contract holds it. */
export type DecoySeal = {
  readonly commitment: Hex
  /** Of the slice, when it was sealed: what jackpots are measured by. */
  readonly priceWei: bigint
  /** The block whose hash decides. */
  readonly anchorBlock: bigint
  readonly used: boolean
}

/** How a claim stands to its seal. */
export type Mask = {
  /** The hash that decides what the claim shows. */
  readonly anchorHash: Hex
  /** Unix seconds: disputes about the claim stand still until it is opened, or until `openBy`. */
  readonly openBy: number
  readonly openedAt: number
  /** That stood when a decoy was opened. */
  readonly challengers: number
  readonly opened: boolean
  readonly decoy: boolean
}

/** The true and the false tree of a decoy, a value a segment, ascending. Every pair of commitments differs. */
export type DecoyLeaves = {
  readonly states: readonly Hex[]
  readonly trueCommits: readonly Hex[]
  readonly decoyCommits: readonly Hex[]
}

const NOTHING = `0x${'00'.repeat(32)}`
/** Verifiers of a decoy share price × decoyOneIn / 200; Decoys.sol's constant of the same name. */
export const VERIFIERS_JACKPOT_SHARE = 200n
/** Whoever challenged it gets price × decoyOneIn / 100, of k challengers each that / 2^(k-1); Decoys.sol's constant of the same name. */
export const WHISTLE_JACKPOT_SHARE = 100n

/** What is sealed. */
export const sliceCommitment = (s: SealedSlice): Hex =>
  keccak256(
    encodeAbiParameters(
      [{ type: 'uint256' }, { type: 'uint32' }, { type: 'address' }, { type: 'bytes32' }, { type: 'bytes32' }, { type: 'bytes32' }],
      [s.taskId, s.slice, s.solver, s.trueRoot, s.decoyRoot, s.secret],
    ),
  )

/** Whether the claim of a sealed slice must show the decoy, once the anchor's hash is known. */
export const isDecoy = (anchorHash: Hex, s: Pick<SealedSlice, 'taskId' | 'slice' | 'secret'>, oneIn: number): boolean =>
  BigInt(
    keccak256(
      encodeAbiParameters(
        [{ type: 'bytes32' }, { type: 'uint256' }, { type: 'uint32' }, { type: 'bytes32' }],
        [anchorHash, s.taskId, s.slice, s.secret],
      ),
    ),
  ) %
    BigInt(oneIn) ===
  0n

/** A slice's seal; undefined where the solver has made none. */
export async function getSeal(bitloom: Bitloom, taskId: bigint, slice: number, solver: Address): Promise<DecoySeal | undefined> {
  const seal = (await bitloom.read('Decoys', 'sealOf', [taskId, BigInt(slice), solver])) as DecoySeal
  return seal.commitment === NOTHING ? undefined : seal
}

/** How a claim stands to its seal; undefined where it is plain: it has to show the truth, and there is nothing to open. */
export async function getMask(bitloom: Bitloom, claimId: bigint): Promise<Mask | undefined> {
  const mask = (await bitloom.read('Decoys', 'maskOf', [claimId])) as Mask
  return mask.anchorHash === NOTHING ? undefined : mask
}

/** The solver of a running task, before it claims its next slice: once, never to be replaced; the slice's fee goes to the pool. */
export const sealSlice = (bitloom: Bitloom, taskId: bigint, slice: number, commitment: Hex): Promise<TransactionReceipt> =>
  bitloom.send('Decoys', 'seal', [taskId, slice, commitment])
/** The solver, before it discloses a claim that shows the truth. */
export const openTrue = (bitloom: Bitloom, claimId: bigint, s: Pick<SealedSlice, 'trueRoot' | 'decoyRoot' | 'secret'>) =>
  bitloom.send('Decoys', 'openTrue', [claimId, s.trueRoot, s.decoyRoot, s.secret])
/** The solver, before it discloses a claim that shows a decoy. */
export const openDecoy = (bitloom: Bitloom, claimId: bigint, secret: Hex, leaves: DecoyLeaves): Promise<TransactionReceipt> =>
  bitloom.send('Decoys', 'openDecoy', [claimId, secret, leaves])
