// Whole games about real training steps, a lie in every kind of place, in TypeScript: the honest side wins as solver and as challenger.
//   BITLOOM_GAMES=4 node --test test/depth/games.test.ts   four exprs of every op (default one; of char-GPT every third place)

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { MODELS } from './models.ts'
import { Games } from './quarrels.ts'

const each = Number(process.env.BITLOOM_GAMES ?? 0)

/** Kinds that every model has places for, with a game each at least. */
const ALWAYS = [
  'probe',
  'tail',
  'state: handed on',
  'loss log: handed on',
  'loss log: computed',
  'input: another seed',
  'input: another step',
]

for (const [name, model] of Object.entries(MODELS))
  test(`${name}: whoever lies about a step loses, and whoever does not withstands it`, async () => {
    const games = new Games(await model())
    const places = games.places('depth', Math.max(1, each))
    const third = each === 0 && name === 'chargpt'
    games.playAll(third ? places.filter((p, i) => i % 3 === 0 || ALWAYS.includes(p.kind)) : places)
    games.inconsistent()
    const { kinds, exchanges, total, swallowed } = games.summary()
    for (const kind of ALWAYS) assert.ok(kinds[kind], `no game of the kind "${kind}"`)
    // Every op of the graph has shown itself, but for those that only decide between equals.
    const ops = new Set(games.model.graph.exprs.map((e) => e.op))
    const missed = [...ops].filter((op) => !kinds[`op ${op}`])
    if (!third) assert.ok(missed.length <= 2, `no game about ${missed}`)
    assert.ok(total >= 80, `${total} games`)
    console.log(
      `# ${name}: ${games.model.graph.exprs.length} exprs, ${total} games won in both roles, ${exchanges.least} to ${exchanges.most} reveals; ${swallowed} lies swallowed`,
    )
    if (missed.length > 0) console.log(`#   every lie tried was swallowed: ${missed.join(', ')}`)
  })
