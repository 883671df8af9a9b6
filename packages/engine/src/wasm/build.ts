// Kernels with addresses become functions: one generated module a program, one shared module for matrix products, one memory.
import type { Kernel } from '../kernel.ts'
import { checkArena, type Plan } from '../plan.ts'
import { cutOf } from '../split.ts'
import { ModuleBuilder } from './assemble.ts'
import { emitDot } from './dot.ts'
import { emitNest } from './emit.ts'
import { gemmModule, gemmWorkBytes } from './gemm.ts'
import { type Code, compileModule, instantiate, type Memory, makeMemory } from './platform.ts'
import { emitGather, emitScatterAdd } from './rows.ts'

/** Every generated function takes the pieces of its work's cut to do, [from, to). */
const PIECES = { params: ['i32', 'i32'], results: [] } as const
/** What `gemm` takes. */
const GEMM = { params: Array.from({ length: 12 }, () => 'i32' as const), results: [] }

/** Kernels ready to be called, over a memory whose slots are still zero. */
export interface Built {
  readonly memory: Memory
  /** For each kernel its works' functions, of pieces [from, to). */
  readonly pieces: readonly (readonly { readonly run: (from: number, to: number) => void; readonly units: number }[])[]
  /** One a kernel, in the order given. */
  readonly run: readonly (() => void)[]
  /** Bytes used, from 0. */
  readonly bytes: number
  readonly text: () => string
}

let gemmCode: Code | undefined

/** Emits and instantiates `kernels`; constants and the matrix workspace lie behind the planned buffers. */
export const build = (kernels: readonly Kernel[], plan: Plan, { small }: { readonly small?: number } = {}): Built => {
  const workspace = plan.end
  let end = workspace + Math.max(0, ...kernels.flatMap((k) => k.work.map((w) => (w.kind === 'dot' ? gemmWorkBytes(w.m, w.n, w.k) : 0))))
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
    buffer: (b: number): number => plan.addresses[b],
    constant: (bits: number): number => place([bits >>> 0]),
    ramp: (stride: number): number => place([0, stride, 2 * stride, 3 * stride]),
  }

  const module = new ModuleBuilder()
  const gemm = { gemm: module.import({ module: 'env', name: 'gemm', type: GEMM }), workspace: module.global('workspace') }
  const named = kernels.map((kernel, at) =>
    kernel.work.map((work, part) => {
      const name = `k${at}_${part}`
      const cut = cutOf(work, small)
      module.func(name, PIECES, (f) => {
        if (work.kind === 'nest') emitNest(f, work, cut, addresses)
        else if (work.kind === 'dot') emitDot(f, work, cut, addresses.buffer, gemm)
        else if (work.kind === 'gather') emitGather(f, work, cut, addresses.buffer)
        else emitScatterAdd(f, work, cut, addresses.buffer)
      })
      return { name, units: cut.units }
    }),
  )
  checkArena(end, plan.slotBytes)
  const memory = makeMemory(end)
  for (const { at, words } of pool) {
    const view = new DataView(memory.buffer, at)
    words.forEach((word, i) => {
      view.setUint32(4 * i, word >>> 0, true)
    })
  }
  gemmCode ??= compileModule(gemmModule().bytes())
  const made = instantiate(compileModule(module.bytes()), memory, { gemm: instantiate(gemmCode, memory).gemm, workspace }) as Record<
    string,
    (from: number, to: number) => void
  >
  const pieces = named.map((parts) => parts.map(({ name, units }) => ({ run: made[name], units })))
  const run = pieces.map((parts) => () => {
    for (const part of parts) part.run(0, part.units)
  })
  return { memory, pieces, run, bytes: end, text: () => module.text() }
}
