// What the general operators compute and their gradients: values against formulas in float64, gradients against float64 differences, and shape chains, which are
// computed while importing, against the same nodes computed in the graph.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allocate, type Expr, input, interpret, makeGraph, type Shape, type Slot, sizeOf } from '@bitloom/graph'
import { inFloat64 } from '../float64.ts'
import { gradients } from '../grad.ts'
import { constant, mul, total } from '../tensor.ts'
import { evaluated } from './evaluate.test-support.ts'
import { draw, type FileNode, type FileTensor, fileOf, floats, ints } from './file.test-support.ts'
import { importOnnx } from './import.ts'
import { OPERATORS } from './ops/index.ts'
import { ELEMENT } from './schema.ts'

type Numbers = readonly number[]
type Case = {
  readonly op: string
  readonly with?: FileNode['with']
  readonly opset?: number
  /** Float inputs, drawn. */
  readonly shapes: readonly Shape[]
  /** What follows them: known inputs. */
  readonly known?: readonly FileTensor[]
  readonly range?: readonly [number, number]
  readonly shape?: Shape
  /** The value of the output's flat element, from the inputs. */
  readonly is: (xs: readonly Numbers[]) => Numbers
  readonly smooth?: false
}

const each =
  (f: (x: number) => number) =>
  ([x]: readonly Numbers[]): Numbers =>
    x.map(f)
const both =
  (f: (a: number, b: number) => number) =>
  ([a, b]: readonly Numbers[]): Numbers =>
    a.map((x, i) => f(x, b[i % b.length]))
/** Rows of three, folded. */
const rows =
  (f: (row: Numbers) => number | Numbers) =>
  ([x]: readonly Numbers[]): Numbers =>
    Array.from({ length: x.length / 3 }, (_, i) => f(x.slice(3 * i, 3 * i + 3))).flat()
const sum = (x: Numbers): number => x.reduce((a, b) => a + b, 0)
const softmax = (x: Numbers): Numbers => x.map((v) => Math.exp(v) / sum(x.map(Math.exp)))
const unary = (op: string, f: (x: number) => number, more: Partial<Case> = {}): Case => ({ op, shapes: [[9]], is: each(f), ...more })
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))
const elu = (x: number, a: number): number => (x > 0 ? x : a * Math.expm1(x))
const scalar = (x: number): FileTensor => floats('', [], [x])
const axes = (...a: number[]): FileTensor[] => [ints('', a)]
const grid = [2, 3] as const

