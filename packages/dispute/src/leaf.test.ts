// A leaf says everything of its expr, and bytes that are no leaf are refused where they stop making sense.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { encodeExpr, graphLeaves } from '@bitloom/graph'
import { loadOpVectors } from '../../../test/vectors.ts'
import { describe } from './arbiter.ts'
import { ArbiterError, decodeLeaf, leafOf } from './leaf.ts'

const vectors = loadOpVectors()
const leafBytes = (name: string): Uint8Array => {
  const v = vectors.find((x) => x.name === name)!
  return encodeExpr(v.graph, v.graph.exprs[v.position]!)
}
const add = leafBytes('add [3,5]')

test('decodes what graph/encode writes', () => {
  for (const v of vectors) v.graph.exprs.forEach((e, i) => assert.deepEqual(decodeLeaf(encodeExpr(v.graph, e)), leafOf(v.graph, i)))
})

test('describes an expr', () => {
  assert.deepEqual(describe(add), { op: 'add', dtype: 'f32', size: 15, byteLength: 60, terms: 1, firstAttr: 0 })
  const dot = { op: 'dot', dtype: 'f32', size: 12, byteLength: 48, terms: 5, firstAttr: 0 }
  assert.deepEqual(describe(leafBytes('dot [3,5] x [5,4]')), dot)
  const slice = { op: 'slice', dtype: 'u8', size: 7, byteLength: 7, terms: 1, firstAttr: 6 }
  assert.deepEqual(describe(leafBytes('slice u8[7] 6,-1 to [7]')), slice)
})

test('refuses every truncation and every byte too many', () => {
  for (let n = 0; n < add.length; n++) assert.throws(() => decodeLeaf(add.subarray(0, n)), { code: 'MalformedLeaf' })
  assert.throws(() => decodeLeaf(Uint8Array.of(...add, 0)), { code: 'MalformedLeaf' })
})

test('refuses other leaves of a graph', () => {
  const { graph } = vectors[0]!
  for (const leaf of graphLeaves(graph).slice(graph.exprs.length)) assert.throws(() => decodeLeaf(leaf), { code: 'MalformedLeaf' })
})

test('refuses unknown ops, wrong counts, dtypes, ranks and sizes', () => {
  const with_ = (offset: number, ...bytes: number[]): Uint8Array => {
    const leaf = add.slice()
    leaf.set(bytes, offset)
    return leaf
  }
  const refused = (leaf: Uint8Array, code: string): void => assert.throws(() => decodeLeaf(leaf), { code })
  refused(with_(0, 2), 'MalformedLeaf')
  for (const op of [3, 7, 15, 34, 39, 41, 55, 58, 63, 68, 255]) refused(with_(1, op), 'UnknownOp')
  refused(with_(2, 1), 'MalformedLeaf')
  refused(with_(3, 1), 'MalformedLeaf')
  refused(with_(4, 3), 'MalformedLeaf')
  refused(with_(5, 7), 'MalformedLeaf')
  refused(with_(6, 0, 0, 0, 0), 'MalformedLeaf')
  refused(with_(6, 0x80, 0, 0, 0), 'MalformedLeaf')
  refused(with_(6, 0x7f, 255, 255, 255), 'MalformedLeaf')
})

test('no byte changed makes it throw anything but a named refusal', () => {
  for (const name of ['add [3,5]', 'pad f32[2,3] 1,0,0,2,1,2,2147483648', 'concat u8 [3]+[1]+[2] axis 0'])
    for (let offset = 0; offset < leafBytes(name).length; offset++)
      for (const byte of [0, 1, 2, 6, 7, 13, 127, 128, 255]) {
        const leaf = leafBytes(name)
        leaf[offset] = byte
        try {
          decodeLeaf(leaf)
        } catch (error) {
          assert.ok(error instanceof ArbiterError, `${name}, byte ${offset} = ${byte}: ${error}`)
        }
      }
})
