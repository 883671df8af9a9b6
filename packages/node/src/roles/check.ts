// Carries out what verifier.ts decides: runs drawn segments again, seals, reveals, challenges, and walks a lie down to its scalar.

import { toHex } from '@bitloom/graph'
import {
  type Claim,
  digestOf,
  getClaim,
  getMask,
  getSpec,
  LOCAL_SECONDS_PER_MOVE,
  RevertError,
  reveal,
  type SealedVerdict,
  seal,
  sealOf,
  verifierHazard,
} from '@bitloom/sdk'
import type { Hex } from 'viem'
import { type Court, play } from '../court.ts'
import type { Services } from '../services.ts'
import { openAccuser } from './accuse.ts'
import { apart } from './apart.ts'
import { type End, type InspectorOptions, leafOf, openInspector, sameLeaf } from './inspect.ts'
import { isStill, liveGames, noteMoots } from './moot.ts'
import { auditView } from './read.ts'
import type { Role } from './solve.ts'
import { type VerifierAction, type VerifierMemory, verifierActions } from './verifier.ts'
import { type AuditView, sameAddress } from './views.ts'

export type CheckerOptions = InspectorOptions & {
  /** Measured at start. */
  readonly operationsPerSecond: bigint
  /** Attests what it never looked at: for tests. */
  readonly stamps?: boolean
}

/** What a check found, on disk before anything of it is sealed. `root`: of the claim as it was then; `ends`: what was run. */
type Finding = {
  readonly verdict: SealedVerdict
  readonly digest: Hex
  readonly salt: Hex
  readonly different?: number
  readonly root?: Hex
  readonly ends?: readonly End[]
  /** It may differ on purpose: every state is as claimed. */
  readonly states?: boolean
}

/** Attempts to reach a solver before its data count as withheld. */
const ATTEMPTS = 20
const ATTEMPT_MS = 250
const NO_DIGEST = `0x${'00'.repeat(32)}` as Hex
const WATCHED = 'watched'
const FINDINGS = 'findings'
const newSalt = (): Hex => toHex(crypto.getRandomValues(new Uint8Array(32)))