const CASES: readonly Case[] = [
  { op: 'Add', shapes: [grid, [3]], is: both((a, b) => a + b) },
  { op: 'Sub', shapes: [grid, [3]], is: both((a, b) => a - b) },
  { op: 'Mul', shapes: [grid, [3]], is: both((a, b) => a * b) },
  { op: 'Div', shapes: [grid, [3]], is: both((a, b) => a / b), range: [0.5, 2] },
  { op: 'Pow', shapes: [grid, [3]], is: both((a, b) => a ** b), range: [0.5, 2] },
  { op: 'Pow', shapes: [grid], known: [scalar(3)], is: each((x) => x ** 3) },
  { op: 'Mod', shapes: [grid, [3]], with: { fmod: 1 }, is: both((a, b) => a % b), range: [0.5, 2] },
  { op: 'Max', shapes: [grid, [3]], is: both(Math.max) },
  { op: 'Min', shapes: [grid, [3]], is: both(Math.min) },
  { op: 'Sum', shapes: [grid, [3], [3]], is: ([a, b, c]) => a.map((x, i) => x + b[i % 3] + c[i % 3]) },
  { op: 'Mean', shapes: [grid, [3]], is: both((a, b) => (a + b) / 2) },
  { op: 'PRelu', shapes: [grid, [3]], is: both((a, b) => (a < 0 ? a * b : a)) },
  { op: 'Clip', shapes: [[9]], known: [scalar(-0.5), scalar(0.7)], is: each((x) => Math.min(Math.max(x, -0.5), 0.7)) },
  { op: 'Clip', opset: 6, shapes: [[9]], with: { min: { float: -0.5 } }, is: each((x) => Math.max(x, -0.5)) },
  unary('Neg', (x) => -x),
  unary('Abs', Math.abs),
  unary('Reciprocal', (x) => 1 / x, { range: [0.5, 2] }),
  unary('Sqrt', Math.sqrt, { range: [0.5, 2] }),
  unary('Exp', Math.exp),
  unary('Log', Math.log, { range: [0.5, 2] }),
  unary('Sin', Math.sin),
  unary('Cos', Math.cos),
  unary('Tan', Math.tan, { range: [-1, 1] }),
  unary('Sinh', Math.sinh),
  unary('Cosh', Math.cosh),
  unary('Asinh', Math.asinh),
  unary('Acosh', Math.acosh, { range: [1.5, 4] }),
  unary('Atanh', Math.atanh, { range: [-0.8, 0.8] }),
  unary('Tanh', Math.tanh),
  unary('Sigmoid', sigmoid),
  unary('Softplus', (x) => Math.log1p(Math.exp(x))),
  unary('Softsign', (x) => x / (1 + Math.abs(x))),
  unary('Mish', (x) => x * Math.tanh(Math.log1p(Math.exp(x)))),
  unary('Swish', (x) => x * sigmoid(x)),
  unary('HardSwish', (x) => x * Math.max(0, Math.min(1, x / 6 + 0.5))),
  unary('HardSigmoid', (x) => Math.max(0, Math.min(1, 0.3 * x + 0.4)), { with: { alpha: { float: 0.3 }, beta: { float: 0.4 } } }),
  unary('Relu', (x) => Math.max(x, 0)),
  unary('LeakyRelu', (x) => (x < 0 ? 0.1 * x : x), { with: { alpha: { float: 0.1 } } }),
  unary('ThresholdedRelu', (x) => (x > 0.3 ? x : 0), { with: { alpha: { float: 0.3 } } }),
  unary('Elu', (x) => elu(x, 0.5), { with: { alpha: { float: 0.5 } } }),
  unary('Celu', (x) => Math.max(0, x) + Math.min(0, 0.5 * Math.expm1(x / 0.5)), { with: { alpha: { float: 0.5 } } }),
  unary('Selu', (x) => 1.0507009873554805 * elu(x, 1.6732632423543772)),
  unary('Shrink', (x) => (x < -0.4 ? x + 0.1 : x > 0.4 ? x - 0.1 : 0), { with: { lambd: { float: 0.4 }, bias: { float: 0.1 } } }),
  unary('Floor', Math.floor, { smooth: false }),
  unary('Ceil', Math.ceil, { smooth: false }),
  unary('Sign', Math.sign, { smooth: false }),
  unary('Gelu', (x) => 0.5 * x * (1 + Math.tanh(Math.sqrt(2 / Math.PI) * (x + 0.044715 * x ** 3))), {
    opset: 20,
    with: { approximate: 'tanh' },
  }),
  { op: 'Softmax', shapes: [grid], is: rows(softmax) },
  { op: 'Softmax', opset: 11, shapes: [[2, 1, 3]], is: rows(softmax) },
  { op: 'Softmax', shapes: [[3, 2]], with: { axis: 0 }, is: ([x]) => transposed(rows(softmax)([transposed(x, 3)]), 2) },
  { op: 'LogSoftmax', shapes: [grid], is: rows((r) => softmax(r).map(Math.log)) },
  { op: 'ReduceSum', shapes: [grid], known: axes(-1), shape: [2, 1], is: rows(sum) },
  { op: 'ReduceSum', shapes: [[3, 200]], shape: [1, 1], is: ([x]) => [sum(x)] },
  { op: 'ReduceMean', shapes: [grid], with: { axes: [1], keepdims: 0 }, shape: [2], is: rows((r) => sum(r) / 3) },
  { op: 'ReduceMax', shapes: [grid], with: { axes: [1] }, is: rows((r) => Math.max(...r)) },
  { op: 'ReduceMin', opset: 18, shapes: [grid], known: axes(1), is: rows((r) => Math.min(...r)) },
  { op: 'ReduceProd', shapes: [[2, 3, 1]], with: { axes: [1, 2] }, is: rows((r) => r[0] * r[1] * r[2]) },
  { op: 'ReduceL1', shapes: [grid], with: { axes: [1] }, is: rows((r) => sum(r.map(Math.abs))) },
  { op: 'ReduceL2', shapes: [grid], with: { axes: [1] }, is: rows((r) => Math.hypot(...r)) },
  { op: 'ReduceSumSquare', shapes: [grid], with: { axes: [1] }, is: rows((r) => sum(r.map((v) => v * v))) },
  { op: 'ReduceLogSum', shapes: [grid], with: { axes: [1] }, range: [0.5, 2], is: rows((r) => Math.log(sum(r))) },
  { op: 'ReduceLogSumExp', shapes: [grid], with: { axes: [1] }, is: rows((r) => Math.log(sum(r.map(Math.exp)))) },
  { op: 'ReduceSum', shapes: [grid], known: [ints('', [])], with: { noop_with_empty_axes: 1 }, shape: grid, is: each((x) => x) },
  { op: 'MatMul', shapes: [grid, [3, 2]], shape: [2, 2], is: ([a, b]) => product(a, b, 2, 3, 2) },
  { op: 'MatMul', shapes: [[3], [3]], shape: [], is: ([a, b]) => [sum(a.map((x, i) => x * b[i]))] },
  {
    op: 'Gemm',
    shapes: [[3, 2], [4, 3], [4]],
    with: { transA: 1, transB: 1, alpha: { float: 0.5 }, beta: { float: 2 } },
    shape: [2, 4],
    is: ([a, b, c]) => product(transposed(a, 3), transposed(b, 4), 2, 3, 4).map((v, i) => 0.5 * v + 2 * c[i % 4]),
  },
  { op: 'Einsum', shapes: [grid, [3, 2]], with: { equation: 'ij, jk -> ki' }, is: ([a, b]) => transposed(product(a, b, 2, 3, 2), 2) },
  { op: 'Einsum', shapes: [[3, 3]], with: { equation: 'ii' }, shape: [], is: ([x]) => [x[0] + x[4] + x[8]] },
  {
    op: 'Einsum',
    shapes: [
      [1, 2, 3],
      [2, 3],
    ],
    with: { equation: '...i,...i' },
    shape: [1, 2],
    is: ([a, b]) => rows(sum)([a.map((x, i) => x * b[i])]),
  },
  { op: 'Einsum', shapes: [[2], [3]], with: { equation: 'i,j->ji' }, shape: [3, 2], is: ([a, b]) => b.flatMap((y) => a.map((x) => x * y)) },
  { op: 'Transpose', shapes: [grid], is: ([x]) => transposed(x, 2) },
  { op: 'Reshape', shapes: [grid], known: [ints('', [0, -1, 1])], shape: [2, 3, 1], is: each((x) => x) },
  { op: 'Flatten', shapes: [[2, 3, 1]], with: { axis: -1 }, shape: [6, 1], is: each((x) => x) },
  { op: 'Squeeze', opset: 11, shapes: [[2, 1, 3, 1]], with: { axes: [-1, 1] }, shape: grid, is: each((x) => x) },
  { op: 'Unsqueeze', shapes: [grid], known: axes(-1, 0), shape: [1, 2, 3, 1], is: each((x) => x) },
  { op: 'Expand', shapes: [[2, 1]], known: [ints('', [1, 3])], shape: grid, is: ([x]) => x.flatMap((v) => [v, v, v]) },
  { op: 'Tile', shapes: [[1, 2]], known: [ints('', [2, 2])], shape: [2, 4], is: ([x]) => [...x, ...x, ...x, ...x] },
  { op: 'Concat', shapes: [grid, [1, 3]], with: { axis: -2 }, shape: [3, 3], is: ([a, b]) => [...a, ...b] },
  {
    op: 'Slice',
    shapes: [[5]],
    known: [ints('', [-1]), ints('', [-(2 ** 40)]), ints('', [0]), ints('', [-2])],
    shape: [3],
    is: ([x]) => [x[4], x[2], x[0]],
  },
  { op: 'Slice', opset: 9, shapes: [[5]], with: { starts: [1], ends: [1000] }, shape: [4], is: ([x]) => x.slice(1) },
  { op: 'Pad', shapes: [[3]], known: [ints('', [1, 2]), scalar(9)], shape: [6], is: ([x]) => [9, ...x, 9, 9] },
  { op: 'Pad', shapes: [[3]], known: [ints('', [2, 1])], with: { mode: 'reflect' }, is: ([x]) => [x[2], x[1], ...x, x[1]] },
  { op: 'Pad', shapes: [[2]], known: [ints('', [3, 0])], with: { mode: 'reflect' }, is: ([x]) => [x[1], x[0], x[1], ...x] },
  { op: 'Pad', shapes: [[3]], known: [ints('', [2, 1])], with: { mode: 'edge' }, is: ([x]) => [x[0], x[0], ...x, x[2]] },
  { op: 'Pad', opset: 19, shapes: [[3]], known: [ints('', [2, 1])], with: { mode: 'wrap' }, is: ([x]) => [x[1], x[2], ...x, x[0]] },
  { op: 'Pad', opset: 2, shapes: [[4]], with: { pads: [-1, 1] }, shape: [4], is: ([x]) => [...x.slice(1), 0] },
  {
    op: 'Trilu',
    shapes: [[3, 3]],
    known: [ints('', [1], [])],
    with: { upper: 0 },
    is: ([x]) => x.map((v, i) => (i % 3 <= Math.floor(i / 3) + 1 ? v : 0)),
  },
  { op: 'Gather', shapes: [[3, 2]], known: [ints('', [-1, 0, 2])], is: ([x]) => [x[4], x[5], x[0], x[1], x[4], x[5]] },
  { op: 'Gather', shapes: [[3, 2]], known: [ints('', [1], [])], with: { axis: 1 }, shape: [3], is: ([x]) => [x[1], x[3], x[5]] },
  {
    op: 'GatherElements',
    shapes: [grid],
    known: [ints('', [2, -1, 0, 0], [2, 2])],
    with: { axis: 1 },
    is: ([x]) => [x[2], x[2], x[3], x[3]],
  },
  { op: 'GatherND', shapes: [grid], known: [ints('', [1, 0, 0, -1], [2, 2])], is: ([x]) => [x[3], x[2]] },
  { op: 'GatherND', shapes: [grid], known: [ints('', [1, 2], [2, 1])], with: { batch_dims: 1 }, is: ([x]) => [x[1], x[5]] },
  { op: 'TopK', shapes: [[5]], known: [ints('', [2])], is: ([x]) => x.toSorted((a, b) => b - a).slice(0, 2) },
  { op: 'CumSum', shapes: [[5]], known: [ints('', [0], [])], is: ([x]) => x.map((_, i) => sum(x.slice(0, i + 1))) },
  {
    op: 'CumSum',
    shapes: [[5]],
    known: [ints('', [0], [])],
    with: { exclusive: 1, reverse: 1 },
    is: ([x]) => x.map((_, i) => sum(x.slice(i + 1))),
  },
  {
    op: 'DepthToSpace',
    shapes: [[1, 4, 1, 2]],
    with: { blocksize: 2 },
    shape: [1, 1, 2, 4],
    is: ([x]) => [x[0], x[2], x[1], x[3], x[4], x[6], x[5], x[7]],
  },
  {
    op: 'SpaceToDepth',
    shapes: [[1, 1, 2, 4]],
    with: { blocksize: 2 },
    shape: [1, 4, 1, 2],
    is: ([x]) => [x[0], x[2], x[1], x[3], x[4], x[6], x[5], x[7]],
  },
  { op: 'ReverseSequence', shapes: [[3, 2]], known: [ints('', [3, 2])], is: ([x]) => [x[4], x[3], x[2], x[1], x[0], x[5]] },
]

