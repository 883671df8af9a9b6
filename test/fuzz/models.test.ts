// Small random training steps through the engine against the interpreter, and proof that they reach every fused path. BITLOOM_FUZZ_MODELS sets how many of each kind.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { wasm, wasmWith } from '@bitloom/engine'
import { layOut } from '@bitloom/engine/layout'
import { lower } from '@bitloom/engine/lower'
import { isContiguous } from '@bitloom/engine/view'
import type { Graph } from '@bitloom/graph'
import { findDifference, findDisagreement } from './compare.ts'
import { MODEL_KINDS, modelSample } from './models.ts'

const count = Number(process.env.BITLOOM_FUZZ_MODELS ?? 20)
const first = Number(process.env.BITLOOM_FUZZ_SEED ?? 1)

/** How often each thing that fusion makes occurs in a graph's kernels. */
const pathsOf = (graph: Graph): Record<string, number> => {
  const paths: Record<string, number> = {}
  const add = (name: string, n = 1): void => {
    paths[name] = (paths[name] ?? 0) + n
  }
  const { roots, unwindows, views } = layOut(graph, false)
  add('window gradients', unwindows.filter((u) => u !== undefined).length)
  add("tensors in a reader's order", roots.filter((root, at) => root && !isContiguous(views[at].view, graph.exprs[at].shape)).length)
  for (const { work } of lower(graph, { trace: false, joinedFolds: true }).kernels)
    for (const w of work) {
      if (w.kind === 'nest' && w.fold === undefined && w.nodes.length > 8) add('elementwise chains')
      if (w.kind === 'nest' && w.fold !== undefined && w.nodes.some((n) => n.kind === 'op')) add('folds that compute their operand')
      if (w.kind === 'nest' && w.fold !== undefined && w.stores.length > 1) {
        add('joined folds')
        if (w.nodes.some((n) => n.kind === 'op')) add('joined folds that compute their operands')
      }
      if (w.kind === 'nest' && w.nodes.some((n) => n.kind === 'op' && n.op === 'ltu' && n.args[1] === 1))
        add('window gradients in one masked pass')
      // Only a product that was turned round is copied into its place.
      if (w.kind === 'dot' && work.some((x) => x.kind === 'nest' && x.stores[0].access.buffer !== w.c.buffer)) add('turned products')
      if (w.kind === 'dot') add(w.batch.length > 0 ? 'batched products' : 'products')
    }
  return paths
}

const seen: Record<string, number> = {}
/** As a user's threads cut a step, and cut as finely as can be. */
const threaded = [wasmWith({ threads: 2 }), wasmWith({ threads: 3, small: 0 })]

for (const kind of Object.keys(MODEL_KINDS) as (keyof typeof MODEL_KINDS)[])
  test(`${count} random ${kind} steps from seed ${first} give the interpreter's bits, traced and fused, over two steps, on 1, 2 and 3 threads`, () => {
    for (let seed = first; seed < first + count; seed++) {
      const sample = modelSample(kind, seed)
      assert.equal(findDifference(wasm, sample, 2), undefined, `seed ${seed}`)
      assert.equal(findDisagreement([wasm, ...threaded], sample, 2), undefined, `seed ${seed}`)
      for (const [name, n] of Object.entries(pathsOf(sample.graph))) seen[name] = (seen[name] ?? 0) + n
    }
  })

test('they reach every fused path', (t) => {
  t.diagnostic(JSON.stringify(seen))
  const wanted = [
    'window gradients',
    'window gradients in one masked pass',
    "tensors in a reader's order",
    'elementwise chains',
    'folds that compute their operand',
    'joined folds',
    'joined folds that compute their operands',
    'batched products',
    'products',
    'turned products',
  ]
  for (const name of wanted) assert.ok((seen[name] ?? 0) > count / 4, `${name}: ${seen[name] ?? 0} in ${count} steps of each kind`)
})
