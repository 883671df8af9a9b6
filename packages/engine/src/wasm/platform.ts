// What differs between Node and browsers, and the WebAssembly that both bring, with the few types we use: no library declares them for both without the DOM.

export interface Memory {
  readonly buffer: ArrayBuffer
}
interface Module {
  readonly __module: never
}
interface Instance {
  readonly exports: Readonly<Record<string, unknown>>
}

interface Api {
  readonly Memory: new (limits: { initial: number; maximum: number; shared?: boolean }) => Memory
  readonly Module: new (bytes: Uint8Array<ArrayBuffer>) => Module
  readonly Instance: new (module: Module, imports: Readonly<Record<string, Readonly<Record<string, unknown>>>>) => Instance
}
const api = (globalThis as unknown as { WebAssembly: Api }).WebAssembly

/**
 * A memory of `bytes`, in whole pages, that never grows, so views of it stay valid.
 * A shared one has a SharedArrayBuffer, typed as the ArrayBuffer whose reading and writing it has.
 */
export const makeMemory = (bytes: number, shared = false): Memory => {
  const pages = Math.ceil(bytes / 65536)
  return new api.Memory({ initial: pages, maximum: pages, ...(shared ? { shared } : {}) })
}

export type Code = Module

export const compileModule = (bytes: Uint8Array<ArrayBuffer>): Code => new api.Module(bytes)

/** A module's exported functions over `memory`, with whatever else it imports. */
export const instantiate = (
  code: Code,
  memory: Memory,
  imports: Readonly<Record<string, unknown>> = {},
): Readonly<Record<string, unknown>> => new api.Instance(code, { env: { ...imports, memory } }).exports

/** A running worker. */
export interface Worker {
  post(message: unknown): void
  stop(): void
}

export interface WorkerEvents {
  /** The worker's program runs. */
  readonly up: () => void
  /** It ended, and not because it was told to. */
  readonly ended: (reason: string) => void
}

interface NodeWorker {
  postMessage(message: unknown): void
  terminate(): Promise<number>
  unref(): void
  on(event: 'message' | 'error' | 'exit', listener: (value: unknown) => void): void
}
interface WebWorker {
  postMessage(message: unknown, transfer: readonly unknown[]): void
  terminate(): void
  addEventListener(event: 'message' | 'error', listener: (event: { readonly message?: string }) => void): void
}
const scope = globalThis as unknown as {
  readonly process?: { readonly getBuiltinModule?: (name: string) => { Worker: new (source: string, options: object) => NodeWorker } }
  readonly Worker?: new (url: string) => WebWorker
  readonly MessageChannel?: new () => { readonly port1: { postMessage(message: unknown): void }; readonly port2: unknown }
  readonly Blob?: new (parts: string[], options: { type: string }) => unknown
  readonly URL: { createObjectURL(blob: unknown): string }
  readonly document?: unknown
}
const nodeThreads = scope.process?.getBuiltinModule?.('node:worker_threads')

/** Whether a worker starts while this thread blocks. A browser may need this thread's event loop for it. */
export const startsWhileBlocked = nodeThreads !== undefined

/**
 * Why threads cannot work here, or undefined where they can.
 * Browsers share memory only with pages that are cross-origin isolated (headers COOP same-origin and COEP require-corp).
 */
export const threadsMissing = (): string | undefined => {
  if (nodeThreads === undefined && scope.Worker === undefined) return 'no workers here'
  if (scope.document !== undefined) return "a page's own thread may not wait; run the engine in a worker"
  if (typeof SharedArrayBuffer === 'undefined')
    return 'no SharedArrayBuffer here; a page has to be cross-origin isolated (COOP same-origin, COEP require-corp)'
  return undefined
}

/** Starts a worker that runs `source` and does not keep the process alive. */
export const startWorker = (source: string, events: WorkerEvents): Worker => {
  let stopped = false
  const ended = (reason: string): void => {
    if (!stopped) events.ended(reason)
    stopped = true
  }
  if (nodeThreads !== undefined) {
    const worker = new nodeThreads.Worker(source, { eval: true, execArgv: [], name: 'bitloom-engine' })
    worker.on('message', events.up)
    worker.on('error', (error) => ended(error instanceof Error ? error.message : String(error)))
    worker.on('exit', (code) => ended(`it exited with code ${code}`))
    worker.unref()
    return {
      post: (message) => worker.postMessage(message),
      stop: () => {
        stopped = true
        void worker.terminate()
      },
    }
  }
  const worker = new scope.Worker!(scope.URL.createObjectURL(new scope.Blob!([source], { type: 'text/javascript' })))
  worker.addEventListener('message', events.up)
  worker.addEventListener('error', (event) => ended(event.message ?? 'its script failed'))
  // Chromium sends what is posted to a worker of a worker only once the poster's own turn ends; what goes through a port arrives while it blocks.
  const { port1, port2 } = new scope.MessageChannel!()
  worker.postMessage('port', [port2])
  return {
    post: (message) => port1.postMessage(message),
    stop: () => {
      stopped = true
      worker.terminate()
    },
  }
}
