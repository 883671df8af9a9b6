// What people call losses, optimizers and schedules: every spelling means the function it should, and nothing misspelt is ignored.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Expr, encodeGraph, input, interpret, makeGraph, type Slot } from '@bitloom/graph'
import { bceWithLogits, crossEntropy, huber, mse } from '../loss.ts'
import { adam, adamw, lion, type Optimizer, sgd } from '../optim.ts'
import { cosineRate, type Schedule, warmUp } from '../schedule.ts'
import { add, cast, constant, permute, reshape } from '../tensor.ts'
import { LOSS_NAMES, lossByName } from './loss.ts'
import { OPTIMIZER_NAMES, optimizerByName, parameterSelector } from './optimizer.ts'
import { matches, OptionError } from './options.ts'
import { SCHEDULE_NAMES, scheduleByName } from './schedule.ts'

/** The bytes of a graph of one expr over some inputs: equal exprs have equal bytes. */
function bytesOf(make: (x: Expr, t: Expr) => Expr, x: readonly number[], t: readonly number[], dtype: 'f32' | 'i32' | 'u8'): string {
  const y = make(input(1, 'f32', x), input(2, dtype, t))
  const slots: Slot[] = [
    { name: 'y', kind: 'state', dtype: 'f32', shape: [1] },
    { name: 'x', kind: 'data', dtype: 'f32', shape: x },
    { name: 't', kind: 'data', dtype, shape: t },
  ]
  return Buffer.from(encodeGraph(makeGraph(slots, [reshape(y, [1])], constant(0, 'i32')))).toString('hex')
}

test('losses by name are the functions they name', () => {
  const same = (
    name: string,
    options: Record<string, unknown>,
    x: number[],
    t: number[],
    dtype: 'f32' | 'i32' | 'u8',
    make: (x: Expr, t: Expr) => Expr,
  ): void =>
    assert.equal(
      bytesOf((a, b) => lossByName(name, options).value(a, b), x, t, dtype),
      bytesOf(make, x, t, dtype),
      name,
    )
  same('cross_entropy', {}, [4, 3], [4], 'i32', crossEntropy)
  same('softmax-cross-entropy', { reduction: 'mean over batch*time' }, [2, 5, 3], [2, 5], 'u8', (x, t) => crossEntropy(x, cast(t, 'i32')))
  same('CrossEntropy', { label_smoothing: 0.1, weight: [1, 2, 3], ignore_index: -100 }, [4, 3], [4], 'i32', (x, t) =>
    crossEntropy(x, t, { labelSmoothing: 0.1, weight: [1, 2, 3], ignoreIndex: -100 }),
  )
  same('cross_entropy', {}, [4, 3], [4, 3], 'f32', (x, t) => crossEntropy(x, t))
  same('cross_entropy', {}, [2, 3, 2, 2], [2, 2, 2], 'i32', (x, t) => crossEntropy(permute(x, [0, 2, 3, 1]), t))
  same('cross_entropy', {}, [4, 3], [4, 1], 'i32', (x, t) => crossEntropy(x, reshape(t, [4])))
  same('mse', {}, [4, 1], [4], 'f32', (x, t) => mse(x, reshape(t, [4, 1])))
  same('huber', { delta: 0.5 }, [4], [4], 'f32', (x, t) => huber(x, t, 0.5))
  same('bce with logits', { pos_weight: 3 }, [4], [4], 'f32', (x, t) => bceWithLogits(x, t, { posWeight: [3] }))
  for (const name of LOSS_NAMES) assert.equal(lossByName(name).name, name)
})

