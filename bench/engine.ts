// How fast training is, beside everybody else who could do it here: one run, every peer in a process of its own, in turns, the losses compared.
// Run: npm run bench:engine [-- --json FILE] [--tasks mlp,cnn,chargpt,gpt] [--peers "wasm 1,jax-js"] [--quick]
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { availableParallelism, cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import type { Profile } from '@bitloom/engine'
import type { ElementwiseRow } from './elementwise.ts'
import { peakGflops } from './peak.ts'
import { installPeers, peers, type Running, start } from './processes.ts'
import { bars, type ProductRow, print, type Results, type StepFigure, type StepRow } from './report.ts'
import { ADAMW, PRODUCTS, TASK_NAMES, type TaskName, taskOf } from './tasks.ts'

/** Rounds, and how long each peer's turn in one is. A step longer than its turn is one measurement. */
const TURNS: Readonly<Record<TaskName, { readonly rounds: number; readonly forMs: number }>> = {
  mlp: { rounds: 5, forMs: 400 },
  cnn: { rounds: 5, forMs: 500 },
  chargpt: { rounds: 5, forMs: 1000 },
  gpt: { rounds: 3, forMs: 1000 },
}
/** Whoever takes longer than this for its first steps is timed once more and then left alone; and longer than that for one: its first step is its figure. */
const SLOW_MS = 8_000
const VERY_SLOW_MS = 60_000
const PRODUCT_TURN = { rounds: 3, forMs: 160 }
/** Relative difference of a loss from ours that rounding explains: one part in a thousand a step. */
const LOSS_TOLERANCE = 1e-3

const { values } = parseArgs({
  options: { json: { type: 'string' }, tasks: { type: 'string' }, peers: { type: 'string' }, quick: { type: 'boolean', default: false } },
})
const wantedTasks = values.tasks?.split(',') ?? TASK_NAMES
const wantedPeers = values.peers?.split(',')
const rounds = (n: number): number => (values.quick ? 1 : n)
const say = (text: string): void => void process.stderr.write(`${text}\n`)
const reasonOf = (error: unknown): string => (error instanceof Error ? error.message : String(error))
const median = (list: readonly number[]): number => {
  const sorted = [...list].sort((a, b) => a - b)
  const middle = sorted.length >> 1
  return sorted.length % 2 === 1 ? sorted[middle]! : (sorted[middle - 1]! + sorted[middle]!) / 2
}

/** A task's weights and examples as files, for peers that are not written in JavaScript. */
function writeTask(name: TaskName, dir: string): void {
  const { images, labels, weights, count, inputShape, ...rest } = taskOf(name)
  const parts: Uint8Array[] = []
  let offset = 0
  const place = (data: Float32Array | Uint8Array): number => {
    const bytes = new Uint8Array(data.buffer, data.byteOffset, data.byteLength)
    const at = offset
    const padded = new Uint8Array(Math.ceil(bytes.length / 4) * 4)
    padded.set(bytes)
    parts.push(padded)
    offset += padded.length
    return at
  }
  const described = {
    ...rest,
    count,
    adamw: ADAMW,
    weights: weights.map((w) => ({ name: w.name, shape: w.shape, offset: place(w.values) })),
    ...(images ? { images: { shape: [count, ...inputShape], offset: place(images) } } : {}),
    labels: { shape: rest.gpt ? [count, rest.gpt.length + 1] : [count], offset: place(labels) },
  }
  writeFileSync(join(dir, `${name}.bin`), Buffer.concat(parts))
  writeFileSync(join(dir, `${name}.json`), JSON.stringify(described))
}

/** Whether somebody does other work than ours: then its figure means nothing. */
function differing(losses: readonly number[], reference: readonly number[] | undefined): string | undefined {
  const at =
    reference
      ?.slice(0, losses.length)
      .findIndex((loss, i) => !(Math.abs(losses[i]! - loss) <= LOSS_TOLERANCE * (i + 1) * Math.abs(loss))) ?? -1
  return at < 0 ? undefined : `its loss in step ${at + 1} is ${losses[at]}, ours ${reference![at]}: not the same work`
}

async function stepRow(task: TaskName, running: readonly Running[], dir: string): Promise<StepRow> {
  const { title } = taskOf(task)
  say(`${title} …`)
  writeTask(task, dir)
  const missing: Record<string, string> = {}
  const details = new Map<string, { readonly losses: readonly number[]; readonly slow: boolean; readonly more: object }>()
  const taken = new Map<string, number[][]>()
  let reference: readonly number[] | undefined
  const trainers = running.filter((r) => r.spec.does.includes('train'))
  for (const { spec, ask } of trainers) {
    // TensorFlow.js computes without WebAssembly only what its WebAssembly backend has no gradients for
    if (spec.key === 'tfjs-cpu' && !missing['tfjs-wasm']?.includes('not registered')) continue
    try {
      const began = performance.now()
      const { losses, ...more } = (await ask({ do: 'load', task, dir })) as { losses: number[] }
      const other = differing(losses, reference)
      if (other !== undefined) throw new Error(other)
      reference ??= losses
      const tookMs = performance.now() - began
      details.set(spec.key, { losses, slow: tookMs > SLOW_MS, more })
      if (losses.length === 1 && tookMs > VERY_SLOW_MS) taken.set(spec.key, [[tookMs]])
    } catch (error) {
      missing[spec.key] = reasonOf(error)
    }
    say(
      `  ${spec.key}: ${
        missing[spec.key] ??
        `losses ${details
          .get(spec.key)!
          .losses.map((l) => l.toFixed(4))
          .join(' ')}`
      }`,
    )
  }
  for (let r = 0; r < rounds(TURNS[task].rounds); r++)
    for (const { spec, ask } of trainers) {
      const detail = details.get(spec.key)
      if (!detail || (detail.slow && (r > 0 || taken.has(spec.key)))) continue
      try {
        const { ms } = (await ask({ do: 'step', forMs: TURNS[task].forMs })) as { ms: number[] }
        taken.set(spec.key, [...(taken.get(spec.key) ?? []), ms])
      } catch (error) {
        missing[spec.key] = reasonOf(error)
        details.delete(spec.key)
      }
    }
  const figures = Object.fromEntries(
    [...details].map(([key, { losses, more }]): [string, StepFigure] => {
      const turns = taken.get(key)!
      return [key, { medianMs: median(turns.map(median)), bestMs: Math.min(...turns.flat()), steps: turns.flat().length, losses, ...more }]
    }),
  )
  const profiles: Record<string, Profile> = {}
  for (const { spec, ask } of trainers) {
    if (!spec.ours || spec.threads !== 1 || !details.has(spec.key)) continue
    try {
      profiles[spec.key] = (await ask({ do: 'profile' })) as unknown as Profile
    } catch (error) {
      missing[`${spec.key} profile`] = reasonOf(error)
    }
  }
  return { task, title, figures, profiles, missing }
}

async function productRow([m, k, n]: readonly [number, number, number], running: readonly Running[]): Promise<ProductRow> {
  const shape = `${m}x${k}x${n}`
  say(`product ${shape} …`)
  const missing: Record<string, string> = {}
  const rates = new Map<string, number[]>()
  for (let r = 0; r < rounds(PRODUCT_TURN.rounds); r++)
    for (const { spec, ask } of running) {
      if (!spec.does.includes('product') || missing[spec.key] !== undefined) continue
      try {
        const { ms } = (await ask({ do: 'product', m, k, n, forMs: PRODUCT_TURN.forMs })) as { ms: number[] }
        rates.set(spec.key, [...(rates.get(spec.key) ?? []), (2 * m * k * n) / Math.min(...ms) / 1e6])
      } catch (error) {
        missing[spec.key] = reasonOf(error)
      }
    }
  return { shape, gflops: Object.fromEntries([...rates].map(([key, list]) => [key, Number(median(list).toFixed(1))])), missing }
}

const began = performance.now()
const machine: Record<string, unknown> = {
  cpu: cpus()[0]!.model.trim(),
  cores: availableParallelism(),
  avx512: readCpuFlags().includes('avx512f'),
  avx2: readCpuFlags().includes('avx2'),
  node: process.versions.node,
  v8: process.versions.v8,
  platform: `${process.platform} ${process.arch}`,
  peak128Gflops: Number(peakGflops().toFixed(1)),
  loadAverageBefore: loadavg().map((x) => Number(x.toFixed(2))),
}
function readCpuFlags(): readonly string[] {
  if (process.platform !== 'linux') return []
  return /^flags\s*:(.*)$/m.exec(readFileSync('/proc/cpuinfo', 'utf8'))?.[1]?.split(' ') ?? []
}

const notInstalled = installPeers()
const specs = peers().filter(({ key }) => wantedPeers === undefined || wantedPeers.includes(key))
const dir = mkdtempSync(join(tmpdir(), 'bitloom-bench-'))
const running: Running[] = []
const about: Record<string, unknown> = {}
try {
  for (const spec of specs)
    try {
      const peer = await start(spec)
      running.push(peer)
      about[spec.key] = peer.about
    } catch (error) {
      about[spec.key] = { missing: spec.javascript && notInstalled !== undefined ? notInstalled : reasonOf(error) }
      say(`${spec.key} is missing: ${reasonOf(error)}`)
    }
  const steps: StepRow[] = []
  for (const task of TASK_NAMES) if (wantedTasks.includes(task)) steps.push(await stepRow(task, running, dir))
  const products: ProductRow[] = []
  for (const shape of PRODUCTS) products.push(await productRow(shape, running))
  const elementwise: Record<string, readonly ElementwiseRow[]> = {}
  for (const { spec, ask } of running) {
    if (!spec.does.includes('elementwise')) continue
    say(`elementwise, ${spec.key} …`)
    elementwise[spec.key] = ((await ask({ do: 'elementwise', forMs: values.quick ? 60 : 250 })) as { rows: ElementwiseRow[] }).rows
  }
  machine.loadAverageAfter = loadavg().map((x) => Number(x.toFixed(2)))
  machine.seconds = Math.round((performance.now() - began) / 1000)
  const results: Results = { machine, peers: about, steps, products, elementwise }
  const judged = bars(results, specs, machine.avx512 === true)
  console.log(JSON.stringify(machine))
  print(results, judged)
  if (values.json !== undefined) {
    writeFileSync(values.json, `${JSON.stringify({ ...results, bars: judged }, null, 2)}\n`)
    say(`written to ${values.json}`)
  }
} finally {
  for (const peer of running) await peer.end()
  rmSync(dir, { recursive: true, force: true })
}
