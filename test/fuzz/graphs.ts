// Random graphs over every op, with edge values in their slots: what all backends are compared on, bit for bit. Everything follows from the seed.
import {
  bitsOf,
  type Data,
  type Dtype,
  type Expr,
  expr,
  type Graph,
  makeGraph,
  OP_NAMES,
  OPS,
  type OpName,
  type Shape,
  type Slot,
  sizeOf,
} from '@bitloom/graph'

/** A stream of numbers that a seed determines (mulberry32). */
export class Draw {
  #state: number
  constructor(seed: number) {
    this.#state = seed >>> 0
  }
  word(): number {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0
    let t = this.#state
    t = Math.imul(t ^ (t >>> 15), t | 1)
    t ^= t + Math.imul(t ^ (t >>> 7), t | 61)
    return (t ^ (t >>> 14)) >>> 0
  }
  /** 0 … n - 1. */
  below(n: number): number {
    return Math.floor((this.word() / 2 ** 32) * n)
  }
  between(low: number, high: number): number {
    return low + this.below(high - low + 1)
  }
  chance(p: number): boolean {
    return this.word() / 2 ** 32 < p
  }
  pick<T>(list: readonly T[]): T {
    return list[this.below(list.length)]
  }
}

/** Bits where implementations differ: zeros, infinities, the NaN, subnormals, extremes, ties, 2^31, 2^24, exp's limits. */
export const EDGE_F32: readonly number[] = [
  0x00000000, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x00000001, 0x80000001, 0x007fffff, 0x807fffff, 0x00800000, 0x80800000,
  0x7f7fffff, 0xff7fffff, 0x3f800000, 0xbf800000, 0x3f800001, 0x3f7fffff, 0x3f000000, 0xbf000000, 0x40200000, 0x4b800000, 0x4b800001,
  0x4f000000, 0xcf000000, 0x4effffff, 0xcf000001, 0x5f000000, 0x34000000, 0x33800000, 0x42b17218, 0xc2aeac50, 0x1f000000, 0x20000000,
]
export const EDGE_I32: readonly number[] = [
  0, 1, -1, 2, 3, 5, 31, 32, 33, -31, 255, 65535, 0x7fffffff, -0x80000000, -0x7fffffff, 16777217, -16777217,
]

/** Words for a tensor: mostly small ordinary numbers, and every edge. */
export const randomData = (draw: Draw, dtype: Dtype, n: number, wild: number): Data => {
  if (dtype === 'u8') return Uint8Array.from({ length: n }, () => draw.below(256))
  const words = new Uint32Array(n)
  for (let i = 0; i < n; i++) {
    if (dtype === 'f32') {
      if (draw.chance(wild)) words[i] = draw.chance(0.7) ? draw.pick(EDGE_F32) : draw.word()
      else words[i] = bitsOf((draw.word() / 2 ** 31 - 1) * draw.pick([1, 1, 4, 100, 0.001]))
      if ((words[i] & 0x7fffffff) > 0x7f800000) words[i] = 0x7fc00000
    } else words[i] = (draw.chance(wild) ? (draw.chance(0.7) ? draw.pick(EDGE_I32) : draw.word()) : draw.between(-8, 8)) >>> 0
  }
  return dtype === 'f32' ? new Float32Array(words.buffer) : new Int32Array(words.buffer)
}

export interface Sample {
  readonly graph: Graph
  readonly slots: readonly Data[]
}

const randomShape = (draw: Draw, rank = draw.below(4)): Shape => {
  const shape = Array.from({ length: rank }, () => (draw.chance(0.15) ? draw.between(8, 37) : draw.between(1, 6)))
  return sizeOf(shape) > 4000 ? shape.map((d) => Math.min(d, 6)) : shape
}

const inner = (name: OpName): boolean => OPS[name].kind !== 'leaf'
const CHOICES: readonly OpName[] = OP_NAMES.filter(inner)

