// Disputes from seeds, for holding Claims.sol and Dispute.sol to packages/dispute.
//   node tools/fuzz-dispute.ts 200 [seed]        play random games with random illegal moves in TypeScript and on a chain; exit 1 where they differ
//   node tools/fuzz-dispute.ts vectors [--check] write (or compare) vectors/dispute.json, which packages/contracts/test/Dispute.t.sol plays
//   node tools/fuzz-dispute.ts mnist             one game about an MLP 784-128-10, 50 steps a segment: rounds and gas of each move
import { readFileSync, writeFileSync } from 'node:fs'
import { Dispute } from '@bitloom/contracts'
import { cheat, elementOf, type Game, GROUNDS, type Move, moverOf, packGame, replay, stateHash } from '@bitloom/dispute'
import { wasm } from '@bitloom/engine'
import { fromHex, type Graph, toHex } from '@bitloom/graph'
import { mnistJob } from '@bitloom/model'
import { type Abi, encodeFunctionData, type Hex, toFunctionSelector } from 'viem'
import { calldataOf, callerOf, caseOf, courtStub, startCourt } from '../test/e2e/court.ts'
import { alphabetQuarrel, dice, everyOpQuarrel, type Quarrel, type Script, script } from '../test/e2e/dispute-games.ts'
import { compile } from './solidity.ts'

const BASE = 1_000_000
/** Whoever plays in the vectors: nobody's keys. */
const SOLVER = `0x${'50'.repeat(20)}` as const
const CHALLENGER = '0x0000000000000000000000000000000000c4a11e'
const FILE = new URL('../vectors/dispute.json', import.meta.url)

/** A quarrel about one wrong product-sum in the first layer of the quickstart's network, at step 31 of a segment of 50. */
function mnistQuarrel(): Quarrel {
  const count = 1024
  const roll = dice('pixels')
  const images = Uint8Array.from({ length: count * 784 }, (_, i) => (i % 7 === 0 ? roll(256) : 0))
  const labels = Uint8Array.from({ length: count }, () => roll(10))
  const job = mnistJob({ images, labels, count, seed: [1, 2], steps: 50 })
  const options = { graph: job.graph, slots: [...job.state, ...job.data], steps: 50, evaluate: wasm.evaluate }
  const challenger = replay(options)
  const expr = firstLayer(job.graph)
  const [step, term] = [31, 300]
  const value = (element: number): number => elementOf(job.graph, expr, element, challenger.trace(step).tensor(expr))
  // a sum that the ReLU behind it lets through
  let element = 4321
  while (value(element) >>> 31 === 1 || value(element) === 0) element++
  const word = (value(element) ^ 0x10000) >>> 0
  const solver = cheat(options, { kind: 'expr', step, expr, element, word, term })
  return { name: 'mnist', solver, challenger, steps: 50, segment: 1, segments: 4, clockSeconds: 3600 }
}

const firstLayer = (graph: Graph): number => graph.exprs.findIndex((e) => e.op === 'dot' && graph.exprs[e.inputs[0]!]!.shape.at(-1) === 784)

/** The quarrels of the vector file: every ground on which a game can end, both sides at fault, silence on both. */
function quarrels(): { quarrel: Quarrel; roll: (n: number) => number; refusals: number }[] {
  const alphabet = [1, 3, 6, 8].map((seed) => {
    const roll = dice(`vector alphabet ${seed}`)
    return { quarrel: alphabetQuarrel(roll, `alphabet ${seed}`), roll, refusals: 1 }
  })
  const lies = [
    { kind: 'probe', step: 1 },
    { kind: 'slot', step: 2, slot: 5, element: 0, word: 0x3f800000 },
    { kind: 'padding', step: 2, tree: 'trace' },
    { kind: 'tail', step: 2, expr: permuted },
    { kind: 'expr', step: 1, expr: 0, element: 2, word: 7 },
  ] as const
  const told = lies.map((lie) => {
    const roll = dice(`vector ${JSON.stringify(lie)}`)
    const quarrel = everyOpQuarrel((n) => Math.max(1, roll(n)), `every op: ${lie.kind}`, lie)
    return { quarrel, roll, refusals: 1 }
  })
  return [...alphabet, ...told, { quarrel: mnistQuarrel(), roll: dice('mnist'), refusals: 0 }]
}

