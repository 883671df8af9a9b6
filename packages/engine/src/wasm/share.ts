// Nests that differ only in their buffers are one function: the layers of a network are compiled, and get warm, once.
import type { Nest, Node, Store } from '../kernel.ts'
import type { Cut } from '../split.ts'

/** A nest over numbered buffers 0, 1, …, in the order it names them. */
export interface Pattern {
  readonly nest: Nest
  /** The buffers of the nest it was made from. */
  readonly buffers: readonly number[]
  /** Equal for nests that compute the same, cut alike. */
  readonly key: string
}

export const patternOf = (nest: Nest, cut: Cut): Pattern => {
  const buffers: number[] = []
  const numbered = (buffer: number): number => {
    const at = buffers.indexOf(buffer)
    return at >= 0 ? at : buffers.push(buffer) - 1
  }
  const nodes = nest.nodes.map(
    (node): Node => (node.kind === 'load' ? { ...node, access: { ...node.access, buffer: numbered(node.access.buffer) } } : node),
  )
  const stores = nest.stores.map((store): Store => ({ ...store, access: { ...store.access, buffer: numbered(store.access.buffer) } }))
  const pattern = { ...nest, nodes, stores }
  return { nest: pattern, buffers, key: JSON.stringify([pattern, cut]) }
}
