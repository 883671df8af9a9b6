// The whole network on this machine: the chain, the contracts, and every node a process of its own. For `bitloom dev`, the quickstart and end-to-end tests.

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { chainOf, connect, deploy, mint, type Network } from '@bitloom/sdk'
import { type Address, createWalletClient, http, type LocalAccount, parseEther } from 'viem'
import { mnemonicToAccount } from 'viem/accounts'
import { CHAIN_ID, type Chain, type ChainOptions, startChain } from './chain.ts'
import { createKey, keyAddress, PASSWORD_VARIABLE } from './keystore.ts'
import { writeFileAtomic } from './store.ts'
import { superviseChain } from './supervise.ts'

/** One node to start, in the words of `bitloom node start`. */
export type NodePlan = { readonly name: string; readonly args: readonly string[] }

/** A line of a node's log. */
export type NodeLine = { readonly node: string; readonly event: string; readonly [key: string]: unknown }

export type RunningNode = {
  readonly name: string
  readonly dir: string
  readonly address: Address
  readonly pid: number
  readonly child: ChildProcess
  /** Settles when the node has said its last word. */
  readonly exited: Promise<number | null>
}

export type Embedded = {
  readonly network: Network
  readonly networkFile: string
  readonly chain: Chain
  readonly deployer: LocalAccount
  readonly nodes: RunningNode[]
  /** Starts one more node (or one again, by its old name) and waits until it is ready. */
  readonly start: (plan: NodePlan) => Promise<RunningNode>
  /** Makes a funded key file for somebody else, such as a submitter; the password is `password`. */
  readonly fund: (dir: string) => Promise<Address>
  readonly password: string
  readonly stop: () => Promise<void>
}

export type EmbeddedOptions = {
  readonly dir: string
  /** How to run the command line: `[node, main.ts]`. */
  readonly command: readonly string[]
  readonly nodes: readonly NodePlan[]
  readonly port?: number
  /** Goes on with what lies in `dir`: the chain and its contracts, the nodes' keys and state. Without it a new network is deployed. */
  readonly keep?: boolean
  /** Starts the chain again where it dies or stalls, from its last saved state. */
  readonly supervised?: boolean
  /** How long a node may take to be ready, ms; a minute by default. */
  readonly readyTimeoutMs?: number
  readonly onLine?: (line: NodeLine) => void
}

/** What each participant gets: ether for gas, and test tokens. */
const ETHER = parseEther('100')
const TOKENS = parseEther('100000')
/** scrypt's N for throw-away keys: a moment instead of half a second each. */
const THROWAWAY_COST = 2 ** 10
/** A native self-test on a machine that is busy with several of them takes a minute. */
const READY_TIMEOUT_MS = 180_000
const STOP_TIMEOUT_MS = 10_000

