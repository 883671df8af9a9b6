// How this machine stands for a provider's rules: what others use of its processor, and whether it runs on a battery.

import { existsSync, readdirSync, readFileSync } from 'node:fs'
import { cpus } from 'node:os'
import { join } from 'node:path'
import type { Situation } from './policy.ts'

/** Others' use is taken over this long, so that a moment's burst neither starts nor stops anything. */
const WINDOW_MS = 60_000
const SAMPLE_EVERY_MS = 5_000
/** Less than this says nothing yet. */
const LEAST_MS = 4_000

const POWER_SUPPLY = '/sys/class/power_supply'

/** Milliseconds since the system's start, summed over processors. */
export type Sample = { readonly atMs: number; readonly busyMs: number; readonly totalMs: number; readonly ownMs: number }

/** The share of the processor that was used by anybody but this process between two samples; undefined where they are too close. */
export function othersBetween(before: Sample, after: Sample): number | undefined {
  const total = after.totalMs - before.totalMs
  if (after.atMs - before.atMs < LEAST_MS || total <= 0) return undefined
  const others = after.busyMs - before.busyMs - (after.ownMs - before.ownMs)
  return Math.min(1, Math.max(0, others / total))
}

function sampleNow(): Sample {
  let [busyMs, totalMs] = [0, 0]
  for (const { times } of cpus()) {
    const total = times.user + times.nice + times.sys + times.idle + times.irq
    totalMs += total
    busyMs += total - times.idle
  }
  const { user, system } = process.cpuUsage()
  return { atMs: performance.now(), busyMs, totalMs, ownMs: (user + system) / 1000 }
}

/**
 * Where the power comes from, as Linux tells it: a battery that discharges while no mains is online.
 * @returns 'mains' also where there is no battery at all; 'unknown' where the system has no such folder
 */
export function powerOf(folder: string = POWER_SUPPLY): Situation['power'] {
  if (!existsSync(folder)) return 'unknown'
  const read = (name: string, file: string): string => {
    const path = join(folder, name, file)
    try {
      return readFileSync(path, 'utf8').trim()
    } catch (error) {
      // a supply that was unplugged meanwhile, or a driver without this file: as if it did not say
      if (['ENOENT', 'ENODEV', 'EIO', 'EACCES', 'ENOTDIR'].includes((error as NodeJS.ErrnoException).code ?? '')) return ''
      throw error
    }
  }
  const supplies = readdirSync(folder).map((name) => ({
    type: read(name, 'type'),
    online: read(name, 'online'),
    status: read(name, 'status'),
    // batteries of mice and headsets are of scope Device
    scope: read(name, 'scope'),
  }))
  if (supplies.some(({ type, online }) => (type === 'Mains' || type === 'USB') && online === '1')) return 'mains'
  const batteries = supplies.filter(({ type, scope }) => type === 'Battery' && scope !== 'Device')
  return batteries.some(({ status }) => status === 'Discharging') ? 'battery' : 'mains'
}

export type Machine = { readonly situation: (tasks: number) => Situation }

/** Starts to watch the machine; samples when it is asked, at most every few seconds. */
export function openMachine(): Machine {
  const samples: Sample[] = [sampleNow()]
  return {
    situation: (tasks) => {
      const now = performance.now()
      if (now - samples.at(-1)!.atMs >= SAMPLE_EVERY_MS) samples.push(sampleNow())
      while (samples.length > 2 && now - samples[1]!.atMs > WINDOW_MS) samples.shift()
      const othersShare = othersBetween(samples[0]!, samples.at(-1)!)
      const time = new Date()
      return {
        minuteOfDay: 60 * time.getHours() + time.getMinutes(),
        ...(othersShare === undefined ? {} : { othersShare }),
        power: powerOf(),
        tasks,
      }
    },
  }
}
