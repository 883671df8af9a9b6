// A connection to one network: its chain, its contracts, and (with a key) the right to send transactions.

import * as artefacts from '@bitloom/contracts'
import {
  type Abi,
  type Address,
  BaseError,
  ContractFunctionRevertedError,
  createPublicClient,
  defineChain,
  encodeFunctionData,
  formatTransactionReceipt,
  type Hex,
  HttpRequestError,
  type LocalAccount,
  type PublicClient,
  TimeoutError,
  type TransactionReceipt,
} from 'viem'
import { getContractError } from 'viem/utils'
import { type EndpointOptions, type EndpointState, type Endpoints, hostOf, openEndpoints, RpcDownError } from './endpoints.ts'
import { type Journal, memoryJournal, type OutboxOptions, openOutbox, type Post } from './outbox.ts'

/** The contracts of a network, by their Solidity names. */
export type ContractName = 'TestToken' | 'Stake' | 'Market' | 'Audit' | 'Decoys' | 'Dispute' | 'Arbiter'

/** Everything a stranger needs to take part; written to `network.json` when the contracts are deployed. */
export type Network = {
  readonly chainId: number
  readonly rpcUrl: string
  /** Further addresses of the same chain, taken where the first fails. */
  readonly rpcUrls?: readonly string[]
  readonly contracts: Readonly<Record<ContractName, Address>>
  /** Block of the deployment: logs are read from here. */
  readonly fromBlock: number
  /** Peers to begin with, as multiaddresses. */
  readonly bootstrap: readonly string[]
}

/** What a call is made with; made when its turn comes, where it depends on what was sent before: a permit's nonce does. */
export type Args = readonly unknown[] | (() => Promise<readonly unknown[]>)

export type Bitloom = {
  readonly network: Network
  readonly account: LocalAccount | undefined
  readonly chain: PublicClient
  /** Calls a view. Without types on purpose: the actions give them. */
  readonly read: (contract: ContractName, functionName: string, args?: readonly unknown[]) => Promise<unknown>
  /**
   * Sends a transaction and waits for its receipt; one at a time for each connection. After RpcDownError or PendingError nobody can say whether it was sent:
   * sending the same again finds out, and never pays twice.
   * @throws {RevertError} the contract refuses, by name · {RpcDownError} the chain does not answer · {PendingError} · {NoGasError}
   */
  readonly send: (contract: ContractName, functionName: string, args?: Args) => Promise<TransactionReceipt>
  /** What became of the transaction that a former life of this process had under way, as its journal says. */
  readonly resume: () => Promise<'none' | 'done' | 'pending'>
  /** How each RPC endpoint does. */
  readonly endpoints: () => EndpointState[]
}

const abiOf = (contract: ContractName | 'Intake'): Abi => (artefacts as unknown as Record<string, { abi: Abi }>)[contract]!.abi
const ERRORS = (['TestToken', 'Stake', 'Market', 'Intake', 'Audit', 'Decoys', 'Dispute', 'Arbiter'] as const).flatMap((c) =>
  abiOf(c).filter((item) => item.type === 'error'),
)
const withAllErrors = new Map<ContractName, Abi>()

/** A contract's ABI with every contract's errors, since one reverts with another's. */
export function fullAbi(contract: ContractName): Abi {
  const cached = withAllErrors.get(contract)
  if (cached) return cached
  const abi = [...abiOf(contract).filter((item) => item.type !== 'error'), ...ERRORS]
  withAllErrors.set(contract, abi)
  return abi
}

export const chainOf = (network: Pick<Network, 'chainId' | 'rpcUrl'>) =>
  defineChain({
    id: network.chainId,
    name: `chain ${network.chainId}`,
    nativeCurrency: { name: 'Ether', symbol: 'ETH', decimals: 18 },
    rpcUrls: { default: { http: [network.rpcUrl] } },
  })

/** Looks for a block that is waited for this often, ms. */
const POLL_MS = 25

export type ConnectOptions = Pick<EndpointOptions, 'onEvent' | 'timeoutMs' | 'patienceMs' | 'maxAnswerBytes'> &
  OutboxOptions & {
    /** Where the transaction under way is kept; in memory by default, on disk for a node that may be killed. */
    readonly journal?: Journal
  }

/** Every address of a network's chain, the preferred first. */
export const rpcUrlsOf = (network: Pick<Network, 'rpcUrl' | 'rpcUrls'>): string[] => [
  ...new Set([network.rpcUrl, ...(network.rpcUrls ?? [])]),
]

/**
 * Connects to a network.
 * @throws {WrongChainError} no endpoint serves its chain · {RpcDownError} none answers
 */
