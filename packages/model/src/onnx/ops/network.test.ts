// Convolutions, pools, norms, recurrent layers, resizing and losses as the importer reads them, against onnxruntime: the same file, the same inputs.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sizeOf } from '@bitloom/graph'
import * as ort from 'onnxruntime-web'
import { evaluated } from '../evaluate.test-support.ts'
import { draw, type FileAttribute, type FileTensor, fileOf, floats, ints } from '../file.test-support.ts'
import { importOnnx } from '../import.ts'
import { ELEMENT } from '../schema.ts'
import { OPERATORS } from './index.ts'

ort.env.wasm.numThreads = 1
ort.env.logLevel = 'error'

type Case = {
  /** Float inputs by their shapes, tensors that the file holds, or '' for one left out. */
  readonly in: readonly (readonly number[] | FileTensor | '')[]
  readonly with?: Readonly<Record<string, FileAttribute>>
  readonly outputs?: number
  readonly opset?: number
  /** Inputs are drawn above 0. */
  readonly positive?: boolean
}

const float = (x: number): FileAttribute => ({ float: x })
const labels = (shape: readonly number[], classes: number): FileTensor => ({
  element: ELEMENT.i64,
  shape,
  values: draw(sizeOf(shape), 5).map((v) => Math.floor(((v + 1) / 2) * classes)),
})
const lengths = (values: readonly number[]): FileTensor => ({ element: ELEMENT.i32, shape: [values.length], values })
const weights = (gates: number, directions: number, inputs = 3, hidden = 2): (readonly number[])[] => [
  [directions, gates * hidden, inputs],
  [directions, gates * hidden, hidden],
  [directions, 2 * gates * hidden],
]
const sequence = [4, 2, 3]

