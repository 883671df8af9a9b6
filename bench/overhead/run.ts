// What verification costs: the same job alone, then on a network of real processes at each assurance level; CPU time of everybody ÷ CPU time of training alone.
//   npm run bench:overhead -- [--json FILE] [--job digits|chargpt|both] [--steps N] [--levels 'none,spot,quorum 2']

import { spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { addReadings, KINDS, type NodePlan, type Readings, startEmbedded } from '@bitloom/node'

const { values } = parseArgs({
  options: { json: { type: 'string' }, job: { type: 'string', default: 'both' }, steps: { type: 'string' }, levels: { type: 'string' } },
})
const wanted = values.levels?.split(',')
const MAIN = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url))
const JOBS = { digits: 'an MLP on 9,003 digits, 100 epochs', chargpt: 'a char-GPT, 800 steps' } as const
type JobName = keyof typeof JOBS

/** Runs a command of ours; its result line comes back. */
function bitloom<T>(args: readonly string[], password = ''): Promise<T> {
  return new Promise((resolve, reject) => {
    const child = spawn(process.execPath, [MAIN, ...args, '--json', '--quiet'], {
      stdio: ['ignore', 'pipe', 'inherit'],
      env: { ...process.env, BITLOOM_PASSWORD: password },
    })
    let result: T | undefined
    createInterface({ input: child.stdout }).on('line', (text) => {
      const line = JSON.parse(text) as { type: string }
      if (line.type === 'result') result = line as T
    })
    child.once('error', reject)
    child.once('close', (status) =>
      status === 0 && result ? resolve(result) : reject(new Error(`bitloom ${args.slice(0, 2).join(' ')} ended with status ${status}`)),
    )
  })
}

type Local = { readonly root: string; readonly trainCpuMs: number; readonly steps: number }
type Trained = { readonly root: string; readonly readings: Readings; readonly gasPerSlice: number }
type Level = {
  readonly level: string
  readonly overhead: number
  readonly cpuMs: Record<string, number>
  readonly gasPerSlice: number
  readonly seconds: number
}

/** One backend for everybody: CPU times are only comparable then. */
const BACKEND = ['--backend', 'wasm'] as const
const plan = (verifiers: number): NodePlan[] => [
  { name: 'solver', args: ['--role', 'solver', '--deposit', '20000', ...BACKEND] },
  ...Array.from(
    { length: verifiers },
    (_, n): NodePlan => ({ name: `verifier-${n + 1}`, args: ['--role', 'verifier', '--deposit', '100', ...BACKEND] }),
  ),
]
/** Each assurance level, its options, and the verifiers that stand ready. A quorum of eight is what a replication by seven verifiers costs. */
const LEVELS = [
  { level: 'none', args: ['--assurance', 'none'], verifiers: 1 },
  { level: 'spot', args: ['--assurance', 'spot'], verifiers: 3 },
  { level: 'full', args: ['--assurance', 'full'], verifiers: 3 },
  { level: 'quorum 2', args: ['--assurance', 'quorum', '--quorum', '2'], verifiers: 3 },
  { level: 'quorum 8', args: ['--assurance', 'quorum', '--quorum', '8'], verifiers: 8 },
] as const

