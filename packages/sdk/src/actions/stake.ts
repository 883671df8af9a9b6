// Money: test tokens, deposits, balances and seats.

import type { Address, TransactionReceipt } from 'viem'
import type { Bitloom } from '../client.ts'

/** A signed permission for Stake to take tokens (EIP-2612). */
export type Permit = {
  readonly amountWei: bigint
  readonly deadline: bigint
  readonly v: number
  readonly r: `0x${string}`
  readonly s: `0x${string}`
}

/** Seconds a permit may be used for. */
const PERMIT_SECONDS = 3600n

/** Mints test tokens to `to`: the embedded chain's token is free for all, and says so. */
export const mint = (bitloom: Bitloom, to: Address, amountWei: bigint): Promise<TransactionReceipt> =>
  bitloom.send('TestToken', 'mint', [to, amountWei])

/** Signs a permit for `amountWei` of the connection's own tokens. */
export async function signPermit(bitloom: Bitloom, amountWei: bigint): Promise<Permit> {
  const { account, network } = bitloom
  if (!account) throw new TypeError('signPermit: this connection has no key')
  const nonce = (await bitloom.read('TestToken', 'nonces', [account.address])) as bigint
  const { timestamp } = await bitloom.chain.getBlock()
  const deadline = timestamp + PERMIT_SECONDS
  const signature = await account.signTypedData({
    domain: {
      name: (await bitloom.read('TestToken', 'name')) as string,
      version: '1',
      chainId: network.chainId,
      verifyingContract: network.contracts.TestToken,
    },
    types: {
      Permit: [
        { name: 'owner', type: 'address' },
        { name: 'spender', type: 'address' },
        { name: 'value', type: 'uint256' },
        { name: 'nonce', type: 'uint256' },
        { name: 'deadline', type: 'uint256' },
      ],
    },
    primaryType: 'Permit',
    message: { owner: account.address, spender: network.contracts.Stake, value: amountWei, nonce, deadline },
  })
  return {
    amountWei,
    deadline,
    r: signature.slice(0, 66) as `0x${string}`,
    s: `0x${signature.slice(66, 130)}`,
    v: Number.parseInt(signature.slice(130), 16),
  }
}

/** Brings the connection's own tokens into its free balance, in one transaction. */
export const deposit = async (bitloom: Bitloom, amountWei: bigint): Promise<TransactionReceipt> =>
  bitloom.send('Stake', 'depositWithPermit', async () => [await signPermit(bitloom, amountWei)])
export const withdraw = (bitloom: Bitloom, amountWei: bigint): Promise<TransactionReceipt> => bitloom.send('Stake', 'withdraw', [amountWei])
export const takeSeats = (bitloom: Bitloom, number: number): Promise<TransactionReceipt> =>
  bitloom.send('Stake', 'takeSeats', [BigInt(number)])

export const tokensOf = (bitloom: Bitloom, who: Address): Promise<bigint> =>
  bitloom.read('TestToken', 'balanceOf', [who]) as Promise<bigint>
export const freeOf = (bitloom: Bitloom, who: Address): Promise<bigint> => bitloom.read('Stake', 'freeOf', [who]) as Promise<bigint>
export const lockedOf = (bitloom: Bitloom, who: Address): Promise<bigint> => bitloom.read('Stake', 'lockedOf', [who]) as Promise<bigint>
export const seatPriceWei = (bitloom: Bitloom): Promise<bigint> => bitloom.read('Stake', 'SEAT_WEI') as Promise<bigint>
