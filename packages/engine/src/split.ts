// How one kernel's work is cut for threads: over outputs only, so that each output's terms are added by one thread in ascending order and no bit can depend on how many there are.
import type { Dot, ScatterAdd, Work } from './kernel.ts'
import { type Loops, loopsOf } from './nest.ts'

/**
 * A work as `units` pieces that any thread may do at any time; piece u covers [u * unit, (u + 1) * unit) of the axis it is cut along, the last one maybe less.
 * Code for a work takes (from, to): the pieces to do, 0 <= from < to <= units.
 */
export interface Cut {
  readonly units: number
  /** `axis`: a nest's (position in its loops: outer axes, then the lanes). `rows`, `columns`: of the output; a dot counts them on through all its batches. `whole`: not cut. */
  readonly along: 'axis' | 'rows' | 'columns' | 'whole'
  readonly axis: number
  readonly unit: number
}

/** Four vectors of four: whatever is interleaved, a cut inside the lanes falls between blocks, and between cache lines of f32. */
const LANES_UNIT = 16
/** The register tile of products. */
const TILE_ROWS = 5
const TILE_COLUMNS = 8
/** An axis with this many pieces is cut evenly enough for any number of threads; the outermost such axis keeps each thread's memory together. */
const ENOUGH_UNITS = 32
/** As many panels share evenly enough between a few threads. */
const ENOUGH_PANELS = 16
/** Scalar operations (see `effortOf`) below which handing a part to another thread costs more than doing it: about two microseconds. */
const SMALL = 20_000

const WHOLE: Cut = { units: 1, along: 'whole', axis: -1, unit: 1 }

/** How a work is cut: the same for any number of threads. Works of less effort than `small` are not. */
export const cutOf = (work: Work, small = SMALL): Cut => {
  if (effortOf(work) < small) return WHOLE
  switch (work.kind) {
    case 'nest':
      return cutNest(loopsOf(work))
    case 'dot':
      return cutDot(work)
    case 'gather':
      return work.count > 1 && work.streamed !== true ? { units: work.count, along: 'rows', axis: 0, unit: 1 } : WHOLE
    case 'scatterAdd':
      return cutScatter(work)
  }
}

/** Scalar operations of a work, roughly in tenths of a nanosecond: what decides whether a cut is worth it, and how threads that cannot share one work share several. */
export const effortOf = (work: Work): number => {
  switch (work.kind) {
    case 'nest':
      return work.shape.reduce((n, size) => n * size, 1) * (work.nodes.length + work.stores.length) * (work.fold?.terms ?? 1)
    case 'dot':
      return (work.batch.reduce((n, size) => n * size, 1) * work.m * work.n * work.k) / 3
    case 'gather':
      return work.count * (10 + work.rowBytes)
    case 'scatterAdd':
      return work.count * (10 + 2 * work.row) + work.rows * work.row
  }
}

/** The pieces thread `thread` of `threads` does: [from, to), as even as whole pieces allow. */
export const shareOf = (units: number, thread: number, threads: number): readonly [from: number, to: number] => {
  const [each, rest] = [Math.floor(units / threads), units % threads]
  const start = (t: number): number => t * each + Math.min(t, rest)
  return [start(thread), start(thread + 1)]
}

const cutNest = ({ outer, lanes }: Loops): Cut => {
  let best = WHOLE
  const consider = (axis: number, size: number, unit: number): void => {
    const units = Math.ceil(size / unit)
    if (best.units < ENOUGH_UNITS && units > best.units) best = { units, along: 'axis', axis, unit }
  }
  outer.forEach((size, axis) => {
    consider(axis, size, 1)
  })
  consider(outer.length, lanes, LANES_UNIT)
  return best
}

/**
 * Panels of rows, or of columns. By rows, every thread packs all of B for itself; by columns only its own part of it, and reads A where it lies
 * unless A's terms are not adjacent: then every thread packs all of A. The lesser repetition wins where it leaves enough panels.
 */
const cutDot = ({ batch, m, n, a }: Dot): Cut => {
  const batches = batch.reduce((count, size) => count * size, 1)
  const [rows, columns] = [Math.ceil(m / TILE_ROWS), Math.ceil(n / TILE_COLUMNS)]
  const repeated = { rows: n, columns: a.column === 1 ? 0 : m }
  const best = repeated.columns <= repeated.rows ? 'columns' : 'rows'
  const enough = batches * (best === 'rows' ? rows : columns) >= ENOUGH_PANELS
  const along = enough ? best : rows >= columns ? 'rows' : 'columns'
  const units = batches * (along === 'rows' ? rows : columns)
  return units > 1 ? { units, along, axis: 0, unit: along === 'rows' ? TILE_ROWS : TILE_COLUMNS } : WHOLE
}

/** Columns where rows are wide: every thread reads the index once and adds its own columns. Else rows: each thread passes over indices outside its own. */
const cutScatter = ({ row, rows }: ScatterAdd): Cut => {
  const columns = Math.ceil(row / LANES_UNIT)
  if (columns >= 4) return { units: columns, along: 'columns', axis: 0, unit: LANES_UNIT }
  return rows > 1 ? { units: rows, along: 'rows', axis: 0, unit: 1 } : WHOLE
}
