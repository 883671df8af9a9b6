// `bitloom wallet`: the key file of this home, what its address owns, test money for it, and the key itself for whoever insists.

import { existsSync, readFileSync } from 'node:fs'
import { dirname, join } from 'node:path'
import { CHAIN_ID, createKey, keyAddress } from '@bitloom/node'
import { type Bitloom, chainOf, connect, explained, freeOf, lockedOf, mint, type Network, seatPriceWei, tokensOf } from '@bitloom/sdk'
import { type Address, createWalletClient, formatEther, http, parseEther } from 'viem'
import { mnemonicToAccount } from 'viem/accounts'
import { type Call, type Command, RefusedError, UsageError } from '../command.ts'
import { homeOf, keyPath, networkPath } from '../home.ts'
import { print, printJson, say } from '../output.ts'
import { NETWORK_OPTIONS, networkOf } from '../reach.ts'
import { dim, money, table } from '../render.ts'
import { confirm, newPassword, PASSWORD_OPTION, unlock } from '../unlock.ts'

export const command: Command = {
  name: 'wallet',
  summary: 'your key, what it owns, and test money for it',
  usage: 'new | show [ADDRESS] | fund [ADDRESS] | export',
  options: {
    ...NETWORK_OPTIONS,
    ...PASSWORD_OPTION,
    tokens: { type: 'string', value: 'BLT', help: 'fund: test tokens to mint', default: '1000' },
    ether: { type: 'string', value: 'ETH', help: 'fund: ether for gas to send', default: '10' },
    mnemonic: { type: 'string', value: 'WORDS', help: 'fund: words of the development chain’s first account (else read from its folder)' },
    yes: { type: 'boolean', help: 'export: do not ask' },
    json: { type: 'boolean', help: 'for machines' },
  },
  run: async (call) => {
    const [verb, who, ...more] = call.args
    const run = { new: make, show, fund, export: exportKey }[verb ?? '']
    if (!run) throw new UsageError('Say what: bitloom wallet new, show, fund or export')
    if (more.length > 0 || (who !== undefined && verb !== 'show' && verb !== 'fund'))
      throw new UsageError(`"${more[0] ?? who}" is one word too many.\nSee: bitloom wallet --help`)
    if (who !== undefined && !/^0x[0-9a-fA-F]{40}$/.test(who)) throw new UsageError(`"${who}" is no address: 0x and 40 hexadecimal digits`)
    await run(call, who as Address | undefined)
    return
  },
}

async function make(call: Call): Promise<void> {
  const path = keyPath(homeOf(call.text('home')))
  if (existsSync(path))
    throw new RefusedError(
      `There is a key here already: ${keyAddress(path) ?? 'unreadable'} (${path}).\nUse it, or make another with --home DIR; a key is never overwritten.`,
    )
  const { address } = createKey(path, await newPassword(call))
  if (call.flag('json')) printJson({ address, path })
  else {
    print(address)
    say(
      dim(
        `Saved in ${path}. Keep that file and its password: nobody can restore either.\nOn a development chain, next: bitloom wallet fund`,
      ),
    )
  }
}

/** The address a call is about: the one given, or this home's key's. */
function addressOf(call: Call, who: Address | undefined): Address {
  const path = keyPath(homeOf(call.text('home')))
  if (who === undefined && !existsSync(path)) throw new RefusedError(`There is no key here (${path}).\nMake one with: bitloom wallet new`)
  const address = who ?? keyAddress(path)
  if (!address) throw new RefusedError(`${path} names no address, so it is no key of ours.\nMove it away, then: bitloom wallet new`)
  return address
}

/** What an address owns on a network. */
export type Holdings = {
  readonly address: Address
  readonly etherWei: bigint
  readonly tokensWei: bigint
  readonly freeWei: bigint
  readonly lockedWei: bigint
  readonly seats: number
  readonly seatsWei: bigint
}

async function holdingsOf(bitloom: Bitloom, address: Address): Promise<Holdings> {
  const [etherWei, tokensWei, freeWei, lockedWei, places] = await Promise.all([
    explained('eth_getBalance', () => bitloom.chain.getBalance({ address })),
    tokensOf(bitloom, address),
    freeOf(bitloom, address),
    lockedOf(bitloom, address),
    bitloom.read('Stake', 'seatCount') as Promise<bigint>,
  ])
  const all = (await Promise.all(Array.from({ length: Number(places) }, (_, i) => bitloom.read('Stake', 'seatOf', [BigInt(i)])))) as {
    owner: Address
    stakeWei: bigint
  }[]
  const own = all.filter((seat) => seat.owner.toLowerCase() === address.toLowerCase())
  return {
    address,
    etherWei,
    tokensWei,
    freeWei,
    lockedWei,
    seats: own.length,
    seatsWei: own.reduce((sum, seat) => sum + seat.stakeWei, 0n),
  }
}

const eth = (wei: bigint): string =>
  `${Number(formatEther(wei))
    .toFixed(4)
    .replace(/\.?0+$/, '')} ETH`

