// A task's spec and what it costs: arithmetic on a static graph, done before anyone signs (docs/protocol.md §2).

import { type Cost, costOf, type Data, type Graph, graphId, itemsRoot, tensorRoot, toBytes, toHex } from '@bitloom/graph'
import { encodeAbiParameters, type Hex, keccak256 } from 'viem'
import type { Offer } from './offer.ts'

/** As in Types.sol; its id is keccak256(abi.encode(spec)). */
export type Spec = {
  readonly graphId: Hex
  readonly initialState: Hex
  readonly dataRoot: Hex
  readonly exprs: number
  readonly stateSlots: number
  readonly dataSlots: number
  readonly probe: number
  readonly stepsPerCheckpoint: number
  readonly checkpointsPerSlice: number
  readonly slices: number
  readonly operationsPerStep: bigint
  readonly assurance: number
  readonly verifiers: number
  readonly segments: number
  readonly confirmSeconds: number
  readonly sliceSeconds: number
  readonly sealSeconds: number
  readonly discloseSeconds: number
  readonly revealSeconds: number
  readonly challengeSeconds: number
  readonly clockSeconds: number
  /** Forced errors: one claim in so many shows a decoy (8 to 1,024); 0: none. */
  readonly decoyOneIn: number
}

/** What one solver is paid and puts at risk, in wei of the token. */
export type Terms = { readonly slicePriceWei: bigint; readonly auditFeeWei: bigint; readonly bondWei: bigint }

/** How much of a slice is audited: nothing, a sample, everything, everything by each of several verifiers who must all agree. */
export const ASSURANCE = { none: 0, spot: 1, full: 2, quorum: 3 } as const
export type Assurance = keyof typeof ASSURANCE

/** How a run is cut into claims, how it is checked, and how long everyone has. */
export type Plan = {
  readonly stepsPerCheckpoint: number
  readonly checkpointsPerSlice: number
  readonly slices: number
  readonly assurance: Assurance
  /** Drawn for each slice. Of a quorum of k: the k - 1 beside the solver. */
  readonly verifiers: number
  readonly segments: number
  readonly windows: Windows
  /** One claim in so many is a forced error; left out or 0: none. */
  readonly decoyOneIn?: number
}

export type Windows = Pick<
  Spec,
  'confirmSeconds' | 'sliceSeconds' | 'sealSeconds' | 'discloseSeconds' | 'revealSeconds' | 'challengeSeconds' | 'clockSeconds'
>

/** Windows for a development chain on one machine: everyone answers within seconds; generous where a busy machine may stall. */
export const LOCAL_WINDOWS: Windows = {
  confirmSeconds: 60,
  sliceSeconds: 180,
  sealSeconds: 90,
  discloseSeconds: 60,
  revealSeconds: 60,
  challengeSeconds: 1,
  clockSeconds: 120,
}

/** Slices' worth of price that a solver's bond holds: with k = 1 segment checked, a cheat's gain is below its loss from one slice on (docs/protocol.md §5). */
export const BOND_SLICES = 4n
/** A verifier is paid its re-execution at the solver's price, and as much again for fetching, hashing and standing ready. */
export const AUDIT_MARKUP = 2n
/** Slices of a new solver that are audited whole; Audit.sol's constant of the same name. */
export const PROBATION = 2
/** Slices without a fault after which a solver is sampled half as much; Audit.sol's constant of the same name. */
export const PROVEN = 32
/** Of a slice's price, the part that goes to the pool; Market.sol's constant of the same name. */
export const POOL_FEE_SHARE = 50n
const TERA = 10n ** 12n

export const stepsOf = (spec: Pick<Spec, 'stepsPerCheckpoint' | 'checkpointsPerSlice' | 'slices'>): number =>
  spec.stepsPerCheckpoint * spec.checkpointsPerSlice * spec.slices

