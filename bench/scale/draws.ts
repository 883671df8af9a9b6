// Audit draws among ten thousand seats by the rule of Audit.sol, with the same hashes: who is drawn how often, and how many tries a draw takes.
// SIMULATED: the seeds are hashes of a counter instead of blocks'.

import { encodeAbiParameters, type Hex, keccak256 } from 'viem'
import { words } from '../economics/market.ts'

export type Draws = {
  readonly seats: number
  readonly claims: number
  /** Draws a place. */
  readonly triesMean: number
  readonly triesMost: number
  /** Chi-squared over the seats' owners by their seats, divided by its degrees of freedom: 1 where draws are fair. */
  readonly chiSquared: number
  /** An owner of one seat in a hundred: places it got, and places by its share. */
  readonly richGot: number
  readonly richShare: number
  /** Places left empty. */
  readonly missed: number
}

/** Audit.TRIES_PER_PLACE. */
const TRIES_PER_PLACE = 32

/** Randomness.below. */
const below = (seed: Hex, index: number, limit: number): number =>
  Number(BigInt(keccak256(encodeAbiParameters([{ type: 'bytes32' }, { type: 'uint256' }], [seed, BigInt(index)]))) % BigInt(limit))

/** @param inactive share of the seats that were left or jailed and are still in the list */
export function draws(seats: number, claims: number, places: number, inactive: number, seed: number): Draws {
  const random = words(seed)
  const rich = Math.floor(seats / 100)
  /** The first hundredth of the seats is one owner's; every other seat has its own. */
  const ownerOf = (seat: number): number => (seat < rich ? 0 : seat)
  const active = Uint8Array.from({ length: seats }, (_, seat) => (seat >= rich && random() < inactive ? 0 : 1))
  const got = new Map<number, number>()
  let [tries, most, missed, filled] = [0, 0, 0, 0]
  for (let claim = 0; claim < claims; claim++) {
    const anchor = keccak256(encodeAbiParameters([{ type: 'uint256' }, { type: 'uint256' }], [BigInt(seed), BigInt(claim)]))
    const drawn = new Set<number>()
    let i = 0
    for (; i < places * TRIES_PER_PLACE && drawn.size < places; i++) {
      const seat = below(anchor, i, seats)
      if (active[seat] && !drawn.has(ownerOf(seat))) drawn.add(ownerOf(seat))
    }
    tries += i
    most = Math.max(most, i)
    missed += places - drawn.size
    filled += drawn.size
    for (const owner of drawn) got.set(owner, (got.get(owner) ?? 0) + 1)
  }
  const weights = new Map<number, number>()
  for (let seat = 0; seat < seats; seat++) if (active[seat]) weights.set(ownerOf(seat), (weights.get(ownerOf(seat)) ?? 0) + 1)
  const total = [...weights.values()].reduce((a, b) => a + b, 0)
  const chi = [...weights].reduce((sum, [owner, weight]) => {
    const expected = (filled * weight) / total
    return sum + ((got.get(owner) ?? 0) - expected) ** 2 / expected
  }, 0)
  return {
    seats,
    claims,
    triesMean: tries / (claims * places),
    triesMost: most,
    chiSquared: chi / (weights.size - 1),
    richGot: (got.get(0) ?? 0) / filled,
    richShare: rich / total,
    missed,
  }
}
