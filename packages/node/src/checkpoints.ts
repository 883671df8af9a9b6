// Checkpoints on disk: each tensor a blob under its root, each state a list of roots, so that anybody can fetch exactly the tensors that differ.

import { bytesOf, type Data, fromBytes, fromHex, type Graph, itemsRoot, sizeOf, toBytes, toHex } from '@bitloom/graph'
import type { Hex } from 'viem'
import type { Meter } from './meter.ts'
import type { BlobStore } from './network/blobs.ts'
import type { Store } from './store.ts'
import { rootOf } from './training/roots.ts'

const MANIFESTS = 'manifests'

export type Checkpoints = {
  /** Stores a state and returns its root. The tensors may be views of memory that changes once the promise is kept. */
  readonly save: (state: readonly Data[]) => Promise<Hex>
  /** Notes that a state consists of these tensors, which are blobs already. */
  readonly note: (roots: readonly Hex[]) => Hex
  /** A state's tensor roots, slot order. */
  readonly manifest: (stateRoot: Hex) => readonly Hex[] | undefined
  /** Tensor roots of all states that are known. */
  readonly tensors: () => Hex[]
  /** A state's tensors, or undefined where one is missing. */
  readonly load: (graph: Graph, stateRoot: Hex) => Promise<Data[] | undefined>
  /** Forgets states, and deletes those of their tensors that no other state has and that are not among `keep` (a task's data may be equal to one). */
  readonly drop: (stateRoots: readonly Hex[], keep?: Iterable<Hex>) => void
}

export function openCheckpoints(store: Store, blobs: BlobStore, meter: Meter): Checkpoints {
  const note = (roots: readonly Hex[]): Hex => {
    const root = toHex(itemsRoot(roots.map(fromHex)))
    store.put(MANIFESTS, root, roots)
    return root
  }
  const manifest = (stateRoot: Hex): readonly Hex[] | undefined => store.get<Hex[]>(MANIFESTS, stateRoot)
  return {
    save: async (state) => {
      const copies = state.map((t) => toBytes(t).slice())
      const roots = copies.map((bytes) => meter.measure('hash', () => toHex(rootOf(bytes))))
      await Promise.all(copies.map((bytes, s) => blobs.putKnown(roots[s]!, bytes)))
      return note(roots)
    },
    note,
    manifest,
    tensors: () => store.list<Hex[]>(MANIFESTS).flatMap(({ value }) => value),
    load: async (graph, stateRoot) => {
      const roots = manifest(stateRoot)
      if (!roots || roots.length !== graph.next.length) return undefined
      const tensors: Data[] = []
      for (const [s, root] of roots.entries()) {
        const slot = graph.slots[s]!
        const bytes = await blobs.get(root, sizeOf(slot.shape) * bytesOf(slot.dtype))
        if (!bytes) return undefined
        tensors.push(fromBytes(slot.dtype, bytes))
      }
      return tensors
    },
    drop: (stateRoots, keep = []) => {
      const gone = new Set<string>(stateRoots)
      const tensors = new Set(stateRoots.flatMap((root) => manifest(root) ?? []))
      for (const { key, value } of store.list<Hex[]>(MANIFESTS)) if (!gone.has(key)) for (const root of value) tensors.delete(root)
      for (const root of keep) tensors.delete(root)
      store.transaction(() => {
        for (const root of gone) store.delete(MANIFESTS, root)
      })
      for (const root of tensors) blobs.delete(root)
    },
  }
}
