// Fetches a blob from several peers at once and believes none of them: each 1-MiB group is checked as it arrives, a liar is named and left.

import { setTimeout as sleep } from 'node:timers/promises'
import { toHex } from '@bitloom/graph/sha256'
import { StoreFullError } from '../store.ts'
import type { Scope } from './addresses.ts'
import { BlobQuotaError, type BlobStore, MAX_BLOB_BYTES, type Root } from './blobs.ts'
import { type GroupBuffer, groupBuffer } from './grouphash.ts'
import { groupRange, groupsOf, HASH_BYTES, rootOfGroups, splitNodes } from './groups.ts'
import { httpSource } from './httpsource.ts'
import type { Receiver } from './receiver.ts'
import type { Answer, Patience, Source, Trouble, TroubleKind } from './source.ts'

/** Requests under way to one peer, and to all. */
const LANES_PER_PEER = 3
const MAX_LANES = 6
const MAX_PEERS = 16
/** Groups asked for at once: each is still checked and kept on its own. Memory: two such runs a lane, 48 MiB in all. */
const RUN = 4
/** A peer that sends nothing for this long, or needs longer than this for what was asked at once, has stalled. */
export const STALL_MS = 8_000
export const GROUP_DEADLINE_MS = 60_000
/** Failures in a row (stalls, refusals, cut-off answers) after which a peer is left. One lie is enough. */
const MAX_STRIKES = 3
/** When nothing is left to ask for, a group that has been under way this long is asked of another peer as well. */
const IMPATIENT_MS = 2_000
/** When nothing has arrived for this long, the next peers are asked too, those that are only a last resort included. */
const RESORT_MS = 1_500

export interface FetchOptions {
  readonly root: Root
  /** The blob's length, known from a signed task: a peer that sends more is cut off. */
  readonly bytes: number
  /** Base addresses of peers that may have it (http://host:port), from whomever. */
  readonly urls: readonly string[]
  /** Other sources, such as streams to peers. */
  readonly sources?: readonly Source[]
  /** How near to us a stranger's address may lead; default: public addresses only. */
  readonly scope?: Scope
  readonly store: BlobStore
  readonly onProgress?: (progress: { readonly doneBytes: number; readonly totalBytes: number; readonly resumedBytes: number }) => void
  readonly signal?: AbortSignal
  readonly stallMs?: number
  readonly groupDeadlineMs?: number
}

export interface BadPeer {
  /** The address, or the peer's id. */
  readonly url: string
  readonly kind: TroubleKind
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
  const peers: Peer[] = []
  for (const url of [...new Set(options.urls)].slice(0, MAX_PEERS)) {
    const made = httpSource(url, options.scope ?? 'public')
    if (made.ok) peers.push(peerOf(made.source))
    else badPeers.push({ url, kind: 'forbidden', detail: made.detail })
  }
  for (const source of (options.sources ?? []).slice(0, MAX_PEERS)) peers.push(peerOf(source))
  const patience: Patience = { stallMs: options.stallMs ?? STALL_MS, deadlineMs: options.groupDeadlineMs ?? GROUP_DEADLINE_MS }
  const blame = (peer: Peer, { kind, detail }: Trouble): void => {
    peer.strikes++
    const final = kind === 'lied' || kind === 'oversize' || kind === 'missing' || kind === 'forbidden'
    if (peer.gone || (!final && peer.strikes < MAX_STRIKES)) return
    peer.gone = true
    badPeers.push({ url: peer.source.name, kind, detail })
  }
  const job: Job = { root, bytes, peers, patience, blame }
  let receiver: Receiver | undefined
  try {
    const nodes = await fetchNodes(job, signal)
    if (nodes === undefined) return failed(signal, badPeers, 'no peer has it')
    receiver = await store.receive(root, bytes, nodes)
    const { resumedBytes } = receiver
    await fetchGroups(job, receiver, options)
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
    for (const { source } of peers) source.close()
  }
}

function failed(signal: AbortSignal | undefined, badPeers: readonly BadPeer[], reason: string): FetchVerdict {
  const why = badPeers.map(({ url, kind, detail }) => `${url} ${kind}${detail === '' ? '' : ` (${detail})`}`).join('; ')
  if (signal?.aborted) return { ok: false, code: 'aborted', reason: 'aborted', badPeers }
  return { ok: false, code: 'unavailable', reason: why === '' ? `${reason}: no peers to ask` : `${reason}: ${why}`, badPeers }
}

