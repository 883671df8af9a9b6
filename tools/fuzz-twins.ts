// Holds the contracts' scalar arithmetic to the hardware's on millions of seeded inputs an op, by hash: every pair of edges, then random bits and what is likely to
// hurt (tools/twin-inputs.ts). The interpreter, graph/f32 and i32, WebAssembly's f32 instructions and an EVM must all give the same words.
//   BITLOOM_TWINS=10000000 node tools/fuzz-twins.ts [--json FILE] [--only f32.add,step.dot]   random inputs an op (default 20,000); whole scalar steps: a hundredth
//   node tools/fuzz-twins.ts --vectors [--check]                                             writes, or compares, vectors/twins.json, which forge reads
// A difference is halved down to its first input, printed, and exits 1.
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { parseArgs } from 'node:util'
import { fromHex, toHex } from '@bitloom/graph'
import { type Abi, decodeFunctionResult, encodeFunctionData, type Hex } from 'viem'
import { type Evm, startEvm } from './evm.ts'
import { compile } from './solidity.ts'
import {
  leafBytes,
  packed,
  START,
  STEP_OPS,
  type StepOp,
  stepsHash,
  stepsOf,
  TwinError,
  WIDTH,
  WORD_GROUPS,
  type WordGroup,
  wordsHashes,
} from './twin-words.ts'
import { floatSeams } from './words.ts'

const ADDRESS = '0x0000000000000000000000000000000000007717'
/** Inputs of one call: a second or so of an EVM. */
const CALL = 1 << 18
const TRACES = 1 << 8
/** What forge runs at every `npm test`. */
const FORGE_INPUTS = 20_000
const FORGE_TRACES = 6
const FILE = new URL('../vectors/twins.json', import.meta.url)

/** One op's figures; `seconds`: of both sides together and, among scalar ops, of all that read the same inputs. */
export type TwinRow = {
  readonly op: string
  readonly edgePairs: number
  readonly inputs: number
  readonly seconds: number
  readonly equal: boolean
}

/** A contract that answers. */
type Twin = { readonly ask: (functionName: string, args: readonly unknown[]) => Promise<unknown> }

async function twinOn(evm: Evm): Promise<Twin> {
  const harness = compile(['test/Twins.sol']).find((c) => c.name === 'TwinsHarness')!
  const abi = harness.abi as Abi
  await evm.place(ADDRESS, harness.deployedBytecode)
  return {
    async ask(functionName, args) {
      const [answer] = await evm.calls(ADDRESS, [encodeFunctionData({ abi, functionName, args })])
      if (!answer!.ok) throw new TwinError(`${functionName} reverted: ${answer!.data}`)
      return decodeFunctionResult({ abi, functionName, data: answer!.data as Hex })
    },
  }
}

/** Ops whose runs are numbered alike and hashed on both sides, a hash an op. */
type Runs = {
  readonly names: readonly string[]
  readonly ours: (from: number, count: number, h: readonly Hex[]) => readonly Hex[]
  readonly theirs: (from: number, count: number, h: readonly Hex[]) => Promise<readonly Hex[]>
  /** Runs in one call. */
  readonly call: number
  /** A word about run `n` of op `k`, which differs. */
  readonly tell: (k: number, n: number) => Promise<string>
}

const word = (w: number | bigint): string => `0x${w.toString(16).padStart(8, '0')}`

const sourceOf = ({ edges, seed }: WordGroup | StepOp) => ({ floats: edges === floatSeams, seed, edges: packed(edges) })

const wordRuns = (twin: Twin, group: WordGroup): Runs => ({
  names: group.ops.map((op) => op.name),
  ours: (from, count, h) => wordsHashes(group, from, count, h),
  theirs: (from, count, h) => twin.ask('words', [group.ops.map((op) => op.code), sourceOf(group), from, count, h]) as Promise<Hex[]>,
  call: CALL,
  tell: async (k, n) => {
    const op = group.ops[k]!
    const [a, b, got] = (await twin.ask('wordAt', [op.code, sourceOf(group), n])) as [bigint, bigint, number]
    return `input ${n}, ${word(a)} ${word(b)}: contract ${word(got)}, TypeScript ${word(op.apply(Number(a), Number(b)))}`
  },
})

const stepRuns = (twin: Twin, op: StepOp): Runs => ({
  names: [op.name],
  ours: (from, count, [h]) => [stepsHash(op, from, count, h!)],
  theirs: async (from, count, [h]) => [(await twin.ask('scalars', [toHex(leafBytes(op)), sourceOf(op), from, count, h])) as Hex],
  call: TRACES,
  tell: async (_, n) => {
    const got = fromHex((await twin.ask('traceWords', [toHex(leafBytes(op)), sourceOf(op), n])) as Hex)
    const theirs = new DataView(got.buffer, got.byteOffset, got.byteLength)
    const ours = stepsOf(op, n)
    const i = ours.findIndex((w, at) => w !== theirs.getUint32(4 * at))
    return `seed ${op.seed}, trace ${n}, step ${i}: contract ${word(theirs.getUint32(4 * i))}, TypeScript ${word(ours[i]!)}`
  },
})

/** The first of op `k`'s runs from … from + count - 1 that differs; the last where no smaller one does. */
async function firstDifference(runs: Runs, k: number, from: number, count: number): Promise<number> {
  const start = runs.names.map(() => START)
  let [same, different] = [0, count]
  while (different - same > 1) {
    const middle = same + Math.floor((different - same) / 2)
    if (runs.ours(from, middle, start)[k] !== (await runs.theirs(from, middle, start))[k]) different = middle
    else same = middle
  }
  return from + same
}

