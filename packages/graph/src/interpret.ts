// The defining evaluator: slow, obvious, and the law. Every backend must reproduce it bit for bit (docs/numerics.md).

import { allocate, type Data } from './dtype.ts'
import { ofBits } from './expr.ts'
import type { Graph, GraphExpr } from './graph.ts'
import { sourceOf } from './movement.ts'
import type { TensorType } from './ops.ts'
import { ShapeError, sizeOf, stridesOf } from './shape.ts'

/** What a step yields: each state slot's next tensor, and the probe. */
export type StepResult = { readonly next: Data[]; readonly probe: Data }

/** Called with every expr's tensor, in canonical order. */
export type Visit = (at: number, data: Data) => void

/**
 * Runs one step.
 * @param slots one tensor a slot, elements in row-major order
 * @throws {ShapeError} a slot's tensor has the wrong type or size
 */
export function interpret(graph: Graph, slots: readonly Data[], visit?: Visit): StepResult {
  checkSlots(graph, slots)
  const last = lastReads(graph)
  const values = new Array<Data | undefined>(graph.exprs.length)
  graph.exprs.forEach((e, at) => {
    const value =
      e.op === 'input'
        ? slots[e.attrs[0]!]!
        : evaluateExpr(
            graph,
            e,
            e.inputs.map((k) => values[k]!),
          )
    values[at] = value
    visit?.(at, value)
    for (const k of e.inputs) if (last[k] === at) values[k] = undefined
  })
  return { next: graph.next.map((at) => values[at]!), probe: values[graph.probe]! }
}

/**
 * Checks that every slot has a tensor of its type and size.
 * @throws {ShapeError} naming the slot
 */
export function checkSlots(graph: Graph, slots: readonly Data[]): void {
  graph.slots.forEach((slot, s) => {
    const data = slots[s]
    const right =
      slot.dtype === 'f32' ? data instanceof Float32Array : slot.dtype === 'i32' ? data instanceof Int32Array : data instanceof Uint8Array
    if (!right || data!.length !== sizeOf(slot.shape))
      throw new ShapeError(
        `slot ${s} "${slot.name}" wants ${slot.dtype}[${slot.shape}], got ${data ? `${data.constructor.name} of ${data.length}` : 'nothing'}`,
      )
  })
}

/** For each expr, the last expr that reads it; Infinity where it is an output. */
export function lastReads(graph: Graph): number[] {
  const last = graph.exprs.map((_, at) => at)
  graph.exprs.forEach((e, at) => {
    for (const k of e.inputs) last[k] = at
  })
  for (const at of [...graph.next, graph.probe]) last[at] = Number.POSITIVE_INFINITY
  return last
}

/** One expr's tensor from its operands' tensors; `types` are looked up in `graph`. Not for `input`. */
export function evaluateExpr(graph: Graph, e: GraphExpr, operands: readonly Data[]): Data {
  const types = e.inputs.map((k) => graph.exprs[k]!)
  const out = allocate(e.dtype, sizeOf(e.shape))
  fill(e, types, operands, out)
  return canonical(out)
}

/** Gives every NaN of an f32 tensor the one bit pattern, in place. */
export function canonical(data: Data): Data {
  if (!(data instanceof Float32Array)) return data
  let words: Uint32Array | undefined
  for (let i = 0; i < data.length; i++) {
    if (data[i] === data[i]) continue
    words ??= new Uint32Array(data.buffer, data.byteOffset, data.length)
    words[i] = 0x7fc00000
  }
  return data
}

type Scalars = (a: number, b: number) => number

/** Elementwise f32 -> f32; the store rounds once, and a float64 intermediate of one +, -, *, / or sqrt rounds correctly (Figueroa 1995). */
const F32: Record<string, Scalars> = {
  neg: (a) => -a,
  abs: (a) => Math.abs(a),
  sqrt: (a) => Math.sqrt(a),
  floor: (a) => Math.floor(a),
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: (a, b) => (b < a ? b : a), // a select, not Math.min: NaN and -0 differ
  max: (a, b) => (a < b ? b : a),
  lt: (a, b) => (a < b ? 1 : 0),
  le: (a, b) => (a <= b ? 1 : 0),
  eq: (a, b) => (a === b ? 1 : 0),
}

/** Elementwise i32; the store wraps. */
const I32: Record<string, Scalars> = {
  not: (a) => ~a,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => Math.imul(a, b),
  divu: (a, b) => (b === 0 ? 0 : Math.floor((a >>> 0) / (b >>> 0)) | 0),
  remu: (a, b) => (b === 0 ? a : ((a >>> 0) % (b >>> 0)) | 0),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b) => a << (b & 31),
  shr: (a, b) => (a >>> (b & 31)) | 0,
  sar: (a, b) => a >> (b & 31),
  lt: (a, b) => (a < b ? 1 : 0),
  ltu: (a, b) => (a >>> 0 < b >>> 0 ? 1 : 0),
  eq: (a, b) => (a === b ? 1 : 0),
}

