// A seeded sample of the games about real training steps on the real contract, wrong moves tried in between: every state, verdict and error as in TypeScript.
//   BITLOOM_COURT=40 node --test test/depth/court.test.ts   forty games of each model (default two)

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { openGame } from '@bitloom/dispute'
import { differs } from '@bitloom/dispute/player'
import { type Court, type GasUsed, startCourt } from '../e2e/court.ts'
import { dice, type Script, script } from '../e2e/dispute-games.ts'
import { MODELS } from './models.ts'
import { Games } from './quarrels.ts'

const each = Number(process.env.BITLOOM_COURT ?? 2)

let court: Court
before(async () => {
  court = await startCourt()
})
after(() => court?.stop())

for (const [name, make] of Object.entries(MODELS))
  test(`${name}: games about its training step on a chain`, async () => {
    const model = await make()
    const games = new Games(model)
    const roll = dice(`${name} court`)
    const places = games.places('court', 1)
    const used: bigint[] = []
    for (let n = 0; n < each; ) {
      const place = places[roll(places.length)]!
      const liar = games.liar(place.lie)
      if (!differs(games.right, model.steps, openGame(liar, model.steps).hi)) continue // swallowed: nothing to quarrel about
      // one in three: the lie is the challenger's
      const honestSolver = n % 3 === 2
      const [solver, challenger] = honestSolver ? [games.right, liar] : [liar, games.right]
      const title = `${name}, ${place.kind}, ${place.what}`
      const quarrel = { name: title, solver, challenger, steps: model.steps, segment: 1, segments: 4, clockSeconds: 3600 }
      let played: Script | undefined
      const gas: GasUsed[] = await court.play((base, players) => {
        played = script(quarrel, roll, base, 2, players)
        return played
      })
      const verdict = played!.tries.flatMap((t) => (t.outcome.ok && t.outcome.verdict ? [t.outcome.verdict] : []))[0]
      assert.equal(verdict?.convicted, !honestSolver, `${title}: ${JSON.stringify(verdict)}`)
      used.push(gas.reduce((sum, g) => sum + g.gas, 0n))
      n++
    }
    const most = used.reduce((a, b) => (a > b ? a : b))
    console.log(`# ${name}: ${used.length} games, the dearest ${most} gas`)
  })
