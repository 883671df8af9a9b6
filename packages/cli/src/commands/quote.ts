// `bitloom quote`: what a task costs and how safe it is, exactly, before anybody signs or pays anything.

import { wasm } from '@bitloom/engine'
import { bisectRounds, type Cost, costOf } from '@bitloom/graph'
import type { Job } from '@bitloom/model'
import { blockSecondsOf, catchChance, expectedSeconds } from '@bitloom/node/estimate'
import { proveBackend, TRAINING_SHARE } from '@bitloom/node/throughput'
import {
  ASSURANCE,
  type Assurance,
  auditedSegments,
  connect,
  LOCAL_WINDOWS,
  makeSpec,
  type Offer,
  PROBATION,
  PROVEN,
  type Quote,
  quoteFor,
  rootsOf,
  type Spec,
  solverShareWei,
} from '@bitloom/sdk'
import { weiOf } from '../amount.ts'
import { ASSURANCE_OPTIONS, shapeOf } from '../assurance.ts'
import { type Call, type Command, RefusedError, UsageError } from '../command.ts'
import { filtersOf, type Listed, leftOut, listOffers, MARKET_OPTIONS, orderOf, select } from '../market.ts'
import { count, print, printJson, stretch } from '../output.ts'
import { gatherOffers, NETWORK_OPTIONS, networkOf, nobodyThere, visit } from '../reach.ts'
import { type Cut, chosen, flagsOf, makeReady, namesRecipe, recipeOf } from '../recipes.ts'
import { big, dim, money, percent, short, table } from '../render.ts'

/** Seconds a block of a development chain takes: what an assumed offer's time is figured with. */
const LOCAL_BLOCK_SECONDS = 1
const FIRST: Readonly<Record<string, string>> = { price: 'cheapest', speed: 'fastest', record: 'most proven' }

export const command: Command = {
  name: 'quote',
  summary: 'what training costs and how surely a cheat is caught, before paying',
  usage: 'RECIPE|model.onnx|recipe.ts [--price BLT] [the recipe’s options]',
  options: {
    ...NETWORK_OPTIONS,
    seed: { type: 'string', value: 'N', help: 'seed of the task', default: '1' },
    slices: { type: 'string', value: 'N', help: 'parts that are paid one by one (the recipe’s own number)' },
    price: { type: 'string', value: 'BLT', help: 'assume this price of 10^12 operations, and ask no network' },
    verifiers: ASSURANCE_OPTIONS.verifiers,
    segments: ASSURANCE_OPTIONS.segments,
    quorum: ASSURANCE_OPTIONS.quorum,
    cheat: { type: 'string', value: 'STEPS', help: 'show also how surely a lie in this many steps of a slice is caught' },
    ...MARKET_OPTIONS,
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
    const lie = call.number('cheat', { min: 1, max: 2 ** 31, whole: true })
    const [order, wanted] = [orderOf(call), filtersOf(call)]
    const asks = call.text('price') === undefined
    const offersOf = asks ? () => askNetwork(call) : () => ({ listed: [assumed(call)], blockSeconds: LOCAL_BLOCK_SECONDS })
    const { job } = (await makeReady(choice)).prepared
    const cost = costOf(job.graph)
    const { listed, blockSeconds } = await offersOf()
    const selection = select(listed, { ...wanted, minMemoryBytes: Math.max(wanted.minMemoryBytes ?? 0, cost.peakBytes) }, order)
    const ranked = selection.kept
    const [stateRoots, dataRoots] = [rootsOf(job.state), rootsOf(job.data)]
    const specOf = (assurance: Assurance): Spec =>
      makeSpec(job.graph, stateRoots, dataRoots, { ...cut, ...shapeOf(call, assurance), windows: LOCAL_WINDOWS })
    const levels = (Object.keys(ASSURANCE) as Assurance[]).map((assurance): Level => {
      const best = ranked.find(({ offer }) => offer.minAssurance <= ASSURANCE[assurance])
      if (!best) return { assurance }
      const spec = specOf(assurance)
      const streak = Number(best.record.streak)
      const quote = quoteFor(spec, job.graph, best.offer, streak)
      const seconds = expectedSeconds(spec, best.offer.operationsPerSecond, { blockSeconds, acceptedBefore: streak })
      return { assurance, best, spec, quote, seconds, loseWei: quote.bondWei + quote.terms.slicePriceWei }
    })
    if (levels.every(({ quote }) => quote === undefined))
      throw new RefusedError(
        `None of ${count(listed.length, 'offer')} can train this, which needs ${big(cost.peakBytes, 'B')} of memory: ${leftOut(selection).replace(/^.*?: /, '')}.\nWait for another provider, ask for less, or train on this machine with: bitloom train ${name} --local`,
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
        assurance: levels.map((level) => ({
          assurance: level.assurance,
          solver: level.best?.offer.solver,
          ...figures(level.quote),
          ...('seconds' in level
            ? { expectedSeconds: level.seconds, cheatLosesWei: level.loseWei, catch: chancesOf(level.spec, lie) }
            : {}),
        })),
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
          ? [dim('what the first offers make of it (assurance spot)'), cheapest(ranked, specOf, job, blockSeconds), '']
          : []),
        dim(
          `under ${call.text('price') === undefined ? `the ${FIRST[call.text('sort')!] ?? 'first'} offer that takes it` : `a price of ${call.text('price')} BLT for 10^12 operations`}`,
        ),
        sideBySide(levels, cut, lie),
        '',
        dim(
          'Escrow is the most it can cost; what is not used comes back. Catching is per slice, for a liar that packs its lies into as few segments as it can;',
        ),
        dim(
          `a provider's first ${PROBATION} slices since its last fault are audited whole, and after ${PROVEN} in a row half as much as shown.`,
        ),
        dim('Prices count scalar operations: fetching, hashing and moving data are not paid for by themselves.'),
        ...(selection.dropped.length === 0 ? [] : [dim(leftOut(selection))]),
        ...(asks ? [] : [dim('Time is this machine’s own; without --price the network is asked.')]),
      ].join('\n'),
    )
    return
  },
}

