// A small WebAssembly assembler: kernels are written as calls on a function builder, encoded to bytes, or printed as text to be read.
// Own code because loop shape decides speed (EVIDENCE §1) and a module must cost tenths of a millisecond, not half a second.
import { ByteList, encodeBody, section, string, typeByte } from './encode.ts'
import { AssembleError } from './opcodes.ts'

export type ValueType = 'i32' | 'i64' | 'f32' | 'f64' | 'v128'

export interface FunctionType {
  readonly params: readonly ValueType[]
  readonly results: readonly ValueType[]
}

/** Of 64 KiB, in 4 GiB. */
const MAX_PAGES = 65536

interface Instruction {
  readonly name: string
  readonly args: readonly number[]
}

/** A place to branch to: valid inside the block or loop that made it. */
export interface Label {
  readonly depth: number
}

/** Builds one function's body; every method appends instructions. Locals are indices, the parameters first. */
export class FunctionBuilder {
  readonly name: string
  readonly type: FunctionType
  readonly instructions: Instruction[] = []
  readonly locals: ValueType[]
  #depth = 0

  constructor(name: string, type: FunctionType) {
    this.name = name
    this.type = type
    this.locals = [...type.params]
  }

  /** A fresh local, zero at entry. */
  local(type: ValueType): number {
    this.locals.push(type)
    return this.locals.length - 1
  }

  /** Any instruction by its name in the specification, e.g. `op('f32x4.add')`, `op('i32x4.extract_lane', 2)`. */
  op(name: string, ...args: number[]): this {
    this.instructions.push({ name, args })
    return this
  }
  get(local: number): this {
    return this.op('local.get', local)
  }
  set(local: number): this {
    return this.op('local.set', local)
  }
  tee(local: number): this {
    return this.op('local.tee', local)
  }
  /** An i32 constant; addresses up to 2^32 - 1 are given unsigned. */
  i32(value: number): this {
    return this.op('i32.const', value | 0)
  }
  /** A load or store with a constant byte offset; we never promise alignment. */
  mem(name: string, offset = 0): this {
    return this.op(name, offset)
  }
  call(func: number): this {
    return this.op('call', func)
  }

  /** `local += amount` on an i32 local. */
  bump(local: number, amount: number): this {
    if (amount === 0) return this
    return this.get(local).i32(amount).op('i32.add').set(local)
  }

