// The f32 arithmetic of docs/numerics.md on 32-bit words, so that every evaluator and the contract mean the same by "add": the twin of
// contracts/src/arbiter/F32.sol. A word is an unsigned JavaScript number (0 … 2^32-1) holding IEEE-754 binary32 bits; any number that
// `>>> 0` maps to the word is accepted, and every result is unsigned. A NaN comes out as 0x7fc00000 whatever went in.
//
// Why `Math.fround` of a 64-bit result is correct rounding and not a double one: a binary64 carries 53 ≥ 2·24 + 2 bits, for which
// rounding + - * / and sqrt of binary32 operands twice gives the same as rounding once (Figueroa 1995). Below the normal range: sums are
// exact in binary64, products of 24-bit significands are too, a quotient that is not a tie lies at least 2^-48 (relative) from one, and a
// root is never subnormal.
//
// Twin order: canonical isNaN · neg abs sqrt floor · add sub mul div · lt le eq · min max · fromI32 toI32

/** The only NaN that may be seen. */
export const NAN = 0x7fc00000

const word = new Uint32Array(1)
const real = new Float32Array(word.buffer)

/** The number that a word stands for (exact; NaN for every NaN). */
export const toNumber = (a: number): number => {
  word[0] = a
  return real[0]
}

/** The word of a number rounded to binary32, ties to even, NaN canonical. */
export const fromNumber = (x: number): number => {
  // SAFETY: storing a NaN may leave any payload (and x86 sets the sign), so the engine's own NaN never reaches a result.
  if (Number.isNaN(x)) return NAN
  real[0] = x
  return word[0]
}

/** The same word, or 0x7fc00000 where it is any NaN. */
export const canonical = (a: number): number => (isNaN(a) ? NAN : a >>> 0)

/** Whether a word is a NaN: quiet or signalling, of either sign. */
// biome-ignore lint/suspicious/noShadowRestrictedNames: the twin's name; the global one is not used here
export const isNaN = (a: number): boolean => (a & 0x7fffffff) > 0x7f800000

/** Sign inverted, zeros and infinities included. */
export const neg = (a: number): number => canonical(a ^ 0x80000000)

/** Sign cleared. */
export const abs = (a: number): number => canonical(a & 0x7fffffff)

/** Square root, correctly rounded; -0 stays -0, anything below is NaN (IEEE-754 §5.4.1). */
export const sqrt = (a: number): number => fromNumber(Math.sqrt(toNumber(a)))

/** The largest integer not above a; zeros, infinities and integers stay themselves, so -0 keeps its sign. */
export const floor = (a: number): number => fromNumber(Math.floor(toNumber(a)))

/** Sum, correctly rounded; an exact cancellation gives +0, and only -0 + -0 gives -0. */
export const add = (a: number, b: number): number => fromNumber(toNumber(a) + toNumber(b))

/** Difference, correctly rounded. */
export const sub = (a: number, b: number): number => fromNumber(toNumber(a) - toNumber(b))

/** Product, correctly rounded. */
export const mul = (a: number, b: number): number => fromNumber(toNumber(a) * toNumber(b))

/** Quotient, correctly rounded; x / ±0 is an infinity, 0 / 0 a NaN. */
export const div = (a: number, b: number): number => fromNumber(toNumber(a) / toNumber(b))

/** 1 where a is less than b; else, and with a NaN, 0. */
export const lt = (a: number, b: number): number => (toNumber(a) < toNumber(b) ? 1 : 0)

/** 1 where a is less than or equal to b; else, and with a NaN, 0. */
export const le = (a: number, b: number): number => (toNumber(a) <= toNumber(b) ? 1 : 0)

/** 1 where a equals b, the two zeros being equal; else, and with a NaN, 0. */
export const eq = (a: number, b: number): number => (toNumber(a) === toNumber(b) ? 1 : 0)

/** b where b < a, else a: a select, so a NaN in a comes through, and one in b gives a. */
export const min = (a: number, b: number): number => canonical(lt(b, a) ? b : a)

/** b where a < b, else a: a select, so a NaN in a comes through, and one in b gives a. */
export const max = (a: number, b: number): number => canonical(lt(a, b) ? b : a)

/** The f32 nearest to a signed integer word, ties to even. */
export const fromI32 = (a: number): number => fromNumber(a | 0)

/** The signed integer word of a, truncated toward zero, saturated at -2^31 and 2^31-1; NaN gives 0. */
export const toI32 = (a: number): number => {
  const x = toNumber(a)
  if (Number.isNaN(x)) return 0
  if (x >= 2147483648) return 0x7fffffff
  if (x <= -2147483648) return 0x80000000
  return Math.trunc(x) >>> 0
}
