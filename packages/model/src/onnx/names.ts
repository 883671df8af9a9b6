// Names of a file's tensors as names of slots: a slot's name is at most 64 visible characters, and training puts words of its own around a parameter's.

import { sha256, toHex } from '@bitloom/graph'

/** Longer than any that PyTorch users write by hand, and short enough for what optimizers put behind it. */
export const LONGEST_NAME = 54
const RESERVED = new Set(['seed', 'step', 'loss', 'order'])

/**
 * The slot name of a tensor: its own name where that can be one; else its end, which tells most, with 32 bits of a hash that keep different names apart.
 */
export function slotName(name: string): string {
  if (/^[\x21-\x7e]+$/.test(name) && name.length <= LONGEST_NAME && !RESERVED.has(name)) return name
  const hash = toHex(sha256(new TextEncoder().encode(name))).slice(2, 10)
  const end = [...name.slice(-(LONGEST_NAME - 10))].map((c) => (/[\x21-\x7e]/.test(c) ? c : '_')).join('')
  return `${end}~${hash}`
}
