// Writes vectors/f32.json and vectors/i32.json, the golden words of scalar arithmetic that TypeScript and Solidity both read.
//   node tools/vectors-f32.ts           rewrite both (golden data move only when asked)
//   node tools/vectors-f32.ts --check   exit 1 when a file differs from what would be written
//
// Layout: { "binary": { "a", "b", "add", … }, "unary": { "a", "neg", … } }. Each column is one string: 0x and then one big-endian 32-bit word of
// 8 hex digits per case; entry i of a result column is that op of entry i of the operand columns.
import { readFileSync, writeFileSync } from 'node:fs'
import * as f32 from '@bitloom/graph/f32'
import * as i32 from '@bitloom/graph/i32'
import { floatEdges, floatPair, floatSeams, floatWord, integerEdges, integerPair, randomWords } from './words.ts'

/** Two-operand f32 ops by name, in twin order. */
export const f32Binary = {
  add: f32.add,
  sub: f32.sub,
  mul: f32.mul,
  div: f32.div,
  lt: f32.lt,
  le: f32.le,
  eq: f32.eq,
  min: f32.min,
  max: f32.max,
}
/** One-operand f32 ops by name, in twin order; fromI32 reads its operand as an integer word. */
export const f32Unary = {
  canonical: f32.canonical,
  neg: f32.neg,
  abs: f32.abs,
  sqrt: f32.sqrt,
  floor: f32.floor,
  fromI32: f32.fromI32,
  toI32: f32.toI32,
}
/** Two-operand i32 ops by name, in twin order. */
export const i32Binary = {
  ...{ add: i32.add, sub: i32.sub, mul: i32.mul, divu: i32.divu, remu: i32.remu, and: i32.and, or: i32.or, xor: i32.xor },
  ...{ shl: i32.shl, shr: i32.shr, sar: i32.sar, lt: i32.lt, ltu: i32.ltu, eq: i32.eq, min: i32.min, max: i32.max },
}
/** One-operand i32 ops by name, in twin order. */
export const i32Unary = { not: i32.not, neg: i32.neg, abs: i32.abs }

type Pair = readonly [number, number]
type Columns = Record<string, string>

const column = (words: readonly number[]): string => `0x${words.map((w) => (w >>> 0).toString(16).padStart(8, '0')).join('')}`

const binaryColumns = (pairs: readonly Pair[], ops: Record<string, (a: number, b: number) => number>): Columns => {
  const columns: Columns = { a: column(pairs.map(([a]) => a)), b: column(pairs.map(([, b]) => b)) }
  for (const [name, op] of Object.entries(ops)) columns[name] = column(pairs.map(([a, b]) => op(a, b)))
  return columns
}

const unaryColumns = (words: readonly number[], ops: Record<string, (a: number) => number>): Columns => {
  const columns: Columns = { a: column(words) }
  for (const [name, op] of Object.entries(ops)) columns[name] = column(words.map(op))
  return columns
}

const allPairs = (words: readonly number[]): Pair[] => words.flatMap((a) => words.map((b): Pair => [a, b]))
const times = <T>(n: number, make: () => T): T[] => Array.from({ length: n }, make)

/** The text of both files by name; the same on every machine. */
export const vectorFiles = (): Record<string, string> => {
  const next = randomWords(0xb17100)
  const f32File = {
    binary: binaryColumns([...allPairs(floatEdges), ...times(1500, () => floatPair(next))], f32Binary),
    unary: unaryColumns([...floatSeams, ...integerEdges, ...times(600, () => floatWord(next))], f32Unary),
  }
  const i32File = {
    binary: binaryColumns([...allPairs(integerEdges), ...times(400, () => integerPair(next))], i32Binary),
    unary: unaryColumns([...integerEdges, ...times(200, next)], i32Unary),
  }
  const text = (file: object): string => `${JSON.stringify(file, null, 1)}\n`
  return { 'f32.json': text(f32File), 'i32.json': text(i32File) }
}

if (import.meta.main) {
  for (const [name, text] of Object.entries(vectorFiles())) {
    const path = new URL(`../vectors/${name}`, import.meta.url)
    if (!process.argv.includes('--check')) writeFileSync(path, text)
    else if (readFileSync(path, 'utf8') !== text) {
      console.error(`vectors/${name} differs from what the TypeScript arithmetic gives; if the change is meant: node tools/vectors-f32.ts`)
      process.exitCode = 1
    }
    console.error(`vectors/${name}: ${text.length} bytes`)
  }
}
