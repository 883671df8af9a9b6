// The embedded chain: anvil as a child process that starts in a second, keeps its state in our folder only, and never fills the disk.

import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { createRequire } from 'node:module'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { gunzipSync, gzipSync } from 'node:zlib'
import { prepareState, stateFiles } from './chainstate.ts'
import { randomMnemonic } from './mnemonic.ts'
import { writeFileAtomic } from './store.ts'

export const CHAIN_ID = 31337
const HOST = '127.0.0.1'
const START_TIMEOUT_MS = 20_000
const MAX_PORT_ATTEMPTS = 5
const STOP_TIMEOUT_MS = 6_000
const SAVE_EVERY_MS = 10_000
/** Saving may take at most this share of the time, so a large state is saved less often. */
const SAVE_SHARE = 1 / 20
const MAX_DUMP_BYTES = 1 << 30

export interface ChainOptions {
  /** Folder that this chain alone owns: its state, its words, and anvil's home and cache. */
  readonly dir: string
  /** Port on 127.0.0.1; 0 or absent: a free one. */
  readonly port?: number
  /** BIP-39 words of the funded accounts. Default: those saved in `dir`, else fresh random ones. */
  readonly mnemonic?: string
  /** Number of funded accounts; default 10. */
  readonly accounts?: number
  /** Ether in each account at the chain's birth; default 10,000. */
  readonly balanceEther?: number
  /** A block at least this often, so that time passes; transactions are mined at once besides. Default 1 s. */
  readonly blockTimeSeconds?: number
  readonly startTimeoutMs?: number
  /** How often the state is saved; default 10 s, stretched when saving is slow. */
  readonly saveEveryMs?: number
}

export interface Chain {
  readonly rpcUrl: string
  readonly port: number
  readonly pid: number
  readonly mnemonic: string
  /** Settles when the process has ended, for whatever reason, with a sentence that says how. */
  readonly exited: Promise<string>
  /** Saves the state now. Rejects when the chain does not answer. */
  save(): Promise<void>
  /** Ends the process after it has written its state; safe to call twice. */
  stop(): Promise<void>
  /** Ends the process at once, without a word to it: for one that stalls. Its last saved state remains. */
  kill(): Promise<void>
}

/**
 * Starts the development chain and resolves when it answers.
 * Throws PortTakenError, ChainBusyError, ChainStateError, or ChainStartError with anvil's own last words.
 */
export async function startChain(options: ChainOptions): Promise<Chain> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await startOnce(options)
    } catch (error) {
      // Between the look and anvil's own bind, any connection of this computer may have been given the port.
      if (!(error instanceof ChainStartError) || !/already in use/i.test(error.message)) throw error
      if (options.port) throw new PortTakenError(options.port, { cause: error })
      if (attempt === MAX_PORT_ATTEMPTS) throw error
    }
  }
}

