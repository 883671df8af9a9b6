// The file that somebody exported, with trained weights in place of the first ones and every other byte as it was: whatever ran the model before runs it now.
//
// The message is not decoded and written again, because that would drop what our schema does not know; only the tensors' bodies are exchanged.

import protobuf from 'protobufjs'
import { OnnxError } from './decode.ts'
import { ELEMENT } from './schema.ts'

/** Field numbers of onnx.proto3 that matter here. */
const MODEL = { graph: 7, metadata: 14 } as const
const GRAPH = { node: 1, initializer: 5 } as const
const NODE = { input: 1, output: 2, op: 4, attribute: 5 } as const
const ATTRIBUTE = { name: 1, tensor: 5 } as const
const TENSOR = { dims: 1, type: 2, name: 8, raw: 9 } as const
/** Fields of a tensor that hold elements, or say that another file does. */
const BODIES: ReadonlySet<number> = new Set([3, 4, 5, 6, 7, 9, 10, 11, 13, 14])
const LENGTH_DELIMITED = 2

/**
 * `bytes`, an ONNX file, with these tensors in it by the names that `importOnnx` gave them: initializers, copies by Identity nodes, and Constant nodes. Elements
 * are rounded to the type that the file keeps (float16, bfloat16; float64 holds them exactly).
 * @param metadata strings that the file also carries from now on
 * @throws {OnnxError} the file has no such tensor, or one of another size
 */
export function replaceWeights(
  bytes: Uint8Array,
  weights: Readonly<Record<string, Float32Array>>,
  metadata: Readonly<Record<string, string>> = {},
): Uint8Array {
  const left = new Set(Object.keys(weights))
  const take = (name: string): Float32Array | undefined => {
    const found = Object.hasOwn(weights, name) ? weights[name] : undefined
    if (found) left.delete(name)
    return found
  }
  const originals = new Map<string, Uint8Array>()
  const out = edit(bytes, (field, body) => {
    if (field !== MODEL.graph) return body
    for (const [f, tensor] of fieldsOf(body)) if (f === GRAPH.initializer) originals.set(textIn(tensor, TENSOR.name), tensor)
    const copies: Uint8Array[] = []
    const graph = edit(body, (f, part) => {
      if (f === GRAPH.initializer) {
        const data = take(textIn(part, TENSOR.name))
        return data ? exchanged(part, data) : part
      }
      if (f !== GRAPH.node) return part
      const output = textIn(part, NODE.output)
      const op = textIn(part, NODE.op)
      if (op === 'Constant') return constantNode(part, output, take)
      const original = op === 'Identity' && Object.hasOwn(weights, output) ? originals.get(textIn(part, NODE.input)) : undefined
      if (!original) return part
      // a copy that trained has become a tensor of its own
      copies.push(exchanged(renamed(original, output), take(output)!))
      return undefined
    })
    return joined([graph, ...copies.map((c) => delimited(GRAPH.initializer, c))])
  })
  if (left.size > 0) throw new OnnxError(`the file has no tensor named ${[...left].slice(0, 5).join(', ')}${left.size > 5 ? ', …' : ''}`)
  const notes = Object.keys(metadata)
    .sort()
    .map((key) => {
      const w = protobuf.Writer.create()
      w.uint32((1 << 3) | LENGTH_DELIMITED).string(key)
      w.uint32((2 << 3) | LENGTH_DELIMITED).string(metadata[key])
      return delimited(MODEL.metadata, w.finish())
    })
  return joined([out, ...notes])
}

/** A Constant node whose value is one of the weights, by its own name or its output's. */
function constantNode(node: Uint8Array, output: string, take: (name: string) => Float32Array | undefined): Uint8Array {
  return edit(node, (field, attribute) => {
    if (field !== NODE.attribute || textIn(attribute, ATTRIBUTE.name) !== 'value') return attribute
    return edit(attribute, (f, tensor) => {
      if (f !== ATTRIBUTE.tensor) return tensor
      const data = take(textIn(tensor, TENSOR.name)) ?? take(output)
      return data ? exchanged(tensor, data) : tensor
    })
  })
}

/** A tensor with other elements. */
function exchanged(tensor: Uint8Array, data: Float32Array): Uint8Array {
  const name = textIn(tensor, TENSOR.name)
  const elements = sizeIn(tensor)
  if (elements !== data.length) throw new OnnxError(`"${name}" has ${elements} elements in the file, ${data.length} were given`)
  const kept = edit(tensor, (field, body) => (BODIES.has(field) ? undefined : body), BODIES)
  return joined([kept, delimited(TENSOR.raw, stored(numberIn(tensor, TENSOR.type), data, name))])
}

const renamed = (tensor: Uint8Array, name: string): Uint8Array =>
  joined([
    edit(tensor, (field, body) => (field === TENSOR.name ? undefined : body)),
    delimited(TENSOR.name, new TextEncoder().encode(name)),
  ])

