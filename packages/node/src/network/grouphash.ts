// Hashes a blob's groups on threads of their own while more of it arrives: the loop that reads sockets must not stop to hash (1 to 2.5 ms a MiB).

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { fastTensorRoot } from '@bitloom/engine'
import { GROUP_BYTES, groupHeight, groupNode, groupRange, groupsOf } from './groups.ts'

/** Threads of this process, for all transfers together; they start with the first large blob and keep no process alive. */
export const HASH_THREADS = Math.max(1, Math.min(4, availableParallelism() - 1))
/** Fewer groups than this are hashed here: a thread takes 50 ms to start. */
const WORTH_A_THREAD = 8

/** Memory that the threads see too: handing it back and forth instead made V8 collect garbage for a third of a transfer's time. */
export type GroupBuffer = Uint8Array<SharedArrayBuffer>

/** The node over a group. */
export type HashGroup = (group: GroupBuffer) => Promise<Uint8Array>

/** What a thread is asked: memory it does not know yet comes along once. */
export type GroupQuestion = { readonly id: number; readonly memory?: SharedArrayBuffer; readonly forget?: true }

type Job = { readonly resolve: (node: Uint8Array) => void; readonly reject: (error: Error) => void }
type Thread = { readonly worker: Worker; readonly jobs: Job[]; readonly knows: Set<number> }

const threads: Thread[] = []
const ids = new WeakMap<SharedArrayBuffer, number>()
let count = 0
/** Memory that nobody can reach any more is let go by the threads too. */
const gone = new FinalizationRegistry<number>((id) => {
  for (const { worker, knows } of threads) if (knows.delete(id)) worker.postMessage({ id, forget: true } satisfies GroupQuestion)
})

function startThread(): Thread {
  // without this process's own flags, which may be about what it runs
  const worker = new Worker(new URL('./grouphash-thread.ts', import.meta.url), { execArgv: [] })
  const thread: Thread = { worker, jobs: [], knows: new Set() }
  worker.on('message', (node: Uint8Array) => {
    const job = thread.jobs.shift()
    if (thread.jobs.length === 0) worker.unref()
    job?.resolve(node)
  })
  const fail = (error: Error): void => {
    const at = threads.indexOf(thread)
    if (at >= 0) threads.splice(at, 1)
    for (const job of thread.jobs.splice(0)) job.reject(error)
  }
  worker.on('error', fail)
  worker.on('exit', (code) => fail(new Error(`a hashing thread ended with status ${code}`)))
  worker.unref()
  return thread
}

/** How to hash the groups of a blob of so many, each in a buffer of `groupBuffer` whose unused end is zeros and which is left alone meanwhile. */
export function groupHasher(groups: number): HashGroup {
  if (groups < WORTH_A_THREAD) return async (group) => fastTensorRoot(group)
  while (threads.length < HASH_THREADS) threads.push(startThread())
  return (group) =>
    new Promise((resolve, reject) => {
      while (threads.length === 0) threads.push(startThread()) // one that failed is replaced
      const thread = threads.reduce((a, b) => (b.jobs.length < a.jobs.length ? b : a))
      const memory = group.buffer
      let id = ids.get(memory)
      if (id === undefined) {
        id = count++
        ids.set(memory, id)
        gone.register(memory, id)
      }
      thread.worker.ref()
      thread.jobs.push({ resolve, reject })
      thread.worker.postMessage((thread.knows.has(id) ? { id } : { id, memory }) satisfies GroupQuestion)
      thread.knows.add(id)
    })
}

/** Memory for a group of `bytes` bytes: where the blob has several, a short last one stands at the height of a whole one, over zeros. */
export const groupBuffer = (bytes: number, groups: number): GroupBuffer =>
  new Uint8Array(new SharedArrayBuffer(groups === 1 ? bytes : GROUP_BYTES))

/** The nodes over a whole blob's groups. */
export async function nodesOf(blob: Uint8Array): Promise<Uint8Array[]> {
  const groups = groupsOf(blob.length)
  const nodes = new Array<Uint8Array>(groups)
  if (groups < WORTH_A_THREAD) {
    for (let i = 0; i < groups; i++) {
      const { start, end } = groupRange(blob.length, i)
      nodes[i] = groupNode(blob.subarray(start, end), groupHeight(blob.length))
    }
    return nodes
  }
  const hashGroup = groupHasher(groups)
  let next = 0
  const lane = async (): Promise<void> => {
    const buffer = groupBuffer(blob.length, groups)
    while (next < groups) {
      const at = next++
      const { start, end } = groupRange(blob.length, at)
      buffer.set(blob.subarray(start, end))
      buffer.fill(0, end - start)
      nodes[at] = await hashGroup(buffer)
    }
  }
  await Promise.all(Array.from({ length: 2 * HASH_THREADS }, lane))
  return nodes
}