/** An offer at the price that the caller assumes, as fast as this machine. */
function assumed(call: Call): Listed {
  const zero = '0x0000000000000000000000000000000000000000' as const
  const offer: Offer = {
    solver: zero,
    weiPerTeraop: weiOf(call, 'price', '100')!,
    memoryBytes: 2n ** 63n,
    operationsPerSecond: BigInt(Math.round(Number(proveBackend(wasm)) * TRAINING_SHARE)),
    capacity: 1,
    validUntil: 0n,
    minAssurance: 0,
    salt: `${zero}000000000000000000000000`,
    contact: '',
  }
  return { offer, record: { accepted: 0, streak: 0, convictions: 0, missed: 0, withheld: 0 }, stakeWei: 0n }
}

type Asked = { readonly listed: readonly Listed[]; readonly blockSeconds: number }

async function askNetwork(call: Call): Promise<Asked> {
  const network = networkOf(call)
  const bitloom = await connect(network)
  const { node, leave } = await visit(network)
  try {
    const offers = await gatherOffers(node, call.number('wait', { min: 0.1, max: 600 })! * 1000)
    if (offers.length > 0) return { listed: await listOffers(bitloom, offers), blockSeconds: await blockSecondsOf(bitloom) }
    if (node.services.peers.connected().length === 0) throw nobodyThere(network)
    throw new RefusedError(
      'Nobody offers anything at the moment.\nQuote with an assumed price instead, such as --price 100, or listen longer with --wait 30.',
    )
  } finally {
    await leave()
  }
}

/** Exchanges of a dispute about one segment: finding the step, then finding the scalar in it. */
export const disputeDepth = (stepsPerCheckpoint: number, cost: Pick<Cost, 'disputeRounds'>): number =>
  bisectRounds(stepsPerCheckpoint) + cost.disputeRounds

type Level =
  | { readonly assurance: Assurance; readonly best?: undefined; readonly quote?: undefined }
  | {
      readonly assurance: Assurance
      readonly best: Listed
      readonly spec: Spec
      readonly quote: Quote
      readonly seconds: number
      /** What a solver that is caught goes without: its bond and the slice's price. */
      readonly loseWei: bigint
    }

