// The self-test: a backend proves on this very machine that it gives the defining interpreter's bits, and how fast it is. Who fails must not work.
import {
  type Data,
  type Dtype,
  type Expr,
  expr,
  input,
  interpret,
  makeGraph,
  OP_NAMES,
  OPS,
  type OpName,
  type Shape,
  sizeOf,
  toBytes,
} from '@bitloom/graph'
import type { Backend } from './backend.ts'

export type SelfTest =
  | { readonly ok: true; readonly ops: number; readonly elements: number; readonly ms: number; readonly gflops: number }
  | { readonly ok: false; readonly reason: string }

/** Zeros, infinities, the NaN, subnormals, extremes, halves, what saturates a cast, what overflows and underflows a product. */
const EDGE_F32 = [
  0x00000000, 0x80000000, 0x7f800000, 0xff800000, 0x7fc00000, 0x00000001, 0x80000001, 0x007fffff, 0x00800000, 0x80800000, 0x7f7fffff,
  0xff7fffff, 0x3f800000, 0xbf800000, 0x3f800001, 0x3f7fffff, 0x3f000000, 0xbf000000, 0x40200000, 0x4b800001, 0x4f000000, 0xcf000000,
  0x4effffff, 0x5f000000, 0x33800000, 0x1f000000, 0x20000001, 0x40490fdb,
]
const EDGE_I32 = [0, 1, -1, 2, 3, 7, 31, 32, 33, -31, 255, 0x7fffffff, -0x80000000, 16777217, -16777217, 0x7fc00000, 0x7f800001]

/**
 * Runs every op on edge values and on shapes that fill vectors and tiles and leave rests, traced and fused, and compares all bits with `interpret`.
 * About a second; `gflops` is a 512³ product's best rate, for offers.
 */
export const selfTest = (backend: Backend): SelfTest => {
  const start = performance.now()
  let elements = 0
  try {
    for (const suite of suites()) {
      const { graph, slots } = stepOf(suite)
      const wanted = interpret(graph, slots).next
      const traced = backend.evaluate(graph, slots).next
      const program = backend.compile(graph)
      slots.forEach((tensor, s) => {
        program.write(s, toBytes(tensor))
      })
      program.step()
      const results = wanted.map((_, s) => program.read(s).slice())
      program.close()
      for (let s = 0; s < wanted.length; s++) {
        const e = graph.exprs[graph.next[s]]
        const bytes = toBytes(wanted[s])
        for (const [how, got] of [
          ['traced', toBytes(traced[s])],
          ['fused', results[s]],
        ] as const) {
          const at = bytes.findIndex((byte, i) => byte !== got[i])
          if (at >= 0)
            return {
              ok: false,
              reason: `${backend.name}: ${e.op} ${e.dtype}[${e.shape}] ${how} differs from the interpreter at element ${at >> 2}`,
            }
        }
        elements += wanted[s].length
      }
    }
  } catch (error) {
    return { ok: false, reason: `${backend.name}: ${error instanceof Error ? error.message : String(error)}` }
  }
  return { ok: true, ops: OP_NAMES.length, elements, ms: performance.now() - start, gflops: productGflops(backend) }
}

interface Suite {
  readonly exprs: readonly Expr[]
  readonly data: readonly Data[]
}

/** One step whose state slots take `exprs`, over data slots that hold `data` (which `exprs` read by those positions: data first here, moved behind). */
const stepOf = ({ exprs, data }: Suite): { graph: ReturnType<typeof makeGraph>; slots: Data[] } => {
  const states = exprs.map((e, s) => ({ name: `out${s}`, kind: 'state' as const, dtype: e.dtype, shape: e.shape }))
  const moved = new Map<Expr, Expr>()
  const types = new Map<number, { dtype: Dtype; shape: Shape }>()
  const move = (e: Expr): Expr => {
    let to = moved.get(e)
    if (to === undefined) {
      if (e.op === 'input') types.set(e.attrs[0], e)
      to = e.op === 'input' ? input(e.attrs[0] + states.length, e.dtype, e.shape) : { ...e, inputs: e.inputs.map(move) }
      moved.set(e, to)
    }
    return to
  }
  const next = exprs.map(move)
  const slots = [...states, ...data.map((_, s) => ({ name: `in${s}`, kind: 'data' as const, ...types.get(s)! }))]
  const graph = makeGraph(slots, next, expr('const', [], { dtype: 'i32', attrs: [0] }))
  const zeros = exprs.map((e) => (e.dtype === 'f32' ? new Float32Array(sizeOf(e.shape)) : new Int32Array(sizeOf(e.shape))))
  return { graph, slots: [...zeros, ...data] }
}

