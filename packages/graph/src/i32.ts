// The i32 arithmetic of docs/numerics.md on 32-bit words, so that every evaluator and the contract mean the same by "add": the twin of
// contracts/src/arbiter/I32.sol. A word is an unsigned JavaScript number (0 … 2^32-1) holding two's complement bits; any number that
// `>>> 0` maps to the word is accepted, and every result is unsigned.
//
// Twin order: isTrue · not neg abs · add sub mul divu remu · and or xor · shl shr sar · lt ltu eq · min max

/** Whether a word counts as true in `where`: any bit set. */
export const isTrue = (a: number): boolean => a >>> 0 !== 0

/** Every bit inverted. */
export const not = (a: number): number => ~a >>> 0

/** Two's complement negation; the smallest integer is its own negative. */
export const neg = (a: number): number => -(a | 0) >>> 0

/** Magnitude; the smallest integer, which has none in 32 bits, stays itself. */
export const abs = (a: number): number => ((a | 0) < 0 ? -(a | 0) : a) >>> 0

/** Sum, wrapping. */
export const add = (a: number, b: number): number => ((a | 0) + (b | 0)) >>> 0

/** Difference, wrapping. */
export const sub = (a: number, b: number): number => ((a | 0) - (b | 0)) >>> 0

/** Product, wrapping. */
export const mul = (a: number, b: number): number => Math.imul(a, b) >>> 0

/** Unsigned quotient, rounded down; division by zero gives 0. */
export const divu = (a: number, b: number): number => (b >>> 0 === 0 ? 0 : Math.floor((a >>> 0) / (b >>> 0)))

/** Unsigned remainder; by zero gives a. */
export const remu = (a: number, b: number): number => (b >>> 0 === 0 ? a >>> 0 : (a >>> 0) % (b >>> 0))

/** Bitwise and. */
export const and = (a: number, b: number): number => (a & b) >>> 0

/** Bitwise or. */
export const or = (a: number, b: number): number => (a | b) >>> 0

/** Bitwise exclusive or. */
export const xor = (a: number, b: number): number => (a ^ b) >>> 0

/** a shifted left by b mod 32. */
export const shl = (a: number, b: number): number => (a << (b & 31)) >>> 0

/** a shifted right by b mod 32, zeros in from the left. */
export const shr = (a: number, b: number): number => a >>> (b & 31)

/** a shifted right by b mod 32, copies of the sign bit in from the left. */
export const sar = (a: number, b: number): number => (a >> (b & 31)) >>> 0

/** 1 where a is less than b, both signed; else 0. */
export const lt = (a: number, b: number): number => ((a | 0) < (b | 0) ? 1 : 0)

/** 1 where a is less than b, both unsigned; else 0. */
export const ltu = (a: number, b: number): number => (a >>> 0 < b >>> 0 ? 1 : 0)

/** 1 where a and b have the same bits; else 0. */
export const eq = (a: number, b: number): number => ((a | 0) === (b | 0) ? 1 : 0)

/** The smaller of two signed words. */
export const min = (a: number, b: number): number => ((b | 0) < (a | 0) ? b : a) >>> 0

/** The larger of two signed words. */
export const max = (a: number, b: number): number => ((a | 0) < (b | 0) ? b : a) >>> 0
