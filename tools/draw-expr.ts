// Draws one op applied to random tensors: every op, every dtype, ranks 0 to 6, axes of 1, several chunks now and then. For fuzzers of the ops.
import { type Dtype, OP_NAMES, type OpName, type Shape, sizeOf } from '@bitloom/graph'
import type { OpVector, Tensor } from '../test/vectors.ts'
import { vectorFrom } from './scalar-questions.ts'
import { tensor } from './vectors-ops.ts'
import { floatPair, floatWord, integerPair } from './words.ts'

type Next = () => number

const pick = <T>(next: Next, list: readonly T[]): T => list[next() % list.length]!
const upTo = (next: Next, n: number): number => 1 + (next() % n)

/** A shape of `rank` axes with at most a few hundred elements: small axes, many of 1, one of them long now and then. */
const drawShape = (next: Next, rank = next() % 7): number[] => {
  const shape = Array.from({ length: rank }, () => upTo(next, rank > 4 ? 3 : 5))
  if (rank > 0 && rank < 4 && next() % 3 === 0) shape[next() % rank] = upTo(next, rank === 1 ? 700 : 80)
  return shape
}

const drawTensor = (next: Next, dtype: Dtype, shape: Shape): Tensor => {
  const kind = next() % 3
  return tensor(dtype, shape, () =>
    dtype === 'f32' ? (kind === 0 ? floatWord(next) : floatPair(next)[kind - 1]!) : kind === 0 ? next() % 5 : integerPair(next)[kind - 1]!,
  )
}

/** An index tensor for `rows` rows, some of it out of range. */
const drawIndex = (next: Next, n: number, rows: number): Tensor =>
  tensor('i32', [n], () => (next() % 4 ? next() % rows : pick(next, [rows, 0xffffffff, 0x80000000, 0x7fffffff, next()])))

/** The same elements, axes merged, split off and put in. */
const regroup = (next: Next, shape: Shape): number[] => {
  const result: number[] = []
  for (const d of shape) {
    const factor = pick(next, [1, 2, 3, 5])
    if (result.length > 0 && next() % 3 === 0) result[result.length - 1]! *= d
    else if (d % factor === 0 && result.length < 5) result.push(factor, d / factor)
    else result.push(d)
  }
  while (result.length > 6) result.push(result.pop()! * result.pop()!)
  return result
}

const shuffled = (next: Next, n: number): number[] => {
  const list = Array.from({ length: n }, (_, i) => i)
  for (let i = n - 1; i > 0; i--) {
    const k = next() % (i + 1)
    ;[list[i], list[k]] = [list[k]!, list[i]!]
  }
  return list
}

/** Start, stride and count of a slice of an axis of `d`. */
const drawRange = (next: Next, d: number): [start: number, stride: number, count: number] => {
  const start = next() % d
  const stride = upTo(next, 4) * (next() & 1 ? 1 : -1)
  const room = stride > 0 ? d - 1 - start : start
  return [start, stride, upTo(next, Math.floor(room / Math.abs(stride)) + 1)]
}

const FLOAT_ONLY: ReadonlySet<OpName> = new Set(['neg', 'abs', 'sqrt', 'floor', 'div', 'min', 'max', 'le'])
const BOTH: ReadonlySet<OpName> = new Set(['add', 'sub', 'mul', 'lt', 'eq', 'bitcast', 'sum', 'where'])

