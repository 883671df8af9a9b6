// LoRA (Hu et al. 2021): a trained char-GPT stays as it is, bit for bit, and low-rank adapters beside its attention and feed-forward matrices learn another text.

import type { Expr } from '@bitloom/graph'
import { readText } from '../data/read.ts'
import { charactersFrom } from '../data/text.ts'
import { lossByName } from '../named/loss.ts'
import type { Lookup, Parameter } from '../nn.ts'
import { adamw } from '../optim.ts'
import { type Key, kaimingUniform } from '../random.ts'
import { writeSafetensors } from '../safetensors.ts'
import { full, matmul, mul, transpose } from '../tensor.ts'
import { corpusOf, corpusOptions, inAndOut, sampleOf } from './corpus.ts'
import { type GptShape, gpt, gptFile, gptParameters, NANO } from './gpt.ts'
import { rateOf, rateOptions } from './rates.ts'
import { count, maybe, prepare, quantity, type Recipe, RecipeError, recipe } from './recipe.ts'
import { readWeights, sizeIn, startingFrom } from './weights.ts'

/** A matrix with an adapter: `name.lora_a` [rank, in] and `name.lora_b` [out, rank]. */
type Adapted = { readonly name: string; readonly inputs: number; readonly outputs: number }

function adaptedIn({ layers, width }: GptShape): Adapted[] {
  return Array.from({ length: layers }, (_, i) => NANO.names(i)).flatMap((n) => [
    { name: n.qkv, inputs: width, outputs: 3 * width },
    { name: n.proj, inputs: width, outputs: width },
    { name: n.fc, inputs: width, outputs: 4 * width },
    { name: n.out, inputs: 4 * width, outputs: width },
  ])
}

/** A is drawn as a linear layer's weight, B is 0, so that training starts from the base itself. */
const adapterParameters = (matrices: readonly Adapted[], rank: number): Parameter[] =>
  matrices.flatMap(({ name, inputs, outputs }) => [
    { name: `${name}.lora_a`, shape: [rank, inputs], initial: (key: Key) => kaimingUniform(key, [rank, inputs], inputs) },
    { name: `${name}.lora_b`, shape: [outputs, rank], initial: () => full([outputs, rank], 0) },
  ])

/** x·Aᵀ·Bᵀ·alpha/rank beside each matrix's own product. */
const adapters =
  (p: Lookup, scale: number) =>
  (name: string, x: Expr): Expr =>
    mul(matmul(matmul(x, transpose(p(`${name}.lora_a`))), transpose(p(`${name}.lora_b`))), scale)

/** W + B·A·alpha/rank, added up in float64 and rounded once: what the adapted model is without adapters. */
function merged(
  tensor: (name: string) => Float32Array,
  matrices: readonly Adapted[],
  rank: number,
  scale: number,
): (name: string) => Float32Array {
  const byName = new Map(matrices.map((m) => [`${m.name}.weight`, m]))
  return (name) => {
    const m = byName.get(name)
    if (!m) return tensor(name)
    const [a, b] = [tensor(`${m.name}.lora_a`), tensor(`${m.name}.lora_b`)]
    return tensor(name).map((w, i) => {
      const [row, column] = [Math.floor(i / m.inputs), i % m.inputs]
      let sum = 0
      for (let r = 0; r < rank; r++) sum += b[row * rank + r] * a[r * m.inputs + column]
      return w + sum * scale
    })
  }
}