/** The chance that a lie is caught, past probation, by how many steps of a slice it takes; `steps` asks for one more figure. */
function chancesOf(spec: Spec, steps: number | undefined): readonly { readonly steps: number; readonly chance: number }[] {
  const slice = spec.checkpointsPerSlice * spec.stepsPerCheckpoint
  const asked = [1, Math.ceil(slice / 4), slice, ...(steps === undefined ? [] : [Math.min(steps, slice)])]
  const audited = auditedSegments(spec, PROBATION)
  return [...new Set(asked)].sort((a, b) => a - b).map((n) => ({ steps: n, chance: catchChance(spec, audited, n) }))
}

const figures = (quote: Quote | undefined): object => {
  if (!quote) return { possible: false }
  const { cost: _, terms, ...rest } = quote
  return { possible: true, ...rest, ...terms }
}

const SHOWN = 5

function cheapest(ranked: readonly Listed[], specOf: (assurance: Assurance) => Spec, job: Job, blockSeconds: number): string {
  const spec = specOf('spot')
  return table(
    ['provider', '>per 10^12 operations', '>expected', '>escrow at most', '>time about', '>accepted', '>lost', '>missed', '>withheld'],
    ranked.slice(0, SHOWN).map(({ offer, record }) => {
      const acceptedBefore = Number(record.streak)
      const quote = quoteFor(spec, job.graph, offer, acceptedBefore)
      return [
        short(offer.solver),
        money(offer.weiPerTeraop),
        money(quote.expectedWei),
        money(quote.escrowWei),
        stretch(expectedSeconds(spec, offer.operationsPerSecond, { blockSeconds, acceptedBefore })),
        String(record.accepted),
        String(record.convictions),
        String(record.missed),
        String(record.withheld),
      ]
    }),
  )
}

function sideBySide(levels: readonly Level[], { slices, stepsPerCheckpoint, checkpointsPerSlice }: Cut, lie: number | undefined): string {
  type Full = Extract<Level, { readonly quote: Quote }>
  const isFull = (level: Level): level is Full => level.quote !== undefined
  const row = (label: string, show: (level: Full) => string): string[] => [
    label,
    ...levels.map((level) => (isFull(level) ? show(level) : 'no offer')),
  ]
  const first = levels.find(isFull)
  const rowOf = ({ steps }: { readonly steps: number }): string[] => {
    const share = (100 * steps) / (stepsPerCheckpoint * checkpointsPerSlice)
    return row(
      `  a lie in ${count(steps, 'step')}${steps === 1 ? '' : ` (${share < 1 ? share.toPrecision(2) : Math.round(share)} %)`}`,
      ({ spec }) => percent(chancesOf(spec, lie).find((one) => one.steps === steps)!.chance),
    )
  }
  return table(
    [
      'assurance',
      ...levels.map((level) => `>${level.assurance}${isFull(level) && level.assurance === 'quorum' ? ` ${level.spec.verifiers + 1}` : ''}`),
    ],
    [
      row('expected price', ({ quote }) => money(quote.expectedWei)),
      row('  of it for audits', ({ quote }) => money(quote.expectedWei - BigInt(slices) * quote.terms.slicePriceWei)),
      row('  of it for the pool', ({ quote }) =>
        money(BigInt(slices) * (quote.terms.slicePriceWei - solverShareWei(quote.terms.slicePriceWei))),
      ),
      row('escrow at most', ({ quote }) => money(quote.escrowWei)),
      row('time about', ({ seconds }) => stretch(seconds)),
      row('caught in a slice', () => ''),
      ...(first ? chancesOf(first.spec, lie).map(rowOf) : []),
      row(`  in its first ${PROBATION} slices`, ({ spec }) => percent(catchChance(spec, auditedSegments(spec, 0), 1))),
      row('caught, it loses', ({ loseWei }) => money(loseWei)),
      row('  of it its bond', ({ quote }) => money(quote.bondWei)),
    ],
  )
}
