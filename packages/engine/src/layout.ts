// Which exprs get memory of their own (roots) and which are only a view of another's: decided once for the whole graph, before kernels.
import { type Graph, type GraphExpr, OPS, type Shape, sameShape, sizeOf } from '@bitloom/graph'
import { type Unwindow, unwindowOf } from './unwindow.ts'
import { contiguous, expanded, isContiguous, permuted, reshaped, sliced, type View, windowed } from './view.ts'

/** An expr's elements: those of `root`'s tensor, by `view`. A root's own view says in which order its memory holds them. */
export interface Place {
  readonly root: number
  readonly view: View
}

export interface Layout {
  readonly views: readonly Place[]
  /** Whether a kernel must compute the expr's own tensor. Leaves read by nests need none: constants and iotas are made in place. */
  readonly roots: readonly boolean[]
  /** The operands whose elements the kernel of a root reads. */
  readonly operands: readonly (readonly number[])[]
  /** Tensors that somebody looks at after the step (or in a trace): their NaNs are canonical. */
  readonly visible: readonly boolean[]
  /** f32 tensors whose NaNs must be canonical because a visible tensor copies them. */
  readonly canonical: readonly boolean[]
  /** How many operand positions, over all roots, read each root, and how many visible exprs share its tensor. */
  readonly readers: readonly number[]
  /** Sums that are a window's gradient and read its operand alone. */
  readonly unwindows: readonly (Unwindow | undefined)[]
}

/** The view a movement op makes of its operand's view, or undefined where it has to copy. */
export const viewOf = (e: GraphExpr, from: readonly number[], view: View): View | undefined => {
  switch (e.op) {
    case 'reshape':
      return reshaped(view, from, e.shape)
    case 'permute':
      return permuted(view, e.attrs)
    case 'expand':
      return expanded(view, from)
    case 'slice':
      return sliced(view, e.attrs)
    case 'window':
      return windowed(view, e.attrs[0], e.attrs[2], e.attrs[3])
    default:
      return undefined
  }
}

/** Whether operand `at`, seen by a reader of `shape`, is its root's tensor element for element. */
export const isWhole = (graph: Graph, { views }: Layout, at: number, shape: Shape): boolean => {
  const { root, view } = views[at]
  const own = views[root].view
  return (
    sameShape(graph.exprs[root].shape, shape) &&
    view.offset === own.offset &&
    shape.every((size, axis) => size === 1 || view.strides[axis] === own.strides[axis])
  )
}

const isLeaf = (e: GraphExpr): boolean => OPS[e.op].kind === 'leaf'

/** Shorter runs of elements than these, side by side in both orders, would leave lanes idle in every kernel that stores or reads them. */
const MIN_RUN = 32

/**
 * The order in memory that spares the copy which root `at` makes of an elementwise root's tensor: that tensor's elements where the copy has them, as a view in its
 * own coordinates. Undefined where the copy does not have every element once, in runs of some length.
 */
const orderOf = (graph: Graph, { views, visible, roots }: Layout, at: number): Place | undefined => {
  const e = graph.exprs[at]
  if (!roots[at] || visible[at] || e.op !== 'reshape') return undefined
  const [input] = e.inputs
  const { root, view } = views[input]
  const { shape, op } = graph.exprs[root]
  const over = graph.exprs[input].shape
  const { kind } = OPS[op]
  if (visible[root] || !(kind === 'unary' || kind === 'binary' || kind === 'ternary') || sizeOf(shape) !== sizeOf(over)) return undefined
  // The copy's axes from the slowest to the fastest of the tensor's present order.
  const axes = over.map((_, axis) => axis).sort((a, b) => view.strides[b] - view.strides[a] || a - b)
  const sizes = axes.map((axis) => over[axis])
  if (!isContiguous(permuted(view, axes), sizes)) return undefined
  const order = reshaped(permuted(contiguous(over), axes), sizes, shape)
  if (order === undefined) return undefined
  let run = 1
  for (let axis = shape.length - 1; axis >= 0 && (shape[axis] === 1 || order.strides[axis] === run); axis--) run *= shape[axis]
  return run >= MIN_RUN ? { root, view: order } : undefined
}

