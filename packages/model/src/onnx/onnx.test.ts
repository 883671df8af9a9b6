// What we export runs in onnxruntime and gives our interpreter's logits; what we decode is what PyTorch wrote; broken files are refused.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { constF32, type Data, type Expr, expr, input, interpret, makeGraph } from '@bitloom/graph'
import * as ort from 'onnxruntime-web'
import { readMnist } from '../data/mnist.ts'
import { readSafetensors } from '../safetensors.ts'
import { decodeModel, OnnxError } from './decode.ts'
import { encodeModel } from './encode.ts'
import { type Activation, exportMlp, type MlpLayer } from './export.ts'
import { ELEMENT } from './schema.ts'

ort.env.wasm.numThreads = 1

/** Weights that any machine draws alike, roughly uniform and of the size that training starts from. */
function draw(seed: number, n: number, scale: number): Float32Array {
  let word = seed >>> 0
  return Float32Array.from({ length: n }, () => {
    word = (Math.imul(word, 1664525) + 1013904223) >>> 0
    return (word / 2 ** 32 - 0.5) * 2 * scale
  })
}

function layersOf(sizes: readonly number[], seed = 1): Required<MlpLayer>[] {
  return sizes.slice(1).map((out, i) => ({
    name: `fc${i + 1}`,
    weight: { shape: [out, sizes[i]!], data: draw(seed + i, out * sizes[i]!, 1 / Math.sqrt(sizes[i]!)) },
    bias: { shape: [out], data: draw(seed + 100 + i, out, 0.1) },
  }))
}

const spread = (x: Expr, shape: readonly number[]): Expr =>
  expr('expand', [expr('reshape', [x], { shape: x.shape.length === 1 ? [1, ...x.shape] : shape.map(() => 1) })], { shape })

/** The logits of a batch by the defining interpreter: cast, divide, and a dot, a bias and a relu a layer. */
function interpretMlp(layers: readonly Required<MlpLayer>[], images: Uint8Array, batch: number): Float32Array {
  const state = layers.flatMap((l) => [l.weight, l.bias])
  const slots = [
    ...state.map((t, i) => ({ name: `s${i}`, kind: 'state' as const, dtype: 'f32' as const, shape: t.shape })),
    { name: 'x', kind: 'data' as const, dtype: 'u8' as const, shape: [batch, images.length / batch] },
  ]
  const leaves = slots.map((s, i) => input(i, s.dtype, s.shape))
  let value = expr('cast', [leaves.at(-1)!], { dtype: 'f32' })
  value = expr('div', [value, spread(constF32(255), value.shape)])
  layers.forEach((_, i) => {
    const product = expr('dot', [value, expr('permute', [leaves[2 * i]!], { attrs: [1, 0] })])
    value = expr('add', [product, spread(leaves[2 * i + 1]!, product.shape)])
    if (i < layers.length - 1) value = expr('max', [value, spread(constF32(0), value.shape)])
  })
  // A probe holds 256 elements at most, so the logits are read as the graph's last expr computed for a wider result.
  const graph = makeGraph(slots, leaves.slice(0, -1), expr('argmax', [value], { attrs: [1] }))
  let logits: Data | undefined
  const at = graph.exprs[graph.probe]!.inputs[0]
  interpret(graph, [...state.map((t) => t.data), images], (i, data) => {
    if (i === at) logits = data
  })
  return logits as Float32Array
}

async function runOrt(model: Uint8Array, x: ort.Tensor): Promise<Float32Array> {
  const session = await ort.InferenceSession.create(model)
  const result = await session.run({ [session.inputNames[0]!]: x })
  const data = result[session.outputNames[0]!]!.data as Float32Array
  await session.release()
  return data
}

/** The largest |a - b| over the largest |b|. */
function distance(a: Float32Array, b: Float32Array): number {
  assert.equal(a.length, b.length)
  let [worst, scale] = [0, 0]
  b.forEach((v, i) => {
    worst = Math.max(worst, Math.abs(a[i]! - v))
    scale = Math.max(scale, Math.abs(v))
  })
  assert.ok(scale > 0, 'nothing but zeros proves nothing')
  return worst / scale
}

