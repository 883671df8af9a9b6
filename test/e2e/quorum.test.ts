// A quorum of three: every verifier runs every slice by itself from its start, all must agree, and one honest one is enough against a solver that lies.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type ChainEvent, getTerms } from '@bitloom/sdk'
import { type House, LIGHT, localRoot, type Submitter, solver, startHouse, verifier } from './network.ts'

/** Code of Types.sol's Verdict. */
const SAME = 3

let house: House
let submitter: Submitter
before(async () => {
  house = await startHouse([
    solver('honest', '100', LIGHT),
    solver('liar', '80', ['--cheat', '1', ...LIGHT]),
    verifier('one', LIGHT),
    verifier('two', LIGHT),
    verifier('three', LIGHT),
  ])
  submitter = await house.submitter()
})
after(() => house.stop())

test('the lie of one slice is convicted, and every accepted slice was run whole by both verifiers, which are paid for it to the wei', async () => {
  const shape = { steps: 50, segments: 3, slices: 3 }
  const run = await submitter.submit({ ...shape, solvers: ['liar', 'honest'], assurance: 'quorum', verifiers: 2 })
  const taskId = await run.taskId
  const outcome = await run.outcome
  assert.equal(outcome.stateRoot, await localRoot(run.job))
  assert.deepEqual(outcome.solvers.map(house.nameOf), ['liar', 'honest'])
  const named = (name: string): ChainEvent[] => house.events.filter((e) => e.name === name && e.args.taskId === taskId)
  const [convicted, ...more] = named('Convicted')
  assert.equal(house.nameOf(convicted!.args.solver), 'liar')
  assert.equal(more.length, 0)
  const { auditFeeWei: dear } = await getTerms(house.bitloom, taskId)
  const settled = named('Settled')
  assert.deepEqual(
    settled.map((e) => [Number(e.args.slice), house.nameOf(e.args.solver)]),
    [
      [0, 'liar'],
      [1, 'honest'],
      [2, 'honest'],
    ],
  )
  for (const { args } of settled) {
    const { claimId } = args
    const about = house.events.filter((e) => e.contract === 'Audit' && e.args.claimId === claimId)
    const words = about.filter((e) => e.name === 'Revealed')
    assert.deepEqual(
      words.map((e) => e.args.verdict),
      [SAME, SAME],
      `claim ${claimId}: both places are filled and agree`,
    )
    assert.equal(new Set(words.map((e) => e.args.verifier)).size, 2)
    assert.equal(new Set(words.map((e) => e.args.digest)).size, 1, 'of the same segments')
    const [disclosed] = about.filter((e) => e.name === 'Disclosed')
    assert.deepEqual((disclosed!.args.segments as number[]).map(Number), [0, 1, 2])
    if (house.nameOf(args.solver) === 'honest') assert.equal(args.verifiersWei, 2n * 3n * dear)
  }
  assert.deepEqual(
    house.events.filter((e) => e.name === 'SeatSlashed'),
    [],
    'no verifier lost anything',
  )
  assert.equal(await house.missingWei(), 0n, 'money in minus money out and held')
  assert.deepEqual(house.casualties(), [])
  // each place ran its slice whole and from its start; of the liar's second slice as far as the lie at least
  const steps = await Promise.all(
    ['one', 'two', 'three'].map(async (name) => {
      const { readings } = (await house.end(name)) as unknown as { readings: { audit: { steps: number } } }
      return readings.audit.steps
    }),
  )
  const whole = 2 * 3 * shape.steps * shape.segments
  const ran = steps.reduce((a, b) => a + b, 0)
  // no upper bound: a check that is interrupted (data not there yet, a node that starts again) begins its segment anew
  assert.ok(ran > whole, `${ran} steps; ${whole} for the accepted slices alone`)
})
