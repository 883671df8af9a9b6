// The WebAssembly backend: the same bits in Node and in a browser's worker, at 128-bit vector speed.
import {
  bytesOf,
  checkSlots,
  type Data,
  type Dtype,
  fromBytes,
  type Graph,
  type StepResult,
  sizeOf,
  toBytes,
  type Visit,
} from '@bitloom/graph'
import { type Backend, checkSlotBytes, foreignNaN, type Program, SlotError } from '../backend.ts'
import type { Kernel } from '../kernel.ts'
import { lower } from '../lower.ts'
import { planArena } from '../plan.ts'
import { schedule } from '../schedule.ts'
import { build } from './build.ts'
import type { Memory } from './platform.ts'

/** WebAssembly with SIMD128, one thread. */
export const wasm: Backend = {
  name: 'wasm',
  compile: (graph) => compile(graph),
  evaluate: (graph, slots, visit) => evaluate(graph, slots, visit),
}

const tensorBytes = (of: { readonly dtype: Dtype; readonly shape: readonly number[] }): number => bytesOf(of.dtype) * sizeOf(of.shape)
const slotBytes = (graph: Graph, slot: number): number => (graph.slots[slot] === undefined ? 0 : tensorBytes(graph.slots[slot]))

/** Copies a slot's bytes into memory, refusing what no tensor of ours can be. */
const writeSlot = (graph: Graph, slot: number, bytes: Uint8Array, memory: Memory, address: number): void => {
  checkSlotBytes(graph, slot, bytes, slotBytes(graph, slot))
  const to = new Uint8Array(memory.buffer, address, bytes.byteLength)
  to.set(bytes)
  if (graph.slots[slot].dtype !== 'f32') return
  const bad = foreignNaN(new Uint32Array(memory.buffer, address, bytes.byteLength / 4))
  if (bad < 0) return
  const bits = new Uint32Array(memory.buffer, address)[bad].toString(16)
  to.fill(0)
  throw new SlotError(`slot ${slot} "${graph.slots[slot].name}": element ${bad} is the NaN 0x${bits}; the one NaN is 0x7fc00000`)
}

const compile = (graph: Graph): Program => {
  const lowered = lower(graph, false)
  const { kernels, slotOf, copies } = schedule(lowered)
  const kept = new Set([...copies.map((c) => c.buffer), lowered.probe])
  const plan = planArena(lowered.buffers, { kernels, slotOf, kept })
  const { memory, run, bytes, text } = build(kernels, plan)
  const view = (buffer: number, bytes: number): Uint8Array => new Uint8Array(memory.buffer, plan.addresses[buffer], bytes)
  const moves = copies.map(({ slot, buffer }) => ({ to: view(slot, slotBytes(graph, slot)), from: view(buffer, slotBytes(graph, slot)) }))
  const probe = view(lowered.probe, tensorBytes(graph.exprs[graph.probe]))
  const finish = (): void => {
    for (const { to, from } of moves) to.set(from)
  }
  return {
    graph,
    peakBytes: bytes,
    kernels: kernels.length,
    write: (slot, data) => writeSlot(graph, slot, data, memory, plan.addresses[slot]),
    read: (slot) => {
      if (graph.slots[slot] === undefined) throw new SlotError(`no slot ${slot}: the graph has ${graph.slots.length}`)
      return view(slot, slotBytes(graph, slot))
    },
    step: () => {
      for (let i = 0; i < run.length; i++) run[i]()
      finish()
    },
    probe: () => probe.slice(),
    profile: () => {
      const times = run.map((kernel, i) => {
        const start = performance.now()
        kernel()
        return { name: kernels[i].name, ms: performance.now() - start }
      })
      finish()
      return times
    },
    text,
  }
}

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
  const { memory, run } = build(kernels, plan)
  const tracer = {
    memory,
    run,
    address: (at: number) => plan.addresses[bufferOf(at)],
    slotAddresses: plan.addresses.slice(0, graph.slots.length),
  }
  traced = { graph, tracer }
  return tracer
}

const evaluate = (graph: Graph, slots: readonly Data[], visit?: Visit): StepResult => {
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
