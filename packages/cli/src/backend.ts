// Which engine a command computes with: --backend and --threads, proved on this machine before it works; and DEBUG=1..5 to look inside it.

import { availableParallelism } from 'node:os'
import { type Backend, debugLevel, observed, selfTest } from '@bitloom/engine'
import { BackendError, type Choice, chooseBackend } from '@bitloom/engine/choose'
import type { Finding } from './checks.ts'
import { type Call, type Option, RefusedError, UsageError } from './command.ts'
import { dim } from './render.ts'

/** The two options, for whoever computes. */
export const backendOptions = (defaults: { readonly backend: 'auto' | 'wasm' }): Readonly<Record<'backend' | 'threads', Option>> => ({
  backend: {
    type: 'string',
    value: 'NAME',
    help: 'what computes here: wasm, native, or auto for native code where it can be made and proves itself',
    default: defaults.backend,
  },
  threads: { type: 'string', value: 'N', help: 'threads that compute a step; the bits are the same', default: '1' },
})

/**
 * The backend that a call asks for, watched as DEBUG asks for on stderr.
 * @throws {UsageError} no such backend or number of threads
 * @throws {RefusedError} native code was asked for and is not to be had here
 */
export async function backendOf(call: Call, env: NodeJS.ProcessEnv = process.env): Promise<Choice> {
  const wanted = call.text('backend')!
  if (wanted !== 'wasm' && wanted !== 'native' && wanted !== 'auto')
    throw new UsageError(`--backend ${wanted}: choose wasm, native or auto`)
  const threads = call.number('threads', { min: 1, max: 64, whole: true })!
  const choice = await chooseBackend({ backend: wanted, threads }).catch((error: unknown): never => {
    throw error instanceof BackendError ? new RefusedError(error.message) : error
  })
  return { ...choice, backend: watched(choice, env) }
}

/** A chosen backend that says on stderr what it does, as much as DEBUG asks for. */
export function watched({ backend, reason }: Choice, env: NodeJS.ProcessEnv = process.env): Backend {
  const level = debugLevel(env.DEBUG)
  const say = (text: string): void => void process.stderr.write(`${dim(text)}\n`)
  if (level >= 1) say(`${backend.name}: ${reason}`)
  return observed(backend, level, say)
}

/** Which backend `auto` takes here, and what it proved. */
export async function checkBackend(): Promise<Finding> {
  const { backend, reason } = await chooseBackend({ backend: 'auto' })
  const test = selfTest(backend)
  if (!test.ok)
    return {
      check: 'backend',
      status: 'fail',
      detail: test.reason,
      todo: 'Do not train or check on this machine: its results differ. Please report this line with your processor and Node version.',
    }
  return {
    check: 'backend',
    status: 'ok',
    detail: `${backend.name}: ${reason}; ${test.ops} ops, ${test.elements.toLocaleString('en')} elements proved in ${(test.ms / 1000).toFixed(1)} s; ${test.gflops.toFixed(1)} GFLOPS a thread, ${availableParallelism()} cores`,
  }
}
