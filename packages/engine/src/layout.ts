// Which exprs get memory of their own (roots) and which are only a view of another's: decided once for the whole graph, before kernels.
import { type Graph, type GraphExpr, OPS } from '@bitloom/graph'
import { type Unwindow, unwindowOf } from './unwindow.ts'
import { contiguous, expanded, isContiguous, permuted, reshaped, sliced, type View, windowed } from './view.ts'

/** An expr's elements: those of `root`'s tensor, by `view`. */
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

const isLeaf = (e: GraphExpr): boolean => OPS[e.op].kind === 'leaf'

/** Lays a graph out. With `trace`, every expr's tensor exists, row-major; else only what a kernel needs. */
export const layOut = (graph: Graph, trace: boolean): Layout => {
  const { exprs } = graph
  const visible = exprs.map(() => trace)
  for (const at of [...graph.next, graph.probe]) visible[at] = true
  const views: Place[] = []
  const roots = exprs.map(() => false)
  const operands: number[][] = exprs.map(() => [])
  const unwindows = exprs.map((_, at) => (trace ? undefined : unwindowOf(graph, at)))
  const own = (at: number): void => {
    roots[at] = true
    views[at] = { root: at, view: contiguous(exprs[at].shape) }
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
