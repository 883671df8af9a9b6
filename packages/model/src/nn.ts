// Layers as functions of exprs: parameters go in, activations come out. Shapes, names and defaults are PyTorch's.

import type { Expr, Shape } from '@bitloom/graph'
import { withDerivative } from './derivative.ts'
import { exp } from './math.ts'
import { type Key, kaimingUniform, normal } from './random.ts'
import {
  add,
  div,
  full,
  gather,
  iota,
  le,
  matmul,
  maxOver,
  mean,
  mul,
  permute,
  reshape,
  slice,
  sqrt,
  squeeze,
  sub,
  sum,
  transpose,
  where,
} from './tensor.ts'

/** A tensor of the model and how it starts: from a key of its own, or as given. `frozen` ones are state that the optimizer leaves alone. */
export type Parameter = {
  readonly name: string
  readonly shape: Shape
  readonly initial: ((key: Key) => Expr) | Float32Array
  readonly frozen?: boolean
}

/** A parameter's expr by name. */
export type Lookup = (name: string) => Expr

/** `name.weight` [out, in] and, unless `bias` is false, `name.bias` [out], both uniform in ±1/√in as torch.nn.Linear. */
export const linearParameters = (name: string, inputs: number, outputs: number, bias = true): Parameter[] => [
  { name: `${name}.weight`, shape: [outputs, inputs], initial: (key) => kaimingUniform(key, [outputs, inputs], inputs) },
  ...(bias ? [{ name: `${name}.bias`, shape: [outputs], initial: (key: Key) => kaimingUniform(key, [outputs], inputs) }] : []),
]

/** x·Wᵀ + b for x [.., in]; without b where `bias` is false. */
export function linear(p: Lookup, name: string, x: Expr, bias = true): Expr {
  const y = matmul(x, transpose(p(`${name}.weight`)))
  return bias ? add(y, p(`${name}.bias`)) : y
}

/** The parameters of fully connected layers `fc1` … through the given widths. */
export const mlpParameters = (widths: readonly number[]): Parameter[] =>
  widths.slice(1).flatMap((outputs, i) => linearParameters(`fc${i + 1}`, widths[i], outputs))

/** Fully connected layers `fc1` …, `activation` between them. */
export function mlp(p: Lookup, x: Expr, layers: number, activation: (x: Expr) => Expr): Expr {
  let h = x
  for (let i = 1; i <= layers; i++) h = i < layers ? activation(linear(p, `fc${i}`, h)) : linear(p, `fc${i}`, h)
  return h
}

/** `name.weight` (ones) and, unless `bias` is false, `name.bias` (zeros) of a layer norm over the last axis. */
export const layerNormParameters = (name: string, width: number, bias = true): Parameter[] => [
  { name: `${name}.weight`, shape: [width], initial: () => full([width], 1) },
  ...(bias ? [{ name: `${name}.bias`, shape: [width], initial: () => full([width], 0) }] : []),
]

/** (x - mean) / √(variance + eps) over the last axis, without weights. */
export function normalize(x: Expr, eps = 1e-5): Expr {
  const centred = sub(x, mean(x, -1, true))
  return div(centred, sqrt(add(mean(mul(centred, centred), -1, true), eps)))
}

/** Layer norm over the last axis (Ba, Kiros and Hinton 2016). */
export function layerNorm(p: Lookup, name: string, x: Expr, bias = true, eps = 1e-5): Expr {
  const y = mul(normalize(x, eps), p(`${name}.weight`))
  return bias ? add(y, p(`${name}.bias`)) : y
}

/** `name.weight` [rows, width], standard normal times `scale`. */
export const embeddingParameters = (name: string, rows: number, width: number, scale = 1): Parameter[] => [
  { name: `${name}.weight`, shape: [rows, width], initial: (key) => mul(normal(key, [rows, width]), scale) },
]

/** Rows of `name.weight` by an i32 index of any shape. */
export const embedding = (p: Lookup, name: string, index: Expr): Expr => gather(p(`${name}.weight`), index)

/** Softmax over the last axis, its largest entry subtracted first. */
export function softmax(x: Expr): Expr {
  const e = exp(sub(x, maxOver(x, -1, true)))
  const y = div(e, sum(e, -1, true))
  return withDerivative(y, [x], (dy) => {
    const weighted = mul(dy, y)
    return [sub(weighted, mul(y, sum(weighted, -1, true)))]
  })
}

/**
 * Scaled dot-product attention of q, k, v [batch, heads, time, width]; `causal` hides the future.
 * Source: Vaswani et al. 2017, §3.2.1.
 */
export function attention(q: Expr, k: Expr, v: Expr, causal: boolean): Expr {
  const [time, width] = q.shape.slice(-2)
  const scores = mul(matmul(q, transpose(k)), 1 / Math.sqrt(width))
  const seen = le(iota([time, k.shape[2]], 1), iota([time, k.shape[2]], 0))
  return matmul(softmax(causal ? where(seen, scores, Number.NEGATIVE_INFINITY) : scores), v)
}

/** Self-attention of x [batch, time, width] with `name.qkv` (one linear layer, q then k then v) and `name.proj`. */
export function selfAttention(p: Lookup, name: string, x: Expr, heads: number, causal = true, bias = true): Expr {
  const [batch, time, width] = x.shape
  const apart = reshape(linear(p, `${name}.qkv`, x, bias), [batch, time, 3, heads, width / heads])
  const [q, k, v] = [0, 1, 2].map((i) => permute(squeeze(slice(apart, 2, i, i + 1), 2), [0, 2, 1, 3]))
  const mixed = reshape(permute(attention(q, k, v, causal), [0, 2, 1, 3]), [batch, time, width])
  return linear(p, `${name}.proj`, mixed, bias)
}
