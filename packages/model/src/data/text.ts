// Text as numbers: one a character, or GPT-2's byte pairs, each with the table that turns numbers into text again.

import { createRequire } from 'node:module'
import type { Data } from '@bitloom/graph'
import { DataError } from './tensors.ts'

export type Vocabulary = {
  readonly kind: 'characters' | 'byte-pairs'
  readonly size: number
  readonly encode: (text: string) => Int32Array
  readonly decode: (tokens: ArrayLike<number>) => string
  /** What a token stands for; for people and for the file beside the model. */
  readonly tokens: readonly string[]
}

export const MAX_TEXT_BYTES = 2 ** 28
const MAX_CHARACTERS = 65_536
/** The merge search of a word takes time with the square of its length; longer runs are cut here, which changes their tokens and nothing else. */
const MAX_WORD = 128
const GPT2_TOKENS = 50_257

/**
 * Every character (code point) of a text gets a number, in order of code points.
 * @throws {DataError} the text is empty or has more than 65,536 different characters
 */
export function characters(text: string): Vocabulary {
  const seen = new Set<number>()
  for (const c of text) seen.add(c.codePointAt(0)!)
  const points = [...seen].sort((a, b) => a - b)
  if (points.length === 0 || points.length > MAX_CHARACTERS)
    throw new DataError(`${points.length} different characters; 1 to ${MAX_CHARACTERS} are numbered`)
  return charactersFrom(points.map((p) => String.fromCodePoint(p)))
}

/** The vocabulary of a list of characters, as `vocabulary.json` keeps it. */
export function charactersFrom(tokens: readonly string[]): Vocabulary {
  const numbers = new Map(tokens.map((t, i) => [t, i]))
  return {
    kind: 'characters',
    size: tokens.length,
    tokens,
    encode: (text) =>
      Int32Array.from(Array.from(text), (c, i) => {
        const number = numbers.get(c)
        if (number === undefined)
          throw new DataError(`character ${i} is ${JSON.stringify(c)}, which is not among the ${tokens.length} of the vocabulary`)
        return number
      }),
    decode: (list) => Array.from(list, (t) => tokens[t] ?? '').join(''),
  }
}

type Encoder = { readonly encode: (text: string) => number[]; readonly decode: (tokens: number[]) => string }

/** GPT-2's byte-pair vocabulary (50,257 tokens), from the npm package `gpt-3-encoder`. */
export function bytePairs(): Vocabulary {
  const { encode, decode } = createRequire(import.meta.url)('gpt-3-encoder') as Encoder
  return {
    kind: 'byte-pairs',
    size: GPT2_TOKENS,
    tokens: [],
    encode: (text) => encodeWords(text, encode),
    decode: (list) => decode(Array.from(list)),
  }
}

/** GPT-2's own cut into words (Radford et al. 2019, encoder.py); each different word is encoded once, since the package's own loop is quadratic in the text. */
const WORDS = /'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+/gu

function encodeWords(text: string, encode: (text: string) => number[]): Int32Array {
  const known = new Map<string, readonly number[]>()
  const parts: (readonly number[])[] = []
  let n = 0
  for (const [whole] of text.matchAll(WORDS))
    for (const word of piecesOf(whole)) {
      let tokens = known.get(word)
      if (!tokens) {
        tokens = encode(word)
        known.set(word, tokens)
      }
      parts.push(tokens)
      n += tokens.length
    }
  const out = new Int32Array(n)
  let at = 0
  for (const part of parts) {
    out.set(part, at)
    at += part.length
  }
  return out
}

function piecesOf(word: string): string[] {
  if (word.length <= MAX_WORD) return [word]
  const points = Array.from(word)
  return Array.from({ length: Math.ceil(points.length / MAX_WORD) }, (_, i) => points.slice(i * MAX_WORD, (i + 1) * MAX_WORD).join(''))
}

/** Only the tokens that occur, numbered anew in order: a small model need not hold 50,257 rows for a text that uses 5,000. */
export function compact(full: Vocabulary, tokens: Int32Array): Vocabulary {
  const used = [...new Set(tokens)].sort((a, b) => a - b)
  const numbers = new Map(used.map((t, i) => [t, i]))
  return {
    kind: full.kind,
    size: used.length,
    tokens: used.map((t) => full.decode([t])),
    encode: (text) =>
      full
        .encode(text)
        .map((t, i) => numbers.get(t) ?? raise(`token ${i} (${JSON.stringify(full.decode([t]))}) does not occur in the training text`)),
    decode: (list) => full.decode(Array.from(list, (t) => used[t] ?? 0)),
  }
}

/** Tokens in the narrowest dtype that holds them: u8 for up to 256, else i32. */
export const tokenData = (tokens: Int32Array, size: number): { readonly dtype: 'u8' | 'i32'; readonly data: Data } =>
  size <= 256 ? { dtype: 'u8', data: Uint8Array.from(tokens) } : { dtype: 'i32', data: tokens }

const raise = (message: string): never => {
  throw new DataError(message)
}
