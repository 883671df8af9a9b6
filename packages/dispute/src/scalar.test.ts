// Holds scalarStep to the interpreter: folding every term of every element of every case of vectors/ops.json gives the interpreter's bits.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { bytesOf, encodeExpr, type Graph, OP_NAMES, type OpName, sizeOf, toBytes } from '@bitloom/graph'
import { loadOpVectors, type OpVector } from '../../../test/vectors.ts'
import { opsFile } from '../../../tools/vectors-ops.ts'
import { decodeLeaf, type Leaf, leafOf } from './leaf.ts'
import { identity, type Read, scalarStep, terms } from './scalar.ts'
import { reader } from './witness.ts'

const vectors = loadOpVectors()

const leafBytes = (graph: Graph, position: number): Uint8Array => encodeExpr(graph, graph.exprs[position]!)

const readerOf = (v: OpVector, e: Leaf): Read => reader(e, (k) => toBytes(v.operands[k]!.data))

/** All terms of one element, from the identity. */
const foldAll = (e: Leaf, element: number, read: Read): number => {
  let acc = identity(e)
  for (let term = 0, n = terms(e); term < n; term++) acc = scalarStep(e, element, term, acc, read)
  return acc
}

test('vectors/ops.json is what the interpreter gives', async () => {
  const { readFileSync } = await import('node:fs')
  assert.equal(readFileSync(new URL('../../../vectors/ops.json', import.meta.url), 'utf8'), opsFile())
})

test('the vectors have every op in every dtype of its operands', () => {
  const seen = new Map<OpName, Set<string>>()
  for (const v of vectors) seen.set(v.op, (seen.get(v.op) ?? new Set()).add(v.operands.map((t) => t.dtype).join()))
  assert.deepEqual([...seen.keys()].sort(), [...OP_NAMES].sort())
  for (const op of ['add', 'sub', 'mul', 'lt', 'eq', 'bitcast', 'sum'] as const) assert.equal(seen.get(op)!.size, 2, op)
  for (const op of ['reshape', 'permute', 'expand', 'slice', 'pad', 'window', 'gather', 'cast'] as const)
    assert.ok(seen.get(op)!.size >= 3, `${op}: ${[...seen.get(op)!]}`)
})

for (const op of OP_NAMES.filter((name) => name !== 'input'))
  test(`${op}: folding scalar steps gives the interpreter's bits`, () => {
    for (const v of vectors.filter((x) => x.op === op)) {
      const e = decodeLeaf(leafBytes(v.graph, v.position))
      assert.deepEqual(e, leafOf(v.graph, v.position))
      const read = readerOf(v, e)
      const [bytes, width] = [toBytes(v.result.data), bytesOf(v.result.dtype)]
      for (let element = 0, n = sizeOf(v.result.shape); element < n; element++) {
        const word = foldAll(e, element, read)
        const want = width === 1 ? bytes[element]! : new DataView(bytes.buffer, bytes.byteOffset).getUint32(4 * element, true)
        if (word !== want) assert.fail(`${v.name}: element ${element} is 0x${word.toString(16)}, not 0x${want.toString(16)}`)
      }
    }
  })

test('reads come in one order', () => {
  const order = (op: OpName, name: RegExp, element: number, term: number, acc: number): string => {
    const v = vectors.find((x) => x.op === op && name.test(x.name))!
    const e = leafOf(v.graph, v.position)
    const seen: string[] = []
    const read = readerOf(v, e)
    scalarStep(e, element, term, acc, (k, index) => {
      seen.push(`${k}:${index}`)
      return read(k, index)
    })
    return seen.join(' ')
  }
  assert.equal(order('const', /f32 1/, 0, 0, 0), '')
  assert.equal(order('iota', /./, 0, 0, 0), '')
  assert.equal(order('pad', /f32\[3\] 2,1,0/, 0, 0, 0), '')
  assert.equal(order('pad', /f32\[3\] 2,1,0/, 2, 0, 0), '0:0')
  assert.equal(order('where', /picks NaN/, 0, 0, 0), '0:0 2:0')
  assert.equal(order('where', /picks NaN/, 1, 0, 0), '0:1 1:1')
  assert.equal(order('dot', /\[3,5\] x/, 5, 2, 0), '0:7 1:9')
  assert.equal(order('argmax', /\[70,3\] axis 0/, 1, 0, 0), '0:1 0:1')
  assert.equal(order('argmax', /\[70,3\] axis 0/, 1, 9, 4), '0:13 0:28')
  assert.equal(order('maxOver', /\[70,3\] axis 0/, 1, 9, 4), '0:28')
  assert.equal(order('scatterAdd', /one row takes all/, 7, 5, 0), '1:5 0:16')
  assert.equal(order('scatterAdd', /one row takes all/, 4, 5, 0), '1:5')
  assert.match(order('gather', /f32 7 of \[4,3\]/, 4, 0, 0), /^1:1 0:\d+$/)
})

test('what cannot be asked is refused by name', () => {
  const of = (op: OpName): Leaf => {
    const v = vectors.find((x) => x.op === op && x.result.shape.length > 0)!
    return leafOf(v.graph, v.position)
  }
  const nothing: Read = () => assert.fail('must not read')
  const refused = (e: Leaf, element: number, term: number, code: string): void =>
    assert.throws(() => scalarStep(e, element, term, 0, nothing), { code })
  refused(of('input'), 0, 0, 'NoScalarRule')
  refused(of('iota'), sizeOf(of('iota').shape), 0, 'ElementOutOfRange')
  refused(of('iota'), -1, 0, 'ElementOutOfRange')
  refused(of('iota'), 0, 1, 'TermOutOfRange')
  refused(of('sum'), 0, terms(of('sum')), 'TermOutOfRange')
})
