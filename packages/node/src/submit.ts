// The submitter: brings a task to the network, keeps every accepted state, hands the task on when a solver falls, and collects the result.

import { type Data, encodeGraph, tensorRoot, toBytes, toHex } from '@bitloom/graph'
import type { Job } from '@bitloom/model'
import {
  type Bitloom,
  type ChainEvent,
  cancelTask,
  chainTime,
  expireTask,
  explained,
  getClaim,
  getTask,
  handOnTask,
  missDeadline,
  offerHash,
  RevertError,
  RpcDownError,
  readEvents,
  rootsOf,
  type SignedOffer,
  type Spec,
  specId,
  stepsOf,
  submitTask,
  type Task,
  termsFor,
} from '@bitloom/sdk'
import type { Address, Hash, Hex } from 'viem'
import { openBidding } from './bidding.ts'
import type { Bundle } from './bundle.ts'
import { parseContact } from './contact.ts'
import { blockSecondsOf } from './estimate.ts'
import { findState, pushBundle } from './exchange.ts'
import type { BitloomNode } from './node.ts'
import { openNudge } from './nudge.ts'
import { beginRun, changeRun, endRun, findRun } from './runs.ts'
import { committedOn } from './spending.ts'

/** What a task's run reports, in order; JSON once bigints are strings. */
export type Progress =
  | {
      readonly type: 'submitted'
      readonly taskId: bigint
      readonly solver: Address
      readonly escrowWei: bigint
      readonly transaction: Hash
    }
  | {
      readonly type: 'handed-on'
      readonly taskId: bigint
      readonly solver: Address
      readonly fromSlice: number
      readonly escrowWei: bigint
      readonly transaction: Hash
    }
  | { readonly type: 'resumed'; readonly taskId: bigint; readonly accepted: number; readonly committedWei: bigint }
  | { readonly type: 'waiting'; readonly reason: string; readonly untilSeconds: number }
  | { readonly type: 'late'; readonly deadlineAt: number; readonly accepted: number }
  | { readonly type: 'progress'; readonly step: number; readonly steps: number; readonly loss: number }
  | { readonly type: 'accepted-state'; readonly slice: number; readonly stateRoot: Hex; readonly loss: number }
  | { readonly type: 'halted'; readonly reason: string; readonly accepted: number }
  | { readonly type: 'chain'; readonly event: ChainEvent }
  | { readonly type: 'done'; readonly stateRoot: Hex }

export type Submission = {
  readonly job: Job
  readonly spec: Spec
  /** Offers in the order in which they are taken. */
  readonly offers: readonly SignedOffer[]
  /** What the market offers now, best first: asked when those are used up. Solvers that had this task and lost it are not taken again. */
  readonly more?: () => Promise<readonly SignedOffer[]> | readonly SignedOffer[]
  /** Seconds that a halted task waits for an offer that fits before it is cancelled; 0 by default. */
  readonly patienceSeconds?: number
  /** Wei of the token that the task may cost over its whole life, all solvers and verifiers together. Never exceeded. */
  readonly budgetWei?: bigint
  /** Unix seconds, on the chain's clock: nobody is paid for what cannot be done by then any more. */
  readonly deadlineAt?: number
  /** Goes on with an unfinished run of the same spec in this node's folder, under the limits noted there, where there is one. */
  readonly resume?: boolean
  readonly report: (progress: Progress) => void
  readonly signal?: AbortSignal
}

export type Outcome = {
  readonly taskId: bigint
  readonly state: readonly Data[]
  readonly stateRoot: Hex
  readonly events: readonly ChainEvent[]
  readonly solvers: readonly Address[]
}

const PROGRESS_MS = 250
const CUSTODY_TRIES = 40
/** What the ledger and the token say when there is too little money. */
const UNFUNDED = new Set(['FreeTooLow', 'TokenRefused', 'NothingArrived', 'BalanceTooLow'])
/** Pause between two looks at the market while a halted task waits for an offer. */
const WAITING_MS = 2_000

/**
 * Runs a job on the network to its end.
 * @throws {TaskError} no offer is left within budget and deadline, or the task was cancelled; what was not earned is refunded
 */
