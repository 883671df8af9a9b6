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
import { schedule, withCopies } from '../schedule.ts'
import { ORDER } from './barrier.ts'
import { assemble, build } from './build.ts'
import { type Memory, threadsMissing } from './platform.ts'
import { type Team, ThreadError } from './threads.ts'

export interface WasmOptions {
  /** How many threads a step runs on, this one among them: 1 to 64. */
  readonly threads: number
  /** Works of less effort are not cut between threads (tests set 0: everything is). */
  readonly small?: number
}

/**
 * WebAssembly with SIMD128 on several threads: the same bits as on one.
 * @throws {RangeError} threads is no whole number of 1 to 64
 * @throws {ThreadError} more than one, where memory cannot be shared
 */
export const wasmWith = (options: WasmOptions): Backend => {
  const { threads } = options
  if (!Number.isInteger(threads) || threads < 1 || threads > 64)
    throw new RangeError(`${threads} threads: choose a whole number from 1 to 64`)
  const missing = threads > 1 ? threadsMissing() : undefined
  if (missing !== undefined) throw new ThreadError(`${threads} threads need shared memory: ${missing}\nuse one thread`)
  return {
    name: threads === 1 ? 'wasm' : `wasm, ${threads} threads`,
    compile: (graph) => compile(graph, options),
    evaluate: (graph, slots, visit) => evaluate(graph, slots, visit),
  }
}

/** WebAssembly with SIMD128, one thread. */
export const wasm: Backend = wasmWith({ threads: 1 })

/** Lets go of the threads' hold on programs that nobody can reach. */
const unreachable = new FinalizationRegistry<Team>((team) => team.close())

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

/** A step's kernels and where everything lies. */
const arrange = (graph: Graph) => {
  const lowered = lower(graph, false)
  const scheduled = schedule(lowered)
  const kernels = withCopies(scheduled, graph.slots)
  const plan = planArena(lowered.buffers, { kernels, slotOf: scheduled.slotOf, kept: new Set([lowered.probe]) })
  return { lowered, kernels, plan }
}

/** What a program will hold, without making it. */
export interface StepPlan {
  /** `Program.peakBytes`, exactly. */
  readonly peakBytes: number
  /** Of it the slots; the most that temporaries need at once; and what threads, constants and gaps between temporaries add. */
  readonly slotBytes: number
  readonly liveBytes: number
  readonly otherBytes: number
  readonly kernels: number
}

/**
 * Plans a step as `wasmWith(options).compile(graph)` would, allocating nothing.
 * @throws {ArenaError} above 4 GB
 */
export const planOf = (graph: Graph, options: WasmOptions = { threads: 1 }): StepPlan => {
  const { lowered, kernels, plan } = arrange(graph)
  const peakBytes = assemble(kernels, plan, { ...options, buffers: lowered.buffers }).end
  const { slotBytes, liveBytes } = plan
  return { peakBytes, slotBytes, liveBytes, otherBytes: peakBytes - slotBytes - liveBytes, kernels: kernels.length }
}

const compile = (graph: Graph, options: WasmOptions): Program => {
  const { lowered, kernels, plan } = arrange(graph)
  /** Times at which kernels of a timed step were done. */
  let done: number[] = []
  const tick = (kernel: number): void => void (done[kernel] = performance.now())
  const { memory, run, bytes, text, team } = build(kernels, plan, { ...options, buffers: lowered.buffers, tick })
  const view = (buffer: number, bytes: number): Uint8Array => new Uint8Array(memory.buffer, plan.addresses[buffer], bytes)
  const probe = view(lowered.probe, tensorBytes(graph.exprs[graph.probe]))
  const alone = (): void => {
    for (let i = 0; i < run.length; i++) run[i]()
  }
  const program: Program = {
    graph,
    peakBytes: bytes,
    kernels: kernels.length,
    list: kernels,
    threads: options.threads,
    write: (slot, data) => writeSlot(graph, slot, data, memory, plan.addresses[slot]),
    read: (slot) => {
      if (graph.slots[slot] === undefined) throw new SlotError(`no slot ${slot}: the graph has ${graph.slots.length}`)
      return view(slot, slotBytes(graph, slot))
    },
    step: team === undefined ? alone : () => team.step(ORDER.step),
    probe: () => Uint8Array.from(probe),
    profile: () => {
      done = []
      let last = performance.now()
      if (team !== undefined) team.step(ORDER.timed)
      else
        run.forEach((kernel, i) => {
          kernel()
          tick(i)
        })
      return kernels.map(({ name }, i) => {
        const ms = (done[i] ?? last) - last
        last = done[i] ?? last
        return { name, ms }
      })
    },
    text,
    close: () => team?.team.close(),
  }
  if (team !== undefined) unreachable.register(program, team.team)
  return program
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
