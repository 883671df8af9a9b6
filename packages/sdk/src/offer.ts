// Offers: what a provider signs (EIP-712), what a stranger's offer must satisfy, and which one to take (docs/protocol.md §2).

import type { Address, Hex, LocalAccount } from 'viem'
import { hashTypedData, recoverTypedDataAddress } from 'viem'

/** As in Types.sol. */
export type Offer = {
  readonly solver: Address
  /** Price of 10^12 scalar operations, in wei of the token. */
  readonly weiPerTeraop: bigint
  readonly memoryBytes: bigint
  /** Measured by the provider's own self-test. */
  readonly operationsPerSecond: bigint
  /** Tasks at a time. */
  readonly capacity: number
  /** Unix seconds. */
  readonly validUntil: bigint
  readonly minAssurance: number
  readonly salt: Hex
  /** Where the provider's node answers. */
  readonly contact: string
}

export type SignedOffer = { readonly offer: Offer; readonly signature: Hex }

/** The market that offers are bound to. */
export type MarketId = { readonly chainId: number; readonly market: Address }

export const MAX_CONTACT = 512

const OFFER_TYPES = {
  Offer: [
    { name: 'solver', type: 'address' },
    { name: 'weiPerTeraop', type: 'uint256' },
    { name: 'memoryBytes', type: 'uint64' },
    { name: 'operationsPerSecond', type: 'uint64' },
    { name: 'capacity', type: 'uint32' },
    { name: 'validUntil', type: 'uint64' },
    { name: 'minAssurance', type: 'uint8' },
    { name: 'salt', type: 'bytes32' },
    { name: 'contact', type: 'string' },
  ],
} as const

const typed = ({ chainId, market }: MarketId, offer: Offer) =>
  ({
    domain: { name: 'Bitloom', version: '1', chainId, verifyingContract: market },
    types: OFFER_TYPES,
    primaryType: 'Offer',
    message: offer,
  }) as const

/** The EIP-712 digest that a provider signs and Market.sol counts capacity by. */
export const offerHash = (id: MarketId, offer: Offer): Hex => hashTypedData(typed(id, offer))

export async function signOffer(account: LocalAccount, id: MarketId, offer: Offer): Promise<SignedOffer> {
  return { offer, signature: await account.signTypedData(typed(id, offer)) }
}

export type OfferVerdict = { readonly ok: true; readonly signed: SignedOffer } | { readonly ok: false; readonly reason: string }

/** Reads an offer as it travels (JSON, integers as decimal strings) and checks form, lifetime and signature. Never throws. */
export async function verifyOffer(message: unknown, id: MarketId, nowSeconds: number): Promise<OfferVerdict> {
  try {
    const { offer: raw, signature } = message as { offer: Record<string, unknown>; signature: unknown }
    const whole = (name: string, max: bigint): bigint => {
      const text = raw[name]
      if (typeof text !== 'string' || !/^\d{1,78}$/.test(text) || BigInt(text) > max)
        throw new TypeError(`${name} is no decimal string of at most ${max}`)
      return BigInt(text)
    }
    const hex = (name: string, value: unknown, bytes: number): Hex => {
      if (typeof value !== 'string' || !new RegExp(`^0x[0-9a-fA-F]{${2 * bytes}}$`).test(value))
        throw new TypeError(`${name} is no ${bytes} bytes of hex`)
      return value as Hex
    }
    const contact = raw.contact
    if (typeof contact !== 'string' || contact.length > MAX_CONTACT || !/^[\x20-\x7e]*$/.test(contact))
      throw new TypeError(`contact is no line of at most ${MAX_CONTACT} ASCII characters`)
    const U64 = 2n ** 64n - 1n
    const offer: Offer = {
      solver: hex('solver', raw.solver, 20),
      weiPerTeraop: whole('weiPerTeraop', 2n ** 128n - 1n),
      memoryBytes: whole('memoryBytes', U64),
      operationsPerSecond: whole('operationsPerSecond', U64),
      capacity: Number(whole('capacity', 2n ** 32n - 1n)),
      validUntil: whole('validUntil', U64),
      minAssurance: Number(whole('minAssurance', 255n)),
      salt: hex('salt', raw.salt, 32),
      contact,
    }
    const signed: SignedOffer = { offer, signature: hex('signature', signature, 65) }
    if (offer.validUntil <= BigInt(nowSeconds)) return { ok: false, reason: 'the offer has expired' }
    const signer = await recoverTypedDataAddress({ ...typed(id, offer), signature: signed.signature })
    if (signer.toLowerCase() !== offer.solver.toLowerCase()) return { ok: false, reason: `signed by ${signer}, not by ${offer.solver}` }
    return { ok: true, signed }
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message.slice(0, 300) : 'not an offer' }
  }
}

