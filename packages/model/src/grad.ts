// Reverse-mode differentiation of exprs: one rule an op. The result is exprs again, so a gradient is hashed, audited and disputed like the rest.

import { type Expr, expr, keyOf, type OpName, type Shape } from '@bitloom/graph'
import { type Derivative, derivativeOf } from './derivative.ts'
import {
  add,
  argmax,
  broadcastTo,
  concat,
  div,
  eq,
  flip,
  full,
  gather,
  iota,
  lt,
  mul,
  neg,
  pad,
  permute,
  reshape,
  scatterAdd,
  slice,
  sum,
  transpose,
  unsqueeze,
  where,
} from './tensor.ts'

/** From an expr and the gradient of what follows it, the gradient of each operand; undefined where none flows. */
export type Rule = (e: Expr, dy: Expr) => readonly (Expr | undefined)[]

/** Why an op has no gradient. */
export type NoRule = { readonly none: 'leaf' | 'integer' | 'comparison' | 'constant almost everywhere' }

const none = (reason: NoRule['none']): NoRule => ({ none: reason })

/** One entry an op of the op table; ties and corners are part of the meaning and are said here. */
export const RULES: Record<OpName, Rule | NoRule> = {
  input: none('leaf'),
  const: none('leaf'),
  iota: none('leaf'),
  neg: (_, dy) => [neg(dy)],
  /** 0 at 0. */
  abs: ({ inputs: [x] }, dy) => [where(lt(x, 0), neg(dy), where(lt(0, x), dy, 0))],
  sqrt: (y, dy) => [div(dy, add(y, y))],
  floor: none('constant almost everywhere'),
  not: none('integer'),
  /** Every cast has an integer on one side. */
  cast: none('integer'),
  bitcast: none('integer'),
  add: (_, dy) => [dy, dy],
  sub: (_, dy) => [dy, neg(dy)],
  mul: ({ inputs: [a, b] }, dy) => [mul(dy, b), mul(dy, a)],
  div: (y, dy) => [div(dy, y.inputs[1]), neg(div(mul(dy, y), y.inputs[1]))],
  /** To the operand that is selected: b where b < a, else (ties too) a. */
  min: ({ inputs: [a, b] }, dy) => [where(lt(b, a), 0, dy), where(lt(b, a), dy, 0)],
  /** To the operand that is selected: b where a < b, else (ties too) a. */
  max: ({ inputs: [a, b] }, dy) => [where(lt(a, b), 0, dy), where(lt(a, b), dy, 0)],
  lt: none('comparison'),
  le: none('comparison'),
  eq: none('comparison'),
  divu: none('integer'),
  remu: none('integer'),
  and: none('integer'),
  or: none('integer'),
  xor: none('integer'),
  shl: none('integer'),
  shr: none('integer'),
  sar: none('integer'),
  ltu: none('integer'),
  where: ({ inputs: [condition] }, dy) => [undefined, where(condition, dy, 0), where(condition, 0, dy)],
  reshape: ({ inputs: [x] }, dy) => [reshape(dy, x.shape)],
  permute: ({ attrs }, dy) => [unpermute(dy, attrs)],
  expand: ({ inputs: [x], shape }, dy) => {
    const repeated = shape.flatMap((d, axis) => (x.shape[axis] === d ? [] : [axis]))
    return [repeated.length > 0 ? sum(dy, repeated, true) : dy]
  },
  /** Back to where the elements came from; what runs backwards is turned round first. */
  slice: ({ inputs: [x], attrs, shape }, dy) => {
    const stride = shape.map((_, axis) => attrs[shape.length + axis])
    const forward = stride.reduce((g, s, axis) => (s < 0 && shape[axis] > 1 ? flip(g, axis) : g), dy)
    const low = shape.map((d, axis) => attrs[axis] + Math.min(0, (d - 1) * stride[axis]))
    const span = shape.map((d, axis) => (d - 1) * Math.abs(stride[axis]) + 1)
    const high = shape.map((_, axis) => x.shape[axis] - low[axis] - span[axis])
    const interior = shape.map((d, axis) => (d > 1 ? Math.abs(stride[axis]) - 1 : 0))
    return [pad(forward, low, high, interior)]
  },
  pad: ({ inputs: [x], attrs }, dy) => {
    const rank = x.shape.length
    const stride = attrs.slice(2 * rank, 3 * rank).map((p) => p + 1)
    return [cut(dy, attrs.slice(0, rank), x.shape, stride)]
  },
  concat: ({ inputs, attrs: [axis] }, dy) => {
    let at = 0
    return inputs.map((x) => {
      const start = at
      at += x.shape[axis]
      return slice(dy, axis, start, at)
    })
  },
  window: (e, dy) => [unwindow(e, dy)],
  gather: ({ inputs: [x, index] }, dy) => [x.dtype === 'f32' ? scatterAdd(dy, index, x.shape[0]) : undefined, undefined],
  scatterAdd: ({ inputs: [, index] }, dy) => [gather(dy, index), undefined],
  sum: ({ inputs: [x], attrs: [axis] }, dy) => [spread(dy, x.shape, axis)],
  /** To the first maximum along the axis. */
  maxOver: ({ inputs: [x], attrs: [axis] }, dy) => [
    where(eq(iota(x.shape, axis), spread(argmax(x, axis), x.shape, axis)), spread(dy, x.shape, axis), 0),
  ],
  /** dA = dY·Bᵀ and dB = Aᵀ·dY; for a transposed operand the same written the other way round, which needs no second copy (products commute: same bits). */
  dot: ({ inputs: [a, b] }, dy) => [
    isTransposed(a) ? transpose(dot(b, transpose(dy))) : dot(dy, transpose(b)),
    isTransposed(b) ? transpose(dot(transpose(dy), a)) : dot(transpose(a), dy),
  ],
  argmax: none('integer'),
}

