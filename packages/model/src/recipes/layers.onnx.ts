// Writes a layered image or table model as ONNX: the few layers that recipes are made of, one call each.

import { OnnxError } from '../onnx/decode.ts'
import { encodeModel, type NodeToWrite, type TensorToWrite, type ValueToWrite } from '../onnx/encode.ts'

type Tensor = (name: string) => Float32Array

/** A model being written: each call adds a node and gives the name of what it makes. */
export type Sheet = {
  readonly node: (op: string, inputs: readonly string[], ints?: NodeToWrite['ints'], floats?: Readonly<Record<string, number>>) => string
  /** A trained tensor by its own name. */
  readonly weight: (name: string, shape: readonly number[]) => string
  readonly constant: (data: TensorToWrite['data'], shape: readonly number[]) => string
}

/** The file of what `write` draws from one input to one output. */
export function writeOnnx(
  model: { name: string; input: ValueToWrite; output: ValueToWrite; metadata: Readonly<Record<string, string>> },
  tensor: Tensor,
  write: (sheet: Sheet, input: string) => string,
): Uint8Array {
  const nodes: NodeToWrite[] = []
  const initializers = new Map<string, TensorToWrite>()
  const sheet: Sheet = {
    node: (op, inputs, ints, floats) => {
      const output = `${op.toLowerCase()}_${nodes.length}`
      nodes.push({ op, inputs, outputs: [output], ...(ints ? { ints } : {}), ...(floats ? { floats } : {}) })
      return output
    },
    weight: (name, shape) => {
      if (!initializers.has(name)) initializers.set(name, { name, shape, data: tensor(name) })
      return name
    },
    constant: (data, shape) => {
      const name = `constant_${initializers.size}`
      initializers.set(name, { name, shape, data })
      return name
    },
  }
  const last = write(sheet, model.input.name)
  const end = nodes.at(-1)
  if (!end || end.outputs[0] !== last) throw new OnnxError('the last node does not make the output')
  nodes[nodes.length - 1] = { ...end, outputs: [model.output.name] }
  return encodeModel({
    name: model.name,
    nodes,
    initializers: [...initializers.values()],
    inputs: [model.input],
    outputs: [model.output],
    metadata: model.metadata,
  })
}
