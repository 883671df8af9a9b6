// Runs in the browser, in a worker (its main thread may not wait): the suite on one and on two threads.
import { startThreads, stopThreads, wasmWith } from '@bitloom/engine'
import { blobRows } from '@bitloom/engine/blobsource'
import { type Hashes, type Order, runSuite } from './suite.ts'

/** What the page posts back. */
export type Report = {
  readonly agent: string
  readonly isolated: boolean
  readonly results: readonly { readonly threads: number; readonly hashes: Hashes; readonly ms: number }[]
  readonly error?: string
}

declare const self: {
  readonly navigator: { readonly userAgent: string }
  readonly crossOriginIsolated: boolean
  postMessage: (message: unknown) => void
}

const about = { agent: self.navigator.userAgent, isolated: self.crossOriginIsolated }
const results: { threads: number; hashes: Hashes; ms: number }[] = []
try {
  const order = (await (await fetch('/order')).json()) as Order
  for (const threads of [1, 2]) {
    // a helping thread lets go of a thousand programs' memories only when its own garbage is collected: a fresh one does at once
    const refresh = async (): Promise<void> => {
      if (threads === 1) return
      stopThreads()
      await startThreads(threads)
    }
    await refresh()
    const start = performance.now()
    // nothing is too small to be cut: the threads have to agree on everything
    const hashes = await runSuite(
      wasmWith(threads === 1 ? { threads } : { threads, small: 0 }),
      order,
      (bytes, rowBytes) => blobRows(new Blob([bytes.slice()]), rowBytes),
      refresh,
    )
    results.push({ threads, hashes, ms: performance.now() - start })
  }
  self.postMessage({ ...about, results } satisfies Report)
} catch (error) {
  self.postMessage({ ...about, results, error: error instanceof Error ? (error.stack ?? error.message) : String(error) } satisfies Report)
}
