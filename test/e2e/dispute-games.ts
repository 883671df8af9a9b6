// Seeded disputes as scripts: every move in order, legal ones and refused ones, with what TypeScript says comes of each. A chain is then asked the same.

import {
  apply,
  begin,
  broughtGame,
  type Case,
  type Challenge,
  type Checkpoint,
  callOf,
  challengerMove,
  cheat,
  checkpointMoment,
  claimRoot,
  type Game,
  type Knowledge,
  type Lie,
  type Move,
  type Outcome,
  openCheckpoint,
  type Packed,
  packGame,
  probeCommit,
  type Reveal,
  replay,
  revealsOf,
  solverMove,
  startMoment,
  stateHash,
  type Terms,
  termsFor,
} from '@bitloom/dispute'
import { claims, honest } from '@bitloom/dispute/alphabet'
import { everyOp } from '@bitloom/dispute/everyop'
import { elementOf } from '@bitloom/dispute/knowledge'
import { interpret, sha256, sizeOf, toHex } from '@bitloom/graph'

/** A quarrel to be played: both sides' runs, and where in its slice the segment stands. */
export type Quarrel = {
  readonly name: string
  readonly solver: Knowledge
  readonly challenger: Knowledge
  readonly steps: number
  readonly segment: number
  readonly segments: number
  readonly clockSeconds: number
  /** Seconds for which the claim stays sealed; absent: it never was. */
  readonly sealedFor?: number
  /** Turns after which a side falls silent. */
  readonly silentAfter?: number
}

/** Who plays, about which claim; the segment and the claim's root are the script's. */
export type Players = Pick<Case, 'claimId' | 'solver' | 'challenger'>

/**
 * A move that was tried: refused ones carry the error's name, others the game after. `brought`: how its sender says that the game stands. `late`: time
 * had to pass for it to be tried.
 */
export type Tried = {
  readonly move: Move
  readonly brought: Packed
  readonly at: number
  readonly late: boolean
  readonly outcome: Outcome
}
export type Script = {
  readonly name: string
  readonly terms: Terms
  readonly segments: number
  readonly root: Uint8Array
  readonly startState: Uint8Array
  readonly challenge: Challenge
  /** Unix second at which the claim is opened; absent or 0: it never was sealed. */
  readonly sealedUntil?: number
  /** The game as opened. */
  readonly game: Game
  readonly tries: readonly Tried[]
}

/** Uniform numbers in 0 … n-1 from a seed: SHA-256 in counter mode. */
export function dice(seed: string): (n: number) => number {
  let counter = 0
  return (n) => {
    const hash = sha256(new TextEncoder().encode(`${seed}/${counter++}`))
    return new DataView(hash.buffer, hash.byteOffset).getUint32(0) % n
  }
}

/**
 * Plays a quarrel from unix second `base`, trying `refusals` moves that should be refused before most of the legal ones.
 * @throws {Error} the game does not end
 */
