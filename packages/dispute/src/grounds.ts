// Every move of a dispute that ends it: the challenger proves that what it points at is wrong. Twin: dispute/Grounds.sol, same functions, same errors,
// same order of checks. Each narrows as a pick would before it proves (docs/protocol.md §4).
//
// Twin order: proveProbe proveInput provePadding proveState proveTail proveElement proveTerm

import { CHUNK, depthOf, leafHash, proves, sameBytes } from '@bitloom/graph'
import { describe, judge } from './arbiter.ts'
import { checkWord, elementIn, exprOf, graphDepth, isAtRoot, itemIndex, need, pickTerms, RefusedMove, widthOf, ZERO } from './claims.ts'
import { moment, nextProbe, probeCommit } from './commit.ts'
import type { Game, Level, Move, Verdict } from './game.ts'

const ZERO_CHUNK = leafHash(new Uint8Array(CHUNK))

type Of<K extends Move['kind']> = Extract<Move, { kind: K }>

export function proveProbe(game: Game, { opened, probe }: Of<'proveProbe'>): Verdict {
  need(isAtRoot(game), 'WrongMove')
  need(sameBytes(moment(opened.preState, probeCommit(opened.preChain)), game.start), 'StartDiffers')
  need(sameBytes(moment(opened.postState, probeCommit(opened.postChain)), game.end), 'EndDiffers')
  need(proves(game.trace, depthOf(game.exprs), game.probe, probe.value, probe.proof), 'NotProven')
  need(!sameBytes(nextProbe(opened.preChain, probe.value), opened.postChain), 'NoFault')
  return convicted({ ground: 'probe', expr: game.probe })
}

export function proveInput(game: Game, { picked, source }: Of<'proveInput'>): Verdict {
  const expr = exprOf(game, picked, source.leaf, source.proof)
  const { op, firstAttr: slot } = describe(source.leaf)
  need(op === 'input', 'NotInput')
  need(sameBytes(moment(source.preState, source.preCommit), game.start), 'StartDiffers')
  const [root, count, index] =
    slot < game.stateSlots ? [source.preState, game.stateSlots, slot] : [game.dataRoot, game.dataSlots, slot - game.stateSlots]
  need(proves(root, depthOf(count), index, source.slot.value, source.slot.proof), 'NotProven')
  need(!sameBytes(source.slot.value, picked.path[0]!), 'NoFault')
  return convicted({ ground: 'input', expr, element: slot })
}

/** At the bottom of a descent an index beyond the last item must hold the padding. */
export function provePadding(game: Game, level: Level, { picked }: Of<'provePadding'>): Verdict {
  const index = itemIndex(game, picked)
  need(index >= game.count, 'WrongIndex')
  need(!sameBytes(picked.path[0]!, level === 'tensor' ? ZERO_CHUNK : ZERO), 'NoFault')
  return convicted({ ground: 'padding', expr: level === 'tensor' ? game.expr : 0, element: index })
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

export function proveState(game: Game, { picked, fed }: Of<'proveState'>): Verdict {
  const slot = itemIndex(game, picked)
  need(slot < game.count, 'WrongIndex')
  need(proves(game.graphId, graphDepth(game), game.exprs + slot, leafHash(nextLeaf(slot, fed.expr)), fed.proof), 'NotProven')
  need(proves(game.trace, depthOf(game.exprs), fed.expr, fed.root.value, fed.root.proof), 'NotProven')
  need(!sameBytes(fed.root.value, picked.path[0]!), 'NoFault')
  return convicted({ ground: 'state', expr: fed.expr, element: slot })
}

/** Bytes behind a tensor's last element must be 0. */
export function proveTail(game: Game, { picked }: Of<'proveTail'>): Verdict {
  checkWord(game, picked, picked.index)
  const inside = Math.max(0, game.size * widthOf(game) - game.index * CHUNK - 32 * picked.index)
  need(inside < 32 && picked.path[0]!.subarray(inside).some((b) => b !== 0), 'NoFault')
  return convicted({ ground: 'tail', expr: game.expr })
}

/** A wrong element that is no fold: the contract computes it. */
export function proveElement(game: Game, { picked, leaf, operands }: Of<'proveElement'>): Verdict {
  need(game.terms < 2, 'NotAtBottom')
  const { element, word } = elementIn(game, picked)
  return scalar({ ...game, element, from: 0, words: [0, word] }, leaf, operands)
}

/** A wrong term of a fold: the contract computes the accumulator after it. */
export function proveTerm(game: Game, { index, leaf, operands }: Of<'proveTerm'>): Verdict {
  const part = pickTerms(game, index)
  need(part.to - part.from === 1, 'NotAtBottom')
  return scalar(part, leaf, operands)
}

function scalar(game: Game, leaf: Uint8Array, operands: Of<'proveTerm'>['operands']): Verdict {
  need(sameBytes(leafHash(leaf), game.leaf), 'LeafDiffers')
  const { expr, element, from: term, words } = game
  const judged = judge(leaf, element, term, words[0]!, game.trace, game.exprs, operands)
  if (!judged.ok) throw new RefusedMove(judged.error)
  need(judged.word !== words[1], 'NoFault')
  return convicted({ ground: 'scalar', expr, element, term, claimed: words[1]!, computed: judged.word })
}

const NOTHING: Verdict = { convicted: true, ground: 'none', expr: 0, element: 0, term: 0, claimed: 0, computed: 0 }

export const convicted = (verdict: Partial<Verdict>): Verdict => ({ ...NOTHING, ...verdict })
