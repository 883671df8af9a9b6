// What goes wrong on a network that means well: processes die, freeze and come back, somebody stalls, the chain is silent. Nobody loses a wei or a bit.

import assert from 'node:assert/strict'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { claimTree } from '@bitloom/dispute'
import { fromHex, proofOf, toHex } from '@bitloom/graph'
import { loadKey, openStore } from '@bitloom/node'
import { parseContact } from '@bitloom/node/contact'
import { findBook } from '@bitloom/node/exchange'
import { startPeers } from '@bitloom/node/network/peers'
import { type ChainEvent, challenge, challengeBondWei, connect, deposit, freeOf, getAudit, getClaim, getTask, getTerms } from '@bitloom/sdk'
import { type House, inOrder, localRoot, type Run, type Submitter, solver, startHouse, until, verifier, WINDOWS } from './network.ts'

/** How long the chain is silent: 60 in a longer run. */
const SILENCE_SECONDS = Number(process.env.BITLOOM_TEST_SILENCE ?? 20)
/** Codes of Types.sol's Verdict. */
const [SAME, MISSING] = [3, 7]

let house: House
let submitter: Submitter
before(async () => {
  house = await startHouse([solver('alpha', '80'), solver('beta', '100'), verifier('one'), verifier('two'), verifier('three')])
  submitter = await house.submitter()
})
after(() => house.stop())

const peerOf = (name: string): string => {
  const address = house.node(name).address.toLowerCase()
  return parseContact(submitter.node.signedOffers().findLast((o) => o.offer.solver.toLowerCase() === address)!.offer.contact)!.peer
}
const claimed = async (run: Run, slice: number, solver?: string): Promise<ChainEvent> => {
  const taskId = await run.taskId
  return house.event(
    'Claimed',
    (a) => a.taskId === taskId && Number(a.slice) === slice && (solver === undefined || house.nameOf(a.solver) === solver),
  )
}
const settled = async (run: Run, slice: number): Promise<ChainEvent> => {
  const taskId = await run.taskId
  return house.event('Settled', (a) => a.taskId === taskId && Number(a.slice) === slice)
}
/** The drawn verifiers of a claim, by name. */
const drawn = async (claimId: unknown): Promise<string[]> => {
  const { args } = await house.event('Drawn', (a) => a.claimId === claimId)
  return [...new Set((args.verifiers as string[]).map(house.nameOf))]
}
const isBy = (claimId: unknown, name: string) => (a: ChainEvent['args']) => a.claimId === claimId && house.nameOf(a.verifier) === name
const allIsWell = async (): Promise<void> => {
  assert.equal(await house.missingWei(), 0n, 'money in minus money out and held')
  assert.deepEqual(house.casualties(), [], 'nodes that ended by themselves')
}

