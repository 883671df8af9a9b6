// Each scalar op as SIMD128 code on four lanes: the meaning is docs/numerics.md §2, and nothing here may differ from it by a bit.
import type { Dtype, OpName } from '@bitloom/graph'
import type { FunctionBuilder } from './assemble.ts'
import { AssembleError } from './opcodes.ts'

/** An operand: how to push it. Comparisons travel as lane masks (all ones or zero) until somebody needs the 0 or 1. */
export interface Operand {
  readonly local: number
  readonly mask: boolean
  /** Every lane holds the same, these bits if known. */
  readonly uniform: boolean
  readonly bits?: number
}

/** Whether an op's result is a lane mask. */
export const givesMask = (op: OpName, args: readonly { mask: boolean }[]): boolean =>
  op === 'lt' || op === 'le' || op === 'eq' || op === 'ltu' || ((op === 'and' || op === 'or' || op === 'xor') && args.every((a) => a.mask))

/** Pushes an operand as its value. */
export const pushValue = (f: FunctionBuilder, operand: Operand): void => {
  f.get(operand.local)
  if (operand.mask) f.op('i32x4.neg')
}

const F32: Partial<Record<OpName, string>> = {
  neg: 'f32x4.neg',
  abs: 'f32x4.abs',
  sqrt: 'f32x4.sqrt',
  floor: 'f32x4.floor',
  add: 'f32x4.add',
  sub: 'f32x4.sub',
  mul: 'f32x4.mul',
  div: 'f32x4.div',
  // pmin(a, b) = b < a ? b : a, pmax(a, b) = a < b ? b : a: the definition, in one instruction.
  min: 'f32x4.pmin',
  max: 'f32x4.pmax',
  lt: 'f32x4.lt',
  le: 'f32x4.le',
  eq: 'f32x4.eq',
}

const I32: Partial<Record<OpName, string>> = {
  not: 'v128.not',
  add: 'i32x4.add',
  sub: 'i32x4.sub',
  mul: 'i32x4.mul',
  and: 'v128.and',
  or: 'v128.or',
  xor: 'v128.xor',
  lt: 'i32x4.lt_s',
  ltu: 'i32x4.lt_u',
  eq: 'i32x4.eq',
}

const SHIFTS: Partial<Record<OpName, readonly [vector: string, scalar: string]>> = {
  shl: ['i32x4.shl', 'i32.shl'],
  shr: ['i32x4.shr_u', 'i32.shr_u'],
  sar: ['i32x4.shr_s', 'i32.shr_s'],
}

/** Replaces every NaN lane of `local` by `nan`, leaving the result on the stack. */
export const pushCanonical = (f: FunctionBuilder, local: number, nan: number): void => {
  f.get(local).get(nan).get(local).get(local).op('f32x4.eq').op('v128.bitselect')
}

/** Applies `op` lane by lane and leaves the result on the stack (a mask where `givesMask`). `nan` holds 0x7fc00000 in every lane; `scratch` is a v128 local. */
export const emitOp = (
  f: FunctionBuilder,
  op: OpName,
  from: Dtype,
  to: Dtype,
  args: readonly Operand[],
  nan: number,
  scratch: number,
): void => {
  const [a, b, c] = args
  switch (op) {
    case 'cast':
      pushValue(f, a)
      if (from === 'f32') f.op('i32x4.trunc_sat_f32x4_s')
      else if (to === 'f32') f.op('f32x4.convert_i32x4_s')
      return
    case 'bitcast':
      if (from === 'f32') pushCanonical(f, a.local, nan)
      else pushValue(f, a)
      return
    case 'where':
      // A choice between a value and 0 is one instruction; a bitselect is three on x86.
      if (b.bits === 0 || c.bits === 0) {
        pushValue(f, b.bits === 0 ? c : b)
        f.get(a.local)
        if (!a.mask) f.i32(0).op('i32x4.splat').op('i32x4.ne')
        f.op(b.bits === 0 ? 'v128.andnot' : 'v128.and')
        return
      }
      pushValue(f, b)
      pushValue(f, c)
      f.get(a.local)
      if (!a.mask) f.i32(0).op('i32x4.splat').op('i32x4.ne')
      f.op('v128.bitselect')
      return
    case 'shl':
    case 'shr':
    case 'sar': {
      const [vector, scalar] = SHIFTS[op]!
      if (b.bits !== undefined) {
        pushValue(f, a)
        f.i32(b.bits & 31).op(vector)
      } else if (b.uniform) {
        pushValue(f, a)
        pushValue(f, b)
        f.op('i32x4.extract_lane', 0).op(vector)
      } else {
        lanewise(f, a, b, scratch, (x, y) => {
          x()
          y()
          f.op(scalar)
        })
      }
      return
    }
    case 'divu':
    case 'remu':
      divide(f, op, a, b, scratch)
      return
  }
  const name = (from === 'f32' ? F32 : I32)[op]
  if (name === undefined) throw new AssembleError(`${op} has no scalar rule for ${from}`)
  const asMask = args.length === 2 && givesMask(op, args) && from === 'i32' && (op === 'and' || op === 'or' || op === 'xor')
  for (const operand of args) {
    if (asMask) f.get(operand.local)
    else pushValue(f, operand)
  }
  f.op(name)
}

/** Division by zero gives 0, remainder by zero gives a; a known power of two is a shift or a mask. */
const divide = (f: FunctionBuilder, op: 'divu' | 'remu', a: Operand, b: Operand, scratch: number): void => {
  const scalar = op === 'divu' ? 'i32.div_u' : 'i32.rem_u'
  const bits = b.bits === undefined ? undefined : b.bits >>> 0
  if (bits !== undefined && bits !== 0) {
    const log = 31 - Math.clz32(bits)
    if (bits === 2 ** log) {
      pushValue(f, a)
      if (op === 'divu') f.i32(log).op('i32x4.shr_u')
      else
        f.i32(bits - 1)
          .op('i32x4.splat')
          .op('v128.and')
      return
    }
    lanewise(f, a, b, scratch, (x) => {
      x()
      f.i32(bits).op(scalar)
    })
    return
  }
  lanewise(f, a, b, scratch, (x, y) => {
    // SAFETY: WebAssembly traps on a zero divisor, so 1 stands in and the select throws the result away.
    x()
    y()
    f.i32(1)
    y()
    f.op('select').op(scalar)
    if (op === 'divu') f.i32(0)
    else x()
    y()
    f.op('select')
  })
}

/** What has no vector instruction, lane by lane through the general registers. */
const lanewise = (f: FunctionBuilder, a: Operand, b: Operand, scratch: number, each: (x: () => void, y: () => void) => void): void => {
  const lane = (operand: Operand, at: number) => (): void => {
    pushValue(f, operand)
    f.op('i32x4.extract_lane', at)
  }
  f.i32(0).op('i32x4.splat').set(scratch)
  for (let at = 0; at < 4; at++) {
    f.get(scratch)
    each(lane(a, at), lane(b, at))
    f.op('i32x4.replace_lane', at).set(scratch)
  }
  f.get(scratch)
}
