// Every composed function's gradient against central differences in float64, and its float32 values against float64. The ops' own rules: grad.test.ts.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allocate, type Expr, input, interpret, makeGraph, type Shape, type Slot, sizeOf } from '@bitloom/graph'
import * as conv from './conv.ts'
import { withDerivative } from './derivative.ts'
import { inFloat64 } from './float64.ts'
import { gradients } from './grad.ts'
import * as loss from './loss.ts'
import * as math from './math.ts'
import * as nn from './nn.ts'
import * as norm from './norm.ts'
import * as pool from './pool.ts'
import * as power from './pow.ts'
import * as recurrent from './recurrent.ts'
import * as resizing from './resize.ts'
import { add, constant, mul, sum, vector } from './tensor.ts'
import * as trig from './trig.ts'

/** Inputs are drawn from here. */
type Range = readonly [low: number, high: number]
type Case = {
  readonly shapes: readonly Shape[]
  readonly f: (...x: Expr[]) => Expr | readonly Expr[]
  readonly range?: Range
  /** Largest relative error of float32 against float64; 2e-5 unless said. */
  readonly rounding?: number
}

const STEP = 2 ** -14
const DIFFERENCE = 2e-6
const ROUNDING = 2e-5

/** Values without ties, the same on any machine, each a float32. */
function draw(shape: Shape, seed: number, [low, high]: Range): Float32Array {
  let word = (seed * 2654435761) >>> 0
  return Float32Array.from({ length: sizeOf(shape) }, () => {
    word = (Math.imul(word, 1664525) + 1013904223) >>> 0
    return low + ((high - low) * (word >>> 8)) / 2 ** 24
  })
}

/** Results as state slots, arguments as data slots. */
function graphOf(shapes: readonly Shape[], build: (xs: readonly Expr[]) => readonly Expr[]) {
  const at = (first: number): Expr[] => shapes.map((s, i) => input(first + i, 'f32', s))
  const results = build(at(build(at(0)).length))
  const slots: Slot[] = [
    ...results.map((e, i): Slot => ({ name: `y${i}`, kind: 'state', dtype: e.dtype, shape: e.shape })),
    ...shapes.map((shape, i): Slot => ({ name: `x${i}`, kind: 'data', dtype: 'f32', shape })),
  ]
  return { graph: makeGraph(slots, results, constant(0, 'i32')), blank: results.map((e) => allocate(e.dtype, sizeOf(e.shape))) }
}

const largest = (x: ArrayLike<number>): number => Array.from(x).reduce((m, v) => Math.max(m, Math.abs(v)), 0)

function check({ shapes, f, range = [-2, 2], rounding = ROUNDING }: Case): void {
  const listed = (y: Expr | readonly Expr[]): readonly Expr[] => ('op' in y ? [y] : y)
  const outputs = (xs: readonly Expr[]): readonly Expr[] => listed(f(...xs))
  const yShapes = outputs(shapes.map((s, i) => input(i, 'f32', s))).map((y) => y.shape)
  const all = [...shapes, ...yShapes]
  // Σ y·cotangent: what reverse mode starts from
  const scalar = (xs: readonly Expr[]): Expr =>
    outputs(xs.slice(0, shapes.length))
      .map((y, i) => sum(mul(y, xs[shapes.length + i])))
      .reduce((a, b) => add(a, b))
  const values = [...shapes.map((s, i) => draw(s, i + 1, range)), ...yShapes.map((s, i) => draw(s, i + 101, [-1, 1]))]
  const derivative = graphOf(all, (xs) => [...gradients(scalar(xs), xs.slice(0, shapes.length)), ...outputs(xs.slice(0, shapes.length))])
  const value = graphOf(all, (xs) => [scalar(xs)])

  const exact = inFloat64(derivative.graph)([...derivative.blank, ...values])
  const rounded = interpret(derivative.graph, [...derivative.blank, ...values]).next
  exact.forEach((e, k) => {
    const off = e.reduce((m, v, i) => Math.max(m, Math.abs(v - rounded[k][i])), 0)
    assert.ok(
      off <= rounding * Math.max(largest(e), 1e-3),
      `${k < shapes.length ? 'gradient' : 'value'} ${k}: float32 is off by ${off} of ${largest(e)}`,
    )
    assert.ok(largest(e) > 0, `${k < shapes.length ? 'gradient' : 'value'} ${k} is nothing but zeros`)
  })

  const run = inFloat64(value.graph)
  shapes.forEach((_, slot) => {
    exact[slot].forEach((g, i) => {
      const shifted = (by: number): number =>
        run([...value.blank, ...values.map((v, k) => (k === slot ? Float64Array.from(v, (x, j) => (j === i ? x + by : x)) : v))])[0][0]
      const expected = (shifted(STEP) - shifted(-STEP)) / (2 * STEP)
      const scale = Math.max(1e-2, largest(exact[slot]))
      assert.ok(Math.abs(g - expected) <= DIFFERENCE * scale, `argument ${slot} [${i}]: ${g}, by differences ${expected}`)
    })
  })
}

