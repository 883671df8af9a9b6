// Carries out what verifier.ts decides: re-runs segments, seals, reveals, challenges, and walks a lie down to its scalar.
// A whistleblower is the same without a seat: it checks one segment of every claim unasked, and challenges what differs.

import { challengerMove, claimTree, differs, probeCommit, stateRoot } from '@bitloom/dispute'
import { type Data, fromHex, proofOf, sameBytes, sha256, toHex } from '@bitloom/graph'
import {
  type Claim,
  challenge,
  challengeBondWei,
  digestOf,
  freeOf,
  getClaim,
  getSpec,
  RevertError,
  reveal,
  type SealedVerdict,
  type Spec,
  seal,
  sealOf,
  withdrawMoot,
} from '@bitloom/sdk'
import type { Hex } from 'viem'
import { type Contents, contentsKey, fetchContents } from '../bundle.ts'
import { parseContact } from '../contact.ts'
import { type Court, play, viewOf } from '../court.ts'
import { type Book, findBook, findBundle, findState, type Leaf, leafMoment } from '../exchange.ts'
import type { Services } from '../services.ts'
import { fastStateRoot } from '../training/roots.ts'
import { runSegment } from '../training/segment.ts'
import { engineStepper, type Stepper } from '../training/stepper.ts'
import { apart } from './apart.ts'
import { auditView } from './read.ts'
import { openReplays } from './replays.ts'
import type { Role } from './solve.ts'
import { type VerifierAction, verifierActions } from './verifier.ts'
import type { AuditView } from './views.ts'

export type CheckerOptions = {
  readonly memoryBytes: number
  /** Checks claims unasked instead of when drawn. */
  readonly unasked: boolean
  /** Where a solver answers, as its offer says. */
  readonly contactOf: (solver: string) => string | undefined
}

/** What a check found, on disk before anything of it is sealed. */
type Finding = { readonly verdict: SealedVerdict; readonly digest: Hex; readonly salt: Hex; readonly different?: number }

type Loaded = { readonly spec: Spec; readonly contents: Contents; readonly stepper: Stepper }

/** Attempts to reach a solver before its data count as withheld. */
const ATTEMPTS = 20
const NO_DIGEST = `0x${'00'.repeat(32)}` as Hex
const newSalt = (): Hex => toHex(crypto.getRandomValues(new Uint8Array(32)))

