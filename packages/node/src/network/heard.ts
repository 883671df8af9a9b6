// Addresses of peers that were connected to this one: a uniform sample of all there ever were, for those who ask whom else there is.
// Telling the present ones only would string the network up in the order of arrival, a hundred hops from end to end (bench/scale); a sample makes it
// a random graph of five.

import { MAX_HEARD } from './limits.ts'

export interface Heard {
  /** A peer was here and said where it listens. */
  hear(peer: string, addresses: readonly string[]): void
  /** It did not answer there. */
  drop(address: string): void
  addresses(): string[]
}

/** Two addresses a peer: how it is reached over TCP and, perhaps, over WebSocket. */
const ADDRESSES_A_PEER = 2

/** @param random numbers from 0 to below 1 */
export function openHeard(most = MAX_HEARD, random: () => number = Math.random): Heard {
  const sample = new Map<string, readonly string[]>()
  let seen = 0
  return {
    hear(peer, addresses) {
      const told = addresses.slice(0, ADDRESSES_A_PEER)
      if (told.length === 0) return
      if (sample.has(peer)) {
        sample.set(peer, told)
        return
      }
      seen++
      if (sample.size >= most) {
        // the n-th replaces one of those kept with chance most / n: each that ever came is kept with the same chance (Vitter's algorithm R)
        const place = Math.floor(random() * seen)
        if (place >= most) return
        sample.delete([...sample.keys()][place] as string)
      }
      sample.set(peer, told)
    },
    drop(address) {
      for (const [peer, addresses] of sample) {
        if (!addresses.includes(address)) continue
        const left = addresses.filter((other) => other !== address)
        if (left.length === 0) sample.delete(peer)
        else sample.set(peer, left)
        return
      }
    },
    addresses: () => [...sample.values()].flat(),
  }
}
