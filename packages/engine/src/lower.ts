// From a graph to kernels: which loops run over which buffers. Order and addresses come later (schedule.ts, plan.ts), code last.
import { bytesOf, type Graph, type GraphExpr, sizeOf, stridesOf } from '@bitloom/graph'
import { type Fusion, fuse, isElementwise } from './fuse.ts'
import type { Access, Buffer, Kernel, Matrices, Nest, Node, Work } from './kernel.ts'
import { type Layout, layOut, viewOf } from './layout.ts'
import { unwindowNests } from './unwindow.ts'
import { contiguous, type View } from './view.ts'

/** A graph as kernels, unordered but for what they read and write. */
export interface Lowered {
  /** Buffer s is slot s; temporaries follow. */
  readonly buffers: readonly Buffer[]
  readonly kernels: readonly Kernel[]
  /** For each state slot, the buffer that holds its next tensor (its own where it does not change). */
  readonly next: readonly number[]
  readonly probe: number
  /** For each expr that is seen, the buffer that holds its tensor, row-major from the start. */
  readonly bufferOf: readonly (number | undefined)[]
}

/** Below this many products a dot a batch, or with few rows or one column, packing for the tiled kernel costs more than it gives. */
const SMALL_DOT = 512
const FEW_ROWS = 4

/** A product is turned round where that saves this much: the estimate is no better. */
const WORTH_TURNING = 0.92

/** Nanoseconds of a product m x k by k x n on one thread, roughly: register tiles of 5 x 8 (a rest costs at least 3 rows), packing of B, and of A unless its terms are adjacent. */
const dotCost = (m: number, n: number, k: number, adjacent: boolean): number => {
  const rows = m - (m % 5) + (m % 5 === 0 ? 0 : Math.max(m % 5, 3))
  const packing = n + (adjacent ? 0 : m * Math.ceil(n / 512))
  return k * ((rows * 8 * Math.ceil(n / 8)) / 23 + packing / 4)
}

export interface LowerOptions {
  /** Each expr's tensor is stored and nothing is fused. */
  readonly trace: boolean
  /** Nests may fold several nodes at once (kernel.ts, Fold). */
  readonly joinedFolds?: boolean
}

/** Lowers a graph. What a backend does not know yet, it declines by leaving the option out. */
export const lower = (graph: Graph, options: LowerOptions | boolean): Lowered =>
  new Lowering(graph, typeof options === 'boolean' ? { trace: options } : options).run()

class Lowering {
  readonly graph: Graph
  readonly trace: boolean
  readonly joinedFolds: boolean
  readonly layout: Layout
  readonly buffers: Buffer[]
  readonly bufferOfRoot: (number | undefined)[]

  constructor(graph: Graph, { trace, joinedFolds = false }: LowerOptions) {
    this.graph = graph
    this.trace = trace
    this.joinedFolds = joinedFolds
    this.layout = layOut(graph, trace)
    this.buffers = graph.slots.map((slot, s) => ({ bytes: bytesOf(slot.dtype) * sizeOf(slot.shape), slot: s }))
    this.bufferOfRoot = graph.exprs.map((e) => (e.op === 'input' ? e.attrs[0] : undefined))
  }