test('onnxruntime gives our logits on real digits, in batches of any size', async () => {
  const { test: digits } = readMnist()
  const layers = layersOf([784, 64, 32, 10])
  const model = exportMlp({ layers, activation: 'relu', inputDtype: 'u8', inputDivisor: 255 })
  for (const batch of [1, 7, 200]) {
    const images = digits.images.slice(0, batch * 784)
    const ours = interpretMlp(layers, images, batch)
    const theirs = await runOrt(model, new ort.Tensor('uint8', images, [batch, 784]))
    const off = distance(theirs, ours)
    assert.ok(off < 1e-5, `batch ${batch}: ${off}`) // 2.2e-7 measured
    for (let i = 0; i < batch; i++) {
      const best = (x: Float32Array) => x.subarray(10 * i, 10 * i + 10).reduce((at, v, k, row) => (v > row[at]! ? k : at), 0)
      assert.equal(best(theirs), best(ours), `digit ${i}`)
    }
  }
})

test('activations, layouts and missing biases mean what they say', async () => {
  const layers = layersOf([5, 16, 3], 7)
  const x = draw(9, 10, 2)
  const activations: Record<Activation, (v: number) => number> = {
    relu: (v) => Math.max(v, 0),
    tanh: Math.tanh,
    sigmoid: (v) => 1 / (1 + Math.exp(-v)),
    silu: (v) => v / (1 + Math.exp(-v)),
    none: (v) => v,
  }
  for (const activation of Object.keys(activations) as Activation[])
    for (const weightLayout of ['out,in', 'in,out'] as const)
      for (const biased of [true, false]) {
        const turned = layers.map(({ weight, bias, name }) => ({
          name,
          weight: weightLayout === 'out,in' ? weight : turn(weight),
          ...(biased ? { bias } : {}),
        }))
        const theirs = await runOrt(exportMlp({ layers: turned, activation, weightLayout }), new ort.Tensor('float32', x, [2, 5]))
        const expected: number[] = []
        for (let row = 0; row < 2; row++) {
          let h = [...x.subarray(5 * row, 5 * row + 5)]
          layers.forEach(({ weight, bias }, i) => {
            const z = Array.from(bias.data, (b, o) => h.reduce((sum, v, k) => sum + v * weight.data[o * h.length + k]!, biased ? b : 0))
            h = i === layers.length - 1 ? z : z.map(activations[activation])
          })
          expected.push(...h)
        }
        const off = distance(theirs, Float32Array.from(expected))
        assert.ok(off < 1e-5, `${activation} ${weightLayout} ${biased}: ${off}`)
      }
})

function turn({ shape, data }: MlpLayer['weight']): MlpLayer['weight'] {
  const [rows, columns] = shape as [number, number]
  return { shape: [columns, rows], data: Float32Array.from(data, (_, i) => data[(i % rows) * columns + Math.floor(i / rows)]!) }
}

test('a decoded export is what was exported, and equal input gives equal bytes', () => {
  const layers = layersOf([6, 4, 2])
  const options = {
    layers,
    activation: 'relu',
    inputName: 'pixels',
    inputDtype: 'u8',
    inputDivisor: 255,
    metadata: { task: '0x12', root: '0x34' },
  } as const
  const bytes = exportMlp(options)
  assert.deepEqual(exportMlp(options), bytes)
  const model = decodeModel(bytes)
  assert.deepEqual(
    [model.irVersion, model.opset, model.producer, { ...model.metadata }],
    [8, 17, 'bitloom', { root: '0x34', task: '0x12' }],
  )
  assert.deepEqual(
    model.nodes.map((n) => n.op),
    ['Cast', 'Div', 'Gemm', 'Relu', 'Gemm'],
  )
  assert.deepEqual(model.inputs, [{ name: 'pixels', element: ELEMENT.u8, shape: ['batch', 6] }])
  assert.deepEqual(model.outputs, [{ name: 'logits', element: ELEMENT.f32, shape: ['batch', 2] }])
  assert.deepEqual([...model.initializers.keys()], ['pixels/divisor', 'fc1.weight', 'fc1.bias', 'fc2.weight', 'fc2.bias'])
  layers.forEach(({ name, weight, bias }) => {
    assert.deepEqual(model.initializers.get(`${name}.weight`), { name: `${name}.weight`, element: ELEMENT.f32, ...weight })
    assert.deepEqual(model.initializers.get(`${name}.bias`)!.data, bias.data)
  })
  assert.equal(model.nodes[2]!.attributes.transB, 1)
})