export async function runTask(node: BitloomNode, submission: Submission): Promise<Outcome> {
  const { services } = node
  const { bitloom, store, blobs, checkpoints } = services
  const { job, spec, report } = submission
  const lossSlot = job.graph.slots.findIndex((s) => s.name === 'loss')

  const graphFile = encodeGraph(job.graph)
  await blobs.put(graphFile)
  for (const tensor of [...job.state, ...job.data]) await blobs.put(toBytes(tensor))
  const initialRoots = rootsOf(job.state).map(toHex)
  checkpoints.note(initialRoots)
  const dataRoots = rootsOf(job.data).map(toHex)
  const bundleFor = (taskId: bigint, stateRoots: readonly Hex[]): Bundle => ({
    taskId: String(taskId),
    graphRoot: toHex(tensorRoot(graphFile)),
    graphBytes: graphFile.length,
    stateRoots,
    dataRoots,
    urls: [services.contact.http],
  })

  // heard from before the task exists: its first events may arrive before its number does
  const early: ChainEvent[] = []
  let hear = (events: readonly ChainEvent[]): void => void early.push(...events)
  node.onEvents((events) => hear(events))

  const former = submission.resume ? await findRun(bitloom, store, specId(spec)) : undefined
  const limits = {
    ...(former?.budgetWei === undefined ? {} : { budgetWei: former.budgetWei }),
    ...(submission.budgetWei === undefined ? {} : { budgetWei: submission.budgetWei }),
    // starting again buys no time
    ...(submission.deadlineAt === undefined ? {} : { deadlineAt: submission.deadlineAt }),
    ...(former?.deadlineAt === undefined ? {} : { deadlineAt: former.deadlineAt }),
  }
  const past = former?.taskId === undefined ? [] : (await readEvents(bitloom, former.fromBlock)).events
  const offers = former ? await unused(bitloom, [...former.offers, ...submission.offers], past) : submission.offers
  let run =
    former ??
    beginRun(store, {
      spec,
      specId: specId(spec),
      fromBlock: await explained('eth_blockNumber', () => bitloom.chain.getBlockNumber({ cacheTime: 0 })),
      ...limits,
      offers,
    })
  run = changeRun(store, run, { ...limits, offers: former ? [...former.offers, ...submission.offers] : offers })
  const bidding = openBidding({
    spec,
    limits,
    blockSeconds: await blockSecondsOf(bitloom),
    offers,
    isGone: takenBack(node),
  })
  /** Puts the task to one offer after the other until the market takes one: an offer may be full by now, or over. */
  const place = async <T>(
    accepted: number,
    spentWei: bigint,
    put: (offer: SignedOffer) => Promise<T>,
  ): Promise<{ offer: SignedOffer; escrowWei: bigint; done: T } | { refusals: readonly string[] }> => {
    const now = await chainTime(bitloom)
    const more = (await submission.more?.()) ?? []
    for (;;) {
      const next = bidding.next(spec.slices - accepted, spentWei, now, more)
      if ('refusals' in next) return next
      try {
        return { ...next, done: await put(next.offer) }
      } catch (error) {
        if (error instanceof RpcDownError) bidding.giveBack(next.offer)
        if (!(error instanceof RevertError)) throw error
        if (UNFUNDED.has(error.errorName)) bidding.turnDown(next.offer, `it needs ${next.escrowWei} wei in the wallet, where there is less`)
        else if (!error.errorName.startsWith('Offer')) throw error
        services.log('offer-passed-over', { solver: next.offer.offer.solver, error: error.errorName })
      }
    }
  }
  let peer: string | undefined
  const introduce = async (taskId: bigint, contact: string, stateRoots: readonly Hex[]): Promise<void> => {
    const bundle = bundleFor(taskId, stateRoots)
    store.put('bundles', String(taskId), bundle)
    peer = parseContact(contact)?.peer
    if (peer) await pushBundle(services, peer, bundle)
  }

  let taskId: bigint
  if (run.taskId === undefined) {
    const first = await place(0, 0n, (offer) => submitTask(bitloom, spec, termsFor(spec, offer.offer), offer)).catch((error) => {
      // the answer may be lost while the task is there: only a refusal is known to have changed nothing
      if (error instanceof RevertError) endRun(store, run)
      throw error
    })
    if ('refusals' in first) {
      endRun(store, run)
      throw new TaskError(`${nobodyLeft(first.refusals)}\nNothing was paid. ${WAY_ON}`)
    }
    const { receipt } = first.done
    taskId = first.done.taskId
    run = changeRun(store, run, { taskId: String(taskId) })
    report({
      type: 'submitted',
      taskId,
      solver: first.offer.offer.solver,
      escrowWei: first.escrowWei,
      transaction: receipt.transactionHash,
    })
    await introduce(taskId, first.offer.offer.contact, initialRoots)
  } else taskId = BigInt(run.taskId)

  const ours: ChainEvent[] = []
  const solvers: Address[] = []
  const claims = new Set<string>()
  const games = new Set<string>()
  const heard = new Set<string>()
  const fresh: ChainEvent[] = []
  hear = (events) => {
    for (const event of events) {
      const { args } = event
      if (args.taskId === taskId && event.name === 'Claimed') claims.add(String(args.claimId))
      if (event.name === 'Challenged' && claims.has(String(args.claimId))) games.add(String(args.gameId))
      const about =
        args.taskId === taskId ||
        (args.claimId !== undefined && claims.has(String(args.claimId))) ||
        (args.gameId !== undefined && games.has(String(args.gameId)))
      // blocks may be read twice: after a start, and when the chain has replaced some
      const key = `${event.transactionHash} ${event.logIndex}`
      if (about && !heard.has(key)) fresh.push(event)
      if (about) heard.add(key)
    }
  }

  /** Fetches an accepted state at once: from then on nothing depends on the solver that made it. */
  const keep = async (slice: number, claimId: bigint): Promise<Data[]> => {
    const { endState } = await getClaim(bitloom, claimId)
    for (let i = 0; i < CUSTODY_TRIES; i++) {
      const state = await findState(services, job.graph, endState, peer ? [peer] : [])
      if (state) {
        const done = (slice + 1) * spec.checkpointsPerSlice * spec.stepsPerCheckpoint
        report({ type: 'accepted-state', slice, stateRoot: endState, loss: state[lossSlot]?.[done - 1] ?? Number.NaN })
        const roots = checkpoints.manifest(endState)!
        store.put('bundles', String(taskId), bundleFor(taskId, roots))
        return state
      }
      await new Promise((resolve) => setTimeout(resolve, PROGRESS_MS))
    }
    throw new TaskError(
      `Slice ${slice} was accepted, but neither its solver nor its verifiers serve its state ${endState}.\nStart the task again, or ask a verifier's operator for it.`,
    )
  }

  /** Slices that an earlier process saw settled: only the last one's state is needed. */
  let history = -1
  if (former) {
    hear(past)
    const task = await getTask(bitloom, taskId)
    history = task.accepted - 1
    report({ type: 'resumed', taskId, accepted: task.accepted, committedWei: await committedOn(bitloom, taskId, run.fromBlock) })
    const offer = run.offers.findLast((o) => o.offer.solver.toLowerCase() === task.solver.toLowerCase())
    const roots = checkpoints.manifest(task.state)
    if (offer && roots && (task.status === 'offered' || task.status === 'running')) await introduce(taskId, offer.offer.contact, roots)
  }
  hear(early.splice(0))

  let lastState: Data[] | undefined
  let deadEnd: TaskError | undefined
  let waitingSince: number | undefined
  let lookedAt = 0
  const goOn = async (task: Task): Promise<void> => {
    if (waitingSince !== undefined && performance.now() - lookedAt < WAITING_MS) return
    lookedAt = performance.now()
    const now = await chainTime(bitloom)
    if (waitingSince === undefined) report({ type: 'halted', reason: 'its solver is gone', accepted: task.accepted })
    bidding.fell(task.solver)
    const spentWei = await committedOn(bitloom, taskId, run.fromBlock)
    const next = await place(task.accepted, spentWei, (offer) =>
      handOnTask(bitloom, taskId, spec, task.accepted, termsFor(spec, offer.offer), offer),
    ).catch((error) => {
      // handed on already, and the answer was lost: the next look sees to whom
      if (error instanceof RevertError && error.errorName === 'WrongStatus') return undefined
      throw error
    })
    if (!next) return
    if ('done' in next) {
      waitingSince = undefined
      const { offer, escrowWei } = next
      report({
        type: 'handed-on',
        taskId,
        solver: offer.offer.solver,
        fromSlice: task.accepted,
        escrowWei,
        transaction: next.done.transactionHash,
      })
      run = changeRun(store, run, { offers: [...new Set([...run.offers, offer])] })
      await introduce(taskId, offer.offer.contact, checkpoints.manifest(task.state)!)
      return
    }
    const { patienceSeconds = 0 } = submission
    const untilSeconds = (waitingSince ?? now) + patienceSeconds
    if (now < untilSeconds && (limits.deadlineAt === undefined || now < limits.deadlineAt)) {
      if (waitingSince === undefined) report({ type: 'waiting', reason: nobodyLeft(next.refusals), untilSeconds })
      waitingSince ??= now
      return
    }
    await cancelTask(bitloom, taskId)
    deadEnd = new TaskError(
      `${nobodyLeft(next.refusals)}\nTask ${taskId} is cancelled after ${task.accepted} of ${spec.slices} slices, which cost ${spentWei} wei; the rest of the escrow is in your free balance. ${WAY_ON}`,
    )
  }

  const nudge = openNudge(node)
  const steps = stepsOf(spec)
  let told: ChainEvent | undefined
  let late = false
  /** One look at the chain and what follows from it; the outcome once there is one. */
  const look = async (): Promise<Outcome | undefined> => {
    for (let event = fresh[0]; event; event = fresh[0]) {
      // told once, and done only when what it asks of us is done: the chain may be down in between
      if (told !== event) report({ type: 'chain', event })
      told = event
      if (event.name === 'Settled' && Number(event.args.slice) >= history)
        lastState = await keep(Number(event.args.slice), event.args.claimId as bigint)
      fresh.shift()
      ours.push(event)
      if (event.contract !== 'Market') continue
      if (event.name === 'Offered') solvers.push(event.args.solver as Address)
      if (event.name === 'Halted') bidding.fell(solvers.at(-1)!)
    }
    const task = await getTask(bitloom, taskId)
    if (task.status === 'done' && ours.some((e) => e.name === 'Finished')) {
      report({ type: 'done', stateRoot: task.state })
      return { taskId, state: lastState!, stateRoot: task.state, events: ours, solvers }
    }
    // not before its last accepted state is here, which the next solver starts from
    if (task.status === 'halted' && checkpoints.manifest(task.state)) await goOn(task)
    if (deadEnd) throw deadEnd
    if (task.status === 'cancelled') {
      endRun(store, run)
      throw new TaskError(`Task ${taskId} was cancelled; what was not earned is in your free balance.\n${WAY_ON}`)
    }
    try {
      const now = await chainTime(bitloom)
      if (limits.deadlineAt !== undefined && now > limits.deadlineAt && !late) {
        late = true
        report({ type: 'late', deadlineAt: limits.deadlineAt, accepted: task.accepted })
      }
      if (task.status === 'offered' && now > task.deadline) await expireTask(bitloom, taskId)
      if (task.status === 'running' && task.openClaim === 0n && now > task.deadline) await missDeadline(bitloom, taskId)
      if (task.status === 'running' && task.openClaim !== 0n) await nudge(taskId, task.openClaim, now)
    } catch (error) {
      if (!(error instanceof RevertError)) throw error
    }
    if (peer && task.status === 'running') {
      const reply = await services.peers.request<{ step: number; loss: number }>(
        peer,
        'progress',
        { id: String(taskId) },
        { timeoutMs: 2_000 },
      )
      const said = reply.ok ? reply.value : undefined
      // a stranger's word, for the eye only: what counts is on chain
      if (said && Number.isInteger(said.step) && typeof said.loss === 'number')
        report({ type: 'progress', step: Math.min(steps, said.step), steps, loss: said.loss })
    }
    return undefined
  }
  for (;;) {
    if (submission.signal?.aborted)
      throw new TaskError(
        `Stopped watching task ${taskId}; it goes on without us, and its money is safe.\nSee it again with: bitloom task show ${taskId}`,
      )
    try {
      const outcome = await look()
      if (outcome) {
        endRun(store, run)
        return outcome
      }
    } catch (error) {
      if (error === deadEnd) endRun(store, run)
      // a chain that is down for a while takes nothing from the task: everything that matters of it is on that chain
      if (!(error instanceof RpcDownError)) throw error
      services.log('chain-down', { taskId, error: error.message.replaceAll('\n', ' ') })
    }
    await new Promise((resolve) => setTimeout(resolve, PROGRESS_MS))
  }
}

