// Writes vectors/merkle.json: trees, proofs and padding of graph/merkle, for the TypeScript and the Solidity side to agree on.
//   node tools/vectors-merkle.ts           rewrite (golden data move only when asked)
//   node tools/vectors-merkle.ts --check   exit 1 when the file differs from what would be written
import { readFileSync, writeFileSync } from 'node:fs'
import {
  CHUNK,
  chunkAt,
  chunksOf,
  depthOf,
  innerHash,
  itemsRoot,
  leafHash,
  nodeAt,
  proofOf,
  rootOf,
  tensorTree,
  toHex,
} from '@bitloom/graph'
import { randomWords } from './words.ts'

/** The text of the file; the same on every machine. */
export const merkleFile = (): string => {
  const next = randomWords(0x3e4c1e)
  const bytes = (n: number): Uint8Array => Uint8Array.from({ length: n }, () => next())
  const leaves = [0, 1, 31, 32, 64, 1024].map((n) => {
    const data = bytes(n)
    return { data: toHex(data), hash: toHex(leafHash(data)) }
  })
  const [left, right] = [bytes(32), bytes(32)]
  const depths = [1, 2, 3, 4, 5, 8, 9, 1024, 1025, 65_535, 2 ** 24 + 1].map((count) => ({ count, depth: depthOf(count) }))
  const lists = [1, 2, 3, 4, 5, 6, 7, 8, 9, 16, 31, 33].map((n) => {
    const items = Array.from({ length: n }, () => bytes(32))
    return { items: items.map(toHex), root: toHex(itemsRoot(items)) }
  })
  const tensors = [1, 1023, 1024, 1025, 3 * CHUNK, 4 * CHUNK + 4, 9 * CHUNK].map((n) => {
    const data = bytes(n)
    const tree = tensorTree(data)
    const chunks = chunksOf(n)
    const index = next() % chunks
    return {
      ...{ byteLength: n, chunks, depth: depthOf(chunks), root: toHex(rootOf(tree)), index },
      ...{ chunk: toHex(chunkAt(data, index)), proof: proofOf(tree, index).map(toHex) },
    }
  })
  // Roots of subtrees that hold padding only, by height.
  const zeroChunk = leafHash(new Uint8Array(CHUNK))
  const ancestors = (pad: Uint8Array): string[] => {
    const nodes = [pad]
    for (let k = 0; k < 8; k++) nodes.push(innerHash(nodes[k]!, nodes[k]!))
    return nodes.map(toHex)
  }
  const wide = tensorTree(bytes(5 * CHUNK))
  const row = Array.from({ length: 8 }, (_, i) => toHex(nodeAt(wide, 0, i)))
  const file = {
    leaves,
    inner: { left: toHex(left), right: toHex(right), hash: toHex(innerHash(left, right)) },
    depths,
    lists,
    tensors,
    row: { nodes: row, root: toHex(rootOf(wide)) },
    zeroChunk: toHex(zeroChunk),
    chunkPadding: ancestors(zeroChunk),
    itemPadding: ancestors(new Uint8Array(32)),
  }
  return `${JSON.stringify(file, null, 1)}\n`
}

if (import.meta.main) {
  const path = new URL('../vectors/merkle.json', import.meta.url)
  const file = merkleFile()
  if (!process.argv.includes('--check')) writeFileSync(path, file)
  else if (readFileSync(path, 'utf8') !== file) {
    console.error('vectors/merkle.json differs from what graph/merkle gives; if the change is meant: node tools/vectors-merkle.ts')
    process.exitCode = 1
  }
  console.error(`vectors/merkle.json: ${file.length} bytes`)
}