/** f32 -> i32: towards zero, saturating, NaN gives 0. */
export function truncate(x: number): number {
  if (x !== x) return 0
  if (x >= 2 ** 31) return 2 ** 31 - 1
  return x <= -(2 ** 31) ? -(2 ** 31) : Math.trunc(x)
}

function fill(e: GraphExpr, types: readonly TensorType[], operands: readonly Data[], out: Data): void {
  const [a, b, c] = operands as readonly [Data, Data, Data]
  const n = out.length
  switch (e.op) {
    case 'const':
      out[0] = e.dtype === 'f32' ? ofBits(e.attrs[0]!) : e.attrs[0]! | 0
      return
    case 'iota': {
      const axis = e.attrs[0]!
      const stride = stridesOf(e.shape)[axis]!
      for (let i = 0; i < n; i++) out[i] = Math.floor(i / stride) % e.shape[axis]!
      return
    }
    case 'cast':
      for (let i = 0; i < n; i++) out[i] = types[0]!.dtype === 'f32' ? truncate(a[i]!) : a[i]!
      return
    case 'bitcast':
      canonical(a) // SAFETY: slots hold the one NaN only and every op's result is canonical, so this changes nothing; it says so
      new Uint32Array(out.buffer).set(new Uint32Array(a.buffer, a.byteOffset, n))
      return
    case 'where':
      for (let i = 0; i < n; i++) out[i] = a[i] !== 0 ? b[i]! : c[i]!
      return
    case 'reshape':
    case 'permute':
    case 'expand':
    case 'slice':
    case 'pad':
    case 'concat':
    case 'window': {
      const shapes = types.map((t) => t.shape)
      const bits = e.attrs[e.attrs.length - 1]!
      for (let i = 0; i < n; i++) {
        const source = sourceOf(e, shapes, i)
        out[i] = source === 'fill' ? (e.dtype === 'f32' ? ofBits(bits) : bits) : operands[source.operand]![source.index]!
      }
      return
    }
    case 'gather': {
      const row = n / e.shape[0]!
      const rows = types[0]!.shape[0]!
      for (let i = 0; i < n; i++) out[i] = a[clampRow(b[Math.floor(i / row)]!, rows) * row + (i % row)]!
      return
    }
    case 'scatterAdd': {
      const rows = e.shape[0]!
      const row = n / rows
      for (let s = 0; s < a.length; s++) {
        const i = clampRow(b[Math.floor(s / row)]!, rows) * row + (s % row)
        out[i] = out[i]! + a[s]!
      }
      return
    }
    case 'sum':
    case 'maxOver':
    case 'argmax': {
      const { terms, inner } = foldLayout(types[0]!.shape, e.attrs[0]!)
      for (let i = 0; i < n; i++) {
        const first = Math.floor(i / inner) * terms * inner + (i % inner)
        if (e.op === 'sum') {
          for (let k = 0; k < terms; k++) out[i] = out[i]! + a[first + k * inner]!
        } else {
          let best = 0
          for (let k = 1; k < terms; k++) if (a[first + best * inner]! < a[first + k * inner]!) best = k
          out[i] = e.op === 'argmax' ? best : a[first + best * inner]!
        }
      }
      return
    }
    case 'dot': {
      const [m, terms, k] = dotLayout(types[0]!.shape, types[1]!.shape)
      for (let i = 0; i < n; i++) {
        const column = i % k
        const row = Math.floor(i / k)
        const batch = Math.floor(row / m)
        let acc = 0
        for (let t = 0; t < terms; t++) acc = Math.fround(acc + Math.fround(a[row * terms + t]! * b[(batch * terms + t) * k + column]!))
        out[i] = acc
      }
      return
    }
    default: {
      const scalar = (types[0]!.dtype === 'f32' ? F32 : I32)[e.op]
      if (!scalar) throw new TypeError(`${e.op} has no scalar rule for ${types[0]!.dtype}`)
      for (let i = 0; i < n; i++) out[i] = scalar(a[i]!, b ? b[i]! : 0)
    }
  }
}

/** An index into `rows` rows, clamped. */
export const clampRow = (index: number, rows: number): number => (index < 0 ? 0 : index >= rows ? rows - 1 : index)

/** A fold over `axis` of `shape`: number of terms, and the distance between neighbours. */
export function foldLayout(shape: readonly number[], axis: number): { terms: number; inner: number } {
  return { terms: shape[axis]!, inner: stridesOf(shape)[axis]! }
}

/** [M, K, N] of a dot's last two axes. */
export function dotLayout(a: readonly number[], b: readonly number[]): [m: number, terms: number, n: number] {
  return [a[a.length - 2]!, a[a.length - 1]!, b[b.length - 1]!]
}
