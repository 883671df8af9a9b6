// Merkle roots of tensors at vector speed: SHA-256 of four messages in four lanes, for leaves and inner nodes alike. The same roots as graph's `tensorRoot`,
// 1.4 to 1.7 times as fast as through node:crypto (a call costs more than an inner node), and several times in browsers, which have no synchronous SHA-256.
import { CHUNK, chunksOf } from '@bitloom/graph'
import { type FunctionBuilder, ModuleBuilder } from './assemble.ts'
import { transpose4 } from './lanes.ts'
import { compileModule, instantiate, makeMemory } from './platform.ts'

/** FIPS 180-4 §4.2.2 and §5.3.3: the fractional parts of cube and square roots of the first primes, computed exactly in integers. */
const primes = (count: number): bigint[] => {
  const found: bigint[] = []
  for (let n = 2n; found.length < count; n++) if (found.every((p) => n % p !== 0n)) found.push(n)
  return found
}
/** 32 bits of the fractional part of the `degree`-th root of n: the integer root of n·2^(32·degree), by bisection. */
const rootBits = (n: bigint, degree: 2n | 3n): number => {
  const target = n << (32n * degree)
  let [low, high] = [0n, 1n << 40n]
  while (high - low > 1n) {
    const middle = (low + high) / 2n
    if (middle ** degree <= target) low = middle
    else high = middle
  }
  return Number(low & 0xffffffffn)
}
const ROUND = primes(64).map((p) => rootBits(p, 3n))
const INITIAL = primes(8).map((p) => rootBits(p, 2n))

const ROUND_AT = 64
const INITIAL_AT = ROUND_AT + 4 * 64
const DATA_AT = 1024
const DIGEST = 32
/** Chunks hashed at a time: 1 MB of tensor beside 32 KB of digests. */
const SLAB = 1024

/** Big-endian words: the bytes of each 32-bit lane turned round. */
const SWAP = [3, 2, 1, 0, 7, 6, 5, 4, 11, 10, 9, 8, 15, 14, 13, 12]

/**
 * hash4(from, apart, blocks, prefix, to): SHA-256 of prefix byte ‖ 64·blocks bytes, four messages `apart` bytes apart, digests 32 bytes apart.
 * The prefix shifts the message by one byte, so every load is one byte early, and the byte left over opens the last block.
 */
const writeHash4 = (f: FunctionBuilder): void => {
  const [from, apart, blocks, prefix, to] = [0, 1, 2, 3, 4]
  const vectors = (n: number): number[] => Array.from({ length: n }, () => f.local('v128'))
  const lanes = [from, ...Array.from({ length: 3 }, () => f.local('i32'))]
  const done = f.local('i32')
  const state = vectors(8)
  const w = vectors(16)
  const scratch = vectors(4)
  const keep = f.local('v128')

  for (let l = 1; l < 4; l++)
    f.get(lanes[l - 1])
      .get(apart)
      .op('i32.add')
      .set(lanes[l])
  state.forEach((s, i) => {
    f.i32(0)
      .mem('v128.load32_splat', INITIAL_AT + 4 * i)
      .set(s)
  })
  f.block((exit) => {
    f.loop((again) => {
      f.get(done).get(blocks).op('i32.gt_s').brIf(exit)
      f.get(done)
        .get(blocks)
        .op('i32.lt_s')
        .if(
          () => {
            for (let group = 0; group < 16; group += 4) {
              for (let l = 0; l < 4; l++) {
                const vector = w[group + l]
                f.get(lanes[l])
                  .i32(4 * group - 1)
                  .op('i32.add')
                  .mem('v128.load')
                  .tee(vector)
                  .get(vector)
                  .op('i8x16.shuffle', ...SWAP)
                  .set(vector)
              }
              transpose4(f, w.slice(group, group + 4), scratch)
            }
            f.get(done)
              .op('i32.eqz')
              .if(() => {
                f.get(w[0]).i32(0x00ffffff).op('i32x4.splat').op('v128.and')
                f.get(prefix).i32(24).op('i32.shl').op('i32x4.splat').op('v128.or').set(w[0])
              })
          },
          () => {
            // The last byte, the one bit, zeros, and the length in bits: 8 · (64 · blocks + 1).
            f.i32(0).op('i32x4.splat').set(w[0])
            for (let l = 0; l < 4; l++) {
              f.get(w[0]).get(lanes[l]).i32(1).op('i32.sub').mem('i32.load8_u').i32(24).op('i32.shl')
              f.i32(0x00800000).op('i32.or').op('i32x4.replace_lane', l).set(w[0])
            }
            for (let i = 1; i < 15; i++) f.i32(0).op('i32x4.splat').set(w[i])
            f.get(blocks).i32(9).op('i32.shl').i32(8).op('i32.add').op('i32x4.splat').set(w[15])
          },
        )
      writeRounds(f, state, w, scratch, keep)
      for (const lane of lanes) f.bump(lane, 64)
      f.bump(done, 1)
      f.br(again)
    })
  })
  for (const half of [0, 4]) {
    transpose4(f, state.slice(half, half + 4), scratch)
    for (let l = 0; l < 4; l++)
      f.get(to)
        .get(state[half + l])
        .get(state[half + l])
        .op('i8x16.shuffle', ...SWAP)
        .mem('v128.store', DIGEST * l + 4 * half)
  }
}

/** Pushes x rotated right by each of `turns`, xored together; a turn given as `~n` is a plain shift right by n. */
const pushMix = (f: FunctionBuilder, x: number, turns: readonly number[]): void => {
  turns.forEach((turn, i) => {
    if (turn < 0) f.get(x).i32(~turn).op('i32x4.shr_u')
    else
      f.get(x)
        .i32(turn)
        .op('i32x4.shr_u')
        .get(x)
        .i32(32 - turn)
        .op('i32x4.shl')
        .op('v128.or')
    if (i > 0) f.op('v128.xor')
  })
}

