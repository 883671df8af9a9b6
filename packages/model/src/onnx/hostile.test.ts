// Broken and hostile files: a clear error, or a model that is right, within bounded time and memory, whatever the bytes.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { OnnxError } from './error.ts'
import { draw, type FileModel, type FileNode, fileOf, floats, graphBytes, ints } from './file.test-support.ts'
import { importOnnx } from './import.ts'
import { OPERATORS } from './ops/index.ts'
import { ATTRIBUTE, ELEMENT, ModelProto } from './schema.ts'

/** One of everything that a decoder and an importer look at. */
const everything: FileModel = {
  opsets: [
    { domain: '', version: 17 },
    { domain: 'local', version: 1 },
  ],
  functions: [
    {
      name: 'Half',
      domain: 'local',
      input: ['v'],
      output: ['w'],
      attribute: ['axis'],
      node: [{ opType: 'Softmax', input: ['v'], output: ['w'], attribute: [{ name: 'axis', type: ATTRIBUTE.int, refAttrName: 'axis' }] }],
    },
  ],
  inputs: [{ name: 'x', shape: ['n', 4] }],
  initializers: [floats('w', [4, 6]), floats('b', [6]), ints('zero', [0], []), ints('axes', [1]), floats('onnx::Conv_3', [2, 1, 1, 2])],
  nodes: [
    { op: 'Shape', in: ['x'], out: ['s'] },
    { op: 'Gather', in: ['s', 'zero'], out: ['n'], with: { axis: 0 } },
    { op: 'Unsqueeze', in: ['n', 'zero1'], out: ['n1'] },
    { op: 'Constant', out: ['zero1'], with: { value: { tensor: ints('', [0]) } } },
    { op: 'Gemm', in: ['x', 'w', 'b'], out: ['h'], with: { alpha: { float: 0.5 } } },
    { op: 'Concat', in: ['n1', 'rest'], out: ['target'], with: { axis: 0 } },
    { op: 'Constant', out: ['rest'], with: { value: { tensor: ints('', [1, 2, 3]) } } },
    { op: 'Reshape', in: ['h', 'target'], out: ['r'] },
    { op: 'Conv', in: ['r', 'onnx::Conv_3'], out: ['c'], with: { kernel_shape: [1, 2], strides: [1, 1] } },
    { op: 'Half', domain: 'local', in: ['c'], out: ['f'], with: { axis: 1 } },
    { op: 'Range', in: ['zero', 'n', 'one'], out: ['count'] },
    { op: 'Constant', out: ['one'], with: { value_int: 1 } },
    { op: 'Equal', in: ['n', 'one'], out: ['single'] },
    {
      op: 'If',
      in: ['single'],
      out: ['g'],
      with: {
        then_branch: { graph: { nodes: [{ op: 'Neg', in: ['f'], out: ['t'] }], outputs: ['t'] } },
        else_branch: {
          graph: { nodes: [{ op: 'Einsum', in: ['f', 'f'], out: ['e'], with: { equation: 'nchw,nchw->nc' } }], outputs: ['e'] },
        },
      },
    },
    { op: 'Slice', in: ['g', 'zero1', 'ends', 'zero1'], out: ['y'] },
    { op: 'Constant', out: ['ends'], with: { value: { tensor: ints('', [2 ** 63]) } } },
  ],
  outputs: ['y', 'count'],
}

/** 1 if the bytes are refused, 0 if they are a model; anything but an OnnxError, and more than 10 s of this thread's own CPU, fails the test. */
function refusals(bytes: Uint8Array): number {
  const before = process.threadCpuUsage()
  try {
    importOnnx(bytes, { inputs: { x: [2, 4] } })
    return 0
  } catch (e) {
    assert.ok(e instanceof OnnxError, `${(e as Error).stack}`)
    return 1
  } finally {
    const { user, system } = process.threadCpuUsage(before)
    assert.ok(user + system < 10e6, `${(user + system) / 1000} ms`)
  }
}

