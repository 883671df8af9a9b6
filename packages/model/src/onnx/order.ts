// The nodes that a graph's outputs need, in an order in which every one finds its inputs made; files that contradict themselves are refused by name.

import { decodeSubgraph, type OnnxModel, type OnnxNode } from './decode.ts'
import { OnnxError } from './error.ts'
import { listed } from './trainable.ts'

/**
 * Nodes that `outputs` depend on, each after those it reads; otherwise in the file's order.
 * @param given names that are there from the start: inputs, initializers; undefined inside a graph's graph, which sees names from around it
 * @throws {OnnxError} a name is made twice or nowhere, or nodes wait for each other in a circle
 */
export function orderOf(nodes: readonly OnnxNode[], outputs: readonly string[], given: ReadonlySet<string> | undefined): OnnxNode[] {
  const maker = new Map<string, number>()
  nodes.forEach((node, i) => {
    for (const name of node.outputs) {
      if (name === '') continue
      if (maker.has(name) || given?.has(name)) throw new OnnxError(`"${name}" is made twice, the second time by ${labelOf(node)}`)
      maker.set(name, i)
    }
  })
  const missing = new Set<string>()
  const state = new Uint8Array(nodes.length) // 0 not seen, 1 waiting for its inputs, 2 placed
  const ordered: OnnxNode[] = []
  const visit = (root: number): void => {
    const stack = [root]
    while (stack.length > 0) {
      const i = stack[stack.length - 1]
      if (state[i] === 2) {
        stack.pop()
        continue
      }
      const waiting = stack.length
      for (const name of readsOf(nodes[i]).toReversed()) {
        if (name === '' || given?.has(name)) continue
        const by = maker.get(name)
        if (by === undefined) {
          if (given) missing.add(`"${name}" (read by ${labelOf(nodes[i])})`)
        } else if (state[by] === 1 || by === i)
          throw new OnnxError(`the graph runs in a circle through ${labelOf(nodes[by])} and ${labelOf(nodes[i])}`)
        else if (state[by] === 0) stack.push(by)
      }
      if (stack.length > waiting) {
        state[i] = 1
        continue
      }
      stack.pop()
      state[i] = 2
      ordered.push(nodes[i])
    }
  }
  for (const name of outputs) {
    const by = maker.get(name)
    if (by !== undefined) visit(by)
    else if (given && !given.has(name)) missing.add(`"${name}" (an output)`)
  }
  if (missing.size > 0) throw new OnnxError(`nothing in the file makes ${listed([...missing])}`)
  return ordered
}

/** A node as people find it in their file. */
export const labelOf = (node: OnnxNode): string => (node.name ? `${node.op} "${node.name}"` : `${node.op} that makes "${node.outputs[0]}"`)

/** A graph inside a node. */
export type Graph = Pick<OnnxModel, 'nodes' | 'initializers' | 'inputs' | 'outputs'>

/** Whether a node holds graphs of its own, which are written out where what steers them is known. */
export const holdsGraphs = (node: OnnxNode): boolean => (node.op === 'If' || node.op === 'Loop') && node.domain === ''

/** The graphs inside a node, by attribute. */
export function graphsOf(node: OnnxNode): Readonly<Record<string, Graph>> {
  const graphs: Record<string, Graph> = Object.create(null)
  for (const [name, a] of Object.entries(node.attributes))
    if (typeof a === 'object' && 'graph' in a) graphs[name] = decodeSubgraph(a, new Map([['', node.opset]]))
  return graphs
}

/** Graphs in graphs are looked into this deep for the names they read. */
const MAX_DEPTH = 8

/** What a node reads: its inputs, and the names from around it that its graphs read. */
export function readsOf(node: OnnxNode, depth = 0): readonly string[] {
  if (!holdsGraphs(node) || depth >= MAX_DEPTH) return node.inputs
  const before = reads.get(node)
  if (before) return before
  const around = Object.values(graphsOf(node)).flatMap((inner) => {
    const own = new Set([...inner.initializers.keys(), ...inner.inputs.map((v) => v.name), ...inner.nodes.flatMap((n) => n.outputs)])
    const read = [...inner.nodes.flatMap((n) => readsOf(n, depth + 1)), ...inner.outputs.map((o) => o.name)]
    return read.filter((name) => name !== '' && !own.has(name))
  })
  const all = [...node.inputs, ...new Set(around)]
  reads.set(node, all)
  return all
}
const reads = new WeakMap<OnnxNode, readonly string[]>()
