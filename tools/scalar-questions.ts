// Scalar steps as they are put to the arbiter: the trace of a one-op graph, a witness for one step of it, and the contract's calldata.
// Vector writer and fuzzer ask the same way, so what one finds the other can keep.

import { ARBITER_ERRORS, type ArbiterErrorName } from '@bitloom/dispute/leaf'
import { type Operand, type TraceSource, witness } from '@bitloom/dispute/witness'
import {
  allocate,
  type Data,
  encodeExpr,
  interpret,
  merkleTree,
  type OpName,
  proofOf,
  rootOf,
  sizeOf,
  tensorRoot,
  toBytes,
  toHex,
} from '@bitloom/graph'
import { encodeFunctionData, parseAbi, toFunctionSelector } from 'viem'
import { graphOf, type OpVector, type Tensor } from '../test/vectors.ts'

/** The arguments of `judge` and of Arbiter.step. */
export type Question = {
  readonly leaf: Uint8Array
  readonly element: number
  readonly term: number
  readonly acc: number
  readonly trace: Uint8Array
  readonly exprs: number
  readonly operands: readonly Operand[]
}

/** A vector of our own making, its result yet to be computed: one op applied to tensors. */
export const vectorFrom = (
  name: string,
  op: OpName,
  attrs: readonly number[],
  operands: readonly Tensor[],
  stated: Pick<Tensor, 'dtype' | 'shape'>,
): OpVector => {
  const { graph, position } = graphOf(op, attrs, operands, stated)
  const { dtype, shape } = graph.exprs[position]!
  const slots = [allocate(graph.slots[0]!.dtype, sizeOf(shape)), ...operands.map((t) => t.data)]
  let data: Data | undefined
  const { next } = interpret(graph, slots, (at, value) => {
    if (at === position) data = value
  })
  return { name, op, attrs, operands, result: { dtype, shape, data: data! }, graph, slots, position, expected: next[0]! }
}

/** The trace of a vector's graph; `exprs` widens its tree with zero roots, as a larger graph's would be. */
export type Traced = {
  readonly vector: OpVector
  readonly leaf: Uint8Array
  readonly trace: Uint8Array
  readonly exprs: number
  readonly source: TraceSource
}

export const traceOf = (vector: OpVector, exprs = vector.graph.exprs.length): Traced => {
  const tensors: Uint8Array[] = []
  interpret(vector.graph, vector.slots, (position, data) => {
    tensors[position] = toBytes(data)
  })
  const roots = tensors.map(tensorRoot)
  while (roots.length < exprs) roots.push(new Uint8Array(32))
  const tree = merkleTree(roots)
  const source = { tensor: (position: number) => tensors[position]!, traceProof: (position: number) => proofOf(tree, position) }
  return { vector, leaf: encodeExpr(vector.graph, vector.graph.exprs[vector.position]!), trace: rootOf(tree), exprs, source }
}

/** The honest question about one scalar step. */
export const ask = (t: Traced, element: number, term: number, acc: number): Question => ({
  ...{ leaf: t.leaf, element, term, acc, trace: t.trace, exprs: t.exprs },
  operands: witness(t.vector.graph, t.vector.position, element, term, acc, t.source),
})

export const arbiterAbi = parseAbi([
  'struct Operand { bytes32 root; bytes32[] traceProof; bytes chunk; bytes32[] chunkProof; }',
  'function step(bytes leaf, uint256 element, uint256 term, uint32 acc, bytes32 trace, uint32 exprs, Operand[] operands) pure returns (uint32)',
  'function termsOf(bytes leaf) pure returns (uint256)',
  'function describe(bytes leaf) pure returns (uint8 op, uint8 dtype, uint256 size, uint256 byteLength, uint256 terms, uint32 firstAttr)',
])

/** Calldata of Arbiter.step. */
export const encodeStep = (q: Question): `0x${string}` =>
  encodeFunctionData({
    abi: arbiterAbi,
    functionName: 'step',
    args: [
      ...([toHex(q.leaf), BigInt(q.element), BigInt(q.term), q.acc, toHex(q.trace), q.exprs] as const),
      q.operands.map((o) => ({
        ...{ root: toHex(o.root), traceProof: o.traceProof.map(toHex) },
        ...{ chunk: toHex(o.chunk), chunkProof: o.chunkProof.map(toHex) },
      })),
    ],
  })