const CASES: Readonly<Record<string, readonly Case[]>> = {
  Conv: [
    { in: [[2, 3, 9], [4, 3, 3], [4]], with: { strides: [2], pads: [1, 2] } },
    { in: [[2, 4, 5, 6], [6, 2, 3, 2], [6]], with: { group: 2, dilations: [1, 2], pads: [1, 0, 0, 1] } },
    {
      in: [
        [1, 2, 7, 6],
        [2, 2, 3, 3],
      ],
      with: { auto_pad: 'SAME_LOWER', strides: [2, 2] },
    },
    { in: [[1, 2, 4, 5, 3], [3, 2, 2, 3, 2], [3]], with: { pads: [1, 0, 1, 0, 1, 0] } },
  ],
  ConvTranspose: [
    { in: [[2, 3, 5], [3, 2, 3], [2]], with: { strides: [2], pads: [1, 0], output_padding: [1] } },
    { in: [[1, 4, 3, 4], [4, 3, 2, 3], [6]], with: { group: 2, strides: [2, 3], dilations: [2, 1] } },
    {
      in: [
        [1, 2, 3, 3],
        [2, 2, 3, 3],
      ],
      with: { strides: [3, 2], output_shape: [10, 8] },
    },
    {
      in: [
        [1, 2, 2, 3, 2],
        [2, 1, 2, 2, 3],
      ],
      with: { strides: [1, 2, 1] },
    },
  ],
  MaxPool: [
    { in: [[1, 2, 8]], with: { kernel_shape: [3], strides: [2], pads: [1, 1], ceil_mode: 1 }, outputs: 2 },
    { in: [[2, 2, 6, 7]], with: { kernel_shape: [2, 3], strides: [2, 1], pads: [0, 1, 1, 1], dilations: [2, 1] }, outputs: 2 },
    { in: [[1, 1, 4, 4, 5]], with: { kernel_shape: [2, 2, 2], strides: [2, 1, 2] }, outputs: 2 },
  ],
  AveragePool: [
    { in: [[1, 2, 8]], with: { kernel_shape: [3], strides: [2], pads: [1, 1] } },
    { in: [[1, 2, 6, 7]], with: { kernel_shape: [3, 2], pads: [1, 0, 1, 1], count_include_pad: 1 } },
    { in: [[1, 2, 7, 6]], with: { kernel_shape: [3, 3], strides: [2, 2], ceil_mode: 1 }, opset: 19 },
    { in: [[1, 1, 4, 4, 5]], with: { kernel_shape: [2, 2, 2], auto_pad: 'SAME_UPPER' } },
  ],
  LpPool: [{ in: [[1, 2, 6, 7]], with: { kernel_shape: [3, 2], p: 3, strides: [2, 1] }, opset: 18 }],
  GlobalAveragePool: [{ in: [[2, 3, 4, 5]] }],
  GlobalMaxPool: [{ in: [[2, 3, 4, 5]] }],
  GlobalLpPool: [{ in: [[2, 3, 4, 5]], with: { p: 1 } }],
  BatchNormalization: [
    { in: [[3, 2, 4], [2], [2], [2], [2]], with: { epsilon: float(1e-3) }, positive: true },
    { in: [[3, 2, 3, 2], [2], [2], [2], [2]], positive: true, opset: 9 },
  ],
  InstanceNormalization: [{ in: [[2, 3, 4, 5], [3], [3]], with: { epsilon: float(1e-2) } }],
  GroupNormalization: [{ in: [[2, 4, 3, 2], [4], [4]], with: { num_groups: 2, epsilon: float(1e-2) }, opset: 21 }],
  LayerNormalization: [
    { in: [[2, 3, 4], [4], [4]], outputs: 3 },
    {
      in: [
        [2, 3, 4],
        [3, 4],
      ],
      with: { axis: 1, epsilon: float(1e-2) },
    },
  ],
  LRN: [{ in: [[2, 5, 3, 3]], with: { size: 3, alpha: float(0.3), beta: float(0.6), bias: float(1.5) } }],
  LpNormalization: [1, 2].map((p) => ({ in: [[2, 3, 4]], with: { p, axis: 1 } })),
  MeanVarianceNormalization: [{ in: [[2, 3, 4, 2]] }],
  RNN: [
    { in: [[4, 3, 3], ...weights(1, 2), lengths(sequence), [2, 3, 2]], with: { hidden_size: 2, direction: 'bidirectional' }, outputs: 2 },
    {
      in: [[4, 3, 3], ...weights(1, 1)],
      with: { hidden_size: 2, activations: { strings: ['LeakyRelu'] }, activation_alpha: { floats: [0.3] } },
      outputs: 2,
    },
  ],
  GRU: [0, 1].flatMap((linear_before_reset) => [
    {
      in: [[4, 3, 3], ...weights(3, 1), lengths(sequence)],
      with: { hidden_size: 2, linear_before_reset, direction: 'reverse' },
      outputs: 2,
    },
    {
      in: [[4, 3, 3], ...weights(3, 2), '', [2, 3, 2]],
      with: { hidden_size: 2, linear_before_reset, direction: 'bidirectional' },
      outputs: 2,
    },
  ]),
  LSTM: [
    {
      in: [[4, 3, 3], ...weights(4, 2), lengths(sequence), [2, 3, 2], [2, 3, 2]],
      with: { hidden_size: 2, direction: 'bidirectional' },
      outputs: 3,
    },
    { in: [[4, 3, 3], ...weights(4, 1), '', '', '', [1, 6]], with: { hidden_size: 2, direction: 'reverse' }, outputs: 3 },
    { in: [[4, 3, 3], ...weights(4, 1)], with: { hidden_size: 2, input_forget: 1, clip: float(0.5) }, outputs: 3 },
    {
      in: [[4, 3, 3], ...weights(4, 1)],
      with: {
        hidden_size: 2,
        activations: { strings: ['HardSigmoid', 'Softsign', 'Relu'] },
        activation_alpha: { floats: [0.3] },
        activation_beta: { floats: [0.4] },
      },
      outputs: 3,
    },
  ],
  Resize: [
    ...['half_pixel', 'pytorch_half_pixel', 'align_corners', 'asymmetric'].flatMap((coordinate_transformation_mode) =>
      (['nearest', 'linear', 'cubic'] as const).flatMap((mode) =>
        [
          [1, 2, 7, 3],
          [1, 2, 2, 8],
        ].map((sizes) => ({ in: [[1, 2, 4, 5], '', '', ints('', sizes)] as const, with: { mode, coordinate_transformation_mode } })),
      ),
    ),
    ...['round_prefer_floor', 'round_prefer_ceil', 'floor', 'ceil'].map((nearest_mode) => ({
      in: [[1, 1, 4, 6], '', floats('', [4], [1, 1, 2.5, 0.5])] as const,
      with: { mode: 'nearest', nearest_mode },
    })),
    {
      in: [[1, 1, 5, 4], floats('', [8], [0, 0, 0.2, 0.1, 1, 1, 0.9, 1.2]), '', ints('', [1, 1, 3, 6])],
      with: { mode: 'linear', coordinate_transformation_mode: 'tf_crop_and_resize', extrapolation_value: float(3) },
    },
    {
      in: [[1, 1, 6, 8], '', '', ints('', [3, 3])],
      with: { axes: [2, 3], mode: 'nearest', keep_aspect_ratio_policy: 'not_larger' },
      opset: 18,
    },
    { in: [[1, 1, 6, 8], '', '', ints('', [3, 5])], with: { axes: [2, 3], mode: 'linear', antialias: 1 }, opset: 18 },
    { in: [[1, 1, 4, 5], floats('', [4], [1, 1, 2, 3])], with: { mode: 'nearest' }, opset: 10 },
    ...[1.7, 1.9, 2.3, 0.7].map((scale) => ({
      in: [[1, 1, 12, 3], '', floats('', [4], [1, 1, scale, 1])] as const,
      with: { mode: 'nearest', coordinate_transformation_mode: 'asymmetric', nearest_mode: 'floor' },
    })),
  ],
  Upsample: [{ in: [[1, 1, 3, 2], floats('', [4], [1, 1, 2, 3])], with: { mode: 'nearest' }, opset: 9 }],
  NegativeLogLikelihoodLoss: (['none', 'sum', 'mean'] as const).flatMap((reduction) => [
    { in: [[3, 4], labels([3], 4)], with: { reduction } },
    { in: [[2, 4, 3, 2], labels([2, 3, 2], 4), [4]], with: { reduction, ignore_index: 1 }, positive: true },
  ]),
  SoftmaxCrossEntropyLoss: (['none', 'sum', 'mean'] as const).flatMap((reduction) => [
    { in: [[3, 4], labels([3], 4)], with: { reduction }, outputs: 2 },
    { in: [[2, 4, 3], labels([2, 3], 4), [4]], with: { reduction, ignore_index: 2 }, positive: true, outputs: 2 },
  ]),
}

