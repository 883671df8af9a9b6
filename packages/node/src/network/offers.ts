// Offers on the move: signed blobs that travel by gossip, kept in a bounded table until they expire, handed to late joiners on request.

import { createHash } from 'node:crypto'
import { encodeDocument } from '../document.ts'
import { parseMessage, type Verdict } from './frames.ts'
import { createLimiter } from './limiter.ts'
import type { Judgement, Peers } from './peers.ts'

export const OFFERS_TOPIC = 'bitloom/offers/1'
export const MAX_OFFER_BYTES = 8 * 1024
export const MAX_OFFERS = 4096
export const MAX_OFFERS_PER_SIGNER = 16
/** An offer that nobody repeated for this long is dropped although it is still valid: its node is gone. */
export const OFFER_SILENCE_MS = 30 * 60_000
/** Own offers are told again this often; above gossip's memory of two minutes, within which a repetition would be dropped. */
export const REPUBLISH_EVERY_MS = 5 * 60_000
const SWEEP_EVERY_MS = 10_000
/** A clock may be this far ahead of ours. */
const CLOCK_SKEW_MS = 60_000
/** Signatures checked a second for one peer that passes offers on (a check costs about a millisecond). */
const CHECKS_PER_SECOND = 20
const CHECK_BURST = 200
/** Offers in one answer to a late joiner, and answers it asks for at most. */
const PAGE = 64
const MAX_PAGES = MAX_OFFERS / PAGE
/** The same peer is asked for its table at most this often. */
const SYNC_EVERY_MS = 60_000
const MAX_SYNCED_PEERS = 1024

/** An offer as it travels; what is in `offer` is the business of whoever verifies it. */
export interface SignedOffer {
  readonly offer: unknown
  readonly signature: `0x${string}`
}

/** What the verifier found in an offer. */
export interface OfferTerms {
  /** Whoever signed, in one spelling (lower case). */
  readonly signer: string
  readonly validUntilMs: number
  /** What stands behind it, such as the stake: when the table is full, the least goes. Default 0. */
  readonly weight?: number
}

export interface HeldOffer extends SignedOffer, OfferTerms {
  /** SHA-256 of the offer as it travels, in hex. */
  readonly id: string
}

/** Checks the signature and the terms of a stranger's offer; false for one that is wrong, which counts against whoever passed it on. */
export type VerifyOffer = (signed: SignedOffer) => Verdict<OfferTerms> | Promise<Verdict<OfferTerms>>

export interface OffersOptions {
  readonly peers: Peers
  readonly verify: VerifyOffer
  /** Calls back for each offer that is new to the table, own ones excepted. */
  readonly onOffer?: (offer: HeldOffer) => void
  /** Milliseconds since 1970; for tests. */
  readonly now?: () => number
  readonly republishEveryMs?: number
  readonly maxOffers?: number
  readonly maxOffersPerSigner?: number
}

export interface Offers {
  /** Valid offers, the longest known first. */
  list(): HeldOffer[]
  /** Takes an own offer in, tells it, and repeats it until it expires or is withdrawn. A refusal says why. */
  publish(signed: SignedOffer): Promise<Verdict<HeldOffer>>
  /** Stops repeating an own offer. Others may hold it until it expires: what is signed is signed. */
  withdraw(id: string): void
  /** Asks a peer for its table; resolves to how many offers were new. Done by itself for new connections. */
  sync(peer: string): Promise<number>
  stop(): void
}

