// Looking at a claim: fetches what a task is made of, runs segments again from their claimed starts, and says where they end. What verifiers and watchers share.

import { probeCommit, stateRoot } from '@bitloom/dispute'
import { type Data, fromHex, sameBytes, toHex } from '@bitloom/graph'
import { ASSURANCE, type Claim, getSpec, type Spec } from '@bitloom/sdk'
import type { Hex } from 'viem'
import { type Contents, contentsKey, fetchContents } from '../bundle.ts'
import { parseContact } from '../contact.ts'
import { type Book, bookRoot, findBook, findBundle, findState, type Leaf, leafMoment } from '../exchange.ts'
import type { Services } from '../services.ts'
import { fastStateRoot } from '../training/roots.ts'
import { runSegment } from '../training/segment.ts'
import { engineStepper, type Stepper } from '../training/stepper.ts'
import type { Segment } from './replays.ts'

/** Where a segment ended when this node ran it. */
export type End = { readonly segment: number; readonly stateRoot: Hex; readonly probeDigest: Hex }

export type Inspection = {
  /** Of the segments that were asked for, as far as they were run. */
  readonly ends: readonly End[]
  /** First segment that does not end as claimed. */
  readonly different?: number
  /** Whether every state was as claimed: then a difference may be on purpose. */
  readonly states: boolean
}

export type Inspector = {
  /**
   * Runs segments of a claim again; of a quorum's, all of them, from the slice's start and from nothing else.
   * @param segments ascending
   * @param goOn also beyond an end whose state is as claimed though its probes are not
   * @returns undefined where the data cannot be had (yet), or the node is being stopped
   */
  readonly inspect: (claim: Claim, segments: readonly number[], goOn: boolean) => Promise<Inspection | undefined>
  /** A disputed segment, as this node runs it. @throws what it was made of is gone */
  readonly segment: (claim: Claim, segment: number) => Promise<Segment>
  /** The published leaves of a claim's present root, kept from then on. */
  readonly book: (claim: Claim) => Promise<Book | undefined>
  /** Lets go of all tasks but these, and at most one more. */
  readonly keep: (tasks: ReadonlySet<bigint>) => void
  readonly stop: () => void
}

export type InspectorOptions = {
  readonly memoryBytes: number
  /** Where a solver answers, as its offer says. */
  readonly contactOf: (solver: string) => string | undefined
}

type Loaded = { readonly spec: Spec; readonly contents: Contents; readonly stepper: Stepper }
type Outcome = { readonly stateRoot: Uint8Array; readonly chain: Uint8Array }

/** The leaf that an end stands for. */
export const leafOf = ({ stateRoot, probeDigest }: Pick<End, 'stateRoot' | 'probeDigest'>): Leaf => ({
  stateRoot,
  probeCommit: toHex(probeCommit(fromHex(probeDigest))),
})
export const sameLeaf = (a: Leaf, b: Leaf): boolean => sameBytes(leafMoment(a), leafMoment(b))

