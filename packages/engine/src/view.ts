// Views: where the elements of a tensor lie in another one's buffer. Most movement ops are only this, so they cost nothing.
import { type Shape, stridesOf } from '@bitloom/graph'

/** Element [i, j, …] lies at offset + i * strides[0] + j * strides[1] + …, counted in elements. */
export interface View {
  readonly offset: number
  readonly strides: readonly number[]
}

/** Row-major from the start. An axis of size 1 has stride 0, so that equal layouts look equal. */
export const contiguous = (shape: Shape): View => ({ offset: 0, strides: stridesOf(shape).map((s, axis) => (shape[axis] === 1 ? 0 : s)) })

/** Whether a view of `shape` is row-major from the start of its buffer. */
export const isContiguous = (view: View, shape: Shape): boolean => {
  if (view.offset !== 0) return false
  const strides = stridesOf(shape)
  return view.strides.every((s, axis) => shape[axis] === 1 || s === strides[axis])
}

/** Axis i of the result is axis perm[i]. */
export const permuted = (view: View, perm: readonly number[]): View => ({ offset: view.offset, strides: perm.map((p) => view.strides[p]) })

/** Axes of size 1 repeat. */
export const expanded = (view: View, from: Shape): View => ({
  offset: view.offset,
  strides: view.strides.map((s, axis) => (from[axis] === 1 ? 0 : s)),
})

/** Starts and strides an axis, in `attrs` order of the op. */
export const sliced = (view: View, attrs: readonly number[]): View => {
  const rank = view.strides.length
  return {
    offset: view.strides.reduce((sum, s, axis) => sum + s * attrs[axis], view.offset),
    strides: view.strides.map((s, axis) => s * attrs[rank + axis]),
  }
}

/** [.., n, ..] -> [.., count, size, ..]; the windows may overlap. */
export const windowed = (view: View, axis: number, stride: number, dilation: number): View => {
  const strides = [...view.strides]
  strides.splice(axis, 1, strides[axis] * stride, strides[axis] * dilation)
  return { offset: view.offset, strides }
}

/** The same elements in the same order under another shape, or undefined where one stride an axis cannot say it. */
export const reshaped = (view: View, from: Shape, to: Shape): View | undefined => {
  const blocks: { size: number; stride: number }[] = []
  from.forEach((size, axis) => {
    if (size === 1) return
    const last = blocks.at(-1)
    const stride = view.strides[axis]
    if (last !== undefined && last.stride === stride * size) {
      last.size *= size
      last.stride = stride
    } else blocks.push({ size, stride })
  })
  const strides = new Array<number>(to.length).fill(0)
  let block = blocks.pop()
  for (let axis = to.length - 1; axis >= 0; axis--) {
    const size = to[axis]
    if (size === 1) continue
    if (block === undefined || block.size % size !== 0) return undefined
    strides[axis] = block.stride
    block = block.size === size ? blocks.pop() : { size: block.size / size, stride: block.stride * size }
  }
  return { offset: view.offset, strides }
}
