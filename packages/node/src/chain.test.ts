// Tests of the embedded chain against the real anvil: bounded on disk, clear errors, state kept over restarts, restarted when dead or stalled.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { privateKeyToAccount } from 'viem/accounts'
import { CHAIN_ID, type Chain, ChainBusyError, type ChainOptions, PortTakenError, rpc, startChain } from './chain.ts'
import { ChainStateError } from './chainstate.ts'
import { entropyToMnemonic, mnemonicFromSeed, mnemonicKey } from './mnemonic.ts'
import { type ChainEvent, superviseChain } from './supervise.ts'

const root = mkdtempSync(join(tmpdir(), 'bitloom-chain-'))
const running: { stop(): Promise<void> }[] = []
after(async () => {
  // A test that failed has left its chain running.
  for (const chain of running) await chain.stop()
  rmSync(root, { recursive: true, force: true })
})

async function started(options: ChainOptions): Promise<Chain> {
  const chain = await startChain(options)
  running.push(chain)
  return chain
}

const folder = (name: string): string => join(root, name)

function sizeOf(dir: string): number {
  let bytes = 0
  for (const entry of readdirSync(dir, { withFileTypes: true })) {
    const path = join(dir, entry.name)
    bytes += entry.isDirectory() ? sizeOf(path) : statSync(path).size
  }
  return bytes
}

const block = async (chain: { rpcUrl: string }): Promise<number> => Number(await rpc<string>(chain.rpcUrl, 'eth_blockNumber'))

async function transfer(chain: { rpcUrl: string }, count: number): Promise<string> {
  const [from, to] = await rpc<string[]>(chain.rpcUrl, 'eth_accounts')
  let hash = ''
  for (let i = 0; i < count; i++) hash = await rpc<string>(chain.rpcUrl, 'eth_sendTransaction', [{ from, to, value: '0x1' }])
  // A transaction that was sent is mined a moment later; what a test saves or reads next must hold it.
  await until('the last transfer to be mined', 20, async () =>
    (await rpc<object | null>(chain.rpcUrl, 'eth_getTransactionReceipt', [hash])) === null ? undefined : true,
  )
  return hash
}

async function until<T>(what: string, seconds: number, probe: () => Promise<T | undefined> | T | undefined): Promise<T> {
  for (const end = performance.now() + seconds * 1000; performance.now() < end; await sleep(20)) {
    const found = await probe()
    if (found !== undefined) return found
  }
  throw new Error(`waited ${seconds} s for ${what}`)
}

const alive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0)
  } catch {
    return false // no such process: the answer asked for
  }
}

test('phrases follow BIP-39', () => {
  assert.equal(entropyToMnemonic(new Uint8Array(16)), `${'abandon '.repeat(11)}about`)
  assert.equal(entropyToMnemonic(new Uint8Array(32).fill(0xff)), `${'zoo '.repeat(23)}vote`)
  assert.throws(() => entropyToMnemonic(new Uint8Array(15)), RangeError)
})

