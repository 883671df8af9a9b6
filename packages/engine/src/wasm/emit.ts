// A nest as WebAssembly: outer loops, then four lanes at a time over different outputs, several vectors interleaved; a fold runs inside, strictly in order.
// Bits cannot depend on any choice made here: lanes never mix, and each accumulator takes its terms in ascending order.
import { bytesOf, OPS } from '@bitloom/graph'
import type { Access, Nest, Node } from '../kernel.ts'
import { type Loops, loopsOf } from '../nest.ts'
import type { Cut } from '../split.ts'
import type { FunctionBuilder } from './assemble.ts'
import { transpose4 } from './lanes.ts'
import { emitOp, givesMask, type Operand, pushCanonical, pushValue } from './scalar.ts'

/** Where things lie: the parameter that holds a buffer's byte address, the addresses of 4-byte constants and of vectors [0, s, 2s, 3s]. */
export interface Addresses {
  readonly pointer: (buffer: number) => number
  readonly constant: (bits: number) => number
  readonly ramp: (stride: number) => number
}

const CANONICAL_NAN = 0x7fc00000

/** When a node is evaluated: once, once an outer coordinate, once a vector, once a term of the fold. */
const ONCE = 0
const OUTER = 1
const VECTOR = 2
const TERM = 3

/** An index or address that moves with the loops: `steps` bytes along outer axes, lanes, fold. */
interface Cursor {
  readonly local: number
  readonly steps: readonly number[]
}

/** How a body is unrolled: `vectors` along the lanes, `terms` along the fold, 4 lanes or 1. */
interface Unroll {
  readonly vectors: number
  readonly terms: number
  readonly lanes: 1 | 4
}

/** The function's first parameters: the pieces of the nest's cut to compute, [from, to). The buffers' addresses follow. */
const FROM = 0
const TO = 1

/** Writes the body of a function with parameters (from, to, ...addresses), pieces of `cut`, that computes them. */
export const emitNest = (f: FunctionBuilder, nest: Nest, cut: Cut, addresses: Addresses): void =>
  new NestWriter(f, nest, cut, addresses).write()

class NestWriter {
  readonly f: FunctionBuilder
  readonly nest: Nest
  readonly loops: Loops
  readonly cut: Cut
  readonly addresses: Addresses
  readonly levels: number[] = []
  readonly masks: boolean[] = []
  readonly #cursors = new Map<string, Cursor>()
  readonly #locals = new Map<string, number>()
  readonly nan: number
  readonly scratch: number[]

  constructor(f: FunctionBuilder, nest: Nest, cut: Cut, addresses: Addresses) {
    this.f = f
    this.nest = nest
    this.loops = loopsOf(nest)
    this.cut = cut
    this.addresses = addresses
    this.nan = f.local('v128')
    this.scratch = [f.local('v128'), f.local('v128'), f.local('v128'), f.local('v128')]
    for (const node of this.loops.nodes) {
      this.levels.push(this.#levelOf(node))
      this.masks.push(
        node.kind === 'op' &&
          givesMask(
            node.op,
            node.args.map((a) => ({ mask: this.masks[a] })),
          ),
      )
    }
  }

  get lanesAxis(): number {
    return this.loops.outer.length
  }
  get foldAxis(): number {
    return this.loops.outer.length + 1
  }

  write(): void {
    const { f } = this
    f.i32(0).mem('v128.load32_splat', this.addresses.constant(CANONICAL_NAN)).set(this.nan)
    for (const node of this.loops.nodes) {
      if (node.kind === 'load') this.#cursorOf(node.access)
      else if (node.kind === 'iota') this.#iotaCursor(node.view.strides)
    }
    for (const store of this.loops.stores) this.#cursorOf(store.access)
    const single: Unroll = { vectors: 1, terms: 1, lanes: 4 }
    this.#evaluate(ONCE, single)
    if (this.cut.along === 'axis') this.#count()
    this.#outer(0)
  }

  /** How many coordinates of the axis that is cut lie in [from, to). */
  #count(): void {
    const { f, cut } = this
    const size = cut.axis === this.lanesAxis ? this.loops.lanes : this.loops.outer[cut.axis]
    const count = this.#local('i32', 'count')
    const end = (): void => void f.get(TO).i32(cut.unit).op('i32.mul')
    if (size % cut.unit === 0) end()
    else {
      end()
      f.i32(size)
      end()
      f.i32(size).op('i32.lt_s').op('select')
    }
    f.get(FROM).i32(cut.unit).op('i32.mul').op('i32.sub').set(count)
  }