/** A random step: `size` exprs or a few more, every dtype, broadcasting written out, outputs of any kind. */
export const randomSample = (seed: number, size?: number): Sample => {
  const draw = new Draw(seed)
  const wild = draw.pick([0, 0.05, 0.3, 0.8])
  const stateCount = draw.between(1, 4)
  const slots: Slot[] = []
  const leaves: Expr[] = []
  for (let s = 0; s < stateCount + draw.below(4); s++) {
    const kind = s < stateCount ? 'state' : 'data'
    const dtype = draw.pick<Dtype>(kind === 'state' ? ['f32', 'f32', 'i32'] : ['f32', 'i32', 'u8'])
    const shape = randomShape(draw)
    slots.push({ name: `s${s}`, kind, dtype, shape })
    leaves.push(expr('input', [], { dtype, shape, attrs: [s] }))
  }
  const maker = new Maker(draw, leaves)
  const target = size ?? draw.between(1, 40)
  for (let tries = 0; maker.made < target && tries < 20 * target; tries++) maker.grow()
  const next = slots.slice(0, stateCount).map((slot) => maker.asType(slot.dtype, slot.shape))
  const graph = makeGraph(slots, next, maker.probe())
  return { graph, slots: slots.map((slot) => randomData(draw, slot.dtype, sizeOf(slot.shape), wild)) }
}

class Maker {
  readonly draw: Draw
  readonly pool: Expr[]
  made = 0

  constructor(draw: Draw, leaves: readonly Expr[]) {
    this.draw = draw
    this.pool = [...leaves]
  }

  /** One more expr of a random op over what there is. */
  grow(): void {
    const e = this.#apply(this.draw.pick(CHOICES))
    if (e === undefined || sizeOf(e.shape) > 6000) return
    this.pool.push(e)
    this.made++
  }

  /** An expr of this type made of something in the pool. */
  asType(dtype: Dtype, shape: Shape): Expr {
    const fits = this.pool.filter((e) => e.dtype === dtype && `${e.shape}` === `${shape}`)
    if (fits.length > 0 && this.draw.chance(0.8)) return this.draw.pick(fits.slice(-6))
    return this.#shaped(this.#typed(this.#recent(() => true)!, dtype), shape)
  }

  probe(): Expr {
    const small = this.pool.filter((e) => e.dtype !== 'u8' && sizeOf(e.shape) <= 256)
    if (small.length > 0) return this.draw.pick(small.slice(-5))
    const any = this.#typed(this.pool[this.pool.length - 1], 'f32')
    return this.#shaped(any, [4])
  }

