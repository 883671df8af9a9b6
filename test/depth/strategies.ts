// Ways to play a dispute dishonestly, each a small function of what its side sees. `contest` plays one against an honest side, by the rules of the contract's twin,
// and writes the moves down so that a chain can be asked the same.

import {
  apply,
  begin,
  broughtGame,
  type Case,
  type Checkpoint,
  challengerMove,
  checkpointMoment,
  claimRoot,
  type Game,
  type Knowledge,
  type Move,
  type Opened,
  type Outcome,
  openCheckpoint,
  type Packed,
  packGame,
  partsOf,
  probeCommit,
  type Reveal,
  revealsOf,
  type Side,
  STEPS,
  solverMove,
  startMoment,
  stateHash,
  TERMS,
  takeOf,
  termsFor,
  type Verdict,
} from '@bitloom/dispute'
import { chunkTree, partHashes, widthOf } from '@bitloom/dispute/claims'
import { merkleTree, nodeAt, proofOf, sha256, type Tree } from '@bitloom/graph'
import type { Players, Script, Tried } from '../e2e/dispute-games.ts'

type Roll = (n: number) => number

/** What a side sees when it is to move. */
export type Turn = {
  readonly game: Game
  /** The best move that its own run gives, if any; `other`: that of a second run, another lie. */
  readonly own: Move | undefined
  readonly other: Move | undefined
  /** The accepted start of the interval of steps. */
  readonly lo: Uint8Array
  /** Every move of the game so far, and what the solver has revealed. */
  readonly moves: readonly Move[]
  readonly reveals: readonly Reveal[]
  /** Seconds that its clock has left. */
  readonly left: number
  readonly roll: Roll
}

/** A move to try, after `wait` seconds of thinking beyond the first; `stale`: in the game as it stood a move before. */
export type Try = { readonly move: Move; readonly wait?: number; readonly stale?: boolean }
/** Moves in the order in which they are tried; the first that the rules take is played. None: silence, until the clock has run out. */
export type Strategy = (turn: Turn) => readonly Try[]

const some = (move: Move | undefined, wait = 0): Try[] => (move ? [{ move, wait }] : [])
const noise = (roll: Roll): Uint8Array => Uint8Array.from(sha256(Uint8Array.from({ length: 8 }, () => roll(256))))

/** Never moves. */
export const silent: Strategy = () => []

/** Thinks until the last second of its clock, which leaves it none for another move. */
export const lastSecond: Strategy = ({ own, left }) => some(own, left - 1)

/** Thinks for half of what it has left, every time. */
export const slow: Strategy = ({ own, left }) => some(own, Math.max(0, Math.floor(left / 2) - 1))

/** Moves a second after its clock has run out. */
export const tooLate: Strategy = ({ own, left }) => some(own, left)

/** Plays well until the fourth move, then falls silent. */
export const leaves: Strategy = ({ own, moves }) => (moves.length < 4 ? some(own) : [])

/** As good a game as its wrong run allows. */
export const stubborn: Strategy = ({ own }) => some(own)

const picked = (tree: Tree, index: number) => ({ index, path: [nodeAt(tree, 0, index), ...proofOf(tree, index)] })

/** A move of the right form with nothing behind it: random values, random picks; its own where none is left. */
export const randomLegal: Strategy = ({ game, own, lo, reveals, roll }) => {
  const shown = reveals.at(-1)?.values ?? []
  const between = (most: number): number => partsOf(game.to - game.from, most) - 1
  if (game.toMove === 'solver') {
    if (game.level === 'steps') return [{ move: { kind: 'bisect', values: Array.from({ length: between(STEPS) }, () => noise(roll)) } }]
    if (game.level === 'fold') return [{ move: { kind: 'bisectFold', words: Array.from({ length: between(TERMS) }, () => roll(2 ** 32)) } }]
    return some(own)
  }
  switch (game.level) {
    case 'steps': {
      const list = [lo, ...shown, game.hi]
      const index = roll(list.length - 1)
      const path = [list[index]!, list[index + 1]!, ...proofOf(merkleTree(partHashes(list)), index)]
      return [{ move: { kind: 'pick', picked: { index, path } } }]
    }
    case 'fold':
      return [{ move: { kind: 'pick', picked: { index: roll(between(TERMS) + 1), path: [] } } }, ...some(own)]
    case 'trace':
    case 'state':
    case 'tensor':
      return [{ move: { kind: 'pick', picked: picked(merkleTree(shown), roll(2 ** takeOf(game.depth))) } }, ...some(own)]
    case 'chunk': {
      const index = roll(1024 / widthOf(game))
      const { path } = picked(chunkTree(shown[0]!), Math.floor((index * widthOf(game)) / 32))
      return [{ move: { kind: 'pickElement', picked: { index, path } } }, ...some(own)]
    }
    default:
      return some(own)
  }
}

