// Training runs as close to float64 as PyTorch's float32 is: the reference cases (runs of PyTorch 1.13 kept beside the repository), each trained by the runner from
// nothing but its own files, held to the bars of their compare.mjs.

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { wasm } from '@bitloom/engine'
import { evaluateCase, firstGradient, prepareCase, type Tensors, trainCase } from './reference/run.ts'
import { openSafetensors, readSafetensors } from './safetensors.ts'

const torch = new URL('../../../../shared/reference/torch/', import.meta.url)
const skip = existsSync(torch) ? false : 'the PyTorch reference runs are not beside the repository'

const CASES = [
  { name: 'a_mlp_fashion', steps: 200 },
  { name: 'g_tabular_mse', steps: 200 },
  { name: 'c_chargpt', steps: 50 },
]

/** k = min(n, 512) elements, at ⌊j·n/k⌋. */
const probe = (a: ArrayLike<number>): number[] => {
  const k = Math.min(a.length, 512)
  return Array.from({ length: k }, (_, j) => a[Math.floor((j * a.length) / k)])
}

const squares = (x: readonly number[], y: readonly number[]): number => x.reduce((sum, v, i) => sum + (v - y[i]) ** 2, 0)

type Bars = Readonly<Record<string, number>>

for (const { name, steps } of CASES)
  test(`${name} stays inside the bars of PyTorch's float32`, { skip }, (context) => {
    const read = (file: string): Uint8Array | undefined => {
      const url = new URL(`${name}/${file}`, torch)
      return existsSync(url) ? new Uint8Array(readFileSync(url)) : undefined
    }
    const json = (file: string): unknown => JSON.parse(new TextDecoder().decode(read(file)))
    const { bar: bars } = json('envelope.json') as { bar: Bars }
    const { loss_torch_f64: expectedLosses } = json('curve.json') as { loss_torch_f64: number[] }
    const probes = new Map(
      [...openSafetensors(read('probes_f64.safetensors')!).entries].map(([key, e]) => [key, [...new Float64Array(e.bytes.slice().buffer)]]),
    )
    const initial = readSafetensors(read('init.safetensors')!)
    const within = (what: string, value: number, bar: number): void => {
      context.diagnostic(`${what}: ${value.toExponential(2)}, bar ${bar.toExponential(2)}`)
      assert.ok(value <= bar, `${what}: ${value}, bar ${bar}`)
    }

    const p = prepareCase(read, steps)
    const trained = p.case.trainable!
    const gradient = firstGradient(p, wasm.compile)
    const worst = trained.map((key) => {
      const expected = probes.get(`grad1/${key}`)!
      const zero = expected.map(() => 0)
      return Math.sqrt(squares(probe(gradient[key].data), expected) / squares(expected, zero))
    })
    within('grad1, worst tensor', Math.max(...worst), bars.grad1_rel_err_each_tensor)

    let last: Tensors = {}
    const losses = trainCase(p, wasm.compile, (update, tensors) => {
      last = tensors
      if (bars[`update_w${update}`] === undefined) return
      let [error, size] = [0, 0]
      for (const key of trained) {
        const expected = probes.get(`w${update}/${key}`)!
        error += squares(probe(tensors[key].data), expected)
        size += squares(expected, probe(initial.get(key)!.data))
      }
      within(`w${update}, error over size of the update`, Math.sqrt(error / size), bars[`update_w${update}`])
    })
    const errors = losses.map((x, i) => Math.abs(x - expectedLosses[i]) / Math.abs(expectedLosses[i]))
    assert.equal(errors.length, steps)
    for (const n of [10, 50, 200].filter((m) => m <= steps))
      within(`loss, steps 1-${n}`, Math.max(...errors.slice(0, n)), bars[`loss_max_1_${n}`])

    if (steps < p.case.steps) return
    const held = (json('case.json') as { eval: { result: { torch_f64: { loss: number; accuracy?: number; n: number } } } }).eval.result
      .torch_f64
    const measured = evaluateCase(p, last, wasm.compile, read)!
    assert.equal(measured.n, held.n)
    within('held-out loss, relative', Math.abs(measured.loss - held.loss) / held.loss, 1e-5)
    if (held.accuracy !== undefined) assert.equal(measured.accuracy, held.accuracy)
  })
