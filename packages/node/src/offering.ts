// A solver's standing offer: published while its own rules allow a new task, renewed before it ends, taken back the moment they do not.

import { getRecord, type Offer } from '@bitloom/sdk'
import { type Machine, openMachine } from './machine.ts'
import type { MarketOffers } from './network/marketoffers.ts'
import { autoPrice, mayTake, type Policy, type Request, type Rules, type Verdict } from './policy.ts'
import { contactLine, type Services } from './services.ts'
import type { Pace } from './throughput.ts'

/** A price per hour of this machine instead of one per operation. */
export type HourlyPrice = { readonly costPerHourWei: bigint; readonly marginPercent: number }

/** What a solver asks for its work. */
export type Price = {
  /** Of 10^12 operations; or what an hour costs, and the rest follows from the measured pace. */
  readonly weiPerTeraop: bigint | HourlyPrice
  /** Tasks at a time. */
  readonly capacity: number
  readonly minAssurance: number
  readonly rules?: Rules
}

export type Offering = {
  /** Brings the offer in line with the rules: at every block. */
  readonly tick: (nowSeconds: number) => Promise<void>
  /** Whether a task that asks may be taken. */
  readonly judge: (request: Request) => Verdict
  /** Takes back what stands. */
  readonly stop: () => Promise<void>
  /** The offer that stands, and why none does. */
  readonly standing: () => { readonly offer?: Offer; readonly verdict: Verdict }
}

export const OFFER_LIFE_SECONDS = 3600
const RENEW_BEFORE_SECONDS = 600
/** A rule that says yes and no in turns must not make an offer of every change. */
const LEAST_PAUSE_SECONDS = 5

/** @param inHand tasks that were taken and are not over */
export function openOffering(
  services: Services,
  market: Pick<MarketOffers, 'publish' | 'revoke'>,
  price: Price,
  {
    memoryBytes,
    pace,
    inHand,
    machine = openMachine(),
  }: { memoryBytes: number; pace: Pace; inHand: () => number; machine?: Pick<Machine, 'situation'> },
): Offering {
  const { bitloom, me, log } = services
  const policy: Policy = { ...price.rules, capacity: price.capacity, minAssurance: price.minAssurance }
  let standing: Offer | undefined
  let verdict: Verdict = { ok: true }
  let changedAt = 0

  const weiPerTeraop = (): bigint => {
    const asked = price.weiPerTeraop
    return typeof asked === 'bigint' ? asked : autoPrice(asked.costPerHourWei, asked.marginPercent, pace.perSecond())
  }
  const takeBack = async (reason: string): Promise<void> => {
    if (!standing) return
    const offer = standing
    standing = undefined
    const told = await market.revoke(offer)
    log('offer-taken-back', { reason, ...(told.ok ? {} : { untold: told.reason }) })
  }
  const offerNow = async (nowSeconds: number): Promise<void> => {
    const offer: Offer = {
      solver: me,
      weiPerTeraop: weiPerTeraop(),
      memoryBytes: BigInt(memoryBytes),
      operationsPerSecond: pace.perSecond(),
      // the chain counts each offer's tasks by itself: what is in hand from earlier offers is taken off
      capacity: price.capacity - inHand(),
      validUntil: BigInt(nowSeconds + OFFER_LIFE_SECONDS),
      minAssurance: price.minAssurance,
      salt: `0x${Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString('hex')}`,
      contact: contactLine(services),
    }
    const published = await market.publish(offer)
    if (!published.ok) {
      log('offer-refused', { reason: published.reason })
      return
    }
    const before = standing
    standing = offer
    // one offer at a time, or each hour would add its capacity
    if (before) await market.revoke(before)
    const record = await getRecord(bitloom, me)
    log('offering', { weiPerTeraop: offer.weiPerTeraop, operationsPerSecond: offer.operationsPerSecond, acceptedSlices: record.accepted })
  }

  return {
    tick: async (nowSeconds) => {
      verdict = mayTake(policy, machine.situation(inHand()))
      if (nowSeconds < changedAt + LEAST_PAUSE_SECONDS) return
      const due = !standing || nowSeconds >= Number(standing.validUntil) - RENEW_BEFORE_SECONDS
      if (verdict.ok ? !due : !standing) return
      changedAt = nowSeconds
      if (verdict.ok) await offerNow(nowSeconds)
      else await takeBack(verdict.reason)
    },
    // the one that asks is in hand already, since it was offered to us
    judge: (request) => mayTake(policy, machine.situation(Math.max(0, inHand() - 1)), request),
    stop: () => takeBack('the node is being stopped'),
    standing: () => ({ ...(standing ? { offer: standing } : {}), verdict }),
  }
}
