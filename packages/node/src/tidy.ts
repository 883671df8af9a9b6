// What a node keeps on disk, and for how long: all that a living task, an open claim or a late question may need, and nothing else, so that no month of work fills a disk.

import type { Claim, Task } from '@bitloom/sdk'
import type { Hex } from 'viem'
import { type Bundle, rootsRoot } from './bundle.ts'
import type { Book } from './exchange.ts'
import { REPLAYS, type ReplayNote } from './roles/replays.ts'
import type { Services } from './services.ts'

/** A task that is done or cancelled keeps its contents and last state this long, for whoever fetches the model late. */
export const KEEP_ENDED_SECONDS = 86_400
/** One that waits for its submitter (halted, never confirmed): as long as a person may forget it. */
export const KEEP_WAITING_SECONDS = 30 * 86_400

/** What tidying asks the chain. */
export type Chain = {
  readonly task: (taskId: bigint) => Promise<Pick<Task, 'status' | 'state'>>
  readonly claim: (claimId: bigint) => Promise<Pick<Claim, 'status' | 'startState' | 'endState'>>
}

export type Tidied = { readonly tasks: number; readonly claims: number; readonly blobs: number; readonly bytes: number }

export type Tidier = {
  /** Tidies once; long enough apart (an hour) that no blob of a fetch under way is without an owner at two visits in a row. */
  readonly tidy: (nowSeconds: number) => Promise<Tidied>
}

type Kept = Pick<Services, 'store' | 'blobs' | 'checkpoints'>

/** Tables whose keys are a claim's number. */
const CLAIM_TABLES = ['books', 'findings', 'findings-unasked', 'own-claims'] as const
/** Tables whose keys are a task's number. */
const TASK_TABLES = ['bundles', 'tasks', 'offered', 'lies', 'at-rest'] as const

export function openTidier({ store, blobs, checkpoints }: Kept, chain: Chain): Tidier {
  let orphans: ReadonlySet<string> = new Set()
  const keysOf = (tables: readonly string[]): Set<string> => new Set(tables.flatMap((table) => store.list(table).map(({ key }) => key)))
  const taskOf = (segmentKey: string): string => segmentKey.split('/')[0]!

  /** Whether nobody will ask for a task any more; notes since when it has been at rest. */
  const isOver = (id: string, status: Task['status'], now: number): boolean => {
    const known = store.get<{ status: string; since: number }>('at-rest', id)
    if (status === 'running' || known?.status !== status) {
      store.put('at-rest', id, { status, since: now })
      return false
    }
    return now - known.since > (status === 'done' || status === 'cancelled' ? KEEP_ENDED_SECONDS : KEEP_WAITING_SECONDS)
  }

  const tidy = async (now: number): Promise<Tidied> => {
    // Claims before tasks: what settles in between is then either still open here, or the accepted state there.
    const claims = new Map<string, Awaited<ReturnType<Chain['claim']>>>()
    for (const id of keysOf(CLAIM_TABLES)) claims.set(id, await chain.claim(BigInt(id)))
    const tasks = new Map<string, Awaited<ReturnType<Chain['task']>>>()
    for (const id of new Set([...keysOf(TASK_TABLES), ...store.list('segments').map(({ key }) => taskOf(key))]))
      tasks.set(id, await chain.task(BigInt(id)))

    // From here on nothing waits, so no role comes in between. What it has added since is not among those asked about, and stays.
    const needed = new Set<Hex>()
    const unneeded = new Set<Hex>()
    const over = new Set<string>()
    for (const [id, { status, state }] of tasks) {
      if (isOver(id, status, now)) over.add(id)
      ;(over.has(id) ? unneeded : needed).add(state)
    }
    const watched = keysOf(['watched', 'watched-unasked'])
    const closed: string[] = []
    for (const id of keysOf(CLAIM_TABLES)) {
      const claim = claims.get(id)
      const open = claim === undefined || claim.status === 'open' || watched.has(id)
      const states = (store.get<Book>('books', id)?.leaves ?? []).map((leaf) => leaf.stateRoot)
      if (claim !== undefined) states.push(claim.startState, claim.endState)
      for (const state of states) (open ? needed : unneeded).add(state)
      if (!open) closed.push(id)
    }
    for (const { key, value } of store.list<Bundle>('bundles')) (over.has(key) ? unneeded : needed).add(rootsRoot(value.stateRoots))
    const segments = store.list<{ stateRoot: Hex }>('segments')
    // a solver drops its own slices when they settle; what it has besides is needed until the task is over
    for (const { key, value } of segments) (over.has(taskOf(key)) ? unneeded : needed).add(value.stateRoot)
    for (const { value } of store.list<ReplayNote>(REPLAYS)) needed.add(value.stateRoot)
    store.transaction(() => {
      for (const id of closed) for (const table of CLAIM_TABLES) store.delete(table, id)
      for (const id of over) for (const table of TASK_TABLES) store.delete(table, id)
      for (const { key } of segments) if (over.has(taskOf(key))) store.delete('segments', key)
      for (const { key, value } of store.list<{ taskId: string }>('leaves')) if (over.has(value.taskId)) store.delete('leaves', key)
    })
    const contents = store.list<Bundle>('bundles').flatMap(({ value }) => [value.graphRoot, ...value.dataRoots, ...value.stateRoots])
    checkpoints.drop(
      [...unneeded].filter((state) => !needed.has(state)),
      contents,
    )

    const owned = new Set<string>([...contents, ...checkpoints.tensors()])
    const alone = blobs.list().filter(({ root }) => !owned.has(root))
    const gone = alone.filter(({ root }) => orphans.has(root))
    for (const { root } of gone) blobs.delete(root)
    orphans = new Set(alone.map(({ root }) => root))
    return { tasks: over.size, claims: closed.length, blobs: gone.length, bytes: gone.reduce((n, { bytes }) => n + bytes, 0) }
  }
  return { tidy }
}
