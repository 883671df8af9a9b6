// Inputs of the scalar twins by number: any of millions without those before it, so that a contract draws the same ones by itself. Twin: TwinInputs in
// packages/contracts/test/Twins.sol, function for function.

import { keccak256 } from 'viem'

const SIGN = 0x80000000

/** Where inputs come from; of a one-operand op only a pair's first word counts. */
export type Source = { readonly floats: boolean; readonly seed: number; readonly edges: readonly number[] }

/** The words of inputs 2k and 2k + 1: keccak256(seed ‖ k), 16 bytes each. */
function stream(seed: number, k: number): DataView {
  const preimage = new Uint8Array(64)
  const view = new DataView(preimage.buffer)
  view.setUint32(28, seed)
  view.setUint32(60, k)
  const digest = keccak256(preimage, 'bytes')
  return new DataView(digest.buffer, digest.byteOffset, 32)
}

/** Inputs from … from + count - 1: first every pair of edges, then words of a stream made likely to hurt. `from` is even. */
export function inputs({ floats, seed, edges }: Source, from: number, count: number): [Uint32Array, Uint32Array] {
  if (from % 2 !== 0) throw new RangeError(`inputs come in twos; ${from} is odd`)
  const [left, right] = [new Uint32Array(count), new Uint32Array(count)]
  const into: [number, number] = [0, 0]
  const n = edges.length
  let words: DataView | undefined
  for (let k = 0; k < count; k++) {
    const i = from + k
    if (i < n * n) {
      into[0] = edges[Math.floor(i / n)]!
      into[1] = edges[i % n]!
    } else {
      const at = i % 2 === 0 ? 0 : 16
      if (i % 2 === 0 || !words) words = stream(seed, i >>> 1)
      const [a, b, r] = [words.getUint32(at), words.getUint32(at + 4), words.getUint32(at + 8)]
      if (floats) floatPair(edges, a, b, r & 15, r >>> 4, into)
      else integerPair(edges, a, b, r & 3, into)
    }
    left[k] = into[0]
    right[k] = into[1]
  }
  return [left, right]
}

function floatPair(edges: readonly number[], a: number, b: number, kind: number, s: number, into: [number, number]): void {
  into[0] = a
  into[1] = b
  if (kind < 4) return
  const e = (a >>> 23) & 0xff
  const t = s % 55
  switch (kind) {
    case 4: // exponents near one another: sums that cancel, align, or drop one of the two
      into[1] = near(b, e + t - 27)
      return
    case 5: // the opposite, within a few last places
      into[1] = (a ^ SIGN) + (s % 9) - 4
      return
    case 6: // products, then quotients, around the smallest and the largest magnitudes
      into[1] = near(b, 127 - e + t - 27)
      return
    case 7:
      into[1] = near(b, e + 126 + t - 27)
      return
    case 8:
      into[0] = edges[a % edges.length]!
      return
    case 9:
      into[1] = edges[b % edges.length]!
      return
    case 10: // 12 and 13 significant bits: half of the products are ties
      into[0] = a & 0xfffff000
      into[1] = b & 0xfffff800
      return
    case 11: // half of a's last place, a last place of its own more or less: ties of sums and their neighbours
      into[1] = near(b & SIGN, e - 24 - (s & 1)) + ((s >>> 1) % 3) - 1
      return
    case 12: {
      // a quotient, or a product, by a power of two that is subnormal with one bit to drop: ties below the normal range
      const dropped = 1 + (s % 23)
      into[0] = (a & ~(2 ** dropped - 1)) | (1 << (dropped - 1))
      into[1] = near(b & SIGN, (s >>> 8) & 1 ? 128 - dropped - e : e + 126 + dropped)
      return
    }
    case 13: // numbers with and without a fraction: floor, casts, roots
      into[0] = near(a, 124 + (s % 38))
      into[1] = near(b, 124 + ((s >>> 8) % 38))
      return
    case 14: {
      // squares of 12 bits, a last place more or less
      let m = ((a & 0x7ff) | 0x800) ** 2
      if (m < 2 ** 23) m *= 2
      into[0] = (((((a >>> 12) & 0xff) % 254) + 1) << 23) | ((m & 0x7fffff) + (s % 3))
      return
    }
    default: // subnormals
      into[0] = (a & SIGN) | ((a & 0x7fffff) >>> (s % 23))
      if ((s & 0x100) === 0) into[1] = (b & SIGN) | ((b & 0x7fffff) >>> ((s >>> 9) % 23))
  }
}

function integerPair(edges: readonly number[], a: number, b: number, kind: number, into: [number, number]): void {
  into[0] = a
  into[1] = b
  if (kind === 1) into[1] = b % 67
  else if (kind === 2) {
    into[0] = a >>> (b & 31)
    into[1] = b >>> (a & 31)
  } else if (kind === 3) {
    into[0] = edges[a % edges.length]!
    if (a & 0x10000) into[1] = edges[b % edges.length]!
  }
}

/** The word with another exponent, held within 1 and 254. */
const near = (x: number, exponent: number): number => (x & 0x807fffff) | (Math.min(254, Math.max(1, exponent)) << 23)
