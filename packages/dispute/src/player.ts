// The honest next move for both sides, as a function of the game, what the solver has revealed in it, and one's own run of the segment.

import {
  bytesOf,
  chunkAt,
  depthOf,
  encodeExpr,
  graphTree,
  innerHash,
  merkleTree,
  nodeAt,
  proofOf,
  sameBytes,
  type Tree,
} from '@bitloom/graph'
import { itemOf, wordOf } from './claims.ts'
import { moment, probeCommit } from './commit.ts'
import type { Game, Item, Level, Move } from './game.ts'
import type { Knowledge } from './knowledge.ts'
import { childAt, cutAt, partsOf, takeOf, valuesOf } from './position.ts'
import { traceRoot } from './trace.ts'
import { witness } from './witness.ts'

/** What a solver's move showed: the values of a `bisect` or `descend` at its level, or a chunk. In the order of the moves. */
export type Reveal = { readonly level: Level; readonly values: readonly Uint8Array[] }

/** What a move reveals, for the record that the players of a game keep (on chain: the events Revealed and ChunkShown). */
export function revealOf(game: Game, move: Move): Reveal | undefined {
  if (move.kind === 'bisect' || move.kind === 'descend') return { level: game.level, values: move.values }
  return move.kind === 'showChunk' ? { level: 'chunk', values: [move.chunk] } : undefined
}

/** The moment before step `step` of one's own run. */
const momentAt = (knowledge: Knowledge, step: number): Uint8Array => {
  const { stateRoot, chain } = knowledge.parts(step)
  return moment(stateRoot, probeCommit(chain))
}

/** One's own tree of the level that the game descends. */
function ownTree(game: Game, knowledge: Knowledge): Tree {
  if (game.level === 'state') return knowledge.stateTree(game.step + 1)
  const trace = knowledge.trace(game.step)
  return game.level === 'trace' ? trace.tree : trace.tensorTree(game.expr)
}

/** One's own values of the sequence that the game bisects, at `from`, each cut, and `to`. */
function ownValues(game: Game, knowledge: Knowledge): Uint8Array[] {
  const cuts = Array.from({ length: partsOf(game.to - game.from) + 1 }, (_, i) => cutAt(game.from, game.to, i))
  if (game.level === 'steps') return cuts.map((step) => momentAt(knowledge, step))
  const accumulators = knowledge.accumulators(game.step, game.expr, game.element)
  return cuts.map((term) => itemOf(accumulators[term]!))
}

/** One's own nodes below the one that the game descends. */
function ownChildren(game: Game, knowledge: Knowledge): Uint8Array[] {
  const tree = ownTree(game, knowledge)
  const take = takeOf(game.depth)
  return Array.from({ length: 2 ** take }, (_, i) => nodeAt(tree, game.depth - take, childAt(game.index, take, i)))
}

/** The solver's next move: what its own run says; undefined where it is not to move. */
export function solverMove(game: Game, knowledge: Knowledge): Move | undefined {
  if (game.toMove !== 'solver') return undefined
  switch (game.level) {
    case 'steps':
    case 'fold':
      return { kind: 'bisect', values: ownValues(game, knowledge).slice(1, 1 + valuesOf(game.to - game.from)) }
    case 'open': {
      const [pre, post] = [knowledge.parts(game.step), knowledge.parts(game.step + 1)]
      const trace = traceRoot(knowledge.trace(game.step))
      return { kind: 'open', preState: pre.stateRoot, preChain: pre.chain, postState: post.stateRoot, postChain: post.chain, trace }
    }
    case 'trace':
    case 'state':
    case 'tensor':
      return { kind: 'descend', values: ownChildren(game, knowledge) }
    case 'chunk':
      return { kind: 'showChunk', chunk: chunkAt(knowledge.trace(game.step).tensor(game.expr), game.index) }
    default:
      return undefined
  }
}

/**
 * The challenger's next move: point at the first thing that its own run does not bear out, or prove that it is wrong.
 * Undefined where it is not to move, and where it has no case: then the claim is right, or its own run is not.
 * @param reveals everything that the solver has revealed in this game
 */