export function script(quarrel: Quarrel, roll: (n: number) => number, base: number, refusals: number, players: Players): Script {
  const { solver, challenger, steps, segment, segments, clockSeconds } = quarrel
  const [start, end] = [solver.parts(0), solver.parts(steps)]
  const checkpoints: Checkpoint[] = Array.from({ length: segments }, (_, i) => ({
    stateRoot: i === segment ? end.stateRoot : i === segment - 1 ? start.stateRoot : sha256(new Uint8Array([i])),
    probeCommit: i === segment ? probeCommit(end.chain) : sha256(new Uint8Array([i, 1])),
  }))
  const challenge = { segment, start: openCheckpoint(checkpoints, Math.max(0, segment - 1)), end: openCheckpoint(checkpoints, segment) }
  const terms = termsFor(solver, steps, clockSeconds)
  const about: Case = { ...players, segment, root: claimRoot(checkpoints) }
  const opened = begin(
    terms,
    startMoment(start.stateRoot),
    checkpointMoment(checkpoints[segment]!),
    base,
    about,
    quarrel.sealedFor !== undefined,
  )
  const sealedUntil = quarrel.sealedFor === undefined ? 0 : base + quarrel.sealedFor
  const tries: Tried[] = []
  const seen: Move[] = []
  const reveals: Reveal[] = []
  let game = opened
  let now = base
  let stale: Packed | undefined
  const attempt = (move: Move, at: number, late: boolean, brought: Packed = packGame(game)): Outcome => {
    const was = broughtGame(stateHash(packGame(game)), brought)
    const outcome = was.ok ? apply(was.game, move, at, sealedUntil) : was
    tries.push({ move, brought, at, late, outcome })
    return outcome
  }
  for (let turn = 0; turn < 200; turn++) {
    const wanted = game.toMove === 'solver' ? solverMove(game, solver) : challengerMove(game, reveals, challenger)
    if (now < sealedUntil) {
      attempt(wanted!, now, false)
      attempt({ kind: 'timeout' }, sealedUntil - 1, true)
      attempt({ kind: 'timeout' }, sealedUntil, true)
      now = sealedUntil + 1 // a block after the one in which that was tried
    }
    for (let i = 0; i < refusals; i++) {
      const source =
        wanted && roll(3) > 0 ? spoilt(wanted, roll) : seen.length > 0 ? seen[roll(seen.length)]! : ({ kind: 'timeout' } as const)
      // Tried in passing: only moves that TypeScript refuses; one that it takes would change the game under the honest players.
      if (!apply(game, source, now, sealedUntil).ok) attempt(source, now, false)
      // the right move on a game that stands otherwise
      if (wanted && roll(3) === 0) attempt(wanted, now, false, (roll(2) === 0 ? stale : undefined) ?? misread(packGame(game), wanted, roll))
    }
    const left = game.toMove === 'solver' ? game.solverClock : game.challengerClock
    const legal = wanted && apply(game, wanted, now, sealedUntil).ok && turn !== quarrel.silentAfter
    if (!legal) {
      if (wanted) attempt(wanted, now + left + 1, true)
      attempt({ kind: 'timeout' }, now + left, true)
      now += left + 2 // a block after the one that the late moves were tried in
    } else now += 1 + roll(3)
    const move: Move = legal ? wanted : { kind: 'timeout' }
    const outcome = attempt(move, now, false)
    if (!outcome.ok) throw new Error(`${quarrel.name}: ${move.kind} at ${game.level}: ${outcome.error}`)
    seen.push(move)
    reveals.push(...revealsOf(game, move))
    stale = packGame(game)
    game = outcome.game
    if (outcome.verdict)
      return {
        name: quarrel.name,
        terms,
        segments,
        root: about.root,
        startState: start.stateRoot,
        challenge,
        sealedUntil,
        game: opened,
        tries: inTime(tries),
      }
  }
  throw new Error(`${quarrel.name}: no verdict after 200 turns`)
}

/** Time only goes forward on a chain: of what was tried late, the earlier first. */
const inTime = (tries: readonly Tried[]): Tried[] =>
  tries
    .map((t, i) => ({ t, i }))
    .sort((a, b) => a.t.at - b.t.at || a.i - b.i)
    .map(({ t }) => t)

/** The game with one bit of its state or (where the move brings them) its papers flipped. */
function misread(packed: Packed, move: Move, roll: (n: number) => number): Packed {
  const which = callOf(packed, move).args[1] === toHex(packed.papers) && roll(2) === 0 ? 'papers' : 'state'
  const bytes = packed[which].slice()
  bytes[roll(bytes.length)]! ^= 1 << roll(8)
  return { ...packed, [which]: bytes }
}

