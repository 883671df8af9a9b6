// Optimizers, schedules and losses follow their definitions, written down a second time in float64.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Expr, input, interpret, makeGraph, type Slot } from '@bitloom/graph'
import { gradients } from './grad.ts'
import * as losses from './loss.ts'
import { adam, adamw, clipByNorm, gradientNorm, type Optimizer, OptimizerError, sgd } from './optim.ts'
import { constantRate, cosineRate, linearRate, type Schedule, stepDecay, warmUp } from './schedule.ts'
import { constant, vector } from './tensor.ts'

/** The values of exprs of data tensors, by the interpreter. */
function evaluated(exprs: (...x: Expr[]) => Expr[], ...data: (Float32Array | Int32Array)[]): Float32Array<ArrayBuffer>[] {
  const shapes = data.map((d) => [d.length])
  const count = exprs(...data.map((d, i) => input(i, d instanceof Float32Array ? 'f32' : 'i32', shapes[i]))).length
  const inputs = data.map((d, i) => input(count + i, d instanceof Float32Array ? 'f32' : 'i32', shapes[i]))
  const results = exprs(...inputs)
  const slots: Slot[] = [
    ...results.map((e, i): Slot => ({ name: `y${i}`, kind: 'state', dtype: e.dtype, shape: e.shape })),
    ...inputs.map((e, i): Slot => ({ name: `x${i}`, kind: 'data', dtype: e.dtype, shape: e.shape })),
  ]
  const blank = results.map((e) => new Float32Array(e.shape.reduce((a, b) => a * b, 1)))
  return interpret(makeGraph(slots, results, constant(0, 'i32')), [...blank, ...data]).next as Float32Array<ArrayBuffer>[]
}

const close = (got: ArrayLike<number>, expected: readonly number[], what: string, relative = 1e-6): void =>
  expected.forEach((x, i) => {
    assert.ok(Math.abs(got[i] - x) <= relative * Math.max(1, Math.abs(x)), `${what} [${i}]: ${got[i]}, not ${x}`)
  })

/** Runs an optimizer on gradient 2·w for some steps, by exprs. */
function trained(optimizer: Optimizer, start: readonly number[], steps: number, lr: number): Float32Array {
  let w = Float32Array.from(start)
  let moments = optimizer.moments.map(() => new Float32Array(start.length))
  let shared = optimizer.shared.map(() => new Float32Array(1))
  for (let t = 0; t < steps; t++) {
    const all = evaluated(
      (parameter, gradient, ...rest) => {
        const old = rest.slice(0, moments.length)
        const advanced = optimizer.advance(rest.slice(moments.length))
        const next = optimizer.update({ name: 'w', parameter, gradient, moments: old, shared: advanced, lr: constant(lr) })
        return [next.parameter, ...next.moments, ...advanced]
      },
      w,
      w.map((x) => 2 * x),
      ...moments,
      ...shared,
    )
    w = all[0]
    moments = all.slice(1, 1 + moments.length)
    shared = all.slice(1 + moments.length)
  }
  return w
}

const START = [1, -2, 0.5]

test('sgd, momentum and nesterov', () => {
  const by = (options: { momentum?: number; nesterov?: boolean; weightDecay?: number }): number[] =>
    START.map((x) => {
      let [w, v] = [x, 0]
      for (let t = 0; t < 5; t++) {
        const g = 2 * w + (options.weightDecay ?? 0) * w
        v = (options.momentum ?? 0) * v + g
        w -= 0.1 * (options.nesterov ? g + (options.momentum ?? 0) * v : v)
      }
      return w
    })
  for (const options of [
    {},
    { momentum: 0.9 },
    { momentum: 0.9, nesterov: true },
    { momentum: 0.5, weightDecay: 0.3 },
    { weightDecay: 0.1 },
  ])
    close(trained(sgd(options), START, 5, 0.1), by(options), JSON.stringify(options))
  assert.throws(() => sgd({ nesterov: true }), OptimizerError)
})

test('adam and adamw', () => {
  const by = (decoupled: boolean, decay: number): number[] =>
    START.map((x) => {
      let [w, m, v] = [x, 0, 0]
      for (let t = 1; t <= 20; t++) {
        const g = 2 * w + (decoupled ? 0 : decay * w)
        if (decoupled) w *= 1 - 0.1 * decay
        m = 0.9 * m + 0.1 * g
        v = 0.999 * v + 0.001 * g * g
        w -= (0.1 * (m / (1 - 0.9 ** t))) / (Math.sqrt(v / (1 - 0.999 ** t)) + 1e-8)
      }
      return w
    })
  close(trained(adam(), START, 20, 0.1), by(false, 0), 'adam')
  close(trained(adam({ weightDecay: 0.2 }), START, 20, 0.1), by(false, 0.2), 'adam with decay')
  close(trained(adamw({ weightDecay: 0.2 }), START, 20, 0.1), by(true, 0.2), 'adamw')
  close(trained(adamw({ weightDecay: 0.2, decays: () => false }), START, 20, 0.1), by(true, 0), 'adamw without decay')
})

