// `bitloom quote`: what a task costs and how safe it is, exactly, before anybody signs or pays anything.

import { wasm } from '@bitloom/engine'
import { bisectRounds, type Cost, costOf } from '@bitloom/graph'
import type { Job } from '@bitloom/model'
import { proveBackend } from '@bitloom/node/throughput'
import {
  ASSURANCE,
  type Assurance,
  connect,
  LOCAL_WINDOWS,
  makeSpec,
  type Offer,
  PROBATION,
  type Quote,
  quoteFor,
  rankOffers,
  rootsOf,
  type Spec,
} from '@bitloom/sdk'
import { parseEther } from 'viem'
import { type Call, type Command, RefusedError, UsageError } from '../command.ts'
import { count, print, printJson, stretch } from '../output.ts'
import { gatherOffers, NETWORK_OPTIONS, networkOf, nobodyThere, visit } from '../reach.ts'
import { chosen, flagsOf, makeReady, namesRecipe, recipeOf } from '../recipes.ts'
import { big, dim, money, percent, short, table } from '../render.ts'
import { type Listed, listOffers } from './offers.ts'

export const command: Command = {
  name: 'quote',
  summary: 'what training costs and how surely a cheat is caught, before paying',
  usage: 'RECIPE|model.onnx|recipe.ts [--price BLT] [the recipe’s options]',
  options: {
    ...NETWORK_OPTIONS,
    seed: { type: 'string', value: 'N', help: 'seed of the task', default: '1' },
    slices: { type: 'string', value: 'N', help: 'parts that are paid one by one (the recipe’s own number)' },
    price: { type: 'string', value: 'BLT', help: 'assume this price of 10^12 operations, and ask no network' },
    verifiers: { type: 'string', value: 'N', help: 'spot: verifiers drawn for each slice', default: '2' },
    segments: { type: 'string', value: 'N', help: 'spot: segments each of them runs again', default: '1' },
    wait: { type: 'string', value: 'S', help: 'seconds to listen for offers at most', default: '3' },
    json: { type: 'boolean', help: 'for machines' },
  },
  more: async (argv) => {
    const name = argv.find((word, i) => namesRecipe(word) && argv[i - 1] !== '--data' && argv[i - 1] !== '--weights')
    return name === undefined ? {} : flagsOf(await recipeOf(name))
  },
  run: async (call) => {
    const [name, ...more] = call.args
    if (more.length > 0) throw new UsageError(`"${more[0]}" is one word too many.\nSee: bitloom quote --help`)
    const recipe = await recipeOf(name)
    const choice = chosen(recipe, call)
    const { cut } = choice
    const shape = {
      verifiers: call.number('verifiers', { min: 1, max: 16, whole: true })!,
      segments: call.number('segments', { min: 1, max: 255, whole: true })!,
    }
    const offersOf = call.text('price') === undefined ? () => askNetwork(call) : () => [assumed(call)]
    const { job } = (await makeReady(choice)).prepared
    const cost = costOf(job.graph)
    const listed = await offersOf()
    const ranked = rankedFor(listed, cost.peakBytes)
    const [stateRoots, dataRoots] = [rootsOf(job.state), rootsOf(job.data)]
    const specOf = (assurance: Assurance): Spec =>
      makeSpec(job.graph, stateRoots, dataRoots, { ...cut, assurance, ...shape, windows: LOCAL_WINDOWS })
    const levels = (Object.keys(ASSURANCE) as Assurance[]).map((assurance) => {
      const best = ranked.find(({ offer }) => offer.minAssurance <= ASSURANCE[assurance])
      return { assurance, best, quote: best && quoteFor(specOf(assurance), job.graph, best.offer, Number(best.record.streak)) }
    })
    if (levels.every(({ quote }) => quote === undefined))
      throw new RefusedError(
        `None of ${count(listed.length, 'offer')} can train this: it needs ${big(cost.peakBytes, 'B')} of memory.\nWait for another provider, or train on this machine with: bitloom train ${name} --local`,
      )
    const disputes = disputeDepth(cut.stepsPerCheckpoint, cost)
    if (call.flag('json')) {
      printJson({
        recipe: name,
        seed: choice.seed,
        ...cut,
        ...cost,
        steps: job.steps,
        totalOperations: cost.operations * BigInt(job.steps),
        disputeExchanges: disputes,
        offers: ranked.map(({ offer }) => offer),
        assurance: levels.map(({ assurance, best, quote }) => ({ assurance, solver: best?.offer.solver, ...figures(quote) })),
      })
      return
    }
    print(
      [
        `${recipe.title}`,
        `  ${job.steps} steps (${count(cut.slices, 'slice')} × ${cut.checkpointsPerSlice} segments × ${cut.stepsPerCheckpoint} steps), ${big(cost.operations)} operations a step, ${big(cost.operations * BigInt(job.steps))} in all`,
        `  memory ${big(cost.peakBytes, 'B')} at most, state ${big(cost.stateBytes, 'B')}, data ${big(cost.dataBytes, 'B')}; a dispute ends after at most ${disputes} exchanges`,
        '',
        ...(ranked.length > 1 || call.text('price') === undefined
          ? [dim('what the cheapest offers make of it (assurance spot)'), cheapest(ranked, specOf, job), '']
          : []),
        dim(
          `under ${call.text('price') === undefined ? 'the cheapest offer that takes it' : `a price of ${call.text('price')} BLT for 10^12 operations`}`,
        ),
        sideBySide(levels, cut.slices),
        '',
        dim('Escrow is the most it can cost; what is not used comes back. Catching is per slice, for a cheat in a single step of it.'),
        dim(`A provider's first ${PROBATION} slices are audited whole; its bond is what it loses when caught.`),
        ...(call.text('price') === undefined ? [] : [dim('Time is this machine’s own; without --price the network is asked.')]),
      ].join('\n'),
    )
    return
  },
}

