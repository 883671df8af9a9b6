// Every legal move of a dispute, as a pure state machine: no clock of its own, no network, no chain. Twin: dispute/Claims.sol (docs/protocol.md §4).
//
// Twin order: begin turn · bisect pick open enter proveProbe descend showExpr proveInput proveState showChunk pickElement proveScalar timeout · arrive

import {
  bytesOf,
  CHUNK,
  chunksOf,
  DTYPES,
  depthOf,
  dtypeCode,
  itemsRoot,
  leafHash,
  merkleTree,
  proves,
  rootOf,
  sameBytes,
} from '@bitloom/graph'
import { describe, judge } from './arbiter.ts'
import { moment, nextProbe, probeCommit } from './commit.ts'
import type { ErrorName, Game, Item, Level, Move, Outcome, Side, Terms, Verdict } from './game.ts'
import { ArbiterError, type ArbiterErrorName } from './leaf.ts'
import { childAt, cutAt, partsOf, takeOf, valuesOf } from './position.ts'

/** 32 zero bytes: what pads a list of items, and what a field holds that no move has set. */
export const ZERO: Uint8Array = new Uint8Array(32)
const ZERO_CHUNK = leafHash(new Uint8Array(CHUNK))
const TREES: readonly Level[] = ['trace', 'state', 'tensor']
const INTERVALS: readonly Level[] = ['steps', 'fold']

/** A 32-bit word as an item: the last four of 32 bytes. */
export function itemOf(word: number): Uint8Array {
  const item = new Uint8Array(32)
  new DataView(item.buffer).setUint32(28, word >>> 0)
  return item
}

/** The word of such an item. */
export const wordOf = (item: Uint8Array): number => new DataView(item.buffer, item.byteOffset, 32).getUint32(28)

/** A game about the segment between two moments, the solver to move. */
export function begin(terms: Terms, start: Uint8Array, end: Uint8Array, now: number): Game {
  const { stepsPerCheckpoint, clockSeconds, ...fixed } = terms
  return {
    ...fixed,
    movedAt: now,
    solverClock: clockSeconds,
    challengerClock: clockSeconds,
    level: stepsPerCheckpoint === 1 ? 'open' : 'steps',
    toMove: 'solver',
    ...{ from: 0, to: stepsPerCheckpoint, lo: start, hi: end, list: ZERO },
    ...{ node: ZERO, depth: 0, index: 0, step: 0 },
    ...{ preState: ZERO, preChain: ZERO, postState: ZERO, postChain: ZERO, trace: ZERO },
    ...{ expr: 0, leaf: ZERO, dtype: 0, size: 0, terms: 0, element: 0 },
  }
}

/** The levels and the side whose turn allows a move. */
const TURNS: Record<Exclude<Move['kind'], 'timeout'>, readonly [Side, readonly Level[]]> = {
  bisect: ['solver', INTERVALS],
  pick: ['challenger', [...INTERVALS, ...TREES]],
  open: ['solver', ['open']],
  enter: ['challenger', ['enter']],
  proveProbe: ['challenger', ['enter']],
  descend: ['solver', TREES],
  showExpr: ['challenger', ['expr']],
  proveInput: ['challenger', ['expr']],
  proveState: ['challenger', ['slot']],
  showChunk: ['solver', ['chunk']],
  pickElement: ['challenger', ['element']],
  proveScalar: ['challenger', ['scalar']],
}

/** Whether `move` is one for this level and turn; what it carries is not looked at. */
export function isTurn(game: Game, kind: Move['kind']): boolean {
  if (kind === 'timeout') return game.level !== 'over'
  const [side, levels] = TURNS[kind]
  return side === game.toMove && levels.includes(game.level)
}

/**
 * The game after `move` at unix second `now`, with a verdict where it ends; or the name of the error with which the contract refuses it.
 * Who sent it is not asked here: the move's kind says whose it is, and the contract checks the sender.
 */
export function apply(game: Game, move: Move, now: number): Outcome {
  try {
    const played = turn(game, move.kind, now)
    switch (move.kind) {
      case 'bisect':
        return going(bisect(played, move.values))
      case 'pick':
        return INTERVALS.includes(game.level) ? going(pickPart(played, move.index, move.items)) : pickChild(played, move.index, move.items)
      case 'open':
        return going(open(played, move))
      case 'enter':
        return enter(played, move.level)
      case 'proveProbe':
        return proveProbe(played, move.probe)
      case 'descend':
        return going(descend(played, move.values))
      case 'showExpr':
        return showExpr(played, move.leaf, move.proof)
      case 'proveInput':
        return proveInput(played, move.leaf, move.proof, move.slot)
      case 'proveState':
        return proveState(played, move.expr, move.proof, move.fed)
      case 'showChunk':
        return showChunk(played, move.chunk)
      case 'pickElement':
        return going(pickElement(played, move.index, move.chunk))
      case 'proveScalar':
        return proveScalar(played, move.leaf, move.operands)
      case 'timeout':
        return over(played, { convicted: game.toMove === 'solver', ground: 'clock' })
    }
  } catch (error) {
    if (error instanceof RefusedMove || error instanceof ArbiterError) return { ok: false, error: error.code }
    throw error
  }
}

