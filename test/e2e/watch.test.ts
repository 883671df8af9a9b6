// Claims that nobody moves on: their solver and submitter are gone, the chain has forgotten the block that was to draw. And watchers that cannot pay for a dispute.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { rpc } from '@bitloom/node'
import { getAudit, getTask } from '@bitloom/sdk'
import { type House, LIGHT, type Submitter, solver, startHouse, until, verifier } from './network.ts'

/** More than the chain remembers. */
const FORGOTTEN = 300

let house: House
let submitter: Submitter
before(async () => {
  house = await startHouse([
    solver('alpha', '100', LIGHT),
    verifier('one', LIGHT),
    verifier('two', LIGHT),
    verifier('three', LIGHT),
    { name: 'poor', args: ['--role', 'whistleblower', '--deposit', '5', ...LIGHT] },
  ])
  submitter = await house.submitter()
})
after(() => house.stop())

test('a claim that its solver never drew and its submitter never watched is drawn by those who wait to be drawn, though its anchor is forgotten', async () => {
  const gone = new AbortController()
  const run = await submitter.submit({
    ...{ steps: 20, segments: 2, slices: 8, solvers: ['alpha'], signal: gone.signal },
    windows: { sliceSeconds: 30_000, sealSeconds: 3600, discloseSeconds: 3600, revealSeconds: 3600 },
  })
  const taskId = await run.taskId
  await house.event('Claimed', (a) => a.taskId === taskId)
  gone.abort()
  await assert.rejects(run.outcome, /Stopped watching/)
  // from here on only the solver moves its claims; it is put aside in the moment between a claim and its draw
  for (const name of ['one', 'two', 'three']) house.freeze(name)
  const claimId = await until('a claim that is not drawn yet', async () => {
    const { openClaim } = await getTask(house.bitloom, taskId)
    house.freeze('alpha')
    if (openClaim !== 0n && (await getAudit(house.bitloom, openClaim)).stage === 'drawing') return openClaim
    house.wake('alpha')
    for (const name of ['one', 'two', 'three']) house.wake(name)
    return undefined
  })
  for (const name of ['one', 'two', 'three']) house.freeze(name)
  const { stage, anchorBlock } = await getAudit(house.bitloom, claimId)
  assert.equal(stage, 'drawing')
  await rpc(house.embedded.chain.rpcUrl, 'anvil_mine', [`0x${FORGOTTEN.toString(16)}`])
  for (const name of ['one', 'two', 'three']) house.wake(name)
  await house.pass(60) // beyond the patience of any of them
  const drawn = await house.event('Drawn', (a) => a.claimId === claimId)
  const anchors = house.events.filter((e) => e.name === 'Anchored' && e.args.claimId === claimId).map((e) => e.args.anchorBlock as bigint)
  assert.equal(anchors[0], anchorBlock)
  assert.ok(anchors.length >= 2 && anchors.at(-1)! > anchorBlock + BigInt(FORGOTTEN), `anchors ${anchors}`)
  const { from } = await house.bitloom.chain.getTransaction({ hash: drawn.transactionHash })
  // verifiers and watchers alike, each after a while of its own
  assert.match(house.nameOf(from), /^(one|two|three|poor)$/)
  house.wake('alpha')
  await house.event('Settled', (a) => a.claimId === claimId)
  assert.equal(await house.missingWei(), 0n)
})

test('who cannot pay for a dispute does not look for one, and says so once', async () => {
  const lines = house.lines.filter((l) => l.node === 'poor')
  assert.equal(lines.filter((l) => l.event === 'cannot-watch').length, 1)
  assert.deepEqual(
    lines.filter((l) => l.event === 'checked'),
    [],
  )
  assert.deepEqual(house.casualties(), [])
})
