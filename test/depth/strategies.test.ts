// Every dishonest strategy against honest play, as solver and as challenger, in TypeScript and, some of them, on a chain: the honest side wins each game.
//   BITLOOM_STRATEGIES=50 node --test test/depth/strategies.test.ts   fifty meetings of each kind (default three)

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { replay, SIDES, type Side } from '@bitloom/dispute'
import { type Court, startCourt } from '../e2e/court.ts'
import { dice } from '../e2e/dispute-games.ts'
import { anyOp, letters, training } from './meetings.ts'
import { MODELS } from './models.ts'
import { optionsOf } from './quarrels.ts'
import { contest, type Meeting, STRATEGIES, silent, stubborn } from './strategies.ts'

const each = Number(process.env.BITLOOM_STRATEGIES ?? 3)

const model = await MODELS.words!()
const right = replay(optionsOf(model))
const KINDS: Readonly<Record<string, (name: string, side: Side, roll: (n: number) => number) => Meeting>> = {
  letters,
  'any op': anyOp,
  training: (name, side, roll) => training(model, right, name, side, roll),
}

/** Whether the side that was right has won. */
const honestWon = (m: Meeting, convicted: boolean): boolean => convicted === (m.honest === 'challenger')

for (const [name, strategy] of Object.entries(STRATEGIES))
  test(`${name}: loses against honest play, in both roles`, () => {
    const grounds = new Map<string, number>()
    for (const [kind, meet] of Object.entries(KINDS))
      for (const side of SIDES)
        for (let seed = 0; seed < each; seed++) {
          const title = `${name}, ${kind}, honest ${side}, seed ${seed}`
          const roll = dice(title)
          const m = meet(title, side, roll)
          const { verdict, turns } = contest(m, strategy, roll, 1_000_000)
          assert.ok(honestWon(m, verdict.convicted), `${title}: ${JSON.stringify(verdict)} after ${turns} turns`)
          grounds.set(verdict.ground, (grounds.get(verdict.ground) ?? 0) + 1)
        }
    assert.equal(
      [...grounds.values()].reduce((a, b) => a + b),
      2 * 3 * each,
    )
  })

test('several challengers at once: a wrong claim falls by the honest one, a right claim by none', () => {
  for (let seed = 0; seed < each; seed++) {
    const roll = dice(`several ${seed}`)
    const wrong = letters(`several ${seed}`, 'challenger', roll)
    const { right: truth, wrong: lie, other } = wrong
    // Games about one claim know nothing of one another: the honest challenger's goes as if it were alone.
    const honest = contest(wrong, stubborn, roll, 1_000_000)
    assert.ok(honest.verdict.convicted)
    for (const [name, strategy] of Object.entries(STRATEGIES)) {
      const griefing = contest({ ...wrong, name, honest: 'solver', right: truth, wrong: lie, other }, strategy, roll, 1_000_000)
      assert.ok(!griefing.verdict.convicted, `${name}, seed ${seed}`)
    }
  }
})

test('a solver that defends two games by two runs loses both', () => {
  for (let seed = 0; seed < each; seed++) {
    const roll = dice(`two games ${seed}`)
    const m = anyOp(`two games ${seed}`, 'challenger', roll)
    // What it claimed binds it: with another run it cannot even open the step.
    const first = contest(m, stubborn, roll, 1_000_000)
    const second = contest(m, ({ other }) => (other ? [{ move: other }] : []), roll, 1_000_000)
    assert.ok(first.verdict.convicted && second.verdict.convicted)
  }
})

let court: Court
before(async () => {
  court = await startCourt()
})
after(() => court?.stop())

test('every strategy goes the same way on a chain', async () => {
  let games = 0
  for (const [name, strategy] of Object.entries(STRATEGIES))
    for (const side of SIDES) {
      const title = `${name}, honest ${side}, on a chain`
      const roll = dice(title)
      const kinds = Object.values(KINDS)
      const m = kinds[games % kinds.length]!(title, side, roll)
      await court.play((base, players) => {
        const { script, verdict } = contest(m, strategy, roll, base, players)
        assert.ok(honestWon(m, verdict.convicted), `${title}: ${JSON.stringify(verdict)}`)
        return script
      })
      games++
    }
  assert.ok(games >= 28)
  assert.ok(contest(letters('silence', 'challenger', dice('silence')), silent, dice('silence'), 1).verdict.convicted)
})