test('the chain starts with the accounts of its words, time passes, and stop and restart keep state', async () => {
  const mnemonic = mnemonicFromSeed('state')
  const options = { dir: folder('state'), mnemonic, accounts: 3 }
  let chain = await started(options)
  assert.equal(Number(await rpc<string>(chain.rpcUrl, 'eth_chainId')), CHAIN_ID)
  const accounts = await rpc<string[]>(chain.rpcUrl, 'eth_accounts')
  assert.deepEqual(
    accounts,
    [0, 1, 2].map((i) => privateKeyToAccount(mnemonicKey(mnemonic, i)).address.toLowerCase()),
  )
  const first = await block(chain)
  await until('a block without transactions', 5, async () => ((await block(chain)) > first ? true : undefined))
  const hash = await transfer(chain, 3)
  const balance = await rpc<string>(chain.rpcUrl, 'eth_getBalance', [accounts[1], 'latest'])
  const height = await block(chain)
  await chain.stop()
  await chain.stop()
  assert.equal(alive(chain.pid), false)

  chain = await started({ dir: options.dir, accounts: 3 })
  assert.equal(chain.mnemonic, mnemonic)
  assert.ok((await block(chain)) >= height)
  assert.equal(await rpc(chain.rpcUrl, 'eth_getBalance', [accounts[1], 'latest']), balance)
  assert.equal((await rpc<{ status: string }>(chain.rpcUrl, 'eth_getTransactionReceipt', [hash])).status, '0x1')
  await transfer(chain, 1)
  const { timestamp } = await rpc<{ timestamp: string }>(chain.rpcUrl, 'eth_getBlockByNumber', ['latest', false])
  assert.ok(Math.abs(Number(timestamp) - Date.now() / 1000) < 10, 'chain time is not the clock’s after a restart')
  await chain.stop()
})

test('the folder stays bounded under thousands of transactions and blocks, and old empty blocks go at a restart', async (t) => {
  const dir = folder('bounded')
  let chain: Chain = await started({ dir, saveEveryMs: 500, mnemonic: mnemonicFromSeed('bounded') })
  let largest = 0
  const start = performance.now()
  let transactions = 0
  for (; transactions < 1500; transactions += 100) {
    await transfer(chain, 100)
    largest = Math.max(largest, sizeOf(dir))
  }
  const seconds = (performance.now() - start) / 1000
  const early = await rpc<{ hash: string }>(chain.rpcUrl, 'eth_getBlockByNumber', ['0x1', true])
  for (let i = 0; i < 2; i++) {
    await rpc(chain.rpcUrl, 'anvil_mine', ['0x3e8'], 60_000)
    await chain.save()
    largest = Math.max(largest, sizeOf(dir))
  }
  const height = await block(chain)
  await chain.stop()
  const stopped = sizeOf(dir)
  chain = await started({ dir })
  const restarted = sizeOf(dir)
  t.diagnostic(
    `${(transactions / seconds).toFixed(0)} transactions/s; folder at most ${(largest / 1e6).toFixed(1)} MB running, ${(stopped / 1e6).toFixed(1)} stopped, ${(restarted / 1e6).toFixed(1)} restarted`,
  )
  assert.ok(height >= 3500)
  assert.ok(largest < 4e6, `${largest} bytes while running`)
  assert.ok(stopped < 40e6, `${stopped} bytes after the stop`)
  assert.ok(restarted < 4e6, `${restarted} bytes after the restart`)
  assert.ok((await block(chain)) >= height)
  assert.equal((await rpc<{ hash: string }>(chain.rpcUrl, 'eth_getBlockByNumber', ['0x1', true])).hash, early.hash)
  // Block `height - 1500` was empty and is gone; asking for a range across the gap still works.
  assert.equal(await rpc(chain.rpcUrl, 'eth_getBlockByNumber', [`0x${(height - 1500).toString(16)}`, false]), null)
  assert.deepEqual(await rpc(chain.rpcUrl, 'eth_getLogs', [{ fromBlock: '0x0', toBlock: 'latest' }]), [])
  await chain.stop()
})

test('a taken port and a folder in use are named', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  await assert.rejects(startChain({ dir: folder('taken'), port }), (error: Error) => {
    assert.ok(error instanceof PortTakenError)
    assert.equal(error.message, `port ${port} is taken by another program; choose another with --port`)
    return true
  })
  server.close()
  const chain = await started({ dir: folder('taken'), port })
  assert.equal(chain.port, port)
  await assert.rejects(startChain({ dir: folder('taken') }), ChainBusyError)
  await chain.stop()
})

