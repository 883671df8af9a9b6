// The thread behind hashing.ts: buffers in, roots out, and the buffers back to where they came from.

import { parentPort } from 'node:worker_threads'
import type { HashReply } from './hashing.ts'
import { hashTensor } from './roots.ts'

const cpuMs = (): number => {
  const { user, system } = process.threadCpuUsage()
  return (user + system) / 1000
}

parentPort!.on('message', (buffers: ArrayBuffer[]) => {
  const before = cpuMs()
  let reply: HashReply
  try {
    const hashed = buffers.map((buffer) => hashTensor(new Uint8Array(buffer)))
    reply = { ok: true, hashed, buffers, cpuMs: cpuMs() - before }
  } catch (error) {
    reply = { ok: false, reason: error instanceof Error ? error.message : String(error) }
  }
  parentPort!.postMessage(reply, reply.ok ? buffers : [])
})