const transposed = (x: Numbers, rowCount: number): Numbers => {
  const columns = x.length / rowCount
  return x.map((_, i) => x[(i % rowCount) * columns + Math.floor(i / rowCount)])
}
const product = (a: Numbers, b: Numbers, m: number, k: number, n: number): Numbers =>
  Array.from({ length: m * n }, (_, i) => sum(Array.from({ length: k }, (_, j) => a[Math.floor(i / n) * k + j] * b[j * n + (i % n)])))

const STEP = 2 ** -14

/** The node alone in a file: float inputs at run time, the rest known. */
function fileWith(c: Case) {
  const inputs = c.shapes.map((shape, i) => ({ name: `x${i}`, shape }))
  const known = (c.known ?? []).map((t, i) => ({ ...t, name: `k${i}` }))
  const node = { op: c.op, in: [...inputs, ...known].map((v) => v.name), out: ['y'], ...(c.with ? { with: c.with } : {}) }
  const constants = known.map((t): FileNode => ({ op: 'Constant', out: [t.name], with: { value: { tensor: t } } }))
  return fileOf({ opset: c.opset ?? 17, inputs, nodes: [...constants, node], outputs: ['y'] })
}

for (const [number, c] of CASES.entries())
  test(`${c.op} of opset ${c.opset ?? 17} (${number}): value and gradients`, () => {
    const model = importOnnx(fileWith(c))
    const [low, high] = c.range ?? [-2, 2]
    const values = c.shapes.map((shape, i) => draw(sizeOf(shape), 31 * i + 7).map((v) => Math.fround(low + ((high - low) * (v + 1)) / 2)))
    const { y } = evaluated(model, Object.fromEntries(values.map((v, i) => [`x${i}`, v]))).outputs
    const expected = c.is(values)
    assert.equal(y.length, expected.length)
    if (c.shape) assert.deepEqual(model.outputs[0].shape, c.shape)
    const scale = Math.max(1e-3, ...expected.map(Math.abs))
    expected.forEach((e, i) => assert.ok(Math.abs(e - y[i]) < 2e-6 * scale, `[${i}]: ${y[i]}, not ${e}`))
    if (c.smooth !== false) smoothly(c, values)
  })

