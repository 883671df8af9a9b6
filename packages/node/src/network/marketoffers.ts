// The offers of one market: gossip's table with the market's own judgement of what is an offer, who may take one back, and what stands behind it.

import {
  type Bitloom,
  freeOf,
  lockedOf,
  type MarketId,
  type Offer,
  offerHash,
  offerToJson,
  revocationToJson,
  type SignedOffer,
  signOffer,
  signRevocation,
  verifyOffer,
  verifyRevocation,
} from '@bitloom/sdk'
import type { Verdict } from './frames.ts'
import { type Offers, startOffers } from './offers.ts'
import type { Peers } from './peers.ts'

/** Stakes remembered for a while, so that a flood of offers is no flood of calls to the chain. */
const MAX_WEIGHTS = 4096
const WEIGHT_LIFE_MS = 10 * 60_000
/** A chain that does not answer in time is no reason to keep gossip waiting: such an offer weighs nothing for now. */
const WEIGHT_TIMEOUT_MS = 2_000

export interface MarketOffers {
  readonly offers: Offers
  /** Offers that are valid now, verified. */
  readonly signedOffers: () => SignedOffer[]
  /** Where a solver says it answers, by its offer that lasts longest. */
  readonly contactOf: (solver: string) => string | undefined
  /** Signs and tells an own offer. */
  readonly publish: (offer: Offer) => Promise<Verdict<unknown>>
  /** Signs and tells that an own offer holds no longer. */
  readonly revoke: (offer: Offer) => Promise<Verdict<unknown>>
}

/** Starts to hear and tell offers of the market that `bitloom` talks to; `publish` and `revoke` need its account. */
export function startMarketOffers(bitloom: Bitloom, peers: Peers, now: () => number = Date.now): MarketOffers {
  const market: MarketId = { chainId: bitloom.network.chainId, market: bitloom.network.contracts.Market }
  const seconds = (): number => Math.floor(now() / 1000)
  const offers = startOffers({
    peers,
    now,
    async verify(message) {
      const verdict = await verifyOffer(message, market, seconds())
      if (!verdict.ok) return verdict
      const { offer } = verdict.signed
      const terms = { signer: offer.solver.toLowerCase(), validUntilMs: Number(offer.validUntil) * 1000 }
      return { ok: true, value: { ...terms, key: offerHash(market, offer), read: verdict.signed } }
    },
    async verifyRevocation(message) {
      const verdict = await verifyRevocation(message, market, seconds())
      if (!verdict.ok) return verdict
      const { solver, offer, validUntil } = verdict.signed.revocation
      return { ok: true, value: { signer: solver.toLowerCase(), key: offer.toLowerCase(), validUntilMs: Number(validUntil) * 1000 } }
    },
    weigh: openScales(bitloom),
  })
  const signedOffers = (): SignedOffer[] => offers.list().map(({ read }) => read as SignedOffer)
  return {
    offers,
    signedOffers,
    contactOf: (solver) =>
      signedOffers()
        .filter(({ offer }) => offer.solver.toLowerCase() === solver.toLowerCase())
        .reduce<Offer | undefined>((newest, { offer }) => (newest && newest.validUntil > offer.validUntil ? newest : offer), undefined)
        ?.contact,
    publish: async (offer) => offers.publish(offerToJson(await signOffer(bitloom.account!, market, offer))),
    revoke: async (offer) => offers.revoke(revocationToJson(await signRevocation(bitloom.account!, market, offer))),
  }
}

/** Weighs a signer by its stake in whole tokens. */
function openScales(bitloom: Bitloom): (signer: string) => Promise<number> {
  const weights = new Map<string, { readonly weight: number; readonly at: number }>()
  return async (signer) => {
    const known = weights.get(signer)
    if (known !== undefined && performance.now() - known.at < WEIGHT_LIFE_MS) return known.weight
    const who = signer as `0x${string}`
    const stake = Promise.all([freeOf(bitloom, who), lockedOf(bitloom, who)]).then(
      ([free, locked]) => Number((free + locked) / 10n ** 18n),
      () => undefined, // the chain is down: weighed again when the offer is told again
    )
    const late = new Promise<undefined>((resolve) => setTimeout(resolve, WEIGHT_TIMEOUT_MS, undefined).unref())
    const weight = await Promise.race([stake, late])
    if (weight === undefined) return 0
    weights.delete(signer)
    weights.set(signer, { weight, at: performance.now() })
    if (weights.size > MAX_WEIGHTS) weights.delete(weights.keys().next().value as string)
    return weight
  }
}