const close = (got: readonly number[], expected: readonly number[], within = 2e-6): void => {
  assert.equal(got.length, expected.length)
  got.forEach((v, i) => {
    assert.ok(Math.abs(v - expected[i]) <= within * Math.max(1, Math.abs(expected[i])), `[${i}]: ${v}, not ${expected[i]}`)
  })
}

/** The file of one operator. */
function fileOfCase(
  op: string,
  c: Case,
): { bytes: Uint8Array; inputs: Record<string, { shape: readonly number[]; values: number[] }>; outputs: string[] } {
  const inputs: Record<string, { shape: readonly number[]; values: number[] }> = {}
  const initializers: FileTensor[] = []
  const names = c.in.map((given, i) => {
    const name = `x${i}`
    if (given === '') return ''
    if (!Array.isArray(given)) {
      initializers.push({ ...(given as FileTensor), name })
      return name
    }
    const values = draw(sizeOf(given), i + 1)
    inputs[name] = { shape: given, values: c.positive ? values.map((v) => Math.fround(Math.abs(v) + 0.1)) : values }
    return name
  })
  const outputs = Array.from({ length: c.outputs ?? 1 }, (_, i) => `y${i}`)
  const bytes = fileOf({
    opset: c.opset ?? 17,
    nodes: [{ op, in: names, out: outputs, ...(c.with ? { with: c.with } : {}) }],
    initializers,
    inputs: Object.entries(inputs).map(([name, { shape }]) => ({ name, shape })),
    outputs: outputs.map((name, i) => ({ name, element: op === 'MaxPool' && i === 1 ? ELEMENT.i64 : ELEMENT.f32 })),
  })
  return { bytes, inputs, outputs }
}

