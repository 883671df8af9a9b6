// Those who mean ill: a solver that lies, and is caught unasked, or by two at once; submitters whose tasks are not what they say.

import assert from 'node:assert/strict'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { after, before, test } from 'node:test'
import { allocate, encodeGraph, expr, input, itemsRoot, makeGraph, sizeOf, tensorRoot, toBytes, toHex } from '@bitloom/graph'
import type { Job } from '@bitloom/model'
import type { Bundle } from '@bitloom/node'
import { parseContact } from '@bitloom/node/contact'
import { pushBundle } from '@bitloom/node/exchange'
import { type ChainEvent, expireTask, freeOf, getTask, lockedOf, rootsOf, type Spec, submitTask, termsFor, tokensOf } from '@bitloom/sdk'
import {
  type House,
  localRoot,
  type Run,
  type Submitter,
  smallJob,
  solver,
  specFor,
  startHouse,
  until,
  verifier,
  WINDOWS,
} from './network.ts'

let house: House
let submitter: Submitter
before(async () => {
  house = await startHouse([
    solver('honest', '100'),
    solver('liar', '80', ['--cheat', '0']),
    verifier('one'),
    verifier('two'),
    { name: 'whistle', args: ['--role', 'whistleblower', '--deposit', '200'] },
  ])
  submitter = await house.submitter()
})
after(() => house.stop())

const allIsWell = async (): Promise<void> => {
  assert.equal(await house.missingWei(), 0n, 'money in minus money out and held')
  assert.deepEqual(house.casualties(), [], 'nodes that ended by themselves')
}
/** Events about a task: its own, its claims' and its games'. */
function eventsOf(taskId: bigint): ChainEvent[] {
  const claims = new Set(house.events.filter((e) => e.name === 'Claimed' && e.args.taskId === taskId).map((e) => e.args.claimId))
  const games = new Set(house.events.filter((e) => e.name === 'Challenged' && claims.has(e.args.claimId)).map((e) => e.args.gameId))
  return house.events.filter(
    ({ args: a }) =>
      a.taskId === taskId || (a.claimId !== undefined && claims.has(a.claimId)) || (a.gameId !== undefined && games.has(a.gameId)),
  )
}
const named = (events: readonly ChainEvent[], name: string): ChainEvent[] => events.filter((e) => e.name === name)

/** The honest solver took over after the conviction, and the result is right. */
async function endsWell(run: Run): Promise<ChainEvent[]> {
  const outcome = await run.outcome
  assert.equal(outcome.stateRoot, await localRoot(run.job))
  assert.deepEqual(outcome.solvers.map(house.nameOf), ['liar', 'honest'])
  await allIsWell()
  return eventsOf(outcome.taskId)
}

test('nobody was asked to check: a whistleblower catches the lie all the same', async () => {
  const run = await submitter.submit({
    ...{ steps: 50, segments: 1, slices: 2, solvers: ['liar', 'honest'] },
    ...{ assurance: 'none', windows: { challengeSeconds: 60 } },
  })
  const taskId = await run.taskId
  await house.event('Convicted', (a) => a.taskId === taskId)
  for (const slice of [0, 1]) {
    await house.event('Claimed', (a) => a.taskId === taskId && Number(a.slice) === slice && house.nameOf(a.solver) === 'honest')
    await house.pass(61) // nobody objects
  }
  const events = await endsWell(run)
  assert.equal(named(events, 'Drawn').length, 0)
  const [decided] = named(events, 'Decided')
  assert.equal(decided?.args.convicted, true)
  const convictions = named(events, 'Convicted')
  assert.deepEqual(
    convictions.map((e) => [house.nameOf(e.args.challenger), house.nameOf(e.args.solver)]),
    [['whistle', 'liar']],
  )
  const { bondWei } = termsFor(run.spec, { weiPerTeraop: 80n * 10n ** 18n })
  assert.ok((convictions[0]!.args.challengerWei as bigint) >= bondWei / 2n)
  assert.equal(await lockedOf(house.bitloom, house.node('whistle').address), 0n, 'its bond is back')
})

