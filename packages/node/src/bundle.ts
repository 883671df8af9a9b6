// A task's contents as they travel: which blobs make up its graph, state and data, and whether they are what the chain says.

import { dataRoot } from '@bitloom/dispute'
import {
  bytesOf,
  canonical,
  costOf,
  type Data,
  fromBytes,
  fromHex,
  type Graph,
  graphId,
  itemsRoot,
  sameBytes,
  sizeOf,
  toBytes,
  toHex,
  verifyGraph,
} from '@bitloom/graph'
import { type Spec, specLie } from '@bitloom/sdk'
import type { Hex } from 'viem'

/** Where a task's blobs are: the graph's file, and one tensor root a slot. */
export type Bundle = {
  readonly taskId: string
  readonly graphRoot: Hex
  readonly graphBytes: number
  readonly stateRoots: readonly Hex[]
  readonly dataRoots: readonly Hex[]
  /** HTTP addresses of those who serve the blobs. */
  readonly urls: readonly string[]
}

export type Contents = { readonly graph: Graph; readonly state: readonly Data[]; readonly data: readonly Data[] }
/** What is wrong: a blob that nobody serves (yet), the bundle (another may be right), or the task itself, whatever anybody sends. */
export type Fault = 'missing' | 'bundle' | 'task'
export type ContentsVerdict =
  | { readonly ok: true; readonly contents: Contents }
  | { readonly ok: false; readonly reason: string; readonly fault: Fault }

/** Fetches one blob of a known root and size: undefined where nobody serves it honestly. */
export type FetchBlob = (root: Hex, bytes: number, urls: readonly string[]) => Promise<Uint8Array | undefined>

const MAX_SLOTS = 4096
const MAX_URLS = 16
export const MAX_GRAPH_FILE = 2 ** 25

const isRoot = (x: unknown): x is Hex => typeof x === 'string' && /^0x[0-9a-f]{64}$/.test(x)
export const isRoots = (x: unknown): x is Hex[] => Array.isArray(x) && x.length <= MAX_SLOTS && x.every(isRoot)
export const isUrls = (x: unknown): x is string[] =>
  Array.isArray(x) && x.length <= MAX_URLS && x.every((u) => typeof u === 'string' && u.length <= 256 && /^(https?:\/)?\//.test(u))
export const isId = (x: unknown): x is string => typeof x === 'string' && /^\d{1,30}$/.test(x)

/** Whether a stranger's message is a bundle. */
export function isBundle(x: unknown): x is Bundle {
  const b = x as Partial<Bundle> | null
  return (
    typeof b === 'object' &&
    b !== null &&
    isId(b.taskId) &&
    isRoot(b.graphRoot) &&
    Number.isInteger(b.graphBytes) &&
    b.graphBytes! > 0 &&
    b.graphBytes! <= MAX_GRAPH_FILE &&
    isRoots(b.stateRoots) &&
    isRoots(b.dataRoots) &&
    isUrls(b.urls)
  )
}

/** Names what a bundle says a task is made of, wherever it is served. */
export const contentsKey = ({ urls: _, ...contents }: Bundle): string => JSON.stringify(Object.entries(contents).sort())

/** The items root of hex roots, as hex. */
export const rootsRoot = (roots: readonly Hex[]): Hex => toHex(itemsRoot(roots.map(fromHex)))

/**
 * Fetches and checks everything a task is made of: the graph is well formed and the spec's, state and data hash to the spec's roots, f32 slots hold no NaN
 * but the canonical one, and a step fits in `memoryBytes`.
 * @param startState the state root to start from: the spec's initial state, or the last accepted one
 */
export async function fetchContents(
  bundle: Bundle,
  spec: Spec,
  startState: Hex,
  memoryBytes: number,
  fetchBlob: FetchBlob,
): Promise<ContentsVerdict> {
  const no = (fault: Fault, reason: string): ContentsVerdict => ({ ok: false, reason, fault })
  if (bundle.stateRoots.length !== spec.stateSlots || bundle.dataRoots.length !== spec.dataSlots)
    return no(
      'bundle',
      `${bundle.stateRoots.length} state and ${bundle.dataRoots.length} data roots; the spec has ${spec.stateSlots} and ${spec.dataSlots}`,
    )
  if (bundle.stateRoots.length === 0 || rootsRoot(bundle.stateRoots) !== startState)
    return no('bundle', 'the state roots do not hash to the state the task starts from')
  if (toHex(dataRoot(bundle.dataRoots.map(fromHex), true)) !== spec.dataRoot)
    return no('bundle', "the data roots do not hash to the spec's data root")
  const file = await fetchBlob(bundle.graphRoot, bundle.graphBytes, bundle.urls)
  if (!file) return no('missing', 'the graph cannot be fetched')
  const verdict = verifyGraph(file)
  if (!verdict.ok) return no('bundle', `the graph is malformed: ${verdict.reason}`)
  const { graph } = verdict
  // the spec's graph id fixes the graph: with another id the file is the wrong one, with the same id every other field that differs is the spec's lie
  const lie = specLie(spec, graph)
  if (lie) return no(toHex(graphId(graph)) === spec.graphId ? 'task' : 'bundle', `the spec does not fit the graph: ${lie}`)
  const { peakBytes } = costOf(graph)
  if (peakBytes > memoryBytes) return no('task', `a step needs ${peakBytes} bytes; this node offers ${memoryBytes}`)
  const tensors: Data[] = []
  for (const [s, root] of [...bundle.stateRoots, ...bundle.dataRoots].entries()) {
    const slot = graph.slots[s]!
    const bytes = await fetchBlob(root, sizeOf(slot.shape) * bytesOf(slot.dtype), bundle.urls)
    if (!bytes) return no('missing', `slot ${s} "${slot.name}" cannot be fetched`)
    const tensor = fromBytes(slot.dtype, bytes)
    if (!sameBytes(toBytes(canonical(tensor.slice())), bytes))
      return no('task', `slot ${s} "${slot.name}" holds a NaN that is not the canonical one`)
    tensors.push(tensor)
  }
  return { ok: true, contents: { graph, state: tensors.slice(0, spec.stateSlots), data: tensors.slice(spec.stateSlots) } }
}