/** Elements as the file keeps them, little-endian. */
function stored(element: number, data: Float32Array, name: string): Uint8Array {
  const as = (words: Float32Array | Float64Array | Uint16Array): Uint8Array =>
    new Uint8Array(words.buffer, words.byteOffset, words.byteLength)
  if (element === ELEMENT.f32) return as(data)
  if (element === ELEMENT.f64) return as(Float64Array.from(data))
  const bits = new Uint32Array(data.buffer, data.byteOffset, data.length)
  if (element === ELEMENT.bf16)
    return as(Uint16Array.from(bits, (b, i) => (Number.isNaN(data[i]) ? 0x7fc0 : (b + 0x7fff + ((b >>> 16) & 1)) >>> 16)))
  if (element === ELEMENT.f16) return as(Uint16Array.from(data, halfOf))
  throw new OnnxError(`"${name}" has elements of type ${element}, which holds no trained weight`)
}

/** The nearest binary16, ties to even. */
export function halfOf(x: number): number {
  const sign = x < 0 || Object.is(x, -0) ? 0x8000 : 0
  const a = Math.abs(x)
  if (Number.isNaN(x)) return 0x7e00
  if (a >= 65520) return sign | 0x7c00
  // the spacing of halves at a: 2^-24 below 2^-14, then 2^(exponent - 10)
  const exponent = a < 2 ** -14 ? -14 : Math.floor(Math.log2(a))
  const spacing = 2 ** (exponent - 10)
  const steps = a / spacing
  const low = Math.floor(steps)
  const rest = steps - low
  const rounded = low + (rest > 0.5 || (rest === 0.5 && low % 2 === 1) ? 1 : 0)
  return sign | (a < 2 ** -14 ? rounded : (exponent + 14) * 1024 + rounded)
}

/** Walks a message's fields; `body` is what a length-delimited one holds, and the whole field otherwise. */
function* fieldsOf(message: Uint8Array): Generator<[field: number, body: Uint8Array, whole: Uint8Array, wire: number]> {
  const reader = protobuf.Reader.create(message)
  while (reader.pos < reader.len) {
    const begin = reader.pos
    try {
      const tag = reader.uint32()
      const wire = tag & 7
      if (wire === LENGTH_DELIMITED) {
        const n = reader.uint32()
        if (reader.pos + n > reader.len) throw new OnnxError(`a field of ${n} bytes at ${begin} is cut short`)
        const body = message.subarray(reader.pos, reader.pos + n)
        reader.pos += n
        yield [tag >>> 3, body, message.subarray(begin, reader.pos), wire]
      } else {
        const at = reader.pos
        reader.skipType(wire)
        yield [tag >>> 3, message.subarray(at, reader.pos), message.subarray(begin, reader.pos), wire]
      }
    } catch (cause) {
      if (cause instanceof OnnxError) throw cause
      throw new OnnxError('the file is no protobuf message of an ONNX model', { cause })
    }
  }
}

/** A message with its length-delimited fields changed (the same bytes: left as they are; undefined: left out); fields of `dropped` go whatever their kind. */
function edit(
  message: Uint8Array,
  change: (field: number, body: Uint8Array) => Uint8Array | undefined,
  dropped?: ReadonlySet<number>,
): Uint8Array {
  const parts: Uint8Array[] = []
  for (const [field, body, whole, wire] of fieldsOf(message)) {
    if (dropped?.has(field)) continue
    const after = wire === LENGTH_DELIMITED ? change(field, body) : body
    if (after === body) parts.push(whole)
    else if (after) parts.push(delimited(field, after))
  }
  return joined(parts)
}

/** The first text of a field, or ''. */
function textIn(message: Uint8Array, wanted: number): string {
  for (const [field, body] of fieldsOf(message)) if (field === wanted) return new TextDecoder().decode(body)
  return ''
}

function numberIn(message: Uint8Array, wanted: number): number {
  for (const [field, body] of fieldsOf(message)) if (field === wanted) return protobuf.Reader.create(body).uint32()
  return 0
}

/** The product of a tensor's dims, packed or one by one. */
function sizeIn(tensor: Uint8Array): number {
  let elements = 1
  for (const [field, body] of fieldsOf(tensor)) {
    if (field !== TENSOR.dims) continue
    const reader = protobuf.Reader.create(body)
    while (reader.pos < reader.len) elements *= Number(reader.int64())
  }
  return elements
}

function delimited(field: number, body: Uint8Array): Uint8Array {
  return joined([
    protobuf.Writer.create()
      .uint32((field << 3) | LENGTH_DELIMITED)
      .uint32(body.length)
      .finish(),
    body,
  ])
}

function joined(parts: readonly Uint8Array[]): Uint8Array {
  const out = new Uint8Array(parts.reduce((n, p) => n + p.length, 0))
  let at = 0
  for (const p of parts) {
    out.set(p, at)
    at += p.length
  }
  return out
}
