// A decoder-only transformer, as nanoGPT has it (tied head, no biases, erf GELU) and as GPT-2's files have it: exprs, first weights, and ONNX.

import type { Expr } from '@bitloom/graph'
import { gelu, geluTanh } from '../math.ts'
import { attention, embedding, type Lookup, layerNorm, type Parameter } from '../nn.ts'
import { type Key, normal } from '../random.ts'
import { add, full, matmul, mul, permute, reshape, slice, squeeze, transpose } from '../tensor.ts'
import { type Sheet, writeOnnx } from './layers.onnx.ts'

export type GptShape = {
  readonly layers: number
  readonly heads: number
  readonly width: number
  /** Tokens that it sees. */
  readonly block: number
  readonly vocabulary: number
}

/** What two families of files differ in. */
export type GptStyle = {
  readonly bias: boolean
  /** How matrices are stored: PyTorch's Linear, or the Conv1D of GPT-2's files. */
  readonly stored: 'out,in' | 'in,out'
  readonly gelu: 'erf' | 'tanh'
  readonly names: (layer: number) => { ln1: string; qkv: string; proj: string; ln2: string; fc: string; out: string }
}

export const NANO: GptStyle = {
  bias: false,
  stored: 'out,in',
  gelu: 'erf',
  names: (i) => {
    const b = `blocks.${i}`
    return { ln1: `${b}.ln1`, qkv: `${b}.qkv`, proj: `${b}.proj`, ln2: `${b}.ln2`, fc: `${b}.fc`, out: `${b}.fc_out` }
  },
}

/** The names in the files at https://huggingface.co/openai-community/gpt2. */
export const GPT2: GptStyle = {
  bias: true,
  stored: 'in,out',
  gelu: 'tanh',
  names: (i) => {
    const h = `h.${i}`
    return {
      ln1: `${h}.ln_1`,
      qkv: `${h}.attn.c_attn`,
      proj: `${h}.attn.c_proj`,
      ln2: `${h}.ln_2`,
      fc: `${h}.mlp.c_fc`,
      out: `${h}.mlp.c_proj`,
    }
  },
}

/** First weights as nanoGPT's: normal of deviation 0.02, what returns to the residual stream smaller by √(2·layers), biases 0, norms 1. */
export function gptParameters(shape: GptShape, style: GptStyle): Parameter[] {
  const { layers, width, block, vocabulary } = shape
  const drawn = (name: string, size: readonly number[], deviation = 0.02): Parameter => ({
    name,
    shape: size,
    initial: (key: Key) => mul(normal(key, size), deviation),
  })
  const constant = (name: string, n: number, x: number): Parameter => ({ name, shape: [n], initial: () => full([n], x) })
  const norm = (name: string): Parameter[] => [
    constant(`${name}.weight`, width, 1),
    ...(style.bias ? [constant(`${name}.bias`, width, 0)] : []),
  ]
  const matrix = (name: string, inputs: number, outputs: number, deviation?: number): Parameter[] => [
    drawn(`${name}.weight`, style.stored === 'out,in' ? [outputs, inputs] : [inputs, outputs], deviation),
    ...(style.bias ? [constant(`${name}.bias`, outputs, 0)] : []),
  ]
  const returning = 0.02 / Math.sqrt(2 * layers)
  return [
    drawn('wte.weight', [vocabulary, width]),
    drawn('wpe.weight', [block, width]),
    ...Array.from({ length: layers }, (_, i) => style.names(i)).flatMap((n) => [
      ...norm(n.ln1),
      ...matrix(n.qkv, width, 3 * width),
      ...matrix(n.proj, width, width, returning),
      ...norm(n.ln2),
      ...matrix(n.fc, width, 4 * width),
      ...matrix(n.out, 4 * width, width, returning),
    ]),
    ...norm('ln_f'),
  ]
}

/** What is added to a matrix's product: an adapter's part, or nothing. */
export type Adapt = (name: string, x: Expr) => Expr | undefined

/** Logits [batch, time, vocabulary] of tokens i32 [batch, time], time at most the block. */
export function gpt(p: Lookup, tokens: Expr, shape: GptShape, style: GptStyle, adapt: Adapt = () => undefined): Expr {
  const { layers, heads, width } = shape
  const [batch, time] = tokens.shape
  const affine = (name: string, x: Expr): Expr => {
    const weight = p(`${name}.weight`)
    const product = matmul(x, style.stored === 'out,in' ? transpose(weight) : weight)
    const extra = adapt(name, x)
    const y = extra ? add(product, extra) : product
    return style.bias ? add(y, p(`${name}.bias`)) : y
  }
  const activate = style.gelu === 'erf' ? gelu : geluTanh
  const places = p('wpe.weight')
  let x = add(embedding(p, 'wte', tokens), time === places.shape[0] ? places : slice(places, 0, 0, time))
  for (let i = 0; i < layers; i++) {
    const n = style.names(i)
    const apart = reshape(affine(n.qkv, layerNorm(p, n.ln1, x, style.bias)), [batch, time, 3, heads, width / heads])
    const [q, k, v] = [0, 1, 2].map((j) => permute(squeeze(slice(apart, 2, j, j + 1), 2), [0, 2, 1, 3]))
    const mixed = reshape(permute(attention(q, k, v, true), [0, 2, 1, 3]), [batch, time, width])
    x = add(x, affine(n.proj, mixed))
    x = add(x, affine(n.out, activate(affine(n.fc, layerNorm(p, n.ln2, x, style.bias)))))
  }
  return matmul(layerNorm(p, 'ln_f', x, style.bias), transpose(p('wte.weight')))
}