  #recent(test: (e: Expr) => boolean): Expr | undefined {
    const fits = this.pool.filter(test)
    if (fits.length === 0) return undefined
    return this.draw.chance(0.6) ? this.draw.pick(fits.slice(-4)) : this.draw.pick(fits)
  }

  #typed(e: Expr, dtype: Dtype): Expr {
    if (e.dtype === dtype) return e
    if (e.dtype !== 'u8' && this.draw.chance(0.3)) return expr('bitcast', [e])
    return expr('cast', [e], { dtype })
  }

  /** Broadcast, cut or repeat `e` into `shape`. */
  #shaped(e: Expr, shape: Shape): Expr {
    if (`${e.shape}` === `${shape}`) return e
    const want = sizeOf(shape)
    const have = sizeOf(e.shape)
    if (want === have) return expr('reshape', [e], { shape })
    if (e.shape.length === shape.length && e.shape.every((d, i) => d === 1 || d === shape[i])) return expr('expand', [e], { shape })
    const flat = expr('reshape', [e], { shape: [have] })
    if (have > want)
      return expr('reshape', [expr('slice', [flat], { shape: [want], attrs: [this.draw.below(have - want + 1), 1] })], { shape })
    if (this.draw.chance(0.6)) {
      // Tiled: the elements again and again.
      const times = Math.ceil(want / have)
      const rows = expr('expand', [expr('reshape', [e], { shape: [1, have] })], { shape: [times, have] })
      const long = expr('reshape', [rows], { shape: [times * have] })
      const cut = times * have === want ? long : expr('slice', [long], { shape: [want], attrs: [0, 1] })
      return expr('reshape', [cut], { shape })
    }
    const one = expr('slice', [flat], { shape: [1], attrs: [this.draw.below(have), 1] })
    const small = expr('reshape', [one], { shape: shape.map(() => 1) })
    return expr('expand', [small], { shape })
  }

  /** A second operand of the same type: one that fits, or another one broadcast, or a constant. */
  #partner(e: Expr, dtype: Dtype = e.dtype): Expr {
    const { draw } = this
    if (draw.chance(0.2)) {
      const bits = dtype === 'f32' ? draw.pick(EDGE_F32) : draw.pick(EDGE_I32) >>> 0
      return this.#shaped(expr('const', [], { dtype, attrs: [bits] }), e.shape)
    }
    if (dtype === 'i32' && e.shape.length > 0 && draw.chance(0.15))
      return expr('iota', [], { dtype, shape: e.shape, attrs: [draw.below(e.shape.length)] })
    // Itself backwards: the same tensor, read in another order by the same kernel.
    if (e.dtype === dtype && e.shape.length > 0 && draw.chance(0.1))
      return expr('slice', [e], { shape: e.shape, attrs: [...e.shape.map((d) => d - 1), ...e.shape.map(() => -1)] })
    const same = this.pool.filter((x) => x.dtype === dtype && `${x.shape}` === `${e.shape}`)
    if (same.length > 0 && draw.chance(0.7)) return draw.pick(same)
    return this.#shaped(this.#typed(this.#recent(() => true)!, dtype), e.shape)
  }

  #apply(op: OpName): Expr | undefined {
    const { draw } = this
    const row = OPS[op]
    const f32 = (): Expr => this.#typed(this.#recent((e) => e.dtype === 'f32') ?? this.#recent(() => true)!, 'f32')
    const i32 = (): Expr => this.#typed(this.#recent((e) => e.dtype === 'i32') ?? this.#recent(() => true)!, 'i32')
    switch (op) {
      case 'neg':
      case 'abs':
      case 'sqrt':
      case 'floor':
        return expr(op, [f32()])
      case 'not':
        return expr(op, [i32()])
      case 'cast': {
        const e = this.#recent(() => true)!
        return expr(op, [e], { dtype: e.dtype === 'f32' ? 'i32' : e.dtype === 'i32' ? 'f32' : draw.pick(['f32', 'i32']) })
      }
      case 'bitcast': {
        const e = this.#recent((x) => x.dtype !== 'u8')
        return e && expr(op, [e])
      }
      case 'where': {
        const a = draw.chance(0.7) ? f32() : i32()
        return expr(op, [this.#partner(a, 'i32'), a, this.#partner(a)])
      }
      case 'reshape':
        return this.#reshape()
      case 'permute': {
        const e = this.#recent((x) => x.shape.length > 1)
        if (e === undefined) return undefined
        const perm = e.shape.map((_, i) => i)
        for (let i = perm.length - 1; i > 0; i--) {
          const j = draw.below(i + 1)
          ;[perm[i], perm[j]] = [perm[j], perm[i]]
        }
        return expr(op, [e], { attrs: perm })
      }
      case 'expand': {
        const e = this.#recent((x) => x.shape.includes(1)) ?? this.#recent((x) => sizeOf(x.shape) < 40)
        if (e === undefined || e.shape.length > 3) return undefined
        const from = e.shape.includes(1) ? e : expr('reshape', [e], { shape: draw.chance(0.5) ? [...e.shape, 1] : [1, ...e.shape] })
        return expr(op, [from], { shape: from.shape.map((d) => (d === 1 && draw.chance(0.8) ? draw.between(1, 9) : d)) })
      }
      case 'slice': {
        const e = this.#recent((x) => x.shape.length > 0)
        if (e === undefined) return undefined
        const starts: number[] = []
        const strides: number[] = []
        const shape = e.shape.map((d) => {
          const stride = draw.pick([1, 1, 1, 2, 3, -1, -2])
          const start = draw.below(d)
          const most = stride > 0 ? Math.floor((d - 1 - start) / stride) + 1 : Math.floor(start / -stride) + 1
          starts.push(start)
          strides.push(stride)
          return draw.between(1, most)
        })
        return expr(op, [e], { shape, attrs: [...starts, ...strides] })
      }
      case 'pad': {
        const e = this.#recent((x) => x.shape.length > 0)
        if (e === undefined) return undefined
        const amount = (): number[] => e.shape.map(() => draw.pick([0, 0, 1, 2]))
        const fill = e.dtype === 'f32' ? draw.pick(EDGE_F32) : e.dtype === 'i32' ? draw.pick(EDGE_I32) >>> 0 : draw.below(256)
        return expr(op, [e], { attrs: [...amount(), ...amount(), ...amount(), fill] })
      }
      case 'concat': {
        const e = this.#recent((x) => x.shape.length > 0)
        if (e === undefined) return undefined
        const axis = draw.below(e.shape.length)
        const fits = this.pool.filter(
          (x) => x.dtype === e.dtype && x.shape.length === e.shape.length && x.shape.every((d, i) => i === axis || d === e.shape[i]),
        )
        return expr(
          op,
          Array.from({ length: draw.between(1, 4) }, () => draw.pick(fits)),
          { attrs: [axis] },
        )
      }
      case 'window': {
        const e = this.#recent((x) => x.shape.length > 0 && x.shape.length < 6)
        if (e === undefined) return undefined
        const axis = draw.below(e.shape.length)
        const dilation = draw.pick([1, 1, 2])
        const size = draw.between(1, Math.min(4, Math.floor((e.shape[axis] - 1) / dilation) + 1))
        return expr(op, [e], { attrs: [axis, size, draw.between(1, 3), dilation] })
      }
      case 'gather': {
        const e = this.#recent((x) => x.shape.length > 0)
        return e && expr(op, [e, this.#shaped(i32(), [draw.between(1, 12)])])
      }
      case 'scatterAdd': {
        const e = f32()
        if (e.shape.length === 0) return undefined
        const index = this.#shaped(i32(), [e.shape[0]])
        return expr(op, [e, index], { shape: [draw.between(1, 7), ...e.shape.slice(1)] })
      }
      case 'sum':
      case 'maxOver':
      case 'argmax': {
        const e = op === 'sum' && draw.chance(0.25) ? i32() : f32()
        return e.shape.length === 0 ? undefined : expr(op, [e], { attrs: [draw.below(e.shape.length)] })
      }
      case 'dot':
        return this.#dot(f32())
      default: {
        const onlyI32 = ['divu', 'remu', 'and', 'or', 'xor', 'shl', 'shr', 'sar', 'ltu'].includes(op)
        const onlyF32 = ['div', 'min', 'max', 'le'].includes(op)
        if (row.kind !== 'binary') throw new Error(`the fuzzer does not know ${op}\nadd it to test/fuzz/graphs.ts`)
        const a = onlyI32 || (!onlyF32 && draw.chance(0.3)) ? i32() : f32()
        const b = this.#partner(a)
        return draw.chance(0.5) ? expr(op, [a, b]) : expr(op, [b, a])
      }
    }
  }

  #reshape(): Expr | undefined {
    const { draw } = this
    const e = this.#recent(() => true)!
    let left = sizeOf(e.shape)
    const shape: number[] = []
    while (left > 1 && shape.length < 4) {
      const divisors = Array.from({ length: left }, (_, i) => i + 1).filter((d) => left % d === 0)
      const d = draw.pick(divisors)
      shape.push(d)
      left /= d
    }
    if (left > 1) shape.push(left)
    if (shape.length < 6 && draw.chance(0.2)) shape.splice(draw.below(shape.length + 1), 0, 1)
    return expr('reshape', [e], { shape })
  }

  /** Batched or not, either operand sometimes a permuted view, sizes that fill tiles and ones that do not. */
  #dot(e: Expr): Expr {
    const { draw } = this
    const batch = draw.chance(0.4) ? [draw.between(1, 3)] : []
    const big = draw.chance(0.3)
    const [m, n, k] = [0, 0, 0].map(() => (big ? draw.between(1, 29) : draw.between(1, 7)))
    const operand = (rows: number, columns: number): Expr => {
      const turned = draw.chance(0.4)
      const source = draw.chance(0.5) ? e : this.#typed(this.#recent(() => true)!, 'f32')
      const made = this.#shaped(source, [...batch, ...(turned ? [columns, rows] : [rows, columns])])
      const rank = batch.length + 2
      return turned ? expr('permute', [made], { attrs: [...batch.map((_, i) => i), rank - 1, rank - 2] }) : made
    }
    return expr('dot', [operand(m, k), operand(k, n)])
  }
}