const dot = (a: Expr, b: Expr): Expr => expr('dot', [a, b])
const isTransposed = (x: Expr): boolean => x.op === 'permute' && x !== transpose(x) && transpose(x) === x.inputs[0]

/** `dy` repeated along an axis that a fold took away. */
const spread = (dy: Expr, shape: Shape, axis: number): Expr => broadcastTo(unsqueeze(dy, axis), shape)

/** The inverse of permuting by `perm`; of a permutation that undoes it, the tensor itself. */
function unpermute(dy: Expr, perm: readonly number[]): Expr {
  const undone = dy.op === 'permute' && perm.every((p, i) => dy.attrs[p] === i)
  return undone
    ? dy.inputs[0]
    : permute(
        dy,
        perm.map((_, i) => perm.indexOf(i)),
      )
}

/** Elements start, start+stride, … of every axis. */
const cut = (x: Expr, start: readonly number[], shape: Shape, stride: readonly number[]): Expr =>
  expr('slice', [x], { shape, attrs: [...start, ...shape.map((d, axis) => (d > 1 ? stride[axis] : 1))] })

/**
 * The gradient of `window`: dx[i] folds, from +0 and in ascending k, dy[o,k] where o·stride + k·dilation = i. Row k of [size, length + dilation] starts `dilation`
 * earlier when it is read as a row of [size, length], so a pad, two reshapes and one sum do it for any window size.
 */
function unwindow({ inputs: [x], attrs, shape }: Expr, dy: Expr): Expr {
  const [axis, size, stride, dilation] = attrs
  const [length, count] = [x.shape[axis], shape[axis]]
  const swap = shape.map((_, i) => (i === axis ? axis + 1 : i === axis + 1 ? axis : i))
  const rows = permute(dy, swap)
  const zeros = shape.map(() => 0)
  const high = zeros.with(axis + 1, length + dilation - ((count - 1) * stride + 1))
  const padded = pad(rows, zeros, high, zeros.with(axis + 1, count > 1 ? stride - 1 : 0))
  const [before, after] = [x.shape.slice(0, axis), x.shape.slice(axis + 1)]
  const flat = reshape(padded, [...before, size * (length + dilation), ...after])
  return sum(reshape(slice(flat, axis, 0, size * length), [...before, size, length, ...after]), axis)
}

type Vertex = { readonly e: Expr; readonly operands: readonly number[]; readonly mark: Derivative | undefined }

/**
 * The gradients of a scalar with respect to exprs, in their order. Contributions add up from the last reader to the first (reverse canonical order), so the
 * same exprs always give the same bits. An expr that the scalar does not depend on has gradient 0.
 * @param loss f32 of one element
 * @throws {GradientError} the loss is no f32 scalar, or a target is not f32
 */
