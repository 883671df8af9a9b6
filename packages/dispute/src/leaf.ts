// One expr out of its leaf in the graph's tree, as the contract sees it: the twin of contracts/src/arbiter/Expr.sol. The layout is
// graph/encode `encodeExpr`; a leaf is self-contained, so a scalar step can be judged without the rest of the graph.
//
// Twin order: decodeLeaf operandsOf attrsOf sizeOf bytesOf byteLength (the last three: graph/shape and graph/dtype)

import {
  bytesOf,
  DTYPES,
  type Graph,
  MAX_AXIS,
  MAX_CONCAT,
  MAX_ELEMENTS,
  MAX_RANK,
  OPS,
  type OpName,
  opByCode,
  sizeOf,
  type TensorType,
} from '@bitloom/graph'

/** An op applied: what a judge needs to know of one vertex of a graph. */
export type Leaf = TensorType & {
  readonly op: OpName
  /** As the graph holds them: slice's signed, all others words. */
  readonly attrs: readonly number[]
  /** Positions of the operands in the trace. */
  readonly positions: readonly number[]
  readonly operands: readonly TensorType[]
}

/** Why a scalar step is refused: the names of the contract's custom errors. */
export const ARBITER_ERRORS = [
  ...(['MalformedLeaf', 'UnknownOp'] as const), // the leaf
  ...(['NoScalarRule', 'ElementOutOfRange', 'TermOutOfRange'] as const), // the question
  ...(['OperandMissing', 'IndexOutOfRange', 'ChunkLength', 'BadChunk', 'BadRoot', 'OperandsLeft'] as const), // the witness
]
export type ArbiterErrorName = (typeof ARBITER_ERRORS)[number]

const TAG = 1

/**
 * The expr that a leaf encodes. Whether its types fit the op is not asked here: nobody stakes on a graph that `verifyGraph` refuses.
 * @throws {ArbiterError} UnknownOp, or MalformedLeaf: tag, counts that are not the op's, dtype, rank, sizes, bytes missing or too many
 */
export function decodeLeaf(bytes: Uint8Array): Leaf {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const malformed = (offset: number): never => {
    throw new ArbiterError('MalformedLeaf', `the leaf of ${bytes.length} bytes makes no sense at byte ${offset}`)
  }
  let offset = 4
  const word = (): number => {
    if (bytes.length < offset + 4) malformed(bytes.length)
    offset += 4
    return view.getUint32(offset - 4)
  }
  const type = (): TensorType => {
    const start = offset
    if (bytes.length < start + 2) malformed(bytes.length)
    const [dtype, rank] = [DTYPES[bytes[start]!] ?? malformed(start), bytes[start + 1]!]
    if (rank > MAX_RANK) malformed(start + 1)
    offset += 2
    if (bytes.length < offset + 4 * rank) malformed(bytes.length)
    const shape = Array.from({ length: rank }, word)
    if (shape.some((d) => d < 1 || d > MAX_AXIS) || sizeOf(shape) > MAX_ELEMENTS) malformed(start)
    return { dtype, shape }
  }
  if (bytes.length < 6) malformed(bytes.length)
  if (bytes[0] !== TAG) malformed(0)
  const [code, count, attributes] = [bytes[1]!, bytes[2]!, bytes[3]!]
  const op = opByCode(code)
  if (!op) throw new ArbiterError('UnknownOp', `no op has code ${code}`)
  if (op === 'concat' ? count < 1 || count > MAX_CONCAT : count !== operandsOf(op)) malformed(2)
  const result = type()
  if (bytes.length < offset + 4 * attributes) malformed(bytes.length)
  const attrs = Array.from({ length: attributes }, () => (op === 'slice' ? word() | 0 : word()))
  const positions: number[] = []
  const operands: TensorType[] = []
  for (let k = 0; k < count; k++) {
    positions.push(word())
    operands.push(type())
  }
  if (offset !== bytes.length) malformed(offset)
  const leaf: Leaf = { op, ...result, attrs, positions, operands }
  if (attributes !== attrsOf(leaf)) malformed(3)
  return leaf
}

/** Number of operands of an op; concat's 1 to 16 count as 1. */
export const operandsOf = (op: OpName): number => Math.abs(OPS[op].arity)

/** Number of attributes that the op has at its operand's rank. */
export function attrsOf(leaf: Leaf): number {
  const rank = leaf.operands[0]?.shape.length ?? 0
  switch (leaf.op) {
    case 'input':
    case 'const':
    case 'iota':
    case 'concat':
    case 'sum':
    case 'maxOver':
    case 'argmax':
      return 1
    case 'window':
      return 4
    case 'permute':
      return rank
    case 'slice':
      return 2 * rank
    case 'pad':
      return 3 * rank + 1
    default:
      return 0
  }
}

/** Bytes of the whole tensor. */
export const byteLength = (t: TensorType): number => sizeOf(t.shape) * bytesOf(t.dtype)

/** Expr `position` of a graph as its leaf says it. */
export function leafOf(graph: Graph, position: number): Leaf {
  const e = graph.exprs[position]
  if (!e) throw new RangeError(`leafOf: the graph has ${graph.exprs.length} exprs, none at ${position}`)
  const operands = e.inputs.map((k) => ({ dtype: graph.exprs[k]!.dtype, shape: graph.exprs[k]!.shape }))
  return { op: e.op, dtype: e.dtype, shape: e.shape, attrs: e.attrs, positions: e.inputs, operands }
}

/** A scalar step that cannot be judged; `code` is the name of the contract's error. */
export class ArbiterError extends Error {
  override name = 'dispute.ArbiterError'
  readonly code: ArbiterErrorName
  constructor(code: ArbiterErrorName, message: string) {
    super(`${code}: ${message}`)
    this.code = code
  }
}