/** An offer at the price that the caller assumes, as fast as this machine. */
function assumed(call: Call): Listed {
  const text = call.text('price')!
  if (!/^\d{1,12}(\.\d{1,18})?$/.test(text)) throw new UsageError(`--price ${text}: give an amount such as 100`)
  const zero = '0x0000000000000000000000000000000000000000' as const
  const offer: Offer = {
    solver: zero,
    weiPerTeraop: parseEther(text),
    memoryBytes: 2n ** 63n,
    operationsPerSecond: proveBackend(wasm),
    capacity: 1,
    validUntil: 0n,
    minAssurance: 0,
    salt: `${zero}000000000000000000000000`,
    contact: '',
  }
  return { offer, record: { accepted: 0, streak: 0, convictions: 0, missed: 0, withheld: 0 } }
}

async function askNetwork(call: Call): Promise<Listed[]> {
  const network = networkOf(call)
  const bitloom = await connect(network)
  const { node, leave } = await visit(network)
  try {
    const offers = await gatherOffers(node, call.number('wait', { min: 0.1, max: 600 })! * 1000)
    if (offers.length > 0) return await listOffers(bitloom, offers)
    if (node.services.peers.connected().length === 0) throw nobodyThere(network)
    throw new RefusedError(
      'Nobody offers anything at the moment.\nQuote with an assumed price instead, such as --price 100, or listen longer with --wait 30.',
    )
  } finally {
    await leave()
  }
}

/** Those that can hold it, cheapest first. */
function rankedFor(listed: readonly Listed[], memoryBytes: number): Listed[] {
  const order = rankOffers(
    listed.map(({ offer }) => ({ offer, signature: '0x' as const })),
    { memoryBytes, assurance: ASSURANCE.full },
  )
  return order.map((signed) => listed.find(({ offer }) => offer === signed.offer)!)
}

/** Exchanges of a dispute about one segment: finding the step, then finding the scalar in it. */
export const disputeDepth = (stepsPerCheckpoint: number, cost: Pick<Cost, 'disputeRounds'>): number =>
  bisectRounds(stepsPerCheckpoint) + cost.disputeRounds

/** Seconds of computing at the offer's own figure. */
const secondsOf = (quote: Quote, offer: Offer): number =>
  offer.operationsPerSecond === 0n ? Number.POSITIVE_INFINITY : Number(quote.operations) / Number(offer.operationsPerSecond)

const figures = (quote: Quote | undefined): object => {
  if (!quote) return { possible: false }
  const { cost: _, terms, ...rest } = quote
  return { possible: true, ...rest, ...terms }
}

const SHOWN = 5

function cheapest(ranked: readonly Listed[], specOf: (assurance: Assurance) => Spec, job: Job): string {
  const spec = specOf('spot')
  return table(
    ['provider', '>per 10^12 operations', '>expected', '>escrow at most', '>computing at least', '>slices before', '>convictions'],
    ranked.slice(0, SHOWN).map(({ offer, record }) => {
      const quote = quoteFor(spec, job.graph, offer, Number(record.streak))
      return [
        short(offer.solver),
        money(offer.weiPerTeraop),
        money(quote.expectedWei),
        money(quote.escrowWei),
        stretch(secondsOf(quote, offer)),
        String(record.accepted),
        String(record.convictions),
      ]
    }),
  )
}

function sideBySide(
  levels: readonly { readonly assurance: Assurance; readonly best: Listed | undefined; readonly quote: Quote | undefined }[],
  slices: number,
): string {
  const row = (label: string, show: (quote: Quote, best: Listed) => string): string[] => [
    label,
    ...levels.map(({ quote, best }) => (quote && best ? show(quote, best) : 'no offer')),
  ]
  return table(
    ['assurance', ...levels.map(({ assurance }) => `>${assurance}`)],
    [
      row('expected price', (q) => money(q.expectedWei)),
      row('  of it for audits', (q) => money(q.expectedWei - BigInt(slices) * q.terms.slicePriceWei)),
      row('escrow at most', (q) => money(q.escrowWei)),
      row('a cheat is caught', (q) => percent(q.catchChance)),
      row(`  in its first ${PROBATION} slices`, (q) => percent(q.catchChanceOnProbation)),
      row('bond at risk', (q) => money(q.bondWei)),
      row('computing at least', (q, best) => stretch(secondsOf(q, best.offer))),
    ],
  )
}
