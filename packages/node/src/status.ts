// What a running node says of itself to whoever sits at its computer: one small file beside its store, rewritten every few seconds. The store itself is locked while it runs.

import { existsSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'

const WRITE_EVERY_MS = 2_000
/** A file that is older than this belongs to a node that stands still, or is gone. */
export const STALE_SECONDS = 30
/** No status is longer. */
const MAX_BYTES = 1 << 20
/** Tasks and claims that are listed. */
export const MOST_LISTED = 64

/** A task in hand: segments trained of those it has. */
export type TaskAtWork = { readonly taskId: string; readonly segments: number; readonly refused?: string }

export type NodeStatus = {
  readonly pid: number
  /** Unix seconds of this computer's clock. */
  readonly startedAt: number
  readonly at: number
  readonly roles: readonly string[]
  readonly peer: string
  readonly http: string
  readonly peers: number
  /** Last block read. */
  readonly block: string
  readonly working: boolean
  /** The loop's last round that reached its end, seconds before `at`. */
  readonly tickAgeSeconds: number
  readonly tasks: readonly TaskAtWork[]
  /** Claims being checked. */
  readonly claims: readonly string[]
  /** The offer that stands, or why none does; missing where the node offers nothing at all. */
  readonly offer?: {
    readonly weiPerTeraop: string
    readonly operationsPerSecond: string
    readonly capacity: number
    readonly validUntil: string
  }
  readonly noOffer?: string
}

export const statusPath = (dir: string): string => join(dir, 'status.json')

export type Board = { readonly write: (make: () => Omit<NodeStatus, 'pid' | 'startedAt' | 'at'>) => void; readonly clear: () => void }

/** Opens the board of a node in folder `dir`. It may lag by some seconds, and is not worth waiting for a disk: no write of it is synced. */
export function openBoard(dir: string): Board {
  const path = statusPath(dir)
  const startedAt = Math.floor(Date.now() / 1000)
  let writtenAt = Number.NEGATIVE_INFINITY
  return {
    write: (make) => {
      if (performance.now() - writtenAt < WRITE_EVERY_MS) return
      writtenAt = performance.now()
      const status: NodeStatus = { pid: process.pid, startedAt, at: Math.floor(Date.now() / 1000), ...make() }
      writeFileSync(`${path}.tmp`, `${JSON.stringify(status)}\n`, { mode: 0o600 })
      renameSync(`${path}.tmp`, path)
    },
    clear: () => rmSync(path, { force: true }),
  }
}

/**
 * Reads what a node last said of itself.
 * @returns undefined where there is no such file, or it is none of ours
 */
export function readStatus(dir: string): NodeStatus | undefined {
  const path = statusPath(dir)
  if (!existsSync(path)) return undefined
  const text = readFileSync(path, 'utf8')
  if (text.length > MAX_BYTES) return undefined
  try {
    const status = (JSON.parse(text) ?? {}) as NodeStatus
    const whole = [status.pid, status.at, status.startedAt, status.peers].every(Number.isFinite)
    return whole && Array.isArray(status.tasks) && Array.isArray(status.claims) && Array.isArray(status.roles) ? status : undefined
  } catch (error) {
    if (error instanceof SyntaxError) return undefined
    throw error
  }
}

/** Whether the process that wrote a status is there, and not standing still. */
export function isAlive({ pid, at }: NodeStatus, nowSeconds: number): 'running' | 'standing still' | 'gone' {
  try {
    process.kill(pid, 0)
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ESRCH') return 'gone'
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') throw error
  }
  return nowSeconds - at > STALE_SECONDS ? 'standing still' : 'running'
}