/** The move with one thing wrong: a bit flipped, an item dropped or doubled, a number moved. */
function spoilt(move: Move, roll: (n: number) => number): Move {
  const copy = structuredClone(move) as Move
  const wrong: (() => void)[] = []
  const walk = (value: unknown, set: (v: unknown) => void): void => {
    if (value instanceof Uint8Array) {
      if (value.length > 0) wrong.push(() => (value[roll(value.length)]! ^= 1 << roll(8)))
      if (value.length !== 32) wrong.push(() => set(value.slice(1)))
    } else if (Array.isArray(value)) {
      if (value.length > 0)
        wrong.push(
          () => value.pop(),
          () => value.push(value[0]),
        )
      value.forEach((v, i) => walk(v, (next) => (value[i] = next)))
    } else if (typeof value === 'number') wrong.push(() => set(value + 1 + roll(40)))
    else if (typeof value === 'object' && value !== null)
      for (const [key, v] of Object.entries(value)) walk(v, (next) => ((value as Record<string, unknown>)[key] = next))
  }
  walk(copy, () => undefined)
  if (wrong.length > 0) wrong[roll(wrong.length)]!()
  return copy
}

const word = (roll: (n: number) => number, length: number): string => {
  const first = roll(26)
  return Array.from({ length }, (_, i) => String.fromCharCode(97 + ((first + i) % 26))).join('')
}

/** A quarrel of the alphabet machine: any length, a letter wrong somewhere or nowhere, either side at fault. */
export function alphabetQuarrel(roll: (n: number) => number, name: string): Quarrel {
  const right = word(roll, 2 + roll(roll(4) === 0 ? 1200 : 60))
  const at = 1 + roll(right.length - 1)
  const wrong = right.slice(0, at) + word(roll, right.length - at)
  const sides = roll(4) === 0 ? [honest(right), claims(wrong)] : [claims(wrong), honest(right)]
  const segments = 1 + roll(5)
  const silent = roll(5) === 0 ? { silentAfter: roll(10) } : {}
  const sealed = roll(4) === 0 ? { sealedFor: 2 + roll(500) } : {}
  return {
    name,
    solver: sides[0]!,
    challenger: sides[1]!,
    steps: right.length - 1,
    segments,
    segment: roll(segments),
    clockSeconds: 60 + roll(1000),
    ...sealed,
    ...silent,
  }
}

const STEPS = 3
const sink = everyOp()
const sinkOptions = { ...sink, steps: STEPS, evaluate: interpret }
let sinkRun: Knowledge | undefined

/** A quarrel about the graph with every op: a lie of any kind, any expr, any element. */
export function everyOpQuarrel(roll: (n: number) => number, name: string, lie: Lie = anyLie(roll)): Quarrel {
  sinkRun ??= replay(sinkOptions)
  const liar = cheat(sinkOptions, lie)
  const sides = roll(6) === 0 ? [sinkRun, liar] : [liar, sinkRun]
  const segments = 1 + roll(9)
  return { name, solver: sides[0]!, challenger: sides[1]!, steps: STEPS, segments, segment: roll(segments), clockSeconds: 300 }
}

function anyLie(roll: (n: number) => number): Lie {
  const { graph } = sink
  const step = STEPS - 1
  const kind = roll(10)
  if (kind === 0) return { kind: 'probe', step: roll(STEPS) }
  if (kind === 1) return { kind: 'slot', step, slot: roll(graph.next.length), element: 0, word: 0x3f800000 + roll(1000) }
  if (kind === 2) return { kind: 'padding', step, tree: roll(2) === 0 ? 'trace' : 'state' }
  if (kind === 3) return { kind: 'padding', step, tree: { expr: graph.exprs.findIndex((e) => e.op === 'abs' && sizeOf(e.shape) === 9000) } }
  if (kind === 4) return { kind: 'tail', step, expr: graph.exprs.findIndex((e) => e.op === 'permute' && sizeOf(e.shape) === 12) }
  const expr = roll(graph.exprs.length)
  const e = graph.exprs[expr]!
  const element = roll(sizeOf(e.shape))
  sinkRun ??= replay(sinkOptions)
  const right = elementOf(graph, expr, element, sinkRun.trace(step).tensor(expr))
  return { kind: 'expr', step, expr, element, word: (right ^ (e.dtype === 'u8' ? 1 + roll(255) : 1 << roll(32))) >>> 0, term: roll(9) }
}
