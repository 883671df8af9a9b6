// Whole games on a graph with every op in it: a lie is planted in every kind of place, and the honest side wins in both roles.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  bitsOf,
  constF32,
  type Data,
  type Expr,
  expr,
  type Graph,
  input,
  interpret,
  makeGraph,
  OP_NAMES,
  type Slot,
  type Stated,
  sizeOf,
} from '@bitloom/graph'
import { cheat, type Lie } from './alter.ts'
import { elementOf, type Knowledge, replay } from './knowledge.ts'
import { leafOf } from './leaf.ts'
import { type Match, openGame, play } from './match.ts'
import { differs } from './player.ts'
import { terms } from './scalar.ts'

/** A graph in which the result of every op is kept in a state slot of its own, so that no lie goes unseen. */
function everyOp(): { graph: Graph; slots: Data[] } {
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
  const numbers = (n: number): Float32Array => Float32Array.from({ length: n }, (_, i) => Math.sin(i + 1) * 3 + (i % 7 === 0 ? 2 : 0))
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

const STEPS = 3
/** A kept result is overwritten by the next step, so a lie about one shows in the segment's end only when it is told in the last. */
const LAST = STEPS - 1
const { graph, slots } = everyOp()
const options = { graph, slots, steps: STEPS, evaluate: interpret }
const right = replay(options)

const match = (solver: Knowledge, challenger: Knowledge): Match => play(openGame(solver, STEPS), solver, challenger)

/** Plays a lie in both roles: told by the solver it is convicted, told by the challenger it gets nowhere. */
function convicts(lie: Lie): Match {
  const liar = cheat(options, lie)
  assert.ok(differs(right, STEPS, openGame(liar, STEPS).hi), 'the lie changes where the segment ends')
  const told = match(liar, right)
  assert.ok(told.verdict.convicted, `${JSON.stringify(lie)}: ${told.verdict.ground}, stuck: ${told.stuck}`)
  assert.equal(told.stuck, undefined)
  assert.equal(told.game.step, lie.step)
  const slandered = match(right, liar)
  assert.ok(!slandered.verdict.convicted && slandered.verdict.ground === 'clock', 'an honest solver is never convicted')
  return told
}

const opAt = (at: number): string => graph.exprs[at]!.op

test('the graph has every op', () => {
  assert.deepEqual(
    OP_NAMES.filter((name) => !graph.exprs.some((e) => e.op === name)),
    [],
  )
})

test('a wrong first and last element of every expr is found and judged', () => {
  const exchanges: number[] = []
  graph.exprs.forEach((e, expr) => {
    const step = LAST
    for (const element of new Set([0, sizeOf(e.shape) - 1])) {
      const word = elementOf(graph, expr, element, right.trace(step).tensor(expr)) ^ (e.dtype === 'u8' ? 1 : 0x40000001)
      const liar = cheat(options, { kind: 'expr', step, expr, element, word: word >>> 0 })
      const told = match(liar, right)
      const what = `${opAt(expr)} at ${expr}, element ${element}`
      if (!differs(right, STEPS, openGame(liar, STEPS).hi)) {
        // Nothing that is kept depends on this element, so the claim is as right as any.
        assert.ok(!graph.next.includes(expr), what)
        continue
      }
      assert.ok(told.verdict.convicted, `${what}: ${told.verdict.ground}, stuck: ${told.stuck}`)
      assert.equal(told.verdict.expr, expr, what)
      assert.equal(told.verdict.ground, e.op === 'input' ? 'input' : 'scalar', what)
      if (e.op !== 'input') {
        assert.equal(told.verdict.element, element, what)
        assert.equal(told.verdict.claimed, word >>> 0, what)
        assert.equal(told.verdict.computed, elementOf(graph, expr, element, right.trace(step).tensor(expr)), what)
      }
      const slandered = match(right, liar)
      assert.ok(!slandered.verdict.convicted, `${what}: an honest solver convicted`)
      exchanges.push(told.exchanges)
    }
  })
  assert.ok(exchanges.length > 100, `${exchanges.length} games`)
  console.log(`# ${exchanges.length} games, ${Math.min(...exchanges)} to ${Math.max(...exchanges)} reveals of the solver's each`)
})

test('a fold that goes wrong at its first, a middle or its last term is convicted at that term', () => {
  for (const op of ['sum', 'maxOver', 'argmax', 'dot', 'scatterAdd']) {
    const expr = graph.exprs.findIndex((e) => e.op === op)
    const count = terms(leafOf(graph, expr))
    for (const term of [0, 1, Math.floor(count / 2), count - 1]) {
      const element = 1
      const word = (elementOf(graph, expr, element, right.trace(LAST).tensor(expr)) ^ 0x00400001) >>> 0
      const { verdict } = convicts({ kind: 'expr', step: LAST, expr, element, word, term })
      assert.deepEqual([verdict.ground, verdict.expr, verdict.element, verdict.term], ['scalar', expr, element, term], op)
    }
  }
})

test('another NaN and the other zero are lies', () => {
  const nan = graph.exprs.findIndex((e, at) => e.op === 'sqrt' && e.shape.length === 0 && graph.next.includes(at))
  for (const word of [0x7fc00001, 0xffc00000, 0x7f800001, 0x7f800000])
    assert.equal(convicts({ kind: 'expr', step: LAST, expr: nan, element: 0, word }).verdict.computed, 0x7fc00000)
  const minusZero = graph.exprs.findIndex((e, at) => e.op === 'neg' && e.shape.length === 0 && graph.next.includes(at))
  assert.equal(convicts({ kind: 'expr', step: LAST, expr: minusZero, element: 0, word: 0 }).verdict.computed, 0x80000000)
})

test('a slot that is handed on with another element is convicted by the trace itself', () => {
  for (const slot of [0, 2, graph.next.length - 1]) {
    const { verdict } = convicts({ kind: 'slot', step: slot < 3 ? 1 : LAST, slot, element: 0, word: 0x3f800000 })
    assert.deepEqual([verdict.ground, verdict.element, verdict.expr], ['state', slot, graph.next[slot]])
  }
})

test('a state slot or a data slot read as something else is convicted by its root', () => {
  const inputs = graph.exprs.flatMap((e, at) => (e.op === 'input' ? [at] : []))
  for (const expr of inputs) {
    const e = graph.exprs[expr]!
    const word = e.dtype === 'u8' ? 201 : 0x01020304
    const { verdict } = convicts({ kind: 'expr', step: LAST, expr, element: 1, word })
    assert.deepEqual([verdict.ground, verdict.expr, verdict.element], ['input', expr, e.attrs[0]])
  }
})

test('a probe hashed from something else is convicted by the chain', () => {
  for (const step of [0, STEPS - 1]) assert.equal(convicts({ kind: 'probe', step }).verdict.ground, 'probe')
})

test('what stands where only padding may stand is convicted at once', () => {
  const big = graph.exprs.findIndex((e) => e.op === 'abs' && sizeOf(e.shape) === 9000)
  const small = graph.exprs.findIndex((e) => e.op === 'permute' && sizeOf(e.shape) === 12)
  assert.equal(convicts({ kind: 'padding', step: 1, tree: 'trace' }).verdict.ground, 'padding')
  assert.equal(convicts({ kind: 'padding', step: 1, tree: 'state' }).verdict.ground, 'padding')
  assert.equal(convicts({ kind: 'padding', step: 1, tree: { expr: big } }).verdict.ground, 'padding')
  assert.equal(convicts({ kind: 'tail', step: 1, expr: small }).verdict.ground, 'tail')
})

test('two honest players have nothing to quarrel about', () => {
  assert.equal(differs(right, STEPS, openGame(replay(options), STEPS).hi), false)
  assert.equal(match(right, replay(options)).verdict.convicted, false)
})
