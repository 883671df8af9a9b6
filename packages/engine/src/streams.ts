// Data sets that stay outside the arena: a slot that only gathers read needs no memory, the host fetches the rows of each step.
import type { Graph } from '@bitloom/graph'
import { SlotError } from './backend.ts'
import type { Buffer, Gather, Kernel, Work } from './kernel.ts'

export interface Streamed {
  readonly kernels: readonly Kernel[]
  /** With no bytes for streamed slots. */
  readonly buffers: readonly Buffer[]
}

/** The data slots that a graph reads by gathered rows and not otherwise: those that can be streamed. */
export const streamableSlots = (graph: Graph): number[] => {
  const rows = new Set<number>()
  const otherwise = new Set<number>()
  const slotOf = (at: number): number | undefined => (graph.exprs[at].op === 'input' ? graph.exprs[at].attrs[0] : undefined)
  for (const e of graph.exprs)
    e.inputs.forEach((input, i) => {
      const slot = slotOf(input)
      if (slot !== undefined) (e.op === 'gather' && i === 0 ? rows : otherwise).add(slot)
    })
  for (const at of [...graph.next, graph.probe]) otherwise.add(slotOf(at) ?? -1)
  return [...rows].filter((slot) => graph.slots[slot].kind === 'data' && !otherwise.has(slot)).sort((a, b) => a - b)
}

/**
 * Turns gathers from `slots` into ones that the host serves.
 * @throws {SlotError} no such data slot, or something else reads it
 */
export const withStreams = (graph: Graph, kernels: readonly Kernel[], buffers: readonly Buffer[], slots: readonly number[]): Streamed => {
  if (slots.length === 0) return { kernels, buffers }
  for (const slot of slots) {
    if (graph.slots[slot]?.kind !== 'data') throw new SlotError(`slot ${slot} cannot be streamed: the graph has no such data slot`)
    const other = kernels.find((kernel) => kernel.reads.includes(slot) && !kernel.work.every((work) => isRows(work, slot)))
    if (other !== undefined)
      throw new SlotError(
        `slot ${slot} "${graph.slots[slot].name}" cannot be streamed: ${other.name} reads it otherwise than by gathered rows\nwrite it whole`,
      )
  }
  const isStreamed = (b: number): boolean => slots.includes(b)
  return {
    kernels: kernels.map((kernel) => {
      if (!kernel.reads.some(isStreamed)) return kernel
      const work = kernel.work.map((w): Work => (w.kind === 'gather' ? { ...w, streamed: true } : w))
      return { ...kernel, work, reads: kernel.reads.filter((b) => !isStreamed(b)) }
    }),
    buffers: buffers.map((buffer) => (buffer.slot !== undefined && isStreamed(buffer.slot) ? { ...buffer, bytes: 0 } : buffer)),
  }
}

const isRows = (work: Work, slot: number): work is Gather => work.kind === 'gather' && work.x === slot && work.index !== slot
