// The trace of one step: the tensor roots of every expr, in order, and any tensor again when it is asked for, without keeping them all.

import {
  type Data,
  type Graph,
  merkleTree,
  proofOf,
  rootOf,
  type StepResult,
  type Tree,
  tensorRoot,
  tensorTree,
  toBytes,
  type Visit,
} from '@bitloom/graph'

/** Runs one step and shows every expr's tensor on the way: the interpreter's signature. What it shows need only live until `visit` returns. */
export type Evaluate = (graph: Graph, slots: readonly Data[], visit?: Visit) => StepResult

export type Trace = {
  /** Tensor roots, canonical order. */
  readonly roots: readonly Uint8Array[]
  /** The tree over them; its root is the trace root. */
  readonly tree: Tree
  /** The little-endian bytes of an expr's tensor. */
  readonly tensor: (at: number) => Uint8Array
  /** The tree over those bytes. */
  readonly tensorTree: (at: number) => Tree
}

export const traceRoot = (trace: Trace): Uint8Array => rootOf(trace.tree)

/** The siblings from the root of expr `at`'s tensor up to the trace root. */
export const traceProof = (trace: Trace, at: number): Uint8Array[] => proofOf(trace.tree, at)

/**
 * Runs one step of `graph` and hashes every tensor. Bytes are kept for the exprs in `keep` only; `tensor` runs the step again for another,
 * and then keeps that one and its operands too (who asks for an expr asks for what it was made of next).
 * @param slots must not change while the trace is in use
 */
export function recordTrace(graph: Graph, slots: readonly Data[], evaluate: Evaluate, keep: ReadonlySet<number> = new Set()): Trace {
  const kept = new Map<number, Uint8Array>()
  const trees = new Map<number, Tree>()
  const roots = new Array<Uint8Array>(graph.exprs.length)
  evaluate(graph, slots, (at, data) => {
    const bytes = toBytes(data)
    roots[at] = tensorRoot(bytes)
    if (keep.has(at)) kept.set(at, bytes.slice())
  })
  const tensor = (at: number): Uint8Array => {
    if (!kept.has(at)) {
      const wanted = new Set([at, ...graph.exprs[at]!.inputs])
      evaluate(graph, slots, (k, data) => {
        if (wanted.has(k) && !kept.has(k)) kept.set(k, toBytes(data).slice())
      })
    }
    return kept.get(at)!
  }
  return {
    roots,
    tree: merkleTree(roots),
    tensor,
    tensorTree: (at) => {
      const tree = trees.get(at) ?? tensorTree(tensor(at))
      trees.set(at, tree)
      return tree
    },
  }
}