/** Starts to take, keep, pass on and hand out offers. */
export function startOffers(options: OffersOptions): Offers {
  const { peers, verify, onOffer, now = Date.now, maxOffers = MAX_OFFERS, maxOffersPerSigner = MAX_OFFERS_PER_SIGNER } = options
  const table = new Map<string, HeldOffer & { keepUntilMs: number }>()
  const own = new Map<string, Uint8Array>()
  const checks = createLimiter({ perSecond: CHECKS_PER_SECOND, burst: CHECK_BURST })
  const synced = new Map<string, number>()

  const keepUntil = (terms: OfferTerms): number => Math.min(terms.validUntilMs, now() + OFFER_SILENCE_MS)
  const sweep = (): void => {
    const time = now()
    for (const [id, held] of table) {
      if (own.has(id) && held.validUntilMs > time) continue
      if (held.keepUntilMs > time) continue
      table.delete(id)
      own.delete(id)
    }
  }
  /** Puts an offer in if the limits allow it; whichever offer must leave for it is the least worth keeping. */
  const insert = (held: HeldOffer): boolean => {
    const same = [...table.values()].filter((other) => other.signer === held.signer)
    if (same.length >= maxOffersPerSigner) {
      const soonest = same.reduce((a, b) => (b.validUntilMs < a.validUntilMs ? b : a))
      if (soonest.validUntilMs >= held.validUntilMs) return false
      table.delete(soonest.id)
    } else if (table.size >= maxOffers) {
      const lightest = [...table.values()].reduce((a, b) => ((b.weight ?? 0) < (a.weight ?? 0) ? b : a))
      if ((lightest.weight ?? 0) >= (held.weight ?? 0)) return false
      table.delete(lightest.id)
    }
    table.set(held.id, { ...held, keepUntilMs: keepUntil(held) })
    return true
  }
  /** Judges one offer from a stranger, cheapest questions first. */
  const take = async (from: string, data: Uint8Array): Promise<{ readonly judgement: Judgement; readonly fresh?: HeldOffer }> => {
    const signed = readOffer(data)
    if (!signed.ok) return { judgement: 'reject' }
    const id = idOf(data)
    const known = table.get(id)
    if (known !== undefined) {
      // Its node repeats it, so it is alive; passed on, or the repetition would end here.
      known.keepUntilMs = keepUntil(known)
      return { judgement: 'accept' }
    }
    if (!checks.take(from)) return { judgement: 'ignore' }
    const terms = await verify(signed.value)
    if (!terms.ok) return { judgement: 'reject' }
    if (!(terms.value.validUntilMs > now())) return { judgement: terms.value.validUntilMs > now() - CLOCK_SKEW_MS ? 'ignore' : 'reject' }
    const held = { ...signed.value, ...terms.value, id }
    if (table.has(id)) return { judgement: 'accept' } // came twice while it was verified
    if (!insert(held)) return { judgement: 'ignore' }
    onOffer?.(held)
    return { judgement: 'accept', fresh: held }
  }

  const leave = peers.join(OFFERS_TOPIC, async (from, data) => (await take(from, data)).judgement)
  peers.handle('offers', readPageRequest, (_, after) => {
    sweep()
    const ids = [...table.keys()].sort().filter((id) => id > after)
    const page = ids.slice(0, PAGE)
    return { offers: page.map((id) => encodeOffer(table.get(id) as HeldOffer)), next: ids.length > PAGE ? page[PAGE - 1] : null }
  })
  const sync = async (peer: string): Promise<number> => {
    let found = 0
    let after = ''
    for (let i = 0; i < MAX_PAGES; i++) {
      const reply = await peers.request(peer, 'offers', after, { validate: readPage })
      if (!reply.ok) return found
      for (const data of reply.value.offers) {
        const { judgement, fresh } = await take(peer, data)
        if (fresh !== undefined) found++
        // One bad offer in a table that its holder should have verified: the rest is not worth the work.
        if (judgement === 'reject') return found
      }
      // INVARIANT: `next` grows, so that a peer cannot keep us asking.
      if (reply.value.next === null || reply.value.next <= after) return found
      after = reply.value.next
    }
    return found
  }
  const stopListening = peers.onConnect((peer) => {
    const last = synced.get(peer)
    if (last !== undefined && now() - last < SYNC_EVERY_MS) return
    if (synced.size >= MAX_SYNCED_PEERS) synced.clear()
    synced.set(peer, now())
    void sync(peer)
  })
  for (const peer of peers.connected()) void sync(peer)
  const sweeping = setInterval(sweep, SWEEP_EVERY_MS).unref()
  const republishing = setInterval(() => {
    sweep()
    for (const data of own.values()) void peers.publish(OFFERS_TOPIC, data).catch(() => undefined) // no peers now; told again in the next round
  }, options.republishEveryMs ?? REPUBLISH_EVERY_MS).unref()

  return {
    list() {
      sweep()
      return [...table.values()].map(({ keepUntilMs: _, ...held }) => held)
    },
    async publish(signed) {
      const data = encodeOffer(signed)
      if (data.length > MAX_OFFER_BYTES) throw new RangeError(`publish: the offer has ${data.length} bytes; at most ${MAX_OFFER_BYTES}`)
      const terms = await verify(signed)
      if (!terms.ok) return terms
      if (!(terms.value.validUntilMs > now())) return { ok: false, reason: `it expired ${now() - terms.value.validUntilMs} ms ago` }
      const held = { offer: signed.offer, signature: signed.signature, ...terms.value, id: idOf(data) }
      if (!table.has(held.id) && !insert(held))
        return { ok: false, reason: `the signer has ${maxOffersPerSigner} offers that last longer, or the table is full` }
      own.set(held.id, data)
      await peers.publish(OFFERS_TOPIC, data)
      return { ok: true, value: held }
    },
    withdraw: (id) => void own.delete(id),
    sync,
    stop() {
      leave()
      stopListening()
      clearInterval(sweeping)
      clearInterval(republishing)
    },
  }
}

