// Fetches a blob from several peers at once and believes none of them: each 1-MiB group is checked as it arrives, a liar is named and left.

import { Agent as HttpAgent, get as httpGet, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, get as httpsGet } from 'node:https'
import { setTimeout as sleep } from 'node:timers/promises'
import { toHex } from '@bitloom/graph/sha256'
import { StoreFullError } from '../store.ts'
import { BlobQuotaError, type BlobStore, MAX_BLOB_BYTES, type Root } from './blobs.ts'
import { groupRange, groupsOf, HASH_BYTES, rootOfGroups, splitNodes } from './groups.ts'
import type { Receiver } from './receiver.ts'

/** Requests under way to one peer, and to all. */
const LANES_PER_PEER = 3
const MAX_LANES = 12
const MAX_PEERS = 16
/** A peer that sends nothing for this long, or needs longer than this for a group, has stalled. */
export const STALL_MS = 8_000
export const GROUP_DEADLINE_MS = 60_000
/** Failures in a row (stalls, refusals, cut-off answers) after which a peer is left. One lie is enough. */
const MAX_STRIKES = 3
/** When nothing is left to ask for, a group that has been under way this long is asked of another peer as well. */
const IMPATIENT_MS = 2_000

export interface FetchOptions {
  readonly root: Root
  /** The blob's length, known from a signed task: a peer that sends more is cut off. */
  readonly bytes: number
  /** Base addresses of peers that may have it (http://host:port). */
  readonly urls: readonly string[]
  readonly store: BlobStore
  readonly onProgress?: (progress: { readonly doneBytes: number; readonly totalBytes: number; readonly resumedBytes: number }) => void
  readonly signal?: AbortSignal
  readonly stallMs?: number
  readonly groupDeadlineMs?: number
}

export interface BadPeer {
  readonly url: string
  /** 'lied': what it sent does not hash to what it must, which is proof. The others may be accidents. */
  readonly kind: 'lied' | 'oversize' | 'truncated' | 'stalled' | 'missing' | 'refused' | 'unreachable'
  readonly detail: string
}

export type FetchVerdict =
  | { readonly ok: true; readonly bytes: number; readonly resumedBytes: number; readonly badPeers: readonly BadPeer[] }
  | {
      readonly ok: false
      readonly code: 'unavailable' | 'aborted' | 'quota' | 'disk-full'
      readonly reason: string
      readonly badPeers: readonly BadPeer[]
    }

const underWay = new WeakMap<BlobStore, Map<Root, Promise<FetchVerdict>>>()

/**
 * Brings a blob into the store, from what a former attempt left and from `urls`. What peers do wrong, and a lack of room here, are in the verdict;
 * throws RangeError for a root or a length that cannot be.
 */
export async function fetchBlob(options: FetchOptions): Promise<FetchVerdict> {
  const { root, bytes, store } = options
  if (!Number.isSafeInteger(bytes) || bytes < 0 || bytes > MAX_BLOB_BYTES)
    throw new RangeError(`fetchBlob: ${bytes} bytes; must be 0 to ${MAX_BLOB_BYTES}`)
  if (store.has(root, bytes)) return { ok: true, bytes, resumedBytes: bytes, badPeers: [] }
  let fetches = underWay.get(store)
  if (fetches === undefined) underWay.set(store, (fetches = new Map()))
  // Two fetches of one blob would write one file: the second waits for the first, and then looks again.
  for (let other = fetches.get(root); other !== undefined; other = fetches.get(root)) {
    await other
    if (store.has(root, bytes)) return { ok: true, bytes, resumedBytes: 0, badPeers: [] }
  }
  const fetching = fetchNow(options).finally(() => fetches.delete(root))
  fetches.set(root, fetching)
  return fetching
}

