// What can be wrong with a computer, a home or a network, found out by trying; each finding says what to do.

import { existsSync, mkdirSync, rmSync, statfsSync, statSync, writeFileSync } from 'node:fs'
import { availableParallelism } from 'node:os'
import { join } from 'node:path'
import * as artefacts from '@bitloom/contracts'
import { selfTest, wasm } from '@bitloom/engine'
import { anvilBinary, CHAIN_ID, choosePort, inspectStore, keyAddress } from '@bitloom/node'
import { type Bitloom, type ContractName, connect, explained, freeOf, type Network, rpcUrlsOf, tokensOf } from '@bitloom/sdk'
import { keyPath } from './home.ts'
import { stretch } from './output.ts'
import { gatherOffers, visit, within } from './reach.ts'
import { big, money } from './render.ts'

export type Status = 'ok' | 'warn' | 'fail'
export type Finding = {
  readonly check: string
  readonly status: Status
  readonly detail: string /** What to do, where something is wrong. */
  readonly todo?: string
}

const finding = (check: string, status: Status, detail: string, todo?: string): Finding => ({
  check,
  status,
  detail,
  ...(todo === undefined || status === 'ok' ? {} : { todo }),
})

/** Node 24 is what the project is tested with; TypeScript runs unbuilt from 22.18 on. */
export function judgeNode(version: string): Finding {
  const [major = 0, minor = 0] = version.replace(/^v/, '').split('.').map(Number)
  const status = major >= 24 ? 'ok' : major === 23 || (major === 22 && minor >= 18) ? 'warn' : 'fail'
  return finding('node', status, version, 'Use Node 24: the repository brings its own through npm (npm run bitloom -- …).')
}

/** Smallest module with a 128-bit vector in it: (func (result v128) (i8x16.splat (i32.const 0))). */
const SIMD = Uint8Array.of(0, 97, 115, 109, 1, 0, 0, 0, 1, 5, 1, 96, 0, 1, 123, 3, 2, 1, 0, 10, 8, 1, 6, 0, 65, 0, 253, 15, 11)

export function checkSimd(): Finding {
  const api = (globalThis as unknown as { WebAssembly?: { validate: (bytes: Uint8Array) => boolean } }).WebAssembly
  const able = api?.validate(SIMD) === true
  return finding(
    'wasm simd',
    able ? 'ok' : 'fail',
    able ? '128-bit vectors' : 'not there',
    'Use another Node or processor: training needs WebAssembly with SIMD.',
  )
}

/** The engine proves on this machine that it gives the defining bits; about a second. */
export function checkEngine(): Finding {
  const test = selfTest(wasm)
  return test.ok
    ? finding(
        'engine',
        'ok',
        `${test.ops} ops, ${test.elements.toLocaleString('en')} elements, the same bits as the definition; ${test.gflops.toFixed(1)} GFLOPS a thread, ${availableParallelism()} cores`,
      )
    : finding(
        'engine',
        'fail',
        test.reason,
        'Do not train or check on this machine: its results differ. Please report this line with your processor and Node version.',
      )
}

export function judgeMemory(bytes: number): Finding {
  return finding(
    'memory',
    bytes >= 2e9 ? 'ok' : 'warn',
    `${big(bytes, 'B')} in all`,
    'Offer less with node start --memory, or close other programs.',
  )
}

const [SPACE_FAIL, SPACE_WARN] = [2e8, 2e9]

export function judgeSpace(bytes: number, where: string): Finding {
  const status = bytes < SPACE_FAIL ? 'fail' : bytes < SPACE_WARN ? 'warn' : 'ok'
  return finding(
    'disk',
    status,
    `${big(bytes, 'B')} free at ${where}`,
    'Free some space, or keep the state elsewhere with --home DIR (or BITLOOM_HOME).',
  )
}

