// What the importer makes of files as exporters write them: sizes bound, shapes computed, weights told from constants, everything that is missing said at once.

import assert from 'node:assert/strict'
import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { OnnxError } from './error.ts'
import { evaluated } from './evaluate.test-support.ts'
import { draw, type FileModel, type FileNode, fileOf, floats, ints, nodeMessage } from './file.test-support.ts'
import { type ImportOptions, importOnnx } from './import.ts'
import { ELEMENT, ModelProto } from './schema.ts'

const read = (model: FileModel, options: ImportOptions = {}) => importOnnx(fileOf(model), options)
const refused = (model: FileModel, message: RegExp, options: ImportOptions = {}) =>
  assert.throws(
    () => read(model, options),
    (e) => e instanceof OnnxError && message.test(e.message),
  )
const x = { name: 'x', shape: ['batch', 4] }

test('axes get their sizes from names, from whole shapes, or are asked for by name', () => {
  const model: FileModel = {
    inputs: [x, { name: 'mask', element: ELEMENT.bool, shape: ['batch', ''] }],
    nodes: [{ op: 'Where', in: ['mask', 'x', 'x'], out: ['y'] }],
    outputs: ['y'],
  }
  refused(model, /sizes are left open: batch \(axis 0 of "x"\).*axis 1 of "mask"/)
  const whole = read(model, { inputs: { mask: [3, 4] } })
  assert.deepEqual(whole.inputs, [
    { name: 'x', dtype: 'f32', shape: [3, 4] },
    { name: 'mask', dtype: 'i32', shape: [3, 4] },
  ])
  assert.deepEqual(whole.outputs, [{ name: 'y', dtype: 'f32', shape: [3, 4] }])
  refused(model, /axis 0 is batch = 2, not 3/, { dims: { batch: 2 }, inputs: { mask: [3, 4] } })
  refused(model, /no axis "time"; the axes without a size are batch/, { dims: { time: 2 } })
  refused(model, /no input "z"; the inputs are x, mask/, { inputs: { z: [1] } })
  refused({ ...model, inputs: [{ name: 'x' }, model.inputs![1]] }, /the whole shape of "x"/)
})

test("PyTorch's shape arithmetic is computed while importing: nothing of it is left in the graph", () => {
  // x.view(x.size(0), -1, x.size(1) // 2)[:, :9223372036854775807] with every detour that the exporter takes
  const one = (op: string, inputs: string[], out: string, attributes: FileNode['with'] = {}): FileNode => ({
    op,
    in: inputs,
    out: [out],
    with: attributes,
  })
  const model = read(
    {
      inputs: [x],
      initializers: [
        ints('zero', [0], []),
        ints('one', [1], []),
        ints('two', [2], []),
        ints('axis0', [0]),
        ints('minus', [-1]),
        ints('end', [2 ** 63]),
        ints('axis1', [1]),
      ],
      nodes: [
        one('Shape', ['x'], 'shape'),
        one('Gather', ['shape', 'zero'], 'b'),
        one('Gather', ['shape', 'one'], 'c'),
        one('Cast', ['two'], 'float', { to: 1 }),
        one('Cast', ['c'], 'cf', { to: 1 }),
        one('Div', ['cf', 'float'], 'half'),
        one('Floor', ['half'], 'down'),
        one('Cast', ['down'], 'h', { to: 7 }),
        one('Unsqueeze', ['b', 'axis0'], 'b1'),
        one('Unsqueeze', ['h', 'axis0'], 'h1'),
        one('Concat', ['b1', 'minus', 'h1'], 'target', { axis: 0 }),
        one('Reshape', ['x', 'target'], 'r'),
        one('Slice', ['r', 'axis0', 'end', 'axis1'], 's'),
        one('ConstantOfShape', ['target2'], 'ones', { value: { tensor: ints('', [1]) } }),
        one('Mul', ['target2', 'ones2'], 'scaled'),
        one('Shape', ['s'], 'target2'),
        one('ConstantOfShape', ['rank'], 'ones2', { value: { tensor: ints('', [1]) } }),
        one('Shape', ['target2'], 'rank'),
        one('Expand', ['s', 'scaled'], 'y'),
      ],
      outputs: ['y'],
    },
    { dims: { batch: 3 } },
  )
  assert.deepEqual(model.outputs[0].shape, [3, 2, 2])
  assert.deepEqual(model.constants, [])
  const given = draw(12)
  assert.deepEqual(evaluated(model, { x: given }).outputs.y, given)
})

