// Kernels with addresses become functions: one generated module a program, one shared module for matrix products, one memory.
import type { Buffer, Gather, Kernel } from '../kernel.ts'
import { turnsOf } from '../phases.ts'
import { checkArena, type Plan } from '../plan.ts'
import { cutOf } from '../split.ts'
import { ModuleBuilder } from './assemble.ts'
import { CONTROL_BYTES, emitAlone, emitThreading, type StepExports } from './barrier.ts'
import { emitDot } from './dot.ts'
import { emitNest } from './emit.ts'
import { gemmModule, gemmWorkBytes } from './gemm.ts'
import { type Code, compileModule, instantiate, type Memory, makeMemory } from './platform.ts'
import { emitGather, emitScatterAdd } from './rows.ts'
import { patternOf } from './share.ts'
import { Team } from './threads.ts'

/** Every generated function takes the pieces of its work's cut to do, [from, to); those of nests also where their buffers lie. */
const PIECES = { params: ['i32', 'i32'], results: [] } as const
/** What `gemm` takes. */
const GEMM = { params: Array.from({ length: 12 }, () => 'i32' as const), results: [] }

/** Kernels ready to be called, over a memory whose slots are still zero. */
export interface Built {
  readonly memory: Memory
  /** For each kernel its works' functions, of pieces [from, to). */
  readonly pieces: readonly (readonly { readonly run: (from: number, to: number) => void; readonly units: number }[])[]
  /** Runs all kernels: in a program of one thread. */
  readonly alone: () => void
  /** One a kernel, in the order given: the whole of it, by the calling thread. */
  readonly run: readonly (() => void)[]
  /** Bytes used, from 0. */
  readonly bytes: number
  readonly text: () => string
  /** The threads, if there are several, and what they run. */
  readonly team?: { readonly step: (order: number) => void; readonly team: Team }
}

export interface BuildOptions {
  readonly buffers: readonly Buffer[]
  /** At least 1. */
  readonly threads?: number
  /** Works of less effort are not cut. */
  readonly small?: number
  /** Told each kernel's position when it is done, in a timed step of several threads. */
  readonly tick?: (kernel: number) => void
  /** Fetches the rows of a streamed gather. */
  readonly fetch?: (gather: Gather) => void
}

/** One work as a call of a function of the module, with (from, to, ...pointers). */
export interface Call {
  readonly index: number
  readonly name: string
  readonly units: number
  readonly pointers: readonly number[]
}

/** What lies where behind the planned buffers, and the code that knows it. */
export interface Assembled {
  readonly module: ModuleBuilder
  /** For each kernel its works. */
  readonly calls: readonly (readonly Call[])[]
  readonly pool: readonly { readonly at: number; readonly words: readonly number[] }[]
  /** Gathers that the host serves, as the imported `fetch` counts them. */
  readonly fetched: readonly Gather[]
  readonly control: number
  readonly workspace: (thread: number) => number
  /** First byte after everything. */
  readonly end: number
}

const aligned = (bytes: number): number => Math.ceil(bytes / 64) * 64

/**
 * Emits the code: constants, the control block and the workspaces of all threads lie behind the planned buffers.
 * @throws {ArenaError} above 4 GB
 */
