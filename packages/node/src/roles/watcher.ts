// The whistleblower: looks at claims unasked, those that promise most first, and challenges what it finds wrong; whoever attested it falls with it.

import {
  ASSURANCE,
  auditedSegments,
  type Claim,
  challengeBondWei,
  freeOf,
  getClaim,
  getRecord,
  getSpec,
  getTerms,
  LOCAL_SECONDS_PER_MOVE,
  RevertError,
  runSeconds,
  STAGES,
} from '@bitloom/sdk'
import type { Address, Hex } from 'viem'
import { type Court, play } from '../court.ts'
import type { Services } from '../services.ts'
import { openAccuser } from './accuse.ts'
import { apart } from './apart.ts'
import { secretOf } from './dice.ts'
import { type InspectorOptions, openInspector } from './inspect.ts'
import { isStill, liveGames, noteMoots } from './moot.ts'
import { auditView } from './read.ts'
import type { Role } from './solve.ts'
import { challengerActions } from './verifier.ts'
import { sameAddress } from './views.ts'
import { chooseClaims, chooseSegment, looksLeft, type Prospect, type WatchPolicy, waitsForAttesters } from './watch.ts'

export type WatcherOptions = InspectorOptions & {
  readonly policy: WatchPolicy
  /** Measured at start. */
  readonly operationsPerSecond: bigint
}

/** What was found, on disk: `root` is the claim's at the time. */
type Finding = { readonly verdict: 'same' | 'different'; readonly segment: number; readonly different?: number; readonly root: Hex }

const WATCHED = 'watched-unasked'
const FINDINGS = 'findings-unasked'
/** Claims that were weighed and left alone. */
const PASSED_OVER = 'passed-over'
/** Segments of a claim that its verifiers were drawn for. */
const DRAWN = 'drawn-segments'
/** Attempts to get a claim's data before it is left to its drawn verifiers. */
const ATTEMPTS = 20
const ATTEMPT_MS = 250

