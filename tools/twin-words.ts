// What the scalar twins must give for seeded inputs, three times over: by the interpreter (the law), by graph/f32 and graph/i32, and by the processor's own f32
// instructions under WebAssembly. Where all agree their words are folded into the hash that a contract has to give (Twins.sol).

import { scalarStep } from '@bitloom/dispute'
import { decodeLeaf } from '@bitloom/dispute/leaf'
import { wasm } from '@bitloom/engine'
import { canonical, type Dtype, encodeExpr, fromBytes, type Graph, interpret, type OpName, type Shape } from '@bitloom/graph'
import { concat, type Hex, hexToBytes, keccak256, toHex } from 'viem'
import { graphOf } from '../test/opcases.ts'
import { inputs, type Source } from './twin-inputs.ts'
import { f32Binary, f32Unary, i32Binary, i32Unary } from './vectors-f32.ts'
import { floatSeams, integerEdges } from './words.ts'

/** Results that one keccak folds, and elements of the tensors of whole steps: Twins.BLOCK and Twins.WIDTH. */
export const BLOCK = 1024
export const WIDTH = 256
export const START: Hex = `0x${'00'.repeat(32)}`

/** A list of words as a contract takes it: big-endian. */
export const packed = (words: readonly number[]): Hex => concat(words.map((w) => toHex(w, { size: 4 })))

type Words = (a: number, b: number) => number

/** A scalar op of the libraries F32 and I32. */
export type WordOp = {
  readonly name: string
  /** Its number in contracts/test/Words.sol. */
  readonly code: number
  readonly apply: Words
  /** The same as an op of a graph, where there is one. */
  readonly graph?: Graph
}

/** Ops that read the same inputs. */
export type WordGroup = Source & { readonly name: string; readonly ops: readonly WordOp[] }

const N = 1 << 16
const GRAPH_NAMES: Readonly<Record<string, OpName>> = { fromI32: 'cast', toI32: 'cast', canonical: 'reshape' }
const RESULTS: Readonly<Record<string, Dtype>> = { lt: 'i32', le: 'i32', eq: 'i32', ltu: 'i32', toI32: 'i32', fromI32: 'f32' }

/** The op on tensors of N elements; undefined where graphs have none (min, max, neg and abs of integers). */
function graphFor(dtype: Dtype, name: string, operands: number): Graph | undefined {
  if (dtype === 'i32' && ['min', 'max', 'neg', 'abs'].includes(name)) return undefined
  const from: Dtype = name === 'fromI32' ? 'i32' : dtype
  const shape: Shape = name === 'canonical' ? [N, 1] : [N]
  const types = Array.from({ length: operands }, () => ({ dtype: from, shape: [N] }))
  return graphOf(GRAPH_NAMES[name] ?? (name as OpName), [], types, { dtype: RESULTS[name] ?? dtype, shape }).graph
}

function opsOf(dtype: 'f32' | 'i32', base: number, binary: Record<string, Words>, unary: Record<string, (a: number) => number>): WordOp[] {
  const all = [...Object.entries(binary).map(([n, f]) => [n, f, 2] as const), ...Object.entries(unary).map(([n, f]) => [n, f, 1] as const)]
  return all.map(([name, apply, operands], i) => {
    const graph = graphFor(dtype, name, operands)
    return { name: `${dtype}.${name}`, code: base + i, apply, ...(graph ? { graph } : {}) }
  })
}

const F32_OPS = opsOf('f32', 0, f32Binary, f32Unary)
const readsIntegers = (op: WordOp): boolean => op.name === 'f32.fromI32'

/** The ops in the numbering of Words.sol: those that read floats, those that read integers. */
export const WORD_GROUPS: readonly WordGroup[] = [
  { name: 'f32', floats: true, seed: 1000, edges: floatSeams, ops: F32_OPS.filter((op) => !readsIntegers(op)) },
  {
    name: 'i32',
    floats: false,
    seed: 2000,
    edges: integerEdges,
    ops: [...opsOf('i32', 32, i32Binary, i32Unary), ...F32_OPS.filter(readsIntegers)],
  },
]

const view = (dtype: Dtype, words: Uint32Array) =>
  fromBytes(dtype, new Uint8Array(words.buffer, words.byteOffset, words.byteLength).slice())

/** The words of a graph of one op (graphOf's) run by `evaluate`. */
function run(graph: Graph, evaluate: typeof interpret, operands: readonly Uint32Array[]): Uint32Array {
  const slots = graph.slots.map((slot, s) => view(slot.dtype, s === 0 ? new Uint32Array(N) : operands[s - 1]!))
  const data = evaluate(graph, slots).next[0]!
  return new Uint32Array(data.buffer, data.byteOffset, N)
}

const oneNaN = (words: Uint32Array): Uint32Array => {
  const copy = words.slice()
  canonical(new Float32Array(copy.buffer))
  return copy
}

