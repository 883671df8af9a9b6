// The held-out evaluation as a task of its own: submitted, claimed, audited and paid like the training whose result it measures.

import { join } from 'node:path'
import type { Data } from '@bitloom/graph'
import { toHex } from '@bitloom/graph'
import type { Job } from '@bitloom/model'
import { makeReceipt, type Progress, runTask, type startNode, writeFileAtomic } from '@bitloom/node'
import { getRecord, makeSpec, type Plan, quoteFor, rootsOf, type SignedOffer, type Spec } from '@bitloom/sdk'
import { type Cut, type Prepared, tensorIn } from './recipes.ts'

type BitloomNode = Awaited<ReturnType<typeof startNode>>

/** What is asked for, and what it will cost at most. */
export type Judging = { readonly job: Job; readonly spec: Spec; readonly escrowWei: bigint }

/**
 * The evaluation of a trained state as a task: one slice of one segment, because a step too many would count examples twice.
 * @returns undefined where nothing is held back
 */
export async function judgingOf(
  node: BitloomNode,
  prepared: Prepared,
  state: readonly Data[],
  terms: Omit<Plan, keyof Cut>,
  offers: readonly SignedOffer[],
): Promise<Judging | undefined> {
  const held = prepared.judge?.job
  if (!held) return undefined
  const job: Job = { ...held, state: held.stateFor(held.parameters.map(tensorIn(prepared.job, state))) }
  const cut: Cut = { stepsPerCheckpoint: job.steps, checkpointsPerSlice: 1, slices: 1 }
  const spec = makeSpec(job.graph, rootsOf(job.state), rootsOf(job.data), { ...cut, ...terms })
  const best = offers[0]!.offer
  const record = await getRecord(node.services.bitloom, best.solver)
  return { job, spec, escrowWei: quoteFor(spec, job.graph, best, record.streak).escrowWei }
}

/** Has it computed by the network; what it found, and the receipt that proves it, in `directory`. */
export async function claimJudging(
  node: BitloomNode,
  { job, spec }: Judging,
  prepared: Prepared,
  offers: readonly SignedOffer[],
  report: (p: Progress) => void,
  directory: string,
): Promise<{ readonly metrics: Readonly<Record<string, number>>; readonly path: string }> {
  const outcome = await runTask(node, { job, spec, offers, report })
  const state = outcome.state as Data[]
  const receipt = await makeReceipt(node.services.bitloom, {
    taskId: outcome.taskId,
    spec,
    graph: job.graph,
    events: outcome.events,
    stateRoots: rootsOf(state).map(toHex),
    submitter: node.services.me,
    files: {},
  })
  const path = join(directory, 'evaluation.receipt.json')
  writeFileAtomic(path, `${JSON.stringify(receipt, null, 1)}\n`)
  return { metrics: prepared.judge!.job.read(state) as Record<string, number>, path }
}
