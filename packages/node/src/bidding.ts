// Who gets a task next: the offers in their order, without those that are over, have failed at it, cost more than is left, or come too late.

import { escrowFor, type SignedOffer, type Spec, termsFor } from '@bitloom/sdk'
import type { Address } from 'viem'
import { expectedSeconds } from './estimate.ts'
import { reaches } from './spending.ts'

export type Terms = {
  readonly spec: Spec
  readonly limits: { readonly budgetWei?: bigint; readonly deadlineAt?: number }
  readonly blockSeconds: number
  /** Taken first, in this order, each once. */
  readonly offers: readonly SignedOffer[]
  /** Whether an offer was taken back since it was heard. */
  readonly isGone?: (offer: SignedOffer) => boolean
}

/** An offer that fits, and what it puts at stake; or why none of those that were looked at does. */
export type Bid = { readonly offer: SignedOffer; readonly escrowWei: bigint } | { readonly refusals: readonly string[] }

export type Bidding = {
  /**
   * The next offer that fits.
   * @param spentWei spent on the task before
   * @param nowSeconds the chain's time
   * @param more what the market offers now, best first: taken when the first ones are used up
   */
  readonly next: (slicesLeft: number, spentWei: bigint, nowSeconds: number, more?: readonly SignedOffer[]) => Bid
  /** Nothing came of it, and it was not the offer's fault. */
  readonly giveBack: (offer: SignedOffer) => void
  /** It could not be taken for another reason, which is told when nobody is left. */
  readonly turnDown: (offer: SignedOffer, reason: string) => void
  /** This solver had the task and lost it: it is not asked again, unless the caller's own list says so. */
  readonly fell: (solver: Address) => void
}

export function openBidding({ spec, limits, blockSeconds, offers, isGone = () => false }: Terms): Bidding {
  const queue = [...offers]
  const fallen = new Set<string>()
  /** Why offers that fitted in everything else were not taken, by their signatures. */
  const against = new Map<string, string>()
  const tried = new Set(offers.map(({ signature }) => signature))
  return {
    next: (slicesLeft, spentWei, nowSeconds, more = []) => {
      /** Its escrow where it fits; what speaks against it is noted. */
      const judge = (signed: SignedOffer): bigint | undefined => {
        const { offer, signature } = signed
        if (offer.validUntil <= BigInt(nowSeconds) || isGone(signed)) return undefined
        const escrowWei = escrowFor(spec, termsFor(spec, offer), slicesLeft)
        const needed = expectedSeconds(spec, offer.operationsPerSecond, { slices: slicesLeft, blockSeconds })
        const refusal = reaches(limits, spentWei, escrowWei, nowSeconds, needed)
        if (refusal === undefined) return escrowWei
        against.set(signature, `for ${offer.solver} ${refusal.reason}`)
        return undefined
      }
      for (let offer = queue.shift(); offer; offer = queue.shift()) {
        const escrowWei = judge(offer)
        if (escrowWei !== undefined) return { offer, escrowWei }
      }
      for (const offer of more) {
        if (tried.has(offer.signature) || fallen.has(offer.offer.solver.toLowerCase())) continue
        const escrowWei = judge(offer)
        if (escrowWei === undefined) continue
        tried.add(offer.signature)
        return { offer, escrowWei }
      }
      return { refusals: [...against.values()] }
    },
    turnDown: ({ offer, signature }, reason) => void against.set(signature, `for ${offer.solver} ${reason}`),
    giveBack: (offer) => void queue.unshift(offer),
    fell: (solver) => void fallen.add(solver.toLowerCase()),
  }
}
