// A step as a list of works for several threads: who does which, and where everybody has to wait for everybody. As data, so that every backend waits at the same places.
import type { Buffer, Kernel } from './kernel.ts'
import type { Plan } from './plan.ts'
import { type Cut, cutOf } from './split.ts'

/** One work of one kernel, in the order of the step. */
export interface Turn {
  readonly kernel: number
  /** Which of the kernel's works. */
  readonly part: number
  readonly cut: Cut
  /** Everything before must be done by all threads before any thread begins this. */
  readonly wait: boolean
}

interface Touched {
  readonly reads: readonly Range[]
  readonly writes: readonly Range[]
}
/** Bytes of the arena, [start, end): buffers that do not live at the same time share them. */
type Range = readonly [start: number, end: number]

/**
 * The works of a step in order. A work that is cut is shared by all threads; one that is not is the first thread's.
 * A wait stands before a work that touches memory which another thread may still write, or writes memory which another may still touch.
 * Works of one kernel count as touching all that the kernel touches.
 */
export const turnsOf = (kernels: readonly Kernel[], plan: Plan, buffers: readonly Buffer[], small?: number): Turn[] => {
  const turns: Turn[] = []
  /** What has been touched since the last wait: by the first thread alone, and by all. */
  let alone: Touched[] = []
  let shared: Touched[] = []
  const range = (b: number): Range => [plan.addresses[b], plan.addresses[b] + buffers[b].bytes]
  kernels.forEach((kernel, at) => {
    const touched: Touched = { reads: kernel.reads.map(range), writes: kernel.writes.map(range) }
    kernel.work.forEach((work, part) => {
      const cut = cutOf(work, small)
      const isWhole = cut.along === 'whole'
      const wait = shared.some((t) => conflict(t, touched)) || (!isWhole && alone.some((t) => conflict(t, touched)))
      if (wait) {
        alone = []
        shared = []
      }
      if (isWhole) alone.push(touched)
      else shared.push(touched)
      turns.push({ kernel: at, part, cut, wait })
    })
  })
  return turns
}

const conflict = (a: Touched, b: Touched): boolean =>
  overlap(a.writes, b.reads) || overlap(a.writes, b.writes) || overlap(a.reads, b.writes)

const overlap = (a: readonly Range[], b: readonly Range[]): boolean =>
  a.some(([start, end]) => b.some(([otherStart, otherEnd]) => start < otherEnd && otherStart < end))