/** One op's results on N inputs, by all who can compute them. @throws {TwinError} two of them differ */
function wordsOf(op: WordOp, floats: boolean, from: number, a: Uint32Array, b: Uint32Array): Uint32Array {
  const own = new Uint32Array(N)
  for (let i = 0; i < N; i++) own[i] = op.apply(a[i]!, b[i]!)
  if (op.graph) {
    const operands = op.graph.slots.length === 3 ? [a, b] : [a]
    const same = (what: string, words: Uint32Array): void => {
      const at = words.findIndex((w, i) => w !== own[i])
      if (at < 0) return
      const [x, y, w, o] = [a[at]!, b[at]!, words[at]!, own[at]!].map((n) => `0x${n.toString(16).padStart(8, '0')}`)
      throw new TwinError(`${op.name}, input ${from + at}, ${x} ${y}: ${what} gives ${w}, graph/f32 and i32 ${o}`)
    }
    same('the interpreter', run(op.graph, interpret, operands))
    // A slot holds one NaN only, and whoever loads another refuses it.
    same('WebAssembly', run(op.graph, wasm.evaluate, floats ? operands.map(oneNaN) : operands))
  }
  return own
}

const bigEndian = (words: Uint32Array): Uint8Array => {
  const bytes = new Uint8Array(4 * words.length)
  const v = new DataView(bytes.buffer)
  words.forEach((w, i) => {
    v.setUint32(4 * i, w)
  })
  return bytes
}

/** h after these results, BLOCK at a time: Twins.fold. */
function folded(words: Uint32Array, h: Hex, block: number): Hex {
  let hash = hexToBytes(h)
  for (let i = 0; i < words.length; i += block) hash = keccak256(concat([hash, bigEndian(words.subarray(i, i + block))]), 'bytes')
  return toHex(hash)
}

/** Each op's hash after inputs from … from + count - 1: what Twins.words must give. @throws {TwinError} */
export function wordsHashes(group: WordGroup, from: number, count: number, h: readonly Hex[]): Hex[] {
  let hashes = [...h]
  for (let done = 0; done < count; done += N) {
    const [a, b] = inputs(group, from + done, N)
    const kept = Math.min(N, count - done)
    hashes = group.ops.map((op, k) => folded(wordsOf(op, group.floats, from + done, a, b).subarray(0, kept), hashes[k]!, BLOCK))
  }
  return hashes
}

/** A whole scalar step: an expr over tensors of WIDTH words. */
export type StepOp = {
  readonly name: string
  readonly seed: number
  readonly edges: readonly number[]
  readonly graph: Graph
  readonly at: number
}

type T = { readonly dtype: Dtype; readonly shape: Shape }
const f = (...shape: number[]): T => ({ dtype: 'f32', shape })
const i = (...shape: number[]): T => ({ dtype: 'i32', shape })

const STEPS: readonly (readonly [name: string, op: OpName, attrs: readonly number[], operands: readonly T[], result: T])[] = [
  ...(['neg', 'abs', 'sqrt', 'floor'] as const).map((op) => [op, op, [], [f(WIDTH)], f(WIDTH)] as const),
  ['not', 'not', [], [i(WIDTH)], i(WIDTH)],
  ['cast f32', 'cast', [], [f(WIDTH)], i(WIDTH)],
  ['cast i32', 'cast', [], [i(WIDTH)], f(WIDTH)],
  ['bitcast f32', 'bitcast', [], [f(WIDTH)], i(WIDTH)],
  ['bitcast i32', 'bitcast', [], [i(WIDTH)], f(WIDTH)],
  ...(['add', 'sub', 'mul', 'div', 'min', 'max'] as const).map((op) => [`${op} f32`, op, [], [f(WIDTH), f(WIDTH)], f(WIDTH)] as const),
  ...(['lt', 'le', 'eq'] as const).map((op) => [`${op} f32`, op, [], [f(WIDTH), f(WIDTH)], i(WIDTH)] as const),
  ...(['add', 'sub', 'mul', 'divu', 'remu', 'and', 'or', 'xor', 'shl', 'shr', 'sar', 'lt', 'ltu', 'eq'] as const).map(
    (op) => [`${op} i32`, op, [], [i(WIDTH), i(WIDTH)], i(WIDTH)] as const,
  ),
  ['where', 'where', [], [i(WIDTH), f(WIDTH), f(WIDTH)], f(WIDTH)],
  ['slice', 'slice', [WIDTH - 1, -1 >>> 0], [f(WIDTH)], f(WIDTH)],
  ['permute', 'permute', [1, 0], [f(16, 16)], f(16, 16)],
  ['gather', 'gather', [], [f(WIDTH, 1), i(WIDTH)], f(WIDTH, 1)],
  ['scatterAdd', 'scatterAdd', [], [f(WIDTH, 1), i(WIDTH)], f(2, 1)],
  ['sum f32', 'sum', [0], [f(WIDTH)], f()],
  ['sum i32', 'sum', [0], [i(WIDTH)], i()],
  ['maxOver', 'maxOver', [0], [f(WIDTH)], f()],
  ['argmax', 'argmax', [0], [f(WIDTH)], i()],
  ['dot', 'dot', [], [f(1, WIDTH), f(WIDTH, 1)], f(1, 1)],
]

