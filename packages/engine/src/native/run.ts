// The native backend: the same kernels as C, compiled here by the machine's own compiler for its widest vectors, run by threads of its own. The same bits.
import type { Graph } from '@bitloom/graph'
import { type Backend, ClosedError, type Program, SlotError } from '../backend.ts'
import { lower } from '../lower.ts'
import { planArena } from '../plan.ts'
import { schedule, withCopies } from '../schedule.ts'
import { wasm } from '../wasm/run.ts'
import { slotBytes, tensorBytes, writeSlot } from '../wasm/slots.ts'
import { type Built, build, functionsOf, type Sharing } from './build.ts'
import { type Runtime, runtimeFor } from './library.ts'

export interface NativeOptions {
  /** How many threads a step runs on, the caller's among them: 1 to 64; 1 if not said. */
  readonly threads?: number
  /** Nanoseconds of work that is worth sharing (tests set 0: everything is, and interleaved). */
  readonly small?: number
  /** The compiled runtime; the machine's best if not said. */
  readonly runtime?: Runtime
}

/**
 * Compiled C for this machine. Traces come from WebAssembly: expr by expr there is little to gain, and the bits are the same.
 * @throws {RangeError} threads is no whole number of 1 to 64
 * @throws {CompilerError | LibraryError} there is no C compiler, or no koffi, that works here
 */
export const nativeWith = ({ threads = 1, small, runtime = runtimeFor() }: NativeOptions = {}): Backend => {
  if (!Number.isInteger(threads) || threads < 1 || threads > 64)
    throw new RangeError(`${threads} threads: choose a whole number from 1 to 64`)
  return {
    name: threads === 1 ? 'native' : `native, ${threads} threads`,
    compile: (graph) => compile(graph, runtime, { threads, small }),
    evaluate: wasm.evaluate,
  }
}

/** Compiles the code of many graphs together, several files at a time: their programs are then made at once. */
export const prepare = (graphs: Iterable<Graph>, { runtime = runtimeFor(), small }: NativeOptions = {}): void => {
  const wanted = new Set<string>()
  for (const graph of graphs) for (const text of functionsOf(arrange(graph).kernels, runtime.compiler.width, small)) wanted.add(text)
  runtime.functions([...wanted])
}

const arrange = (graph: Graph) => {
  const lowered = lower(graph, { trace: false, joinedFolds: true })
  const scheduled = schedule(lowered)
  return { lowered, slotOf: scheduled.slotOf, kernels: withCopies(scheduled, graph.slots) }
}

const compile = (graph: Graph, runtime: Runtime, sharing: Sharing): Program => {
  const { lowered, slotOf, kernels } = arrange(graph)
  const plan = planArena(lowered.buffers, { kernels, slotOf, kept: new Set([lowered.probe]) })
  let held: Built | undefined = build(kernels, plan, runtime, sharing)
  const { bytes, text } = held
  const open = (): Built => {
    if (held === undefined) throw new ClosedError()
    return held
  }
  const view = (buffer: number, bytes: number): Uint8Array<ArrayBuffer> =>
    open().memory.subarray(plan.addresses[buffer], plan.addresses[buffer] + bytes)
  return {
    graph,
    peakBytes: bytes,
    kernels: kernels.length,
    list: kernels,
    threads: sharing.threads,
    write: (slot, data) => {
      const { memory } = open()
      writeSlot(graph, slot, data, memory, memory.byteOffset + plan.addresses[slot])
    },
    read: (slot) => {
      if (graph.slots[slot] === undefined) throw new SlotError(`no slot ${slot}: the graph has ${graph.slots.length}`)
      return view(slot, slotBytes(graph, slot))
    },
    step: () => open().run(0, kernels.length),
    probe: () => view(lowered.probe, tensorBytes(graph.exprs[graph.probe])).slice(),
    profile: () =>
      kernels.map(({ name }, at) => {
        const start = performance.now()
        open().run(at, at + 1)
        return { name, ms: performance.now() - start }
      }),
    text,
    close: () => {
      held = undefined
    },
  }
}
