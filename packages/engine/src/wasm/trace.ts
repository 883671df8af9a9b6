// A step run expr by expr on the engine's kernels: what a recording shows and a dispute walks through, tensor by tensor.
import { checkSlots, type Data, fromBytes, type Graph, type StepResult, toBytes, type Visit } from '@bitloom/graph'
import type { Kernel } from '../kernel.ts'
import { lower } from '../lower.ts'
import { planArena } from '../plan.ts'
import { build } from './build.ts'
import type { Memory } from './platform.ts'
import { tensorBytes, writeSlot } from './slots.ts'

interface Tracer {
  readonly memory: Memory
  /** What to run for each expr, if anything. */
  readonly run: readonly (() => void)[]
  readonly address: (at: number) => number
  readonly slotAddresses: readonly number[]
}

/** The last graph traced: a dispute walks through one step of one graph again and again. */
let traced: { graph: Graph; tracer: Tracer } | undefined

const tracerOf = (graph: Graph): Tracer => {
  if (traced?.graph === graph) return traced.tracer
  const lowered = lower(graph, true)
  const byExpr = new Map(lowered.kernels.map((kernel) => [kernel.exprs[0], kernel]))
  const bufferOf = (at: number): number => lowered.bufferOf[at]!
  // One kernel an expr, in canonical order; a reshape computes nothing but still looks at its operand's memory.
  const kernels = graph.exprs.map(
    (_, at): Kernel => byExpr.get(at) ?? { name: `${at}`, work: [], reads: [bufferOf(at)], writes: [], exprs: [at] },
  )
  const kept = new Set([...lowered.next, lowered.probe])
  const plan = planArena(lowered.buffers, { kernels, slotOf: lowered.buffers.map((b) => b.slot), kept })
  const { memory, run } = build(kernels, plan, { buffers: lowered.buffers })
  const tracer = {
    memory,
    run,
    address: (at: number) => plan.addresses[bufferOf(at)],
    slotAddresses: plan.addresses.slice(0, graph.slots.length),
  }
  traced = { graph, tracer }
  return tracer
}

/** Runs one step and shows each tensor in canonical order; same contract as graph's `interpret`. */
export const evaluate = (graph: Graph, slots: readonly Data[], visit?: Visit): StepResult => {
  checkSlots(graph, slots)
  const tracer = tracerOf(graph)
  slots.forEach((data, slot) => {
    writeSlot(graph, slot, toBytes(data), tracer.memory, tracer.slotAddresses[slot])
  })
  const tensor = (at: number): Data => {
    const e = graph.exprs[at]
    return fromBytes(e.dtype, new Uint8Array(tracer.memory.buffer, tracer.address(at), tensorBytes(e)).slice())
  }
  graph.exprs.forEach((_, at) => {
    tracer.run[at]()
    visit?.(at, tensor(at))
  })
  return { next: graph.next.map(tensor), probe: tensor(graph.probe) }
}
