// Keeps a node among its peers: finds them again after a restart, asks them for others, tries the network's first peers, and makes room for newcomers.

import { readAddress } from './addresses.ts'
import type { Book } from './book.ts'
import { BOOTSTRAP_BELOW, MAX_FAILED, PARALLEL_DIALS, REDIAL_AFTER_MS, WANTED_CONNECTIONS } from './limits.ts'

export interface TendingOptions {
  readonly id: string
  readonly bootstrap: readonly string[]
  readonly book: Book
  readonly everyMs: number
  /** Connections looked for. */
  readonly wanted?: number
  /** Ids of connected peers. */
  readonly connected: () => readonly string[]
  readonly connect: (address: string) => Promise<{ readonly ok: boolean }>
  /** Whether a stranger's address may be dialled. */
  readonly mayDial: (address: string) => boolean
  /** Asks a peer for addresses. */
  readonly ask: (peer: string) => Promise<readonly string[]>
  /** Lets connections go where newcomers would find no room. */
  readonly makeRoom: () => Promise<void>
}

export interface Tending {
  /** A neighbour was found by other means. */
  found(address: string): void
  stop(): Promise<void>
}

/** Starts the rounds. */
export function startTending(options: TendingOptions): Tending {
  const { id, bootstrap, book, connected, wanted = WANTED_CONNECTIONS } = options
  let stopped = false
  let wake: () => void = () => undefined
  let turn = 0
  let dialling = 0
  /** Addresses that did not answer, and when: strangers tell the same dead ones again and again. */
  const failed = new Map<string, number>()

  const needed = (address: string): boolean => {
    const peer = readAddress(address)?.peer
    return !stopped && connected().length + dialling < wanted && peer !== id && (peer === undefined || !connected().includes(peer))
  }
  const dial = async (address: string): Promise<void> => {
    dialling++
    const { ok } = await options.connect(address).finally(() => dialling--)
    if (ok) {
      failed.delete(address)
      return
    }
    book.missed(address)
    failed.delete(address)
    failed.set(address, performance.now())
    if (failed.size > MAX_FAILED) failed.delete(failed.keys().next().value as string)
  }
  const lately = (address: string): boolean => performance.now() - (failed.get(address) ?? Number.NEGATIVE_INFINITY) < REDIAL_AFTER_MS
  const dialAll = async (addresses: readonly string[]): Promise<void> => {
    const left = [...addresses]
    const lane = async (): Promise<void> => {
      for (let address = left.shift(); address !== undefined; address = left.shift()) if (needed(address)) await dial(address)
    }
    await Promise.all(Array.from({ length: PARALLEL_DIALS }, lane))
  }
  const round = async (): Promise<void> => {
    await options.makeRoom()
    if (connected().length >= wanted) return
    // Those met before first: the network's first peers are everybody's, and may be gone. Without any peer nothing is too recent to try.
    const alone = connected().length === 0
    await dialAll(shuffled(book.addresses().filter((address) => alone || !lately(address))).slice(0, 2 * wanted))
    if (connected().length < BOOTSTRAP_BELOW) await dialAll(bootstrap)
    const peers = connected()
    if (stopped || peers.length === 0 || peers.length >= wanted) return
    // One peer a round, each in its turn.
    const told = await options.ask(peers[turn++ % peers.length]!)
    await dialAll(shuffled(told.filter((address) => !lately(address) && options.mayDial(address))))
  }
  const ended = (async () => {
    while (!stopped) {
      await round()
      if (stopped) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, options.everyMs).unref()
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  })()
  return {
    found(address) {
      if (needed(address) && !lately(address) && options.mayDial(address)) void dial(address)
    },
    async stop() {
      stopped = true
      wake()
      await ended
    },
  }
}

/** The same items in an order that nobody else has: or all dial the same few. */
export function shuffled<T>(items: readonly T[]): T[] {
  const all = [...items]
  for (let i = all.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1))
    const other = all[j]!
    all[j] = all[i]!
    all[i] = other
  }
  return all
}
