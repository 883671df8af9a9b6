// Bundles from strangers: which messages are bundles at all, and what is said of contents that are missing, wrong, or the task's own lie.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { dataRoot } from '@bitloom/dispute'
import { type Data, encodeGraph, expr, input, makeGraph, tensorRoot, toBytes, toHex } from '@bitloom/graph'
import { LOCAL_WINDOWS, makeSpec, rootsOf } from '@bitloom/sdk'
import type { Hex } from 'viem'
import { type Bundle, contentsKey, fetchContents, isBundle, MAX_GRAPH_FILE } from './bundle.ts'

const graph = makeGraph(
  [
    { name: 'w', kind: 'state', dtype: 'f32', shape: [4] },
    { name: 'x', kind: 'data', dtype: 'f32', shape: [4] },
  ],
  [expr('add', [input(0, 'f32', [4]), input(1, 'f32', [4])])],
  input(1, 'f32', [4]),
)
const [w, x] = [Float32Array.of(1, 2, 3, 4), Float32Array.of(5, 6, 7, 8)]
const plan = {
  stepsPerCheckpoint: 1,
  checkpointsPerSlice: 1,
  slices: 1,
  assurance: 'none',
  verifiers: 0,
  segments: 1,
  windows: LOCAL_WINDOWS,
} as const
const specOf = (state: readonly Data[], data: readonly Data[]) => makeSpec(graph, rootsOf(state), rootsOf(data), plan)
const spec = specOf([w], [x])
const bundleOf = (state: readonly Data[], data: readonly Data[], file = encodeGraph(graph)): Bundle => ({
  taskId: '1',
  graphRoot: toHex(tensorRoot(file)),
  graphBytes: file.length,
  stateRoots: rootsOf(state).map(toHex),
  dataRoots: rootsOf(data).map(toHex),
  urls: ['http://127.0.0.1:1'],
})
const good = bundleOf([w], [x])
/** Serves exactly these bytes. */
const serve = (...all: Uint8Array[]) => {
  const byRoot = new Map(all.map((bytes) => [toHex(tensorRoot(bytes)), bytes]))
  return async (root: Hex, bytes: number) => (byRoot.get(root)?.length === bytes ? byRoot.get(root) : undefined)
}
const everything = serve(encodeGraph(graph), toBytes(w), toBytes(x))
const MEMORY = 2 ** 20

test('the right contents are accepted as they are', async () => {
  const verdict = await fetchContents(good, spec, spec.initialState, MEMORY, everything)
  assert.ok(verdict.ok)
  assert.deepEqual([verdict.contents.state, verdict.contents.data], [[w], [x]])
})

test('a task without data is a task like any other', async () => {
  const alone = makeGraph(
    [{ name: 'w', kind: 'state', dtype: 'f32', shape: [4] }],
    [expr('add', [input(0, 'f32', [4]), input(0, 'f32', [4])])],
    input(0, 'f32', [4]),
  )
  const file = encodeGraph(alone)
  const own = makeSpec(alone, rootsOf([w]), [], plan)
  assert.equal(own.dataRoot, toHex(dataRoot([])))
  const bundle = bundleOf([w], [], file)
  assert.equal(isBundle(JSON.parse(JSON.stringify(bundle))), true)
  const verdict = await fetchContents(bundle, own, own.initialState, MEMORY, serve(file, toBytes(w)))
  assert.ok(verdict.ok, JSON.stringify(verdict))
  assert.deepEqual([verdict.contents.state, verdict.contents.data], [[w], []])
  const lied = await fetchContents(bundle, { ...own, dataRoot: own.initialState }, own.initialState, MEMORY, serve(file, toBytes(w)))
  assert.equal(lied.ok ? '' : lied.fault, 'bundle')
})

