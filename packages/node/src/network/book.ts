// The address book: peers that answered, kept on disk, so that a node finds its network again when those it began with are gone.

import { readAddress } from './addresses.ts'
import { MAX_BOOK } from './limits.ts'

/** Where a book is kept between two lives of a node. */
export interface BookKeeper {
  load(): unknown
  save(addresses: readonly string[]): void
}

export interface Book {
  /** An address was dialled and its peer answered. */
  met(address: string): void
  /** An address did not answer; the second time in a row it goes, unless nothing else is left. */
  missed(address: string): void
  has(peer: string): boolean
  /** All addresses, those met last first. */
  addresses(): string[]
}

/** Opens a book; what was kept is a former self's word and is read like a stranger's. */
export function openBook(keeper?: BookKeeper, onError: (error: unknown) => void = () => undefined): Book {
  const pages = new Map<string, { readonly address: string; readonly misses: number }>() // by peer, longest unmet first
  const kept = keeper?.load()
  if (Array.isArray(kept))
    for (const address of kept.slice(0, MAX_BOOK).reverse()) {
      const peer = typeof address === 'string' ? readAddress(address)?.peer : undefined
      if (peer !== undefined) pages.set(peer, { address, misses: 0 })
    }
  const addresses = (): string[] => [...pages.values()].map(({ address }) => address).reverse()
  let saved = addresses().join(' ')
  const save = (): void => {
    const text = addresses().join(' ')
    if (text === saved) return
    try {
      keeper?.save(addresses())
      saved = text
    } catch (error) {
      onError(error) // a full disk, say: tried again with the next address
    }
  }
  return {
    met(address) {
      const peer = readAddress(address)?.peer
      if (peer === undefined) return
      const same = pages.get(peer)?.address === address
      pages.delete(peer)
      pages.set(peer, { address, misses: 0 })
      if (pages.size > MAX_BOOK) pages.delete(pages.keys().next().value as string)
      // the order alone is not worth a write to disk
      if (!same) save()
    },
    missed(address) {
      const peer = readAddress(address)?.peer
      const page = peer === undefined ? undefined : pages.get(peer)
      if (peer === undefined || page?.address !== address) return
      if (page.misses > 0 && pages.size > 1) pages.delete(peer)
      else pages.set(peer, { address, misses: page.misses + 1 })
      save()
    },
    has: (peer) => pages.has(peer),
    addresses,
  }
}