test('float initializers train; integers, masks and what an operator must know do not', () => {
  const model = read(
    {
      inputs: [x],
      initializers: [
        floats('w', [4, 4]),
        floats('mask', [4], [1, 0, 1, 0]),
        floats('low', [], [-0.5]),
        floats('onnx::Mul_12', [], [2]),
        floats('endless', [4], [0, Number.NEGATIVE_INFINITY, 0, 0]),
        floats('unread', [7]),
        floats('val_3', [2, 2], [0, -3e38, 0, 0]),
        ints('zero', [0]),
        floats('edge', [1], [3]),
      ],
      nodes: [
        { op: 'MatMul', in: ['x', 'w'], out: ['a'] },
        { op: 'Greater', in: ['mask', 'onnx::Mul_12'], out: ['seen'] },
        { op: 'Where', in: ['seen', 'endless', 'a'], out: ['b'] },
        { op: 'Add', in: ['low', 'low'], out: ['bound'] },
        { op: 'Pad', in: ['b', 'pads', 'edge'], out: ['c'] },
        { op: 'Constant', out: ['pads'], with: { value: { tensor: ints('', [0, 0, 0, 1]) } } },
        { op: 'Mul', in: ['c', 'onnx::Mul_12'], out: ['y'] },
        { op: 'ReduceSum', in: ['val_3'], out: ['masked'] },
      ],
      outputs: ['y', 'masked'],
    },
    { dims: { batch: 2 } },
  )
  const roles = Object.fromEntries(model.parameters.map((p) => [p.name, p.frozen ? 'frozen' : 'trains']))
  assert.deepEqual(roles, { w: 'trains', mask: 'frozen', endless: 'frozen' })
  assert.match(model.warnings.join('\n'), /infinities or NaN and do not train: endless/)
  assert.match(model.warnings.join('\n'), /no gradient reaches them \(masks, comparisons\): mask/)
  assert.match(model.warnings.join('\n'), /nothing reads them, or an operator needs their value beforehand: low, unread, edge/)
})

test('a constant computed from initializers is known where it must be, and stays a weight where it need not', () => {
  const nodes = (op: FileNode): FileModel => ({
    inputs: [{ name: 'x', shape: [1, 1, 2, 2] }],
    initializers: [floats('scale', [2], [1, 1]), floats('more', [2], [2, 2]), floats('p', [1], [2])],
    nodes: [{ op: 'Concat', in: ['scale', 'more'], out: ['scales'], with: { axis: 0 } }, op],
    outputs: ['y'],
  })
  const resized = read(nodes({ op: 'Resize', in: ['x', '', 'scales'], out: ['y'], with: { mode: 'nearest' } }))
  assert.deepEqual([resized.outputs[0].shape, resized.parameters], [[1, 1, 4, 4], []])
  const raised = read(nodes({ op: 'Pow', in: ['x', 'p'], out: ['y'] }))
  assert.deepEqual(
    raised.parameters.map((p) => [p.name, p.frozen ?? false]),
    [['p', false]],
  )
})

test('equal tensors that the exporter merged are parameters of their own, tied ones are one', () => {
  const model = read({
    inputs: [{ name: 'x', shape: [2, 4] }],
    initializers: [floats('ln1.weight', [4], [1, 1, 1, 1]), floats('w', [4, 4])],
    nodes: [
      { op: 'Identity', in: ['ln1.weight'], out: ['ln2.weight'] },
      { op: 'Identity', in: ['ln2.weight'], out: ['ln3.weight'] },
      { op: 'Mul', in: ['x', 'ln1.weight'], out: ['a'] },
      { op: 'Mul', in: ['a', 'ln2.weight'], out: ['b'] },
      { op: 'Mul', in: ['b', 'ln3.weight'], out: ['c'] },
      { op: 'MatMul', in: ['c', 'w'], out: ['d'] },
      { op: 'Transpose', in: ['w'], out: ['wt'] },
      { op: 'MatMul', in: ['d', 'wt'], out: ['y'] },
    ],
    outputs: ['y'],
  })
  assert.deepEqual(
    model.parameters.map((p) => p.name),
    ['ln1.weight', 'w', 'ln2.weight', 'ln3.weight'],
  )
  const { gradients } = evaluated(model, { x: draw(8, 5) })
  assert.ok(gradients['ln2.weight'].some((g) => g !== 0))
  assert.equal(gradients.w.length, 16)
})