export async function connect(network: Network, account?: LocalAccount, options: ConnectOptions = {}): Promise<Bitloom> {
  const chain = chainOf(network)
  const endpoints = openEndpoints(rpcUrlsOf(network), { ...options, chainId: network.chainId, contracts: Object.values(network.contracts) })
  const publicClient = createPublicClient({ chain, transport: endpoints.transport, pollingInterval: POLL_MS, cacheTime: 0 }) as PublicClient
  const served = await explained('eth_chainId', () => publicClient.getChainId()).catch((error: Error) => {
    const states = endpoints.states()
    if (!states.every(({ lastTrouble }) => lastTrouble?.startsWith('other-chain'))) throw error
    throw new WrongChainError(
      `No endpoint serves this network: ${states.map(({ endpoint, lastTrouble }) => `${endpoint} (${lastTrouble})`).join(', ')}.\nCorrect rpcUrl in the network's file (network.json), or give --rpc.`,
    )
  })
  if (served !== network.chainId)
    throw new WrongChainError(
      `${hostOf(network.rpcUrl)} serves chain ${served}; this network is on chain ${network.chainId}.\nCorrect rpcUrl in the network's file (network.json), or start its chain.`,
    )
  const outbox =
    account && openOutbox(postOf(publicClient, endpoints, account, network.chainId), options.journal ?? memoryJournal(), options)
  let queue: Promise<unknown> = Promise.resolve()
  const inTurn = <T>(work: () => Promise<T>): Promise<T> => {
    const turn = queue.then(work)
    queue = turn.catch(() => undefined)
    return turn
  }

  const sendNow = async (contract: ContractName, functionName: string, args: readonly unknown[]): Promise<TransactionReceipt> => {
    if (!outbox || !account) throw new TypeError(`${functionName}: this connection has no key, so it cannot send`)
    const call = { address: network.contracts[contract], abi: fullAbi(contract), functionName, args } as const
    return explained(functionName, async () => {
      const receipt = await outbox.send(call.address, encodeFunctionData(call), functionName).catch((error) => {
        throw error instanceof BaseError ? getContractError(error, { ...call, sender: account.address }) : error
      })
      endpoints.reached(receipt.blockNumber)
      if (receipt.status === 'success') return receipt
      // in a block, and refused there: somebody else was quicker. Why, is asked of that block's state, or of the newest where the chain has forgotten that one
      for (const blockNumber of [receipt.blockNumber, undefined]) {
        const simulated = publicClient.simulateContract({
          ...call,
          account,
          ...(blockNumber === undefined ? {} : { blockNumber }),
        } as never)
        await explained(functionName, () => simulated).catch((error) => {
          if (error instanceof RevertError || (error instanceof RpcDownError && blockNumber === undefined)) throw error
        })
      }
      throw new RevertError(functionName, 'unknown', [])
    })
  }

  return {
    network,
    account,
    chain: publicClient,
    endpoints: endpoints.states,
    read: (contract, functionName, args = []) =>
      explained(functionName, () =>
        publicClient.readContract({ address: network.contracts[contract], abi: fullAbi(contract), functionName, args } as never),
      ),
    send: (contract, functionName, args = []) =>
      inTurn(async () => sendNow(contract, functionName, typeof args === 'function' ? await args() : args)),
    resume: () => inTurn(async () => (outbox ? explained('resume', outbox.resume) : 'none')),
  }
}

/** What an outbox asks of the chain, over these endpoints. */
function postOf(chain: PublicClient, endpoints: Endpoints, account: LocalAccount, chainId: number): Post {
  const receiptOf = async (hash: Hex, everywhere: boolean): Promise<TransactionReceipt | undefined> => {
    const request = { method: 'eth_getTransactionReceipt', params: [hash] }
    const found = everywhere
      ? (await endpoints.each(request)).find((one) => one !== null)
      : ((await chain.request(request as never)) as unknown)
    return found ? formatTransactionReceipt(found as never) : undefined
  }
  return {
    account,
    chainId,
    broadcast: async (raw) => void (await chain.request({ method: 'eth_sendRawTransaction', params: [raw] })),
    receiptOf: async (hashes, everywhere) => {
      for (const receipt of await Promise.all(hashes.map((hash) => receiptOf(hash, everywhere)))) if (receipt) return receipt
      return undefined
    },
    nonces: async () => {
      const { address } = account
      const [mined, next] = await Promise.all([
        chain.getTransactionCount({ address, blockTag: 'latest' }),
        chain.getTransactionCount({ address, blockTag: 'pending' }),
      ])
      return { mined, next }
    },
    fees: async () => {
      const block = await chain.getBlock()
      if (block.baseFeePerGas === null) return { most: await chain.getGasPrice() }
      const tip = await chain.estimateMaxPriorityFeePerGas()
      // room for six full blocks in a row, each of which raises the base fee by an eighth
      return { most: block.baseFeePerGas * 2n + tip, tip }
    },
    estimate: (to, data) => chain.estimateGas({ account, to, data }),
  }
}

/** Runs a chain call and turns viem's errors into ours: a refusal with the contract's own error name, or a chain that is down. */
export async function explained<T>(what: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    const down = error instanceof RpcDownError ? error : error instanceof BaseError ? error.walk((e) => e instanceof RpcDownError) : null
    if (down instanceof RpcDownError) throw new RpcDownError(down.trouble, down.cause, what)
    if (!(error instanceof BaseError)) throw error
    const reverted = error.walk((e) => e instanceof ContractFunctionRevertedError) as ContractFunctionRevertedError | null
    if (reverted)
      throw new RevertError(
        what,
        reverted.data?.errorName ?? reverted.reason ?? reverted.signature ?? 'unknown',
        reverted.data?.args ?? [],
        error,
      )
    // from a client of somebody's own, such as a wallet
    if (error.walk((e) => e instanceof HttpRequestError || e instanceof TimeoutError))
      throw new RpcDownError(error.shortMessage, error, what)
    throw error
  }
}

/** A contract refused: `errorName` is its custom error. */
export class RevertError extends Error {
  override name = 'sdk.RevertError'
  readonly errorName: string
  readonly args: readonly unknown[]
  constructor(what: string, errorName: string, args: readonly unknown[], cause?: unknown) {
    super(`${what} was refused: ${errorName}(${args.map(String).join(', ')})`, { cause })
    this.errorName = errorName
    this.args = args
  }
}

export class WrongChainError extends Error {
  override name = 'sdk.WrongChainError'
}

export { type Address, type Hex, RpcDownError }
