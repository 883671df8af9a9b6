// Moving 32-bit lanes between vectors: the 4x4 transpose that packing and row folds are built on.
import type { FunctionBuilder } from './assemble.ts'

/** `i8x16.shuffle` immediates that pick 32-bit lanes: 0-3 from the first vector, 4-7 from the second. */
const pick = (...lanes: number[]): number[] => lanes.flatMap((lane) => [4 * lane, 4 * lane + 1, 4 * lane + 2, 4 * lane + 3])
const LOW = pick(0, 4, 1, 5)
const HIGH = pick(2, 6, 3, 7)
const FIRST = pick(0, 1, 4, 5)
const SECOND = pick(2, 3, 6, 7)

/** Transposes four v128 locals in place: lane j of local i becomes lane i of local j. `scratch` are four more v128 locals. */
export const transpose4 = (f: FunctionBuilder, rows: readonly number[], scratch: readonly number[]): void => {
  const [a, b, c, d] = rows
  const [s, t, u, v] = scratch
  const zip = (x: number, y: number, lanes: number[], to: number): void => {
    f.get(x)
      .get(y)
      .op('i8x16.shuffle', ...lanes)
      .set(to)
  }
  zip(a, b, LOW, s)
  zip(c, d, LOW, t)
  zip(a, b, HIGH, u)
  zip(c, d, HIGH, v)
  zip(s, t, FIRST, a)
  zip(s, t, SECOND, b)
  zip(u, v, FIRST, c)
  zip(u, v, SECOND, d)
}
