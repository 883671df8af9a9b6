// The solver: what to do next, given what the chain says and what this node has. Pure; node.ts carries it out.

import type { Address } from 'viem'
import { choreOf } from './chores.ts'
import { type AuditView, type GameView, sameAddress, type TaskView } from './views.ts'

/** What this node has of a task. */
export type SolverMemory = {
  /** Contents fetched and checked; `refused` says why they never will be. */
  readonly contents: boolean
  readonly refused?: string
  /** How the open claim stands to its seal, until that is opened. */
  readonly sealed?: SealedClaim
  /** Slices trained and stored, counted from the task's first. */
  readonly trained: number
}

/** A claim whose seal is not opened: whether it shows a decoy, and unix seconds by which it must be opened. */
export type SealedClaim = { readonly decoy: boolean; readonly openBy: number; readonly discloseSeconds: number }

export type SolverAction =
  | { readonly do: 'fetch' | 'confirm' | 'claim' | 'open' | 'settle' | 'drop' }
  | { readonly do: 'train'; readonly slice: number }
  | { readonly do: 'draw' | 'disclose' | 'redraw' | 'sweep'; readonly claimId: bigint }
  | { readonly do: 'defend' | 'timeout'; readonly gameId: bigint }

/** Slices that a solver trains beyond the one being audited: enough to keep it busy, little to lose. */
export const AHEAD = 1

/**
 * The solver's next actions on one task, most urgent first. Each is safe to repeat: the chain refuses what was done already.
 * @param games undecided disputes about the task's claim
 */
export function solverActions(
  me: Address,
  task: TaskView,
  audit: AuditView | undefined,
  games: readonly GameView[],
  memory: SolverMemory,
  nowSeconds: number,
): SolverAction[] {
  const actions: SolverAction[] = []
  if (!sameAddress(task.solver, me) || task.status === 'halted' || task.status === 'done' || task.status === 'cancelled')
    return [{ do: 'drop' }]
  // games about a sealed claim stand still until it is opened, and about a decoy there is nothing to defend
  const { sealed } = memory
  const still = sealed !== undefined && (sealed.decoy || nowSeconds <= sealed.openBy)
  for (const game of still ? [] : games) {
    if (!sameAddress(game.solver, me) || game.decided) continue
    if (game.solverToMove) actions.push({ do: 'defend', gameId: game.gameId })
    else if (nowSeconds > game.deadline) actions.push({ do: 'timeout', gameId: game.gameId })
  }
  if (task.status === 'offered') {
    if (memory.refused === undefined && nowSeconds <= task.deadline) actions.push({ do: memory.contents ? 'confirm' : 'fetch' })
    return actions
  }
  if (!memory.contents) return [...actions, { do: 'fetch' }]
  if (task.claimId !== 0n && audit) {
    const chore = choreOf(audit, games, nowSeconds, 0)
    if (chore === 'draw' || chore === 'redraw' || chore === 'sweep') actions.push({ do: chore, claimId: audit.claimId })
    // an audit that does not get to the disclosure must not keep a decoy from being opened in time
    const before = audit.stage === 'drawing' || audit.stage === 'sealing'
    if (sealed?.decoy && before && nowSeconds + sealed.discloseSeconds >= sealed.openBy) actions.push({ do: 'open' })
    if (audit.stage === 'disclosing') actions.push({ do: 'disclose', claimId: audit.claimId })
    if (audit.stage === 'passed' && games.every((g) => g.decided)) actions.push({ do: 'settle' })
  }
  if (task.claimId === 0n && memory.trained > task.slice) actions.push({ do: 'claim' })
  if (memory.trained < task.slices && memory.trained <= task.slice + AHEAD) actions.push({ do: 'train', slice: memory.trained })
  return actions
}
