// Writes vectors/scalar.json: scalar steps with real witnesses as calldata of the real Arbiter, right and wrong ones, and what must come back.
//   node tools/vectors-scalar.ts           rewrite (golden data move only when asked)
//   node tools/vectors-scalar.ts --check   exit 1 when the file differs from what would be written
//
// Layout: { "steps": { names, calls, results }, "refused": { names, calls, selectors }, "gas": { names, calls } }: columns of equal length; a
// result is a 32-bit word, a selector the first four bytes of the revert data. "gas" asks as a graph of 512 exprs and 1 MiB tensors would.
import { readFileSync, writeFileSync } from 'node:fs'
import { type ArbiterErrorName, decodeLeaf } from '@bitloom/dispute/leaf'
import { identity, scalarStep, terms } from '@bitloom/dispute/scalar'
import { reader } from '@bitloom/dispute/witness'
import { type OpName, sizeOf, toBytes } from '@bitloom/graph'
import { loadOpVectors, type OpVector } from '../test/vectors.ts'
import { ask, encodeStep, type Question, SPOILS, selectorOf, spoilt, type Traced, traceOf, vectorFrom } from './scalar-questions.ts'
import { ordinary, tensor } from './vectors-ops.ts'
import { randomWords } from './words.ts'

export type Step = { readonly name: string; readonly question: Question; readonly word: number }
export type Refused = { readonly name: string; readonly question: Question; readonly error: ArbiterErrorName }

const accBefore = (v: OpVector, leaf: Uint8Array, element: number, term: number): number => {
  const e = decodeLeaf(leaf)
  const read = reader(e, (k) => toBytes(v.operands[k]!.data))
  let acc = identity(e)
  for (let t = 0; t < term; t++) acc = scalarStep(e, element, t, acc, read)
  return acc
}

/** The word of an element as the interpreter stored it. */
const resultWord = (v: OpVector, element: number): number =>
  v.result.dtype === 'u8' ? v.result.data[element]! : new Uint32Array(v.result.data.buffer, v.result.data.byteOffset)[element]!

/** Which elements are asked for: one a vector, so that the file stays small (a witness is 1 KiB a read); the fuzzer asks for the rest. */
const elementOf = (v: OpVector, i: number): number => {
  const n = sizeOf(v.result.shape)
  return [n - 1, Math.floor(n / 2), Math.floor(n / 3)][i % 3]!
}

/** The cases of vectors/ops.json that are asked on chain: of each op, every dtype, and shapes of rank 2 and more. */
const chosen = (): OpVector[] => {
  const perOp = new Map<string, number>()
  // From the end, where the larger shapes are.
  return loadOpVectors()
    .reverse()
    .filter((v) => {
      const key = `${v.op} ${v.operands.map((t) => t.dtype).join()} ${/edges|wild|clamped/.test(v.name) ? 'edge' : 'shape'}`
      const seen = perOp.get(key) ?? 0
      const limit = v.operands.length > 0 && v.operands.length < 4 && v.operands.every((t) => t.shape.length < 2) ? 1 : 2
      if (v.op === 'input' || v.operands.length > 4 || seen >= limit) return false
      perOp.set(key, seen + 1)
      return true
    })
}

/** Right questions. The last step of an element must give the interpreter's word, any other the next accumulator. */
export const steps = (): Step[] => {
  const all: Step[] = []
  for (const [i, v] of chosen().entries()) {
    const t = traceOf(v)
    const n = terms(decodeLeaf(t.leaf))
    const element = elementOf(v, i)
    const question = ask(t, element, n - 1, accBefore(v, t.leaf, element, n - 1))
    all.push({ name: `${v.name} element ${element}`, question, word: resultWord(v, element) })
    if (n === 1) continue
    const term = Math.floor(n / 3)
    const early = ask(t, element, term, accBefore(v, t.leaf, element, term))
    all.push({ name: `${v.name} element ${element} term ${term}`, question: early, word: accBefore(v, t.leaf, element, term + 1) })
  }
  return all
}

