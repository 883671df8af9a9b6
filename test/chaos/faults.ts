// Makes the planned faults happen, one by one and side by side, and undoes each when its time is over.

import type { Fleet } from './fleet.ts'
import type { Net } from './net.ts'
import { type FaultPart, sayFault } from './plan.ts'
import type { Link } from './wire.ts'

export type Happened = {
  readonly fault: FaultPart
  readonly startedAt: number
  /** When it was undone; a killed node is ready again. */
  endedAt: number
  /** Tasks under way that depended on whom it befell. */
  readonly tasks: readonly bigint[]
}

export type Faults = {
  readonly happened: readonly Happened[]
  readonly skipped: () => number
  /** Lets no further fault begin, undoes those that last, and waits until everybody is back. */
  readonly end: () => Promise<void>
}

/** One turn of a slow node: stopped, then running. */
const TURN_MS = 500

/** Starts the clock of a plan. `base`: what a host's link does when nothing is wrong. `affected`: tasks that depend on these nodes now; of an empty list, all. */
export function startFaults(
  plan: readonly FaultPart[],
  fleet: Fleet,
  net: Net | undefined,
  base: (i: number) => Partial<Link>,
  affected: (nodes: readonly string[]) => bigint[],
  say: (text: string) => void,
): Faults {
  const happened: Happened[] = []
  const running = new Set<Promise<void>>()
  const ending = new AbortController()
  let skipped = 0
  const indexOf = (name: string): number => fleet.hosts.findIndex((host) => host.part.name === name)
  /** Waits, or until everything ends. */
  const pause = (ms: number): Promise<void> =>
    new Promise((resolve) => {
      const done = (): void => {
        clearTimeout(timer)
        ending.signal.removeEventListener('abort', done)
        resolve()
      }
      const timer = setTimeout(done, ms)
      ending.signal.addEventListener('abort', done)
      if (ending.signal.aborted) done()
    })
  const link = (name: string, change: Partial<Link>): void => net!.set(indexOf(name), change)

  const befall = async ({ kind, nodes, amount, forMs }: FaultPart): Promise<void> => {
    const [name] = nodes
    switch (kind) {
      case 'latency':
        link(name!, { delayMs: amount, jitterMs: amount / 2 })
        await pause(forMs)
        return link(name!, base(indexOf(name!)))
      case 'loss':
        link(name!, { loss: amount })
        await pause(forMs)
        return link(name!, base(indexOf(name!)))
      case 'isolate':
        link(name!, { cut: true })
        await pause(forMs)
        return link(name!, { cut: false })
      case 'split':
        for (const { part } of fleet.hosts) link(part.name, { side: nodes.includes(part.name) ? 1 : 2 })
        await pause(forMs)
        for (const { part } of fleet.hosts) link(part.name, { side: 0 })
        return
      case 'kill': {
        const host = fleet.hostOf(name!)
        await host.kill()
        await pause(forMs)
        return host.start()
      }
      case 'slow': {
        for (const end = performance.now() + forMs; performance.now() < end && !ending.signal.aborted; ) {
          fleet.hostOf(name!).child()?.kill('SIGSTOP')
          await pause(TURN_MS * amount)
          fleet.hostOf(name!).child()?.kill('SIGCONT')
          await pause(TURN_MS * (1 - amount))
        }
        return
      }
      case 'chain': {
        const pid = fleet.chain.pid()
        process.kill(pid, 'SIGSTOP')
        await pause(forMs)
        process.kill(pid, 'SIGCONT')
      }
    }
  }
  const begin = async (fault: FaultPart): Promise<void> => {
    // whoever is down already, or busy starting, cannot be killed once more
    if (fault.nodes.length === 1 && (down.has(fault.nodes[0]!) || !fleet.hostOf(fault.nodes[0]!).child())) {
      skipped++
      return
    }
    if (fault.kind === 'kill') down.add(fault.nodes[0]!)
    const one: Happened = { fault, startedAt: performance.now(), endedAt: 0, tasks: affected(fault.nodes) }
    say(sayFault(fault))
    await befall(fault)
    one.endedAt = performance.now()
    happened.push(one)
    if (fault.kind === 'kill') down.delete(fault.nodes[0]!)
  }
  const down = new Set<string>()
  let failure: unknown
  const clock = (async () => {
    const started = performance.now()
    for (const fault of plan) {
      await pause(Math.max(0, started + fault.atMs - performance.now()))
      if (ending.signal.aborted) return
      const one = begin(fault).catch((error) => {
        failure ??= error
      })
      running.add(one)
      void one.finally(() => running.delete(one))
    }
  })()
  return {
    happened,
    skipped: () => skipped,
    end: async () => {
      ending.abort()
      await clock
      await Promise.all(running)
      if (failure !== undefined) throw failure
    },
  }
}
