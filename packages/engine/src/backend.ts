// What every backend promises: the bits of docs/numerics.md, a known peak of memory, state that stays where it is between steps.
import type { Data, Graph, StepResult, Visit } from '@bitloom/graph'
import type { Kernel } from './kernel.ts'

/** A graph made ready to run many times. The slots live inside it from step to step. */
export interface Program {
  readonly graph: Graph
  /** Bytes of memory it holds, all in: slots, temporaries, constants, workspace. */
  readonly peakBytes: number
  /** Kernels a step runs. */
  readonly kernels: number
  /** Threads a step runs on. */
  readonly threads: number
  /**
   * Where a streamed slot's rows come from, asked anew in every step (see `CompileOptions`). Absent where the backend holds every slot whole.
   * @throws {SlotError} the slot is not streamed
   */
  source?(slot: number, rows: RowReader): void
  /** Copies a slot's little-endian bytes in (a streamed one's into host memory). @throws {SlotError} wrong length, or a NaN other than 0x7fc00000 */
  write(slot: number, bytes: Uint8Array): void
  /** A slot's bytes as they are now: a view, overwritten by the next step. */
  read(slot: number): Uint8Array
  /** Runs one training step: every state slot becomes its next tensor. */
  step(): void
  /** The probe's bytes as of the last step, copied. */
  probe(): Uint8Array
  /** One more step, timed: milliseconds a kernel, in order. */
  profile(): { readonly name: string; readonly ms: number }[]
  /** The kernels in the order they run, where the backend keeps them: what `profileTable` and DEBUG explain. */
  readonly list?: readonly Kernel[]
  /** The generated code, for people. */
  text(): string
  /** Lets go of memory and threads; the program cannot run again. A program that nobody holds any more is closed by itself, some time. */
  close(): void
}

/** Fills `into` with these rows of a tensor, one behind the other; each index is within the tensor. */
export type RowReader = (rows: Int32Array, into: Uint8Array) => void

export interface CompileOptions {
  /** Data slots that only `gather` reads, whose rows stay outside the arena: `Program.source` says where. Backends without `source` hold them like any other. */
  readonly streamed?: readonly number[]
}

export interface Backend {
  readonly name: string
  /**
   * @throws {ArenaError} the graph needs more memory than the backend can address
   * @throws {SlotError} a slot that is to be streamed is read otherwise than by rows
   */
  compile(graph: Graph, options?: CompileOptions): Program
  /** Runs one step expr by expr and shows each tensor in canonical order (copies: the visitor may keep them); same contract as graph's `interpret`. */
  evaluate(graph: Graph, slots: readonly Data[], visit?: Visit): StepResult
}

/** Refuses bytes that cannot be the slot's tensor. */
export const checkSlotBytes = (graph: Graph, slot: number, bytes: Uint8Array, expected: number): void => {
  const named = graph.slots[slot]
  if (named === undefined) throw new SlotError(`no slot ${slot}: the graph has ${graph.slots.length}`)
  if (bytes.byteLength !== expected)
    throw new SlotError(`slot ${slot} "${named.name}" ${named.dtype}[${named.shape}] holds ${expected} bytes, not ${bytes.byteLength}`)
}

/** The first NaN of an f32 tensor that is not 0x7fc00000, or -1. */
export const foreignNaN = (words: Uint32Array): number => {
  for (let i = 0; i < words.length; i++) if ((words[i] & 0x7fffffff) > 0x7f800000 && words[i] !== 0x7fc00000) return i
  return -1
}

/** A program that was closed. */
export class ClosedError extends Error {
  override name = 'engine.ClosedError'
  override message = 'the program is closed\ncompile the graph again'
}

/** Bytes that are no tensor for a slot. */
export class SlotError extends Error {
  override name = 'engine.SlotError'
}
