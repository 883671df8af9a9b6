// A network under test: real processes that a test can kill, freeze, wake and start again, a chain whose time it can let pass, and submitters in this process.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'
import { fileURLToPath } from 'node:url'
import { wasm } from '@bitloom/engine'
import { type Job, mnistJob } from '@bitloom/model'
import { readMnist } from '@bitloom/model/data/mnist'
import {
  type BitloomNode,
  type Embedded,
  engineStepper,
  loadKey,
  type NodeLine,
  type NodePlan,
  type Outcome,
  type Progress,
  type RunningNode,
  rpc,
  runTask,
  startEmbedded,
  startNode,
  trainLocal,
} from '@bitloom/node'
import {
  type Assurance,
  type Bitloom,
  type ChainEvent,
  chainTime,
  connect,
  makeSpec,
  rankOffers,
  readEvents,
  readLedger,
  rootsOf,
  type SignedOffer,
  type Spec,
  type Windows,
} from '@bitloom/sdk'
import type { Hex } from 'viem'

export const MAIN = fileURLToPath(new URL('../../packages/cli/src/main.ts', import.meta.url))

/** Long where a busy machine may stall; a test that needs a deadline lets the chain's time pass. */
export const WINDOWS: Windows = {
  confirmSeconds: 120,
  sliceSeconds: 300,
  sealSeconds: 120,
  discloseSeconds: 120,
  revealSeconds: 60,
  challengeSeconds: 1,
  clockSeconds: 120,
}

/** How a small run is cut. */
export type Shape = { readonly steps: number; readonly segments: number; readonly slices: number }

export type Ask = Shape & {
  /** Solvers by name, in the order in which their offers are taken. */
  readonly solvers: readonly string[]
  readonly assurance?: Assurance
  /** Drawn for each slice; 2 if not said, none without an audit. */
  readonly verifiers?: number
  /** One claim in so many shows a decoy. */
  readonly decoyOneIn?: number
  readonly windows?: Partial<Windows>
  readonly budgetWei?: bigint
  /** When those solvers are used up, whoever offers by then is asked, the cheapest first. */
  readonly fromMarket?: boolean
  /** The submitter stops watching. */
  readonly signal?: AbortSignal
}

/** A task under way. */
export type Run = {
  readonly job: Job
  readonly spec: Spec
  readonly taskId: Promise<bigint>
  readonly outcome: Promise<Outcome>
  readonly progress: Progress[]
}

export type Submitter = { readonly node: BitloomNode; readonly submit: (ask: Ask) => Promise<Run> }

export type House = {
  readonly dir: string
  readonly embedded: Embedded
  readonly bitloom: Bitloom
  readonly lines: readonly NodeLine[]
  readonly events: readonly ChainEvent[]
  readonly node: (name: string) => RunningNode
  readonly nameOf: (address: unknown) => string
  readonly start: (plan: NodePlan) => Promise<RunningNode>
  readonly kill: (name: string) => Promise<void>
  /** Asks a node to stop, and gives back its last line. */
  readonly end: (name: string) => Promise<NodeLine>
  readonly restart: (name: string) => Promise<RunningNode>
  readonly freeze: (name: string) => void
  readonly wake: (name: string) => void
  /** Lets chain time pass without waiting. */
  readonly pass: (seconds: number) => Promise<void>
  /** The first event, from `from` in `events` on, that matches. */
  readonly event: (name: string, match?: (args: ChainEvent['args']) => boolean, from?: number) => Promise<ChainEvent>
  readonly submitter: () => Promise<Submitter>
  /** Money in minus money out and held; 0n, always. */
  readonly missingWei: () => Promise<bigint>
  /** Nodes that ended although nobody ended them. */
  readonly casualties: () => string[]
  readonly stop: () => Promise<void>
}

const LOOK_MS = 30
const PATIENCE_MS = Number(process.env.BITLOOM_TEST_PATIENCE ?? 60) * 1000

/** A test of several steps: where one fails, the rest would only wait in vain. */
export function inOrder(t: TestContext): (name: string, body: () => Promise<void>) => Promise<void> {
  let broken = false
  return (name, body) =>
    t.test(name, { skip: broken ? 'a step before it failed' : false }, async () => {
      broken = true
      await body()
      broken = false
    }) as Promise<void>
}

