// Kernels with addresses become functions: one generated module a program, one shared module for matrix products, one memory.
import type { Dot, Kernel } from '../kernel.ts'
import { checkArena, type Plan } from '../plan.ts'
import { ModuleBuilder } from './assemble.ts'
import { emitNest } from './emit.ts'
import { type Gemm, gemmModule, gemmWorkBytes } from './gemm.ts'
import { type Code, compileModule, instantiate, type Memory, makeMemory } from './platform.ts'
import { emitGather, emitScatterAdd } from './rows.ts'

const NOTHING = { params: [], results: [] } as const

/** Kernels ready to be called, over a memory whose slots are still zero. */
export interface Built {
  readonly memory: Memory
  /** One a kernel, in the order given. */
  readonly run: readonly (() => void)[]
  /** Bytes used, from 0. */
  readonly bytes: number
  readonly text: () => string
}

let gemmCode: Code | undefined

/** Emits and instantiates `kernels`; constants and the matrix workspace lie behind the planned buffers. */
export const build = (kernels: readonly Kernel[], plan: Plan): Built => {
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
  let gemm: Gemm | undefined
  /** A kernel's pieces in order: names of generated functions, or dots. */
  const pieces: (string | Dot)[][] = kernels.map((kernel, at) =>
    kernel.work.map((work, part) => {
      if (work.kind === 'dot') return work
      const name = `k${at}_${part}`
      module.func(name, NOTHING, (f) => {
        if (work.kind === 'nest') emitNest(f, work, addresses)
        else if (work.kind === 'gather') emitGather(f, work, addresses.buffer)
        else emitScatterAdd(f, work, addresses.buffer)
      })
      return name
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
  const made = instantiate(compileModule(module.bytes()), memory) as Record<string, () => void>
  if (kernels.some((k) => k.work.some((w) => w.kind === 'dot'))) {
    gemmCode ??= compileModule(gemmModule().bytes())
    gemm = instantiate(gemmCode, memory).gemm as Gemm
  }
  const callDot = ({ batch, m, n, k, a, b, c }: Dot): (() => void) => {
    const to = plan.addresses[c.buffer]
    const [from, by] = [a, b].map((side) => plan.addresses[side.buffer] + 4 * side.offset)
    const one = (aAt: number, bAt: number, cAt: number): void =>
      gemm!(aAt, bAt, cAt, m, n, k, 4 * a.row, 4 * a.column, 4 * b.row, 4 * b.column, workspace)
    if (batch.length === 0) return () => one(from, by, to)
    /** Walks the batch axes from `axis` on; gives the address of the next C. */
    const walk = (axis: number, aAt: number, bAt: number, cAt: number): number => {
      if (axis === batch.length) {
        one(aAt, bAt, cAt)
        return cAt + 4 * m * n
      }
      for (let i = 0; i < batch[axis]; i++) cAt = walk(axis + 1, aAt + 4 * i * a.batch[axis], bAt + 4 * i * b.batch[axis], cAt)
      return cAt
    }
    return () => void walk(0, from, by, to)
  }
  const run = pieces.map((parts) => {
    const calls = parts.map((part) => (typeof part === 'string' ? made[part] : callDot(part)))
    return calls.length === 1
      ? calls[0]
      : () => {
          for (const call of calls) call()
        }
  })
  return { memory, run, bytes: end, text: () => module.text() }
}
