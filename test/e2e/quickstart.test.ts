// The quickstart as a person runs it, checked by its own summary, by another runtime, and by a receipt that no forger gets past.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { readMnist } from '@bitloom/model/data/mnist'
import { readSafetensors } from '@bitloom/model/safetensors'
import { checkReceipt, type Receipt } from '@bitloom/node'
import * as ort from 'onnxruntime-web'
import { MAIN } from './network.ts'

ort.env.wasm.numThreads = 1

const FILES = ['model.safetensors', 'model.onnx', 'loss.csv', 'loss.svg', 'receipt.json', 'summary.json'] as const
const FIELDS = [
  ...['accuracy', 'seconds', 'steps', 'rootNetwork', 'rootLocal', 'overheadTotal', 'hashShare', 'gasPerSlice', 'gasDispute'],
  ...['disputeExchanges', 'disputeSeconds', 'cheatCaught', 'cheatSlashedWei', 'conservationWei', 'processes'],
]
const STEPS_A_SLICE = 320

type Summary = Readonly<Record<string, unknown>>
const dir = mkdtempSync(join(tmpdir(), 'bitloom-quickstart-'))
after(() => rmSync(dir, { recursive: true, force: true, maxRetries: 5 }))

/** Runs the command as a process and reads its summary. */
async function quickstart(name: string, ...args: string[]): Promise<Ran> {
  const out = join(dir, name)
  const child = spawn(process.execPath, [MAIN, 'quickstart', '--out', out, ...args], { stdio: ['ignore', 'ignore', 'pipe'] })
  let words = ''
  child.stderr.on('data', (chunk) => (words += chunk))
  const status = await new Promise((resolve) => child.once('close', resolve))
  assert.equal(status, 0, words.slice(-3000))
  return { out, summary: JSON.parse(readFileSync(join(out, 'summary.json'), 'utf8')) as Summary }
}

const amount = (x: unknown): bigint => BigInt(x as string | number)
const figure = (x: unknown, low: number, high: number, what: string): void =>
  assert.ok(typeof x === 'number' && x > low && x < high, `${what} is ${x}; it should lie between ${low} and ${high}`)

function holds(summary: Summary, slices: number, out: string): void {
  assert.deepEqual(Object.keys(summary).sort(), [...FIELDS].sort())
  assert.equal(summary.steps, slices * STEPS_A_SLICE)
  assert.match(String(summary.rootNetwork), /^0x[0-9a-f]{64}$/)
  assert.equal(summary.rootNetwork, summary.rootLocal, 'the same bits on the network and alone')
  assert.equal(amount(summary.conservationWei), 0n)
  figure(summary.accuracy, 0.85, 1, 'accuracy')
  figure(summary.overheadTotal, 1, 50, 'overheadTotal')
  figure(summary.hashShare, 0, 1, 'hashShare')
  figure(summary.gasPerSlice, 300_000, 5_000_000, 'gasPerSlice')
  figure(summary.seconds, 1, 600, 'seconds')
  for (const file of FILES) assert.ok(existsSync(join(out, file)), file)
}

/** Share of held-out digits that the exported model gets right in onnxruntime. */
async function accuracyInOrt(path: string): Promise<number> {
  const { images, labels, count } = readMnist().test
  const session = await ort.InferenceSession.create(new Uint8Array(readFileSync(path)))
  const result = await session.run({ [session.inputNames[0]!]: new ort.Tensor('uint8', images, [count, 784]) })
  const logits = result[session.outputNames[0]!]!.data as Float32Array
  await session.release()
  let right = 0
  for (let i = 0; i < count; i++) {
    const row = logits.subarray(10 * i, 10 * i + 10)
    if (row.indexOf(Math.max(...row)) === labels[i]) right++
  }
  return right / count
}

const readReceipt = (out: string): unknown => JSON.parse(readFileSync(join(out, 'receipt.json'), 'utf8'))
const bytesOf = (out: string, name: string): Uint8Array => new Uint8Array(readFileSync(join(out, name)))

type Ran = { readonly out: string; readonly summary: Summary }
let [cheated, honest]: Ran[] = []
before(async () => {
  // side by side: each waits for its own chain more than it computes
  ;[cheated, honest] = await Promise.all([quickstart('cheated', '--slices', '3'), quickstart('honest', '--honest-only', '--slices', '2')])
})

