// A case's words mean what people mean by them, and words that mean nothing are named.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { input, interpret, makeGraph } from '@bitloom/graph'
import { parameterSelector } from '../named/optimizer.ts'
import { slotName } from '../onnx/names.ts'
import { constant } from '../tensor.ts'
import { CaseError, readCase } from './case.ts'
import { cutOutside, evaluateFormula, FormulaError, numbers } from './formula.ts'
import { evaluateRates, ratesByFormula, ratesOf } from './rates.ts'
import { transformOf } from './transform.ts'
import { weightsOfCase } from './weights.ts'

const CASE = {
  name: 'small',
  model: {
    onnx: 'model.onnx',
    input: { name: 'x', dtype: 'float32', shape: ['batch', 2], from: 'train_x.f32', transform: 'none' },
    output: 'y',
  },
  trainable: ['w'],
  frozen: [],
  buffers: [],
  loss: { type: 'mse', reduction: 'mean over all elements', target: 'float32 [batch,1]' },
  optimizer: { type: 'sgd', momentum: 0.9, rule: 'v=momentum*v+g; w-=lr*v' },
  lr: { type: 'constant', lr: 0.1 },
  grad_clip: null,
  steps: 3,
  batch_size: 2,
  data: {
    'train_x.f32': { dtype: 'float32', shape: [4, 2] },
    'train_y.f32': { dtype: 'float32', shape: [4, 1] },
    'batches.i32': { dtype: 'int32', shape: [3, 2], meaning: 'row t' },
  },
}

test('formulas', () => {
  const value = (text: string): number =>
    evaluateFormula(
      text,
      numbers((name) => ({ it: 7, max: 2 })[name]),
    )
  assert.equal(value('1 + 2*3 - 4/2'), 5)
  assert.equal(value('2^3^2'), 512)
  assert.equal(value('-2**2'), -4)
  assert.equal(value('max*(it+1)/(max+2)'), 4)
  assert.equal(value('max(it, 9) - floor(it/2) · 1e0'), 6)
  assert.ok(Math.abs(value('0.5×(1+cos(π))')) < 1e-15)
  assert.equal(value('it <= 7'), 1)
  for (const wrong of ['', '1 +', '(1', 'sinus(1)', 'unknown', '1 2', '1 ? 2', '('.repeat(500)])
    assert.throws(() => value(wrong), FormulaError, wrong)
  assert.deepEqual(cutOutside('f(a, b), c; d', /[,;]/), ['f(a, b)', 'c', 'd'])
})

test('rates by formula, by type, by list', () => {
  const gpt = {
    type: 'linear warmup + cosine',
    max_lr: 0.001,
    min_lr: 0.0001,
    warmup: 20,
    decay_steps: 200,
    formula: 'it<warmup: max*(it+1)/(warmup+1); else min+0.5*(1+cos(pi*(it-warmup)/(decay-warmup)))*(max-min), it=0..199',
  }
  const expected = (it: number): number =>
    Math.fround(it < 20 ? (0.001 * (it + 1)) / 21 : 0.0001 + 0.5 * (1 + Math.cos((Math.PI * (it - 20)) / 180)) * 0.0009)
  assert.deepEqual(
    [...ratesOf(gpt, 200).table!],
    Array.from({ length: 200 }, (_, it) => expected(it)),
  )
  assert.deepEqual([...ratesByFormula('lr = lr0 / t, t=1..3', { lr: 3 }, 3)], [3, 1.5, 1])
  const stepped = ratesOf({ type: 'step', lr: 1, step_size: 2, gamma: 0.5, formula: 'halved now and then' }, 4)
  assert.deepEqual([...evaluateRates(stepped.schedule, 4)], [1, 1, 0.5, 0.5])
  assert.match(stepped.notes[0], /formula is not understood/)
  assert.deepEqual([...ratesOf([3, 2, 1], 3).table!], [3, 2, 1])
  const odd = ratesOf({ type: 'piecewise', boundaries: [1] }, 2, [0.5, 0.25])
  assert.deepEqual([...odd.table!], [0.5, 0.25])
  assert.throws(() => ratesOf({ type: 'piecewise', boundaries: [1] }, 2), /no schedule "piecewise"/)
  assert.match(ratesOf({ type: 'constant', lr: 1 }, 2, [1, 0.5]).notes[0], /curve\.json lists 0\.5/)
  assert.deepEqual(ratesOf({ type: 'constant', lr: 0.1 }, 2, [0.1, 0.1]).notes, [])
})

