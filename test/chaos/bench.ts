// One chaos run, from an empty folder to its report: a fleet, tasks in lanes, faults beside them, and at the end every account and every root looked at.

import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { loadKey } from '@bitloom/node/keystore'
import { type BitloomNode, startNode } from '@bitloom/node/node'
import { type Outcome, runTask } from '@bitloom/node/submit'
import { type ChainEvent, readEvents, type SignedOffer } from '@bitloom/sdk'
import { openDice } from './dice.ts'
import { startFaults } from './faults.ts'
import { type Fleet, type Line, startFleet } from './fleet.ts'
import { jobOf, specOf } from './jobs.ts'
import { HUB, layNet, type Net } from './net.ts'
import { type ChaosPlan, drawPlan, type NodePart, type Shape, type TaskPart } from './plan.ts'
import { type ChaosReport, reportOf } from './report.ts'
import { type Evidence, examine, type Mark } from './verdict.ts'
import type { Link, WireCounts } from './wire.ts'

export type ChaosOptions = Shape & {
  readonly seed: string
  readonly dir: string
  /** What the nodes say, as JSON lines; in `dir` by default. */
  readonly logFile?: string
  readonly tickMs: number
  /** No task begins after so long; those under way come to their end. */
  readonly forMs?: number
  readonly say: (text: string) => void
}

export type RunTask = {
  readonly part: TaskPart
  readonly taskId?: bigint
  readonly outcome?: Outcome
  readonly error?: string
}

export type ChaosRun = ChaosReport & { readonly wire?: WireCounts }

const LOOK_MS = 50
/** How long what is left over may take to come right: disputes that became moot, the last settlements. */
const AFTERWARDS_MS = 180_000
const HEARD_MS = 180_000
/** A submission that meets a chain that is down is tried again so often. */
const TRIES = 20

/** A wire's ordinary state: a few milliseconds to everybody, some farther away, and now and then a packet lost. */
const ordinary =
  (seed: string) =>
  (i: number | 'hub'): Partial<Link> => {
    if (i === 'hub') return { delayMs: 1, jitterMs: 0, loss: 0, cut: false, side: 0 }
    const dice = openDice(`${seed}/link/${i}`)
    return { delayMs: dice.whole(2, 25), jitterMs: dice.whole(0, 4), loss: 0.0005 }
  }

/** Runs it. What goes wrong among the nodes is in the report; an error is of the bench itself. */
export async function runChaos(options: ChaosOptions): Promise<ChaosRun> {
  const { seed, dir, say } = options
  const plan = drawPlan(openDice(seed), options)
  const base = ordinary(seed)
  const net = options.wired ? layNet(plan.nodes.length, seed, dir, base) : undefined
  const lines = new Map<string, number>()
  const lies: { node: string; taskId: bigint; segment: number }[] = []
  const onLine = (part: NodePart, line: Line): void => {
    lines.set(line.event, (lines.get(line.event) ?? 0) + 1)
    if (line.event === 'cheating') lies.push({ node: part.name, taskId: BigInt(String(line.taskId)), segment: Number(line.segment) })
  }
  const logFile = options.logFile ?? join(dir, 'nodes.log')
  const born = performance.now()
  const fleet = await startFleet({ dir, parts: plan.nodes, net, tickMs: options.tickMs, logFile, onLine })
  const closers: (() => Promise<unknown>)[] = []
  try {
    say(`${fleet.hosts.length} nodes are ready`)
    const watch = startWatch(fleet, plan, say)
    closers.push(watch.stop)
    const submitters = await startSubmitters(options, fleet, net)
    closers.push(() => Promise.all(submitters.map((s) => s.stop())))
    const started = performance.now()
    const faults = startFaults(plan.faults, fleet, net, base, watch.affected, (text) => say(`${at(started)} ${text}`))
    closers.push(faults.end)
    const tasks = await runTasks(options, plan, submitters, fleet, (text) => say(`${at(started)} ${text}`))
    const seconds = (performance.now() - started) / 1000
    await faults.end()
    say(`${at(started)} tasks are over; what is left over comes right`)
    await untilQuiet(watch.affected, fleet, plan)
    const cpuSeconds = fleet.hosts.reduce((sum, host) => sum + host.cpuSeconds(), 0)
    const upSeconds = (performance.now() - born) / 1000
    const statuses = await Promise.all(fleet.hosts.map(async (host) => ({ name: host.part.name, status: await host.end() })))
    await watch.stop()
    say(`${at(started)} nodes have stopped; their money and their models are looked at`)
    const { events } = await readEvents(fleet.watcher, BigInt(fleet.watcher.network.fromBlock))
    const evidence: Evidence = {
      fleet,
      plan,
      tasks,
      events,
      marks: watch.marks,
      faults: faults.happened,
      skipped: faults.skipped(),
      crashes: watch.crashes,
      lines,
      lies,
      statuses,
      submitters: submitters.map((s) => s.services.me),
      seconds,
      load: { cpuSeconds, upSeconds },
    }
    const report = await reportOf(options, evidence, await examine(evidence))
    say(`${at(started)} looked at; the rest stops`)
    for (const close of closers.splice(0).reverse()) await close()
    const wire = await net?.stop()
    return { ...report, ...(wire ? { wire } : {}) }
  } finally {
    for (const close of closers.splice(0).reverse()) await close()
    await fleet.stop()
    await net?.stop()
  }
}

