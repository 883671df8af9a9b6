// A task whose solvers vanish at every stage, one after the other: each time the next best goes on from the last accepted checkpoint, by itself, and the end is the undisturbed run's.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import type { NodePlan } from '@bitloom/node'
import { type ChainEvent, escrowFor, getTask, type SignedOffer, termsFor } from '@bitloom/sdk'
import { type House, inOrder, localRoot, type Submitter, solver, startHouse, until, verifier, WINDOWS } from './network.ts'

/** One after the other; each is started when the one before it is about to fail, so that the market has it in time. */
const SOLVERS = ['never', 'training', 'claiming', 'disclosing', 'liar', 'last'] as const
const LIGHT = ['--backend', 'wasm', '--threads', '1'] as const
const planOf = (name: string): NodePlan => {
  const place = (SOLVERS as readonly string[]).indexOf(name)
  return solver(name, String(60 + 10 * place), [...LIGHT, ...(name === 'liar' ? ['--cheat', '0'] : [])])
}

let house: House
let submitter: Submitter
before(async () => {
  // a verifier first: the first node is the one by which the others find the network, and solvers are about to die here
  house = await startHouse([
    ...['one', 'two', 'three'].map((name) => ({ name, args: [...verifier(name).args, ...LIGHT] })),
    planOf('never'),
  ])
  submitter = await house.submitter()
})
after(() => house.stop())

test('solvers vanish at every stage, and the end is the undisturbed run’s', async (t) => {
  const step = inOrder(t)
  const offered = (name: string): Promise<SignedOffer> =>
    until(`an offer of ${name}`, () => submitter.node.signedOffers().find((o) => house.nameOf(o.offer.solver) === name))
  const offers = [await offered('never')]
  const enter = async (name: string): Promise<void> => {
    await house.start(planOf(name))
    offers.push(await offered(name))
  }
  await enter('training')
  house.freeze('never')
  const run = await submitter.submit({ steps: 1500, segments: 2, slices: 4, solvers: ['never'], fromMarket: true })
  const taskId = await run.taskId
  const mine = (name: string, who?: string) => (a: ChainEvent['args']) =>
    a.taskId === taskId && (who === undefined || house.nameOf(a[name]) === who)
  const handedTo = (who: string) =>
    until(`the task in the hands of ${who}`, () => run.progress.find((p) => p.type === 'handed-on' && house.nameOf(p.solver) === who))

  await step('before it confirms: its time passes, the escrow comes back whole, the next is asked', async () => {
    await until('the offer to be noticed', async () => (await getTask(house.bitloom, taskId)).status === 'offered')
    await house.pass(WINDOWS.confirmSeconds + 1)
    await house.event('Expired', mine('solver', 'never'))
    await house.kill('never')
    await handedTo('training')
  })

  await step('while it trains: the slice’s deadline passes, and costs it a part of its bond', async () => {
    await house.event('Confirmed', mine('solver', 'training'))
    await house.kill('training')
    await enter('claiming')
    assert.equal((await getTask(house.bitloom, taskId)).openClaim, 0n, 'it has claimed nothing')
    await house.pass(WINDOWS.sliceSeconds + 1)
    await house.event('DeadlineMissed', mine('solver', 'training'))
    await handedTo('claiming')
  })

  await step('with its first claim barely made: whatever verifiers make of it, the task goes on', async () => {
    const { args } = await house.event('Claimed', mine('solver', 'claiming'))
    await house.kill('claiming')
    await enter('disclosing')
    await new Promise((resolve) => setTimeout(resolve, 600)) // the submitter has seen where it stands
    await house.pass(6) // what the solver should have drawn is drawn by somebody else
    const { args: drawn } = await house.event('Drawn', (a) => a.claimId === args.claimId)
    for (const one of new Set(drawn.verifiers as string[]))
      await house.event('Sealed', (a) => a.claimId === args.claimId && a.verifier === one)
    await house.pass(WINDOWS.discloseSeconds + 6)
    const voided = await house.event('Voided', (a) => a.claimId === args.claimId)
    assert.equal(voided.args.fault, true, 'it has shown nothing of what was drawn')
    await handedTo('disclosing')
  })

  await step('with its work disclosed: the slice is accepted and paid, the next one missed', async () => {
    const { args } = await house.event('Claimed', mine('solver', 'disclosing'))
    await house.event('Disclosed', (a) => a.claimId === args.claimId)
    await house.kill('disclosing')
    await enter('liar')
    await house.event('Revealed', (a) => a.claimId === args.claimId)
    const settled = await house.event('Settled', (a) => a.claimId === args.claimId)
    assert.equal(house.nameOf(settled.args.solver), 'disclosing')
    await until('its state in our hands', () => run.progress.some((p) => p.type === 'accepted-state' && p.slice === 0))
    await house.pass(WINDOWS.sliceSeconds + 1)
    const next = await handedTo('liar')
    assert.ok(next.type === 'handed-on' && next.fromSlice === 1, 'from the last accepted checkpoint')
  })

  await step('convicted of a lie: the next one begins where the lie began', async () => {
    await enter('last')
    const convicted = await house.event('Convicted', mine('solver', 'liar'))
    assert.equal(convicted.args.taskId, taskId)
    const next = await handedTo('last')
    assert.ok(next.type === 'handed-on' && next.fromSlice === 1)
  })

  await step(
    'the last one finishes: the same root, every wei in its place, never more at stake than the budget would have allowed',
    async () => {
      const outcome = await run.outcome
      assert.equal(outcome.stateRoot, await localRoot(run.job))
      assert.deepEqual(outcome.solvers.map(house.nameOf), [...SOLVERS])
      assert.equal(await house.missingWei(), 0n)
      assert.deepEqual(house.casualties(), [])
      const worst = offers.map((o) => escrowFor(run.spec, termsFor(run.spec, o.offer))).reduce((a, b) => (a > b ? a : b))
      const ours = house.events.filter((e) => e.contract === 'Market' && e.args.taskId === taskId)
      let held = 0n
      for (const { name, args } of ours) {
        if (name === 'Offered') held += args.escrowWei as bigint
        if (name === 'Halted' || name === 'Finished') held -= args.refundWei as bigint
        assert.ok(held <= worst, `${name}: ${held} wei`)
      }
    },
  )
})
