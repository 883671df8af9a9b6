// The roles as tables: this state of the chain, that action.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import type { Address, Hex } from 'viem'
import { choreOf, GRACE_SECONDS } from './chores.ts'
import { patience, SPREAD_SECONDS } from './keeper.ts'
import { solverActions } from './solver.ts'
import { LAST_SECONDS, verifierActions } from './verifier.ts'
import type { AuditView, GameView, TaskView } from './views.ts'

const [me, other] = ['0x00000000000000000000000000000000000000aa', '0x00000000000000000000000000000000000000bb'] as [Address, Address]
const root = `0x${'11'.repeat(32)}` as Hex
const task: TaskView = {
  taskId: 1n,
  status: 'running',
  submitter: other,
  solver: me,
  slice: 2,
  slices: 5,
  acceptedState: root,
  deadline: 1000,
  claimId: 0n,
}
const audit: AuditView = {
  claimId: 7n,
  stage: 'sealing',
  deadline: 500,
  drawable: false,
  assignments: [{ segment: 3, verifier: me }],
  sealed: [],
  revealed: [],
}
const game: GameView = {
  gameId: 4n,
  claimId: 7n,
  segment: 3,
  solver: me,
  challenger: other,
  decided: false,
  solverToMove: true,
  deadline: 300,
}
const ready = { contents: true, trained: 2 }

test('a solver fetches before it confirms, and confirms nothing it refused', () => {
  const offered = { ...task, status: 'offered' as const, slice: 0 }
  assert.deepEqual(solverActions(me, offered, undefined, [], { contents: false, trained: 0 }, 10), [{ do: 'fetch' }])
  assert.deepEqual(solverActions(me, offered, undefined, [], { contents: true, trained: 0 }, 10), [{ do: 'confirm' }])
  assert.deepEqual(solverActions(me, offered, undefined, [], { contents: false, refused: 'too big', trained: 0 }, 10), [])
  assert.deepEqual(solverActions(me, offered, undefined, [], { contents: true, trained: 0 }, 1001), [], 'too late to confirm')
})

test('a solver claims what it has trained, and trains one slice ahead at most', () => {
  assert.deepEqual(solverActions(me, task, undefined, [], { contents: true, trained: 3 }, 10), [{ do: 'claim' }, { do: 'train', slice: 3 }])
  assert.deepEqual(solverActions(me, { ...task, claimId: 7n }, audit, [], { contents: true, trained: 4 }, 10), [])
  assert.deepEqual(solverActions(me, { ...task, slice: 4 }, undefined, [], { contents: true, trained: 5 }, 10), [{ do: 'claim' }])
})

test('a solver draws when it can, discloses when asked, settles when passed and nobody disputes', () => {
  const claimed = { ...task, claimId: 7n }
  const last = { contents: true, trained: 4 }
  assert.deepEqual(solverActions(me, claimed, { ...audit, stage: 'drawing' }, [], last, 10), [])
  assert.deepEqual(solverActions(me, claimed, { ...audit, stage: 'drawing', drawable: true }, [], last, 10), [{ do: 'draw', claimId: 7n }])
  assert.deepEqual(solverActions(me, claimed, { ...audit, stage: 'disclosing' }, [], last, 10), [{ do: 'disclose', claimId: 7n }])
  assert.deepEqual(solverActions(me, claimed, { ...audit, stage: 'passed' }, [], last, 10), [{ do: 'settle' }])
  assert.deepEqual(solverActions(me, claimed, { ...audit, stage: 'passed' }, [{ ...game, solverToMove: false }], last, 10), [])
  assert.deepEqual(solverActions(me, claimed, audit, [], last, 501), [{ do: 'redraw', claimId: 7n }])
})

test('a solver answers every dispute first, and takes the win when the challenger stalls', () => {
  const two = [game, { ...game, gameId: 5n }, { ...game, gameId: 6n, solverToMove: false }]
  assert.deepEqual(solverActions(me, { ...task, claimId: 7n }, audit, two, { contents: true, trained: 4 }, 301), [
    { do: 'defend', gameId: 4n },
    { do: 'defend', gameId: 5n },
    { do: 'timeout', gameId: 6n },
  ])
})

test('a solver lets go of a task that is no longer its own', () => {
  assert.deepEqual(solverActions(other, task, undefined, [], ready, 10), [{ do: 'drop' }])
  assert.deepEqual(solverActions(me, { ...task, status: 'halted' }, undefined, [], ready, 10), [{ do: 'drop' }])
})