export const lora: Recipe = recipe({
  name: 'lora',
  title: 'LoRA adapters on a char-GPT of the recipe shakespeare, whose own weights stay bit for bit; AdamW',
  options: {
    ...corpusOptions,
    weights: maybe('model.safetensors of a run of shakespeare; vocabulary.json lies beside it', 'FILE'),
    rank: count(8, 'of the adapters'),
    alpha: quantity(16, 'what they add is scaled by alpha / rank', { min: 0 }),
    heads: count(4, 'attention heads of the base'),
    batch: count(12, 'windows a step'),
    ...rateOptions(2e-3, 'cosine', 20),
    clip: quantity(1, 'largest norm of all gradients together', { min: 0 }),
  },
  cut: { stepsPerCheckpoint: 10, checkpointsPerSlice: 10, slices: 4 },
  alone: false,
  prepare: (s, run) => {
    if (s.weights === undefined)
      throw new RecipeError(
        'lora needs a base: --weights FILE\nTrain one: bitloom train shakespeare --local --out base; then: bitloom train lora --local --weights base/model.safetensors --data bible',
      )
    const loaded = readWeights(s.weights)
    const vocabulary = charactersFrom(vocabularyBeside(s.weights))
    const [width, block] = [sizeIn(loaded, s.weights, 'wte.weight', 1), sizeIn(loaded, s.weights, 'wpe.weight', 0)]
    const layers = [...loaded.keys()].filter((n) => /^blocks\.\d+\.ln1\.weight$/.test(n)).length
    const shape: GptShape = { layers, heads: s.heads, width, block, vocabulary: vocabulary.size }
    const corpus = corpusOf(s, block, vocabulary)
    const base = startingFrom(gptParameters(shape, NANO), loaded, s.weights).map((p) => ({ ...p, frozen: true }))
    const matrices = adaptedIn(shape)
    const own = adapterParameters(matrices, s.rank)
    const scale = s.alpha / s.rank
    const numbers = (list: readonly Parameter[]): string =>
      list.reduce((n, p) => n + p.shape.reduce((a, b) => a * b, 1), 0).toLocaleString('en')
    const made = prepare({
      ...{ name: 'lora', parameters: [...base, ...own], batch: s.batch, steps: s.steps, run },
      forward: (c) => {
        const { tokens, target } = inAndOut(c.batch('windows'))
        return { output: gpt(c.parameter, tokens, shape, NANO, adapters(c.parameter, scale)), target }
      },
      loss: lossByName('cross_entropy'),
      optimizer: adamw({ weightDecay: 0 }),
      schedule: rateOf(s, s.steps),
      ...(s.clip > 0 ? { clip: s.clip } : {}),
      train: corpus.train,
      held: corpus.held,
      metrics: ['loss', 'perplexity', 'accuracy'],
    })
    return {
      ...made,
      about: [`${numbers(own)} numbers in ${own.length} adapters train, ${numbers(base)} of ${s.weights} stay`, ...corpus.about],
      onnx: (tensor, metadata) => gptFile('lora', shape, NANO, merged(tensor, matrices, s.rank, scale), metadata),
      files: (tensor, machine) => {
        const whole = merged(tensor, matrices, s.rank, scale)
        const tensors = base.map((p) => ({ name: p.name, shape: p.shape, data: whole(p.name) }))
        return {
          'merged.safetensors': writeSafetensors(
            Object.fromEntries(tensors.map((t) => [t.name, { dtype: 'F32', shape: t.shape, data: t.data }])),
          ),
          'vocabulary.json': `${JSON.stringify({ kind: 'characters', tokens: vocabulary.tokens }, null, 1)}\n`,
          'sample.txt': sampleOf(machine, vocabulary, tensors, (p, tokens) => gpt(p, tokens, shape, NANO), block, s.sample),
        }
      },
    }
  },
})

function vocabularyBeside(weights: string): string[] {
  const path = weights.replace(/[^/\\]*$/, 'vocabulary.json')
  let tokens: unknown
  try {
    tokens = (JSON.parse(readText(path, 2 ** 24)) as { tokens?: unknown } | null)?.tokens
  } catch (cause) {
    throw new RecipeError(`${path} cannot be read as JSON; it is written beside the model by: bitloom train shakespeare`, { cause })
  }
  if (!Array.isArray(tokens) || !tokens.every((t) => typeof t === 'string')) throw new RecipeError(`${path} holds no list of tokens`)
  return tokens
}
