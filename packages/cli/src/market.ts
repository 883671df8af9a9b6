// Choosing among offers: what somebody wants of a provider, in flags; which offers satisfy it and in what order; and what became of the others.

import { existsSync, readFileSync } from 'node:fs'
import { type Bitloom, freeOf, getRecord, lockedOf, type Offer, type SignedOffer, type SolverRecord } from '@bitloom/sdk'
import { weiOf } from './amount.ts'
import { type Call, RefusedError, UsageError } from './command.ts'
import { money, short } from './render.ts'

/** An offer, its provider's past and what it has at stake, both read from the chain. */
export type Listed = {
  readonly offer: Offer
  readonly record: SolverRecord
  /** Free and bonded: what a conviction could take. */
  readonly stakeWei: bigint
  /** As it was signed; missing where the offer is assumed. */
  readonly signed?: SignedOffer
}

/** What is wanted; anything unset is not asked for. */
export type Filters = {
  readonly maxWeiPerTeraop?: bigint
  readonly minMemoryBytes?: number
  readonly minStakeWei?: bigint
  readonly minAccepted?: number
  /** Code of the task's assurance: providers may want more than it gives. */
  readonly assurance?: number
  /** Addresses in lower case. */
  readonly allow?: ReadonlySet<string>
  readonly deny?: ReadonlySet<string>
}

export const MARKET_OPTIONS = {
  sort: { type: 'string', value: 'BY', help: 'order of offers: price, speed or record', default: 'price' },
  'max-price': { type: 'string', value: 'BLT', help: 'only offers of at most this for 10^12 operations' },
  'min-memory': { type: 'string', value: 'MB', help: 'only offers with at least this much memory' },
  'min-stake': { type: 'string', value: 'BLT', help: 'only providers that have at least this at stake' },
  'min-accepted': { type: 'string', value: 'N', help: 'only providers with at least this many accepted slices' },
  allow: { type: 'string', value: 'LIST', help: 'only these providers: addresses with commas, or a file of them' },
  deny: { type: 'string', value: 'LIST', help: 'never these providers: addresses with commas, or a file of them' },
} as const

const less = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0)
/** Accepted slices, each conviction worth more than any number of them, each slip more than a thousand. */
const standing = ({ record }: Listed): number =>
  Number(record.accepted) - 1e12 * Number(record.convictions) - 1e3 * (Number(record.missed) + Number(record.withheld))

/** The orders of offers; ties by price, then by speed. */
export const SORTS: Readonly<Record<string, (a: Listed, b: Listed) => number>> = {
  price: (a, b) => less(a.offer.weiPerTeraop, b.offer.weiPerTeraop) || less(b.offer.operationsPerSecond, a.offer.operationsPerSecond),
  speed: (a, b) => less(b.offer.operationsPerSecond, a.offer.operationsPerSecond) || less(a.offer.weiPerTeraop, b.offer.weiPerTeraop),
  record: (a, b) => standing(b) - standing(a) || SORTS.price!(a, b),
}

/** The order that a call asks for. @throws {UsageError} there is no such order */
export function orderOf(call: Call): (a: Listed, b: Listed) => number {
  const by = call.text('sort') ?? 'price'
  const order = Object.hasOwn(SORTS, by) ? SORTS[by] : undefined
  if (!order) throw new UsageError(`--sort ${by}: sort by ${Object.keys(SORTS).join(', ')}`)
  return order
}

const MAX_LIST_BYTES = 1 << 20

/**
 * Addresses with commas between them, or a file with one a line; `#` begins a remark.
 * @throws {UsageError} a word is no address and no file
 */
