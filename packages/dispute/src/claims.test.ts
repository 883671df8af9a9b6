// Every legal move of a game, on the alphabet machine: who wins, what is refused, and what the clocks do.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { sha256 } from '@bitloom/graph'
import { attack, claims, honest } from './alphabet.ts'
import type { Move, Pick } from './game.ts'
import { openGame, play } from './match.ts'
import { apply, isTurn } from './moves.ts'
import { challengerMove, solverMove } from './player.ts'

test('the step at which a word leaves the alphabet is found, wherever it is', () => {
  attack('az').expect('scalar', 0)
  attack('abz').expect('scalar', 1)
  attack('abcdXYZ').expect('scalar', 3)
  attack('zabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefgA').expect('scalar', 59)
  for (let at = 0; at < 40; at++) {
    const right = Array.from({ length: 41 }, (_, i) => String.fromCharCode(97 + ((i + 3) % 26)))
    const wrong = right.map((letter, i) => (i > at ? String.fromCharCode(97 + ((letter.charCodeAt(0) - 97 + 5) % 26)) : letter))
    attack(wrong.join('')).expect('scalar', at)
  }
})

test('the first of several lies is found', () => {
  attack('abxyabcd').expect('scalar', 1)
  // two lies that cancel leave the right state at the end, but the probe chain remembers
  attack('abxdef').expect('scalar', 1)
})

test('a right word withstands', () => {
  attack('ab').withstands()
  attack('abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz').withstands()
})

test('a solver that stops answering is convicted by its clock, a challenger that stops loses', () => {
  const solver = claims('abcdXYZ')
  const game = openGame(solver, 6, 100)
  assert.deepEqual(apply(game, { kind: 'timeout' }, 100), { ok: false, error: 'ClockRuns' })
  const fallen = apply(game, { kind: 'timeout' }, 101)
  assert.ok(fallen.ok && fallen.verdict?.convicted && fallen.verdict.ground === 'clock')
  const move = solverMove(game, solver)!
  assert.deepEqual(apply(game, move, 101), { ok: false, error: 'ClockRanOut' })
  const answered = apply(game, move, 100)
  assert.ok(answered.ok && answered.game.solverClock === 0 && answered.game.challengerClock === 100)
  assert.deepEqual(apply(answered.game, { kind: 'timeout' }, 200), { ok: false, error: 'ClockRuns' })
  const given = apply(answered.game, { kind: 'timeout' }, 201)
  assert.ok(given.ok && given.verdict && !given.verdict.convicted && given.game.level === 'over')
  assert.deepEqual(apply(given.game, { kind: 'timeout' }, 999), { ok: false, error: 'WrongMove' })
})

test('a clock runs only on its own side and over all of its moves', () => {
  const solver = claims('abcdXYZ')
  const challenger = honest('abcdXYZ')
  const first = apply(openGame(solver, 6, 100), solverMove(openGame(solver, 6, 100), solver)!, 30)
  assert.ok(first.ok)
  const values = (solverMove(openGame(solver, 6, 100), solver) as Extract<Move, { kind: 'bisect' }>).values
  const second = apply(first.game, challengerMove(first.game, [{ level: 'steps', values }], challenger)!, 90)
  assert.ok(second.ok)
  assert.deepEqual([second.game.solverClock, second.game.challengerClock], [70, 40])
})

test('every move out of its turn is refused and changes nothing', () => {
  const kinds = ['bisect', 'bisectFold', 'open', 'descend', 'showChunk', 'pick', 'enterState', 'showExpr', 'pickElement'] as const
  const more = ['proveProbe', 'proveInput', 'provePadding', 'proveState', 'proveTail', 'proveElement', 'proveTerm'] as const
  const { moves } = attack('abcdXYZ').match
  const sample = new Map(moves.map((m) => [m.move.kind, m.move]))
  for (const { before } of moves)
    for (const kind of [...kinds, ...more]) {
      const move = sample.get(kind)
      if (!move || isTurn(before, kind)) continue
      assert.deepEqual(apply(before, move, before.movedAt), { ok: false, error: 'WrongMove' }, `${kind} at ${before.level}`)
    }
})

