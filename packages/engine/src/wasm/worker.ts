// What a helping thread runs: it takes programs in messages and serves one at a time until told to leave. Its source travels as text, so no bundler has to find a file.

/** Messages to a worker. */
export type ToWorker =
  | {
      readonly kind: 'load'
      readonly id: number
      readonly thread: number
      readonly memory: unknown
      readonly gemm: unknown
      readonly program: unknown
      /** Addresses: this thread's workspace, and words of the control block. */
      readonly workspace: number
      readonly control: number
      readonly words: { readonly attached: number; readonly generation: number; readonly broken: number; readonly reason: number }
      readonly reasonBytes: number
    }
  | { readonly kind: 'serve'; readonly id: number; readonly threads: number }
  | { readonly kind: 'close'; readonly id: number }

/** Runs in the worker. Refers to nothing outside itself. */
const main = (): void => {
  interface Port {
    postMessage(message: unknown): void
    onmessage?: (event: { data: ToWorker; ports: readonly Port[] }) => void
    on?(type: 'message', listener: (data: ToWorker) => void): void
  }
  interface Loaded {
    readonly serve: (threads: number) => void
  }
  const scope = globalThis as unknown as Port & {
    process?: { getBuiltinModule?: (name: string) => { parentPort: Port } }
    WebAssembly: { Instance: new (module: unknown, imports: unknown) => { exports: Record<string, (...args: number[]) => void> } }
  }
  const port: Port = scope.process?.getBuiltinModule?.('node:worker_threads')?.parentPort ?? scope
  const programs = new Map<number, Loaded>()

  const load = (m: Extract<ToWorker, { kind: 'load' }>): Loaded => {
    const shared = (m.memory as { buffer: SharedArrayBuffer }).buffer
    const words = new Int32Array(shared, m.control, m.words.reason + 1 + m.reasonBytes / 4)
    /** Says in the shared memory that this thread cannot go on, and wakes whoever waits for it. */
    const breakOff = (error: unknown): void => {
      const text = new TextEncoder().encode(error instanceof Error ? error.message : String(error)).subarray(0, m.reasonBytes)
      new Uint8Array(shared, m.control + 4 * (m.words.reason + 1)).set(text)
      words[m.words.reason] = text.length
      if (Atomics.compareExchange(words, m.words.broken, 0, m.thread) !== 0) return
      for (const word of [m.words.generation, m.words.attached]) Atomics.notify(words, word)
    }
    const late = (): void => {
      if (Atomics.load(words, m.words.broken) !== 0) throw new Error('another thread broke off')
    }
    try {
      const { gemm } = new scope.WebAssembly.Instance(m.gemm, { env: { memory: m.memory } }).exports
      const imports = { env: { memory: m.memory, gemm, workspace: m.workspace, late, tick: () => undefined, fetch: () => undefined } }
      const { serve } = new scope.WebAssembly.Instance(m.program, imports).exports
      return {
        serve: (threads) => {
          try {
            serve(m.thread, threads)
          } catch (error) {
            breakOff(error)
            Atomics.sub(words, m.words.attached, 1)
            Atomics.notify(words, m.words.attached)
          }
        },
      }
    } catch (error) {
      return { serve: () => breakOff(error) }
    }
  }
  const take = (message: ToWorker): void => {
    if (message.kind === 'load') programs.set(message.id, load(message))
    else if (message.kind === 'close') programs.delete(message.id)
    else programs.get(message.id)?.serve(message.threads)
  }
  if (port.on !== undefined) {
    port.on('message', take)
    port.postMessage('up')
  } else
    port.onmessage = ({ ports: [own] }) => {
      own.onmessage = ({ data }) => take(data)
      port.postMessage('up')
    }
}

/** The worker's program as text. */
export const workerSource = (): string => `(${main})()`