async function fetchNow(options: FetchOptions): Promise<FetchVerdict> {
  const { root, bytes, store, signal } = options
  const badPeers: BadPeer[] = []
  const agents = { http: new HttpAgent({ keepAlive: true }), https: new HttpsAgent({ keepAlive: true }) }
  const peers: Peer[] = []
  for (const url of [...new Set(options.urls)].slice(0, MAX_PEERS)) {
    const base = readBase(url)
    if (base === undefined) badPeers.push({ url, kind: 'unreachable', detail: 'not an http address' })
    else peers.push({ url, base: `${base}/blob/${root.slice(2)}?bytes=${bytes}`, strikes: 0, gone: false })
  }
  const limits: Limits = { stallMs: options.stallMs ?? STALL_MS, deadlineMs: options.groupDeadlineMs ?? GROUP_DEADLINE_MS, agents }
  const blame = (peer: Peer, { kind, detail }: Trouble): void => {
    peer.strikes++
    if (peer.gone || (kind !== 'lied' && kind !== 'oversize' && kind !== 'missing' && peer.strikes < MAX_STRIKES)) return
    peer.gone = true
    badPeers.push({ url: peer.url, kind, detail })
  }
  let receiver: Receiver | undefined
  try {
    const nodes = await fetchNodes(root, bytes, peers, limits, blame, signal)
    if (nodes === undefined) return failed(signal, badPeers, 'no peer has it')
    receiver = await store.receive(root, bytes, nodes)
    const { resumedBytes } = receiver
    await fetchGroups(options, receiver, peers, limits, blame)
    if (receiver.missing().length > 0) {
      await receiver.pause()
      return failed(
        signal,
        badPeers,
        `${receiver.missing().length} of ${nodes.length} groups are missing; what arrived is kept for the next attempt`,
      )
    }
    await receiver.finish()
    return { ok: true, bytes, resumedBytes, badPeers }
  } catch (error) {
    await receiver?.pause()
    if (error instanceof BlobQuotaError) return { ok: false, code: 'quota', reason: error.message, badPeers }
    if (error instanceof StoreFullError) return { ok: false, code: 'disk-full', reason: error.message, badPeers }
    throw error
  } finally {
    agents.http.destroy()
    agents.https.destroy()
  }
}

function failed(signal: AbortSignal | undefined, badPeers: readonly BadPeer[], reason: string): FetchVerdict {
  const why = badPeers.map(({ url, kind, detail }) => `${url} ${kind}${detail === '' ? '' : ` (${detail})`}`).join('; ')
  if (signal?.aborted) return { ok: false, code: 'aborted', reason: 'aborted', badPeers }
  return { ok: false, code: 'unavailable', reason: why === '' ? `${reason}: no peers to ask` : `${reason}: ${why}`, badPeers }
}

interface Peer {
  readonly url: string
  readonly base: string
  strikes: number
  gone: boolean
}

interface Limits {
  readonly stallMs: number
  readonly deadlineMs: number
  readonly agents: { readonly http: HttpAgent; readonly https: HttpsAgent }
}

type Trouble = Omit<BadPeer, 'url'>
type Answer = { readonly ok: true; readonly data: Uint8Array } | ({ readonly ok: false } & Trouble)
type Blame = (peer: Peer, trouble: Trouble) => void

/** The groups' nodes from the first peer whose list hashes to the root. A single group is its own list. */
async function fetchNodes(
  root: Root,
  bytes: number,
  peers: readonly Peer[],
  limits: Limits,
  blame: Blame,
  signal?: AbortSignal,
): Promise<Uint8Array[] | undefined> {
  const count = groupsOf(bytes)
  if (count === 1) return [Buffer.from(root.slice(2), 'hex')]
  for (let round = 0; round < MAX_STRIKES; round++) {
    for (const peer of peers) {
      if (peer.gone || signal?.aborted) continue
      const answer = await download(`${peer.base}&groups=1`, undefined, new Uint8Array(count * HASH_BYTES), limits, signal)
      if (answer.ok) {
        const nodes = splitNodes(answer.data)
        if (toHex(rootOfGroups(nodes)) === root) {
          peer.strikes = 0
          return nodes
        }
        blame(peer, { kind: 'lied', detail: 'its list of groups does not hash to the root' })
      } else if (!signal?.aborted) blame(peer, answer)
    }
    if (signal?.aborted || peers.every((peer) => peer.gone)) return undefined
    await sleep(200 * 2 ** round, undefined, { signal }).catch(() => undefined) // an abort is seen at the loop's head
  }
  return undefined
}

