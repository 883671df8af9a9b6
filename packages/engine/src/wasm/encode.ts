// WebAssembly's binary format: the bytes of sections, names, numbers and function bodies.
import type { FunctionBuilder, ValueType } from './assemble.ts'
import { AssembleError, opcode } from './opcodes.ts'

export const typeByte: Record<ValueType, number> = { i32: 0x7f, i64: 0x7e, f32: 0x7d, f64: 0x7c, v128: 0x7b }

/** Bytes that grow: a program's code is a quarter of a megabyte, so no array of numbers. */
export class ByteList {
  #bytes = new Uint8Array(256)
  length = 0

  #room(count: number): void {
    if (this.length + count <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(2 * this.#bytes.length, this.length + count))
    larger.set(this.#bytes)
    this.#bytes = larger
  }

  push(...values: number[]): this {
    this.#room(values.length)
    for (const value of values) this.#bytes[this.length++] = value
    return this
  }

  append(other: ByteList): this {
    this.#room(other.length)
    this.#bytes.set(other.#bytes.subarray(0, other.length), this.length)
    this.length += other.length
    return this
  }

  /** LEB128 of an unsigned 32-bit number. */
  unsigned(value: number): this {
    if (!Number.isInteger(value) || value < 0 || value > 0xffffffff) throw new AssembleError(`${value} is not an unsigned 32-bit number`)
    this.#room(5)
    do {
      const low = value & 0x7f
      value = Math.floor(value / 128)
      this.#bytes[this.length++] = value === 0 ? low : low | 0x80
    } while (value !== 0)
    return this
  }

  /** LEB128 of a signed 32-bit number. */
  signed(value: number): this {
    this.#room(5)
    for (;;) {
      const low = value & 0x7f
      value >>= 7
      const last = (value === 0 && (low & 0x40) === 0) || (value === -1 && (low & 0x40) !== 0)
      this.#bytes[this.length++] = last ? low : low | 0x80
      if (last) return this
    }
  }

  float(value: number): this {
    return this.push(...new Uint8Array(Float32Array.of(value).buffer))
  }

  bytes(): Uint8Array<ArrayBuffer> {
    return this.#bytes.slice(0, this.length)
  }
}

/** A function's body: its locals, then its instructions. */
export const encodeBody = (f: FunctionBuilder): ByteList => {
  const out = new ByteList()
  const declared = f.locals.slice(f.type.params.length)
  const runs: { type: ValueType; count: number }[] = []
  for (const type of declared) {
    const last = runs.at(-1)
    if (last?.type === type) last.count++
    else runs.push({ type, count: 1 })
  }
  out.unsigned(runs.length)
  for (const run of runs) {
    out.unsigned(run.count)
    out.push(typeByte[run.type])
  }
  for (const { name, args } of f.instructions) {
    const { bytes, immediate } = opcode(name)
    for (const b of bytes) out.push(b)
    switch (immediate) {
      case 'none':
        break
      case 'index':
        out.unsigned(args[0])
        break
      case 'i32':
        out.signed(args[0])
        break
      case 'f32':
        out.float(args[0])
        break
      case 'memory':
        out.push(0)
        out.unsigned(args[0])
        break
      case 'atomic':
        out.push(2)
        out.unsigned(args[0])
        break
      case 'memoryLane':
        out.push(0)
        out.unsigned(args[0])
        out.push(args[1])
        break
      case 'lane':
      case 'block':
        out.push(args[0])
        break
      case 'shuffle':
        for (const lane of args) out.push(lane)
        break
      case 'copy':
        out.push(0, 0)
        break
      case 'fill':
        out.push(0)
        break
    }
  }
  out.push(0x0b)
  return out
}

/** Appends section `id`, with its length, as `write` fills it. */
export const section = (out: ByteList, id: number, write: (s: ByteList) => void): void => {
  const body = new ByteList()
  write(body)
  out.push(id).unsigned(body.length).append(body)
}

export const string = (out: ByteList, text: string): void => {
  const bytes = new TextEncoder().encode(text)
  out.unsigned(bytes.length).push(...bytes)
}
