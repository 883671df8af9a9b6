// Every legal move of a dispute after which it goes on, as pure functions from game to game: no clock of its own, no network, no chain. Twin:
// dispute/Claims.sol, same functions, same errors, same order of checks (docs/protocol.md §4). The moves that end one are in grounds.ts.
//
// Twin order: begin awake turn · bisect bisectFold open descend showChunk · pick enterState showExpr pickElement · timeout (moves.ts)

import {
  bytesOf,
  CHUNK,
  chunksOf,
  DTYPES,
  depthOf,
  dtypeCode,
  innerHash,
  itemsRoot,
  leafHash,
  merkleTree,
  proves,
  rootOf,
  sameBytes,
} from '@bitloom/graph'
import { describe } from './arbiter.ts'
import { moment, probeCommit } from './commit.ts'
import type { Case, ErrorName, Game, Level, Move, Pick, Side, Terms } from './game.ts'
import type { ArbiterErrorName } from './leaf.ts'
import { childAt, cutAt, partsOf, STEPS, TERMS, takeOf } from './position.ts'

/** 32 zero bytes: what pads a list of items, and what a field holds that no move has set. */
export const ZERO: Uint8Array = new Uint8Array(32)

/** A case of nobody's, for games in process. */
export const NO_CASE: Case = { claimId: 0, segment: 0, root: ZERO, solver: new Uint8Array(20), challenger: new Uint8Array(20) }

/** A game about the segment between two moments, the solver to move. `fresh`: its claim may be sealed (forced errors). */
export function begin(terms: Terms, start: Uint8Array, end: Uint8Array, now: number, about: Case = NO_CASE, fresh = false): Game {
  const { stepsPerCheckpoint, clockSeconds, ...fixed } = terms
  return {
    ...fixed,
    ...about,
    level: stepsPerCheckpoint === 1 ? 'open' : 'steps',
    toMove: 'solver',
    fresh,
    ...{ movedAt: now, solverClock: clockSeconds, challengerClock: clockSeconds },
    ...{ from: 0, to: stepsPerCheckpoint, lo: start, hi: end, list: ZERO },
    ...{ node: ZERO, depth: 0, index: 0, count: 0, dtype: 0, size: 0, terms: 0, element: 0, words: [] },
    ...{ step: 0, start: ZERO, end: ZERO, trace: ZERO, expr: 0, leaf: ZERO },
  }
}

/** A fresh game's clock begins when the claim was opened or had to be, not before. */
export function awake(game: Game, now: number, sealedUntil: number): Game {
  need(now >= sealedUntil, 'StillSealed')
  return { ...game, movedAt: Math.max(game.movedAt, sealedUntil) }
}

/** Checks level, side and clock, takes what was thought from the side that thought, and gives the turn to the other. */
export function turn(game: Game, side: Side, levels: readonly Level[], now: number): Game {
  need(game.toMove === side && levels.includes(game.level), 'WrongMove')
  const clock = side === 'solver' ? 'solverClock' : 'challengerClock'
  const thought = now - game.movedAt
  need(thought <= game[clock], 'ClockRanOut')
  return { ...game, movedAt: now, [clock]: game[clock] - thought, toMove: side === 'solver' ? 'challenger' : 'solver', fresh: false }
}

// the solver's moves

export function bisect(game: Game, values: readonly Uint8Array[]): Game {
  const parts = partsOf(game.to - game.from, STEPS)
  need(values.length === parts - 1, 'WrongCount')
  return { ...game, list: itemsRoot(partHashes([game.lo, ...values, game.hi])) }
}

/** What `pick` proves a part by: the hash of its two ends, for each part. */
export const partHashes = (moments: readonly Uint8Array[]): Uint8Array[] => moments.slice(1).map((end, i) => innerHash(moments[i]!, end))

export function bisectFold(game: Game, words: readonly number[]): Game {
  need(words.length === partsOf(game.to - game.from, TERMS) - 1, 'WrongCount')
  return { ...game, words: [game.words[0]!, ...words.map((w) => w >>> 0), game.words[1]!] }
}

export function open(game: Game, { opened, values }: Extract<Move, { kind: 'open' }>): Game {
  need(sameBytes(moment(opened.preState, probeCommit(opened.preChain)), game.lo), 'StartDiffers')
  need(sameBytes(moment(opened.postState, probeCommit(opened.postChain)), game.hi), 'EndDiffers')
  const filed = { ...game, step: game.from, start: game.lo, end: game.hi }
  const depth = depthOf(game.exprs)
  need(values.length === 2 ** takeOf(depth), 'WrongCount')
  const trace = rootOf(merkleTree(values))
  return { ...filed, level: 'trace', node: trace, trace, depth, index: 0, count: game.exprs }
}

export function descend(game: Game, values: readonly Uint8Array[]): Game {
  need(values.length === 2 ** takeOf(game.depth), 'WrongCount')
  need(sameBytes(rootOf(merkleTree(values)), game.node), 'RootDiffers')
  return game
}

export function showChunk(game: Game, chunk: Uint8Array): Game {
  need(chunk.length === CHUNK, 'ChunkLength')
  need(sameBytes(leafHash(chunk), game.node), 'ChunkDiffers')
  return { ...game, node: rootOf(chunkTree(chunk)) }
}

/** The tree over a chunk's 32 words of 32 bytes, under which its elements are proved. */
export const chunkTree = (chunk: Uint8Array): ReturnType<typeof merkleTree> =>
  merkleTree(Array.from({ length: CHUNK / 32 }, (_, i) => chunk.slice(32 * i, 32 * i + 32)))

// the challenger's moves