test('each move is refused by name when what it carries is wrong', () => {
  const wrong = sha256(new Uint8Array([7]))
  const errors = new Set<string>()
  const refused = (before: Parameters<typeof apply>[0], move: Move, error: string): void => {
    assert.deepEqual(apply(before, move, before.movedAt), { ok: false, error }, `${move.kind} at ${before.level}`)
    errors.add(`${move.kind} ${error}`)
  }
  for (const { before, move } of attack('abcdXYZ').match.moves)
    switch (move.kind) {
      case 'bisect':
        refused(before, { ...move, values: move.values.slice(1) }, 'WrongCount')
        break
      case 'pick':
      case 'showExpr': {
        const { index, path } = move.picked
        const spoilt = (picked: Partial<Pick>): Move => ({ ...move, picked: { ...move.picked, ...picked } })
        refused(before, spoilt({ index: 64 }), 'WrongIndex')
        refused(before, spoilt({ path: path.slice(1) }), 'WrongCount')
        refused(before, spoilt({ path: [wrong, ...path.slice(1)] }), 'NotProven')
        refused(before, spoilt({ index: (index + 1) % 4 }), 'NotProven')
        if (move.kind === 'pick') break
        refused(before, { kind: 'pick', picked: move.picked }, 'AtBottom')
        refused(before, { kind: 'provePadding', picked: move.picked }, 'WrongIndex')
        refused(before, { ...move, leaf: move.leaf.slice(1) }, 'NotProven')
        refused(before, { ...move, proof: move.proof.slice(1) }, 'NotProven')
        const source = { leaf: move.leaf, proof: move.proof, preState: wrong, preCommit: wrong, slot: { value: wrong, proof: [] } }
        refused(before, { kind: 'proveInput', picked: move.picked, source }, 'NotInput')
        refused(before, { kind: 'enterState', postState: wrong, postCommit: wrong }, 'EndDiffers')
        const opened = { preState: wrong, preChain: wrong, postState: wrong, postChain: wrong }
        refused(before, { kind: 'proveProbe', opened, probe: { value: wrong, proof: [] } }, 'StartDiffers')
        break
      }
      case 'open':
        refused(before, { ...move, opened: { ...move.opened, preChain: wrong } }, 'StartDiffers')
        refused(before, { ...move, opened: { ...move.opened, postState: wrong } }, 'EndDiffers')
        refused(before, { ...move, values: move.values.slice(1) }, 'WrongCount')
        break
      case 'descend':
        refused(before, { ...move, values: [...move.values, wrong] }, 'WrongCount')
        refused(before, { ...move, values: move.values.map(() => wrong) }, 'RootDiffers')
        break
      case 'showChunk':
        refused(before, { ...move, chunk: move.chunk.slice(1) }, 'ChunkLength')
        refused(before, { ...move, chunk: move.chunk.map((b) => b ^ 1) }, 'ChunkDiffers')
        break
      case 'proveElement': {
        const { path } = move.picked
        refused(before, { kind: 'pickElement', picked: move.picked }, 'AtBottom')
        refused(before, { kind: 'proveTail', picked: { index: 0, path } }, 'NoFault')
        refused(before, { ...move, picked: { index: 1, path } }, 'WrongIndex') // one letter only: 255 words of the chunk are padding
        refused(before, { ...move, picked: { index: 256, path } }, 'WrongIndex')
        refused(before, { ...move, picked: { index: 0, path: path.slice(1) } }, 'WrongCount')
        refused(before, { ...move, picked: { index: 0, path: [wrong, ...path.slice(1)] } }, 'NotProven')
        refused(before, { ...move, leaf: move.leaf.slice(1) }, 'LeafDiffers')
        refused(before, { ...move, operands: [] }, 'OperandMissing')
        refused(before, { ...move, operands: [...move.operands, ...move.operands] }, 'OperandsLeft')
        refused(before, { ...move, operands: move.operands.map((o) => ({ ...o, traceProof: [] })) }, 'BadRoot')
        break
      }
    }
  assert.ok(errors.size > 18)
})

test('against an honest solver no challenger gets further than its clock', () => {
  const word = 'abcdefghijklmnopqrstuvwxyzabcdefghijklmnop'
  const solver = honest(word)
  const steps = word.length - 1
  for (const lied of ['abX', 'abcdefghijklmnopqrstuvwxyzabcdefghijklmnoX', 'aX']) {
    const believer = claims(lied.padEnd(word.length, 'q'))
    const match = play(openGame(solver, steps), solver, believer)
    assert.ok(!match.verdict.convicted)
    assert.equal(match.verdict.ground, 'clock')
    assert.equal(match.stuck, 'NoFault')
  }
})
