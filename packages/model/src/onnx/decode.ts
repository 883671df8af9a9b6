// An ONNX file as plain values: nodes, tensors and names, with every size checked before it is believed.

import type { Shape } from '@bitloom/graph'
import { ATTRIBUTE, ELEMENT, ModelProto } from './schema.ts'

export type OnnxData = Float32Array | Float64Array | Int32Array | BigInt64Array | Uint8Array
/** `element` is one of `ELEMENT`'s codes; bool and u8 are held by a Uint8Array. */
export type OnnxTensor = { readonly name: string; readonly element: number; readonly shape: Shape; readonly data: OnnxData }
export type OnnxAttribute = number | string | readonly number[] | readonly string[] | OnnxTensor
export type OnnxNode = {
  readonly op: string
  readonly name: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: Readonly<Record<string, OnnxAttribute>>
}
/** A graph's input or output; a dynamic axis is a name ('' where the file gives none). */
export type OnnxValue = { readonly name: string; readonly element: number; readonly shape: readonly (number | string)[] }
export type OnnxModel = {
  readonly irVersion: number
  /** Version of the standard operator set. */
  readonly opset: number
  readonly producer: string
  readonly metadata: Readonly<Record<string, string>>
  readonly nodes: readonly OnnxNode[]
  readonly initializers: ReadonlyMap<string, OnnxTensor>
  readonly inputs: readonly OnnxValue[]
  readonly outputs: readonly OnnxValue[]
}

export const MAX_MODEL_BYTES = 2 ** 30
export const MAX_NODES = 65_536

/** What protobufjs yields once every default is filled in. */
type Raw<T extends string> = Record<T, never>
type RawTensor = Raw<'name' | 'dataType' | 'dataLocation'> & {
  dims: number[]
  rawData: Uint8Array
  floatData: number[]
  int32Data: number[]
  int64Data: (number | string)[]
  doubleData: number[]
}
type RawValue = { name: string; type?: { tensorType?: { elemType: number; shape?: { dim: { dimValue?: number; dimParam?: string }[] } } } }
type RawAttribute = {
  name: string
  type: number
  f: number
  i: number
  s: Uint8Array
  t?: RawTensor
  floats: number[]
  ints: number[]
  strings: Uint8Array[]
}
type RawNode = { name: string; opType: string; domain: string; input: string[]; output: string[]; attribute: RawAttribute[] }
type RawModel = {
  irVersion: number
  producerName: string
  opsetImport: { domain: string; version: number }[]
  metadataProps: { key: string; value: string }[]
  graph?: { node: RawNode[]; initializer: RawTensor[]; input: RawValue[]; output: RawValue[] }
}

/**
 * Decodes an ONNX model file.
 * @throws {OnnxError} it is no ONNX file, keeps its weights in other files, uses operators outside the standard set, or contradicts itself
 */
export function decodeModel(bytes: Uint8Array): OnnxModel {
  if (bytes.length > MAX_MODEL_BYTES) throw new OnnxError(`a model of ${bytes.length} bytes is above ${MAX_MODEL_BYTES}`)
  let raw: RawModel
  try {
    raw = ModelProto.toObject(ModelProto.decode(bytes), { longs: Number, defaults: true, arrays: true }) as RawModel
  } catch (cause) {
    throw new OnnxError('the file is no protobuf message of an ONNX model', { cause })
  }
  const graph = raw.graph
  const opset = raw.opsetImport.find((o) => o.domain === '' || o.domain === 'ai.onnx')?.version
  if (!graph || opset === undefined)
    throw new OnnxError(`the file holds no ${graph ? 'operator set version' : 'graph'}; is it an ONNX model?`)
  if (graph.node.length > MAX_NODES || graph.initializer.length > MAX_NODES)
    throw new OnnxError(`${graph.node.length} nodes and ${graph.initializer.length} initializers; at most ${MAX_NODES} of each are read`)
  const initializers = new Map<string, OnnxTensor>()
  for (const t of graph.initializer) {
    if (initializers.has(t.name)) throw new OnnxError(`two initializers are named "${t.name}"`)
    initializers.set(t.name, tensorOf(t))
  }
  return {
    irVersion: raw.irVersion,
    opset,
    producer: raw.producerName,
    metadata: Object.fromEntries(raw.metadataProps.map(({ key, value }) => [key, value])),
    nodes: graph.node.map(nodeOf),
    initializers,
    inputs: graph.input.filter((v) => !initializers.has(v.name)).map(valueInfoOf),
    outputs: graph.output.map(valueInfoOf),
  }
}

