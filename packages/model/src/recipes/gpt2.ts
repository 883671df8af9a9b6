// GPT-2: its small shape from Hugging Face's model.safetensors, or any smaller one from nothing; byte pairs; fine-tuned on a text.

import { bytePairs } from '../data/text.ts'
import { lossByName } from '../named/loss.ts'
import { adamw } from '../optim.ts'
import { corpusOf, corpusOptions, inAndOut, sampleOf } from './corpus.ts'
import { GPT2, type GptShape, gpt, gptFile, gptParameters } from './gpt.ts'
import { rateOf, rateOptions } from './rates.ts'
import { count, maybe, prepare, quantity, type Recipe, RecipeError, recipe } from './recipe.ts'
import { readWeights, sizeIn, startingFrom } from './weights.ts'

export const gpt2: Recipe = recipe({
  name: 'gpt2',
  title: 'GPT-2 (124 M parameters) from its model.safetensors with --weights, or a smaller one from nothing; byte pairs, AdamW',
  options: {
    ...corpusOptions,
    tokens: { ...corpusOptions.tokens, default: 'byte-pairs', choices: ['byte-pairs'] },
    weights: maybe('model.safetensors of GPT-2, as on huggingface.co/openai-community/gpt2', 'FILE'),
    layers: count(12, 'transformer blocks (with --weights: the file’s)'),
    heads: count(0, 'attention heads; 0 for one for every 64 of the width, as GPT-2 has', { min: 0 }),
    width: count(768, 'of the residual stream (with --weights: the file’s)'),
    block: count(64, 'tokens that the model sees; GPT-2 saw 1024', { min: 2 }),
    batch: count(4, 'windows a step'),
    ...rateOptions(3e-5, 'cosine', 20, 3e-6),
    'weight-decay': quantity(0.01, 'of matrices', { min: 0 }),
    clip: quantity(1, 'largest norm of all gradients together', { min: 0 }),
  },
  cut: { stepsPerCheckpoint: 5, checkpointsPerSlice: 4, slices: 5 },
  alone: false,
  prepare: (s, run) => {
    const vocabulary = bytePairs()
    const loaded = s.weights === undefined ? undefined : readWeights(s.weights)
    const width = loaded ? sizeIn(loaded, s.weights!, 'wte.weight', 1) : s.width
    const layers = loaded ? [...loaded.keys()].filter((n) => /^h\.\d+\.ln_1\.weight$/.test(n)).length : s.layers
    const heads = s.heads === 0 ? Math.max(1, Math.floor(width / 64)) : s.heads
    if (width % heads !== 0) throw new RecipeError(`a width of ${width} is no multiple of ${heads} heads`)
    const shape: GptShape = {
      layers,
      heads,
      width,
      block: s.block,
      vocabulary: loaded ? sizeIn(loaded, s.weights!, 'wte.weight', 0) : vocabulary.size,
    }
    const corpus = corpusOf(s, s.block, vocabulary)
    const drawn = gptParameters(shape, GPT2)
    const parameters = loaded ? startingFrom(drawn, loaded, s.weights!, ['wpe.weight']) : drawn
    const numbers = drawn.reduce((n, p) => n + p.shape.reduce((a, b) => a * b, 1), 0)
    const made = prepare({
      ...{ name: 'gpt2', parameters, batch: s.batch, steps: s.steps, run },
      forward: (c) => {
        const { tokens, target } = inAndOut(c.batch('windows'))
        return { output: gpt(c.parameter, tokens, shape, GPT2), target }
      },
      loss: lossByName('cross_entropy'),
      optimizer: adamw({ weightDecay: s['weight-decay'], decays: (_, size) => size.length >= 2 }),
      schedule: rateOf(s, s.steps),
      ...(s.clip > 0 ? { clip: s.clip } : {}),
      train: corpus.train,
      held: { ...corpus.held, batch: s.batch },
      metrics: ['loss', 'perplexity', 'accuracy'],
    })
    return {
      ...made,
      about: [
        `${layers} layers, ${heads} heads, ${width} wide: ${numbers.toLocaleString('en')} parameters${loaded ? ` from ${s.weights}` : ', drawn'}`,
        ...corpus.about,
      ],
      onnx: (tensor, metadata) => gptFile('gpt2', shape, GPT2, tensor, metadata),
      files: (tensor, machine) => ({
        'sample.txt': sampleOf(
          machine,
          vocabulary,
          parameters.map((p) => ({ ...p, data: tensor(p.name) })),
          (p, tokens) => gpt(p, tokens, shape, GPT2),
          s.block,
          Math.min(s.sample, 60),
        ),
      }),
    }
  },
})