/** What a transform makes of records [1, ..]. */
function transformed(
  text: string,
  stored: number[],
  data: Float32Array | Uint8Array,
  shape: number[],
  fields = {},
  dtype: 'f32' | 'i32' = 'f32',
): number[] {
  const raw = input(1, data instanceof Uint8Array ? 'u8' : 'f32', [1, ...stored])
  const y = transformOf({ field: 'model.input', dtype, shape, transform: text, fields }, stored).apply(raw)
  assert.deepEqual(y.shape, [1, ...shape])
  const slots = [
    { name: 'y', kind: 'state', dtype, shape: y.shape },
    { name: 'x', kind: 'data', dtype: raw.dtype, shape: raw.shape },
  ] as const
  const blank = dtype === 'f32' ? new Float32Array(y.shape.reduce((a, b) => a * b, 1)) : new Int32Array(y.shape.reduce((a, b) => a * b, 1))
  return [...interpret(makeGraph([...slots], [y], constant(0, 'i32')), [blank, data]).next[0]]
}

test('transforms', () => {
  const u8 = Uint8Array.of(0, 51, 102, 255)
  const f = Math.fround
  assert.deepEqual(transformed('float32(u8) / float32(255), row-major', [4], u8, [4]), [0, f(51 / 255), f(102 / 255), 1])
  assert.deepEqual(transformed('u8/255*2 - 1', [4], u8, [2, 2]), [-1, f(f(f(51 / 255) * 2) - 1), f(f(f(102 / 255) * 2) - 1), 1])
  assert.deepEqual(transformed('(x - mean[c]) / std[c], NHWC -> NCHW', [1, 2, 2], u8, [2, 1, 2], { mean: [2, 1], std: [2, 5] }), [
    -1,
    50,
    10,
    f(254 / 5),
  ])
  assert.deepEqual(transformed('none', [1, 2, 2], u8, [2, 1, 2]), [0, 102, 51, 255], 'records [h, w, c] for an input [c, h, w] are turned')
  assert.deepEqual(transformed('none (already standardised)', [2], Float32Array.of(1.5, -2), [2]), [1.5, -2])
})

test('transforms of several steps', () => {
  const u8 = Uint8Array.of(0, 51, 102, 255)
  const f = Math.fround
  const expected = [0, 51, 102, 255].map((v, i) => f(f(f(v / 255) - [0.5, 0.25][i % 2]) / [0.5, 2][i % 2]))
  const moments = { mean: [0.5, 0.25], std: [0.5, 2] }
  for (const text of [
    'float32(u8) / float32(255), then (x - mean) / std per channel',
    'u8/255, normalize with mean and std',
    'x/255 normalized per channel',
    '/255; x = (x - mean[c]) / std[c]',
    'scaled to [0, 1], standardised with mean and std',
    'divided by 255 and then (x - mean) / std, normalized by channel',
    'HWC bytes; float32 / 255; normalise',
  ])
    assert.deepEqual(transformed(text, [1, 2, 2], u8, [1, 2, 2], moments), expected, text)
  for (const text of ['u8/255, normalize(mean=[0.5, 0.25], std=[0.5, 2])', 'u8/255 then normalised with mean 0.5,0.25 and std 0.5,2'])
    assert.deepEqual(transformed(text, [1, 2, 2], u8, [1, 2, 2]), expected, text)
  assert.deepEqual(transformed('u8/255, normalize', [1, 2, 2], u8, [1, 2, 2], { normalize: moments }), expected)
  assert.deepEqual(transformed('already standardised', [2], Float32Array.of(1.5, -2), [2], { mean: [1, 1], std: [1, 1] }), [1.5, -2])
  assert.deepEqual(transformed('NHWC u8 -> NCHW float32', [2, 1, 2], u8, [2, 2, 1]), [0, 102, 51, 255])
})

test('windows and one-hot tokens', () => {
  const window = 'window[0:T] is the input, window[1:T+1] the targets; u8 token id -> int64'
  assert.deepEqual(transformed(window, [4], Uint8Array.of(5, 6, 7, 8), [3], {}, 'i32'), [5, 6, 7])
  assert.deepEqual(transformed('one-hot of the token', [3], Uint8Array.of(1, 0, 2), [2, 3]), [0, 1, 0, 1, 0, 0])
})

