// Which exprs become one kernel: elementwise exprs over one shape are joined wherever no other kernel has to run in between.
import { type Graph, type GraphExpr, OPS, sameShape, sizeOf } from '@bitloom/graph'
import type { Layout } from './layout.ts'
import { isContiguous } from './view.ts'

/** Kernels larger than this gain nothing more and compile slowly. */
const MAX_FUSED = 128
/** A fold that recomputes its operand: only small trees. */
const MAX_INLINED = 40

export const isElementwise = (e: GraphExpr): boolean => {
  const { kind } = OPS[e.op]
  return kind === 'unary' || kind === 'binary' || kind === 'ternary'
}

/** A set of exprs that one kernel computes. `needs`: kernels that must have run before. */
export interface Group {
  readonly members: number[]
  readonly needs: Set<Group>
  /** The lowest and highest graph position in it: no path can lead from below to above. */
  first: number
  last: number
  /** The part of `needs` that reads a tensor otherwise than element for element: never joined. */
  readonly hard: Set<Group>
  /** The group this one was joined into. */
  into?: Group
}

export interface Fusion {
  /** The kernel that computes each expr; undefined for exprs that are only views, leaves, or recomputed inside a fold. */
  readonly groupOf: readonly (Group | undefined)[]
  /** For each expr that a fold evaluates itself: that fold. */
  readonly inlined: readonly (number | undefined)[]
}

/** Whether `reader` sees the tensor of `root` element for element, so that both can live in one loop. */
const readsPlainly = (graph: Graph, layout: Layout, operand: number, reader: GraphExpr): boolean => {
  const { root, view } = layout.views[operand]
  return isElementwise(graph.exprs[root]) && sameShape(graph.exprs[root].shape, reader.shape) && isContiguous(view, reader.shape)
}

/** The group that `group` is now part of. */
const resolve = (group: Group): Group => {
  while (group.into !== undefined) group = group.into
  return group
}

/** Groups every expr that needs a kernel. With `join` false, each has its own (a trace wants every tensor). */
export const fuse = (graph: Graph, layout: Layout, join: boolean): Fusion => {
  const inlined: readonly (number | undefined)[] = join ? inlineFolds(graph, layout) : graph.exprs.map(() => undefined)
  const groupOf = new Array<Group | undefined>(graph.exprs.length).fill(undefined)

  graph.exprs.forEach((e, at) => {
    if (!layout.roots[at] || inlined[at] !== undefined) return
    let group: Group = { members: [at], needs: new Set(), hard: new Set(), first: at, last: at }
    const plain = new Set<Group>()
    for (const operand of operandsOf(graph, layout, inlined, at)) {
      const source = groupOf[layout.views[operand.input].root]
      if (source === undefined) continue
      group.needs.add(resolve(source))
      if (join && isElementwise(e) && operand.plain) plain.add(resolve(source))
      else group.hard.add(resolve(source))
    }
    for (const found of plain) {
      const candidate = resolve(found)
      if (candidate === group || candidate.members.length + group.members.length > MAX_FUSED) continue
      if (needsHard(group, candidate) || needsHard(candidate, group) || reaches(group, candidate) || reaches(candidate, group)) continue
      group = merge(candidate, group)
    }
    groupOf[at] = group
  })
  return { groupOf: groupOf.map((group) => group && resolve(group)), inlined }
}

const needsHard = (from: Group, to: Group): boolean => [...from.hard].some((g) => resolve(g) === to)

/** The operands of an expr and of whatever is recomputed inside it; `plain` where it is read element for element. */
const operandsOf = (
  graph: Graph,
  layout: Layout,
  inlined: readonly (number | undefined)[],
  at: number,
): { input: number; plain: boolean }[] => {
  const found: { input: number; plain: boolean }[] = []
  const stack = [at]
  while (stack.length > 0) {
    const reader = stack.pop()!
    for (const input of layout.operands[reader]) {
      const { root } = layout.views[input]
      if (inlined[root] === at) stack.push(root)
      else found.push({ input, plain: readsPlainly(graph, layout, input, graph.exprs[reader]) })
    }
  }
  return found
}

/** Whether `from` needs `to` by way of some third kernel: then joining the two would make a circle. */
const reaches = (from: Group, to: Group): boolean => {
  const seen = new Set<Group>([from])
  const stack = [...from.needs].map(resolve).filter((g) => g !== to)
  while (stack.length > 0) {
    const g = stack.pop()!
    if (g === to) return true
    if (seen.has(g) || g.last < to.first) continue
    seen.add(g)
    for (const next of g.needs) stack.push(resolve(next))
  }
  return false
}

const merge = (into: Group, from: Group): Group => {
  into.members.push(...from.members)
  for (const g of from.needs) if (resolve(g) !== into) into.needs.add(resolve(g))
  for (const g of from.hard) into.hard.add(resolve(g))
  into.needs.delete(from)
  into.first = Math.min(into.first, from.first)
  into.last = Math.max(into.last, from.last)
  from.into = into
  return into
}

/** Elementwise exprs whose only reader is a fold (or another such) are evaluated inside the fold: their tensor never exists. */
const inlineFolds = (graph: Graph, layout: Layout): (number | undefined)[] => {
  const inlined = new Array<number | undefined>(graph.exprs.length).fill(undefined)
  graph.exprs.forEach((e, at) => {
    if ((e.op !== 'sum' && e.op !== 'maxOver' && e.op !== 'argmax') || layout.unwindows[at] !== undefined) return
    // One long fold uses one lane of four: evaluate its operand with all four before.
    if (sizeOf(e.shape) < 4) return
    let budget = MAX_INLINED
    const stack = [at]
    while (stack.length > 0) {
      const reader = stack.pop()!
      const shape = graph.exprs[graph.exprs[at].inputs[0]].shape
      for (const input of layout.operands[reader]) {
        const { root, view } = layout.views[input]
        const fits = isElementwise(graph.exprs[root]) && sameShape(graph.exprs[root].shape, shape) && isContiguous(view, shape)
        if (!fits || layout.readers[root] !== 1 || budget === 0) continue
        inlined[root] = at
        budget--
        stack.push(root)
      }
    }
  })
  return inlined
}
