// A graph evaluated in float64: what it would give if nothing were rounded. Tests hold results and gradients to it, by differences that float32 would drown.
//
// Functions that take floats apart by their bits (exp, log, pow) stay exact: a word keeps the ratio of the float64 to the float32 it was made from, and gives it
// back when it becomes a float again. Whatever cuts off low mantissa bits drops the ratio with them.

import { clampRow, dotLayout, foldLayout, type Graph, type GraphExpr, type OpName, ofBits, sizeOf, sourceOf } from '@bitloom/graph'

/** A tensor's elements, and for words made of floats what rounding lost, as a factor. */
type Values = { readonly of: Float64Array; readonly ratio?: Float64Array | undefined }

const words = new DataView(new ArrayBuffer(4))
function wordOf(x: number): number {
  words.setFloat32(0, x)
  return words.getInt32(0)
}

const F64: Partial<Record<OpName, (a: number, b: number) => number>> = {
  neg: (a) => -a,
  abs: Math.abs,
  sqrt: Math.sqrt,
  floor: Math.floor,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: (a, b) => (b < a ? b : a),
  max: (a, b) => (a < b ? b : a),
  lt: (a, b) => Number(a < b),
  le: (a, b) => Number(a <= b),
  eq: (a, b) => Number(a === b),
}

const I32: Partial<Record<OpName, (a: number, b: number) => number>> = {
  not: (a) => ~a,
  add: (a, b) => (a + b) | 0,
  sub: (a, b) => (a - b) | 0,
  mul: Math.imul,
  divu: (a, b) => (b === 0 ? 0 : Math.floor((a >>> 0) / (b >>> 0)) | 0),
  remu: (a, b) => (b === 0 ? a : ((a >>> 0) % (b >>> 0)) | 0),
  and: (a, b) => a & b,
  or: (a, b) => a | b,
  xor: (a, b) => a ^ b,
  shl: (a, b) => a << b,
  shr: (a, b) => (a >>> b) | 0,
  sar: (a, b) => a >> b,
  lt: (a, b) => Number(a < b),
  ltu: (a, b) => Number(a >>> 0 < b >>> 0),
  eq: (a, b) => Number(a === b),
}

const MOVES: readonly OpName[] = ['reshape', 'permute', 'expand', 'slice', 'pad', 'concat', 'window']

/** The graph as a function of its slots' elements; yields each state slot's next elements. Index tables are made once. */
export function inFloat64(graph: Graph): (slots: readonly ArrayLike<number>[]) => Float64Array[] {
  const { exprs } = graph
  const steps = exprs.map((e) =>
    stepOf(
      e,
      e.inputs.map((k) => exprs[k]),
    ),
  )
  return (slots) => {
    const values: Values[] = []
    exprs.forEach((e, i) => {
      values.push(
        steps[i](
          e.inputs.map((k) => values[k]),
          slots,
        ),
      )
    })
    return graph.next.map((k) => values[k].of)
  }
}

type Step = (operands: readonly Values[], slots: readonly ArrayLike<number>[]) => Values

function stepOf(e: GraphExpr, types: readonly GraphExpr[]): Step {
  const n = sizeOf(e.shape)
  const filled = (f: (i: number) => number): Float64Array => Float64Array.from({ length: n }, (_, i) => f(i))
  if (e.op === 'input') return (_, slots) => ({ of: Float64Array.from(slots[e.attrs[0]]) })
  if (e.op === 'const' || e.op === 'iota') {
    const { inner } = e.op === 'iota' ? foldLayout(e.shape, e.attrs[0]) : { inner: 1 }
    const bits = e.attrs[0]
    const of =
      e.op === 'iota' ? filled((i) => Math.floor(i / inner) % e.shape[bits]) : filled(() => (e.dtype === 'f32' ? ofBits(bits) : bits | 0))
    return () => ({ of })
  }
  if (MOVES.includes(e.op)) {
    const shapes = types.map((t) => t.shape)
    const fill = e.op === 'pad' ? e.attrs[e.attrs.length - 1] : 0
    const [from, at] = [new Int32Array(n), new Int32Array(n)]
    for (let i = 0; i < n; i++) {
      const source = sourceOf(e, shapes, i)
      from[i] = source === 'fill' ? -1 : source.operand
      at[i] = source === 'fill' ? 0 : source.index
    }
    const filler = e.dtype === 'f32' ? ofBits(fill) : fill | 0
    return (operands) => ({
      of: filled((i) => (from[i] < 0 ? filler : operands[from[i]].of[at[i]])),
      ratio: operands.some((v) => v.ratio) ? filled((i) => (from[i] < 0 ? 1 : (operands[from[i]].ratio?.[at[i]] ?? 1))) : undefined,
    })
  }
  return (operands) => computed(e, types, operands, filled)
}

