// The verifier: audits the segments it was drawn for, seals, reveals, and walks a liar down. Pure; node.ts carries it out.

import type { Address } from 'viem'
import { type AuditView, type GameView, sameAddress } from './views.ts'

export type Verdict = 'same' | 'different' | 'unavailable'
/** Codes of Audit.sol. */
export const VERDICT: Readonly<Record<Verdict, number>> = { same: 1, different: 2, unavailable: 3 }

/** What this node found out about a claim; written to disk before it is sealed. */
export type VerifierMemory = {
  readonly verdict?: Verdict
  /** First segment that differs from the claim as it stands: not the one that was sealed about, where that showed a decoy. */
  readonly different?: number
  /** It may differ on purpose: whether it does is told when the claim is opened, and until then there is nothing to prove. */
  readonly maybeDecoy?: boolean
}

export type VerifierAction =
  | { readonly do: 'audit' | 'concede' | 'seal' | 'reveal'; readonly claimId: bigint }
  | { readonly do: 'challenge'; readonly claimId: bigint; readonly segment: number }
  | { readonly do: 'press' | 'timeout'; readonly gameId: bigint }

/**
 * Before the time to seal is over, a verifier that knows nothing yet seals *unavailable*: whoever serves slowly, or cuts segments that nobody runs in
 * time, must not cost it its seat. A block of Ethereum and some.
 */
export const LAST_SECONDS = 15

const includes = (list: readonly Address[], who: Address): boolean => list.some((a) => sameAddress(a, who))

/** The challenger's next actions in its games about one claim. */
export function challengerActions(me: Address, games: readonly GameView[], nowSeconds: number): VerifierAction[] {
  const actions: VerifierAction[] = []
  for (const game of games) {
    if (!sameAddress(game.challenger, me) || game.decided) continue
    if (!game.solverToMove) actions.push({ do: 'press', gameId: game.gameId })
    else if (nowSeconds > game.deadline) actions.push({ do: 'timeout', gameId: game.gameId })
  }
  return actions
}

/** The verifier's next actions on one claim, most urgent first. */
export function verifierActions(
  me: Address,
  audit: AuditView,
  games: readonly GameView[],
  memory: VerifierMemory,
  nowSeconds: number,
): VerifierAction[] {
  const actions = challengerActions(me, games, nowSeconds)
  const { claimId } = audit
  if (!audit.assignments.some((a) => sameAddress(a.verifier, me)) || audit.stage === 'void') return actions
  if (memory.verdict === undefined) {
    if (audit.stage !== 'sealing' || nowSeconds > audit.deadline) return actions
    return [...actions, { do: nowSeconds > audit.deadline - LAST_SECONDS ? 'concede' : 'audit', claimId }]
  }
  if (audit.stage === 'sealing' && !includes(audit.sealed, me)) actions.push({ do: 'seal', claimId })
  if (audit.stage === 'revealing' && includes(audit.sealed, me) && !includes(audit.revealed, me)) actions.push({ do: 'reveal', claimId })
  // Before it is revealed already: an open dispute keeps a solver that was found out from not disclosing, which costs it only a quarter of its bond.
  const shut = audit.stage !== 'sealing' && audit.stage !== 'drawing' && includes(audit.sealed, me)
  if (memory.different !== undefined && !memory.maybeDecoy && shut && !games.some((g) => sameAddress(g.challenger, me)))
    actions.push({ do: 'challenge', claimId, segment: memory.different })
  return actions
}
