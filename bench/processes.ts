// The peers as processes: which there are, how each is started, and why one that does not run is missing from the tables.
import { type ChildProcess, spawn, spawnSync } from 'node:child_process'
import { existsSync, readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { fileURLToPath } from 'node:url'
import type { Request } from './wire.ts'

const here = (path: string): string => fileURLToPath(new URL(path, import.meta.url))

export type PeerSpec = {
  readonly key: string
  readonly ours: boolean
  /** JavaScript libraries: the peers that have to be beaten everywhere. */
  readonly javascript: boolean
  readonly threads: number
  readonly command: readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly does: readonly ('train' | 'product' | 'elementwise')[]
}

const node = (file: string, ...args: (string | number)[]): string[] => [process.execPath, here(`peers/${file}`), ...args.map(String)]

const ours = (backend: 'wasm' | 'native', threads: number): PeerSpec => ({
  key: `${backend} ${threads}`,
  ours: true,
  javascript: false,
  threads,
  command: node('ours.ts', backend, threads),
  does: threads === 1 ? ['train', 'product', 'elementwise'] : ['train', 'product'],
})
const theirs = (
  key: string,
  threads: number,
  command: readonly string[],
  does: PeerSpec['does'],
  more: Partial<PeerSpec> = {},
): PeerSpec => ({
  key,
  ours: false,
  javascript: true,
  threads,
  command,
  does,
  ...more,
})

/** Debian's own Python has python3-torch; another one may have it too. */
const python = existsSync('/usr/bin/python3') ? '/usr/bin/python3' : 'python3'
const torch = (key: string, threads: number, env: Readonly<Record<string, string>> = {}): PeerSpec =>
  theirs(key, threads, [python, here('peers/torch_step.py'), String(threads)], ['train', 'product'], {
    javascript: false,
    env: { OMP_NUM_THREADS: String(threads), OPENBLAS_NUM_THREADS: String(threads), MKL_NUM_THREADS: String(threads), ...env },
  })

/** OpenBLAS's best kernels for AVX-512 go by this name; by itself it may choose narrower ones. */
const AVX512 = { OPENBLAS_CORETYPE: 'SKYLAKEX' }
const hasAvx512 = (): boolean => existsSync('/proc/cpuinfo') && readFileSync('/proc/cpuinfo', 'utf8').includes(' avx512f')

/** Everybody that is measured, ours first. */
export const peers = (): PeerSpec[] => [
  ours('wasm', 1),
  ours('wasm', 2),
  ours('native', 1),
  ours('native', 2),
  theirs('jax-js', 1, node('jaxjs.ts'), ['train', 'product']),
  theirs('tfjs-wasm', 1, node('tfjs.ts', 'wasm'), ['train', 'product']),
  theirs('tfjs-cpu', 1, node('tfjs.ts', 'cpu'), ['train']),
  theirs('ort-web 1', 1, node('onnx.ts', 'web', 1), ['product']),
  theirs('ort-web 2', 2, node('onnx.ts', 'web', 2), ['product']),
  theirs('ort-node 1', 1, node('onnx.ts', 'node', 1), ['product'], { javascript: false }),
  theirs('ort-node 2', 2, node('onnx.ts', 'node', 2), ['product'], { javascript: false }),
  torch('torch 1', 1),
  torch('torch 2', 2),
  ...(hasAvx512() ? [torch('torch skx 1', 1, AVX512), torch('torch skx 2', 2, AVX512)] : []),
]

/** Installs bench/node_modules from its lock file where it is not there. @returns why it could not, if so */
export function installPeers(): string | undefined {
  if (existsSync(here('node_modules/@jax-js/jax')) && existsSync(here('node_modules/onnxruntime-node'))) return undefined
  console.error('installing the peers into bench/node_modules (once) …')
  const { status, stderr } = spawnSync('npm', ['ci', '--ignore-scripts', '--no-audit', '--no-fund', '--loglevel=error'], {
    cwd: here('.'),
    encoding: 'utf8',
  })
  return status === 0 ? undefined : `npm ci in bench/ failed: ${stderr.trim().split('\n')[0]}`
}

export type Running = {
  readonly spec: PeerSpec
  readonly about: Readonly<Record<string, unknown>>
  /** @throws {PeerError} the peer says no, ends, or takes too long (then it is ended) */
  readonly ask: (request: Request) => Promise<Readonly<Record<string, unknown>>>
  readonly end: () => Promise<void>
}

/** Starts a peer. @throws {PeerError} it does not start; the message says why */
export async function start(spec: PeerSpec, timeoutMs = 60_000): Promise<Running> {
  const [command, ...args] = spec.command
  const child: ChildProcess = spawn(command!, args, { stdio: ['pipe', 'pipe', 'pipe'], env: { ...process.env, ...spec.env } })
  let said = ''
  child.stderr!.on('data', (text) => {
    said = (said + text).slice(-4000)
  })
  child.stdin!.on('error', () => undefined)
  let waiting: { resolve: (line: string) => void; reject: (error: Error) => void } | undefined
  let over: string | undefined
  const finish = (why: string): void => {
    over ??= why
    waiting?.reject(new PeerError(over))
  }
  createInterface({ input: child.stdout! }).on('line', (line) => waiting?.resolve(line))
  child.on('error', (error) => finish(error.message))
  const closed = new Promise<void>((resolve) =>
    child.on('close', (code, signal) => {
      const last = said
        .trim()
        .split('\n')
        .findLast((line) => /Error|error/.test(line))
      finish(`ended with ${signal ?? `status ${code}`}${last ? `: ${last.trim()}` : ''}`)
      resolve()
    }),
  )
  const ask = async (request: Request, limitMs = 150_000): Promise<Readonly<Record<string, unknown>>> => {
    if (over !== undefined) throw new PeerError(over)
    let timer: NodeJS.Timeout | undefined
    try {
      const line = await new Promise<string>((resolve, reject) => {
        waiting = { resolve, reject }
        timer = setTimeout(() => {
          child.kill('SIGKILL')
          reject(new PeerError(`no answer in ${limitMs / 1000} s`))
        }, limitMs)
        child.stdin!.write(`${JSON.stringify(request)}\n`)
      })
      const reply = JSON.parse(line) as Record<string, unknown>
      if (typeof reply.error === 'string') throw new PeerError(reply.error.split('\n')[0]!)
      return reply
    } finally {
      clearTimeout(timer)
      waiting = undefined
    }
  }
  const end = async (): Promise<void> => {
    child.stdin!.end()
    const timer = setTimeout(() => child.kill('SIGKILL'), 2000)
    await closed
    clearTimeout(timer)
  }
  try {
    return { spec, about: await ask({ do: 'about' }, timeoutMs), ask, end }
  } catch (error) {
    await end()
    throw error
  }
}

/** Why a peer gives no figure. */
export class PeerError extends Error {
  override name = 'bench.PeerError'
}