  #outer(axis: number): void {
    const { outer } = this.loops
    if (axis === outer.length) {
      this.#evaluate(OUTER, { vectors: 1, terms: 1, lanes: 4 })
      this.#vectors()
      return
    }
    this.#repeat(
      `outer${axis}`,
      axis === this.cut.axis ? this.#local('i32', 'count') : outer[axis],
      () => {
        this.#outer(axis + 1)
        this.#advance(axis, 1)
      },
      axis === this.cut.axis,
    )
    if (axis > 0) this.#rewind(axis, outer[axis])
  }

  /** The lanes' axis: blocks of interleaved vectors, then single vectors, then single elements. */
  #vectors(): void {
    const n = this.loops.lanes
    const axis = this.lanesAxis
    const width = this.#width()
    const terms = this.#terms()
    const segment = (count: number, elements: number, unroll: Unroll): void => {
      if (count === 0) return
      this.#repeat('lanes', count, () => {
        this.#body(unroll)
        this.#advance(axis, elements)
      })
    }
    const blocks: Unroll = { vectors: width, terms, lanes: 4 }
    const rest: Unroll = { vectors: 1, terms, lanes: 4 }
    const tail: Unroll = { vectors: 1, terms: 1, lanes: 1 }
    if (this.cut.axis === axis) {
      // Pieces are whole blocks but for the last, so a rest exists only where the whole axis has one.
      const { f } = this
      const count = this.#local('i32', 'count')
      const some = (push: () => void, elements: number, unroll: Unroll): void => {
        const counted = this.#local('i32', 'lanesLeft')
        push()
        f.set(counted)
        this.#repeat(
          'lanes',
          counted,
          () => {
            this.#body(unroll)
            this.#advance(axis, elements)
          },
          true,
        )
      }
      const shift = width === 4 ? 4 : width === 2 ? 3 : 2
      some(() => f.get(count).i32(shift).op('i32.shr_u'), 4 * width, blocks)
      if (width > 1 && n % (4 * width) >= 4)
        some(
          () =>
            f
              .get(count)
              .i32(4 * width - 1)
              .op('i32.and')
              .i32(2)
              .op('i32.shr_u'),
          4,
          rest,
        )
      if (n % 4 > 0) some(() => f.get(count).i32(3).op('i32.and'), 1, tail)
    } else {
      segment(Math.floor(n / (4 * width)), 4 * width, blocks)
      if (width > 1) segment(Math.floor((n % (4 * width)) / 4), 4, rest)
      segment(n % 4, 1, tail)
    }
    if (this.loops.outer.length > 0) this.#rewind(axis, n)
  }

  /** Interleaved vectors hide latency even where registers spill: four beat two by 1.3x on exp, tanh, gelu and its derivative (Node 24); eight add nothing steady. */
  #width(): number {
    return this.#rowsFold() ? 2 : 4
  }

  /** Terms a turn of a fold: four where they are transposed, all of a very short one. */
  #terms(): number {
    if (this.#rowsFold()) return 4
    const { op, terms } = this.nest.fold ?? { op: 'sum', terms: 1 }
    const looped = op === 'sum' ? terms : terms - 1
    return looped <= 4 ? Math.max(1, looped) : 1
  }

  /** Lanes are rows that are contiguous along the fold: read four terms at once and transpose. */
  #rowsFold(): boolean {
    return this.nest.fold !== undefined && this.loops.nodes.some((node) => node.kind === 'load' && this.#isTransposed(node.access))
  }

  #isTransposed(access: Access): boolean {
    const lane = access.strides[this.lanesAxis]
    return access.strides[this.foldAxis] === 1 && lane !== 0 && lane !== 1 && access.dtype !== 'u8'
  }

  #body(unroll: Unroll): void {
    const { f, nest } = this
    this.#evaluate(VECTOR, unroll)
    if (nest.fold === undefined) {
      for (const store of this.loops.stores)
        for (let u = 0; u < unroll.vectors; u++)
          this.#store(store.access, this.#operand(store.node, u, 0, unroll), store.canonical, u, unroll)
      return
    }
    const { op, dtype, terms } = nest.fold
    const folds = this.loops.stores.map((store, at) => ({
      store,
      acc: Array.from({ length: unroll.vectors }, (_, u) => this.#local('v128', `acc${at}.${u}`)),
      best: Array.from({ length: op === 'argmax' ? unroll.vectors : 0 }, (_, u) => this.#local('v128', `best${at}.${u}`)),
    }))
    const k = this.#local('v128', 'k')
    const one = this.#local('v128', 'one')
    let left = terms
    if (op === 'sum') {
      for (const { acc } of folds) for (const a of acc) f.i32(0).op('i32x4.splat').set(a)
    } else {
      // max and argmax start from term 0, whatever it is (a NaN stays).
      const first: Unroll = { ...unroll, terms: 1 }
      this.#evaluate(TERM, first)
      for (const { store, acc, best } of folds)
        for (let u = 0; u < unroll.vectors; u++) {
          pushValue(f, this.#operand(store.node, u, 0, first))
          f.set(op === 'argmax' ? best[u] : acc[u])
          if (op === 'argmax') f.i32(0).op('i32x4.splat').set(acc[u])
        }
      f.i32(0).op('i32x4.splat').set(k).i32(1).op('i32x4.splat').set(one)
      this.#advance(this.foldAxis, 1)
      left--
    }
    const add = op === 'maxOver' ? 'f32x4.pmax' : dtype === 'f32' ? 'f32x4.add' : 'i32x4.add'
    const run = (count: number, of: Unroll): void => {
      if (count === 0) return
      this.#repeat('fold', count, () => {
        this.#evaluate(TERM, of)
        for (let t = 0; t < of.terms; t++) {
          if (op === 'argmax') f.get(k).get(one).op('i32x4.add').set(k)
          for (const { store, acc, best } of folds)
            for (let u = 0; u < of.vectors; u++) {
              const x = this.#operand(store.node, u, t, of)
              if (op !== 'argmax') {
                f.get(acc[u])
                pushValue(f, x)
                f.op(add).set(acc[u])
                continue
              }
              const scratch = this.scratch[0]
              f.get(best[u])
              pushValue(f, x)
              f.op('f32x4.lt').set(scratch)
              f.get(k).get(acc[u]).get(scratch).op('v128.bitselect').set(acc[u])
              f.get(best[u])
              pushValue(f, x)
              f.op('f32x4.pmax').set(best[u])
            }
        }
        this.#advance(this.foldAxis, of.terms)
      })
    }
    run(Math.floor(left / unroll.terms), unroll)
    if (unroll.terms > 1) run(left % unroll.terms, { ...unroll, terms: 1 })
    this.#advance(this.foldAxis, -terms)
    for (const { store, acc } of folds)
      for (let u = 0; u < unroll.vectors; u++)
        this.#store(store.access, { local: acc[u], mask: false, uniform: false }, store.canonical, u, unroll)
  }

  /** Evaluates every node of one level, each for all unrolled positions before the next. */
  #evaluate(level: number, unroll: Unroll): void {
    const { f } = this
    const vectors = level >= VECTOR ? unroll.vectors : 1
    const terms = level === TERM ? unroll.terms : 1
    this.loops.nodes.forEach((node, at) => {
      if (this.levels[at] !== level) return
      const local = (u: number, t: number): number => this.#local('v128', `n${at}.${u * terms + t}`)
      if (node.kind === 'load' && level === TERM && terms === 4 && unroll.lanes === 4 && this.#isTransposed(node.access)) {
        for (let u = 0; u < vectors; u++)
          this.#loadTransposed(
            node.access,
            u,
            [0, 1, 2, 3].map((t) => local(u, t)),
          )
        return
      }
      for (let t = 0; t < terms; t++)
        for (let u = 0; u < vectors; u++) {
          if (node.kind === 'const') f.i32(0).mem('v128.load32_splat', this.addresses.constant(node.bits))
          else if (node.kind === 'load') this.#load(node.access, u, t, unroll.lanes)
          else if (node.kind === 'iota') this.#iota(node.view.offset, node.view.strides, u, t)
          else
            emitOp(
              f,
              node.op,
              node.from,
              node.to,
              node.args.map((a) => this.#operand(a, u, t, unroll)),
              this.nan,
              this.scratch[0],
            )
          f.set(local(u, t))
        }
    })
  }

  #operand(at: number, u: number, t: number, unroll: Unroll): Operand {
    const level = this.levels[at]
    const node = this.loops.nodes[at]
    const position = level < VECTOR ? 0 : level === VECTOR ? u : u * unroll.terms + t
    const operand = { local: this.#local('v128', `n${at}.${position}`), mask: this.masks[at], uniform: level < VECTOR }
    return node.kind === 'const' ? { ...operand, bits: node.bits } : operand
  }

  #levelOf(node: Node): number {
    if (node.kind === 'const') return ONCE
    if (node.kind === 'op') {
      if (OPS[node.op].kind === 'movement') throw new RangeError(`${node.op} is no scalar op`)
      return node.args.reduce((level, a) => Math.max(level, this.levels[a]), ONCE)
    }
    const strides = node.kind === 'load' ? node.access.strides : node.view.strides
    if (this.nest.fold !== undefined && strides[this.foldAxis] !== 0) return TERM
    if (strides[this.lanesAxis] !== 0) return VECTOR
    return strides.some((s) => s !== 0) ? OUTER : ONCE
  }

  /** One local a name, shared by all unrolled copies of the body. */
  #local(type: 'v128' | 'i32', name: string): number {
    let local = this.#locals.get(name)
    if (local === undefined) {
      local = this.f.local(type)
      this.#locals.set(name, local)
    }
    return local
  }

  /** Runs `body` `count` times; no loop for one. With `counted`, `count` is the local that holds how many. */
  #repeat(name: string, count: number, body: () => void, counted = false): void {
    if (count === 1 && !counted) {
      body()
      return
    }
    const counter = this.#local('i32', name)
    if (counted) this.f.get(count).set(counter)
    else this.f.i32(count).set(counter)
    this.f.while(
      () => this.f.get(counter).op('i32.eqz'),
      () => {
        body()
        this.f.bump(counter, -1)
      },
    )
  }

  #advance(axis: number, count: number): void {
    for (const cursor of this.#cursors.values()) {
      const step = cursor.steps[axis]
      if (step !== undefined) this.f.bump(cursor.local, step * count)
    }
  }

  /** Back to where the axis began. */
  #rewind(axis: number, size: number): void {
    if (axis !== this.cut.axis) {
      this.#advance(axis, -size)
      return
    }
    const count = this.#local('i32', 'count')
    for (const { local, steps } of this.#cursors.values())
      if (steps[axis] !== undefined && steps[axis] !== 0)
        this.f.get(local).get(count).i32(steps[axis]).op('i32.mul').op('i32.sub').set(local)
  }

  /** Accesses of one buffer that walk alike share a pointer and differ by a constant offset; one that walks backwards has its own. */
  #cursorOf(access: Access): { local: number; offset: number } {
    const size = bytesOf(access.dtype)
    const steps = access.strides.map((s) => s * size)
    const base = this.addresses.pointer(access.buffer)
    const start = access.offset * size
    if (steps.every((s) => s === 0)) return { local: base, offset: start }
    const backwards = steps.some((s) => s < 0)
    return { local: this.#cursor(steps, backwards ? start : 0, base).local, offset: backwards ? 0 : start }
  }

  #iotaCursor(strides: readonly number[]): Cursor | undefined {
    return strides.every((s) => s === 0) ? undefined : this.#cursor(strides, 0)
  }

  /** Begins at `start` beyond what the parameter `base` holds, at this call's first piece. */
  #cursor(steps: readonly number[], start: number, base?: number): Cursor {
    const { f } = this
    const key = `${base}:${start}:${steps}`
    let cursor = this.#cursors.get(key)
    if (cursor === undefined) {
      cursor = { local: f.local('i32'), steps }
      const cut = (steps[this.cut.axis] ?? 0) * this.cut.unit
      if (base === undefined) f.i32(start)
      else {
        f.get(base)
        if (start !== 0) f.i32(start).op('i32.add')
      }
      if (cut !== 0) f.get(FROM).i32(cut).op('i32.mul').op('i32.add')
      f.set(cursor.local)
      this.#cursors.set(key, cursor)
    }
    return cursor
  }

  /** Pushes an address and gives the constant offset that belongs into the instruction; `delta` may be negative. */
  #address(access: Access, delta: number): number {
    const { local, offset } = this.#cursorOf(access)
    this.f.get(local)
    if (offset + delta >= 0) return offset + delta
    this.f.i32(offset + delta).op('i32.add')
    return 0
  }

  #load(access: Access, u: number, t: number, lanes: 1 | 4): void {
    const { f } = this
    const size = bytesOf(access.dtype)
    const lane = access.strides[this.lanesAxis] * size
    const base = u * 4 * lane + t * (access.strides[this.foldAxis] ?? 0) * size
    const byte = access.dtype === 'u8'
    if (lane === 0 || lanes === 1) {
      const offset = this.#address(access, base)
      if (byte) f.mem('i32.load8_u', offset).op('i32x4.splat')
      else f.mem(lane === 0 ? 'v128.load32_splat' : 'v128.load32_zero', offset)
    } else if (lane === size) {
      const offset = this.#address(access, base)
      if (byte) f.mem('v128.load32_zero', offset).op('i16x8.extend_low_i8x16_u').op('i32x4.extend_low_i16x8_u')
      else f.mem('v128.load', offset)
    } else {
      const offsets = [3, 2, 1, 0].map((l) => this.#address(access, base + l * lane)).reverse()
      if (byte) {
        f.i32(0).op('i32x4.splat')
        offsets.forEach((offset, l) => {
          f.op('v128.load8_lane', offset, 4 * l)
        })
      } else {
        f.mem('v128.load32_zero', offsets[0])
        for (let l = 1; l < 4; l++) f.op('v128.load32_lane', offsets[l], l)
      }
    }
  }

  /** Four rows by four terms into one local a term. */
  #loadTransposed(access: Access, u: number, locals: readonly number[]): void {
    const lane = access.strides[this.lanesAxis] * 4
    for (let l = 0; l < 4; l++) {
      const offset = this.#address(access, (u * 4 + l) * lane)
      this.f.mem('v128.load', offset).set(locals[l])
    }
    transpose4(this.f, locals, this.scratch)
  }

  #iota(offset: number, strides: readonly number[], u: number, t: number): void {
    const { f } = this
    const lane = strides[this.lanesAxis]
    const cursor = this.#iotaCursor(strides)
    const start = offset + u * 4 * lane + t * (strides[this.foldAxis] ?? 0)
    if (cursor === undefined) f.i32(start)
    else f.get(cursor.local).i32(start).op('i32.add')
    f.op('i32x4.splat')
    if (lane !== 0) f.i32(0).mem('v128.load', this.addresses.ramp(lane)).op('i32x4.add')
  }

  #store(access: Access, value: Operand, canonical: boolean, u: number, unroll: Unroll): void {
    const { f } = this
    const size = bytesOf(access.dtype)
    const lane = access.strides[this.lanesAxis] * size
    const clean = canonical && access.dtype === 'f32'
    let local = value.local
    if (clean || value.mask) {
      if (clean) pushCanonical(f, value.local, this.nan)
      else pushValue(f, value)
      local = this.scratch[1]
      f.set(local)
    }
    const base = u * 4 * lane
    if (unroll.lanes === 4 && lane === 4 && access.dtype !== 'u8') {
      const offset = this.#address(access, base)
      f.get(local).mem('v128.store', offset)
      return
    }
    for (let l = 0; l < unroll.lanes; l++) {
      const offset = this.#address(access, base + l * lane)
      f.get(local)
      if (access.dtype === 'u8') f.op('v128.store8_lane', offset, 4 * l)
      else f.op('v128.store32_lane', offset, l)
    }
  }
}
