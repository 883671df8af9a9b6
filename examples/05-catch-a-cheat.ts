// Five: a solver that got one addition wrong is convicted, in a handful of exchanges, by an addition.
//   node examples/05-catch-a-cheat.ts
//
// A solver was paid to run 50 training steps of the network of example 2. In step 31 it changed one of the 784 product terms behind one of 8,192 numbers of one of the
// exprs of the step, and went on from there. Somebody who ran the same steps disagrees about the end. Neither has to be believed: they narrow it down, and then one scalar
// operation is done. Here both play in this process; on a chain the same moves are transactions to Dispute.sol, which refuses the same ones.

import assert from 'node:assert/strict'
import { apply, cheat, type Game, type Move, openGame, play, replay } from '@bitloom/dispute'
import { elementOf } from '@bitloom/dispute/knowledge'
import { wasm } from '@bitloom/engine'
import { costOf, ofBits, toHex, unravel } from '@bitloom/graph'
import { readMnist } from '@bitloom/model/data/mnist'
import { mnistJob } from '@bitloom/model/recipes/mnist'

const STEPS = 50
const { train } = readMnist()
const job = mnistJob({ ...train, seed: [2026, 7], steps: STEPS })
const { graph } = job
const run = { graph, slots: [...job.state, ...job.data], steps: STEPS, evaluate: wasm.evaluate }
console.log(`One segment: ${STEPS} steps of ${graph.exprs.length} exprs, ${costOf(graph).operations * BigInt(STEPS)} scalar operations.\n`)

// The honest run, and one that is wrong in a single place: a sum of the first layer that the ReLU lets through.
const honest = replay(run)
const [step, term] = [31, 300]
const expr = graph.exprs.findIndex((e) => e.op === 'dot' && graph.exprs[e.inputs[0]!]!.shape.at(-1) === 784)
const right = (element: number): number => elementOf(graph, expr, element, honest.trace(step).tensor(expr))
let element = 4321
while (ofBits(right(element)) <= 0) element++
const cheating = cheat(run, { kind: 'expr', step, expr, element, word: (right(element) ^ 0x10000) >>> 0, term })

/** A move in plain words. */
function told(before: Game, move: Move, after: Game): string {
  const name = `expr ${after.expr} (${graph.exprs[after.expr]!.op})`
  switch (move.kind) {
    case 'bisect':
      return `here are ${move.values.length} moments between ${before.from} and ${before.to}`
    case 'bisectFold':
      return `here are ${move.words.length} running sums between ${before.from} and ${before.to}`
    case 'open':
      return `step ${before.from} began with state ${short(move.opened.preState)}, ended with ${short(move.opened.postState)}; here are ${move.values.length} hashes of the trace of its ${before.exprs} exprs`
    case 'descend':
      return `here are the ${move.values.length} hashes below ${short(before.node)}`
    case 'enterState':
      return 'my state has another root'
    case 'pick':
      if (before.level === 'steps') return `I agree on what stands after ${after.from} steps, not after ${after.to}`
      if (before.level === 'fold')
        return `I agree on ${float(after.words[0]!)} after ${after.from} terms, not on ${float(after.words[1]!)} after ${after.to}`
      return `the first that is not mine is number ${move.picked.index}`
    case 'showExpr':
      return `the first that is not mine is number ${move.picked.index}: ${name} is ${graph.exprs[after.expr]!.dtype}[${graph.exprs[after.expr]!.shape}], here is its proof against the graph's id`
    case 'showChunk':
      return `here are the 1,024 bytes that ${short(before.node)} is the hash of`
    case 'pickElement':
      return `element [${unravel(after.element, graph.exprs[after.expr]!.shape)}] is not ${float(after.words[1]!)}`
    case 'proveTerm':
      return `I agree on ${float(before.words[move.index]!)}, not on the next; here are the ${move.operands.length} operands of the term between, each proved against your trace`
    default:
      return move.kind
  }
}
const short = (root: Uint8Array): string => `${toHex(root).slice(0, 10)}…`
const float = (word: number): string => `${ofBits(word)} (0x${word.toString(16).padStart(8, '0')})`

const match = play(openGame(cheating, STEPS), cheating, honest)
for (const { by, before, move, after } of match.moves) console.log(`${by.padStart(10)}: ${told(before, move, after)}`)

const { verdict, exchanges } = match
assert.ok(verdict.convicted && verdict.ground === 'scalar')
assert.deepEqual([match.game.step, verdict.expr, verdict.element, verdict.term], [step, expr, element, term])
const last = match.moves[match.moves.length - 1]!
console.log(`
After ${exchanges} exchanges one scalar step is left, and the judge does it:
  accumulator before   ${float(last.move.kind === 'proveTerm' ? last.before.words[last.move.index]! : 0)}
  the solver claimed   ${float(verdict.claimed)}
  it is                ${float(verdict.computed)}
The solver is convicted.`)

// An honest solver has nothing to fear: whoever attacks it runs out of things to say, and then out of time.
const slander = play(openGame(honest, STEPS), honest, cheating)
assert.ok(!slander.verdict.convicted)
console.log(`\nThe other way round, the judge refuses the last move (${slander.stuck}), and the challenger loses its bond by the clock.`)

// And nobody can play a move that is not one.
assert.deepEqual(apply(match.moves[1]!.before, { kind: 'bisect', values: [] }, 1), { ok: false, error: 'WrongMove' })
