// A game as bytes: the contract keeps one hash of them, every move brings them along, every log shows the new ones (docs/protocol.md §4).
// Twin: dispute/GameState.sol, byte for byte.
//
// Twin order: pack unpack packPapers unpackPapers (there in one game: `packGame`, `unpackGame`)

import { sameBytes, sha256 } from '@bitloom/graph'
import { type ErrorName, type Game, LEVELS, type Level, SIDES } from './game.ts'

/** A game as the contract knows it: its hash is kept, its bytes are in the log. `papers`: what only some moves ask for. */
export type Packed = { readonly state: Uint8Array; readonly papers: Uint8Array }

const ZERO = new Uint8Array(32)
const HEAD = 90
const [FILED, OPENED, SHOWN] = [124, 224, 260]

/** Appends numbers of so many bytes, and bytes as they are. */
function writer(): {
  readonly put: (bytes: number, value: number) => void
  readonly add: (bytes: Uint8Array) => void
  readonly end: () => Uint8Array
} {
  const out: number[] = []
  return {
    put: (bytes, value) => {
      for (let k = bytes - 1; k >= 0; k--) out.push(Math.floor(value / 2 ** (8 * k)) % 256)
    },
    add: (bytes) => void out.push(...bytes),
    end: () => Uint8Array.from(out),
  }
}

/** Takes them off again. */
function reader(bytes: Uint8Array): {
  readonly number: (length: number) => number
  readonly take: (length?: number) => Uint8Array
  readonly left: () => number
} {
  let at = 0
  const take = (length = 32): Uint8Array => {
    at += length
    if (at > bytes.length) throw new StateBytesError(`a game of ${bytes.length} bytes ends before byte ${at}`)
    return bytes.slice(at - length, at)
  }
  return { take, number: (length) => take(length).reduce((n, b) => n * 256 + b, 0), left: () => bytes.length - at }
}

/** The bytes of a game that is not over. */
export function packGame(g: Game): Packed {
  const papers = packPapers(g)
  const w = writer()
  w.put(1, LEVELS.indexOf(g.level))
  w.put(1, SIDES.indexOf(g.toMove) + (g.fresh ? 2 : 0))
  w.put(8, g.movedAt)
  w.put(4, g.solverClock)
  w.put(4, g.challengerClock)
  w.add(g.solver)
  w.add(g.challenger)
  w.add(sha256(papers))
  const types = (): void => {
    w.put(1, g.dtype)
    w.put(8, g.size)
    w.put(4, g.terms)
  }
  switch (g.level) {
    case 'steps':
    case 'open':
      w.put(4, g.from)
      w.put(4, g.to)
      for (const hash of [g.hi, g.toMove === 'challenger' ? g.list : g.lo]) w.add(hash)
      break
    case 'trace':
    case 'state':
    case 'tensor':
      w.put(4, g.count)
      w.put(1, g.depth)
      w.put(4, g.index)
      w.add(g.node)
      if (g.level === 'tensor') types()
      break
    case 'chunk':
      w.put(4, g.index)
      w.add(g.node)
      types()
      break
    case 'fold':
      w.put(4, g.from)
      w.put(4, g.to)
      w.put(4, g.element)
      for (const word of g.words) w.put(4, word)
      break
    case 'over':
      throw new StateBytesError('a game that is over has no bytes: nothing is kept of it')
  }
  return { state: w.end(), papers }
}

function packPapers(g: Game): Uint8Array {
  const w = writer()
  w.put(8, g.claimId)
  for (const n of [g.segment, g.exprs, g.stateSlots, g.dataSlots, g.probe]) w.put(4, n)
  for (const hash of [g.root, g.graphId, g.dataRoot]) w.add(hash)
  // moments and leaves are hashes, so never 0
  if (sameBytes(g.start, ZERO)) return w.end()
  w.put(4, g.step)
  for (const hash of [g.start, g.end, g.trace]) w.add(hash)
  if (sameBytes(g.leaf, ZERO)) return w.end()
  w.put(4, g.expr)
  w.add(g.leaf)
  return w.end()
}

/**
 * The game that bytes say.
 * @throws {StateBytesError} they are no game's, or the papers are not those that the state was written with
 */