export function openWatcher(services: Services, court: Court, options: WatcherOptions): Role {
  const { bitloom, me, store, log } = services
  const inspector = openInspector(services, options)
  const accuser = openAccuser(services, court, inspector, 'watcher')
  const salt = secretOf(store, 'unaskedSalt')
  const attempts = new Map<string, number>()
  let work: Promise<void> | undefined
  let stopping = false
  let ended = 0
  let poor = false

  const findingOf = (claimId: bigint): Finding | undefined => store.get<Finding>(FINDINGS, String(claimId))

  const weigh = async (claim: Claim): Promise<Prospect> => {
    const [spec, terms, record] = await Promise.all([
      getSpec(bitloom, claim.taskId),
      getTerms(bitloom, claim.taskId),
      getRecord(bitloom, claim.solver as Address),
    ])
    return {
      claimId: claim.claimId,
      segments: spec.checkpointsPerSlice,
      audited: auditedSegments(spec, record.streak),
      slicePriceWei: terms.slicePriceWei,
      bondWei: terms.bondWei,
      decoyOneIn: spec.decoyOneIn,
      accepted: record.accepted,
      convictions: record.convictions,
    }
  }

  const look = async ({ claimId, segments }: Prospect): Promise<void> => {
    const claim = await getClaim(bitloom, claimId)
    if (claim.status !== 'open') return
    const segment = chooseSegment(claimId, segments, store.get<number[]>(DRAWN, String(claimId)) ?? [], salt)
    const inspection = await inspector.inspect(claim, [segment], false)
    if (!inspection) {
      const tries = (attempts.get(String(claimId)) ?? 0) + 1
      attempts.set(String(claimId), tries)
      if (tries >= ATTEMPTS) store.put(PASSED_OVER, String(claimId), 'not to be had')
      else if (!stopping) await new Promise((resolve) => setTimeout(resolve, ATTEMPT_MS))
      return
    }
    const { different } = inspection
    const verdict = different === undefined ? 'same' : 'different'
    store.put(FINDINGS, String(claimId), {
      verdict,
      segment,
      root: claim.root,
      ...(different === undefined ? {} : { different }),
    } satisfies Finding)
    log('checked', { claimId, segments: [segment], verdict })
  }

  /** Whether a claim will be settled before this node can have run a segment of it and challenged. */
  const isTooLate = async (claimId: bigint, now: number): Promise<boolean> => {
    const { stage, deadline } = await auditView(bitloom, claimId)
    if (stage !== 'challenging' && stage !== 'passed') return false
    const spec = await getSpec(bitloom, (await getClaim(bitloom, claimId)).taskId)
    return now + runSeconds(spec, 1, options) + LOCAL_SECONDS_PER_MOVE > deadline
  }

  /** Begins the best look that the balance can answer for, unless one is under way. */
  const chooseNext = async (open: readonly Claim[], own: number, now: number): Promise<void> => {
    if (work || open.length === 0) return
    const challengeable = open.filter((c) => findingOf(c.claimId)?.verdict === 'different').length
    const [free, bond] = await Promise.all([freeOf(bitloom, me), challengeBondWei(bitloom)])
    const left = looksLeft(free, bond, Math.max(0, challengeable - own))
    if (left === 0) {
      if (!poor) log('cannot-watch', { freeWei: free, bondWei: bond, mend: 'deposit more tokens' })
      poor = true
      return
    }
    poor = false
    const unaudited = new Set<bigint>()
    for (const { claimId, taskId } of open) if ((await getSpec(bitloom, taskId)).assurance === ASSURANCE.none) unaudited.add(claimId)
    const fresh = open.filter(
      ({ claimId }) =>
        !findingOf(claimId) && (!waitsForAttesters(claimId, salt) || store.has(DRAWN, String(claimId)) || unaudited.has(claimId)),
    )
    const prospects = await Promise.all(fresh.map(weigh))
    const chosen = chooseClaims(prospects, options.policy, salt)
    for (const p of prospects) if (!chosen.includes(p)) store.put(PASSED_OVER, String(p.claimId), 'not worth it')
    const [best] = chosen
    if (!best) return
    if (await isTooLate(best.claimId, now)) {
      store.put(PASSED_OVER, String(best.claimId), 'too late')
      ended++ // for the next best
      return
    }
    work = look(best)
      .catch((error) => log('check-failed', { error: String(error) }))
      .finally(() => {
        work = undefined
        ended++
      })
  }

  return {
    onEvent: (event) => {
      const { contract, name, args } = event
      noteMoots(store, event)
      if (contract === 'Decoys' && name === 'Opened' && args.decoy === true) {
        // the claim is about its truth from now on, which nobody has looked at yet
        store.delete(FINDINGS, String(args.claimId))
      }
      if (contract === 'Decoys' && name === 'Caught' && sameAddress(args.catcher as Address, me))
        log('jackpot', { claimId: args.claimId, wei: args.rewardWei })
      const key = String(args.claimId)
      if (name === 'Claimed' && !sameAddress(args.solver as Address, me)) store.put(WATCHED, key, true)
      if (contract !== 'Audit') return
      if (name === 'Drawn') store.put(DRAWN, key, [...new Set(args.segments as number[])])
      if (name !== 'Entered' || STAGES[Number(args.stage)] !== 'closed') return
      store.delete(DRAWN, key)
      if (!store.has(PASSED_OVER, key)) return
      store.delete(PASSED_OVER, key)
      store.delete(WATCHED, key)
    },
    tick: async (nowSeconds) => {
      const open: Claim[] = []
      let games = 0
      for (const { key } of store.list(WATCHED)) {
        const claimId = BigInt(key)
        // a claim that was left alone costs no question at every block; the log says when it is over
        if (store.has(PASSED_OVER, key)) continue
        await apart(log, { claimId }, async () => {
          const claim = await getClaim(bitloom, claimId)
          const quarrels = await court.gamesAbout(claimId)
          if (claim.status !== 'open') {
            await accuser.leave(claimId, quarrels)
            store.delete(WATCHED, key)
            attempts.delete(key)
            return
          }
          open.push(claim)
          const finding = findingOf(claimId)
          const still = async () => isStill(bitloom, claimId, (await getSpec(bitloom, claim.taskId)).decoyOneIn, nowSeconds)
          await accuser.drop(claimId, quarrels)
          const own = liveGames(store, quarrels).filter((g) => sameAddress(g.challenger, me))
          games += own.filter((g) => !g.decided).length
          try {
            for (const action of challengerActions(me, own, nowSeconds))
              if (action.do === 'press') await accuser.press(claim, action.gameId)
              else if (action.do === 'timeout' && !(await still())) await play(bitloom, action.gameId, { kind: 'timeout' })
            if (finding?.verdict === 'different' && finding.root === claim.root && own.length === 0)
              await accuser.accuse(claim, finding.different!)
          } catch (error) {
            if (!(error instanceof RevertError)) throw error
            log('refused', { claimId, error: error.errorName })
          }
        })
      }
      await chooseNext(open, games, nowSeconds)
      if (!work) inspector.keep(new Set(open.map((c) => c.taskId)))
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
