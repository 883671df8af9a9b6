// A text as a language model's recipes take it: tokens to train on at every position, windows to judge by from the end, and the vocabulary that goes with the model.

import type { Data, Expr } from '@bitloom/graph'
import { readText } from '../data/read.ts'
import { bytePairs, characters, compact, tokenData, type Vocabulary } from '../data/text.ts'
import { readSonnets, readVerses } from '../data/texts.ts'
import { evaluation } from '../evaluation.ts'
import type { Lookup } from '../nn.ts'
import type { StepContext } from '../step.ts'
import { add, cast, gather, range, reshape, slice } from '../tensor.ts'
import { type Machine, maybe, quantity, RecipeError, type Source, text } from './recipe.ts'

export const corpusOptions = {
  data: maybe('a text file in UTF-8; without it Shakespeare’s sonnets, with the word bible the King James Bible', 'FILE'),
  tokens: text('characters', 'what a token is: characters, or byte-pairs of GPT-2’s vocabulary (those that occur)', 'KIND', [
    'characters',
    'byte-pairs',
  ]),
  validation: quantity(0.1, 'fraction at the end of the text that is held back', { min: 0, max: 0.9 }),
  sample: quantity(200, 'tokens of sample.txt, which the trained model writes', { min: 0, max: 100_000, whole: true }),
}

export type Corpus = {
  readonly vocabulary: Vocabulary
  readonly train: Source
  readonly held: Source & { readonly what: string }
  readonly about: readonly string[]
}

/** Windows to judge by, at most: spread evenly over what is held back. */
const JUDGED = 256

/** The text of `--data`. */
export function textOf(data: string | undefined): string {
  if (data === undefined || data === 'sonnets') return readSonnets()
  return data === 'bible' ? readVerses() : readText(data)
}

/** Windows of `block`+1 tokens of a text. @throws {RecipeError} the text is shorter than that */
export function corpusOf(s: { data: string | undefined; tokens: string; validation: number }, block: number, fixed?: Vocabulary): Corpus {
  const whole = textOf(s.data)
  const known = new Set(fixed?.tokens)
  const text = fixed?.kind === 'characters' ? Array.from(whole, (c) => (known.has(c) ? c : '')).join('') : whole
  const full = fixed ?? (s.tokens === 'byte-pairs' ? bytePairs() : characters(text))
  const raw = full.encode(text)
  const vocabulary = fixed || s.tokens === 'characters' ? full : compact(full, raw)
  const tokens = fixed || s.tokens === 'characters' ? raw : vocabulary.encode(text)
  const kept = Math.floor(tokens.length * (1 - s.validation))
  const count = kept - block
  if (count < 1)
    throw new RecipeError(
      `the text has ${tokens.length} tokens, too few for windows of ${block + 1} and a part held back\nTake a longer text, or a smaller --block.`,
    )
  const narrow = tokenData(tokens, vocabulary.size)
  const windows = Math.floor((tokens.length - kept) / (block + 1))
  const judged = Math.min(windows, JUDGED)
  const held = narrow.data.slice(0, judged * (block + 1))
  for (let w = 0; w < judged; w++) {
    const from = kept + Math.floor((w * windows) / judged) * (block + 1)
    held.set(narrow.data.subarray(from, from + block + 1), w * (block + 1))
  }
  const dropped =
    text.length < whole.length ? [`${whole.length - text.length} characters that the vocabulary does not have are left out`] : []
  return {
    vocabulary,
    train: {
      tensors: [{ name: 'tokens', dtype: narrow.dtype, shape: [kept], data: narrow.data.slice(0, kept) }],
      count,
      each: block,
      rows: (name, c) => (name === 'windows' ? windowsAt(c, block) : undefined),
    },
    held: {
      tensors: [{ name: 'windows', dtype: narrow.dtype, shape: [judged, block + 1], data: held }],
      count: judged,
      what: `held-out windows of ${block} tokens`,
    },
    about: [
      `${kept.toLocaleString('en')} tokens to train on (${vocabulary.size} different ${vocabulary.kind}), ${(tokens.length - kept).toLocaleString('en')} held back`,
      ...dropped,
    ],
  }
}

/** The block+1 tokens from each of the batch's positions on. */
function windowsAt(c: StepContext, block: number): Expr {
  const [batch] = c.index.shape
  return gather(c.data('tokens'), add(reshape(c.index, [batch, 1]), range(block + 1)))
}

/** What goes in and what should come out, i32 [batch, block] each. */
export function inAndOut(windows: Expr): { readonly tokens: Expr; readonly target: Expr } {
  const all = cast(windows, 'i32')
  const block = windows.shape[1] - 1
  return { tokens: slice(all, 1, 0, block), target: slice(all, 1, 1, block + 1) }
}

export const vocabularyFile = (v: Vocabulary): string => `${JSON.stringify({ kind: v.kind, tokens: v.tokens }, null, 1)}\n`

/**
 * A text that a trained model writes: each token drawn from the softmax of the logits at the last place. For people; nothing of it is hashed.
 * @param logits of tokens i32 [1, block]: [1, block, vocabulary]
 */
export function sampleOf(
  machine: Machine,
  v: Vocabulary,
  parameters: readonly { readonly name: string; readonly shape: readonly number[]; readonly data: Data }[],
  logits: (p: Lookup, tokens: Expr) => Expr,
  block: number,
  length: number,
  temperature = 0.8,
): string {
  if (length === 0) return ''
  const e = evaluation(parameters, [{ name: 'tokens', dtype: 'i32', shape: [1, block] }], (read) => [
    { name: 'logits', value: logits(read, read('tokens')) },
  ])
  const given = parameters.map((p) => p.data)
  const written: number[] = [Math.max(0, v.kind === 'characters' ? v.tokens.indexOf('\n') : 0)]
  let word = 1
  while (written.length <= length) {
    const seen = written.slice(-block)
    const tokens = Int32Array.from({ length: block }, (_, i) => seen[i] ?? 0)
    const out = e.read(machine.evaluate(e.graph, e.slots(given, [tokens])), 'logits') as Float32Array
    const row = out.subarray((seen.length - 1) * v.size, seen.length * v.size)
    const top = row.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY)
    const weights = Array.from(row, (x) => Math.exp((x - top) / temperature))
    word = (Math.imul(word, 1664525) + 1013904223) >>> 0
    let left = (word / 2 ** 32) * weights.reduce((a, b) => a + b, 0)
    const chosen = weights.findIndex((w) => (left -= w) <= 0)
    written.push(chosen < 0 ? v.size - 1 : chosen)
  }
  return `${v.decode(written.slice(1))}\n`
}
