// A thread behind grouphash.ts: a group's bytes in, its node out, and the bytes back.

import { parentPort } from 'node:worker_threads'
import { fastTensorRoot } from '@bitloom/engine'
import type { GroupAnswer } from './grouphash.ts'

type Question = { readonly buffer: ArrayBuffer; readonly byteOffset: number; readonly byteLength: number }

parentPort!.on('message', ({ buffer, byteOffset, byteLength }: Question) => {
  const answer: GroupAnswer = { node: fastTensorRoot(new Uint8Array(buffer, byteOffset, byteLength)), buffer }
  parentPort!.postMessage(answer, [buffer])
})
