// `bitloom offers`: what providers ask at this moment, each offer checked, beside what the chain remembers of whoever signed it.

import { connect, PROBATION } from '@bitloom/sdk'
import { type Command, EXIT, UsageError } from '../command.ts'
import { filtersOf, type Listed, leftOut, listOffers, MARKET_OPTIONS, orderOf, select } from '../market.ts'
import { print, printJson, say, stretch } from '../output.ts'
import { gatherOffers, NETWORK_OPTIONS, networkOf, nobodyThere, visit } from '../reach.ts'
import { big, dim, green, money, red, short, table, yellow } from '../render.ts'

const pastOf = ({ record: r }: Listed): string => {
  if (Number(r.convictions) > 0) return red('convicted')
  if (Number(r.missed) + Number(r.withheld) > 0) return yellow('slips')
  return Number(r.streak) >= PROBATION ? green('clean') : dim('new')
}
/** A figure that is better 0. */
const fault = (n: number): string => (Number(n) === 0 ? dim('0') : red(String(n)))

/** The table of offers. */
export const offersTable = (listed: readonly Listed[], nowSeconds: number): string =>
  table(
    [
      ...['provider', '>per 10^12 operations', '>operations/s', '>memory', '>tasks', '>valid for', '>at stake'],
      ...['>accepted', '>lost', '>missed', '>withheld', 'past'],
    ],
    listed.map((one) => [
      short(one.offer.solver),
      money(one.offer.weiPerTeraop),
      big(one.offer.operationsPerSecond),
      big(one.offer.memoryBytes, 'B'),
      String(one.offer.capacity),
      stretch(Number(one.offer.validUntil) - nowSeconds),
      money(one.stakeWei),
      String(one.record.accepted),
      fault(one.record.convictions),
      fault(one.record.missed),
      fault(one.record.withheld),
      pastOf(one),
    ]),
  )

export const command: Command = {
  name: 'offers',
  summary: 'what providers ask now, and how they have done',
  usage: '[--sort price|speed|record] [--max-price BLT] [--deny LIST] …',
  options: {
    ...NETWORK_OPTIONS,
    ...MARKET_OPTIONS,
    wait: { type: 'string', value: 'S', help: 'seconds to listen at most', default: '3' },
    json: { type: 'boolean', help: 'one JSON line an offer' },
  },
  run: async (call) => {
    if (call.args.length > 0) throw new UsageError(`"${call.args[0]}" is one word too many.\nSee: bitloom offers --help`)
    const [order, wanted] = [orderOf(call), filtersOf(call)]
    const wait = call.number('wait', { min: 0.1, max: 600 })!
    const network = networkOf(call)
    const bitloom = await connect(network)
    const { node, leave } = await visit(network)
    try {
      const selection = select(await listOffers(bitloom, await gatherOffers(node, wait * 1000)), wanted, order)
      const { kept, dropped } = selection
      if (kept.length + dropped.length === 0 && node.services.peers.connected().length === 0) throw nobodyThere(network)
      if (call.flag('json')) for (const { offer, record, stakeWei } of kept) printJson({ offer, record, stakeWei })
      else if (kept.length > 0) print(offersTable(kept, Math.floor(Date.now() / 1000)))
      if (dropped.length > 0) say(dim(leftOut(selection)))
      if (kept.length > 0 && !call.flag('json'))
        say(
          dim(
            'accepted: slices paid for; lost: disputes; missed: deadlines; withheld: claims without their data. All read from the chain.',
          ),
        )
      if (kept.length + dropped.length === 0)
        say(
          `Nobody offers anything at the moment (listened for ${stretch(wait)}).\nListen longer with --wait 30, or offer your own computer: bitloom node start --role solver`,
        )
      else if (kept.length === 0) say('No offer is left. Ask for less, or see them all without the flags.')
      return kept.length === 0 ? EXIT.refused : EXIT.ok
    } finally {
      await leave()
    }
  },
}
