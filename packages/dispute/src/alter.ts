// How to be wrong on purpose: runs altered in one place, which a dishonest solver then defends as well as can be. For tests, demonstrations, and nothing else.

import {
  bytesOf,
  concatBytes,
  type Data,
  evaluateExpr,
  fromBytes,
  type Graph,
  merkleTree,
  rootOf,
  type Tree,
  tensorTree,
  toBytes,
} from '@bitloom/graph'
import { type Knowledge, type Replay, replay, type Stepper } from './knowledge.ts'
import type { Evaluate, Trace } from './trace.ts'

/**
 * One lie, told at one step of a segment.
 * - expr: one element of an expr's tensor is `word`; everything computed from it follows, so the run is consistent but for this. Of a fold, the
 *   accumulators are honest up to and including term `term` (default: all but the last).
 * - tensor: an expr's whole tensor is another: another slot's, other rows, another seed's. Everything computed from it follows.
 * - slot: a state slot is handed on with `word` in one element, though the trace says otherwise.
 * - probe: the probe chain is hashed on from another tensor than the trace has.
 * - padding: a leaf beyond the last one of the trace's, the post state's or an expr's tree is not the padding.
 * - tail: bytes beyond the end of an expr's tensor are not 0.
 */
export type Lie =
  | {
      readonly kind: 'expr'
      readonly step: number
      readonly expr: number
      readonly element: number
      readonly word: number
      readonly term?: number
    }
  | { readonly kind: 'tensor'; readonly step: number; readonly expr: number; readonly data: Data }
  | { readonly kind: 'slot'; readonly step: number; readonly slot: number; readonly element: number; readonly word: number }
  | { readonly kind: 'probe'; readonly step: number }
  | { readonly kind: 'padding'; readonly step: number; readonly tree: 'trace' | 'state' | { readonly expr: number } }
  | { readonly kind: 'tail'; readonly step: number; readonly expr: number }

/** A copy of `data` with one element's bits replaced. */
export function withWord(data: Data, element: number, word: number): Data {
  const width = bytesOf(data instanceof Uint8Array ? 'u8' : 'f32')
  const bytes = toBytes(data).slice()
  const view = new DataView(bytes.buffer)
  if (width === 1) view.setUint8(element, word)
  else view.setUint32(4 * element, word, true)
  return fromBytes(data instanceof Float32Array ? 'f32' : data instanceof Int32Array ? 'i32' : 'u8', bytes)
}

/**
 * Runs every step by `evaluate`, the lie's own with what follows from the lie in place of it: what a cheating solver trains with.
 * @param keep holds that step's tensors for the next call: for a dispute, which asks again and again, always from the same slots
 */
export function alter(graph: Graph, evaluate: Evaluate, lie: Lie, keep = false): Stepper {
  let told: readonly Data[] | undefined
  return (step, slots, visit) => {
    if (step !== lie.step) return evaluate(graph, slots, visit)
    if (lie.kind === 'expr' || lie.kind === 'tensor') {
      const values = told ?? withLie(graph, evaluate, slots, lie)
      if (keep) told = values
      values.forEach((data, at) => {
        visit?.(at, data)
      })
      return { next: graph.next.map((at) => values[at]!), probe: values[graph.probe]! }
    }
    const result = evaluate(graph, slots, visit)
    if (lie.kind === 'slot')
      return { ...result, next: result.next.map((t, s) => (s === lie.slot ? withWord(t, lie.element, lie.word) : t)) }
    // Padding and tail lies need one too: a wrong trace behind a right moment would be nothing to quarrel about.
    return { ...result, probe: withWord(result.probe, 0, 0x0badf00d) }
  }
}

/** Every expr's tensor with one of them altered, and all that depends on it computed anew. */
function withLie(graph: Graph, evaluate: Evaluate, slots: readonly Data[], lie: Extract<Lie, { kind: 'expr' | 'tensor' }>): Data[] {
  const follows = new Set<number>()
  const values: Data[] = []
  evaluate(graph, slots, (at, data) => {
    const e = graph.exprs[at]!
    if (at === lie.expr) {
      follows.add(at)
      values[at] = lie.kind === 'tensor' ? lie.data : withWord(data, lie.element, lie.word)
    } else if (e.inputs.some((k) => follows.has(k))) {
      follows.add(at)
      values[at] = evaluateExpr(
        graph,
        e,
        e.inputs.map((k) => values[k]!),
      )
    } else values[at] = data.slice()
  })
  return values
}

const WRONG = new Uint8Array(32).fill(0xee)

/** The tree over its leaves and one more, where the padding should begin. A full tree has no room for one. */
function withLeafBeyond(tree: Tree): Tree {
  const leaves = tree.levels[0]!
  if (leaves.length === 2 ** (tree.levels.length - 1)) throw new RangeError(`a tree of ${leaves.length} leaves has no padding to lie in`)
  return merkleTree([...leaves, WRONG], tree.padding[0])
}

/** What a solver that tells `lie` knows, and defends to the last. */
export function cheat(options: Omit<Replay, 'stepper' | 'parts'>, lie: Lie): Knowledge {
  const { graph } = options
  const told = replay({ ...options, stepper: alter(graph, options.evaluate, lie, true) })
  if (lie.kind === 'expr') {
    const accumulators: Knowledge['accumulators'] = (step, expr, element) => {
      const all = told.accumulators(step, expr, element)
      const here = step === lie.step && expr === lie.expr && element === lie.element
      return here && lie.term !== undefined ? all.map((word, term) => (term > lie.term! ? lie.word : word)) : all
    }
    return { ...told, accumulators }
  }
  if (lie.kind === 'tensor' || lie.kind === 'slot' || lie.kind === 'probe') return told
  const stateTree = (step: number): Tree => {
    const right = told.stateTree(step)
    return step === lie.step + 1 && lie.kind === 'padding' && lie.tree === 'state' ? withLeafBeyond(right) : right
  }
  const parts: Knowledge['parts'] = (step) =>
    step === lie.step + 1 ? { ...told.parts(step), stateRoot: rootOf(stateTree(step)) } : told.parts(step)
  const trace = (step: number): Trace => (step === lie.step ? lyingTrace(told.trace(step), lie) : told.trace(step))
  return { ...told, parts, stateTree, trace }
}

/** The trace with one tree that has a leaf or bytes beyond its end. */
function lyingTrace(right: Trace, lie: Extract<Lie, { kind: 'padding' | 'tail' }>): Trace {
  if (lie.kind === 'padding' && lie.tree === 'state') return right
  if (lie.kind === 'padding' && lie.tree === 'trace') return { ...right, tree: withLeafBeyond(right.tree) }
  const expr = lie.kind === 'tail' ? lie.expr : (lie.tree as { readonly expr: number }).expr
  const bytes = lie.kind === 'tail' ? concatBytes(right.tensor(expr), new Uint8Array([1])) : right.tensor(expr)
  const tree = lie.kind === 'tail' ? tensorTree(bytes) : withLeafBeyond(right.tensorTree(expr))
  if (tree.levels.length !== right.tensorTree(expr).levels.length) throw new RangeError(`expr ${expr}: no room for a byte beyond its end`)
  const roots = right.roots.map((root, at) => (at === expr ? rootOf(tree) : root))
  return {
    roots,
    tree: merkleTree(roots),
    tensor: (at) => (at === expr ? bytes : right.tensor(at)),
    tensorTree: (at) => (at === expr ? tree : right.tensorTree(at)),
  }
}