export const assemble = (kernels: readonly Kernel[], plan: Plan, { buffers, threads = 1, small }: BuildOptions): Assembled => {
  const workspaceBytes = aligned(
    Math.max(0, ...kernels.flatMap((k) => k.work.map((w) => (w.kind === 'dot' ? gemmWorkBytes(w.m, w.n, w.k) : 0)))),
  )
  const workspace = (thread: number): number => plan.end + thread * workspaceBytes
  const control = workspace(threads)
  let end = control + (threads > 1 ? CONTROL_BYTES : 0)
  const pool: { at: number; words: readonly number[] }[] = []
  const pooled = new Map<string, number>()
  const place = (words: readonly number[]): number => {
    const key = words.join()
    let at = pooled.get(key)
    if (at === undefined) {
      at = end
      end += 4 * words.length
      pool.push({ at, words })
      pooled.set(key, at)
    }
    return at
  }
  const addresses = {
    pointer: (b: number): number => 2 + b,
    constant: (bits: number): number => place([bits >>> 0]),
    ramp: (stride: number): number => place([0, stride, 2 * stride, 3 * stride]),
  }

  const module = new ModuleBuilder()
  const gemm = { gemm: module.import({ module: 'env', name: 'gemm', type: GEMM }), workspace: module.global('workspace') }
  const fetched: Gather[] = []
  const streams = kernels.some((kernel) => kernel.work.some((w) => w.kind === 'gather' && w.streamed === true))
  const fetch = streams ? module.import({ module: 'env', name: 'fetch', type: { params: ['i32'], results: [] } }) : -1
  const waiting =
    threads > 1
      ? {
          control,
          late: module.import({ module: 'env', name: 'late', type: { params: [], results: [] } }),
          tick: module.import({ module: 'env', name: 'tick', type: { params: ['i32'], results: [] } }),
        }
      : undefined
  const address = (b: number): number => plan.addresses[b]
  const shared = new Map<string, number>()
  const calls: Call[][] = kernels.map((kernel, at) =>
    kernel.work.map((work, part): Call => {
      const name = `k${at}_${part}`
      const cut = cutOf(work, small)
      if (work.kind === 'nest') {
        const { nest, buffers, key } = patternOf(work, cut)
        let index = shared.get(key)
        if (index === undefined) {
          const type = { params: Array.from({ length: 2 + buffers.length }, () => 'i32' as const), results: [] }
          index = module.func(name, type, (f) => emitNest(f, nest, cut, addresses))
          shared.set(key, index)
        }
        return { index, name: module.nameOf(index), units: cut.units, pointers: buffers.map(address) }
      }
      const index = module.func(name, PIECES, (f) => {
        if (work.kind === 'dot') emitDot(f, work, cut, address, gemm)
        else if (work.kind === 'scatterAdd') emitScatterAdd(f, work, cut, address)
        else if (work.streamed === true) f.i32(fetched.push(work) - 1).call(fetch)
        else emitGather(f, work, cut, address)
      })
      return { index, name, units: cut.units, pointers: [] }
    }),
  )
  if (waiting === undefined) emitAlone(module, calls.flat())
  else emitThreading(module, turnsOf(kernels, plan, buffers, small), calls.flat(), waiting)
  checkArena(end, plan.slotBytes)
  return { module, calls, pool, fetched, control, workspace, end }
}

let gemmCode: Code | undefined
let sharedGemmCode: Code | undefined

/**
 * Emits, compiles and instantiates `kernels`.
 * @throws {ArenaError} above 4 GB
 */
export const build = (kernels: readonly Kernel[], plan: Plan, options: BuildOptions): Built => {
  const { threads = 1, tick = () => undefined, fetch = () => undefined } = options
  const { module, calls, pool, fetched, control, workspace, end } = assemble(kernels, plan, options)
  const shared = threads > 1
  const memory = makeMemory(end, shared)
  for (const { at, words } of pool) {
    const view = new DataView(memory.buffer, at)
    words.forEach((word, i) => {
      view.setUint32(4 * i, word >>> 0, true)
    })
  }
  const gemmOf = (): Code => compileModule(gemmModule().bytes(shared))
  const gemm = shared ? (sharedGemmCode ??= gemmOf()) : (gemmCode ??= gemmOf())
  const program = compileModule(module.bytes(shared))
  const team = shared ? new Team({ memory, gemm, program, threads, control, workspace }) : undefined
  const imports = {
    gemm: instantiate(gemm, memory).gemm,
    workspace: workspace(0),
    late: () => team?.late(),
    tick,
    fetch: (at: number) => fetch(fetched[at]),
  }
  const made = instantiate(program, memory, imports) as Record<string, (from: number, to: number, ...pointers: number[]) => void>
  const pieces = calls.map((parts) =>
    parts.map(({ name, units, pointers }) => ({ run: (from: number, to: number) => made[name](from, to, ...pointers), units })),
  )
  const run = pieces.map((parts) => () => {
    for (const part of parts) part.run(0, part.units)
  })
  const exports = made as unknown as StepExports
  return {
    memory,
    pieces,
    alone: made.alone as () => void,
    run,
    bytes: end,
    text: () => module.text(),
    ...(team === undefined ? {} : { team: { team, step: (order: number) => team.step(exports, order) } }),
  }
}