/** Whether the home can be written to, and how much room is left there. */
export function checkHome(home: string): Finding[] {
  try {
    mkdirSync(home, { recursive: true, mode: 0o700 })
    const probe = join(home, `.doctor-${process.pid}`)
    writeFileSync(probe, 'x')
    rmSync(probe)
  } catch (error) {
    return [
      finding('home', 'fail', `${home}: ${(error as Error).message}`, 'Use a folder that you may write to: --home DIR (or BITLOOM_HOME).'),
    ]
  }
  const { bavail, bsize } = statfsSync(home)
  return [finding('home', 'ok', `${home} can be written to`), judgeSpace(bavail * bsize, home)]
}

export function checkKey(home: string): Finding {
  const path = keyPath(home)
  if (!existsSync(path)) return finding('key', 'warn', 'none yet', 'Make one with: bitloom wallet new')
  try {
    const address = keyAddress(path)
    if (!address) return finding('key', 'fail', `${path} names no address`, 'Move it away, then: bitloom wallet new')
    const open = process.platform !== 'win32' && (statSync(path).mode & 0o077) !== 0
    return finding('key', open ? 'warn' : 'ok', `${address}${open ? ', readable by others' : ''}`, `Close it: chmod 600 ${path}`)
  } catch (error) {
    return finding(
      'key',
      'fail',
      (error as Error).message,
      'Restore the file from a backup, or move it away and make another: bitloom wallet new',
    )
  }
}

/** Whether what the node knows is whole, every row of it; also while it runs. */
export function checkStore(home: string): Finding[] {
  const path = join(home, 'node', 'node.sqlite')
  if (!existsSync(path)) return []
  try {
    const { rows } = inspectStore(path)
    return [finding('state', 'ok', `${rows} rows, all as they were written`)]
  } catch (error) {
    const [detail, todo] = (error as Error).message.split('\n')
    return [finding('state', 'fail', detail!, `${todo ?? ''} A backup comes back with: bitloom restore FILE --home DIR`.trim())]
  }
}

/** Each of several addresses by itself; a single one where the chain is nobody's toy is too few. */
async function* checkRpcs(network: Network): AsyncGenerator<Finding> {
  const urls = rpcUrlsOf(network)
  if (urls.length === 1) {
    if (network.chainId !== CHAIN_ID)
      yield finding(
        'rpc',
        'warn',
        'one address only: where it fails, a dispute’s clock goes on',
        'Give a second one: --rpc URL,URL (or BITLOOM_RPC, or rpcUrls in network.json).',
      )
    return
  }
  for (const rpcUrl of urls) {
    const { rpcUrls: _, ...one } = { ...network, rpcUrl }
    const { host } = new URL(rpcUrl)
    try {
      const { chain } = await connect(one, undefined, { timeoutMs: 5_000 })
      const { number } = await explained('eth_getBlock', () => chain.getBlock())
      yield finding('rpc', 'ok', `${host} is at block ${number}`)
    } catch (error) {
      yield finding(
        'rpc',
        'warn',
        `${host}: ${(error as Error).message.split('\n')[0]}`,
        'The others are used meanwhile; take it out of --rpc where it does not come back.',
      )
    }
  }
}

export function checkAnvil(): Finding {
  try {
    return finding('anvil', existsSync(anvilBinary()) ? 'ok' : 'warn', 'the embedded chain’s program is installed')
  } catch (error) {
    return finding(
      'anvil',
      'warn',
      (error as Error).message.split('\n')[0]!,
      'Needed by bitloom dev only: npm install without --omit=optional.',
    )
  }
}

export async function checkPort(port: number): Promise<Finding> {
  try {
    const found = await choosePort(port)
    return finding('port', 'ok', port === 0 ? `this computer gives out free ones, such as ${found}` : `${port} is free`)
  } catch (error) {
    return finding(
      'port',
      'fail',
      (error as Error).message.split('\n')[0]!,
      'Choose another with --port, or stop the program that holds it.',
    )
  }
}

/** How far the chain's newest block may lag behind our clock (blocks take time) or run ahead of it. */
const [LAG_WARN, LAG_FAIL, AHEAD_WARN, AHEAD_FAIL] = [60, 600, 15, 120]

