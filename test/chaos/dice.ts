// Chance that a seed determines: the plan of a chaos run, and what its wire loses, are functions of it.

import { createHash } from 'node:crypto'

export type Dice = {
  /** In [0, 1). */
  readonly unit: () => number
  /** A whole number from `low` to `high`, both included. */
  readonly whole: (low: number, high: number) => number
  readonly pick: <T>(list: readonly T[]) => T
  readonly shuffled: <T>(list: readonly T[]) => T[]
  /** Dice of their own for something that has a name: what is drawn for it does not depend on what was drawn before. */
  readonly named: (name: string) => Dice
}

/** Dice from a seed (splitmix32 behind a hash of the seed's text). */
export function openDice(seed: string): Dice {
  let state = createHash('sha256').update(seed).digest().readUInt32LE()
  const unit = (): number => {
    state = (state + 0x9e3779b9) >>> 0
    let word = state
    word = Math.imul(word ^ (word >>> 16), 0x21f0aaad)
    word = Math.imul(word ^ (word >>> 15), 0x735a2d97)
    return ((word ^ (word >>> 15)) >>> 0) / 2 ** 32
  }
  const whole = (low: number, high: number): number => low + Math.floor(unit() * (high - low + 1))
  return {
    unit,
    whole,
    pick: (list) => list[whole(0, list.length - 1)]!,
    shuffled: (list) => {
      const cards = [...list]
      for (let i = cards.length - 1; i > 0; i--) {
        const j = whole(0, i)
        ;[cards[i], cards[j]] = [cards[j]!, cards[i]!]
      }
      return cards
    },
    named: (name) => openDice(`${seed}/${name}`),
  }
}