/** Wrong questions, and the error that must meet each. */
export const refused = (): Refused[] => {
  const vectors = loadOpVectors()
  const traced = (name: string): Traced => traceOf(vectors.find((v) => v.name === name)!)
  const dot = traced('dot [1,300] x [300,2]')
  const add = traced('add f32 pairs of edges')
  const argmax = traced('argmax [70,3] axis 0')
  const gather = traced('gather f32 12 of [300,2], clamped')
  const honest = ask(dot, 1, 270, 0x3f800000)
  const all: Refused[] = []
  const no = (error: ArbiterErrorName, name: string, question: Question): void =>
    void all.push({ name: `${error}: ${name}`, question, error })
  for (const [error, how, spoil] of SPOILS)
    for (const read of [0, 1]) {
      const question = spoilt(honest, read, spoil, 8 * 40 + 3)
      if (question) no(error, `${how}, read ${read}`, question)
    }
  const [a, b] = honest.operands as [Question['operands'][0], Question['operands'][0]]
  const [c, d] = ask(dot, 1, 2, 0).operands as typeof honest.operands as [typeof a, typeof b]
  no('BadChunk', 'the operands swapped', { ...honest, operands: [b, a] })
  no('BadChunk', 'another chunk of the same tensor', { ...honest, operands: [c, b] })
  no('BadChunk', 'another chunk of the second tensor', { ...honest, operands: [a, d] })
  const foreign = ask(traced('dot [4,33] x [33,1]'), 0, 0, 0).operands
  no('BadChunk', 'a tensor of one chunk where two are meant', { ...honest, operands: [foreign[0]!, b] })
  const pair = ask(add, 5, 0, 0)
  no('BadRoot', 'the right chunk of the other operand', { ...pair, operands: [pair.operands[1]!, pair.operands[1]!] })
  no('BadRoot', 'another trace', { ...honest, trace: add.trace })
  no('BadRoot', 'more exprs than the trace has', { ...honest, exprs: 2 * honest.exprs + 1 })
  no('BadRoot', 'fewer exprs than the trace has', { ...honest, exprs: 1 })
  no('OperandMissing', 'none', { ...honest, operands: [] })
  no('OperandMissing', 'one of two', { ...honest, operands: [a] })
  const [index] = ask(gather, 3, 0, 0).operands as [typeof a]
  no('OperandMissing', 'gather without the row', { ...ask(gather, 3, 0, 0), operands: [index] })
  no('OperandsLeft', 'one too many', { ...honest, operands: [a, b, b] })
  const iota = ask(traced('iota [3,5] axis 1'), 7, 0, 0)
  no('OperandsLeft', 'iota reads nothing', { ...iota, operands: [a] })
  const pad = ask(traced('pad f32[3] 2,1,0,2147483648'), 0, 0, 0)
  no('OperandsLeft', 'a fill reads nothing', { ...pad, operands: [a] })
  no('IndexOutOfRange', 'argmax with an accumulator beyond the axis', { ...ask(argmax, 1, 3, 0), acc: 70 })
  no('IndexOutOfRange', 'argmax with the largest accumulator', { ...ask(argmax, 1, 3, 0), acc: 0xffffffff })
  no('ElementOutOfRange', 'just beyond', { ...honest, element: 2 })
  no('ElementOutOfRange', 'far beyond', { ...honest, element: 2 ** 52 })
  no('TermOutOfRange', 'just beyond', { ...honest, term: 300 })
  no('TermOutOfRange', 'of an op that is no fold', { ...pair, term: 1 })
  no('NoScalarRule', 'input', { ...honest, leaf: traced('input f32[3,5]').leaf, operands: [] })
  no('MalformedLeaf', 'empty', { ...honest, leaf: new Uint8Array(0) })
  no('MalformedLeaf', 'cut short', { ...honest, leaf: honest.leaf.subarray(0, honest.leaf.length - 1) })
  no('MalformedLeaf', 'a byte more', { ...honest, leaf: Uint8Array.of(...honest.leaf, 0) })
  for (const [offset, byte, what] of [
    ...([
      [0, 2, 'tag'],
      [2, 1, 'operands'],
      [3, 1, 'attributes'],
      [4, 3, 'dtype'],
      [5, 7, 'rank'],
      [9, 0, 'size 0'],
      [6, 0x80, 'size 2^31'],
    ] as const),
  ])
    no('MalformedLeaf', what, { ...honest, leaf: honest.leaf.with(offset, byte) })
  no('UnknownOp', 'code 68', { ...honest, leaf: honest.leaf.with(1, 68) })
  return all
}

