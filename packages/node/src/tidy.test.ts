// Tidying on a real disk: what a living task, an open claim or a late question needs stays; what nobody will ask for goes, and only after its time.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { type Data, input, makeGraph } from '@bitloom/graph'
import type { Hex } from 'viem'
import { openCheckpoints } from './checkpoints.ts'
import { openMeter } from './meter.ts'
import { openBlobStore } from './network/blobs.ts'
import { openStore } from './store.ts'
import { type Chain, KEEP_ENDED_SECONDS, KEEP_WAITING_SECONDS, openTidier } from './tidy.ts'

const folders: string[] = []
after(() => folders.forEach((dir) => rmSync(dir, { recursive: true, force: true })))

const graph = makeGraph(
  [
    { name: 'w', kind: 'state', dtype: 'f32', shape: [3] },
    { name: 'fixed', kind: 'state', dtype: 'i32', shape: [400] },
    { name: 'd', kind: 'data', dtype: 'i32', shape: [2] },
  ],
  [input(0, 'f32', [3]), input(1, 'i32', [400])],
  input(2, 'i32', [2]),
)
/** A state of its own for every number; the second tensor is common to all. */
const state = (n: number): Data[] => [Float32Array.of(n, n, n), new Int32Array(400).fill(7)]

type Known = { task: Awaited<ReturnType<Chain['task']>>; claims: Map<bigint, Awaited<ReturnType<Chain['claim']>>> }

async function scene() {
  const dir = mkdtempSync(join(tmpdir(), 'bitloom-tidy-'))
  folders.push(dir)
  const store = openStore(join(dir, 'node.sqlite'))
  const blobs = openBlobStore({ dir: join(dir, 'blobs') })
  const checkpoints = openCheckpoints(store, blobs, openMeter())
  const roots: Hex[] = []
  for (let n = 0; n < 7; n++) roots.push(await checkpoints.save(state(n)))
  const data = (await blobs.put(new Uint8Array(5000).fill(1))).root
  const file = (await blobs.put(new Uint8Array(300).fill(2))).root
  // task 1 began at state 0; claim 10 (slice 0: states 1, 2) settled; claim 11 (slice 1: states 3, 4) is open; 5 and 6 are nobody's claim
  store.put('bundles', '1', {
    taskId: '1',
    graphRoot: file,
    graphBytes: 300,
    stateRoots: checkpoints.manifest(roots[0]!)!,
    dataRoots: [data],
    urls: [],
  })
  const leaf = (n: number) => ({ stateRoot: roots[n]!, probeCommit: roots[n]! })
  store.put('books', '10', { leaves: [leaf(1), leaf(2)] })
  store.put('books', '11', { leaves: [leaf(3), leaf(4)] })
  store.put('findings', '10', { verdict: 'same' })
  const chain: Known = {
    task: { status: 'running', state: roots[2]! },
    claims: new Map([
      [10n, { status: 'settled', startState: roots[0]!, endState: roots[2]! }],
      [11n, { status: 'open', startState: roots[2]!, endState: roots[4]! }],
    ]),
  }
  const tidier = openTidier({ store, blobs, checkpoints }, { task: async () => chain.task, claim: async (id) => chain.claims.get(id)! })
  const held = async (): Promise<number[]> => {
    const found = await Promise.all(roots.map((root) => checkpoints.load(graph, root)))
    return found.flatMap((tensors, n) => (tensors ? [n] : []))
  }
  return { store, blobs, checkpoints, roots, data, file, chain, tidier, held }
}

test('a settled slice’s inner states go; the accepted state, the open claim and the task’s contents stay', async () => {
  const { store, blobs, data, file, tidier, held } = await scene()
  assert.deepEqual(await tidier.tidy(1000), { tasks: 0, claims: 1, blobs: 0, bytes: 0 })
  assert.deepEqual(await held(), [0, 2, 3, 4, 5, 6])
  assert.equal(store.has('books', '10') || store.has('findings', '10'), false)
  assert.ok(store.has('books', '11') && blobs.has(data) && blobs.has(file))
  store.close()
})

test('a claim that is still watched keeps its states, whatever the chain says of it', async () => {
  const { store, tidier, held } = await scene()
  store.put('watched', '10', true)
  await tidier.tidy(1000)
  assert.deepEqual(await held(), [0, 1, 2, 3, 4, 5, 6])
  store.close()
})

test('a finished task stays a day after it was seen finished, then goes with everything that only it had', async () => {
  const { store, blobs, chain, tidier, held, roots, data } = await scene()
  chain.task = { status: 'done', state: roots[4]! }
  chain.claims.set(11n, { status: 'settled', startState: roots[2]!, endState: roots[4]! })
  await tidier.tidy(1000)
  assert.deepEqual(await held(), [0, 4, 5, 6])
  await tidier.tidy(1000 + KEEP_ENDED_SECONDS)
  assert.ok((await held()).includes(0))
  assert.deepEqual(await tidier.tidy(1001 + KEEP_ENDED_SECONDS), { tasks: 1, claims: 0, blobs: 0, bytes: 0 })
  assert.deepEqual([store.count('bundles'), store.count('at-rest')], [0, 0])
  // states of nobody's claim are left alone: this node may be fetching them for a check
  assert.deepEqual(await held(), [5, 6])
  // what had an owner until now goes at the next visit
  const { blobs: gone, bytes } = await tidier.tidy(4601 + KEEP_ENDED_SECONDS)
  assert.deepEqual([gone, bytes], [2, 5300])
  assert.equal(blobs.has(data), false)
  store.close()
})

test('a halted task waits a month for its submitter, from when it last changed', async () => {
  const { store, chain, tidier } = await scene()
  chain.task = { ...chain.task, status: 'halted' }
  await tidier.tidy(1000)
  chain.task = { ...chain.task, status: 'running' }
  await tidier.tidy(2000)
  chain.task = { ...chain.task, status: 'halted' }
  await tidier.tidy(3000)
  await tidier.tidy(2500 + KEEP_WAITING_SECONDS)
  assert.equal(store.count('bundles'), 1)
  await tidier.tidy(3001 + KEEP_WAITING_SECONDS)
  assert.equal(store.count('bundles'), 0)
  store.close()
})

test('a blob without an owner goes at the second visit, and a fetch that finds one in between keeps it', async () => {
  const { store, blobs, tidier, checkpoints } = await scene()
  const lost = (await blobs.put(new Uint8Array(100).fill(3))).root
  const found = (await blobs.put(new Uint8Array(200).fill(4))).root
  await tidier.tidy(1000)
  assert.ok(blobs.has(lost) && blobs.has(found))
  checkpoints.note([found])
  assert.deepEqual(await tidier.tidy(4600), { tasks: 0, claims: 0, blobs: 1, bytes: 100 })
  assert.deepEqual([blobs.has(lost), blobs.has(found)], [false, true])
  store.close()
})
