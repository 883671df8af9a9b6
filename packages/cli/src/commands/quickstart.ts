// `bitloom quickstart`: the whole network on this machine, a real model on real data, a cheat caught down to one scalar on chain, everybody paid.

import { spawn } from 'node:child_process'
import { mkdirSync, rmSync } from 'node:fs'
import { join, resolve } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { addReadings, type Embedded, type NodeLine, type NodePlan, type Readings, startEmbedded, writeFileAtomic } from '@bitloom/node'
import { type Call, type Command, EXIT, RefusedError } from '../command.ts'
import { big, bold, dim, green, money, percent, red, seconds, short, table } from '../render.ts'

const MAIN = fileURLToPath(new URL('../main.ts', import.meta.url))

export const command: Command = {
  name: 'quickstart',
  summary: 'the whole network here, for two minutes: train, catch a cheat, pay',
  usage: '[--seed N] [--no-cheat] [--honest-only]',
  options: {
    seed: { type: 'string', value: 'N', help: 'initial weights, data order and the cheat’s place follow from it', default: '1' },
    cheat: { type: 'boolean', default: true, help: 'one of the two solvers lies (--no-cheat: both are honest)' },
    'honest-only': { type: 'boolean', help: 'one honest solver alone' },
    slices: { type: 'string', value: 'N', help: 'length of the run: slices of 320 steps', default: '10' },
    out: { type: 'string', value: 'DIR', help: 'where everything goes', default: 'out/quickstart' },
    json: { type: 'boolean', help: 'the summary on stdout as JSON' },
  },
  run: quickstart,
}

/** Prices per 10^12 operations: the cheat is cheaper, so that it is taken first. */
const [CHEAP, FAIR] = ['80', '100']
const VERIFIERS = 3
/** Everybody computes alike, so that everybody's CPU time can be compared with training alone; WebAssembly starts at once and needs no compiler. */
const BACKEND = ['--backend', 'wasm'] as const
/** The cheat is honest for one slice, which is paid, and lies in the next: so the task is handed on from a checkpoint that was accepted. */
const LIE_IN_SLICE = '1'

type TrainResult = {
  readonly root: string
  readonly steps: number
  readonly accuracy: number
  readonly loss: number
  readonly gasPerSlice: number
  readonly gasDispute: number
  readonly disputeExchanges: number
  readonly disputeTransactions: number
  readonly disputeSeconds: number
  readonly cheatCaught: boolean
  readonly cheatSlashedWei: string
  readonly solversWei: string
  readonly verifiersWei: string
  readonly conservationWei: string
  readonly readings: Readings
  readonly files: readonly string[]
  readonly wallMs: number
}
type LocalResult = { readonly root: string; readonly trainCpuMs: number; readonly wallMs: number; readonly accuracy: number }