/** Words that never repeat soon (a Weyl sequence, mixed); most are ordinary numbers when read as f32 around 1. */
const words = (n: number, seed: number): Uint32Array => {
  let state = seed
  return Uint32Array.from({ length: n }, () => {
    state = (state + 0x9e3779b9) >>> 0
    const mixed = Math.imul(state ^ (state >>> 15), 0x85ebca6b)
    return (mixed ^ (mixed >>> 13)) >>> 0
  })
}
const ordinary = (n: number, seed: number): Float32Array => Float32Array.from(words(n, seed), (w) => w / 2 ** 31 - 1)

const floats = (bits: readonly number[]): Float32Array => new Float32Array(Uint32Array.from(bits, (b) => b >>> 0).buffer)

function* suites(): Generator<Suite> {
  yield elementwise('f32', EDGE_F32)
  yield elementwise('i32', EDGE_I32)
  yield moves()
  yield folds()
  yield shared()
  for (const [m, k, n] of [
    [1, 9, 5],
    [5, 8, 8],
    [7, 300, 11],
    [33, 17, 1],
    [64, 40, 33],
  ])
    yield dots(m, k, n)
}

/** Every unary, binary and ternary op of a dtype over all pairs of edges. */
const elementwise = (dtype: Dtype, edges: readonly number[]): Suite => {
  const n = edges.length ** 2
  const make = (bits: number[]): Data => (dtype === 'f32' ? floats(bits) : Int32Array.from(bits))
  const a = input(0, dtype, [n])
  const b = input(1, dtype, [n])
  const c = input(2, 'i32', [n])
  const exprs: Expr[] = []
  for (const op of OP_NAMES) {
    const { kind } = OPS[op]
    const operands = kind === 'unary' ? [a] : kind === 'binary' ? [a, b] : kind === 'ternary' ? [c, a, b] : undefined
    if (operands === undefined || !accepts(op, dtype)) continue
    exprs.push(op === 'cast' ? expr(op, operands, { dtype: dtype === 'f32' ? 'i32' : 'f32' }) : expr(op, operands))
  }
  return {
    exprs,
    data: [
      make(edges.flatMap((x) => edges.map(() => x))),
      make(edges.flatMap(() => edges)),
      Int32Array.from({ length: n }, (_, i) => (i % 3) - 1),
    ],
  }
}

const FLOAT_ONLY: readonly OpName[] = ['neg', 'abs', 'sqrt', 'floor', 'div', 'min', 'max', 'le']
const WORD_ONLY: readonly OpName[] = ['not', 'divu', 'remu', 'and', 'or', 'xor', 'shl', 'shr', 'sar', 'ltu']
const accepts = (op: OpName, dtype: Dtype): boolean => !(dtype === 'f32' ? WORD_ONLY : FLOAT_ONLY).includes(op)

/** Movement, gather and scatter over [5, 7, 6], and u8 read by casts. */
const moves = (): Suite => {
  const x = input(0, 'f32', [5, 7, 6])
  const bytes = input(1, 'u8', [9, 13])
  const index = input(2, 'i32', [5])
  const turned = expr('permute', [x], { attrs: [2, 0, 1] })
  const cut = expr('slice', [x], { shape: [2, 4, 6], attrs: [4, 0, 5, -2, 2, -1] })
  const fill = 0x40a00000
  return {
    exprs: [
      turned,
      expr('reshape', [turned], { shape: [30, 7] }),
      cut,
      expr('add', [
        cut,
        expr('expand', [expr('reshape', [expr('const', [], { dtype: 'f32', attrs: [fill] })], { shape: [1, 1, 1] })], { shape: [2, 4, 6] }),
      ]),
      expr('pad', [x], { attrs: [1, 0, 2, 0, 1, 0, 0, 2, 1, fill] }),
      expr('concat', [x, x], { attrs: [1] }),
      expr('reshape', [expr('window', [x], { attrs: [1, 3, 2, 1] })], { shape: [15, 18] }),
      expr('gather', [x, index]),
      expr('scatterAdd', [x, index], { shape: [3, 7, 6] }),
      expr('cast', [expr('gather', [bytes, index])], { dtype: 'f32' }),
      expr('cast', [expr('permute', [bytes], { attrs: [1, 0] })], { dtype: 'i32' }),
      expr('mul', [
        expr('iota', [], { dtype: 'i32', shape: [4, 9], attrs: [1] }),
        expr('iota', [], { dtype: 'i32', shape: [4, 9], attrs: [0] }),
      ]),
    ],
    data: [ordinary(210, 1), Uint8Array.from(words(117, 2)), Int32Array.of(2, -1, 0, 9, 2)],
  }
}

