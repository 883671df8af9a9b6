// Shapes: static, at most six axes, row-major (docs/numerics.md §1).

export type Shape = readonly number[]

export const MAX_RANK = 6
export const MAX_AXIS = 2 ** 31 - 1
export const MAX_ELEMENTS = 2 ** 32

/** Number of elements; 1 for a scalar (rank 0). */
export function sizeOf(shape: Shape): number {
  let n = 1
  for (const d of shape) n *= d
  return n
}

/** Row-major strides in elements. */
export function stridesOf(shape: Shape): number[] {
  const strides = new Array<number>(shape.length)
  let stride = 1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    strides[axis] = stride
    stride *= shape[axis]!
  }
  return strides
}

export const sameShape = (a: Shape, b: Shape): boolean => a.length === b.length && a.every((d, i) => d === b[i])

/**
 * Checks a shape against the limits of docs/numerics.md §1.
 * @throws {ShapeError} rank above 6, an axis below 1 or above 2^31-1, more than 2^32 elements
 */
export function checkShape(shape: Shape): Shape {
  if (shape.length > MAX_RANK) throw new ShapeError(`[${shape}]: rank ${shape.length} is above ${MAX_RANK}`)
  for (const d of shape)
    if (!Number.isInteger(d) || d < 1 || d > MAX_AXIS) throw new ShapeError(`[${shape}]: axis size ${d} is not in 1..${MAX_AXIS}`)
  if (sizeOf(shape) > MAX_ELEMENTS) throw new ShapeError(`[${shape}]: more than 2^32 elements`)
  return shape
}

/** The coordinates of element `index` of `shape`. */
export function unravel(index: number, shape: Shape): number[] {
  const at = new Array<number>(shape.length)
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const d = shape[axis]!
    at[axis] = index % d
    index = Math.floor(index / d)
  }
  return at
}

/** The element index of coordinates `at` in `shape`. */
export function ravel(at: readonly number[], shape: Shape): number {
  let index = 0
  for (let axis = 0; axis < shape.length; axis++) index = index * shape[axis]! + at[axis]!
  return index
}

export class ShapeError extends Error {
  override name = 'graph.ShapeError'
}
