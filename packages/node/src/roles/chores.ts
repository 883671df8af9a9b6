// What anybody may do to move an audit on when those whose turn it is have let their time pass. Pure; the chain refuses what is not due.

import type { AuditView, GameView } from './views.ts'

export type Chore = 'draw' | 'redraw' | 'lapse' | 'sweep' | 'settle'

/** Seconds that the others leave the solver to do what is its own interest first (draw, settle), so that not all do it at once. */
export const GRACE_SECONDS = 5

/**
 * The call that moves a claim's audit on, if one is due.
 * @param graceSeconds waited beyond the chain's own deadlines: 0 for the solver, whose pay depends on it
 */
export function choreOf(audit: AuditView, games: readonly GameView[], nowSeconds: number, graceSeconds: number): Chore | undefined {
  if (audit.stage === 'drawing') return audit.drawable ? 'draw' : undefined
  if (nowSeconds <= audit.deadline + graceSeconds) return undefined
  if (audit.stage === 'sealing') return 'redraw'
  if (audit.stage === 'disclosing') return 'lapse'
  if (!games.every((g) => g.decided)) return undefined
  if (audit.stage === 'passed') return 'settle'
  // the time to reveal is over and the verdicts do not carry the claim: broken words are punished, and others are drawn
  return audit.stage === 'challenging' ? 'sweep' : undefined
}
