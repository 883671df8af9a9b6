// The submitter: brings a task to the network, keeps every accepted state, hands the task on when a solver falls, and collects the result.

import { type Data, encodeGraph, tensorRoot, toBytes, toHex } from '@bitloom/graph'
import type { Job } from '@bitloom/model'
import {
  type ChainEvent,
  cancelTask,
  chainTime,
  draw,
  escrowFor,
  expireTask,
  getClaim,
  getTask,
  handOnTask,
  lapse,
  missDeadline,
  RevertError,
  RpcDownError,
  redraw,
  rootsOf,
  type SignedOffer,
  type Spec,
  settleTask,
  stepsOf,
  submitTask,
  sweep,
  type Task,
  termsFor,
} from '@bitloom/sdk'
import type { Address, Hash, Hex } from 'viem'
import type { Bundle } from './bundle.ts'
import { parseContact } from './contact.ts'
import { play, viewOf } from './court.ts'
import { findState, pushBundle } from './exchange.ts'
import type { BitloomNode } from './node.ts'
import { choreOf, GRACE_SECONDS } from './roles/chores.ts'
import { auditView } from './roles/read.ts'

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
  /** Wei of the token that the escrow may never exceed. */
  readonly budgetWei?: bigint
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

/**
 * Runs a job on the network to its end.
 * @throws {TaskError} no offer is left, the budget does not reach, or the task was cancelled; what was not earned is refunded
 */
