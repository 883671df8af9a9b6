// Differential fuzzer of the arithmetic twins: random ops on F32.sol and I32.sol in an EVM against f32.ts and i32.ts, word for word.
//   node tools/fuzz-f32.ts [count = 200000] [seed = random] [--only name,name]
// The EVM is an anvil of its own on a free port, and the harness is put in place per call, so nothing is deployed or mined.
// A difference prints the op, its operands and both results, and exits 1: add it to tools/words.ts so that it becomes a vector.
import { spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { compile } from './solidity.ts'
import { f32Binary, f32Unary, i32Binary, i32Unary } from './vectors-f32.ts'
import { floatPair, floatWord, integerEdges, integerPair, randomWords } from './words.ts'

const BATCH = 8192
const HARNESS = '0x00000000000000000000000000000000000f0032'

type Op = { name: string; code: number; apply: (a: number, b: number) => number; draw: (next: () => number) => [number, number] }

const integerWord = (next: () => number): number => (next() & 1 ? next() >>> (next() & 31) : integerEdges[next() % integerEdges.length])
const one =
  (draw: (next: () => number) => number) =>
  (next: () => number): [number, number] => [draw(next), 0]

// Codes are positions in the lists of packages/contracts/test/Words.sol: f32 from 0, i32 from 32, binary ones first, in twin order.
const f32Ops: Op[] = Object.entries({ ...f32Binary, ...f32Unary }).map(([name, apply], code) => ({
  ...{ name: `f32.${name}`, code, apply },
  draw: name === 'fromI32' ? one(integerWord) : name in f32Unary ? one(floatWord) : floatPair,
}))
const i32Ops: Op[] = Object.entries({ ...i32Binary, ...i32Unary }).map(([name, apply], i) => ({
  ...{ name: `i32.${name}`, code: 32 + i, apply },
  draw: integerPair,
}))

/** A chain that is only ever asked, never written to. */
const startAnvil = async (): Promise<{ url: string; stop: () => Promise<void> }> => {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  probe.close()
  const program = new URL('../node_modules/.bin/anvil', import.meta.url).pathname
  const args = ['--port', String(port), '--silent', '--no-mining', '--gas-limit', '9000000000000000', '--prune-history', '--accounts', '1']
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const stop = async (): Promise<void> => {
    if (child.exitCode !== null || !child.kill('SIGTERM')) return
    await once(child, 'exit')
  }
  const url = `http://127.0.0.1:${port}`
  for (let tries = 0; tries < 100; tries++) {
    if (child.exitCode !== null) throw new Error(`anvil exited with ${child.exitCode} before it answered`)
    try {
      await call(url, 'eth_chainId', [])
      return { url, stop }
    } catch (error) {
      // Refused until it listens; anything else it says is news.
      if (!(error instanceof TypeError)) throw error
      await sleep(100)
    }
  }
  await stop()
  throw new Error(`anvil did not answer on ${url} within 10 s`)
}

const call = async (url: string, method: string, params: unknown[]): Promise<string> => {
  const body = JSON.stringify({ jsonrpc: '2.0', id: 1, method, params })
  const answer = await fetch(url, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
  const { result, error } = (await answer.json()) as { result?: string; error?: { message: string } }
  if (result === undefined) throw new Error(`${method}: ${error?.message ?? answer.status}`)
  return result
}

const hex = (w: number, digits = 8): string => (w >>> 0).toString(16).padStart(digits, '0')

/** The words that the contracts give for a batch of records (op a b, 9 bytes in hex). */
const runOnChain = async (url: string, code: string, records: readonly string[]): Promise<number[]> => {
  const request = { to: HARNESS, data: `0x${records.join('')}`, gas: '0x38d7ea4c68000' }
  const result = await call(url, 'eth_call', [request, 'latest', { [HARNESS]: { code } }])
  if (result.length !== 2 + 64 * records.length)
    throw new Error(`the harness gave ${result.length} hex digits for ${records.length} records`)
  // One word of 32 bytes each, of which the last four are the result.
  return records.map((_, i) => Number.parseInt(result.slice(2 + 64 * i + 56, 2 + 64 * (i + 1)), 16))
}

/** Runs count random ops on both sides; the number of differences, each printed. */
const fuzz = async (ops: readonly Op[], count: number, seed: number): Promise<number> => {
  const code = compile(['test/Words.sol']).find((c) => c.name === 'WordsHarness')!.deployedBytecode
  const next = randomWords(seed)
  const { url, stop } = await startAnvil()
  let differences = 0
  try {
    for (let done = 0; done < count; ) {
      const batch = Array.from({ length: Math.min(BATCH, count - done) }, () => {
        const op = ops[next() % ops.length]
        return { op, operands: op.draw(next) }
      })
      const got = await runOnChain(
        url,
        code,
        batch.map(({ op, operands: [a, b] }) => hex(op.code, 2) + hex(a) + hex(b)),
      )
      batch.forEach(({ op, operands: [a, b] }, i) => {
        const want = op.apply(a, b)
        if (got[i] === want) return
        console.log(`${op.name} 0x${hex(a)} 0x${hex(b)}: contract 0x${hex(got[i])}, TypeScript 0x${hex(want)}`)
        differences++
      })
      done += batch.length
      if (process.stderr.isTTY) process.stderr.write(`\r${done} of ${count}`)
      if (differences > 20) break
    }
  } finally {
    await stop()
  }
  return differences
}

const { values, positionals } = parseArgs({ options: { only: { type: 'string' } }, allowPositionals: true })
const count = Number(positionals[0] ?? 200_000)
const seed = Number(positionals[1] ?? randomBytes(4).readUInt32LE())
const only = values.only?.split(',')
const ops = [...f32Ops, ...i32Ops].filter((op) => !only || only.includes(op.name))
if (!Number.isSafeInteger(count) || count < 1 || !Number.isSafeInteger(seed) || ops.length === 0) {
  console.error('usage: node tools/fuzz-f32.ts [count] [seed] [--only f32.add,i32.sar]')
  process.exit(2)
}
console.error(`seed ${seed}`)
const started = performance.now()
const differences = await fuzz(ops, count, seed)
console.log(
  `${count} ops of ${ops.length} kinds, ${differences} differences, ${((performance.now() - started) / 1000).toFixed(1)} s, seed ${seed}`,
)
process.exitCode = differences === 0 ? 0 : 1
