// What a node remembers of offers and of those taken back: bounded whatever strangers sign, so that making up keys gains nothing.

import { createHash } from 'node:crypto'

export const MAX_OFFERS = 4096
export const MAX_OFFERS_PER_SIGNER = 16
export const MAX_REVOCATIONS = 4096
export const MAX_REVOCATIONS_PER_SIGNER = 32
/** An offer that nobody repeated for this long is dropped although it is still valid: its node is gone. */
export const OFFER_SILENCE_MS = 30 * 60_000

/** An offer as it travels; what is in `offer` is the business of whoever verifies it. */
export interface SignedOffer {
  readonly offer: unknown
  readonly signature: `0x${string}`
}

/** What takes an offer back, as it travels. */
export interface SignedRevocation {
  readonly revocation: unknown
  readonly signature: `0x${string}`
}

/** What the verifier found in an offer. */
export interface OfferTerms {
  /** Whoever signed, in one spelling (lower case). */
  readonly signer: string
  readonly validUntilMs: number
  /** What a revocation calls this offer, such as its EIP-712 digest; without one it cannot be taken back. */
  readonly key?: string
  /** What stands behind it, such as the stake: when the table is full, the least goes. Default 0. */
  readonly weight?: number
  /** The offer as its verifier read it, kept so that nobody need read it again. */
  readonly read?: unknown
}

/** What the verifier found in a revocation. */
export interface RevocationTerms {
  readonly signer: string
  readonly key: string
  /** The end of the offer, until when its revocation must be remembered. */
  readonly validUntilMs: number
}

export interface HeldOffer extends SignedOffer, OfferTerms {
  /** SHA-256 of the offer as it travels, in hex. */
  readonly id: string
}

export interface HeldRevocation extends RevocationTerms {
  readonly id: string
  /** As it travels. */
  readonly data: Uint8Array
}

export interface OfferTable {
  get(id: string): HeldOffer | undefined
  /** Offers, the longest known first. */
  list(): HeldOffer[]
  /** Takes an offer in if it was not taken back and the limits allow it; whichever offer must leave for it is the least worth keeping. */
  insert(held: HeldOffer): boolean
  /** Its node repeats it, so it is alive. */
  touch(id: string): void
  delete(id: string): void
  isRevoked(terms: OfferTerms): boolean
  /** Takes an offer back; whatever of it is here goes. False when this was known, or no room is left for it. */
  revoke(revocation: HeldRevocation): boolean
  revocation(id: string): HeldRevocation | undefined
  /** Ids of offers and revocations, sorted. */
  ids(): string[]
  /** Whether strangers' offers should be weighed before they are taken in. */
  crowded(): boolean
  /** Drops what is over; `isOwn` offers are kept until they expire, told or not. */
  sweep(isOwn: (id: string) => boolean): void
}

export interface OfferTableOptions {
  /** Milliseconds since 1970. */
  readonly now: () => number
  readonly maxOffers?: number
  readonly maxOffersPerSigner?: number
  readonly maxRevocations?: number
}

/** An empty table. */
export function openOfferTable({
  now,
  maxOffers = MAX_OFFERS,
  maxOffersPerSigner = MAX_OFFERS_PER_SIGNER,
  maxRevocations = MAX_REVOCATIONS,
}: OfferTableOptions): OfferTable {
  const offers = new Map<string, HeldOffer & { keepUntilMs: number }>()
  // By whom and what, so that one signed twice is one. `met`: the offer was here, so it is worth more than one of an offer that nobody may ever have made.
  const revocations = new Map<string, HeldRevocation & { readonly met: boolean }>()
  const names = new Map<string, string>() // of revocations, by id
  const keepUntil = (terms: OfferTerms): number => Math.min(terms.validUntilMs, now() + OFFER_SILENCE_MS)
  const soonest = <T extends { readonly validUntilMs: number }>(all: readonly T[]): T =>
    all.reduce((a, b) => (b.validUntilMs < a.validUntilMs ? b : a))
  const isRevoked = ({ signer, key }: OfferTerms): boolean => key !== undefined && revocations.has(nameOf(signer, key))
  const forget = ({ signer, key, id }: HeldRevocation): void => {
    revocations.delete(nameOf(signer, key))
    names.delete(id)
  }

  return {
    get: (id) => offers.get(id),
    list: () => [...offers.values()].map(({ keepUntilMs: _, ...held }) => held),
    insert(held) {
      if (isRevoked(held)) return false
      const same = [...offers.values()].filter((other) => other.signer === held.signer)
      if (same.length >= maxOffersPerSigner) {
        const leaving = soonest(same)
        if (leaving.validUntilMs >= held.validUntilMs) return false
        offers.delete(leaving.id)
      } else if (offers.size >= maxOffers) {
        const lightest = [...offers.values()].reduce((a, b) => ((b.weight ?? 0) < (a.weight ?? 0) ? b : a))
        if ((lightest.weight ?? 0) >= (held.weight ?? 0)) return false
        offers.delete(lightest.id)
      }
      offers.set(held.id, { ...held, keepUntilMs: keepUntil(held) })
      return true
    },
    touch(id) {
      const held = offers.get(id)
      if (held !== undefined) held.keepUntilMs = keepUntil(held)
    },
    delete: (id) => void offers.delete(id),
    isRevoked,
    revoke(revocation) {
      const name = nameOf(revocation.signer, revocation.key)
      if (revocations.has(name)) return false
      const taken = [...offers.values()].find((held) => held.key === revocation.key && held.signer === revocation.signer)
      if (taken !== undefined) offers.delete(taken.id)
      const met = taken !== undefined
      const all = [...revocations.values()]
      const same = all.filter((other) => other.signer === revocation.signer)
      const crowd = same.length >= MAX_REVOCATIONS_PER_SIGNER ? same : all.length >= maxRevocations ? all : undefined
      if (crowd !== undefined) {
        const unmet = crowd.filter((other) => !other.met)
        const leaving = unmet.length > 0 ? soonest(unmet) : met ? soonest(crowd) : undefined
        if (leaving === undefined || (!met && leaving.validUntilMs >= revocation.validUntilMs)) return false
        forget(leaving)
      }
      revocations.set(name, { ...revocation, met })
      names.set(revocation.id, name)
      return true
    },
    revocation: (id) => revocations.get(names.get(id) ?? ''),
    ids: () => [...offers.keys(), ...names.keys()].sort(),
    crowded: () => offers.size >= maxOffers / 2,
    sweep(isOwn) {
      const time = now()
      for (const [id, held] of offers) if ((isOwn(id) ? held.validUntilMs : held.keepUntilMs) <= time) offers.delete(id)
      for (const held of revocations.values()) if (held.validUntilMs <= time) forget(held)
    },
  }
}

const nameOf = (signer: string, key: string): string => `${signer} ${key}`

/** The name of something as it travels: SHA-256 of its bytes, in hex. */
export const idOf = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')
