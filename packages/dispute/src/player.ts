// The honest next move for both sides, as a function of the game, what the solver has revealed in it, and one's own run of the segment.

import {
  bytesOf,
  CHUNK,
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
import { chunkTree, partHashes } from './claims.ts'
import { moment, probeCommit } from './commit.ts'
import type { Game, Item, Level, Move, Opened, Pick } from './game.ts'
import type { Knowledge } from './knowledge.ts'
import { childAt, cutAt, partsOf, STEPS, TERMS, takeOf } from './position.ts'
import { traceRoot } from './trace.ts'
import { witness } from './witness.ts'

/** What a solver's move showed: values at their level, the four words of an `open`, or a chunk. In the order of the moves. */
export type Reveal = { readonly level: Level; readonly values: readonly Uint8Array[] }

/** What a move reveals, for the record that the players of a game keep (on chain: the events StepOpened, Revealed and ChunkShown). */
export function revealsOf(game: Game, move: Move): Reveal[] {
  switch (move.kind) {
    case 'bisect':
    case 'descend':
      return [{ level: game.level, values: move.values }]
    case 'open':
      return [
        { level: 'open', values: wordsOf(move.opened) },
        { level: 'trace', values: move.values },
      ]
    case 'showChunk':
      return [{ level: 'chunk', values: [move.chunk] }]
    default:
      return []
  }
}

const wordsOf = ({ preState, preChain, postState, postChain }: Opened): Uint8Array[] => [preState, preChain, postState, postChain]

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

const cutsOf = ({ from, to }: Game, most: number): number[] => {
  const parts = partsOf(to - from, most)
  return Array.from({ length: parts + 1 }, (_, i) => cutAt(from, to, parts, i))
}

/** One's own moments at the interval's start, each cut, and its end. */
const ownMoments = (game: Game, knowledge: Knowledge): Uint8Array[] => cutsOf(game, STEPS).map((step) => momentAt(knowledge, step))

/** One's own accumulators there. */
function ownWords(game: Game, knowledge: Knowledge): number[] {
  const accumulators = knowledge.accumulators(game.step, game.expr, game.element)
  return cutsOf(game, TERMS).map((term) => accumulators[term]!)
}

/** One's own nodes below the one that the game descends. */
const ownChildren = (game: Game, knowledge: Knowledge): Uint8Array[] => nodesBelow(ownTree(game, knowledge), game.depth, game.index)

/** The nodes that one round shows below node `index` at height `depth`. */
function nodesBelow(tree: Tree, depth: number, index: number): Uint8Array[] {
  const take = takeOf(depth)
  return Array.from({ length: 2 ** take }, (_, i) => nodeAt(tree, depth - take, childAt(index, take, i)))
}

/** The solver's next move: what its own run says; undefined where it is not to move. */
export function solverMove(game: Game, knowledge: Knowledge): Move | undefined {
  if (game.toMove !== 'solver') return undefined
  switch (game.level) {
    case 'steps':
      return { kind: 'bisect', values: ownMoments(game, knowledge).slice(1, -1) }
    case 'fold':
      return { kind: 'bisectFold', words: ownWords(game, knowledge).slice(1, -1) }
    case 'open': {
      const [pre, post] = [knowledge.parts(game.from), knowledge.parts(game.from + 1)]
      const opened = { preState: pre.stateRoot, preChain: pre.chain, postState: post.stateRoot, postChain: post.chain }
      const depth = depthOf(game.exprs)
      return { kind: 'open', opened, values: nodesBelow(knowledge.trace(game.from).tree, depth, 0) }
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
  const shown = reveals[reveals.length - 1]?.values ?? []
  switch (game.level) {
    case 'steps': {
      const own = ownMoments(game, knowledge)
      const list = [own[0]!, ...shown, game.hi]
      const index = firstDifference(list, own) - 1
      if (index < 0) return undefined
      const path = [list[index]!, list[index + 1]!, ...proofOf(merkleTree(partHashes(list)), index)]
      return { kind: 'pick', picked: { index, path } }
    }
    case 'fold': {
      const own = ownWords(game, knowledge)
      const index = game.words.findIndex((word, i) => word !== own[i]) - 1
      if (index < 0) return undefined
      const cuts = cutsOf(game, TERMS)
      if (cuts[index + 1]! - cuts[index]! > 1) return { kind: 'pick', picked: { index, path: [] } }
      return { kind: 'proveTerm', index, ...operands(game, reveals, knowledge, game.element, cuts[index]!, game.words[index]!) }
    }
    case 'trace':
      return beyondTrace(game, reveals, knowledge) ?? child(game, shown, knowledge)
    case 'state':
    case 'tensor':
      return child(game, shown, knowledge)
    case 'chunk':
      return element(game, reveals, shown[0]!, knowledge)
    default:
      return undefined
  }
}

/** At the root of a trace that is one's own: what else is wrong with the step, if anything. */
function beyondTrace(game: Game, reveals: readonly Reveal[], knowledge: Knowledge): Move | undefined {
  const trace = knowledge.trace(game.step)
  if (game.depth !== depthOf(game.exprs) || !sameBytes(traceRoot(trace), game.trace)) return undefined
  const words = reveals.findLast((r) => r.level === 'open')?.values
  if (words?.length !== 4) return undefined
  const [preState, preChain, postState, postChain] = words as [Uint8Array, Uint8Array, Uint8Array, Uint8Array]
  const after = knowledge.parts(game.step + 1)
  if (!sameBytes(after.stateRoot, postState)) return { kind: 'enterState', postState, postCommit: probeCommit(postChain) }
  if (sameBytes(after.chain, postChain)) return undefined
  return { kind: 'proveProbe', opened: { preState, preChain, postState, postChain }, probe: itemAt(trace.tree, game.probe) }
}

/** Points at the first child that is not one's own; at the bottom, says what is wrong with it. */
function child(game: Game, shown: readonly Uint8Array[], knowledge: Knowledge): Move | undefined {
  const take = takeOf(game.depth)
  const index = shown.length === 2 ** take ? firstDifference(shown, ownChildren(game, knowledge)) : -1
  if (index < 0) return undefined
  const picked = pickOf(merkleTree(shown), index)
  if (take < game.depth) return { kind: 'pick', picked }
  const item = childAt(game.index, take, index)
  if (item >= game.count) return { kind: 'provePadding', picked }
  if (game.level === 'tensor') return { kind: 'pick', picked }
  const { graph } = knowledge
  if (game.level === 'state') {
    const expr = graph.next[item]!
    const proof = proofOf(graphTree(graph), graph.exprs.length + item)
    return { kind: 'proveState', picked, fed: { expr, proof, root: itemAt(knowledge.trace(game.step).tree, expr) } }
  }
  const e = graph.exprs[item]!
  const [leaf, proof] = [encodeExpr(graph, e), proofOf(graphTree(graph), item)]
  if (e.op !== 'input') return { kind: 'showExpr', picked, leaf, proof }
  const [s, states] = [e.attrs[0]!, graph.next.length]
  const slot = s < states ? itemAt(knowledge.stateTree(game.step), s) : itemAt(knowledge.dataTree, s - states)
  const { stateRoot, chain } = knowledge.parts(game.step)
  return { kind: 'proveInput', picked, source: { leaf, proof, preState: stateRoot, preCommit: probeCommit(chain), slot } }
}

/** Points at the first byte of the shown chunk that is not one's own. */
function element(game: Game, reveals: readonly Reveal[], chunk: Uint8Array, knowledge: Knowledge): Move | undefined {
  const own = chunkAt(knowledge.trace(game.step).tensor(game.expr), game.index)
  const first = own.findIndex((b, i) => b !== chunk[i])
  if (first < 0) return undefined
  const { dtype } = knowledge.graph.exprs[game.expr]!
  const word = Math.floor(first / 32)
  const { path } = pickOf(chunkTree(chunk), word)
  if (game.index * CHUNK + first >= game.size * bytesOf(dtype)) return { kind: 'proveTail', picked: { index: word, path } }
  const index = Math.floor(first / bytesOf(dtype))
  if (game.terms > 1) return { kind: 'pickElement', picked: { index, path } }
  const number = (game.index * CHUNK) / bytesOf(dtype) + index
  return { kind: 'proveElement', picked: { index, path }, ...operands(game, reveals, knowledge, number, 0, 0) }
}

/** The first place at which two lists differ, or -1. */
const firstDifference = (theirs: readonly Uint8Array[], own: readonly Uint8Array[]): number =>
  theirs.findIndex((v, i) => !sameBytes(v, own[i]!))

const itemAt = (tree: Tree, index: number): Item => ({ value: nodeAt(tree, 0, index), proof: proofOf(tree, index) })

const pickOf = (tree: Tree, index: number): Pick => ({ index, path: [nodeAt(tree, 0, index), ...proofOf(tree, index)] })

/** The operands of one scalar step out of one's own tensors, proved in the solver's trace, and the expr's leaf. */
function operands(game: Game, reveals: readonly Reveal[], knowledge: Knowledge, element: number, term: number, acc: number) {
  const { graph } = knowledge
  const trace = knowledge.trace(game.step)
  const theirs = traceNodes(game, reveals)
  const traceProof = (position: number): Uint8Array[] =>
    Array.from({ length: trace.tree.levels.length - 1 }, (_, height) => {
      const sibling = Math.floor(position / 2 ** height) ^ 1
      return theirs.get(nodeKey(height, sibling)) ?? nodeAt(trace.tree, height, sibling)
    })
  const read = witness(graph, game.expr, element, term, acc, { tensor: trace.tensor, traceProof })
  return { leaf: encodeExpr(graph, graph.exprs[game.expr]!), operands: read }
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