/** Starts everything and resolves when every node is ready. */
export async function startEmbedded(options: EmbeddedOptions): Promise<Embedded> {
  const { dir, command, keep = false, onLine = () => undefined, readyTimeoutMs = READY_TIMEOUT_MS } = options
  mkdirSync(dir, { recursive: true })
  const chainOptions = { dir: join(dir, 'chain'), ...(options.port === undefined ? {} : { port: options.port }) }
  const chain = await (options.supervised ? watchedChain(chainOptions, onLine) : startChain(chainOptions))
  const password = keep ? keptPassword(dir) : randomBytes(16).toString('hex')
  const deployer = mnemonicToAccount(chain.mnemonic)
  const networkFile = join(dir, 'network.json')
  const former = keep && existsSync(networkFile) ? (JSON.parse(readFileSync(networkFile, 'utf8')) as Network) : undefined
  const network = await (former ? goOn(former, chain.rpcUrl, dir) : deploy(chain.rpcUrl, CHAIN_ID, deployer)).then(
    (found) => ({ ...found, bootstrap: [] as string[] }),
    async (error) => {
      await chain.stop()
      throw error
    },
  )
  const wallet = createWalletClient({ chain: chainOf(network), transport: http(chain.rpcUrl), account: deployer })
  const bitloom = await connect(network, deployer)
  const nodes: RunningNode[] = []
  writeFileAtomic(networkFile, `${JSON.stringify(network, null, 2)}\n`)

  const fund = async (home: string): Promise<Address> => {
    mkdirSync(home, { recursive: true })
    // a home that was kept, or restored from a backup, brings its key along
    const kept = existsSync(join(home, 'key.json')) ? keyAddress(join(home, 'key.json')) : undefined
    if (kept) return kept
    const { address } = createKey(join(home, 'key.json'), password, { cost: THROWAWAY_COST })
    const hash = await wallet.sendTransaction({ to: address, value: ETHER })
    await bitloom.chain.waitForTransactionReceipt({ hash, pollingInterval: 20 })
    await mint(bitloom, address, TOKENS)
    return address
  }

  const addresses = new Map<string, Address>()
  /** Every process, ready or not, so that none outlives us. */
  const children: Pick<RunningNode, 'child' | 'exited'>[] = []
  const start = async ({ name, args }: NodePlan): Promise<RunningNode> => {
    const home = join(dir, name)
    const address = addresses.get(name) ?? (await fund(home))
    addresses.set(name, address)
    const [program, ...rest] = command
    const child = spawn(program!, [...rest, 'node', 'start', '--home', home, '--network', networkFile, '--json', ...args], {
      stdio: ['ignore', 'pipe', 'inherit'],
      // this network's chain, wherever another one's RPC is set to be
      env: { ...process.env, BITLOOM_RPC: undefined, [PASSWORD_VARIABLE]: password },
    })
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
    children.push({ child, exited })
    const ready = new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => reject(new EmbeddedError(`${name} is not ready after ${readyTimeoutMs / 1000} s`)), readyTimeoutMs)
      child.once('error', reject)
      child.once('exit', (code) => reject(new EmbeddedError(`${name} ended with status ${code} before it was ready`)))
      createInterface({ input: child.stdout! }).on('line', (text) => {
        const line = readLine(name, text)
        if (line?.event === 'ready') {
          clearTimeout(timer)
          resolve(String(line.peer))
        }
        if (line) onLine(line)
      })
    })
    const peer = await ready
    if (network.bootstrap.length === 0) {
      network.bootstrap.push(peer)
      writeFileAtomic(networkFile, `${JSON.stringify(network, null, 2)}\n`)
    }
    const running: RunningNode = { name, dir: home, address, pid: child.pid!, child, exited }
    nodes.push(running)
    return running
  }

  const stop = async (): Promise<void> => {
    for (const { child } of children) if (child.exitCode === null && child.signalCode === null) child.kill('SIGTERM')
    await Promise.all(
      children.map(({ child, exited }) => {
        const timer = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
        return exited.finally(() => clearTimeout(timer))
      }),
    )
    await chain.stop()
  }
  try {
    // the first node alone, so that the others know a peer to begin with; then the rest side by side
    const [first, ...others] = options.nodes
    if (first) await start(first)
    for (const plan of others) addresses.set(plan.name, await fund(join(dir, plan.name)))
    await Promise.all(others.map(start))
  } catch (error) {
    await stop()
    throw error
  }
  return { network, networkFile, chain, deployer, nodes, start, fund, password, stop }
}

/** A chain under watch, as if it were one process that never dies; what befalls it is told as lines of a log. */
async function watchedChain(options: ChainOptions, onLine: (line: NodeLine) => void): Promise<Chain> {
  const watched = await superviseChain({
    ...options,
    onEvent: ({ kind, ...values }) => onLine({ node: 'chain', event: `chain-${kind}`, ...values }),
  })
  return {
    rpcUrl: watched.rpcUrl,
    port: watched.port,
    mnemonic: watched.mnemonic,
    get pid() {
      return watched.pid()
    },
    exited: watched.ended,
    save: watched.save,
    stop: watched.stop,
    kill: watched.stop,
  }
}

/** The password of this network's throw-away keys, the same at every start. */
function keptPassword(dir: string): string {
  const path = join(dir, 'password')
  if (!existsSync(path)) writeFileAtomic(path, `${randomBytes(16).toString('hex')}\n`)
  return readFileSync(path, 'utf8').trim()
}

/**
 * The network of last time, at the chain's present address.
 * @throws {EmbeddedError} its contracts are not on the chain
 */
async function goOn(former: Network, rpcUrl: string, dir: string): Promise<Network> {
  const network = { ...former, rpcUrl, bootstrap: [] }
  const { chain } = await connect(network)
  for (const [name, address] of Object.entries(network.contracts))
    if ((await chain.getCode({ address })) === undefined)
      throw new EmbeddedError(`${name} is not on the chain kept in ${dir}.\nBegin a new network with: bitloom dev --fresh`)
  return network
}

function readLine(node: string, text: string): NodeLine | undefined {
  try {
    const line = JSON.parse(text) as Record<string, unknown>
    return typeof line.event === 'string' ? { ...line, node, event: line.event } : undefined
  } catch (error) {
    return { node, event: 'unreadable', text: text.slice(0, 200), error: String(error) }
  }
}

export class EmbeddedError extends Error {
  override name = 'node.EmbeddedError'
}
