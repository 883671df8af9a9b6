// The judge of a scalar step, as the contract judges: the twin of contracts/src/arbiter/Arbiter.sol.
//
// Twin order: judge (there: step) termsOf describe

import { type Dtype, infer, type OpName, ShapeError, sameShape, sizeOf } from '@bitloom/graph'
import { ArbiterError, type ArbiterErrorName, byteLength, decodeLeaf, type Leaf } from './leaf.ts'
import { scalarStep, terms } from './scalar.ts'
import { done, type Operand, read, type Witness } from './witness.ts'

/** The accumulator after the step, or the name of the contract's error. */
export type Judgement = { readonly ok: true; readonly word: number } | { readonly ok: false; readonly error: ArbiterErrorName }

/**
 * The accumulator after term `term` of element `element` of the leaf's expr, given the one before it; never throws on what a stranger sent.
 * @param trace items root over the roots of `exprs` tensors
 * @param operands one witness per read, in the order of the reads; all of them must be read
 */
export function judge(
  leaf: Uint8Array,
  element: number,
  term: number,
  acc: number,
  trace: Uint8Array,
  exprs: number,
  operands: readonly Operand[],
): Judgement {
  try {
    const e = decodeLeaf(leaf)
    checkTypes(e)
    const w: Witness = { operands, trace, exprs, used: 0 }
    const word = scalarStep(e, element, term, acc, (k, index) => read(w, e, k, index))
    done(w)
    return { ok: true, word }
  } catch (error) {
    if (error instanceof ArbiterError) return { ok: false, error: error.code }
    throw error
  }
}

/** Scalar steps behind one element of the leaf's expr. */
export const termsOf = (leaf: Uint8Array): number => terms(decodeLeaf(leaf))

/** What a dispute needs to know of an expr; `firstAttr` is an input's slot, and 0 where there are no attributes. */
export type Description = {
  readonly op: OpName
  readonly dtype: Dtype
  readonly size: number
  readonly byteLength: number
  readonly terms: number
  readonly firstAttr: number
}

/**
 * What a dispute needs to know of the leaf's expr.
 * @throws {ArbiterError} MalformedLeaf, UnknownOp
 */
export function describe(leaf: Uint8Array): Description {
  const e = decodeLeaf(leaf)
  const firstAttr = (e.attrs[0] ?? 0) >>> 0
  return { op: e.op, dtype: e.dtype, size: sizeOf(e.shape), byteLength: byteLength(e), terms: terms(e), firstAttr }
}

/**
 * Checks a leaf against its op's rule. The contract leaves this out, because the solver checked the whole graph before it staked on it; where a
 * type does not fit, the contract reverts or computes something that nobody is bound by.
 */
function checkTypes(e: Leaf): void {
  try {
    const t = infer(e.op, e.operands, e.attrs, e)
    if (t.dtype === e.dtype && sameShape(t.shape, e.shape)) return
  } catch (error) {
    if (!(error instanceof ShapeError)) throw error
    throw new ArbiterError('MalformedLeaf', error.message)
  }
  throw new ArbiterError('MalformedLeaf', `${e.op} does not give ${e.dtype}[${e.shape}]`)
}
