// What is committed to: states, data, probes, moments and claims as 32-byte roots, so that a run can be pinned down and quarrelled about (docs/protocol.md §1).

import {
  concatBytes,
  type Data,
  depthOf,
  type Graph,
  itemsRoot,
  merkleTree,
  proofOf,
  proves,
  rootOf,
  sha256,
  stateSlots,
  type Tree,
  tensorRoot,
  toBytes,
} from '@bitloom/graph'

/** The probe chain at a segment's start: 32 zero bytes. */
export const PROBE_START: Uint8Array = new Uint8Array(32)

const MOMENT = new Uint8Array([2])

/** Where a segment ended: what its leaf in the claim stands for. The digest stays with whoever ran the segment until sealing closes. */
export type Checkpoint = { readonly stateRoot: Uint8Array; readonly probeCommit: Uint8Array; readonly probeDigest?: Uint8Array }

/** A checkpoint shown under a claim root: what `Dispute.challenge` takes. */
export type Opening = { readonly stateRoot: Uint8Array; readonly probeCommit: Uint8Array; readonly proof: readonly Uint8Array[] }

/** The root of each tensor. */
export const tensorRoots = (tensors: readonly Data[]): Uint8Array[] => tensors.map((t) => tensorRoot(toBytes(t)))

const rootsOf = (slots: readonly (Data | Uint8Array)[], roots: boolean): Uint8Array[] =>
  roots ? (slots as readonly Uint8Array[]).slice() : tensorRoots(slots)

/** The root over the state slots' tensors, slot order; `roots: true` where the slots are given by their roots already. */
export const stateRoot = (slots: readonly (Data | Uint8Array)[], roots = false): Uint8Array => itemsRoot(rootsOf(slots, roots))

/** The root over the data slots' tensors, slot order; without data slots, 32 zero bytes. */
export const dataRoot = (slots: readonly (Data | Uint8Array)[], roots = false): Uint8Array =>
  slots.length === 0 ? new Uint8Array(32) : itemsRoot(rootsOf(slots, roots))

/** The slots of a graph's step, parted: what `stateRoot` and what `dataRoot` is over. */
export const partSlots = <T>(graph: Graph, slots: readonly T[]): { readonly state: readonly T[]; readonly data: readonly T[] } => ({
  state: slots.slice(0, stateSlots(graph)),
  data: slots.slice(stateSlots(graph)),
})

/** The chain after one more step: H(chain ‖ tensor root of the probe). */
export const nextProbe = (chain: Uint8Array, probeRoot: Uint8Array): Uint8Array => sha256(concatBytes(chain, probeRoot))

/** What is published of a chain's value while the value itself is kept: its hash. */
export const probeCommit = (chain: Uint8Array): Uint8Array => sha256(chain)

/** Where a run stands between two steps: H(0x02 ‖ state root ‖ probe commitment). */
export const moment = (stateRoot: Uint8Array, commit: Uint8Array): Uint8Array => sha256(concatBytes(MOMENT, stateRoot, commit))

/** A segment's first moment: the state that the previous one ended in, the chain started anew. */
export const startMoment = (stateRoot: Uint8Array): Uint8Array => moment(stateRoot, probeCommit(PROBE_START))

/** The leaf of a segment in the claim's tree. */
export const checkpointMoment = (checkpoint: Omit<Checkpoint, 'probeDigest'>): Uint8Array =>
  moment(checkpoint.stateRoot, checkpoint.probeCommit)

/** The tree over a slice's segments' end moments. */
export const claimTree = (checkpoints: readonly Checkpoint[]): Tree => merkleTree(checkpoints.map(checkpointMoment))

/** The root that a solver stakes on. */
export const claimRoot = (checkpoints: readonly Checkpoint[]): Uint8Array => rootOf(claimTree(checkpoints))

/** Checkpoint `segment` with its proof under the claim's root. */
export const openCheckpoint = (checkpoints: readonly Checkpoint[], segment: number): Opening => {
  const { stateRoot, probeCommit } = checkpoints[segment]!
  return { stateRoot, probeCommit, proof: proofOf(claimTree(checkpoints), segment) }
}

/** Whether `opening` stands at `segment` under `root`, in a claim of `segments` segments. */
export const opens = (root: Uint8Array, segments: number, segment: number, opening: Opening): boolean =>
  proves(root, depthOf(segments), segment, checkpointMoment(opening), opening.proof)
