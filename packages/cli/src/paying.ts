// Before anybody pays: what may be spent and by when, which offers keep to that, what is shown of them, and the yes.

import { createInterface } from 'node:readline/promises'
import { blockSecondsOf, catchChance, expectedSeconds } from '@bitloom/node'
import {
  auditedSegments,
  type Bitloom,
  escrowFor,
  freeOf,
  PROBATION,
  type Quote,
  quoteFor,
  type Spec,
  termsFor,
  tokensOf,
} from '@bitloom/sdk'
import type { LocalAccount } from 'viem'
import { secondsUntil, weiOf } from './amount.ts'
import { type Call, RefusedError } from './command.ts'
import type { Listed } from './market.ts'
import { stretch } from './output.ts'
import type { Ready } from './recipes.ts'
import { big, bold, dim, green, money, percent, short, table } from './render.ts'

export const LIMIT_OPTIONS = {
  budget: { type: 'string', value: 'BLT', help: 'the task never costs more than this, whoever trains it and however often' },
  deadline: { type: 'string', value: 'TIME', help: 'pay for nothing that is not done by then: 90m, 2h, or a date' },
  patience: { type: 'string', value: 'TIME', help: 'how long a task without a solver waits for another offer', default: '60s' },
  yes: { type: 'boolean', help: 'pay without asking' },
} as const

/** What a task may cost and take. */
export type Limits = { readonly budgetWei?: bigint; readonly deadlineSeconds?: number }

/** @throws {UsageError} an amount or a time is none */
export function limitsOf(call: Call): Limits {
  const budgetWei = weiOf(call, 'budget', '5')
  const deadlineSeconds = secondsUntil(call, 'deadline', Date.now())
  return { ...(budgetWei === undefined ? {} : { budgetWei }), ...(deadlineSeconds === undefined ? {} : { deadlineSeconds }) }
}

/** An offer with what this task would cost and take under it. */
export type Priced = Listed & { readonly escrowWei: bigint; readonly seconds: number }

/** What a task costs and takes under each offer. */
export async function priced(bitloom: Bitloom, spec: Spec, listed: readonly Listed[]): Promise<Priced[]> {
  const blockSeconds = await blockSecondsOf(bitloom)
  return listed.map((one) => ({
    ...one,
    escrowWei: escrowFor(spec, termsFor(spec, one.offer)),
    seconds: expectedSeconds(spec, one.offer.operationsPerSecond, { blockSeconds, acceptedBefore: Number(one.record.streak) }),
  }))
}

/**
 * Those offers that keep to the limits, in the order given.
 * @throws {RefusedError} none does
 */
export function within(offers: readonly Priced[], { budgetWei, deadlineSeconds }: Limits): readonly Priced[] {
  const affordable = offers.filter(({ escrowWei }) => budgetWei === undefined || escrowWei <= budgetWei)
  const least = offers.reduce((a, b) => (b.escrowWei < a.escrowWei ? b : a))
  if (affordable.length === 0)
    throw new RefusedError(
      `This may cost ${money(least.escrowWei)}; the budget is ${money(budgetWei!)}.\nRaise --budget, or train fewer slices with --slices.`,
    )
  const inTime = affordable.filter(({ seconds }) => deadlineSeconds === undefined || seconds <= deadlineSeconds)
  const soonest = affordable.reduce((a, b) => (b.seconds < a.seconds ? b : a))
  if (inTime.length === 0)
    throw new RefusedError(
      `This takes about ${stretch(soonest.seconds)} with the fastest offer${affordable.length < offers.length ? ' within the budget' : ''}; the deadline is in ${stretch(deadlineSeconds!)}.\nAllow more time with --deadline, or train fewer slices with --slices.`,
    )
  return inTime
}

