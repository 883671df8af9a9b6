// The walk tells real games as they were played: the events that the contract would emit are made of matches played in process.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import {
  cheat,
  decodeLeaf,
  type Game,
  GROUNDS,
  type Knowledge,
  LEVELS,
  type Lie,
  type Match,
  openGame,
  packGame,
  play,
  replay,
} from '@bitloom/dispute'
import { everyOp } from '@bitloom/dispute/everyop'
import { elementOf } from '@bitloom/dispute/knowledge'
import { interpret, sizeOf, toHex } from '@bitloom/graph'
import type { ChainEvent } from '@bitloom/sdk'
import { endLines, treeLines, walkLines } from './commands/dispute.ts'
import { operationLines, operationOf } from './operation.ts'
import { type Background, reasonOf, type Walk, walk } from './walk.ts'

const STEPS = 4
const { graph, slots } = everyOp()
const options = { graph, slots, steps: STEPS, evaluate: interpret }
const right = replay(options)
const FIRST = 80

/** What Dispute.sol emits for a match. */
function eventsOf({ moves, verdict }: Match, opened: Game): ChainEvent[] {
  const events: ChainEvent[] = []
  const emit = (name: string, args: Record<string, unknown>): void =>
    void events.push({
      contract: 'Dispute',
      name,
      args: { gameId: 0n, ...args },
      blockNumber: BigInt(events.length),
      transactionHash: '0x',
      logIndex: 0,
    })
  let papers = ''
  const moved = (g: Game): void => {
    if (g.level === 'over') {
      emit('Moved', { state: '0x', papers: '0x' })
      return
    }
    const packed = packGame(g)
    const [state, now] = [toHex(packed.state), toHex(packed.papers)]
    emit('Moved', { state, papers: now === papers ? '0x' : now })
    papers = now
  }
  emit('Challenged', { claimId: 1n, segment: 2 })
  moved(opened)
  for (const { move, before, after } of moves) {
    if (move.kind === 'bisect' || move.kind === 'descend') emit('Revealed', { level: LEVELS.indexOf(before.level), values: move.values })
    if (move.kind === 'open') {
      emit('StepOpened', { opened: move.opened })
      emit('Revealed', { level: LEVELS.indexOf('trace'), values: move.values })
    }
    if (move.kind === 'showChunk') emit('ChunkShown', { chunk: move.chunk })
    moved(after)
  }
  emit('Decided', { ...verdict, ground: GROUNDS.indexOf(verdict.ground) })
  return events
}

function told(solver: Knowledge, challenger: Knowledge, named = true): { walked: Walk; match: Match } {
  const opened = openGame(solver, STEPS)
  const match = play(opened, solver, challenger)
  const background: Background = {
    firstStep: FIRST,
    steps: STEPS,
    exprs: graph.exprs.length,
    stateSlots: graph.next.length,
    graph: named ? graph : undefined,
  }
  return { walked: walk(eventsOf(match, opened), background), match }
}

/** A lie about one element of `expr` in the last step, which the segment's end must show. */
const lieAbout = (expr: number, more: Partial<Lie> = {}): Knowledge =>
  cheat(options, {
    kind: 'expr',
    step: STEPS - 1,
    expr,
    element: 0,
    word: (elementOf(graph, expr, 0, right.trace(STEPS - 1).tensor(expr)) ^ 0x40000001) >>> 0,
    ...more,
  } as Lie)

const kept = (op: string): number => graph.next.find((at) => graph.exprs[at]!.op === op && graph.exprs[at]!.dtype === 'f32')!

test('a wrong sum is narrowed to a step, an expr, an element, a term', () => {
  const { walked, match } = told(lieAbout(kept('dot')), right)
  assert.equal(walked.decision?.ground, 'scalar')
  assert.equal(walked.exchanges.length, match.moves.length + 1, 'one sentence a move, and the challenge')
  assert.equal(walked.exchanges[0]?.text, 'says that segment 3 is wrong: steps 81–84')
  const text = walked.exchanges.map((e) => e.text).join('\n')
  assert.match(text, /agrees with steps 81–83, and disagrees from step 84 on/)
  assert.match(text, /opens step 84/)
  assert.match(text, new RegExp(`expr ${match.verdict.expr}, dot f32`))
  assert.match(text, /folded from [\d,]+ terms/)
  assert.match(text, /the contract computes the step/)
  for (const { who } of walked.exchanges.filter((e) => /^shows|^opens/.test(e.text))) assert.equal(who, 'solver')
})

test('every kind of lie that the graph has a place for is told without a gap', () => {
  const exprs = graph.next.filter((at) => graph.exprs[at]!.op !== 'input')
  for (const at of exprs) {
    const { walked, match } = told(lieAbout(at), right)
    assert.ok(walked.decision?.convicted, `${graph.exprs[at]!.op}`)
    assert.equal(walked.exchanges.length, match.moves.length + 1)
    for (const { text } of walked.exchanges) assert.doesNotMatch(text, /undefined|NaN|Infinity|-\d/, text)
    for (const { label, agreed } of walked.branches) assert.doesNotMatch(`${label} ${agreed}`, /NaN|Infinity|-\d/)
  }
})