async function check(op: string, c: Case): Promise<void> {
  const { bytes, inputs, outputs } = fileOfCase(op, c)
  const what = `${op} ${JSON.stringify(c)}`
  const session = await ort.InferenceSession.create(bytes)
  const theirs = await session.run(
    Object.fromEntries(
      Object.entries(inputs).map(([name, { shape, values }]) => [name, new ort.Tensor('float32', Float32Array.from(values), shape)]),
    ),
  )
  await session.release()
  const model = importOnnx(bytes)
  const ours = evaluated(model, Object.fromEntries(Object.entries(inputs).map(([name, { values }]) => [name, values])))
  outputs.forEach((name) => {
    const shape = model.outputs.find((o) => o.name === name)!.shape
    assert.deepEqual(shape, theirs[name].dims, `${what}: shape of ${name}`)
    const expected = Array.from(theirs[name].data as Float32Array | BigInt64Array, Number)
    ours.outputs[name].forEach((v, i) => {
      assert.ok(
        Math.abs(v - expected[i]) <= 3e-6 * Math.max(1, Math.abs(expected[i])),
        `${what}: ${name}[${i}] is ${v}, onnxruntime's ${expected[i]}`,
      )
    })
  })
}

for (const [op, cases] of Object.entries(CASES))
  test(`${op}, as onnxruntime`, async () => {
    for (const c of cases) await check(op, c)
  })

test('every operator of a network has a case here, or is held elsewhere', () => {
  // RMSNormalization is newer than this onnxruntime; it and the optimizers of ONNX are held to their formulas below
  const elsewhere = ['RMSNormalization']
  const network = /Normalization|LRN|Conv|Pool|LSTM|GRU|RNN|Resize|Upsample|Loss$/
  assert.deepEqual(
    Object.keys(OPERATORS).filter((op) => network.test(op) && !(op in CASES) && !elsewhere.includes(op)),
    [],
  )
})

test('RMSNormalization by its formula', () => {
  const { bytes, inputs } = fileOfCase('RMSNormalization', {
    in: [
      [2, 3, 4],
      [3, 4],
    ],
    with: { axis: 1, epsilon: float(0.25) },
    opset: 23,
  })
  const [x, w] = [inputs.x0.values, inputs.x1.values]
  const squares = [0, 1].map((r) => x.slice(12 * r, 12 * r + 12).reduce((a, v) => a + v * v, 0) / 12)
  close(
    evaluated(importOnnx(bytes), { x0: x, x1: w }).outputs.y0,
    x.map((v, i) => (v / Math.sqrt(squares[Math.floor(i / 12)] + 0.25)) * w[i % 12]),
  )
})

test('batch norm in training: the batch normalises, outputs keep its biased variance as ONNX says, the state its unbiased one as PyTorch does', () => {
  const statistics = { scale: [1, 2], bias: [0.5, -1], mean: [0.1, 0.2], variance: [0.3, 0.4] }
  const x = draw(24)
  const bytes = fileOf({
    nodes: [
      {
        op: 'BatchNormalization',
        in: ['x', ...Object.keys(statistics)],
        out: ['y', 'nextMean', 'nextVariance'],
        with: { training_mode: 1, momentum: float(0.75), epsilon: float(0.125) },
      },
    ],
    initializers: Object.entries(statistics).map(([name, values]) => floats(name, [2], values)),
    inputs: [{ name: 'x', shape: [3, 2, 4] }],
    outputs: ['y', 'nextMean', 'nextVariance'],
  })
  const model = importOnnx(bytes)
  assert.deepEqual(
    model.parameters.map((p) => [p.name, p.frozen === true]),
    [
      ['scale', false],
      ['bias', false],
      ['mean', true],
      ['variance', true],
    ],
  )
  const channel = (c: number): number[] => x.filter((_, i) => Math.floor(i / 4) % 2 === c)
  const means = [0, 1].map((c) => channel(c).reduce((a, v) => a + v) / 12)
  const variances = [0, 1].map((c) => channel(c).reduce((a, v) => a + (v - means[c]) ** 2, 0) / 12)
  const next = (old: readonly number[], now: readonly number[]): number[] => old.map((v, c) => 0.75 * v + 0.25 * now[c])
  const normalised = (mean: readonly number[], variance: readonly number[]): number[] =>
    x.map((v, i) => {
      const c = Math.floor(i / 4) % 2
      return ((v - mean[c]) / Math.sqrt(variance[c] + 0.125)) * statistics.scale[c] + statistics.bias[c]
    })
  const trained = evaluated(model, { x }, true)
  close(trained.outputs.y, normalised(means, variances))
  close(trained.outputs.nextMean, next(statistics.mean, means))
  close(trained.outputs.nextVariance, next(statistics.variance, variances))
  close(trained.updates.mean, next(statistics.mean, means))
  close(
    trained.updates.variance,
    next(
      statistics.variance,
      variances.map((v) => (v * 12) / 11),
    ),
  )
  const still = evaluated(model, { x })
  close(still.outputs.y, normalised(statistics.mean, statistics.variance))
  assert.deepEqual(still.updates, {})
})

