// How a command reaches the network: its addresses, its chain, and, for what only peers have, a passing visit with a throw-away key.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { type BitloomNode, startNode, toKey } from '@bitloom/node'
import { type Bitloom, connect, type Network, type SignedOffer } from '@bitloom/sdk'
import type { LocalAccount } from 'viem'
import { generatePrivateKey } from 'viem/accounts'
import { type Call, RefusedError, UsageError } from './command.ts'
import { HOME_OPTION, homeOf, networkPath, RPC_OPTION, readNetwork } from './home.ts'
import { say } from './output.ts'
import { dim } from './render.ts'

export const NETWORK_OPTIONS = {
  ...HOME_OPTION,
  network: { type: 'string', value: 'FILE', help: 'the network’s addresses (HOME/network.json)' },
  ...RPC_OPTION,
} as const

/** The network that a call is about. @throws {RefusedError} there is none */
export const networkOf = (call: Call): Network =>
  readNetwork(call.text('network') ?? networkPath(homeOf(call.text('home'))), call.text('rpc'))

/** A connection to the call's network; with an account it can send. */
export const reach = (call: Call, account?: LocalAccount): Promise<Bitloom> => connect(networkOf(call), account)

/** A peer that is here for a moment: no roles, no key worth anything, a folder that goes when it goes. */
export type Visit = { readonly node: BitloomNode; readonly leave: () => Promise<void> }

/**
 * Joins the network's peers for a moment.
 * @throws {RpcDownError} the chain does not answer
 */
export async function visit(network: Network): Promise<Visit> {
  const dir = mkdtempSync(join(tmpdir(), 'bitloom-visit-'))
  const clear = (): void => rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
  const log = (event: string, values?: Readonly<Record<string, unknown>>): void => {
    if (process.env.DEBUG !== undefined)
      say(dim(`${event} ${JSON.stringify(values ?? {}, (_, v) => (typeof v === 'bigint' ? String(v) : v))}`))
  }
  try {
    const node = await startNode({ network, account: toKey(generatePrivateKey()).account, dir, roles: [], memoryBytes: 0, log })
    return {
      node,
      leave: async () => {
        await node.stop()
        clear()
      },
    }
  } catch (error) {
    clear()
    throw error
  }
}

/** Pause between two looks at what has come. */
const LOOK_MS = 100

/** Calls `look` until it gives something or `ms` are over. */
export async function within<T>(ms: number, look: () => Promise<T | undefined> | T | undefined): Promise<T | undefined> {
  for (const end = performance.now() + ms; ; ) {
    const found = await look()
    if (found !== undefined || performance.now() >= end) return found
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

/** Offers stop coming in bursts: this long without a new one is the end, once there is one. */
const QUIET_MS = 1000

/** The offers that reach us within `ms`; sooner where some came and no more do. */
export async function gatherOffers(node: BitloomNode, ms: number): Promise<SignedOffer[]> {
  let last = { count: 0, at: performance.now() }
  await within(ms, () => {
    const { length } = node.signedOffers()
    if (length !== last.count) last = { count: length, at: performance.now() }
    return length > 0 && performance.now() - last.at > QUIET_MS ? true : undefined
  })
  return node.signedOffers()
}

/** The number of a task or a game that somebody typed. @throws {UsageError} none, or not a number */
export function numberOf(text: string | undefined, what: string, example: string): bigint {
  if (text === undefined) throw new UsageError(`Say which ${what}: bitloom ${example}`)
  if (!/^\d{1,18}$/.test(text)) throw new UsageError(`"${text}" is no ${what} number.\nFor example: bitloom ${example}`)
  return BigInt(text)
}

/** Nobody is there to be asked. */
export const nobodyThere = (network: Network): RefusedError =>
  new RefusedError(
    network.bootstrap.length === 0
      ? 'The network file names no peer to begin with.\nGet a newer one from whoever runs the network, or start one here with: bitloom dev'
      : `None of the network's ${network.bootstrap.length} peers answers.\nCheck the connection with: bitloom doctor`,
  )
