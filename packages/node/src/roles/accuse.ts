// One side of a dispute: opens it, points at the first thing that its own run does not bear out, down to one scalar, and takes its bond back where it is moot.

import { challengerMove, claimTree, differs, packGame } from '@bitloom/dispute'
import { fromHex, proofOf, toHex } from '@bitloom/graph'
import { type Claim, challenge, challengeBondWei, freeOf, getSpec, RevertError, withdrawMoot } from '@bitloom/sdk'
import { type Court, playIn, type Quarrel, viewOf } from '../court.ts'
import { leafMoment } from '../exchange.ts'
import type { Services } from '../services.ts'
import type { Inspector } from './inspect.ts'
import { isMoot } from './moot.ts'
import { openReplays, type Replays } from './replays.ts'
import { sameAddress } from './views.ts'

export type Accuser = Pick<Replays, 'working' | 'ended' | 'idle'> & {
  /** Opens a dispute about a segment; false where the free balance does not cover its bond. */
  readonly accuse: (claim: Claim, segment: number) => Promise<boolean>
  /** The next move of a game of ours, if what it takes is known by now; else it is computed beside the loop. */
  readonly press: (claim: Claim, gameId: bigint) => Promise<void>
  /** Takes the bonds back of games about a decoy that its claim shows no more. */
  readonly drop: (claimId: bigint, quarrels: readonly Quarrel[]) => Promise<void>
  /** The claim is over: takes the bonds of moot games back, and lets go of what they were about. */
  readonly leave: (claimId: bigint, quarrels: readonly Quarrel[]) => Promise<void>
}

/** @param name of the role, so that two roles of a node keep apart what they compute */
export function openAccuser(services: Services, court: Court, inspector: Inspector, name: string): Accuser {
  const { bitloom, me, store, log } = services
  const replays = openReplays(services)

  /** Moot games whose bond was asked for. */
  const tried = new Set<bigint>()
  const withdraw = async (claimId: bigint, { gameId, closed, challenger }: Quarrel): Promise<void> => {
    if (closed || !sameAddress(challenger, me)) return
    tried.add(gameId)
    try {
      await withdrawMoot(bitloom, gameId)
      log('bond-back', { claimId, gameId })
    } catch (error) {
      if (!(error instanceof RevertError)) throw error
      log('refused', { action: 'withdraw', claimId, gameId, error: error.errorName })
    }
  }

  return {
    accuse: async (claim, segment) => {
      const { claimId } = claim
      const book = await inspector.book(claim)
      if (!book) return false
      const { leaves } = book
      const tree = claimTree(leaves.map((leaf) => ({ stateRoot: fromHex(leaf.stateRoot), probeCommit: fromHex(leaf.probeCommit) })))
      const opening = (j: number) => ({ ...leaves[j]!, proof: proofOf(tree, j).map(toHex) })
      const [free, bond] = await Promise.all([freeOf(bitloom, me), challengeBondWei(bitloom)])
      if (free < bond) {
        log('cannot-challenge', { claimId, freeWei: free, bondWei: bond, mend: 'deposit more tokens' })
        return false
      }
      await challenge(bitloom, claimId, segment, opening(Math.max(0, segment - 1)), opening(segment))
      return true
    },
    press: async (claim, gameId) => {
      const { claimId } = claim
      const quarrel = (await court.gamesAbout(claimId)).find((q) => q.gameId === gameId)
      if (!quarrel || quarrel.closed || quarrel.game.toMove !== 'challenger') return
      const leaf = (await inspector.book(claim))?.leaves[quarrel.segment]
      const { stepsPerCheckpoint: steps } = await getSpec(bitloom, claim.taskId)
      const answer = replays.ask({
        segment: `${name} ${claimId} ${claim.root} ${quarrel.segment}`,
        game: String(gameId),
        by: viewOf(quarrel).deadline,
        load: () => inspector.segment(claim, quarrel.segment),
        answer: (known) => ({
          case: leaf !== undefined && differs(known, steps, leafMoment(leaf)),
          move: challengerMove(quarrel.game, court.revealsIn(gameId), known),
        }),
      })
      if (answer && !answer.case) log('no-case', { claimId, gameId })
      else if (answer?.move) await playIn(bitloom, gameId, packGame(quarrel.game), answer.move)
    },
    drop: async (claimId, quarrels) => {
      for (const q of quarrels) if (isMoot(store, q) && !tried.has(q.gameId)) await withdraw(claimId, q)
    },
    leave: async (claimId, quarrels) => {
      replays.forget((segment) => segment.startsWith(`${name} ${claimId} `))
      for (const q of quarrels) {
        await withdraw(claimId, q)
        tried.delete(q.gameId)
      }
    },
    working: replays.working,
    ended: replays.ended,
    idle: replays.idle,
  }
}