async function quickstart(call: Call): Promise<number> {
  const started = performance.now()
  const out = resolve(call.text('out')!)
  const seed = String(call.number('seed', { min: 0, max: 2 ** 53, whole: true }))
  const slices = String(call.number('slices', { min: 1, max: 1000, whole: true }))
  const honestOnly = call.flag('honest-only')
  const cheat = call.flag('cheat') && !honestOnly
  if (cheat && Number(slices) < 3)
    throw new RefusedError('The cheat lies in its second slice and somebody must finish: give --slices 3 or more, or --no-cheat.')
  // the trainer's progress bar stands on the line we write to: clear it first, it draws itself again
  const say = (text: string): void => void process.stderr.write(`${process.stderr.isTTY ? '\r\x1b[2K' : ''}${text}\n`)
  // a network of its own each time: what an earlier run left is of no use to this one
  const dir = join(out, 'network')
  rmSync(out, { recursive: true, force: true })
  mkdirSync(dir, { recursive: true })

  say(`${bold('bitloom quickstart')}  ${dim(`seed ${seed}; everything runs on this machine and stays in ${out}`)}\n`)
  const readings = new Map<string, Readings>()
  const log: string[] = []
  const onLine = (line: NodeLine): void => {
    log.push(JSON.stringify(line))
    if (line.event === 'stopped') readings.set(line.node, line.readings as Readings)
    if (line.event === 'cheating') say(dim(`  (behind the scenes: ${line.node} has just altered one element of one weight)`))
    if (line.event === 'tick-failed' || line.event === 'training-failed' || line.event === 'check-failed' || line.event === 'chain-down')
      say(red(`  ${line.node}: ${line.event} ${line.error}`))
  }
  const solver = (name: string, price: string, more: readonly string[] = []): NodePlan => ({
    name,
    args: ['--role', 'solver', '--price', price, '--deposit', '1000', ...BACKEND, ...more],
  })
  const nodes: NodePlan[] = [
    solver('solver-1', FAIR),
    ...(honestOnly ? [] : [solver('solver-2', CHEAP, cheat ? ['--cheat', LIE_IN_SLICE] : [])]),
    ...Array.from(
      { length: VERIFIERS },
      (_, i): NodePlan => ({ name: `verifier-${i + 1}`, args: ['--role', 'verifier', '--deposit', '100', ...BACKEND] }),
    ),
  ]
  const embedded = await startEmbedded({ dir, command: [process.execPath, MAIN], nodes, onLine, supervised: true })
  let trained: TrainResult
  try {
    showNetwork(say, embedded, started)
    const home = join(dir, 'submitter')
    await embedded.fund(home)
    trained = await child<TrainResult>(
      [
        'train',
        'mnist',
        '--home',
        home,
        '--network',
        embedded.networkFile,
        '--seed',
        seed,
        '--slices',
        slices,
        '--offers',
        honestOnly ? '1' : '2',
        '--yes',
        ...BACKEND,
        '--json',
        '--out',
        out,
      ],
      { BITLOOM_PASSWORD: embedded.password },
      'inherit',
    )
  } finally {
    await embedded.stop()
    writeFileAtomic(join(out, 'nodes.log'), `${log.join('\n')}\n`)
  }
  say(`\n${bold('the same job here, alone')}  ${dim('bitloom train mnist --local')}`)
  const local = await child<LocalResult>(
    ['train', 'mnist', '--local', ...BACKEND, '--seed', seed, '--slices', slices, '--json', '--out', join(out, 'local')],
    {},
    'inherit',
  )

  const total = addReadings([...readings.values(), trained.readings])
  const computeMs = total.train.cpuMs + total.audit.cpuMs + total.dispute.cpuMs + total.hash.cpuMs
  const summary = {
    accuracy: trained.accuracy,
    seconds: (performance.now() - started) / 1000,
    steps: trained.steps,
    rootNetwork: trained.root,
    rootLocal: local.root,
    overheadTotal: computeMs / local.trainCpuMs,
    hashShare: total.hash.cpuMs / computeMs,
    gasPerSlice: trained.gasPerSlice,
    gasDispute: trained.gasDispute,
    disputeExchanges: trained.disputeExchanges,
    disputeSeconds: trained.disputeSeconds,
    cheatCaught: trained.cheatCaught,
    cheatSlashedWei: trained.cheatSlashedWei,
    conservationWei: trained.conservationWei,
    processes: 2 + nodes.length,
  }
  const exact = wholeNumbers(summary)
  writeFileAtomic(join(out, 'summary.json'), `${JSON.stringify(exact, null, 2)}\n`)
  showSummary(say, { summary, trained, local, total, cheat, nodes: nodes.length, out })
  if (call.flag('json')) process.stdout.write(`${JSON.stringify(exact)}\n`)
  const good = summary.rootNetwork === summary.rootLocal && BigInt(summary.conservationWei) === 0n && summary.cheatCaught === cheat
  return good ? EXIT.ok : EXIT.failed
}

function showNetwork(say: (text: string) => void, embedded: Embedded, started: number): void {
  say(`${green('●')} chain      anvil, block time 1 s, ${embedded.network.rpcUrl} ${dim(`process ${embedded.chain.pid}`)}`)
  say(
    `${green('●')} contracts  ${Object.entries(embedded.network.contracts)
      .map(([name, address]) => `${name} ${dim(short(address))}`)
      .join('  ')}`,
  )
  for (const node of embedded.nodes) say(`${green('●')} ${node.name.padEnd(10)} ${short(node.address)} ${dim(`process ${node.pid}`)}`)
  say(dim(`ready in ${seconds(performance.now() - started)}\n`))
}