test("ONNX's optimizers by their formulas", () => {
  const domain = 'ai.onnx.preview.training'
  const [rate, count] = [0.1, 3]
  const tensors = [1, 2, 3, 4].map((seed) => draw(5, seed))
  tensors[3] = tensors[3].map((v) => Math.abs(v))
  const run = (op: string, moments: number, attributes: Readonly<Record<string, FileAttribute>>): number[][] => {
    const names = ['x', 'g', 'v', 'h'].slice(0, 2 + moments)
    const bytes = fileOf({
      opsets: [{ domain, version: 1 }],
      nodes: [{ op, domain, in: ['r', 't', ...names], out: ['x2', 'v2', 'h2'].slice(0, 1 + moments), with: attributes }],
      inputs: [{ name: 'r', shape: [] }, { name: 't', element: ELEMENT.i64, shape: [] }, ...names.map((name) => ({ name, shape: [5] }))],
      outputs: ['x2', 'v2', 'h2'].slice(0, 1 + moments),
    })
    const given = Object.fromEntries(names.map((name, i) => [name, moments === 1 && i === 2 ? tensors[3] : tensors[i]]))
    const { outputs } = evaluated(importOnnx(bytes), { r: [rate], t: [count], ...given })
    return Object.values(outputs)
  }
  const [x, g, v, h] = tensors
  const decayed = g.map((u, i) => u + 0.01 * x[i])
  {
    const [alpha, beta, eps] = [0.8, 0.9, 0.05]
    const nextV = v.map((u, i) => alpha * u + (1 - alpha) * decayed[i])
    const nextH = h.map((u, i) => beta * u + (1 - beta) * decayed[i] ** 2)
    const adjusted = (rate * Math.sqrt(1 - beta ** count)) / (1 - alpha ** count)
    const given = {
      alpha: float(alpha),
      beta: float(beta),
      epsilon: float(eps),
      norm_coefficient: float(0.01),
      norm_coefficient_post: float(0.02),
    }
    const expected = [x.map((u, i) => (u - (adjusted * nextV[i]) / (Math.sqrt(nextH[i]) + eps)) * 0.98), nextV, nextH]
    run('Adam', 2, given).forEach((got, i) => {
      close(got, expected[i], 2e-5)
    })
  }
  {
    const nextH = h.map((u, i) => u + decayed[i] ** 2)
    const expected = [x.map((u, i) => u - ((rate / 1.3) * decayed[i]) / (Math.sqrt(nextH[i]) + 0.05)), nextH]
    run('Adagrad', 1, { decay_factor: float(0.1), epsilon: float(0.05), norm_coefficient: float(0.01) }).forEach((got, i) => {
      close(got, expected[i], 2e-5)
    })
  }
  for (const mode of ['standard', 'nesterov']) {
    const nextV = h.map((u, i) => 0.8 * u + 0.9 * decayed[i])
    const expected = [x.map((u, i) => u - rate * (mode === 'standard' ? nextV[i] : decayed[i] + 0.8 * nextV[i])), nextV]
    run('Momentum', 1, { alpha: float(0.8), beta: float(0.9), mode, norm_coefficient: float(0.01) }).forEach((got, i) => {
      close(got, expected[i], 2e-5)
    })
  }
  assert.throws(() => run('Gradient', 1, { y: 'y' }), /Export the loss itself/)
})
