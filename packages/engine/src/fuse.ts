// Which exprs become one kernel: elementwise exprs over one shape are joined wherever no other kernel has to run in between.
import { type Graph, type GraphExpr, OPS, sameShape, sizeOf } from '@bitloom/graph'
import { isWhole, type Layout } from './layout.ts'

/** Kernels larger than this gain nothing more and compile slowly. */
const MAX_FUSED = 128
/** A fold that recomputes its operand: only small trees. */
const MAX_INLINED = 40
/** Folds side by side in one pass: each has accumulators of its own. */
const MAX_FOLDS = 4

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
  /** For each expr that folds evaluate themselves: those, as their group. */
  readonly inlined: readonly (Group | undefined)[]
}

/** What a backend can do. */
export interface FuseOptions {
  /** Several exprs a kernel at all; a trace wants every tensor. */
  readonly join: boolean
  /** Several folds over the same axis of same-shaped operands in one nest. */
  readonly joinedFolds: boolean
}

/** Whether `reader` sees the tensor of `root` element for element, so that both can live in one loop. */
const readsPlainly = (graph: Graph, layout: Layout, operand: number, reader: GraphExpr): boolean =>
  isElementwise(graph.exprs[layout.views[operand].root]) && isWhole(graph, layout, operand, reader.shape)

/** The group that `group` is now part of. */
const resolve = (group: Group): Group => {
  while (group.into !== undefined) group = group.into
  return group
}

/** Groups every expr that needs a kernel. */
export const fuse = (graph: Graph, layout: Layout, options: FuseOptions): Fusion => {
  const alone = group(graph, layout, options, [])
  if (!options.join || !options.joinedFolds) return alone.fusion
  // Now that it is known which folds share a pass, what only they read can be evaluated inside, once for all of them.
  const joint = [...new Set(alone.fusion.groupOf)].filter((g) => g !== undefined && g.members.length > 1 && isFold(graph, g.members[0]))
  const sets = joint.map((g) => g!.members)
  const together = group(graph, layout, options, sets)
  return sets.length > 0 && together.kept ? together.fusion : alone.fusion
}

/** One grouping; `sets` are folds to be evaluated with what only they read. `kept` is false where such a set came apart, which makes the grouping void. */
const group = (
  graph: Graph,
  layout: Layout,
  { join, joinedFolds }: FuseOptions,
  sets: readonly (readonly number[])[],
): { readonly fusion: Fusion; readonly kept: boolean } => {
  const leader = new Map<number, number>(sets.flatMap((set) => set.map((at) => [at, set[0]] as const)))
  const inlined: readonly (number | undefined)[] = join ? inlineFolds(graph, layout, leader) : graph.exprs.map(() => undefined)
  const groupOf = new Array<Group | undefined>(graph.exprs.length).fill(undefined)
  const foldsOf = new Map<number, Group[]>()

  graph.exprs.forEach((e, at) => {
    if (!layout.roots[at] || inlined[at] !== undefined) return
    let group: Group = { members: [at], needs: new Set(), hard: new Set(), first: at, last: at }
    const plain = new Set<Group>()
    const beside = new Set<Group>()
    const folds = join && joinedFolds && isFold(graph, at) && layout.unwindows[at] === undefined && e.op !== 'argmax'
    const operands = operandsOf(graph, layout, inlined, leader, at)
    for (const operand of operands) {
      const { root } = layout.views[operand.input]
      if (folds && shares(graph, root, at)) for (const g of foldsOf.get(root) ?? []) beside.add(resolve(g))
      const source = groupOf[root]
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
    for (const found of beside) {
      const candidate = resolve(found)
      if (candidate === group || candidate.members.length + group.members.length > MAX_FOLDS || !alike(graph, candidate.members[0], at))
        continue
      if (needsHard(group, candidate) || reaches(group, candidate)) continue
      group = merge(candidate, group)
    }
    if (folds)
      for (const operand of operands) {
        const { root } = layout.views[operand.input]
        foldsOf.set(root, [...(foldsOf.get(root) ?? []), group])
      }
    groupOf[at] = group
  })
  const final = groupOf.map((group) => group && resolve(group))
  return {
    fusion: { groupOf: final, inlined: inlined.map((by) => (by === undefined ? undefined : final[by])) },
    kept: sets.every((set) => set.every((at) => final[at] === final[set[0]])),
  }
}

const isFold = (graph: Graph, at: number): boolean => ['sum', 'maxOver', 'argmax'].includes(graph.exprs[at].op)

/** Whether reading `root` once for several folds saves memory traffic: it is no small tensor that is repeated. */
const shares = (graph: Graph, root: number, fold: number): boolean =>
  2 * sizeOf(graph.exprs[root].shape) >= sizeOf(graph.exprs[graph.exprs[fold].inputs[0]].shape)

/** Whether two folds run over the same axis of the same shape, in the same way. */
const alike = (graph: Graph, a: number, b: number): boolean => {
  const [e, o] = [graph.exprs[a], graph.exprs[b]]
  const [x, y] = [graph.exprs[e.inputs[0]], graph.exprs[o.inputs[0]]]
  return e.op === o.op && x.dtype === y.dtype && e.attrs[0] === o.attrs[0] && sameShape(x.shape, y.shape)
}

const needsHard = (from: Group, to: Group): boolean => [...from.hard].some((g) => resolve(g) === to)

/** The operands of an expr and of whatever is recomputed inside it; `plain` where it is read element for element. */
const operandsOf = (
  graph: Graph,
  layout: Layout,
  inlined: readonly (number | undefined)[],
  leader: ReadonlyMap<number, number>,
  at: number,
): { input: number; plain: boolean }[] => {
  const found: { input: number; plain: boolean }[] = []
  const own = leader.get(at) ?? at
  const stack = [at]
  while (stack.length > 0) {
    const reader = stack.pop()!
    for (const input of layout.operands[reader]) {
      const { root } = layout.views[input]
      if (inlined[root] === own) stack.push(root)
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

/** Elementwise exprs that only folds of one pass (or others evaluated in it) read are evaluated inside: their tensor never exists. Gives the first of those folds. */
const inlineFolds = (graph: Graph, layout: Layout, leader: ReadonlyMap<number, number>): (number | undefined)[] => {
  const inlined = new Array<number | undefined>(graph.exprs.length).fill(undefined)
  const sets = new Map<number, number[]>()
  graph.exprs.forEach((_, at) => {
    if (!isFold(graph, at) || layout.unwindows[at] !== undefined || !layout.roots[at]) return
    const first = leader.get(at) ?? at
    sets.set(first, [...(sets.get(first) ?? []), at])
  })
  for (const [first, folds] of sets) {
    // One long fold uses one lane of four: evaluate its operand with all four before.
    if (sizeOf(graph.exprs[first].shape) < 4) continue
    const { shape } = graph.exprs[graph.exprs[first].inputs[0]]
    let budget = MAX_INLINED
    /** How often each candidate has been met as an operand of what is evaluated inside. */
    const met = new Map<number, number>()
    const stack = [...folds]
    while (stack.length > 0) {
      const reader = stack.pop()!
      for (const input of layout.operands[reader]) {
        const { root } = layout.views[input]
        const fits = isElementwise(graph.exprs[root]) && isWhole(graph, layout, input, shape)
        if (!fits || budget === 0) continue
        const times = (met.get(root) ?? 0) + 1
        met.set(root, times)
        if (times !== layout.readers[root]) continue
        inlined[root] = first
        budget--
        stack.push(root)
      }
    }
  }
  return inlined
}
