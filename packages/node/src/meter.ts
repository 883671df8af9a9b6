// What this process computed for tasks, in CPU time: the figures behind every overhead that is reported.

export const KINDS = ['train', 'audit', 'dispute', 'hash'] as const
export type Kind = (typeof KINDS)[number]
export type Reading = { readonly cpuMs: number; readonly steps: number }
export type Readings = Readonly<Record<Kind, Reading>>

export type Meter = {
  /** Runs `work` and books its CPU time under `kind`; what a nested call books is not booked twice. */
  readonly measure: <T>(kind: Kind, work: () => T, steps?: number) => T
  /** Books CPU time that another thread spent for us. */
  readonly book: (kind: Kind, cpuMs: number) => void
  readonly readings: () => Readings
  /** Books what an earlier life of this process measured. */
  readonly resume: (readings: Readings) => void
}

const cpuUs = (): number => {
  const { user, system } = process.threadCpuUsage()
  return user + system
}

export function openMeter(): Meter {
  const booked = Object.fromEntries(KINDS.map((kind) => [kind, { us: 0, steps: 0 }])) as Record<Kind, { us: number; steps: number }>
  let nested = 0
  return {
    measure: (kind, work, steps = 0) => {
      const outer = nested
      nested = 0
      const before = cpuUs()
      try {
        return work()
      } finally {
        const spent = cpuUs() - before
        booked[kind].us += spent - nested
        booked[kind].steps += steps
        nested = outer + spent
      }
    },
    book: (kind, cpuMs) => {
      booked[kind].us += cpuMs * 1000
    },
    readings: () =>
      Object.fromEntries(KINDS.map((kind) => [kind, { cpuMs: booked[kind].us / 1000, steps: booked[kind].steps }])) as Readings,
    resume: (readings) => {
      for (const kind of KINDS) {
        booked[kind].us += readings[kind].cpuMs * 1000
        booked[kind].steps += readings[kind].steps
      }
    },
  }
}

/** Sums readings of several processes. */
export function addReadings(all: readonly Readings[]): Readings {
  return Object.fromEntries(
    KINDS.map((kind) => [kind, { cpuMs: all.reduce((n, r) => n + r[kind].cpuMs, 0), steps: all.reduce((n, r) => n + r[kind].steps, 0) }]),
  ) as Readings
}
