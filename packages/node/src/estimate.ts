// How long a task takes and how surely a lie in it is found, before anybody pays: arithmetic on a spec, an offer and the chain's pace.

import { ASSURANCE, auditedSegments, type Bitloom, explained, type Spec, type Windows } from '@bitloom/sdk'

/** Blocks from a task's submission to its first step: the transaction itself, the fetching, the confirmation. */
const START_BLOCKS = 3
/** Blocks of a slice's way to its pay: claim, the block that decides the draw, draw, seals, disclosure, reveals, settlement. */
const AUDIT_BLOCKS = 7
/** Blocks over which the chain's pace is taken. */
const PACE_BLOCKS = 32n
/** Least seconds for a slice, whatever the deadline: two blocks of a slow chain, and a training step. */
const LEAST_SLICE_SECONDS = 30

/** Segments that the busiest verifier of a slice runs again. */
export function auditedByOne(
  spec: Pick<Spec, 'assurance' | 'checkpointsPerSlice' | 'verifiers' | 'segments'>,
  acceptedBefore: number,
): number {
  if (spec.assurance === ASSURANCE.quorum) return spec.checkpointsPerSlice
  return Math.ceil(auditedSegments(spec, acceptedBefore) / Math.max(1, spec.verifiers))
}

/**
 * Seconds from submission (or handing on) to the last slice's pay, if everybody works at the offer's speed and nobody fails. A solver trains the next slice
 * while the last is audited, so a slice takes the longer of the two.
 * @param operationsPerSecond the offer's figure; verifiers are taken to be as fast
 * @param slices left to train
 */
export function expectedSeconds(
  spec: Spec,
  operationsPerSecond: bigint,
  { slices = spec.slices, blockSeconds, acceptedBefore = 0 }: { slices?: number; blockSeconds: number; acceptedBefore?: number },
): number {
  if (operationsPerSecond <= 0n) return Number.POSITIVE_INFINITY
  const segment = (Number(spec.operationsPerStep) * spec.stepsPerCheckpoint) / Number(operationsPerSecond)
  const training = segment * spec.checkpointsPerSlice
  let total = START_BLOCKS * blockSeconds + training
  for (let slice = 0; slice < slices; slice++) {
    const audit = AUDIT_BLOCKS * blockSeconds + segment * auditedByOne(spec, acceptedBefore + slice) + spec.challengeSeconds
    total += slice === slices - 1 ? audit : Math.max(training, audit)
  }
  return total
}

/** Seconds a block takes here, over the last blocks. */
export async function blockSecondsOf(bitloom: Bitloom): Promise<number> {
  const head = await explained('eth_getBlock', () => bitloom.chain.getBlock())
  const back = head.number < PACE_BLOCKS ? head.number : PACE_BLOCKS
  if (back === 0n) return 1
  const before = await explained('eth_getBlock', () => bitloom.chain.getBlock({ blockNumber: head.number - back }))
  return Number(head.timestamp - before.timestamp) / Number(back)
}

/**
 * Windows under which a task with a deadline is submitted: nobody may hold a slice longer than its share of the time. The chain lets nobody take a task
 * from a solver that keeps its windows, so they are what a deadline is enforced with.
 */
export function windowsWithin(windows: Windows, deadlineSeconds: number | undefined, slices: number): Windows {
  if (deadlineSeconds === undefined) return windows
  const share = Math.max(LEAST_SLICE_SECONDS, Math.ceil(deadlineSeconds / slices))
  return {
    ...windows,
    sliceSeconds: Math.min(windows.sliceSeconds, share),
    confirmSeconds: Math.min(windows.confirmSeconds, Math.max(LEAST_SLICE_SECONDS, Math.ceil(deadlineSeconds))),
  }
}

/**
 * The chance that a lie is found in a slice, for a liar that forges `steps` steps of it and packs them into as few segments as it can.
 * The draw comes after the claim, so of n segments with f forged and a audited it is 1 − C(n−f, a) / C(n, a).
 * @param audited segments that are run again
 */
export function catchChance(spec: Pick<Spec, 'checkpointsPerSlice' | 'stepsPerCheckpoint'>, audited: number, steps: number): number {
  const n = spec.checkpointsPerSlice
  const forged = Math.min(n, Math.ceil(steps / spec.stepsPerCheckpoint))
  let missed = 1
  for (let i = 0; i < Math.min(audited, n); i++) missed *= Math.max(0, n - forged - i) / (n - i)
  return forged === 0 ? 0 : 1 - missed
}
