// An exported file with other weights in it: runs as before, keeps what nobody understands, and refuses what does not fit.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import * as ort from 'onnxruntime-web'
import { halfToNumber } from '../safetensors.ts'
import { decodeModel, OnnxError } from './decode.ts'
import { exportMlp } from './export.ts'
import { ELEMENT, ModelProto } from './schema.ts'
import { halfOf, replaceWeights } from './weights.ts'

ort.env.wasm.numThreads = 1

const floats = (n: number, from: number): Float32Array => Float32Array.from({ length: n }, (_, i) => Math.fround(Math.sin(from + i)))
const layer = (from: number) => [
  { name: 'fc1', weight: { shape: [4, 3], data: floats(12, from) }, bias: { shape: [4], data: floats(4, from + 20) } },
  { name: 'fc2', weight: { shape: [2, 4], data: floats(8, from + 30) }, bias: { shape: [2], data: floats(2, from + 40) } },
]
const exported = (from: number): Uint8Array => exportMlp({ layers: layer(from), activation: 'tanh' })

async function run(model: Uint8Array): Promise<Float32Array> {
  const session = await ort.InferenceSession.create(model)
  const result = await session.run({ [session.inputNames[0]]: new ort.Tensor('float32', floats(6, 99), [2, 3]) })
  await session.release()
  return result[session.outputNames[0]].data as Float32Array
}

test('a file with the weights of another is the other, byte for byte and in onnxruntime', async () => {
  const weights = Object.fromEntries(
    layer(7).flatMap((l) => [
      [`${l.name}.weight`, l.weight.data],
      [`${l.name}.bias`, l.bias.data],
    ]),
  )
  const mixed = replaceWeights(exported(1), weights)
  assert.deepEqual([...decodeModel(mixed).initializers], [...decodeModel(exported(7)).initializers])
  assert.deepEqual(await run(mixed), await run(exported(7)))
  assert.equal(replaceWeights(exported(1), {}).length, exported(1).length)
  assert.deepEqual(replaceWeights(exported(1), {}), exported(1))
})

/** A model message with anything in it. */
const built = (graph: object, more: Uint8Array = new Uint8Array(0)): Uint8Array =>
  Buffer.concat([
    ModelProto.encode(ModelProto.fromObject({ irVersion: 8, opsetImport: [{ domain: '', version: 17 }], graph })).finish(),
    more,
  ])

test('fields that our schema does not know stay', () => {
  // field 30 of a model (of a newer version, say) with three bytes, and field 200, a varint
  const unknown = Uint8Array.of(0xf2, 0x01, 3, 1, 2, 3, 0xc0, 0x0c, 42)
  const w = { name: 'w', dims: [2], dataType: ELEMENT.f32, floatData: [1, 2] }
  const bytes = built({ name: 'g', initializer: [w] }, unknown)
  const out = replaceWeights(bytes, { w: Float32Array.of(3, 4) }, { root: '0x12' })
  assert.ok(Buffer.from(out).includes(Buffer.from(unknown)))
  assert.deepEqual([...(decodeModel(out).initializers.get('w')!.data as Float32Array)], [3, 4])
  assert.deepEqual({ ...decodeModel(out).metadata }, { root: '0x12' })
})

test('weights in Constant nodes, and copies by Identity, are exchanged too', () => {
  const tensor = { name: '', dims: [2], dataType: ELEMENT.f32, rawData: new Uint8Array(Float32Array.of(1, 2).buffer) }
  const bytes = built({
    name: 'g',
    initializer: [{ ...tensor, name: 'a' }],
    node: [
      { opType: 'Constant', output: ['c'], attribute: [{ name: 'value', type: 4, t: tensor }] },
      { opType: 'Identity', input: ['a'], output: ['b'] },
      { opType: 'Identity', input: ['a'], output: ['untouched'] },
    ],
  })
  const model = decodeModel(replaceWeights(bytes, { c: Float32Array.of(5, 6), b: Float32Array.of(7, 8) }))
  assert.deepEqual(
    model.nodes.map((n) => [n.op, n.outputs[0]]),
    [
      ['Constant', 'c'],
      ['Identity', 'untouched'],
    ],
  )
  assert.deepEqual([...(model.nodes[0].attributes.value as { data: Float32Array }).data], [5, 6])
  assert.deepEqual(
    [...model.initializers].map(([name, t]) => [name, [...(t.data as Float32Array)]]),
    [
      ['a', [1, 2]],
      ['b', [7, 8]],
    ],
  )
})

test('elements are rounded to the type that the file keeps', () => {
  const x = Float32Array.of(1, -0.1, 65519, 65520, 2 ** -24, 2 ** -25, 3 * 2 ** -25, 2 ** -14, 0, Number.POSITIVE_INFINITY)
  const of = (dataType: number, width: number) =>
    decodeModel(
      replaceWeights(built({ name: 'g', initializer: [{ name: 'w', dims: [10], dataType, rawData: new Uint8Array(10 * width) }] }), {
        w: x,
      }),
    ).initializers.get('w')!
  const half = [1, -0.0999755859375, 65504, Number.POSITIVE_INFINITY, 2 ** -24, 0, 2 ** -23, 2 ** -14, 0, Number.POSITIVE_INFINITY]
  assert.deepEqual(
    [...x].map((v) => halfToNumber(halfOf(v))),
    half,
  )
  assert.equal(of(ELEMENT.f64, 8).data[1], Math.fround(-0.1))
  assert.ok(of(ELEMENT.f16, 2))
  assert.ok(of(ELEMENT.bf16, 2))
  // every half is its own nearest half
  for (let h = 0; h < 0x7c00; h++) assert.equal(halfOf(halfToNumber(h)), h)
})

test('names and sizes that do not fit, and files that are none, are refused', () => {
  assert.throws(() => replaceWeights(exported(1), { 'fc9.weight': new Float32Array(1) }), /no tensor named fc9\.weight/)
  assert.throws(
    () => replaceWeights(exported(1), { 'fc1.bias': new Float32Array(3) }),
    /"fc1.bias" has 4 elements in the file, 3 were given/,
  )
  const bytes = exported(1)
  for (let i = 1; i < bytes.length; i++) {
    const bad = bytes.slice()
    bad[i] ^= 0x15
    for (const file of [bytes.subarray(0, i), bad])
      try {
        replaceWeights(file, { 'fc1.bias': new Float32Array(4) })
      } catch (e) {
        assert.ok(e instanceof OnnxError, `byte ${i}: ${(e as Error).stack}`)
      }
  }
})
