// Seeded 32-bit words that are likely to break float or integer arithmetic; vector files and fuzzers draw their operands from here.

/** A stream of uniform 32-bit words from a 32-bit seed (splitmix32: small, and the same on every machine). */
export const randomWords = (seed: number): (() => number) => {
  let state = seed >>> 0
  return () => {
    state = (state + 0x9e3779b9) >>> 0
    let z = state
    z = Math.imul(z ^ (z >>> 16), 0x21f0aaad)
    z = Math.imul(z ^ (z >>> 15), 0x735a2d97)
    return (z ^ (z >>> 15)) >>> 0
  }
}

const bothSigns = (words: readonly number[]): number[] => words.flatMap((w) => [w, (w | 0x80000000) >>> 0])

/** Float words at the seams that matter in pairs: zeros, infinities, NaNs, subnormals, the ends of the range, ties and integer limits. */
export const floatEdges: readonly number[] = bothSigns([
  ...[0x00000000, 0x7f800000, 0x7fc00000, 0x7f800001, 0x7fa5a5a5], // zero, infinity, NaNs: canonical, signalling, with a payload
  ...[0x00000001, 0x00400000, 0x007fffff, 0x00800000, 0x00800001], // the subnormal seam
  ...[0x7f7fffff, 0x7f000000, 0x73800000], // the largest, 2^127, and the largest's last place
  ...[0x3f800000, 0x3f7fffff, 0x3f800001, 0x3f000000, 0x3fc00000, 0x40200000], // 1 and its neighbours, 0.5, 1.5, 2.5
  ...[0x33800000, 0x33800001, 0x4b000000, 0x4b800000], // 2^-24 and the next, 2^23, 2^24
  ...[0x4effffff, 0x4f000000, 0x20000000, 0x3eaaaaab], // the 2^31 seam, 2^-63, 1/3
])

/** More float words at seams, for one-operand ops and for fuzzing, where all pairs would be too many. */
export const floatSeams: readonly number[] = [
  ...floatEdges,
  ...bothSigns([
    ...[0x00000002, 0x00000003, 0x00ffffff, 0x01000000, 0x7fffffff, 0x7f7ffffe, 0x7effffff, 0x3effffff, 0x3fbfffff, 0x401fffff, 0x40400000],
    ...[0x337fffff, 0x34000000, 0x4affffff, 0x4b000001, 0x4b7fffff, 0x4b800001, 0x4f000001, 0x4f800000, 0x1f800000, 0x5f000000, 0x4b3504f3],
  ]),
]

/** Integer words at every seam: ends of both ranges, shift counts around 32, powers of two, words that i32→f32 has to round. */
export const integerEdges: readonly number[] = [
  ...[0, 1, 2, 3, 7, 31, 32, 33, 63, 0xff, 0x100, 0xffff, 0x10000, 0x10001, 0xb504f333],
  ...[0x00ffffff, 0x01000000, 0x01000001, 0x01000002, 0x01000003, 0x02000002, 0x02000006, 0x7fffff80, 0x7fffffbf, 0x7fffffc0],
  ...[0x7ffffffe, 0x7fffffff, 0x80000000, 0x80000001, 0x80000040, 0xff000000, 0xfeffffff, 0xaaaaaaaa, 0x55555555, 0xfffffffe, 0xffffffff],
]

/** A pair of float words: plain random, of near exponents (cancels), one within a few last places of the other, subnormal-sized, or an edge. */
export const floatPair = (next: () => number): [number, number] => {
  const a = next()
  const b = next()
  const kind = next() % 8
  const near = (x: number, exponent: number): number => ((x & 0x807fffff) | (Math.min(254, Math.max(0, exponent)) << 23)) >>> 0
  const exponent = (a >>> 23) & 0xff
  if (kind < 2) return [a, b]
  if (kind === 2) return [a, near(b, exponent + ((b >>> 24) % 5) - 2)]
  if (kind === 3) return [a, near(b, exponent + ((b >>> 24) % 55) - 27)]
  if (kind === 4) return [a, ((a ^ 0x80000000) + (b % 9) - 4) >>> 0]
  // Products, then quotients, around the smallest and largest magnitudes.
  if (kind === 5) return [a, near(b, 127 - exponent + ((b >>> 24) % 56) - 28)]
  if (kind === 6) return [a, near(b, exponent + 126 + ((b >>> 24) % 56) - 28)]
  const edge = floatSeams[b % floatSeams.length]
  return a & 1 ? [next(), edge] : [edge, next()]
}

/** A float word for one-operand ops: any, near an integer (floor, f32→i32), or an edge. */
export const floatWord = (next: () => number): number => {
  const a = next()
  const kind = next() % 4
  if (kind < 2) return a
  if (kind === 2) return ((a & 0x807fffff) | ((124 + ((a >>> 23) & 0xff) * 0.15) << 23)) >>> 0
  return floatSeams[a % floatSeams.length]
}

/** A pair of integer words: plain random, one small, one shifted down, or an edge. */
export const integerPair = (next: () => number): [number, number] => {
  const a = next()
  const b = next()
  const kind = next() % 4
  if (kind === 0) return [a, b]
  if (kind === 1) return [a, b % 67]
  if (kind === 2) return [a >>> (b & 31), b >>> (a & 31)]
  return [integerEdges[a % integerEdges.length], b & 1 ? next() : integerEdges[b % integerEdges.length]]
}