test('weights written as Constant nodes train under their own names', () => {
  const constant = (out: string, tensor: ReturnType<typeof floats>): FileNode => ({
    op: 'Constant',
    out: [out],
    with: { value: { tensor } },
  })
  const model = read({
    inputs: [{ name: 'x', shape: [2, 4] }],
    nodes: [
      constant('c1', floats('fc.weight', [4, 3])),
      constant('c2', floats('', [3])),
      constant('c3', floats('', [], [0.5])),
      { op: 'MatMul', in: ['x', 'c1'], out: ['a'] },
      { op: 'Add', in: ['a', 'c2'], out: ['b'] },
      { op: 'Mul', in: ['b', 'c3'], out: ['y'] },
    ],
    outputs: ['y'],
  })
  assert.deepEqual(
    model.parameters.map((p) => p.name),
    ['fc.weight', 'c2'],
  )
  assert.match(model.warnings[0], /2 weights are Constant nodes of the file and are trained: fc.weight, c2/)
  assert.deepEqual(evaluated(model).gradients.c2, [1, 1, 1])
})

test('weights that an export folded and merged are told, with the export line that avoids it', () => {
  const conv = (more: readonly FileNode[]): FileModel => ({
    inputs: [{ name: 'x', shape: [1, 1, 4, 4] }],
    initializers: [floats('onnx::Conv_7', [2, 1, 3, 3]), floats('onnx::Conv_8', [2])],
    nodes: [{ op: 'Conv', in: ['x', 'onnx::Conv_7', 'onnx::Conv_8'], out: ['y'] }, ...more],
    outputs: ['y'],
  })
  const [warning] = read(conv([])).warnings
  assert.match(warning, /2 weights lost their names.*onnx::Conv_7, onnx::Conv_8/)
  assert.match(warning, /merged into one/)
  assert.match(warning, /training=TrainingMode.TRAINING, do_constant_folding=False, dynamo=False/)
})

test('patterns freeze, patterns train, and a pattern that matches nothing is a mistake', () => {
  const model: FileModel = {
    inputs: [{ name: 'x', shape: [2, 4] }],
    initializers: [floats('base.weight', [4, 4]), floats('base.lora_a', [4, 2]), floats('base.lora_b', [2, 4])],
    nodes: [
      { op: 'MatMul', in: ['x', 'base.weight'], out: ['a'] },
      { op: 'MatMul', in: ['x', 'base.lora_a'], out: ['b'] },
      { op: 'MatMul', in: ['b', 'base.lora_b'], out: ['c'] },
      { op: 'Add', in: ['a', 'c'], out: ['y'] },
    ],
    outputs: ['y'],
  }
  const trained = (options: ImportOptions) => read(model, options).parameters.flatMap((p) => (p.frozen ? [] : [p.name]))
  assert.deepEqual(trained({ trainOnly: ['*.lora_?'] }), ['base.lora_a', 'base.lora_b'])
  assert.deepEqual(trained({ freeze: ['base.weight'] }), ['base.lora_a', 'base.lora_b'])
  assert.deepEqual(trained({ trainOnly: ['*.lora_*'], freeze: ['*_b'] }), ['base.lora_a'])
  refused(model, /pattern "lora\.\*" matches no parameter\nThe parameters are base.weight/, { freeze: ['lora.*'] })
})