const SIGNATURES: Record<ArbiterErrorName, string> = {
  MalformedLeaf: 'MalformedLeaf(uint256)',
  UnknownOp: 'UnknownOp(uint256)',
  NoScalarRule: 'NoScalarRule(uint256)',
  ElementOutOfRange: 'ElementOutOfRange(uint256,uint256)',
  TermOutOfRange: 'TermOutOfRange(uint256,uint256)',
  OperandMissing: 'OperandMissing(uint256)',
  IndexOutOfRange: 'IndexOutOfRange(uint256,uint256,uint256)',
  ChunkLength: 'ChunkLength(uint256,uint256)',
  BadChunk: 'BadChunk(uint256)',
  BadRoot: 'BadRoot(uint256)',
  OperandsLeft: 'OperandsLeft(uint256,uint256)',
}

/** The four bytes that a refusal's revert data begin with. */
export const selectorOf = (error: ArbiterErrorName): `0x${string}` => toFunctionSelector(SIGNATURES[error])

/** The name of the error that revert data begin with, if it is one of the arbiter's. */
export const errorOf = (data: string): ArbiterErrorName | undefined => ARBITER_ERRORS.find((name) => selectorOf(name) === data.slice(0, 10))

const flipped = (bytes: Uint8Array, bit: number): Uint8Array => {
  // Not bytes.slice(): a hash is a Buffer in Node, whose slice is a view, and the honest witness would be spoilt with it.
  const copy = Uint8Array.from(bytes)
  copy[(bit >> 3) % copy.length]! ^= 1 << (bit & 7)
  return copy
}

const changed = <T>(list: readonly T[], i: number, change: (x: T) => T): T[] => list.map((x, k) => (k === i ? change(x) : x))

type Spoil = (o: Operand, bit: number) => Operand | undefined

/** Ways to spoil one operand of a witness; undefined where this one cannot be spoilt so. Each must be refused, by the error at its head. */
export const SPOILS: readonly (readonly [error: ArbiterErrorName, how: string, spoil: Spoil])[] = [
  ['BadChunk', 'one bit of the chunk', (o, bit) => ({ ...o, chunk: flipped(o.chunk, bit) })],
  ['BadChunk', 'one bit of the root', (o, bit) => ({ ...o, root: flipped(o.root, bit) })],
  ['BadChunk', 'a sibling too many above the chunk', (o) => ({ ...o, chunkProof: [...o.chunkProof, o.root] })],
  [
    'BadChunk',
    'a sibling too few above the chunk',
    (o) => (o.chunkProof.length === 0 ? undefined : { ...o, chunkProof: o.chunkProof.slice(1) }),
  ],
  [
    'BadChunk',
    'one bit of a sibling of the chunk',
    (o, bit) =>
      o.chunkProof.length === 0
        ? undefined
        : { ...o, chunkProof: changed(o.chunkProof, bit % o.chunkProof.length, (x) => flipped(x, bit)) },
  ],
  ['ChunkLength', 'a chunk without its last byte', (o) => ({ ...o, chunk: o.chunk.subarray(0, -1) })],
  ['ChunkLength', 'a chunk of a byte more', (o) => ({ ...o, chunk: Uint8Array.of(...o.chunk, 0) })],
  ['ChunkLength', 'no chunk', (o) => ({ ...o, chunk: new Uint8Array(0) })],
  ['BadRoot', 'a sibling too many above the root', (o) => ({ ...o, traceProof: [...o.traceProof, o.root] })],
  [
    'BadRoot',
    'a sibling too few above the root',
    (o) => (o.traceProof.length === 0 ? undefined : { ...o, traceProof: o.traceProof.slice(1) }),
  ],
  [
    'BadRoot',
    'one bit of a sibling of the root',
    (o, bit) =>
      o.traceProof.length === 0
        ? undefined
        : { ...o, traceProof: changed(o.traceProof, bit % o.traceProof.length, (x) => flipped(x, bit)) },
  ],
]

/** The question with operand `read` spoilt; undefined where it cannot be. */
export const spoilt = (q: Question, read: number, spoil: Spoil, bit: number): Question | undefined => {
  const o = spoil(q.operands[read]!, bit)
  return o && { ...q, operands: changed(q.operands, read, () => o) }
}