interface Peer {
  readonly source: Source
  strikes: number
  gone: boolean
}
const peerOf = (source: Source): Peer => ({ source, strikes: 0, gone: false })

interface Job {
  readonly root: Root
  readonly bytes: number
  readonly peers: readonly Peer[]
  readonly patience: Patience
  readonly blame: (peer: Peer, trouble: Trouble) => void
}

/** Resolves when the time is over or the signal comes, whichever is first. */
const pause = (ms: number, signal: AbortSignal): Promise<unknown> => sleep(ms, undefined, { signal }).catch(() => undefined) // an abort is seen by whoever waits

/** The groups' nodes from the first peer whose list hashes to the root. A single group is its own list. */
async function fetchNodes(job: Job, outer?: AbortSignal): Promise<Uint8Array[] | undefined> {
  const { root, bytes, peers, patience, blame } = job
  const count = groupsOf(bytes)
  if (count === 1) return [Buffer.from(root.slice(2), 'hex')]
  const ending = new AbortController()
  const signal = outer === undefined ? ending.signal : AbortSignal.any([outer, ending.signal])
  let found: Uint8Array[] | undefined
  const ask = async (peer: Peer): Promise<void> => {
    const list = new Uint8Array(count * HASH_BYTES)
    let filled = 0
    const take = (piece: Uint8Array): void => {
      list.set(piece, filled)
      filled += piece.length
    }
    const answer = await peer.source.read({ root, bytes, range: 'groups' }, take, patience, signal)
    if (signal.aborted) return
    if (!answer.ok) return blame(peer, answer)
    const nodes = splitNodes(list)
    if (toHex(rootOfGroups(nodes)) !== root) return blame(peer, { kind: 'lied', detail: 'its list of groups does not hash to the root' })
    peer.strikes = 0
    found = nodes
    ending.abort()
  }
  for (let round = 0; round < MAX_STRIKES && found === undefined; round++) {
    const asked: Promise<void>[] = []
    // One after the other, but nobody waits long for the one before.
    for (const peer of inOrder(peers)) {
      if (signal.aborted) break
      const answered = ask(peer)
      asked.push(answered)
      await Promise.race([answered, pause(RESORT_MS, signal)])
    }
    await Promise.all(asked)
    if (signal.aborted || peers.every((peer) => peer.gone)) break
    await pause(200 * 2 ** round, signal)
  }
  return found
}

/** Peers that are left, the last resorts at the end. */
const inOrder = (peers: readonly Peer[]): Peer[] => {
  const alive = peers.filter((peer) => !peer.gone)
  return [...alive.filter(({ source }) => !source.last), ...alive.filter(({ source }) => source.last)]
}

