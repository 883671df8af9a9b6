// A whole game in process, both sides played to the end: for tests, for examples, and for asking beforehand how a quarrel would go.

import { graphId, rootOf, stateSlots } from '@bitloom/graph'
import { begin } from './claims.ts'
import { moment, PROBE_START, probeCommit } from './commit.ts'
import type { ErrorName, Game, Move, Outcome, Side, Terms, Verdict } from './game.ts'
import type { Knowledge } from './knowledge.ts'
import { apply } from './moves.ts'
import { challengerMove, type Reveal, revealsOf, solverMove } from './player.ts'

/** The numbers of a game about a graph, as its spec would have them. */
export const termsFor = (knowledge: Knowledge, stepsPerCheckpoint: number, clockSeconds = 600): Terms => ({
  graphId: graphId(knowledge.graph),
  dataRoot: rootOf(knowledge.dataTree),
  exprs: knowledge.graph.exprs.length,
  stateSlots: stateSlots(knowledge.graph),
  dataSlots: knowledge.graph.slots.length - stateSlots(knowledge.graph),
  probe: knowledge.graph.probe,
  stepsPerCheckpoint,
  clockSeconds,
})

/** A game about the whole segment as `solver` claims it, from a start that both accept. */
export function openGame(solver: Knowledge, stepsPerCheckpoint: number, clockSeconds = 600): Game {
  const [start, end] = [solver.parts(0), solver.parts(stepsPerCheckpoint)]
  return begin(
    termsFor(solver, stepsPerCheckpoint, clockSeconds),
    moment(start.stateRoot, probeCommit(PROBE_START)),
    moment(end.stateRoot, probeCommit(end.chain)),
    0,
  )
}

export type Played = { readonly by: Side; readonly before: Game; readonly move: Move; readonly after: Game }
/** `stuck`: why the last move that a side wanted to make was refused, where it lost by its clock because of that. */
export type Match = {
  readonly moves: readonly Played[]
  readonly game: Game
  readonly verdict: Verdict
  readonly stuck?: ErrorName
  /** Rounds: a reveal of the solver's with the challenger's answer is one. */
  readonly exchanges: number
}

/**
 * Plays a game to its verdict, a second a move; a side that knows no legal move runs out of time.
 * @throws {Error} the game does not end
 */
export function play(game: Game, solver: Knowledge, challenger: Knowledge): Match {
  const moves: Played[] = []
  const reveals: Reveal[] = []
  let now = game.movedAt
  for (let n = 0; n < 200; n++) {
    const by = game.toMove
    const wanted = by === 'solver' ? solverMove(game, solver) : challengerMove(game, reveals, challenger)
    now += 1
    let move: Move = wanted ?? { kind: 'timeout' }
    let outcome: Outcome | undefined = wanted && apply(game, wanted, now)
    let stuck: ErrorName | undefined
    if (!outcome?.ok) {
      stuck = outcome?.error
      move = { kind: 'timeout' }
      now += by === 'solver' ? game.solverClock : game.challengerClock
      outcome = apply(game, move, now)
      if (!outcome.ok) throw new Error(`a clock that ran out does not end the game: ${outcome.error}`)
    }
    reveals.push(...revealsOf(game, move))
    moves.push({ by, before: game, move, after: outcome.game })
    game = outcome.game
    if (outcome.verdict) {
      const solvers = moves.filter((m) => m.by === 'solver' && m.move.kind !== 'timeout').length
      return { moves, game, verdict: outcome.verdict, exchanges: solvers, ...(stuck ? { stuck } : {}) }
    }
  }
  throw new Error(`no verdict after ${moves.length} moves; the game stands at level ${game.level}`)
}