test('all that is not supported is named at once, with a way out', () => {
  refused(
    {
      inputs: [{ name: 'x', shape: [2, 4] }],
      nodes: [
        { op: 'Det', in: ['x'], out: ['a'], name: 'first' },
        { op: 'QuantizeLinear', in: ['a', 'a'], out: ['b'] },
        { op: 'FancyAttention', domain: 'com.acme', in: ['b'], out: ['c'] },
        { op: 'Det', in: ['c'], out: ['y'] },
        { op: 'Unique', in: ['x'], out: ['nobody reads this'] },
      ],
      outputs: ['y'],
    },
    /^3 operators are not supported:\nDet \(2 times, first at "first"\): .*\nQuantizeLinear .*export the float model.*\ncom\.acme\.FancyAttention .*standard operators/,
  )
  refused(
    {
      inputs: [
        { name: 'x', shape: [2, 4] },
        { name: 'n', element: ELEMENT.i64, shape: [2] },
      ],
      nodes: [
        { op: 'Reshape', in: ['x', 'n'], out: ['a'], name: 'r' },
        { op: 'Relu', in: ['a'], out: ['b'] },
        { op: 'Transpose', in: ['x'], out: ['c'], name: 't', with: { perm: [0, 0] } },
        { op: 'Add', in: ['b', 'c'], out: ['y'] },
      ],
      outputs: ['y'],
    },
    /^2 operators cannot be imported:\nReshape "r": input 1 \("n"\) must be known while importing[\s\S]*\nTranspose "t": axes \[0,0\] name one twice/,
  )
})

test('nodes in any order are put in one; circles, names made twice and names made nowhere are refused', () => {
  const model = (nodes: FileNode[]): FileModel => ({ inputs: [{ name: 'x', shape: [2] }], nodes, outputs: ['y'] })
  const node = (inputs: string[], out: string): FileNode => ({ op: 'Add', in: inputs, out: [out], name: `make ${out}` })
  assert.deepEqual(evaluated(read(model([node(['a', 'a'], 'y'), node(['x', 'x'], 'a')])), { x: [1, 2] }).outputs.y, [4, 8])
  refused(
    model([node(['b', 'x'], 'a'), node(['a', 'x'], 'b'), node(['a', 'b'], 'y')]),
    /circle through Add "make a" and Add "make b"|circle through Add "make b" and Add "make a"/,
  )
  refused(model([node(['y', 'x'], 'y')]), /circle/)
  refused(model([node(['x', 'x'], 'y'), node(['x', 'x'], 'y')]), /"y" is made twice/)
  refused(model([node(['x', 'x'], 'x'), node(['x', 'x'], 'y')]), /"x" is made twice/)
  refused(model([node(['x', 'gone'], 'y')]), /nothing in the file makes "gone" \(read by Add "make y"\)/)
  refused({ ...model([node(['x', 'x'], 'a')]) }, /nothing in the file makes "y" \(an output\)/)
  refused({ ...model([node(['x', 'x'], 'y')]), opsets: [] }, /no operator set version/)
  refused(
    {
      ...model([node(['x', 'x'], 'y')]),
      inputs: [
        { name: 'x', shape: [2] },
        { name: 'x', shape: [2] },
      ],
    },
    /two inputs are named "x"/,
  )
})

test('functions of the file are written out, attributes and all', () => {
  const body = (nodes: FileNode[]) => nodes.map(nodeMessage)
  const functions = [
    {
      name: 'Twice',
      domain: 'local',
      input: ['v', 'unused'],
      output: ['w'],
      attribute: ['axis'],
      attributeProto: [],
      opsetImport: [{ domain: '', version: 17 }],
      node: body([
        { op: 'Concat', in: ['v', 'v'], out: ['t'], with: { axis: { of: 'axis' } } },
        { op: 'Neg', in: ['t'], out: ['w'] },
      ]),
    },
    {
      name: 'Four',
      domain: 'local',
      input: ['v'],
      output: ['w'],
      node: body([
        { op: 'Twice', domain: 'local', in: ['v'], out: ['t'], with: { axis: 1 } },
        { op: 'Twice', domain: 'local', in: ['t'], out: ['w'], with: { axis: 0 } },
      ]),
    },
  ]
  const model: FileModel = {
    opsets: [
      { domain: '', version: 17 },
      { domain: 'local', version: 1 },
    ],
    functions,
    inputs: [{ name: 'x', shape: [1, 2] }],
    nodes: [{ op: 'Four', domain: 'local', in: ['x'], out: ['y'] }],
    outputs: ['y'],
  }
  assert.deepEqual(evaluated(read(model), { x: [1, 2] }).outputs.y, [1, 2, 1, 2, 1, 2, 1, 2])
  const endless = [
    { name: 'Four', domain: 'local', input: ['v'], output: ['w'], node: body([{ op: 'Four', domain: 'local', in: ['v'], out: ['w'] }]) },
  ]
  refused({ ...model, functions: endless }, /calls lie 32 deep/)
  const wide = Array.from({ length: 30 }, (_, i) => ({
    name: i === 0 ? 'Four' : `F${i}`,
    domain: 'local',
    input: ['v'],
    output: ['w'],
    node: body([
      { op: `F${i + 1}`, domain: 'local', in: ['v'], out: ['a'] },
      { op: `F${i + 1}`, domain: 'local', in: ['a'], out: ['w'] },
    ]),
  }))
  refused({ ...model, functions: wide }, /more than 65536/)
})

