// Where every tensor lies: slots first, then temporaries that share memory when they do not live at the same time. Static, so the peak is known exactly.
import type { Buffer, Kernel } from './kernel.ts'

/** Every buffer starts at a multiple of this: a cache line. */
const ALIGN = 64
/** The first bytes stay unused, so that address 0 means nothing. */
const BASE = 64
/** What one 32-bit WebAssembly memory can hold. */
export const MAX_ARENA_BYTES = 2 ** 32

export interface Plan {
  /** Byte address of each buffer; undefined for one that nobody uses. */
  readonly addresses: readonly number[]
  /** First byte after the last buffer. */
  readonly end: number
  /** Bytes of slots, and the most bytes of temporaries alive at once (what a perfect packing would need). */
  readonly slotBytes: number
  readonly liveBytes: number
}

export interface Lifetimes {
  readonly kernels: readonly Kernel[]
  readonly slotOf: readonly (number | undefined)[]
  /** Buffers that are read after the last kernel. */
  readonly kept: ReadonlySet<number>
}

const aligned = (bytes: number): number => Math.ceil(bytes / ALIGN) * ALIGN

/**
 * Places buffers: largest first, each at the lowest address free for its whole life.
 * @throws {ArenaError} above 4 GB
 */
export const planArena = (buffers: readonly Buffer[], { kernels, slotOf, kept }: Lifetimes): Plan => {
  const addresses = new Array<number>(buffers.length).fill(-1)
  let end = BASE
  buffers.forEach((buffer, b) => {
    if (buffer.slot === undefined) return
    addresses[b] = end
    end += aligned(buffer.bytes)
  })
  const slotBytes = end - BASE
  slotOf.forEach((slot, b) => {
    if (slot !== undefined) addresses[b] = addresses[slot]
  })

  const first = new Map<number, number>()
  const last = new Map<number, number>()
  kernels.forEach((kernel, time) => {
    for (const b of [...kernel.writes, ...kernel.reads]) {
      if (slotOf[b] !== undefined) continue
      if (!first.has(b)) first.set(b, time)
      last.set(b, time)
    }
  })
  for (const b of kept) if (first.has(b)) last.set(b, kernels.length)

  const bySize = [...first.keys()].sort((a, b) => buffers[b].bytes - buffers[a].bytes || first.get(a)! - first.get(b)!)
  // Placed buffers in order of address, so that one walk finds the lowest gap.
  const placed: { start: number; end: number; first: number; last: number }[] = []
  const start = end
  for (const b of bySize) {
    const need = aligned(buffers[b].bytes)
    const life = { first: first.get(b)!, last: last.get(b)! }
    let at = start
    for (const p of placed) {
      if (p.last < life.first || p.first > life.last || p.end <= at) continue
      if (p.start >= at + need) break
      at = p.end
    }
    addresses[b] = at
    end = Math.max(end, at + need)
    const entry = { start: at, end: at + need, ...life }
    const index = placed.findIndex((p) => p.start > at)
    if (index < 0) placed.push(entry)
    else placed.splice(index, 0, entry)
  }
  checkArena(end, slotBytes)
  return { addresses, end, slotBytes, liveBytes: peakOf(placed, kernels.length) }
}

/**
 * Refuses what one memory cannot hold.
 * @throws {ArenaError} above 4 GB
 */
export const checkArena = (bytes: number, slotBytes: number): void => {
  if (bytes <= MAX_ARENA_BYTES) return
  const gib = (b: number): string => `${(b / 2 ** 30).toFixed(2)} GiB`
  throw new ArenaError(
    `the step needs ${gib(bytes)} (${gib(slotBytes)} of it slots); one WebAssembly memory holds ${gib(MAX_ARENA_BYTES)}\nmake the batch or the model smaller, or leave a data set that is only gathered from on disk (sources)`,
  )
}

const peakOf = (placed: readonly { start: number; end: number; first: number; last: number }[], steps: number): number => {
  const change = new Array<number>(steps + 2).fill(0)
  for (const p of placed) {
    change[p.first] += p.end - p.start
    change[p.last + 1] -= p.end - p.start
  }
  let live = 0
  return change.reduce((peak, c) => Math.max(peak, (live += c)), 0)
}

/** A graph that does not fit into one memory. */
export class ArenaError extends Error {
  override name = 'engine.ArenaError'
}
