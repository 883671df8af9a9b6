// What offers cost a network of ten thousand: how many copies of each a node receives, and in how many hops all have it. SIMULATED: a random graph of
// mesh links stands for gossipsub's, nothing is lost.

import { words } from '../economics/market.ts'

export type Gossip = {
  readonly nodes: number
  readonly offerBytes: number
  readonly hops: number
  /** Copies of one offer that a node receives on average. */
  readonly copies: number
  /** Bytes a second that a node receives when every node repeats its offer every `everySeconds`. */
  readonly bytesPerSecond: number
  /** Signatures that a node checks a second: each offer is checked once, when it is new. */
  readonly checksPerSecond: number
  readonly reached: number
}

/**
 * @param degree mesh links a node wants (gossipsub's D: 6)
 * @param everySeconds between two tellings of one offer; a repetition travels again
 * @param lifeSeconds of an offer: a new one replaces it then
 */
export function gossip(nodes: number, degree: number, offerBytes: number, everySeconds: number, lifeSeconds: number, seed: number): Gossip {
  const random = words(seed)
  const mesh: Set<number>[] = Array.from({ length: nodes }, () => new Set())
  for (let node = 0; node < nodes; node++)
    while (mesh[node]!.size < degree) {
      const other = Math.floor(random() * nodes)
      if (other === node) continue
      mesh[node]!.add(other)
      mesh[other]!.add(node)
    }
  // whoever has it passes it on to all its links but the one that it came by
  const from = new Int32Array(nodes).fill(-2)
  from[0] = -1
  let [edge, hops, copies, reached] = [[0], -1, 0, 0]
  while (edge.length > 0) {
    hops++
    reached += edge.length
    const next: number[] = []
    for (const node of edge)
      for (const peer of mesh[node]!) {
        if (peer === from[node]) continue
        copies++
        if (from[peer] !== -2) continue
        from[peer] = node
        next.push(peer)
      }
    edge = next
  }
  return {
    nodes,
    offerBytes,
    hops,
    copies: copies / nodes,
    bytesPerSecond: (nodes * offerBytes * (copies / nodes)) / everySeconds,
    checksPerSecond: nodes / lifeSeconds,
    reached: reached / nodes,
  }
}