test('each thing that is wrong has its reason, and the right one to blame', async () => {
  const junk = new Uint8Array(100).fill(7)
  const other = makeGraph(graph.slots, [expr('mul', [input(0, 'f32', [4]), input(1, 'f32', [4])])], input(1, 'f32', [4]))
  const nan = Float32Array.of(1, 2, 3, 4)
  new Uint32Array(nan.buffer)[2] = 0xffc00000
  const cases: [string, Parameters<typeof fetchContents>, string, RegExp][] = [
    [
      'a state root too many',
      [{ ...good, stateRoots: [...good.stateRoots, ...good.stateRoots] }, spec, spec.initialState, MEMORY, everything],
      'bundle',
      /^2 state and 1 data roots/,
    ],
    [
      'no roots where the spec says so',
      [{ ...good, stateRoots: [] }, { ...spec, stateSlots: 0 }, spec.initialState, MEMORY, everything],
      'bundle',
      /state roots do not hash/,
    ],
    [
      'another state',
      [{ ...good, stateRoots: good.dataRoots }, spec, spec.initialState, MEMORY, everything],
      'bundle',
      /state roots do not hash/,
    ],
    [
      'other data',
      [{ ...good, dataRoots: good.stateRoots }, spec, spec.initialState, MEMORY, everything],
      'bundle',
      /data roots do not hash/,
    ],
    [
      'a graph that nobody has',
      [good, spec, spec.initialState, MEMORY, serve(toBytes(w), toBytes(x))],
      'missing',
      /the graph cannot be fetched/,
    ],
    ['a file that is no graph', [bundleOf([w], [x], junk), spec, spec.initialState, MEMORY, serve(junk)], 'bundle', /malformed/],
    [
      'another graph',
      [bundleOf([w], [x], encodeGraph(other)), spec, spec.initialState, MEMORY, serve(encodeGraph(other))],
      'bundle',
      /graphId is/,
    ],
    [
      'a spec that hides work',
      [good, { ...spec, operationsPerStep: 1n }, spec.initialState, MEMORY, everything],
      'task',
      /operationsPerStep is 1,/,
    ],
    ['a spec with another probe', [good, { ...spec, probe: spec.probe + 1 }, spec.initialState, MEMORY, everything], 'task', /probe is/],
    ['a step too large', [good, spec, spec.initialState, 8, everything], 'task', /a step needs \d+ bytes; this node offers 8/],
    [
      'a tensor that nobody has',
      [good, spec, spec.initialState, MEMORY, serve(encodeGraph(graph), toBytes(w))],
      'missing',
      /slot 1 "x" cannot be fetched/,
    ],
    [
      'another NaN',
      [
        bundleOf([nan], [x]),
        specOf([nan], [x]),
        specOf([nan], [x]).initialState,
        MEMORY,
        serve(encodeGraph(graph), toBytes(nan), toBytes(x)),
      ],
      'task',
      /slot 0 "w" holds a NaN/,
    ],
  ]
  for (const [what, args, fault, reason] of cases) {
    const verdict = await fetchContents(...args)
    assert.ok(!verdict.ok, what)
    assert.equal(verdict.fault, fault, `${what}: ${verdict.reason}`)
    assert.match(verdict.reason, reason, what)
  }
})

test('nothing is fetched for a bundle whose roots are already wrong', async () => {
  const verdict = await fetchContents({ ...good, dataRoots: good.stateRoots }, spec, spec.initialState, MEMORY, () =>
    assert.fail('fetched'),
  )
  assert.ok(!verdict.ok)
})

test('a message is a bundle only within its bounds', () => {
  assert.ok(isBundle(good))
  const root = `0x${'ab'.repeat(32)}`
  const not: unknown[] = [
    ...[null, undefined, 0, '', [], {}, { ...good, taskId: 1 }, { ...good, taskId: '-1' }, { ...good, taskId: '1'.repeat(31) }],
    ...[
      { ...good, graphRoot: root.toUpperCase() },
      { ...good, graphRoot: `${root}00` },
      { ...good, graphRoot: null },
    ],
    ...[0, -1, 0.5, MAX_GRAPH_FILE + 1, Number.NaN, '9'].map((graphBytes) => ({ ...good, graphBytes })),
    ...['none', [1], [root.slice(1)], Array(4097).fill(root), { length: 1 }].map((stateRoots) => ({ ...good, stateRoots })),
    ...['http://a', [5], ['file:///etc/passwd'], [`http://${'a'.repeat(300)}`], Array(17).fill('http://a')].map((urls) => ({
      ...good,
      urls,
    })),
  ]
  for (const [i, value] of not.entries()) assert.ok(!isBundle(value), `${i}`)
})

test('contents are named by what they are, not by who serves them', () => {
  assert.equal(contentsKey(good), contentsKey({ ...good, urls: [] }))
  assert.notEqual(contentsKey(good), contentsKey({ ...good, graphBytes: good.graphBytes + 1 }))
})