test('a branch is taken where its condition is known, and refused where it is not', () => {
  const branch = (op: string) => ({ graph: { nodes: [{ op, in: ['x'], out: [`${op}_out`] }], outputs: [`${op}_out`] } })
  const model = (condition: FileNode[]): FileModel => ({
    inputs: [{ name: 'x', shape: [1, 2] }],
    initializers: [ints('zero', [0], []), ints('one', [1], [])],
    nodes: [...condition, { op: 'If', in: ['c'], out: ['y'], with: { then_branch: branch('Squeeze'), else_branch: branch('Neg') } }],
    outputs: ['y'],
  })
  const known: FileNode[] = [
    { op: 'Shape', in: ['x'], out: ['s'] },
    { op: 'Gather', in: ['s', 'zero'], out: ['d'] },
    { op: 'Equal', in: ['d', 'one'], out: ['c'] },
  ]
  assert.deepEqual(read(model(known)).outputs[0].shape, [2])
  const other = read(model([...known.slice(0, 2), { op: 'Greater', in: ['d', 'one'], out: ['c'] }]))
  assert.deepEqual(evaluated(other, { x: [1, -2] }).outputs.y, [-1, 2])
  refused(
    model([
      { op: 'ReduceSum', in: ['x'], out: ['t'], with: { keepdims: 0 } },
      { op: 'Greater', in: ['t', 't'], out: ['c'] },
    ]),
    /condition depends on what the model is given; the graph is static/,
  )
})

test('loops whose turns are known are written out: carried values, collected ones, names from around', () => {
  const body = (condition: FileNode) => ({
    graph: {
      inputs: [
        { name: 'i', element: ELEMENT.i64, shape: [] },
        { name: 'c', element: ELEMENT.bool, shape: [] },
        { name: 'h', shape: [2] },
      ],
      nodes: [
        { op: 'Gather', in: ['x', 'i'], out: ['row'] },
        { op: 'MatMul', in: ['h', 'w'], out: ['hw'] },
        { op: 'Add', in: ['hw', 'row'], out: ['next'] },
        { op: 'Neg', in: ['next'], out: ['seen'] },
        condition,
      ],
      outputs: ['go', 'next', 'seen'],
    },
  })
  const model = (turns: string, condition: FileNode): FileModel => ({
    inputs: [{ name: 'x', shape: [3, 2] }],
    initializers: [floats('w', [2, 2], [1, 1, 0, 1]), ints('three', [3], []), ints('one', [1], []), floats('h0', [2], [0, 0])],
    nodes: [
      { op: 'Identity', in: ['h0'], out: ['start'] },
      { op: 'Loop', in: [turns, '', 'start'], out: ['last', 'all'], with: { body: body(condition) } },
    ],
    outputs: ['last', 'all'],
  })
  const on: FileNode = { op: 'Identity', in: ['c'], out: ['go'] }
  const whole = read(model('three', on))
  const x = [1, 2, 3, 4, 5, 6]
  // h = h·[[1, 1], [0, 1]] + row, three times
  const { outputs, gradients } = evaluated(whole, { x })
  assert.deepEqual(
    [outputs.last, outputs.all],
    [
      [9, 17],
      [-1, -2, -4, -7, -9, -17],
    ],
  )
  assert.deepEqual(gradients.x, [3, 1, 2, 1, 1, 1])
  assert.equal(gradients.w.length, 4)
  const cut = read(model('three', { op: 'Less', in: ['i', 'one'], out: ['go'] }))
  assert.deepEqual(evaluated(cut, { x }).outputs.all, [-1, -2, -4, -7])
  refused(model('three', { op: 'Greater', in: ['total', 'total'], out: ['go'] }), /nothing in the file makes "total"/)
  refused({ ...model('', on) }, /more than 4096 turns|index 3 of axis 0/)
  const endless = model('', on)
  refused(
    {
      ...endless,
      nodes: [
        { op: 'Cast', in: ['x'], out: ['n'], with: { to: ELEMENT.i64 } },
        { op: 'ReduceMax', in: ['n'], out: ['m'], with: { keepdims: 0 } },
        { ...endless.nodes[1], in: ['m', '', 'h0'] },
      ],
    },
    /number of turns depends on what the model is given/,
  )
})

