// What a dispute costs: whole games about one wrong scalar deep inside a training step, played on a chain with the whole market on it, gas a move and in all.
// Run: npm run bench:court [-- --json FILE] [--only mlp,cnn]
import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { type JobName, jobQuarrel, QUARRELS } from '../test/e2e/dispute-jobs.ts'
import { type Paid, startMarketCourt } from '../test/e2e/dispute-market.ts'

// Prices that the money below is reckoned with: assumptions, not measurements. Gas is measured.
const ETH_DOLLARS = 3000
/** A layer 1 such as Ethereum. */
const L1_GWEI = 2
/** A rollup: its own execution, and its calldata in blobs of the layer 1 (one blob gas a byte), uncompressed. */
const L2_GWEI = 0.01
const BLOB_GWEI = 1

const dollars = (gwei: number): number => (gwei / 1e9) * ETH_DOLLARS
const moneyOf = (paid: readonly Paid[], gas: number) => ({
  l1Dollars: dollars(gas * L1_GWEI),
  l2ExecutionDollars: dollars(gas * L2_GWEI),
  l2DataDollars: dollars(paid.reduce((n, p) => n + p.zeros + p.others, 0) * BLOB_GWEI),
})

const { values } = parseArgs({ options: { json: { type: 'string' }, only: { type: 'string' } } })
const names = (values.only?.split(',') ?? Object.keys(QUARRELS)) as JobName[]
const court = await startMarketCourt()
const games: unknown[] = []
try {
  for (const name of names) {
    const { paid, gas, exchanges, verdict } = await court.play(jobQuarrel(name))
    const money = moneyOf(paid, gas)
    console.log(
      `\n${name}: ${gas.toLocaleString('en')} gas in ${paid.length} transactions, ${exchanges} exchanges; ended by ${verdict.ground}`,
    )
    for (const p of paid)
      console.log(`  ${p.kind.padEnd(14)} ${p.level.padEnd(8)} ${String(p.gas).padStart(8)}  ${p.zeros + p.others} bytes`)
    console.log(
      `  $${money.l1Dollars.toFixed(2)} on a layer 1 at ${L1_GWEI} gwei; on a rollup $${money.l2ExecutionDollars.toFixed(3)} at ${L2_GWEI} gwei and $${money.l2DataDollars.toFixed(3)} for its bytes in blobs at ${BLOB_GWEI} gwei; ETH at $${ETH_DOLLARS}`,
    )
    const { steps, depth, terms } = QUARRELS[name]
    games.push({ name, steps, depth, terms, gas, exchanges, transactions: paid.length, ground: verdict.ground, moves: paid, ...money })
    const prices = { ETH_DOLLARS, L1_GWEI, L2_GWEI, BLOB_GWEI }
    if (values.json) writeFileSync(values.json, `${JSON.stringify({ prices, games }, null, 2)}\n`)
  }
} finally {
  await court.stop()
}