test('a verifier audits before it seals, seals before it reveals, and does nothing where it was not drawn', () => {
  assert.deepEqual(verifierActions(me, audit, [], {}, 10), [{ do: 'audit', claimId: 7n }])
  assert.deepEqual(verifierActions(me, audit, [], { verdict: 'same' }, 10), [{ do: 'seal', claimId: 7n }])
  assert.deepEqual(verifierActions(me, { ...audit, sealed: [me] }, [], { verdict: 'same' }, 10), [])
  assert.deepEqual(verifierActions(me, { ...audit, stage: 'revealing', sealed: [me] }, [], { verdict: 'same' }, 10), [
    { do: 'reveal', claimId: 7n },
  ])
  assert.deepEqual(
    verifierActions(me, { ...audit, stage: 'revealing', sealed: [other] }, [], { verdict: 'same' }, 10),
    [],
    'it never sealed',
  )
  assert.deepEqual(verifierActions(other, audit, [], {}, 10), [])
})

test('a verifier that cannot know in time seals that it could not, since silence costs it a part of its seat', () => {
  assert.deepEqual(verifierActions(me, audit, [], {}, 500 - LAST_SECONDS), [{ do: 'audit', claimId: 7n }])
  assert.deepEqual(verifierActions(me, audit, [], {}, 501 - LAST_SECONDS), [{ do: 'concede', claimId: 7n }])
  assert.deepEqual(verifierActions(me, audit, [], { verdict: 'same' }, 499), [{ do: 'seal', claimId: 7n }])
  assert.deepEqual(verifierActions(me, audit, [], {}, 501), [], 'too late: the chain would refuse it')
  assert.deepEqual(verifierActions(other, audit, [], {}, 499), [])
})

test('a verifier that said different challenges once it has revealed, then presses, then takes a stalled game', () => {
  const after = { ...audit, stage: 'challenging' as const, sealed: [me], revealed: [me] }
  const mine = { ...game, solver: other, challenger: me }
  assert.deepEqual(verifierActions(me, after, [], { verdict: 'different', different: 3 }, 10), [
    { do: 'challenge', claimId: 7n, segment: 3 },
  ])
  assert.deepEqual(verifierActions(me, after, [mine], { verdict: 'different', different: 3 }, 10), [])
  assert.deepEqual(verifierActions(me, after, [{ ...mine, solverToMove: false }], { verdict: 'different', different: 3 }, 10), [
    { do: 'press', gameId: 4n },
  ])
  assert.deepEqual(verifierActions(me, after, [mine], { verdict: 'different', different: 3 }, 301), [{ do: 'timeout', gameId: 4n }])
})

test('a verifier that sealed different challenges before the solver discloses, so that the solver cannot flee into a lapse', () => {
  const shut = { ...audit, stage: 'disclosing' as const, sealed: [me] }
  const different = { verdict: 'different', different: 3 } as const
  assert.deepEqual(verifierActions(me, { ...audit, sealed: [me] }, [], different, 10), [], 'others may still copy while sealing is open')
  assert.deepEqual(verifierActions(me, shut, [], different, 10), [{ do: 'challenge', claimId: 7n, segment: 3 }])
  assert.deepEqual(verifierActions(me, { ...shut, sealed: [other] }, [], different, 10), [], 'it never sealed')
  assert.deepEqual(verifierActions(me, shut, [{ ...game, solver: other, challenger: me }], different, 10), [])
})

test('a verifier that may have met a decoy waits until the claim is opened, and then disputes what it is about, whatever it sealed', () => {
  const disclosing = { ...audit, stage: 'disclosing' as const, sealed: [me] }
  const after = { ...audit, stage: 'revealing' as const, sealed: [me] }
  assert.deepEqual(verifierActions(me, disclosing, [], { verdict: 'different', different: 3, maybeDecoy: true }, 10), [])
  assert.deepEqual(
    verifierActions(me, after, [], { verdict: 'different' }, 10),
    [{ do: 'reveal', claimId: 7n }],
    'it was one, and it was caught',
  )
  const swapped = verifierActions(me, after, [], { verdict: 'same', different: 3, maybeDecoy: false }, 10)
  assert.deepEqual(swapped, [
    { do: 'reveal', claimId: 7n },
    { do: 'challenge', claimId: 7n, segment: 3 },
  ])
})