export function unpackGame({ state, papers }: Packed): Game {
  const { papersHash, ...game } = unpackState(state)
  if (!sameBytes(papersHash, sha256(papers))) throw new StateBytesError('these are the papers of another game, or of another time')
  return { ...game, ...unpackPapers(papers) }
}

/** What the state alone says. */
export type Stand = Omit<Game, keyof ReturnType<typeof unpackPapers>>

/**
 * How a game stands, without its papers.
 * @throws {StateBytesError}
 */
export function unpackState(state: Uint8Array): Stand & { readonly papersHash: Uint8Array } {
  const r = reader(state)
  const level = LEVELS[r.number(1)]
  const turn = r.number(1)
  const toMove = SIDES[turn % 2]!
  if (!level || level === 'over' || turn > 3) throw new StateBytesError(`a game cannot begin with the bytes ${state.slice(0, 2).join(' ')}`)
  const head = { movedAt: r.number(8), solverClock: r.number(4), challengerClock: r.number(4), solver: r.take(20), challenger: r.take(20) }
  const papersHash = r.take()
  const body = bodyOf(r, level, toMove)
  if (r.left() !== 0) throw new StateBytesError(`${r.left()} bytes too many for a game at level ${level}`)
  return { ...BLANK, ...head, ...body, level, toMove, fresh: turn > 1, papersHash }
}

const BLANK = {
  ...{ from: 0, to: 0, lo: ZERO, hi: ZERO, list: ZERO, node: ZERO, depth: 0, index: 0, count: 0 },
  ...{ dtype: 0, size: 0, terms: 0, element: 0, words: [] },
}

function bodyOf(r: ReturnType<typeof reader>, level: Level, toMove: 'solver' | 'challenger'): Partial<Game> {
  const types = () => ({ dtype: r.number(1), size: r.number(8), terms: r.number(4) })
  if (level === 'steps' || level === 'open') {
    const interval = { from: r.number(4), to: r.number(4), hi: r.take() }
    return toMove === 'challenger' ? { ...interval, list: r.take() } : { ...interval, lo: r.take() }
  }
  if (level === 'fold') {
    const fold = { from: r.number(4), to: r.number(4), element: r.number(4) }
    return { ...fold, words: Array.from({ length: Math.floor(r.left() / 4) }, () => r.number(4)) }
  }
  if (level === 'chunk') return { index: r.number(4), node: r.take(), ...types() }
  const place = { count: r.number(4), depth: r.number(1), index: r.number(4), node: r.take() }
  return level === 'tensor' ? { ...place, ...types() } : place
}

/**
 * What a game is about.
 * @throws {StateBytesError}
 */
export function unpackPapers(bytes: Uint8Array) {
  if (![FILED, OPENED, SHOWN].includes(bytes.length)) throw new StateBytesError(`papers of ${bytes.length} bytes`)
  const r = reader(bytes)
  const filed = {
    ...{
      claimId: r.number(8),
      segment: r.number(4),
      exprs: r.number(4),
      stateSlots: r.number(4),
      dataSlots: r.number(4),
      probe: r.number(4),
    },
    ...{ root: r.take(), graphId: r.take(), dataRoot: r.take() },
  }
  const opened =
    r.left() > 0 ? { step: r.number(4), start: r.take(), end: r.take(), trace: r.take() } : { step: 0, start: ZERO, end: ZERO, trace: ZERO }
  const shown = r.left() > 0 ? { expr: r.number(4), leaf: r.take() } : { expr: 0, leaf: ZERO }
  return { ...filed, ...opened, ...shown }
}

/** What the contract keeps of a game: H(state). */
export const stateHash = ({ state }: Pick<Packed, 'state'>): Uint8Array => sha256(state)

/** The game that a move brings along, where it is the one of which `kept` is kept; else the contract's error. */
export function broughtGame(
  kept: Uint8Array,
  packed: Packed,
): { readonly ok: true; readonly game: Game } | { readonly ok: false; readonly error: ErrorName } {
  if (!sameBytes(sha256(packed.state), kept)) return { ok: false, error: 'StateDiffers' }
  if (!sameBytes(sha256(packed.papers), packed.state.subarray(HEAD - 32, HEAD))) return { ok: false, error: 'PapersDiffer' }
  return { ok: true, game: unpackGame(packed) }
}

/** Bytes that are no game. */
export class StateBytesError extends Error {
  override name = 'dispute.StateBytesError'
}