async function fetchGroups(job: Job, receiver: Receiver, options: FetchOptions): Promise<void> {
  const { bytes, peers, blame } = job
  const groups = groupsOf(bytes)
  const open = receiver.missing().reverse()
  const remaining = new Set(open)
  const flying = new Map<number, number>() // group -> when it was first asked for
  const buffers: GroupBuffer[] = []
  const pending = new Set<Promise<boolean>>()
  let doneBytes = bytes - open.reduce((sum, group) => sum + size(bytes, group), 0)
  let arrivedAt = performance.now()
  const progress = (): void => options.onProgress?.({ doneBytes, totalBytes: bytes, resumedBytes: receiver.resumedBytes })
  progress()
  // Ends all lanes when the last group has come, or when one of them fails for a reason of ours (a full disk).
  const ending = new AbortController()
  const signal = options.signal === undefined ? ending.signal : AbortSignal.any([options.signal, ending.signal])
  if (remaining.size === 0) return

  /** The next groups that nobody is asked for, in a row; else one that somebody has been asked for too long ago. */
  const next = (own: ReadonlySet<number>): readonly number[] => {
    const run: number[] = []
    while (run.length < RUN && open.length > 0 && (run.length === 0 || open.at(-1) === run.at(-1)! + 1)) run.push(open.pop()!)
    if (run.length > 0) return run
    const now = performance.now()
    for (const [group, since] of flying) if (now - since > IMPATIENT_MS && !own.has(group)) return [group]
    return run
  }
  const giveBack = (group: number): void => {
    flying.delete(group)
    if (remaining.has(group) && !open.includes(group)) open.push(group)
  }
  /** Checks and keeps a group; false when its bytes are a lie. */
  const keep = async (peer: Peer, group: number, data: GroupBuffer): Promise<boolean> => {
    const good = await receiver.accept(group, data)
    buffers.push(data)
    if (!good) {
      blame(peer, { kind: 'lied', detail: `group ${group} does not hash to its node` })
      giveBack(group)
      return false
    }
    flying.delete(group)
    if (!remaining.delete(group)) return true // another peer was faster
    peer.strikes = 0
    doneBytes += size(bytes, group)
    progress()
    if (remaining.size === 0) ending.abort()
    return true
  }
  /** Asks for a run of groups, and hands each on as soon as it is whole. */
  const fetchRun = async (peer: Peer, run: readonly number[]): Promise<{ readonly answer: Answer; readonly kept: Promise<boolean>[] }> => {
    const kept: Promise<boolean>[] = []
    let at = 0
    let filled = 0
    let data: GroupBuffer | undefined
    const take = (piece: Uint8Array): void => {
      arrivedAt = performance.now()
      for (let used = 0; used < piece.length || (at < run.length && size(bytes, run[at]!) === 0); ) {
        const wanted = size(bytes, run[at]!)
        data ??= buffers.pop() ?? groupBuffer(bytes, groups)
        const taken = Math.min(wanted - filled, piece.length - used)
        data.set(piece.subarray(used, used + taken), filled)
        filled += taken
        used += taken
        if (filled < wanted) return
        if (data.length > wanted) data.fill(0, wanted)
        const keeping = keep(peer, run[at++]!, data)
        kept.push(keeping)
        pending.add(keeping)
        keeping.then(
          () => pending.delete(keeping),
          () => ending.abort(), // a fault of ours, such as a full disk; thrown by whoever waits for it
        )
        data = undefined
        filled = 0
      }
    }
    const range = { start: groupRange(bytes, run[0]!).start, end: groupRange(bytes, run.at(-1)!).end }
    const answer = await peer.source.read({ root: job.root, bytes, range }, take, job.patience, signal)
    if (answer.ok && range.start === range.end) take(new Uint8Array(0))
    if (data !== undefined) buffers.push(data)
    for (const group of run.slice(at)) giveBack(group)
    return { answer, kept }
  }
  const wanted = ({ source }: Peer): boolean =>
    !source.last ||
    performance.now() - arrivedAt > RESORT_MS ||
    peers.every((peer) => peer.gone || peer.source.last) ||
    // once they are needed they stay: whoever stalled stalls again
    resorted
  let resorted = false
  const lane = async (peer: Peer): Promise<void> => {
    const own = new Set<number>()
    let before: Promise<boolean>[] = []
    while (!peer.gone && !signal.aborted && remaining.size > 0) {
      const run = wanted(peer) ? next(own) : []
      if (run.length === 0) {
        await pause(50, signal)
        continue
      }
      resorted ||= peer.source.last
      for (const group of run) {
        own.add(group)
        if (!flying.has(group)) flying.set(group, performance.now())
      }
      const { answer, kept } = await fetchRun(peer, run)
      // Back-pressure: while one run is hashed and written the next may come in, and no third.
      await Promise.all(before)
      before = kept
      for (const group of run) own.delete(group)
      if (answer.ok || signal.aborted) continue
      blame(peer, answer)
      if (!peer.gone) await pause(100 * 2 ** peer.strikes, signal)
    }
    await Promise.all(before)
  }
  const direct = peers.filter((peer) => !peer.gone)
  const lanes = Math.max(1, Math.min(LANES_PER_PEER, Math.floor(MAX_LANES / Math.max(1, direct.length))))
  const running = direct.flatMap((peer) => Array.from({ length: Math.min(lanes, remaining.size) }, () => lane(peer)))
  try {
    await Promise.all(running)
    await Promise.all(pending)
  } finally {
    ending.abort()
    await Promise.allSettled([...running, ...pending])
  }
}

const size = (bytes: number, group: number): number => {
  const { start, end } = groupRange(bytes, group)
  return end - start
}
