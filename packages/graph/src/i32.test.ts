// Holds i32.ts to vectors/i32.json, and both to arithmetic on BigInt.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import * as i32 from './i32.ts'

type Columns = Record<string, string>
const vectors: { binary: Columns; unary: Columns } = JSON.parse(readFileSync(new URL('../../../vectors/i32.json', import.meta.url), 'utf8'))
const words = (column: string): number[] =>
  column
    .slice(2)
    .match(/.{8}/g)!
    .map((hex) => Number.parseInt(hex, 16))
const signed = (a: bigint): bigint => BigInt.asIntN(32, a)

/** Each op twice: as i32.ts has it, and from unsigned BigInt words by the definition. */
const ops: Record<string, [(a: number, b: number) => number, (a: bigint, b: bigint) => bigint]> = {
  not: [i32.not, (a) => a ^ 0xffffffffn],
  neg: [i32.neg, (a) => -a],
  abs: [i32.abs, (a) => (signed(a) < 0n ? -signed(a) : a)],
  add: [i32.add, (a, b) => a + b],
  sub: [i32.sub, (a, b) => a - b],
  mul: [i32.mul, (a, b) => a * b],
  divu: [i32.divu, (a, b) => (b === 0n ? 0n : a / b)],
  remu: [i32.remu, (a, b) => (b === 0n ? a : a % b)],
  and: [i32.and, (a, b) => a & b],
  or: [i32.or, (a, b) => a | b],
  xor: [i32.xor, (a, b) => a ^ b],
  shl: [i32.shl, (a, b) => a << (b % 32n)],
  shr: [i32.shr, (a, b) => a >> (b % 32n)],
  sar: [i32.sar, (a, b) => signed(a) >> (b % 32n)],
  lt: [i32.lt, (a, b) => (signed(a) < signed(b) ? 1n : 0n)],
  ltu: [i32.ltu, (a, b) => (a < b ? 1n : 0n)],
  eq: [i32.eq, (a, b) => (a === b ? 1n : 0n)],
  min: [i32.min, (a, b) => (signed(b) < signed(a) ? b : a)],
  max: [i32.max, (a, b) => (signed(a) < signed(b) ? b : a)],
}

test('every op gives the golden words, which are the definition’s', () => {
  const seen = new Set<string>()
  for (const columns of [vectors.binary, vectors.unary]) {
    const a = words(columns.a)
    const b = columns.b === undefined ? a : words(columns.b)
    for (const [name, column] of Object.entries(columns)) {
      if (name === 'a' || name === 'b') continue
      const [op, definition] = ops[name]
      seen.add(name)
      const want = words(column)
      assert.equal(want.length, a.length)
      for (let i = 0; i < a.length; i++) {
        assert.equal(op(a[i], b[i]), want[i], `${name} ${a[i]} ${b[i]}`)
        assert.equal(want[i], Number(BigInt.asUintN(32, definition(BigInt(a[i]), BigInt(b[i])))), `${name} ${a[i]} ${b[i]} by definition`)
      }
    }
  }
  assert.deepEqual([...seen].sort(), Object.keys(ops).sort())
})

test('signed words are accepted and results are unsigned', () => {
  for (const [op] of Object.values(ops)) assert.equal(op(-5, -3), op(0xfffffffb, 0xfffffffd))
  assert.equal(i32.abs(0x80000000), 0x80000000)
  assert.equal(i32.neg(-0x80000000), 0x80000000)
  assert.ok(i32.isTrue(-1) && i32.isTrue(0x80000000) && !i32.isTrue(0))
})