test('games about a sealed claim stand still; a decoy is never defended, and opened in time though its audit stands still', () => {
  const claimed = { ...task, claimId: 7n }
  const sealed = { decoy: true, openBy: 400, discloseSeconds: 60 }
  const at = (stage: AuditView['stage'], over: Partial<typeof sealed>, now: number) =>
    solverActions(me, claimed, { ...audit, stage }, [game], { contents: true, trained: 4, sealed: { ...sealed, ...over } }, now)
  assert.deepEqual(at('sealing', {}, 10), [])
  assert.deepEqual(at('sealing', {}, 339), [])
  assert.deepEqual(at('sealing', {}, 340), [{ do: 'open' }])
  assert.deepEqual(at('disclosing', {}, 10), [{ do: 'disclose', claimId: 7n }])
  assert.deepEqual(at('sealing', { decoy: false }, 340), [], 'the truth is opened with its disclosure only')
  assert.deepEqual(at('sealing', { decoy: false }, 400), [])
  assert.deepEqual(at('sealing', { decoy: false }, 401), [{ do: 'defend', gameId: 4n }], 'by then its clock runs')
})

test('who moves a late claim on waits a while of its own: the drawn before the others, nobody for ever, another node each time', () => {
  const nodes = Array.from({ length: 200 }, (_, i) => `0x${String(i).padStart(40, '0')}` as Address)
  const drawn = nodes.map((node) => patience(node, 7n, 500, true))
  const others = nodes.map((node) => patience(node, 7n, 500, false))
  const { drawn: soon, others: late } = SPREAD_SECONDS
  assert.ok(drawn.every((s) => s >= GRACE_SECONDS && s < GRACE_SECONDS + soon))
  assert.ok(others.every((s) => s >= GRACE_SECONDS + soon && s < GRACE_SECONDS + late))
  assert.equal(patience(me, 7n, 500, false), patience(me, 7n, 500, false), 'the same after a restart')
  // on a chain with a block a second the first mover is seen by all but the few that wait as long as it, to a second
  const first = Math.min(...others)
  const same = others.filter((s) => s < first + 1).length
  assert.ok(same < nodes.length / 8, `${same} of ${nodes.length} would pay for one call`)
  const firstAt = (deadline: number): Address =>
    nodes.reduce((a, b) => (patience(b, 7n, deadline, false) < patience(a, 7n, deadline, false) ? b : a))
  assert.ok(new Set([500, 501, 502, 503].map(firstAt)).size > 1, 'it is not always the same one that pays')
})

test('whoever waits for an audit moves it on: draws, redraws, lapses, sweeps and settles, each when it is due and not before', () => {
  const due = (over: Partial<AuditView>, now: number, games: readonly GameView[] = []) => choreOf({ ...audit, ...over }, games, now, 0)
  assert.equal(due({ stage: 'drawing' }, 10), undefined, 'the block that seeds the draw is not there yet')
  assert.equal(due({ stage: 'drawing', drawable: true }, 10), 'draw')
  for (const [stage, chore] of [
    ['sealing', 'redraw'],
    ['disclosing', 'lapse'],
    ['challenging', 'sweep'],
    ['passed', 'settle'],
  ] as const) {
    assert.equal(due({ stage }, 500), undefined, `${stage}: on its last second`)
    assert.equal(due({ stage }, 501), chore, `${stage}: a second later`)
    assert.equal(choreOf({ ...audit, stage }, [], 500 + GRACE_SECONDS, GRACE_SECONDS), undefined, `${stage}: within the grace`)
  }
  assert.equal(due({ stage: 'passed' }, 501, [game]), undefined, 'a dispute is open')
  assert.equal(due({ stage: 'challenging' }, 501, [{ ...game, decided: true }]), 'sweep')
  assert.equal(due({ stage: 'void' }, 501), undefined)
  assert.equal(due({ stage: 'revealing' }, 501), undefined, 'the chain calls it challenging by then')
})

test('a solver ends the audit of a verifier that does not reveal', () => {
  const claimed = { ...task, claimId: 7n }
  assert.deepEqual(solverActions(me, claimed, { ...audit, stage: 'challenging' }, [], { contents: true, trained: 4 }, 501), [
    { do: 'sweep', claimId: 7n },
  ])
})
