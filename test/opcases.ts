// The cases of vectors/ops.json as graphs with slots to run: plain functions, so that a browser runs the same cases as Node.
import {
  constI32,
  type Data,
  type Dtype,
  expr,
  fromBytes,
  type Graph,
  input,
  makeGraph,
  type OpName,
  type Shape,
  type Slot,
} from '@bitloom/graph'

/** A tensor as the file holds it. */
export type TensorText = { readonly dtype: Dtype; readonly shape: Shape; readonly data: string }

/** A case as the file holds it. */
export type OpCase = {
  readonly name: string
  readonly op: OpName
  readonly attrs: readonly number[]
  readonly operands: readonly TensorText[]
  readonly result: TensorText
}

export type Tensor = { readonly dtype: Dtype; readonly shape: Shape; readonly data: Data }

/** One case, ready to run: `graph` with `slots` must give `expected` as next[0], and `result` as the tensor of expr `position`. */
export type OpVector = {
  readonly name: string
  readonly op: OpName
  readonly attrs: readonly number[]
  readonly operands: readonly Tensor[]
  readonly result: Tensor
  /** State slot 0 takes the result; then one data slot an operand. The probe is a const. */
  readonly graph: Graph
  /** Slot tensors: zeros for the state slot, then the operands (`input`: the state slot holds the result itself). */
  readonly slots: readonly Data[]
  /** Where the op stands in the graph. */
  readonly position: number
  /** What next[0] must be: the result, or, since no state is u8, a u8 result cast to i32. */
  readonly expected: Data
}

/** A case of the file, made ready to run. */
export function vectorOf(c: OpCase): OpVector {
  const operands = c.operands.map(tensorOf)
  const result = tensorOf(c.result)
  const { graph, position } = graphOf(c.op, c.attrs, operands, result)
  const own = c.op === 'input' ? result.data : fromBytes(graph.slots[0]!.dtype, new Uint8Array(4 * result.data.length))
  const expected = result.dtype === 'u8' ? Int32Array.from(result.data) : result.data
  return {
    name: c.name,
    op: c.op,
    attrs: c.attrs,
    operands,
    result,
    graph,
    slots: [own, ...operands.map((t) => t.data)],
    position,
    expected,
  }
}

type Type = Pick<Tensor, 'dtype' | 'shape'>

/**
 * The graph of one op applied to data slots, its result (as i32 where it is u8) the next value of state slot 0.
 * @throws {ShapeError} the types do not fit the op
 */
export function graphOf(op: OpName, attrs: readonly number[], operands: readonly Type[], result: Type): { graph: Graph; position: number } {
  const value = expr(
    op,
    operands.map((t, k) => input(k + 1, t.dtype, t.shape)),
    { dtype: result.dtype, shape: result.shape, attrs },
  )
  const next = value.dtype === 'u8' ? expr('cast', [value], { dtype: 'i32' }) : value
  const slots: Slot[] = [
    { name: 'result', kind: 'state', dtype: next.dtype, shape: next.shape },
    ...operands.map((t, k): Slot => ({ name: `operand${k}`, kind: 'data', dtype: t.dtype, shape: t.shape })),
  ]
  const graph = makeGraph(slots, [next], constI32(0))
  return { graph, position: value === next ? graph.next[0]! : graph.next[0]! - 1 }
}

const tensorOf = (t: TensorText): Tensor => ({
  dtype: t.dtype,
  shape: t.shape,
  data: fromBytes(
    t.dtype,
    Uint8Array.from(atob(t.data), (c) => c.charCodeAt(0)),
  ),
})