test('what is not understood is named', () => {
  const d = { field: 'model.input', dtype: 'f32' as const, shape: [4], fields: {} }
  assert.throws(() => transformOf({ ...d, transform: 'gamma(u8, 2.2)' }, [4]), /no function "gamma"/)
  assert.throws(() => transformOf({ ...d, transform: 'u8 / scale' }, [4]), /"scale"/)
  assert.throws(() => transformOf({ ...d, transform: 'none' }, [7]), /a record \[7\] is not the input \[4\]/)
  const wrong = (change: object, reason: RegExp): void =>
    assert.throws(
      () => readCase({ ...CASE, ...change }),
      (e: Error) => e instanceof CaseError && reason.test(e.message),
    )
  wrong({ model: 3 }, /"model" is 3/)
  wrong({ loss: { type: 'hinge' } }, /no loss "hinge"/)
  wrong({ loss: { type: 'mse', margin: 2 } }, /"margin"/)
  wrong({ optimizer: { type: 'sgd', momentun: 0.9 } }, /"momentun"/)
  wrong({ optimizer: { type: 'adamw', weight_decay: 0.1, decay_only: 'the big ones' } }, /"the big ones" says no set/)
  wrong({ grad_clip: { type: 'agc', ratio: 0.1 } }, /"ratio"/)
  wrong({ grad_clip: { max_norm: 1, norm_type: 1 } }, /norm_type/)
  wrong({ trainable: 'all' }, /"trainable" is "all"/)
  wrong({ lr: undefined }, /no "lr"/)
  wrong({ steps: 0 }, /"steps" is 0/)
  wrong({ data: { '../secret': { dtype: 'uint8', shape: [1] } } }, /plain file name/)
  assert.throws(() => readCase([]), CaseError)
})

test('a case as it is meant', () => {
  const c = readCase(CASE)
  assert.equal(c.loss.name, 'mse')
  assert.deepEqual([c.steps, c.batch, c.accumulate, c.clip, c.clipValue, c.output], [3, 2, 1, undefined, undefined, 'y'])
  assert.deepEqual(c.optimizer.moments, ['m'])
  assert.equal(readCase({ ...CASE, grad_clip: { type: 'global L2 norm', max_norm: 2, formula: 'prose' } }).clip, 2)
  assert.equal(readCase({ ...CASE, grad_clip: { type: 'by value', max: 2 } }).clipValue, 2)
  assert.equal(readCase({ ...CASE, loss: { type: 'mse', note: 'anything', remark: 'words that are no option' } }).loss.reduction, 'mean')
  assert.equal(readCase({ ...CASE, loss: 'l1', optimizer: 'adam', lr: 0.1 }).lr, 0.1)
  const rated = { type: 'sgd', lr: 0.2 }
  assert.deepEqual(readCase({ ...CASE, optimizer: rated, lr: { type: 'cosine' } }).lr, { type: 'cosine', lr: 0.2 })
  assert.equal(readCase({ ...CASE, optimizer: rated, lr: undefined }).lr, 0.2)
  assert.deepEqual(readCase({ ...CASE, optimizer: rated }).lr, { type: 'constant', lr: 0.1 })
})

test('folded tensors that hold one value are told by their order', () => {
  const filled = (name: string, shape: number[], x: number) => ({
    name,
    shape,
    initial: new Float32Array(shape[0] * (shape[1] ?? 1)).fill(x),
  })
  const loaded = (shape: number[], x: number) => ({
    stored: 'F32' as const,
    dtype: 'F32' as const,
    shape,
    data: new Float32Array(shape[0] * (shape[1] ?? 1)).fill(x),
  })
  const named = { trainable: ['a.B', 'b.B'], frozen: ['c'], buffers: [] }
  const initial = new Map([
    ['a.B', loaded([6, 2], 0)],
    ['b.B', loaded([6, 2], 0)],
    ['c', loaded([3], 1)],
  ])
  const imported = [filled('onnx::MatMul_1', [2, 6], 0), filled('c', [3], 1), filled('onnx::MatMul_2', [2, 6], 0)]
  const { parameters, lookup, notes } = weightsOfCase(named, imported, initial)
  assert.deepEqual(
    parameters.map((p) => [p.name, p.shape, p.frozen ?? false]),
    [
      ['a.B', [6, 2], false],
      ['b.B', [6, 2], false],
      ['c', [3], true],
    ],
  )
  assert.match(notes[0], /transpose of "a\.B"/)
  const asked: string[] = []
  const read = lookup((name) => {
    asked.push(name)
    return input(0, 'f32', [6, 2])
  })
  assert.deepEqual(read('onnx::MatMul_2').shape, [2, 6])
  assert.deepEqual(asked, ['b.B'])
  assert.throws(() => weightsOfCase(named, imported.slice(0, 2), initial), /names a\.B, b\.B, which the model does not have/)
})

test('a whole name that is too long for a slot chooses its parameter', () => {
  const long = `base_model.model.${'transformer.'.repeat(5)}lora_A.weight`
  const chosen = parameterSelector([long, 'b.*'], assert.fail)
  assert.ok(slotName(long) !== long && chosen(slotName(long), [2, 2]) && chosen('b.weight', [2]))
  assert.ok(!chosen('a.weight', [2]))
})