export function openInspector(services: Services, { memoryBytes, contactOf }: InspectorOptions): Inspector {
  const { bitloom, store, meter, backend, checkpoints, log } = services
  const loaded = new Map<bigint, Loaded>()
  /** Bundles whose contents are not the task's, whoever answered with them. */
  const wrong = new Set<string>()
  const stopping = new AbortController()

  const peersOf = (claim: Claim): string[] => {
    const contact = parseContact(contactOf(claim.solver) ?? '')
    return contact ? [contact.peer] : []
  }

  const load = async (claim: Claim): Promise<Loaded | undefined> => {
    const here = loaded.get(claim.taskId)
    if (here) return here
    const spec = await getSpec(bitloom, claim.taskId)
    const bundle = await findBundle(services, claim.taskId, peersOf(claim), (b) => !wrong.has(contentsKey(b)))
    if (!bundle) return undefined
    // a bundle's state may be a later accepted one; a verifier needs graph and data, and fetches the states it starts from by themselves
    const startState = toHex(stateRoot(bundle.stateRoots.map(fromHex), true))
    const verdict = await fetchContents(bundle, spec, startState, memoryBytes, services.fetch)
    if (!verdict.ok) {
      log('task-unfit', { taskId: claim.taskId, reason: verdict.reason })
      if (verdict.fault === 'bundle') wrong.add(contentsKey(bundle))
      return undefined
    }
    // kept: after a restart in the middle of a dispute nothing may depend on the accused
    store.put('bundles', String(claim.taskId), bundle)
    const stepper = engineStepper(backend, verdict.contents.graph)
    stepper.load(verdict.contents.state, verdict.contents.data)
    const fresh = { spec, contents: verdict.contents, stepper }
    loaded.set(claim.taskId, fresh)
    return fresh
  }

  const book = async (claim: Claim): Promise<Book | undefined> => {
    const kept = store.get<Book>('books', String(claim.claimId))
    if (kept && bookRoot(kept) === claim.root) return kept
    const found = await findBook(services, claim.claimId, claim.root, peersOf(claim))
    const { checkpointsPerSlice } = await getSpec(bitloom, claim.taskId)
    if (found?.leaves.length !== checkpointsPerSlice) return undefined
    store.put('books', String(claim.claimId), found)
    return found
  }

  const startOf = (claim: Claim, { leaves }: Book, segment: number): Hex =>
    segment === 0 ? claim.startState : leaves[segment - 1]!.stateRoot

  /** Runs a segment to the end it comes to; undefined where the node is being stopped. */
  const rerun = async ({ stepper, spec }: Loaded, start: readonly Data[]): Promise<Outcome | undefined> => {
    stepper.load(start)
    const chain = await runSegment(stepper, spec.stepsPerCheckpoint, { meter, kind: 'audit', signal: stopping.signal })
    return chain && { stateRoot: meter.measure('hash', () => fastStateRoot(stepper.state())), chain }
  }
  const copyOf = ({ stepper }: Loaded): Data[] => stepper.state().map((t) => t.slice())
  const endOf = (segment: number, outcome: Outcome): End => ({
    segment,
    stateRoot: toHex(outcome.stateRoot),
    probeDigest: toHex(outcome.chain),
  })
  /** Whether nothing later can be told: the state is not as claimed, or nobody wants to know more than that something is wrong. */
  const isEnd = (end: End, leaf: Leaf, goOn: boolean): boolean =>
    end.stateRoot !== leaf.stateRoot || (!sameLeaf(leafOf(end), leaf) && !goOn)

  /**
   * The state before `segment` (after the last one: the slice's end). What is withheld is computed from the nearest state that can be had, down to the
   * slice's start, which those hold who attested the slice before: a solver that shows a verifier less only makes it check more.
   * @returns the state, and the first segment on the way that does not end as claimed; undefined where not even a start can be had
   */
  const stateBefore = async (
    l: Loaded,
    claim: Claim,
    b: Book,
    segment: number,
    goOn: boolean,
  ): Promise<{ readonly state?: readonly Data[]; readonly different?: number; readonly states: boolean } | undefined> => {
    for (let from = segment; from >= 0; from--) {
      let state: readonly Data[] | undefined = await findState(services, l.contents.graph, startOf(claim, b, from), peersOf(claim))
      if (!state) continue
      let different: number | undefined
      for (let s = from; s < segment; s++) {
        const outcome = await rerun(l, state)
        if (!outcome) return undefined
        const end = endOf(s, outcome)
        if (!sameLeaf(leafOf(end), b.leaves[s]!)) different ??= s
        if (isEnd(end, b.leaves[s]!, goOn)) return { different: different!, states: end.stateRoot === b.leaves[s]!.stateRoot }
        state = copyOf(l)
        await checkpoints.save(state)
      }
      return { state, states: true, ...(different === undefined ? {} : { different }) }
    }
    return undefined
  }

  const inspectSome = async (l: Loaded, claim: Claim, segments: readonly number[], goOn: boolean): Promise<Inspection | undefined> => {
    const b = await book(claim)
    if (!b) return undefined
    const ends: End[] = []
    let different: number | undefined
    const found = (states: boolean): Inspection => ({ ends, states, ...(different === undefined ? {} : { different }) })
    let reached = -1
    let state: readonly Data[] | undefined
    // custody: whoever attests a slice holds its end state and serves it on, so that it does not depend on the one who trained it
    for (const segment of [...segments, b.leaves.length]) {
      if (reached !== segment) {
        const before = await stateBefore(l, claim, b, segment, goOn)
        if (!before) return undefined
        different ??= before.different
        if (!before.state) return found(before.states)
        state = before.state
      }
      if (segment === b.leaves.length) {
        if (reached === segment) await checkpoints.save(state!)
        break
      }
      const outcome = await rerun(l, state!)
      if (!outcome) return undefined
      const end = endOf(segment, outcome)
      ends.push(end)
      if (!sameLeaf(leafOf(end), b.leaves[segment]!)) {
        // what its dispute starts from
        await checkpoints.save(state!)
        different ??= segment
      }
      if (isEnd(end, b.leaves[segment]!, goOn)) return found(end.stateRoot === b.leaves[segment]!.stateRoot)
      state = copyOf(l)
      reached = segment + 1
    }
    return found(true)
  }

  /** Runs a slice from its start and from nothing that its solver shows; what it shows is looked at only where the roots differ. */
  const inspectAll = async (l: Loaded, claim: Claim, goOn: boolean): Promise<Inspection | undefined> => {
    const b = await book(claim)
    let state: readonly Data[] | undefined = await findState(services, l.contents.graph, claim.startState, peersOf(claim))
    if (!state) return undefined
    const ends: End[] = []
    let different: number | undefined
    for (let segment = 0; segment < l.spec.checkpointsPerSlice; segment++) {
      const outcome = await rerun(l, state)
      if (!outcome) return undefined
      const end = endOf(segment, outcome)
      ends.push(end)
      const leaf = b?.leaves[segment]
      if (leaf && !sameLeaf(leafOf(end), leaf)) {
        await checkpoints.save(state)
        different ??= segment
      }
      if (leaf && isEnd(end, leaf, goOn)) return { ends, different: different!, states: end.stateRoot === leaf.stateRoot }
      state = copyOf(l)
    }
    const own: Book = { leaves: ends.map(leafOf) }
    if (bookRoot(own) !== claim.root) {
      // without its leaves nobody can say where it is wrong; with them, the same again and this time to the first that is
      if (b) return { ends, states: true, ...(different === undefined ? {} : { different }) }
      return (await book(claim)) ? inspectAll(l, claim, goOn) : undefined
    }
    await checkpoints.save(state)
    store.put('books', String(claim.claimId), own)
    return { ends, states: true }
  }

  return {
    inspect: async (claim, segments, goOn) => {
      const l = await load(claim)
      if (!l) return undefined
      const whole = l.spec.assurance === ASSURANCE.quorum && segments.length === l.spec.checkpointsPerSlice
      return whole ? inspectAll(l, claim, goOn) : inspectSome(l, claim, segments, goOn)
    },
    segment: async (claim, segment) => {
      const l = await load(claim)
      const b = l && (await book(claim))
      const start = l && b && (await findState(services, l.contents.graph, startOf(claim, b, segment), peersOf(claim)))
      if (!l || !start) throw new Error(`claim ${claim.claimId}: what the dispute is about is gone from disk`)
      return { graph: l.contents.graph, start, data: l.contents.data, steps: l.spec.stepsPerCheckpoint }
    },
    book,
    keep: (tasks) => {
      for (const [taskId, { stepper }] of loaded)
        if (!tasks.has(taskId) && loaded.size > 1) {
          loaded.delete(taskId)
          stepper.close()
        }
    },
    stop: () => stopping.abort(),
  }
}
