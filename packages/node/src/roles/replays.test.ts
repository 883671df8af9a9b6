// Two disputes at once: what is answered is what running the segment at one go would answer, the most urgent first, and nothing else waits meanwhile.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type TestContext, test } from 'node:test'
import { cheat, type Knowledge, type Lie, replay } from '@bitloom/dispute'
import { type Backend, wasm } from '@bitloom/engine'
import { type Data, rootOf, toHex } from '@bitloom/graph'
import { mnistJob } from '@bitloom/model'
import { openCheckpoints } from '../checkpoints.ts'
import { openMeter } from '../meter.ts'
import { openBlobStore } from '../network/blobs.ts'
import { openStore } from '../store.ts'
import { openReplays, REPLAYS, type Replays, type Segment } from './replays.ts'

const STEPS = 300
const count = 64
const job = mnistJob({
  images: Uint8Array.from({ length: count * 784 }, (_, i) => (i * 7919) % 251),
  labels: Uint8Array.from({ length: count }, (_, i) => i % 10),
  count,
  seed: [1, 2],
  steps: STEPS,
  hidden: 8,
  batch: 8,
  evaluate: (graph, slots) => wasm.evaluate(graph, slots).next,
})
const other = job.state.map((t, s) => (s === 0 ? t.map((x) => x * 2) : t)) as Data[]
const segmentFrom = (start: readonly Data[], lie?: Lie): Segment => ({
  graph: job.graph,
  start,
  data: job.data,
  steps: STEPS,
  ...(lie ? { lie } : {}),
})
const options = (start: readonly Data[]) => ({
  graph: job.graph,
  slots: [...start, ...job.data],
  steps: STEPS,
  evaluate: wasm.evaluate,
})

/** A node's disk and its replays, and the steps that a program of them ran. */
function house(t: TestContext) {
  const dir = mkdtempSync(join(tmpdir(), 'bitloom-replays-'))
  const store = openStore(join(dir, 'node.sqlite'))
  const meter = openMeter()
  const checkpoints = openCheckpoints(store, openBlobStore({ dir: join(dir, 'blobs') }), meter)
  const ran = { steps: 0 }
  const backend: Backend = {
    ...wasm,
    compile: (graph) => {
      const program = wasm.compile(graph)
      return {
        ...program,
        step: () => {
          ran.steps++
          program.step()
        },
      }
    },
  }
  t.after(async () => {
    await checkpoints.close()
    store.close()
    rmSync(dir, { recursive: true })
  })
  return {
    store,
    ran,
    checkpoints,
    open: (saveMs?: number) => openReplays({ store, meter, backend, checkpoints }, saveMs === undefined ? {} : { saveMs }),
  }
}

const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
async function until<T>(ask: () => T | undefined): Promise<T> {
  for (;;) {
    const answer = ask()
    if (answer !== undefined) return answer
    await turn()
  }
}
/** What a game may ask of one step, as text. */
const facts =
  (step: number) =>
  (k: Knowledge): string =>
    [
      toHex(k.parts(step).stateRoot),
      toHex(k.parts(step + 1).chain),
      toHex(rootOf(k.trace(step).tree)),
      toHex(rootOf(k.stateTree(step + 1))),
      toHex(rootOf(k.dataTree)),
      k.accumulators(step, job.graph.next[0]!, 3).join(),
    ].join(' ')

test('two games of two segments are answered as if each had been alone, the one that is due first before the other', async (t) => {
  const { open } = house(t)
  const replays = open()
  const order: string[] = []
  const question = (name: string, by: number, start: readonly Data[]) => () =>
    replays.ask({
      segment: name,
      game: `of ${name}`,
      by,
      load: async () => segmentFrom(start),
      answer: (k) => {
        if (!order.includes(name)) order.push(name)
        return facts(171)(k)
      },
    })
  const late = question('late', 200, job.state)
  const soon = question('soon', 100, other)
  assert.equal(late(), undefined)
  assert.equal(soon(), undefined)
  let turns = 0
  const counting = (async () => {
    while (replays.working()) {
      turns++
      await turn()
    }
  })()
  const [a, b] = await Promise.all([until(late), until(soon)])
  await counting
  assert.deepEqual(order, ['soon', 'late'])
  assert.equal(a, facts(171)(replay(options(job.state))))
  assert.equal(b, facts(171)(replay(options(other))))
  assert.ok(turns > 4, `the loop went round ${turns} times beside four runs`)
  await replays.idle()
})

test('games of one segment share its run, and each has its own step of it', async (t) => {
  const { open, ran } = house(t)
  const replays = open()
  const ask = (game: string, step: number) => () =>
    replays.ask({ segment: 's', game, by: 1, load: async () => segmentFrom(job.state), answer: facts(step) })
  const [a, b] = await Promise.all([until(ask('1', 3)), until(ask('2', STEPS - 1))])
  const alone = replay(options(job.state))
  assert.deepEqual([a, b], [facts(3)(alone), facts(STEPS - 1)(alone)])
  assert.ok(ran.steps >= STEPS && ran.steps <= STEPS + 3 + Math.ceil(STEPS / 32), `${ran.steps} steps were run`)
  await replays.idle()
})

test("a cheat's segment is run with its lie", async (t) => {
  const { open } = house(t)
  const replays = open()
  const lie: Lie = { kind: 'expr', step: 40, expr: job.graph.next[0]!, element: 3, word: 0x3f800000 }
  const ask = (step: number) => (): string | undefined =>
    replays.ask({ segment: 's', game: '1', by: 1, load: async () => segmentFrom(job.state, lie), answer: facts(step) })
  const told = cheat(options(job.state), lie)
  for (const step of [39, 40, 41, 250]) assert.equal(await until(ask(step)), facts(step)(told), `step ${step}`)
  assert.notEqual(facts(40)(told), facts(40)(replay(options(job.state))))
  await replays.idle()
})

test('a run that was interrupted goes on where it was saved, and nothing of it stays when it is over', async (t) => {
  const { open, ran, store, checkpoints } = house(t)
  const ask = (replays: Replays) => () =>
    replays.ask({
      segment: 's',
      game: '1',
      by: 1,
      load: async () => segmentFrom(job.state),
      answer: (k) => toHex(k.parts(STEPS).stateRoot),
    })
  const first = open(0)
  assert.equal(ask(first)(), undefined)
  await until(() => (store.has(REPLAYS, 's') ? true : undefined))
  await first.idle()
  const before = ran.steps
  assert.ok(before < STEPS, `${before} steps before it was interrupted: nothing was left to do`)
  const second = open()
  assert.equal(await until(ask(second)), toHex(replay(options(job.state)).parts(STEPS).stateRoot))
  assert.equal(ran.steps, STEPS, 'no step was run twice')
  second.forget((segment) => segment === 's')
  assert.deepEqual(store.list(REPLAYS), [])
  assert.deepEqual(checkpoints.tensors(), [])
  await second.idle()
})

test('what cannot be loaded is said once and tried again', async (t) => {
  const { open } = house(t)
  const replays = open()
  let tries = 0
  const ask = (): true | undefined =>
    replays.ask({
      segment: 's',
      game: '1',
      by: 1,
      load: async () => {
        if (++tries === 1) throw new Error('gone from disk')
        return segmentFrom(job.state)
      },
      answer: () => true as const,
    })
  await assert.rejects(until(ask) as Promise<unknown>, /gone from disk/)
  assert.equal(await until(ask), true)
  await replays.idle()
})
