// The processes of a chaos run: a chain under watch, its contracts, and nodes as anybody starts them, each on a host of its own where there is a network.

import { type ChildProcess, spawn } from 'node:child_process'
import { randomBytes } from 'node:crypto'
import { appendFileSync, existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import { CHAIN_ID } from '@bitloom/node/chain'
import { createKey, PASSWORD_VARIABLE } from '@bitloom/node/keystore'
import { type SupervisedChain, superviseChain } from '@bitloom/node/supervise'
import { type Bitloom, chainOf, connect, deploy, mint, type Network } from '@bitloom/sdk'
import { type Address, createWalletClient, http, parseEther } from 'viem'
import { mnemonicToAccount } from 'viem/accounts'
import { MAIN } from '../e2e/network.ts'
import { HUB, type Net } from './net.ts'
import type { NodePart } from './plan.ts'

/** A line of a node's log. */
export type Line = { readonly event: string; readonly [key: string]: unknown }

export type Host = {
  readonly part: NodePart
  readonly address: Address
  /** undefined: not running. */
  readonly child: () => ChildProcess | undefined
  /** Starts it, or starts it again, and settles when it says that it is ready. */
  readonly start: () => Promise<void>
  readonly kill: () => Promise<void>
  /** Asks it to stop; its exit status. */
  readonly end: () => Promise<number | null>
  /** CPU time of all its lives so far, seconds; of one that fell by itself, up to the last look. */
  readonly cpuSeconds: () => number
}

export type Fleet = {
  readonly chain: SupervisedChain
  readonly chainTroubles: readonly string[]
  /** As those within see it. */
  readonly network: () => Network
  /** Past the wire: for whoever watches. */
  readonly watcher: Bitloom
  readonly hosts: readonly Host[]
  readonly hostOf: (name: string) => Host
  readonly nameOf: (address: unknown) => string
  /** A funded key for somebody beside the nodes; its password is `password`. */
  readonly fund: (home: string) => Promise<Address>
  readonly password: string
  /** Nodes that ended although nobody ended them. */
  readonly casualties: readonly string[]
  readonly stop: () => Promise<void>
}

export type FleetOptions = {
  readonly dir: string
  readonly parts: readonly NodePart[]
  readonly net?: Net | undefined
  /** How often a node looks for a new block: every look of every node costs this one computer a millisecond or two. */
  readonly tickMs: number
  /** Everything that nodes say, each line as JSON. */
  readonly logFile: string
  readonly onLine: (part: NodePart, line: Line) => void
}

/** What each participant gets. */
const ETHER = parseEther('100')
export const TOKENS = parseEther('100000')
const THROWAWAY_COST = 2 ** 10
const READY_MS = 180_000
const STOP_MS = 20_000
/** Exit status of a node to which the chain does not answer, and how often and how soon it is started again then. */
const UNREACHABLE = 4
const STARTS = 20
const START_AGAIN_MS = 2_000
/** Nodes that begin at a time: each takes a second or two of CPU. */
const STARTING = 4

/** Starts the chain and every node. What was started before a failure is stopped. */
export async function startFleet(options: FleetOptions): Promise<Fleet> {
  const { dir, parts, net, logFile, onLine } = options
  const chainTroubles: string[] = []
  const chain = await superviseChain({ dir: join(dir, 'chain'), onEvent: (event) => void chainTroubles.push(JSON.stringify(event)) })
  const closers: (() => Promise<void>)[] = [() => chain.stop()]
  const stop = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  try {
    const deployer = mnemonicToAccount(chain.mnemonic)
    const direct = await deploy(chain.rpcUrl, CHAIN_ID, deployer)
    const watcher = await connect(direct, deployer)
    const door = net ? await openDoor(chain.port) : undefined
    if (door) closers.push(async () => void (await door.close()))
    const bootstrap: string[] = []
    const network = (): Network => ({ ...direct, rpcUrl: door?.url ?? chain.rpcUrl, bootstrap })
    const networkFile = join(dir, 'network.json')
    const password = randomBytes(16).toString('hex')
    const wallet = createWalletClient({ chain: chainOf(direct), transport: http(chain.rpcUrl), account: deployer })
    const fund = async (home: string): Promise<Address> => {
      mkdirSync(home, { recursive: true })
      const { address } = createKey(join(home, 'key.json'), password, { cost: THROWAWAY_COST })
      const hash = await wallet.sendTransaction({ to: address, value: ETHER })
      await watcher.chain.waitForTransactionReceipt({ hash, pollingInterval: 20 })
      await mint(watcher, address, TOKENS)
      return address
    }
    const casualties: string[] = []
    const hosts: Host[] = []
    for (const [i, part] of parts.entries()) {
      const home = join(dir, part.name)
      const address = await fund(home)
      const command = [
        ...(net?.within(i) ?? []),
        process.execPath,
        MAIN,
        'node',
        'start',
        '--home',
        home,
        '--network',
        networkFile,
        '--json',
      ]
      const words = [...command, ...argsOf(part, options.tickMs), ...(net ? ['--host', net.address(i)] : [])]
      hosts.push(
        openHost(part, address, words, password, {
          onLine: (line) => {
            appendFileSync(logFile, `${JSON.stringify({ node: part.name, ...line })}\n`)
            if (line.event === 'ready' && bootstrap.length < 2 && part.character === 'honest') {
              bootstrap.push(String(line.peer))
              writeFileSync(networkFile, JSON.stringify(network()))
            }
            onLine(part, line)
          },
          onWord: (text) => appendFileSync(logFile, `${JSON.stringify({ node: part.name, event: 'stderr', text })}\n`),
          onLost: (how) => void casualties.push(`${part.name}: ${how}`),
        }),
      )
    }
    closers.push(async () => void (await Promise.all(hosts.map((host) => host.kill()))))
    writeFileSync(networkFile, JSON.stringify(network()))
    // the first two alone: they are whom the others begin with
    await hosts[0]!.start()
    await hosts[1]!.start()
    const rest = hosts.slice(2)
    await Promise.all(
      Array.from({ length: STARTING }, async () => {
        for (let host = rest.shift(); host; host = rest.shift()) await host.start()
      }),
    )
    const names = new Map(hosts.map((host) => [host.address.toLowerCase(), host.part.name]))
    return {
      chain,
      chainTroubles,
      network,
      watcher,
      hosts,
      hostOf: (name) => hosts.find((host) => host.part.name === name)!,
      nameOf: (address) => names.get(String(address).toLowerCase()) ?? String(address),
      fund,
      password,
      casualties,
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

function argsOf({ roles, price, cheatSlice }: NodePart, tickMs: number): string[] {
  return [
    ...['--role', roles.join(','), '--backend', 'wasm', '--threads', '1', '--deposit', '1000', '--memory', '512', '--tick', String(tickMs)],
    ...(roles.includes('solver') ? ['--price', String(price), '--capacity', '8'] : []),
    ...(cheatSlice === undefined ? [] : ['--cheat', String(cheatSlice)]),
  ]
}

type Hearing = {
  readonly onLine: (line: Line) => void
  readonly onWord: (text: string) => void
  readonly onLost: (how: string) => void
}

function openHost(part: NodePart, address: Address, words: readonly string[], password: string, hearing: Hearing): Host {
  let running: { child: ChildProcess; exited: Promise<number | null>; expected: boolean } | undefined
  /** CPU time of its former lives. */
  let spent = 0
  const [program, ...rest] = words
  const startOnce = (): Promise<'ready' | 'unreachable'> => {
    const child = spawn(program!, rest, { stdio: ['ignore', 'pipe', 'pipe'], env: { ...process.env, [PASSWORD_VARIABLE]: password } })
    const exited = new Promise<number | null>((resolve) => child.once('exit', resolve))
    const here = (running = { child, exited, expected: false })
    let ready = false
    child.once('exit', (code, signal) => {
      if (running === here) running = undefined
      if (!here.expected && (ready || code !== UNREACHABLE)) hearing.onLost(`ended with ${signal ?? `status ${code}`}`)
    })
    createInterface({ input: child.stderr! }).on('line', hearing.onWord)
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new FleetError(`${part.name} is not ready after ${READY_MS / 1000} s`)), READY_MS)
      child.once('error', reject)
      child.once('exit', (code, signal) => {
        clearTimeout(timer)
        // killed while it started: nobody waits for it any more
        if (here.expected) resolve('ready')
        else if (code === UNREACHABLE) resolve('unreachable')
        else reject(new FleetError(`${part.name} ended with ${signal ?? `status ${code}`} before it was ready`))
      })
      createInterface({ input: child.stdout! }).on('line', (text) => {
        const line = readLine(text)
        hearing.onLine(line)
        if (line.event !== 'ready') return
        clearTimeout(timer)
        ready = true
        resolve('ready')
      })
    })
  }
  // as a service manager does (deploy/bitloom-node.service): a node that finds no chain says so and ends, and is started again
  const start = async (): Promise<void> => {
    for (let tries = 1; (await startOnce()) === 'unreachable'; tries++) {
      if (tries === STARTS) throw new FleetError(`${part.name} found no chain in ${STARTS} starts`)
      await new Promise((resolve) => setTimeout(resolve, START_AGAIN_MS))
    }
  }
  const finish = async (signal: 'SIGKILL' | 'SIGTERM'): Promise<number | null> => {
    if (!running) return 0
    const { child, exited } = running
    spent += cpuOf(child.pid)
    running.expected = true
    child.kill('SIGCONT')
    child.kill(signal)
    const timer = setTimeout(() => child.kill('SIGKILL'), STOP_MS)
    return exited.finally(() => clearTimeout(timer))
  }
  return {
    part,
    address,
    child: () => running?.child,
    start,
    kill: async () => void (await finish('SIGKILL')),
    end: () => finish('SIGTERM'),
    cpuSeconds: () => spent + (running ? cpuOf(running.child.pid) : 0),
  }
}

