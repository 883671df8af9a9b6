// The twins of the dispute, held together: seeded games with lies and illegal moves in them, played in TypeScript and on a chain, every state and error compared.

import { after, before, test } from 'node:test'
import { type Court, startCourt } from './court.ts'
import { alphabetQuarrel, dice, everyOpQuarrel, script } from './dispute-games.ts'

let court: Court
before(async () => {
  court = await startCourt()
})
after(() => court?.stop())

test('games of the alphabet machine go the same way on both sides', async () => {
  for (let seed = 0; seed < 12; seed++) {
    const roll = dice(`alphabet ${seed}`)
    await court.play((base, players) => script(alphabetQuarrel(roll, `alphabet ${seed}`), roll, base, 3, players))
  }
})

test('games about every op go the same way on both sides', async () => {
  for (let seed = 0; seed < 16; seed++) {
    const roll = dice(`every op ${seed}`)
    await court.play((base, players) => script(everyOpQuarrel(roll, `every op ${seed}`), roll, base, 2, players))
  }
})