test('a file cut at any byte is refused', () => {
  const bytes = fileOf(everything)
  assert.equal(refusals(bytes), 0)
  let refused = 0
  for (let i = 0; i < bytes.length; i++) refused += refusals(bytes.subarray(0, i))
  // cut between two fields of the model that nothing depends on, it is whole
  assert.ok(refused >= bytes.length - 5, `${refused} of ${bytes.length}`)
})

test('bytes flipped, dropped and repeated by a seeded generator are refused or read, nothing else', () => {
  const bytes = fileOf(everything)
  const seed = Number(process.env.FUZZ_SEED ?? 17)
  const rounds = Number(process.env.FUZZ_ROUNDS ?? 800)
  const numbers = draw(rounds * 8, seed)
  let refused = 0
  for (let round = 0; round < rounds; round++) {
    const pick = (k: number, below: number): number => Math.floor(((numbers[round * 8 + k] + 1) / 2) * below) % below
    let bad = bytes.slice()
    for (let flips = 1 + pick(0, 3); flips > 0; flips--) bad[pick(flips, bad.length)] ^= 1 << pick(flips + 3, 8)
    if (round % 5 === 0) {
      const [at, length] = [pick(6, bad.length), 1 + pick(7, 40)]
      bad = Uint8Array.from([
        ...bad.subarray(0, at),
        ...(round % 2 === 0 ? bad.subarray(at, at + length) : []),
        ...bad.subarray(at + (round % 2 === 0 ? 0 : length)),
      ])
    }
    refused += refusals(bad)
  }
  assert.ok(refused > rounds / 3, `seed ${seed}: ${refused} of ${rounds} refused`)
})

test('files that are whole but wrong: other operators, inputs, sizes and axes than were written', () => {
  const seed = Number(process.env.FUZZ_SEED ?? 17)
  const rounds = Number(process.env.FUZZ_ROUNDS ?? 400)
  const operators = Object.keys(OPERATORS).filter((op) => !op.includes('.'))
  const numbers = [0, 1, -1, 2, 3, -5, 100, 65536, 2 ** 31 - 1, -(2 ** 31), 2 ** 40, -(2 ** 62)]
  const drawn = draw(rounds * 12, seed)
  let refused = 0
  for (let round = 0; round < rounds; round++) {
    let at = round * 12
    const pick = <T>(from: readonly T[]): T => from[Math.floor(((drawn[at++] + 1) / 2) * from.length) % from.length]
    const model = ModelProto.toObject(ModelProto.decode(fileOf(everything)))
    const { node: nodes, initializer, input } = model.graph
    const names = [...nodes, { output: ['x', ''] }].flatMap((n) => n.output).concat([...initializer, ...input].map((t) => t.name))
    for (let change = 0; change < 2; change++) {
      const node = pick<{ opType: string; input?: string[]; attribute?: { i?: number; ints?: number[]; t?: { rawData: Uint8Array } }[] }>(
        nodes,
      )
      const attribute = node.attribute?.[0]
      const what = pick([0, 1, 2, 3])
      if (what === 0) node.opType = pick(operators)
      else if (what === 1 && node.input) node.input[0] = pick(names)
      else if (what === 2) node.input = [...(node.input ?? []), pick(names)]
      else if (attribute?.ints) attribute.ints = [pick(numbers), pick(numbers)]
      else if (attribute?.t) attribute.t.rawData = new Uint8Array(BigInt64Array.of(BigInt(pick(numbers))).buffer)
      else if (attribute?.i !== undefined) attribute.i = pick(numbers)
    }
    refused += refusals(ModelProto.encode(ModelProto.fromObject(model)).finish())
  }
  assert.ok(refused > rounds / 4, `seed ${seed}: ${refused} of ${rounds} refused`)
})

test('noise is no model', () => {
  for (let n = 0; n < 200; n++) assert.equal(refusals(Uint8Array.from(draw(n * 3 + 1, n + 1), (v) => (v + 1) * 128)), 1)
})

const tensor = (dims: readonly number[], more: object = {}): object => ({
  name: 'w',
  dims,
  dataType: ELEMENT.f32,
  rawData: new Uint8Array(8),
  ...more,
})
function withTensor(t: object): Uint8Array {
  const file = fileOf({ inputs: [{ name: 'x', shape: [2, 4] }], nodes: [{ op: 'Mul', in: ['x', 'w'], out: ['y'] }], outputs: ['y'] })
  const object = ModelProto.toObject(ModelProto.decode(file))
  object.graph.initializer = [t]
  return ModelProto.encode(ModelProto.fromObject(object)).finish()
}