/** Whether an offer that this node has heard is heard no more: its provider has taken it back. What came from elsewhere is not judged. */
function takenBack(node: BitloomNode): (offer: SignedOffer) => boolean {
  const heard = new Set<string>()
  const listen = (): Set<string> => {
    const now = new Set(node.signedOffers().map(({ signature }) => signature))
    for (const signature of now) heard.add(signature)
    return now
  }
  listen()
  return ({ signature }) => {
    const now = listen()
    return heard.has(signature) && !now.has(signature)
  }
}

/** Offers that no handing on has bound yet, each once. */
async function unused(bitloom: Bitloom, offers: readonly SignedOffer[], past: readonly ChainEvent[]): Promise<SignedOffer[]> {
  const market = { chainId: bitloom.network.chainId, market: bitloom.network.contracts.Market }
  const bound = new Set(past.filter(({ name }) => name === 'Offered').map(({ args }) => args.offerHash))
  const each = new Map(offers.map((signed) => [offerHash(market, signed.offer), signed]))
  return [...each].filter(([hash]) => !bound.has(hash)).map(([, signed]) => signed)
}

const WAY_ON = 'Look at the market with: bitloom offers'

const nobodyLeft = (refusals: readonly string[]): string =>
  refusals.length === 0
    ? 'No offer is left for this task.'
    : `No offer is left for this task within its limits: ${refusals[0]}${refusals.length > 1 ? ` (and ${refusals.length - 1} more)` : ''}.`

export class TaskError extends Error {
  override name = 'node.TaskError'
}