/** Gradients of Σ y·cotangent, as float64 differences of the same node have them. */
function smoothly(c: Case, values: readonly Numbers[]): void {
  const model = importOnnx(fileWith(c))
  const cotangent = draw(sizeOf(model.outputs[0].shape), 77)
  const shapes = [...c.shapes, model.outputs[0].shape]
  const graphOf = (build: (loss: Expr, xs: readonly Expr[]) => readonly Expr[], count: number) => {
    const xs = shapes.map((shape, i) => input(count + i, 'f32', shape))
    const tables = model.constants.map((t, i) => input(count + shapes.length + i, t.dtype, t.shape))
    const { y } = model.apply({
      parameter: () => assert.fail('no parameter'),
      input: (name) => xs[Number(name.slice(1))],
      constant: (name) => tables[model.constants.findIndex((t) => t.name === name)],
      training: false,
      random: () => assert.fail('nothing random'),
    }).outputs
    const results = build(total(mul(y, xs[c.shapes.length])), xs.slice(0, c.shapes.length))
    const slots: Slot[] = [
      ...results.map((e, i): Slot => ({ name: `r${i}`, kind: 'state', dtype: e.dtype, shape: e.shape })),
      ...[...xs, ...tables].map((e, i): Slot => ({ name: `x${i}`, kind: 'data', dtype: e.dtype, shape: e.shape })),
    ]
    return { graph: makeGraph(slots, results, constant(0, 'i32')), blank: results.map((e) => allocate(e.dtype, sizeOf(e.shape))) }
  }
  const tables = model.constants.map((t) => t.data)
  const slope = graphOf((loss, xs) => gradients(loss, xs), c.shapes.length)
  const ours = interpret(slope.graph, [...slope.blank, ...[...values, cotangent].map((v) => Float32Array.from(v)), ...tables]).next
  const value = graphOf((loss) => [loss], 1)
  const run = inFloat64(value.graph)
  values.forEach((v, k) => {
    const expected = v.map((_, i) => {
      const at = (by: number): number =>
        run([...value.blank, ...values.map((w, j) => (j === k ? w.map((x, n) => (n === i ? x + by : x)) : w)), cotangent, ...tables])[0][0]
      return (at(STEP) - at(-STEP)) / (2 * STEP)
    })
    const scale = Math.max(1e-2, ...expected.map(Math.abs))
    expected.forEach((e, i) =>
      assert.ok(Math.abs(e - ours[k][i]) < 2e-5 * scale, `gradient ${k} [${i}]: ${ours[k][i]}, by differences ${e}`),
    )
    assert.ok(
      expected.some((e) => e !== 0),
      `gradient ${k} is nothing but zeros`,
    )
  })
}