const idOf = (data: Uint8Array): string => createHash('sha256').update(data).digest('hex')

/** An offer as it travels: one spelling, so that the same offer has the same id everywhere. */
const encodeOffer = ({ offer, signature }: SignedOffer): Uint8Array => new Uint8Array(Buffer.from(encodeDocument({ offer, signature })))

function readOffer(data: Uint8Array): Verdict<SignedOffer> {
  if (data.length > MAX_OFFER_BYTES) return { ok: false, reason: `${data.length} bytes; at most ${MAX_OFFER_BYTES}` }
  const parsed = parseMessage(data)
  if (!parsed.ok) return parsed
  const { offer, signature, ...rest } = (parsed.value ?? {}) as { offer?: unknown; signature?: unknown }
  if (typeof offer !== 'object' || offer === null || typeof signature !== 'string' || !/^0x([0-9a-f]{2}){1,512}$/i.test(signature))
    return { ok: false, reason: 'not {offer, signature}' }
  const signed = { offer, signature: signature as `0x${string}` }
  // A second spelling of a known offer would be a second entry.
  if (Object.keys(rest).length > 0 || Buffer.compare(encodeOffer(signed), data) !== 0)
    return { ok: false, reason: 'not in the one spelling that offers have' }
  return { ok: true, value: signed }
}

const readPageRequest = (body: unknown): Verdict<string> =>
  typeof body === 'string' && /^([0-9a-f]{64})?$/.test(body) ? { ok: true, value: body } : { ok: false, reason: 'not an id' }

function readPage(value: unknown): Verdict<{ readonly offers: readonly Uint8Array[]; readonly next: string | null }> {
  const { offers, next } = (value ?? {}) as { offers?: unknown; next?: unknown }
  if (!Array.isArray(offers) || offers.length > PAGE || !offers.every((data) => data instanceof Uint8Array))
    return { ok: false, reason: `not a list of at most ${PAGE} offers` }
  if (next !== null && (typeof next !== 'string' || !/^[0-9a-f]{64}$/.test(next))) return { ok: false, reason: 'next is no id' }
  return { ok: true, value: { offers: offers as Uint8Array[], next } }
}
