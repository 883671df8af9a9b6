// Makes a nest smaller before it becomes code: axes that every access walks in one stride are one axis, and the axis for the lanes is chosen.
import type { Nest, Node, Store } from './kernel.ts'
import type { View } from './view.ts'

/** A nest whose axes are: outer ones, then the axis that lanes run along, then (folds) the folded one. Strides are in that order. */
export interface Loops {
  readonly outer: readonly number[]
  readonly lanes: number
  readonly nodes: readonly Node[]
  readonly stores: readonly Store[]
}

const withView = (node: Node, map: (view: View) => View): Node => {
  if (node.kind === 'load') return { ...node, access: { ...node.access, ...map(node.access) } }
  return node.kind === 'iota' ? { ...node, view: map(node.view) } : node
}

/** Drops axes of size 1, joins axes, and puts the axis for the lanes last but the fold's. */
export const loopsOf = (nest: Nest): Loops => {
  const shape = [...nest.shape]
  const strides: number[][] = []
  for (const node of nest.nodes) {
    if (node.kind === 'load') strides.push([...node.access.strides])
    else if (node.kind === 'iota') strides.push([...node.view.strides])
  }
  for (const store of nest.stores) strides.push([...store.access.strides])

  const drop = (axis: number): void => {
    shape.splice(axis, 1)
    for (const s of strides) s.splice(axis, 1)
  }
  for (let axis = shape.length - 1; axis >= 0; axis--) if (shape[axis] === 1) drop(axis)
  for (let axis = shape.length - 2; axis >= 0; axis--) {
    if (!strides.every((s) => s[axis] === s[axis + 1] * shape[axis + 1])) continue
    shape[axis + 1] *= shape[axis]
    drop(axis)
  }

  if (shape.length > 1) {
    const best = laneAxis(shape, strides)
    const move = (list: number[]): void => {
      list.splice(shape.length - 1, 0, ...list.splice(best, 1))
    }
    for (const s of strides) move(s)
    move(shape)
  }
  const lanes = shape.pop()
  if (lanes === undefined) for (const s of strides) s.splice(0, 0, 0)

  let at = 0
  const next = (view: View): View => ({ offset: view.offset, strides: strides[at++] })
  return {
    outer: shape,
    lanes: lanes ?? 1,
    nodes: nest.nodes.map((node) => withView(node, next)),
    stores: nest.stores.map((store) => ({ ...store, access: { ...store.access, ...next(store.access) } })),
  }
}

/** The axis that most accesses walk element by element; the last of equals. A very short axis wastes lanes, so length counts first. */
const laneAxis = (shape: readonly number[], strides: readonly (readonly number[])[]): number => {
  let best = shape.length - 1
  let bestScore = -1
  for (let axis = shape.length - 1; axis >= 0; axis--) {
    const easy = strides.filter((s) => s[axis] === 1 || s[axis] === 0).length / strides.length
    const score = Math.min(shape[axis], 16) * (0.25 + easy)
    if (score > bestScore) {
      best = axis
      bestScore = score
    }
  }
  return best
}