/** Ticks of the kernel's clock in a second, as `/proc` counts CPU time. */
const TICKS = 100

/** CPU time that a process has used, seconds; 0 where there is no /proc. */
function cpuOf(pid: number | undefined): number {
  const path = `/proc/${pid}/stat`
  if (!existsSync(path)) return 0
  // after the name in parentheses, fields 14 and 15 of proc(5): user and system time
  const fields = readFileSync(path, 'utf8').split(') ').at(-1)!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}

function readLine(text: string): Line {
  try {
    const line = JSON.parse(text) as Record<string, unknown>
    return { ...line, event: String(line.event) }
  } catch (error) {
    return { event: 'unreadable', text: text.slice(0, 300), error: String(error) }
  }
}

/** A door to the chain for the hosts (door.ts). */
async function openDoor(port: number): Promise<{ url: string; close: () => Promise<number> }> {
  const child = spawn(process.execPath, [fileURLToPath(new URL('door.ts', import.meta.url)), String(port), HUB], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  const said = createInterface({ input: child.stdout! })[Symbol.asyncIterator]()
  const line = async (): Promise<number> => Number((await said.next()).value)
  return {
    url: `http://${HUB}:${await line()}`,
    close: async () => {
      child.stdin!.end()
      return line()
    },
  }
}

export class FleetError extends Error {
  override name = 'chaos.FleetError'
}
