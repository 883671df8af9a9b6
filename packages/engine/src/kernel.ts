// Kernels before they are code: what each computes, over which buffers, by which strides. Backends turn them into code; none may add meaning.
import type { Dtype, OpName, Shape } from '@bitloom/graph'
import type { View } from './view.ts'

/** A view of buffer `buffer` (an index into the program's buffers). */
export interface Access extends View {
  readonly buffer: number
  readonly dtype: Dtype
}

/** A value inside a nest: operands are positions in the nest's list, all smaller than its own. */
export type Node =
  | { readonly kind: 'load'; readonly access: Access }
  | { readonly kind: 'const'; readonly bits: number }
  /** An i32 that is linear in the coordinates: offset + Σ coordinate * stride. */
  | { readonly kind: 'iota'; readonly view: View }
  | { readonly kind: 'op'; readonly op: OpName; readonly from: Dtype; readonly to: Dtype; readonly args: readonly number[] }

export interface Store {
  readonly node: number
  readonly access: Access
  /** Give every NaN the one pattern: the tensor is seen (docs/numerics.md §2). */
  readonly canonical: boolean
}

/** Fold over one more, last axis of every load: `terms` of them, from the identity, in ascending order. Every store folds its own node; `joinedFolds` of `lower` says whether there may be several (never for argmax). */
export interface Fold {
  readonly op: 'sum' | 'maxOver' | 'argmax'
  readonly dtype: Dtype
  readonly terms: number
}

/** For every coordinate of `shape`: evaluate the nodes, fold if asked, store. Loads of a fold have one stride more than `shape` has axes. */
export interface Nest {
  readonly kind: 'nest'
  readonly shape: Shape
  readonly nodes: readonly Node[]
  readonly stores: readonly Store[]
  readonly fold?: Fold
}

/** A matrix of every batch coordinate: element strides along the batch axes, along rows and along columns. */
export interface Matrices {
  readonly buffer: number
  readonly offset: number
  readonly batch: readonly number[]
  readonly row: number
  readonly column: number
}

/** Batched C = A·B in ascending k; C row-major. */
export interface Dot {
  readonly kind: 'dot'
  readonly batch: Shape
  readonly m: number
  readonly n: number
  readonly k: number
  readonly a: Matrices
  readonly b: Matrices
  readonly c: { readonly buffer: number }
}

/** out[i] = x[clamp(index[i])], whole rows of `rowBytes`; all contiguous. */
export interface Gather {
  readonly kind: 'gather'
  readonly x: number
  readonly index: number
  readonly out: number
  readonly rows: number
  readonly count: number
  readonly rowBytes: number
  /** The host fetches the rows from outside the arena: `x` is a slot without memory. */
  readonly streamed?: boolean
}

/** out = +0; out[clamp(index[i])] += source[i] for ascending i; rows of `row` f32; all contiguous. */
export interface ScatterAdd {
  readonly kind: 'scatterAdd'
  readonly source: number
  readonly index: number
  readonly out: number
  readonly rows: number
  readonly count: number
  readonly row: number
}

export type Work = Nest | Dot | Gather | ScatterAdd

export interface Kernel {
  /** What a person calls it: the ops and the shape. */
  readonly name: string
  /** Run one after the other, as one unit. */
  readonly work: readonly Work[]
  readonly reads: readonly number[]
  readonly writes: readonly number[]
  /** Graph positions of the exprs whose tensors it stores. */
  readonly exprs: readonly number[]
}

/** A tensor's memory: a slot's, or a temporary's. */
export interface Buffer {
  readonly bytes: number
  /** The slot it is, if any. */
  readonly slot?: number
}