test('at ties and kinks gradients are those of PyTorch', () => {
  const of = (node: Omit<FileNode, 'out'>, inputs: readonly string[]) =>
    importOnnx(
      fileOf({
        inputs: inputs.map((name) => ({ name, shape: [3] })),
        initializers: [floats('slope', [1], [0.25])],
        nodes: [{ ...node, out: ['y'] }],
        outputs: ['y'],
      }),
    )
  const both = evaluated(of({ op: 'Max', in: ['a', 'b'] }, ['a', 'b']), { a: [1, 2, 3], b: [1, 3, 2] }).gradients
  assert.deepEqual(
    [both.a, both.b],
    [
      [0.5, 0, 1],
      [0.5, 1, 0],
    ],
  )
  const at0 = { a: [0, -1, 1] }
  const gradient = (node: Omit<FileNode, 'out'>) => evaluated(of(node, ['a']), at0).gradients.a
  assert.deepEqual(gradient({ op: 'Relu', in: ['a'] }), [0, 0, 1])
  assert.deepEqual(gradient({ op: 'LeakyRelu', in: ['a'], with: { alpha: { float: 0.25 } } }), [0.25, 0.25, 1])
  assert.deepEqual(gradient({ op: 'PRelu', in: ['a', 'slope'] }), [0.25, 0.25, 1])
  assert.deepEqual(gradient({ op: 'Abs', in: ['a'] }), [0, -1, 1])
  assert.deepEqual(
    gradient({ op: 'ReduceL2', in: ['a'], with: { axes: [0] } })
      .map((g) => g * 2 ** 0.5)
      .map(Math.fround),
    [0, -1, 1].map(Math.fround),
  )
  const clipped = importOnnx(
    fileOf({
      inputs: [{ name: 'a', shape: [3] }],
      initializers: [floats('low', [], [-1]), floats('high', [], [1])],
      nodes: [{ op: 'Clip', in: ['a', 'low', 'high'], out: ['y'] }],
      outputs: ['y'],
    }),
  )
  assert.deepEqual(evaluated(clipped, { a: [-1, 1, 2] }).gradients.a, [1, 1, 0])
})