test('a half-written exit state falls back to the saved one, and damage to all is an error, not a new chain', async () => {
  const dir = folder('damaged')
  let chain = await started({ dir })
  await transfer(chain, 2)
  await chain.save()
  const [from] = await rpc<string[]>(chain.rpcUrl, 'eth_accounts')
  await chain.stop()
  truncateSync(join(dir, 'exit.json'), 1000)
  chain = await started({ dir })
  assert.equal(Number(await rpc<string>(chain.rpcUrl, 'eth_getTransactionCount', [from, 'latest'])), 2)
  await chain.stop()
  rmSync(join(dir, 'exit.json'))
  writeFileSync(join(dir, 'state.json.gz'), 'rubbish')
  await assert.rejects(startChain({ dir }), ChainStateError)
})

test('kill -9 of the node ends its chain, which saves its state first', async () => {
  const dir = folder('orphan')
  const program = `
    import { startChain, rpc } from ${JSON.stringify(join(import.meta.dirname, 'chain.ts'))}
    const chain = await startChain({ dir: ${JSON.stringify(dir)} })
    const [from] = await rpc(chain.rpcUrl, 'eth_accounts')
    const hash = await rpc(chain.rpcUrl, 'eth_sendTransaction', [{ from, to: from }])
    while ((await rpc(chain.rpcUrl, 'eth_getTransactionReceipt', [hash])) === null) await new Promise((done) => setTimeout(done, 20))
    console.log(chain.pid)`
  const node = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  const [line] = (await once(node.stdout, 'data', { signal: AbortSignal.timeout(20_000) })) as [Buffer]
  const pid = Number(String(line))
  assert.equal(alive(pid), true)
  node.kill('SIGKILL')
  await until('the orphan to end', 5, () => (alive(pid) ? undefined : true))
  const chain = await started({ dir })
  const [from] = await rpc<string[]>(chain.rpcUrl, 'eth_accounts')
  assert.equal(Number(await rpc<string>(chain.rpcUrl, 'eth_getTransactionCount', [from, 'latest'])), 1)
  await chain.stop()
})

test('the watchdog restarts a killed and a stalled chain at the same address with its state, and shortens a long one', async () => {
  const events: ChainEvent[] = []
  const chain = await superviseChain({
    dir: folder('watched'),
    checkEveryMs: 200,
    answerTimeoutMs: 500,
    shortenAfterBlocks: 400,
    onEvent: (event) => events.push(event),
  })
  running.push(chain)
  const event = (count: number): Promise<ChainEvent> => until(`event ${count}`, 20, () => events[count - 1])
  const [from] = await rpc<string[]>(chain.rpcUrl, 'eth_accounts')
  const nonce = async (): Promise<number> => Number(await rpc<string>(chain.rpcUrl, 'eth_getTransactionCount', [from, 'latest']))
  await transfer(chain, 5)
  await chain.save()

  process.kill(chain.pid(), 'SIGKILL')
  assert.match(((await event(1)) as { reason: string }).reason, /SIGKILL/)
  assert.equal(await nonce(), 5)

  process.kill(chain.pid(), 'SIGSTOP')
  assert.match(((await event(2)) as { reason: string }).reason, /no answer/)
  assert.equal(await nonce(), 5)

  await transfer(chain, 1)
  // In small helpings: while it mines, anvil answers nothing else.
  for (let i = 0; i < 8; i++) await rpc(chain.rpcUrl, 'anvil_mine', ['0x2d'], 60_000)
  // The restart may cut off the answer to the call that makes the chain too long.
  await rpc(chain.rpcUrl, 'anvil_mine', ['0x2d'], 60_000).catch(() => undefined)
  assert.equal((await event(3)).kind, 'shortened')
  assert.equal(await nonce(), 6)
  assert.ok((await block(chain)) >= 400)
  await chain.stop()
  assert.equal(await chain.ended, 'stopped')
  assert.equal(alive(chain.pid()), false)
  assert.equal(readFileSync(join(folder('watched'), 'mnemonic'), 'utf8'), chain.mnemonic)
})
