// Hashes a blob's groups on threads of their own while more of it arrives: the loop that reads sockets must not stop to hash (2.5 ms a MiB).

import { availableParallelism } from 'node:os'
import { Worker } from 'node:worker_threads'
import { fastTensorRoot } from '@bitloom/engine'
import { GROUP_BYTES, groupHeight, groupNode, groupRange, groupsOf } from './groups.ts'

/** Threads of this process, for all transfers together; they start with the first large blob and keep no process alive. */
export const HASH_THREADS = Math.max(1, Math.min(4, availableParallelism() - 1))
/** Fewer groups than this are hashed here: a thread takes 50 ms to start. */
const WORTH_A_THREAD = 8

/** Bytes of one group, in memory that can be handed to a thread and back. */
export type GroupBuffer = Uint8Array<ArrayBuffer>

/** The node over a group, and the buffer that held it: the one passed in may be empty afterwards. */
export type HashGroup = (group: GroupBuffer) => Promise<{ readonly node: Uint8Array; readonly group: GroupBuffer }>

type Job = { readonly resolve: (answer: GroupAnswer) => void; readonly reject: (error: Error) => void }
/** What a thread answers, in the order it was asked. */
export type GroupAnswer = { readonly node: Uint8Array; readonly buffer: ArrayBuffer }
type Thread = { readonly worker: Worker; readonly jobs: Job[] }

const threads: Thread[] = []

function startThread(): Thread {
  const worker = new Worker(new URL('./grouphash-thread.ts', import.meta.url), { execArgv: [] })
  const thread: Thread = { worker, jobs: [] }
  const settled = (): Job | undefined => {
    const job = thread.jobs.shift()
    if (thread.jobs.length === 0) worker.unref()
    return job
  }
  worker.on('message', (answer: GroupAnswer) => settled()?.resolve(answer))
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

/** How to hash the groups of a blob of so many, each in a buffer of `groupBuffer` whose unused end is zeros. */
export function groupHasher(groups: number): HashGroup {
  if (groups < WORTH_A_THREAD) return async (group) => ({ node: fastTensorRoot(group), group })
  while (threads.length < HASH_THREADS) threads.push(startThread())
  return (group) =>
    new Promise((resolve, reject) => {
      const { byteOffset, byteLength } = group
      const thread = threads.reduce((a, b) => (b.jobs.length < a.jobs.length ? b : a))
      thread.worker.ref()
      thread.jobs.push({ resolve: ({ node, buffer }) => resolve({ node, group: new Uint8Array(buffer, byteOffset, byteLength) }), reject })
      thread.worker.postMessage({ buffer: group.buffer, byteOffset, byteLength }, [group.buffer])
    })
}

/** Memory for a group of `bytes` bytes: where the blob has several, a short last one stands at the height of a whole one, over zeros. */
export const groupBuffer = (bytes: number, groups: number): GroupBuffer => new Uint8Array(groups === 1 ? bytes : GROUP_BYTES)

/** The nodes over a whole blob's groups. */
export async function nodesOf(blob: Uint8Array): Promise<Uint8Array[]> {
  const count = groupsOf(blob.length)
  const nodes = new Array<Uint8Array>(count)
  if (count < WORTH_A_THREAD) {
    for (let i = 0; i < count; i++) {
      const { start, end } = groupRange(blob.length, i)
      nodes[i] = groupNode(blob.subarray(start, end), groupHeight(blob.length))
    }
    return nodes
  }
  const hashGroup = groupHasher(count)
  let next = 0
  const lane = async (): Promise<void> => {
    let buffer = groupBuffer(blob.length, count)
    while (next < count) {
      const at = next++
      const { start, end } = groupRange(blob.length, at)
      buffer.set(blob.subarray(start, end))
      buffer.fill(0, end - start)
      const { node, group } = await hashGroup(buffer)
      nodes[at] = node
      buffer = group
    }
  }
  await Promise.all(Array.from({ length: 2 * HASH_THREADS }, lane))
  return nodes
}
