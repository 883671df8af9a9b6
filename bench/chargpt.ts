// The character transformer that benchmarks train: nanoGPT's CPU configuration (4 layers, 4 heads, width 128, 64 characters, batch 12, 65 characters to choose from).
import type { Expr } from '@bitloom/graph'
import { crossEntropy } from '@bitloom/model/loss'
import { gelu } from '@bitloom/model/math'
import { embedding, type Lookup, layerNorm, linear, type Parameter, selfAttention } from '@bitloom/model/nn'
import { adamw } from '@bitloom/model/optim'
import { constantRate } from '@bitloom/model/schedule'
import { type Job, trainingStep } from '@bitloom/model/step'
import { add, cast, slice } from '@bitloom/model/tensor'

const [LAYERS, HEADS, WIDTH, LENGTH, BATCH, SYMBOLS] = [4, 4, 128, 64, 12, 65]

/** Numbers of a spread like 1/√128, from a small generator: speed does not depend on them, but on their not being subnormal. */
const drawn = (n: number): Float32Array => {
  let word = 12345
  return Float32Array.from({ length: n }, () => ((word = (Math.imul(word, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1) / 8)
}

const parameter = (name: string, ...shape: number[]): Parameter => {
  const n = shape.reduce((a, b) => a * b)
  return { name, shape, initial: name.includes('ln') ? new Float32Array(n).fill(1) : drawn(n) }
}

const parameters: Parameter[] = [
  parameter('wte.weight', SYMBOLS, WIDTH),
  parameter('wpe.weight', LENGTH, WIDTH),
  ...Array.from({ length: LAYERS }, (_, i) => [
    parameter(`blocks.${i}.ln1.weight`, WIDTH),
    parameter(`blocks.${i}.qkv.weight`, 3 * WIDTH, WIDTH),
    parameter(`blocks.${i}.proj.weight`, WIDTH, WIDTH),
    parameter(`blocks.${i}.ln2.weight`, WIDTH),
    parameter(`blocks.${i}.fc.weight`, 4 * WIDTH, WIDTH),
    parameter(`blocks.${i}.fc_out.weight`, WIDTH, 4 * WIDTH),
  ]).flat(),
  parameter('ln_f.weight', WIDTH),
]

const logits = (p: Lookup, tokens: Expr): Expr => {
  let x = add(embedding(p, 'wte', tokens), p('wpe.weight'))
  for (let i = 0; i < LAYERS; i++) {
    const block = `blocks.${i}`
    x = add(x, selfAttention(p, block, layerNorm(p, `${block}.ln1`, x, false), HEADS, true, false))
    const wide = gelu(linear(p, `${block}.fc`, layerNorm(p, `${block}.ln2`, x, false), false))
    x = add(x, linear(p, `${block}.fc_out`, wide, false))
  }
  return linear(p, 'wte', layerNorm(p, 'ln_f', x, false), false)
}

/** The job over 1,000 windows of made-up text. */
export const charGptJob = (): Job =>
  trainingStep({
    name: 'chargpt',
    parameters,
    data: [
      {
        name: 'windows',
        dtype: 'u8',
        shape: [1000, LENGTH + 1],
        data: Uint8Array.from({ length: 1000 * (LENGTH + 1) }, (_, i) => (i * i + 7 * i) % SYMBOLS),
      },
    ],
    count: 1000,
    batch: BATCH,
    steps: 1000,
    seed: [1, 2],
    loss: ({ parameter: read, batch }) => {
      const window = cast(batch('windows'), 'i32')
      return crossEntropy(logits(read, slice(window, 1, 0, LENGTH)), slice(window, 1, 1, LENGTH + 1))
    },
    optimizer: adamw({ betas: [0.9, 0.99], weightDecay: 0.1, decays: (_, shape) => shape.length >= 2 }),
    schedule: constantRate(1e-3),
  })