async function startOnce(options: ChainOptions): Promise<Chain> {
  const { dir } = options
  mkdirSync(dir, { recursive: true, mode: 0o700 })
  await waitForFormerProcess(dir)
  const mnemonic = chooseMnemonic(options)
  const port = await choosePort(options.port ?? 0)
  const state = prepareState(dir)
  const files = stateFiles(dir)
  const blockTime = options.blockTimeSeconds ?? 1
  // --prune-history without a number: no historical states in memory or on disk. With a number each costs over 1 MB of memory.
  const args = [
    ...['--quiet', '--host', HOST, '--port', String(port), '--chain-id', String(CHAIN_ID), '--prune-history'],
    ...['--mixed-mining', '--block-time', String(blockTime), '--cache-path', join(dir, 'cache'), '--dump-state', files.onExit],
    ...['--accounts', String(options.accounts ?? 10), '--balance', String(options.balanceEther ?? 10_000), '--mnemonic', mnemonic],
    ...(state === undefined ? [] : ['--load-state', state.path]),
  ]
  // Its own process group: Ctrl-C reaches the node, which stops the chain last. HOME: whatever anvil writes lands in our folder.
  const child = spawn(anvilBinary(), args, {
    cwd: dir,
    detached: true,
    stdio: ['ignore', 'ignore', 'pipe'],
    env: { PATH: process.env.PATH, HOME: dir, USERPROFILE: dir, XDG_CACHE_HOME: join(dir, 'cache'), SystemRoot: process.env.SystemRoot },
  })
  const exited = outcomeOf(child)
  if (child.pid === undefined) throw new ChainStartError(dir, await exited)
  const { pid } = child
  writeFileAtomic(pidFile(dir), String(pid))
  const release = tieToThisProcess(child)
  const rpcUrl = `http://${HOST}:${port}`
  try {
    await untilAnswering(rpcUrl, exited, dir, options.startTimeoutMs ?? START_TIMEOUT_MS, state?.block ?? 0)
  } catch (error) {
    child.kill('SIGKILL')
    throw error
  }
  rmSync(files.toLoad, { force: true })

  const save = async (): Promise<void> => {
    const packed = Buffer.from((await rpc<string>(rpcUrl, 'anvil_dumpState', [], 60_000)).slice(2), 'hex')
    // Unpacking is the check that the dump is whole.
    const text = gunzipSync(packed, { maxOutputLength: MAX_DUMP_BYTES })
    writeFileAtomic(files.saved, gzipSync(text, { level: 1 }))
  }
  const saving = new AbortController()
  const saver = saveRegularly(save, options.saveEveryMs ?? SAVE_EVERY_MS, saving.signal)
  void exited.then(() => {
    saving.abort()
    release()
    rmSync(pidFile(dir), { force: true })
  })
  const stop = async (): Promise<void> => {
    saving.abort()
    await saver
    if (child.exitCode !== null || child.signalCode !== null) return
    child.kill('SIGTERM')
    const force = setTimeout(() => child.kill('SIGKILL'), STOP_TIMEOUT_MS)
    await exited
    clearTimeout(force)
  }
  const kill = async (): Promise<void> => {
    child.kill('SIGKILL')
    await exited
  }
  return { rpcUrl, port, pid, mnemonic, exited, save, stop, kill }
}

/** One JSON-RPC call with a time-out; rejects with the chain's message or the cause of the silence. */
export async function rpc<T>(url: string, method: string, params: readonly unknown[] = [], timeoutMs = 5_000): Promise<T> {
  const response = await fetch(url, {
    method: 'POST',
    headers: { 'content-type': 'application/json' },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }),
    signal: AbortSignal.timeout(timeoutMs),
  })
  const { result, error } = (await response.json()) as { result?: T; error?: { message: string } }
  if (error !== undefined) throw new ChainRpcError(method, error.message)
  return result as T
}

/** The path of the anvil program that npm installed for this platform; throws ChainStartError when there is none. */
export function anvilBinary(): string {
  const platform = process.platform
  const name = `@foundry-rs/anvil-${platform}-${process.arch === 'x64' ? 'amd64' : process.arch}`
  const here = createRequire(import.meta.url)
  const program = platform === 'win32' ? 'anvil.exe' : 'anvil'
  try {
    // The platform's package is a dependency of anvil's, so it is looked up from there.
    return createRequire(here.resolve('@foundry-rs/anvil/package.json')).resolve(`${name}/bin/${program}`)
  } catch (cause) {
    throw new ChainStartError(
      `${platform} ${process.arch}`,
      `the package ${name} is not installed; run \`npm install\` without --omit=optional`,
      { cause },
    )
  }
}

async function saveRegularly(save: () => Promise<void>, everyMs: number, signal: AbortSignal): Promise<void> {
  let pause = everyMs
  while (!signal.aborted) {
    await sleep(pause, undefined, { signal, ref: false }).catch(() => undefined)
    if (signal.aborted) return
    const start = performance.now()
    // A save that fails is tried again: the watchdog notices a chain that is silent for good, and a full disk may be freed.
    const failed = await save().then(
      () => false,
      () => true,
    )
    pause = failed ? everyMs : Math.max(everyMs, (performance.now() - start) / SAVE_SHARE)
  }
}

function chooseMnemonic({ dir, mnemonic }: ChainOptions): string {
  const path = join(dir, 'mnemonic')
  const chosen = mnemonic ?? (existsSync(path) ? readFileSync(path, 'utf8').trim() : randomMnemonic())
  writeFileAtomic(path, chosen)
  return chosen
}

/** The port asked for, checked to be free, or a free one. Throws PortTakenError. */
export async function choosePort(port: number, host = HOST): Promise<number> {
  const server = createServer()
  try {
    await new Promise<void>((resolve, reject) => {
      server.once('error', reject)
      server.listen({ port, host, exclusive: true }, resolve)
    })
  } catch (cause) {
    throw (cause as NodeJS.ErrnoException).code === 'EADDRINUSE' ? new PortTakenError(port, { cause }) : cause
  }
  const { port: found } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return found
}

