// The one operation on which a contract decided, with its operands: read from the transaction that carried them, and computed here once more.

import { decidingCall, decodeLeaf, type Leaf, scalarStep, terms, unpackGame } from '@bitloom/dispute'
import { bytesOf, CHUNK, fromHex, unravel } from '@bitloom/graph'
import { type Bitloom, type ChainEvent, explained, fullAbi } from '@bitloom/sdk'
import { decodeFunctionData, type Hex } from 'viem'

/** One number that the operation read. */
export type Operand = {
  readonly expr: number
  readonly index: readonly number[]
  readonly dtype: 'f32' | 'i32' | 'u8'
  readonly word: number
}

export type Operation = {
  readonly op: string
  readonly dtype: 'f32' | 'i32' | 'u8'
  readonly operands: readonly Operand[]
  /** Of a fold: what the terms before gave, and which term this is, of how many. */
  readonly fold?: { readonly before: number; readonly term: number; readonly terms: number }
  /** Computed here, from the same operands. */
  readonly computed: number
}

/** The operation over shown chunks, each of which holds the element that is read next. */
export function operationOf(leaf: Leaf, element: number, term: number, before: number, chunks: readonly Uint8Array[]): Operation {
  const operands: Operand[] = []
  const computed = scalarStep(leaf, element, term, before, (k, index) => {
    const { dtype, shape } = leaf.operands[k]!
    const chunk = chunks[operands.length]!
    const at = (index * bytesOf(dtype)) % CHUNK
    const word = dtype === 'u8' ? chunk[at]! : new DataView(chunk.buffer, chunk.byteOffset + at, 4).getUint32(0, true)
    operands.push({ expr: leaf.positions[k]!, index: unravel(index, shape), dtype, word })
    return word
  })
  const count = terms(leaf)
  return { op: leaf.op, dtype: leaf.dtype, operands, computed, ...(count > 1 ? { fold: { before, term, terms: count } } : {}) }
}

/** Reads the operation back from the transaction that decided a dispute by a scalar step; the chain has proved its operands. */
export async function readOperation(bitloom: Bitloom, decided: ChainEvent): Promise<Operation> {
  const { input } = await explained('eth_getTransactionByHash', () => bitloom.chain.getTransaction({ hash: decided.transactionHash }))
  const { functionName, args } = decodeFunctionData({ abi: fullAbi('Dispute'), data: input })
  const call = decidingCall(functionName, args as readonly unknown[])
  if (!call) throw new RangeError(`transaction ${decided.transactionHash} decided by ${functionName}, not by arithmetic`)
  // of a fold: the accumulator before the term that was picked
  const before = unpackGame(call).words[call.index] ?? 0
  return operationOf(
    decodeLeaf(call.leaf),
    Number(decided.args.element),
    Number(decided.args.term),
    before,
    (call.operands as readonly { readonly chunk: Hex }[]).map((o) => fromHex(o.chunk)),
  )
}

/** A word in decimal and in bits. */
export function wordText(word: number, dtype: string | undefined): string {
  const bits = `0x${(word >>> 0).toString(16).padStart(8, '0')}`
  if (dtype !== 'f32' && dtype !== undefined) return `${dtype === 'u8' ? word : word | 0} (${bits})`
  const view = new DataView(new ArrayBuffer(4))
  view.setUint32(0, word >>> 0)
  return `${view.getFloat32(0).toPrecision(9)} (${bits})`
}

/** The operation in lines: what went in, from where. `name`: of an expr, where the graph is known. */
export function operationLines(o: Operation, name: (expr: number) => string): string[] {
  const lines = o.operands.map(
    ({ expr, index, dtype, word }, i) =>
      `  ${i === 0 ? o.op.padEnd(10) : ' '.repeat(10)}  ${wordText(word, dtype)}  ${name(expr)}${index.length > 0 ? ` at [${index.join(', ')}]` : ''}`,
  )
  if (o.fold)
    lines.unshift(
      `  ${'so far'.padEnd(10)}  ${wordText(o.fold.before, o.dtype)}  after ${o.fold.term} of ${o.fold.terms} terms, on which both agree`,
    )
  return lines
}
