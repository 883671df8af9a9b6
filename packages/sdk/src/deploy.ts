// Puts the contracts on a chain. They know each other from birth: every address follows from the deployer's nonce, so nobody owns a switch afterwards.

import * as artefacts from '@bitloom/contracts'
import { type Abi, type Address, createPublicClient, createWalletClient, getContractAddress, type Hex, http, type LocalAccount } from 'viem'
import { type ContractName, chainOf, explained, type Network } from './client.ts'

const ORDER = ['TestToken', 'Stake', 'Market', 'Audit', 'Decoys', 'Arbiter', 'Dispute'] as const satisfies readonly ContractName[]
const POLL_MS = 25

/**
 * Deploys the seven contracts (Market brings an eighth, Intake) with `account`, which must have ether for gas.
 * @throws {DeployError} another transaction of the account came between
 */
export async function deploy(rpcUrl: string, chainId: number, account: LocalAccount): Promise<Network> {
  const chain = chainOf({ chainId, rpcUrl })
  const reader = createPublicClient({ chain, transport: http(rpcUrl), pollingInterval: POLL_MS, cacheTime: 0 })
  const writer = createWalletClient({ chain, transport: http(rpcUrl), account })
  const nonce = await explained('deploy', () => reader.getTransactionCount({ address: account.address }))
  const contracts = Object.fromEntries(
    ORDER.map((name, i) => [name, getContractAddress({ from: account.address, nonce: BigInt(nonce + i) })]),
  ) as Record<ContractName, Address>
  const args: Record<(typeof ORDER)[number], readonly Address[]> = {
    TestToken: [],
    Stake: [contracts.TestToken, contracts.Market, contracts.Audit, contracts.Dispute, contracts.Decoys],
    Market: [contracts.Stake, contracts.Audit, contracts.Dispute, contracts.Decoys],
    Audit: [contracts.Stake, contracts.Market, contracts.Dispute, contracts.Decoys],
    Decoys: [contracts.Stake, contracts.Market, contracts.Audit, contracts.Dispute],
    Arbiter: [],
    Dispute: [contracts.Market, contracts.Stake, contracts.Audit, contracts.Arbiter],
  }
  let fromBlock = 0
  for (const [i, name] of ORDER.entries()) {
    const { abi, bytecode } = (artefacts as unknown as Record<string, { abi: Abi; bytecode: Hex }>)[name]!
    const hash = await explained(`deploy ${name}`, () =>
      writer.deployContract({ abi, bytecode, args: args[name] as never, nonce: nonce + i }),
    )
    const receipt = await reader.waitForTransactionReceipt({ hash, pollingInterval: POLL_MS })
    if (receipt.status !== 'success' || receipt.contractAddress?.toLowerCase() !== contracts[name].toLowerCase())
      throw new DeployError(
        `${name} came to ${receipt.contractAddress ?? 'nowhere'} instead of ${contracts[name]}.\nDeploy from an account that sends nothing else meanwhile.`,
      )
    if (i === 0) fromBlock = Number(receipt.blockNumber)
  }
  return { chainId, rpcUrl, contracts, fromBlock, bootstrap: [] }
}

export class DeployError extends Error {
  override name = 'sdk.DeployError'
}
