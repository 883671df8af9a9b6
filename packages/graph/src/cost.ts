// What a step costs, exactly, before anything runs: the graph is static, so profiling is arithmetic (docs/protocol.md §2).

import { bytesOf } from './dtype.ts'
import type { Graph, GraphExpr } from './graph.ts'
import { lastReads } from './interpret.ts'
import { chunksOf, depthOf } from './merkle.ts'
import { sizeOf } from './shape.ts'

/** Children that one move of a dispute reveals at least where as many are left (dispute/position.ts): what is counted with it is an upper bound. */
export const ARITY = 32

export type Cost = {
  /** Scalar operations of one step: an elementwise result counts 1, a fold 1 a term, a dot 2 a term (multiply and add), movement 0. */
  readonly operations: bigint
  /** Bytes read and written by one step, unfused. */
  readonly bytes: bigint
  /** Largest sum of live tensors, slots included, when exprs run one by one in canonical order. */
  readonly peakBytes: number
  /** Bytes of the state slots: what a checkpoint holds. */
  readonly stateBytes: number
  /** Bytes of the data slots. */
  readonly dataBytes: number
  /** Most rounds (solver reveals, challenger picks) that a dispute within one step takes. */
  readonly disputeRounds: number
}

const tensorBytes = (t: { dtype: GraphExpr['dtype']; shape: readonly number[] }): number => bytesOf(t.dtype) * sizeOf(t.shape)

/** Scalar operations of one expr. */
export function operationsOf(graph: Graph, e: GraphExpr): number {
  const size = sizeOf(e.shape)
  const operand = e.inputs.length > 0 ? graph.exprs[e.inputs[0]!]! : undefined
  switch (e.op) {
    case 'input':
    case 'const':
    case 'iota':
    case 'reshape':
    case 'permute':
    case 'expand':
    case 'slice':
    case 'pad':
    case 'concat':
    case 'window':
    case 'gather':
      return 0
    case 'sum':
    case 'maxOver':
    case 'argmax':
    case 'scatterAdd':
      return sizeOf(operand!.shape)
    case 'dot':
      return 2 * size * operand!.shape[operand!.shape.length - 1]!
    default:
      return size
  }
}

/** Terms of the longest scalar fold behind one element. */
function termsOf(graph: Graph, e: GraphExpr): number {
  const operand = e.inputs.length > 0 ? graph.exprs[e.inputs[0]!]! : undefined
  if (e.op === 'dot') return operand!.shape[operand!.shape.length - 1]!
  if (e.op === 'sum' || e.op === 'maxOver' || e.op === 'argmax') return operand!.shape[e.attrs[0]!]!
  return e.op === 'scatterAdd' ? operand!.shape[0]! : 1
}

/** Rounds to narrow a sequence of `count` to one. */
export function bisectRounds(count: number): number {
  let rounds = 0
  for (; count > 1; count = Math.ceil(count / ARITY)) rounds++
  return rounds
}

/** Rounds to descend a tree of `depth` levels. */
export const descendRounds = (depth: number): number => Math.ceil(depth / Math.log2(ARITY))

/** The cost of one step of `graph`. */
export function costOf(graph: Graph): Cost {
  let operations = 0n
  let bytes = 0n
  let deepest = 0
  const last = lastReads(graph)
  let live = 0
  for (const slot of graph.slots) live += tensorBytes(slot)
  const [stateBytes, dataBytes] = (['state', 'data'] as const).map((kind) =>
    graph.slots.filter((s) => s.kind === kind).reduce((n, s) => n + tensorBytes(s), 0),
  ) as [number, number]
  let peakBytes = live
  graph.exprs.forEach((e, at) => {
    operations += BigInt(operationsOf(graph, e))
    const own = tensorBytes(e)
    bytes += BigInt(own)
    for (const k of e.inputs) bytes += BigInt(tensorBytes(graph.exprs[k]!))
    if (e.op !== 'input') live += own
    peakBytes = Math.max(peakBytes, live)
    for (const k of new Set(e.inputs)) if (last[k] === at && graph.exprs[k]!.op !== 'input') live -= tensorBytes(graph.exprs[k]!)
    deepest = Math.max(deepest, descendRounds(depthOf(chunksOf(own))) + bisectRounds(termsOf(graph, e)))
  })
  // opening the step, descending the trace, and showing the chunk are one round each beside the deepest tensor and fold
  const disputeRounds = 2 + descendRounds(depthOf(graph.exprs.length)) + deepest
  return { operations, bytes, peakBytes, stateBytes, dataBytes, disputeRounds }
}
