// An ONNX file as plain values: nodes, tensors and names, with every size checked before it is believed.

import { OnnxError } from './error.ts'
import { type FunctionNode, functionKey, inlined, type OnnxFunction } from './functions.ts'
import { ATTRIBUTE, GraphProto, ModelProto } from './schema.ts'
import { type OnnxTensor, type RawTensor, type ReadExternal, tensorOf } from './tensorproto.ts'

export { OnnxError } from './error.ts'
export type { OnnxData, OnnxTensor } from './tensorproto.ts'

/** A graph inside an attribute, not looked into yet. */
export type OnnxSubgraph = { readonly graph: Uint8Array }
export type OnnxAttribute = number | string | readonly number[] | readonly string[] | OnnxTensor | OnnxSubgraph
export type OnnxNode = {
  readonly op: string
  /** '' for the standard set. */
  readonly domain: string
  /** Version of the operator set that the node is of. */
  readonly opset: number
  readonly name: string
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  readonly attributes: Readonly<Record<string, OnnxAttribute>>
}
/** A graph's input or output; a dynamic axis is a name ('' where the file gives none), an unknown rank no shape. */
export type OnnxValue = { readonly name: string; readonly element: number; readonly shape?: readonly (number | string)[] }
export type OnnxModel = {
  readonly irVersion: number
  /** Version of the standard operator set. */
  readonly opset: number
  readonly producer: string
  readonly metadata: Readonly<Record<string, string>>
  /** Functions of the file are written out. */
  readonly nodes: readonly OnnxNode[]
  readonly initializers: ReadonlyMap<string, OnnxTensor>
  readonly inputs: readonly OnnxValue[]
  readonly outputs: readonly OnnxValue[]
}
export type DecodeOptions = {
  /** Reads weights that lie in files beside the model; without it such a model is refused. */
  readonly external?: ReadExternal
}

export const MAX_MODEL_BYTES = 2 ** 30
export const MAX_NODES = 65_536

/** What protobufjs yields once every default is filled in. */
type RawValue = { name: string; type?: { tensorType?: { elemType: number; shape?: { dim: { dimValue?: number; dimParam?: string }[] } } } }
type RawAttribute = {
  name: string
  type: number
  refAttrName: string
  f: number
  i: number
  s: Uint8Array
  t?: RawTensor
  g: Uint8Array
  floats: number[]
  ints: number[]
  strings: Uint8Array[]
}
type RawNode = { name: string; opType: string; domain: string; input: string[]; output: string[]; attribute: RawAttribute[] }
type RawGraph = { node: RawNode[]; initializer: RawTensor[]; sparseInitializer: Uint8Array[]; input: RawValue[]; output: RawValue[] }
type RawOpset = { domain: string; version: number }
type RawFunction = {
  name: string
  domain: string
  input: string[]
  output: string[]
  attribute: string[]
  attributeProto: RawAttribute[]
  node: RawNode[]
  opsetImport: RawOpset[]
}
type RawModel = {
  irVersion: number
  producerName: string
  opsetImport: RawOpset[]
  metadataProps: { key: string; value: string }[]
  graph?: RawGraph
  functions: RawFunction[]
}

const READ = { longs: Number, defaults: true, arrays: true }

/**
 * Decodes an ONNX model file.
 * @throws {OnnxError} it is no ONNX file, keeps its weights in other files, or contradicts itself
 */
export function decodeModel(bytes: Uint8Array, options: DecodeOptions = {}): OnnxModel {
  if (bytes.length > MAX_MODEL_BYTES) throw new OnnxError(`a model of ${bytes.length} bytes is above ${MAX_MODEL_BYTES}`)
  let raw: RawModel
  try {
    raw = ModelProto.toObject(ModelProto.decode(bytes), READ) as RawModel
  } catch (cause) {
    throw new OnnxError('the file is no protobuf message of an ONNX model', { cause })
  }
  const opsets = opsetsOf(raw.opsetImport)
  // a file that uses other operator sets alone need not name the standard one
  const opset = opsets.get('') ?? (opsets.size > 0 ? 0 : undefined)
  if (!raw.graph || opset === undefined)
    throw new OnnxError(`the file holds no ${raw.graph ? 'operator set version' : 'graph'}; is it an ONNX model?`)
  const functions = new Map<string, OnnxFunction>()
  for (const f of raw.functions) {
    const key = functionKey({ domain: f.domain, op: f.name })
    if (functions.has(key)) throw new OnnxError(`two functions are named "${key}"`)
    functions.set(key, functionOf(f, opsets, options.external))
  }
  const { nodes, ...rest } = graphOf(raw.graph, opsets, options.external)
  return {
    irVersion: raw.irVersion,
    opset,
    producer: raw.producerName,
    metadata: Object.fromEntries(raw.metadataProps.map(({ key, value }) => [key, value])),
    nodes: inlined(nodes, functions, MAX_NODES),
    ...rest,
  }
}

