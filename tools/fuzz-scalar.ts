// Differential fuzzer of the scalar step: random exprs, elements, terms, accumulators and spoilt witnesses, put to the Arbiter in an EVM and to
// `judge` in TypeScript; the words, or the names of the errors, must be the same. The last term must also give the interpreter's bits.
//   node tools/fuzz-scalar.ts [count = 20000] [seed = random] [--only dot,gather]
// A difference prints the case with its calldata (a vector for vectors/scalar.json) and exits 1.
import { randomBytes } from 'node:crypto'
import { parseArgs } from 'node:util'
import { type Judgement, judge } from '@bitloom/dispute/arbiter'
import { decodeLeaf, type Leaf } from '@bitloom/dispute/leaf'
import { identity, scalarStep, terms } from '@bitloom/dispute/scalar'
import { reader } from '@bitloom/dispute/witness'
import { OP_NAMES, type OpName, sizeOf, toBytes } from '@bitloom/graph'
import { drawVector } from './draw-expr.ts'
import { type Answer, startEvm } from './evm.ts'
import { ask, encodeStep, errorOf, type Question, SPOILS, spoilt, type Traced, traceOf } from './scalar-questions.ts'
import { compile } from './solidity.ts'
import { randomWords } from './words.ts'

const ADDRESS = '0x0000000000000000000000000000000000a4b17e'
const BATCH = 64
/** Questions asked about one drawn expr: a trace costs more than a question. */
const PER_EXPR = 8

type Case = { readonly name: string; readonly question: Question; readonly want: Judgement }

const wordOf = (t: Traced, element: number): number => {
  const { dtype, data } = t.vector.result
  return dtype === 'u8' ? data[element]! : new Uint32Array(data.buffer, data.byteOffset, data.length)[element]!
}

/** The accumulator before `term`, and after the last term. */
const folded = (t: Traced, e: Leaf, element: number, term: number): { before: number; end: number } => {
  const read = reader(e, (k) => toBytes(t.vector.operands[k]!.data))
  let acc = identity(e)
  let before = acc
  for (let k = 0, n = terms(e); k < n; k++) {
    if (k === term) before = acc
    acc = scalarStep(e, element, k, acc, read)
  }
  return { before, end: acc }
}

const judged = (q: Question): Judgement => judge(q.leaf, q.element, q.term, q.acc, q.trace, q.exprs, q.operands)

/** One case about an expr: most honest, some spoilt. Undefined where the twins may differ: types that do not fit the op. */
const drawCase = (t: Traced, next: () => number): Case | undefined => {
  const e = decodeLeaf(t.leaf)
  const { name } = t.vector
  const [element, term] = [next() % sizeOf(e.shape), next() % terms(e)]
  if (e.op === 'input') {
    const question = { leaf: t.leaf, element, term, acc: 0, trace: t.trace, exprs: t.exprs, operands: [] }
    return { name, question, want: judged(question) }
  }
  const { before, end } = folded(t, e, element, term)
  if (end !== wordOf(t, element)) throw new Error(`${name}: element ${element} folds to ${end}, the interpreter has ${wordOf(t, element)}`)
  const kind = next() % 10
  const acc = kind < 3 && e.op !== 'argmax' ? next() : before
  const honest = ask(t, element, term, acc)
  const about = `${name} element ${element} term ${term} acc ${acc}`
  if (kind < 6) {
    const want = judged(honest)
    if (!want.ok) throw new Error(`${about}: an honest witness is refused with ${want.error}`)
    return { name: about, question: honest, want }
  }
  if (kind < 8 && honest.operands.length > 0) {
    const [error, how, spoil] = SPOILS[next() % SPOILS.length]!
    const question = spoilt(honest, next() % honest.operands.length, spoil, next() & 0xffff)
    if (!question) return undefined
    const want = judged(question)
    if (want.ok || want.error !== error) throw new Error(`${about}, ${how}: ${JSON.stringify(want)}, not ${error}`)
    return { name: `${about}, ${how}`, question, want }
  }
  if (kind === 8) {
    // The witness of another question, or a question out of range.
    const question = { ...honest, element: next() % (2 * sizeOf(e.shape)), term: next() % (2 * terms(e)), acc: next() % 300 }
    const operands = next() % 3 ? honest.operands : honest.operands.slice(next() % 2, next() % 4)
    return { name: `${about}, asked otherwise`, question: { ...question, operands }, want: judged({ ...question, operands }) }
  }
  const leaf = honest.leaf.with(next() % honest.leaf.length, next() % 3 ? next() % 8 : next() & 255)
  const cut = next() % 4 ? leaf : leaf.subarray(0, next() % leaf.length)
  const question = { ...honest, leaf: cut }
  const want = judged(question)
  if (!want.ok && want.error === 'MalformedLeaf' && decodes(cut)) return undefined
  return { name: `${about}, a byte of the leaf changed`, question, want }
}

