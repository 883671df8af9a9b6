// A chaos run in figures: load, faults and how soon work went on after them, gas, and what had to hold.

import { availableParallelism } from 'node:os'
import type { ChaosOptions } from './bench.ts'
import { type Check, type Evidence, readGas } from './verdict.ts'

/** Events by which a task gets on; being offered, halted or fined is not getting on. */
const STEPS = new Set(['Confirmed', 'Claimed', 'Drawn', 'Sealed', 'Disclosed', 'Revealed', 'Settled', 'Challenged', 'Moved'])

const mapped = <K extends string>(o: Readonly<Record<K, number>>, f: (x: number) => number): Record<K, number> =>
  Object.fromEntries(Object.entries<number>(o).map(([k, x]) => [k, f(x)])) as Record<K, number>

type Recovery = { readonly faults: number; readonly lastedSeconds: Spread; readonly recoveredSeconds: Spread; readonly tasks: number }
type Spread = { readonly median: number; readonly p95: number; readonly most: number }

const round = (x: number): number => Math.round(10 * x) / 10

function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number): number => round(sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))] ?? 0)
  return { median: at(0.5), p95: at(0.95), most: at(1) }
}

/** Seconds from a moment until each of these tasks next got on; a task that never did is missing. */
function nextSteps(e: Evidence, tasks: readonly bigint[], from: number): number[] {
  return tasks.flatMap((taskId) => {
    const mark = e.marks.find((m) => m.taskId === taskId && m.at > from && STEPS.has(m.name))
    return mark ? [(mark.at - from) / 1000] : []
  })
}

function recoveries(e: Evidence): Record<string, Recovery> {
  const all = [
    ...e.faults.map(({ fault, startedAt, endedAt, tasks }) => ({ kind: fault.kind as string, startedAt, endedAt, tasks })),
    ...e.crashes.map(({ at, tasks }) => ({ kind: 'crash', startedAt: at, endedAt: at, tasks })),
  ]
  return Object.fromEntries(
    [...new Set(all.map((one) => one.kind))].sort().map((kind) => {
      const those = all.filter((one) => one.kind === kind)
      const seconds = those.flatMap((one) => nextSteps(e, one.tasks, one.startedAt))
      return [
        kind,
        {
          faults: those.length,
          lastedSeconds: spread(those.map((one) => (one.endedAt - one.startedAt) / 1000)),
          tasks: seconds.length,
          recoveredSeconds: spread(seconds),
        },
      ]
    }),
  )
}

export type ChaosReport = Awaited<ReturnType<typeof reportOf>>

/** The report; call it while the chain still answers. */
export async function reportOf(options: ChaosOptions, evidence: Evidence, checks: readonly Check[]) {
  const { plan, seconds } = evidence
  const gas = await readGas(evidence)
  const done = evidence.tasks.filter((task) => task.outcome).length
  const steps = evidence.tasks.reduce((sum, { part: t }) => sum + t.steps * t.segments * t.slices, 0)
  const count = (name: string): number => evidence.events.filter((event) => event.name === name).length
  return {
    seed: options.seed,
    form: options.wired ? 'network namespaces' : 'loopback, without network faults',
    cores: availableParallelism(),
    nodes: Object.fromEntries(
      (['honest', 'cheat', 'crasher'] as const).map((character) => [character, plan.nodes.filter((n) => n.character === character).length]),
    ),
    windows: plan.windows,
    tasks: {
      asked: plan.tasks.length,
      done,
      seconds: round(seconds),
      perMinute: round((60 * done) / seconds),
      lanes: options.lanes,
      steps,
    },
    chain: {
      ...gas,
      gas: String(gas.gas),
      gasPerTask: String(gas.gas / BigInt(Math.max(1, evidence.tasks.length))),
      slicesSettled: count('Settled'),
      convictions: count('Convicted'),
      disputeMoves: count('Moved'),
      handedOn: count('Offered') - count('Submitted'),
      troubles: evidence.fleet.chainTroubles,
    },
    load: { ...mapped(evidence.load, round), nodeCpuShare: round((100 * evidence.load.cpuSeconds) / evidence.load.upSeconds) / 100 },
    faults: { survived: evidence.faults.length + evidence.crashes.length, skipped: evidence.skipped, kinds: recoveries(evidence) },
    nodesSaid: Object.fromEntries([...evidence.lines].sort(([a], [b]) => (a < b ? -1 : 1))),
    checks: checks.map(({ what, ok, detail, wrong }) => ({ what, ok, detail, ...(wrong.length > 0 ? { wrong } : {}) })),
    ok: checks.every((check) => check.ok),
  }
}
