// What nodes ask one another: a task's bundle, a claim's checkpoints, a state's tensors. Every answer is checked against a root before it is used.

import { checkpointMoment, claimRoot } from '@bitloom/dispute'
import { bytesOf, type Data, fromBytes, fromHex, type Graph, sizeOf, toHex } from '@bitloom/graph'
import type { Hex } from 'viem'
import { type Bundle, isBundle, isId, isRoots, isUrls, rootsRoot } from './bundle.ts'
import type { Services } from './services.ts'

/** One segment's end as the solver publishes it with its claim. */
export type Leaf = { readonly stateRoot: Hex; readonly probeCommit: Hex }
export type Book = { readonly leaves: readonly Leaf[] }

type Checked<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string }
const yes = <T>(value: T): Checked<T> => ({ ok: true, value })
const no = (reason: string): { ok: false; reason: string } => ({ ok: false, reason })

/** Segments that a slice may have (SpecLimits.MAX_CHECKPOINTS). */
const MAX_LEAVES = 256
const isRoot = (x: unknown): x is Hex => typeof x === 'string' && /^0x[0-9a-f]{64}$/.test(x)

/** Whether a question names a task or a claim. */
export const wantsId = (body: unknown): Checked<bigint> => {
  const id = (body as { id?: unknown } | null)?.id
  return isId(id) ? yes(BigInt(id)) : no('id is no decimal number')
}
const wantsRoot = (body: unknown): Checked<Hex> => {
  const root = (body as { root?: unknown } | null)?.root
  return isRoot(root) ? yes(root) : no('root is no 32 bytes of hex')
}
const isBook = (body: unknown): Checked<Book> => {
  const leaves = (body as { leaves?: unknown } | null)?.leaves
  if (
    !Array.isArray(leaves) ||
    leaves.length < 1 ||
    leaves.length > MAX_LEAVES ||
    !leaves.every((l) => isRoot(l?.stateRoot) && isRoot(l?.probeCommit))
  )
    return no('no list of leaves')
  return yes({ leaves: leaves.map((l) => ({ stateRoot: l.stateRoot, probeCommit: l.probeCommit })) })
}
const isManifest = (body: unknown): Checked<{ roots: Hex[]; urls: string[] }> => {
  const { roots, urls } = (body ?? {}) as { roots?: unknown; urls?: unknown }
  return isRoots(roots) && isUrls(urls) ? yes({ roots, urls }) : no('no manifest')
}

/** Answers the three questions out of what this node has. */
export function answerQuestions(services: Services): void {
  const { peers, store, checkpoints, contact } = services
  peers.handle('bundle', wantsId, (_, taskId) => store.get<Bundle>('bundles', String(taskId)) ?? null)
  peers.handle('book', wantsId, (_, claimId) => store.get<Book>('books', String(claimId)) ?? null)
  peers.handle('state', wantsRoot, (_, root) => {
    const roots = checkpoints.manifest(root)
    return roots ? { roots, urls: [contact.http] } : null
  })
}

/** Tells a solver where the task's contents are. */
export async function pushBundle(services: Services, to: string, bundle: Bundle): Promise<Checked<true>> {
  const reply = await services.peers.request(to, 'task', bundle)
  return reply.ok ? yes(true) : no(`${reply.code}: ${reply.reason}`)
}

/** Listens for bundles that submitters push. */
export function receiveBundles(services: Services, onBundle: (bundle: Bundle) => void): void {
  services.peers.handle(
    'task',
    (body) => (isBundle(body) ? yes(body) : no('no bundle')),
    (_, bundle) => {
      onBundle(bundle)
      return true
    },
  )
}

/** Who does not answer gets this long before the next is asked beside it; so many are asked at once at most. */
const HEAD_START_MS = 1_000
const ASKED_AT_ONCE = 4

/** Asks `first`, then every connected peer, until one answers with a value; a silent one keeps nobody waiting. */
async function askAround<T>(
  services: Services,
  name: string,
  body: unknown,
  validate: (body: unknown) => Checked<T>,
  first: readonly string[],
  good: (value: T) => boolean,
): Promise<T | undefined> {
  const idOf = (peer: string): string => peer.split('/p2p/').at(-1)!
  const left = [...first, ...services.peers.connected()].filter((peer, i, all) => all.findIndex((p) => idOf(p) === idOf(peer)) === i)
  return new Promise((resolve, reject) => {
    const waiting: NodeJS.Timeout[] = []
    let lanes = 0
    const end = (value?: T): void => {
      for (const timer of waiting) clearTimeout(timer)
      left.length = 0
      resolve(value)
    }
    const lane = async (): Promise<void> => {
      lanes++
      for (let peer = left.shift(); peer !== undefined; peer = left.shift()) {
        const reply = await services.peers.request(peer, name, body, { validate })
        if (reply.ok && good(reply.value)) return end(reply.value)
      }
      if (--lanes === 0) end()
    }
    const start = (): void => {
      if (left.length > 0 || lanes === 0) void lane().catch(reject)
    }
    start()
    for (let i = 1; i < ASKED_AT_ONCE; i++) waiting.push(setTimeout(start, i * HEAD_START_MS))
  })
}

/** A task's bundle, from whoever has it and `may` accepts: a task handed on has several, and a stranger's may be wrong. */
export const findBundle = (
  services: Services,
  taskId: bigint,
  first: readonly string[],
  may: (bundle: Bundle) => boolean = () => true,
): Promise<Bundle | undefined> =>
  askAround(
    services,
    'bundle',
    { id: String(taskId) },
    (body) => (isBundle(body) && body.taskId === String(taskId) ? yes(body) : no('no bundle of this task')),
    first,
    may,
  )

/** Whether a bundle's state is this one. */
export const startsFrom = (bundle: Bundle, startState: Hex): boolean =>
  bundle.stateRoots.length > 0 && rootsRoot(bundle.stateRoots) === startState

/** A claim's leaves, which hash to its root. */
export const findBook = (services: Services, claimId: bigint, root: Hex, first: readonly string[]): Promise<Book | undefined> =>
  askAround(services, 'book', { id: String(claimId) }, isBook, first, (book) => bookRoot(book) === root)

/** The claim root over published leaves. */
export const bookRoot = (book: Book): Hex =>
  toHex(claimRoot(book.leaves.map((l) => ({ stateRoot: fromHex(l.stateRoot), probeCommit: fromHex(l.probeCommit) }))))
/** The moment that one of them stands for. */
export const leafMoment = (leaf: Leaf): Uint8Array =>
  checkpointMoment({ stateRoot: fromHex(leaf.stateRoot), probeCommit: fromHex(leaf.probeCommit) })

/** Fetches a state by its root, from `first` or anybody, into our own checkpoints. */
export async function findState(services: Services, graph: Graph, stateRoot: Hex, first: readonly string[]): Promise<Data[] | undefined> {
  const here = await services.checkpoints.load(graph, stateRoot)
  if (here) return here
  const manifest = await askAround(
    services,
    'state',
    { root: stateRoot },
    isManifest,
    first,
    (m) => m.roots.length === graph.next.length && rootsRoot(m.roots) === stateRoot,
  )
  if (!manifest) return undefined
  const tensors: Data[] = []
  for (const [s, root] of manifest.roots.entries()) {
    const slot = graph.slots[s]!
    const bytes = await services.fetch(root, sizeOf(slot.shape) * bytesOf(slot.dtype), manifest.urls)
    if (!bytes) return undefined
    tensors.push(fromBytes(slot.dtype, bytes))
  }
  services.checkpoints.note(manifest.roots)
  return tensors
}
