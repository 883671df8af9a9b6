// The audit of a claim: drawn, sealed, disclosed, revealed (docs/protocol.md §3).

import { type Address, encodeAbiParameters, encodePacked, type Hex, keccak256, type TransactionReceipt } from 'viem'
import type { Bitloom } from '../client.ts'

export const STAGES = ['none', 'drawing', 'sealing', 'disclosing', 'revealing', 'window', 'closed'] as const
export type Stage = (typeof STAGES)[number]

export const PLACE_VERDICTS = ['vacant', 'drawn', 'sealed', 'same', 'different', 'unavailable', 'stamped', 'missing', 'idle'] as const
export type PlaceVerdict = (typeof PLACE_VERDICTS)[number]

export type Assignment = { readonly segment: number; readonly verifier: Address; readonly verdict: PlaceVerdict }

/** A claim's audit as the contract holds it. */
export type Audit = {
  readonly claimId: bigint
  readonly stage: Stage
  /** Unix seconds at which the stage's time is over. */
  readonly deadline: number
  readonly round: number
  /** Drawing: the block whose hash is the seed. */
  readonly anchorBlock: bigint
  readonly assignments: readonly Assignment[]
  readonly passed: boolean
}

/** Codes of a sealed verdict. */
export const VERDICT = { same: 1, different: 2, unavailable: 3 } as const
export type SealedVerdict = keyof typeof VERDICT

export async function getAudit(bitloom: Bitloom, claimId: bigint): Promise<Audit> {
  const [stage, assignments, passed] = (await Promise.all([
    bitloom.read('Audit', 'stageOf', [claimId]),
    bitloom.read('Audit', 'assignmentsOf', [claimId]),
    bitloom.read('Audit', 'passed', [claimId]),
  ])) as [
    readonly [number, bigint, bigint, bigint, bigint, bigint, bigint],
    readonly { segment: number; verifier: Address; verdict: number }[],
    boolean,
  ]
  return {
    claimId,
    stage: STAGES[stage[0]]!,
    deadline: Number(stage[1]),
    round: Number(stage[5]),
    anchorBlock: stage[6],
    assignments: assignments.map((a) => ({ ...a, verdict: PLACE_VERDICTS[a.verdict]! })),
    passed,
  }
}

/** The digest that a verifier of these segments (ascending) seals: keccak256 of their probe digests. */
export const digestOf = (probeDigests: readonly Hex[]): Hex => keccak256(encodePacked(['bytes32[]'], [probeDigests]))

/** What is sealed: nobody can copy it, since it holds its author's address. */
export const sealOf = (claimId: bigint, verifier: Address, verdict: SealedVerdict, digest: Hex, salt: Hex): Hex =>
  keccak256(
    encodeAbiParameters(
      [{ type: 'uint256' }, { type: 'address' }, { type: 'uint8' }, { type: 'bytes32' }, { type: 'bytes32' }],
      [claimId, verifier, VERDICT[verdict], digest, salt],
    ),
  )

export const draw = (bitloom: Bitloom, claimId: bigint): Promise<TransactionReceipt> => bitloom.send('Audit', 'draw', [claimId])
export const seal = (bitloom: Bitloom, claimId: bigint, sealed: Hex): Promise<TransactionReceipt> =>
  bitloom.send('Audit', 'seal', [claimId, sealed])
export const redraw = (bitloom: Bitloom, claimId: bigint): Promise<TransactionReceipt> => bitloom.send('Audit', 'redraw', [claimId])
export const lapse = (bitloom: Bitloom, claimId: bigint): Promise<TransactionReceipt> => bitloom.send('Audit', 'lapse', [claimId])
export const sweep = (bitloom: Bitloom, claimId: bigint): Promise<TransactionReceipt> => bitloom.send('Audit', 'sweep', [claimId])

export type Disclosure = { readonly segment: number; readonly stateRoot: Hex; readonly probeDigest: Hex; readonly proof: readonly Hex[] }

/** The solver: the drawn segments' end states and probe digests, each once however many verifiers re-run it, proved against the claim. */
export function disclose(bitloom: Bitloom, claimId: bigint, disclosures: readonly Disclosure[]): Promise<TransactionReceipt> {
  const d = [...new Map(disclosures.map((x) => [x.segment, x])).values()].sort((a, b) => a.segment - b.segment)
  return bitloom.send('Audit', 'disclose', [
    claimId,
    d.map((x) => x.segment),
    d.map((x) => x.stateRoot),
    d.map((x) => x.probeDigest),
    d.map((x) => x.proof),
  ])
}

export const reveal = (bitloom: Bitloom, claimId: bigint, verdict: SealedVerdict, digest: Hex, salt: Hex): Promise<TransactionReceipt> =>
  bitloom.send('Audit', 'reveal', [claimId, VERDICT[verdict], digest, salt])