test('scatters write over and add, and the gradient goes to whoever is still there', () => {
  const scatter = (reduction: string) =>
    importOnnx(
      fileOf({
        inputs: [
          { name: 'x', shape: [4] },
          { name: 'u', shape: [2] },
        ],
        nodes: [
          { op: 'Constant', out: ['i'], with: { value: { tensor: ints('', [2, -1]) } } },
          { op: 'ScatterElements', in: ['x', 'i', 'u'], out: ['y'], with: { reduction } },
        ],
        outputs: ['y'],
      }),
    )
  const given = { x: [1, 2, 3, 4], u: [10, 20] }
  const over = evaluated(scatter('none'), given)
  assert.deepEqual(
    [over.outputs.y, over.gradients.x, over.gradients.u],
    [
      [1, 2, 10, 20],
      [1, 1, 0, 0],
      [1, 1],
    ],
  )
  const added = evaluated(scatter('add'), given)
  assert.deepEqual(
    [added.outputs.y, added.gradients.x, added.gradients.u],
    [
      [1, 2, 13, 24],
      [1, 1, 1, 1],
      [1, 1],
    ],
  )
  assert.throws(() => scatter('mul'), /reduction "mul" is not supported/)
})

/** Integer nodes of shape chains, each with operands: computed while importing, and in the graph, they must agree. */
const INTEGER: readonly (readonly [op: string, operands: readonly Numbers[], attributes?: FileNode['with']])[] = [
  ['Add', [[7, -7, 0], [2]]],
  ['Sub', [[7, -7, 0], [2]]],
  ['Mul', [[7, -7, 0], [-2]]],
  [
    'Div',
    [
      [7, -7, 9, -9],
      [2, 2, -2, -2],
    ],
  ],
  [
    'Mod',
    [
      [7, -7, 9, -9, 8],
      [3, 3, -2, -2, -8],
    ],
  ],
  [
    'Mod',
    [
      [7, -7, 9, -9],
      [3, 3, -2, -2],
    ],
    { fmod: 1 },
  ],
  ['Max', [[7, -7], [2]]],
  ['Min', [[7, -7], [2]]],
  ['Neg', [[3, -3]]],
  ['Abs', [[3, -3]]],
  ['Sign', [[3, -3, 0]]],
  ['Equal', [[1, 2, 3], [2]]],
  ['Less', [[1, 2, 3], [2]]],
  ['LessOrEqual', [[1, 2, 3], [2]]],
  ['Greater', [[1, 2, 3], [2]]],
  ['GreaterOrEqual', [[1, 2, 3], [2]]],
  ['Pow', [[2, -3], [3]]],
  ['ReduceSum', [[2, -3, 5]]],
  ['ReduceMax', [[2, -3, 5]]],
  ['ReduceMin', [[2, -3, 5]]],
  ['ReduceProd', [[2, -3, 5]]],
  ['CumSum', [[2, -3, 5, 9, 1], [0]]],
  ['ArgMax', [[2, 9, 5, 9]]],
  ['ArgMin', [[2, 9, 2, 9]], { select_last_index: 1 }],
  ['TopK', [[2, 9, 5, 9], [2]]],
  ['Cast', [[2, 0, -1]], { to: ELEMENT.bool }],
  ['Cast', [[2, 300, -1]], { to: ELEMENT.i32 }],
  ['Relu', [[2, -3]]],
]