/** Puts runs 0 … count - 1 to both sides; for each op that differs, where first. */
async function compareAll(runs: Runs, count: number): Promise<Map<string, string>> {
  const found = new Map<string, string>()
  let [ours, theirs]: (readonly Hex[])[] = [runs.names.map(() => START), runs.names.map(() => START)]
  for (let from = 0; from < count && found.size === 0; from += runs.call) {
    const n = Math.min(runs.call, count - from)
    // The EVM computes while this process does.
    const answer = runs.theirs(from, n, theirs!)
    ours = runs.ours(from, n, ours!)
    theirs = await answer
    for (const [k, name] of runs.names.entries())
      if (ours[k] !== theirs[k]) found.set(name, await runs.tell(k, await firstDifference(runs, k, from, n)))
    if (process.stderr.isTTY) process.stderr.write(`\r${runs.names[0]} …: ${from + n} of ${count}  `)
  }
  return found
}

/**
 * The twins on `count` random inputs an op (whole steps: a hundredth), after all pairs of edges.
 * @param row told of each op when it is done
 */
export async function fuzz(
  count: number,
  only: readonly string[] | undefined,
  row: (r: TwinRow, difference?: string) => void,
): Promise<void> {
  const evm = await startEvm()
  try {
    const twin = await twinOn(evm)
    const wanted = (op: { readonly name: string }): boolean => !only || only.includes(op.name)
    const each = async (runs: Runs, edges: readonly number[], width: number, random: number): Promise<void> => {
      const all = Math.ceil((edges.length ** 2 + random) / width)
      const started = performance.now()
      const found = await compareAll(runs, all)
      const seconds = Math.round((performance.now() - started) / 100) / 10
      for (const op of runs.names)
        row({ op, edgePairs: edges.length ** 2, inputs: all * width, seconds, equal: !found.has(op) }, found.get(op))
    }
    for (const group of WORD_GROUPS) {
      const ops = group.ops.filter(wanted)
      if (ops.length > 0) await each(wordRuns(twin, { ...group, ops }), group.edges, 1, count)
    }
    for (const op of STEP_OPS.filter(wanted)) await each(stepRuns(twin, op), op.edges, WIDTH, Math.ceil(count / 100))
  } finally {
    await evm.stop()
  }
}

/** vectors/twins.json: the hashes that the contracts must give, and what they need to compute them. */
function vectors(): string {
  const groups = Object.fromEntries(
    WORD_GROUPS.map((group) => {
      const start = group.ops.map(() => START)
      const { name, seed, edges, ops } = group
      const hashes = wordsHashes(group, 0, FORGE_INPUTS, start)
      return [
        name,
        { seed, edges: packed(edges), inputs: FORGE_INPUTS, names: ops.map((op) => op.name), codes: ops.map((op) => op.code), hashes },
      ]
    }),
  )
  const steps = {
    traces: FORGE_TRACES,
    names: STEP_OPS.map((op) => op.name),
    seeds: STEP_OPS.map((op) => op.seed),
    floats: STEP_OPS.map((op) => (op.edges === floatSeams ? 1 : 0)),
    leaves: STEP_OPS.map((op) => toHex(leafBytes(op))),
    hashes: STEP_OPS.map((op) => stepsHash(op, 0, FORGE_TRACES, START)),
  }
  return `${JSON.stringify({ ...groups, steps }, null, 1)}\n`
}

if (import.meta.main) {
  const options = { json: { type: 'string' }, only: { type: 'string' }, vectors: { type: 'boolean' }, check: { type: 'boolean' } } as const
  const { values } = parseArgs({ options })
  if (values.vectors || values.check) {
    const text = vectors()
    if (!values.check) writeFileSync(FILE, text)
    else if (readFileSync(FILE, 'utf8') !== text) {
      console.error(
        'vectors/twins.json is not what the TypeScript arithmetic gives; if the change is meant: node tools/fuzz-twins.ts --vectors',
      )
      process.exitCode = 1
    }
  } else {
    const count = Number(process.env.BITLOOM_TWINS ?? 20_000)
    if (!Number.isSafeInteger(count) || count < 1 || count > 2 ** 30)
      throw new TwinError(`BITLOOM_TWINS is ${count}: it is a number of inputs from 1 to 2^30`)
    const rows: TwinRow[] = []
    const sum = () => ({ total: rows.reduce((n, r) => n + r.inputs, 0), equal: rows.every((r) => r.equal) })
    await fuzz(count, values.only?.split(','), (r, difference) => {
      rows.push(r)
      console.log(`${r.op.padEnd(18)} ${`${r.inputs}`.padStart(10)} inputs  ${`${r.seconds}`.padStart(7)} s  ${difference ?? 'equal'}`)
      if (!values.json) return
      // After every op: whoever stops a run of an hour keeps what it found.
      const report = { cpu: cpus()[0]?.model, node: process.version, random: count, ...sum(), rows }
      writeFileSync(`${values.json}.part`, `${JSON.stringify(report, null, 1)}\n`)
      renameSync(`${values.json}.part`, values.json)
    })
    const { total, equal } = sum()
    console.log(`${rows.length} ops, ${total} inputs: ${equal ? 'equal everywhere' : 'DIFFERENT'}`)
    process.exitCode = equal ? 0 : 1
  }
}