test('reductions', () => {
  const value = (options: Record<string, unknown>): number => {
    const y = lossByName('l1', options).value(input(1, 'f32', [2, 2]), input(2, 'f32', [2, 2]))
    const slots: Slot[] = [
      { name: 'y', kind: 'state', dtype: 'f32', shape: [] },
      { name: 'x', kind: 'data', dtype: 'f32', shape: [2, 2] },
      { name: 't', kind: 'data', dtype: 'f32', shape: [2, 2] },
    ]
    return interpret(makeGraph(slots, [y], constant(0, 'i32')), [new Float32Array(1), Float32Array.of(1, 2, 3, 4), new Float32Array(4)])
      .next[0][0]
  }
  assert.deepEqual(
    [{}, { reduction: 'sum' }, { reduction: 'batchmean' }, { reduction: 'mean over batch of the sum over elements' }].map(value),
    [2.5, 10, 5, 5],
  )
  assert.throws(() => lossByName('mse', { reduction: 'median' }), OptionError)
})

/** One update as bytes. */
const updateOf = (o: Optimizer, name = 'fc.weight', shape: readonly number[] = [1]): string =>
  bytesOf(
    (w, g) => {
      const moments = o.moments.map((_, i) => constant(i + 2))
      const shared = o.advance(o.shared.map((_, i) => constant(i + 7)))
      const { parameter, moments: next } = o.update({ name, parameter: w, gradient: g, moments, shared, lr: constant(0.5) })
      return [parameter, ...next].reduce((x, y) => add(x, y))
    },
    shape,
    shape,
    'f32',
  )

test('optimizers by name', () => {
  const same = (a: Optimizer, b: Optimizer, name?: string): void => {
    assert.equal(updateOf(a, name), updateOf(b, name))
    assert.deepEqual([a.moments, a.shared], [b.moments, b.shared])
  }
  same(
    optimizerByName('sgd', { momentum: 0.9, dampening: 0, nesterov: true, weight_decay: 0.1 }),
    sgd({ momentum: 0.9, nesterov: true, weightDecay: 0.1 }),
  )
  same(optimizerByName('Adam', { betas: [0.8, 0.9], eps: 1e-6 }), adam({ betas: [0.8, 0.9], eps: 1e-6 }))
  same(optimizerByName('adam', { beta1: 0.8, weight_decay: 0.1, decoupled: true }), adamw({ betas: [0.8, 0.999], weightDecay: 0.1 }))
  same(optimizerByName('AdamW', {}), adamw())
  same(optimizerByName('lion', { weight_decay: 0.2 }), lion({ weightDecay: 0.2 }))
  const grouped = optimizerByName('adamw', {
    weight_decay: 0.1,
    groups: [
      { match: '*.bias', weight_decay: 0 },
      { match: ['fc.*'], weight_decay: 0.3 },
    ],
  })
  same(grouped, adamw({ weightDecay: 0 }), 'fc.bias')
  same(grouped, adamw({ weightDecay: 0.3 }), 'fc.weight')
  same(grouped, adamw({ weightDecay: 0.1 }), 'head.weight')
  assert.notEqual(updateOf(optimizerByName('sgd', { maximize: true }), 'w'), updateOf(sgd(), 'w'))
  for (const name of OPTIMIZER_NAMES) assert.ok(optimizerByName(name).update)
})

test('who decays, in words', () => {
  const fail = (message: string): never => {
    throw new OptionError(message)
  }
  const all: [string, number[]][] = [
    ['fc.weight', [4, 4]],
    ['fc.bias', [4]],
    ['ln.weight', [4]],
    ['conv.weight', [4, 4, 3, 3]],
  ]
  const chosen = (given: unknown): string =>
    all.flatMap(([name, shape]) => (parameterSelector(given, fail)(name, shape) ? [name] : [])).join(' ')
  assert.equal(chosen('all parameters, biases included'), 'fc.weight fc.bias ln.weight conv.weight')
  assert.equal(chosen('tensors with >= 2 dims (includes wte, wpe); LayerNorm weights not decayed'), 'fc.weight conv.weight')
  assert.equal(chosen('tensors with at least 2 dimensions'), 'fc.weight conv.weight')
  assert.equal(chosen('p.dim() >= 2'), 'fc.weight conv.weight')
  assert.equal(chosen('matrices'), 'fc.weight conv.weight')
  assert.equal(chosen('none'), '')
  assert.equal(chosen('weights'), 'fc.weight ln.weight conv.weight')
  assert.equal(chosen('all parameters except biases'), 'fc.weight ln.weight conv.weight')
  assert.equal(chosen('all but biases and norms'), 'fc.weight conv.weight')
  assert.equal(chosen(['fc.*']), 'fc.weight fc.bias')
  assert.equal(chosen({ min_dims: 2, except: ['conv.*'] }), 'fc.weight')
  assert.throws(() => chosen('whatever feels right'), OptionError)
})