type Shown = {
  readonly summary: {
    readonly [key: string]: unknown
    readonly accuracy: number
    readonly seconds: number
    readonly overheadTotal: number
    readonly hashShare: number
    readonly gasPerSlice: number
    readonly gasDispute: number
  }
  readonly trained: TrainResult
  readonly local: LocalResult
  readonly total: Readings
  readonly cheat: boolean
  readonly nodes: number
  readonly out: string
}

function showSummary(say: (text: string) => void, { summary, trained, local, total, cheat, nodes, out }: Shown): void {
  const same = trained.root === local.root
  say(`\n${bold('summary')}`)
  say(
    table(
      ['', ''],
      [
        ['model', `${bold(percent(trained.accuracy, 2))} of held-out digits right, after ${trained.steps} steps`],
        [
          'same bits',
          same
            ? `${green('yes')}: network and local end in ${short(trained.root)}`
            : red(`NO: network ${trained.root}, local ${local.root}`),
        ],
        [
          'cheat',
          cheat
            ? trained.cheatCaught
              ? `${green('caught')} in ${trained.disputeExchanges} exchanges (${trained.disputeTransactions} transactions, ${trained.disputeSeconds.toFixed(1)} s, ${big(trained.gasDispute)} gas); lost ${money(trained.cheatSlashedWei)}`
              : red('NOT caught')
            : 'none took part',
        ],
        [
          'paid',
          `${money(trained.solversWei)} to solvers, ${money(trained.verifiersWei)} to verifiers; money in − money out = ${trained.conservationWei} wei`,
        ],
        ['gas', `${big(summary.gasPerSlice)} a slice on the happy path`],
        ['compute', `everybody together ÷ local training = ${bold(summary.overheadTotal.toFixed(2))}, in CPU time`],
        [
          '',
          dim(
            `train ${cpu(total.train.cpuMs)} + audit ${cpu(total.audit.cpuMs)} + dispute ${cpu(total.dispute.cpuMs)} + hash ${cpu(total.hash.cpuMs)}; local ${cpu(local.trainCpuMs)}`,
          ),
        ],
        ['hashing', percent(summary.hashShare)],
        ['time', `${seconds(1000 * summary.seconds)} in all, ${2 + nodes} processes`],
        ['files', `${out}: model.safetensors, model.onnx, loss.svg, loss.csv, receipt.json, summary.json`],
      ],
    ),
  )
  say(dim(`\ncheck it all again, offline:\n  npm run bitloom -- verify ${join(out, 'receipt.json')} ${join(out, 'model.safetensors')}`))
}

declare global {
  interface JSON {
    /** ECMAScript: text that `JSON.stringify` writes as it is. */
    rawJSON(text: string): unknown
  }
}

/** Amounts in wei as JSON integers with all their digits, not as strings. */
const wholeNumbers = (summary: Readonly<Record<string, unknown>>): Record<string, unknown> =>
  Object.fromEntries(Object.entries(summary).map(([name, value]) => [name, name.endsWith('Wei') ? JSON.rawJSON(String(value)) : value]))

const cpu = (ms: number): string => `${(ms / 1000).toFixed(2)} s`

/** Runs a command of ours as a process of its own; its talk goes to our stderr, its JSON `result` line comes back. */
function child<T>(args: readonly string[], env: Readonly<Record<string, string>>, talk: 'inherit' | 'ignore'): Promise<T> {
  return new Promise((resolve, reject) => {
    const process_ = spawn(process.execPath, [MAIN, ...args], { stdio: ['ignore', 'pipe', talk], env: { ...process.env, ...env } })
    let result: T | undefined
    createInterface({ input: process_.stdout! }).on('line', (text) => {
      const line = JSON.parse(text) as { type: string }
      if (line.type === 'result') result = line as T
    })
    process_.once('error', reject)
    process_.once('close', (status) =>
      status === 0 && result
        ? resolve(result)
        : reject(new RefusedError(`bitloom ${args.slice(0, 2).join(' ')} ended with status ${status}.`)),
    )
  })
}
