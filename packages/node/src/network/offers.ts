// Offers on the move: what is signed travels by gossip, is kept in a bounded table (offertable.ts) until it expires or is taken back, and is handed to
// late joiners on request.

import { encodeDocument } from '../document.ts'
import { parseMessage, type Verdict } from './frames.ts'
import { createLimiter } from './limiter.ts'
import {
  type HeldOffer,
  type HeldRevocation,
  idOf,
  MAX_OFFERS,
  MAX_OFFERS_PER_SIGNER,
  MAX_REVOCATIONS,
  type OfferTerms,
  openOfferTable,
  type RevocationTerms,
  type SignedOffer,
  type SignedRevocation,
} from './offertable.ts'
import type { Judgement, Peers } from './peers.ts'

export {
  type HeldOffer,
  MAX_OFFERS,
  MAX_OFFERS_PER_SIGNER,
  type OfferTerms,
  type SignedOffer,
  type SignedRevocation,
} from './offertable.ts'

export const OFFERS_TOPIC = 'bitloom/offers/1'
export const MAX_OFFER_BYTES = 8 * 1024
/**
 * Own offers are told again this often: above gossip's memory of two minutes, within which a repetition would be dropped, and seldom enough that ten
 * thousand offers cost a node 42 kB a second (bench/scale). Whoever comes later asks for them.
 */
export const REPUBLISH_EVERY_MS = 15 * 60_000
const SWEEP_EVERY_MS = 10_000
/** A clock may be this far ahead of ours. */
const CLOCK_SKEW_MS = 60_000
/** Signatures checked a second for one peer that passes offers on (a check costs about a millisecond). */
const CHECKS_PER_SECOND = 20
const CHECK_BURST = 200
/** Offers and revocations in one answer to a late joiner, and answers it asks for at most. */
const PAGE = 64
const MAX_PAGES = (MAX_OFFERS + MAX_REVOCATIONS) / PAGE
/** The same peer is asked for its table at most this often. */
const SYNC_EVERY_MS = 60_000
const MAX_SYNCED_PEERS = 1024

/** Checks the signature and the terms of a stranger's offer; false for one that is wrong, which counts against whoever passed it on. */
export type VerifyOffer = (signed: SignedOffer) => Verdict<OfferTerms> | Promise<Verdict<OfferTerms>>
export type VerifyRevocation = (signed: SignedRevocation) => Verdict<RevocationTerms> | Promise<Verdict<RevocationTerms>>

export interface OffersOptions {
  readonly peers: Peers
  readonly verify: VerifyOffer
  /** Without it no offer can be taken back here. */
  readonly verifyRevocation?: VerifyRevocation
  /** What stands behind a signer, such as its stake; asked only of strangers, and only when the table is half full: room goes to the heaviest. */
  readonly weigh?: (signer: string) => Promise<number>
  /** Calls back for each offer that is new to the table, own ones excepted. */
  readonly onOffer?: (offer: HeldOffer) => void
  /** Calls back when a stranger's offer, held here or not, was taken back by its signer. */
  readonly onRevoked?: (terms: RevocationTerms) => void
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
  /** Takes an own offer back: it leaves the table here and wherever this is heard, and is told until the offer would have ended anyway. */
  revoke(signed: SignedRevocation): Promise<Verdict<RevocationTerms>>
  /** Stops repeating an own offer. Others may hold it until it expires, unless it is revoked. */
  withdraw(id: string): void
  /** Asks a peer for its table; resolves to how many offers were new. Done by itself for new connections. */
  sync(peer: string): Promise<number>
  stop(): void
}