/** Waits until `look` gives something. @throws after a minute, saying what for */
export async function until<T>(
  what: string,
  look: () => Promise<T | undefined | false> | T | undefined | false,
  ms = PATIENCE_MS,
): Promise<T> {
  for (const end = performance.now() + ms; ; ) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (performance.now() > end) throw new Error(`waited ${ms / 1000} s in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

/** An MLP 784-32-10 on the first digits: a third of a millisecond a step. */
export function smallJob({ steps, segments, slices }: Shape): Job {
  const { train } = readMnist()
  const count = 256
  return mnistJob({
    images: train.images.subarray(0, count * 784),
    labels: train.labels.subarray(0, count),
    count,
    seed: [1, 2],
    steps: steps * segments * slices,
    hidden: 32,
    batch: 32,
    evaluate: (graph, slots) => wasm.evaluate(graph, slots).next,
  })
}

/** The final root of a job trained here, alone. */
export const localRoot = async (job: Job): Promise<Hex> => (await trainLocal(job, engineStepper(wasm, job.graph))).root

export const specFor = (job: Job, ask: Omit<Ask, 'solvers'>): Spec =>
  makeSpec(job.graph, rootsOf(job.state), rootsOf(job.data), {
    stepsPerCheckpoint: ask.steps,
    checkpointsPerSlice: ask.segments,
    slices: ask.slices,
    assurance: ask.assurance ?? 'spot',
    verifiers: ask.assurance === 'none' ? 0 : (ask.verifiers ?? 2),
    segments: 1,
    decoyOneIn: ask.decoyOneIn ?? 0,
    windows: { ...WINDOWS, ...ask.windows },
  })

export const solver = (name: string, price: string, more: readonly string[] = []): NodePlan => ({
  name,
  args: ['--role', 'solver', '--price', price, '--deposit', '1000', '--capacity', '32', ...more],
})
export const verifier = (name: string, more: readonly string[] = []): NodePlan => ({
  name,
  args: ['--role', 'verifier', '--deposit', '200', ...more],
})

/** For networks of many nodes on a small machine. */
export const LIGHT = ['--backend', 'wasm', '--threads', '1'] as const

/** Starts a network in a folder of its own. */
export async function startHouse(nodes: readonly NodePlan[]): Promise<House> {
  const dir = mkdtempSync(join(tmpdir(), 'bitloom-house-'))
  const lines: NodeLine[] = []
  const events: ChainEvent[] = []
  const plans = new Map(nodes.map((plan) => [plan.name, plan]))
  const ended = new Set<RunningNode>()
  const frozen = new Set<string>()
  const closers: (() => Promise<void>)[] = []
  const embedded = await startEmbedded({
    dir,
    command: [process.execPath, MAIN],
    nodes,
    onLine: (line) => void lines.push(line),
    readyTimeoutMs: PATIENCE_MS,
  })
  const bitloom = await connect(embedded.network, embedded.deployer)

  let cursor = BigInt(embedded.network.fromBlock)
  let watching = true
  const watch = (async () => {
    while (watching) {
      try {
        const { events: fresh, next } = await readEvents(bitloom, cursor)
        events.push(...fresh)
        cursor = next
      } catch (error) {
        // a test freezes the chain for a while; anything else it would see for itself
        if ((error as Error).name !== 'sdk.RpcDownError') throw error
      }
      await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
    }
  })()

  const node = (name: string): RunningNode => {
    const found = embedded.nodes.findLast((n) => n.name === name)
    if (!found) throw new Error(`there is no node ${name}`)
    return found
  }
  const start = async (plan: NodePlan): Promise<RunningNode> => {
    plans.set(plan.name, plan)
    return embedded.start(plan)
  }
  const wake = (name: string): void => {
    if (frozen.delete(name)) process.kill(name === 'chain' ? embedded.chain.pid : node(name).pid, 'SIGCONT')
  }

  const submitter = async (): Promise<Submitter> => {
    const home = mkdtempSync(join(dir, 'submitter-'))
    await embedded.fund(home)
    const { account } = loadKey(join(home, 'key.json'), embedded.password)
    const log = (event: string, values?: Readonly<Record<string, unknown>>): void =>
      void lines.push({ ...values, node: 'submitter', event })
    const own = await startNode({ network: embedded.network, account, dir: join(home, 'node'), roles: [], memoryBytes: 2 ** 32, log })
    closers.push(() => own.stop())
    const offerOf = (name: string): Promise<SignedOffer> =>
      until(`an offer of ${name}`, () =>
        own.signedOffers().findLast(({ offer }) => offer.solver.toLowerCase() === node(name).address.toLowerCase()),
      )
    const submit = async (ask: Ask): Promise<Run> => {
      const offers = await Promise.all(ask.solvers.map(offerOf))
      const job = smallJob(ask)
      const spec = specFor(job, ask)
      const progress: Progress[] = []
      const task = Promise.withResolvers<bigint>()
      const watching = new AbortController()
      closers.unshift(async () => watching.abort()) // a test that failed must not wait for its task
      const outcome = runTask(own, {
        signal: AbortSignal.any([watching.signal, ...(ask.signal ? [ask.signal] : [])]),
        job,
        spec,
        offers,
        ...(ask.budgetWei === undefined ? {} : { budgetWei: ask.budgetWei }),
        ...(ask.fromMarket
          ? { more: () => rankOffers(own.signedOffers(), { memoryBytes: 0, assurance: spec.assurance }), patienceSeconds: 3600 }
          : {}),
        report: (p) => {
          progress.push(p)
          if (p.type === 'submitted') task.resolve(p.taskId)
        },
      })
      outcome.catch(task.reject)
      task.promise.catch(() => undefined) // whoever waits for the outcome hears of it
      return { job, spec, taskId: task.promise, outcome, progress }
    }
    return { node: own, submit }
  }

  return {
    dir,
    embedded,
    bitloom,
    lines,
    events,
    node,
    nameOf: (address) => embedded.nodes.find((n) => n.address.toLowerCase() === String(address).toLowerCase())?.name ?? String(address),
    start,
    kill: async (name) => {
      const victim = node(name)
      ended.add(victim)
      frozen.delete(name)
      victim.child.kill('SIGKILL')
      await victim.exited
    },
    end: async (name) => {
      const one = node(name)
      ended.add(one)
      one.child.kill('SIGTERM')
      const status = await one.exited
      if (status !== 0) throw new Error(`${name} was asked to stop and ended with status ${status}`)
      return until(`the last line of ${name}`, () => lines.findLast((l) => l.node === name && l.event === 'stopped'))
    },
    restart: (name) => start(plans.get(name)!),
    freeze: (name) => {
      process.kill(name === 'chain' ? embedded.chain.pid : node(name).pid, 'SIGSTOP')
      frozen.add(name)
    },
    wake,
    pass: async (seconds) => {
      const before = await chainTime(bitloom)
      await rpc(embedded.chain.rpcUrl, 'evm_increaseTime', [seconds])
      await rpc(embedded.chain.rpcUrl, 'evm_mine')
      await until(`${seconds} s of chain time`, async () => (await chainTime(bitloom)) >= before + seconds)
    },
    event: (name, match = () => true, from = 0) =>
      until(`the event ${name}`, () => events.slice(from).find((e) => e.name === name && match(e.args))),
    submitter,
    missingWei: async () => (await readLedger(bitloom)).differenceWei,
    casualties: () =>
      embedded.nodes.filter((n) => !ended.has(n) && (n.child.exitCode !== null || n.child.signalCode !== null)).map((n) => n.name),
    stop: async () => {
      for (const name of [...frozen]) wake(name)
      watching = false
      await watch
      for (const close of closers) await close()
      await embedded.stop()
      const log = process.env.BITLOOM_TEST_LOG
      if (log !== undefined)
        writeFileSync(log, lines.map((l) => `${JSON.stringify(l, (_, v) => (typeof v === 'bigint' ? String(v) : v))}\n`).join(''))
      rmSync(dir, { recursive: true, force: true, maxRetries: 5 })
    },
  }
}
