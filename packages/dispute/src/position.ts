// Where in a quarrel we are: an interval of a sequence, or a node of a tree, and how one round narrows either. Twin: dispute/Position.sol.
//
// Twin order: partsOf cutAt valuesOf · takeOf childAt

import { ARITY } from '@bitloom/graph'

/** Levels of a tree that one `descend` reveals: 2^5 = ARITY nodes. */
export const TAKE: number = Math.log2(ARITY)

/** Parts that one `bisect` cuts `count` (1 …) steps into. */
export const partsOf = (count: number): number => Math.min(ARITY, count)

/** Where part i of the interval from … to begins; part `partsOf` "begins" at `to`. */
export const cutAt = (from: number, to: number, i: number): number => from + Math.floor((i * (to - from)) / partsOf(to - from))

/** Values that one `bisect` reveals: the moments or accumulators between the parts. */
export const valuesOf = (count: number): number => partsOf(count) - 1

/** Levels that one `descend` takes from a node of this depth. */
export const takeOf = (depth: number): number => Math.min(TAKE, depth)

/** The index, at its own height, of descendant i of node `index`, `take` levels below. */
export const childAt = (index: number, take: number, i: number): number => index * 2 ** take + i
