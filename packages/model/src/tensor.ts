// Sugar over exprs: NumPy's broadcasting, axes by number, constants from numbers. Every function returns plain exprs and simplifies nothing,
// because what is written here is what is computed, hashed and disputed.

import { bitsOf, constF32, constI32, type Dtype, type Expr, expr, iota as iotaExpr, type OpName, type Shape, sizeOf } from '@bitloom/graph'

/** An expr, or a number that takes its dtype and shape from the expr beside it. */
export type Operand = Expr | number

/** Rank-0 constant of a dtype; f32 rounds to nearest, i32 takes the low 32 bits. */
export const constant = (x: number, dtype: Dtype = 'f32'): Expr => (dtype === 'i32' ? constI32(x) : constF32(x))

/** A tensor of one value. */
export const full = (shape: Shape, x: number, dtype: Dtype = 'f32'): Expr => broadcastTo(constant(x, dtype), shape)

/** A rank-1 tensor of a few values (at most 16: they are constants of the graph, not data). */
export const vector = (values: readonly number[], dtype: Dtype = 'f32'): Expr =>
  concat(
    values.map((x) => reshape(constant(x, dtype), [1])),
    0,
  )

/** i32 coordinates along `axis`. */
export const iota = (shape: Shape, axis: number): Expr => iotaExpr(shape, axisOf(shape, axis))

/** 0, 1, … n-1. */
export const range = (n: number): Expr => iotaExpr([n], 0)

/** `axis` counted from the front; negative counts from the back. */
export function axisOf(shape: Shape, axis: number): number {
  const a = axis < 0 ? axis + shape.length : axis
  if (!Number.isInteger(a) || a < 0 || a >= shape.length) throw new TensorError(`axis ${axis} of [${shape}]`)
  return a
}

/** The shape that several broadcast to: aligned at the last axis, sizes equal or 1. */
export function broadcastShape(...shapes: readonly Shape[]): number[] {
  const rank = Math.max(...shapes.map((s) => s.length))
  return Array.from({ length: rank }, (_, i) => {
    let size = 1
    for (const s of shapes) {
      const d = s[i - rank + s.length] ?? 1
      if (d !== 1 && size !== 1 && d !== size) throw new TensorError(`[${shapes.join('] and [')}] do not broadcast`)
      if (d !== 1) size = d
    }
    return size
  })
}

/** `x` repeated to `shape`: axes of size 1 in front, then an expand. */
export function broadcastTo(x: Expr, shape: Shape): Expr {
  const lead = shape.length - x.shape.length
  if (lead < 0) throw new TensorError(`[${x.shape}] has more axes than [${shape}]`)
  const led = lead > 0 ? reshape(x, [...new Array<number>(lead).fill(1), ...x.shape]) : x
  return `${led.shape}` === `${shape}` ? led : expr('expand', [led], { shape })
}

function pair(op: OpName, a: Operand, b: Operand): Expr {
  if (typeof a === 'number' && typeof b === 'number') throw new TensorError(`${op}: two numbers; make one a constant`)
  const dtype = (typeof a === 'number' ? b : a) as Expr
  const x = typeof a === 'number' ? constant(a, dtype.dtype) : a
  const y = typeof b === 'number' ? constant(b, dtype.dtype) : b
  const shape = broadcastShape(x.shape, y.shape)
  return expr(op, [broadcastTo(x, shape), broadcastTo(y, shape)])
}

const isInteger = (a: Operand, b: Operand): boolean => ((typeof a === 'number' ? b : a) as Expr).dtype === 'i32'
const binary =
  (op: OpName) =>
  (a: Operand, b: Operand): Expr =>
    pair(op, a, b)