  /** A block; branching to its label leaves it. */
  block(body: (exit: Label) => void): this {
    return this.#nest('block', body)
  }
  /** A loop; branching to its label goes round again. */
  loop(body: (again: Label) => void): this {
    return this.#nest('loop', body)
  }
  /** Takes a condition from the stack. */
  if(then: () => void, otherwise?: () => void): this {
    this.op('if', 0x40)
    this.#depth++
    then()
    if (otherwise !== undefined) {
      this.op('else')
      otherwise()
    }
    this.#depth--
    return this.op('end')
  }
  br(label: Label): this {
    return this.op('br', this.#depth - label.depth)
  }
  brIf(label: Label): this {
    return this.op('br_if', this.#depth - label.depth)
  }

  /** `block { loop { br_if exit; body; br again } }`: the only loop shape V8 11 does not spill (54 against 25 GFLOP/s). `exitIf` leaves a condition on the stack. */
  while(exitIf: () => void, body: () => void): this {
    return this.block((exit) => {
      this.loop((again) => {
        exitIf()
        this.brIf(exit)
        body()
        this.br(again)
      })
    })
  }

  #nest(kind: 'block' | 'loop', body: (label: Label) => void): this {
    this.op(kind, 0x40)
    this.#depth++
    body({ depth: this.#depth })
    this.#depth--
    return this.op('end')
  }
}

export interface FunctionImport {
  readonly module: string
  readonly name: string
  readonly type: FunctionType
}

/** A module under construction: it imports one memory as `env.memory`, and exports every function added with `exported` true. */
export class ModuleBuilder {
  readonly #imports: FunctionImport[] = []
  readonly #globals: string[] = []
  readonly #functions: { builder: FunctionBuilder; exported: boolean }[] = []

  /** Imports the i32 constant `env.NAME` and gives its index for `global.get`. */
  global(name: string): number {
    return this.#globals.push(name) - 1
  }

  /** Imports a function and gives its index; imports come before the first own function. */
  import(what: FunctionImport): number {
    if (this.#functions.length > 0)
      throw new AssembleError(`import ${what.name} comes after ${this.#functions.length} functions; import first`)
    this.#imports.push(what)
    return this.#imports.length - 1
  }

  /** Adds a function, runs `write` on its builder, and gives its index (also valid inside `write`, for recursion). */
  func(name: string, type: FunctionType, write: (f: FunctionBuilder) => void, exported = true): number {
    const builder = new FunctionBuilder(name, type)
    this.#functions.push({ builder, exported })
    const index = this.#imports.length + this.#functions.length - 1
    write(builder)
    return index
  }

  nameOf(index: number): string {
    return this.#functions[index - this.#imports.length].builder.name
  }

  get functions(): readonly FunctionBuilder[] {
    return this.#functions.map((f) => f.builder)
  }

  /** The module's binary, ready for `new WebAssembly.Module`; `shared` if its memory is one that several threads share. */
  bytes(shared = false): Uint8Array<ArrayBuffer> {
    const types: FunctionType[] = []
    const typeIndex = new Map<string, number>()
    const typeOf = (type: FunctionType): number => {
      const key = `${type.params.join()}>${type.results.join()}`
      let index = typeIndex.get(key)
      if (index === undefined) {
        index = types.push(type) - 1
        typeIndex.set(key, index)
      }
      return index
    }
    const importTypes = this.#imports.map((i) => typeOf(i.type))
    const functionTypes = this.#functions.map((f) => typeOf(f.builder.type))
    const exported = this.#functions.flatMap((f, i) => (f.exported ? [{ name: f.builder.name, index: this.#imports.length + i }] : []))

    const out = new ByteList().push(0x00, 0x61, 0x73, 0x6d, 0x01, 0x00, 0x00, 0x00)
    section(out, 1, (s) => {
      s.unsigned(types.length)
      for (const { params, results } of types) {
        s.push(0x60)
        s.unsigned(params.length)
        for (const p of params) s.push(typeByte[p])
        s.unsigned(results.length)
        for (const r of results) s.push(typeByte[r])
      }
    })
    section(out, 2, (s) => {
      s.unsigned(this.#imports.length + this.#globals.length + 1)
      string(s, 'env')
      string(s, 'memory')
      s.push(0x02, shared ? 0x03 : 0x00)
      s.unsigned(0)
      if (shared) s.unsigned(MAX_PAGES)
      for (const name of this.#globals) {
        string(s, 'env')
        string(s, name)
        s.push(0x03, typeByte.i32, 0x00)
      }
      this.#imports.forEach((i, at) => {
        string(s, i.module)
        string(s, i.name)
        s.push(0x00)
        s.unsigned(importTypes[at])
      })
    })
    section(out, 3, (s) => {
      s.unsigned(functionTypes.length)
      for (const t of functionTypes) s.unsigned(t)
    })
    section(out, 7, (s) => {
      s.unsigned(exported.length)
      for (const e of exported) {
        string(s, e.name)
        s.push(0x00)
        s.unsigned(e.index)
      }
    })
    section(out, 10, (s) => {
      s.unsigned(this.#functions.length)
      for (const { builder } of this.#functions) {
        const body = encodeBody(builder)
        s.unsigned(body.length).append(body)
      }
    })
    return out.bytes()
  }

  /** The module as text, close to the WebAssembly text format, for people (`DEBUG=4`). */
  text(): string {
    return this.#functions.map((f) => printFunction(f.builder)).join('\n')
  }
}

/** One function as indented text. */
export const printFunction = (f: FunctionBuilder): string => {
  const lines = [`(func $${f.name} (param ${f.type.params.join(' ')}) (result ${f.type.results.join(' ')})`]
  let depth = 1
  for (const { name, args } of f.instructions) {
    if (name === 'end' || name === 'else') depth--
    const shown = name === 'block' || name === 'loop' || name === 'if' ? [] : args
    lines.push(`${'  '.repeat(depth)}${name}${shown.map((a) => ` ${a}`).join('')}`)
    if (name === 'block' || name === 'loop' || name === 'if' || name === 'else') depth++
  }
  lines.push(')')
  return lines.join('\n')
}