test('sizes that a file only claims are not believed', () => {
  for (const dims of [
    [2 ** 31, 2 ** 31],
    [2 ** 40],
    [-1, 2],
    [2, -(2 ** 40)],
    [2 ** 53 + 2],
    [3],
    new Array(4000).fill(1),
    [2 ** 32, 0, 2 ** 32],
  ])
    assert.equal(refusals(withTensor(tensor(dims))), 1, `${dims.slice(0, 4)}`)
  assert.equal(refusals(withTensor(tensor([2], { dataType: 99 }))), 1)
  assert.equal(refusals(withTensor(tensor([2], { rawData: new Uint8Array(7) }))), 1)
  assert.equal(refusals(withTensor(tensor([2], { rawData: new Uint8Array(0), int64Data: [1, 2] }))), 1)
})

const grow = (nodes: readonly FileNode[], outputs = ['y']): Uint8Array =>
  fileOf({
    inputs: [{ name: 'x', shape: [2, 4] }],
    initializers: [
      ints('huge', [2 ** 30, 2 ** 30]),
      ints('big', [2 ** 31 - 1]),
      ints('zero', [0], []),
      ints('one', [1], []),
      ints('far', [2 ** 40], []),
      ints('many', [30000, 30000]),
      ints('neg', [-5]),
    ],
    nodes,
    outputs,
  })

test('small files that ask for huge tensors are refused before anything is made', () => {
  const cases: FileNode[][] = [
    [{ op: 'ConstantOfShape', in: ['huge'], out: ['y'] }],
    [{ op: 'ConstantOfShape', in: ['neg'], out: ['y'] }],
    [{ op: 'Range', in: ['zero', 'far', 'one'], out: ['y'] }],
    [{ op: 'Range', in: ['zero', 'far', 'zero'], out: ['y'] }],
    [{ op: 'Tile', in: ['x', 'huge'], out: ['y'] }],
    [{ op: 'Expand', in: ['x', 'huge'], out: ['y'] }],
    [
      { op: 'Pad', in: ['x', 'pads'], out: ['y'] },
      { op: 'Constant', out: ['pads'], with: { value: { tensor: ints('', [2 ** 31, 0, 2 ** 31, 0]) } } },
    ],
    [
      { op: 'OneHot', in: ['zero', 'far', 'pair'], out: ['y'] },
      { op: 'Constant', out: ['pair'], with: { value: { tensor: ints('', [0, 1]) } } },
    ],
    [{ op: 'Reshape', in: ['x', 'huge'], out: ['y'] }],
    [{ op: 'TopK', in: ['x', 'big'], out: ['y', ''] }],
    [{ op: 'Split', in: ['x'], out: ['y', ...Array.from({ length: 5000 }, (_, i) => `o${i}`)] }],
    [{ op: 'Transpose', in: ['x'], out: ['y'], with: { perm: new Array<number>(100_000).fill(0) } }],
    [{ op: 'Einsum', in: ['x'], out: ['y'], with: { equation: 'a'.repeat(100_000) } }],
    [{ op: 'Concat', in: [], out: ['y'], with: { axis: 0 } }],
    [{ op: 'Max', in: [], out: ['y'] }],
  ]
  for (const nodes of cases) assert.equal(refusals(grow(nodes)), 1, nodes[0].op)
})

test('known tensors that double with every node stop at a bound', () => {
  const doubled = Array.from(
    { length: 60 },
    (_, i): FileNode => ({
      op: 'Concat',
      in: [i === 0 ? 'huge' : `d${i}`, i === 0 ? 'huge' : `d${i}`],
      out: [i === 59 ? 'y' : `d${i + 1}`],
      with: { axis: 0 },
    }),
  )
  assert.equal(refusals(grow(doubled)), 1)
  const squared = Array.from(
    { length: 12 },
    (_, i): FileNode => ({ op: 'Mul', in: [i === 0 ? 'far' : `m${i}`, i === 0 ? 'far' : `m${i}`], out: [i === 11 ? 'y' : `m${i + 1}`] }),
  )
  assert.equal(refusals(grow(squared)), 0)
})

