// One's own runs of disputed segments, made again beside the loop: an answer that is being computed keeps neither another game nor another task waiting.

import { alter, type Evaluate, type Knowledge, type Lie, nextProbe, type Parts, PROBE_START, replay } from '@bitloom/dispute'
import { bytesOf, type Data, type Graph, merkleTree, sizeOf, type Tree, tensorRoot, toBytes, toHex } from '@bitloom/graph'
import type { Hex } from 'viem'
import type { Services } from '../services.ts'
import { fastStateRoot } from '../training/roots.ts'
import { engineStepper, type Stepper } from '../training/stepper.ts'
import { lyingStepper } from './lie.ts'

/** A segment as its solver ran it, or as its challenger runs it. The tensors must not change while it is disputed. */
export type Segment = {
  readonly graph: Graph
  readonly start: readonly Data[]
  readonly data: readonly Data[]
  readonly steps: number
  /** Told by a cheat. */
  readonly lie?: Lie
}

export type Question<T> = {
  /** The disputed segment: games about one segment share its run. */
  readonly segment: string
  readonly game: string
  /** Unix seconds at which the answer is due: the most urgent is computed first. */
  readonly by: number
  /** Fetches the segment; asked once. */
  readonly load: () => Promise<Segment>
  /** The answer, out of what is known. Asked again whenever more is known. */
  readonly answer: (known: Knowledge) => T
}

export type Replays = {
  /** The answer, or undefined while what it takes is being computed: ask again at the next tick. @throws what loading or running threw, once */
  readonly ask: <T>(question: Question<T>) => T | undefined
  /** Lets go of games that are over and of segments that nobody disputes any more. */
  readonly forget: (segments: (segment: string) => boolean) => void
  readonly working: () => boolean
  /** Runs that have ended so far: whoever waits for one looks whether this has grown. */
  readonly ended: () => number
  /** Stops, and settles when nothing is being computed. */
  readonly idle: () => Promise<void>
}

type Kept = Pick<Services, 'meter' | 'backend' | 'store' | 'checkpoints'>

/** Longest time in ms that a burst of steps keeps the process from anything else, but for one step that takes longer. */
const BURST_MS = 20
/** States kept along a segment, so that a game that has found its step need not run the segment again. */
const KEPT_STATES = 32
const KEPT_BYTES = 2 ** 28
/** A run is saved this often, so that a restart costs no more than that of it. */
const SAVE_MS = 10_000
/** Bytes of a moment's parts on disk. */
const PARTS_BYTES = 64

/** Table of runs under way: a segment's parts as far as they are known, and the state there. */
export const REPLAYS = 'replays'
export type ReplayNote = { readonly step: number; readonly stateRoot: Hex; readonly parts: Uint8Array }

/** What is known of a segment. */
type Known = {
  readonly segment: Segment
  readonly parts: Parts[]
  /** States on the way, by step. */
  readonly states: Map<number, readonly Data[]>
  /** By game: the step that it has come down to. */
  readonly spots: Map<string, Spot>
  dataTree: Tree | undefined
}
type Spot = { readonly step: number; readonly known: Knowledge }
/** Something to compute, in bursts. */
type Job = {
  readonly key: string
  readonly segment: string
  by: number
  /** Nobody asks any more. */
  over: boolean
  /** Computes for a while; true when it is done. */
  readonly burst: () => Promise<boolean>
  readonly close: () => void
}
type Work = Omit<Job, 'by' | 'over'>

