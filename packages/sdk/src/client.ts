// A connection to one network: its chain, its contracts, and (with a key) the right to send transactions.

import * as artefacts from '@bitloom/contracts'
import {
  type Abi,
  type Address,
  BaseError,
  ContractFunctionRevertedError,
  createPublicClient,
  createWalletClient,
  defineChain,
  type Hash,
  type Hex,
  HttpRequestError,
  http,
  type LocalAccount,
  type PublicClient,
  TimeoutError,
  type TransactionReceipt,
  type Transport,
} from 'viem'

/** The contracts of a network, by their Solidity names. */
export type ContractName = 'TestToken' | 'Stake' | 'Market' | 'Audit' | 'Dispute' | 'Arbiter'

/** Everything a stranger needs to take part; written to `network.json` when the contracts are deployed. */
export type Network = {
  readonly chainId: number
  readonly rpcUrl: string
  readonly contracts: Readonly<Record<ContractName, Address>>
  /** Block of the deployment: logs are read from here. */
  readonly fromBlock: number
  /** Peers to begin with, as multiaddresses. */
  readonly bootstrap: readonly string[]
}

export type Bitloom = {
  readonly network: Network
  readonly account: LocalAccount | undefined
  readonly chain: PublicClient
  /** Calls a view. Without types on purpose: the actions give them. */
  readonly read: (contract: ContractName, functionName: string, args?: readonly unknown[]) => Promise<unknown>
  /**
   * Sends a transaction and waits for its receipt; one at a time for each connection.
   * @throws {RevertError} the contract refuses, by name · {RpcDownError} the chain does not answer
   */
  readonly send: (contract: ContractName, functionName: string, args?: readonly unknown[]) => Promise<TransactionReceipt>
}

const abiOf = (contract: ContractName): Abi => (artefacts as unknown as Record<string, { abi: Abi }>)[contract]!.abi
const ERRORS = (['TestToken', 'Stake', 'Market', 'Audit', 'Dispute', 'Arbiter'] as const).flatMap((c) =>
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

/** How long one request may take, and how often it is tried again before the chain counts as down. */
const REQUEST = { timeout: 10_000, retryCount: 2, retryDelay: 100, batch: { batchSize: 32, wait: 0 } } // calls made together travel together
const POLL_MS = 25
const RECEIPT_TIMEOUT_MS = 30_000

/** Tries of a read that lost a race against the next block. */
const RACES = 8

/**
 * HTTP that survives a race of pruned chains: "latest" is resolved, a block arrives, and the state that was just the latest is gone. Asking again is always right,
 * since such a call has changed nothing.
 */
function patientHttp(url: string): Transport {
  const inner = http(url, REQUEST)
  return (options) => {
    const transport = inner(options)
    const request = async (...args: Parameters<typeof transport.request>): Promise<unknown> => {
      for (let race = 1; ; race++) {
        try {
          return await transport.request(...args)
        } catch (error) {
          if (race === RACES || !String((error as { details?: unknown }).details ?? error).includes('BlockOutOfRange')) throw error
        }
      }
    }
    return { ...transport, request: request as typeof transport.request }
  }
}

/**
 * Connects to a network.
 * @throws {WrongChainError} the RPC serves another chain · {RpcDownError} it does not answer
 */
export async function connect(network: Network, account?: LocalAccount): Promise<Bitloom> {
  const chain = chainOf(network)
  const transport = patientHttp(network.rpcUrl)
  const publicClient = createPublicClient({ chain, transport, pollingInterval: POLL_MS, cacheTime: 0 }) as PublicClient
  const walletClient = account ? createWalletClient({ chain, transport, account }) : undefined
  const served = await explained('eth_chainId', () => publicClient.getChainId())
  if (served !== network.chainId)
    throw new WrongChainError(
      `${network.rpcUrl} serves chain ${served}; this network is on chain ${network.chainId}.\nCorrect rpcUrl in the network's file (network.json), or start its chain.`,
    )
  let queue: Promise<unknown> = Promise.resolve()

  const sendNow = async (contract: ContractName, functionName: string, args: readonly unknown[]): Promise<TransactionReceipt> => {
    if (!walletClient || !account) throw new TypeError(`${functionName}: this connection has no key, so it cannot send`)
    const call = { address: network.contracts[contract], abi: fullAbi(contract), functionName, args, account } as const
    return explained(functionName, async () => {
      const gas = await publicClient.estimateContractGas(call as never)
      // a third more than estimated: the state may move between the estimate and the block
      const hash: Hash = await walletClient.writeContract({ ...call, chain, gas: (gas * 4n) / 3n } as never)
      const receipt = await publicClient.waitForTransactionReceipt({ hash, timeout: RECEIPT_TIMEOUT_MS, pollingInterval: POLL_MS })
      if (receipt.status !== 'success') {
        await publicClient.simulateContract({ ...call, blockNumber: receipt.blockNumber } as never)
        throw new RevertError(functionName, 'unknown', [])
      }
      return receipt
    })
  }

  return {
    network,
    account,
    chain: publicClient,
    read: (contract, functionName, args = []) =>
      explained(functionName, () =>
        publicClient.readContract({ address: network.contracts[contract], abi: fullAbi(contract), functionName, args } as never),
      ),
    send: (contract, functionName, args = []) => {
      const sent = queue.then(() => sendNow(contract, functionName, args))
      queue = sent.catch(() => undefined)
      return sent
    },
  }
}

/** Runs a chain call and turns viem's errors into ours: a refusal with the contract's own error name, or a chain that is down. */
export async function explained<T>(what: string, call: () => Promise<T>): Promise<T> {
  try {
    return await call()
  } catch (error) {
    if (!(error instanceof BaseError)) throw error
    const reverted = error.walk((e) => e instanceof ContractFunctionRevertedError) as ContractFunctionRevertedError | null
    if (reverted)
      throw new RevertError(
        what,
        reverted.data?.errorName ?? reverted.reason ?? reverted.signature ?? 'unknown',
        reverted.data?.args ?? [],
        error,
      )
    if (error.walk((e) => e instanceof HttpRequestError || e instanceof TimeoutError))
      throw new RpcDownError(
        `${what}: the chain does not answer (${error.shortMessage}).\nIs it running? The node tries again by itself; a client can be started again.`,
        { cause: error },
      )
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

export class RpcDownError extends Error {
  override name = 'sdk.RpcDownError'
}

export class WrongChainError extends Error {
  override name = 'sdk.WrongChainError'
}

export type { Address, Hex }