export const add = binary('add')
export const sub = binary('sub')
export const mul = binary('mul')
export const div = binary('div')
export const divu = binary('divu')
export const remu = binary('remu')
export const and = binary('and')
export const or = binary('or')
export const xor = binary('xor')
export const shl = binary('shl')
export const shr = binary('shr')
export const sar = binary('sar')
export const lt = binary('lt')
export const ltu = binary('ltu')
export const eq = binary('eq')
export const gt = (a: Operand, b: Operand): Expr => lt(b, a)
/** a ≤ b; of integers, not (b < a). */
export const le = (a: Operand, b: Operand): Expr => (isInteger(a, b) ? xor(lt(b, a), 1) : pair('le', a, b))
export const ge = (a: Operand, b: Operand): Expr => le(b, a)
/** 1 where a and b differ; a NaN differs from everything. */
export const ne = (a: Operand, b: Operand): Expr => xor(eq(a, b), 1)
/** The smaller; f32 is the op (b where b < a, else a), i32 a select. */
export const min = (a: Operand, b: Operand): Expr => (isInteger(a, b) ? where(lt(b, a), b, a) : pair('min', a, b))
/** The larger; f32 is the op (b where a < b, else a), i32 a select. */
export const max = (a: Operand, b: Operand): Expr => (isInteger(a, b) ? where(lt(a, b), b, a) : pair('max', a, b))

export const neg = (x: Expr): Expr => (x.dtype === 'i32' ? sub(0, x) : expr('neg', [x]))
export const abs = (x: Expr): Expr => (x.dtype === 'i32' ? where(lt(x, 0), sub(0, x), x) : expr('abs', [x]))
export const sqrt = (x: Expr): Expr => expr('sqrt', [x])
export const floor = (x: Expr): Expr => expr('floor', [x])
export const ceil = (x: Expr): Expr => neg(floor(neg(x)))
export const not = (x: Expr): Expr => expr('not', [x])
export const bitcast = (x: Expr): Expr => expr('bitcast', [x])
/** `x` as another dtype; itself where it is of that dtype already. */
export const cast = (x: Expr, dtype: 'f32' | 'i32'): Expr => (x.dtype === dtype ? x : expr('cast', [x], { dtype }))

/** `a` where `condition` (i32) is not 0, else `b`; all three broadcast. */
export function where(condition: Expr, a: Operand, b: Operand): Expr {
  const dtype = typeof a !== 'number' ? a.dtype : typeof b !== 'number' ? b.dtype : 'f32'
  const x = typeof a === 'number' ? constant(a, dtype) : a
  const y = typeof b === 'number' ? constant(b, dtype) : b
  const shape = broadcastShape(condition.shape, x.shape, y.shape)
  return expr('where', [broadcastTo(condition, shape), broadcastTo(x, shape), broadcastTo(y, shape)])
}

/** The same elements in another shape; one size may be -1. */
export function reshape(x: Expr, shape: Shape): Expr {
  const known = shape.reduce((n, d) => (d === -1 ? n : n * d), 1)
  const to = shape.map((d) => (d === -1 ? sizeOf(x.shape) / known : d))
  return `${to}` === `${x.shape}` ? x : expr('reshape', [x], { shape: to })
}

/** Axes reordered: result axis i is axis perm[i]. */
export const permute = (x: Expr, perm: readonly number[]): Expr =>
  perm.every((p, i) => p === i) ? x : expr('permute', [x], { attrs: perm.map((p) => axisOf(x.shape, p)) })

/** Two axes exchanged; by default the last two. A transpose of a transpose is the tensor itself. */
export function transpose(x: Expr, a = -2, b = -1): Expr {
  const perm = x.shape.map((_, i) => i)
  const [p, q] = [axisOf(x.shape, a), axisOf(x.shape, b)]
  perm[p] = q
  perm[q] = p
  return x.op === 'permute' && `${x.attrs}` === `${perm}` ? x.inputs[0] : permute(x, perm)
}

/** Axes of size 1 put in at `axis`. */
export function unsqueeze(x: Expr, axis: number): Expr {
  const at = axis < 0 ? axis + x.shape.length + 1 : axis
  return reshape(x, [...x.shape.slice(0, at), 1, ...x.shape.slice(at)])
}