export function openChecker(services: Services, court: Court, options: CheckerOptions): Role {
  const { bitloom, me, store, meter, backend, log } = services
  // one node may be both: what it found unasked is of other segments than those it was drawn for, and must never be sealed
  const [watched, findings] = options.unasked ? ['watched-unasked', 'findings-unasked'] : ['watched', 'findings']
  const loaded = new Map<bigint, Loaded>()
  const attempts = new Map<string, number>()
  /** Bundles whose contents are not the task's, whoever answered with them. */
  const wrong = new Set<string>()
  let work: Promise<void> | undefined
  let ended = 0
  const stopping = new AbortController()

  const peersOf = (claim: Claim): string[] => {
    const contact = parseContact(options.contactOf(claim.solver) ?? '')
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
    const verdict = await fetchContents(bundle, spec, startState, options.memoryBytes, services.fetch)
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

  const startOf = (claim: Claim, book: Book, segment: number): Hex =>
    segment === 0 ? claim.startState : book.leaves[segment - 1]!.stateRoot

  /** Runs a segment from its claimed start to the end it comes to; undefined where the node is being stopped. */
  const rerun = async (l: Loaded, start: readonly Data[]): Promise<{ stateRoot: Uint8Array; chain: Uint8Array } | undefined> => {
    const { stepper, spec } = l
    stepper.load(start)
    const chain = await runSegment(stepper, spec.stepsPerCheckpoint, { meter, kind: 'audit', signal: stopping.signal })
    return chain && { stateRoot: meter.measure('hash', () => fastStateRoot(stepper.state())), chain }
  }

  /**
   * Checks segments of a claim.
   * @returns the finding; undefined where the data cannot be had (yet)
   */
  const check = async (claim: Claim, segments: readonly number[]): Promise<Finding | undefined> => {
    const salt = newSalt()
    const l = await load(claim)
    const book = l && (await findBook(services, claim.claimId, claim.root, peersOf(claim)))
    if (!l || !book || book.leaves.length !== l.spec.checkpointsPerSlice) return undefined
    const digests: Hex[] = []
    const found = (segment: number): Finding => {
      log('different', { claimId: claim.claimId, segment })
      store.put('books', String(claim.claimId), book)
      return { verdict: 'different', digest: digestOf(digests), salt, different: segment }
    }
    for (const segment of segments) {
      const start = await stateBefore(l, claim, book, segment)
      if (start === undefined) return undefined
      if (typeof start === 'number') return found(start)
      const end = await rerun(l, start)
      if (!end) return undefined
      digests.push(toHex(end.chain))
      if (!endsAt(end, book.leaves[segment]!)) return found(segment)
    }
    // custody: whoever attests a slice holds its end state and serves it on, so that it does not depend on the one who trained it
    const last = await stateBefore(l, claim, book, book.leaves.length)
    if (last === undefined) return undefined
    if (typeof last === 'number') return found(last)
    store.put('books', String(claim.claimId), book)
    return { verdict: 'same', digest: digestOf(digests), salt }
  }

  const endsAt = (end: { stateRoot: Uint8Array; chain: Uint8Array }, leaf: Leaf): boolean =>
    sameBytes(leafMoment({ stateRoot: toHex(end.stateRoot), probeCommit: toHex(probeCommit(end.chain)) }), leafMoment(leaf))

  /**
   * The state before `segment` (after the last one: the slice's end). What is withheld is computed from the nearest state that can be had, down to the
   * slice's start, which those hold who attested the slice before: a solver that shows a verifier less only makes it check more.
   * @returns the state; or the first segment on the way that does not end as claimed; undefined where not even a start can be had
   */
  const stateBefore = async (l: Loaded, claim: Claim, book: Book, segment: number): Promise<readonly Data[] | number | undefined> => {
    for (let from = segment; from >= 0; from--) {
      let state: readonly Data[] | undefined = await findState(services, l.contents.graph, startOf(claim, book, from), peersOf(claim))
      if (!state) continue
      for (let s = from; s < segment; s++) {
        const end = await rerun(l, state)
        if (!end) return undefined
        if (!endsAt(end, book.leaves[s]!)) return s
        state = l.stepper.state().map((t) => t.slice())
        await services.checkpoints.save(state)
      }
      return state
    }
    return undefined
  }

  const findingOf = (claimId: bigint): Finding | undefined => store.get<Finding>(findings, String(claimId))

  const audit = async (claimId: bigint, segments: readonly number[], view?: AuditView): Promise<void> => {
    const claim = await getClaim(bitloom, claimId)
    if (claim.status !== 'open') return
    let finding = await check(claim, segments)
    if (!finding) {
      const tries = (attempts.get(String(claimId)) ?? 0) + 1
      attempts.set(String(claimId), tries)
      await new Promise((resolve) => setTimeout(resolve, 250))
      if (tries < ATTEMPTS || stopping.signal.aborted || !view) return
      finding = { verdict: 'unavailable', digest: NO_DIGEST, salt: newSalt() }
    }
    // what was sealed meanwhile for want of time stays: another salt would not open its seal
    if (findingOf(claimId)) return
    store.put(findings, String(claimId), finding)
    log('checked', { claimId, segments, verdict: finding.verdict })
  }

  const openDispute = async (claimId: bigint): Promise<void> => {
    const segment = findingOf(claimId)!.different!
    const { leaves } = store.get<Book>('books', String(claimId))!
    const tree = claimTree(leaves.map((leaf) => ({ stateRoot: fromHex(leaf.stateRoot), probeCommit: fromHex(leaf.probeCommit) })))
    const opening = (j: number) => ({ ...leaves[j]!, proof: proofOf(tree, j).map(toHex) })
    const [free, bond] = await Promise.all([freeOf(bitloom, me), challengeBondWei(bitloom)])
    if (free < bond) {
      log('cannot-challenge', { claimId, freeWei: free, bondWei: bond, mend: 'deposit more tokens' })
      return
    }
    await challenge(bitloom, claimId, segment, opening(Math.max(0, segment - 1)), opening(segment))
  }

  const replays = openReplays(services)
  const segmentName = (claimId: bigint, segment: number): string => `${watched} ${claimId} ${segment}`
  /** The next move of a game of ours, if what it takes is known by now; else it is computed beside the loop. */
  const press = async (claim: Claim, gameId: bigint): Promise<void> => {
    const { claimId } = claim
    const quarrel = (await court.gamesAbout(claimId)).find((q) => q.gameId === gameId)
    if (!quarrel || quarrel.closed || quarrel.game.toMove !== 'challenger') return
    const leaf = store.get<Book>('books', String(claimId))?.leaves[quarrel.segment]
    const { stepsPerCheckpoint: steps } = await getSpec(bitloom, claim.taskId)
    const answer = replays.ask({
      segment: segmentName(claimId, quarrel.segment),
      game: String(gameId),
      by: viewOf(quarrel).deadline,
      load: async () => {
        const l = await load(claim)
        const book = store.get<Book>('books', String(claimId))
        const start = l && book && (await findState(services, l.contents.graph, startOf(claim, book, quarrel.segment), peersOf(claim)))
        if (!l || !start) throw new Error(`claim ${claimId}: what the dispute is about is gone from disk`)
        return { graph: l.contents.graph, start, data: l.contents.data, steps }
      },
      answer: (known) => ({
        case: leaf !== undefined && differs(known, steps, leafMoment(leaf)),
        move: challengerMove(quarrel.game, court.revealsIn(gameId), known),
      }),
    })
    if (answer && !answer.case) log('no-case', { claimId, gameId })
    else if (answer?.move) await play(bitloom, gameId, answer.move)
  }

  /** Long work runs beside the loop, one piece at a time. */
  const start = (job: () => Promise<void>): void => {
    work ??= job()
      .catch((error) => log('check-failed', { error: String(error) }))
      .finally(() => {
        work = undefined
        ended++
      })
  }

  const perform = async (action: VerifierAction, claim: Claim, view: AuditView): Promise<void> => {
    const { claimId } = claim
    const finding = findingOf(claimId)
    switch (action.do) {
      case 'audit':
        start(() => audit(claimId, mine(view), view))
        return
      case 'concede': {
        const salt = newSalt()
        store.put(findings, String(claimId), { verdict: 'unavailable', digest: NO_DIGEST, salt } satisfies Finding)
        log('checked', { claimId, segments: mine(view), verdict: 'unavailable', reason: 'the time to seal is nearly over' })
        await seal(bitloom, claimId, sealOf(claimId, me, 'unavailable', NO_DIGEST, salt))
        return
      }
      case 'seal':
        await seal(bitloom, claimId, sealOf(claimId, me, finding!.verdict, finding!.digest, finding!.salt))
        return
      case 'reveal':
        await reveal(bitloom, claimId, finding!.verdict, finding!.digest, finding!.salt)
        return
      case 'challenge':
        return openDispute(claimId)
      case 'press':
        return press(claim, action.gameId)
      case 'timeout':
        await play(bitloom, action.gameId, { kind: 'timeout' })
        return
    }
  }

  const mine = (view: AuditView): number[] =>
    view.assignments
      .filter((a) => a.verifier.toLowerCase() === me.toLowerCase())
      .map((a) => a.segment)
      .sort((a, b) => a - b)

  /** Which segment of a claim to look at unasked: nobody can foresee it, and it stays the same after a restart. */
  const unaskedSegment = (claimId: bigint, segments: number): number => {
    let salt = store.get<Hex>('node', 'unaskedSalt')
    if (!salt) store.put('node', 'unaskedSalt', (salt = toHex(crypto.getRandomValues(new Uint8Array(32)))))
    return new DataView(sha256(new TextEncoder().encode(`${salt} ${claimId}`)).buffer.slice(0)).getUint32(0) % segments
  }

  return {
    onEvent: ({ name, args }) => {
      const claimId = String(args.claimId)
      if (!options.unasked && name === 'Drawn' && (args.verifiers as string[]).some((v) => v.toLowerCase() === me.toLowerCase()))
        store.put(watched, claimId, true)
      if (options.unasked && name === 'Claimed') store.put(watched, claimId, true)
    },
    tick: async (nowSeconds) => {
      const looked = new Set<bigint>()
      for (const { key } of store.list(watched)) {
        const claimId = BigInt(key)
        await apart(log, { claimId }, async () => {
          const claim = await getClaim(bitloom, claimId)
          const quarrels = await court.gamesAbout(claimId)
          if (claim.status === 'open') looked.add(claim.taskId)
          else {
            for (const q of quarrels)
              if (!q.closed && q.challenger.toLowerCase() === me.toLowerCase()) await withdrawMoot(bitloom, q.gameId)
            store.delete(watched, key)
            attempts.delete(key)
            replays.forget((segment) => segment.startsWith(`${watched} ${key} `))
            return
          }
          const view = await auditView(bitloom, claimId)
          const finding = findingOf(claimId)
          const games = quarrels.map(viewOf)
          let actions: VerifierAction[]
          if (options.unasked) {
            const own = games.filter((g) => g.challenger.toLowerCase() === me.toLowerCase())
            if (!finding) {
              const { checkpointsPerSlice } = await getSpec(bitloom, claim.taskId)
              start(() => audit(claimId, [unaskedSegment(claimId, checkpointsPerSlice)]))
            }
            actions = verifierActions(me, { ...view, assignments: [] }, own, {}, nowSeconds)
            if (finding?.verdict === 'different' && own.length === 0) actions.push({ do: 'challenge', claimId })
          } else {
            actions = verifierActions(
              me,
              view,
              games,
              finding ? { verdict: finding.verdict, ...(finding.different === undefined ? {} : { different: finding.different }) } : {},
              nowSeconds,
            )
          }
          for (const action of actions) {
            try {
              await perform(action, claim, view)
            } catch (error) {
              if (!(error instanceof RevertError)) throw error
              log('refused', { action: action.do, claimId, error: error.errorName })
            }
          }
        })
      }
      // graph, data and program of a task stay in memory while a claim of it is being looked at; one task is kept for its next claim
      if (!work) for (const taskId of loaded.keys()) if (!looked.has(taskId) && loaded.size > 1) loaded.delete(taskId)
    },
    working: () => work !== undefined || replays.working(),
    ended: () => ended + replays.ended(),
    idle: async () => {
      stopping.abort()
      await Promise.all([work, replays.idle()])
    },
  }
}