async function fetchGroups(options: FetchOptions, receiver: Receiver, peers: readonly Peer[], limits: Limits, blame: Blame): Promise<void> {
  const { bytes, onProgress } = options
  const open = receiver.missing().reverse()
  const remaining = new Set(open)
  const flying = new Map<number, number>() // group -> when it was first asked for
  let doneBytes = bytes - open.reduce((sum, group) => sum + size(bytes, group), 0)
  const progress = (): void => onProgress?.({ doneBytes, totalBytes: bytes, resumedBytes: receiver.resumedBytes })
  progress()
  // Ends all lanes when the last group has come, or when one of them fails for a reason of ours (a full disk).
  const ending = new AbortController()
  const signal = options.signal === undefined ? ending.signal : AbortSignal.any([options.signal, ending.signal])
  if (remaining.size === 0) return

  const next = (doubled: Set<number>): number | undefined => {
    const fresh = open.pop()
    if (fresh !== undefined) return fresh
    const now = performance.now()
    for (const [group, since] of flying) if (now - since > IMPATIENT_MS && !doubled.has(group)) return group
    return undefined
  }
  const lane = async (peer: Peer): Promise<void> => {
    const buffer = new Uint8Array(Math.min(bytes, size(bytes, 0)))
    const asked = new Set<number>()
    while (!peer.gone && !signal.aborted && remaining.size > 0) {
      const group = next(asked)
      if (group === undefined) {
        await sleep(50, undefined, { signal }).catch(() => undefined) // an abort is seen at the loop's head
        continue
      }
      asked.add(group)
      if (!flying.has(group)) flying.set(group, performance.now())
      const { start, end } = groupRange(bytes, group)
      const answer = await download(peer.base, { start, end }, buffer.subarray(0, end - start), limits, signal)
      if (!remaining.has(group)) continue // another peer was faster
      if (answer.ok && (await receiver.accept(group, answer.data))) {
        flying.delete(group)
        if (!remaining.delete(group)) continue
        peer.strikes = 0
        doneBytes += end - start
        progress()
        if (remaining.size === 0) ending.abort()
        continue
      }
      if (signal.aborted) break
      blame(peer, answer.ok ? { kind: 'lied', detail: `group ${group} does not hash to its node` } : answer)
      flying.delete(group)
      asked.delete(group)
      open.push(group)
      if (!peer.gone) await sleep(100 * 2 ** peer.strikes, undefined, { signal }).catch(() => undefined) // as above
    }
  }
  const alive = peers.filter((peer) => !peer.gone)
  const lanes = Math.max(1, Math.min(LANES_PER_PEER, Math.floor(MAX_LANES / Math.max(1, alive.length))))
  const running = alive.flatMap((peer) => Array.from({ length: Math.min(lanes, remaining.size) }, () => lane(peer)))
  try {
    await Promise.all(running)
  } finally {
    ending.abort()
    await Promise.allSettled(running)
  }
}

const size = (bytes: number, group: number): number => {
  const { start, end } = groupRange(bytes, group)
  return end - start
}

/** Fills `into` exactly from one address, or says how the peer failed; never reads more than fits. */
function download(
  url: string,
  range: { readonly start: number; readonly end: number } | undefined,
  into: Uint8Array,
  limits: Limits,
  signal?: AbortSignal,
): Promise<Answer> {
  return new Promise((resolve) => {
    const secure = url.startsWith('https:')
    const headers = range === undefined || range.start === range.end ? {} : { range: `bytes=${range.start}-${range.end - 1}` }
    let filled = 0
    let response: IncomingMessage | undefined
    const settle = (answer: Answer): void => {
      clearTimeout(deadline)
      if (!answer.ok) request.destroy()
      resolve(answer)
    }
    const fail = (kind: BadPeer['kind'], detail: string): void => settle({ ok: false, kind, detail })
    const request = (secure ? httpsGet : httpGet)(
      url,
      {
        headers,
        agent: secure ? limits.agents.https : limits.agents.http,
        timeout: limits.stallMs,
        ...(signal === undefined ? {} : { signal }),
      },
      (incoming) => {
        response = incoming
        const { statusCode } = incoming
        if (statusCode === 404) return fail('missing', '')
        if (statusCode !== 206 && !(statusCode === 200 && (range === undefined || range.start === 0)))
          return fail('refused', `status ${statusCode}`)
        incoming.on('data', (piece: Uint8Array) => {
          if (filled + piece.length > into.length) return fail('oversize', `more than ${into.length} bytes`)
          into.set(piece, filled)
          filled += piece.length
        })
        incoming.on('end', () =>
          filled === into.length ? settle({ ok: true, data: into }) : fail('truncated', `${filled} of ${into.length} bytes`),
        )
        incoming.on('error', () => fail('truncated', `${filled} of ${into.length} bytes`))
      },
    )
    const deadline = setTimeout(() => fail('stalled', `not done in ${limits.deadlineMs} ms`), limits.deadlineMs)
    request.on('timeout', () => fail('stalled', `nothing for ${limits.stallMs} ms`))
    request.on('error', (error: NodeJS.ErrnoException) =>
      response === undefined ? fail('unreachable', error.code ?? error.message) : fail('truncated', error.code ?? error.message),
    )
  })
}

/** A peer's base address without a trailing slash; undefined unless it is http(s) without credentials, query or fragment. */
function readBase(url: string): string | undefined {
  if (url.length > 512 || !URL.canParse(url)) return undefined
  const { protocol, username, password, search, hash, origin, pathname } = new URL(url)
  if ((protocol !== 'http:' && protocol !== 'https:') || username !== '' || password !== '' || search !== '' || hash !== '')
    return undefined
  return `${origin}${pathname.replace(/\/+$/, '')}`
}
