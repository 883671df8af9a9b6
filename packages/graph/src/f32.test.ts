// Holds f32.ts to vectors/f32.json, and both to arithmetic on exact rationals that never touches a float.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import * as f32 from './f32.ts'

type Columns = Record<string, string>
const vectors: { binary: Columns; unary: Columns } = JSON.parse(readFileSync(new URL('../../../vectors/f32.json', import.meta.url), 'utf8'))
const words = (column: string): number[] =>
  column
    .slice(2)
    .match(/.{8}/g)!
    .map((hex) => Number.parseInt(hex, 16))
const hex = (w: number): string => `0x${w.toString(16).padStart(8, '0')}`
const isInfinite = (w: number): boolean => (w & 0x7fffffff) === 0x7f800000

const binary = { add: f32.add, sub: f32.sub, mul: f32.mul, div: f32.div, lt: f32.lt, le: f32.le, eq: f32.eq, min: f32.min, max: f32.max }
const unary = {
  ...{ canonical: f32.canonical, neg: f32.neg, abs: f32.abs, sqrt: f32.sqrt, floor: f32.floor, fromI32: f32.fromI32, toI32: f32.toI32 },
}

/** A finite word as an exact integer, in units of the smallest subnormal, 2^-149. */
const exact = (w: number): bigint => {
  const exponent = (w >>> 23) & 0xff
  const magnitude = exponent === 0 ? BigInt(w & 0x7fffff) : BigInt((w & 0x7fffff) | 0x800000) << BigInt(exponent - 1)
  return w >>> 31 ? -magnitude : magnitude
}

/** The word nearest to sign · n/d units, ties to even; n ≥ 0, d > 0. */
const nearest = (negative: boolean, n: bigint, d: bigint): number => {
  let k = 0n
  while (n >= d << (k + 24n)) k++
  const unit = d << k
  let q = n / unit
  const twice = 2n * (n % unit)
  if (twice > unit || (twice === unit && q & 1n)) q++
  // Below 2^24 units the encoding is the count itself; each doubling beyond adds one to the exponent field. A carry lands there too.
  const magnitude = (k << 23n) + q
  return ((magnitude >= 0x7f800000n ? 0x7f800000 : Number(magnitude)) | (negative ? 0x80000000 : 0)) >>> 0
}

const integerRoot = (n: bigint): bigint => {
  if (n === 0n) return 0n
  let r = 1n << BigInt(Math.ceil(n.toString(2).length / 2))
  for (;;) {
    const s = (r + n / r) >> 1n
    if (s >= r) return r
    r = s
  }
}

const one = 1n << 149n
const size = (n: bigint): bigint => (n < 0n ? -n : n)

/** The exact arithmetic, for finite operands. */
const reference: Record<string, (a: number, b: number) => number> = {
  add: (a, b) => {
    const sum = exact(a) + exact(b)
    return sum === 0n ? nearest(a >>> 31 === 1 && b >>> 31 === 1, 0n, 1n) : nearest(sum < 0n, size(sum), 1n)
  },
  sub: (a, b) => reference.add(a, (b ^ 0x80000000) >>> 0),
  mul: (a, b) => nearest((a ^ b) < 0, size(exact(a) * exact(b)), one),
  div: (a, b) => {
    const negative = (a ^ b) < 0
    if (exact(b) !== 0n) return nearest(negative, size(exact(a)) * one, size(exact(b)))
    return exact(a) === 0n ? f32.NAN : negative ? 0xff800000 : 0x7f800000
  },
  lt: (a, b) => Number(exact(a) < exact(b)),
  le: (a, b) => Number(exact(a) <= exact(b)),
  eq: (a, b) => Number(exact(a) === exact(b)),
  min: (a, b) => (exact(b) < exact(a) ? b : a),
  max: (a, b) => (exact(a) < exact(b) ? b : a),
  sqrt: (a) => {
    if (exact(a) === 0n) return a
    if (a >>> 31) return f32.NAN
    const scaled = exact(a) << (149n + 200n)
    const root = integerRoot(scaled)
    return nearest(false, 2n * root + (root * root === scaled ? 0n : 1n), 1n << 101n)
  },
  floor: (a) => {
    const x = exact(a)
    const whole = x >= 0n ? x / one : -((-x + one - 1n) / one)
    return nearest(a >>> 31 === 1, size(whole) * one, 1n)
  },
  toI32: (a) => {
    const whole = exact(a) / one
    return Number(BigInt.asUintN(32, whole > 0x7fffffffn ? 0x7fffffffn : whole < -0x80000000n ? -0x80000000n : whole))
  },
}

