// Optimizers, schedules and losses follow their definitions, written down a second time in float64.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Expr, input, interpret, makeGraph, type Slot } from '@bitloom/graph'
import { gradients } from './grad.ts'
import * as losses from './loss.ts'
import {
  adagrad,
  adam,
  adamw,
  clipByNorm,
  clipByValue,
  gradientNorm,
  lion,
  maximizing,
  type Optimizer,
  OptimizerError,
  rmsprop,
  scaledRates,
  sgd,
} from './optim.ts'
import {
  constantRate,
  cosineRate,
  exponentialRate,
  linearRate,
  multiStepDecay,
  oneCycleRate,
  type Schedule,
  stepDecay,
  warmUp,
} from './schedule.ts'
import { constant, reshape, vector } from './tensor.ts'

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

test('dampening holds back every gradient but the first', () => {
  const by = START.map((x) => {
    let [w, v] = [x, 0]
    for (let t = 0; t < 5; t++) {
      v = t === 0 ? 2 * w : 0.9 * v + 0.7 * 2 * w
      w -= 0.1 * v
    }
    return w
  })
  close(trained(sgd({ momentum: 0.9, dampening: 0.3 }), START, 5, 0.1), by, 'dampening')
  assert.throws(() => sgd({ momentum: 0.9, dampening: 0.3, nesterov: true }), OptimizerError)
})

test('amsgrad keeps the largest second moment', () => {
  const by = START.map((x) => {
    let [w, m, v, top] = [x, 0, 0, 0]
    for (let t = 1; t <= 20; t++) {
      const g = 2 * w
      m = 0.5 * m + 0.5 * g
      v = 0.5 * v + 0.5 * g * g
      top = Math.max(top, v)
      w -= (0.1 * (m / (1 - 0.5 ** t))) / (Math.sqrt(top / (1 - 0.5 ** t)) + 1e-8)
    }
    return w
  })
  close(trained(adam({ betas: [0.5, 0.5], amsgrad: true }), START, 20, 0.1), by, 'amsgrad', 3e-6)
})

test('rmsprop, centred and with momentum', () => {
  for (const [centered, momentum, decay] of [
    [false, 0, 0],
    [true, 0, 0.1],
    [false, 0.5, 0],
    [true, 0.9, 0.2],
  ] as const) {
    const by = START.map((x) => {
      let [w, s, a, m] = [x, 0, 0, 0]
      for (let t = 0; t < 8; t++) {
        const g = 2 * w + decay * w
        s = 0.9 * s + 0.1 * g * g
        a = 0.9 * a + 0.1 * g
        const q = g / (Math.sqrt(centered ? s - a * a : s) + 1e-6)
        m = momentum * m + q
        w -= 0.01 * (momentum === 0 ? q : m)
      }
      return w
    })
    const options = { alpha: 0.9, eps: 1e-6, centered, momentum, weightDecay: decay }
    close(trained(rmsprop(options), START, 8, 0.01), by, JSON.stringify(options), 3e-6)
  }
})

test('adagrad, with a rate that decays and an accumulator that starts above 0', () => {
  for (const [lrDecay, initialAccumulator] of [
    [0, 0],
    [0.1, 0.5],
  ]) {
    const by = START.map((x) => {
      let [w, s] = [x, initialAccumulator]
      for (let t = 0; t < 10; t++) {
        const g = 2 * w
        s += g * g
        w -= ((0.1 / (1 + t * lrDecay)) * g) / (Math.sqrt(s) + 1e-10)
      }
      return w
    })
    close(trained(adagrad({ lrDecay, initialAccumulator }), START, 10, 0.1), by, `lrDecay ${lrDecay}`)
  }
})

test('lion goes by signs, and the sign of 0 is 0', () => {
  const start = [...START, 0]
  const by = start.map((x) => {
    let [w, m] = [x, 0]
    for (let t = 0; t < 6; t++) {
      const g = 2 * w
      w = w * (1 - 0.1 * 0.3) - 0.1 * Math.sign(0.9 * m + 0.1 * g)
      m = 0.99 * m + 0.01 * g
    }
    return w
  })
  close(trained(lion({ weightDecay: 0.3 }), start, 6, 0.1), by, 'lion')
})

test('groups: decay and rate of a parameter of their own; uphill', () => {
  const by = (decay: number, rate: number): number[] =>
    START.map((x) => {
      let w = x
      for (let t = 0; t < 3; t++) w -= rate * (2 * w + decay * w)
      return w
    })
  close(trained(sgd({ weightDecay: 0.5, decays: () => 0.25 }), START, 3, 0.1), by(0.25, 0.1), 'decay by number')
  close(
    trained(
      scaledRates(sgd(), () => 0.5),
      START,
      3,
      0.1,
    ),
    by(0, 0.05),
    'rate',
  )
  close(trained(maximizing(sgd()), START, 3, 0.1), by(0, -0.1), 'uphill')
})