/** The clocks after a move at `now`: what was thought is taken from the side that thought. */
function turn(game: Game, kind: Move['kind'], now: number): Game {
  require(isTurn(game, kind), 'WrongMove')
  const clock = game.toMove === 'solver' ? 'solverClock' : 'challengerClock'
  const thought = now - game.movedAt
  if (kind === 'timeout') {
    require(thought > game[clock], 'ClockRuns')
    return { ...game, movedAt: now, [clock]: 0 }
  }
  require(thought <= game[clock], 'ClockRanOut')
  return { ...game, movedAt: now, [clock]: game[clock] - thought }
}

function bisect(game: Game, values: readonly Uint8Array[]): Game {
  require(values.length === valuesOf(game.to - game.from), 'WrongCount')
  if (game.level === 'fold') for (const v of values) require(sameBytes(v, itemOf(wordOf(v))), 'WrongWord')
  return { ...game, list: itemsRoot([game.lo, ...values, game.hi]), toMove: 'challenger' }
}

function pickPart(game: Game, index: number, items: readonly Item[]): Game {
  const parts = partsOf(game.to - game.from)
  require(index < parts, 'WrongIndex')
  require(items.length === 2, 'WrongCount')
  items.forEach((item, k) => require(proves(game.list, depthOf(parts + 1), index + k, item.value, item.proof), 'NotProven'))
  const from = cutAt(game.from, game.to, index)
  const to = cutAt(game.from, game.to, index + 1)
  const next = { ...game, from, to, lo: items[0]!.value, hi: items[1]!.value, list: ZERO, toMove: 'solver' } as const
  if (to - from > 1) return next
  return game.level === 'steps' ? { ...next, level: 'open', step: from } : { ...next, level: 'scalar', toMove: 'challenger' }
}

function pickChild(game: Game, i: number, items: readonly Item[]): Outcome {
  const take = takeOf(game.depth)
  require(i < 2 ** take, 'WrongIndex')
  require(items.length === 1, 'WrongCount')
  const { value, proof } = items[0]!
  require(proves(game.node, take, i, value, proof), 'NotProven')
  return arrive({ ...game, node: value, depth: game.depth - take, index: childAt(game.index, take, i), toMove: 'solver' })
}

function open(game: Game, move: Extract<Move, { kind: 'open' }>): Game {
  const { kind: _, ...opened } = move
  require(sameBytes(moment(opened.preState, probeCommit(opened.preChain)), game.lo), 'StartDiffers')
  require(sameBytes(moment(opened.postState, probeCommit(opened.postChain)), game.hi), 'EndDiffers')
  return { ...game, ...opened, level: 'enter', toMove: 'challenger' }
}

function enter(game: Game, level: 'trace' | 'state'): Outcome {
  require(level === 'trace' || level === 'state', 'WrongMove')
  const [node, count] = level === 'trace' ? [game.trace, game.exprs] : [game.postState, game.stateSlots]
  return arrive({ ...game, level, node, depth: depthOf(count), index: 0, toMove: 'solver' })
}

function proveProbe(game: Game, probe: Item): Outcome {
  require(proves(game.trace, depthOf(game.exprs), game.probe, probe.value, probe.proof), 'NotProven')
  require(!sameBytes(nextProbe(game.preChain, probe.value), game.postChain), 'NoFault')
  return over(game, { convicted: true, ground: 'probe', expr: game.probe })
}

function descend(game: Game, values: readonly Uint8Array[]): Game {
  require(values.length === 2 ** takeOf(game.depth), 'WrongCount')
  require(sameBytes(rootOf(merkleTree(values)), game.node), 'RootDiffers')
  return { ...game, toMove: 'challenger' }
}

/** Levels of the graph's tree: exprs, one leaf a state slot, the header. */
const graphDepth = (game: Game): number => depthOf(game.exprs + game.stateSlots + 1)

function showExpr(game: Game, leaf: Uint8Array, proof: readonly Uint8Array[]): Outcome {
  const hash = leafHash(leaf)
  require(proves(game.graphId, graphDepth(game), game.expr, hash, proof), 'NotProven')
  const { op, dtype, size, byteLength, terms } = describe(leaf)
  require(op !== 'input', 'IsInput')
  const depth = depthOf(chunksOf(byteLength))
  return arrive({ ...game, level: 'tensor', leaf: hash, dtype: dtypeCode(dtype), size, terms, depth, index: 0, toMove: 'solver' })
}

function proveInput(game: Game, leaf: Uint8Array, proof: readonly Uint8Array[], slot: Item): Outcome {
  require(proves(game.graphId, graphDepth(game), game.expr, leafHash(leaf), proof), 'NotProven')
  const { op, firstAttr } = describe(leaf)
  require(op === 'input', 'NotInput')
  const [root, count, index] =
    firstAttr < game.stateSlots ? [game.preState, game.stateSlots, firstAttr] : [game.dataRoot, game.dataSlots, firstAttr - game.stateSlots]
  require(proves(root, depthOf(count), index, slot.value, slot.proof), 'NotProven')
  require(!sameBytes(slot.value, game.node), 'NoFault')
  return over(game, { convicted: true, ground: 'input', expr: game.expr, element: firstAttr })
}

