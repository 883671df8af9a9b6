// Randomness inside the graph: threefry-2x32 with 20 rounds (Salmon et al., SC 2011), keyed by (task seed, stream), counted by (step, index).

import { type Expr, type Shape, sizeOf } from '@bitloom/graph'
import { log } from './math.ts'
import { add, cast, concat, constant, lt, mul, or, range, reshape, shl, shr, slice, sqrt, sub, where, xor } from './tensor.ts'
import { cosTurns, sinTurns } from './trig.ts'

/** Two i32 words that broadcast with each other and with the counters. */
export type Key = readonly [Expr, Expr]

/** Streams of the standard recipes: what one uses for a purpose never meets another. */
export const STREAM = { initial: 0x10000, shuffle: 1, probe: 2, dropout: 0x20000, augment: 0x30000 } as const

const ROTATIONS = [13, 15, 26, 6, 17, 29, 16, 24]

const rotate = (x: Expr, by: number): Expr => or(shl(x, by), shr(x, 32 - by))

/** The two words of threefry-2x32-20 for each pair of counters. */
export function threefry(key: Key, c0: Expr, c1: Expr): [Expr, Expr] {
  const words = [key[0], key[1], xor(xor(key[0], key[1]), 0x1bd11bda)]
  let x0 = add(c0, words[0])
  let x1 = add(c1, words[1])
  for (let round = 0; round < 20; round++) {
    x0 = add(x0, x1)
    x1 = xor(rotate(x1, ROTATIONS[round % 8]), x0)
    if (round % 4 !== 3) continue
    const injection = (round + 1) / 4
    x0 = add(x0, words[injection % 3])
    x1 = add(x1, add(words[(injection + 1) % 3], injection))
  }
  return [x0, x1]
}

/** The key of a stream: (seed₀, seed₁ xor stream·0x9e3779b9), each of shape [1]. `seed` is i32[2]. */
export const keyOf = (seed: Expr, stream: number): Key => [slice(seed, 0, 0, 1), xor(slice(seed, 0, 1, 2), Math.imul(stream, 0x9e3779b9))]

/** n random words, i32[n]: counters (step, 0 … ⌈n/2⌉-1), all first words and then all second ones. `step` is i32 of one element. */
export function words(key: Key, step: Expr, n: number): Expr {
  const count = Math.ceil(n / 2)
  const [a, b] = threefry(key, reshape(step, [1]), range(count))
  return n === 1 ? a : slice(concat([a, b], 0), 0, 0, n)
}

const ZERO = constant(0, 'i32')

/** f32 in [0, 1): the upper 24 bits of a word times 2^-24. */
export const unit = (word: Expr): Expr => mul(cast(shr(word, 8), 'f32'), 2 ** -24)

/** Uniform in [0, 1). */
export const uniform = (key: Key, shape: Shape, step: Expr = ZERO): Expr => reshape(unit(words(key, step, sizeOf(shape))), shape)

/**
 * Standard normal by Box and Muller: √(-2·log u) times cos and sin of 2π·v, u in (0, 1]; no value is beyond 5.77.
 */
export function normal(key: Key, shape: Shape, step: Expr = ZERO): Expr {
  const n = sizeOf(shape)
  const count = Math.ceil(n / 2)
  const [a, b] = threefry(key, reshape(step, [1]), range(count))
  const radius = sqrt(mul(log(mul(cast(add(shr(a, 8), 1), 'f32'), 2 ** -24)), -2))
  const turns = unit(b)
  const both = concat([mul(radius, cosTurns(turns)), mul(radius, sinTurns(turns))], 0)
  return reshape(slice(both, 0, 0, n), shape)
}

/** 1/(1-p) where an element is kept and 0 where it is dropped (with probability p): multiply by it. */
export function dropoutMask(key: Key, shape: Shape, p: number, step: Expr): Expr {
  if (!(p >= 0 && p < 1)) throw new RandomError(`dropout: probability ${p} is not in [0, 1)`)
  const kept = Math.round(p * 2 ** 24)
  const word = reshape(shr(words(key, step, sizeOf(shape)), 8), shape)
  return where(lt(word, kept), 0, constant(1 / (1 - p)))
}

/** Uniform in [-bound, bound). */
export const symmetric = (key: Key, shape: Shape, bound: number): Expr => mul(sub(mul(uniform(key, shape), 2), 1), bound)

/** PyTorch's default for the weights and biases of linear and convolution layers (kaiming uniform with a = √5): ±1/√fanIn. */
export const kaimingUniform = (key: Key, shape: Shape, fanIn: number): Expr => symmetric(key, shape, 1 / Math.sqrt(fanIn))

/** Glorot and Bengio's uniform: ±gain·√(6/(fanIn + fanOut)). */
export const xavierUniform = (key: Key, shape: Shape, fanIn: number, fanOut: number, gain = 1): Expr =>
  symmetric(key, shape, gain * Math.sqrt(6 / (fanIn + fanOut)))

export class RandomError extends Error {
  override name = 'model.RandomError'
}
