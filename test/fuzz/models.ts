// Small random training steps out of the model's own layers, losses and optimizers: the patterns that kernels are fused for, which random ops seldom form.
import { type Data, type Expr, input, makeGraph, type Shape, type Slot, sizeOf } from '@bitloom/graph'
import { conv2d } from '@bitloom/model/conv'
import { gradients } from '@bitloom/model/grad'
import { crossEntropy, mse } from '@bitloom/model/loss'
import { exp, gelu, relu, tanh } from '@bitloom/model/math'
import { embedding, layerNorm, linear, selfAttention, softmax } from '@bitloom/model/nn'
import { batchMoments, batchNorm } from '@bitloom/model/norm'
import { adamw, clipByNorm } from '@bitloom/model/optim'
import { averagePool2d, maxPool2d } from '@bitloom/model/pool'
import { dropoutMask } from '@bitloom/model/random'
import { add, cast, constant, matmul, mul, permute, reshape, slice, sum, transpose } from '@bitloom/model/tensor'
import { Draw, randomData, type Sample } from './graphs.ts'

/** Parameters as they are asked for: each becomes a state slot with two moments. */
class Parameters {
  readonly made: { readonly name: string; readonly shape: Shape; readonly e: Expr }[] = []
  readonly #at = new Map<string, Expr>()

  get = (name: string, ...shape: number[]): Expr => {
    let e = this.#at.get(name)
    if (e === undefined) {
      e = input(3 * this.made.length, 'f32', shape)
      this.#at.set(name, e)
      this.made.push({ name, shape, e })
    }
    return e
  }
}

/** Input slots lie here until it is known how many state slots come before them. */
const LATER = 3000

type Build = (p: Parameters, draw: Draw, data: (dtype: 'f32' | 'i32' | 'u8', shape: Shape) => Expr) => Expr

/** Linear layers with and without bias, several activations, on ragged sizes. */
const dense: Build = (p, draw, data) => {
  const [rows, inputs, hidden, classes] = [draw.between(1, 23), draw.between(1, 30), draw.between(1, 37), draw.between(2, 11)]
  const x = draw.chance(0.5) ? data('f32', [rows, inputs]) : mul(cast(data('u8', [rows, inputs]), 'f32'), 1 / 255)
  p.get('a.weight', hidden, inputs)
  p.get('a.bias', hidden)
  p.get('b.weight', classes, hidden)
  const activation = draw.pick([relu, gelu, tanh, (y: Expr) => softmax(y), (y: Expr) => exp(mul(y, 0.1))])
  const look = (name: string): Expr => p.get(name)
  const h = activation(linear(look, 'a', x))
  const kept = draw.chance(0.3)
    ? mul(
        h,
        dropoutMask([constant(7, 'i32'), constant(9, 'i32')].map((w) => reshape(w, [1])) as [Expr, Expr], h.shape, 0.3, constant(3, 'i32')),
      )
    : h
  return crossEntropy(linear(look, 'b', kept, false), data('i32', [rows]))
}

/** A transformer: embedding, attention, layer norms, residuals, a tied head. */
const transformer: Build = (p, draw, data) => {
  const [batch, time, heads, each, symbols] = [
    draw.between(1, 3),
    draw.between(1, 13),
    draw.between(1, 3),
    draw.between(1, 9),
    draw.between(2, 9),
  ]
  const width = heads * each
  const bias = draw.chance(0.5)
  const wide = draw.between(1, 40)
  const norm = (name: string): void => {
    p.get(`${name}.weight`, width)
    if (bias) p.get(`${name}.bias`, width)
  }
  const full = (name: string, outputs: number, inputs: number): void => {
    p.get(`${name}.weight`, outputs, inputs)
    if (bias) p.get(`${name}.bias`, outputs)
  }
  p.get('wte.weight', symbols, width)
  norm('n1')
  full('t.qkv', 3 * width, width)
  full('t.proj', width, width)
  norm('n2')
  full('up', wide, width)
  full('down', width, wide)
  const look = (name: string): Expr => p.get(name)
  const window = draw.chance(0.5) ? cast(data('u8', [batch, time + 1]), 'i32') : data('i32', [batch, time + 1])
  let x = embedding(look, 'wte', slice(window, 1, 0, time))
  x = add(x, selfAttention(look, 't', layerNorm(look, 'n1', x, bias), heads, draw.chance(0.7), bias))
  x = add(x, linear(look, 'down', gelu(linear(look, 'up', layerNorm(look, 'n2', x, bias), bias)), bias))
  return crossEntropy(linear(look, 'wte', x, false), slice(window, 1, 1, time + 1))
}

/** Convolution, batch norm, activation, pooling. */
const convolution: Build = (p, draw, data) => {
  const [batch, channels, outputs] = [draw.between(1, 3), draw.between(1, 3), draw.between(1, 5)]
  const [height, width] = [draw.between(5, 11), draw.between(5, 11)]
  const kernel = draw.between(1, 3)
  const x = mul(data('f32', [batch, channels, height, width]), p.get('scale', channels, 1, 1))
  let y = conv2d(x, p.get('c.weight', outputs, channels, kernel, kernel), {
    padding: draw.below(2),
    stride: draw.pick([1, 1, 2]),
    dilation: draw.between(1, 2),
  })
  if (draw.chance(0.7)) y = batchNorm(y, batchMoments(y), p.get('n.weight', outputs), p.get('n.bias', outputs))
  if (draw.chance(0.7)) y = relu(y)
  const [h, w] = y.shape.slice(2)
  if (h >= 2 && w >= 2 && draw.chance(0.7)) y = draw.pick([maxPool2d, averagePool2d])(y, 2, draw.chance(0.3) ? { stride: 1 } : {})
  const target = data('f32', y.shape)
  return draw.chance(0.5) ? mse(y, target) : sum(mul(y, target))
}