export function challengerMove(game: Game, reveals: readonly Reveal[], knowledge: Knowledge): Move | undefined {
  if (game.toMove !== 'challenger') return undefined
  const { graph } = knowledge
  const shown = reveals[reveals.length - 1]?.values ?? []
  switch (game.level) {
    case 'steps':
    case 'fold': {
      const list = [game.lo, ...shown, game.hi]
      const index = firstDifference(list, ownValues(game, knowledge)) - 1
      if (index < 0) return undefined
      const tree = merkleTree(list)
      return { kind: 'pick', index, items: [index, index + 1].map((i) => itemAt(tree, i)) }
    }
    case 'enter': {
      const trace = knowledge.trace(game.step)
      if (!sameBytes(traceRoot(trace), game.trace)) return { kind: 'enter', level: 'trace' }
      const after = knowledge.parts(game.step + 1)
      if (!sameBytes(after.stateRoot, game.postState)) return { kind: 'enter', level: 'state' }
      return sameBytes(after.chain, game.postChain) ? undefined : { kind: 'proveProbe', probe: itemAt(trace.tree, game.probe) }
    }
    case 'trace':
    case 'state':
    case 'tensor': {
      const index = firstDifference(shown, ownChildren(game, knowledge))
      return index < 0 ? undefined : { kind: 'pick', index, items: [itemAt(merkleTree(shown), index)] }
    }
    case 'expr': {
      const e = graph.exprs[game.expr]!
      const [leaf, proof] = [encodeExpr(graph, e), proofOf(graphTree(graph), game.expr)]
      if (e.op !== 'input') return { kind: 'showExpr', leaf, proof }
      const [slot, states] = [e.attrs[0]!, graph.next.length]
      const item = slot < states ? itemAt(knowledge.stateTree(game.step), slot) : itemAt(knowledge.dataTree, slot - states)
      return { kind: 'proveInput', leaf, proof, slot: item }
    }
    case 'slot': {
      const expr = graph.next[game.index]!
      const proof = proofOf(graphTree(graph), graph.exprs.length + game.index)
      return { kind: 'proveState', expr, proof, fed: itemAt(knowledge.trace(game.step).tree, expr) }
    }
    case 'element': {
      const index = firstWrongElement(game, shown[0]!, knowledge)
      return index < 0 ? undefined : { kind: 'pickElement', index, chunk: shown[0]! }
    }
    case 'scalar':
      return proveScalar(game, reveals, knowledge)
    default:
      return undefined
  }
}

/** The first place at which two lists differ, or -1. */
const firstDifference = (theirs: readonly Uint8Array[], own: readonly Uint8Array[]): number =>
  theirs.findIndex((v, i) => !sameBytes(v, own[i]!))

const itemAt = (tree: Tree, index: number): Item => ({ value: nodeAt(tree, 0, index), proof: proofOf(tree, index) })

/** The index within the shown chunk of the first element that one's own tensor does not have, or -1. */
function firstWrongElement(game: Game, chunk: Uint8Array, knowledge: Knowledge): number {
  const own = chunkAt(knowledge.trace(game.step).tensor(game.expr), game.index)
  const first = own.findIndex((b, i) => b !== chunk[i])
  return first < 0 ? -1 : Math.floor(first / bytesOf(knowledge.graph.exprs[game.expr]!.dtype))
}

/** The scalar step with its operands out of one's own tensors, proved in the solver's trace. */
function proveScalar(game: Game, reveals: readonly Reveal[], knowledge: Knowledge): Move {
  const { graph } = knowledge
  const trace = knowledge.trace(game.step)
  const theirs = traceNodes(game, reveals)
  const traceProof = (position: number): Uint8Array[] =>
    Array.from({ length: trace.tree.levels.length - 1 }, (_, height) => {
      const sibling = Math.floor(position / 2 ** height) ^ 1
      return theirs.get(nodeKey(height, sibling)) ?? nodeAt(trace.tree, height, sibling)
    })
  const operands = witness(graph, game.expr, game.element, game.from, wordOf(game.lo), { tensor: trace.tensor, traceProof })
  return { kind: 'proveScalar', leaf: encodeExpr(graph, graph.exprs[game.expr]!), operands }
}

const nodeKey = (height: number, index: number): string => `${height}:${index}`

/**
 * The nodes of the solver's trace tree that became known on the way down to its expr. An operand stands left of the first difference, so a
 * sibling on its way up is among these, or is left of every pick and then the same as one's own.
 */
function traceNodes(game: Game, reveals: readonly Reveal[]): Map<string, Uint8Array> {
  const nodes = new Map<string, Uint8Array>()
  let bottom = depthOf(game.exprs)
  for (const { level, values } of reveals) {
    if (level !== 'trace') continue
    const take = Math.log2(values.length)
    const parent = Math.floor(game.expr / 2 ** bottom)
    bottom -= take
    for (let height = 0, below = values; height < take; height++) {
      below.forEach((node, i) => nodes.set(nodeKey(bottom + height, childAt(parent, take - height, i)), node))
      below = Array.from({ length: below.length / 2 }, (_, i) => innerHash(below[2 * i]!, below[2 * i + 1]!))
    }
  }
  return nodes
}

/** Whether one's own run ends the segment elsewhere than `end`: whether there is anything to challenge. */
export const differs = (knowledge: Knowledge, steps: number, end: Uint8Array): boolean => !sameBytes(momentAt(knowledge, steps), end)
