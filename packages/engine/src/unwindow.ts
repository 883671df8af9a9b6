// The gradient of `window` as the model writes it (a pad, two reshapes, a slice, a sum), seen as what it is: each element adds up the windows it lies in.
// The padding adds +0 to a sum that starts at +0 and so is never -0: leaving those terms out changes no bit (docs/numerics.md §4).
import type { Graph, Shape } from '@bitloom/graph'
import type { Access, Nest, Node } from './kernel.ts'

/** out[.., i, ..] = Σ over ascending k of source[.., k, o, ..] where i = o * stride + k * dilation and 0 <= o < count; `axis` is i's in the result, k's in the source. */
export interface Unwindow {
  readonly source: number
  readonly axis: number
  readonly size: number
  readonly count: number
  readonly stride: number
  readonly dilation: number
}

/** What expr `at` is as an unwindow, if it is one. */
export const unwindowOf = (graph: Graph, at: number): Unwindow | undefined => {
  const { exprs } = graph
  const sum = exprs[at]
  if (sum.op !== 'sum') return undefined
  const [axis] = sum.attrs
  const split = exprs[sum.inputs[0]]
  if (split.op !== 'reshape' || split.shape.length <= axis + 1) return undefined
  const [size, length] = split.shape.slice(axis, axis + 2)
  const slice = exprs[split.inputs[0]]
  const rank = split.shape.length - 1
  if (slice.op !== 'slice' || slice.shape.length !== rank || slice.shape[axis] !== size * length) return undefined
  if (!slice.attrs.every((a, i) => a === (i < rank ? 0 : 1))) return undefined
  const flat = exprs[slice.inputs[0]]
  const padded = exprs[flat.inputs[0]]
  if (flat.op !== 'reshape' || padded.op !== 'pad' || padded.shape.length !== rank + 1) return undefined
  const width = padded.shape[axis + 1]
  const dilation = width - length
  // Every other axis is the same in all of them, so that only these two are mixed.
  const same = split.shape.every((d, i) => {
    if (i === axis || i === axis + 1) return true
    const j = i < axis ? i : i - 1
    return d === padded.shape[i] && d === slice.shape[j] && d === flat.shape[j]
  })
  if (!same) return undefined
  if (padded.shape[axis] !== size || dilation < 1) return undefined
  const source = padded.inputs[0]
  const count = exprs[source].shape[axis + 1]
  const interior = padded.attrs[2 * (rank + 1) + axis + 1]
  const stride = count > 1 ? interior + 1 : 1
  const moved = (i: number): boolean => i === rank + 1 + axis + 1 || i === 2 * (rank + 1) + axis + 1
  if (!padded.attrs.every((a, i) => a === 0 || moved(i))) return undefined
  // A row of `size` that is read one row on must meet padding only.
  if ((count - 1) * stride + (size - 1) * dilation + 1 > length) return undefined
  return { source, axis, size, count, stride, dilation }
}

/** Up to so many positions near the ends, each a nest of its own, are better than adding into memory window by window. */
const MAX_ENDS = 16

/** Along the axis that lies element by element, ends of a few elements cost a load an element: rows up to so long are rather read whole, what belongs to no window masked. */
const MAX_MASKED = 64
/** As many windows over an element, at most. */
const MAX_MASKED_TERMS = 8