/** Elements start, start+stride, … below `stop` (above it where stride < 0) along one axis; negative positions count from the end. */
export function slice(x: Expr, axis: number, start: number, stop: number, stride = 1): Expr {
  const at = axisOf(x.shape, axis)
  const d = x.shape[at]
  const from = start < 0 ? Math.max(start + d, 0) : Math.min(start, stride < 0 ? d - 1 : d)
  const to = stop < 0 ? (stop + d < 0 ? -1 : stop + d) : Math.min(stop, d)
  const count = Math.ceil((to - from) / stride)
  if (count < 1) throw new TensorError(`slice: axis ${axis} of [${x.shape}]: nothing from ${start} to ${stop} by ${stride}`)
  const shape = x.shape.map((size, i) => (i === at ? count : size))
  if (from === 0 && stride === 1 && count === d) return x
  return expr('slice', [x], {
    shape,
    attrs: [...x.shape.map((_, i) => (i === at ? from : 0)), ...x.shape.map((_, i) => (i === at ? stride : 1))],
  })
}

/** The elements of one axis in reverse. */
export function flip(x: Expr, axis: number): Expr {
  const at = axisOf(x.shape, axis)
  const start = x.shape.map((d, i) => (i === at ? d - 1 : 0))
  return expr('slice', [x], { shape: x.shape, attrs: [...start, ...x.shape.map((_, i) => (i === at ? -1 : 1))] })
}

/** `low` and `high` elements around and `interior` between neighbours, per axis, of one value. */
export function pad(x: Expr, low: readonly number[], high: readonly number[], interior?: readonly number[], fill = 0): Expr {
  const between = interior ?? x.shape.map(() => 0)
  if ([...low, ...high, ...between].every((p) => p === 0)) return x
  return expr('pad', [x], { attrs: [...low, ...high, ...between, x.dtype === 'f32' ? bitsOf(fill) : fill >>> 0] })
}

/** Tensors one after the other along `axis`, in groups of at most 16. */
export function concat(xs: readonly Expr[], axis: number): Expr {
  if (xs.length < 1) throw new TensorError('concat of nothing')
  if (xs.length === 1) return xs[0]
  const attrs = [axisOf(xs[0].shape, axis)]
  let row = [...xs]
  while (row.length > 1) {
    const groups: Expr[] = []
    for (let i = 0; i < row.length; i += 16) groups.push(i + 1 === row.length ? row[i] : expr('concat', row.slice(i, i + 16), { attrs }))
    row = groups
  }
  return row[0]
}

/** Sliding windows: [.., n, ..] to [.., count, size, ..]. */
export const window = (x: Expr, axis: number, size: number, stride = 1, dilation = 1): Expr =>
  expr('window', [x], { attrs: [axisOf(x.shape, axis), size, stride, dilation] })

/** Rows of `x` by an i32 index of any shape; indexes are clamped. */
export function gather(x: Expr, index: Expr): Expr {
  const rows = expr('gather', [x, index.shape.length === 1 ? index : reshape(index, [sizeOf(index.shape)])])
  return index.shape.length === 1 ? rows : reshape(rows, [...index.shape, ...x.shape.slice(1)])
}

/** Rows of `source` added up by index into `rows` rows, in ascending source order. */
export const scatterAdd = (source: Expr, index: Expr, rows: number): Expr =>
  expr('scatterAdd', [source, index], { shape: [rows, ...source.shape.slice(1)] })

/** Axes to fold, last first; all where none is named. */
function foldAxes(x: Expr, axes: number | readonly number[] | undefined): number[] {
  const list = axes === undefined ? x.shape.map((_, i) => i) : typeof axes === 'number' ? [axes] : axes
  return [...new Set(list.map((a) => axisOf(x.shape, a)))].sort((a, b) => b - a)
}