test('lists of tensors are gone before there is a graph', () => {
  const model = read({
    inputs: [{ name: 'x', shape: [2, 5] }],
    initializers: [ints('sizes', [2, 3]), ints('two', [2], []), ints('last', [-1], []), ints('zero', [0], [])],
    nodes: [
      { op: 'SplitToSequence', in: ['x', 'sizes'], out: ['parts'], with: { axis: 1 } },
      { op: 'SequenceAt', in: ['parts', 'last'], out: ['b'] },
      { op: 'SplitToSequence', in: ['b', 'two'], out: ['pairs'], with: { axis: 1 } },
      { op: 'SequenceEmpty', out: ['none'] },
      { op: 'SequenceInsert', in: ['none', 'b'], out: ['one'] },
      { op: 'SequenceInsert', in: ['one', 'b2', 'zero'], out: ['both'] },
      { op: 'Neg', in: ['b'], out: ['b2'] },
      { op: 'ConcatFromSequence', in: ['both'], out: ['stacked'], with: { axis: 0, new_axis: 1 } },
      { op: 'SequenceLength', in: ['pairs'], out: ['n'] },
      { op: 'SequenceConstruct', in: ['b', 'b2'], out: ['made'] },
      { op: 'SequenceErase', in: ['made', 'zero'], out: ['rest'] },
      { op: 'ConcatFromSequence', in: ['rest'], out: ['kept'], with: { axis: 0 } },
    ],
    outputs: ['stacked', 'n', 'kept'],
  })
  const { outputs } = evaluated(model, { x: [0, 1, 2, 3, 4, 5, 6, 7, 8, 9] })
  assert.deepEqual(model.outputs[0].shape, [2, 2, 3])
  assert.deepEqual(outputs, { stacked: [-2, -3, -4, -7, -8, -9, 2, 3, 4, 7, 8, 9], n: [2], kept: [-2, -3, -4, -7, -8, -9] })
  refused(
    {
      inputs: [{ name: 'x', shape: [2] }],
      nodes: [
        { op: 'SequenceConstruct', in: ['x'], out: ['l'] },
        { op: 'Neg', in: ['l'], out: ['y'] },
      ],
      outputs: ['y'],
    },
    /input 0 is a list of tensors/,
  )
})

test('half, bfloat16 and float64 weights become float32, and what was rounded is said', () => {
  const raw = (name: string, dataType: number, bytes: Uint8Array) => ({ name, dims: [2], dataType, rawData: bytes })
  const message = ModelProto.decode(
    fileOf({ inputs: [{ name: 'x', shape: [2] }], nodes: [{ op: 'Sum', in: ['x', 'half', 'brain', 'wide'], out: ['y'] }], outputs: ['y'] }),
  )
  const object = ModelProto.toObject(message)
  object.graph.initializer = [
    raw('half', ELEMENT.f16, new Uint8Array(Uint16Array.of(0x3c00, 0xc100).buffer)),
    raw('brain', ELEMENT.bf16, new Uint8Array(Uint16Array.of(0x3f80, 0xc020).buffer)),
    raw('wide', ELEMENT.f64, new Uint8Array(Float64Array.of(0.1, 0.5).buffer)),
  ]
  const model = importOnnx(ModelProto.encode(ModelProto.fromObject(object)).finish())
  assert.deepEqual(
    model.parameters.map((p) => [...(p.initial as Float32Array)]),
    [
      [1, -2.5],
      [1, -2.5],
      [Math.fround(0.1), 0.5],
    ],
  )
  assert.match(model.warnings.join(), /1 weights are stored as float64 and were rounded to float32: wide/)
  assert.match(model.warnings.join(), /2 weights are stored as float16 or bfloat16 and train as float32: half, brain/)
})