/** The nests that compute an unwindow of `source`, a load or constant in the source's coordinates, into `own`, row-major of `shape`; one after the other. */
export const unwindowNests = (source: Node, unwindow: Unwindow, shape: Shape, own: Access, canonical: boolean): Nest[] => {
  const { axis, size, count, stride, dilation } = unwindow
  const length = shape[axis]
  /** `source` with its axes k and o replaced by others: each is offset and stride in elements, by k and by o. */
  const read = (
    at: readonly [k: number, o: number],
    axes: readonly (readonly [k: number, o: number])[],
    fold?: readonly [number, number],
  ): Node => {
    if (source.kind !== 'load' && source.kind !== 'iota') return source
    const view = source.kind === 'load' ? source.access : source.view
    const [byK, byO] = view.strides.slice(axis, axis + 2)
    const along = ([k, o]: readonly [number, number]): number => k * byK + o * byO
    const strides = [...view.strides.slice(0, axis), ...axes.map(along), ...view.strides.slice(axis + 2), ...(fold ? [along(fold)] : [])]
    const moved = { offset: view.offset + along(at), strides }
    return source.kind === 'load' ? { kind: 'load', access: { ...source.access, ...moved } } : { kind: 'iota', view: moved }
  }
  /** `own` from position `at` of the axis on, by these steps of it. */
  const write = (at: number, ...steps: readonly number[]): Access => {
    const step = own.strides[axis]
    const strides = [...own.strides.slice(0, axis), ...steps.map((s) => s * step), ...own.strides.slice(axis + 1)]
    return { ...own, offset: own.offset + at * step, strides }
  }
  const sized = (...sizes: readonly number[]): number[] => [...shape.slice(0, axis), ...sizes, ...shape.slice(axis + 1)]
  const zero: Node = { kind: 'const', bits: 0 }
  const fill: Nest = { kind: 'nest', shape, nodes: [zero], stores: [{ node: 0, access: own, canonical: false }] }
  const plus = (to: Access, over: Shape, before: Node, term: Node): Nest => ({
    kind: 'nest',
    shape: over,
    nodes: [before, term, { kind: 'op', op: 'add', from: own.dtype, to: own.dtype, args: [0, 1] }],
    stores: [{ node: 2, access: to, canonical }],
  })
  /** One pass: term k of position i is source[k, i - k * dilation] where that is a place of the source, else the +0 that changes no sum. */
  const maskedRows = (): Nest => {
    const along = shape.map((_, i) => (i === axis ? 1 : 0))
    const nodes: Node[] = [zero, { kind: 'const', bits: count }]
    const push = (node: Node): number => nodes.push(node) - 1
    let total = 0
    for (let k = 0; k < size; k++) {
      const place = push({ kind: 'iota', view: { offset: -k * dilation, strides: along } })
      const inside = push({ kind: 'op', op: 'ltu', from: 'i32', to: 'i32', args: [place, 1] })
      const value = push(read([k, -k * dilation], [[0, 1]]))
      const term = push({ kind: 'op', op: 'where', from: own.dtype, to: own.dtype, args: [inside, value, 0] })
      total = push({ kind: 'op', op: 'add', from: own.dtype, to: own.dtype, args: [total, term] })
    }
    return { kind: 'nest', shape, nodes, stores: [{ node: total, access: own, canonical }] }
  }

  // Windows that do not overlap: at most one term each.
  if (stride >= (size - 1) * dilation + 1) {
    const only = plus(write(0, stride, dilation), sized(count, size), zero, read([0, 0], [[0, 1], [1, 0]])) // biome-ignore format: one line
    return count * stride === length && stride === size * dilation && dilation === 1 ? [only] : [fill, only]
  }
  const reach = (size - 1) * dilation
  const rows = stride === 1 && length === count + reach
  if (rows && length <= MAX_MASKED && size <= MAX_MASKED_TERMS && own.strides[axis] === 1 && source.kind === 'load') {
    const [byK, byO] = source.access.strides.slice(axis, axis + 2)
    // Then every place read, masked or not, lies between the first and the last element of the source.
    if (byO === 1 && byK >= dilation) return [maskedRows()]
  }
  if (rows && count > reach && 2 * reach <= MAX_ENDS) {
    /** Positions from `at` on that add up windows k0 .. k1. */
    const some = (at: number, positions: number, k0: number, k1: number): Nest => ({
      kind: 'nest',
      shape: sized(positions),
      nodes: [read([k0, at - k0 * dilation], [[0, 1]], [1, -dilation])],
      stores: [{ node: 0, access: write(at, 1), canonical }],
      fold: { op: 'sum', dtype: own.dtype as 'f32' | 'i32', terms: k1 - k0 + 1 },
    })
    const nests = [some(reach, count - reach, 0, size - 1)]
    for (let i = 0; i < reach; i++) {
      nests.push(some(i, 1, 0, Math.floor(i / dilation)))
      nests.push(some(count + i, 1, Math.floor(i / dilation) + 1, size - 1))
    }
    return nests
  }
  const added = Array.from({ length: size }, (_, k) =>
    plus(write(k * dilation, stride), sized(count), { kind: 'load', access: write(k * dilation, stride) }, read([k, 0], [[0, 1]])),
  )
  return [fill, ...added]
}