/** Trains `recipe` at an assurance level with a solver that is past its probation; the CPU time of everybody. */
async function onNetwork(
  recipe: string,
  { level, args, verifiers }: (typeof LEVELS)[number],
  length: readonly string[],
  local: Local,
): Promise<Level> {
  const dir = mkdtempSync(join(tmpdir(), 'bitloom-overhead-'))
  const stopped = new Map<string, Readings>()
  const start = () =>
    startEmbedded({
      dir,
      command: [process.execPath, MAIN],
      nodes: plan(verifiers),
      keep: true,
      onLine: (line) => {
        if (line.event === 'stopped') stopped.set(line.node, line.readings as Readings)
      },
    })
  const home = join(dir, 'submitter')
  const train = (network: { networkFile: string; password: string }, options: readonly string[]): Promise<Trained> =>
    bitloom<Trained>(
      ['train', ...options, ...BACKEND, '--home', home, '--network', network.networkFile, '--yes', '--out', join(dir, 'out')],
      network.password,
    )
  try {
    // two slices, audited whole, make the solver a proven one: probation is the price of a new name, not of a task
    const first = await start()
    await first.fund(home)
    await train(first, ['mnist', '--steps', '64', '--slices', '2'])
    await first.stop()
    const before = addReadings([...stopped.values()])
    const second = await start()
    const started = performance.now()
    const trained = await train(second, [recipe, ...length, ...args])
    const seconds = (performance.now() - started) / 1000
    await second.stop()
    if (trained.root !== local.root) throw new Error(`${level}: the network came to ${trained.root}, alone it is ${local.root}`)
    const after = addReadings([...stopped.values(), trained.readings])
    const cpuMs = Object.fromEntries(KINDS.map((kind) => [kind, after[kind].cpuMs - before[kind].cpuMs]))
    const total = Object.values(cpuMs).reduce((a, b) => a + b, 0)
    return { level, overhead: total / local.trainCpuMs, cpuMs, gasPerSlice: trained.gasPerSlice, seconds }
  } finally {
    rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
  }
}

const results: object[] = []
for (const job of (values.job === 'both' ? Object.keys(JOBS) : [values.job]) as JobName[]) {
  const recipe = fileURLToPath(new URL(`./${job}.ts`, import.meta.url))
  const length = values.steps === undefined ? [] : ['--steps', values.steps]
  const out = mkdtempSync(join(tmpdir(), 'bitloom-overhead-local-'))
  // alone, before and after: the machine's speed drifts, and the mean of the two is what the runs between are compared with
  const alone = (): Promise<Local> => bitloom<Local>(['train', recipe, '--local', ...BACKEND, ...length, '--out', out])
  const first = await alone()
  const levels: Level[] = []
  for (const level of LEVELS) {
    if (wanted !== undefined && !wanted.includes(level.level)) continue
    levels.push(await onNetwork(recipe, level, length, first))
  }
  const last = await alone()
  rmSync(out, { recursive: true, force: true })
  const localCpuMs = (first.trainCpuMs + last.trainCpuMs) / 2
  // beside it the same work over what the run's own solver spent on training: free of the machine's drift between runs
  const rows = levels.map((l) => ({
    ...l,
    overhead: (l.overhead * first.trainCpuMs) / localCpuMs,
    inRun: Object.values(l.cpuMs).reduce((a, b) => a + b, 0) / l.cpuMs.train!,
  }))
  console.log(
    `\n${JOBS[job]}: ${first.steps} steps; alone ${(localCpuMs / 1000).toFixed(1)} s of CPU (${(first.trainCpuMs / 1000).toFixed(1)} before, ${(last.trainCpuMs / 1000).toFixed(1)} after)`,
  )
  console.log('level     everybody ÷ alone   ÷ its own training   train  audit  hash   (shares of training alone)   gas a slice   seconds')
  for (const r of rows) {
    const share = (kind: string): string => ((r.cpuMs[kind] ?? 0) / localCpuMs).toFixed(3)
    console.log(
      `${r.level.padEnd(9)} ${r.overhead.toFixed(3).padStart(17)}   ${r.inRun.toFixed(3).padStart(18)}   ${share('train')}  ${share('audit')}  ${share('hash')}${' '.repeat(27)}${String(r.gasPerSlice).padStart(12)}   ${r.seconds.toFixed(0).padStart(7)}`,
    )
  }
  console.log('a quorum of 8 is a replication by 7 verifiers. Published beside: Gensyn’s simulation 1.46, replication 2, OVIG 1.14')
  results.push({
    job,
    what: JOBS[job],
    steps: first.steps,
    localCpuMs,
    localBeforeMs: first.trainCpuMs,
    localAfterMs: last.trainCpuMs,
    levels: rows,
  })
}
if (values.json !== undefined)
  writeFileSync(
    values.json,
    `${JSON.stringify({ cpu: cpus()[0]?.model, cores: cpus().length, load: loadavg(), node: process.version, results }, null, 1)}\n`,
  )