test('integers computed while importing are those that the graph computes', () => {
  for (const [op, operands, attributes] of INTEGER) {
    const names = operands.map((_, i) => `x${i}`)
    const fixed = op === 'CumSum' || op === 'TopK' ? [1] : []
    const model = (known: boolean) =>
      importOnnx(
        fileOf({
          inputs: operands.flatMap((v, i) =>
            known || fixed.includes(i) ? [] : [{ name: names[i], element: ELEMENT.i64, shape: [v.length] }],
          ),
          initializers: operands.flatMap((v, i) => (known || fixed.includes(i) ? [ints(names[i], v)] : [])),
          nodes: [{ op, in: names, out: ['y'], ...(attributes ? { with: attributes } : {}) }],
          outputs: ['y'],
        }),
      )
    const now = evaluated(model(true)).outputs.y
    const later = evaluated(model(false), Object.fromEntries(operands.map((v, i) => [names[i], v]))).outputs.y
    assert.deepEqual(now, later, op)
    assert.ok(now.length > 0)
  }
})

test('logic holds on truth values known and not', () => {
  const table = [0, 0, 1, 1, 0, 1, 0, 1]
  const expected: Record<string, Numbers> = { And: [0, 0, 0, 1], Or: [0, 1, 1, 1], Xor: [0, 1, 1, 0] }
  for (const [op, is] of Object.entries(expected))
    for (const known of [true, false]) {
      const tensor = (name: string, at: number): FileTensor => ({
        name,
        element: ELEMENT.bool,
        shape: [4],
        values: table.slice(at, at + 4),
      })
      const model = importOnnx(
        fileOf({
          inputs: known ? [] : ['a', 'b'].map((name) => ({ name, element: ELEMENT.bool, shape: [4] })),
          initializers: known ? [tensor('a', 0), tensor('b', 4)] : [],
          nodes: [
            { op, in: ['a', 'b'], out: ['y'] },
            { op: 'Not', in: ['y'], out: ['z'] },
          ],
          outputs: ['y', 'z'],
        }),
      )
      const { outputs } = evaluated(model, { a: table.slice(0, 4), b: table.slice(4) })
      assert.deepEqual([outputs.y, outputs.z], [is, is.map((v) => 1 - v)], op)
    }
})

test('every general operator that floats flow through is held to a formula here, or listed with the reason', () => {
  const elsewhere = new Set(
    // integers, truth values and what is known while importing
    'Identity Cast CastLike Equal Less LessOrEqual Greater GreaterOrEqual And Or Xor Not BitwiseAnd BitwiseOr BitwiseXor BitwiseNot BitShift IsNaN IsInf Where Constant ConstantOfShape Shape Size Range EyeLike NonZero ArgMax ArgMin OneHot Compress Hardmax Split Erf Round'
      .split(' ')
      // of this file's other tests, and of import.test.ts
      .concat(
        'ScatterElements Scatter ScatterND Dropout RandomUniform RandomUniformLike RandomNormal RandomNormalLike Bernoulli'.split(' '),
      ),
  )
  // norm, conv, recurrent, resize and loss operators have tests of their own
  const own = /Norm|LRN|Conv|Pool|LSTM|GRU|RNN|Resize|Upsample|Loss|Shrink|AffineGrid|Col2Im|CenterCropPad|\./
  const held = new Set(CASES.map((c) => c.op))
  const open = Object.keys(OPERATORS).filter((op) => !held.has(op) && !elsewhere.has(op) && !own.test(op))
  assert.deepEqual(open, [])
})
