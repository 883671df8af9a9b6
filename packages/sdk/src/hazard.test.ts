// A submitter's traps are seen before anything is at stake, and what our own client asks for is none.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { expr, input, makeGraph, tensorRoot } from '@bitloom/graph'
import { LOCAL_SECONDS_PER_MOVE, solverHazard, solverMoves, verifierHazard } from './hazard.ts'
import { LOCAL_WINDOWS, makeSpec, termsFor } from './spec.ts'

const [w, x] = [input(0, 'f32', [64, 64]), input(1, 'f32', [64, 64])]
const probe = expr('sum', [expr('sum', [w], { attrs: [1] })], { attrs: [0] })
const graph = makeGraph(
  [
    { name: 'w', kind: 'state', dtype: 'f32', shape: [64, 64] },
    { name: 'x', kind: 'data', dtype: 'f32', shape: [64, 64] },
  ],
  [expr('dot', [w, x])],
  probe,
)
const roots = [tensorRoot(new Uint8Array(64 * 64 * 4))]
const spec = makeSpec(graph, roots, roots, {
  ...{ stepsPerCheckpoint: 40, checkpointsPerSlice: 4, slices: 3, assurance: 'spot', verifiers: 2, segments: 1, windows: LOCAL_WINDOWS },
})
const terms = termsFor(spec, { weiPerTeraop: 10n ** 18n })
const footing = { secondsPerMove: LOCAL_SECONDS_PER_MOVE, operationsPerSecond: 10n ** 9n }

test('what our own client submits is no hazard', () => {
  assert.equal(solverHazard(spec, terms, graph, footing), undefined)
})

test('a clock that runs out whatever the solver does, windows too short to be seen, and a bond out of proportion are named', () => {
  // 2 bisections of 40 steps, then within the step: open, 1 of the trace, 1 of 16 chunks, the chunk, 2 of the fold's 64 terms
  assert.equal(solverMoves(spec, graph), 2 + 6)
  const of = (over: Partial<typeof spec>, bond = terms.bondWei) =>
    solverHazard({ ...spec, ...over }, { ...terms, bondWei: bond }, graph, footing)
  assert.match(of({ clockSeconds: 20 })!, /clockSeconds is 20; a dispute takes up to 8 moves of 4 seconds/)
  assert.equal(of({ clockSeconds: 32 }), undefined)
  assert.match(of({ discloseSeconds: 7 })!, /discloseSeconds is 7/)
  assert.match(of({ operationsPerStep: 10n ** 12n })!, /sliceSeconds is 180; a slice of 160000000000000 operations takes 160000/)
  assert.match(of({}, terms.bondWei + 1n)!, /the bond is/)
  assert.match(
    solverHazard(spec, terms, graph, { ...footing, secondsPerMove: 24 })!,
    /8 moves of 24 seconds/,
    'a chain with blocks of 12 seconds',
  )
})

test('a clock in which two segments cannot be run again, and a time to seal in which the drawn ones cannot be checked, are named', () => {
  const slow = { ...spec, operationsPerStep: 10n ** 9n, sliceSeconds: 10_000 }
  const hazard = (clockSeconds: number) =>
    solverHazard({ ...slow, clockSeconds }, termsFor(slow, { weiPerTeraop: 10n ** 18n }), graph, footing)
  assert.match(hazard(111)!, /clockSeconds is 111; running 2 segments again takes 80, and their disputes up to 8 moves of 4 seconds/)
  assert.equal(hazard(112), undefined)
  const checks = (sealSeconds: number, segments: number) => verifierHazard({ ...slow, sealSeconds }, segments, footing, 10)
  assert.match(checks(97, 2)!, /sealSeconds is 97; fetching, running 2 segments \(80 seconds\) and sealing take 98/)
  assert.equal(checks(98, 2), undefined)
  assert.equal(checks(58, 1), undefined)
  assert.match(verifierHazard({ ...slow, revealSeconds: 7 }, 1, footing)!, /revealSeconds is 7; a reveal takes up to 8/)
})
