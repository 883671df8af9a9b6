// Which claims are worth looking at unasked: what a look may bring, what it costs, and how many disputes a balance can carry. Pure.

import type { Hex } from 'viem'
import { unit } from './dice.ts'

/** A claim as a watcher weighs it. */
export type Prospect = {
  readonly claimId: bigint
  readonly segments: number
  /** Segments of it that its audit looks at. */
  readonly audited: number
  readonly slicePriceWei: bigint
  readonly bondWei: bigint
  /** One claim in so many is wrong on purpose, and pays whoever finds it; 0: none. */
  readonly decoyOneIn: number
  /** The solver's record. */
  readonly accepted: number
  readonly convictions: number
}

export type WatchPolicy = {
  /** Share of all claims that are looked at although nothing promises a gain. */
  readonly share: number
  /** What training costs this node, in parts of a slice's price. */
  readonly costShare: number
}

/** Of a solver that nobody knows; every conviction counts as one more, every accepted slice against it. */
export const LIES_ONE_IN = 64
/** A conviction's reward: half of the bond, and an eighth out of the pool. */
const REWARD_SHARE = 5 / 8
/** Whoever finds a decoy first is paid a hundredth of its price times `decoyOneIn`; another may be first. */
const DECOY_SHARE = 1 / 100
const FIRST = 1 / 2
/** Training costs a solver about four fifths of its price (docs/economics.md). */
export const COST_SHARE = 0.8

/** Wei that running one segment of a claim again may be expected to bring, its cost taken off. An estimate: for choosing, never for paying. */
export function expectedWei(p: Prospect, policy: Pick<WatchPolicy, 'costShare'>): number {
  const [price, bond] = [Number(p.slicePriceWei), Number(p.bondWei)]
  const lies = (1 + p.convictions) / (LIES_ONE_IN + p.convictions + p.accepted)
  // one segment of the slice is forged, and the audit does not look there
  const unseen = Math.max(0, 1 - p.audited / p.segments) / p.segments
  const decoy = p.decoyOneIn > 0 ? price * DECOY_SHARE * FIRST : 0
  return lies * unseen * bond * REWARD_SHARE + decoy - (price / p.segments) * policy.costShare
}

/** Claims to look at, best first: all that promise a gain, and of the others a share that nobody can foresee. */
export function chooseClaims(prospects: readonly Prospect[], policy: WatchPolicy, salt: Hex): Prospect[] {
  const valued = prospects.map((p) => ({ p, value: expectedWei(p, policy) }))
  return valued
    .filter(({ p, value }) => value > 0 || unit(salt, `claim ${p.claimId}`) < policy.share)
    .sort((a, b) => b.value - a.value)
    .map(({ p }) => p)
}

/** Of audited claims, the share of looks that wait for the draw and go where verifiers attest: only there an accomplice among them can be found. */
export const ATTESTED_SHARE = 1 / 4

/** Whether the look at a claim is for its attesters: nobody can foresee it. */
export const waitsForAttesters = (claimId: bigint, salt: Hex): boolean => unit(salt, `attested ${claimId}`) < ATTESTED_SHARE

/** The segment to look at, of all or of those that verifiers were drawn for; nobody can foresee it, and it stays the same after a restart. */
export function chooseSegment(claimId: bigint, segments: number, drawn: readonly number[], salt: Hex): number {
  const dice = unit(salt, `segment ${claimId}`)
  if (waitsForAttesters(claimId, salt) && drawn.length > 0) return drawn[Math.floor(dice * drawn.length)]!
  return Math.floor(dice * segments)
}

/**
 * Looks that may be begun: each may end in a dispute, and each dispute locks a bond. What cannot be challenged is not worth finding.
 * @param committed looks under way, and findings that have not been challenged yet
 */
export const looksLeft = (freeWei: bigint, bondWei: bigint, committed: number): number =>
  bondWei === 0n ? 0 : Math.max(0, Number(freeWei / bondWei) - committed)
