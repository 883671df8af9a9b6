// Rows of a tensor by number, along any axis, and numbers turned into places of a flat tensor: what the gathering and scattering operators are made of.

import { type Expr, expr, type Shape, sizeOf, stridesOf } from '@bitloom/graph'
import { add, axisOf, concat, gather, iota, lt, mul, permute, range, reshape, where } from '../../tensor.ts'

/** Negative numbers count from the end of an axis of `size`. */
export const fromFront = (index: Expr, size: number): Expr => where(lt(index, 0), add(index, size), index)

/** Rows of one axis by an index of any shape, which takes the axis' place. */
export function takeAlong(x: Expr, index: Expr | readonly number[], axis: number): Expr {
  const at = axisOf(x.shape, axis)
  const numbers = Array.isArray(index) ? indexOf(index as readonly number[]) : (index as Expr)
  const rest = x.shape.map((_, i) => i).filter((i) => i !== at)
  const rows = gather(permute(x, [at, ...rest]), numbers.shape.length === 1 ? numbers : reshape(numbers, [sizeOf(numbers.shape)]))
  const back = rest.map((_, i) => i + 1)
  back.splice(at, 0, 0)
  const placed = permute(rows, back)
  return reshape(placed, [...x.shape.slice(0, at), ...numbers.shape, ...x.shape.slice(at + 1)])
}

/** A few numbers, or many, as an expr: runs of one step are written as ranges. */
function indexOf(numbers: readonly number[]): Expr {
  const runs: Expr[] = []
  for (let i = 0; i < numbers.length; ) {
    const step = i + 1 < numbers.length ? numbers[i + 1] - numbers[i] : 1
    let n = 1
    while (i + n < numbers.length && numbers[i + n] - numbers[i + n - 1] === step) n++
    runs.push(add(mul(range(n), step), numbers[i]))
    i += n
  }
  return concat(runs, 0)
}

/** The flat place in a tensor of `shape` of each element of `index` [..], whose own coordinates stand for all axes but `axis`, where it says the number. */
export function elementPlaces(shape: Shape, index: Expr, axis: number): Expr {
  const steps = stridesOf(shape)
  const scaled = (e: Expr, by: number): Expr => (by === 1 ? e : mul(e, by))
  return shape
    .map((_, i) => scaled(i === axis ? fromFront(index, shape[axis]) : iota(index.shape, i), steps[i]))
    .reduce((a, b) => add(a, b))
}

/** The flat row number of each coordinate tuple [.., depth] into the first `depth` axes of `shape`, and how many rows there are. */
export function tuplePlaces(shape: Shape, tuples: Expr): { readonly places: Expr; readonly rows: number } {
  const depth = tuples.shape[tuples.shape.length - 1]
  const n = sizeOf(tuples.shape) / depth
  const table = permute(reshape(tuples, [n, depth]), [1, 0])
  const steps = stridesOf(shape.slice(0, depth))
  const parts = steps.map((step, i) => {
    const column = fromFront(reshape(expr('slice', [table], { shape: [1, n], attrs: [i, 0, 1, 1] }), [n]), shape[i])
    return step === 1 ? column : mul(column, step)
  })
  return { places: parts.reduce((a, b) => add(a, b)), rows: sizeOf(shape.slice(0, depth)) }
}