function computed(
  e: GraphExpr,
  types: readonly GraphExpr[],
  operands: readonly Values[],
  filled: (f: (i: number) => number) => Float64Array,
): Values {
  const [a, b, c] = operands.map((v) => v.of)
  const ratios = operands.map((v) => v.ratio)
  const n = sizeOf(e.shape)
  switch (e.op) {
    case 'cast':
      return {
        of: e.dtype === 'i32' ? a.map((x) => (Number.isNaN(x) ? 0 : Math.max(-(2 ** 31), Math.min(2 ** 31 - 1, Math.trunc(x))))) : a,
      }
    case 'bitcast': {
      if (e.dtype === 'f32') return { of: a.map((w, i) => ofBits(w >>> 0) * (ratios[0]?.[i] ?? 1)) }
      const ratio = a.map((x) => (Number.isFinite(x) && Math.fround(x) !== 0 && Number.isFinite(Math.fround(x)) ? x / Math.fround(x) : 1))
      return { of: a.map(wordOf), ratio }
    }
    case 'where':
      return {
        of: filled((i) => (a[i] !== 0 ? b[i] : c[i])),
        ratio: ratios[1] || ratios[2] ? filled((i) => (a[i] !== 0 ? ratios[1]?.[i] : ratios[2]?.[i]) ?? 1) : undefined,
      }
    case 'gather': {
      const row = n / e.shape[0]
      return { of: filled((i) => a[clampRow(b[Math.floor(i / row)], types[0].shape[0]) * row + (i % row)]) }
    }
    case 'scatterAdd': {
      const row = n / e.shape[0]
      const of = new Float64Array(n)
      a.forEach((x, i) => {
        of[clampRow(b[Math.floor(i / row)], e.shape[0]) * row + (i % row)] += x
      })
      return { of }
    }
    case 'sum':
    case 'maxOver':
    case 'argmax': {
      const { terms, inner } = foldLayout(types[0].shape, e.attrs[0])
      return {
        of: filled((i) => {
          const first = Math.floor(i / inner) * terms * inner + (i % inner)
          let [acc, best] = [0, 0]
          for (let k = 0; k < terms; k++) {
            const x = a[first + k * inner]
            acc += x
            if (a[first + best * inner] < x) best = k
          }
          return e.op === 'sum' ? (e.dtype === 'i32' ? acc | 0 : acc) : e.op === 'argmax' ? best : a[first + best * inner]
        }),
      }
    }
    case 'dot': {
      const [m, terms, w] = dotLayout(types[0].shape, types[1].shape)
      return {
        of: filled((i) => {
          const [row, batch] = [Math.floor(i / w), Math.floor(i / (w * m))]
          let acc = 0
          for (let k = 0; k < terms; k++) acc += a[row * terms + k] * b[(batch * terms + k) * w + (i % w)]
          return acc
        }),
      }
    }
    default: {
      const f = (types[0].dtype === 'f32' ? F64 : I32)[e.op]
      if (!f) throw new TypeError(`${e.op} of ${types[0].dtype} has no rule in float64`)
      const kept =
        (e.op === 'and' && operands.some((v) => !v.ratio && v.of.every((w) => (w & 1) === 0))) ||
        e.dtype !== 'i32' ||
        types[0].dtype !== 'i32'
      const ratio = kept || !ratios.some((r) => r) ? undefined : filled((i) => ratios.reduce((p, r) => p * (r?.[i] ?? 1), 1))
      return { of: filled((i) => f(a[i], b?.[i])), ratio }
    }
  }
}