/** One question an op as a graph of ordinary size would have it: 512 exprs, operands of 1 MiB. */
export const gasQuestions = (): { name: string; question: Question }[] => {
  const next = randomWords(7)
  const base = tensor('f32', [512, 512], () => ordinary(next))
  const [f, i] = [base, tensor('i32', [512, 512], () => next() & 511)]
  const rows = tensor('i32', [512], () => next() & 511)
  const bytes = tensor('u8', [1024, 1024], () => next() & 255)
  const like = { dtype: 'f32', shape: [512, 512] } as const
  const ops: readonly [string, OpName, (typeof f)[], number[], { dtype: 'f32' | 'i32' | 'u8'; shape: readonly number[] }][] = [
    ...(['neg', 'sqrt', 'floor'] as const).map((op): [string, OpName, (typeof f)[], number[], typeof like] => [op, op, [f], [], like]),
    ...(['add', 'mul', 'div', 'max'] as const).map((op): [string, OpName, (typeof f)[], number[], typeof like] => [
      op,
      op,
      [f, f],
      [],
      like,
    ]),
    ['xor', 'xor', [i, i], [], { dtype: 'i32', shape: [512, 512] }],
    ['cast u8', 'cast', [bytes], [], { dtype: 'f32', shape: [1024, 1024] }],
    ['where', 'where', [i, f, f], [], like],
    ['permute', 'permute', [f], [1, 0], like],
    ['slice', 'slice', [f], [0, 511, 1, -1], like],
    ['pad', 'pad', [f], [0, 0, 0, 0, 0, 0, 0], like],
    ['window', 'window', [f], [1, 5, 1, 1], { dtype: 'f32', shape: [512, 508, 5] }],
    ['gather', 'gather', [f, rows], [], like],
    ['scatterAdd', 'scatterAdd', [f, rows], [], like],
    ['sum', 'sum', [f], [1], { dtype: 'f32', shape: [512] }],
    ['argmax', 'argmax', [f], [1], { dtype: 'i32', shape: [512] }],
    ['dot', 'dot', [f, f], [], like],
  ]
  return ops.map(([name, op, operands, attrs, result]) => {
    const t = traceOf(vectorFrom(name, op, attrs, operands, result), 512)
    const element = op === 'scatterAdd' ? 512 * rows.data[300]! + 77 : Math.min(sizeOf(result.shape) - 1, 150_077)
    const term = Math.min(terms(decodeLeaf(t.leaf)) - 1, 300)
    return { name, question: ask(t, element, term, op === 'argmax' ? 3 : 0x3fc00000) }
  })
}

/** The text of vectors/scalar.json; the same on every machine. */
export const scalarFile = (): string => {
  const [right, wrong, gas] = [steps(), refused(), gasQuestions()]
  const hex = (word: number): string => `0x${word.toString(16).padStart(64, '0')}`
  const file = {
    steps: { names: right.map((s) => s.name), calls: right.map((s) => encodeStep(s.question)), results: right.map((s) => hex(s.word)) },
    refused: {
      names: wrong.map((s) => s.name),
      calls: wrong.map((s) => encodeStep(s.question)),
      selectors: wrong.map((s) => selectorOf(s.error)),
    },
    gas: { names: gas.map((s) => s.name), calls: gas.map((s) => encodeStep(s.question)) },
  }
  return `${JSON.stringify(file, null, 1)}\n`
}

if (import.meta.main) {
  const path = new URL('../vectors/scalar.json', import.meta.url)
  const file = scalarFile()
  if (!process.argv.includes('--check')) writeFileSync(path, file)
  else if (readFileSync(path, 'utf8') !== file) {
    console.error('vectors/scalar.json differs from what the TypeScript side gives; if the change is meant: node tools/vectors-scalar.ts')
    process.exitCode = 1
  }
  const { steps, refused } = JSON.parse(file)
  console.error(`vectors/scalar.json: ${steps.names.length} steps, ${refused.names.length} refused, ${file.length} bytes`)
}
