// A toy machine for tests: its state is one letter, a step turns a letter into the next. A run is a word, so a quarrel can be written in a line.
//
//   attack('abcdXYZ')              a solver claims that d is followed by X; an honest challenger attacks
//     .expect('scalar', 3)         convicted by a scalar step, in training step 3
//   attack('abcdefg').withstands() nothing to convict: an attacker that points at random runs out of time

import { constI32, type Data, expr, type Graph, input, interpret, makeGraph } from '@bitloom/graph'
import { alter, type Lie } from './alter.ts'
import type { Game, Ground } from './game.ts'
import { type Knowledge, replay, type Stepper } from './knowledge.ts'
import { type Match, openGame, play } from './match.ts'

const LETTERS = 26
const A = 'a'.charCodeAt(0)

/** letter' = (letter + 1) mod 26, on `width` letters at a time; the probe is the letter before. */
export function alphabetGraph(width = 1): Graph {
  const shape = [width]
  const spread = (x: number) => expr('expand', [expr('reshape', [constI32(x)], { shape: [1] })], { shape })
  const letter = input(0, 'i32', shape)
  const next = expr('remu', [expr('add', [letter, spread(1)]), spread(LETTERS)])
  const probe = width === 1 ? letter : expr('slice', [letter], { shape: [1], attrs: [0, 1] })
  return makeGraph([{ name: 'letter', kind: 'state', dtype: 'i32', shape }], [next], probe)
}

const codeOf = (word: string, i: number): number => word.toLowerCase().charCodeAt(i) - A

/** What a solver knows that claims the run `word`, letter by letter: honest wherever a letter follows the one before. */
export function claims(word: string): Knowledge {
  const graph = alphabetGraph()
  const stepper: Stepper = (step, slots, visit) => {
    const lie: Lie = { kind: 'expr', step, expr: graph.next[0]!, element: 0, word: codeOf(word, step + 1) }
    return alter(graph, interpret, lie)(step, slots, visit)
  }
  return replay({ graph, slots: startOf(word), steps: word.length - 1, evaluate: interpret, stepper })
}

/** The honest run of the same length from the same letter. */
export function honest(word: string): Knowledge {
  return replay({ graph: alphabetGraph(), slots: startOf(word), steps: word.length - 1, evaluate: interpret })
}

const startOf = (word: string): Data[] => [new Int32Array([codeOf(word, 0)])]

/** A game about a claimed word. */
export function attack(word: string): {
  readonly match: Match
  readonly expect: (ground: Ground, step: number) => Match
  readonly withstands: () => Match
} {
  const steps = word.length - 1
  const solver = claims(word)
  const game: Game = openGame(solver, steps)
  const match = play(game, solver, honest(word))
  const told = `${word}: ${match.moves.map((m) => m.move.kind).join(' ')}`
  return {
    match,
    expect: (ground, step) => {
      const { verdict } = match
      if (!verdict.convicted || verdict.ground !== ground || match.game.step !== step)
        throw new Error(
          `${told}\n${verdict.ground} in step ${match.game.step}, convicted: ${verdict.convicted}; expected ${ground} in step ${step}`,
        )
      return match
    },
    withstands: () => {
      if (match.verdict.convicted) throw new Error(`${told}\nconvicted by ${match.verdict.ground}`)
      return match
    },
  }
}