export function addressList(text: string | undefined, name: string): ReadonlySet<string> | undefined {
  if (text === undefined) return undefined
  const words = text.split(',').flatMap((word) => {
    const part = word.trim()
    if (/^0x/i.test(part) || part === '') return [part]
    if (!existsSync(part)) throw new UsageError(`--${name} ${part}: neither an address (0x and 40 hexadecimal digits) nor a file`)
    const bytes = readFileSync(part)
    if (bytes.length > MAX_LIST_BYTES)
      throw new UsageError(`--${name} ${part}: ${bytes.length} bytes are more than a list of addresses has`)
    return bytes
      .toString('utf8')
      .split('\n')
      .map((line) => line.replace(/#.*/, '').trim())
  })
  const addresses = words.filter((word) => word !== '')
  for (const word of addresses)
    if (!/^0x[0-9a-f]{40}$/i.test(word))
      throw new UsageError(`--${name}: "${word.slice(0, 60)}" is no address: 0x and 40 hexadecimal digits`)
  return new Set(addresses.map((word) => word.toLowerCase()))
}

/** What a call asks of providers. @throws {UsageError} a flag's value is none */
export function filtersOf(call: Call): Filters {
  const maxWeiPerTeraop = weiOf(call, 'max-price', '100')
  const minStakeWei = weiOf(call, 'min-stake', '50')
  const memory = call.number('min-memory', { min: 0, max: 2 ** 40 })
  const minAccepted = call.number('min-accepted', { min: 0, whole: true })
  const [allow, deny] = [addressList(call.text('allow'), 'allow'), addressList(call.text('deny'), 'deny')]
  return {
    ...(maxWeiPerTeraop === undefined ? {} : { maxWeiPerTeraop }),
    ...(minStakeWei === undefined ? {} : { minStakeWei }),
    ...(memory === undefined ? {} : { minMemoryBytes: memory * 2 ** 20 }),
    ...(minAccepted === undefined ? {} : { minAccepted }),
    ...(allow ? { allow } : {}),
    ...(deny ? { deny } : {}),
  }
}

/** Why an offer is not what is wanted; undefined where it is. */
export function objection({ offer, record, stakeWei }: Listed, wanted: Filters): string | undefined {
  const who = offer.solver.toLowerCase()
  if (wanted.deny?.has(who)) return 'denied'
  if (wanted.allow && !wanted.allow.has(who)) return 'not on the list of those allowed'
  if (offer.capacity === 0) return 'takes no task at the moment'
  if (wanted.maxWeiPerTeraop !== undefined && offer.weiPerTeraop > wanted.maxWeiPerTeraop)
    return `dearer than ${money(wanted.maxWeiPerTeraop)}`
  if (wanted.minMemoryBytes !== undefined && offer.memoryBytes < BigInt(Math.ceil(wanted.minMemoryBytes))) return 'too little memory'
  if (wanted.assurance !== undefined && offer.minAssurance > wanted.assurance) return 'wants more assurance'
  if (wanted.minStakeWei !== undefined && stakeWei < wanted.minStakeWei) return `less than ${money(wanted.minStakeWei)} at stake`
  if (wanted.minAccepted !== undefined && Number(record.accepted) < wanted.minAccepted)
    return `fewer than ${wanted.minAccepted} accepted slices`
  return undefined
}

export type Selection = { readonly kept: readonly Listed[]; readonly dropped: readonly { readonly one: Listed; readonly why: string }[] }

/** Those that are wanted, in order, and why the others are not. */
export function select(listed: readonly Listed[], wanted: Filters, order: (a: Listed, b: Listed) => number): Selection {
  const judged = listed.map((one) => ({ one, why: objection(one, wanted) }))
  return {
    kept: judged
      .filter(({ why }) => why === undefined)
      .map(({ one }) => one)
      .sort(order),
    dropped: judged.flatMap(({ one, why }) => (why === undefined ? [] : [{ one, why }])),
  }
}

/** `2 offers left out: dearer than 90 BLT (1), denied (1)`. */
export function leftOut({ dropped }: Selection): string {
  const counts = new Map<string, number>()
  for (const { why } of dropped) counts.set(why, (counts.get(why) ?? 0) + 1)
  const reasons = [...counts].map(([why, n]) => `${why} (${n})`).join(', ')
  return dropped.length === 0 ? '' : `${dropped.length} ${dropped.length === 1 ? 'offer' : 'offers'} left out: ${reasons}`
}

/** @throws {RefusedError} nothing is left to choose from */
export function mustHave(selection: Selection, otherwise: string): readonly Listed[] {
  if (selection.kept.length > 0) return selection.kept
  throw new RefusedError(
    selection.dropped.length === 0
      ? otherwise
      : `None of ${selection.dropped.length} offers will do: ${leftOut(selection).replace(/^.*?: /, '')}; such as ${short(selection.dropped[0]!.one.offer.solver)}.\nAsk for less, or see them all: bitloom offers`,
  )
}

/** Joins offers with the records and stakes of those who signed them. */
export async function listOffers(bitloom: Bitloom, offers: readonly SignedOffer[]): Promise<Listed[]> {
  const solvers = [...new Set(offers.map(({ offer }) => offer.solver))]
  const known = new Map(
    await Promise.all(
      solvers.map(async (solver) => {
        const [record, free, locked] = await Promise.all([getRecord(bitloom, solver), freeOf(bitloom, solver), lockedOf(bitloom, solver)])
        return [solver, { record, stakeWei: free + locked }] as const
      }),
    ),
  )
  return offers.map((signed) => ({ offer: signed.offer, signed, ...known.get(signed.offer.solver)! }))
}
