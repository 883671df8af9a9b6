// A node: services, roles, and the only loop with a clock. A failed tick is logged and tried again; nothing of it is lost, since every role acts from what is on chain and on disk.

import { join } from 'node:path'
import { wasm } from '@bitloom/engine'
import { type ChainEvent, chainTime, getClaim, getTask, type Place, RpcDownError, readOn, type SignedOffer } from '@bitloom/sdk'
import { type Court, openCourt } from './court.ts'
import { answerQuestions } from './exchange.ts'
import { countingLog } from './log.ts'
import { startMarketOffers } from './network/marketoffers.ts'
import type { Offers } from './network/offers.ts'
import { openOffering, type Price } from './offering.ts'
import { openChecker } from './roles/check.ts'
import { openKeeper } from './roles/keeper.ts'
import { type CheatPlan, openSolver, type Role } from './roles/solve.ts'
import { COST_SHARE } from './roles/watch.ts'
import { openWatcher } from './roles/watcher.ts'
import { openServices, type ServiceOptions, type Services } from './services.ts'
import { MOST_LISTED, openBoard } from './status.ts'
import { openPace, proveBackend } from './throughput.ts'
import { openTidier } from './tidy.ts'

export type { HourlyPrice, Price } from './offering.ts'

export type RoleName = 'solver' | 'verifier' | 'whistleblower'

export type NodeOptions = ServiceOptions & {
  readonly roles: readonly RoleName[]
  readonly memoryBytes: number
  /** A solver's; without it a solver takes only what is handed to it. */
  readonly price?: Price
  readonly cheat?: CheatPlan
  /** A whistleblower's: share of all claims that it looks at although nothing promises a gain; all by default. */
  readonly watchShare?: number
  readonly tickMs?: number
  /** Serves /metrics and /health on this port (0: a free one), on loopback; not at all by default. */
  readonly metricsPort?: number
}

export type BitloomNode = {
  readonly services: Services
  readonly offers: Offers
  readonly court: Court
  /** Offers that are valid now, verified. */
  readonly signedOffers: () => SignedOffer[]
  /** Hears every event once, in order, after the roles. */
  readonly onEvents: (listener: (events: readonly ChainEvent[]) => void | Promise<void>) => void
  /** Where /metrics and /health are served, if they are. */
  readonly metricsUrl?: string
  readonly stop: () => Promise<void>
}

const TICK_MS = 100
/** Empty blocks after which the place in the log is saved all the same. */
const BLOCKS_UNSAVED = 256n
/** Longest wait between two tries while the chain is down. */
const MAX_BACKOFF_MS = 5_000
const TIDY_EVERY_SECONDS = 3600