async function show(call: Call, who: Address | undefined): Promise<void> {
  const address = addressOf(call, who)
  const file = call.text('network') ?? networkPath(homeOf(call.text('home')))
  if (call.text('network') === undefined && !existsSync(file)) {
    // a key is worth showing without a network, too
    if (call.flag('json')) printJson({ address })
    else print(address)
    say(dim(`There is no network here (${file}), so no balances either.`))
    return
  }
  const bitloom = await connect(networkOf(call))
  const h = await holdingsOf(bitloom, address)
  if (call.flag('json')) {
    printJson(h)
    return
  }
  const seats = h.seats > 0 ? `${h.seats} (${money(h.seatsWei)})` : '0'
  print(
    table(
      ['', '>'],
      [
        ['address', address],
        ['ether, for gas', eth(h.etherWei)],
        ['tokens in the wallet', money(h.tokensWei)],
        ['free in the stake', money(h.freeWei)],
        ['bonded', money(h.lockedWei)],
        ['seats', seats],
      ],
    )
      .split('\n')
      .slice(1)
      .join('\n'),
  )
  if (h.etherWei === 0n)
    say(dim(`No ether: this address cannot send transactions.${bitloom.network.chainId === CHAIN_ID ? ' Here: bitloom wallet fund' : ''}`))
  else if (h.freeWei === 0n && h.tokensWei < (await seatPriceWei(bitloom)) / 100n)
    say(dim(`Hardly any tokens.${bitloom.network.chainId === CHAIN_ID ? ' Here: bitloom wallet fund' : ''}`))
}

function amount(call: Call, name: string): bigint {
  const text = call.text(name)!
  if (!/^\d{1,12}(\.\d{1,18})?$/.test(text)) throw new UsageError(`--${name} ${text}: give an amount such as 12.5`)
  return parseEther(text)
}

/** The development chain's words: given, or in the folder of the chain that stands beside the network file. */
function wordsOf(call: Call): string {
  const given = call.text('mnemonic')
  if (given !== undefined) return given.trim().split(/\s+/).join(' ')
  const home = homeOf(call.text('home'))
  const folders = [
    join(dirname(call.text('network') ?? networkPath(home)), 'chain'),
    join(home, 'dev', 'chain'),
    join(dirname(home), 'chain'),
  ]
  const path = folders.map((folder) => join(folder, 'mnemonic')).find(existsSync)
  if (path === undefined)
    throw new RefusedError(
      `The development chain's folder is not here (looked in ${folders.join(', ')}).\nRun this with the --home of its bitloom dev, or give the words of its first account with --mnemonic.`,
    )
  return readFileSync(path, 'utf8').trim()
}

function richAccount(words: string) {
  try {
    return mnemonicToAccount(words)
  } catch (error) {
    throw new UsageError(
      `The mnemonic is no BIP-39 phrase (${(error as Error).message}).\nGive its words in quotes, with one space between two.`,
    )
  }
}

function mustBeDevelopment(network: Network, address: Address): void {
  if (network.chainId === CHAIN_ID) return
  throw new RefusedError(
    `Chain ${network.chainId} is no development chain: its ether and tokens cannot be made up.\nGet ether for gas and tokens from somebody who has them, sent to ${address}.`,
  )
}

/** Sends ether from the connection's own account to `to`, and mints test tokens for it. */
export async function giveTestMoney(bitloom: Bitloom, to: Address, etherWei: bigint, tokensWei: bigint): Promise<void> {
  const { network, account } = bitloom
  if (etherWei > 0n) {
    const wallet = createWalletClient({ chain: chainOf(network), transport: http(network.rpcUrl), account: account! })
    const hash = await explained('sending ether', () => wallet.sendTransaction({ to, value: etherWei }))
    await explained('sending ether', () => bitloom.chain.waitForTransactionReceipt({ hash, pollingInterval: 25 }))
  }
  const cap = (await bitloom.read('TestToken', 'MINT_CAP_WEI')) as bigint
  for (let left = tokensWei; left > 0n; left -= cap) await mint(bitloom, to, left < cap ? left : cap)
}

async function fund(call: Call, who: Address | undefined): Promise<void> {
  const address = addressOf(call, who)
  const network = networkOf(call)
  mustBeDevelopment(network, address)
  const [tokens, ether] = [amount(call, 'tokens'), amount(call, 'ether')]
  const rich = richAccount(wordsOf(call))
  const bitloom = await connect(network, rich)
  const has = await explained('eth_getBalance', () => bitloom.chain.getBalance({ address: rich.address }))
  if (has <= ether)
    throw new RefusedError(
      `The first account of these words (${rich.address}) has ${eth(has)} on this chain.\nThe words are another chain's, or everything is spent: ask for less with --ether.`,
    )
  await giveTestMoney(bitloom, address, ether, tokens)
  if (call.flag('json')) printJson({ address, etherWei: ether, tokensWei: tokens })
  else print(`${address} got ${eth(ether)} and ${money(tokens)}`)
}

async function exportKey(call: Call): Promise<void> {
  const address = addressOf(call, undefined)
  if (!call.flag('yes') && !(await confirm(`Whoever sees the private key of ${address} owns everything it owns. Print it?`)))
    throw new RefusedError('Not printed.\nAnswer yes at a terminal, or give --yes.')
  const key = await unlock(call)
  if (call.flag('json')) printJson({ address: key.address, privateKey: key.exportPrivateKey() })
  else print(key.exportPrivateKey())
}
