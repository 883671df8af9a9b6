// One scalar step of every op: the twin of contracts/src/arbiter/Scalar.sol, same functions, same order, same reads (docs/numerics.md §2 to §4).
// All values are 32-bit words (unsigned numbers); an f32 comes out with the one NaN, whatever was read.
//
// Twin order: terms identity scalarStep · unary binary where · movement gather scatterAdd · fold · source (here: graph/movement)

import { clampRow, dotLayout, foldLayout, sizeOf, sourceOf, stridesOf } from '@bitloom/graph'
import * as f32 from '@bitloom/graph/f32'
import * as i32 from '@bitloom/graph/i32'
import { ArbiterError, type Leaf } from './leaf.ts'

/** The word of element `index` of operand `operand` (of u8: the byte). The calls' order is part of the protocol: witnesses are consumed in it. */
export type Read = (operand: number, index: number) => number

/** Scalar steps behind one element: the terms of a fold, else 1. */
export function terms(e: Leaf): number {
  switch (e.op) {
    case 'sum':
    case 'maxOver':
    case 'argmax':
      return e.operands[0]!.shape[e.attrs[0]!]!
    case 'dot':
      return e.operands[0]!.shape.at(-1)!
    case 'scatterAdd':
      return e.operands[0]!.shape[0]!
    default:
      return 1
  }
}

/** The accumulator before term 0: +0, 0, or (argmax) index 0. */
export const identity = (_: Leaf): number => 0

/**
 * The accumulator after term `term` of element `element`, given the one before it; of an op that is no fold, the element.
 * @throws {ArbiterError} NoScalarRule (`input` is read from a slot), ElementOutOfRange, TermOutOfRange, and what `read` throws
 */
export function scalarStep(e: Leaf, element: number, term: number, acc: number, read: Read): number {
  if (e.op === 'input') throw new ArbiterError('NoScalarRule', 'an input is read from a slot, not computed')
  const [size, n] = [sizeOf(e.shape), terms(e)]
  if (!(element >= 0 && element < size)) throw new ArbiterError('ElementOutOfRange', `element ${element} of ${size}`)
  if (!(term >= 0 && term < n)) throw new ArbiterError('TermOutOfRange', `term ${term} of ${n}`)
  const word = rule(e, element, term, acc, read)
  return e.dtype === 'f32' ? f32.canonical(word) : word >>> 0
}

function rule(e: Leaf, element: number, term: number, acc: number, read: Read): number {
  switch (e.op) {
    case 'const':
      return e.attrs[0]!
    case 'iota': {
      const axis = e.attrs[0]!
      return Math.floor(element / stridesOf(e.shape)[axis]!) % e.shape[axis]!
    }
    case 'neg':
    case 'abs':
    case 'sqrt':
    case 'floor':
    case 'not':
    case 'cast':
    case 'bitcast':
      return unary(e, read(0, element))
    case 'where':
      return where(element, read)
    case 'reshape':
    case 'permute':
    case 'expand':
    case 'slice':
    case 'pad':
    case 'concat':
    case 'window':
      return movement(e, element, read)
    case 'gather':
      return gather(e, element, read)
    case 'scatterAdd':
      return scatterAdd(e, element, term, acc, read)
    case 'sum':
    case 'maxOver':
    case 'argmax':
    case 'dot':
      return fold(e, element, term, acc, read)
    default:
      return binary(e, element, read)
  }
}

function unary(e: Leaf, x: number): number {
  switch (e.op) {
    case 'not':
      return i32.not(x)
    case 'bitcast':
      return x
    case 'cast':
      if (e.operands[0]!.dtype === 'f32') return f32.toI32(x)
      return e.dtype === 'f32' ? f32.fromI32(x) : x
    case 'neg':
      return f32.neg(x)
    case 'abs':
      return f32.abs(x)
    case 'sqrt':
      return f32.sqrt(x)
    default:
      return f32.floor(x)
  }
}

type Scalars = Readonly<Record<string, (a: number, b: number) => number>>

const F32: Scalars = {
  ...{ add: f32.add, sub: f32.sub, mul: f32.mul, div: f32.div, min: f32.min, max: f32.max },
  ...{ lt: f32.lt, le: f32.le, eq: f32.eq },
}
const I32: Scalars = {
  ...{ add: i32.add, sub: i32.sub, mul: i32.mul, lt: i32.lt, eq: i32.eq, divu: i32.divu, remu: i32.remu },
  ...{ and: i32.and, or: i32.or, xor: i32.xor, shl: i32.shl, shr: i32.shr, sar: i32.sar, ltu: i32.ltu },
}

function binary(e: Leaf, element: number, read: Read): number {
  const x = read(0, element)
  const y = read(1, element)
  const { dtype } = e.operands[0]!
  const apply = (dtype === 'f32' ? F32 : I32)[e.op]
  if (!apply) throw new ArbiterError('NoScalarRule', `${e.op} of ${dtype}`)
  return apply(x, y)
}

/** Reads the condition, then the chosen operand only. */
const where = (element: number, read: Read): number => read(i32.isTrue(read(0, element)) ? 1 : 2, element)

/** Copies one element; reads nothing where a pad fills. */
function movement(e: Leaf, element: number, read: Read): number {
  const source = sourceOf(
    e,
    e.operands.map((t) => t.shape),
    element,
  )
  return source === 'fill' ? e.attrs.at(-1)! : read(source.operand, source.index)
}

/** Reads the index, then the row's element. */
function gather(e: Leaf, element: number, read: Read): number {
  const row = stridesOf(e.shape)[0]!
  const from = clampRow(read(1, Math.floor(element / row)) | 0, e.operands[0]!.shape[0]!)
  return read(0, from * row + (element % row))
}

/** Reads the index of source row `term`, then the row's element if it goes to this element's row. */
function scatterAdd(e: Leaf, element: number, term: number, acc: number, read: Read): number {
  const row = stridesOf(e.shape)[0]!
  if (clampRow(read(1, term) | 0, e.shape[0]!) !== Math.floor(element / row)) return acc
  return f32.add(acc, read(0, term * row + (element % row)))
}

/** sum, maxOver, argmax, dot: term by term, left to right. */
function fold(e: Leaf, element: number, term: number, acc: number, read: Read): number {
  const shape = e.operands[0]!.shape
  if (e.op === 'dot') {
    const [m, k, n] = dotLayout(shape, e.operands[1]!.shape)
    const row = Math.floor(element / n)
    const a = read(0, row * k + term)
    const b = read(1, (Math.floor(row / m) * k + term) * n + (element % n))
    return f32.add(acc, f32.mul(a, b))
  }
  const { terms: length, inner } = foldLayout(shape, e.attrs[0]!)
  const first = Math.floor(element / inner) * length * inner + (element % inner)
  if (e.op === 'argmax') {
    const best = read(0, first + acc * inner)
    const next = read(0, first + term * inner)
    return f32.lt(best, next) === 1 ? term : acc
  }
  const x = read(0, first + term * inner)
  if (e.op === 'maxOver') return term === 0 ? x : f32.max(acc, x)
  return e.dtype === 'f32' ? f32.add(acc, x) : i32.add(acc, x)
}