export function openReplays(services: Kept, options: { readonly saveMs?: number } = {}): Replays {
  const { meter, backend, store, checkpoints } = services
  const saveMs = options.saveMs ?? SAVE_MS
  const segments = new Map<string, Known>()
  const jobs = new Map<string, Job>()
  const failures = new Map<string, unknown>()
  let loop: Promise<void> | undefined
  let stopping = false
  let ended = 0

  const open = ({ graph, data, lie }: Segment, state: readonly Data[], first: number): Stepper => {
    const plain = engineStepper(backend, graph)
    plain.load(state, data)
    return lie ? lyingStepper(plain, data, backend.evaluate, lie, first) : plain
  }

  /** Runs a whole segment and notes every moment. */
  const runWhole = (key: string, load: () => Promise<Segment>): Work => {
    let known: Known | undefined
    let stepper: Stepper | undefined
    let saved = performance.now()
    const here = (s: Stepper, chain: Uint8Array): Parts => ({ stateRoot: fastStateRoot(s.state()), chain })
    const begin = async (): Promise<void> => {
      const segment = await load()
      const former = await resumed(store.get<ReplayNote>(REPLAYS, key), segment, checkpoints)
      known = { segment, parts: former?.parts ?? [], states: new Map([[0, segment.start]]), spots: new Map(), dataTree: undefined }
      stepper = open(segment, former?.state ?? segment.start, former?.step ?? 0)
      if (known.parts.length === 0) known.parts.push(meter.measure('dispute', () => here(stepper!, PROBE_START)))
    }
    return {
      key,
      segment: key,
      burst: async () => {
        if (!known || !stepper) await begin()
        const [k, s] = [known!, stepper!]
        const { steps, graph } = k.segment
        const every = spacing(graph, steps)
        const until = performance.now() + BURST_MS
        while (k.parts.length <= steps && performance.now() < until) {
          const { chain } = k.parts.at(-1)!
          const next = meter.measure('dispute', () => {
            s.step()
            return here(s, nextProbe(chain, tensorRoot(toBytes(s.probe()))))
          })
          k.parts.push(next)
          const step = k.parts.length - 1
          if (step % every === 0 && step < steps) k.states.set(step, copyOf(s))
        }
        if (performance.now() - saved > saveMs) {
          await save(key, k.parts, copyOf(s))
          saved = performance.now()
        }
        if (k.parts.length <= steps) return false
        segments.set(key, k)
        return true
      },
      close: () => stepper?.close(),
    }
  }

  /** Runs to one step of a segment and traces it. */
  const runTo = (key: string, game: string, known: Known, step: number): Work => {
    const { segment } = known
    const from = Math.max(...[...known.states.keys()].filter((at) => at <= step))
    let at = from
    let stepper: Stepper | undefined
    return {
      key: spotKey(game),
      segment: key,
      burst: async () => {
        stepper ??= open(segment, known.states.get(from)!, from)
        for (const until = performance.now() + BURST_MS; at < step && performance.now() < until; at++)
          meter.measure('dispute', stepper.step)
        if (at < step) return false
        const spot = { step, known: knowledgeAt(backend.evaluate, segment, copyOf(stepper), step) }
        meter.measure('dispute', () => spot.known.trace(step))
        known.spots.set(game, spot)
        return true
      },
      close: () => stepper?.close(),
    }
  }

  const save = async (key: string, parts: readonly Parts[], state: readonly Data[]): Promise<void> => {
    const former = store.get<ReplayNote>(REPLAYS, key)
    const stateRoot = await checkpoints.save(state)
    store.put(REPLAYS, key, { step: parts.length - 1, stateRoot, parts: packed(parts) } satisfies ReplayNote)
    if (former && former.stateRoot !== stateRoot) dropState(former.stateRoot)
  }
  /** Of a run's own states: one that is needed under another name stays. */
  const dropState = (stateRoot: Hex): void => {
    const others = [
      ...store.list<ReplayNote>(REPLAYS).map(({ value }) => value.stateRoot),
      ...store.list<{ stateRoot: Hex }>('segments').map(({ value }) => value.stateRoot),
      ...store.list<{ leaves: { stateRoot: Hex }[] }>('books').flatMap(({ value }) => value.leaves.map((l) => l.stateRoot)),
    ]
    if (others.includes(stateRoot)) return
    const bundles = store.list<{ graphRoot: Hex; stateRoots: Hex[]; dataRoots: Hex[] }>('bundles')
    checkpoints.drop(
      [stateRoot],
      bundles.flatMap(({ value }) => [value.graphRoot, ...value.dataRoots, ...value.stateRoots]),
    )
  }

  const turn = async (): Promise<void> => {
    while (!stopping && jobs.size > 0) {
      const job = [...jobs.values()].reduce((a, b) => (b.by < a.by ? b : a))
      const done =
        job.over ||
        (await job.burst().catch((error) => {
          failures.set(job.key, error)
          return true
        }))
      if (done) {
        job.close()
        jobs.delete(job.key)
        ended++
      }
      await new Promise((resolve) => setImmediate(resolve))
    }
  }
  const begin = (job: Work, by: number): void => {
    const same = jobs.get(job.key)
    if (same) {
      same.by = Math.min(same.by, by)
      same.over = false
      return
    }
    jobs.set(job.key, { ...job, by, over: false })
    loop ??= turn().finally(() => {
      loop = undefined
    })
  }
  const failed = (key: string): void => {
    if (!failures.has(key)) return
    const error = failures.get(key)
    failures.delete(key)
    throw error
  }

  return {
    ask: ({ segment, game, by, load, answer }) => {
      failed(segment)
      failed(spotKey(game))
      const known = segments.get(segment)
      if (!known) {
        begin(runWhole(segment, load), by)
        return undefined
      }
      try {
        return meter.measure('dispute', () => answer(knowing(known, known.spots.get(game))))
      } catch (error) {
        if (!(error instanceof MissingError)) throw error
        begin(runTo(segment, game, known, error.step), by)
        return undefined
      }
    },
    forget: (isOver) => {
      for (const job of jobs.values()) if (isOver(job.segment)) job.over = true
      for (const key of segments.keys()) if (isOver(key)) segments.delete(key)
      for (const { key } of store.list(REPLAYS)) if (isOver(key) && !jobs.has(key)) dropNote(key)
    },
    working: () => jobs.size > 0,
    ended: () => ended,
    idle: async () => {
      stopping = true
      await loop
      for (const job of jobs.values()) job.close()
    },
  }

  function dropNote(key: string): void {
    const note = store.get<ReplayNote>(REPLAYS, key)
    store.delete(REPLAYS, key)
    if (note) dropState(note.stateRoot)
  }
}