const permuted = everyOpQuarrel(() => 1, 'shape', { kind: 'probe', step: 0 }).solver.graph.exprs.findIndex(
  (e) => e.op === 'permute' && e.shape.join() === '4,3',
)

/** What the contract keeps of a game: nothing once it is over. */
const kept = (game: Game): Hex => toHex(game.level === 'over' ? new Uint8Array(32) : stateHash(packGame(game)))

function vectors(): string {
  const stub = courtStub()
  const arbiter = compile(['src/arbiter/Arbiter.sol', 'src/dispute/Dispute.sol', 'src/dispute/Facts.sol']).flatMap((c) => c.abi as Abi)
  const selectors = new Map(arbiter.flatMap((e) => (e.type === 'error' ? [[e.name, toFunctionSelector(e as never)] as const] : [])))
  const selectorOf = (name: string): Hex => selectors.get(name) ?? fail(`no contract has an error ${name}`)
  const games = quarrels().map(({ quarrel, roll, refusals }, i) => {
    const played: Script = script(quarrel, roll, BASE, refusals, {
      claimId: i + 1,
      solver: fromHex(SOLVER),
      challenger: fromHex(CHALLENGER),
    })
    const { claim, spec, challenge } = caseOf(played, SOLVER, BigInt(i + 1))
    const verdict = played.tries.flatMap((t) => (t.outcome.ok && t.outcome.verdict ? [t.outcome.verdict] : []))[0]!
    return {
      name: played.name,
      put: encodeFunctionData({ abi: stub.abi, functionName: 'put', args: [BigInt(i + 1), claim, spec] }),
      challenge: encodeFunctionData({ abi: Dispute.abi as Abi, functionName: 'challenge', args: challenge }),
      opened: kept(played.game),
      segment: played.challenge.segment,
      sealedUntil: played.sealedUntil,
      convicted: verdict.convicted,
      ground: GROUNDS.indexOf(verdict.ground),
      kinds: played.tries.map((t) => t.move.kind),
      by: played.tries.map((t) => ['solver', 'challenger', 'anyone'].indexOf(callerOf(t.move))),
      at: played.tries.map((t) => t.at),
      data: played.tries.map((t) => calldataOf(BigInt(i), t.brought, t.move)),
      error: played.tries.map((t) => (t.outcome.ok ? '0x' : selectorOf(t.outcome.error))),
      state: played.tries.map((t) => (t.outcome.ok ? kept(t.outcome.game) : `0x${'00'.repeat(32)}`)),
    }
  })
  return `${JSON.stringify({ base: BASE, solver: SOLVER, games }, null, 1)}\n`
}

async function fuzz(count: number, seed: string): Promise<void> {
  const court = await startCourt()
  let moves = 0
  try {
    for (let i = 0; i < count; i++) {
      const name = `${seed}/${i}`
      const roll = dice(name)
      const quarrel = roll(2) === 0 ? alphabetQuarrel(roll, name) : everyOpQuarrel(roll, name)
      await court.play((base, players) => {
        const played = script(quarrel, roll, base, 4, players)
        moves += played.tries.length
        return played
      })
    }
  } finally {
    await court.stop()
  }
  console.log(`${count} games of seed ${seed}, ${moves} moves tried: TypeScript and the chain agree on every state, verdict and error`)
}

async function mnist(): Promise<void> {
  const court = await startCourt()
  try {
    const used = await court.play((base, players) => script(mnistQuarrel(), dice('mnist'), base, 0, players))
    for (const { kind, gas } of used) console.log(`${kind.padEnd(12)} ${gas}`)
    const solvers = used.filter(({ kind }) => kind !== 'challenge' && moverOf(kind as Move['kind']) === 'solver').length
    console.log(
      `${solvers} reveals of the solver, ${used.length - solvers} transactions of the challenger, ${used.reduce((n, u) => n + u.gas, 0n)} gas in all`,
    )
  } finally {
    await court.stop()
  }
}

const fail = (message: string): never => {
  throw new Error(message)
}

const [verb = '20', option = `${Date.now()}`] = process.argv.slice(2)
if (verb === 'mnist') await mnist()
else if (verb === 'vectors') {
  const text = vectors()
  if (option !== '--check') writeFileSync(FILE, text)
  else if (readFileSync(FILE, 'utf8') !== text)
    fail('vectors/dispute.json is not what the code gives\n  run: node tools/fuzz-dispute.ts vectors')
} else await fuzz(Number(verb), option)
