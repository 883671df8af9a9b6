// Where a person's keys and networks are kept: ~/.bitloom, BITLOOM_HOME, or --home.

import { existsSync, readFileSync } from 'node:fs'
import { homedir } from 'node:os'
import { join, resolve } from 'node:path'
import type { Network } from '@bitloom/sdk'
import { RefusedError } from './command.ts'

export const HOME_OPTION = {
  home: { type: 'string', value: 'DIR', help: 'keys, state and the network’s addresses (~/.bitloom, or BITLOOM_HOME)' },
} as const

export const homeOf = (given: string | undefined): string => resolve(given ?? process.env.BITLOOM_HOME ?? join(homedir(), '.bitloom'))
export const keyPath = (home: string, name = 'key'): string => join(home, `${name}.json`)
export const networkPath = (home: string): string => join(home, 'network.json')

/**
 * Reads the network that this home belongs to.
 * @throws {RefusedError} there is none, or the file is damaged
 */
export function readNetwork(path: string): Network {
  if (!existsSync(path)) throw new RefusedError(`There is no network here (${path}).\nStart one on this machine with: bitloom dev`)
  try {
    const network = JSON.parse(readFileSync(path, 'utf8')) as Network
    const addresses = Object.values(network.contracts)
    if (
      !Number.isInteger(network.chainId) ||
      typeof network.rpcUrl !== 'string' ||
      addresses.length === 0 ||
      !addresses.every((a) => /^0x[0-9a-fA-F]{40}$/.test(a)) ||
      !Array.isArray(network.bootstrap)
    )
      throw new TypeError('a field is missing')
    return network
  } catch (error) {
    throw new RefusedError(
      `${path} is damaged (${(error as Error).message}).\nGet the network's file again, or start one with: bitloom dev`,
    )
  }
}