/** The roots of `tensors`, one a slot. */
export const rootsOf = (tensors: readonly Data[]): Uint8Array[] => tensors.map((t) => tensorRoot(toBytes(t)))

/** The spec of training `graph` from these state and data roots (one a slot, slot order). */
export function makeSpec(graph: Graph, stateRoots: readonly Uint8Array[], dataRoots: readonly Uint8Array[], plan: Plan): Spec {
  return {
    graphId: toHex(graphId(graph)),
    initialState: toHex(itemsRoot(stateRoots)),
    // without data slots 32 zero bytes, as dispute/commit's dataRoot says
    dataRoot: toHex(dataRoots.length === 0 ? new Uint8Array(32) : itemsRoot(dataRoots)),
    exprs: graph.exprs.length,
    stateSlots: stateRoots.length,
    dataSlots: dataRoots.length,
    probe: graph.probe,
    stepsPerCheckpoint: plan.stepsPerCheckpoint,
    checkpointsPerSlice: plan.checkpointsPerSlice,
    slices: plan.slices,
    operationsPerStep: costOf(graph).operations,
    assurance: ASSURANCE[plan.assurance],
    verifiers: plan.verifiers,
    segments: plan.segments,
    ...plan.windows,
    decoyOneIn: plan.decoyOneIn ?? 0,
  }
}

/** The ABI type of Types.sol's Spec. */
export const SPEC_ABI = [
  {
    type: 'tuple',
    components: [
      { name: 'graphId', type: 'bytes32' },
      { name: 'initialState', type: 'bytes32' },
      { name: 'dataRoot', type: 'bytes32' },
      { name: 'exprs', type: 'uint32' },
      { name: 'stateSlots', type: 'uint32' },
      { name: 'dataSlots', type: 'uint32' },
      { name: 'probe', type: 'uint32' },
      { name: 'stepsPerCheckpoint', type: 'uint32' },
      { name: 'checkpointsPerSlice', type: 'uint32' },
      { name: 'slices', type: 'uint32' },
      { name: 'operationsPerStep', type: 'uint64' },
      { name: 'assurance', type: 'uint8' },
      { name: 'verifiers', type: 'uint8' },
      { name: 'segments', type: 'uint8' },
      { name: 'confirmSeconds', type: 'uint32' },
      { name: 'sliceSeconds', type: 'uint32' },
      { name: 'sealSeconds', type: 'uint32' },
      { name: 'discloseSeconds', type: 'uint32' },
      { name: 'revealSeconds', type: 'uint32' },
      { name: 'challengeSeconds', type: 'uint32' },
      { name: 'clockSeconds', type: 'uint32' },
      { name: 'decoyOneIn', type: 'uint32' },
    ],
  },
] as const

/** A spec's 32-byte id. */
export const specId = (spec: Spec): Hex => keccak256(encodeAbiParameters(SPEC_ABI, [spec]))

/**
 * Whether a spec tells the truth about a graph; a solver checks before it confirms.
 * @returns the first field that lies, or undefined
 */
export function specLie(spec: Spec, graph: Graph): string | undefined {
  const truth: Partial<Spec> = {
    graphId: toHex(graphId(graph)),
    exprs: graph.exprs.length,
    stateSlots: graph.next.length,
    dataSlots: graph.slots.length - graph.next.length,
    probe: graph.probe,
    operationsPerStep: costOf(graph).operations,
  }
  for (const [field, value] of Object.entries(truth))
    if (spec[field as keyof Spec] !== value) return `${field} is ${spec[field as keyof Spec]}, the graph says ${value}`
  return undefined
}

/** A price, in whole wei, rounded up as Market.sol does. */
export const priceWei = (weiPerTeraop: bigint, operations: bigint): bigint => (weiPerTeraop * operations + TERA - 1n) / TERA

