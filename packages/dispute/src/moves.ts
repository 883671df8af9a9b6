// A move played: the game after it, or its verdict, or the error with which the contract refuses it. Whose turn it is for what stands here, once.

import {
  awake,
  bisect,
  bisectFold,
  descend,
  enterState,
  need,
  open,
  pick,
  pickElement,
  RefusedMove,
  showChunk,
  showExpr,
  turn,
} from './claims.ts'
import type { Game, Level, Move, Outcome, Side, Verdict } from './game.ts'
import { packGame, unpackGame } from './game-state.ts'
import { convicted, proveElement, proveInput, provePadding, proveProbe, proveState, proveTail, proveTerm } from './grounds.ts'
import { ArbiterError } from './leaf.ts'

/** The levels and the side whose turn allows a move. */
const TURNS: Record<Exclude<Move['kind'], 'timeout'>, readonly [Side, readonly Level[]]> = {
  bisect: ['solver', ['steps']],
  bisectFold: ['solver', ['fold']],
  open: ['solver', ['open']],
  descend: ['solver', ['trace', 'state', 'tensor']],
  showChunk: ['solver', ['chunk']],
  pick: ['challenger', ['steps', 'fold', 'trace', 'state', 'tensor']],
  enterState: ['challenger', ['trace']],
  showExpr: ['challenger', ['trace']],
  pickElement: ['challenger', ['chunk']],
  proveProbe: ['challenger', ['trace']],
  proveInput: ['challenger', ['trace']],
  provePadding: ['challenger', ['trace', 'state', 'tensor']],
  proveState: ['challenger', ['state']],
  proveTail: ['challenger', ['chunk']],
  proveElement: ['challenger', ['chunk']],
  proveTerm: ['challenger', ['fold']],
}

/** Who makes a move of this kind; a timeout is anybody's. */
export const moverOf = (kind: Move['kind']): Side | 'anybody' => (kind === 'timeout' ? 'anybody' : TURNS[kind][0])

/** Whether `move` is one for this level and turn; what it carries is not looked at. */
export function isTurn(game: Game, kind: Move['kind']): boolean {
  if (kind === 'timeout') return game.level !== 'over'
  const [side, levels] = TURNS[kind]
  return side === game.toMove && levels.includes(game.level)
}

/**
 * The game after `move` at unix second `now`, with a verdict where it ends; or the name of the error with which the contract refuses it.
 * Who sent it is not asked here: the move's kind says whose it is, and the contract checks the sender.
 * @param sealedUntil when a fresh game's claim was opened, or has to be (unix seconds); 0 where there is nothing to open
 */
export function apply(game: Game, move: Move, now: number, sealedUntil = 0): Outcome {
  try {
    const mover = moverOf(move.kind)
    const woken = game.fresh && mover !== 'challenger' ? awake(game, now, sealedUntil) : game
    if (mover === 'anybody') return over(woken, timeout(woken, now))
    const [side, levels] = TURNS[move.kind as Exclude<Move['kind'], 'timeout'>]
    const played = turn(woken, side, levels, now)
    const verdict = ended(played, game.level, move)
    if (verdict) return over(played, verdict)
    // through its bytes: what they do not say is not known
    return { ok: true, game: unpackGame(packGame(goneOn(played, game.level, move))) }
  } catch (error) {
    if (error instanceof RefusedMove || error instanceof ArbiterError) return { ok: false, error: error.code }
    throw error
  }
}

function goneOn(game: Game, level: Level, move: Move): Game {
  switch (move.kind) {
    case 'bisect':
      return bisect(game, move.values)
    case 'bisectFold':
      return bisectFold(game, move.words)
    case 'open':
      return open(game, move)
    case 'descend':
      return descend(game, move.values)
    case 'showChunk':
      return showChunk(game, move.chunk)
    case 'pick':
      return pick(game, level, move.picked)
    case 'enterState':
      return enterState(game, move.postState, move.postCommit)
    case 'showExpr':
      return showExpr(game, move)
    case 'pickElement':
      return pickElement(game, move.picked)
    default:
      throw new RangeError(`${move.kind} ends a game`)
  }
}

function ended(game: Game, level: Level, move: Move): Verdict | undefined {
  switch (move.kind) {
    case 'proveProbe':
      return proveProbe(game, move)
    case 'proveInput':
      return proveInput(game, move)
    case 'provePadding':
      return provePadding(game, level, move)
    case 'proveState':
      return proveState(game, move)
    case 'proveTail':
      return proveTail(game, move)
    case 'proveElement':
      return proveElement(game, move)
    case 'proveTerm':
      return proveTerm(game, move)
    default:
      return undefined
  }
}

function timeout(game: Game, now: number): Verdict {
  need(game.level !== 'over', 'WrongMove')
  need(now - game.movedAt > (game.toMove === 'solver' ? game.solverClock : game.challengerClock), 'ClockRuns')
  return convicted({ ground: 'clock', convicted: game.toMove === 'solver' })
}

/** The game as it stood before its last move, over. */
const over = (game: Game, verdict: Verdict): Outcome => ({ ok: true, game: { ...game, level: 'over' }, verdict })