/** Starts to take, keep, pass on and hand out offers. */
export function startOffers(options: OffersOptions): Offers {
  const { peers, verify, verifyRevocation, onOffer, now = Date.now, maxOffersPerSigner = MAX_OFFERS_PER_SIGNER } = options
  const table = openOfferTable({ now, maxOffers: options.maxOffers ?? MAX_OFFERS, maxOffersPerSigner })
  /** What we signed ourselves, offers and revocations, as it travels. */
  const own = new Map<string, Uint8Array>()
  const checks = createLimiter({ perSecond: CHECKS_PER_SECOND, burst: CHECK_BURST })
  const synced = new Map<string, number>()

  const sweep = (): void => {
    table.sweep((id) => own.has(id))
    for (const id of own.keys()) if (table.get(id) === undefined && table.revocation(id) === undefined) own.delete(id)
  }
  /** What the end of something says of whoever passed it on: nothing where clocks may differ. */
  const late = (validUntilMs: number): Judgement => (validUntilMs > now() - CLOCK_SKEW_MS ? 'ignore' : 'reject')
  const takeRevocation = async (from: string, data: Uint8Array, signed: SignedRevocation): Promise<Taken> => {
    if (verifyRevocation === undefined) return { judgement: 'ignore' }
    const id = idOf(data)
    if (table.revocation(id) !== undefined) return { judgement: 'accept' }
    if (!checks.take(from)) return { judgement: 'ignore' }
    const terms = await verifyRevocation(signed)
    if (!terms.ok) return { judgement: 'reject' }
    if (!(terms.value.validUntilMs > now())) return { judgement: late(terms.value.validUntilMs) }
    if (!table.revoke({ ...terms.value, id, data: data.slice() })) return { judgement: 'ignore' }
    options.onRevoked?.(terms.value)
    return { judgement: 'accept' }
  }
  /** Judges what a stranger sent, cheapest questions first. */
  const take = async (from: string, data: Uint8Array): Promise<Taken> => {
    const notice = readNotice(data)
    if (!notice.ok) return { judgement: 'reject' }
    if ('revocation' in notice.value) return takeRevocation(from, data, notice.value)
    const id = idOf(data)
    if (table.get(id) !== undefined) {
      table.touch(id) // and passed on, or the repetition would end here
      return { judgement: 'accept' }
    }
    if (!checks.take(from)) return { judgement: 'ignore' }
    const terms = await verify(notice.value)
    if (!terms.ok) return { judgement: 'reject' }
    if (!(terms.value.validUntilMs > now())) return { judgement: late(terms.value.validUntilMs) }
    if (table.isRevoked(terms.value)) return { judgement: 'ignore' } // whoever passed it on may not have heard
    const weight = options.weigh !== undefined && table.crowded() ? await options.weigh(terms.value.signer) : undefined
    const held = { ...notice.value, ...terms.value, ...(weight === undefined ? {} : { weight }), id }
    if (table.get(id) !== undefined) return { judgement: 'accept' } // came twice while it was verified
    if (!table.insert(held)) return { judgement: 'ignore' }
    onOffer?.(held)
    return { judgement: 'accept', fresh: held }
  }

  const leave = peers.join(OFFERS_TOPIC, async (from, data) => (await take(from, data)).judgement)
  peers.handle('offers', readPageRequest, (_, after) => {
    sweep()
    const ids = table.ids().filter((id) => id > after)
    const page = ids.slice(0, PAGE)
    const dataOf = (id: string): Uint8Array => table.revocation(id)?.data ?? encodeOffer(table.get(id) as HeldOffer)
    return { offers: page.map(dataOf), next: ids.length > PAGE ? page[PAGE - 1] : null }
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
      return table.list()
    },
    async publish(signed) {
      const data = encodeOffer(signed)
      if (data.length > MAX_OFFER_BYTES) throw new RangeError(`publish: the offer has ${data.length} bytes; at most ${MAX_OFFER_BYTES}`)
      const terms = await verify(signed)
      if (!terms.ok) return terms
      if (!(terms.value.validUntilMs > now())) return { ok: false, reason: `it expired ${now() - terms.value.validUntilMs} ms ago` }
      if (table.isRevoked(terms.value)) return { ok: false, reason: 'it was taken back; sign a new one with another salt' }
      const held = { offer: signed.offer, signature: signed.signature, ...terms.value, id: idOf(data) }
      // INVARIANT: what we offer ourselves is never pushed out by strangers' offers.
      if (table.get(held.id) === undefined && !table.insert({ ...held, weight: held.weight ?? Number.POSITIVE_INFINITY }))
        return { ok: false, reason: `the signer has ${maxOffersPerSigner} offers that last longer, or the table is full` }
      own.set(held.id, data)
      await peers.publish(OFFERS_TOPIC, data)
      return { ok: true, value: held }
    },
    async revoke(signed) {
      if (verifyRevocation === undefined) throw new RangeError('revoke: these offers were started without verifyRevocation')
      const data = encodeNotice({ revocation: signed.revocation, signature: signed.signature })
      const terms = await verifyRevocation(signed)
      if (!terms.ok) return terms
      const held: HeldRevocation = { ...terms.value, id: idOf(data), data }
      table.revoke(held)
      own.set(held.id, data)
      sweep()
      await peers.publish(OFFERS_TOPIC, data)
      return terms
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

type Taken = { readonly judgement: Judgement; readonly fresh?: HeldOffer }

/** An offer or a revocation as it travels: one spelling, so that the same thing has the same id everywhere. */
const encodeNotice = (notice: SignedOffer | SignedRevocation): Uint8Array => new Uint8Array(Buffer.from(encodeDocument(notice)))
const encodeOffer = ({ offer, signature }: SignedOffer): Uint8Array => encodeNotice({ offer, signature })

const isSignature = (x: unknown): x is `0x${string}` => typeof x === 'string' && /^0x([0-9a-f]{2}){1,512}$/i.test(x)
const isRecord = (x: unknown): x is object => typeof x === 'object' && x !== null

function readNotice(data: Uint8Array): Verdict<SignedOffer | SignedRevocation> {
  if (data.length > MAX_OFFER_BYTES) return { ok: false, reason: `${data.length} bytes; at most ${MAX_OFFER_BYTES}` }
  const parsed = parseMessage(data)
  if (!parsed.ok) return parsed
  const { offer, revocation, signature } = (parsed.value ?? {}) as { offer?: unknown; revocation?: unknown; signature?: unknown }
  if (!isSignature(signature)) return { ok: false, reason: 'no signature' }
  const notice = isRecord(offer) ? { offer, signature } : isRecord(revocation) ? { revocation, signature } : undefined
  if (notice === undefined) return { ok: false, reason: 'not {offer, signature}' }
  // A second spelling of a known offer would be a second entry; whatever else is in it makes another spelling too.
  if (Buffer.compare(encodeNotice(notice), data) !== 0) return { ok: false, reason: 'not in the one spelling that offers have' }
  return { ok: true, value: notice }
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