test('one of two solvers cheats: caught, slashed, and the model is bit for bit what training alone gives', async () => {
  const { summary, out } = cheated!
  holds(summary, 3, out)
  assert.equal(summary.cheatCaught, true)
  assert.ok(amount(summary.cheatSlashedWei) > 0n)
  figure(summary.disputeExchanges, 0, 25, 'disputeExchanges')
  figure(summary.disputeSeconds, 0, 600, 'disputeSeconds')
  figure(summary.gasDispute, 500_000, 10_000_000, 'gasDispute')
  assert.equal(summary.processes, 7)
  assert.equal(await accuracyInOrt(join(out, 'model.onnx')), summary.accuracy, 'another runtime finds the same accuracy')
})

test('everybody is honest: nothing is disputed and nobody loses', () => {
  const { summary, out } = honest!
  holds(summary, 2, out)
  assert.equal(summary.cheatCaught, false)
  assert.equal(amount(summary.cheatSlashedWei), 0n)
  assert.deepEqual([summary.gasDispute, summary.disputeExchanges, summary.disputeSeconds], [0, 0, 0])
  assert.equal(summary.processes, 6)
  const checks = checkReceipt(readReceipt(out), readSafetensors(bytesOf(out, 'model.safetensors')))
  assert.deepEqual(
    checks.filter((c) => !c.ok),
    [],
  )
})

test('the receipt holds, with the weights and the files that came with it', () => {
  const { out } = cheated!
  const files = Object.fromEntries(['model.safetensors', 'model.onnx', 'loss.csv', 'loss.svg'].map((name) => [name, bytesOf(out, name)]))
  const checks = checkReceipt(readReceipt(out), readSafetensors(files['model.safetensors']!), files)
  assert.deepEqual(
    checks.filter((c) => !c.ok),
    [],
  )
  assert.ok(
    checks.some((c) => c.what === 'weights') && checks.some((c) => c.what.startsWith('dispute')),
    'weights and dispute were checked',
  )
  assert.equal(checks.filter((c) => c.what.startsWith('file ')).length, 4)
})

/** Another hex digit at `at`. */
const flipped = (hex: string, at = 10): string => `${hex.slice(0, at)}${hex[at] === '0' ? '1' : '0'}${hex.slice(at + 1)}`
const more = (wei: string): string => String(BigInt(wei) + 1n)

type Mutable<T> = T extends object ? { -readonly [K in keyof T]: Mutable<T[K]> } : T
const FORGERIES: Readonly<Record<string, (r: Mutable<Receipt>) => void>> = {
  'another format': (r) => void ((r as { format: string }).format = 'bitloom-receipt-1'),
  'a spec field': (r) => void (r.spec.stepsPerCheckpoint = 33),
  'fewer slices in the spec': (r) => void (r.spec.slices = 2),
  'the spec id': (r) => void (r.specId = flipped(r.specId) as never),
  'one byte of the graph': (r) => {
    const bytes = Buffer.from(r.graph, 'base64')
    bytes[bytes.length >> 1]! ^= 1
    r.graph = bytes.toString('base64')
  },
  'a graph cut short': (r) => void (r.graph = r.graph.slice(0, r.graph.length >> 1)),
  'the final state': (r) => void (r.final.stateRoot = flipped(r.final.stateRoot) as never),
  "a slot's root": (r) => void (r.final.slots[0]!.root = flipped(r.final.slots[0]!.root) as never),
  "a slot's name": (r) => void (r.final.slots[0]!.name = 'fc9.weight'),
  'a slot left out': (r) => void r.final.slots.pop(),
  "a slice's start": (r) => void (r.slices[1]!.startState = flipped(r.slices[1]!.startState) as never),
  "a slice's end": (r) => void (r.slices[1]!.endState = flipped(r.slices[1]!.endState) as never),
  "a claim's root": (r) => void (r.slices[1]!.claimRoot = flipped(r.slices[1]!.claimRoot) as never),
  "a claim's proof": (r) => void r.slices[1]!.endProof.pop(),
  'a slice left out': (r) => void r.slices.splice(1, 1),
  'slices exchanged': (r) => void r.slices.reverse(),
  'a slice that nobody attested': (r) => void (r.slices[2]!.attestedBy = []),
  'a payment': (r) => void (r.slices[0]!.solverWei = more(r.slices[0]!.solverWei)),
  'what the solvers got': (r) => void (r.money.solversWei = more(r.money.solversWei)),
  'what the pool got': (r) => void (r.money.poolWei = more(r.money.poolWei)),
  'what was escrowed': (r) => void (r.money.escrowedWei = more(r.money.escrowedWei)),
  'what came back': (r) => void (r.money.refundedWei = `-${r.money.refundedWei}1`),
  'money conjured up below nothing': (r) => {
    r.money.refundedWei = '-5'
    r.money.escrowedWei = String(BigInt(r.money.solversWei) + BigInt(r.money.verifiersWei) - 5n)
  },
  'the scalar left out': (r) => void delete r.disputes[0]!.scalar,
  'another ground': (r) => void (r.disputes[0]!.ground = 7),
  'the computed scalar': (r) => void (r.disputes[0]!.computed ^= 1),
  'the claimed scalar made true': (r) => void (r.disputes[0]!.claimed = r.disputes[0]!.computed),
  "the scalar's element": (r) => void r.disputes[0]!.element++,
  "the scalar's term": (r) => void r.disputes[0]!.term++,
  "the scalar's expr": (r) => void (r.disputes[0]!.expr ^= 1),
  'an operand': (r) => {
    const operand = r.disputes[0]!.scalar!.operands[0]!
    operand.chunk = flipped(operand.chunk, operand.chunk.length >> 1) as never
  },
  "an operand's proof": (r) => void r.disputes[0]!.scalar!.operands[0]!.traceProof.pop(),
  "the dispute's trace": (r) => void (r.disputes[0]!.scalar!.trace = flipped(r.disputes[0]!.scalar!.trace) as never),
  "the dispute's leaf": (r) => void (r.disputes[0]!.scalar!.leaf = flipped(r.disputes[0]!.scalar!.leaf, 4) as never),
  'the solver let off': (r) => void (r.disputes[0]!.convicted = false),
}