/** The offers and the quote of the first of them, for a person. */
export function quoteText(ready: Ready, spec: Spec, offers: readonly Priced[], quote: Quote, limits: Limits): string {
  const first = offers[0]!
  const audited = auditedSegments(spec, PROBATION)
  const rows: [string, string][] = [
    ['work', `${quote.operations.toLocaleString('en')} scalar operations, exactly (${spec.operationsPerStep.toLocaleString('en')} a step)`],
    ['memory', `${big(quote.cost.peakBytes, 'B')} for a step; ${big(quote.cost.stateBytes, 'B')} of state a checkpoint`],
    [
      'price',
      `${money(quote.terms.slicePriceWei)} a slice, ${money(quote.terms.auditFeeWei)} a checked segment: ${money(quote.expectedWei)} expected, ${money(quote.escrowWei)} at the very most`,
    ],
    [
      'time',
      `about ${stretch(first.seconds)}, by the provider’s own figure${limits.deadlineSeconds === undefined ? '' : `; nothing is begun that is not done in ${stretch(limits.deadlineSeconds)}`}`,
    ],
    ...(limits.budgetWei === undefined
      ? []
      : ([['budget', `${money(limits.budgetWei)} for all solvers and verifiers together, if the first one fails too`]] as [
          string,
          string,
        ][])),
    [
      'a cheat on one step',
      `is caught with chance ${percent(catchChance(spec, auditedSegments(spec, 0), 1), 0)} while the solver is new, ${percent(catchChance(spec, audited, 1), 0)} a slice later; then it loses ${money(quote.bondWei)} and the slice’s price`,
    ],
    ['a dispute', `ends after at most ${quote.cost.disputeRounds} exchanges within a step, with one scalar computed by the contract`],
  ]
  return [
    dim(
      `${quote.steps} steps (${ready.prepared.epochs.toFixed(1)} epochs) = ${spec.slices} slices × ${spec.checkpointsPerSlice} segments × ${spec.stepsPerCheckpoint} steps; graph ${short(spec.graphId)}, ${spec.exprs} exprs`,
    ),
    `\n${bold('offers')}, signed and checked`,
    offersFor(offers, spec),
    `\n${bold('quote')}`,
    table(['', ''], rows),
    '',
  ].join('\n')
}

const offersFor = (offers: readonly Priced[], spec: Spec): string =>
  table(
    ['solver', '>per 10¹² ops', '>this task', '>about', '>speed', '>memory', '>at stake', '>accepted', '>lost', '>missed', '>withheld'],
    offers.map(({ offer, record, seconds, stakeWei }, i) => [
      `${short(offer.solver)}${i === 0 ? green('  ← taken first') : ''}`,
      money(offer.weiPerTeraop),
      money(termsFor(spec, offer).slicePriceWei * BigInt(spec.slices)),
      stretch(seconds),
      big(offer.operationsPerSecond, 'op/s'),
      big(offer.memoryBytes, 'B'),
      money(stakeWei),
      String(record.accepted),
      String(record.convictions),
      String(record.missed),
      String(record.withheld),
    ]),
  )

/** The quote under an offer, with its provider's past. */
export const quoteOf = (spec: Spec, ready: Ready, { offer, record }: Listed): Quote =>
  quoteFor(spec, ready.prepared.job.graph, offer, Number(record.streak))

/**
 * Prices are shown before they are paid; paying needs a yes.
 * @throws {RefusedError} too little money, or no yes
 */
export async function mayPay(call: Call, bitloom: Bitloom, account: LocalAccount, escrowWei: bigint): Promise<void> {
  const have = (await freeOf(bitloom, account.address)) + (await tokensOf(bitloom, account.address))
  if (have < escrowWei)
    throw new RefusedError(
      `The escrow is ${money(escrowWei)}; ${account.address} has ${money(have)}.\nOn a development chain: bitloom wallet fund`,
    )
  if (call.flag('yes')) return
  if (!process.stdin.isTTY) throw new RefusedError('Nothing was paid: add --yes to pay without being asked.')
  const prompt = createInterface({ input: process.stdin, output: process.stderr })
  const answer = await prompt.question(`Put ${money(escrowWei)} in escrow? [y/N] `)
  prompt.close()
  if (!/^y(es)?$/i.test(answer.trim())) throw new RefusedError('Nothing was paid.')
}