/** What a provider signs to take an offer back: whoever passes offers on passes this on in its place. Contracts know nothing of it; a solver just declines. */
export type Revocation = {
  readonly solver: Address
  /** The offer's EIP-712 digest. */
  readonly offer: Hex
  /** Unix seconds: the offer's own end, until when it must be remembered. */
  readonly validUntil: bigint
}

export type SignedRevocation = { readonly revocation: Revocation; readonly signature: Hex }

const REVOCATION_TYPES = {
  Revocation: [
    { name: 'solver', type: 'address' },
    { name: 'offer', type: 'bytes32' },
    { name: 'validUntil', type: 'uint64' },
  ],
} as const

const typedRevocation = ({ chainId, market }: MarketId, revocation: Revocation) =>
  ({
    domain: { name: 'Bitloom', version: '1', chainId, verifyingContract: market },
    types: REVOCATION_TYPES,
    primaryType: 'Revocation',
    message: revocation,
  }) as const

/** Takes back an offer of `account`. */
export async function signRevocation(account: LocalAccount, id: MarketId, offer: Offer): Promise<SignedRevocation> {
  const revocation: Revocation = { solver: offer.solver, offer: offerHash(id, offer), validUntil: offer.validUntil }
  return { revocation, signature: await account.signTypedData(typedRevocation(id, revocation)) }
}

/** A revocation as JSON that `verifyRevocation` reads. */
export function revocationToJson({ revocation, signature }: SignedRevocation): { revocation: Record<string, string>; signature: Hex } {
  return { revocation: Object.fromEntries(Object.entries(revocation).map(([k, v]) => [k, String(v)])), signature }
}

export type RevocationVerdict = { readonly ok: true; readonly signed: SignedRevocation } | { readonly ok: false; readonly reason: string }

/** Reads a stranger's revocation and checks form, lifetime and signature. Never throws. */
export async function verifyRevocation(message: unknown, id: MarketId, nowSeconds: number): Promise<RevocationVerdict> {
  try {
    const { revocation: raw, signature } = message as { revocation: Record<string, unknown>; signature: unknown }
    const { solver, offer, validUntil } = raw
    const isHex = (value: unknown, bytes: number): value is Hex =>
      typeof value === 'string' && value.length === 2 + 2 * bytes && /^0x[0-9a-fA-F]*$/.test(value)
    if (!isHex(solver, 20)) throw new TypeError('solver is no 20 bytes of hex')
    if (!isHex(offer, 32)) throw new TypeError('offer is no 32 bytes of hex')
    if (!isHex(signature, 65)) throw new TypeError('signature is no 65 bytes of hex')
    if (typeof validUntil !== 'string' || !/^\d{1,20}$/.test(validUntil) || BigInt(validUntil) >= 2n ** 64n)
      throw new TypeError('validUntil is no 64-bit decimal string')
    const revocation: Revocation = { solver, offer, validUntil: BigInt(validUntil) }
    if (revocation.validUntil <= BigInt(nowSeconds)) return { ok: false, reason: 'the offer that it takes back has expired' }
    const signer = await recoverTypedDataAddress({ ...typedRevocation(id, revocation), signature })
    if (signer.toLowerCase() !== solver.toLowerCase()) return { ok: false, reason: `signed by ${signer}, not by ${solver}` }
    return { ok: true, signed: { revocation, signature } }
  } catch (error) {
    return { ok: false, reason: error instanceof Error ? error.message.slice(0, 300) : 'not a revocation' }
  }
}

/** An offer as JSON that `verifyOffer` reads. */
export function offerToJson({ offer, signature }: SignedOffer): { offer: Record<string, string>; signature: Hex } {
  return { offer: Object.fromEntries(Object.entries(offer).map(([k, v]) => [k, String(v)])), signature }
}

/** What a submitter wants of a provider. */
export type Wanted = { readonly memoryBytes: number; readonly assurance: number; readonly exclude?: readonly Address[] }

/** Offers that can train the task, cheapest first; equal prices by measured speed. */
export function rankOffers(offers: readonly SignedOffer[], wanted: Wanted): SignedOffer[] {
  const excluded = new Set((wanted.exclude ?? []).map((a) => a.toLowerCase()))
  return offers
    .filter(
      ({ offer }) =>
        offer.memoryBytes >= BigInt(wanted.memoryBytes) &&
        offer.minAssurance <= wanted.assurance &&
        offer.capacity > 0 &&
        !excluded.has(offer.solver.toLowerCase()),
    )
    .sort((a, b) =>
      a.offer.weiPerTeraop < b.offer.weiPerTeraop
        ? -1
        : a.offer.weiPerTeraop > b.offer.weiPerTeraop
          ? 1
          : Number(b.offer.operationsPerSecond - a.offer.operationsPerSecond),
    )
}