/** Folds over each axis of [9, 11, 10], plain, with infinities and a NaN, and with their operand computed inside. */
const folds = (): Suite => {
  const shape = [9, 11, 10]
  const x = input(0, 'f32', shape)
  const y = input(1, 'f32', shape)
  const i = input(2, 'i32', shape)
  const odd = ordinary(990, 4)
  odd.set(floats(EDGE_F32), 7)
  odd.set(floats(EDGE_F32), 500)
  const exprs = [0, 1, 2].flatMap((axis) => [
    ...(['sum', 'maxOver', 'argmax'] as const).flatMap((op) => [x, y].map((of) => expr(op, [of], { attrs: [axis] }))),
    expr('sum', [expr('mul', [x, y])], { attrs: [axis] }),
    expr('sum', [i], { attrs: [axis] }),
  ])
  return { exprs, data: [ordinary(990, 3), odd, Int32Array.from(words(990, 5))] }
}

/** Tensors large enough to be cut between threads, elementwise, folded both ways, multiplied, gathered and scattered. */
const shared = (): Suite => {
  const [rows, columns] = [310, 257]
  const x = input(0, 'f32', [rows, columns])
  const index = input(1, 'i32', [rows])
  const weight = input(2, 'f32', [columns, 70])
  const scaled = expr('mul', [x, expr('add', [x, x])])
  const folded = [0, 1].map((axis) => expr('sum', [scaled], { attrs: [axis] }))
  return {
    exprs: [
      scaled,
      ...folded,
      expr('dot', [scaled, weight]),
      expr('gather', [x, index]),
      expr('scatterAdd', [scaled, index], { shape: [40, columns] }),
      expr('permute', [scaled], { attrs: [1, 0] }),
    ],
    data: [ordinary(rows * columns, 30), Int32Array.from(words(rows, 31), (w) => w % rows), ordinary(columns * 70, 32)],
  }
}

/** One product, each operand as it is and transposed. */
const dots = (m: number, k: number, n: number): Suite => {
  const transposed = (slot: number, rows: number, columns: number): Expr =>
    expr('permute', [input(slot, 'f32', [columns, rows])], { attrs: [1, 0] })
  const as = [input(0, 'f32', [m, k]), transposed(1, m, k)]
  const bs = [input(2, 'f32', [k, n]), transposed(3, k, n)]
  return {
    exprs: as.flatMap((a) => bs.map((b) => expr('dot', [a, b]))),
    data: [m * k, k * m, k * n, n * k].map((size, seed) => ordinary(size, 10 + seed)),
  }
}

/** 10^9 operations a second of an n³ product, packing and call included: the best of 25. */
export const productGflops = (backend: Backend, n = 512): number => {
  const product = expr('dot', [input(0, 'f32', [n, n]), input(1, 'f32', [n, n])])
  const { graph, slots } = stepOf({ exprs: [product], data: [ordinary(n * n, 20), ordinary(n * n, 21)] })
  const program = backend.compile(graph)
  slots.forEach((tensor, s) => {
    program.write(s, toBytes(tensor))
  })
  let best = Number.POSITIVE_INFINITY
  for (let i = 0; i < 25; i++) {
    const start = performance.now()
    program.step()
    best = Math.min(best, performance.now() - start)
  }
  program.close()
  return (2 * n ** 3) / best / 1e6
}
