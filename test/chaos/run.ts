// npm run chaos: nodes as processes in namespaces of their own, tasks, cheats, crashers, and faults out of a seed; at the end every wei and every root is looked at.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { writeFileAtomic } from '@bitloom/node/store'
import { findPlace, runApart } from './apart.ts'
import { runChaos } from './bench.ts'
import { openDice } from './dice.ts'
import { drawPlan, type Shape, sayFault } from './plan.ts'

/** Set for the process that is apart already: the folder that it works in. */
const APART = 'BITLOOM_CHAOS_APART'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    json: { type: 'string' },
    nodes: { type: 'string', default: '20' },
    tasks: { type: 'string', default: '50' },
    lanes: { type: 'string', default: '8' },
    submitters: { type: 'string', default: '3' },
    every: { type: 'string', default: '6' },
    longest: { type: 'string', default: '15' },
    patience: { type: 'string', default: '1' },
    tick: { type: 'string', default: '250' },
    minutes: { type: 'string', default: '600' },
    log: { type: 'string' },
    plan: { type: 'boolean', default: false },
    loopback: { type: 'boolean', default: false },
    help: { type: 'boolean', default: false },
  },
})
const HELP = `npm run chaos -- [--seed N] [--json FILE]
  --nodes N, --tasks N, --lanes N   20 nodes, 50 tasks, 8 at a time
  --every SECONDS, --longest SECONDS   mean time between two faults (6); the longest one (15)
  --submitters N                    3
  --patience N                      longer windows for a slow or busy computer: 1 to 10
  --tick MS                         how often a node looks for a new block (250)
  --minutes N                       no task begins after so long; those under way come to their end
  --log FILE                        what the nodes said
  --loopback                        without namespaces: no faults of the network
  --plan                            print the plan and end
`
const say = (text: string): void => void process.stderr.write(`${text}\n`)
const number = (
  name: 'nodes' | 'tasks' | 'lanes' | 'submitters' | 'every' | 'longest' | 'patience' | 'minutes' | 'tick',
  least: number,
): number => {
  const value = Number(values[name])
  if (!(value >= least && value <= 1000)) throw new Error(`--${name} ${values[name]}: give a number from ${least} to 1000`)
  return value
}

if (values.help) process.stdout.write(HELP)
else if (process.env[APART] !== undefined) process.exitCode = await inside(process.env[APART], true)
else process.exitCode = await outside()

/** Finds a place apart and goes there; where there is none, a smaller form here. */
async function outside(): Promise<number> {
  const place = values.loopback ? { ok: false as const, reason: '--loopback' } : findPlace()
  say(place.ok ? 'chaos in network namespaces' : `chaos on loopback, without faults of the network: ${place.reason}`)
  const dir = mkdtempSync(join(tmpdir(), 'bitloom-chaos-'))
  const gone = (): void => rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
  process.on('exit', gone)
  if (place.ok && !values.plan)
    return runApart(place.command, [process.execPath, fileURLToPath(import.meta.url), ...process.argv.slice(2)], {
      ...process.env,
      [APART]: dir,
    })
  return inside(dir, place.ok)
}

async function inside(dir: string, wired: boolean): Promise<number> {
  const shape: Shape = {
    nodes: number('nodes', 4),
    tasks: number('tasks', 1),
    lanes: number('lanes', 1),
    submitters: number('submitters', 1),
    everyMs: 1000 * number('every', 0.5),
    longestMs: 1000 * number('longest', 1),
    patience: number('patience', 1),
    wired,
  }
  const seed = values.seed
  const plan = drawPlan(openDice(seed), shape)
  say(`seed ${seed}: ${plan.nodes.map((n) => n.name + (n.cheatSlice === undefined ? '' : ` (lies in slice ${n.cheatSlice})`)).join(', ')}`)
  const told = values.plan ? plan.faults : plan.faults.slice(0, 20)
  for (const fault of told) say(`planned ${(fault.atMs / 1000).toFixed(0).padStart(5)} s  ${sayFault(fault)}`)
  if (told.length < plan.faults.length) say(`and ${plan.faults.length - told.length} more, as long as there are tasks; --plan shows all`)
  if (values.plan) return 0
  const run = await runChaos({
    ...shape,
    seed,
    dir,
    say,
    forMs: 60_000 * number('minutes', 1),
    tickMs: number('tick', 20),

    ...(values.log === undefined ? {} : { logFile: values.log }),
  })
  for (const { ok, what, detail, wrong } of run.checks) {
    say(`${ok ? 'holds' : 'BROKEN'}  ${what}: ${detail}`)
    for (const line of wrong ?? []) say(`        ${line}`)
  }
  const text = `${JSON.stringify(run, null, 2)}\n`
  if (values.json === undefined) process.stdout.write(text)
  else writeFileAtomic(values.json, text)
  return run.ok ? 0 : 1
}
