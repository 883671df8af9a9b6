// A disk that fills up: blobs stop first, a little room is kept for what a dispute needs to write, and it is said until there is space again.

import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, rmSync, statfsSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { BlobStore } from './network/blobs.ts'
import type { Log } from './services.ts'
import { StoreFullError, writeFileAtomic } from './store.ts'

/** Room kept in a file that is given up when the store finds none: its log of writes takes up to 4 MB, and the rest holds thousands of seals, reveals and moves. */
export const BALLAST_BYTES = 8 << 20
/** Blobs leave this much of the disk alone. */
export const MARGIN_BYTES = 16 << 20
/** How often free space is looked at besides. */
const LOOK_MS = 5_000

export type Disk = {
  /** Bytes that this user can still write. */
  readonly freeBytes: () => number
  /** Nothing but what a dispute needs is written. */
  readonly full: () => boolean
  /** Gives the ballast up. @returns whether there was some */
  readonly release: () => boolean
  /** Looks at the disk now and then: says that it is full, and lays the ballast down again once it is not. */
  readonly tend: () => void
  /** The same blobs, which take no space that is kept for better things. */
  readonly sparing: (blobs: BlobStore) => BlobStore
}

export type DiskOptions = {
  readonly ballastBytes?: number
  readonly marginBytes?: number
  /** For tests: what the system says of the folder's disk. */
  readonly free?: (dir: string) => number
}

const freeOf = (dir: string): number => {
  const { bavail, bsize } = statfsSync(dir)
  return bavail * bsize
}

/** Watches the disk under folder `dir`, which is made. A ballast is laid down where there is room for it. */
export function openDisk(dir: string, log: Log, options: DiskOptions = {}): Disk {
  const { ballastBytes = BALLAST_BYTES, marginBytes = MARGIN_BYTES, free = freeOf } = options
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  const path = join(dir, 'ballast')
  const laid = (): boolean => ballastBytes === 0 || (existsSync(path) && statSync(path).size === ballastBytes)
  let full = false
  let lookedAt = Number.NEGATIVE_INFINITY
  const say = (is: boolean): void => {
    if (is === full) return
    full = is
    if (is) log('disk-full', { freeBytes: free(dir), todo: 'free disk space: training and fetching wait, disputes go on' })
    else log('disk-freed', { freeBytes: free(dir) })
  }
  const lay = (): void => {
    if (laid() || free(dir) < ballastBytes + marginBytes) return
    // random, so that no file system compresses it away
    const piece = randomBytes(1 << 16)
    try {
      writeFileAtomic(
        path,
        Buffer.concat(Array.from({ length: Math.ceil(ballastBytes / piece.length) }, () => piece)).subarray(0, ballastBytes),
      )
    } catch (error) {
      if (!(error instanceof StoreFullError)) throw error
    }
  }
  const look = (): void => {
    lookedAt = performance.now()
    lay()
    say(!laid() || free(dir) < marginBytes)
  }
  const spare = (bytes: number): void => {
    if (free(dir) >= bytes + marginBytes) return
    say(true)
    throw new StoreFullError(dir)
  }
  lay()
  return {
    freeBytes: () => free(dir),
    full: () => full,
    release: () => {
      const was = existsSync(path)
      rmSync(path, { force: true })
      say(true)
      return was
    },
    tend: () => {
      if (performance.now() - lookedAt > LOOK_MS) look()
    },
    sparing: (blobs) => ({
      ...blobs,
      put: async (source) => {
        spare(source instanceof Uint8Array ? source.length : 0)
        return blobs.put(source)
      },
      putKnown: async (root, bytes, nodes) => {
        if (!blobs.has(root, bytes.length)) spare(bytes.length)
        return blobs.putKnown(root, bytes, nodes)
      },
      receive: async (root, bytes, nodes) => {
        if (!blobs.has(root, bytes)) spare(bytes)
        return blobs.receive(root, bytes, nodes)
      },
    }),
  }
}