/** The model as ONNX: `tokens` int32 [batch, block] to `logits` [batch, block, vocabulary]. */
export function gptFile(
  name: string,
  shape: GptShape,
  style: GptStyle,
  tensor: (name: string) => Float32Array,
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const { layers, heads, width, block, vocabulary } = shape
  const output = { name: 'logits', dtype: 'f32' as const, shape: ['batch', block, vocabulary] }
  return writeOnnx(
    { name, input: { name: 'tokens', dtype: 'i32', shape: ['batch', block] }, output, metadata },
    tensor,
    (sheet, tokens) => {
      const scalar = (x: number): string => sheet.constant(Float32Array.of(x), [])
      const shaped = (x: string, ...sizes: number[]): string =>
        sheet.node('Reshape', [x, sheet.constant(BigInt64Array.from(sizes, BigInt), [sizes.length])])
      const norm = (n: string, x: string): string =>
        sheet.node(
          'LayerNormalization',
          [x, sheet.weight(`${n}.weight`, [width]), ...(style.bias ? [sheet.weight(`${n}.bias`, [width])] : [])],
          { axis: -1 },
          { epsilon: 1e-5 },
        )
      const affine = (n: string, x: string, inputs: number, outputs: number): string => {
        const stored = sheet.weight(`${n}.weight`, style.stored === 'out,in' ? [outputs, inputs] : [inputs, outputs])
        const y = sheet.node('MatMul', [x, style.stored === 'out,in' ? sheet.node('Transpose', [stored], { perm: [1, 0] }) : stored])
        return style.bias ? sheet.node('Add', [y, sheet.weight(`${n}.bias`, [outputs])]) : y
      }
      // hidden from each token: those after it
      const mask = sheet.constant(
        Float32Array.from({ length: block * block }, (_, i) => (i % block <= Math.floor(i / block) ? 0 : Number.NEGATIVE_INFINITY)),
        [block, block],
      )
      let x = sheet.node('Add', [
        sheet.node('Gather', [sheet.weight('wte.weight', [vocabulary, width]), tokens]),
        sheet.weight('wpe.weight', [block, width]),
      ])
      for (let i = 0; i < layers; i++) {
        const n = style.names(i)
        const apart = sheet.node(
          'Transpose',
          [shaped(affine(n.qkv, norm(n.ln1, x), width, 3 * width), 0, block, 3, heads, width / heads)],
          { perm: [2, 0, 3, 1, 4] },
        )
        const [q, k, v] = [0n, 1n, 2n].map((j) => sheet.node('Gather', [apart, sheet.constant(BigInt64Array.of(j), [])], { axis: 0 }))
        const scores = sheet.node('Mul', [
          sheet.node('MatMul', [q, sheet.node('Transpose', [k], { perm: [0, 1, 3, 2] })]),
          scalar(1 / Math.sqrt(width / heads)),
        ])
        const seen = sheet.node('MatMul', [sheet.node('Softmax', [sheet.node('Add', [scores, mask])], { axis: -1 }), v])
        x = sheet.node('Add', [
          x,
          affine(n.proj, shaped(sheet.node('Transpose', [seen], { perm: [0, 2, 1, 3] }), 0, block, width), width, width),
        ])
        const wide = activation(sheet, style, affine(n.fc, norm(n.ln2, x), width, 4 * width))
        x = sheet.node('Add', [x, affine(n.out, wide, 4 * width, width)])
      }
      return sheet.node('MatMul', [
        norm('ln_f', x),
        sheet.node('Transpose', [sheet.weight('wte.weight', [vocabulary, width])], { perm: [1, 0] }),
      ])
    },
  )
}

function activation(sheet: Sheet, style: GptStyle, x: string): string {
  const scalar = (v: number): string => sheet.constant(Float32Array.of(v), [])
  const half = sheet.node('Mul', [x, scalar(0.5)])
  if (style.gelu === 'erf')
    return sheet.node('Mul', [half, sheet.node('Add', [sheet.node('Erf', [sheet.node('Mul', [x, scalar(Math.SQRT1_2)])]), scalar(1)])])
  const cube = sheet.node('Mul', [sheet.node('Mul', [x, x]), x])
  const inner = sheet.node('Mul', [sheet.node('Add', [x, sheet.node('Mul', [cube, scalar(0.044715)])]), scalar(Math.sqrt(2 / Math.PI))])
  return sheet.node('Mul', [half, sheet.node('Add', [sheet.node('Tanh', [inner]), scalar(1)])])
}
