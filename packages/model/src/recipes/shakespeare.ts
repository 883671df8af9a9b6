// A character-level GPT on Shakespeare or on any text: nanoGPT's configuration for a CPU, which a laptop trains in minutes.

import { lossByName } from '../named/loss.ts'
import { adamw } from '../optim.ts'
import { corpusOf, corpusOptions, inAndOut, sampleOf, vocabularyFile } from './corpus.ts'
import { type GptShape, gpt, gptFile, gptParameters, NANO } from './gpt.ts'
import { rateOf, rateOptions } from './rates.ts'
import { count, prepare, quantity, type Recipe, RecipeError, recipe } from './recipe.ts'

export const shakespeare: Recipe = recipe({
  name: 'shakespeare',
  title: 'char-GPT, 4 layers, 4 heads, 128 wide, block 64, cross-entropy, AdamW, cosine with warm-up, on the sonnets or any text',
  options: {
    ...corpusOptions,
    layers: count(4, 'transformer blocks'),
    heads: count(4, 'attention heads; the width is a multiple'),
    width: count(128, 'of the residual stream'),
    block: count(64, 'tokens that the model sees', { min: 2 }),
    batch: count(12, 'windows a step'),
    ...rateOptions(1e-3, 'cosine', 100, 1e-4),
    'weight-decay': quantity(0.1, 'of matrices', { min: 0 }),
    clip: quantity(1, 'largest norm of all gradients together', { min: 0 }),
  },
  cut: { stepsPerCheckpoint: 20, checkpointsPerSlice: 10, slices: 10 },
  alone: true,
  prepare: (s, run) => {
    if (s.width % s.heads !== 0) throw new RecipeError(`--width ${s.width} is no multiple of --heads ${s.heads}`)
    const corpus = corpusOf(s, s.block)
    const shape: GptShape = { layers: s.layers, heads: s.heads, width: s.width, block: s.block, vocabulary: corpus.vocabulary.size }
    const parameters = gptParameters(shape, NANO)
    const made = prepare({
      ...{ name: 'shakespeare', parameters, batch: s.batch, steps: s.steps, run },
      forward: (c) => {
        const { tokens, target } = inAndOut(c.batch('windows'))
        return { output: gpt(c.parameter, tokens, shape, NANO), target }
      },
      loss: lossByName('cross_entropy'),
      optimizer: adamw({ betas: [0.9, 0.99], weightDecay: s['weight-decay'], decays: (_, size) => size.length >= 2 }),
      schedule: rateOf(s, s.steps),
      ...(s.clip > 0 ? { clip: s.clip } : {}),
      train: corpus.train,
      held: corpus.held,
      metrics: ['loss', 'perplexity', 'accuracy'],
    })
    return {
      ...made,
      about: corpus.about,
      onnx: (tensor, metadata) => gptFile('shakespeare', shape, NANO, tensor, metadata),
      files: (tensor, machine) => ({
        'vocabulary.json': vocabularyFile(corpus.vocabulary),
        'sample.txt': sampleOf(
          machine,
          corpus.vocabulary,
          parameters.map((p) => ({ ...p, data: tensor(p.name) })),
          (p, tokens) => gpt(p, tokens, shape, NANO),
          s.block,
          s.sample,
        ),
      }),
    }
  },
})