/** Reveals that hash to nothing that was committed to, right in length alone. */
export const unhashed: Strategy = ({ own, roll }) => {
  if (own?.kind === 'open')
    return [
      { move: { ...own, opened: { ...own.opened, postState: noise(roll) } } },
      { move: { ...own, opened: { ...own.opened, preChain: noise(roll) } } },
      { move: { ...own, values: own.values.map(() => noise(roll)) } },
    ]
  if (own?.kind === 'descend') return [{ move: { ...own, values: own.values.map(() => noise(roll)) } }]
  if (own?.kind === 'showChunk') return [{ move: { ...own, chunk: own.chunk.map(() => roll(256)) } }]
  return some(own)
}

/** Its own run at one turn, another lie's at the next: reveals that do not fit one another. */
export const inconsistent: Strategy = ({ own, other, moves }) => (moves.length % 4 < 2 ? some(own) : [...some(other), ...some(own)])

/** The other side's moves, said after it. */
export const copycat: Strategy = ({ moves }) => moves.toReversed().map((move) => ({ move }))

/** Moves of its own that were right once. */
export const replays: Strategy = ({ moves, own }) => [...moves.slice(0, -2).map((move) => ({ move })), ...some(own)]

/** Its own move in a game that has moved on since, first. */
export const oldStates: Strategy = ({ own }) => (own ? [{ move: own, stale: true }, { move: own }] : [])

/** What is another level's, or the other side's, before its own. */
export const outOfOrder: Strategy = ({ game, own, reveals, roll }) => {
  const opened: Opened = { preState: noise(roll), preChain: noise(roll), postState: noise(roll), postChain: noise(roll) }
  const nowhere = { index: 0, path: [] }
  const any: Move[] = [
    { kind: 'enterState', postState: noise(roll), postCommit: noise(roll) },
    { kind: 'showChunk', chunk: new Uint8Array(1024) },
    { kind: 'pickElement', picked: nowhere },
    { kind: 'descend', values: [noise(roll)] },
    { kind: 'bisect', values: (reveals.at(-1)?.values ?? []).filter((v) => v.length === 32) },
    { kind: 'bisectFold', words: [roll(9), 0] },
    { kind: 'proveProbe', opened, probe: { value: noise(roll), proof: [] } },
    { kind: 'provePadding', picked: nowhere },
    { kind: 'proveTail', picked: nowhere },
    { kind: 'timeout' },
  ]
  return [...any.filter((move) => !apply(game, move, game.movedAt + 1).ok).map((move) => ({ move })), ...some(own)]
}

/** Its own move with one thing wrong in it: an index, a length, a byte. Never the move itself. */
export const illegal: Strategy = ({ game, own, roll }) => {
  if (!own) return []
  const wrongs = Array.from({ length: 6 }, () => ({ move: twisted(own, roll) }))
  return wrongs.filter(({ move }) => !apply(game, move, game.movedAt + 1).ok)
}

/** The same, until it tires of it. */
export const illegalFirst: Strategy = (turn) => [...illegal(turn), ...some(turn.own)]

/** A copy of a move with one number, one byte or one length changed. */
function twisted(move: Move, roll: Roll): Move {
  const copy = structuredClone(move) as Move
  const places: (() => void)[] = []
  const visit = (value: unknown, put: (v: unknown) => void): void => {
    if (typeof value === 'number') places.push(() => put(value + 1 + roll(64)))
    else if (value instanceof Uint8Array) {
      if (value.length > 0) places.push(() => put(value.with(roll(value.length), roll(256))))
      if (value.length !== 32) places.push(() => put(value.subarray(roll(2) + 1)))
    } else if (Array.isArray(value)) {
      places.push(
        () => put(value.slice(1)),
        () => put([...value, ...value.slice(0, 1)]),
      )
      value.forEach((v, i) => {
        visit(v, (next) => {
          value[i] = next
        })
      })
    } else if (typeof value === 'object' && value !== null)
      for (const [key, v] of Object.entries(value))
        if (key !== 'kind')
          visit(v, (next) => {
            ;(value as Record<string, unknown>)[key] = next
          })
  }
  visit(copy, () => undefined)
  places[roll(places.length)]?.()
  return copy
}

/** All of them, by name. */
export const STRATEGIES: Readonly<Record<string, Strategy>> = {
  ...{
    silent,
    lastSecond,
    slow,
    tooLate,
    leaves,
    stubborn,
    randomLegal,
    unhashed,
    inconsistent,
    copycat,
    replays,
    outOfOrder,
    illegal,
    illegalFirst,
  },
}

