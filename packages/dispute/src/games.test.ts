// Whole games on a graph with every op in it: a lie is planted in every kind of place, and the honest side wins in both roles.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { interpret, OP_NAMES, sizeOf } from '@bitloom/graph'
import { cheat, type Lie } from './alter.ts'
import { everyOp } from './everyop.ts'
import { elementOf, type Knowledge, replay } from './knowledge.ts'
import { leafOf } from './leaf.ts'
import { type Match, openGame, play } from './match.ts'
import { differs } from './player.ts'
import { terms } from './scalar.ts'

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
