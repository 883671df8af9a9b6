// `bitloom offers`: what providers ask at this moment, each offer checked, beside what the chain remembers of whoever signed it.

import { type Bitloom, connect, getRecord, type Offer, PROBATION, type SignedOffer, type SolverRecord } from '@bitloom/sdk'
import { type Command, EXIT, UsageError } from '../command.ts'
import { count, print, printJson, say, stretch } from '../output.ts'
import { gatherOffers, NETWORK_OPTIONS, networkOf, nobodyThere, visit } from '../reach.ts'
import { big, dim, green, money, red, short, table } from '../render.ts'

/** An offer and its provider's past. */
export type Listed = { readonly offer: Offer; readonly record: SolverRecord }

const less = (a: bigint, b: bigint): number => (a < b ? -1 : a > b ? 1 : 0)
/** Accepted slices, each conviction worth more than any number of them. */
const standing = ({ record }: Listed): number =>
  Number(record.accepted) - 1e12 * Number(record.convictions) - 1e3 * (Number(record.missed) + Number(record.withheld))

/** The orders of the table; ties by price, then by speed. */
export const SORTS: Readonly<Record<string, (a: Listed, b: Listed) => number>> = {
  price: (a, b) => less(a.offer.weiPerTeraop, b.offer.weiPerTeraop) || less(b.offer.operationsPerSecond, a.offer.operationsPerSecond),
  speed: (a, b) => less(b.offer.operationsPerSecond, a.offer.operationsPerSecond) || less(a.offer.weiPerTeraop, b.offer.weiPerTeraop),
  record: (a, b) => standing(b) - standing(a) || SORTS.price!(a, b),
}

/** Joins offers with the records of those who signed them. */
export async function listOffers(bitloom: Bitloom, offers: readonly SignedOffer[]): Promise<Listed[]> {
  const solvers = [...new Set(offers.map(({ offer }) => offer.solver))]
  const records = new Map(await Promise.all(solvers.map(async (solver) => [solver, await getRecord(bitloom, solver)] as const)))
  return offers.map(({ offer }) => ({ offer, record: records.get(offer.solver)! }))
}

const pastOf = ({ record: r }: Listed): string => {
  if (Number(r.convictions) > 0) return red(`convicted ${r.convictions}×`)
  const slips = Number(r.missed) + Number(r.withheld)
  if (slips > 0) return `${count(slips, 'slip')}`
  return Number(r.streak) >= PROBATION ? green('clean') : dim('new')
}

/** The table of offers. */
export const offersTable = (listed: readonly Listed[], nowSeconds: number): string =>
  table(
    ['provider', '>per 10^12 operations', '>operations/s', '>memory', '>at a time', '>valid for', '>slices', 'past'],
    listed.map((one) => [
      short(one.offer.solver),
      money(one.offer.weiPerTeraop),
      big(one.offer.operationsPerSecond),
      big(one.offer.memoryBytes, 'B'),
      String(one.offer.capacity),
      stretch(Number(one.offer.validUntil) - nowSeconds),
      String(one.record.accepted),
      pastOf(one),
    ]),
  )

export const command: Command = {
  name: 'offers',
  summary: 'what providers ask now, and how they have done',
  usage: '[--sort price|speed|record]',
  options: {
    ...NETWORK_OPTIONS,
    sort: { type: 'string', value: 'BY', help: 'price, speed or record', default: 'price' },
    wait: { type: 'string', value: 'S', help: 'seconds to listen at most', default: '3' },
    json: { type: 'boolean', help: 'one JSON line an offer' },
  },
  run: async (call) => {
    if (call.args.length > 0) throw new UsageError(`"${call.args[0]}" is one word too many.\nSee: bitloom offers --help`)
    const order = SORTS[call.text('sort')!]
    if (!order) throw new UsageError(`--sort ${call.text('sort')}: sort by ${Object.keys(SORTS).join(', ')}`)
    const wait = call.number('wait', { min: 0.1, max: 600 })!
    const network = networkOf(call)
    const bitloom = await connect(network)
    const { node, leave } = await visit(network)
    try {
      const listed = (await listOffers(bitloom, await gatherOffers(node, wait * 1000))).sort(order)
      if (listed.length === 0 && node.services.peers.connected().length === 0) throw nobodyThere(network)
      if (call.flag('json')) for (const one of listed) printJson(one)
      else if (listed.length > 0) print(offersTable(listed, Math.floor(Date.now() / 1000)))
      if (listed.length === 0)
        say(
          `Nobody offers anything at the moment (listened for ${stretch(wait)}).\nListen longer with --wait 30, or offer your own computer: bitloom node start --role solver`,
        )
      return listed.length === 0 ? EXIT.refused : EXIT.ok
    } finally {
      await leave()
    }
  },
}
