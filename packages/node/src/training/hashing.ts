// Hashing beside training: a thread of its own takes copies of tensors and gives their roots, while the next steps run here.

import { Worker } from 'node:worker_threads'

/** A tensor's bytes in memory that can be handed to another thread and back. */
export type Copy = Uint8Array<ArrayBuffer>

/** What a hashed tensor is stored under, and the nodes over its groups where there are several (network/groups.ts). */
export type Hashed = { readonly root: Uint8Array; readonly nodes: readonly Uint8Array[] }

/** What the thread answers. `buffers` are those that came, in order. */
export type HashReply =
  | { readonly ok: true; readonly hashed: readonly Hashed[]; readonly buffers: readonly ArrayBuffer[]; readonly cpuMs: number }
  | { readonly ok: false; readonly reason: string }

export type Hasher = {
  /**
   * Hashes tensors, one call after the other. The copies are empty meanwhile; `copies` of the answer are they again.
   * @throws {HashingError} the thread failed or was closed
   */
  readonly hash: (
    copies: readonly Copy[],
  ) => Promise<{ readonly hashed: readonly Hashed[]; readonly copies: readonly Copy[]; readonly cpuMs: number }>
  /** Ends the thread; what waits for it fails. */
  readonly close: () => Promise<void>
}

/** A hasher whose thread starts with the first call (some 50 ms) and keeps no process alive while it has nothing to do. */
export function openHasher(): Hasher {
  let worker: Worker | undefined
  let closed = false
  let last: Promise<unknown> = Promise.resolve()
  let waiting: { readonly resolve: (reply: HashReply) => void; readonly reject: (error: Error) => void } | undefined

  const fail = (reason: string): void => {
    worker = undefined
    waiting?.reject(new HashingError(reason))
  }
  const started = (): Worker => {
    if (worker) return worker
    const fresh = new Worker(new URL('./hashing-thread.ts', import.meta.url))
    fresh.on('message', (reply: HashReply) => waiting?.resolve(reply))
    fresh.on('error', (error) => fail(`the hashing thread failed: ${error.message}`))
    fresh.on('exit', (code) => {
      if (worker === fresh) fail(`the hashing thread ended with status ${code}`)
    })
    worker = fresh
    return fresh
  }
  const ask = async (copies: readonly Copy[]): Promise<HashReply> => {
    if (closed) throw new HashingError('hashing was closed')
    const thread = started()
    thread.ref()
    try {
      return await new Promise<HashReply>((resolve, reject) => {
        waiting = { resolve, reject }
        const buffers = copies.map((copy) => copy.buffer)
        thread.postMessage(buffers, buffers)
      })
    } finally {
      waiting = undefined
      thread.unref()
    }
  }
  return {
    hash: async (copies) => {
      const asked = last.then(() => ask(copies))
      last = asked.catch(() => undefined)
      const reply = await asked
      if (!reply.ok) throw new HashingError(reply.reason)
      return { hashed: reply.hashed, copies: reply.buffers.map((buffer) => new Uint8Array(buffer)), cpuMs: reply.cpuMs }
    },
    close: async () => {
      closed = true
      const ending = worker
      fail('hashing was closed')
      await ending?.terminate()
    },
  }
}

/** No roots: the thread failed or was closed. */
export class HashingError extends Error {
  override name = 'node.HashingError'
}