const spotKey = (game: string): string => `game ${game}`
const copyOf = (stepper: Stepper): Data[] => stepper.state().map((t) => t.slice())

/** Steps between two states that are kept. */
function spacing(graph: Graph, steps: number): number {
  const bytes = graph.next.reduce((n, _, s) => n + sizeOf(graph.slots[s]!.shape) * bytesOf(graph.slots[s]!.dtype), 0)
  const count = Math.max(1, Math.min(KEPT_STATES, Math.floor(KEPT_BYTES / Math.max(1, bytes))))
  return Math.max(1, Math.ceil(steps / count))
}

const packed = (parts: readonly Parts[]): Uint8Array => {
  const bytes = new Uint8Array(PARTS_BYTES * parts.length)
  for (const [i, { stateRoot, chain }] of parts.entries()) {
    bytes.set(stateRoot, PARTS_BYTES * i)
    bytes.set(chain, PARTS_BYTES * i + 32)
  }
  return bytes
}
const unpacked = (bytes: Uint8Array): Parts[] =>
  Array.from({ length: bytes.length / PARTS_BYTES }, (_, i) => ({
    stateRoot: bytes.slice(PARTS_BYTES * i, PARTS_BYTES * i + 32),
    chain: bytes.slice(PARTS_BYTES * i + 32, PARTS_BYTES * (i + 1)),
  }))

/** Where an earlier life of this process stood, if its state is still on disk. */
async function resumed(
  note: ReplayNote | undefined,
  { graph, start }: Segment,
  checkpoints: Kept['checkpoints'],
): Promise<{ readonly step: number; readonly state: readonly Data[]; readonly parts: Parts[] } | undefined> {
  if (!note) return undefined
  const parts = unpacked(note.parts)
  const state = await checkpoints.load(graph, note.stateRoot)
  // of the same start: a segment's number may have been another solver's before
  if (!state || toHex(parts[0]!.stateRoot) !== toHex(fastStateRoot(start))) return undefined
  return { step: note.step, state, parts }
}

/** What is known of one step, by running it from the state before it. */
function knowledgeAt(evaluate: Evaluate, { graph, data, lie }: Segment, state: readonly Data[], first: number): Knowledge {
  const altered = lie && alter(graph, evaluate, lie)
  return shifted(
    replay({
      graph,
      slots: [...state, ...data],
      steps: 1,
      evaluate,
      ...(altered ? { stepper: (step, slots, visit) => altered(step + first, slots, visit) } : {}),
    }),
    first,
  )
}

const shifted = (known: Knowledge, first: number): Knowledge => ({
  ...known,
  parts: (step) => known.parts(step - first),
  stateTree: (step) => known.stateTree(step - first),
  trace: (step) => known.trace(step - first),
  accumulators: (step, expr, element) => known.accumulators(step - first, expr, element),
})

/** The knowledge of a segment whose moments are known, and of one of its steps where that has been run to. */
function knowing(known: Known, spot: Spot | undefined): Knowledge {
  const { segment, parts } = known
  const at = (step: number): Knowledge => {
    if (spot?.step !== step) throw new MissingError(step)
    return spot.known
  }
  return {
    graph: segment.graph,
    parts: (step) => parts[step]!,
    stateTree: (step) => (spot?.step === step - 1 ? spot.known : at(step)).stateTree(step),
    get dataTree(): Tree {
      return (known.dataTree ??= dataTreeOf(segment.data))
    },
    trace: (step) => at(step).trace(step),
    accumulators: (step, expr, element) => at(step).accumulators(step, expr, element),
  }
}

const dataTreeOf = (data: readonly Data[]): Tree =>
  merkleTree(data.length > 0 ? data.map((t) => tensorRoot(toBytes(t))) : [new Uint8Array(32)])

/** Thrown within an answer by what is not known yet: says which step to run to. */
class MissingError extends Error {
  override name = 'node.MissingError'
  readonly step: number
  constructor(step: number) {
    super(`step ${step} has not been run to yet`)
    this.step = step
  }
}
