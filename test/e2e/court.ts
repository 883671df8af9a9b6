// A court on a chain of its own: anvil with a clock that we set, Arbiter, Dispute, and a stub of the market; plays scripts and compares every state and error.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { Arbiter, Dispute } from '@bitloom/contracts'
import { type Challenge, callOf, GROUNDS, type Move, moverOf, type Packed, packGame, stateHash, verdictFromWire } from '@bitloom/dispute'
import { fromHex, toHex } from '@bitloom/graph'
import {
  type Abi,
  type Address,
  BaseError,
  createTestClient,
  decodeErrorResult,
  decodeEventLog,
  defineChain,
  encodeFunctionData,
  type Hex,
  http,
  parseEventLogs,
  publicActions,
  RawContractError,
  type TransactionReceipt,
  walletActions,
} from 'viem'
import { compile } from '../../tools/solidity.ts'
import type { Players, Script, Tried } from './dispute-games.ts'

const BOND = 10n ** 19n
const GAS = 30_000_000n

/** Gas of every legal move of a script, in order. */
export type GasUsed = { readonly kind: string; readonly gas: bigint }

export type Court = {
  /** Opens the script's game and plays it; throws where the chain says anything else than TypeScript. */
  readonly play: (script: (base: number, players: Players) => Script) => Promise<GasUsed[]>
  readonly stop: () => Promise<void>
}

/** The claim, spec and challenge of a script as the contract takes them. */
export function caseOf(script: Script, solver: Address, claimId: bigint) {
  const { terms, segments, root, startState, challenge } = script
  const end = toHex(challenge.end.stateRoot)
  const zero = toHex(new Uint8Array(32))
  const start = challenge.segment === 0 ? toHex(startState) : zero
  const spec = {
    ...{ graphId: toHex(terms.graphId), initialState: zero, dataRoot: toHex(terms.dataRoot) },
    ...{ exprs: terms.exprs, stateSlots: terms.stateSlots, dataSlots: terms.dataSlots, probe: terms.probe },
    ...{ stepsPerCheckpoint: terms.stepsPerCheckpoint, checkpointsPerSlice: segments, slices: 1, operationsPerStep: 1n },
    ...{ assurance: 0, verifiers: 0, segments: 0, confirmSeconds: 0, sliceSeconds: 0, sealSeconds: 0, discloseSeconds: 0 },
    ...{ revealSeconds: 0, challengeSeconds: 0, clockSeconds: terms.clockSeconds, decoyOneIn: script.game.fresh ? 8 : 0 },
  }
  return {
    claim: { taskId: claimId, solver, root: toHex(root), startState: start, endState: end, open: true },
    spec,
    challenge: [claimId, challenge.segment, openingOf(challenge.start), openingOf(challenge.end)] as const,
  }
}

const openingOf = ({ stateRoot, probeCommit, proof }: Challenge['start']) => ({
  stateRoot: toHex(stateRoot),
  probeCommit: toHex(probeCommit),
  proof: proof.map(toHex),
})

/** The calldata of a move in game `gameId`, as it stands or as somebody says that it stands. */
export function calldataOf(gameId: bigint, brought: Packed, move: Move): Hex {
  const { functionName, args } = callOf(brought, move)
  return encodeFunctionData({ abi: Dispute.abi as Abi, functionName, args: [gameId, ...args] })
}

/** Whose move it is; a timeout is anybody's. */
export const callerOf = (move: Move): 'solver' | 'challenger' | 'anyone' => {
  const mover = moverOf(move.kind)
  return mover === 'anybody' ? 'anyone' : mover
}

/** The stub of the market that the contracts' own tests use. */
export const courtStub = () => {
  const stub = compile(['test/CourtStub.sol']).find((c) => c.name === 'CourtStub')!
  return { abi: stub.abi as Abi, bytecode: stub.bytecode as Hex }
}

/**
 * Starts a chain with a court on it.
 * @throws {Error} anvil does not answer within 10 s
 */
