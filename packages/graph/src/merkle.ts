// Binary Merkle trees over 32-byte items and over tensors' bytes. Twin: dispute/Merkle.sol (docs/numerics.md §7).

import { concatBytes, sameBytes, sha256 } from './sha256.ts'

/** Bytes of tensor that one leaf holds. */
export const CHUNK = 1024

const LEAF = new Uint8Array([0])
const ZERO = new Uint8Array(32)

/** sha256(0x00 ‖ data): the hash of a leaf's content. */
export const leafHash = (data: Uint8Array): Uint8Array => sha256(concatBytes(LEAF, data))

const pair = new Uint8Array(65)
pair[0] = 1

/** sha256(0x01 ‖ left ‖ right). */
export function innerHash(left: Uint8Array, right: Uint8Array): Uint8Array {
  pair.set(left, 1)
  pair.set(right, 33)
  return sha256(pair)
}

/** Levels between the root and the leaves of a tree over `count` items: ceil(log2(count)), 0 for one item. */
export function depthOf(count: number): number {
  let depth = 0
  while (2 ** depth < count) depth++
  return depth
}

/** The padding item's ancestors: `padding[k]` is the root of a subtree of height k made of padding only. */
function paddings(pad: Uint8Array, depth: number): Uint8Array[] {
  const roots = [pad]
  for (let k = 0; k < depth; k++) roots.push(innerHash(roots[k]!, roots[k]!))
  return roots
}

/** All levels of a tree, leaves first, padding left out: `levels[k][i]` is node i at height k. */
export type Tree = { readonly levels: readonly (readonly Uint8Array[])[]; readonly padding: readonly Uint8Array[] }

/**
 * The tree over 32-byte `items`, padded to a power of two with `pad` (32 zero bytes unless told).
 * @throws {RangeError} no items
 */
export function merkleTree(items: readonly Uint8Array[], pad: Uint8Array = ZERO): Tree {
  if (items.length === 0) throw new RangeError('merkleTree: no items')
  const depth = depthOf(items.length)
  const padding = paddings(pad, depth)
  const levels: Uint8Array[][] = [items.slice()]
  for (let k = 0; k < depth; k++) {
    const below = levels[k]!
    const level: Uint8Array[] = []
    for (let i = 0; i < below.length; i += 2) level.push(innerHash(below[i]!, below[i + 1] ?? padding[k]!))
    levels.push(level)
  }
  return { levels, padding }
}

export const rootOf = (tree: Tree): Uint8Array => tree.levels[tree.levels.length - 1]![0]!

/** Node `index` at `height` above the leaves, padding included. */
export const nodeAt = (tree: Tree, height: number, index: number): Uint8Array => tree.levels[height]?.[index] ?? tree.padding[height]!

/** The siblings from leaf `index` up to the root. */
export function proofOf(tree: Tree, index: number): Uint8Array[] {
  const proof: Uint8Array[] = []
  for (let k = 0; k + 1 < tree.levels.length; k++) {
    proof.push(nodeAt(tree, k, index ^ 1))
    index = Math.floor(index / 2)
  }
  return proof
}

/** The root that a leaf at `index` and its siblings hash to. */
export function climb(leaf: Uint8Array, index: number, proof: readonly Uint8Array[]): Uint8Array {
  let node = leaf
  for (const sibling of proof) {
    node = index % 2 === 1 ? innerHash(sibling, node) : innerHash(node, sibling)
    index = Math.floor(index / 2)
  }
  return node
}

/** Whether `leaf` stands at `index` under `root` in a tree of `depth` levels. */
export const proves = (root: Uint8Array, depth: number, index: number, leaf: Uint8Array, proof: readonly Uint8Array[]): boolean =>
  proof.length === depth && index >= 0 && index < 2 ** depth && sameBytes(climb(leaf, index, proof), root)

/** Number of 1,024-byte chunks of a tensor of `byteLength` bytes (at least one). */
export const chunksOf = (byteLength: number): number => Math.max(1, Math.ceil(byteLength / CHUNK))

const leafBuffer = new Uint8Array(1 + CHUNK)

/** Chunk `index` of a tensor's bytes, zero-padded to 1,024. */
export function chunkAt(bytes: Uint8Array, index: number): Uint8Array {
  const chunk = new Uint8Array(CHUNK)
  chunk.set(bytes.subarray(index * CHUNK, (index + 1) * CHUNK))
  return chunk
}

function chunkHash(bytes: Uint8Array, index: number): Uint8Array {
  const part = bytes.subarray(index * CHUNK, (index + 1) * CHUNK)
  leafBuffer.set(part, 1)
  leafBuffer.fill(0, 1 + part.length)
  return sha256(leafBuffer)
}

const ZERO_CHUNK = leafHash(new Uint8Array(CHUNK))

/** The tree over a tensor's little-endian bytes. */
export function tensorTree(bytes: Uint8Array): Tree {
  const items: Uint8Array[] = []
  for (let i = 0, n = chunksOf(bytes.length); i < n; i++) items.push(chunkHash(bytes, i))
  return merkleTree(items, ZERO_CHUNK)
}

/** A tensor's root: 32 bytes. */
export const tensorRoot = (bytes: Uint8Array): Uint8Array => rootOf(tensorTree(bytes))

/** The root over 32-byte items (a state's slots, a trace's exprs, a claim's leaves). */
export const itemsRoot = (items: readonly Uint8Array[]): Uint8Array => rootOf(merkleTree(items))