test('clipping by value holds every element', () => {
  close(evaluated((x) => clipByValue([x], 0.5), Float32Array.of(-3, 0.25, 0.75))[0], [-0.5, 0.25, 0.5], 'clipped')
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

test('rates of milestones, exponents and one cycle', () => {
  const steps = [0, 1, 9, 10, 29, 30, 31, 60, 99]
  const rates = (schedule: Schedule): number[] => steps.map((s) => evaluated(() => [schedule(constant(s, 'i32'))])[0][0])
  const milestones = (s: number): number => (s >= 60 ? 0.003 : s >= 10 ? 0.03 : 0.3)
  close(rates(multiStepDecay(0.3, [60, 10], 0.1)), steps.map(milestones), 'milestones')
  close(
    rates(exponentialRate(0.3, 0.97, 100)),
    steps.map((s) => 0.3 * 0.97 ** s),
    'exponential',
  )
  // values of torch.optim.lr_scheduler.OneCycleLR(max_lr=1, total_steps=100, cycle_momentum=False)
  const cycle = (s: number): number => {
    const anneal = (a: number, b: number, x: number): number => b + ((a - b) / 2) * (1 + Math.cos(Math.PI * x))
    return s <= 29 ? anneal(0.04, 1, s / 29) : anneal(1, 4e-6, (s - 29) / 70)
  }
  close(rates(oneCycleRate(1, 100)), steps.map(cycle), 'one cycle')
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
    ['smoothL1', (a, b) => losses.smoothL1(a, b, 0.5), (a, b) => (Math.abs(a - b) < 0.5 ? (a - b) ** 2 : Math.abs(a - b) - 0.25)],
    [
      'bceWithLogits, positives weighted',
      (a, b) => losses.bceWithLogits(a, b, { posWeight: [3], weight: [0.5] }),
      (a, b) => 0.5 * (3 * b * Math.log1p(Math.exp(-a)) + (1 - b) * Math.log1p(Math.exp(a))),
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

/** x of rank 1 as [shape]. */
const shaped = (x: Expr, shape: number[]): Expr => reshape(x, shape)

test('cross-entropy with weights, ignored labels, smoothing, probabilities and classes in the middle', () => {
  const logits = [2, -1, 0.5, 0, 0.25, 4, -2, 1, 0, 0.5, 0.5, -0.5]
  const labels = [2, 0, 7, 1]
  const soft = [0.2, 0.5, 0.3, 1, 0, 0, 0.25, 0.25, 0.5, 0.1, 0.1, 0.6]
  const weight = [0.5, 2, 1]
  const logp = [0, 3, 6, 9].flatMap((at) => {
    const row = logits.slice(at, at + 3)
    const z = Math.log(row.reduce((a, v) => a + Math.exp(v), 0))
    return row.map((v) => v - z)
  })
  const rows = [0, 1, 3]
  const eps = 0.1
  const value = (r: number): number => {
    const w = weight[labels[r]]
    const smooth = [0, 1, 2].reduce((sum, c) => sum - weight[c] * logp[3 * r + c], 0)
    return (1 - eps) * -w * logp[3 * r + labels[r]] + (eps / 3) * smooth
  }
  const expected = rows.reduce((sum, r) => sum + value(r), 0) / rows.reduce((sum, r) => sum + weight[labels[r]], 0)
  const options = { weight, ignoreIndex: 7, labelSmoothing: eps }
  const byLabel = (x: Expr): Expr => losses.crossEntropy(shaped(x, [4, 3]), vector(labels, 'i32'), options)
  const x = Float32Array.from(logits)
  const [got, slope] = evaluated((a) => [byLabel(a), gradients(byLabel(a), [a])[0]], x)
  close(got, [expected], 'all options')
  assert.ok(
    slope.slice(6, 9).every((v) => v === 0),
    'an ignored row has no slope',
  )
  const moved = evaluated(
    (a) => [byLabel(a)],
    x.map((v, i) => (i === 3 ? v + 2 ** -7 : v)),
  )[0][0]
  const back = evaluated(
    (a) => [byLabel(a)],
    x.map((v, i) => (i === 3 ? v - 2 ** -7 : v)),
  )[0][0]
  assert.ok(Math.abs((moved - back) * 2 ** 6 - slope[3]) < 1e-4, `${(moved - back) * 2 ** 6}, ${slope[3]}`)

  const probabilities = (a: Expr): Expr => losses.crossEntropy(shaped(a, [4, 3]), shaped(vector(soft), [4, 3]))
  close(evaluated((a) => [probabilities(a)], x)[0], [-soft.reduce((sum, t, i) => sum + t * logp[i], 0) / 4], 'probabilities')

  // [2, 3 classes, 2]: the same rows, classes in the middle
  const turned = Float32Array.from([0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11], (i) => logits[i])
  const middle = (a: Expr): Expr =>
    losses.crossEntropy(shaped(a, [2, 3, 2]), shaped(vector(labels, 'i32'), [2, 2]), { ...options, axis: 1 })
  close(evaluated((a) => [middle(a)], turned)[0], [expected], 'classes in the middle')

  const byLogp = (a: Expr): Expr => losses.nll(shaped(a, [4, 3]), vector(labels, 'i32'), { weight, ignoreIndex: 7 })
  const nll =
    rows.reduce((sum, r) => sum - weight[labels[r]] * logp[3 * r + labels[r]], 0) / rows.reduce((sum, r) => sum + weight[labels[r]], 0)
  close(evaluated((a) => [byLogp(a)], Float32Array.from(logp))[0], [nll], 'nll')
  assert.throws(() => losses.crossEntropy(shaped(vector(logits), [4, 3]), vector([1, 2], 'i32')), losses.LossError)
  assert.throws(() => losses.crossEntropy(shaped(vector(logits), [4, 3]), vector(labels, 'i32'), { weight: [1] }), losses.LossError)
})

test('binary cross-entropy has a slope at certainty', () => {
  const [slope] = evaluated((p, y) => [gradients(losses.bce(p, y), [p])[0]], Float32Array.of(0, 1, 0.25), Float32Array.of(0, 1, 1))
  close(slope, [0, 0, -4 / 3], 'slope')
})