const one = (f: (x: Expr) => Expr, range: Range = [-3, 3]): Case => ({ shapes: [[9]], f, range })
const labels = vector([2, 0, 3], 'i32')
const named = (tensors: Readonly<Record<string, Expr>>) => (name: string) => tensors[name]
const weighted = ({ values, weights }: loss.Elements): Expr => (weights ? mul(values, weights) : values)

const WEIGHTS = (gates: number, directions: number, hidden: number, inputs: number): Shape[] => [
  [directions, gates * hidden, inputs],
  [directions, gates * hidden, hidden],
  [directions, 2 * gates * hidden],
]
const gateActivation = (name: string) => recurrent.activation(name, 0.3, 0.4)
const allOf = (r: recurrent.Recurrent): readonly Expr[] => (r.c ? [r.y, r.h, r.c] : [r.y, r.h])

/** Every function of a module that a gradient flows through, with the cases it is held to. */
const CASES: Readonly<Record<string, Readonly<Record<string, readonly Case[]>>>> = {
  math: {
    exp: [one(math.exp)],
    expm1: [one(math.expm1), one(math.expm1, [-0.1, 0.1])],
    log: [one(math.log, [0.1, 9])],
    log1p: [one(math.log1p, [-0.8, 4])],
    tanh: [one(math.tanh), one(math.tanh, [-0.4, 0.4])],
    sigmoid: [one(math.sigmoid)],
    silu: [one(math.silu)],
    erf: [one(math.erf), one(math.erf, [-0.7, 0.7])],
    gelu: [one(math.gelu)],
    geluTanh: [one(math.geluTanh)],
    softplus: [one(math.softplus)],
    relu: [one(math.relu)],
    rsqrt: [one(math.rsqrt, [0.3, 4])],
    polynomial: [one((x) => math.polynomial(x, [1, 2, 3, 4]))],
  },
  trig: {
    sin: [one(trig.sin)],
    cos: [one(trig.cos)],
    sinTurns: [one(trig.sinTurns, [-0.9, 0.9])],
    cosTurns: [one(trig.cosTurns, [-0.9, 0.9])],
  },
  pow: {
    pow: [{ shapes: [[2, 3], [3]], f: power.pow, range: [0.3, 3] }],
    power: [0.5, 1, 2, 3, -0.5, -1, -2, 1.7].map((p) => one((x) => power.power(x, p), [0.3, 3])),
  },
  nn: {
    linear: [
      {
        shapes: [[2, 3], [4, 3], [4]],
        f: (x, w, b) => nn.linear(named({ 'l.weight': w, 'l.bias': b }), 'l', x),
      },
    ],
    mlp: [
      {
        shapes: [[2, 3], [4, 3], [4], [2, 4], [2]],
        f: (x, ...w) => nn.mlp(named({ 'fc1.weight': w[0], 'fc1.bias': w[1], 'fc2.weight': w[2], 'fc2.bias': w[3] }), x, 2, math.tanh),
      },
    ],
    normalize: [{ shapes: [[3, 5]], f: (x) => nn.normalize(x) }],
    layerNorm: [{ shapes: [[3, 5], [5], [5]], f: (x, w, b) => nn.layerNorm(named({ 'n.weight': w, 'n.bias': b }), 'n', x) }],
    embedding: [{ shapes: [[5, 3]], f: (w) => nn.embedding(named({ 'e.weight': w }), 'e', labels) }],
    softmax: [{ shapes: [[3, 5]], f: nn.softmax }],
    attention: [true, false].map((causal) => ({
      shapes: [
        [1, 2, 3, 2],
        [1, 2, 3, 2],
        [1, 2, 3, 2],
      ],
      f: (q, k, v) => nn.attention(q, k, v, causal),
    })),
    selfAttention: [
      {
        shapes: [[1, 3, 4], [12, 4], [12], [4, 4], [4]],
        f: (x, a, b, c, d) =>
          nn.selfAttention(named({ 's.qkv.weight': a, 's.qkv.bias': b, 's.proj.weight': c, 's.proj.bias': d }), 's', x, 2),
        range: [-1, 1],
      },
    ],
  },
  conv: {
    convolve: [
      {
        shapes: [
          [2, 2, 5],
          [3, 2, 3],
        ],
        f: (x, w) => conv.convolve(x, w, { strides: [2], pads: [1, 1] }),
      },
      {
        shapes: [
          [1, 4, 4, 3],
          [2, 2, 2, 2],
        ],
        f: (x, w) => conv.convolve(x, w, { groups: 2, dilations: [2, 1], pads: [1, 0, 0, 2] }),
      },
      {
        shapes: [
          [1, 2, 3, 4, 3],
          [2, 2, 2, 2, 2],
        ],
        f: (x, w) => conv.convolve(x, w, { strides: [1, 2, 1], autoPad: 'SAME_UPPER' }),
      },
    ],
    conv2d: [
      {
        shapes: [
          [1, 2, 4, 4],
          [3, 2, 3, 3],
        ],
        f: (x, w) => conv.conv2d(x, w, { padding: 1, stride: 2 }),
      },
    ],
    convolveTranspose: [
      {
        shapes: [
          [1, 2, 4],
          [2, 3, 3],
        ],
        f: (x, w) => conv.convolveTranspose(x, w, { strides: [2], pads: [1, 0], outputPadding: [1] }),
      },
      {
        shapes: [
          [1, 4, 2, 3],
          [4, 1, 2, 2],
        ],
        f: (x, w) => conv.convolveTranspose(x, w, { groups: 2, strides: [1, 3], dilations: [2, 1] }),
      },
      {
        shapes: [
          [1, 1, 2, 2, 2],
          [1, 2, 2, 2, 2],
        ],
        f: (x, w) => conv.convolveTranspose(x, w, { strides: [2, 1, 2], pads: [1, 0, 0, 0, 1, 0] }),
      },
    ],
    conv: [{ shapes: [[1, 2, 3, 3], [2, 2, 2, 2], [2]], f: (x, w, b) => conv.conv(named({ 'c.weight': w, 'c.bias': b }), 'c', x) }],
    perChannel: [{ shapes: [[3], [2, 3, 2]], f: (v, x) => mul(conv.perChannel(v, x), x) }],
  },
  pool: {
    maxPool: [
      { shapes: [[1, 2, 7]], f: (x) => pool.maxPool(x, [3], { strides: [2], pads: [1, 1], ceilMode: true }) },
      { shapes: [[1, 2, 5, 4]], f: (x) => pool.maxPool(x, [2, 2], { strides: [2, 1], dilations: [2, 1] }) },
      { shapes: [[1, 1, 3, 3, 4]], f: (x) => pool.maxPool(x, [2, 2, 2]) },
    ],
    averagePool: [
      { shapes: [[1, 2, 7]], f: (x) => pool.averagePool(x, [3], { strides: [2], pads: [1, 1], ceilMode: true }) },
      { shapes: [[1, 2, 4, 4]], f: (x) => pool.averagePool(x, [3, 2], { pads: [1, 0, 1, 1], countBorder: true }) },
      { shapes: [[1, 1, 3, 3, 4]], f: (x) => pool.averagePool(x, [2, 2, 2]) },
    ],
    lpPool: [1, 2, 3].map((p) => ({ shapes: [[1, 2, 4, 3]], f: (x) => pool.lpPool(x, [2, 2], p) })),
    globalAveragePool: [{ shapes: [[2, 2, 3, 2]], f: pool.globalAveragePool }],
    globalMaxPool: [{ shapes: [[2, 2, 3, 2]], f: pool.globalMaxPool }],
    globalLpPool: [2, 3].map((p) => ({ shapes: [[2, 2, 3]], f: (x) => pool.globalLpPool(x, p) })),
    maxPool2d: [{ shapes: [[1, 2, 4, 4]], f: (x) => pool.maxPool2d(x, 2) }],
    averagePool2d: [{ shapes: [[1, 2, 4, 4]], f: (x) => pool.averagePool2d(x, 3, { stride: 1, padding: 1 }) }],
  },
  norm: {
    standardize: [
      {
        shapes: [[3, 2, 4]],
        f: (x) => {
          const { y, mean, variance } = norm.standardize(x, [0, 2])
          return [y, mean, variance]
        },
      },
    ],
    batchMoments: [
      {
        shapes: [[3, 2, 2, 2]],
        f: (x) => {
          const { mean, variance } = norm.batchMoments(x)
          return [mean, variance]
        },
      },
    ],
    batchNorm: [
      {
        shapes: [[3, 2, 3], [2], [2], [2], [2]],
        f: (x, mean, variance, w, b) => norm.batchNorm(x, { mean, variance }, w, b),
        range: [0.3, 2],
      },
    ],
    batchNormTraining: [{ shapes: [[3, 2, 2, 2], [2], [2]], f: (x, w, b) => norm.batchNormTraining(x, w, b).y }],
    runningMoments: [
      {
        shapes: [[2], [2], [3, 2, 4]],
        f: (mean, variance, x) => {
          const next = norm.runningMoments({ mean, variance }, norm.batchMoments(x), 12)
          return [next.mean, next.variance]
        },
      },
    ],
    instanceNorm: [{ shapes: [[2, 2, 5], [2], [2]], f: (x, w, b) => norm.instanceNorm(x, w, b) }],
    groupwise: [{ shapes: [[2, 4, 3]], f: (x) => norm.groupwise(x, 2) }],
    groupNorm: [
      { shapes: [[1, 4, 2, 2], [4], [4]], f: (x, w, b) => norm.groupNorm(x, 2, w, b) },
      { shapes: [[1, 4, 2, 2], [2], [2]], f: (x, w, b) => norm.groupNorm(x, 2, w, b) },
    ],
    layerNormFrom: [
      {
        shapes: [
          [2, 3, 4],
          [3, 4],
          [3, 4],
        ],
        f: (x, w, b) => norm.layerNormFrom(x, 1, w, b).y,
      },
    ],
    rmsNorm: [{ shapes: [[3, 5], [5]], f: (x, w) => norm.rmsNorm(x, -1, w) }],
  },
  recurrent: {
    activation: [
      'Tanh',
      'Sigmoid',
      'Relu',
      'Softplus',
      'Softsign',
      'Affine',
      'LeakyRelu',
      'ThresholdedRelu',
      'ScaledTanh',
      'HardSigmoid',
      'Elu',
    ].map((name) => one(gateActivation(name))),
    unstack: [{ shapes: [[5, 2]], f: (x) => recurrent.unstack(x) }],
    rnn: [
      {
        shapes: [[3, 2, 2], ...WEIGHTS(1, 1, 2, 2), [1, 2, 2]],
        f: (x, w, r, b, h) => allOf(recurrent.rnn(x, { w, r, b }, h)),
        range: [-1, 1],
      },
      {
        shapes: [[4, 3, 2], ...WEIGHTS(1, 2, 2, 2)],
        f: (x, w, r, b) =>
          allOf(recurrent.rnn(x, { w, r, b }, undefined, { direction: 'bidirectional', lengths: vector([4, 1, 3], 'i32') })),
        range: [-1, 1],
      },
    ],
    gru: [false, true].map((linearBeforeReset) => ({
      shapes: [[3, 2, 2], ...WEIGHTS(3, 1, 2, 2), [1, 2, 2]],
      f: (x, w, r, b, h) => allOf(recurrent.gru(x, { w, r, b }, h, { linearBeforeReset, direction: 'reverse' })),
      range: [-1, 1] as const,
    })),
    lstm: [
      {
        shapes: [[3, 2, 2], ...WEIGHTS(4, 2, 2, 2), [2, 2, 2], [2, 2, 2]],
        f: (x, w, r, b, h, c) => allOf(recurrent.lstm(x, { w, r, b }, h, c, { direction: 'bidirectional' })),
        range: [-1, 1],
      },
      {
        shapes: [[3, 2, 2], ...WEIGHTS(4, 1, 2, 2), [1, 6]],
        f: (x, w, r, b, p) => allOf(recurrent.lstm(x, { w, r, b }, undefined, undefined, { peepholes: p, clip: 0.9 })),
        range: [-1, 1],
      },
      {
        shapes: [[3, 2, 2], ...WEIGHTS(4, 1, 2, 2).slice(0, 2)],
        f: (x, w, r) => allOf(recurrent.lstm(x, { w, r }, undefined, undefined, { coupled: true })),
        range: [-1, 1],
      },
    ],
  },
  resize: {
    resize: [
      {
        shapes: [[1, 2, 3, 2]],
        f: (x) =>
          resizing.resize(
            x,
            [
              { axis: 2, size: 6 },
              { axis: 3, size: 4 },
            ],
            { mode: 'nearest', coordinates: 'asymmetric', nearest: 'floor' },
          ),
      },
      { shapes: [[1, 1, 5]], f: (x) => resizing.resize(x, [{ axis: 2, size: 8 }]) },
      {
        shapes: [[1, 1, 4, 3]],
        f: (x) =>
          resizing.resize(
            x,
            [
              { axis: 2, size: 7 },
              { axis: 3, size: 5 },
            ],
            { mode: 'linear' },
          ),
      },
      { shapes: [[1, 1, 5]], f: (x) => resizing.resize(x, [{ axis: 2, size: 3 }], { mode: 'linear', coordinates: 'align_corners' }) },
      { shapes: [[1, 1, 7]], f: (x) => resizing.resize(x, [{ axis: 2, size: 3 }], { mode: 'cubic', antialias: true }) },
      { shapes: [[1, 1, 4]], f: (x) => resizing.resize(x, [{ axis: 2, size: 9 }], { mode: 'cubic', excludeOutside: true }) },
      {
        shapes: [[4, 5]],
        f: (x) =>
          resizing.resize(
            x,
            [
              { axis: 0, size: 3, region: [0.4, 1.2] },
              { axis: 1, size: 3, region: [0.1, 0.7] },
            ],
            { mode: 'linear', coordinates: 'tf_crop_and_resize', extrapolation: 2 },
          ),
      },
    ],
  },
  loss: {
    reduced: (['mean', 'sum', 'batchmean'] as const).map((r) => ({ shapes: [[3, 2]], f: (x: Expr) => loss.reduced({ values: x }, r) })),
    logSumExp: [{ shapes: [[3, 4]], f: loss.logSumExp }],
    crossEntropyRows: [{ shapes: [[3, 4]], f: (x) => loss.crossEntropyRows(x, labels) }],
    softCrossEntropyRows: [
      {
        shapes: [
          [3, 4],
          [3, 4],
        ],
        f: loss.softCrossEntropyRows,
      },
    ],
    crossEntropyElements: [
      { shapes: [[3, 4]], f: (x) => weighted(loss.crossEntropyElements(x, labels, { labelSmoothing: 0.1, weight: [1, 2, 0.5, 3] })) },
    ],
    crossEntropy: [
      { shapes: [[3, 4]], f: (x) => loss.crossEntropy(x, labels) },
      { shapes: [[3, 4]], f: (x) => loss.crossEntropy(x, labels, { ignoreIndex: 0, labelSmoothing: 0.2 }) },
      {
        shapes: [
          [3, 4],
          [3, 4],
        ],
        f: (x, t) => loss.crossEntropy(x, t),
        range: [0.1, 2],
      },
    ],
    nllElements: [{ shapes: [[3, 4]], f: (x) => weighted(loss.nllElements(x, labels)) }],
    nll: [{ shapes: [[3, 4]], f: (x) => loss.nll(x, labels) }],
    mseElements: [{ shapes: [[3], [3]], f: (x, t) => weighted(loss.mseElements(x, t)) }],
    l1Elements: [{ shapes: [[3], [3]], f: (x, t) => weighted(loss.l1Elements(x, t)) }],
    huberElements: [{ shapes: [[6], [6]], f: (x, t) => weighted(loss.huberElements(x, t, 0.7)) }],
    smoothL1Elements: [{ shapes: [[6], [6]], f: (x, t) => weighted(loss.smoothL1Elements(x, t, 0.7)) }],
    bceWithLogitsElements: [
      {
        shapes: [[4], [4]],
        f: (x, t) => weighted(loss.bceWithLogitsElements(x, t, { posWeight: [1, 2, 0.5, 3] })),
        range: [0.1, 0.9],
      },
    ],
    bceElements: [{ shapes: [[4], [4]], f: (p, t) => weighted(loss.bceElements(p, t)), range: [0.1, 0.9] }],
    mse: [
      {
        shapes: [
          [3, 2],
          [3, 2],
        ],
        f: loss.mse,
      },
    ],
    l1: [
      {
        shapes: [
          [3, 2],
          [3, 2],
        ],
        f: loss.l1,
      },
    ],
    huber: [{ shapes: [[6], [6]], f: (x, t) => loss.huber(x, t) }],
    smoothL1: [{ shapes: [[6], [6]], f: (x, t) => loss.smoothL1(x, t) }],
    bceWithLogits: [{ shapes: [[4], [4]], f: (x, t) => loss.bceWithLogits(x, t) }],
    bce: [{ shapes: [[4], [4]], f: loss.bce, range: [0.1, 0.9] }],
  },
}

