// Where a person's keys and networks are kept: ~/.bitloom, BITLOOM_HOME, or --home.

import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Network } from '@bitloom/sdk'
import { RefusedError, UsageError } from './command.ts'

export const HOME_OPTION = {
  home: { type: 'string', value: 'DIR', help: 'keys, state and the network’s addresses (~/.bitloom, or BITLOOM_HOME)' },
} as const

/** Other addresses of the network's chain than its file has. */
export const RPC_OPTION = {
  rpc: { type: 'string', value: 'URLS', help: 'the chain’s RPC addresses, the preferred first, with commas (the file’s, or BITLOOM_RPC)' },
} as const
export const RPC_VARIABLE = 'BITLOOM_RPC'
/** Addresses of one chain at most. */
const MAX_RPCS = 8

/** RPC addresses as somebody typed them. @throws {UsageError} none, too many, or no http address */
export function rpcsOf(text: string): string[] {
  const urls = [...new Set(text.split(',').map((url) => url.trim()))].filter((url) => url !== '')
  if (urls.length === 0 || urls.length > MAX_RPCS) throw new UsageError(`--rpc: give 1 to ${MAX_RPCS} addresses with commas between them`)
  for (const url of urls)
    if (!['http:', 'https:'].includes(URL.parse(url)?.protocol ?? ''))
      throw new UsageError(`--rpc ${url}: an address begins with http:// or https://`)
  return urls
}

export const homeOf = (given: string | undefined): string => resolve(given ?? process.env.BITLOOM_HOME ?? join(homedir(), '.bitloom'))
export const keyPath = (home: string, name = 'key'): string => join(home, `${name}.json`)
export const networkPath = (home: string): string => join(home, 'network.json')

/**
 * Reads the network that this home belongs to; `rpc`: addresses of its chain that are taken instead of the file's.
 * @throws {RefusedError} there is none, or the file is damaged
 */
export function readNetwork(path: string, rpc: string | undefined = process.env[RPC_VARIABLE]): Network {
  if (!existsSync(path)) throw new RefusedError(`There is no network here (${path}).\nStart one on this machine with: bitloom dev`)
  try {
    const network = JSON.parse(readFileSync(path, 'utf8')) as Network
    const addresses = Object.values(network.contracts)
    if (
      !Number.isInteger(network.chainId) ||
      typeof network.rpcUrl !== 'string' ||
      !(network.rpcUrls === undefined || (Array.isArray(network.rpcUrls) && network.rpcUrls.every((url) => typeof url === 'string'))) ||
      addresses.length === 0 ||
      !addresses.every((a) => /^0x[0-9a-fA-F]{40}$/.test(a)) ||
      !Array.isArray(network.bootstrap)
    )
      throw new TypeError('a field is missing')
    if (rpc === undefined) return network
    const [rpcUrl, ...rpcUrls] = rpcsOf(rpc)
    return { ...network, rpcUrl: rpcUrl!, rpcUrls }
  } catch (error) {
    if (error instanceof UsageError) throw error
    throw new RefusedError(
      `${path} is damaged (${(error as Error).message}).\nGet the network's file again, or start one with: bitloom dev`,
    )
  }
}