const at = (started: number): string => `${((performance.now() - started) / 1000).toFixed(0).padStart(4)} s`

type Watch = {
  readonly marks: readonly Mark[]
  readonly crashes: readonly { readonly node: string; readonly at: number; readonly tasks: readonly bigint[] }[]
  readonly affected: (nodes: readonly string[]) => bigint[]
  readonly stop: () => Promise<void>
}

/** Reads the chain's log as it grows; lets crashers die in the middle of their first task. */
function startWatch(fleet: Fleet, plan: ChaosPlan, say: (text: string) => void): Watch {
  const marks: Mark[] = []
  const crashes: { node: string; at: number; tasks: bigint[] }[] = []
  const dying = new Map<string, Promise<void>>()
  /** Tasks under way, and who works for them. */
  const working = new Map<bigint, { solver: string; verifiers: Set<string> }>()
  const taskOf = new Map<bigint, bigint>()
  const affected = (nodes: readonly string[]): bigint[] =>
    [...working]
      .filter(([, w]) => nodes.length === 0 || nodes.includes(w.solver) || nodes.some((n) => w.verifiers.has(n)))
      .map(([id]) => id)
  const note = (event: ChainEvent): void => {
    const { contract, name, args } = event
    if (name === 'Claimed') taskOf.set(args.claimId as bigint, args.taskId as bigint)
    if (name === 'Challenged') gameTask.set(args.gameId as bigint, taskOf.get(args.claimId as bigint)!)
    const taskId =
      (args.taskId as bigint | undefined) ??
      (args.claimId === undefined ? gameTask.get(args.gameId as bigint) : taskOf.get(args.claimId as bigint))
    if (taskId === undefined || contract === 'Stake') return
    marks.push({ taskId, name, at: performance.now() })
    const here = working.get(taskId)
    if (name === 'Offered') working.set(taskId, { solver: fleet.nameOf(args.solver), verifiers: new Set() })
    if (name === 'Drawn') for (const v of args.verifiers as string[]) here?.verifiers.add(fleet.nameOf(v))
    if (name === 'Settled') here?.verifiers.clear()
    if (name === 'Finished' || name === 'Halted' || name === 'Cancelled') working.delete(taskId)
    if (name !== 'Confirmed') return
    const part = plan.nodes.find((n) => n.name === fleet.nameOf(args.solver))
    if (part?.character !== 'crasher' || dying.has(part.name)) return
    dying.set(
      part.name,
      new Promise((resolve) => setTimeout(resolve, part.diesAfterMs)).then(async () => {
        say(`${part.name} dies, and does not come back`)
        crashes.push({ node: part.name, at: performance.now(), tasks: affected([part.name]) })
        await fleet.hostOf(part.name).kill()
      }),
    )
  }
  const gameTask = new Map<bigint, bigint>()
  let cursor = BigInt(fleet.watcher.network.fromBlock)
  let watching = true
  const ended = (async () => {
    while (watching) {
      try {
        const { events, next } = await readEvents(fleet.watcher, cursor)
        events.forEach(note)
        cursor = next
      } catch (error) {
        // the plan stops the chain now and then
        if ((error as Error).name !== 'sdk.RpcDownError') throw error
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  })()
  return {
    marks,
    crashes,
    affected,
    stop: async () => {
      watching = false
      await ended
      await Promise.all(dying.values())
    },
  }
}

async function startSubmitters(options: ChaosOptions, fleet: Fleet, net: Net | undefined): Promise<BitloomNode[]> {
  const { submitters, dir } = options
  const nodes: BitloomNode[] = []
  for (let i = 0; i < submitters; i++) {
    const home = join(dir, `submitter-${i + 1}`)
    mkdirSync(home, { recursive: true })
    await fleet.fund(home)
    const { account } = loadKey(join(home, 'key.json'), fleet.password)
    nodes.push(
      await startNode({
        network: fleet.network(),
        account,
        dir: join(home, 'node'),
        roles: [],
        memoryBytes: 2 ** 31,
        log: () => undefined,
        tickMs: options.tickMs,
        ...(net ? { host: HUB } : {}),
      }),
    )
  }
  return nodes
}

/** The offers of these solvers, in this order, as far as the submitter has heard of them. */
function offersOf(submitter: BitloomNode, fleet: Fleet, names: readonly string[]): SignedOffer[] {
  const bySolver = new Map<string, SignedOffer>()
  for (const signed of submitter.signedOffers()) {
    const solver = signed.offer.solver.toLowerCase()
    const other = bySolver.get(solver)
    if (!other || signed.offer.validUntil >= other.offer.validUntil) bySolver.set(solver, signed)
  }
  return names.flatMap((name) => bySolver.get(fleet.hostOf(name).address.toLowerCase()) ?? [])
}

/** Every task of the plan, so many at a time as there are lanes. */
async function runTasks(
  { lanes, forMs = Number.POSITIVE_INFINITY }: ChaosOptions,
  plan: ChaosPlan,
  submitters: readonly BitloomNode[],
  fleet: Fleet,
  say: (text: string) => void,
): Promise<RunTask[]> {
  const results: RunTask[] = []
  const queue = plan.tasks.map((part, i) => ({ part, i }))
  const solvers = new Set(plan.nodes.filter((n) => n.roles.includes('solver')).map((n) => n.name))
  for (const submitter of submitters)
    for (const end = performance.now() + HEARD_MS; offersOf(submitter, fleet, [...solvers]).length < solvers.size; ) {
      if (performance.now() > end) throw new Error(`a submitter has not heard of every offer in ${HEARD_MS / 1000} s`)
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  const end = performance.now() + forMs
  const runOne = async ({ part, i }: { part: TaskPart; i: number }): Promise<void> => {
    const submitter = submitters[part.submitter]!
    const job = jobOf(part)
    const spec = specOf(job, part, plan.windows)
    for (let tries = 1; ; tries++) {
      let taskId: bigint | undefined
      try {
        const outcome = await runTask(submitter, {
          job,
          spec,
          offers: offersOf(submitter, fleet, part.solvers),
          report: (p) => {
            if (p.type === 'submitted') taskId = p.taskId
            if (p.type === 'submitted' || p.type === 'handed-on')
              say(`task ${p.taskId} ${p.type === 'submitted' ? 'goes to' : 'is handed on to'} ${fleet.nameOf(p.solver)}`)
            if (p.type === 'done') say(`task ${taskId} is done (${results.length + 1} of ${plan.tasks.length})`)
          },
        })
        results.push({ part, taskId: outcome.taskId, outcome })
        return
      } catch (error) {
        const text = error instanceof Error ? `${error.name}: ${error.message}` : String(error)
        // before it has a number nothing has begun, as far as its submitter knows
        if (taskId === undefined && (error as Error).name === 'sdk.RpcDownError' && tries < TRIES) {
          say(`the submission of task no. ${i + 1} is tried again: ${text.split('\n')[0]}`)
          await new Promise((resolve) => setTimeout(resolve, 1000))
          continue
        }
        say(`task ${taskId ?? `no. ${i + 1}`} failed: ${text}`)
        results.push({ part, ...(taskId === undefined ? {} : { taskId }), error: text })
        return
      }
    }
  }
  await Promise.all(
    Array.from({ length: lanes }, async () => {
      for (let next = queue.shift(); next && performance.now() < end; next = queue.shift()) await runOne(next)
    }),
  )
  return results
}

/** Waits until no task is under way and nobody who lives has anything locked, or gives up: what is stuck is for the verdict to say. */
async function untilQuiet(affected: Watch['affected'], fleet: Fleet, plan: ChaosPlan): Promise<void> {
  const living = plan.nodes.filter((n) => n.character !== 'crasher').map((n) => fleet.hostOf(n.name).address)
  for (const end = performance.now() + AFTERWARDS_MS; performance.now() < end; ) {
    const locked = await Promise.all(living.map((who) => fleet.watcher.read('Stake', 'lockedOf', [who]) as Promise<bigint>))
    if (affected([]).length === 0 && locked.every((wei) => wei === 0n)) return
    await new Promise((resolve) => setTimeout(resolve, 500))
  }
}