export function pick(game: Game, level: Level, picked: Pick): Game {
  if (level === 'steps') return pickSteps(game, picked)
  if (level === 'fold') {
    need(picked.path.length === 0, 'WrongCount')
    const part = pickTerms(game, picked.index)
    need(part.to - part.from > 1, 'AtBottom')
    return part
  }
  const { take, index } = childOf(game, picked)
  const child = { ...game, depth: game.depth - take, index, node: picked.path[0]! }
  if (take < game.depth) return child
  need(level === 'tensor', 'AtBottom')
  need(index < game.count, 'WrongIndex')
  return { ...child, level: 'chunk' }
}

function pickSteps(game: Game, { index, path }: Pick): Game {
  const parts = partsOf(game.to - game.from, STEPS)
  need(index < parts, 'WrongIndex')
  const depth = depthOf(parts)
  need(path.length === depth + 2, 'WrongCount')
  const [lo, hi] = [path[0]!, path[1]!]
  need(proves(game.list, depth, index, innerHash(lo, hi), path.slice(2)), 'NotProven')
  const from = cutAt(game.from, game.to, parts, index)
  const to = cutAt(game.from, game.to, parts, index + 1)
  return { ...game, from, to, lo, hi, level: to - from === 1 ? 'open' : 'steps' }
}

/** One part of a fold. */
export function pickTerms(game: Game, index: number): Game {
  const parts = partsOf(game.to - game.from, TERMS)
  need(index < parts, 'WrongIndex')
  const from = cutAt(game.from, game.to, parts, index)
  return { ...game, from, to: cutAt(game.from, game.to, parts, index + 1), words: [game.words[index]!, game.words[index + 1]!] }
}

/** The levels that this round takes, and the child's index below them: proved. */
function childOf(game: Game, { index, path }: Pick): { readonly take: number; readonly index: number } {
  const take = takeOf(game.depth)
  need(index < 2 ** take, 'WrongIndex')
  need(path.length === take + 1, 'WrongCount')
  need(proves(game.node, take, index, path[0]!, path.slice(1)), 'NotProven')
  return { take, index: childAt(game.index, take, index) }
}

/** The index of a child that is an item. */
export function itemIndex(game: Game, picked: Pick): number {
  const { take, index } = childOf(game, picked)
  need(take === game.depth, 'NotAtBottom')
  return index
}

/** Whether a game stands at the root of its tree. */
export const isAtRoot = (game: Game): boolean => game.depth === depthOf(game.count)

export function enterState(game: Game, postState: Uint8Array, postCommit: Uint8Array): Game {
  need(isAtRoot(game), 'WrongMove')
  need(sameBytes(moment(postState, postCommit), game.end), 'EndDiffers')
  return { ...game, level: 'state', node: postState, depth: depthOf(game.stateSlots), index: 0, count: game.stateSlots }
}

/** An item of the trace that is the tensor of an expr with this leaf. */
export function exprOf(game: Game, picked: Pick, leaf: Uint8Array, proof: readonly Uint8Array[]): number {
  const expr = itemIndex(game, picked)
  need(expr < game.count, 'WrongIndex')
  need(proves(game.graphId, graphDepth(game), expr, leafHash(leaf), proof), 'NotProven')
  return expr
}

/** Levels of the graph's tree: exprs, one leaf a state slot, the header. */
export const graphDepth = (game: Game): number => depthOf(game.exprs + game.stateSlots + 1)

export function showExpr(game: Game, { picked, leaf, proof }: Extract<Move, { kind: 'showExpr' }>): Game {
  const expr = exprOf(game, picked, leaf, proof)
  const { op, dtype, size, byteLength, terms } = describe(leaf)
  need(op !== 'input', 'IsInput')
  const count = chunksOf(byteLength)
  const types = { dtype: dtypeCode(dtype), size, terms }
  const place = { node: picked.path[0]!, depth: depthOf(count), index: 0, count }
  return { ...game, expr, leaf: leafHash(leaf), ...types, ...place, level: count === 1 ? 'chunk' : 'tensor' }
}

export function pickElement(game: Game, picked: Pick): Game {
  need(game.terms > 1, 'AtBottom')
  const { element, word } = elementIn(game, picked)
  return { ...game, element, from: 0, to: game.terms, words: [0, word], level: 'fold' } // from the identity: +0, 0, or index 0
}

/** Checks that the shown chunk holds `picked.path[0]` as its word number `word`. */
export function checkWord(game: Game, { path }: Pick, word: number): void {
  need(word < CHUNK / 32, 'WrongIndex')
  need(path.length === 6, 'WrongCount')
  need(proves(game.node, 5, word, path[0]!, path.slice(1)), 'NotProven')
}

/** Element `picked.index` of the shown chunk: its number in the tensor, and its bits. */
export function elementIn(game: Game, picked: Pick): { readonly element: number; readonly word: number } {
  const width = widthOf(game)
  checkWord(game, picked, Math.floor((picked.index * width) / 32))
  const element = (game.index * CHUNK) / width + picked.index
  need(element < game.size, 'WrongIndex')
  const bytes = picked.path[0]!
  const offset = (picked.index * width) % 32
  return { element, word: width === 1 ? bytes[offset]! : new DataView(bytes.buffer, bytes.byteOffset + offset).getUint32(0, true) }
}

/** Bytes of one of the expr's elements. */
export const widthOf = (game: Game): number => bytesOf(DTYPES[game.dtype]!)

/** @throws {RefusedMove} the condition does not hold */
export function need(condition: boolean, error: Exclude<ErrorName, ArbiterErrorName> | 'ChunkLength'): asserts condition {
  if (!condition) throw new RefusedMove(error)
}

/** A move that the contract would revert; `apply` makes it a value. */
export class RefusedMove extends Error {
  override name = 'dispute.RefusedMove'
  readonly code: ErrorName
  constructor(code: ErrorName) {
    super(code)
    this.code = code
  }
}