/** The leaf that says which expr feeds a state slot (graph/encode). */
function nextLeaf(slot: number, expr: number): Uint8Array {
  const leaf = new Uint8Array(9)
  const view = new DataView(leaf.buffer)
  view.setUint8(0, 2)
  view.setUint32(1, slot)
  view.setUint32(5, expr)
  return leaf
}

function proveState(game: Game, expr: number, proof: readonly Uint8Array[], fed: Item): Outcome {
  const slot = game.index
  require(proves(game.graphId, graphDepth(game), game.exprs + slot, leafHash(nextLeaf(slot, expr)), proof), 'NotProven')
  require(proves(game.trace, depthOf(game.exprs), expr, fed.value, fed.proof), 'NotProven')
  require(!sameBytes(fed.value, game.node), 'NoFault')
  return over(game, { convicted: true, ground: 'state', expr, element: slot })
}

const widthOf = (game: Game): number => bytesOf(DTYPES[game.dtype]!)

function checkChunk(game: Game, chunk: Uint8Array): void {
  require(chunk.length === CHUNK, 'ChunkLength')
  require(sameBytes(leafHash(chunk), game.node), 'ChunkDiffers')
}

function showChunk(game: Game, chunk: Uint8Array): Outcome {
  checkChunk(game, chunk)
  const rest = game.size * widthOf(game) - game.index * CHUNK
  if (chunk.subarray(rest).some((b) => b !== 0)) return over(game, { convicted: true, ground: 'tail', expr: game.expr })
  return going({ ...game, level: 'element', toMove: 'challenger' })
}

function pickElement(game: Game, i: number, chunk: Uint8Array): Game {
  checkChunk(game, chunk)
  const width = widthOf(game)
  const element = (game.index * CHUNK) / width + i
  require(i < CHUNK / width && element < game.size, 'WrongIndex')
  const view = new DataView(chunk.buffer, chunk.byteOffset, CHUNK)
  const hi = itemOf(width === 1 ? view.getUint8(i) : view.getUint32(4 * i, true))
  const folds = game.terms > 1
  return {
    ...game,
    level: folds ? 'fold' : 'scalar',
    toMove: folds ? 'solver' : 'challenger',
    element,
    from: 0,
    to: game.terms,
    lo: ZERO,
    hi,
  }
}

function proveScalar(game: Game, leaf: Uint8Array, operands: Extract<Move, { kind: 'proveScalar' }>['operands']): Outcome {
  require(sameBytes(leafHash(leaf), game.leaf), 'LeafDiffers')
  const judged = judge(leaf, game.element, game.from, wordOf(game.lo), game.trace, game.exprs, operands)
  if (!judged.ok) return judged
  const claimed = wordOf(game.hi)
  require(judged.word !== claimed, 'NoFault')
  const { expr, element, from: term } = game
  return over(game, { convicted: true, ground: 'scalar', expr, element, term, claimed, computed: judged.word })
}

/** At the bottom of a descent: an index beyond the last item must hold the padding; else the next level begins. */
function arrive(game: Game): Outcome {
  if (game.depth > 0) return going(game)
  const { level, index, node } = game
  const count = level === 'trace' ? game.exprs : level === 'state' ? game.stateSlots : chunksOf(game.size * widthOf(game))
  if (index >= count) {
    require(!sameBytes(node, level === 'tensor' ? ZERO_CHUNK : ZERO), 'NoFault')
    return over(game, { convicted: true, ground: 'padding', expr: level === 'tensor' ? game.expr : 0, element: index })
  }
  if (level === 'tensor') return going({ ...game, level: 'chunk' })
  if (level === 'trace') return going({ ...game, level: 'expr', expr: index, toMove: 'challenger' })
  return going({ ...game, level: 'slot', toMove: 'challenger' })
}

const going = (game: Game): Outcome => ({ ok: true, game })

const NOTHING: Omit<Verdict, 'convicted' | 'ground'> = { expr: 0, element: 0, term: 0, claimed: 0, computed: 0 }

const over = (game: Game, verdict: Pick<Verdict, 'convicted' | 'ground'> & Partial<Verdict>): Outcome => ({
  ok: true,
  game: { ...game, level: 'over' },
  verdict: { ...NOTHING, ...verdict },
})

function require(condition: boolean, error: Exclude<ErrorName, ArbiterErrorName> | 'ChunkLength'): asserts condition {
  if (!condition) throw new RefusedMove(error)
}

/** A move that the contract would revert; never leaves this module. */
class RefusedMove extends Error {
  override name = 'dispute.RefusedMove'
  readonly code: ErrorName
  constructor(code: ErrorName) {
    super(code)
    this.code = code
  }
}
