// One task's part of the chain's log, and the sentences for what the narrator of training leaves out.

import type { Graph } from '@bitloom/graph'
import type { ChainEvent, Spec } from '@bitloom/sdk'
import { narrator } from './narrate.ts'
import { count, stretch } from './output.ts'
import { bold, dim, money, red, short, yellow } from './render.ts'

/** Keeps what concerns a task: its own events, those of its claims, those of disputes about them. Feed it everything, in order. */
export function follow(taskId: bigint): (events: readonly ChainEvent[]) => ChainEvent[] {
  const claims = new Set<unknown>()
  const games = new Set<unknown>()
  return (events) =>
    events.filter(({ name, args }) => {
      if (args.taskId === taskId && name === 'Claimed') claims.add(args.claimId)
      if (name === 'Challenged' && claims.has(args.claimId)) games.add(args.gameId)
      return (
        args.taskId === taskId ||
        (args.claimId !== undefined && claims.has(args.claimId)) ||
        (args.gameId !== undefined && games.has(args.gameId))
      )
    })
}

/** A graph of which nothing is known: exprs go by their numbers. */
const UNKNOWN: Graph = { slots: [], exprs: [], next: [], probe: 0 }

/** Tells a task's events in plain words; none for what only machines want to hear. */
export function teller(spec: Spec, graph: Graph | undefined): (event: ChainEvent) => readonly string[] {
  const story = narrator(spec, graph ?? UNKNOWN)
  return (event) => {
    const told = more(event)
    if (told !== undefined) return told
    // without the graph the narrator can only say that the graph has no such expr, which is not what is meant
    return story
      .tell(event)
      .map((line) =>
        line.replace(/(expr \d+): expr \d+, which the graph does not have/, '$1').replace(', which the graph does not have', ''),
      )
  }
}

function more({ contract, name, args, blockNumber }: ChainEvent): readonly string[] | undefined {
  const who = (key: string): string => short(String(args[key]))
  const wei = (key: string): string => money(args[key] as bigint)
  switch (name) {
    case 'Submitted':
      return [`${bold('submitted')}  task ${args.taskId} by ${who('submitter')} ${dim(`in block ${blockNumber}`)}`]
    case 'Offered':
      return [
        `${bold('offered')}    to ${who('solver')}${Number(args.fromSlice) > 0 ? ` from slice ${Number(args.fromSlice) + 1} on` : ''}; ${wei('escrowWei')} in escrow`,
      ]
    case 'Expired':
      return [yellow(`${who('solver')} did not take it in time`)]
    case 'Cancelled':
      return [yellow(`cancelled: ${wei('refundWei')} of escrow back with the submitter`)]
    case 'NobodyDrawn':
      return [yellow(`  drawn    nobody: there are too few verifiers with seats; it is tried again`)]
    case 'Restarted':
      return [yellow(`  the audit starts again (round ${Number(args.round) + 1})`)]
    case 'Failed':
      return [red(`  the audit failed${args.fault ? ': the solver withheld what it had to show' : ''}`)]
    case 'Withdrawn':
      return contract === 'Dispute' ? [dim(`  dispute ${args.gameId} is moot: the claim fell for another reason`)] : []
    default:
      return undefined
  }
}

/** How long until a unix second, or that it is over. */
export const untilText = (deadline: number, now: number): string =>
  deadline === 0 ? '–' : deadline > now ? `in ${stretch(deadline - now)}` : `over for ${stretch(now - deadline)}`

/** `2 of 4 slices`. */
export const progressText = (accepted: number, spec: Pick<Spec, 'slices'>): string => `${accepted} of ${count(spec.slices, 'slice')}`