test('graphs nested without end are refused', () => {
  let inner = graphBytes({ nodes: [{ op: 'Neg', in: ['x'], out: ['t'] }], outputs: ['t'] })
  for (let depth = 0; depth < 60; depth++) {
    const object = {
      node: [{ opType: 'If', input: ['one'], output: ['t'], attribute: [{ name: 'then_branch', type: ATTRIBUTE.graph, g: inner }] }],
      output: [{ name: 't' }],
    }
    const file = ModelProto.fromObject({ graph: object })
    inner = ModelProto.encode(file).finish().slice(0)
    inner = inner.subarray(inner.indexOf(0x3a) + headerLength(inner))
  }
  const object = ModelProto.toObject(ModelProto.decode(grow([{ op: 'If', in: ['one'], out: ['y'], with: { then_branch: 1 } }])))
  object.graph.node[0].attribute = [{ name: 'then_branch', type: ATTRIBUTE.graph, g: inner }]
  assert.equal(refusals(ModelProto.encode(ModelProto.fromObject(object)).finish()), 1)
})

/** Bytes of the tag and length in front of a model's graph. */
function headerLength(bytes: Uint8Array): number {
  let n = 1
  while (bytes[n] & 0x80) n++
  return n + 1
}

test('a chain of fifty thousand nodes is read in seconds', () => {
  const chain = Array.from(
    { length: 50_000 },
    (_, i): FileNode => ({ op: 'Neg', in: [i === 0 ? 'x' : `c${i}`], out: [i === 49_999 ? 'y' : `c${i + 1}`] }),
  )
  assert.equal(refusals(grow(chain)), 0)
  assert.equal(refusals(grow(chain.toReversed())), 0)
})

test('loops in loops stop at a bound', () => {
  let inner: FileNode = { op: 'Neg', in: ['v'], out: ['w'] }
  for (let depth = 0; depth < 6; depth++) {
    const body = {
      inputs: [{ name: 'i' }, { name: 'c' }, { name: 'v' }],
      nodes: [inner, { op: 'Identity', in: ['c'], out: ['go'] }],
      outputs: ['go', 'w'],
    }
    inner = { op: 'Loop', in: ['turns', '', depth === 5 ? 'x' : 'v'], out: [depth === 5 ? 'y' : 'w'], with: { body: { graph: body } } }
  }
  assert.equal(refusals(grow([inner, { op: 'Constant', out: ['turns'], with: { value: { tensor: ints('', [4000], []) } } }])), 1)
})

test('many small nodes that each compute a large tensor stop at a bound', () => {
  const filled = Array.from({ length: 3000 }, (_, i): FileNode => ({ op: 'ConstantOfShape', in: ['wide'], out: [`f${i}`] }))
  const shape: FileNode = { op: 'Constant', out: ['wide'], with: { value: { tensor: ints('', [512, 512]) } } }
  assert.equal(refusals(grow([shape, ...filled, { op: 'Sum', in: filled.map((n) => n.out[0]), out: ['y'] }])), 1)
  // every product of a chain is asked for by a slice
  const chain = Array.from({ length: 400 }, (_, i): FileNode[] => [
    { op: 'Exp', in: [i === 0 ? 'square' : `e${i}`], out: [`p${i}`] },
    { op: 'MatMul', in: [`p${i}`, `p${i}`], out: [`e${i + 1}`] },
    { op: 'Expand', in: ['x', `e${i + 1}`], out: [`s${i}`] },
  ]).flat()
  const start: FileNode[] = [
    { op: 'Constant', out: ['size'], with: { value: { tensor: ints('', [256, 256]) } } },
    { op: 'ConstantOfShape', in: ['size'], out: ['square'] },
  ]
  const ends = chain.flatMap((n) => (n.op === 'Expand' ? n.out : []))
  assert.equal(refusals(grow([...start, ...chain], ends)), 1)
})