/** What is exported beside them: parameters, options, integers. */
const NONE: Readonly<Record<string, readonly string[]>> = {
  math: ['reduceExp', 'scale', 'decompose'],
  trig: [],
  pow: [],
  nn: ['linearParameters', 'mlpParameters', 'layerNormParameters', 'embeddingParameters'],
  conv: ['both', 'spatialOf', 'convParameters'],
  pool: ['maxPoolIndices'],
  norm: ['batchNormParameters'],
  recurrent: [],
  resize: [],
  loss: [],
}

const MODULES: Readonly<Record<string, object>> = { math, trig, pow: power, nn, conv, pool, norm, recurrent, resize: resizing, loss }

for (const [module, functions] of Object.entries(CASES)) {
  test(`${module}: every function has a case`, () => {
    const exported = Object.entries(MODULES[module]).flatMap(([name, value]) =>
      typeof value === 'function' && !name.endsWith('Error') ? [name] : [],
    )
    assert.deepEqual(exported.sort(), [...Object.keys(functions), ...NONE[module]].sort())
  })
  for (const [name, cases] of Object.entries(functions))
    test(`${module}.${name}: value and gradient`, () => {
      for (const c of cases) check(c)
    })
}

test('a wrong gradient is found', () => {
  const square = (factor: number) => (x: Expr) => withDerivative(mul(x, x), [x], (dy) => [mul(mul(dy, x), factor)])
  check(one(square(2)))
  assert.throws(() => check(one(square(2.0001))), /by differences/)
})