test('the tree narrows at each fork and ends at the element or the term', () => {
  const { walked, match } = told(lieAbout(kept('dot')), right)
  const lines = treeLines(walked.branches)
  assert.equal(lines[0], '  steps 81–84')
  assert.ok(lines.some((l) => l.endsWith('├─ steps 81–83: agreed')))
  assert.match(lines.at(-1)!, new RegExp(`└─ (term ${match.verdict.term}|element)`))
  const depths = lines.filter((l) => l.includes('└─')).map((l) => l.indexOf('└'))
  assert.deepEqual(
    depths,
    [...depths].sort((a, b) => a - b),
  )
})

test('lies beside the arithmetic are told as what they are', () => {
  const slot = graph.next.findIndex(
    (at) => graph.exprs[at]!.op !== 'input' && graph.exprs[at]!.dtype === 'f32' && sizeOf(graph.exprs[at]!.shape) > 1,
  )
  const step = STEPS - 1
  const lies: [Lie, RegExp, RegExp][] = [
    [
      { kind: 'slot', step, slot, element: 0, word: 0x40000001 },
      /agrees with what was computed, and disagrees with the state/,
      new RegExp(`slot ${slot} \\(${graph.slots[slot]!.name}\\)`),
    ],
    [{ kind: 'probe', step }, /proves what the probe was/, /another probe/],
    [{ kind: 'padding', step, tree: 'trace' }, /behind the last item/, /behind the end of a list/],
    [{ kind: 'tail', step, expr: kept('dot') }, /shows the 1,024 bytes[\s\S]*behind the last element/, /bytes behind the end of a tensor/],
  ]
  for (const [lie, said, reason] of lies) {
    const liar = cheat(options, lie)
    const { walked, match } = told(liar, right)
    assert.ok(walked.decision?.convicted, `${lie.kind}: ${match.verdict.ground}`)
    assert.match(walked.exchanges.map((e) => e.text).join('\n'), said)
    assert.match(reasonOf(walked.decision, graph), reason)
    assert.equal(walked.exchanges.length, match.moves.length + 1, lie.kind)
  }
})

test('whoever cannot go on loses by the clock, and it is said who', () => {
  const { walked } = told(right, lieAbout(kept('dot')))
  assert.equal(walked.decision?.convicted, false)
  const last = walked.exchanges.at(-1)!
  assert.deepEqual([last.who, last.text], ['challenger', 'lets its time run out'])
  assert.equal(reasonOf(walked.decision!), 'the challenger let its time run out')
})

test('without the graph there are numbers instead of names', () => {
  const { walked } = told(lieAbout(kept('dot')), right, false)
  const text = walked.exchanges.map((e) => e.text).join('\n')
  assert.match(text, /disagrees with expr \d+, which the graph has$/m)
  assert.doesNotMatch(text, /dot/)
})

test('lines show claimed and recomputed word, in decimal and in bits', () => {
  const { walked, match } = told(lieAbout(kept('dot')), right)
  const quarrel = { solver: `0x${'11'.repeat(20)}`, challenger: `0x${'22'.repeat(20)}`, closed: true } as const
  const end = endLines(walked, graph, 1, 5n * 10n ** 18n, quarrel).join('\n')
  assert.ok(end.includes(`0x${match.verdict.claimed.toString(16).padStart(8, '0')}`))
  assert.ok(end.includes(`0x${match.verdict.computed.toString(16).padStart(8, '0')}`))
  assert.match(end, /Slice 2 is void.*5 BLT/)
  assert.equal(walkLines(walked.exchanges).length, walked.exchanges.length)
})

test('a game that goes on has no verdict', () => {
  const liar = lieAbout(kept('dot'))
  const opened = openGame(liar, STEPS)
  const match = play(opened, liar, right)
  const walked = walk(eventsOf(match, opened).slice(0, 8), {
    firstStep: 0,
    steps: STEPS,
    exprs: graph.exprs.length,
    stateSlots: graph.next.length,
    graph,
  })
  assert.equal(walked.decision, undefined)
  assert.match(endLines(walked, graph, 0, undefined, { solver: '0x', challenger: '0x', closed: false } as never).join('\n'), /not over/)
})

test('the deciding operation is read back with its operands, and computes to what the contract computed', () => {
  for (const op of ['dot', 'mul', 'cast']) {
    const at = graph.next.find((n) => graph.exprs[n]!.op === op)
    if (at === undefined) continue
    const { match } = told(lieAbout(at), right)
    const { before, move } = match.moves.at(-1)!
    assert.ok(move.kind === 'proveTerm' || move.kind === 'proveElement')
    const accumulator = move.kind === 'proveTerm' ? before.words[move.index]! : 0
    const chunks = move.operands.map((o) => o.chunk)
    const operation = operationOf(decodeLeaf(move.leaf), match.verdict.element, match.verdict.term, accumulator, chunks)
    assert.equal(operation.computed, match.verdict.computed, op)
    assert.equal(operation.op, op)
    assert.equal(operation.fold !== undefined, op === 'dot')
    for (const { expr, index, word, dtype } of operation.operands) {
      if (dtype === 'u8') continue
      const { shape } = graph.exprs[expr]!
      const flat = index.reduce((n, i, axis) => n * shape[axis]! + i, 0)
      assert.equal(word, elementOf(graph, expr, flat, right.trace(STEPS - 1).tensor(expr)), 'as the honest run has it')
    }
    assert.ok(operationLines(operation, (n) => `expr ${n}`).some((line) => line.includes(op)))
  }
})
