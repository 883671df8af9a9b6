// Kernels with addresses become a table of calls into compiled C: one function a distinct nest, products and row gathers from the shared runtime, one arena.
import type { Dot, Kernel, Work } from '../kernel.ts'
import type { Plan } from '../plan.ts'
import { emitNest } from './emit.ts'
import type { Runtime } from './library.ts'

/** Kernels ready to run over memory whose slots are still zero. */
export interface Built {
  readonly memory: Uint8Array<ArrayBuffer>
  /** Runs kernels `from` to `to`. */
  readonly run: (from: number, to: number) => void
  readonly kernels: number
  readonly bytes: number
  readonly text: () => string
}

/** 64-bit words of a table entry: kind, function, arguments, units, chunks. */
const ENTRY = 5
const [WORK, DOT] = [0n, 1n]
/** 64-bit words of a dot's description, and its most batch axes. */
const DOT_WORDS = 11 + 3 * 6
/** Nanoseconds that a chunk should take at least, so that handing it over pays. */
const CHUNK = 3000

export interface Sharing {
  readonly threads: number
  /** Nanoseconds of work below which nothing is shared (tests set 0: everything is, and vectors run side by side in the smallest nest). */
  readonly small?: number | undefined
}

const ALIGN = 64

interface Entry {
  readonly kind: bigint
  /** The address of the code, or which generated function. */
  readonly code: bigint | number
  readonly args: readonly bigint[]
  readonly units: number
  readonly cost: number
}

/**
 * Emits, compiles and lays out `kernels` for `threads` threads.
 * @throws {CompilerError | LibraryError} the compiler refuses, or its code cannot be loaded
 */
export const build = (kernels: readonly Kernel[], plan: Plan, runtime: Runtime, { threads, small = CHUNK }: Sharing): Built => {
  const room = new Uint8Array(plan.end + ALIGN)
  const start = runtime.address(room)
  const skip = Number((BigInt(ALIGN) - (start % BigInt(ALIGN))) % BigInt(ALIGN))
  const memory = room.subarray(skip, skip + plan.end)
  const base = start + BigInt(skip)
  if (plan.end > 2 ** 22) runtime.largePages(base, plan.end)
  const address = (buffer: number, bytes = 0): bigint => base + BigInt(plan.addresses[buffer]) + BigInt(bytes)

  const functions = new Map<string, number>()
  const entryOf = (work: Work): Entry => {
    switch (work.kind) {
      case 'nest': {
        const { text, pointers, units, cost } = emitNest(work, runtime.compiler.width, small === 0 ? 0 : undefined)
        if (!functions.has(text)) functions.set(text, functions.size)
        const args = pointers.map(({ buffer, offset, bytes }) => address(buffer, offset * bytes))
        return { kind: WORK, code: functions.get(text)!, args, units, cost }
      }
      case 'dot':
        return { kind: DOT, code: 0n, args: dotWords(work, address), units: 0, cost: 0 }
      case 'gather': {
        const args = [address(work.x), address(work.index), address(work.out), BigInt(work.rows), BigInt(work.rowBytes)]
        return { kind: WORK, code: runtime.gather, args, units: work.count, cost: (work.count * work.rowBytes) / 10 }
      }
      case 'scatterAdd': {
        const args = [address(work.source), address(work.index), address(work.out), ...[work.rows, work.count, work.row].map(BigInt)]
        return {
          kind: WORK,
          code: runtime.scatterAdd,
          args,
          units: Math.ceil(work.row / 16),
          cost: ((work.count + work.rows) * work.row) / 10,
        }
      }
    }
  }
  const firsts: number[] = []
  const entries: Entry[] = []
  for (const kernel of kernels) {
    firsts.push(entries.length)
    for (const work of kernel.work) entries.push(entryOf(work))
  }
  firsts.push(entries.length)

  const texts = [...functions.keys()]
  const code = runtime.functions(texts)
  const table = new BigInt64Array(entries.length * ENTRY)
  const args = new BigInt64Array(entries.reduce((n, e) => n + e.args.length, 0) + 1)
  const argsAt = runtime.address(new Uint8Array(args.buffer))
  let at = 0
  entries.forEach((e, i) => {
    const chunks = threads === 1 ? 1 : Math.max(1, Math.min(e.units, 4 * threads, small === 0 ? e.units : Math.floor(e.cost / small)))
    const found = typeof e.code === 'number' ? code[e.code] : e.code
    table.set([e.kind, found, argsAt + BigInt(8 * at), BigInt(e.units), BigInt(chunks)], i * ENTRY)
    args.set(e.args, at)
    at += e.args.length
  })
  const tableAt = runtime.address(new Uint8Array(table.buffer))
  // The table points into both arrays: whoever can run it keeps them.
  const held = [room, table, args]
  return {
    memory,
    kernels: kernels.length,
    bytes: plan.end + runtime.workspaceBytes(threads),
    run: (from, to) => {
      if (held.length > 0 && runtime.run(tableAt, firsts[from], firsts[to], threads) === 0)
        throw new WorkspaceError('no memory is left for the workspaces of matrix products')
    },
    text: () => texts.map((text, i) => text.replace('@', `f${i}`)).join('\n\n'),
  }
}

/** The functions that `kernels` will want, so that those of many programs can be compiled together. */
export const functionsOf = (kernels: readonly Kernel[], width: number, small?: number): string[] =>
  kernels.flatMap((kernel) =>
    kernel.work.flatMap((work) => (work.kind === 'nest' ? [emitNest(work, width, small === 0 ? 0 : undefined).text] : [])),
  )

const dotWords = ({ batch, m, n, k, a, b, c }: Dot, address: (buffer: number, bytes?: number) => bigint): bigint[] => {
  const words = new Array<bigint>(DOT_WORDS).fill(0n)
  const set = (at: number, values: readonly (bigint | number)[]): void => {
    values.forEach((value, i) => {
      words[at + i] = BigInt(value)
    })
  }
  set(0, [address(a.buffer, 4 * a.offset), a.row, a.column, address(b.buffer, 4 * b.offset), b.row, b.column, address(c.buffer)])
  set(7, [m, n, k, batch.length])
  set(11, batch)
  set(17, a.batch)
  set(23, b.batch)
  return words
}

/** The machine is out of memory. */
export class WorkspaceError extends Error {
  override name = 'engine.WorkspaceError'
}
