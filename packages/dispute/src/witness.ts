// The operands of a scalar step, each proved against the trace root before its bits are believed: the twin of contracts/src/arbiter/Witness.sol,
// and the builder of what it checks.
//
// Twin order: read done

import {
  bytesOf,
  CHUNK,
  chunkAt,
  chunksOf,
  depthOf,
  type Graph,
  leafHash,
  proofOf,
  proves,
  rootOf,
  sizeOf,
  type TensorType,
  type Tree,
  tensorTree,
} from '@bitloom/graph'
import { ArbiterError, type Leaf, leafOf } from './leaf.ts'
import { type Read, scalarStep } from './scalar.ts'

/**
 * One read of one operand: the operand's tensor root with its way up to the trace root, and the chunk that holds the element with its way up to
 * the tensor root.
 */
export type Operand = {
  readonly root: Uint8Array
  readonly traceProof: readonly Uint8Array[]
  readonly chunk: Uint8Array
  readonly chunkProof: readonly Uint8Array[]
}

/** The operands, what they are checked against, and how many were read: read n consumes operand n. */
export type Witness = { readonly operands: readonly Operand[]; readonly trace: Uint8Array; readonly exprs: number; used: number }

/**
 * The 32-bit word of element `index` of operand `k` (of u8: the byte), proved.
 * @throws {ArbiterError} OperandMissing, IndexOutOfRange, ChunkLength, BadChunk, BadRoot
 */
export function read(w: Witness, e: Leaf, k: number, index: number): number {
  const n = w.used++
  const o = w.operands[n]
  if (!o) throw new ArbiterError('OperandMissing', `read ${n} of operand ${k}, of ${w.operands.length} given`)
  const t = e.operands[k]!
  const size = sizeOf(t.shape)
  if (!(index >= 0 && index < size)) throw new ArbiterError('IndexOutOfRange', `element ${index} of operand ${k}, which has ${size}`)
  if (o.chunk.length !== CHUNK) throw new ArbiterError('ChunkLength', `read ${n}: a chunk of ${o.chunk.length} bytes, not ${CHUNK}`)
  const offset = index * bytesOf(t.dtype)
  const depth = depthOf(chunksOf(size * bytesOf(t.dtype)))
  if (!proves(o.root, depth, Math.floor(offset / CHUNK), leafHash(o.chunk), o.chunkProof))
    throw new ArbiterError('BadChunk', `read ${n}: not chunk ${Math.floor(offset / CHUNK)} of operand ${k}`)
  if (!proves(w.trace, depthOf(w.exprs), e.positions[k]!, o.root, o.traceProof))
    throw new ArbiterError('BadRoot', `read ${n}: not the tensor root of expr ${e.positions[k]}`)
  return wordAt(o.chunk, offset % CHUNK, t)
}

/**
 * Checks that nothing was given that was not read.
 * @throws {ArbiterError} OperandsLeft
 */
export function done(w: Witness): void {
  if (w.used !== w.operands.length) throw new ArbiterError('OperandsLeft', `${w.operands.length} operands given, ${w.used} read`)
}

/** Where a witness is taken from: what an honest player of the dispute has of the step's trace. */
export type TraceSource = {
  /** The little-endian bytes of expr `position`'s tensor. */
  readonly tensor: (position: number) => Uint8Array
  /** The siblings from that tensor's root up to the trace root (the trace that the judge is given). */
  readonly traceProof: (position: number) => readonly Uint8Array[]
}

/**
 * The operands that one scalar step of expr `position` reads, in the order of its reads.
 * @throws {ArbiterError} NoScalarRule, ElementOutOfRange, TermOutOfRange, IndexOutOfRange
 */
export function witness(graph: Graph, position: number, element: number, term: number, acc: number, source: TraceSource): Operand[] {
  const e = leafOf(graph, position)
  const trees = new Map<number, Tree>()
  const operands: Operand[] = []
  scalarStep(e, element, term, acc, (k, index) => {
    const at = e.positions[k]!
    const bytes = source.tensor(at)
    const tree = trees.get(at) ?? tensorTree(bytes)
    trees.set(at, tree)
    const word = readTensor(e, k, index, bytes)
    const chunk = Math.floor((index * bytesOf(e.operands[k]!.dtype)) / CHUNK)
    operands.push({ root: rootOf(tree), traceProof: source.traceProof(at), chunk: chunkAt(bytes, chunk), chunkProof: proofOf(tree, chunk) })
    return word
  })
  return operands
}

/** A reader of whole tensors: `tensor(k)` gives operand k's bytes. */
export const reader =
  (e: Leaf, tensor: (operand: number) => Uint8Array): Read =>
  (k, index) =>
    readTensor(e, k, index, tensor(k))

function readTensor(e: Leaf, k: number, index: number, bytes: Uint8Array): number {
  const t = e.operands[k]!
  const size = sizeOf(t.shape)
  if (!(index >= 0 && index < size)) throw new ArbiterError('IndexOutOfRange', `element ${index} of operand ${k}, which has ${size}`)
  return wordAt(bytes, index * bytesOf(t.dtype), t)
}

/** The element that begins at `offset`. Tensors are little-endian. */
const wordAt = (bytes: Uint8Array, offset: number, t: TensorType): number =>
  t.dtype === 'u8' ? bytes[offset]! : new DataView(bytes.buffer, bytes.byteOffset + offset, 4).getUint32(0, true)