test('every op gives the golden words', () => {
  for (const [ops, columns] of [[binary, vectors.binary] as const, [unary, vectors.unary] as const]) {
    const a = words(columns.a)
    const b = columns.b === undefined ? a : words(columns.b)
    for (const [name, op] of Object.entries(ops)) {
      const want = words(columns[name])
      assert.equal(want.length, a.length)
      for (let i = 0; i < a.length; i++) assert.equal(hex(op(a[i], b[i])), hex(want[i]), `${name} ${hex(a[i])} ${hex(b[i])}`)
    }
  }
})

test('the golden words are the exact results, rounded once', () => {
  let checked = 0
  for (const columns of [vectors.binary, vectors.unary]) {
    const a = words(columns.a)
    const b = columns.b === undefined ? a : words(columns.b)
    for (const [name, op] of Object.entries(reference)) {
      if (columns[name] === undefined) continue
      const got = words(columns[name])
      for (let i = 0; i < a.length; i++) {
        if ([a[i], b[i]].some((w) => f32.isNaN(w) || isInfinite(w))) continue
        assert.equal(hex(got[i]), hex(op(a[i], b[i])), `${name} ${hex(a[i])} ${hex(b[i])}`)
        checked++
      }
    }
  }
  assert.ok(checked > 25_000, `only ${checked} finite cases`)
})

test('infinities and NaN follow IEEE-754', () => {
  const [inf, minusInf, nan, one32, zero, minusZero] = [0x7f800000, 0xff800000, f32.NAN, 0x3f800000, 0, 0x80000000]
  assert.deepEqual([f32.add(inf, inf), f32.add(inf, minusInf), f32.sub(inf, inf), f32.add(minusInf, one32)], [inf, nan, nan, minusInf])
  assert.deepEqual(
    [f32.mul(inf, zero), f32.mul(inf, minusInf), f32.div(inf, inf), f32.div(one32, minusInf)],
    [nan, minusInf, nan, minusZero],
  )
  assert.deepEqual([f32.div(one32, minusZero), f32.div(zero, zero), f32.sqrt(inf), f32.sqrt(minusInf)], [minusInf, nan, inf, nan])
  assert.deepEqual([f32.sqrt(minusZero), f32.floor(minusZero), f32.floor(inf), f32.neg(inf)], [minusZero, minusZero, inf, minusInf])
  assert.deepEqual([f32.toI32(inf), f32.toI32(minusInf), f32.toI32(nan)], [0x7fffffff, 0x80000000, 0])
  assert.deepEqual([f32.lt(minusInf, inf), f32.le(inf, inf), f32.eq(inf, minusInf)], [1, 1, 0])
  // A select: the NaN wins only as the first operand.
  assert.deepEqual([f32.min(nan, one32), f32.min(one32, nan), f32.max(nan, one32), f32.max(one32, nan)], [nan, one32, nan, one32])
})

test('every NaN comes out canonical and compares as 0', () => {
  for (const a of [0x7f800001, 0x7fffffff, 0xffc00000, 0xff800001, 0x7fa5a5a5]) {
    assert.ok(f32.isNaN(a))
    for (const op of [f32.canonical, f32.neg, f32.abs, f32.sqrt, f32.floor]) assert.equal(op(a), f32.NAN)
    for (const b of [0, 0x3f800000, 0x7f800000, a]) {
      for (const op of [f32.add, f32.sub, f32.mul, f32.div]) assert.deepEqual([op(a, b), op(b, a)], [f32.NAN, f32.NAN])
      for (const op of [f32.lt, f32.le, f32.eq]) assert.deepEqual([op(a, b), op(b, a)], [0, 0])
      for (const op of [f32.min, f32.max]) assert.equal(op(a, b), f32.NAN)
    }
  }
  assert.ok(!f32.isNaN(0x7f800000) && !f32.isNaN(0xff800000))
})

test('i32 to f32 is rounded once from the exact integer', () => {
  const a = words(vectors.unary.a)
  const got = words(vectors.unary.fromI32)
  for (let i = 0; i < a.length; i++) {
    const n = BigInt(a[i] | 0)
    assert.equal(hex(got[i]), hex(nearest(n < 0n, size(n) * one, 1n)), `fromI32 ${hex(a[i])}`)
  }
})
