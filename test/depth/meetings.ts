// Meetings for the strategies: who is right about what, over the alphabet machine, the graph with every op, and a training step.

import { cheat, type Side } from '@bitloom/dispute'
import { claims, honest } from '@bitloom/dispute/alphabet'
import { everyOp } from '@bitloom/dispute/everyop'
import { elementOf, type Knowledge, replay } from '@bitloom/dispute/knowledge'
import { interpret } from '@bitloom/graph'
import type { Model } from './models.ts'
import { optionsOf } from './quarrels.ts'
import type { Meeting } from './strategies.ts'

type Roll = (n: number) => number

const word = (first: number, length: number): string =>
  Array.from({ length }, (_, i) => String.fromCharCode(97 + ((first + i) % 26))).join('')

/** A run of letters, wrong from some letter on; the second wrong one from another. */
export function letters(name: string, side: Side, roll: Roll): Meeting {
  const length = 3 + roll(roll(3) === 0 ? 1500 : 80)
  const right = word(roll(26), length)
  const wrong = (): string => {
    const at = 1 + roll(length - 1)
    return right.slice(0, at) + word(right.charCodeAt(at) - 97 + 1 + roll(24), length - at)
  }
  return {
    name,
    honest: side,
    right: honest(right),
    wrong: claims(wrong()),
    other: claims(wrong()),
    steps: length - 1,
    clockSeconds: 200 + roll(1000),
  }
}

const STEPS = 3
const sink = everyOp()
const sinkOptions = { ...sink, steps: STEPS, evaluate: interpret }
let sinkRun: Knowledge | undefined

/** Lies about elements of two exprs that are kept, of any op. */
export function anyOp(name: string, side: Side, roll: Roll): Meeting {
  const right = (sinkRun ??= replay(sinkOptions))
  const liar = (): Knowledge => {
    const expr = sink.graph.next[3 + roll(sink.graph.next.length - 3)]!
    const told = elementOf(sink.graph, expr, 0, right.trace(STEPS - 1).tensor(expr)) ^ (1 << roll(31))
    return cheat(sinkOptions, { kind: 'expr', step: STEPS - 1, expr, element: 0, word: told >>> 0, term: roll(9) })
  }
  return { name, honest: side, right, wrong: liar(), other: liar(), steps: STEPS, clockSeconds: 600 }
}

/** Lies about weights that a training step hands on: the last element of two parameters. */
export function training(model: Model, right: Knowledge, name: string, side: Side, roll: Roll): Meeting {
  const { graph, steps } = model
  const liar = (): Knowledge => {
    const slot = roll(model.job.parameters.length)
    const expr = graph.next[slot]!
    const element = model.slots[slot]!.length - 1
    const told = elementOf(graph, expr, element, right.trace(steps - 1).tensor(expr)) ^ (1 + roll(0xffff))
    return cheat(optionsOf(model), { kind: 'expr', step: steps - 1, expr, element, word: told >>> 0 })
  }
  return { name, honest: side, right, wrong: liar(), other: liar(), steps, clockSeconds: 3600 }
}