  run(): Lowered {
    const { graph, layout } = this
    const { groupOf, inlined } = fuse(graph, layout, { join: !this.trace, joinedFolds: this.joinedFolds })
    const stored = this.#stored(groupOf, inlined)
    graph.exprs.forEach((e, at) => {
      if (stored[at]) this.bufferOfRoot[at] = this.buffers.push({ bytes: bytesOf(e.dtype) * sizeOf(e.shape) }) - 1
    })
    const kernels: Kernel[] = []
    for (const group of new Set(groupOf)) {
      if (group === undefined) continue
      const members = [...group.members].sort((a, b) => a - b)
      const work = isElementwise(graph.exprs[members[0]])
        ? [this.#elementwise(members, stored)]
        : members.length > 1
          ? [this.#folds(members, inlined)]
          : this.#single(members[0], inlined)
      kernels.push(this.#kernel(members, work))
    }
    const next = graph.next.map((at, s) => {
      const e = graph.exprs[at]
      if (!this.trace && e.op === 'input' && e.attrs[0] !== s) return this.#copySlot(at, kernels)
      return this.#bufferOf(at)
    })
    const probed = graph.exprs[graph.probe]
    const probe = !this.trace && probed.op === 'input' ? this.#copySlot(graph.probe, kernels) : this.#bufferOf(graph.probe)
    return {
      buffers: this.buffers,
      kernels,
      next,
      probe,
      bufferOf: graph.exprs.map((_, at) => (layout.visible[at] ? this.#bufferOf(at) : undefined)),
    }
  }

  #bufferOf(at: number): number {
    return this.bufferOfRoot[this.layout.views[at].root]!
  }

  /** A tensor needs memory if somebody looks at it, or another kernel reads it. */
  #stored(groupOf: Fusion['groupOf'], inlined: Fusion['inlined']): boolean[] {
    const { graph, layout } = this
    const stored = graph.exprs.map(() => false)
    graph.exprs.forEach((_, at) => {
      if (layout.visible[at] && layout.roots[layout.views[at].root]) stored[layout.views[at].root] = true
      if (!layout.roots[at]) return
      for (const input of layout.operands[at]) {
        const { root } = layout.views[input]
        if (layout.roots[root] && inlined[root] === undefined && groupOf[root] !== (inlined[at] ?? groupOf[at])) stored[root] = true
      }
    })
    return stored
  }

  /** A copy of a slot as it was before the step, for whoever wants the old tensor under another name. */
  #copySlot(at: number, kernels: Kernel[]): number {
    const e = this.graph.exprs[at]
    const buffer = this.buffers.push({ bytes: bytesOf(e.dtype) * sizeOf(e.shape) }) - 1
    const to: Access = { buffer, dtype: e.dtype, ...contiguous(e.shape) }
    kernels.push(this.#kernel([at], [copy(e, { ...to, buffer: e.attrs[0] }, to, false)]))
    return buffer
  }

  #kernel(members: readonly number[], work: readonly Work[]): Kernel {
    const reads = new Set<number>()
    const writes = new Set<number>()
    for (const w of work) {
      if (w.kind === 'nest') {
        for (const node of w.nodes) if (node.kind === 'load') reads.add(node.access.buffer)
        for (const store of w.stores) writes.add(store.access.buffer)
      } else if (w.kind === 'dot') {
        reads.add(w.a.buffer).add(w.b.buffer)
        writes.add(w.c.buffer)
      } else {
        reads.add(w.index).add(w.kind === 'gather' ? w.x : w.source)
        writes.add(w.out)
      }
    }
    for (const b of writes) reads.delete(b)
    const shown = members.slice(0, 4).map((at) => this.graph.exprs[at].op)
    const more = members.length > 4 ? `+${members.length - 4}` : ''
    return {
      name: `${members[members.length - 1]}:${shown.join('+')}${more}[${this.graph.exprs[members[0]].shape}]`,
      work,
      reads: [...reads],
      writes: [...writes],
      exprs: members,
    }
  }

  /** One loop over the members' common shape. */
  #elementwise(members: readonly number[], stored: readonly boolean[]): Nest {
    const { graph, layout } = this
    const nodes = new NodeList()
    const nodeOf = new Map<number, number>()
    for (const at of members) {
      const e = graph.exprs[at]
      const args = e.inputs.map((input) => nodeOf.get(layout.views[input].root) ?? nodes.add(this.#leaf(input)))
      nodeOf.set(at, nodes.add({ kind: 'op', op: e.op, from: graph.exprs[e.inputs[e.op === 'where' ? 1 : 0]].dtype, to: e.dtype, args }))
    }
    const stores = members
      .filter((at) => stored[at])
      .map((at) => ({ node: nodeOf.get(at)!, access: this.#own(at), canonical: layout.canonical[at] }))
    return { kind: 'nest', shape: graph.exprs[members[0]].shape, nodes: nodes.list, stores }
  }

  /** The memory of a root: row-major, but for elementwise ones that are kept in a reader's order. */
  #own(at: number): Access {
    return { buffer: this.bufferOfRoot[at]!, dtype: this.graph.exprs[at].dtype, ...this.layout.views[at].view }
  }

  /** An operand read from outside the kernel, over its own shape. */
  #leaf(at: number, map: (view: View) => View = (view) => view): Node {
    const { root, view } = this.layout.views[at]
    const e = this.graph.exprs[root]
    const buffer = this.bufferOfRoot[root]
    if (buffer !== undefined) return { kind: 'load', access: { buffer, dtype: e.dtype, ...map(view) } }
    return e.op === 'const' ? { kind: 'const', bits: e.attrs[0] } : { kind: 'iota', view: map(view) }
  }

  #single(at: number, inlined: Fusion['inlined']): Work[] {
    const { graph, layout } = this
    const e = graph.exprs[at]
    const canonical = layout.canonical[at]
    const types = e.inputs.map((input) => graph.exprs[input])
    const own = this.#own(at)
    switch (e.op) {
      case 'const':
        return [copy(e, { kind: 'const', bits: e.attrs[0] }, own, false)]
      case 'iota':
        return [
          copy(e, { kind: 'iota', view: { offset: 0, strides: e.shape.map((_, axis) => (axis === e.attrs[0] ? 1 : 0)) } }, own, false),
        ]
      case 'reshape':
      case 'permute':
      case 'expand':
      case 'slice':
      case 'window': {
        const [input] = e.inputs
        const from = layout.views[input].view
        const view = viewOf(e, types[0].shape, from)
        // A reshape that no view can say: walk the operand's shape; the result is row-major in the same order.
        if (view === undefined) return [copy(types[0], this.#leaf(input), { ...own, ...contiguous(types[0].shape) }, canonical)]
        return [
          copy(
            e,
            this.#leaf(input, () => view),
            own,
            canonical,
          ),
        ]
      }
      case 'pad': {
        const rank = e.shape.length
        const { strides } = own
        const into: View = {
          offset: strides.reduce((sum, s, axis) => sum + s * e.attrs[axis], 0),
          strides: strides.map((s, axis) => s * (e.attrs[2 * rank + axis] + 1)),
        }
        return [
          copy(e, { kind: 'const', bits: e.attrs[3 * rank] }, own, false),
          copy(types[0], this.#leaf(e.inputs[0]), { ...own, ...into }, canonical),
        ]
      }
      case 'concat': {
        const [axis] = e.attrs
        const stride = stridesOf(e.shape)
        let start = 0
        return e.inputs.map((input, i) => {
          const into = { ...own, offset: start * stride[axis], strides: stride }
          start += types[i].shape[axis]
          return copy(types[i], this.#leaf(input), into, canonical)
        })
      }
      case 'gather': {
        const count = e.shape[0]
        return [
          {
            kind: 'gather',
            x: this.#bufferOf(e.inputs[0]),
            index: this.#bufferOf(e.inputs[1]),
            out: own.buffer,
            rows: types[0].shape[0],
            count,
            rowBytes: (bytesOf(e.dtype) * sizeOf(e.shape)) / count,
          },
        ]
      }
      case 'scatterAdd':
        return [
          {
            kind: 'scatterAdd',
            source: this.#bufferOf(e.inputs[0]),
            index: this.#bufferOf(e.inputs[1]),
            out: own.buffer,
            rows: e.shape[0],
            count: types[0].shape[0],
            row: sizeOf(e.shape) / e.shape[0],
          },
          ...this.#clean(e, own, canonical),
        ]
      case 'sum':
      case 'maxOver':
      case 'argmax': {
        const unwindow = layout.unwindows[at]
        return unwindow === undefined
          ? [this.#folds([at], inlined)]
          : unwindowNests(this.#leaf(unwindow.source), unwindow, e.shape, own, canonical)
      }
      case 'dot':
        return this.#dot(e, own, canonical)
      default:
        throw new LowerError(`expr ${at}: ${e.op} has no kernel\na new op needs a case here (docs/numerics.md §3)`)
    }
  }

  /** A pass over a result whose kernel does not mind which NaN it makes. */
  #clean(e: GraphExpr, own: Access, canonical: boolean): Nest[] {
    return canonical ? [copy(e, own, own, true)] : []
  }

  /** Folds in one pass, with the exprs that only they read evaluated inside. */
  #folds(members: readonly number[], inlined: Fusion['inlined']): Nest {
    const { graph, layout } = this
    const first = graph.exprs[members[0]]
    const [axis] = first.attrs
    const foldLast = (view: View): View => ({
      offset: view.offset,
      strides: [...view.strides.filter((_, i) => i !== axis), view.strides[axis]],
    })
    const nodes = new NodeList()
    const nodeOf = new Map<number, number>()
    const visit = (input: number): number => {
      const { root } = layout.views[input]
      if (!inlined[root]?.members.includes(members[0])) return nodes.add(this.#leaf(input, foldLast))
      const known = nodeOf.get(root)
      if (known !== undefined) return known
      const inner = graph.exprs[root]
      const args = inner.inputs.map(visit)
      const from = graph.exprs[inner.inputs[inner.op === 'where' ? 1 : 0]].dtype
      const node = nodes.add({ kind: 'op', op: inner.op, from, to: inner.dtype, args })
      nodeOf.set(root, node)
      return node
    }
    const stores = members.map((at) => ({ node: visit(graph.exprs[at].inputs[0]), access: this.#own(at), canonical: layout.canonical[at] }))
    const operand = graph.exprs[first.inputs[0]]
    return {
      kind: 'nest',
      shape: first.shape,
      nodes: nodes.list,
      stores,
      fold: { op: first.op as 'sum' | 'maxOver' | 'argmax', dtype: operand.dtype, terms: operand.shape[axis] },
    }
  }

  #dot(e: GraphExpr, own: Access, canonical: boolean): Work[] {
    const { graph, layout } = this
    const rank = e.shape.length
    const [m, n] = e.shape.slice(-2)
    const k = graph.exprs[e.inputs[0]].shape[rank - 1]
    const [a, b] = e.inputs.map((input) => ({ buffer: this.#bufferOf(input), view: layout.views[input].view }))
    if (m <= FEW_ROWS || n === 1 || m * n * k <= SMALL_DOT) {
      const [aRow, aColumn] = a.view.strides.slice(-2)
      const [bRow, bColumn] = b.view.strides.slice(-2)
      const access = (of: typeof a, row: number, column: number, term: number): Node => ({
        kind: 'load',
        access: { buffer: of.buffer, dtype: 'f32', offset: of.view.offset, strides: [...of.view.strides.slice(0, -2), row, column, term] },
      })
      const nodes: Node[] = [
        access(a, aRow, 0, aColumn),
        access(b, 0, bColumn, bRow),
        { kind: 'op', op: 'mul', from: 'f32', to: 'f32', args: [0, 1] },
      ]
      return [
        { kind: 'nest', shape: e.shape, nodes, stores: [{ node: 2, access: own, canonical }], fold: { op: 'sum', dtype: 'f32', terms: k } },
      ]
    }
    const side = ({ buffer, view }: typeof a, turned: boolean): Matrices => {
      const [row, column] = view.strides.slice(-2)
      const [r, c] = turned ? [column, row] : [row, column]
      return { buffer, offset: view.offset, batch: view.strides.slice(0, -2), row: r, column: c }
    }
    const batch = e.shape.slice(0, -2)
    const asIs = dotCost(m, n, k, a.view.strides[rank - 1] === 1)
    const turnedRound = dotCost(n, m, k, b.view.strides[rank - 2] === 1) + m * n
    if (batch.length > 0 || turnedRound > WORTH_TURNING * asIs)
      return [
        { kind: 'dot', batch, m, n, k, a: side(a, false), b: side(b, false), c: { buffer: own.buffer } },
        ...this.#clean(e, own, canonical),
      ]
    // Cᵀ = Bᵀ·Aᵀ: products commute, so these are the same bits (two NaNs give one NaN, whichever).
    const turned: Access = { buffer: this.buffers.push({ bytes: 4 * m * n }) - 1, dtype: 'f32', ...contiguous([n, m]) }
    const from: Access = { ...turned, strides: [1, m] }
    return [
      { kind: 'dot', batch, m: n, n: m, k, a: side(b, true), b: side(a, true), c: { buffer: turned.buffer } },
      copy(e, from, own, canonical),
    ]
  }
}

const copy = (over: { readonly shape: readonly number[] }, from: Node | Access, to: Access, canonical: boolean): Nest => ({
  kind: 'nest',
  shape: over.shape,
  nodes: ['kind' in from ? from : { kind: 'load', access: from }],
  stores: [{ node: 0, access: to, canonical }],
})

/** Nodes of one nest, equal loads and constants once. */
class NodeList {
  readonly list: Node[] = []
  readonly #leaves = new Map<string, number>()

  add(node: Node): number {
    if (node.kind === 'op') return this.list.push(node) - 1
    const key = JSON.stringify(node)
    let at = this.#leaves.get(key)
    if (at === undefined) {
      at = this.list.push(node) - 1
      this.#leaves.set(key, at)
    }
    return at
  }
}

/** The op table grew and this backend did not. */
export class LowerError extends Error {
  override name = 'engine.LowerError'
}