test('clipping scales all gradients together, and leaves small ones alone', () => {
  const [a, b] = [Float32Array.of(3, 0), Float32Array.of(0, 4, 12)]
  close(evaluated((x, y) => [gradientNorm([x, y])], a, b)[0], [13], 'norm')
  const [x, y] = evaluated((p, q) => clipByNorm([p, q], 6.5), a, b)
  close([...x, ...y], [1.5, 0, 0, 2, 6], 'clipped')
  assert.deepEqual(
    evaluated((p, q) => clipByNorm([p, q], 14), a, b),
    [a, b],
  )
})

test('schedules', () => {
  const steps = [0, 1, 9, 10, 11, 49, 50, 99, 100, 130]
  const rates = (schedule: Schedule): number[] => steps.map((s) => evaluated(() => [schedule(constant(s, 'i32'))])[0][0])
  close(
    rates(constantRate(0.3)),
    steps.map(() => 0.3),
    'constant',
  )
  close(
    rates(stepDecay(0.3, 10, 0.5, 200)),
    steps.map((s) => 0.3 * 0.5 ** Math.floor(s / 10)),
    'step',
  )
  close(
    rates(linearRate(0.3, 100, 0.1)),
    steps.map((s) => 0.3 - 0.2 * Math.min(1, s / 100)),
    'linear',
  )
  const cosine = (s: number): number => 0.1 + 0.1 * (1 + Math.cos(Math.PI * Math.min(1, s / 100)))
  close(rates(cosineRate(0.3, 100, 0.1)), steps.map(cosine), 'cosine')
  close(
    rates(warmUp(10, cosineRate(0.3, 100, 0.1))),
    steps.map((s) => (s < 10 ? (0.3 * (s + 1)) / 10 : cosine(s - 10))),
    'warm-up',
  )
})

test('losses and their gradients', () => {
  const [x, y] = [Float32Array.of(0.5, -1.25, 3, 0.125), Float32Array.of(1, 0, 0.25, 0.5)]
  const mean = (f: (x: number, y: number) => number): number => x.reduce((sum, v, i) => sum + f(v, y[i]), 0) / x.length
  const table: [string, (x: Expr, y: Expr) => Expr, (x: number, y: number) => number][] = [
    ['mse', losses.mse, (a, b) => (a - b) ** 2],
    ['l1', losses.l1, (a, b) => Math.abs(a - b)],
    [
      'huber',
      (a, b) => losses.huber(a, b, 0.75),
      (a, b) => (Math.abs(a - b) <= 0.75 ? (a - b) ** 2 / 2 : 0.75 * (Math.abs(a - b) - 0.375)),
    ],
    ['bceWithLogits', losses.bceWithLogits, (a, b) => Math.log1p(Math.exp(a)) - a * b],
  ]
  for (const [name, loss, by] of table) {
    const [value, slope] = evaluated((a, b) => [loss(a, b), gradients(loss(a, b), [a])[0]], x, y)
    close(value, [mean(by)], name)
    const differences = [...x].map((v, i) => (by(v + 1e-6, y[i]) - by(v - 1e-6, y[i])) / 2e-6 / x.length)
    close(slope, differences, `${name}'`)
  }
  const p = Float32Array.of(0.9, 0.2, 0, 1)
  const bce = -(Math.log(0.9) + Math.log(0.8) - 25 - 50) / 4
  close(evaluated((a, b) => [losses.bce(a, b)], p, y)[0], [bce], 'bce, logarithms held at -100')
})

test('cross-entropy is the log-sum-exp minus the label, its gradient softmax minus one-hot, at any size of logits', () => {
  for (const shift of [0, 1000, -1000]) {
    const logits = [2, -1, 0.5, 0, 0, 4].map((v) => v + shift)
    const rows = (x: Expr): Expr => ({ ...x, op: 'reshape', shape: [2, 3], inputs: [x], attrs: [] })
    const loss = (x: Expr): Expr => losses.crossEntropy(rows(x), vector([2, 0], 'i32'))
    const [value, slope] = evaluated((x) => [loss(x), gradients(loss(x), [x])[0]], Float32Array.from(logits))
    const soft = [0, 3].flatMap((at) => {
      const e = logits.slice(at, at + 3).map((v) => Math.exp(v - shift))
      return e.map((v) => v / e.reduce((a, b) => a + b))
    })
    close(value, [-(Math.log(soft[2]) + Math.log(soft[3])) / 2], 'cross-entropy')
    close(
      slope,
      soft.map((v, i) => (v - (i === 2 || i === 3 ? 1 : 0)) / 2),
      'its gradient',
    )
  }
})