const pidFile = (dir: string): string => join(dir, 'chain.pid')

/** Waits for a chain that a killed node left behind to write its state and go; throws ChainBusyError when it belongs to a living one. */
async function waitForFormerProcess(dir: string): Promise<void> {
  const path = pidFile(dir)
  if (!existsSync(path)) return
  const pid = Number(readFileSync(path, 'utf8'))
  for (const deadline = performance.now() + STOP_TIMEOUT_MS; isOurAnvil(pid, dir); await sleep(50))
    if (performance.now() > deadline) throw new ChainBusyError(dir, pid)
  rmSync(path, { force: true })
}

function isOurAnvil(pid: number, dir: string): boolean {
  try {
    process.kill(pid, 0)
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EPERM' && process.platform !== 'linux'
  }
  // The number may have been given to another program since.
  return process.platform !== 'linux' || readCommand(pid).includes(join(dir, 'exit.json'))
}

function readCommand(pid: number): string {
  const path = `/proc/${pid}/cmdline`
  return existsSync(path) ? readFileSync(path, 'utf8') : ''
}

/**
 * Makes the chain end with this process, even by kill -9: a shell waits on a pipe that only we hold open, and ends the chain when it closes.
 * Returns what lets go of it once the chain has ended by itself.
 */
function tieToThisProcess(child: ChildProcess): () => void {
  const onExit = (): void => void child.kill('SIGKILL')
  process.on('exit', onExit)
  if (process.platform === 'win32') return () => process.off('exit', onExit)
  const script = 'read -r line; kill -TERM "$1" 2>/dev/null; sleep 5; kill -KILL "$1" 2>/dev/null'
  const watcher = spawn('/bin/sh', ['-c', script, 'sh', String(child.pid)], { detached: true, stdio: ['pipe', 'ignore', 'ignore'] })
  watcher.on('error', () => undefined) // no shell: the exit handler above remains
  watcher.unref()
  ;(watcher.stdin as unknown as { unref?(): void }).unref?.()
  return () => {
    process.off('exit', onExit)
    watcher.kill('SIGKILL')
  }
}

function outcomeOf(child: ChildProcess): Promise<string> {
  let words = ''
  child.stderr?.on('data', (chunk) => (words = (words + chunk).slice(-2000)))
  return new Promise((resolve) => {
    child.once('error', (error) => resolve(error.message))
    child.once('close', (code, signal) => resolve(`anvil ended with ${signal ?? `code ${code}`}${words === '' ? '' : `: ${words.trim()}`}`))
  })
}

async function untilAnswering(url: string, exited: Promise<string>, dir: string, timeoutMs: number, block: number): Promise<void> {
  let end: string | undefined
  void exited.then((how) => (end = how))
  let last: unknown
  for (const deadline = performance.now() + timeoutMs; performance.now() < deadline; await sleep(25)) {
    if (end !== undefined) throw new ChainStartError(dir, end)
    try {
      const id = Number(await rpc<string>(url, 'eth_chainId', [], 1_000))
      if (id !== CHAIN_ID) throw new ChainStartError(dir, `another chain (id ${id}) answers at ${url}`)
      if (Number(await rpc<string>(url, 'eth_blockNumber', [], 1_000)) >= block) return
    } catch (error) {
      if (error instanceof ChainStartError) throw error
      last = error
    }
  }
  throw new ChainStartError(dir, `no answer at ${url} within ${timeoutMs} ms`, { cause: last })
}

export class PortTakenError extends Error {
  constructor(port: number, options?: ErrorOptions) {
    super(`port ${port} is taken by another program; choose another with --port`, options)
    this.name = 'PortTakenError'
  }
}

export class ChainBusyError extends Error {
  constructor(dir: string, pid: number) {
    super(`the embedded chain in ${dir} already runs (process ${pid}).\nStop the node that runs it, or use another data folder.`)
    this.name = 'ChainBusyError'
  }
}

export class ChainStartError extends Error {
  constructor(where: string, reason: string, options?: ErrorOptions) {
    super(`the embedded chain did not start (${where}): ${reason}`, options)
    this.name = 'ChainStartError'
  }
}

export class ChainRpcError extends Error {
  constructor(method: string, message: string) {
    super(`${method}: ${message}`)
    this.name = 'ChainRpcError'
  }
}