/** Starts a node. It runs until `stop`. */
export async function startNode(options: NodeOptions): Promise<BitloomNode> {
  const operationsPerSecond = options.roles.length > 0 ? proveBackend(options.backend ?? wasm) : 0n
  const counting = countingLog(options.log)
  const services = await openServices({
    // whoever is here for a moment keeps nothing that a full disk could hurt
    ...(options.roles.length === 0 ? { disk: { ballastBytes: 0 } } : {}),
    ...options,
    log: counting.log,
    dir: join(options.dir),
  })
  const { bitloom, store, log, peers } = services
  const court = openCourt(bitloom, store)
  const { offers, signedOffers, contactOf, ...market } = startMarketOffers(bitloom, peers, services.clock.nowMs)
  answerQuestions(services)

  const pace = openPace(store, operationsPerSecond)
  const offering =
    options.price && options.roles.includes('solver')
      ? openOffering(services, market, options.price, {
          memoryBytes: options.memoryBytes,
          pace,
          inHand: () => store.count('active'),
        })
      : undefined
  const roles: Role[] = []
  if (options.roles.includes('solver'))
    roles.push(
      openSolver(services, court, {
        memoryBytes: options.memoryBytes,
        operationsPerSecond,
        onTrained: pace.trained,
        ...(offering ? { judge: offering.judge } : {}),
        ...(options.cheat ? { cheat: options.cheat } : {}),
      }),
    )
  if (options.roles.includes('verifier'))
    roles.push(
      openChecker(services, court, {
        memoryBytes: options.memoryBytes,
        operationsPerSecond,
        contactOf,
        stamps: options.cheat !== undefined && 'stamp' in options.cheat,
      }),
    )
  if (options.roles.includes('whistleblower'))
    roles.push(
      openWatcher(services, court, {
        memoryBytes: options.memoryBytes,
        operationsPerSecond,
        contactOf,
        policy: { share: options.watchShare ?? 1, costShare: COST_SHARE },
      }),
    )
  if (options.roles.includes('verifier') || options.roles.includes('whistleblower')) roles.push(openKeeper(services, court))

  const listeners: ((events: readonly ChainEvent[]) => void | Promise<void>)[] = []
  const tidier = openTidier(services, { task: (id) => getTask(bitloom, id), claim: (id) => getClaim(bitloom, id) })
  let tidiedAt = 0
  /** Roles only: whoever submits a task and nothing else keeps it until it is over, in a folder that goes with it. */
  const tidyUp = async (nowSeconds: number): Promise<void> => {
    if (roles.length === 0 || nowSeconds < tidiedAt + TIDY_EVERY_SECONDS) return
    tidiedAt = nowSeconds
    const tidied = await tidier.tidy(nowSeconds)
    if (tidied.tasks + tidied.claims + tidied.blobs > 0) log('tidied', tidied)
  }

  let running = true
  let working = false
  let ended = 0
  let tickedAt = performance.now()
  let blockAt = performance.now()
  let place: Place = store.get<Place>('node', 'place') ?? { next: BigInt(bitloom.network.fromBlock) }
  const metrics =
    options.metricsPort === undefined
      ? undefined
      : await (await import('./metrics.ts'))
          .serveMetrics(
            services,
            {
              sinceTickMs: () => performance.now() - tickedAt,
              block: () => place.next - 1n,
              sinceBlockMs: () => performance.now() - blockAt,
              working: () => working,
            },
            counting.counts,
            { port: options.metricsPort },
          )
          .catch(async (error) => {
            offers.stop()
            await services.stop()
            throw error
          })
  let saved = place.next
  /** Acts on what is new: a block, or work that was just finished. Between the two nothing can have changed. */
  const tick = async (): Promise<void> => {
    services.disk.tend()
    const { events, place: here, rewoundTo, deep } = await readOn(bitloom, place)
    const done = roles.reduce((n, role) => n + role.ended(), 0)
    if (here.next !== place.next) blockAt = performance.now()
    if (here.next === place.next && done === ended && rewoundTo === undefined) return
    if (rewoundTo !== undefined)
      log('reorganised', { fromBlock: rewoundTo, until: here.next - 1n, ...(deep ? { deep: 'more than 64 blocks were replaced' } : {}) })
    // blocks without events of ours need not be remembered: reading them again is cheap, a write to disk at every block is not
    if (events.length > 0 || rewoundTo !== undefined || here.next - saved > BLOCKS_UNSAVED) {
      store.transaction(() => {
        if (rewoundTo !== undefined) court.rewind(rewoundTo)
        for (const event of events) {
          court.onEvent(event)
          for (const role of roles) role.onEvent(event)
        }
        store.put('node', 'place', here)
      })
      saved = here.next
    }
    place = here
    if (events.length > 0) for (const listener of listeners) await listener(events)
    const now = await chainTime(bitloom)
    services.clock.set(now)
    for (const role of roles) await role.tick(now)
    // after the roles: what they took or let go of changes what may be offered
    await offering?.tick(now)
    await tidyUp(now)
    working = roles.some((role) => role.working())
    ended = done
  }
  // before whatever the roles send; where the chain does not answer, the first of those finds out
  void bitloom.resume().then(
    (was) => was !== 'none' && log('resumed', { transaction: was }),
    (error: Error) => log('chain-down', { error: error.message.replaceAll('\n', ' ') }),
  )
  const board = options.roles.length > 0 ? openBoard(options.dir) : undefined
  /** For `bitloom node status`, which cannot ask the store while we hold it. */
  const tell = (): void =>
    board?.write(() => {
      const { offer, verdict } = offering?.standing() ?? {}
      const tasks = store.list('active', { limit: MOST_LISTED }).map(({ key: taskId }) => {
        const { refused } = store.get<{ refused?: string }>('tasks', taskId) ?? {}
        return { taskId, segments: store.list('segments', { prefix: `${taskId}/` }).length, ...(refused === undefined ? {} : { refused }) }
      })
      return {
        roles: options.roles,
        ...services.contact,
        peers: peers.connected().length,
        block: String(place.next - 1n),
        working,
        tickAgeSeconds: Math.round((performance.now() - tickedAt) / 1000),
        tasks,
        claims: [...store.list('watched', { limit: MOST_LISTED }), ...store.list('watched-unasked', { limit: MOST_LISTED })].map(
          ({ key }) => key,
        ),
        ...(offer ? { offer: JSON.parse(JSON.stringify(offer, (_, v) => (typeof v === 'bigint' ? String(v) : v))) } : {}),
        ...(verdict && !verdict.ok ? { noOffer: verdict.reason } : {}),
      }
    })
  const loop = (async () => {
    let backoff = options.tickMs ?? TICK_MS
    while (running) {
      try {
        await tick()
        tickedAt = performance.now()
        backoff = options.tickMs ?? TICK_MS
      } catch (error) {
        if (!running) break
        log(error instanceof RpcDownError ? 'chain-down' : 'tick-failed', {
          error: error instanceof Error ? error.message.replaceAll('\n', ' ').slice(0, 600) : String(error),
          againInMs: backoff,
        })
        backoff = Math.min(MAX_BACKOFF_MS, backoff * 2)
      }
      try {
        tell()
      } catch (error) {
        // a full disk is told by what matters more than this file
        log('status-unwritten', { error: String(error) })
      }
      await new Promise((resolve) => setTimeout(resolve, backoff))
    }
  })()

  return {
    services,
    offers,
    court,
    signedOffers,
    ...(metrics ? { metricsUrl: metrics.url } : {}),
    onEvents: (listener) => {
      listeners.push(listener)
    },
    stop: async () => {
      running = false
      for (const role of roles) await role.idle()
      await loop
      board?.clear()
      await metrics?.stop()
      // whoever hears it need not find out by asking a node that is gone
      await offering?.stop()
      offers.stop()
      await services.stop()
    },
  }
}