/**
 * The graph inside an attribute, with the operator sets of the node that holds it.
 * @throws {OnnxError} it is none
 */
export function decodeSubgraph(
  { graph }: OnnxSubgraph,
  opsets: ReadonlyMap<string, number>,
): Pick<OnnxModel, 'nodes' | 'initializers' | 'inputs' | 'outputs'> {
  let raw: RawGraph
  try {
    raw = GraphProto.toObject(GraphProto.decode(graph), READ) as RawGraph
  } catch (cause) {
    throw new OnnxError('an attribute is no graph', { cause })
  }
  return graphOf(raw, opsets, undefined)
}

const standard = (domain: string): string => (domain === 'ai.onnx' ? '' : domain)

function opsetsOf(list: readonly RawOpset[]): Map<string, number> {
  return new Map(list.map(({ domain, version }) => [standard(domain), version]))
}

function graphOf(
  graph: RawGraph,
  opsets: ReadonlyMap<string, number>,
  external: ReadExternal | undefined,
): Pick<OnnxModel, 'nodes' | 'initializers' | 'inputs' | 'outputs'> {
  if (graph.node.length > MAX_NODES || graph.initializer.length > MAX_NODES)
    throw new OnnxError(`${graph.node.length} nodes and ${graph.initializer.length} initializers; at most ${MAX_NODES} of each are read`)
  if (graph.sparseInitializer.length > 0)
    throw new OnnxError(`${graph.sparseInitializer.length} sparse initializers are not read\nExport the weights as dense tensors.`)
  const initializers = new Map<string, OnnxTensor>()
  for (const t of graph.initializer) {
    if (initializers.has(t.name)) throw new OnnxError(`two initializers are named "${t.name}"`)
    initializers.set(t.name, tensorOf(t, external))
  }
  const inputs = graph.input.filter((v) => !initializers.has(v.name)).map(valueInfoOf)
  const names = inputs.map((v) => v.name)
  const twice = names.find((name, i) => names.indexOf(name) !== i)
  if (twice !== undefined) throw new OnnxError(`two inputs are named "${twice}"`)
  return { nodes: graph.node.map((n) => nodeOf(n, opsets, external)), initializers, inputs, outputs: graph.output.map(valueInfoOf) }
}

function functionOf(f: RawFunction, opsets: ReadonlyMap<string, number>, external: ReadExternal | undefined): OnnxFunction {
  const own = new Map([...opsets, ...opsetsOf(f.opsetImport)])
  if (f.node.length > MAX_NODES) throw new OnnxError(`function "${f.name}": ${f.node.length} nodes`)
  const defaults = nodeOf({ name: f.name, opType: f.name, domain: '', input: [], output: [], attribute: f.attributeProto }, own, external)
  return { inputs: f.input, outputs: f.output, defaults: defaults.attributes, nodes: f.node.map((n) => nodeOf(n, own, external)) }
}

function nodeOf(node: RawNode, opsets: ReadonlyMap<string, number>, external: ReadExternal | undefined): FunctionNode {
  const where = `node "${node.name}" (${node.opType})`
  const domain = standard(node.domain)
  const attributes: Record<string, OnnxAttribute> = Object.create(null)
  const references: Record<string, string> = Object.create(null)
  for (const a of node.attribute) {
    if (a.name in attributes || a.name in references) throw new OnnxError(`${where}: attribute "${a.name}" appears twice`)
    if (a.refAttrName !== '') references[a.name] = a.refAttrName
    else attributes[a.name] = attributeOf(where, a, external)
  }
  // a domain without a version of its own is told by the operator table, not here
  return {
    op: node.opType,
    domain,
    opset: opsets.get(domain) ?? 1,
    name: node.name,
    inputs: node.input,
    outputs: node.output,
    attributes,
    references,
  }
}

function attributeOf(where: string, a: RawAttribute, external: ReadExternal | undefined): OnnxAttribute {
  const text = (bytes: Uint8Array) => new TextDecoder().decode(bytes)
  switch (a.type) {
    case ATTRIBUTE.float:
      return a.f
    case ATTRIBUTE.int:
      return a.i
    case ATTRIBUTE.string:
      return text(a.s)
    case ATTRIBUTE.tensor:
      if (a.t) return tensorOf(a.t, external)
      break
    case ATTRIBUTE.graph:
      return { graph: a.g }
    case ATTRIBUTE.floats:
      return a.floats
    case ATTRIBUTE.ints:
      return a.ints
    case ATTRIBUTE.strings:
      return a.strings.map(text)
  }
  throw new OnnxError(`${where}: attribute "${a.name}" of type ${a.type} is not read`)
}

function valueInfoOf(value: RawValue): OnnxValue {
  const type = value.type?.tensorType
  return {
    name: value.name,
    element: type?.elemType ?? 0,
    ...(type?.shape ? { shape: type.shape.dim.map((d) => d.dimParam || d.dimValue || '') } : {}),
  }
}