test('layers that do not meet and names that clash are refused', () => {
  const [a, b] = layersOf([6, 4, 2]) as [Required<MlpLayer>, Required<MlpLayer>]
  const attempt = (layers: MlpLayer[]) => () => exportMlp({ layers, activation: 'relu' })
  assert.throws(attempt([]), /without layers/)
  assert.throws(attempt([b, a]), /layer 1 takes 6 values, but layer 0 gives 2/)
  assert.throws(attempt([{ ...a, bias: b.bias }]), /bias of shape \[2\] for 4 outputs/)
  assert.throws(attempt([a, { ...b, name: 'fc1' }]), /"fc1.weight" is taken/)
  assert.throws(attempt([{ ...a, weight: { shape: [4, 7], data: a.weight.data } }]), /\[4,7\] and 24 elements differ/)
  assert.throws(
    () => encodeModel({ name: 'm', nodes: [], initializers: [], inputs: [], outputs: [{ name: 'y', dtype: 'f32', shape: [] }] }),
    /which nothing/,
  )
})

test('a cut or flipped file is decoded or refused, and nothing else', () => {
  const bytes = exportMlp({ layers: layersOf([3, 2, 2]), activation: 'tanh' })
  const attempt = (bad: Uint8Array) => {
    try {
      decodeModel(bad)
    } catch (e) {
      assert.ok(e instanceof OnnxError, `${e}`)
      return 1
    }
    return 0
  }
  let refused = 0
  for (let i = 0; i < bytes.length; i++) {
    refused += attempt(bytes.subarray(0, i))
    for (const bit of [0, 3, 7]) {
      const bad = bytes.slice()
      bad[i]! ^= 1 << bit
      refused += attempt(bad)
    }
  }
  assert.ok(refused > bytes.length)
})

const torch = new URL('../../../../../shared/reference/torch/', import.meta.url)
test("PyTorch's exports are decoded with the weights of their safetensors", {
  skip: !existsSync(torch) && 'no reference runs stand beside the repository',
}, async () => {
  for (const [kase, nodes] of [
    ['a_mlp_fashion', 5],
    ['c_chargpt', 422],
    ['g_tabular_mse', 6],
  ] as const) {
    const bytes = new Uint8Array(readFileSync(new URL(`${kase}/model.onnx`, torch)))
    const model = decodeModel(bytes)
    assert.equal(model.producer, 'pytorch')
    assert.equal(model.nodes.length, nodes)
    const weights = readSafetensors(new Uint8Array(readFileSync(new URL(`${kase}/init.safetensors`, torch))))
    assert.deepEqual([...model.initializers.keys()].sort(), [...weights.keys()].sort())
    for (const [name, { shape, data }] of weights) {
      const tensor = model.initializers.get(name)!
      assert.deepEqual([tensor.shape, tensor.data], [shape, data], `${kase} ${name}`)
    }
  }
})

test("PyTorch's MLP, exported again by us, is the same function", {
  skip: !existsSync(torch) && 'no reference runs stand beside the repository',
}, async () => {
  const weights = readSafetensors(new Uint8Array(readFileSync(new URL('a_mlp_fashion/init.safetensors', torch))))
  const of = (name: string) => ({ shape: weights.get(name)!.shape, data: weights.get(name)!.data as Float32Array })
  const layers = ['fc1', 'fc2', 'fc3'].map((name) => ({ name, weight: of(`${name}.weight`), bias: of(`${name}.bias`) }))
  const pixels = readFileSync(new URL('a_mlp_fashion/eval_x.u8', torch))
  const x = new ort.Tensor(
    'float32',
    Float32Array.from(pixels.subarray(0, 64 * 784), (p) => Math.fround(p / 255)),
    [64, 784],
  )
  const theirs = await runOrt(new Uint8Array(readFileSync(new URL('a_mlp_fashion/model.onnx', torch))), x)
  assert.deepEqual(await runOrt(exportMlp({ layers, activation: 'relu' }), x), theirs)
})