/** Who meets whom: an honest run, a wrong one, a second wrong one; `honest` says which side the right run is on. */
export type Meeting = {
  readonly name: string
  readonly honest: Side
  readonly right: Knowledge
  readonly wrong: Knowledge
  readonly other: Knowledge
  readonly steps: number
  readonly clockSeconds: number
}

/** A contest as played, ready to be put to a chain; `reveals`: what an honest side that was there remembers. */
export type Contest = { readonly script: Script; readonly verdict: Verdict; readonly turns: number }

const NOBODY: Players = { claimId: 0, solver: new Uint8Array(20), challenger: new Uint8Array(20) }

/**
 * Plays a strategy against an honest side, from unix second `base`.
 * @throws {StrategyError} a move of the honest side's is refused, or the game does not end
 */
export function contest(m: Meeting, strategy: Strategy, roll: Roll, base: number, players: Players = NOBODY): Contest {
  const solver = m.honest === 'solver' ? m.right : m.wrong
  const [start, end] = [solver.parts(0), solver.parts(m.steps)]
  const checkpoints: Checkpoint[] = [{ stateRoot: end.stateRoot, probeCommit: probeCommit(end.chain) }]
  const opening = openCheckpoint(checkpoints, 0)
  const terms = termsFor(solver, m.steps, m.clockSeconds)
  const about: Case = { ...players, segment: 0, root: claimRoot(checkpoints) }
  const opened = begin(terms, startMoment(start.stateRoot), checkpointMoment(checkpoints[0]!), base, about)
  const tries: Tried[] = []
  const moves: Move[] = []
  const reveals: Reveal[] = []
  let [game, now, lo] = [opened, base, opened.lo]
  let stale: Packed | undefined
  const best = (k: Knowledge): Move | undefined => (game.toMove === 'solver' ? solverMove(game, k) : challengerMove(game, reveals, k))
  /** Tries a move `wait` seconds after the earliest moment; refused for the clock alone it has cost that time. */
  const attempt = (move: Move, wait: number, brought: Packed = packGame(game)): Outcome => {
    const at = now + 1 + wait
    const was = broughtGame(stateHash(packGame(game)), brought)
    const outcome = was.ok ? apply(was.game, move, at) : was
    const late = !outcome.ok && (wait > 0 || outcome.error === 'ClockRanOut')
    tries.push({ move, brought, at, late, outcome })
    if (outcome.ok || late) now = at
    return outcome
  }
  for (let turns = 1; turns <= 400; turns++) {
    const clock = game.toMove === 'solver' ? game.solverClock : game.challengerClock
    const left = game.movedAt + clock - now
    let outcome: Outcome | undefined
    let played: Move | undefined
    if (game.toMove === m.honest) {
      const move = best(m.right)
      if (move) {
        outcome = attempt(move, 0)
        played = move
        if (!outcome.ok) throw new StrategyError(`${m.name}: the honest ${m.honest}'s ${move.kind} is refused with ${outcome.error}`)
      }
    } else {
      const own = best(m.wrong)
      const other = best(m.other)
      for (const { move, wait = 0, stale: old = false } of strategy({ game, own, other, lo, moves, reveals, left, roll })) {
        if (old && !stale) continue
        played = move
        outcome = attempt(move, Math.max(0, wait), old ? stale : undefined)
        if (outcome.ok) break
      }
    }
    if (!outcome?.ok) {
      // Whoever waits for the clock to run out may say so too early once.
      const rest = game.movedAt + clock - now
      if (rest > 1) attempt({ kind: 'timeout' }, rest - 1)
      played = { kind: 'timeout' }
      outcome = attempt(played, Math.max(0, game.movedAt + clock - now))
      if (!outcome.ok) throw new StrategyError(`${m.name}: a clock that ran out does not end the game: ${outcome.error}`)
    }
    moves.push(played!)
    reveals.push(...revealsOf(game, played!))
    stale = packGame(game)
    game = outcome.game
    if (game.level === 'steps' && game.toMove === 'solver') lo = game.lo
    if (outcome.verdict) {
      const challenge = { segment: 0, start: opening, end: opening }
      const script = {
        name: m.name,
        terms,
        segments: 1,
        root: claimRoot(checkpoints),
        startState: start.stateRoot,
        challenge,
        sealedUntil: 0,
        game: opened,
        tries,
      }
      return { script, verdict: outcome.verdict, turns }
    }
  }
  throw new StrategyError(`${m.name}: no verdict after 400 turns; the game stands at level ${game.level}`)
}

/** A contest that cannot be: the honest side's fault, or the rules'. */
export class StrategyError extends Error {
  override name = 'depth.StrategyError'
}
