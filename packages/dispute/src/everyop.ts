// A graph with every op in it, for tests: the result of each is kept in a state slot of its own, so that no lie about it goes unseen.

import { bitsOf, constF32, type Data, type Expr, expr, type Graph, input, makeGraph, type Slot, type Stated, sizeOf } from '@bitloom/graph'

/** The graph, and its slots before the first step. */
export function everyOp(): { graph: Graph; slots: Data[] } {
  const slots: { slot: Slot; data: Data }[] = []
  const next: Expr[] = []
  const state = (name: string, data: Float32Array | Int32Array, shape: number[]): Expr => {
    const dtype = data instanceof Float32Array ? 'f32' : 'i32'
    slots.push({ slot: { name, kind: 'state', dtype, shape }, data })
    return input(slots.length - 1, dtype, shape)
  }
  /** Keeps a result: its slot starts at zero and is only ever written. */
  const keep = (e: Expr): Expr => {
    const n = sizeOf(e.shape)
    const dtype = e.dtype === 'i32' ? 'i32' : 'f32'
    slots.push({
      slot: { name: `kept${next.length}`, kind: 'state', dtype, shape: e.shape },
      data: dtype === 'i32' ? new Int32Array(n) : new Float32Array(n),
    })
    next.push(e)
    return e
  }
  // Multiples of 2^-21 in [-4, 4) out of an integer hash: exact in f32, and the same on every machine, which a library's sine need not be.
  const numbers = (n: number): Float32Array =>
    Float32Array.from({ length: n }, (_, i) => ((Math.imul(i + 1, 0x9e3779b1) >>> 8) - 2 ** 23) / 2 ** 21)
  const op = (name: Parameters<typeof expr>[0], inputs: Expr[], stated: Stated = {}): Expr => keep(expr(name, inputs, stated))
  const a = state('a', numbers(12), [3, 4])
  const k = state('k', Int32Array.from([5, -3, 0, 7, -11, 2, 1, 33]), [8])
  const big = state('big', numbers(9000), [90, 100])
  // the slots above are fed by themselves, a little changed
  next.push(expr('sub', [a, expr('mul', [a, a])]), expr('xor', [k, expr('not', [k])]), expr('abs', [big]))
  const DATA = slots.length + 100 // renumbered below: data slots come last
  const bytes = input(DATA, 'u8', [6, 5])
  const rows = input(DATA + 1, 'i32', [5])

  for (const name of ['neg', 'abs', 'sqrt', 'floor'] as const) op(name, [a])
  const b = op('add', [a, expr('expand', [expr('reshape', [constF32(0.25)], { shape: [1, 1] })], { shape: [3, 4] })])
  for (const name of ['sub', 'mul', 'div', 'min', 'max', 'lt', 'le', 'eq'] as const) op(name, [a, b])
  op('not', [k])
  op('cast', [k], { dtype: 'f32' })
  op('cast', [a], { dtype: 'i32' })
  op('bitcast', [a])
  const cast = op('cast', [bytes], { dtype: 'f32' })
  op('cast', [expr('reshape', [expr('slice', [bytes], { shape: [2, 5], attrs: [1, 0, 2, 1] })], { shape: [10] })], { dtype: 'i32' })
  const k2 = op('add', [k, expr('iota', [], { dtype: 'i32', shape: [8], attrs: [0] })])
  for (const name of ['sub', 'mul', 'divu', 'remu', 'and', 'or', 'xor', 'shl', 'shr', 'sar', 'lt', 'ltu', 'eq'] as const) op(name, [k, k2])
  op('where', [expr('lt', [a, b]), b, a])
  op('reshape', [a], { shape: [2, 6] })
  op('permute', [a], { attrs: [1, 0] })
  op('expand', [expr('reshape', [k], { shape: [8, 1] })], { shape: [8, 3] })
  op('slice', [a], { shape: [2, 2], attrs: [0, 3, 2, -2] })
  op('pad', [a], { attrs: [1, 0, 0, 2, 1, 0, bitsOf(0.5)] })
  op('concat', [a, expr('slice', [b], { shape: [1, 4], attrs: [1, 0, 1, 1] })], { attrs: [0] })
  op('window', [big], { attrs: [1, 10, 30, 2] })
  const gathered = op('gather', [cast, rows])
  op('scatterAdd', [gathered, rows], { shape: [7, 5] })
  op('sum', [big], { attrs: [1] })
  op('sum', [k], { attrs: [0] })
  op('maxOver', [big], { attrs: [0] })
  op('argmax', [big], { attrs: [1] })
  op('dot', [big, expr('permute', [big], { attrs: [1, 0] })])
  const c = op('const', [], { dtype: 'f32', attrs: [bitsOf(0.75)] })
  op('iota', [], { dtype: 'i32', shape: [3, 4], attrs: [1] })
  const nan = op('div', [expr('sub', [c, c]), expr('sub', [c, c])])
  op('neg', [expr('sub', [c, c])])
  op('sqrt', [expr('neg', [c])])

  // a kept expr's slot must stand where its `next` stands: the three fed slots come first, as they were made
  const data: { slot: Slot; data: Data }[] = [
    { slot: { name: 'bytes', kind: 'data', dtype: 'u8', shape: [6, 5] }, data: Uint8Array.from({ length: 30 }, (_, i) => (i * 37) % 256) },
    { slot: { name: 'rows', kind: 'data', dtype: 'i32', shape: [5] }, data: Int32Array.from([3, 0, 9, 3, -1]) },
  ]
  const all = [...slots, ...data]
  const renumber = new Map<Expr, Expr>()
  const moved = (e: Expr): Expr => {
    let out = renumber.get(e)
    if (!out) {
      const attrs = e.op === 'input' && e.attrs[0]! >= DATA ? [e.attrs[0]! - DATA + slots.length] : e.attrs
      out = { ...e, attrs, inputs: e.inputs.map(moved) }
      renumber.set(e, out)
    }
    return out
  }
  const probe = expr('bitcast', [expr('reshape', [nan], { shape: [1] })])
  return {
    graph: makeGraph(
      all.map((s) => s.slot),
      next.map(moved),
      moved(probe),
    ),
    slots: all.map((s) => s.data),
  }
}