const fold = (op: OpName) =>
  function folded(x: Expr, axes?: number | readonly number[], keep = false): Expr {
    const list = foldAxes(x, axes)
    const y = list.reduce((e, axis) => expr(op, [e], { attrs: [axis] }), x)
    return keep
      ? reshape(
          y,
          x.shape.map((d, i) => (list.includes(i) ? 1 : d)),
        )
      : y
  }

/** Sums over axes, one fold an axis, last axis first; `keep` leaves axes of size 1. */
export const sum = fold('sum')
/** Largest over axes, one fold an axis, last axis first. */
export const maxOver = fold('maxOver')
/** Smallest over axes. */
export const minOver = (x: Expr, axes?: number | readonly number[], keep = false): Expr => neg(maxOver(neg(x), axes, keep))
/** Index of the first largest along an axis. */
export const argmax = (x: Expr, axis: number): Expr => expr('argmax', [x], { attrs: [axisOf(x.shape, axis)] })

/** Mean over axes: the sum, then one real division. */
export function mean(x: Expr, axes?: number | readonly number[], keep = false): Expr {
  const count = foldAxes(x, axes).reduce((n, axis) => n * x.shape[axis], 1)
  return div(sum(x, axes, keep), count)
}

/** Terms up to which one fold is as good as two. */
export const LONG = 256

/**
 * The sum of all elements, rank 0. More than `LONG` are folded in two stages, rows then total, over rows of ⌈√n⌉ elements (the last filled up with +0,
 * which changes no sum): rounding errors then grow with √n instead of n, and rows run side by side (docs/numerics.md §4).
 */
export function total(x: Expr): Expr {
  const n = sizeOf(x.shape)
  const flat = reshape(x, [n])
  if (n <= LONG) return sum(flat)
  const width = Math.ceil(Math.sqrt(n))
  const rows = Math.ceil(n / width)
  return sum(reshape(pad(flat, [0], [rows * width - n]), [rows, width]))
}

/** The mean of all elements, rank 0, its sum in two stages where it is long. */
export const meanAll = (x: Expr): Expr => div(total(x), sizeOf(x.shape))

/**
 * Matrix product with NumPy's rules: rank 1 is a row on the left and a column on the right, batch axes broadcast. Batches times one matrix become one
 * product of all rows, which gives the same bits.
 * @throws {TensorError} inner sizes differ
 */
export function matmul(a: Expr, b: Expr): Expr {
  if (a.shape.length === 1) return squeeze(matmul(reshape(a, [1, -1]), b), b.shape.length === 1 ? -1 : -2)
  if (b.shape.length === 1) return squeeze(matmul(a, reshape(b, [-1, 1])), -1)
  const [m, k] = a.shape.slice(-2)
  const [inner, n] = b.shape.slice(-2)
  if (k !== inner) throw new TensorError(`matmul: [${a.shape}] x [${b.shape}]: inner sizes ${k} and ${inner} differ`)
  if (b.shape.length === 2)
    return a.shape.length === 2 ? expr('dot', [a, b]) : reshape(expr('dot', [reshape(a, [-1, k]), b]), [...a.shape.slice(0, -1), n])
  const batch = broadcastShape(a.shape.slice(0, -2), b.shape.slice(0, -2))
  return expr('dot', [broadcastTo(a, [...batch, m, k]), broadcastTo(b, [...batch, inner, n])])
}

/** One axis of size 1 taken out. */
export function squeeze(x: Expr, axis: number): Expr {
  const at = axisOf(x.shape, axis)
  if (x.shape[at] !== 1) throw new TensorError(`squeeze: axis ${axis} of [${x.shape}] is not 1`)
  return reshape(
    x,
    x.shape.filter((_, i) => i !== at),
  )
}

/** 1 where the coordinate along the new last axis equals the index, else 0: i32 [.., classes]. */
export const oneHot = (index: Expr, classes: number): Expr => {
  const shape = [...index.shape, classes]
  return eq(iota(shape, -1), broadcastTo(unsqueeze(index, -1), shape))
}

export class TensorError extends Error {
  override name = 'model.TensorError'
}
