// The two ceilings over every kernel on this very machine: how fast products go at best, and how fast memory is copied. Measured in a fraction of a second.
import { constI32, expr, input, makeGraph, toBytes } from '@bitloom/graph'
import type { Backend } from './backend.ts'
import { productGflops } from './conform.ts'
import { ModuleBuilder } from './wasm/assemble.ts'
import { compileModule, instantiate, makeMemory } from './wasm/platform.ts'

export interface Roofline {
  /** 10^9 operations a second of products of 128³ to 512³ at best, on all the backend's threads. */
  readonly gflops: number
  /** 10^9 bytes a second, read and written, of copies that stay in the second-level cache, and of ones that do not fit any. */
  readonly cacheGBs: number
  readonly memoryGBs: number
  /** Bytes up to which a kernel is held to the cache's rate. */
  readonly cacheBytes: number
}

/** All tensors of a kernel together, at most this: half of the smallest second-level cache that is common. */
const CACHE_BYTES = 2 ** 18
const MEMORY_BYTES = 2 ** 26

/** Milliseconds of one call, best of many within `forMs` and of five at least: contention only ever adds. */
const bestMs = (call: () => void, forMs: number): number => {
  let least = Number.POSITIVE_INFINITY
  const until = performance.now() + forMs
  for (let calls = 0; calls < 5 || performance.now() < until; calls++) {
    const start = performance.now()
    call()
    least = Math.min(least, performance.now() - start)
  }
  return least
}

/** copy(from, to, end): 64 bytes a turn by vector loads and stores. Engines' own copies have slow spots (measured: 6 GB/s instead of 90 at some alignments). */
const copyLoop = (bytes: number): (() => void) => {
  const module = new ModuleBuilder()
  module.func('copy', { params: ['i32', 'i32', 'i32'], results: [] }, (f) => {
    const [from, to, end] = [0, 1, 2]
    f.while(
      () => f.get(from).get(end).op('i32.ge_u'),
      () => {
        for (let at = 0; at < 64; at += 16) f.get(to).get(from).mem('v128.load', at).mem('v128.store', at)
        f.bump(from, 64).bump(to, 64)
      },
    )
  })
  const half = bytes / 2
  const { copy } = instantiate(compileModule(module.bytes()), makeMemory(bytes)) as {
    copy: (from: number, to: number, end: number) => void
  }
  return () => copy(0, half, half)
}

/** Negation of as many bytes by the backend itself, on its threads and at its vectors' width: what a copy would be there. */
const negation = (backend: Backend, bytes: number): { readonly run: () => void; readonly end: () => void } => {
  const shape = [bytes / 8]
  const slots = [
    { name: 'out', kind: 'state' as const, dtype: 'f32' as const, shape },
    { name: 'x', kind: 'data' as const, dtype: 'f32' as const, shape },
  ]
  const program = backend.compile(makeGraph(slots, [expr('neg', [input(1, 'f32', shape)])], constI32(0)))
  program.write(1, toBytes(new Float32Array(shape[0]).fill(1)))
  return { run: () => program.step(), end: () => program.close() }
}

/** 10^9 bytes a second, read and written, of the quickest copy of `bytes` in all. */
export const copyRate = (backend: Backend, bytes: number, forMs: number): number => {
  const turns = Math.max(1, Math.round(2 ** 22 / bytes))
  const often = (call: () => void) => () => {
    for (let i = 0; i < turns; i++) call()
  }
  const { run, end } = negation(backend, bytes)
  const ms = Math.min(bestMs(often(copyLoop(bytes)), forMs / 2), bestMs(often(run), forMs / 2))
  end()
  return (bytes * turns) / ms / 1e6
}

/** Measures both ceilings for a backend. */
export const measureRoofline = (backend: Backend, forMs = 120): Roofline => ({
  // small products too: on a busy machine they fit between two interruptions
  gflops: Math.max(...[512, 256, 128].map((n) => productGflops(backend, n))),
  cacheGBs: copyRate(backend, CACHE_BYTES, forMs),
  memoryGBs: copyRate(backend, MEMORY_BYTES, forMs),
  cacheBytes: CACHE_BYTES,
})