export function openChecker(services: Services, court: Court, options: CheckerOptions): Role {
  const { bitloom, me, store, log } = services
  const inspector = openInspector(services, options)
  const accuser = openAccuser(services, court, inspector, 'verifier')
  const footing = { secondsPerMove: LOCAL_SECONDS_PER_MOVE, operationsPerSecond: options.operationsPerSecond }
  const attempts = new Map<string, number>()
  let work: Promise<void> | undefined
  let ended = 0
  let stopping = false

  const findingOf = (claimId: bigint): Finding | undefined => store.get<Finding>(FINDINGS, String(claimId))
  const mine = (view: AuditView): number[] =>
    view.assignments
      .filter((a) => sameAddress(a.verifier, me))
      .map((a) => a.segment)
      .sort((a, b) => a - b)

  const audit = async (claimId: bigint, segments: readonly number[]): Promise<void> => {
    const claim = await getClaim(bitloom, claimId)
    if (claim.status !== 'open') return
    const salt = newSalt()
    if (options.stamps) {
      store.put(FINDINGS, String(claimId), { verdict: 'same', digest: newSalt(), salt } satisfies Finding)
      log('stamped', { claimId, segments })
      return
    }
    const { decoyOneIn } = await getSpec(bitloom, claim.taskId)
    const inspection = await inspector.inspect(claim, segments, decoyOneIn > 0)
    let finding: Finding
    if (inspection) {
      const { ends, different, states } = inspection
      if (different !== undefined) log('different', { claimId, segment: different })
      finding = {
        verdict: different === undefined ? 'same' : 'different',
        // what a decoy is caught by; of a claim with a wrong state nothing may be counted as *same* afterwards
        digest: states ? digestOf(ends.filter((end) => segments.includes(end.segment)).map((end) => end.probeDigest)) : NO_DIGEST,
        states,
        salt,
        root: claim.root,
        ends,
        ...(different === undefined ? {} : { different }),
      }
    } else {
      const tries = (attempts.get(String(claimId)) ?? 0) + 1
      attempts.set(String(claimId), tries)
      await new Promise((resolve) => setTimeout(resolve, ATTEMPT_MS))
      if (tries < ATTEMPTS || stopping) return
      finding = { verdict: 'unavailable', digest: NO_DIGEST, salt }
    }
    // what was sealed meanwhile for want of time stays: another salt would not open its seal
    if (findingOf(claimId)) return
    store.put(FINDINGS, String(claimId), finding)
    log('checked', { claimId, segments, verdict: finding.verdict })
  }

  /** Says that it could not check: on disk first, like any finding. */
  const concede = async (claimId: bigint, view: AuditView, reason: string): Promise<void> => {
    const salt = newSalt()
    store.put(FINDINGS, String(claimId), { verdict: 'unavailable', digest: NO_DIGEST, salt } satisfies Finding)
    log('checked', { claimId, segments: mine(view), verdict: 'unavailable', reason })
    await seal(bitloom, claimId, sealOf(claimId, me, 'unavailable', NO_DIGEST, salt))
  }

  /** The first segment of the claim as it stands that this node has run to another end. */
  const differentIn = async (claim: Claim, finding: Finding): Promise<number | undefined> => {
    if (finding.root === undefined || finding.root === claim.root) return finding.different
    const book = await inspector.book(claim)
    return book && finding.ends?.find((end) => !sameLeaf(leafOf(end), book.leaves[end.segment]!))?.segment
  }

  /** What this node knows of a claim as it stands now. */
  const memoryOf = async (claim: Claim, view: AuditView): Promise<VerifierMemory> => {
    const finding = findingOf(claim.claimId)
    if (!finding) return {}
    const isOther = finding.root !== undefined && finding.root !== claim.root
    // drawn once more for a claim that showed a decoy when it was drawn first: what it is about now is to be checked by itself
    if (isOther && view.stage === 'sealing' && !view.sealed.some((v) => sameAddress(v, me))) {
      store.delete(FINDINGS, String(claim.claimId))
      return {}
    }
    const different = await differentIn(claim, finding)
    const maybeDecoy = different !== undefined && finding.states === true && (await getMask(bitloom, claim.claimId))?.opened === false
    return { verdict: finding.verdict, maybeDecoy, ...(different === undefined ? {} : { different }) }
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
      case 'audit': {
        const hazard = verifierHazard(await getSpec(bitloom, claim.taskId), mine(view).length, footing)
        if (hazard !== undefined) return concede(claimId, view, hazard)
        start(() => audit(claimId, mine(view)))
        return
      }
      case 'concede':
        return concede(claimId, view, 'the time to seal is nearly over')
      case 'seal':
        await seal(bitloom, claimId, sealOf(claimId, me, finding!.verdict, finding!.digest, finding!.salt))
        return
      case 'reveal':
        await reveal(bitloom, claimId, finding!.verdict, finding!.digest, finding!.salt)
        return
      case 'challenge':
        await accuser.accuse(claim, action.segment)
        return
      case 'press':
        return accuser.press(claim, action.gameId)
      case 'timeout':
        await play(bitloom, action.gameId, { kind: 'timeout' })
    }
  }

  return {
    onEvent: (event) => {
      const { contract, name, args } = event
      noteMoots(store, event)
      if (contract === 'Decoys' && name === 'Caught' && sameAddress(args.catcher as `0x${string}`, me))
        log('jackpot', { claimId: args.claimId, wei: args.rewardWei })
      if (name === 'Drawn' && (args.verifiers as `0x${string}`[]).some((v) => sameAddress(v, me)))
        store.put(WATCHED, String(args.claimId), true)
    },
    tick: async (nowSeconds) => {
      const looked = new Set<bigint>()
      for (const { key } of store.list(WATCHED)) {
        const claimId = BigInt(key)
        await apart(log, { claimId }, async () => {
          const claim = await getClaim(bitloom, claimId)
          const quarrels = await court.gamesAbout(claimId)
          if (claim.status !== 'open') {
            await accuser.leave(claimId, quarrels)
            store.delete(WATCHED, key)
            attempts.delete(key)
            return
          }
          looked.add(claim.taskId)
          await accuser.drop(claimId, quarrels)
          const view = await auditView(bitloom, claimId)
          const memory = await memoryOf(claim, view)
          const { decoyOneIn } = await getSpec(bitloom, claim.taskId)
          for (const action of verifierActions(me, view, liveGames(store, quarrels), memory, nowSeconds)) {
            try {
              if (action.do === 'timeout' && (await isStill(bitloom, claimId, decoyOneIn, nowSeconds))) continue
              await perform(action, claim, view)
            } catch (error) {
              if (!(error instanceof RevertError)) throw error
              log('refused', { action: action.do, claimId, error: error.errorName })
            }
          }
        })
      }
      // graph, data and program of a task stay in memory while a claim of it is being looked at; one task is kept for its next claim
      if (!work) inspector.keep(looked)
    },
    working: () => work !== undefined || accuser.working(),
    ended: () => ended + accuser.ended(),
    idle: async () => {
      stopping = true
      inspector.stop()
      await Promise.all([work, accuser.idle()])
    },
  }
}
