// Why an honest solver should not confirm a task: a submitter chooses the windows and the bond, and may choose them so that nobody can keep them.

import { bisectRounds, costOf, type Graph } from '@bitloom/graph'
import { BOND_SLICES, type Spec, type Terms } from './spec.ts'

/** What a solver knows of itself and of its chain. */
export type Footing = {
  /** From a move that is due to its transaction in a block, seconds: two blocks, and the thinking. */
  readonly secondsPerMove: number
  /** Scalar operations a second that it trains at. */
  readonly operationsPerSecond: bigint
}

/** For a development chain with a block a second or a block a transaction. */
export const LOCAL_SECONDS_PER_MOVE = 4

/** Disputes about different segments that a solver prepares at a time without losing a clock: each costs its challenger a bond. */
export const GAMES_AT_ONCE = 2

/** Whole seconds that running `segments` segments takes at `operationsPerSecond`. */
export const runSeconds = (
  spec: Pick<Spec, 'operationsPerStep' | 'stepsPerCheckpoint'>,
  segments: number,
  { operationsPerSecond }: Pick<Footing, 'operationsPerSecond'>,
): number => {
  const operations = spec.operationsPerStep * BigInt(spec.stepsPerCheckpoint) * BigInt(segments)
  return Number(operations / operationsPerSecond)
}

/** Moves that a solver makes at most in a dispute: one a round, from the segment's steps down to one scalar. */
export const solverMoves = (spec: Pick<Spec, 'stepsPerCheckpoint'>, graph: Graph): number =>
  bisectRounds(spec.stepsPerCheckpoint) + costOf(graph).disputeRounds

/**
 * Why a solver that does everything right may still lose its bond, or a part of it, on this task.
 * @returns the first reason, with the values; undefined where there is none
 */
export function solverHazard(spec: Spec, terms: Terms, graph: Graph, footing: Footing): string | undefined {
  const { secondsPerMove, operationsPerSecond } = footing
  const moves = solverMoves(spec, graph)
  if (spec.clockSeconds < moves * secondsPerMove)
    return `clockSeconds is ${spec.clockSeconds}; a dispute takes up to ${moves} moves of ${secondsPerMove} seconds`
  // drawn or not, it has to see that all have sealed and to get one transaction in
  if (spec.discloseSeconds < 2 * secondsPerMove)
    return `discloseSeconds is ${spec.discloseSeconds}; a disclosure takes up to ${2 * secondsPerMove}`
  const slice = spec.operationsPerStep * BigInt(spec.stepsPerCheckpoint) * BigInt(spec.checkpointsPerSlice)
  if (BigInt(spec.sliceSeconds) * operationsPerSecond < slice)
    return `sliceSeconds is ${spec.sliceSeconds}; a slice of ${slice} operations takes ${slice / operationsPerSecond}`
  const runs = runSeconds(spec, GAMES_AT_ONCE, footing)
  if (spec.clockSeconds < moves * secondsPerMove + runs)
    return `clockSeconds is ${spec.clockSeconds}; running ${GAMES_AT_ONCE} segments again takes ${runs}, and their disputes up to ${moves} moves of ${secondsPerMove} seconds`
  const mostWei = BOND_SLICES * terms.slicePriceWei
  if (terms.bondWei > mostWei) return `the bond is ${terms.bondWei} wei, more than ${BOND_SLICES} slices' price (${mostWei})`
  return undefined
}

/**
 * Why a verifier cannot check so many segments of a task within its windows, whatever it does; it says *unavailable* at once rather than work in vain.
 * @param fetchSeconds for graph, data and states
 * @returns the first reason, with the values; undefined where there is none
 */
export function verifierHazard(
  spec: Pick<Spec, 'operationsPerStep' | 'stepsPerCheckpoint' | 'sealSeconds' | 'revealSeconds'>,
  segments: number,
  footing: Footing,
  fetchSeconds = 0,
): string | undefined {
  const { secondsPerMove } = footing
  const runs = runSeconds(spec, segments, footing)
  const least = runs + fetchSeconds + 2 * secondsPerMove
  if (spec.sealSeconds < least)
    return `sealSeconds is ${spec.sealSeconds}; fetching, running ${segments} segments (${runs} seconds) and sealing take ${least}`
  if (spec.revealSeconds < 2 * secondsPerMove) return `revealSeconds is ${spec.revealSeconds}; a reveal takes up to ${2 * secondsPerMove}`
  return undefined
}
