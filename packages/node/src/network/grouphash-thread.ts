// A thread behind grouphash.ts: where a group's bytes are in, its node out.

import { parentPort } from 'node:worker_threads'
import type { GroupQuestion } from './grouphash.ts'
import { groupHash } from './nativehash.ts'

const known = new Map<number, Uint8Array>()

parentPort!.on('message', ({ id, memory, forget }: GroupQuestion) => {
  if (forget) {
    known.delete(id)
    return
  }
  if (memory !== undefined) known.set(id, new Uint8Array(memory))
  parentPort!.postMessage(groupHash().hash(known.get(id)!))
})