/** FIPS 180-4 §6.2.2 on one block a lane: 64 rounds unrolled, the message schedule made as it is needed. `state` holds the sum at the end. */
const writeRounds = (f: FunctionBuilder, state: readonly number[], w: readonly number[], scratch: readonly number[], t1: number): void => {
  // The working variables walk round eight locals of their own.
  const own = Array.from({ length: 8 }, () => f.local('v128'))
  state.forEach((s, i) => {
    f.get(s).set(own[i])
  })
  const [word] = scratch
  for (let round = 0; round < 64; round++) {
    const [a, b, c, d, e, g, h, i] = Array.from({ length: 8 }, (_, at) => own[(at + 64 - round) % 8])
    const now = w[round % 16]
    if (round >= 16) {
      f.get(now)
      pushMix(f, w[(round + 1) % 16], [7, 18, ~3])
      f.op('i32x4.add')
        .get(w[(round + 9) % 16])
        .op('i32x4.add')
      pushMix(f, w[(round + 14) % 16], [17, 19, ~10])
      f.op('i32x4.add').set(now)
    }
    // t1 = i + Σ1(e) + ch(e, g, h) + K + w
    f.get(i)
      .i32(0)
      .mem('v128.load32_splat', ROUND_AT + 4 * round)
      .op('i32x4.add')
      .get(now)
      .op('i32x4.add')
    f.get(g).get(h).get(e).op('v128.bitselect').op('i32x4.add')
    pushMix(f, e, [6, 11, 25])
    f.op('i32x4.add').set(t1)
    f.get(d).get(t1).op('i32x4.add').set(d)
    // i = t1 + Σ0(a) + maj(a, b, c); where a and b differ the majority is c, else a.
    f.get(c).get(a).get(a).get(b).op('v128.xor').op('v128.bitselect').set(word)
    f.get(t1).get(word).op('i32x4.add')
    pushMix(f, a, [2, 13, 22])
    f.op('i32x4.add').set(i)
  }
  state.forEach((s, i) => {
    f.get(s).get(own[i]).op('i32x4.add').set(s)
  })
}

interface Hasher {
  readonly memory: Uint8Array
  readonly hash4: (from: number, apart: number, blocks: number, prefix: number, to: number) => void
}
let shared: Hasher | undefined

const hasher = (): Hasher => {
  if (shared !== undefined) return shared
  const module = new ModuleBuilder()
  module.func('hash4', { params: ['i32', 'i32', 'i32', 'i32', 'i32'], results: [] }, writeHash4)
  const memory = makeMemory(DATA_AT + SLAB * (CHUNK + DIGEST) + 4 * CHUNK)
  const words = new Uint32Array(memory.buffer)
  words.set(ROUND, ROUND_AT / 4)
  words.set(INITIAL, INITIAL_AT / 4)
  const { hash4 } = instantiate(compileModule(module.bytes()), memory) as unknown as Hasher
  shared = { memory: new Uint8Array(memory.buffer), hash4 }
  return shared
}

/** Hashes `count` messages of 64·blocks bytes that lie one after the other in `source`, each behind the prefix byte. */
const hashAll = (source: Uint8Array, count: number, blocks: number, prefix: number): Uint8Array => {
  const { memory, hash4 } = hasher()
  const size = 64 * blocks
  const slab = Math.floor((SLAB * CHUNK) / size / 4) * 4
  const digests = new Uint8Array(count * DIGEST)
  const out = DATA_AT + slab * size + CHUNK
  const most = Math.min(slab, SLAB)
  for (let first = 0; first < count; first += most) {
    const n = Math.min(most, count - first)
    const part = source.subarray(first * size, (first + n) * size)
    memory.set(part, DATA_AT)
    // The last chunk of a tensor may be short: its rest is zero.
    if (part.length < n * size) memory.fill(0, DATA_AT + part.length, DATA_AT + n * size)
    for (let i = 0; i < n; i += 4) hash4(DATA_AT + i * size, size, blocks, prefix, out + i * DIGEST)
    digests.set(memory.subarray(out, out + n * DIGEST), first * DIGEST)
  }
  return digests
}

/** The hash of each 1,024-byte chunk of a tensor's bytes (the last zero-padded): 32 bytes a chunk, one after the other. */
export const chunkHashes = (bytes: Uint8Array): Uint8Array => hashAll(bytes, chunksOf(bytes.length), CHUNK / 64, 0)

let zeroChunk: Uint8Array | undefined

/** A tensor's Merkle root over its little-endian bytes: the same 32 bytes as graph's `tensorRoot` (docs/numerics.md, docs/protocol.md). */
export const fastTensorRoot = (bytes: Uint8Array): Uint8Array => {
  zeroChunk ??= chunkHashes(new Uint8Array(CHUNK))
  let padding = zeroChunk
  let level = chunkHashes(bytes)
  while (level.length > DIGEST) {
    const count = level.length / DIGEST
    const pairs = Math.ceil(count / 2)
    // The padding's own parent is hashed along with the level, in a lane that would often idle.
    const padded = new Uint8Array((pairs + 1) * 2 * DIGEST)
    padded.set(level)
    for (let at = count; at < 2 * pairs + 2; at++) padded.set(padding, at * DIGEST)
    const above = hashAll(padded, pairs + 1, 1, 1)
    level = above.subarray(0, pairs * DIGEST)
    padding = above.subarray(pairs * DIGEST)
  }
  return level.slice()
}
