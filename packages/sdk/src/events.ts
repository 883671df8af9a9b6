// The chain's log as a stream: every event of the network's contracts, in order, from a cursor that the caller keeps.

import { type Address, type Hash, parseEventLogs } from 'viem'
import { type Bitloom, type ContractName, explained, fullAbi } from './client.ts'

export type ChainEvent = {
  readonly contract: ContractName
  readonly name: string
  readonly args: Readonly<Record<string, unknown>>
  readonly blockNumber: bigint
  readonly transactionHash: Hash
  readonly logIndex: number
}

const WATCHED = ['Stake', 'Market', 'Audit', 'Dispute'] as const satisfies readonly ContractName[]
/** Blocks asked for at once: what public RPC servers allow. */
const SPAN = 2000n

/**
 * Events from block `from` on, up to the newest block.
 * @returns the events, and the block to ask from next time
 */
export async function readEvents(bitloom: Bitloom, from: bigint): Promise<{ readonly events: ChainEvent[]; readonly next: bigint }> {
  const latest = await explained('eth_blockNumber', () => bitloom.chain.getBlockNumber({ cacheTime: 0 }))
  const byAddress = new Map<string, ContractName>(WATCHED.map((c) => [bitloom.network.contracts[c].toLowerCase(), c]))
  const address = WATCHED.map((c) => bitloom.network.contracts[c]) as Address[]
  const events: ChainEvent[] = []
  for (let at = from; at <= latest; at += SPAN) {
    const to = at + SPAN - 1n < latest ? at + SPAN - 1n : latest
    const logs = await explained('eth_getLogs', () => bitloom.chain.getLogs({ address, fromBlock: at, toBlock: to }))
    for (const log of logs) {
      const contract = byAddress.get(log.address.toLowerCase())
      if (!contract) continue
      const [event] = parseEventLogs({ abi: fullAbi(contract), logs: [log] }) as unknown as {
        eventName: string
        args: Record<string, unknown>
      }[]
      if (event)
        events.push({
          contract,
          name: event.eventName,
          args: event.args,
          blockNumber: log.blockNumber,
          transactionHash: log.transactionHash,
          logIndex: log.logIndex,
        })
    }
  }
  return { events, next: from > latest + 1n ? from : latest + 1n }
}

/** The chain's own time, in unix seconds: what every deadline is measured by. */
export const chainTime = async (bitloom: Bitloom): Promise<number> =>
  Number((await explained('eth_getBlock', () => bitloom.chain.getBlock())).timestamp)
