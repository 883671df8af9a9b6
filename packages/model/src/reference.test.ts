// Training runs as close to float64 as PyTorch's float32 is: losses, the first gradient and the weights along the way, held to the bars of the reference cases
// (runs of PyTorch 1.13 kept beside the repository; the comparison is the one of their compare.mjs).

import assert from 'node:assert/strict'
import { existsSync, readFileSync } from 'node:fs'
import { test } from 'node:test'
import { wasm } from '@bitloom/engine'
import { type Data, type Expr, fromBytes, type Graph, toBytes } from '@bitloom/graph'
import { evaluation } from './evaluation.ts'
import { gradients } from './grad.ts'
import { crossEntropy, mse } from './loss.ts'
import { relu, silu, tanh } from './math.ts'
import { type Lookup, linear, type Parameter } from './nn.ts'
import { adamw, type Optimizer, sgd } from './optim.ts'
import { openSafetensors, readSafetensors } from './safetensors.ts'
import { constantRate } from './schedule.ts'
import { type DataTensor, trainingStep } from './step.ts'
import { cast, div, gather } from './tensor.ts'

const torch = new URL('../../../../shared/reference/torch/', import.meta.url)
const skip = existsSync(torch) ? false : 'the PyTorch reference runs are not beside the repository'

type Case = {
  readonly name: string
  readonly examples: number
  readonly batch: number
  readonly x: { readonly file: string; readonly dtype: 'u8' | 'f32'; readonly width: number }
  readonly y: { readonly file: string; readonly dtype: 'u8' | 'f32'; readonly shape: readonly number[] }
  readonly loss: (p: Lookup, x: Expr, y: Expr) => Expr
  readonly optimizer: Optimizer
  readonly lr: number
}

const CASES: readonly Case[] = [
  {
    name: 'a_mlp_fashion',
    examples: 3200,
    batch: 64,
    x: { file: 'train_x.u8', dtype: 'u8', width: 784 },
    y: { file: 'train_y.u8', dtype: 'u8', shape: [3200] },
    loss: (p, x, y) => {
      const h1 = relu(linear(p, 'fc1', div(cast(x, 'f32'), 255)))
      return crossEntropy(linear(p, 'fc3', relu(linear(p, 'fc2', h1))), cast(y, 'i32'))
    },
    optimizer: sgd({ momentum: 0.9 }),
    lr: 0.05,
  },
  {
    name: 'g_tabular_mse',
    examples: 434,
    batch: 32,
    x: { file: 'train_x.f32', dtype: 'f32', width: 14 },
    y: { file: 'train_y.f32', dtype: 'f32', shape: [434, 1] },
    loss: (p, x, y) => mse(linear(p, 'l3', silu(linear(p, 'l2', tanh(linear(p, 'l1', x))))), y),
    optimizer: adamw({ weightDecay: 0.05 }),
    lr: 0.003,
  },
]

/** k = min(n, 512) elements, at ⌊j·n/k⌋. */
const probe = (a: ArrayLike<number>): number[] => {
  const k = Math.min(a.length, 512)
  return Array.from({ length: k }, (_, j) => a[Math.floor((j * a.length) / k)])
}

const squares = (x: readonly number[], y: readonly number[]): number => x.reduce((sum, v, i) => sum + (v - y[i]) ** 2, 0)

type Bars = Readonly<Record<string, number>>

for (const c of CASES)
  test(`${c.name} stays inside the bars of PyTorch's float32`, { skip }, (context) => {
    const file = (name: string): Uint8Array => new Uint8Array(readFileSync(new URL(`${c.name}/${name}`, torch)))
    const json = (name: string): unknown => JSON.parse(new TextDecoder().decode(file(name)))
    const { bar: bars } = json('envelope.json') as { bar: Bars }
    const { loss_torch_f64: losses } = json('curve.json') as { loss_torch_f64: number[] }
    const probes = new Map(
      [...openSafetensors(file('probes_f64.safetensors')).entries].map(([name, e]) => [
        name,
        [...new Float64Array(e.bytes.slice().buffer)],
      ]),
    )
    const initial = readSafetensors(file('init.safetensors'))
    const parameters: Parameter[] = [...initial].map(([name, { shape, data }]) => ({ name, shape, initial: data as Float32Array }))
    const steps = 200
    const data: DataTensor[] = [
      { name: 'x', dtype: c.x.dtype, shape: [c.examples, c.x.width], data: fromBytes(c.x.dtype, file(c.x.file)) },
      { name: 'y', dtype: c.y.dtype, shape: c.y.shape, data: fromBytes(c.y.dtype, file(c.y.file)) },
      { name: 'order', dtype: 'i32', shape: [steps, c.batch], data: fromBytes('i32', file('batches.i32')) },
    ]
    const job = trainingStep({
      ...{ name: c.name, parameters, data, count: c.examples, batch: c.batch, steps, seed: [0, 0], order: 'listed' },
      loss: ({ parameter, batch }) => c.loss(parameter, batch('x'), batch('y')),
      optimizer: c.optimizer,
      schedule: constantRate(c.lr),
    })
    const within = (what: string, value: number, bar: number): void => {
      context.diagnostic(`${what}: ${value.toExponential(2)}, bar ${bar.toExponential(2)}`)
      assert.ok(value <= bar, `${what}: ${value}, bar ${bar}`)
    }

    // the gradient of the first step, as a graph of its own
    const first = data[2].data.slice(0, c.batch) as Int32Array
    const firstGradients = evaluation(parameters, [data[0], data[1], { name: 'index', dtype: 'i32', shape: [c.batch] }], (read) => {
      const loss = c.loss(read, gather(read('x'), read('index')), gather(read('y'), read('index')))
      const values = gradients(
        loss,
        parameters.map((p) => read(p.name)),
      )
      return parameters.map((p, i) => ({ name: `grad/${p.name}`, value: values[i] }))
    })
    const given = parameters.map((p) => p.initial as Data)
    const { next } = wasm.evaluate(firstGradients.graph, firstGradients.slots(given, [data[0].data, data[1].data, first]))
    const worst = parameters.map((p) => {
      const expected = probes.get(`grad1/${p.name}`)!
      const zero = expected.map(() => 0)
      return Math.sqrt(squares(probe(firstGradients.read(next, `grad/${p.name}`)), expected) / squares(expected, zero))
    })
    within('grad1, worst tensor', Math.max(...worst), bars.grad1_rel_err_each_tensor)

    const program = wasm.compile(job.graph)
    const slots = [...job.state, ...job.data]
    slots.forEach((tensor, slot) => {
      program.write(slot, toBytes(tensor))
    })
    const slotOf = (graph: Graph, name: string): number => graph.slots.findIndex((s) => s.name === name)
    for (let step = 1; step <= steps; step++) {
      program.step()
      if (bars[`update_w${step}`] === undefined) continue
      let [error, size] = [0, 0]
      for (const p of parameters) {
        const now = fromBytes('f32', program.read(slotOf(job.graph, p.name)).slice())
        const expected = probes.get(`w${step}/${p.name}`)!
        error += squares(probe(now), expected)
        size += squares(expected, probe(p.initial as Float32Array))
      }
      within(`w${step}, error over size of the update`, Math.sqrt(error / size), bars[`update_w${step}`])
    }
    const log = fromBytes('f32', program.read(job.lossSlot).slice())
    const errors = [...log].map((x, i) => Math.abs(x - losses[i]) / Math.abs(losses[i]))
    for (const n of [10, 50, 200]) within(`loss, steps 1-${n}`, Math.max(...errors.slice(0, n)), bars[`loss_max_1_${n}`])
  })
