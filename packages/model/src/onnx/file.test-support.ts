// Small ONNX files for tests, written field by field, so that a test can also write what no exporter would.

import { sizeOf } from '@bitloom/graph'
import { ATTRIBUTE, ELEMENT, GraphProto, ModelProto } from './schema.ts'

export type FileTensor = {
  readonly name?: string
  readonly element?: number
  readonly shape: readonly number[]
  readonly values: readonly number[]
}
export type FileAttribute =
  | number
  | string
  | { readonly float: number }
  | { readonly floats: readonly number[] }
  | { readonly strings: readonly string[] }
  | readonly number[]
  | { readonly tensor: FileTensor }
  | { readonly graph: FileGraph }
  | { readonly of: string }
export type FileNode = {
  readonly op: string
  readonly in?: readonly string[]
  readonly out: readonly string[]
  readonly domain?: string
  readonly name?: string
  readonly with?: Readonly<Record<string, FileAttribute>>
}
export type FileValue = { readonly name: string; readonly element?: number; readonly shape?: readonly (number | string)[] }
export type FileGraph = {
  readonly nodes: readonly FileNode[]
  readonly initializers?: readonly FileTensor[]
  readonly inputs?: readonly FileValue[]
  readonly outputs: readonly (FileValue | string)[]
}
export type FileModel = FileGraph & {
  readonly opset?: number
  readonly opsets?: readonly { readonly domain: string; readonly version: number }[]
  readonly functions?: readonly object[]
}

const ARRAYS: Readonly<Record<number, (values: readonly number[]) => ArrayBufferView>> = {
  [ELEMENT.f32]: (v) => Float32Array.from(v),
  [ELEMENT.f64]: (v) => Float64Array.from(v),
  [ELEMENT.i64]: (v) => BigInt64Array.from(v, (x) => (x >= 2 ** 63 ? 2n ** 63n - 1n : BigInt(x))),
  [ELEMENT.i32]: (v) => Int32Array.from(v),
  [ELEMENT.bool]: (v) => Uint8Array.from(v),
  [ELEMENT.u8]: (v) => Uint8Array.from(v),
}

/** A tensor message; float32 unless an element type is given. */
export function tensorMessage({ name = '', element = ELEMENT.f32, shape, values }: FileTensor): object {
  const data = ARRAYS[element](values)
  return { name, dims: shape, dataType: element, rawData: new Uint8Array(data.buffer) }
}

export const ints = (name: string, values: readonly number[], shape: readonly number[] = [values.length]): FileTensor => ({
  name,
  element: ELEMENT.i64,
  shape,
  values,
})
export const floats = (name: string, shape: readonly number[], values: readonly number[] = draw(sizeOf(shape))): FileTensor => ({
  name,
  shape,
  values,
})

/** Numbers in ±1 that every machine draws alike. */
export function draw(n: number, seed = 1): number[] {
  let word = seed >>> 0
  return Array.from({ length: n }, () => {
    word = (Math.imul(word, 1664525) + 1013904223) >>> 0
    return Math.fround(word / 2 ** 31 - 1)
  })
}

function attribute([name, a]: [string, FileAttribute]): object {
  if (typeof a === 'number') return { name, type: ATTRIBUTE.int, i: a }
  if (typeof a === 'string') return { name, type: ATTRIBUTE.string, s: new TextEncoder().encode(a) }
  if (Array.isArray(a)) return { name, type: ATTRIBUTE.ints, ints: a }
  if ('float' in a) return { name, type: ATTRIBUTE.float, f: a.float }
  if ('floats' in a) return { name, type: ATTRIBUTE.floats, floats: a.floats }
  if ('strings' in a) return { name, type: ATTRIBUTE.strings, strings: a.strings.map((x) => new TextEncoder().encode(x)) }
  if ('tensor' in a) return { name, type: ATTRIBUTE.tensor, t: tensorMessage(a.tensor) }
  if ('of' in a) return { name, type: ATTRIBUTE.int, refAttrName: a.of }
  return { name, type: ATTRIBUTE.graph, g: graphBytes((a as { graph: FileGraph }).graph) }
}

export const nodeMessage = (n: FileNode): object => ({
  name: n.name ?? '',
  opType: n.op,
  domain: n.domain ?? '',
  input: n.in ?? [],
  output: n.out,
  attribute: Object.entries(n.with ?? {}).map(attribute),
})

function valueMessage(v: FileValue | string): object {
  if (typeof v === 'string') return { name: v }
  const dim = v.shape?.map((d) => (typeof d === 'string' ? { dimParam: d } : { dimValue: d }))
  return { name: v.name, type: { tensorType: { elemType: v.element ?? ELEMENT.f32, ...(dim ? { shape: { dim } } : {}) } } }
}

const graphMessage = (g: FileGraph): object => ({
  name: 'g',
  node: g.nodes.map(nodeMessage),
  initializer: (g.initializers ?? []).map(tensorMessage),
  input: (g.inputs ?? []).map(valueMessage),
  output: g.outputs.map(valueMessage),
})

export const graphBytes = (g: FileGraph): Uint8Array => GraphProto.encode(GraphProto.fromObject(graphMessage(g))).finish()

/** The bytes of a file; opset 17 unless told otherwise. */
export function fileOf(model: FileModel): Uint8Array {
  const message = {
    irVersion: 8,
    producerName: 'test',
    opsetImport: model.opsets ?? [{ domain: '', version: model.opset ?? 17 }],
    graph: graphMessage(model),
    functions: model.functions ?? [],
  }
  return new Uint8Array(ModelProto.encode(ModelProto.fromObject(message)).finish())
}