export async function runTask(node: BitloomNode, submission: Submission): Promise<Outcome> {
  const { services } = node
  const { bitloom, store, blobs, checkpoints } = services
  const { job, spec, report } = submission
  const queue = [...submission.offers]
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

  const take = (slicesLeft: number): { offer: SignedOffer; escrowWei: bigint } => {
    const offer = queue.shift()
    if (!offer) throw new TaskError('No offer is left for this task.\nLook at the market with: bitloom offers')
    const escrowWei = escrowFor(spec, termsFor(spec, offer.offer), slicesLeft)
    if (submission.budgetWei !== undefined && escrowWei > submission.budgetWei)
      throw new TaskError(
        `The cheapest offer left needs an escrow of ${escrowWei} wei; the budget is ${submission.budgetWei} wei.\nRaise --budget or train fewer steps.`,
      )
    return { offer, escrowWei }
  }
  /** Puts the task to one offer after the other until the market takes one: an offer may be full by now, or over. */
  const place = async <T>(
    slicesLeft: number,
    put: (offer: SignedOffer) => Promise<T>,
  ): Promise<{ offer: SignedOffer; escrowWei: bigint; done: T }> => {
    for (;;) {
      const { offer, escrowWei } = take(slicesLeft)
      try {
        return { offer, escrowWei, done: await put(offer) }
      } catch (error) {
        if (error instanceof RpcDownError) queue.unshift(offer)
        if (!(error instanceof RevertError) || !error.errorName.startsWith('Offer')) throw error
        services.log('offer-passed-over', { solver: offer.offer.solver, error: error.errorName })
      }
    }
  }
  const solvers: Address[] = []
  let peer: string | undefined
  const introduce = async (taskId: bigint, offer: SignedOffer, stateRoots: readonly Hex[]): Promise<void> => {
    solvers.push(offer.offer.solver)
    const bundle = bundleFor(taskId, stateRoots)
    store.put('bundles', String(taskId), bundle)
    peer = parseContact(offer.offer.contact)?.peer
    if (peer) await pushBundle(services, peer, bundle)
  }

  // heard from before the task exists: its first events may arrive before its number does
  const early: ChainEvent[] = []
  let hear = (events: readonly ChainEvent[]): void => void early.push(...events)
  node.onEvents((events) => hear(events))
  const first = await place(spec.slices, (offer) => submitTask(bitloom, spec, termsFor(spec, offer.offer), offer))
  const { taskId, receipt } = first.done
  report({ type: 'submitted', taskId, solver: first.offer.offer.solver, escrowWei: first.escrowWei, transaction: receipt.transactionHash })
  await introduce(taskId, first.offer, initialRoots)

  const ours: ChainEvent[] = []
  const claims = new Set<string>()
  const games = new Set<string>()
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
      if (about) fresh.push(event)
    }
  }
  hear(early.splice(0))

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

  let lastState: Data[] | undefined
  let deadEnd: TaskError | undefined
  const goOn = async (task: Task): Promise<void> => {
    report({ type: 'halted', reason: 'its solver is gone', accepted: task.accepted })
    try {
      const {
        offer,
        escrowWei,
        done: handed,
      } = await place(spec.slices - task.accepted, (offer) =>
        handOnTask(bitloom, taskId, spec, task.accepted, termsFor(spec, offer.offer), offer),
      )
      report({
        type: 'handed-on',
        taskId,
        solver: offer.offer.solver,
        fromSlice: task.accepted,
        escrowWei,
        transaction: handed.transactionHash,
      })
      await introduce(taskId, offer, checkpoints.manifest(task.state)!)
    } catch (error) {
      if (!(error instanceof TaskError)) throw error
      await cancelTask(bitloom, taskId)
      deadEnd = error
    }
  }

  const nudge = openNudge(node)
  const steps = stepsOf(spec)
  let told: ChainEvent | undefined
  /** One look at the chain and what follows from it; the outcome once there is one. */
  const look = async (): Promise<Outcome | undefined> => {
    for (let event = fresh[0]; event; event = fresh[0]) {
      // told once, and done only when what it asks of us is done: the chain may be down in between
      if (told !== event) report({ type: 'chain', event })
      told = event
      if (event.name === 'Settled') lastState = await keep(Number(event.args.slice), event.args.claimId as bigint)
      fresh.shift()
      ours.push(event)
    }
    const task = await getTask(bitloom, taskId)
    if (task.status === 'done' && ours.some((e) => e.name === 'Finished')) {
      report({ type: 'done', stateRoot: task.state })
      return { taskId, state: lastState!, stateRoot: task.state, events: ours, solvers }
    }
    // not before its last accepted state is here, which the next solver starts from
    if (task.status === 'halted' && checkpoints.manifest(task.state)) await goOn(task)
    if (deadEnd) throw deadEnd
    if (task.status === 'cancelled') throw new TaskError(`Task ${taskId} was cancelled; what was not earned is in your free balance.`)
    try {
      const now = await chainTime(bitloom)
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
      if (outcome) return outcome
    } catch (error) {
      // a chain that is down for a while takes nothing from the task: everything that matters of it is on that chain
      if (!(error instanceof RpcDownError)) throw error
      services.log('chain-down', { taskId, error: error.message.replaceAll('\n', ' ') })
    }
    await new Promise((resolve) => setTimeout(resolve, PROGRESS_MS))
  }
}

/**
 * The submitter's interest in a claim whose solver or verifiers went away: whatever anybody may do, some seconds after they should have.
 * @returns looks at a claim and does what is due
 */
function openNudge({ services, court }: BitloomNode): (taskId: bigint, claimId: bigint, nowSeconds: number) => Promise<void> {
  const { bitloom } = services
  let still = { stage: '', since: 0 }
  return async (taskId, claimId, nowSeconds) => {
    const [audit, quarrels] = await Promise.all([auditView(bitloom, claimId), court.gamesAbout(claimId)])
    const stage = `${claimId} ${audit.stage} ${audit.deadline}`
    if (stage !== still.stage) still = { stage, since: nowSeconds }
    if (nowSeconds <= still.since + GRACE_SECONDS) return
    const games = quarrels.map(viewOf)
    for (const game of games)
      if (!game.decided && nowSeconds > game.deadline + GRACE_SECONDS) await play(bitloom, game.gameId, { kind: 'timeout' })
    const chore = choreOf(audit, games, nowSeconds, GRACE_SECONDS)
    if (chore === 'settle') await settleTask(bitloom, taskId)
    else if (chore !== undefined) await { draw, redraw, lapse, sweep }[chore](bitloom, claimId)
  }
}

export class TaskError extends Error {
  override name = 'node.TaskError'
}
