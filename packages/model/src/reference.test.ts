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
import { gelu, relu, silu, tanh } from './math.ts'
import { embedding, type Lookup, layerNorm, linear, type Parameter, selfAttention } from './nn.ts'
import { adamw, type Optimizer, sgd } from './optim.ts'
import { openSafetensors, readSafetensors } from './safetensors.ts'
import { constantRate, cosineRate, type Schedule, warmUp } from './schedule.ts'
import { type DataTensor, trainingStep } from './step.ts'
import { add, cast, div, gather, slice } from './tensor.ts'

const torch = new URL('../../../../shared/reference/torch/', import.meta.url)
const skip = existsSync(torch) ? false : 'the PyTorch reference runs are not beside the repository'

type Case = {
  readonly name: string
  readonly batch: number
  readonly steps: number
  readonly data: readonly Omit<DataTensor, 'data'>[]
  readonly loss: (p: Lookup, rows: Lookup) => Expr
  readonly optimizer: Optimizer
  readonly schedule: Schedule
  readonly clip?: number
}

/** nanoGPT without biases and with a tied head: 4 layers, 4 heads, width 128. */
function charGpt(p: Lookup, tokens: Expr): Expr {
  let x = add(embedding(p, 'wte', tokens), p('wpe.weight'))
  for (let i = 0; i < 4; i++) {
    const block = `blocks.${i}`
    x = add(x, selfAttention(p, block, layerNorm(p, `${block}.ln1`, x, false), 4, true, false))
    const wide = gelu(linear(p, `${block}.fc`, layerNorm(p, `${block}.ln2`, x, false), false))
    x = add(x, linear(p, `${block}.fc_out`, wide, false))
  }
  return linear(p, 'wte', layerNorm(p, 'ln_f', x, false), false)
}

const CASES: readonly Case[] = [
  {
    name: 'a_mlp_fashion',
    batch: 64,
    steps: 200,
    data: [
      { name: 'train_x', dtype: 'u8', shape: [3200, 784] },
      { name: 'train_y', dtype: 'u8', shape: [3200] },
    ],
    loss: (p, rows) => {
      const h1 = relu(linear(p, 'fc1', div(cast(rows('train_x'), 'f32'), 255)))
      return crossEntropy(linear(p, 'fc3', relu(linear(p, 'fc2', h1))), cast(rows('train_y'), 'i32'))
    },
    optimizer: sgd({ momentum: 0.9 }),
    schedule: constantRate(0.05),
  },
  {
    name: 'g_tabular_mse',
    batch: 32,
    steps: 200,
    data: [
      { name: 'train_x', dtype: 'f32', shape: [434, 14] },
      { name: 'train_y', dtype: 'f32', shape: [434, 1] },
    ],
    loss: (p, rows) => mse(linear(p, 'l3', silu(linear(p, 'l2', tanh(linear(p, 'l1', rows('train_x')))))), rows('train_y')),
    optimizer: adamw({ weightDecay: 0.05 }),
    schedule: constantRate(0.003),
  },
  {
    name: 'c_chargpt',
    batch: 12,
    steps: 50,
    data: [{ name: 'train_windows', dtype: 'u8', shape: [2400, 65] }],
    loss: (p, rows) => {
      const window = cast(rows('train_windows'), 'i32')
      return crossEntropy(charGpt(p, slice(window, 1, 0, 64)), slice(window, 1, 1, 65))
    },
    optimizer: adamw({ betas: [0.9, 0.99], weightDecay: 0.1, decays: (_, shape) => shape.length >= 2 }),
    schedule: warmUp(20, cosineRate(1e-3, 180, 1e-4), 21),
    clip: 1,
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
    const { steps, batch } = c
    const data: DataTensor[] = [
      ...c.data.map((d) => ({ ...d, data: fromBytes(d.dtype, file(`${d.name}.${d.dtype}`)) })),
      { name: 'order', dtype: 'i32', shape: [200, batch], data: fromBytes('i32', file('batches.i32')) },
    ]
    const job = trainingStep({
      ...{ name: c.name, parameters, data, count: data[0].shape[0], batch, steps, seed: [0, 0], order: 'listed' },
      loss: ({ parameter, batch: rows }) => c.loss(parameter, rows),
      optimizer: c.optimizer,
      schedule: c.schedule,
      ...(c.clip === undefined ? {} : { clip: c.clip }),
    })
    const within = (what: string, value: number, bar: number): void => {
      context.diagnostic(`${what}: ${value.toExponential(2)}, bar ${bar.toExponential(2)}`)
      assert.ok(value <= bar, `${what}: ${value}, bar ${bar}`)
    }

    // the gradient of the first step, as a graph of its own
    const records = [...data.slice(0, -1), { name: 'index', dtype: 'i32', shape: [batch] }] as const
    const firstGradients = evaluation(parameters, records, (read) => {
      const values = gradients(
        c.loss(read, (name) => gather(read(name), read('index'))),
        parameters.map((p) => read(p.name)),
      )
      return parameters.map((p, i) => ({ name: `grad/${p.name}`, value: values[i] }))
    })
    const given = parameters.map((p) => p.initial as Data)
    const first = [...data.slice(0, -1).map((d) => d.data), data[data.length - 1].data.slice(0, batch)]
    const { next } = wasm.evaluate(firstGradients.graph, firstGradients.slots(given, first))
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
    for (const n of [10, 50, 200].filter((m) => m <= steps))
      within(`loss, steps 1-${n}`, Math.max(...errors.slice(0, n)), bars[`loss_max_1_${n}`])
  })
