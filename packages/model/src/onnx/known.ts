// From known tensors to exprs and back: constants are written as the smallest graph that makes them, tables become data slots, and a closed graph is computed at once.

import { allocate, canonical, type Dtype, type Expr, interpret, makeGraph, type Shape, sizeOf, stridesOf } from '@bitloom/graph'
import { add, broadcastTo, constant, full, iota, le, mul, range, reshape, vector, where } from '../tensor.ts'
import { OnnxError } from './decode.ts'
import { type Known, known } from './value.ts'

/** A tensor that no small graph makes: a data slot. */
export type Table = { readonly dtype: Dtype; readonly shape: Shape; readonly data: Float32Array | Int32Array }

/** Gives a table a name and yields the expr that reads it. */
export type Store = (table: Table) => Expr

const remembered = new WeakMap<Expr, Known>()
const FEW = 16

/**
 * A known tensor as an expr: one value expanded, a few constants, an arithmetic progression, a triangle of two values, or a table of its own.
 * @throws {OnnxError} it has no elements, or an integer that no i32 holds
 */
export function exprOf(k: Known, store: Store): Expr {
  const dtype = k.known === 'f32' || k.known === 'f64' ? 'f32' : 'i32'
  if (sizeOf(k.shape) === 0) throw new OnnxError(`[${k.shape}]: a tensor without elements has no place in a graph`)
  const values = dtype === 'f32' ? Float32Array.from(k.values) : Int32Array.from(k.values, i32Of)
  const e = broadcastTo(varying(k.shape, values, dtype, store), k.shape)
  remembered.set(e, k)
  return e
}

/** Beyond ±2^62 a number only ever means "as far as it goes". */
function i32Of(x: number): number {
  if (x >= -(2 ** 31) && x < 2 ** 31) return x
  if (Math.abs(x) < 2 ** 62) throw new OnnxError(`${x} is an integer that no i32 holds`)
  return x < 0 ? -(2 ** 31) : 2 ** 31 - 1
}

/** The tensor with every axis along which nothing changes cut to size 1. */
function varying(shape: Shape, values: Float32Array | Int32Array, dtype: 'f32' | 'i32', store: Store): Expr {
  let kept: number[] = [...shape]
  let data = values
  for (let axis = 0; axis < shape.length; axis++) {
    const inner = stridesOf(kept)[axis]
    const d = kept[axis]
    if (d === 1 || !data.every((x, i) => Object.is(x, data[i - (Math.floor(i / inner) % d) * inner]))) continue
    data = data.filter((_, i) => Math.floor(i / inner) % d === 0)
    kept = kept.with(axis, 1)
  }
  if (data.length === 1) return full(kept, data[0], dtype)
  if (data.length <= FEW) return reshape(vector([...data], dtype), kept)
  const n = data.length
  const by = data[1] - data[0]
  if (dtype === 'i32' && data.every((x, i) => x === data[0] + i * by)) {
    const counted = by === 1 ? range(n) : mul(range(n), by)
    return reshape(data[0] === 0 ? counted : add(counted, data[0]), kept)
  }
  return triangle(kept, data, dtype) ?? store({ dtype, shape: kept, data: dtype === 'f32' ? (canonical(data) as Float32Array) : data })
}

/** where(column ≤ row + k, a, b): causal masks. */
function triangle(shape: Shape, data: Float32Array | Int32Array, dtype: 'f32' | 'i32'): Expr | undefined {
  const sides = shape.filter((d) => d > 1)
  if (sides.length !== 2) return undefined
  const [rows, columns] = sides
  const [a, b] = [data[(rows - 1) * columns], data[columns - 1]]
  const k = data.subarray(0, columns).findIndex((x) => !Object.is(x, a)) - 1
  if (Object.is(a, b) || k < -1 || !data.every((x, i) => Object.is(x, i % columns <= Math.floor(i / columns) + k ? a : b))) return undefined
  const row = iota(sides, 0)
  const seen = le(iota(sides, 1), k === 0 ? row : add(row, k))
  return reshape(where(seen, constant(a, dtype), constant(b, dtype)), shape)
}

const MAX_CLOSED = 2 ** 16
const MAX_CLOSED_EXPRS = 4096

/**
 * The value of an expr that reads no slot, by the defining interpreter; undefined where it reads one or is too large to compute now. `spend` is told the work,
 * in scalar operations, before it is done.
 */
export function valueOfClosed(e: Expr, spend: (work: number) => void = () => {}): Known | undefined {
  const given = remembered.get(e)
  if (given) return given
  const seen = new Set<Expr>()
  const stack = [e]
  let work = 0
  for (let x = stack.pop(); x; x = stack.pop()) {
    if (seen.has(x)) continue
    if (x.op === 'input' || sizeOf(x.shape) > MAX_CLOSED || seen.size > MAX_CLOSED_EXPRS) return undefined
    seen.add(x)
    stack.push(...x.inputs)
    work += sizeOf(x.shape) * (x.op === 'dot' ? x.inputs[0].shape[x.shape.length - 1] : 1)
  }
  spend(work)
  const graph = makeGraph([{ name: 'y', kind: 'state', dtype: e.dtype, shape: e.shape }], [e], full([1], 0, 'i32'))
  const result = known(e.dtype === 'f32' ? 'f32' : 'i64', e.shape, interpret(graph, [allocate(e.dtype, sizeOf(e.shape))]).next[0])
  remembered.set(e, result)
  return result
}
