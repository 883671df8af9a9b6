// The WebAssembly backend: the same bits in Node and in a browser's worker, at 128-bit vector speed.
import type { Graph } from '@bitloom/graph'
import {
  type Backend,
  ClosedError,
  type CompileOptions,
  checkSlotBytes,
  foreignNaN,
  type Program,
  type RowReader,
  SlotError,
} from '../backend.ts'
import type { Gather } from '../kernel.ts'
import { lower } from '../lower.ts'
import { planArena } from '../plan.ts'
import { schedule, withCopies } from '../schedule.ts'
import { withStreams } from '../streams.ts'
import { ORDER } from './barrier.ts'
import { assemble, build } from './build.ts'
import { threadsMissing } from './platform.ts'
import { slotBytes, tensorBytes, writeSlot } from './slots.ts'
import { type Team, ThreadError } from './threads.ts'
import { evaluate } from './trace.ts'

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
    compile: (graph, how) => compile(graph, { ...options, ...how }),
    evaluate,
  }
}

/** WebAssembly with SIMD128, one thread. */
export const wasm: Backend = wasmWith({ threads: 1 })

/** Lets go of the threads' hold on programs that nobody can reach. */
const unreachable = new FinalizationRegistry<Team>((team) => team.close())

/** A step's kernels and where everything lies. */
const arrange = (graph: Graph, streamed: readonly number[] = []) => {
  const lowered = lower(graph, { trace: false, joinedFolds: true })
  const scheduled = schedule(lowered)
  const { kernels, buffers } = withStreams(graph, withCopies(scheduled, graph.slots), lowered.buffers, streamed)
  const plan = planArena(buffers, { kernels, slotOf: scheduled.slotOf, kept: new Set([lowered.probe]) })
  return { kernels, buffers, plan, probe: lowered.probe }
}

/** What a program will hold, without making it. */
export interface StepPlan {
  /** `Program.peakBytes`, exactly; the memory itself is whole pages of 64 KiB. */
  readonly peakBytes: number
  /** Of it the slots; the most that temporaries need at once; and what threads, constants and gaps between temporaries add. */
  readonly slotBytes: number
  readonly liveBytes: number
  readonly otherBytes: number
  readonly kernels: number
}

/**
 * Plans a step as `wasmWith(options).compile(graph, options)` would, allocating nothing.
 * `costOf(graph).peakBytes` promises, for any backend, what unfused exprs would hold; fusion stays below it, but each buffer begins a cache line,
 * each thread has a workspace of at most 1.3 MB where there are products, and constants need some bytes.
 * @throws {ArenaError} above 4 GB
 * @throws {SlotError} a slot that cannot be streamed
 */
export const planOf = (graph: Graph, options: WasmOptions & CompileOptions = { threads: 1 }): StepPlan => {
  const { kernels, buffers, plan } = arrange(graph, options.streamed)
  const peakBytes = assemble(kernels, plan, { ...options, buffers }).end
  const { slotBytes, liveBytes } = plan
  return { peakBytes, slotBytes, liveBytes, otherBytes: peakBytes - slotBytes - liveBytes, kernels: kernels.length }
}

const compile = (graph: Graph, options: WasmOptions & CompileOptions): Program => {
  const { streamed = [] } = options
  const { kernels, buffers, plan, probe } = arrange(graph, streamed)
  /** Times at which kernels of a timed step were done. */
  let done: number[] = []
  const tick = (kernel: number): void => void (done[kernel] = performance.now())
  const readers = new Map<number, RowReader>()
  const fetch = (gather: Gather): void => fetchRows(graph, gather, readers.get(gather.x), view)
  const { memory, alone, run, bytes, text, team } = build(kernels, plan, { ...options, buffers, tick, fetch })
  const view = (buffer: number, length: number): Uint8Array => new Uint8Array(memory.buffer, plan.addresses[buffer], length)
  let closed = false
  const step = (order: number): void => {
    if (closed) throw new ClosedError()
    if (team !== undefined) team.step(order)
    else if (order === ORDER.step) alone()
    else
      run.forEach((kernel, i) => {
        kernel()
        tick(i)
      })
  }
  const program: Program = {
    graph,
    peakBytes: bytes,
    kernels: kernels.length,
    list: kernels,
    threads: options.threads,
    source: (slot, rows) => {
      if (!streamed.includes(slot))
        throw new SlotError(`slot ${slot} is not streamed\nname it in compile's \`streamed\`, or write it whole`)
      readers.set(slot, rows)
    },
    write: (slot, data) => {
      if (streamed.includes(slot)) readers.set(slot, rowsOf(graph, slot, data))
      else writeSlot(graph, slot, data, memory, plan.addresses[slot])
    },
    read: (slot) => {
      if (graph.slots[slot] === undefined) throw new SlotError(`no slot ${slot}: the graph has ${graph.slots.length}`)
      if (streamed.includes(slot)) throw new SlotError(`slot ${slot} is streamed: its bytes are where its source is`)
      return view(slot, slotBytes(graph, slot))
    },
    step: () => step(ORDER.step),
    probe: () => Uint8Array.from(view(probe, tensorBytes(graph.exprs[graph.probe]))),
    profile: () => {
      done = []
      let last = performance.now()
      step(ORDER.timed)
      return kernels.map(({ name }, i) => {
        const ms = (done[i] ?? last) - last
        last = done[i] ?? last
        return { name, ms }
      })
    },
    text,
    close: () => {
      closed = true
      if (team === undefined) return
      unreachable.unregister(team.team)
      team.team.close()
    },
  }
  if (team !== undefined) unreachable.register(program, team.team, team.team)
  return program
}

/** Serves one gather of a streamed slot. An error leaves the step half done: the state has to be written again. */
const fetchRows = (
  graph: Graph,
  { x, index, out, rows, count, rowBytes }: Gather,
  reader: RowReader | undefined,
  view: (buffer: number, bytes: number) => Uint8Array,
): void => {
  const slot = graph.slots[x]
  if (reader === undefined)
    throw new SlotError(`slot ${x} "${slot.name}" is streamed and has no source\ncall source(${x}, ...) before a step`)
  const asked = view(index, 4 * count)
  const wanted = new Int32Array(asked.buffer, asked.byteOffset, count).map((row) => Math.min(Math.max(row, 0), rows - 1))
  const into = view(out, count * rowBytes)
  reader(wanted, into)
  if (slot.dtype !== 'f32') return
  const bad = foreignNaN(new Uint32Array(into.buffer, into.byteOffset, into.byteLength / 4))
  if (bad >= 0)
    throw new SlotError(
      `slot ${x} "${slot.name}": row ${wanted[Math.floor((4 * bad) / rowBytes)]} holds a NaN other than the one NaN, 0x7fc00000`,
    )
}

/** Rows of a tensor in host memory. */
const rowsOf = (graph: Graph, slot: number, bytes: Uint8Array): RowReader => {
  checkSlotBytes(graph, slot, bytes, slotBytes(graph, slot))
  const rowBytes = bytes.byteLength / graph.slots[slot].shape[0]
  const own = bytes.slice()
  return (rows, into) => {
    rows.forEach((row, i) => {
      into.set(own.subarray(row * rowBytes, (row + 1) * rowBytes), i * rowBytes)
    })
  }
}
