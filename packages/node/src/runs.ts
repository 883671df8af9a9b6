// A submitter's tasks on disk: what was asked for, with which limits, and from which block on; so that a submitter that was killed goes on where it was.

import { type Bitloom, type ChainEvent, explained, readEvents, type SignedOffer, type Spec } from '@bitloom/sdk'
import type { Address, Hex } from 'viem'
import type { Store } from './store.ts'

const RUNS = 'runs'
/** How long transactions of an earlier process may be on their way before it is unclear what it has done. */
const PENDING_MS = 60_000
const LOOK_MS = 250

/** One task under way. */
export type RunNote = {
  readonly id: string
  readonly spec: Spec
  readonly specId: Hex
  /** Unset until the submission is known to be in a block. */
  readonly taskId?: string
  /** Nothing of it is in an earlier block. */
  readonly fromBlock: bigint
  readonly budgetWei?: bigint
  /** Unix seconds of the chain. */
  readonly deadlineAt?: number
  readonly offers: readonly SignedOffer[]
}

/** Notes a run before anything of it is paid. */
export function beginRun(store: Store, run: Omit<RunNote, 'id'>): RunNote {
  const id = Buffer.from(crypto.getRandomValues(new Uint8Array(8))).toString('hex')
  const note = { id, ...run }
  store.put(RUNS, id, note)
  return note
}

export function changeRun(store: Store, note: RunNote, change: Partial<Omit<RunNote, 'id'>>): RunNote {
  const changed = { ...note, ...change }
  store.put(RUNS, note.id, changed)
  return changed
}

export const endRun = (store: Store, note: RunNote): void => void store.delete(RUNS, note.id)

/** Runs of this store that have not ended. */
export const openRuns = (store: Store): RunNote[] => store.list<RunNote>(RUNS).map(({ value }) => value)

/**
 * The unfinished run of a spec, with its task's number where it reached the chain. An earlier process may have died between sending and hearing of it: its
 * transactions are waited for, and the chain's log is asked.
 * @throws {PendingError} a transaction of ours is still on its way
 */
export async function findRun(bitloom: Bitloom, store: Store, specId: Hex): Promise<RunNote | undefined> {
  const note = openRuns(store).find((run) => run.specId === specId)
  if (!note || note.taskId !== undefined) return note
  const me = bitloom.account!.address
  await settled(bitloom, me)
  const { events } = await readEvents(bitloom, note.fromBlock)
  const taken = new Set(openRuns(store).map((run) => run.taskId))
  const found = events.findLast(
    ({ name, args }: ChainEvent) =>
      name === 'Submitted' &&
      (args.submitter as Address).toLowerCase() === me.toLowerCase() &&
      args.specId === specId &&
      !taken.has(String(args.taskId)),
  )
  if (found) return changeRun(store, note, { taskId: String(found.args.taskId) })
  endRun(store, note) // it never reached the chain
  return undefined
}

/** Waits until every transaction that was sent from `who` is in a block. */
async function settled(bitloom: Bitloom, who: Address): Promise<void> {
  const count = (blockTag: 'latest' | 'pending'): Promise<number> =>
    explained('eth_getTransactionCount', () => bitloom.chain.getTransactionCount({ address: who, blockTag }))
  for (const end = performance.now() + PENDING_MS; ; ) {
    const [mined, sent] = await Promise.all([count('latest'), count('pending')])
    if (mined >= sent) return
    if (performance.now() > end)
      throw new PendingError(
        `${sent - mined} transaction(s) of ${who} are not in a block after ${PENDING_MS / 1000} s, and one of them may have submitted this task.\nWait until they are, then start the same command again.`,
      )
    await new Promise((resolve) => setTimeout(resolve, LOOK_MS))
  }
}

export class PendingError extends Error {
  override name = 'node.PendingError'
}
