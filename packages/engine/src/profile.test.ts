// A profile accounts for every kernel of a step, counts what each does as the definition does, and does not change what is computed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  costOfKernel,
  debugLevel,
  kernelText,
  measureRoofline,
  observed,
  ProfileError,
  profileTable,
  type Roofline,
  wasm,
} from '@bitloom/engine'
import { constI32, expr, type Graph, input, makeGraph, toBytes } from '@bitloom/graph'

const roofline: Roofline = { gflops: 40, cacheGBs: 80, memoryGBs: 20, cacheBytes: 2 ** 18 }

/** w ← w - x·w, y ← Σ (x + x) over rows: a product, an elementwise kernel, a fold. */
const graph = (): Graph => {
  const [x, w] = [input(2, 'f32', [48, 48]), input(0, 'f32', [48, 48])]
  return makeGraph(
    [
      { name: 'w', kind: 'state', dtype: 'f32', shape: [48, 48] },
      { name: 'y', kind: 'state', dtype: 'f32', shape: [48] },
      { name: 'x', kind: 'data', dtype: 'f32', shape: [48, 48] },
    ],
    [expr('sub', [w, expr('dot', [x, w])]), expr('sum', [expr('add', [x, x])], { attrs: [1] })],
    constI32(0),
  )
}
const data = (): Float32Array => Float32Array.from({ length: 48 * 48 }, (_, i) => ((i * 7) % 13) / 1000)

test('costs are counted from the definition', () => {
  const program = wasm.compile(graph())
  const costs = program.list!.map(costOfKernel)
  const product = costs.find(({ kind }) => kind === 'product')!
  assert.equal(product.operations, 2 * 48 ** 3)
  assert.equal(product.bytes, 4 * 3 * 48 ** 2)
  const fold = costs.find(({ kind }) => kind === 'fold')!
  assert.equal(fold.operations, 2 * 48 * 48, 'an addition and a term of the sum for each element')
  assert.equal(fold.bytes, 4 * (48 * 48 + 48), 'x is read once although it is added to itself')
  program.close()
})

test('a profile names every kind with its share, and leaves the state where as many plain steps would', () => {
  const [profiled, plain] = [wasm.compile(graph()), wasm.compile(graph())]
  for (const program of [profiled, plain]) for (const slot of [0, 2]) program.write(slot, toBytes(data()))
  const profile = profileTable(profiled, roofline, { steps: 3, top: 2 })
  for (let i = 0; i < 2 + 2 * 3; i++) plain.step()
  assert.deepEqual(profiled.read(0), plain.read(0))
  assert.equal(profile.steps, 3)
  assert.ok(Math.abs(profile.kinds.reduce((sum, row) => sum + row.share, 0) - 1) < 1e-9)
  assert.equal(
    profile.kinds.reduce((sum, row) => sum + row.count, 0),
    profiled.kernels,
  )
  assert.equal(profile.top.length, 2)
  for (const row of [...profile.kinds, ...profile.top]) assert.ok(row.ms > 0 && row.ofRoof >= 0 && Number.isFinite(row.GBs), row.name)
})

test('a program without a list of kernels has no profile', () => {
  const { list: _, ...bare } = wasm.compile(graph())
  assert.throws(() => profileTable(bare, roofline), ProfileError)
})

test('the roofline is measured in little time', () => {
  const measured = measureRoofline(wasm, 20)
  assert.ok(measured.gflops > 0.1 && measured.memoryGBs > 0.01 && measured.cacheGBs > 0.01, JSON.stringify(measured))
})

test('each level of DEBUG says more, and none changes a bit', () => {
  const plain = wasm.compile(graph())
  const said = [0, 1, 2, 3, 4, 5].map((level) => {
    const lines: string[] = []
    const program = observed(wasm, debugLevel(String(level)), (text) => void lines.push(text)).compile(graph())
    for (const slot of [0, 2]) {
      program.write(slot, toBytes(data()))
      plain.write(slot, toBytes(data()))
    }
    program.step()
    plain.step()
    assert.deepEqual(program.read(0), plain.read(0))
    return lines.join('\n')
  })
  assert.equal(said[0], '')
  assert.match(said[1]!, /wasm: \d+ exprs became \d+ kernels in [\d.]+ ms; [\d.]+ MB at most, 1 thread/)
  assert.doesNotMatch(said[1]!, /product/)
  assert.match(said[2]!, /product +221184 op/)
  assert.match(said[3]!, /step 1: [\d.]+ ms/)
  assert.match(said[4]!, /product \[48×48\]·\[48×48\]: b\d+ ← b2\+0·\(48 1\) · b0\+0·\(48 1\)/)
  assert.match(said[5]!, /f32x4\.add/)
  assert.deepEqual(
    said.map((text) => text.length).sort((a, b) => a - b),
    said.map((text) => text.length),
  )
})

test('only a digit from 0 to 5 is a level', () => {
  assert.deepEqual([undefined, '', '*', 'libp2p:*', '6', '12', '3'].map(debugLevel), [0, 0, 0, 0, 0, 0, 3])
})

test('a kernel in words shows loads, values and stores', () => {
  const program = wasm.compile(graph())
  const words = program.list!.map(kernelText).join('\n')
  assert.match(
    words,
    /for \[48\], sum of 48 terms of the last value\n {4}%0 = load f32 b2·\(48 1\)\n {4}%1 = add %0 %0\n {4}store f32 b\d+.* ← %1/,
  )
})
