// Is a stranger's graph well formed? Bounded, never throws: a bad graph is an ordinary value here.

import { decodeGraph } from './encode.ts'
import { checkGraph, type Graph, type GraphExpr, keyOf } from './graph.ts'
import { infer } from './ops.ts'
import { checkShape, ShapeError, sameShape } from './shape.ts'

export type Verdict = { readonly ok: true; readonly graph: Graph } | { readonly ok: false; readonly reason: string }

/** No graph's file is longer: the most exprs, each with room to spare. */
export const MAX_GRAPH_BYTES = 2 ** 25

/**
 * Decodes and checks a graph from a peer or a file: canonical bytes, every op's rule, canonical order, no expr twice, none unused.
 */
export function verifyGraph(bytes: Uint8Array): Verdict {
  if (bytes.length > MAX_GRAPH_BYTES) return { ok: false, reason: `${bytes.length} bytes; a graph has at most ${MAX_GRAPH_BYTES}` }
  try {
    const graph = decodeGraph(bytes)
    for (const slot of graph.slots) checkShape(slot.shape)
    graph.exprs.forEach((e, i) => checkExpr(graph, e, i))
    checkGraph(graph)
    checkOrder(graph)
    return { ok: true, graph }
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message : String(error) }
  }
}

function checkExpr(graph: Graph, e: GraphExpr, i: number): void {
  checkShape(e.shape)
  const inputs = e.inputs.map((k) => {
    if (!Number.isInteger(k) || k < 0 || k >= i) throw new ShapeError(`expr ${i}: operand ${k} does not come before it`)
    return graph.exprs[k]!
  })
  const type = infer(e.op, inputs, e.attrs, e)
  if (type.dtype !== e.dtype || !sameShape(type.shape, e.shape))
    throw new ShapeError(`expr ${i}: ${e.op} gives ${type.dtype}[${type.shape}], not ${e.dtype}[${e.shape}]`)
}

/** The one order: each expr is met for the first time, last of all its operands, on the walk of `makeGraph`; equal ones are one. */
function checkOrder(graph: Graph): void {
  const seen = new Set<string>()
  graph.exprs.forEach((e, i) => {
    const key = keyOf(e, e.inputs)
    if (seen.has(key)) throw new ShapeError(`expr ${i} stands twice`)
    seen.add(key)
  })
  let placed = 0
  const done = new Uint8Array(graph.exprs.length)
  for (const root of [...graph.next, graph.probe]) {
    const stack = [root]
    while (stack.length > 0) {
      const at = stack[stack.length - 1]!
      if (done[at]) {
        stack.pop()
        continue
      }
      const waiting = stack.length
      const { inputs } = graph.exprs[at]!
      for (let k = inputs.length - 1; k >= 0; k--) if (!done[inputs[k]!]) stack.push(inputs[k]!)
      if (stack.length > waiting) continue
      stack.pop()
      if (at !== placed) throw new ShapeError(`expr ${at} is out of canonical order`)
      done[at] = 1
      placed++
    }
  }
  if (placed !== graph.exprs.length) throw new ShapeError(`${graph.exprs.length - placed} exprs are never used`)
}