/** @param skew seconds that the chain is ahead of our clock; negative: behind */
export function judgeClock(skew: number): Finding {
  const status = skew > AHEAD_FAIL || -skew > LAG_FAIL ? 'fail' : skew > AHEAD_WARN || -skew > LAG_WARN ? 'warn' : 'ok'
  const detail =
    Math.abs(skew) < 1
      ? 'as the chain’s'
      : `the newest block is ${stretch(Math.abs(skew))} ${skew > 0 ? 'ahead of' : 'behind'} this computer`
  return finding(
    'clock',
    status,
    detail,
    skew > 0
      ? 'Set this computer’s clock: offers and deadlines are judged by it.'
      : 'Set this computer’s clock, or see whether the chain still makes blocks.',
  )
}

const sizeOf = (contract: ContractName): number =>
  (artefacts as unknown as Record<string, { deployedBytes: number }>)[contract]!.deployedBytes

/** Whether each contract is there, and as long as ours. */
async function checkContracts(bitloom: Bitloom): Promise<Finding> {
  const names = Object.keys(bitloom.network.contracts) as ContractName[]
  const wrong: string[] = []
  for (const name of names) {
    const code = await explained('eth_getCode', () => bitloom.chain.getCode({ address: bitloom.network.contracts[name] }))
    const bytes = code === undefined ? 0 : (code.length - 2) / 2
    if (bytes === 0) wrong.push(`${name} is not there`)
    else if (bytes !== sizeOf(name)) wrong.push(`${name} has ${bytes} bytes, ours ${sizeOf(name)}`)
  }
  return wrong.length === 0
    ? finding('contracts', 'ok', `${names.length} deployed, as long as this version’s`)
    : finding(
        'contracts',
        'fail',
        wrong.join('; '),
        'Get the network’s file again, or use the version of bitloom that the network was deployed with.',
      )
}

async function checkPeers(network: Network, waitMs: number): Promise<Finding> {
  if (network.bootstrap.length === 0)
    return finding('peers', 'warn', 'the network’s file names none', 'Get a newer file from whoever runs the network.')
  const { node, leave } = await visit(network)
  try {
    await within(waitMs, () => node.services.peers.connected().length > 0 || undefined)
    const connected = node.services.peers.connected().length
    if (connected === 0)
      return finding(
        'peers',
        'fail',
        `none of ${network.bootstrap.length} answers`,
        'See that the network runs, and that a firewall lets TCP out.',
      )
    const offers = await gatherOffers(node, waitMs)
    return finding('peers', 'ok', `${connected} connected, ${offers.length} offers heard`)
  } finally {
    await leave()
  }
}

async function checkMoney(bitloom: Bitloom, home: string): Promise<Finding[]> {
  const address = existsSync(keyPath(home)) ? keyAddress(keyPath(home)) : undefined
  if (!address) return []
  const [ether, tokens, free] = await Promise.all([
    explained('eth_getBalance', () => bitloom.chain.getBalance({ address })),
    tokensOf(bitloom, address),
    freeOf(bitloom, address),
  ])
  const status = ether === 0n || tokens + free === 0n ? 'warn' : 'ok'
  return [
    finding(
      'money',
      status,
      `${(Number(ether) / 1e18).toFixed(3)} ETH for gas, ${money(tokens)} in the wallet, ${money(free)} in the stake`,
      'On a development chain: bitloom wallet fund',
    ),
  ]
}

/** Everything that needs the network: chain, contracts, clock, money, peers. */
export async function* checkNetwork(network: Network, home: string, waitMs: number): AsyncGenerator<Finding> {
  let bitloom: Bitloom
  try {
    bitloom = await connect(network)
  } catch (error) {
    yield finding(
      'chain',
      'fail',
      (error as Error).message.split('\n')[0]!,
      'Start the network (bitloom dev), or get the network’s file again.',
    )
    return
  }
  const block = await bitloom.chain.getBlock()
  yield finding('chain', 'ok', `chain ${network.chainId} at ${new URL(network.rpcUrl).origin}, block ${block.number}`)
  yield* checkRpcs(network)
  yield judgeClock(Number(block.timestamp) - Math.floor(Date.now() / 1000))
  yield await checkContracts(bitloom)
  yield* await checkMoney(bitloom, home)
  yield await checkPeers(network, waitMs)
}
