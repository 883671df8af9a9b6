// A short list of numbers that is known when the graph is made, as the fewest exprs: one value, a progression, a division, a pattern that repeats, or constants.

import type { Dtype, Expr } from '@bitloom/graph'
import { add, broadcastTo, concat, constant, divu, full, mul, range, reshape, sub, vector } from './tensor.ts'

/** More constants than this belong in a data slot. */
export const MAX_CONSTANTS = 4096
const FEW = 16

/** A ratio by which a list of whole numbers is expected to grow. */
export type Ratio = readonly [numerator: number, denominator: number]

/**
 * A rank-1 tensor of these values.
 * @param ratios for i32: v[i] = ⌊(i·numerator + b) / denominator⌋ is tried for each
 * @throws {TableError} more than MAX_CONSTANTS values that follow no rule
 */
export function tableOf(values: readonly number[], dtype: Dtype, ratios: readonly Ratio[] = []): Expr {
  const n = values.length
  if (values.every((v) => Object.is(v, values[0]))) return full([n], values[0], dtype)
  if (dtype === 'i32') {
    const by = values[1] - values[0]
    if (values.every((v, i) => v === values[0] + i * by)) return add(mul(range(n), by), values[0])
    for (const ratio of ratios) {
      const divided = quotients(values, ratio)
      if (divided) return divided
    }
  }
  if (n <= FEW) return vector(values, dtype)
  for (let period = 2; period <= FEW; period++)
    if (n % period === 0 && values.every((v, i) => v === values[i % period]))
      return reshape(broadcastTo(vector(values.slice(0, period), dtype), [n / period, period]), [n])
  if (n > MAX_CONSTANTS)
    throw new TableError(`a list of ${n} numbers that follow no rule; at most ${MAX_CONSTANTS} constants are written into a graph`)
  const ones = new Map<number, Expr>()
  const one = (v: number): Expr => {
    const known = ones.get(v) ?? reshape(constant(v, dtype), [1])
    ones.set(v, known)
    return known
  }
  return concat(values.map(one), 0)
}

/** v[i] = ⌊(i·a + b) / c⌋ for some b, if there is one; positions are moved up by whole denominators, because division is unsigned. */
function quotients(values: readonly number[], [a, c]: Ratio): Expr | undefined {
  const low = Math.max(...values.map((v, i) => c * v - a * i))
  const high = Math.min(...values.map((v, i) => c * (v + 1) - a * i - 1))
  if (low > high) return undefined
  const up = low < 0 ? Math.ceil(-low / c) : 0
  if (values.length * a + Math.abs(low) + up * c >= 2 ** 31) return undefined
  const divided = divu(add(mul(range(values.length), a), low + up * c), c)
  return up === 0 ? divided : sub(divided, up)
}

export class TableError extends Error {
  override name = 'model.TableError'
}
