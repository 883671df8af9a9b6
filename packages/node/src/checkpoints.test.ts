// Checkpoints on a real disk: what was saved comes back bit for bit, tensors are shared, and dropping one state never takes from another.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { stateRoot } from '@bitloom/dispute'
import { type Data, input, makeGraph, tensorRoot, toBytes, toHex } from '@bitloom/graph'
import { openCheckpoints } from './checkpoints.ts'
import { openMeter } from './meter.ts'
import { openBlobStore } from './network/blobs.ts'
import { openStore } from './store.ts'

const folders: string[] = []
after(() => folders.forEach((dir) => rmSync(dir, { recursive: true, force: true })))

/** Three state slots: one changes always, one seldom, one has 2,000 bytes. */
const graph = makeGraph(
  [
    { name: 'a', kind: 'state', dtype: 'f32', shape: [3] },
    { name: 'b', kind: 'state', dtype: 'i32', shape: [2] },
    { name: 'c', kind: 'state', dtype: 'i32', shape: [500] },
    { name: 'd', kind: 'data', dtype: 'i32', shape: [2] },
  ],
  [input(0, 'f32', [3]), input(1, 'i32', [2]), input(2, 'i32', [500])],
  input(3, 'i32', [2]),
)
const state = (a: number, b = 5): Data[] => [Float32Array.of(a, -0, Number.NaN), Int32Array.of(b, -b), new Int32Array(500).fill(9)]

function open(dir = mkdtempSync(join(tmpdir(), 'bitloom-checkpoints-'))) {
  folders.push(dir)
  const store = openStore(join(dir, 'node.sqlite'))
  const blobs = openBlobStore({ dir: join(dir, 'blobs') })
  return { dir, store, blobs, checkpoints: openCheckpoints(store, blobs, openMeter()) }
}

test('a saved state comes back bit for bit, also after a restart, under the root that the dispute knows', async () => {
  const one = open()
  const given = state(1.5)
  const root = await one.checkpoints.save(given)
  assert.equal(root, toHex(stateRoot(given)))
  one.store.close()
  const two = open(one.dir)
  assert.deepEqual((await two.checkpoints.load(graph, root))!.map(toBytes), given.map(toBytes))
  assert.deepEqual(
    two.checkpoints.manifest(root),
    given.map((t) => toHex(tensorRoot(toBytes(t)))),
  )
  two.store.close()
})

test('the tensors may be views of memory that changes once saving has begun', async () => {
  const { checkpoints, store } = open()
  const memory = new Float32Array(3).fill(1)
  const saving = checkpoints.save([memory, Int32Array.of(1, 2), new Int32Array(500)])
  memory.fill(7)
  assert.deepEqual((await checkpoints.load(graph, await saving))![0], Float32Array.of(1, 1, 1))
  store.close()
})

test('states share the tensors that they have in common', async () => {
  const { checkpoints, blobs, store } = open()
  await checkpoints.save(state(1))
  await checkpoints.save(state(2))
  assert.equal(blobs.list().length, 4, 'two of a, one of b, one of c')
  store.close()
})

test('dropping a state deletes what only it had, and keeps what others have or the task’s data need', async () => {
  const { checkpoints, blobs, store } = open()
  const [first, second, third] = [await checkpoints.save(state(1)), await checkpoints.save(state(2)), await checkpoints.save(state(2, 6))]
  checkpoints.drop([first])
  assert.equal(await checkpoints.load(graph, first), undefined)
  assert.equal(checkpoints.manifest(first), undefined)
  assert.deepEqual((await checkpoints.load(graph, second))!.map(toBytes), state(2).map(toBytes))
  checkpoints.drop([second])
  assert.deepEqual((await checkpoints.load(graph, third))!.map(toBytes), state(2, 6).map(toBytes))
  const bytes = toBytes(state(2)[2]!)
  checkpoints.drop([third], [toHex(tensorRoot(bytes))])
  assert.deepEqual(
    blobs.list().map((b) => b.root),
    [toHex(tensorRoot(bytes))],
    'one tensor is the task’s data as well',
  )
  checkpoints.drop([third, `0x${'00'.repeat(32)}`]) // again, and one that never was
  store.close()
})

test('a state of which a tensor is missing, or of another graph, is no state', async () => {
  const { checkpoints, blobs, store } = open()
  const root = await checkpoints.save(state(1))
  const other = makeGraph(
    [
      { name: 'a', kind: 'state', dtype: 'f32', shape: [3] },
      { name: 'd', kind: 'data', dtype: 'i32', shape: [2] },
    ],
    [input(0, 'f32', [3])],
    input(1, 'i32', [2]),
  )
  assert.equal(await checkpoints.load(other, root), undefined)
  blobs.delete(checkpoints.manifest(root)![1]!)
  assert.equal(await checkpoints.load(graph, root), undefined)
  const noted = checkpoints.note([`0x${'12'.repeat(32)}`, `0x${'34'.repeat(32)}`, `0x${'56'.repeat(32)}`])
  assert.equal(await checkpoints.load(graph, noted), undefined, 'noted, but no blob is here')
  store.close()
})

test('a large state is hashed on a thread of its own, under the same roots; what did not change is not hashed again, and comes back all the same', async () => {
  const dir = mkdtempSync(join(tmpdir(), 'bitloom-checkpoints-'))
  folders.push(dir)
  const store = openStore(join(dir, 'node.sqlite'))
  const blobs = openBlobStore({ dir: join(dir, 'blobs') })
  const meter = openMeter()
  const checkpoints = openCheckpoints(store, blobs, meter)
  const sizes = [3, 700_000, 100_000]
  const large = makeGraph(
    [
      ...sizes.map((n, s) => ({ name: `t${s}`, kind: 'state' as const, dtype: 'i32' as const, shape: [n] })),
      { name: 'd', kind: 'data', dtype: 'i32', shape: [2] },
    ],
    sizes.map((n, s) => input(s, 'i32', [n])),
    input(3, 'i32', [2]),
  )
  const memory = sizes.map((n) => Int32Array.from({ length: n }, (_, i) => i * 7))
  const hashedMs = (): number => meter.readings().hash.cpuMs
  const roots = []
  const wanted: Data[][] = []
  const spent: number[] = []
  // all new; nothing new; one new; and a fourth that is begun while the third is under way
  const changes = [[0, 1, 2], [], [2], [0, 1]]
  let under: Promise<unknown> = Promise.resolve()
  for (const [round, changed] of changes.entries()) {
    if (round < 3) await under
    if (round > 0) for (const t of memory) t[2] = 14
    for (const s of changed) memory[s]![1] = 1000 + round
    wanted.push(memory.map((t) => t.slice()))
    const before = hashedMs()
    const saving = checkpoints.save(memory)
    under = saving.then(() => spent.push(hashedMs() - before))
    roots.push(saving)
    // what is overwritten from here on is not what was saved
    for (const t of memory) t[2] = -1
  }
  await under
  for (const [round, saving] of roots.entries()) {
    const root = await saving
    assert.equal(root, toHex(stateRoot(wanted[round]!)), `round ${round}`)
    assert.deepEqual(await checkpoints.load(large, root), wanted[round], `round ${round}`)
  }
  assert.ok(spent[0]! > 0)
  assert.equal(spent[1], 0, 'nothing had changed, nothing was hashed')
  assert.ok(spent[2]! < spent[0]! / 2, 'an eighth of the bytes')
  await checkpoints.close()
  store.close()
})