/** Sums side by side over the same tensors, some of what they add up read by nothing else. */
const sums: Build = (p, draw, data) => {
  const shape = Array.from({ length: draw.between(2, 3) }, () => draw.between(2, 19))
  const axis = draw.below(shape.length)
  const [x, y] = [mul(data('f32', shape), p.get('x', ...shape)), data('f32', shape)]
  const both = mul(x, y)
  const terms = [x, both, mul(both, both), add(both, y), mul(x, x), gelu(y)]
  const folded = Array.from({ length: draw.between(2, 5) }, () => sum(draw.pick(terms), axis))
  return sum(folded.reduce((a, b) => add(mul(a, 0.5), b)))
}

/** A product with many terms of operands as they are and transposed, and its two gradients. */
const products: Build = (p, draw, data) => {
  // Half of them with a rest of rows that fills no tile, where turning the product round may pay.
  const [m, n] = draw.chance(0.5) ? [draw.pick([11, 16, 17]), draw.pick([9, 40, 65])] : [draw.between(5, 40), draw.between(5, 40)]
  const k = draw.between(60, 300)
  const operand = (of: (shape: Shape) => Expr, rows: number, columns: number): Expr =>
    draw.chance(0.5) ? of([rows, columns]) : transpose(of([columns, rows]))
  const a = operand((shape) => p.get('a', ...shape), m, k)
  const b = operand((shape) => (draw.chance(0.5) ? p.get('b', ...shape) : data('f32', shape)), k, n)
  return mse(matmul(a, b), data('f32', [m, n]))
}

/** Tensors that a product reads with two axes exchanged, as a convolution's gradient does, beside readers in their own order. */
const exchanged: Build = (p, draw, data) => {
  const [a, b, c] = [draw.between(2, 6), draw.between(2, 6), draw.between(30, 49)]
  const shape = draw.chance(0.5) ? [a, b, c] : [a, b, c, draw.between(1, 3)]
  const y = draw.pick([gelu, relu, tanh])(mul(data('f32', shape), p.get('x', ...shape)))
  const turned = reshape(permute(y, [1, 0, ...shape.slice(2).map((_, i) => i + 2)]), [b, sizeOf(shape) / b])
  const product = matmul(turned, p.get('w', sizeOf(shape) / b, draw.between(1, 9)))
  const beside = [sum(mul(y, y)), sum(sum(y, draw.below(shape.length))), sum(mul(reshape(y, [sizeOf(shape)]), 0.25)), constant(0)]
  return add(sum(mul(product, product)), draw.pick(beside))
}

export const MODEL_KINDS = { dense, transformer, convolution, sums, products, exchanged }

/** A training step with gradients of everything and AdamW (sometimes after clipping): `kind` of model, everything else from the seed. */
export const modelSample = (kind: keyof typeof MODEL_KINDS, seed: number): Sample => {
  const draw = new Draw(seed)
  const wild = draw.pick([0, 0, 0.02, 0.3])
  const parameters = new Parameters()
  const inputs: { readonly slot: Slot; readonly data: Data }[] = []
  const loss = MODEL_KINDS[kind](parameters, draw, (dtype, shape) => {
    const slot: Slot = { name: `in${inputs.length}`, kind: 'data', dtype, shape }
    const small = dtype === 'u8' || dtype === 'i32' ? draw.chance(0.8) : false
    const data = randomData(draw, dtype, sizeOf(shape), wild)
    inputs.push({ slot, data: small ? (data.map((v: number) => Math.abs(v) % 7) as Data) : data })
    return input(LATER + inputs.length - 1, dtype, shape)
  })
  const { made } = parameters
  const raw = gradients(
    loss,
    made.map(({ e }) => e),
  )
  const used = draw.chance(0.3) ? clipByNorm(raw, 1) : raw
  const optimizer = adamw({ weightDecay: 0.1 })
  const next = made.flatMap(({ name, shape, e }, i) => {
    const moments = [1, 2].map((k) => input(3 * i + k, 'f32', shape))
    const shared = [constant(0.1), constant(0.001)]
    const after = optimizer.update({ name, parameter: e, gradient: used[i], moments, shared, lr: constant(0.01) })
    return [after.parameter, ...after.moments]
  })
  const states: Slot[] = made.flatMap(({ name, shape }) =>
    ['', '.m', '.v'].map((end): Slot => ({ name: name + end, kind: 'state', dtype: 'f32', shape })),
  )
  const moved = new Map<Expr, Expr>()
  const move = (e: Expr): Expr => {
    let to = moved.get(e)
    if (to === undefined) {
      to =
        e.op === 'input' && e.attrs[0] >= LATER
          ? input(e.attrs[0] - LATER + states.length, e.dtype, e.shape)
          : { ...e, inputs: e.inputs.map(move) }
      moved.set(e, to)
    }
    return to
  }
  const graph = makeGraph([...states, ...inputs.map(({ slot }) => slot)], next.map(move), move(reshape(loss, [1])))
  // A second moment is never negative.
  const values = states.map(({ name, shape }) => {
    const drawn = randomData(draw, 'f32', sizeOf(shape), wild)
    return name.endsWith('.v') ? (drawn.map((v: number) => Math.abs(v)) as Data) : drawn
  })
  return { graph, slots: [...values, ...inputs.map(({ data }) => data)] }
}