test('two challenge one lie at once: one convicts, the other has its bond back', async () => {
  const run = await submitter.submit({ steps: 50, segments: 1, slices: 1, solvers: ['liar', 'honest'] })
  const taskId = await run.taskId
  const { claimId } = (await house.event('Claimed', (a) => a.taskId === taskId)).args
  const first = house.nameOf((await house.event('Challenged', (a) => a.claimId === claimId)).args.challenger)
  house.freeze(first) // until the other has challenged as well
  const other = await house.event('Challenged', (a) => a.claimId === claimId && house.nameOf(a.challenger) !== first)
  house.wake(first)
  const second = house.nameOf(other.args.challenger)
  assert.ok([first, second].includes('whistle'), `${first} and ${second}`)
  const events = await endsWell(run)
  assert.equal(named(events, 'Convicted').length, 1)
  const winner = house.nameOf(named(events, 'Convicted')[0]!.args.challenger)
  const loser = winner === first ? second : first
  const game = named(events, 'Challenged').find((e) => house.nameOf(e.args.challenger) === loser)!.args.gameId
  await house.event('Withdrawn', (a) => a.gameId === game)
  assert.equal(await lockedOf(house.bitloom, house.node(loser).address), 0n)
  assert.deepEqual(
    house.events.filter(
      (e) => (e.name === 'Slashed' || e.name === 'SeatSlashed') && [first, second].includes(house.nameOf(e.args.who ?? e.args.owner)),
    ),
    [],
    'neither challenger lost anything',
  )
  await allIsWell()
})

/** A task as a hostile submitter brings it: what the chain is told, and what the solver is told. */
type Trap = { readonly spec: Spec; readonly bundle: (urls: readonly string[]) => Omit<Bundle, 'taskId'>; readonly says: RegExp | undefined }

const shape = { steps: 10, segments: 1, slices: 1, assurance: 'none' } as const
const bundleOf = (job: Job, urls: readonly string[]): Omit<Bundle, 'taskId'> => {
  const file = encodeGraph(job.graph)
  return {
    graphRoot: toHex(tensorRoot(file)),
    graphBytes: file.length,
    stateRoots: rootsOf(job.state).map(toHex),
    dataRoots: rootsOf(job.data).map(toHex),
    urls,
  }
}

async function traps(liesAt: string): Promise<Readonly<Record<string, Trap>>> {
  const { blobs } = submitter.node.services
  const job = smallJob(shape)
  const other = smallJob({ ...shape, steps: 20 })
  const poisoned = { ...job, state: [new Float32Array(job.state[0]!), ...job.state.slice(1)] }
  new Uint32Array(poisoned.state[0]!.buffer)[3] = 0x7fc00001
  // 4 GiB that nobody has: a root is all that it takes to name a state
  const huge = ((): Job => {
    const slots = [
      { name: 'w', kind: 'state', dtype: 'f32', shape: [2 ** 15, 2 ** 15] } as const,
      { name: 'd', kind: 'data', dtype: 'i32', shape: [1] } as const,
    ]
    const w = input(0, 'f32', slots[0].shape)
    const graph = makeGraph(slots, [expr('add', [w, w])], input(1, 'i32', [1]))
    return { ...job, graph, state: [allocate('f32', 4)], data: [allocate('i32', sizeOf([1]))] }
  })()
  for (const j of [job, other, poisoned, huge]) {
    await blobs.put(encodeGraph(j.graph))
    for (const tensor of [...j.state, ...j.data]) await blobs.put(toBytes(tensor))
  }
  const honest = specFor(job, shape)
  return {
    "a graph that is not the spec's": {
      spec: honest,
      bundle: (urls) => ({ ...bundleOf(job, urls), graphRoot: bundleOf(other, []).graphRoot, graphBytes: encodeGraph(other.graph).length }),
      says: /graphId/,
    },
    'a spec that hides its work': {
      spec: { ...honest, operationsPerStep: 1n },
      bundle: (urls) => bundleOf(job, urls),
      says: /operationsPerStep is 1,/,
    },
    'a graph file that is no graph': {
      spec: honest,
      bundle: (urls) => ({
        ...bundleOf(job, urls),
        graphRoot: bundleOf(job, []).stateRoots[0]!,
        graphBytes: toBytes(job.state[0]!).length,
      }),
      says: /malformed/,
    },
    'state roots of another state': {
      spec: honest,
      bundle: (urls) => ({ ...bundleOf(job, urls), stateRoots: bundleOf(poisoned, []).stateRoots }),
      says: undefined,
    },
    'data roots of other data': {
      spec: { ...honest, dataRoot: toHex(itemsRoot([new Uint8Array(32)])) },
      bundle: (urls) => bundleOf(job, urls),
      says: /data roots do not hash/,
    },
    'a NaN that is not the canonical one': { spec: specFor(poisoned, shape), bundle: (urls) => bundleOf(poisoned, urls), says: /NaN/ },
    'a step of more memory than the node has': {
      spec: specFor(huge, shape),
      bundle: (urls) => bundleOf(huge, urls),
      says: /a step needs \d{10} bytes/,
    },
    'a graph of 32 MiB that nobody has': {
      spec: honest,
      bundle: () => ({ ...bundleOf(job, [liesAt]), graphBytes: 2 ** 25 }),
      says: /cannot be fetched/,
    },
    'addresses that serve something else': {
      spec: honest,
      bundle: () => ({
        ...bundleOf(job, [liesAt, 'http://127.0.0.1:9', 'http://nowhere.invalid']),
        graphRoot: toHex(tensorRoot(new Uint8Array(5000).fill(7))),
        graphBytes: 5000,
      }),
      says: /cannot be fetched/,
    },
  }
}