test('weights in files beside the model are read through the caller, and never from outside of its folder', () => {
  const bytes = (location: string, length = '8', offset = '4') => {
    const object = ModelProto.toObject(
      ModelProto.decode(
        fileOf({ inputs: [{ name: 'x', shape: [2] }], nodes: [{ op: 'Add', in: ['x', 'w'], out: ['y'] }], outputs: ['y'] }),
      ),
    )
    const facts = Object.entries({ location, length, offset }).map(([key, value]) => ({ key, value }))
    object.graph.initializer = [{ name: 'w', dims: [2], dataType: ELEMENT.f32, dataLocation: 1, externalData: facts }]
    return ModelProto.encode(ModelProto.fromObject(object)).finish()
  }
  const asked: unknown[] = []
  const external = (...query: [string, number, number | undefined]) => {
    asked.push(query)
    return new Uint8Array(Float32Array.of(3, 4).buffer)
  }
  assert.deepEqual([...(importOnnx(bytes('w.bin'), { external }).parameters[0].initial as Float32Array)], [3, 4])
  assert.deepEqual(asked, [['w.bin', 4, 8]])
  assert.throws(() => importOnnx(bytes('w.bin')), /lies in another file/)
  for (const path of ['../w.bin', '/etc/passwd', 'a/../../b', 'C:\\w', 'a\\..\\b', '', 'a\0b'])
    assert.throws(() => importOnnx(bytes(path), { external }), /outside of the model's folder/, path)
  for (const [length, offset] of [
    ['9', '0'],
    ['-8', '0'],
    ['8', '-4'],
    ['8', '1e300'],
    ['x', '0'],
  ])
    assert.throws(() => importOnnx(bytes('w', length, offset), { external }), /are not the 8 of/)
  assert.throws(() => importOnnx(bytes('w'), { external: () => new Uint8Array(4) }), /holds 4 of the 8 bytes/)
  assert.equal(asked.length, 1)
})

test('tables that no small graph makes are data slots, equal ones the same', () => {
  const table = draw(64, 9).map((v) => Math.round(v * 3) + 0)
  const model = read({
    inputs: [{ name: 'x', shape: [8, 8] }],
    initializers: [
      ints('t', table, [8, 8]),
      ints('same', table, [8, 8]),
      ints(
        'mask',
        Array.from({ length: 64 }, (_, i) => (i % 8 <= Math.floor(i / 8) ? 1 : 0)),
        [8, 8],
      ),
    ],
    nodes: [
      { op: 'Cast', in: ['t'], out: ['a'], with: { to: 1 } },
      { op: 'Mul', in: ['x', 'a'], out: ['b'] },
      { op: 'GatherElements', in: ['b', 'same'], out: ['c'], with: { axis: 1 } },
      { op: 'Cast', in: ['mask'], out: ['seen'], with: { to: 9 } },
      { op: 'Where', in: ['seen', 'c', 'b'], out: ['y'] },
    ],
    outputs: ['y'],
  })
  assert.deepEqual(
    model.constants.map((c) => [c.dtype, c.shape]),
    [
      ['f32', [8, 8]],
      ['i32', [8, 8]],
    ],
  )
  const given = draw(64, 3)
  const product = given.map((v, i) => Math.fround(v * table[i]))
  const expected = given.map((_, i) => {
    const row = Math.floor(i / 8) * 8
    return i % 8 <= row / 8 ? product[row + ((table[i] + 8) % 8)] : product[i]
  })
  assert.deepEqual(evaluated(model, { x: given }).outputs.y, expected)
})

test('names that no slot can have are shortened, and the file names are kept', () => {
  const long = `encoder.${'very.'.repeat(12)}weight`
  const model = read({
    inputs: [{ name: 'x', shape: [2] }],
    initializers: [floats(long, [2]), floats('größe', [2]), floats('seed', [2])],
    nodes: [{ op: 'Sum', in: ['x', long, 'größe', 'seed'], out: ['y'] }],
    outputs: ['y'],
  })
  assert.deepEqual(Object.values(model.names), [long, 'größe', 'seed'])
  for (const { name } of model.parameters) assert.match(name, /^[\x21-\x7e]{1,54}$/)
  assert.equal(new Set(model.parameters.map((p) => p.name)).size, 3)
  assert.deepEqual(Object.keys(evaluated(model).gradients), [...Object.keys(model.names), 'x'])
})

test('dropout draws in training, by the step, and is nothing in evaluation', () => {
  const model = read({
    inputs: [{ name: 'x', shape: [1000] }],
    initializers: [floats('ratio', [], [0.25]), { name: 'on', element: ELEMENT.bool, shape: [], values: [1] }],
    nodes: [
      { op: 'Dropout', in: ['x', 'ratio', 'on'], out: ['a'] },
      { op: 'Dropout', in: ['a', 'ratio'], out: ['y'] },
    ],
    outputs: ['y'],
  })
  const ones = new Array<number>(1000).fill(1)
  assert.equal(model.random, true)
  assert.deepEqual(evaluated(model, { x: ones }).outputs.y, ones)
  const [first, again, next] = [0, 0, 1].map((step) => evaluated(model, { x: ones }, true, step).outputs.y)
  assert.deepEqual(first, again)
  assert.notDeepEqual(first, next)
  assert.deepEqual(new Set(first), new Set([0, Math.fround(4 / 3)]))
  const dropped = first.filter((v) => v === 0).length
  assert.ok(dropped > 200 && dropped < 300, `${dropped} of 1000 dropped at 0.25`)
})

test('buffers that would train and batch norms exported for inference are pointed out', () => {
  const model = (training: number): FileModel => ({
    inputs: [{ name: 'x', shape: [2, 4] }],
    initializers: [floats('pos.inv_freq', [4]), ...['w', 'b', 'm.mean'].map((n) => floats(n, [4])), floats('v', [4], [1, 1, 1, 1])],
    nodes: [
      { op: 'Mul', in: ['x', 'pos.inv_freq'], out: ['a'] },
      {
        op: 'BatchNormalization',
        in: ['a', 'w', 'b', 'm.mean', 'v'],
        out: training ? ['y', 'm2', 'v2'] : ['y'],
        with: { training_mode: training },
      },
    ],
    outputs: ['y'],
  })
  const inference = read(model(0)).warnings.join('\n')
  assert.match(inference, /1 tensors that train look like buffers.*freeze them: pos.inv_freq/)
  assert.match(inference, /1 batch norms are exported for inference[\s\S]*training=TrainingMode.TRAINING/)
  const training = read(model(1), { freeze: ['*.inv_freq'] })
  assert.deepEqual(training.warnings, [])
  assert.deepEqual(
    training.parameters.map((p) => [p.name, p.frozen ?? false]),
    [
      ['pos.inv_freq', true],
      ['w', false],
      ['b', false],
      ['m.mean', true],
      ['v', true],
    ],
  )
  assert.deepEqual(Object.keys(evaluated(training, { x: draw(8) }, true).updates), ['m.mean', 'v'])
  assert.deepEqual(evaluated(training, { x: draw(8) }).updates, {})
})

const torch = new URL('../../../../../shared/reference/torch/', import.meta.url)
test("PyTorch's reference exports are imported whole: every parameter trains by its name, and no table is left", {
  skip: !existsSync(torch) && 'the PyTorch reference runs are not beside the repository',
}, () => {
  for (const name of readdirSync(torch).filter((entry) => existsSync(new URL(`${entry}/case.json`, torch)))) {
    const told = JSON.parse(readFileSync(new URL(`${name}/case.json`, torch), 'utf8'))
    const model = importOnnx(new Uint8Array(readFileSync(new URL(`${name}/model.onnx`, torch))), { dims: { batch: 3 } })
    assert.deepEqual(
      model.parameters.flatMap((p) => (p.frozen ? [] : [p.name])),
      told.trainable,
    )
    assert.deepEqual([model.inputs[0].name, model.outputs[0].name], [told.model.input.name, told.model.output])
    assert.deepEqual([model.constants, model.warnings, model.inputs[0].shape[0], model.outputs[0].shape[0]], [[], [], 3, 3])
  }
})
