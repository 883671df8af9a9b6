// Nodes, weights and names as an ONNX file; equal input gives equal bytes.

import { type Dtype, type Shape, sizeOf } from '@bitloom/graph'
import { OnnxError } from './decode.ts'
import { ATTRIBUTE, ELEMENT, ModelProto } from './schema.ts'

/** Opset 17 is the newest that every runtime of the last years reads; IR 8 came with it. */
export const OPSET = 17
const IR_VERSION = 8

/** A node to write; an attribute that is a whole number becomes INT, one in `floats` FLOAT. */
export type NodeToWrite = {
  readonly op: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly ints?: Readonly<Record<string, number | readonly number[]>>
  readonly floats?: Readonly<Record<string, number>>
}
export type TensorToWrite = {
  readonly name: string
  readonly shape: Shape
  readonly data: Float32Array | Int32Array | BigInt64Array | Uint8Array
}
/** A graph's input or output; a string is a dynamic axis. */
export type ValueToWrite = { readonly name: string; readonly dtype: Dtype; readonly shape: readonly (number | string)[] }
export type ModelToWrite = {
  readonly name: string
  readonly nodes: readonly NodeToWrite[]
  readonly initializers: readonly TensorToWrite[]
  readonly inputs: readonly ValueToWrite[]
  readonly outputs: readonly ValueToWrite[]
  readonly metadata?: Readonly<Record<string, string>>
}

/**
 * Encodes a model as an ONNX file (IR 8, opset 17, producer "bitloom").
 * @throws {OnnxError} a value has no producer or two, or a tensor's shape and data differ
 */
export function encodeModel(model: ModelToWrite): Uint8Array {
  checkNames(model)
  const message = ModelProto.fromObject({
    irVersion: IR_VERSION,
    producerName: 'bitloom',
    opsetImport: [{ domain: '', version: OPSET }],
    metadataProps: Object.keys(model.metadata ?? {})
      .sort()
      .map((key) => ({ key, value: model.metadata![key] })),
    graph: {
      name: model.name,
      node: model.nodes.map(nodeMessage),
      initializer: model.initializers.map(tensorMessage),
      input: model.inputs.map(valueMessage),
      output: model.outputs.map(valueMessage),
    },
  })
  return new Uint8Array(ModelProto.encode(message).finish())
}

/** Every name is made once, before it is read: runtimes differ in what they say when it is not so. */
function checkNames({ nodes, initializers, inputs, outputs }: ModelToWrite): void {
  const made = new Set<string>()
  const make = (name: string) => {
    if (made.has(name) || name === '') throw new OnnxError(`the name "${name}" is ${name === '' ? 'empty' : 'taken'}`)
    made.add(name)
  }
  const read = (name: string, by: string) => {
    if (!made.has(name)) throw new OnnxError(`${by} reads "${name}", which nothing before it makes`)
  }
  for (const { name } of [...inputs, ...initializers]) make(name)
  for (const node of nodes) {
    for (const name of node.inputs) read(name, node.op)
    for (const name of node.outputs) make(name)
  }
  for (const { name } of outputs) read(name, 'the output')
}

function nodeMessage(node: NodeToWrite): object {
  const ints = Object.entries(node.ints ?? {}).map(([name, v]) =>
    typeof v === 'number' ? { name, type: ATTRIBUTE.int, i: v } : { name, type: ATTRIBUTE.ints, ints: v },
  )
  const floats = Object.entries(node.floats ?? {}).map(([name, f]) => ({ name, type: ATTRIBUTE.float, f }))
  return {
    name: `${node.op}:${node.outputs[0]}`,
    opType: node.op,
    input: node.inputs,
    output: node.outputs,
    attribute: [...ints, ...floats],
  }
}

function tensorMessage({ name, shape, data }: TensorToWrite): object {
  if (sizeOf(shape) !== data.length) throw new OnnxError(`"${name}": shape [${shape}] and ${data.length} elements differ`)
  const element =
    data instanceof Float32Array
      ? ELEMENT.f32
      : data instanceof Int32Array
        ? ELEMENT.i32
        : data instanceof BigInt64Array
          ? ELEMENT.i64
          : ELEMENT.u8
  return { name, dims: shape, dataType: element, rawData: new Uint8Array(data.buffer, data.byteOffset, data.byteLength) }
}

function valueMessage({ name, dtype, shape }: ValueToWrite): object {
  const dim = shape.map((d) => (typeof d === 'string' ? { dimParam: d } : { dimValue: d }))
  return { name, type: { tensorType: { elemType: ELEMENT[dtype], shape: { dim } } } }
}