test('tasks that are not what they say are never confirmed, and cost their submitter nothing but time', async () => {
  const noise = createServer((_, response) => response.end(Buffer.alloc(1 << 20, 0x5a)))
  await new Promise<void>((resolve) => noise.listen(0, '127.0.0.1', resolve))
  try {
    const { services } = submitter.node
    const { bitloom } = services
    const rich = async (): Promise<bigint> => (await freeOf(bitloom, services.me)) + (await tokensOf(bitloom, services.me))
    const before = await rich()
    const signed = await until('an offer', () => submitter.node.signedOffers().find((o) => house.nameOf(o.offer.solver) === 'honest'))
    const { peer } = parseContact(signed.offer.contact)!
    const open: { readonly what: string; readonly taskId: bigint; readonly says: RegExp | undefined }[] = []
    for (const [what, { spec, bundle, says }] of Object.entries(await traps(`http://127.0.0.1:${(noise.address() as AddressInfo).port}`))) {
      const { taskId } = await submitTask(bitloom, spec, termsFor(spec, signed.offer), signed)
      const told: Bundle = { taskId: String(taskId), ...bundle([services.contact.http]) }
      services.store.put('bundles', String(taskId), told) // and to whoever asks
      await pushBundle(services, peer, told)
      open.push({ what, taskId, says })
    }
    assert.ok((await rich()) < before, 'the escrows are real')
    for (const { what, taskId, says } of open)
      if (says)
        await until(what, () =>
          house.lines.some(
            (l) =>
              l.node === 'honest' &&
              l.taskId === String(taskId) &&
              says.test(String(l.reason)) &&
              /^task-(refused|not-here-yet)$/.test(l.event),
          ),
        )
    // meanwhile the same solver does honest work
    const run = await submitter.submit({ steps: 20, segments: 1, slices: 1, solvers: ['honest'] })
    assert.equal((await run.outcome).stateRoot, await localRoot(run.job))
    const paid = before - (await rich())
    await house.pass(WINDOWS.confirmSeconds + 1)
    for (const { what, taskId } of open) {
      assert.equal((await getTask(bitloom, taskId)).status, 'offered', what)
      await expireTask(bitloom, taskId)
    }
    const escrows = open.map(({ taskId }) => house.event('Halted', (a) => a.taskId === taskId))
    const back = (await Promise.all(escrows)).reduce((n, e) => n + (e.args.refundWei as bigint), 0n)
    assert.equal(await rich(), before - paid + back, 'every escrow came back whole')
    assert.deepEqual(
      house.events.filter((e) => e.name === 'Confirmed' && open.some((o) => o.taskId === e.args.taskId)),
      [],
    )
    await allIsWell()
  } finally {
    noise.close()
  }
})