function nodeOf(node: RawNode): OnnxNode {
  const where = `node "${node.name}" (${node.opType})`
  if (node.domain !== '' && node.domain !== 'ai.onnx')
    throw new OnnxError(`${where}: operators of "${node.domain}" are not read, only the standard ones`)
  const attributes: Record<string, OnnxAttribute> = Object.create(null)
  for (const a of node.attribute) {
    if (a.name in attributes) throw new OnnxError(`${where}: attribute "${a.name}" appears twice`)
    attributes[a.name] = attributeOf(where, a)
  }
  return { op: node.opType, name: node.name, inputs: node.input, outputs: node.output, attributes }
}

function attributeOf(where: string, a: RawAttribute): OnnxAttribute {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
  switch (a.type) {
    case ATTRIBUTE.float:
      return a.f
    case ATTRIBUTE.int:
      return a.i
    case ATTRIBUTE.string:
      return text(a.s)
    case ATTRIBUTE.tensor:
      if (a.t) return tensorOf(a.t)
      break
    case ATTRIBUTE.floats:
      return a.floats
    case ATTRIBUTE.ints:
      return a.ints
    case ATTRIBUTE.strings:
      return a.strings.map(text)
  }
  throw new OnnxError(
    `${where}: attribute "${a.name}" of type ${a.type} is not read\nGraphs inside graphs (If, Loop, Scan) have no place in a static graph.`,
  )
}

function valueInfoOf(value: RawValue): OnnxValue {
  const type = value.type?.tensorType
  if (!type?.shape) throw new OnnxError(`"${value.name}" is no tensor of known rank`)
  return { name: value.name, element: type.elemType, shape: type.shape.dim.map((d) => d.dimParam || d.dimValue || '') }
}

const WIDTHS: Record<number, number> = {
  [ELEMENT.f32]: 4,
  [ELEMENT.u8]: 1,
  [ELEMENT.i32]: 4,
  [ELEMENT.i64]: 8,
  [ELEMENT.bool]: 1,
  [ELEMENT.f64]: 8,
}

/** A tensor from its raw bytes, or from the typed list that some exporters write. */
function tensorOf(t: RawTensor): OnnxTensor {
  const where = `tensor "${t.name}"`
  const element: number = t.dataType
  const width = WIDTHS[element]
  if (t.dataLocation !== 0)
    throw new OnnxError(`${where} lies in another file\nExport the model as one file (PyTorch: external_data=False).`)
  if (width === undefined) throw new OnnxError(`${where}: element type ${element} is not read`)
  let n = 1
  for (const d of t.dims) {
    n *= d
    if (!Number.isSafeInteger(d) || d < 0 || n > 2 ** 32) throw new OnnxError(`${where}: shape [${t.dims}]`)
  }
  const listed =
    element === ELEMENT.f32 ? t.floatData : element === ELEMENT.f64 ? t.doubleData : element === ELEMENT.i64 ? t.int64Data : t.int32Data
  const given = t.rawData.length > 0 ? t.rawData.length / width : listed.length
  if (given !== n) throw new OnnxError(`${where}: shape [${t.dims}] and ${given} elements differ`)
  return { name: t.name, element, shape: t.dims, data: t.rawData.length > 0 ? ofRaw(element, t.rawData) : ofList(element, listed) }
}

function ofRaw(element: number, raw: Uint8Array): OnnxData {
  const { buffer } = Uint8Array.from(raw)
  if (element === ELEMENT.f32) return new Float32Array(buffer)
  if (element === ELEMENT.f64) return new Float64Array(buffer)
  if (element === ELEMENT.i64) return new BigInt64Array(buffer)
  return element === ELEMENT.i32 ? new Int32Array(buffer) : new Uint8Array(buffer)
}

function ofList(element: number, values: readonly (number | string)[]): OnnxData {
  if (element === ELEMENT.i64) return BigInt64Array.from(values, BigInt)
  const numbers = values.map(Number)
  if (element === ELEMENT.f32) return Float32Array.from(numbers)
  if (element === ELEMENT.f64) return Float64Array.from(numbers)
  return element === ELEMENT.i32 ? Int32Array.from(numbers) : Uint8Array.from(numbers)
}

/** An ONNX file, or what should become one, is not what it should be. */
export class OnnxError extends Error {
  override name = 'model.OnnxError'
}