/** The terms under which `offer` trains `spec`. */
export function termsFor(spec: Spec, offer: Pick<Offer, 'weiPerTeraop'>): Terms {
  const segment = spec.operationsPerStep * BigInt(spec.stepsPerCheckpoint)
  const slicePriceWei = priceWei(offer.weiPerTeraop, segment * BigInt(spec.checkpointsPerSlice))
  return {
    slicePriceWei,
    auditFeeWei: spec.assurance === ASSURANCE.none ? 0n : AUDIT_MARKUP * priceWei(offer.weiPerTeraop, segment),
    bondWei: BOND_SLICES * slicePriceWei,
  }
}

/** What a submitter is told before paying. Chances are for a cheat on a single step of one slice. */
export type Quote = {
  readonly operations: bigint
  readonly cost: Cost
  readonly steps: number
  readonly terms: Terms
  /** Paid if everything goes well: slices (of which a fiftieth to the pool) and expected audits. */
  readonly expectedWei: bigint
  /** Escrowed: every segment of every slice audited. What is not used comes back. */
  readonly escrowWei: bigint
  readonly catchChanceOnProbation: number
  readonly catchChance: number
  readonly bondWei: bigint
}

/** What the solver gets of a slice's price; the rest is the pool's, which pays those who catch forced errors. */
export const solverShareWei = (slicePriceWei: bigint): bigint => slicePriceWei - slicePriceWei / POOL_FEE_SHARE

/** Segments of a slice that are audited, by the solver's number of slices accepted since its last fault. */
export function auditedSegments(
  spec: Pick<Spec, 'assurance' | 'checkpointsPerSlice' | 'verifiers' | 'segments'>,
  acceptedBefore: number,
): number {
  if (spec.assurance === ASSURANCE.none) return 0
  if (spec.assurance !== ASSURANCE.spot || acceptedBefore < PROBATION) return spec.checkpointsPerSlice
  const sample = spec.verifiers * spec.segments
  return Math.min(spec.checkpointsPerSlice, Math.max(1, acceptedBefore < PROVEN ? sample : Math.ceil(sample / 2)))
}

/** Re-runs of a segment that a slice pays for: each audited segment once, in a quorum once for each verifier. */
export const paidAudits = (
  spec: Pick<Spec, 'assurance' | 'checkpointsPerSlice' | 'verifiers' | 'segments'>,
  acceptedBefore: number,
): number => auditedSegments(spec, acceptedBefore) * (spec.assurance === ASSURANCE.quorum ? spec.verifiers : 1)

/** The most re-runs that a slice may have to pay for: what its escrow holds. */
export const mostAudits = (spec: Pick<Spec, 'assurance' | 'checkpointsPerSlice' | 'verifiers'>): number =>
  spec.checkpointsPerSlice * (spec.assurance === ASSURANCE.quorum ? spec.verifiers : 1)

/** The escrow of `slices` slices under `terms`. */
export const escrowFor = (spec: Spec, terms: Terms, slices: number = spec.slices): bigint =>
  BigInt(slices) * (terms.slicePriceWei + BigInt(mostAudits(spec)) * terms.auditFeeWei)

/** Everything a submitter should know about training `spec` under `offer`. */
export function quoteFor(spec: Spec, graph: Graph, offer: Offer, acceptedBefore = 0): Quote {
  const terms = termsFor(spec, offer)
  let expectedWei = 0n
  for (let slice = 0; slice < spec.slices; slice++)
    expectedWei += terms.slicePriceWei + BigInt(paidAudits(spec, acceptedBefore + slice)) * terms.auditFeeWei
  const steps = stepsOf(spec)
  return {
    operations: spec.operationsPerStep * BigInt(steps),
    cost: costOf(graph),
    steps,
    terms,
    expectedWei,
    escrowWei: escrowFor(spec, terms),
    catchChanceOnProbation: auditedSegments(spec, 0) / spec.checkpointsPerSlice,
    catchChance: auditedSegments(spec, PROBATION) / spec.checkpointsPerSlice,
    bondWei: terms.bondWei,
  }
}