/** Lays a graph out. With `trace`, every expr's tensor exists, row-major; else only what a kernel needs, in the order that needs fewest copies. */
export const layOut = (graph: Graph, trace: boolean): Layout => {
  const unwindows = graph.exprs.map((_, at) => (trace ? undefined : unwindowOf(graph, at)))
  const plain = layOutAs(graph, trace, unwindows, new Map())
  if (trace) return plain
  const tensors = ({ roots }: Layout): number => roots.filter((root) => root).length
  const found = new Map(graph.exprs.flatMap((_, at) => orderOf(graph, plain, at) ?? []).map(({ root, view }) => [root, view]))
  let best = plain
  let orders = new Map<number, View>()
  // All at once, or in halves what does not spare a tensor each: some order may cost another reader a copy.
  const take = (some: readonly (readonly [root: number, order: View])[]): void => {
    if (some.length === 0) return
    const more = new Map([...orders, ...some])
    const other = layOutAs(graph, trace, unwindows, more)
    if (tensors(other) <= tensors(best) - some.length) [best, orders] = [other, more]
    else if (some.length > 1) {
      const half = some.length >> 1
      take(some.slice(0, half))
      take(some.slice(half))
    }
  }
  take([...found])
  return best
}

/** Lays a graph out, the tensors of `orders` as these say and all others row-major. */
const layOutAs = (graph: Graph, trace: boolean, unwindows: Layout['unwindows'], orders: ReadonlyMap<number, View>): Layout => {
  const { exprs } = graph
  const visible = exprs.map(() => trace)
  for (const at of [...graph.next, graph.probe]) visible[at] = true
  const views: Place[] = []
  const roots = exprs.map(() => false)
  const operands: number[][] = exprs.map(() => [])
  const own = (at: number): void => {
    roots[at] = true
    views[at] = { root: at, view: orders.get(at) ?? contiguous(exprs[at].shape) }
  }
  /** Makes the operand's elements lie row-major in a buffer, for kernels that are no nests. */
  const rowMajor = (at: number): void => {
    const { root, view } = views[at]
    if (isContiguous(view, exprs[at].shape) && (roots[root] || exprs[root].op === 'input')) return
    operands[at] = [...exprs[at].inputs]
    own(at)
  }
  /** Makes them lie in a buffer at all, any strides. */
  const inBuffer = (at: number): void => {
    const { root } = views[at]
    if (!roots[root] && exprs[root].op !== 'input') rowMajor(at)
  }

  exprs.forEach((e, at) => {
    if (isLeaf(e)) {
      views[at] = {
        root: at,
        view:
          e.op === 'iota'
            ? { offset: 0, strides: e.shape.map((_, axis) => (axis === e.attrs[0] ? 1 : 0)) }
            : e.op === 'const'
              ? { offset: 0, strides: [] }
              : contiguous(e.shape),
      }
      if (visible[at] && e.op !== 'input') own(at)
      return
    }
    if (e.op === 'gather' || e.op === 'scatterAdd') for (const input of e.inputs) rowMajor(input)
    if (e.op === 'dot') for (const input of e.inputs) inBuffer(input)
    operands[at] = unwindows[at] === undefined ? [...e.inputs] : [unwindows[at].source]
    const from = views[e.inputs[0]]
    const view =
      OPS[e.op].kind === 'movement' && e.op !== 'pad' && e.op !== 'concat' ? viewOf(e, exprs[e.inputs[0]].shape, from.view) : undefined
    if (view === undefined) return own(at)
    // A visible tensor is row-major in memory that the step does not overwrite: only a reshape of a computed one may share it.
    if (visible[at] && !(isContiguous(view, e.shape) && roots[from.root])) return own(at)
    views[at] = { root: from.root, view }
  })

  const canonical = exprs.map((e, at) => visible[at] && e.dtype === 'f32')
  for (let at = exprs.length - 1; at >= 0; at--) {
    if (!canonical[at]) continue
    canonical[views[at].root] = true
    if (exprs[at].op === 'gather') canonical[views[exprs[at].inputs[0]].root] = true
  }
  const readers = new Array<number>(exprs.length).fill(0)
  for (let at = exprs.length - 1; at >= 0; at--) {
    if (visible[at]) readers[views[at].root]++
    // Nobody reads it, now that some readers look through it: no kernel.
    if (readers[at] === 0) roots[at] = false
    if (roots[at]) for (const input of operands[at]) readers[views[input].root]++
  }
  return { views, roots, operands, visible, canonical, readers, unwindows }
}
