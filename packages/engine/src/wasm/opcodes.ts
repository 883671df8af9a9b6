// The WebAssembly instructions that our kernels use, with their encodings: the one table the assembler and the text printer read.

/** What follows an opcode: nothing, an index, a signed constant, a float, a memory argument (of an atomic: naturally aligned), lanes. */
export type Immediate =
  | 'none'
  | 'index'
  | 'i32'
  | 'f32'
  | 'memory'
  | 'atomic'
  | 'lane'
  | 'memoryLane'
  | 'shuffle'
  | 'block'
  | 'copy'
  | 'fill'

export interface Opcode {
  readonly bytes: readonly number[]
  readonly immediate: Immediate
}

const table = new Map<string, Opcode>()

const leb = (value: number): number[] => {
  const bytes: number[] = []
  do {
    const low = value & 0x7f
    value >>>= 7
    bytes.push(value === 0 ? low : low | 0x80)
  } while (value !== 0)
  return bytes
}
const plain = (names: string, first: number, immediate: Immediate = 'none'): void => {
  for (const name of names.split(' ')) table.set(name, { bytes: [first++], immediate })
}
/** Names in a row take consecutive codes after the 0xfd prefix; `-` skips one. */
const simd = (first: number, names: string, immediate: Immediate = 'none'): void => {
  for (const name of names.split(' ')) {
    if (name !== '-') table.set(name, { bytes: [0xfd, ...leb(first)], immediate })
    first++
  }
}

plain('unreachable nop', 0x00)
plain('block loop if', 0x02, 'block')
plain('else', 0x05)
plain('end', 0x0b)
plain('br br_if', 0x0c, 'index')
plain('return', 0x0f)
plain('call', 0x10, 'index')
plain('drop select', 0x1a)
plain('local.get local.set local.tee', 0x20, 'index')
plain('global.get', 0x23, 'index')
plain('i32.load i64.load f32.load f64.load i32.load8_s i32.load8_u i32.load16_s i32.load16_u', 0x28, 'memory')
plain('i32.store i64.store f32.store f64.store i32.store8 i32.store16', 0x36, 'memory')
plain('i32.const', 0x41, 'i32')
plain('i64.const', 0x42, 'i32')
plain('f32.const', 0x43, 'f32')
plain('i32.eqz i32.eq i32.ne i32.lt_s i32.lt_u i32.gt_s i32.gt_u i32.le_s i32.le_u i32.ge_s i32.ge_u', 0x45)
plain('f32.eq f32.ne f32.lt f32.gt f32.le f32.ge', 0x5b)
plain('i32.clz i32.ctz i32.popcnt i32.add i32.sub i32.mul i32.div_s i32.div_u i32.rem_s i32.rem_u', 0x67)
plain('i32.and i32.or i32.xor i32.shl i32.shr_s i32.shr_u i32.rotl i32.rotr', 0x71)
plain('f32.abs f32.neg f32.ceil f32.floor f32.trunc f32.nearest f32.sqrt f32.add f32.sub f32.mul f32.div', 0x8b)
plain('i32.reinterpret_f32', 0xbc)
plain('f32.reinterpret_i32', 0xbe)
table.set('memory.copy', { bytes: [0xfc, 0x0a], immediate: 'copy' })
table.set('memory.fill', { bytes: [0xfc, 0x0b], immediate: 'fill' })

for (const [name, code] of [
  ['memory.atomic.notify', 0x00],
  ['memory.atomic.wait32', 0x01],
  ['i32.atomic.load', 0x10],
  ['i32.atomic.store', 0x17],
  ['i32.atomic.rmw.add', 0x1e],
] as const)
  table.set(name, { bytes: [0xfe, code], immediate: 'atomic' })

simd(0, 'v128.load', 'memory')
simd(7, 'v128.load8_splat v128.load16_splat v128.load32_splat v128.load64_splat v128.store', 'memory')
simd(13, 'i8x16.shuffle', 'shuffle')
simd(14, 'i8x16.swizzle')
simd(17, 'i32x4.splat - f32x4.splat')
simd(27, 'i32x4.extract_lane i32x4.replace_lane', 'lane')
simd(31, 'f32x4.extract_lane f32x4.replace_lane', 'lane')
simd(55, 'i32x4.eq i32x4.ne i32x4.lt_s i32x4.lt_u i32x4.gt_s i32x4.gt_u i32x4.le_s i32x4.le_u i32x4.ge_s i32x4.ge_u')
simd(65, 'f32x4.eq f32x4.ne f32x4.lt f32x4.gt f32x4.le f32x4.ge')
simd(77, 'v128.not v128.and v128.andnot v128.or v128.xor v128.bitselect v128.any_true')
simd(84, 'v128.load8_lane v128.load16_lane v128.load32_lane v128.load64_lane', 'memoryLane')
simd(88, 'v128.store8_lane v128.store16_lane v128.store32_lane v128.store64_lane', 'memoryLane')
simd(92, 'v128.load32_zero v128.load64_zero', 'memory')
simd(103, 'f32x4.ceil f32x4.floor f32x4.trunc f32x4.nearest')
simd(137, 'i16x8.extend_low_i8x16_u i16x8.extend_high_i8x16_u')
simd(160, 'i32x4.abs i32x4.neg')
simd(169, 'i32x4.extend_low_i16x8_u i32x4.extend_high_i16x8_u i32x4.shl i32x4.shr_s i32x4.shr_u i32x4.add')
simd(177, 'i32x4.sub')
simd(181, 'i32x4.mul i32x4.min_s i32x4.min_u i32x4.max_s i32x4.max_u')
simd(224, 'f32x4.abs f32x4.neg - f32x4.sqrt f32x4.add f32x4.sub f32x4.mul f32x4.div f32x4.min f32x4.max f32x4.pmin f32x4.pmax')
simd(248, 'i32x4.trunc_sat_f32x4_s i32x4.trunc_sat_f32x4_u f32x4.convert_i32x4_s f32x4.convert_i32x4_u')

/** The encoding of an instruction; throws AssembleError for a name the table does not know. */
export const opcode = (name: string): Opcode => {
  const found = table.get(name)
  if (found === undefined) throw new AssembleError(`unknown instruction ${name}\nadd it to wasm/opcodes.ts if WebAssembly has it`)
  return found
}

/** A kernel was assembled wrongly: our own mistake, never a caller's data. */
export class AssembleError extends Error {
  override name = 'AssembleError'
}
