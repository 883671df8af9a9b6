// What each strategy earns: 10,000 simulated nodes over a million slices under the contracts' own numbers, then sweeps that say why the defaults are what they are.
// SIMULATED, and says so: `node bench/economics/run.ts [--seed N] [--slices N] [--nodes N] [--json FILE]`.

import { writeFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import { POPULATION, type Strategy } from './agents.ts'
import { type Outcome, simulate } from './market.ts'
import { defaults, type Parameters } from './parameters.ts'

const { values } = parseArgs({
  options: {
    seed: { type: 'string', default: '1' },
    slices: { type: 'string', default: '1000000' },
    nodes: { type: 'string', default: '10000' },
    json: { type: 'string' },
  },
})
const [seed, slices, nodes] = [Number(values.seed), Number(values.slices), Number(values.nodes)]
const TOKENS_A_SLICE = 1
const base = defaults(TOKENS_A_SLICE)

/** Gain a slice of the strategy named `name`. */
const gainOf = (outcome: Outcome, name: string): number => outcome.strategies.find((s) => s.name === name)!.profitASlice

/** Honest nodes, and a share of one other strategy. */
const against = (strategy: Omit<Strategy, 'share'>, share: number): Strategy[] => [
  { name: 'honest', share: 1 - share, solving: { kind: 'honest' }, checking: { kind: 'honest' } },
  { ...strategy, share },
]

const sweepSlices = Math.max(20_000, Math.floor(slices / 10))
const sweep = (parameters: Partial<Parameters>, population: readonly Strategy[]): Outcome =>
  simulate({ ...base, ...parameters }, population, Math.min(nodes, 1000), sweepSlices, seed)

const started = performance.now()
const all = simulate(base, POPULATION, nodes, slices, seed)

if (Math.abs(all.difference) > 1e-6 * slices) throw new Error(`money came or went: ${all.difference} slice prices`)

const skipper = (segments: number): Omit<Strategy, 'share'> => ({
  name: 'cheat',
  solving: { kind: 'skip', segments, patient: true },
  checking: { kind: 'honest' },
})
const bonds = [0, 0.5, 1, 2, 4, 8].map((bond) => {
  const outcome = sweep({ bond }, against(skipper(1), 0.05))
  return { bond, honest: gainOf(outcome, 'honest'), cheat: gainOf(outcome, 'cheat') }
})
const audits = [1, 2, 3, 5, 10].map((audited) => {
  const parameters = { audited, verifiers: Math.min(2, audited) }
  const outcome = sweep(parameters, against(skipper(1), 0.05))
  const honest = sweep(parameters, against(skipper(1), 0))
  return {
    audited,
    overhead: honest.overhead,
    caught: outcome.caught / outcome.forged,
    honest: gainOf(outcome, 'honest'),
    cheat: gainOf(outcome, 'cheat'),
  }
})
const coalition: Omit<Strategy, 'share'> = {
  name: 'coalition',
  solving: { kind: 'skip', segments: 10, patient: false },
  checking: { kind: 'collude' },
}
const coalitions = [0.1, 0.3, 0.5, 0.6, 0.7, 0.8, 0.9].map((share) => {
  const outcome = sweep({}, against(coalition, share))
  const watched = sweep({}, [
    ...against(coalition, share - 0.01),
    { name: 'watch', share: 0.01, solving: { kind: 'honest' }, checking: { kind: 'honest' }, watching: 0.02 },
  ])
  return {
    share,
    honest: gainOf(outcome, 'honest'),
    coalition: gainOf(outcome, 'coalition'),
    caught: outcome.caught / outcome.forged,
    coalitionWatched: gainOf(watched, 'coalition'),
    caughtWatched: watched.caught / watched.forged,
  }
})
const stamps = [0.01, 1, 10, 100, 1000].map((tokens) => {
  // seats and challenge bonds are fixed in tokens: the dearer the slice, the less they weigh
  const fixed = defaults(tokens)
  const lazy = sweep(
    { seat: fixed.seat, challengeBond: fixed.challengeBond },
    against({ name: 'lazy', solving: { kind: 'honest' }, checking: { kind: 'stamp', chance: 1 } }, 0.02),
  )
  return { tokensASlice: tokens, seat: fixed.seat, honest: gainOf(lazy, 'honest'), lazy: gainOf(lazy, 'lazy') }
})
/** Whistleblowers that look at so many claims in a hundred, together. */
const watchers = (looks: number): Strategy[] => [
  { name: 'honest', share: 0.9, solving: { kind: 'honest' }, checking: { kind: 'honest' } },
  { name: 'watch', share: 0.1, solving: { kind: 'honest' }, checking: { kind: 'honest' }, watching: looks / (0.1 * Math.min(nodes, 1000)) },
]
const watching = [10, 50, 100, 200, 256].flatMap((segments) =>
  [0.5, 2].map((looks) => {
    const parameters = { segments, auditFee: base.auditFee * (base.segments / segments) }
    const gain = (farming: boolean): number =>
      sweep(
        parameters,
        watchers(looks).map((s) => (s.name === 'honest' && farming ? { ...s, farming } : s)),
      ).strategies.find((s) => s.name === 'watch')!.profitALook
    return { segments, looks, gain: gain(false), amongFarmers: gain(true) }
  }),
)
const decoys = [0, 8, 32, 64, 256, 1024].map((decoyOneIn) => {
  const parameters = {
    decoyOneIn,
    verifierJackpot: (base.verifierJackpot / base.decoyOneIn) * decoyOneIn,
    whistleJackpot: (base.whistleJackpot / base.decoyOneIn) * decoyOneIn,
  }
  const farmed = sweep(parameters, [
    { name: 'honest', share: 0.5, solving: { kind: 'honest' }, checking: { kind: 'honest' } },
    { name: 'farmer', share: 0.5, solving: { kind: 'honest' }, checking: { kind: 'honest' }, farming: true },
  ])
  return {
    decoyOneIn,
    honest: gainOf(farmed, 'honest'),
    farmer: gainOf(farmed, 'farmer'),
    shown: farmed.decoys / farmed.slices,
    pool: farmed.pool,
    lowestPool: farmed.lowestPool,
    heldBack: farmed.heldBack / Math.max(1, farmed.heldBack + farmed.jackpots),
  }
})
const quorums = [2, 3, 5, 8].map((k) => {
  const parameters = { quorum: true, verifiers: k - 1, audited: base.segments }
  const honest = sweep(parameters, against(skipper(1), 0))
  const colluding = sweep(parameters, against(coalition, 0.5))
  return { k, overhead: honest.overhead, coalition: gainOf(colluding, 'coalition'), caught: colluding.caught / colluding.forged }
})
const seconds = (performance.now() - started) / 1000

const number = (x: number, digits = 3): string => x.toFixed(digits)
const table = (head: string[], rows: (string | number)[][]): void => {
  const cells = [head, ...rows.map((row) => row.map((x) => (typeof x === 'number' ? number(x) : x)))]
  const widths = head.map((_, i) => Math.max(...cells.map((row) => row[i]!.length)))
  for (const row of cells) console.log(row.map((x, i) => (i === 0 ? x.padEnd(widths[i]!) : x.padStart(widths[i]!))).join('  '))
  console.log('')
}

console.log(
  `SIMULATED: ${nodes} nodes, ${slices} slices, seed ${seed}; money in prices of a slice (${TOKENS_A_SLICE} token), ${number(seconds, 1)} s\n`,
)
table(
  ['strategy', 'nodes', 'slices', 'checks', 'convicted', 'gain a node', 'gain a slice'],
  all.strategies.map((s) => [s.name, `${s.nodes}`, `${s.slices}`, `${s.checks}`, `${s.convictions}`, s.profit, s.profitASlice]),
)
console.log(
  `forged claims ${all.forged}, convicted ${all.caught} (${number((100 * all.caught) / all.forged, 1)} %); work of everybody ÷ accepted honest work ${number(all.overhead)}`,
)
console.log(
  `decoys shown ${all.decoys}, jackpots ${number(all.jackpots, 0)} (${number(all.heldBack, 0)} held back by the cap), lowest pool ${number(all.lowestPool, 0)}`,
)
console.log(`pool ${number(all.pool, 0)}, burnt ${number(all.burnt, 0)}, money in minus money out ${all.difference.toExponential(1)}\n`)
console.log('One segment in ten forged, patiently, by one solver in twenty: the bond, in slice prices')
table(
  ['bond', 'honest', 'cheat'],
  bonds.map((b) => [`${b.bond}`, b.honest, b.cheat]),
)
console.log('The same, by audited segments of ten; overhead among honest nodes only')
table(
  ['audited', 'overhead', 'caught', 'honest', 'cheat'],
  audits.map((a) => [`${a.audited}`, a.overhead, a.caught, a.honest, a.cheat]),
)
console.log(
  'A coalition that forges everything and attests its own: its share of the nodes; then with one whistleblower in a hundred who looks at one segment of a claim in fifty',
)
table(
  ['share', 'honest', 'coalition', 'caught', 'watched', 'caught'],
  coalitions.map((c) => [number(c.share, 1), c.honest, c.coalition, c.caught, c.coalitionWatched, c.caughtWatched]),
)
console.log('A verifier that stamps everything, by the price of a slice in tokens (a seat is 100 tokens)')
table(
  ['tokens a slice', 'seat', 'honest', 'lazy'],
  stamps.map((s) => [`${s.tokensASlice}`, s.seat, s.honest, s.lazy]),
)

console.log('Looking unasked at one segment: gain a look, by segments a slice and by looks a claim of all whistleblowers together')
table(
  ['segments', 'looks', 'gain a look', 'where every solver farms its own decoys'],
  watching.map((w) => [`${w.segments}`, number(w.looks, 1), number(w.gain, 5), number(w.amongFarmers, 5)]),
)
console.log('Forced errors: one claim in so many; half of the nodes farm their own')
table(
  ['one in', 'honest', 'farmer', 'pool at the end', 'lowest', 'held back by the cap'],
  decoys.map((d) => [`${d.decoyOneIn}`, number(d.honest, 4), number(d.farmer, 4), number(d.pool, 0), number(d.lowestPool, 0), d.heldBack]),
)
console.log('A quorum of k: work of everybody among honest nodes; and against a coalition of half of the nodes that forges everything')
table(
  ['k', 'overhead', 'coalition', 'caught'],
  quorums.map((q) => [`${q.k}`, q.overhead, q.coalition, q.caught]),
)

if (values.json !== undefined)
  writeFileSync(
    values.json,
    `${JSON.stringify({ simulated: true, seed, nodes, slices, seconds, parameters: base, all, bonds, audits, coalitions, stamps, watching, decoys, quorums }, null, 1)}\n`,
  )