test('a receipt with any one thing changed is refused', async (t) => {
  const { out } = cheated!
  const weights = readSafetensors(bytesOf(out, 'model.safetensors'))
  for (const [what, forge] of Object.entries(FORGERIES))
    await t.test(what, () => {
      const receipt = readReceipt(out) as Mutable<Receipt>
      forge(receipt)
      assert.ok(checkReceipt(receipt, weights).some((c) => !c.ok))
    })
  await t.test('one bit of one weight', () => {
    const other = readSafetensors(bytesOf(out, 'model.safetensors'))
    const { data } = [...other.values()][0]!
    new Uint32Array(data.buffer, data.byteOffset, 1)[0]! ^= 1
    assert.deepEqual(
      checkReceipt(readReceipt(out), other)
        .filter((c) => !c.ok)
        .map((c) => c.what),
      ['weights'],
    )
  })
  await t.test('one byte of a file', () => {
    const bytes = bytesOf(out, 'loss.csv').slice()
    bytes[0]! ^= 1
    const wrong = checkReceipt(readReceipt(out), weights, { 'loss.csv': bytes, 'not-named.bin': bytes }).filter((c) => !c.ok)
    assert.deepEqual(
      wrong.map((c) => c.what),
      ['file loss.csv', 'file not-named.bin'],
    )
  })
})

test('junk for a receipt is refused, and nothing throws', () => {
  const { out } = cheated!
  const text = readFileSync(join(out, 'receipt.json'), 'utf8')
  const real = readReceipt(out) as Receipt
  const format = real.format
  const junk: unknown[] = [
    ...[
      undefined,
      null,
      0,
      'receipt',
      [],
      {},
      { format },
      { format, slices: 1 },
      { format, slices: [], disputes: [], final: { slots: [] } },
    ],
    ...[
      { ...real, spec: {} },
      { ...real, spec: null },
      { ...real, spec: { ...real.spec, operationsPerStep: 'many' } },
    ],
    ...[
      { ...real, graph: 7 },
      { ...real, graph: 'x'.repeat(10_000_000) },
      { ...real, slices: [null] },
      { ...real, disputes: [{}] },
    ],
    ...[
      { ...real, disputes: [{ ...real.disputes[0], scalar: { leaf: '0x' } }] },
      { ...real, money: {} },
      { ...real, files: 3 },
    ],
    ...[{ ...real, final: { ...real.final, slots: Array(100_000).fill({ name: 'a', root: '0x00' }) } }],
    ...[{ ...real, slices: Array.from({ length: 2 ** 20 + 1 }, () => real.slices[0]) }],
    { ...real, money: { ...real.money, solversWei: '9'.repeat(100_000) } },
  ]
  const files = { 'loss.csv': bytesOf(out, 'loss.csv') }
  for (const [i, value] of junk.entries())
    assert.ok(
      checkReceipt(value, undefined, files).some((c) => !c.ok),
      `junk ${i}`,
    )
  // a file that was cut off on its way is no JSON, whatever its length
  for (let i = 1; i < 20; i++) assert.throws(() => JSON.parse(text.slice(0, (text.length * i) / 20)))
})
