// Which backend a machine trains with: native code where it can be made and proves itself, else WebAssembly, with the reason in words.
import type { Backend } from './backend.ts'
import { selfTest } from './conform.ts'
import { wasmWith } from './wasm/run.ts'

export interface Wish {
  /** `auto`: native if it can be had, else WebAssembly. */
  readonly backend?: 'auto' | 'native' | 'wasm'
  /** Threads a step runs on; 1 if not said. */
  readonly threads?: number
}

/** What was taken, and why, as a sentence for people. */
export interface Choice {
  readonly backend: Backend
  readonly reason: string
}

/** Verdicts of this process on native code: its self-test is run once a number of threads. */
const verdicts = new Map<number, Choice | { readonly backend: undefined; readonly reason: string }>()

/**
 * Chooses a backend. Native code must give the interpreter's bits in the self-test, here and now; whoever asked for it by name and cannot have it gets an error.
 * @throws {BackendError} native was asked for and is not to be had
 * @throws {RangeError | ThreadError} a number of threads that cannot be
 */
export const chooseBackend = async ({ backend = 'auto', threads = 1 }: Wish = {}): Promise<Choice> => {
  if (backend === 'wasm') return { backend: wasmWith({ threads }), reason: 'WebAssembly was asked for' }
  const native = await tryNative(threads)
  if (native.backend !== undefined) return native
  if (backend === 'native')
    throw new BackendError(`${native.reason}\ninstall a C compiler ("cc") and the package "koffi", or use --backend wasm`)
  return { backend: wasmWith({ threads }), reason: `WebAssembly, because ${native.reason}` }
}

const tryNative = async (threads: number): Promise<Choice | { readonly backend: undefined; readonly reason: string }> => {
  let verdict = verdicts.get(threads)
  if (verdict === undefined) {
    verdict = await judgeNative(threads)
    verdicts.set(threads, verdict)
  }
  return verdict
}

const judgeNative = async (threads: number): Promise<Choice | { readonly backend: undefined; readonly reason: string }> => {
  if (typeof process === 'undefined' || process.versions?.node === undefined)
    return { backend: undefined, reason: 'native code is for Node only' }
  try {
    // Loaded here only: a browser has none of what it needs.
    const { nativeWith } = await import('./native/run.ts')
    const backend = nativeWith({ threads })
    const result = selfTest(backend)
    if (!result.ok) return { backend: undefined, reason: `native code failed its self-test: ${result.reason}` }
    return { backend, reason: `native code gave the interpreter's bits in all ${result.elements} elements of the self-test` }
  } catch (error) {
    if (error instanceof RangeError || !(error instanceof Error)) throw error
    return { backend: undefined, reason: error.message }
  }
}

/** A backend that was asked for by name and cannot be had. */
export class BackendError extends Error {
  override name = 'engine.BackendError'
}