export async function startCourt(): Promise<Court> {
  const probe = createServer().listen(0, '127.0.0.1')
  await once(probe, 'listening')
  const { port } = probe.address() as { port: number }
  probe.close()
  const program = new URL('../../node_modules/.bin/anvil', import.meta.url).pathname
  const args = [
    '--port',
    String(port),
    '--silent',
    '--gas-limit',
    '100000000',
    '--prune-history',
    '--accounts',
    '3',
    '--timestamp',
    '1000000',
  ]
  const child = spawn(program, args, { stdio: ['ignore', 'ignore', 'inherit'] })
  const rpcUrl = `http://127.0.0.1:${port}`
  const chain = defineChain({
    id: 31337,
    name: 'court',
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [rpcUrl] } },
  })
  const client = createTestClient({ mode: 'anvil', chain, transport: http(rpcUrl), pollingInterval: 10, cacheTime: 0 })
    .extend(publicActions)
    .extend(walletActions)
  for (let tries = 0; ; tries++) {
    try {
      await client.getChainId()
      break
    } catch (error) {
      if (tries === 100 || child.exitCode !== null) throw error
      await sleep(100)
    }
  }
  const [deployer, solver, challenger] = (await client.getAddresses()) as [Address, Address, Address]
  const accounts = { solver, challenger, anyone: deployer }
  const mined = async (hash: Hex) => client.waitForTransactionReceipt({ hash, pollingInterval: 5 })
  const put = async (abi: Abi, bytecode: Hex, args: readonly unknown[]): Promise<Address> =>
    (await mined(await client.deployContract({ abi, bytecode, args, account: deployer, chain }))).contractAddress!
  const stub = courtStub()
  const market = await put(stub.abi, stub.bytecode, [])
  const arbiter = await put(Arbiter.abi, Arbiter.bytecode, [])
  const dispute = await put(Dispute.abi as Abi, Dispute.bytecode, [market, market, market, arbiter])
  const tell = async (functionName: string, args: readonly unknown[]) =>
    mined(await client.writeContract({ address: market, abi: stub.abi, functionName, args, account: deployer, chain }))

  const errors: Abi = [...(Dispute.abi as Abi), ...(Arbiter.abi as Abi)].filter((entry) => entry.type === 'error')
  /** The name of the error with which a call would be refused, or undefined. */
  const refusal = async (data: Hex, from: Address): Promise<string | undefined> => {
    try {
      await client.call({ to: dispute, data, account: from, gas: GAS })
      return undefined
    } catch (error) {
      const raw =
        error instanceof BaseError
          ? error.walk((e) => e instanceof RawContractError || (e as { data?: unknown }).data !== undefined)
          : undefined
      const revert = (raw as { data?: Hex | { data: Hex } } | undefined)?.data
      const hex = typeof revert === 'object' ? revert.data : revert
      if (!hex) throw error
      return decodeErrorResult({ abi: errors, data: hex }).errorName
    }
  }
  let claimId = 0n
  const play: Court['play'] = async (make) => {
    claimId += 1n
    const { timestamp } = await client.getBlock()
    const base = Number(timestamp) + 100
    const script = make(base, { claimId: Number(claimId), solver: fromHex(solver), challenger: fromHex(challenger) })
    const { claim, spec, challenge } = caseOf(script, solver, claimId)
    await tell('put', [claimId, claim, spec])
    await tell('seal', [claimId, BigInt(script.sealedUntil ?? 0)])
    await tell('fund', [challenger, BOND])
    const gameId = (await client.readContract({ address: dispute, abi: Dispute.abi, functionName: 'gameCount' })) as bigint
    await client.setNextBlockTimestamp({ timestamp: BigInt(base) })
    const opening = await mined(
      await client.writeContract({
        address: dispute,
        abi: Dispute.abi as Abi,
        functionName: 'challenge',
        args: challenge,
        account: challenger,
        chain,
        gas: GAS,
      }),
    )
    const used: GasUsed[] = [{ kind: 'challenge', gas: opening.gasUsed }]
    let papers: Hex = '0x'
    /** Kept, and told by the log, must be what TypeScript says that the game is. */
    const compare = async (game: Script['game'], logs: TransactionReceipt['logs'], what: string): Promise<void> => {
      const kept = (await client.readContract({ address: dispute, abi: Dispute.abi, functionName: 'gameOf', args: [gameId] })) as {
        state: Hex
      }
      const moved = parseEventLogs({ abi: Dispute.abi, logs, eventName: 'Moved' })[0]!.args as { state: Hex; papers: Hex }
      if (moved.papers !== '0x') papers = moved.papers
      const ours = game.level === 'over' ? undefined : packGame(game)
      const differ = (name: string, here: Hex, there: Hex): void => {
        if (here !== there) throw new Error(`${script.name}: ${what}: ${name} is ${here} here, ${there} on chain`)
      }
      differ('state', ours ? toHex(ours.state) : '0x', moved.state)
      differ('hash', ours ? toHex(stateHash(ours)) : toHex(new Uint8Array(32)), kept.state)
      if (ours) differ('papers', toHex(ours.papers), papers)
    }
    await compare(script.game, opening.logs, 'opened')
    for (const [i, tried] of script.tries.entries()) used.push(...(await attempt(script, tried, gameId, i, compare)))
    return used
  }
  const attempt = async (
    script: Script,
    { move, brought, at, late, outcome }: Tried,
    gameId: bigint,
    i: number,
    compare: (game: Script['game'], logs: TransactionReceipt['logs'], what: string) => Promise<void>,
  ): Promise<GasUsed[]> => {
    const what = `${script.name}: move ${i}, ${move.kind}`
    const data = calldataOf(gameId, brought, move)
    const account = accounts[callerOf(move)]
    if (!outcome.ok) {
      if (late) {
        await client.setNextBlockTimestamp({ timestamp: BigInt(at) })
        await client.mine({ blocks: 1 })
      }
      const error = await refusal(data, account)
      if (error !== outcome.error) throw new Error(`${what}: ${outcome.error} here, ${error ?? 'taken'} on chain`)
      return []
    }
    const { timestamp } = await client.getBlock()
    if (Number(timestamp) < at) await client.setNextBlockTimestamp({ timestamp: BigInt(at) })
    const receipt = await mined(await client.sendTransaction({ to: dispute, data, account, chain, gas: GAS }))
    if (receipt.status !== 'success') throw new Error(`${what}: taken here, ${await refusal(data, account)} on chain`)
    await compare(outcome.game, receipt.logs, `after move ${i}, ${move.kind}`)
    const events = receipt.logs
      .filter((log) => log.address.toLowerCase() === dispute.toLowerCase())
      .map((log) => decodeEventLog({ abi: Dispute.abi, ...log }))
    const decided = events.find((e) => e.eventName === 'Decided')
    const { gameId: _, ...verdict } = (decided?.args ?? {}) as { gameId?: bigint }
    const theirs = decided && JSON.stringify(Object.entries(verdictFromWire(verdict as never)).sort())
    const ours = outcome.verdict && JSON.stringify(Object.entries(outcome.verdict).sort())
    if (theirs !== ours) throw new Error(`${what}: verdict ${ours} here, ${theirs} on chain (grounds ${GROUNDS})`)
    return [{ kind: move.kind, gas: receipt.gasUsed }]
  }
  return {
    play,
    stop: async () => {
      if (child.exitCode === null && child.kill('SIGTERM')) await once(child, 'exit')
    },
  }
}
