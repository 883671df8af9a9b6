// How the protocol bears ten thousand nodes: finding each other, telling offers, drawing auditors, and what the chain is asked for.
// SIMULATED but for the gas, which was measured on the embedded EVM: `npm run bench:scale -- [--nodes N] [--seed N] [--json FILE]`.

import { readFileSync, writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { REPUBLISH_EVERY_MS } from '@bitloom/node/network/offers'
import { offerToJson, signOffer } from '@bitloom/sdk'
import { privateKeyToAccount } from 'viem/accounts'
import { discover } from './discovery.ts'
import { draws } from './draws.ts'
import { gossip } from './gossip.ts'

const { values } = parseArgs({
  options: { nodes: { type: 'string', default: '10000' }, seed: { type: 'string', default: '1' }, json: { type: 'string' } },
})
const [nodes, seed] = [Number(values.nodes), Number(values.seed)]
const JOIN_SECONDS = 1200
const OFFER_LIFE_SECONDS = 3600
const row = (...cells: (string | number)[]): void =>
  console.log(cells.map((c, i) => (i === 0 ? String(c).padEnd(58) : String(c).padStart(11))).join(' '))
const round = (x: number, digits = 2): number => Number(x.toFixed(digits))

console.log(`SIMULATED: ${nodes} nodes joining over ${JOIN_SECONDS / 60} minutes through one first node, seed ${seed}`)
row('', 'alone', 'together', 'hops', 'links', 's to first', 'after deaths')
const discovery = [
  { what: 'as built', found: discover(nodes, JOIN_SECONDS, seed) },
  { what: 'if nodes told only those they are connected to', found: discover(nodes, JOIN_SECONDS, seed, { samples: false }) },
  { what: 'if full nodes kept no room for newcomers', found: discover(nodes, JOIN_SECONDS, seed, { makesRoom: false }) },
]
for (const { what, found } of discovery)
  row(
    what,
    found.alone,
    round(found.together, 3),
    found.hops,
    found.connections.median,
    found.firstSeconds.p99,
    round(found.togetherAfterDeaths, 3),
  )

// the real thing's size: a signed offer as it travels
const signer = privateKeyToAccount(`0x${'11'.repeat(32)}`)
const market = { chainId: 31337, market: signer.address }
const offer = {
  solver: signer.address,
  weiPerTeraop: 10n ** 15n,
  memoryBytes: 8n << 30n,
  operationsPerSecond: 10n ** 10n,
  capacity: 2,
  validUntil: 2_000_000_000n,
  minAssurance: 1,
  salt: `0x${'ab'.repeat(32)}` as const,
  contact: `/ip4/203.0.113.10/tcp/4001/p2p/12D3KooW${'a'.repeat(44)} http://203.0.113.10:4002`,
}
const offerBytes = Buffer.byteLength(JSON.stringify(offerToJson(await signOffer(signer, market, offer))))
const told = gossip(nodes, 6, offerBytes, REPUBLISH_EVERY_MS / 1000, OFFER_LIFE_SECONDS, seed)
console.log(
  `\nSIMULATED: every node offers, tells it again every ${REPUBLISH_EVERY_MS / 60_000} minutes and renews it every hour; ${offerBytes} bytes an offer`,
)
row('hops until all have it', told.hops)
row('copies that a node receives of each', round(told.copies))
row('kB a second that a node receives', round(told.bytesPerSecond / 1000, 1))
row('signatures that a node checks a second', round(told.checksPerSecond))

const audited = [
  { what: 'every seat active', drawn: draws(nodes, 20_000, 2, 0, seed) },
  { what: 'a third of the seats left or jailed', drawn: draws(nodes, 20_000, 2, 1 / 3, seed) },
]
console.log('\nSIMULATED: 20,000 claims, two places each; one owner holds a hundredth of the seats')
row('', 'tries', 'most', 'chi²/df', 'its share', 'it got')
for (const { what, drawn } of audited)
  row(what, round(drawn.triesMean, 3), drawn.triesMost, round(drawn.chiSquared, 3), round(drawn.richShare, 4), round(drawn.richGot, 4))

// gas of whole slices on the real EVM, of the overhead bench; a slice's gas does not depend on how many steps it holds
type Measured = { results: { job: string; steps: number; levels: { level: string; gasPerSlice: number }[] }[] }
const measured = JSON.parse(readFileSync(new URL('../results/overhead.json', import.meta.url), 'utf8')) as Measured
const levels = measured.results[0]!.levels
const STEPS_A_SLICE = [1_000, 10_000, 100_000, 1_000_000]
const gas = levels.map(({ level, gasPerSlice }) => ({
  level,
  gasPerSlice,
  perMillionSteps: STEPS_A_SLICE.map((steps) => ({ stepsASlice: steps, gas: Math.round((gasPerSlice * 1e6) / steps) })),
}))
console.log(
  `\nMEASURED on the embedded EVM (bench/results/overhead.json): gas a slice, and gas for a million training steps by the steps of a slice`,
)
row('', 'a slice', ...STEPS_A_SLICE.map((s) => s.toLocaleString('en')))
for (const g of gas) row(g.level, g.gasPerSlice, ...g.perMillionSteps.map((s) => s.gas.toLocaleString('en')))

if (values.json !== undefined)
  writeFileSync(values.json, `${JSON.stringify({ simulated: 'all but gas', nodes, seed, discovery, told, audited, gas }, null, 1)}\n`)
