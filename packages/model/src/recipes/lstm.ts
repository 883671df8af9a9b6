// A character-level LSTM on any text: one layer between an embedding and a linear head, as torch.nn names them.

import type { Expr } from '@bitloom/graph'
import { lossByName } from '../named/loss.ts'
import { embedding, embeddingParameters, type Lookup, linear, linearParameters, type Parameter } from '../nn.ts'
import { adamw } from '../optim.ts'
import { kaimingUniform } from '../random.ts'
import { lstm as lstmLayer } from '../recurrent.ts'
import { concat, permute, reshape, slice, unsqueeze } from '../tensor.ts'
import { corpusOf, corpusOptions, inAndOut, sampleOf, vocabularyFile } from './corpus.ts'
import { type Sheet, writeOnnx } from './layers.onnx.ts'
import { rateOf, rateOptions } from './rates.ts'
import { count, prepare, quantity, type Recipe, recipe } from './recipe.ts'

type Shape = { readonly vocabulary: number; readonly width: number; readonly hidden: number }

function parametersOf({ vocabulary, width, hidden }: Shape): Parameter[] {
  const gates = (name: string, size: readonly number[]): Parameter => ({
    name,
    shape: size,
    initial: (key) => kaimingUniform(key, size, hidden),
  })
  return [
    ...embeddingParameters('embedding', vocabulary, width),
    gates('lstm.weight_ih_l0', [4 * hidden, width]),
    gates('lstm.weight_hh_l0', [4 * hidden, hidden]),
    gates('lstm.bias_ih_l0', [4 * hidden]),
    gates('lstm.bias_hh_l0', [4 * hidden]),
    ...linearParameters('fc', hidden, vocabulary),
  ]
}

/** PyTorch keeps the gates as i, f, g, o; ONNX and our layer take i, o, f, g. */
const ORDER = [0, 3, 1, 2] as const

function reordered(x: Expr, hidden: number): Expr {
  return unsqueeze(
    concat(
      ORDER.map((g) => slice(x, 0, g * hidden, (g + 1) * hidden)),
      0,
    ),
    0,
  )
}

/** Logits [batch, time, vocabulary] of tokens i32 [batch, time], from a state of zeros. */
function charLstm(p: Lookup, tokens: Expr, { hidden }: Shape): Expr {
  const [batch, time] = tokens.shape
  const [w, r, bi, bh] = ['weight_ih', 'weight_hh', 'bias_ih', 'bias_hh'].map((n) => reordered(p(`lstm.${n}_l0`), hidden))
  const x = permute(embedding(p, 'embedding', tokens), [1, 0, 2])
  const { y } = lstmLayer(x, { w, r, b: concat([bi, bh], 1) })
  return linear(p, 'fc', permute(reshape(y, [time, batch, hidden]), [1, 0, 2]))
}

function lstmFile(s: Shape, block: number, tensor: (name: string) => Float32Array, metadata: Readonly<Record<string, string>>): Uint8Array {
  const { vocabulary, width, hidden } = s
  const output = { name: 'logits', dtype: 'f32' as const, shape: ['batch', block, vocabulary] }
  const gates = (sheet: Sheet, name: string, size: readonly number[]): string => {
    const whole = sheet.weight(`lstm.${name}_l0`, size)
    const index = sheet.constant(
      BigInt64Array.from({ length: 4 * hidden }, (_, i) => BigInt(ORDER[Math.floor(i / hidden)] * hidden + (i % hidden))),
      [4 * hidden],
    )
    return sheet.node('Unsqueeze', [sheet.node('Gather', [whole, index], { axis: 0 }), sheet.constant(BigInt64Array.of(0n), [1])])
  }
  return writeOnnx(
    { name: 'lstm', input: { name: 'tokens', dtype: 'i32', shape: ['batch', block] }, output, metadata },
    tensor,
    (sheet, tokens) => {
      const x = sheet.node('Transpose', [sheet.node('Gather', [sheet.weight('embedding.weight', [vocabulary, width]), tokens])], {
        perm: [1, 0, 2],
      })
      const b = sheet.node('Concat', [gates(sheet, 'bias_ih', [4 * hidden]), gates(sheet, 'bias_hh', [4 * hidden])], { axis: 1 })
      const weights = [gates(sheet, 'weight_ih', [4 * hidden, width]), gates(sheet, 'weight_hh', [4 * hidden, hidden]), b]
      const y = sheet.node('LSTM', [x, ...weights], { hidden_size: hidden })
      const rows = sheet.node('Transpose', [sheet.node('Squeeze', [y, sheet.constant(BigInt64Array.of(1n), [1])])], { perm: [1, 0, 2] })
      const product = sheet.node('MatMul', [
        rows,
        sheet.node('Transpose', [sheet.weight('fc.weight', [vocabulary, hidden])], { perm: [1, 0] }),
      ])
      return sheet.node('Add', [product, sheet.weight('fc.bias', [vocabulary])])
    },
  )
}

export const lstm: Recipe = recipe({
  name: 'lstm',
  title: 'character LSTM, 128 wide, windows of 48, cross-entropy, AdamW, cosine with warm-up, on the sonnets or any text',
  options: {
    ...corpusOptions,
    width: count(32, 'of the embedding'),
    hidden: count(128, 'of the LSTM'),
    block: count(48, 'tokens it is unrolled over', { min: 2 }),
    batch: count(16, 'windows a step'),
    ...rateOptions(3e-3, 'cosine', 50),
    clip: quantity(1, 'largest norm of all gradients together', { min: 0 }),
  },
  cut: { stepsPerCheckpoint: 20, checkpointsPerSlice: 10, slices: 5 },
  alone: true,
  prepare: (s, run) => {
    const corpus = corpusOf(s, s.block)
    const shape: Shape = { vocabulary: corpus.vocabulary.size, width: s.width, hidden: s.hidden }
    const parameters = parametersOf(shape)
    const made = prepare({
      ...{ name: 'lstm', parameters, batch: s.batch, steps: s.steps, run },
      forward: (c) => {
        const { tokens, target } = inAndOut(c.batch('windows'))
        return { output: charLstm(c.parameter, tokens, shape), target }
      },
      loss: lossByName('cross_entropy'),
      optimizer: adamw({ weightDecay: 0.01 }),
      schedule: rateOf(s, s.steps),
      ...(s.clip > 0 ? { clip: s.clip } : {}),
      train: corpus.train,
      held: corpus.held,
      metrics: ['loss', 'perplexity', 'accuracy'],
    })
    return {
      ...made,
      about: corpus.about,
      onnx: (tensor, metadata) => lstmFile(shape, s.block, tensor, metadata),
      files: (tensor, machine) => ({
        'vocabulary.json': vocabularyFile(corpus.vocabulary),
        'sample.txt': sampleOf(
          machine,
          corpus.vocabulary,
          parameters.map((p) => ({ ...p, data: tensor(p.name) })),
          (p, tokens) => charLstm(p, tokens, shape),
          s.block,
          s.sample,
        ),
      }),
    }
  },
})
