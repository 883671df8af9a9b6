// What this node holds against whom: faults add up, time forgives, too many are a ban for a while. Bounded, so that making up names gains nothing.

import { BAN_AT, BAN_MS, FORGIVEN_PER_SECOND, MAX_STANDINGS } from './limits.ts'

/** What can be held against a peer, and how much each weighs. */
export const FAULTS = {
  /** An answer that did not come in time: mostly the line's fault. */
  slow: 2,
  /** More than the limits allow; it was told to wait before. */
  flood: 20,
  /** A message that no honest program sends. */
  malformed: 10,
  /** A signature or a root that does not fit. */
  forged: 25,
  /** Bytes that do not hash to what they were served as: proof of a lie. */
  lied: 50,
} as const
export type Fault = keyof typeof FAULTS

export interface Standings {
  /** Adds a fault; true when this is what gets `who` banned. `patience` multiplies how much it may do. */
  blame(who: string, fault: Fault, patience?: number): boolean
  isBanned(who: string): boolean
  /** Faults that are not forgiven yet: 0 is spotless. */
  faultsOf(who: string): number
  /** Who is banned now. */
  banned(): string[]
}

/** No faults yet. `now` is milliseconds of a clock that never goes back. */
export function openStandings(now: () => number = () => performance.now(), most: number = MAX_STANDINGS): Standings {
  const all = new Map<string, { faults: number; at: number; bannedUntil: number }>()
  const faultsNow = (entry: { readonly faults: number; readonly at: number }): number =>
    Math.max(0, entry.faults - ((now() - entry.at) / 1000) * FORGIVEN_PER_SECOND)
  /** Whoever has the least against it is forgotten, among those longest in the table; the banned last. */
  const makeRoom = (): void => {
    let least: string | undefined
    let looked = 0
    for (const [who, entry] of all) {
      if (looked++ === 64) break
      if (entry.bannedUntil > now()) continue
      if (least === undefined || faultsNow(entry) < faultsNow(all.get(least)!)) least = who
    }
    all.delete(least ?? (all.keys().next().value as string))
  }
  return {
    blame(who, fault, patience = 1) {
      const former = all.get(who)
      const entry = { faults: (former ? faultsNow(former) : 0) + FAULTS[fault], at: now(), bannedUntil: former?.bannedUntil ?? 0 }
      all.delete(who)
      if (all.size >= most) makeRoom()
      all.set(who, entry)
      if (entry.bannedUntil > now() || entry.faults < BAN_AT * patience) return false
      entry.bannedUntil = now() + BAN_MS
      entry.faults = (BAN_AT * patience) / 2 // on probation when it ends
      return true
    },
    isBanned: (who) => (all.get(who)?.bannedUntil ?? 0) > now(),
    faultsOf(who) {
      const entry = all.get(who)
      return entry === undefined ? 0 : faultsNow(entry)
    },
    banned: () => [...all].filter(([, { bannedUntil }]) => bannedUntil > now()).map(([who]) => who),
  }
}