const decodes = (leaf: Uint8Array): boolean => {
  try {
    decodeLeaf(leaf)
    return true
  } catch (error) {
    if ((error as { code?: string }).code === undefined) throw error
    return false
  }
}

const shown = (j: Judgement): string => (j.ok ? `0x${j.word.toString(16)}` : j.error)
const answered = (a: Answer): string => (a.ok ? `0x${BigInt(a.data).toString(16)}` : (errorOf(a.data) ?? a.data))

/** What a run found: lines about differences, and how many cases were words and how many refusals. */
export type Found = { readonly differences: string[]; words: number; refusals: number }

/** Puts `count` random questions to both twins. */
export const fuzz = async (count: number, seed: number, ops: readonly OpName[] = OP_NAMES): Promise<Found> => {
  const [arbiter] = compile(['src/arbiter/Arbiter.sol'])
  const evm = await startEvm()
  const next = randomWords(seed)
  const found: Found = { differences: [], words: 0, refusals: 0 }
  try {
    await evm.place(ADDRESS, arbiter!.deployedBytecode)
    for (let done = 0; done < count && found.differences.length < 20; ) {
      const batch: Case[] = []
      while (batch.length < Math.min(BATCH, count - done)) {
        const t = traceOf(drawVector(next, ops))
        for (let i = 0; i < PER_EXPR && batch.length < Math.min(BATCH, count - done); i++) {
          const drawn = drawCase(t, next)
          if (drawn) batch.push(drawn)
        }
      }
      const calls = batch.map((c) => encodeStep(c.question))
      const answers = await evm.calls(ADDRESS, calls)
      batch.forEach((c, i) => {
        if (c.want.ok) found.words++
        else found.refusals++
        const [want, got] = [shown(c.want), answered(answers[i]!)]
        if (want !== got) found.differences.push(`${c.name}: contract ${got}, TypeScript ${want}\n  ${calls[i]}`)
      })
      done += batch.length
      if (process.stderr.isTTY) process.stderr.write(`\r${done} of ${count}`)
    }
  } finally {
    await evm.stop()
  }
  return found
}

if (import.meta.main) {
  const { values, positionals } = parseArgs({ options: { only: { type: 'string' } }, allowPositionals: true })
  const count = Number(positionals[0] ?? 20_000)
  const seed = Number(positionals[1] ?? randomBytes(4).readUInt32LE())
  const only = values.only?.split(',')
  const ops = OP_NAMES.filter((op) => !only || only.includes(op))
  if (!Number.isSafeInteger(count) || count < 1 || !Number.isSafeInteger(seed) || ops.length === 0) {
    console.error('usage: node tools/fuzz-scalar.ts [count] [seed] [--only dot,gather]')
    process.exit(2)
  }
  console.error(`seed ${seed}`)
  const started = performance.now()
  const { differences, words, refusals } = await fuzz(count, seed, ops)
  for (const line of differences) console.log(line)
  const seconds = ((performance.now() - started) / 1000).toFixed(1)
  console.log(`${words} words, ${refusals} refusals, ${differences.length} differences, ${seconds} s, seed ${seed}`)
  process.exitCode = differences.length === 0 ? 0 : 1
}