const build = (next: Next, op: OpName): OpVector => {
  const make = (attrs: readonly number[], operands: readonly Tensor[], stated?: Pick<Tensor, 'dtype' | 'shape'>): OpVector => {
    const type = stated ?? { dtype: operands[0]!.dtype, shape: operands[0]!.shape }
    return vectorFrom(`${op} [${operands.map((t) => `${t.dtype}[${t.shape}]`)}] ${attrs}`, op, attrs, operands, type)
  }
  const any = pick<Dtype>(next, ['f32', 'i32', 'u8'])
  const dtype: Dtype = FLOAT_ONLY.has(op) || (BOTH.has(op) && next() & 1) ? 'f32' : 'i32'
  switch (op) {
    case 'input':
      return make([0], [], { dtype, shape: drawShape(next) })
    case 'const':
      return next() & 1 ? make([canonicalWord(next)], [], { dtype: 'f32', shape: [] }) : make([next()], [], { dtype: 'i32', shape: [] })
    case 'iota': {
      const shape = drawShape(next, upTo(next, 6))
      return make([next() % shape.length], [], { dtype: 'i32', shape })
    }
    case 'cast': {
      const to = any === 'u8' ? dtypeOf(next) : any === 'f32' ? 'i32' : 'f32'
      const shape = drawShape(next)
      return make([], [drawTensor(next, any, shape)], { dtype: to, shape })
    }
    case 'where': {
      const shape = drawShape(next)
      const of = next() & 1 ? 'f32' : 'i32'
      const cond = tensor('i32', shape, () => pick(next, [0, 1, 0, next()]))
      return make([], [cond, drawTensor(next, of, shape), drawTensor(next, of, shape)], { dtype: of, shape })
    }
    case 'reshape': {
      const shape = drawShape(next)
      return make([], [drawTensor(next, any, shape)], { dtype: any, shape: regroup(next, shape) })
    }
    case 'permute': {
      const shape = drawShape(next)
      return make(shuffled(next, shape.length), [drawTensor(next, any, shape)])
    }
    case 'expand': {
      const shape = drawShape(next)
      const from = shape.map((d) => (next() & 1 ? d : 1))
      return make([], [drawTensor(next, any, from)], { dtype: any, shape })
    }
    case 'slice': {
      const shape = drawShape(next)
      const ranges = shape.map((d) => drawRange(next, d))
      const attrs = [...ranges.map(([start]) => start), ...ranges.map(([, stride]) => stride)]
      return make(attrs, [drawTensor(next, any, shape)], { dtype: any, shape: ranges.map(([, , count]) => count) })
    }
    case 'pad': {
      const shape = drawShape(next, next() % 5)
      const attrs = Array.from({ length: 3 * shape.length }, () => next() % 3)
      const fill = any === 'u8' ? next() & 255 : any === 'f32' ? canonicalWord(next) : next()
      return make([...attrs, fill], [drawTensor(next, any, shape)])
    }
    case 'concat': {
      const shape = drawShape(next, upTo(next, 5))
      const axis = next() % shape.length
      const parts = Array.from({ length: next() % 4 ? upTo(next, 4) : upTo(next, 16) }, () => shape.with(axis, upTo(next, 5)))
      return make(
        [axis],
        parts.map((part) => drawTensor(next, any, part)),
      )
    }
    case 'window': {
      const shape = drawShape(next, upTo(next, 5))
      const axis = next() % shape.length
      const [stride, dilation] = [upTo(next, 3), upTo(next, 3)]
      const size = upTo(next, Math.floor((shape[axis]! - 1) / dilation) + 1)
      return make([axis, size, stride, dilation], [drawTensor(next, any, shape)])
    }
    case 'gather': {
      const shape = drawShape(next, upTo(next, 5))
      return make([], [drawTensor(next, any, shape), drawIndex(next, upTo(next, 20), shape[0]!)])
    }
    case 'scatterAdd': {
      const shape = drawShape(next, upTo(next, 5))
      const rows = upTo(next, 6)
      return make([], [drawTensor(next, 'f32', shape), drawIndex(next, shape[0]!, rows)], { dtype: 'f32', shape: shape.with(0, rows) })
    }
    case 'sum':
    case 'maxOver':
    case 'argmax': {
      const shape = drawShape(next, upTo(next, 6))
      return make([next() % shape.length], [drawTensor(next, op === 'sum' ? dtype : 'f32', shape)])
    }
    case 'dot': {
      const batch = Array.from({ length: next() % 5 }, () => upTo(next, 2))
      const [m, k, n] = [upTo(next, 5), next() % 3 ? upTo(next, 9) : upTo(next, 200), upTo(next, 5)]
      return make([], [drawTensor(next, 'f32', [...batch, m, k]), drawTensor(next, 'f32', [...batch, k, n])])
    }
    default: {
      const shape = drawShape(next)
      const unary = op === 'neg' || op === 'abs' || op === 'sqrt' || op === 'floor' || op === 'not' || op === 'bitcast'
      return make([], unary ? [drawTensor(next, dtype, shape)] : [drawTensor(next, dtype, shape), drawTensor(next, dtype, shape)])
    }
  }
}

const dtypeOf = (next: Next): Dtype => (next() & 1 ? 'f32' : 'i32')

const canonicalWord = (next: Next): number => new Uint32Array(tensor('f32', [1], () => floatWord(next)).data.buffer)[0]!

/** One op applied to random tensors, and what the interpreter makes of it; at most some thousand elements. */
export const drawVector = (next: Next, ops: readonly OpName[] = OP_NAMES): OpVector => {
  const vector = build(next, pick(next, ops))
  return sizeOf(vector.result.shape) > 20_000 ? drawVector(next, ops) : vector
}
