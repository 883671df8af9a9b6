// A court within the whole market, on a chain of its own: the real ledger, audit and claims behind it, so that what a dispute costs is what it costs.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import {
  type Checkpoint,
  callOf,
  challengerMove,
  claimRoot,
  type Game,
  type Move,
  moverOf,
  openCheckpoint,
  type Packed,
  probeCommit,
  type Reveal,
  revealsOf,
  solverMove,
  unpackGame,
  type Verdict,
  verdictFromWire,
} from '@bitloom/dispute'
import { fromHex, sha256, stateSlots, toHex } from '@bitloom/graph'
import { CHAIN_ID, startChain } from '@bitloom/node/chain'
import {
  type Bitloom,
  chainTime,
  challenge,
  claimSlice,
  confirmTask,
  connect,
  deploy,
  deposit,
  fullAbi,
  LOCAL_WINDOWS,
  makeSpec,
  mint,
  signOffer,
  submitTask,
  termsFor,
} from '@bitloom/sdk'
import { type Hex, parseEventLogs, type TransactionReceipt } from 'viem'
import { mnemonicToAccount } from 'viem/accounts'
import type { Quarrel } from './dispute-games.ts'

const BLT = 10n ** 18n

/** A transaction of a game: what it did, at which level, what it cost, and its calldata by the byte. */
export type Paid = {
  readonly kind: 'challenge' | Move['kind']
  readonly level: Game['level'] | 'claim'
  readonly gas: number
  readonly zeros: number
  readonly others: number
}

export type Trial = {
  readonly paid: readonly Paid[]
  readonly gas: number
  readonly exchanges: number
  readonly verdict: Verdict
  readonly game: Game
}

export type MarketCourt = {
  /** Submits a task, claims what the quarrel's solver claims, challenges it, and plays to the verdict: a transaction a move. */
  readonly play: (quarrel: Quarrel) => Promise<Trial>
  readonly stop: () => Promise<void>
}

/** Starts a chain with the whole market on it; three accounts of its own, all with tokens. */
export async function startMarketCourt(): Promise<MarketCourt> {
  const dir = mkdtempSync(join(tmpdir(), 'bitloom-court-'))
  const chain = await startChain({ dir })
  const account = (addressIndex: number) => mnemonicToAccount(chain.mnemonic, { addressIndex })
  const network = await deploy(chain.rpcUrl, CHAIN_ID, account(0))
  const [submitter, solver, challenger] = (await Promise.all([0, 1, 2].map((i) => connect(network, account(i))))) as [
    Bitloom,
    Bitloom,
    Bitloom,
  ]
  for (const side of [submitter, solver, challenger]) {
    await mint(submitter, side.account!.address, 100_000n * BLT)
    await deposit(side, 50_000n * BLT)
  }
  return {
    play: (quarrel) => trial(quarrel, submitter, solver, challenger),
    stop: async () => {
      await chain.stop()
      rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
    },
  }
}

/** The slice's checkpoints: the quarrel's segment as its solver ran it, hashes of nothing beside it. */
function checkpointsOf({ solver, steps, segment, segments }: Quarrel): Checkpoint[] {
  const [start, end] = [solver.parts(0), solver.parts(steps)]
  return Array.from({ length: segments }, (_, i) => ({
    stateRoot: i === segment ? end.stateRoot : i === segment - 1 ? start.stateRoot : sha256(new Uint8Array([i])),
    probeCommit: i === segment ? probeCommit(end.chain) : sha256(new Uint8Array([i, 1])),
  }))
}

const hexOf = ({ stateRoot, probeCommit, proof }: ReturnType<typeof openCheckpoint>) => ({
  ...{ stateRoot: toHex(stateRoot), probeCommit: toHex(probeCommit), proof: proof.map(toHex) },
})