export function gradients(loss: Expr, targets: readonly Expr[]): Expr[] {
  if (loss.dtype !== 'f32' || loss.shape.some((d) => d !== 1))
    throw new GradientError(`the loss is ${loss.dtype}[${loss.shape}], not one f32`)
  for (const t of targets) if (t.dtype !== 'f32') throw new GradientError(`a gradient with respect to ${t.dtype}[${t.shape}]`)
  const { vertices, at } = walk([loss, ...targets])
  const wanted = new Set(targets.map((t) => at.get(t)!))
  const reaches = vertices.map(() => false)
  vertices.forEach((v, i) => {
    reaches[i] = v.e.dtype === 'f32' && (wanted.has(i) || v.operands.some((k) => reaches[k]))
  })
  const flow = new Array<Expr[] | undefined>(vertices.length)
  flow[at.get(loss)!] = [full(loss.shape, 1)]
  for (let i = vertices.length - 1; i >= 0; i--) {
    const { e, operands, mark } = vertices[i]
    const parts = flow[i]
    if (!parts || !operands.some((k) => reaches[k])) continue
    const dy = together(parts)
    const rule = RULES[e.op]
    if (!mark && typeof rule !== 'function') continue
    const given = mark ? mark.rule(dy) : (rule as Rule)(e, dy)
    operands.forEach((k, n) => {
      const part = given[n]
      if (part && reaches[k]) flow[k] = [...(flow[k] ?? []), part]
    })
  }
  return targets.map((t) => {
    const parts = flow[at.get(t)!]
    return parts ? together(parts) : full(t.shape, 0)
  })
}

/** Contributions added up, first to last. Those of slices that lie side by side are set side by side instead: a sum of padded pieces would read all for each. */
function together(parts: readonly Expr[]): Expr {
  return (parts.length > 1 ? sideBySide(parts) : undefined) ?? parts.reduce((a, b) => add(a, b))
}

/** Zero-padded pieces of one axis that fill it without overlap, as a concat. */
function sideBySide(parts: readonly Expr[]): Expr | undefined {
  const pieces = parts.map((p) => {
    if (p.op !== 'pad' || p.attrs[3 * p.shape.length] !== 0) return undefined
    const [inner] = p.inputs
    const axes = p.shape.flatMap((d, axis) => (d === inner.shape[axis] ? [] : [axis]))
    const interior = p.attrs.slice(2 * p.shape.length, 3 * p.shape.length).some((i) => i > 0)
    return axes.length === 1 && !interior ? { inner, axis: axes[0], from: p.attrs[axes[0]] } : undefined
  })
  const axis = pieces[0]?.axis
  if (axis === undefined || !pieces.every((p) => p?.axis === axis)) return undefined
  const sorted = pieces.flatMap((p) => p ?? []).sort((a, b) => a.from - b.from)
  let end = 0
  for (const { inner, from } of sorted) {
    if (from !== end) return undefined
    end += inner.shape[axis]
  }
  if (end !== parts[0].shape[axis]) return undefined
  return concat(
    sorted.map((p) => p.inner),
    axis,
  )
}

/** Every expr below `roots`, operands first; equal exprs are one unless a derivative of their own tells them apart. */
function walk(roots: readonly Expr[]): { vertices: Vertex[]; at: Map<Expr, number> } {
  const vertices: Vertex[] = []
  const at = new Map<Expr, number>()
  const byKey = new Map<string, number>()
  for (const root of roots) {
    const stack = [root]
    while (stack.length > 0) {
      const e = stack[stack.length - 1]
      const mark = derivativeOf(e)
      const below = mark ? mark.of : e.inputs
      const waiting = below.filter((x) => !at.has(x))
      if (!at.has(e) && waiting.length > 0) {
        stack.push(...waiting.reverse())
        continue
      }
      stack.pop()
      if (at.has(e)) continue
      const operands = below.map((x) => at.get(x)!)
      const key = mark ? undefined : keyOf(e, operands)
      let place = key === undefined ? undefined : byKey.get(key)
      if (place === undefined) {
        place = vertices.length
        vertices.push({ e, operands, mark })
        if (key !== undefined) byKey.set(key, place)
      }
      at.set(e, place)
    }
  }
  return { vertices, at }
}

export class GradientError extends Error {
  override name = 'model.GradientError'
}
