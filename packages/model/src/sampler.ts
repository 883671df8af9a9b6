// Which examples a step sees, inside the graph: a keyed permutation of the example numbers, another one every epoch (docs/numerics.md §6).

import type { Expr } from '@bitloom/graph'
import { keyOf, STREAM, threefry } from './random.ts'
import { add, concat, divu, gather, iota, ltu, mul, range, remu, reshape, sub, where } from './tensor.ts'

/** How the permutation of 0 … count-1 is made: a Feistel network over Z_a × Z_b, walked again where it leaves the range. */
export type Permutation = { readonly count: number; readonly a: number; readonly b: number; readonly walks: number }

/** Half rounds; each adds a pseudorandom function of one half to the other. */
const ROUNDS = 8
/** Chance, per example, of still being out of range after the last walk. */
const LEFT_OVER = 2 ** -20

/**
 * Chooses a·b ≥ count with as little beyond as there is for a in ⌈√count⌉/2 … ⌈√count⌉, and as many walks as make a leftover rarer than 2^-20. A
 * leftover is wrapped into the range: it then doubles another example, and one is missed in that epoch.
 * @throws {SamplerError} count is not in 1 … 2^31-1
 */
export function planPermutation(count: number): Permutation {
  if (!Number.isInteger(count) || count < 1 || count >= 2 ** 31) throw new SamplerError(`${count} examples; a sampler takes 1 to 2^31-1`)
  const root = Math.ceil(Math.sqrt(count))
  let a = root
  for (let c = root; c >= Math.max(1, root / 2); c--) if (c * Math.ceil(count / c) < a * Math.ceil(count / a)) a = c
  const b = Math.ceil(count / a)
  const miss = (a * b - count) / (a * b)
  let walks = 0
  for (let left = miss; left > LEFT_OVER; left *= miss) walks++
  return { count, a, b, walks }
}

/**
 * Example numbers of positions first, first+1, …: position p is example permutation(p mod count) of epoch ⌊p/count⌋.
 * @param seed i32[2]
 * @param first i32 of one element, unsigned
 * @param n how many positions; `first` is a multiple of n
 */
export function shuffled(seed: Expr, first: Expr, n: number, count: number): Expr {
  const plan = planPermutation(count)
  const { a, b, walks } = plan
  const start = reshape(first, [1])
  const position = add(start, range(n))
  const firstEpoch = divu(start, count)
  // more than one epoch where the run of positions can cross a border; each has its own tables
  const epochs = count % n === 0 ? 1 : Math.floor((n - 1 + count - 1) / count) + 1
  const tables = roundTables(seed, firstEpoch, epochs, plan)
  const wide = Math.max(a, b)
  const epoch = sub(divu(position, count), firstEpoch)
  const base = epochs === 1 ? undefined : mul(epoch, ROUNDS * wide)
  const once = (x: Expr): Expr => {
    let [left, right] = [remu(x, a), divu(x, a)]
    for (let round = 0; round < ROUNDS; round++) {
      const read = add(round % 2 === 0 ? right : left, round * wide)
      const word = gather(tables, base ? add(read, base) : read)
      if (round % 2 === 0) left = remu(add(left, remu(word, a)), a)
      else right = remu(add(right, remu(word, b)), b)
    }
    return add(mul(right, a), left)
  }
  let x = once(remu(position, count))
  for (let walk = 0; walk < walks; walk++) x = where(ltu(x, count), x, once(x))
  return a * b === count ? x : remu(x, count)
}

/** Values of every round's function at every half, epoch by epoch: threefry of (epoch, index), one call for all. */
function roundTables(seed: Expr, firstEpoch: Expr, epochs: number, { a, b }: Permutation): Expr {
  const pairs = (ROUNDS * Math.max(a, b)) / 2
  const [key0, key1] = keyOf(seed, STREAM.shuffle)
  const shape = [epochs, pairs]
  const [w0, w1] = threefry([key0, key1], add(reshape(firstEpoch, [1, 1]), iota(shape, 0)), iota(shape, 1))
  return reshape(concat([w0, w1], 1), [epochs * pairs * 2])
}

/** Positions in order, wrapping at the end: no shuffling. */
export const sequential = (first: Expr, n: number, count: number): Expr => remu(add(reshape(first, [1]), range(n)), count)

/** The indexes of row `step` of an i32[steps, batch] table: an order given as data. */
export const listed = (order: Expr, step: Expr): Expr => reshape(gather(order, reshape(step, [1])), [order.shape[1]])

export class SamplerError extends Error {
  override name = 'model.SamplerError'
}
