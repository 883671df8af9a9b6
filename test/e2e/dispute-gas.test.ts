// What a dispute costs on the whole market, held to its bars: one wrong product-sum in a training step of a char-GPT, and in one of the quickstart's network.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { type JobName, jobQuarrel } from './dispute-jobs.ts'
import { type MarketCourt, startMarketCourt } from './dispute-market.ts'

/** Gas and exchanges that a dispute on a char-GPT's training step may take. */
const [GAS, EXCHANGES] = [1_500_000, 12]

let court: MarketCourt
before(async () => {
  court = await startMarketCourt()
})
after(() => court?.stop())

for (const name of ['mlp', 'chargpt activation'] as const satisfies readonly JobName[])
  test(`${name}: a lie is convicted for at most ${GAS} gas in at most ${EXCHANGES} exchanges`, async () => {
    const quarrel = jobQuarrel(name)
    const { gas, exchanges, verdict, paid } = await court.play(quarrel)
    console.log(`# ${name}: ${gas} gas, ${exchanges} exchanges, ${paid.length} transactions`)
    for (const p of paid) console.log(`#   ${p.kind} (${p.level}) ${p.gas}`)
    assert.deepEqual([verdict.convicted, verdict.ground, verdict.expr], [true, 'scalar', quarrel.expr])
    assert.ok(gas <= GAS, `${gas} gas`)
    assert.ok(exchanges <= EXCHANGES, `${exchanges} exchanges`)
  })
