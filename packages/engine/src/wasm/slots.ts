// Bytes that come into the arena from outside: only what a tensor of ours can be.
import { bytesOf, type Dtype, type Graph, sizeOf } from '@bitloom/graph'
import { checkSlotBytes, foreignNaN, SlotError } from '../backend.ts'
import type { Memory } from './platform.ts'

export const tensorBytes = (of: { readonly dtype: Dtype; readonly shape: readonly number[] }): number =>
  bytesOf(of.dtype) * sizeOf(of.shape)
export const slotBytes = (graph: Graph, slot: number): number => (graph.slots[slot] === undefined ? 0 : tensorBytes(graph.slots[slot]))

/** Copies a slot's bytes into memory, refusing what no tensor of ours can be. */
export const writeSlot = (graph: Graph, slot: number, bytes: Uint8Array, memory: Memory, address: number): void => {
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