test('one task, through everything', async (t) => {
  const step = inOrder(t)
  const run = await submitter.submit({ steps: 500, segments: 4, slices: 4, solvers: ['alpha'] })
  const taskId = await run.taskId
  const { auditFeeWei } = await getTerms(house.bitloom, taskId)
  let saved = 0

  await step('a solver killed in the middle of a slice goes on from its last checkpoint', async () => {
    // a segment's checkpoint is written while the next one trains: by the third the first is on disk
    await until('a step of the third segment', async () => {
      const reply = await submitter.node.services.peers.request<{ step: number } | null>(peerOf('alpha'), 'progress', {
        id: String(taskId),
      })
      return reply.ok && reply.value !== null && reply.value.step > 1000
    })
    // a stranger's bundle of other contents, sent while the task runs, must not be what it starts again with
    const forged = { taskId: String(taskId), graphRoot: `0x${'11'.repeat(32)}`, graphBytes: 9, stateRoots: [], dataRoots: [], urls: [] }
    await submitter.node.services.peers.request(peerOf('alpha'), 'task', forged)
    await house.kill('alpha')
    const store = openStore(join(house.node('alpha').dir, 'node', 'node.sqlite'))
    saved = store.list('segments', { prefix: `${taskId}/` }).length
    store.close()
    assert.ok(saved >= 1 && saved < 16, `${saved} segments on disk`)
    await house.restart('alpha')
    await settled(run, 0)
  })

  await step('a verifier killed between sealing and revealing reveals when it is back, and is paid', async () => {
    const { claimId } = (await claimed(run, 1)).args
    const [first, second] = await drawn(claimId)
    house.freeze(second!) // nobody discloses before both have sealed
    await house.event('Sealed', isBy(claimId, first!))
    await house.kill(first!)
    const { assignments, stage } = await getAudit(house.bitloom, claimId as bigint)
    assert.equal(stage, 'sealing')
    assert.ok(assignments.some((a) => house.nameOf(a.verifier) === first && a.verdict === 'sealed'))
    await house.restart(first!)
    house.wake(second!)
    const revealed = await house.event('Revealed', isBy(claimId, first!))
    assert.equal(revealed.args.verdict, SAME)
    assert.equal((await settled(run, 1)).args.verifiersWei, 4n * auditFeeWei, 'all four segments are paid')
  })

  await step('a verifier that seals and never reveals loses a quarter of its seat; the others carry the slice', async () => {
    const { claimId } = (await claimed(run, 2)).args
    const [first, second] = await drawn(claimId)
    house.freeze(second!)
    await house.event('Sealed', isBy(claimId, first!))
    house.freeze(first!)
    house.wake(second!)
    await house.event('Revealed', isBy(claimId, second!))
    await house.pass(WINDOWS.revealSeconds + WINDOWS.challengeSeconds + 1)
    const { args } = await settled(run, 2)
    assert.equal(args.verifiersWei, auditFeeWei, 'of the two segments drawn, past probation, the one that was attested is paid')
    const slashed = await house.event('VerifierSlashed', isBy(claimId, first!))
    assert.equal(slashed.args.verdict, MISSING)
    assert.equal(slashed.args.takenWei, 25n * 10n ** 18n)
    for (const name of ['one', 'two', 'three']) house.freeze(name) // until the next test has opened its dispute
  })

  await step('two challengers that stall at once lose their bonds: half to the solver, half burnt; the slice is accepted', async () => {
    const { claimId } = (await claimed(run, 3)).args
    const { root } = await getClaim(house.bitloom, claimId as bigint)
    const book = await until("the claim's leaves", () => findBook(submitter.node.services, claimId as bigint, root, [peerOf('alpha')]))
    const tree = claimTree(book.leaves.map((l) => ({ stateRoot: fromHex(l.stateRoot), probeCommit: fromHex(l.probeCommit) })))
    const opening = (j: number) => ({ ...book.leaves[j]!, proof: proofOf(tree, j).map(toHex) })
    const stallers = []
    for (const segment of [2, 1]) {
      const home = join(house.dir, `challenger-${segment}`)
      await house.embedded.fund(home)
      const staller = await connect(house.embedded.network, loadKey(join(home, 'key.json'), house.embedded.password).account)
      const bondWei = await challengeBondWei(staller)
      await deposit(staller, bondWei)
      const { gameId } = await challenge(staller, claimId as bigint, segment, opening(segment - 1), opening(segment))
      stallers.push({ staller, bondWei, gameId })
    }
    for (const name of ['one', 'two', 'three']) house.wake(name)
    // the solver's answers, both within one clock: now it is the challengers' turn
    for (const { gameId } of stallers) await house.event('Revealed', (a) => a.gameId === gameId)
    const verifiers = await drawn(claimId)
    for (const name of verifiers) await house.event('Revealed', isBy(claimId, name))
    await house.pass(WINDOWS.clockSeconds + 1)
    for (const { staller, bondWei, gameId } of stallers) {
      const decided = await house.event('Decided', (a) => a.gameId === gameId)
      assert.equal(decided.args.convicted, false)
      const slashes = house.events.filter((e) => e.name === 'Slashed' && String(e.args.who) === staller.account!.address)
      assert.deepEqual(
        slashes.map((e) => [house.nameOf(e.args.to), e.args.amountWei]),
        [
          ['alpha', bondWei / 2n],
          ['0x0000000000000000000000000000000000000000', bondWei / 2n],
        ],
      )
      assert.equal(await freeOf(staller, staller.account!.address), 0n)
    }
    await settled(run, 3)
  })

  await step('and it ends in the root of training alone, with no step trained twice', async () => {
    const outcome = await run.outcome
    assert.equal(outcome.stateRoot, await localRoot(run.job))
    assert.deepEqual(outcome.solvers.map(house.nameOf), ['alpha'])
    const { readings } = (await house.end('alpha')) as unknown as { readings: { train: { steps: number } } }
    assert.equal(readings.train.steps, run.job.steps - 500 * saved, 'steps trained since the kill')
    await house.restart('alpha')
    await allIsWell()
  })
})

test('solvers that never come back are replaced from the last accepted state, by whoever is next', async (t) => {
  const step = inOrder(t)
  const run = await submitter.submit({ steps: 100, segments: 2, slices: 3, solvers: ['alpha', 'beta', 'alpha'] })
  const taskId = await run.taskId

  await step('one that dies while its slice is audited: verifiers settle it, the deadline passes, the next takes over', async () => {
    const { claimId } = (await claimed(run, 0)).args
    await house.event('Disclosed', (a) => a.claimId === claimId)
    await house.kill('alpha')
    await house.event('Revealed', (a) => a.claimId === claimId)
    await settled(run, 0)
    await until('the state that the dead one trained', () => run.progress.some((p) => p.type === 'accepted-state' && p.slice === 0))
    const { openClaim } = await getTask(house.bitloom, taskId)
    assert.equal(openClaim, 0n)
    await house.pass(WINDOWS.sliceSeconds + 1)
    await house.event('DeadlineMissed', (a) => a.taskId === taskId && house.nameOf(a.solver) === 'alpha')
    const handed = await until('the handing on', () => run.progress.find((p) => p.type === 'handed-on'))
    assert.equal(handed.fromSlice, 1)
    assert.equal(house.nameOf(handed.solver), 'beta')
  })

  await step('one that dies with its claim open: its audit ends by itself, and costs it a part of its bond', async () => {
    const { claimId } = (await claimed(run, 1, 'beta')).args
    await house.kill('beta')
    await new Promise((resolve) => setTimeout(resolve, 600)) // the submitter has seen where it stands
    await house.pass(6) // what the solver should have drawn is drawn by the submitter
    const verifiers = await drawn(claimId)
    for (const name of verifiers) await house.event('Sealed', isBy(claimId, name))
    await house.pass(WINDOWS.discloseSeconds + 6)
    const failed = await house.event('Failed', (a) => a.claimId === claimId)
    assert.equal(failed.args.fault, true)
    await house.restart('alpha')
    const handed = await until('the second handing on', () =>
      run.progress.findLast((p) => p.type === 'handed-on' && p.fromSlice === 1 && house.nameOf(p.solver) === 'alpha'),
    )
    assert.equal(handed.type, 'handed-on')
  })

  await step('and it ends in the root of training alone', async () => {
    const outcome = await run.outcome
    assert.equal(outcome.stateRoot, await localRoot(run.job))
    assert.deepEqual(outcome.solvers.map(house.nameOf), ['alpha', 'beta', 'alpha'])
    await house.restart('beta')
    await allIsWell()
  })
})

