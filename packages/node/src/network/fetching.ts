// A node's fetches: from the addresses it was told, and, where none of them delivers, on streams from the peers it is connected to.

import { peerOf } from './addresses.ts'
import { fetchBlob } from './blobfetch.ts'
import type { BlobStore, Root } from './blobs.ts'
import { streamSource } from './blobstreams.ts'
import type { Peers } from './peers.ts'

/** Connected peers that are asked for a blob nobody else delivers. */
const MAX_STREAM_SOURCES = 8

export interface Fetching {
  readonly peers: Peers
  readonly blobs: BlobStore
  readonly log: (event: string, values?: Readonly<Record<string, unknown>>) => void
}

/**
 * The blob's bytes, checked; undefined (and logged) when nobody has it. `urls` are http addresses of blob servers and multiaddrs of peers, from strangers.
 * Whoever lied is held to it.
 */
export async function fetchFor(
  { peers, blobs, log }: Fetching,
  root: Root,
  bytes: number,
  urls: readonly string[],
): Promise<Uint8Array | undefined> {
  const told = urls.filter((url) => url.startsWith('/') && !peers.isBanned(peerOf(url) ?? url))
  const named = new Set(told.map(peerOf))
  const others = peers.connected().filter((peer) => !named.has(peer))
  const verdict = await fetchBlob({
    root,
    bytes,
    urls: urls.filter((url) => !url.startsWith('/') && !peers.isBanned(url)),
    sources: [...told, ...others].slice(0, MAX_STREAM_SOURCES).map((to) => streamSource(peers, to)),
    scope: peers.scope,
    store: blobs,
  })
  for (const { url, kind } of verdict.badPeers)
    if (kind === 'lied' || kind === 'oversize') peers.blame(peerOf(url) ?? url, 'lied')
    else if (kind === 'stalled') peers.blame(peerOf(url) ?? url, 'slow')
  if (!verdict.ok) {
    log('blob-missing', { root, reason: verdict.reason })
    return undefined
  }
  return blobs.get(root, bytes)
}