test('schedules by name', () => {
  const at = (s: Schedule, step: number): number => {
    const slots: Slot[] = [{ name: 'y', kind: 'state', dtype: 'f32', shape: [] }]
    return interpret(makeGraph(slots, [s(constant(step, 'i32'))], constant(0, 'i32')), [new Float32Array(1)]).next[0][0]
  }
  const close = (s: Schedule, step: number, rate: number): void =>
    assert.ok(Math.abs(at(s, step) - rate) < 1e-6, `${at(s, step)}, not ${rate}`)
  const gpt = { max_lr: 1e-3, min_lr: 1e-4, warmup: 20, decay_steps: 200, warmup_divisor: 21 }
  const named = scheduleByName('linear warmup + cosine', gpt, 200)
  const built = warmUp(20, cosineRate(1e-3, 180, 1e-4), 21)
  for (const step of [0, 5, 19, 20, 100, 199]) assert.equal(at(named, step), at(built, step))
  close(scheduleByName('constant', { lr: 0.5 }, 10), 7, 0.5)
  close(scheduleByName('StepLR', { lr: 1, step_size: 3, gamma: 0.5 }, 10), 7, 0.25)
  close(scheduleByName('multi-step', { lr: 1, milestones: [3, 6], gamma: 0.5 }, 10), 5, 0.5)
  close(scheduleByName('exponential decay', { lr: 1, gamma: 0.5 }, 10), 3, 0.125)
  close(scheduleByName('linear', { lr: 1, min_lr: 0 }, 10), 5, 0.5)
  close(scheduleByName('cosine annealing', { lr: 1 }, 10), 5, 0.5)
  close(scheduleByName('warm-up', { lr: 1, warmup_steps: 4 }, 10), 1, 0.5)
  for (const name of SCHEDULE_NAMES)
    assert.ok(
      scheduleByName(
        name,
        {
          lr: 1,
          ...(/step|exp/.test(name) ? { gamma: 0.5 } : {}),
          ...(name === 'step' ? { every: 2 } : name === 'multistep' ? { at: [2] } : {}),
        },
        10,
      ),
    )
})

test('nothing misspelt is ignored', () => {
  assert.throws(() => lossByName('msee'), /there is no loss "msee"/)
  assert.throws(() => lossByName('mse', { label_smoothing: 0.1 }), /"label_smoothing" \(0\.1\) is not understood/)
  assert.throws(() => lossByName('cross_entropy', { label_smoothing: 1.5 }), /above 1/)
  assert.throws(() => optimizerByName('adam', { beta3: 0.9 }), /"beta3"/)
  assert.throws(() => optimizerByName('adam', { betas: [0.9, 1] }), /a beta of 1/)
  assert.throws(() => optimizerByName('sgd', { momentum: 'high' }), /"momentum" is "high"/)
  assert.throws(() => optimizerByName('adam', { weight_decay: 0.1, weightDecay: 0.2 }), /different things/)
  assert.throws(() => scheduleByName('sawtooth', { lr: 1 }, 10), /no schedule "sawtooth"/)
  assert.throws(() => scheduleByName('cosine', { lr: 1, gamma: 0.5 }, 10), /"gamma"/)
  assert.throws(() => scheduleByName('cosine', {}, 10), /there is no "lr"/)
})

test('patterns', () => {
  assert.ok(matches('*.bias', 'a.b.bias') && matches('a*c*e', 'abcde') && matches('*', '') && matches('x', 'x'))
  assert.ok(!matches('*.bias', 'bias') && !matches('a*a', 'a') && !matches('a*c*c', 'abc') && !matches('x', 'xy'))
})