test(`the chain is silent for ${SILENCE_SECONDS} s, and strangers talk nonsense meanwhile`, async () => {
  const run = await submitter.submit({ steps: 100, segments: 2, slices: 3, solvers: ['beta'] })
  const taskId = await run.taskId
  await claimed(run, 0)
  house.freeze('chain')
  const started = performance.now()
  await talkNonsense(String(taskId))
  await new Promise((resolve) => setTimeout(resolve, 1000 * SILENCE_SECONDS - (performance.now() - started)))
  house.wake('chain')
  const outcome = await run.outcome
  assert.equal(outcome.stateRoot, await localRoot(run.job))
  const ours = house.events.filter((e) => e.args.taskId === taskId)
  for (const name of ['Claimed', 'Settled'])
    assert.deepEqual(
      ours.filter((e) => e.name === name).map((e) => Number(e.args.slice)),
      [0, 1, 2],
      `${name}: each slice once`,
    )
  assert.deepEqual(outcome.solvers.map(house.nameOf), ['beta'])
  await allIsWell()
})

/** Every question of every node, with bodies of every kind: refused or answered, never a failure of the one who is asked. */
async function talkNonsense(taskId: string): Promise<void> {
  const stranger = await startPeers({ bootstrap: house.embedded.network.bootstrap })
  const root = `0x${'ab'.repeat(32)}`
  const bundle = { taskId, graphRoot: root, graphBytes: 100, stateRoots: [root], dataRoots: [root], urls: ['http://127.0.0.1:1'] }
  const bodies: unknown[] = [
    ...[null, true, 0, -1, 1e308, '', 'x'.repeat(10_000), [], [[[]]], {}, { id: null }, { id: -1 }, { id: '1e9' }, { id: '9'.repeat(31) }],
    ...[{ id: '9'.repeat(30) }, { id: taskId }, { id: [taskId] }, { id: { toString: 1 } }, { root: 1 }, { root }, { root: `${root}00` }],
    ...[{ root: root.toUpperCase() }, { __proto__: null, id: taskId }, JSON.parse('{"__proto__":{"id":"1"}}'), 2n ** 200n],
    ...[bundle, { ...bundle, graphBytes: 2 ** 60 }, { ...bundle, graphBytes: 0.5 }, { ...bundle, urls: ['file:///etc/passwd'] }],
    ...[
      { ...bundle, stateRoots: Array(5000).fill(root) },
      { ...bundle, urls: Array(17).fill('http://a') },
      { ...bundle, taskId: 1 },
    ],
    ...[
      { ...bundle, urls: [`http://${'a'.repeat(300)}`] },
      { ...bundle, stateRoots: 'none' },
      { ...bundle, dataRoots: [null] },
    ],
  ]
  const names = ['task', 'bundle', 'book', 'state', 'progress', 'peers', 'nothing-like-that', '']
  const addresses = house.lines.filter(
    (l) => l.event === 'ready' && !house.embedded.nodes.some((n) => n.name === l.node && n.child.exitCode !== null),
  )
  const live = [...new Map(addresses.map((l) => [l.node, String(l.peer)])).values()]
  const codes = new Set<string>()
  try {
    await Promise.all(
      live.map(async (peer) => {
        for (const name of names)
          for (const body of bodies) {
            const reply = await stranger.request(peer, name, body, { timeoutMs: 3000 })
            codes.add(reply.ok ? 'ok' : reply.code)
            if (!reply.ok && reply.code === 'failed') assert.fail(`${name} ${JSON.stringify(body)?.slice(0, 200)}: ${reply.reason}`)
            if (!reply.ok && (reply.code === 'unreachable' || reply.code === 'timeout')) return // thrown out for it
          }
      }),
    )
  } finally {
    await stranger.stop()
  }
  assert.ok(codes.has('invalid') && codes.has('ok'), [...codes].join(' '))
  assert.deepEqual(
    house.lines.filter((l) => l.event === 'handler-failed'),
    [],
  )
}