async function claimOf(quarrel: Quarrel, submitter: Bitloom, solver: Bitloom): Promise<bigint> {
  const { graph } = quarrel.challenger
  const states = stateSlots(graph)
  const roots = quarrel.challenger.stateTree(0).levels[0]!
  const data = quarrel.challenger.dataTree.levels[0]!.slice(0, graph.slots.length - states)
  const spec = makeSpec(graph, roots.slice(0, states), data, {
    ...{
      stepsPerCheckpoint: quarrel.steps,
      checkpointsPerSlice: quarrel.segments,
      slices: 2,
      assurance: 'spot',
      verifiers: 1,
      segments: 1,
    },
    windows: { ...LOCAL_WINDOWS, clockSeconds: quarrel.clockSeconds, sliceSeconds: 36_000, sealSeconds: 36_000 },
  })
  const signed = await signOffer(
    solver.account!,
    { chainId: CHAIN_ID, market: submitter.network.contracts.Market },
    {
      ...{ solver: solver.account!.address, weiPerTeraop: BLT, memoryBytes: 1n << 32n, operationsPerSecond: 10n ** 9n, capacity: 9 },
      ...{
        validUntil: BigInt(await chainTime(submitter)) + 36_000n,
        minAssurance: 0,
        salt: toHex(sha256(roots[0]!)),
        contact: 'a court of its own',
      },
    },
  )
  const { taskId } = await submitTask(submitter, spec, termsFor(spec, signed.offer), signed)
  await confirmTask(solver, taskId)
  const checkpoints = checkpointsOf(quarrel)
  const last = openCheckpoint(checkpoints, quarrel.segments - 1)
  const { endState, ...rest } = { ...hexOf(last), endState: toHex(last.stateRoot) }
  const receipt = await claimSlice(solver, {
    taskId,
    slice: 0,
    root: toHex(claimRoot(checkpoints)),
    endState,
    probeCommit: rest.probeCommit,
    proof: rest.proof,
  })
  const [claimed] = parseEventLogs({ abi: fullAbi('Market'), logs: receipt.logs, eventName: 'Claimed' }) as unknown as [
    { args: { claimId: bigint } },
  ]
  return claimed.args.claimId
}

async function trial(quarrel: Quarrel, submitter: Bitloom, solver: Bitloom, challenger: Bitloom): Promise<Trial> {
  const claimId = await claimOf(quarrel, submitter, solver)
  const checkpoints = checkpointsOf(quarrel)
  const opening = (j: number) => hexOf(openCheckpoint(checkpoints, j))
  const opened = await challenge(challenger, claimId, quarrel.segment, opening(Math.max(0, quarrel.segment - 1)), opening(quarrel.segment))
  const paid: Paid[] = [await paidFor('challenge', 'claim', opened.receipt, challenger)]
  const reveals: Reveal[] = []
  let packed = packedAfter(opened.receipt)
  for (let n = 0; n < 100; n++) {
    const game = unpackGame(packed)
    const solvers = game.toMove === 'solver'
    const move = solvers ? solverMove(game, quarrel.solver) : challengerMove(game, reveals, quarrel.challenger)
    if (!move) throw new Error(`${quarrel.name}: the ${game.toMove} has no move at level ${game.level}`)
    const side = solvers ? solver : challenger
    const { functionName, args } = callOf(packed, move)
    const receipt = await side.send('Dispute', functionName, [opened.gameId, ...args])
    paid.push(await paidFor(move.kind, game.level, receipt, side))
    reveals.push(...revealsOf(game, move))
    const [decided] = parseEventLogs({ abi: fullAbi('Dispute'), logs: receipt.logs, eventName: 'Decided' }) as unknown as [{ args: never }]
    if (decided) {
      const exchanges = paid.filter((p) => p.kind !== 'challenge' && moverOf(p.kind) === 'solver').length
      return { paid, gas: paid.reduce((sum, p) => sum + p.gas, 0), exchanges, verdict: verdictFromWire(decided.args), game }
    }
    packed = packedAfter(receipt, packed)
  }
  throw new Error(`${quarrel.name}: no verdict after 100 moves`)
}

/** How the log says that the game stands. */
function packedAfter(receipt: TransactionReceipt, before?: Packed): Packed {
  const [moved] = parseEventLogs({ abi: fullAbi('Dispute'), logs: receipt.logs, eventName: 'Moved' }) as unknown as [
    { args: { state: Hex; papers: Hex } },
  ]
  const papers = moved.args.papers === '0x' ? before!.papers : fromHex(moved.args.papers)
  return { state: fromHex(moved.args.state), papers }
}

async function paidFor(kind: Paid['kind'], level: Paid['level'], receipt: TransactionReceipt, bitloom: Bitloom): Promise<Paid> {
  const { input } = await bitloom.chain.getTransaction({ hash: receipt.transactionHash })
  const bytes = fromHex(input)
  const zeros = bytes.reduce((n, b) => n + (b === 0 ? 1 : 0), 0)
  return { kind, level, gas: Number(receipt.gasUsed), zeros, others: bytes.length - zeros }
}
