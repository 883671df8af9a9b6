// Checkpoints on disk: each tensor a blob under its root, each state a list of roots, so that anybody can fetch exactly the tensors that differ.

import { bytesOf, type Data, fromBytes, fromHex, type Graph, itemsRoot, sizeOf, toBytes, toHex } from '@bitloom/graph'
import type { Hex } from 'viem'
import type { Meter } from './meter.ts'
import type { BlobStore } from './network/blobs.ts'
import type { Store } from './store.ts'
import { type Copy, type Hashed, openHasher } from './training/hashing.ts'
import { hashTensor } from './training/roots.ts'

const MANIFESTS = 'manifests'

/** What a thread hashes in less time than it takes to ask it. */
const FEW_BYTES = 1 << 18
/** A state up to this size stays in memory as it was saved, so that the next one's unchanged tensors need no hash. */
const KEPT_BYTES = 2 ** 30

export type Checkpoints = {
  /**
   * Stores a state and returns its root. Copies what has changed since the last state before it returns, so the tensors may be views of memory that the next
   * step overwrites; hashing happens on a thread of its own. @throws {HashingError} that thread failed; whatever the disk says
   */
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
  /** Ends the hashing thread; saving fails from then on. */
  readonly close: () => Promise<void>
}

/** A tensor as it was saved last. */
type Saved = { readonly bytes: Copy; readonly hashed: Hashed }

export function openCheckpoints(store: Store, blobs: BlobStore, meter: Meter): Checkpoints {
  const note = (roots: readonly Hex[]): Hex => {
    const root = toHex(itemsRoot(roots.map(fromHex)))
    store.put(MANIFESTS, root, roots)
    return root
  }
  const manifest = (stateRoot: Hex): readonly Hex[] | undefined => store.get<Hex[]>(MANIFESTS, stateRoot)
  const hasher = openHasher()
  let last: readonly Saved[] = []
  /** Buffers that nobody uses, for the next copy: memory that was touched before takes a copy several times as fast. */
  let spare: Copy[] = []
  /** Tensors of states being saved: no `drop` may take them. */
  const arriving = new Map<Hex, number>()

  const copyOf = (bytes: Uint8Array): Copy => {
    const at = spare.findIndex((one) => one.length === bytes.length)
    const copy = at < 0 ? new Uint8Array(bytes.length) : spare.splice(at, 1)[0]!
    copy.set(bytes)
    return copy
  }
  const hashAll = async (copies: readonly Copy[]): Promise<readonly Saved[]> => {
    if (copies.reduce((n, { length }) => n + length, 0) < FEW_BYTES)
      return copies.map((bytes) => ({ bytes, hashed: meter.measure('hash', () => hashTensor(bytes)) }))
    const { hashed, copies: back, cpuMs } = await hasher.hash(copies)
    meter.book('hash', cpuMs)
    return back.map((bytes, i) => ({ bytes, hashed: hashed[i]! }))
  }
  const write = async (tensors: readonly Saved[]): Promise<Hex> => {
    const roots = tensors.map(({ hashed }) => toHex(hashed.root))
    for (const root of roots) arriving.set(root, (arriving.get(root) ?? 0) + 1)
    try {
      await Promise.all(tensors.map(({ bytes, hashed }, s) => blobs.putKnown(roots[s]!, bytes, hashed.nodes)))
      return note(roots)
    } finally {
      for (const root of roots) {
        const others = arriving.get(root)! - 1
        if (others > 0) arriving.set(root, others)
        else arriving.delete(root)
      }
    }
  }

  return {
    save: async (state) => {
      const former = last
      // while this one is being hashed there is nothing to compare another with
      last = []
      const copies: Copy[] = []
      const same = state.map((tensor, s) => {
        const bytes = toBytes(tensor)
        const known = former[s]
        if (known !== undefined && Buffer.compare(known.bytes, bytes) === 0) return known
        copies.push(copyOf(bytes))
        return undefined
      })
      spare = []
      const fresh = (await hashAll(copies)).values()
      const saved = same.map((known) => known ?? fresh.next().value!)
      const root = await write(saved)
      if (saved.reduce((n, { bytes }) => n + bytes.length, 0) <= KEPT_BYTES) {
        last = saved
        spare = former.filter((old) => !saved.includes(old)).map(({ bytes }) => bytes)
      }
      return root
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
      for (const root of [...keep, ...arriving.keys()]) tensors.delete(root)
      store.transaction(() => {
        for (const root of gone) store.delete(MANIFESTS, root)
      })
      for (const root of tensors) blobs.delete(root)
    },
    close: hasher.close,
  }
}
