// Keeps other people's claims moving: whoever checks claims has an interest that none stalls, whoever went silent. Each waits a while of its own, so that not
// all pay gas for the same call.

import { type ChainEvent, draw, getClaim, getSpec, lapse, RevertError, redraw, STAGES, settleTask, sweep } from '@bitloom/sdk'
import type { Address } from 'viem'
import { type Court, play } from '../court.ts'
import type { Services } from '../services.ts'
import { apart } from './apart.ts'
import { choreOf, GRACE_SECONDS } from './chores.ts'
import { unit } from './dice.ts'
import { isStill, liveGames } from './moot.ts'
import { auditView } from './read.ts'
import type { Role } from './solve.ts'

/** Beyond the grace of the solver and its submitter: the drawn, whose fees depend on it, come within the first of these, everybody else within the second. */
export const SPREAD_SECONDS = { drawn: 8, others: 24 } as const
/** Between two looks at a claim that is late but not to be moved (a dispute is open, the call was refused). */
const AGAIN_SECONDS = 20

/** Table of claims whose audit is under way, as the log tells of them. */
const OPEN = 'open-claims'
type OpenNote = { readonly stage: string /** Unix seconds. */; readonly due: number }

/**
 * Seconds that this node waits beyond a deadline: from the grace on, evenly spread over the nodes, the same after a restart, and another for every deadline,
 * so that it is not always the same node that pays.
 */
export function patience(me: Address, claimId: bigint, deadline: number, drawn: boolean): number {
  const fraction = unit(me.toLowerCase(), `${claimId} ${deadline}`)
  const { drawn: soon, others } = SPREAD_SECONDS
  return GRACE_SECONDS + (drawn ? soon * fraction : soon + (others - soon) * fraction)
}

/** Moves claims on that are late: draws, redraws, lapses, sweeps, settles, and ends games whose clock has run out. */
export function openKeeper(services: Services, court: Court): Role {
  const { bitloom, me, store, log } = services
  /** Chain time at which a drawable claim was first seen. */
  const seen = new Map<string, number>()
  const notBefore = new Map<string, number>()

  const look = async (claimId: bigint, graceSeconds: number, now: number): Promise<void> => {
    const key = String(claimId)
    const claim = await getClaim(bitloom, claimId)
    if (claim.status !== 'open') {
      store.delete(OPEN, key)
      return
    }
    notBefore.set(key, now + AGAIN_SECONDS)
    const [view, quarrels] = await Promise.all([auditView(bitloom, claimId), court.gamesAbout(claimId)])
    const games = liveGames(store, quarrels)
    const { decoyOneIn } = await getSpec(bitloom, claim.taskId)
    for (const game of games)
      if (!game.decided && now > game.deadline + graceSeconds && !(await isStill(bitloom, claimId, decoyOneIn, now)))
        await play(bitloom, game.gameId, { kind: 'timeout' })
    const chore = choreOf(view, games, now, graceSeconds)
    if (chore === undefined) return
    log('moved-on', { claimId, chore })
    if (chore === 'settle') await settleTask(bitloom, claim.taskId)
    else await { draw, redraw, lapse, sweep }[chore](bitloom, claimId)
    notBefore.delete(key)
  }

  return {
    onEvent: (event: ChainEvent) => {
      if (event.contract !== 'Audit') return
      const { claimId, stage, deadline } = event.args
      const key = String(claimId)
      if (event.name === 'Entered') {
        const entered = STAGES[Number(stage)]!
        if (entered === 'closed') store.delete(OPEN, key)
        else store.put(OPEN, key, { stage: entered, due: Number(deadline) } satisfies OpenNote)
      }
      // a claim that has moved, or whose draw has another block to wait for, is nobody's fault again
      if (event.name === 'Entered' || event.name === 'Anchored') for (const table of [seen, notBefore]) table.delete(key)
    },
    tick: async (now) => {
      for (const { key, value } of store.list<OpenNote>(OPEN)) {
        if (!seen.has(key)) seen.set(key, now)
        // a draw is due as soon as its block is there: that is when this node could first have seen it
        const due = value.stage === 'drawing' ? seen.get(key)! : value.due
        const claimId = BigInt(key)
        const graceSeconds = patience(me, claimId, due, store.has('watched', key))
        if (now <= due + graceSeconds || now < (notBefore.get(key) ?? 0)) continue
        await apart(log, { claimId }, async () => {
          try {
            await look(claimId, graceSeconds, now)
          } catch (error) {
            if (!(error instanceof RevertError)) throw error
            log('refused', { action: 'move on', claimId, error: error.errorName })
          }
        })
      }
      for (const table of [seen, notBefore]) for (const key of table.keys()) if (!store.has(OPEN, key)) table.delete(key)
    },
    working: () => false,
    ended: () => 0,
    idle: async () => undefined,
  }
}