/** Every op with a scalar rule that reads something. */
export const STEP_OPS: readonly StepOp[] = STEPS.map(([name, op, attrs, operands, result], n) => {
  const signed = op === 'slice' ? attrs.map((x) => x | 0) : attrs
  const { graph, position } = graphOf(op, signed, operands, result)
  return {
    name: `step.${name}`,
    seed: 100_000 * (n + 1),
    edges: operands[0]!.dtype === 'f32' ? floatSeams : integerEdges,
    graph,
    at: position,
  }
})

/** The leaf that the contract is shown. */
export const leafBytes = (op: StepOp): Uint8Array => encodeExpr(op.graph, op.graph.exprs[op.at]!)

const FOLDS: readonly OpName[] = ['sum', 'maxOver', 'argmax', 'dot']

/** Results of trace `k`: by the interpreter for a whole tensor, by its scalar arithmetic for a fold's single term; and by dispute/scalar. */
export function stepsOf(op: StepOp, k: number): Uint32Array {
  const e = op.graph.exprs[op.at]!
  const leaf = decodeLeaf(leafBytes(op))
  const draw = (floats: boolean, seed: number) => inputs({ floats, seed, edges: op.edges }, k * WIDTH, WIDTH)
  const tensors = leaf.operands.map((t, n) => {
    const floats = t.dtype === 'f32'
    const words = draw(floats, op.seed + (n === 2 ? 1 : 0))[n === 1 ? 1 : 0]
    return floats ? oneNaN(words) : words
  })
  const folds = FOLDS.includes(e.op)
  const [accs] = draw(e.dtype === 'f32', op.seed + 2)
  if (e.op === 'argmax') for (let n = 0; n < WIDTH; n++) accs[n]! %= WIDTH
  const own = Uint32Array.from({ length: WIDTH }, (_, n) => {
    const [element, term] = folds ? [0, n] : e.op === 'scatterAdd' ? [n & 1, n] : [n, 0]
    return scalarStep(leaf, element, term, accs[n]!, (operand, index) => tensors[operand]![index]!)
  })
  const law = folds || e.op === 'scatterAdd' ? termsByLaw(op, tensors, accs) : tensorByLaw(op, tensors)
  const at = law.findIndex((w, n) => w !== own[n])
  if (at >= 0) throw new TwinError(`${op.name}, trace ${k}, step ${at}: the interpreter gives ${law[at]}, dispute/scalar ${own[at]}`)
  return own
}

function tensorByLaw(op: StepOp, tensors: readonly Uint32Array[]): Uint32Array {
  const slots = op.graph.slots.map((slot, s) => view(slot.dtype, s === 0 ? new Uint32Array(WIDTH) : tensors[s - 1]!))
  const data = interpret(op.graph, slots).next[0]!
  return new Uint32Array(data.buffer, data.byteOffset, WIDTH)
}

/** One term each, as docs/numerics.md writes it, on the processor's floats. */
function termsByLaw(op: StepOp, tensors: readonly Uint32Array[], accs: Uint32Array): Uint32Array {
  const e = op.graph.exprs[op.at]!
  const floats = (words: Uint32Array): Float32Array => new Float32Array(words.slice().buffer)
  const [x, y, acc] = [floats(tensors[0]!), floats(tensors[1] ?? tensors[0]!), floats(accs)]
  if (e.op === 'argmax') return accs.map((best, n) => (x[best]! < x[n]! ? n : best))
  if (e.dtype === 'i32') return accs.map((a, n) => a + tensors[0]![n]!)
  const index = new Int32Array((tensors[1] ?? accs).slice().buffer)
  const out = Float32Array.from({ length: WIDTH }, (_, n) => {
    if (e.op === 'dot') return Math.fround(acc[n]!) + Math.fround(x[n]! * y[n]!)
    if (e.op === 'sum') return acc[n]! + x[n]!
    if (e.op === 'scatterAdd') return (index[n]! > 0 ? 1 : 0) === (n & 1) ? acc[n]! + x[n]! : acc[n]!
    return n === 0 || acc[n]! < x[n]! ? x[n]! : acc[n]!
  })
  return new Uint32Array(canonical(out).buffer)
}

/** The hash after the traces first … first + blocks - 1: what Twins.scalars must give. @throws {TwinError} */
export function stepsHash(op: StepOp, first: number, blocks: number, h: Hex): Hex {
  for (let k = first; k < first + blocks; k++) h = folded(stepsOf(op, k), h, WIDTH)
  return h
}

/** Two that must compute the same do not. */
export class TwinError extends Error {
  override name = 'twins.TwinError'
}
