// Choices that nobody can foresee and that stay the same after a restart: a secret of this node's own, and what is chosen about.

import { sha256, toHex } from '@bitloom/graph'
import type { Hex } from 'viem'
import type { Store } from '../store.ts'

/** A secret of this node, made once; never logged. */
export function secretOf(store: Store, name: string): Hex {
  const kept = store.get<Hex>('node', name)
  if (kept) return kept
  const fresh = toHex(crypto.getRandomValues(new Uint8Array(32)))
  store.put('node', name, fresh)
  return fresh
}

/** A number from 0 up to, but not including, 1: evenly spread over what it is about. */
export function unit(salt: string, about: string): number {
  const bytes = sha256(new TextEncoder().encode(`${salt} ${about}`))
  return new DataView(bytes.buffer, bytes.byteOffset).getUint32(0) / 2 ** 32
}
