// A node under attack from one address: idle and garbage connections, streams, oversized and unfinished messages. Its memory stays bounded; others are served.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { openBlobStore } from './blobs.ts'
import { MAX_CONNECTIONS } from './limits.ts'
import { PROTOCOL } from './messages.ts'
import { startPeers } from './peers.ts'

/** What the whole attack may make the node hold at any moment, garbage not counted; it sends eight times as much. */
const MAX_HELD_BYTES = 100e6
/** And what it may grow by as the system sees it, garbage that was not collected yet included. */
const MAX_GROWTH_BYTES = 400e6
const dir = mkdtempSync(join(tmpdir(), 'bitloom-flood-'))
const closing: (() => unknown)[] = []
after(async () => {
  for (const close of closing.reverse()) await close()
  rmSync(dir, { recursive: true, force: true })
})

type State = {
  readonly addresses: string[]
  readonly http: string
  readonly rss: number
  readonly held: number
  readonly connected: number
}

/** A node in a process of its own, so that its memory is nobody else's. Each line in is a question for its state. */
async function victim(root: string) {
  const program = `
    import { createInterface } from 'node:readline'
    import { openBlobStore } from ${JSON.stringify(join(import.meta.dirname, 'blobs.ts'))}
    import { serveBlobs } from ${JSON.stringify(join(import.meta.dirname, 'blobserver.ts'))}
    import { serveBlobStreams } from ${JSON.stringify(join(import.meta.dirname, 'blobstreams.ts'))}
    import { startPeers } from ${JSON.stringify(join(import.meta.dirname, 'peers.ts'))}
    const peers = await startPeers({ listen: ['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.1/tcp/0/ws'] })
    peers.handle('echo', (body) => ({ ok: true, value: body }), (_, body) => body)
    const store = openBlobStore({ dir: ${JSON.stringify(root)} })
    const server = await serveBlobs({ store })
    await serveBlobStreams(peers, store)
    createInterface({ input: process.stdin }).on('line', () => {
      const { rss } = process.memoryUsage()
      gc()
      const { heapUsed, external } = process.memoryUsage()
      console.log(JSON.stringify({ addresses: peers.addresses(), http: server.url, rss, held: heapUsed + external, connected: peers.connected().length }))
    })`
  const child = spawn(process.execPath, ['--expose-gc', '--input-type=module-typescript', '-e', program], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  closing.push(() => child.kill('SIGKILL'))
  const lines = createInterface({ input: child.stdout })
  return async (): Promise<State> => {
    child.stdin.write('\n')
    const [line] = (await once(lines, 'line')) as [string]
    return JSON.parse(line) as State
  }
}

/** Sockets from another address of this computer, as one attacker's would be. */
function attack(port: number, count: number, onOpen: (socket: Socket) => void): () => void {
  const sockets = Array.from({ length: count }, () => {
    const socket = connect({ port, host: '127.0.0.1', localAddress: '127.0.0.2' })
    socket.on('error', () => undefined)
    socket.on('connect', () => onOpen(socket))
    socket.resume()
    return socket
  })
  return () => {
    for (const socket of sockets) socket.destroy()
  }
}

test('one address that floods a node in every way it can neither fills its memory nor keeps others out', async () => {
  const root = join(dir, 'blobs')
  const blob = await openBlobStore({ dir: root }).put(new Uint8Array(3 << 20).map((_, i) => i * 7))
  const ask = await victim(root)
  const before = await ask()
  const [address] = before.addresses as [string]
  const port = Number(/tcp\/(\d+)/.exec(address)![1])
  const httpPort = Number(new URL(before.http).port)
  const rubbish = new Uint8Array(5000).map((_, i) => (i * 7919) >> 3)
  const trickling = new Set<Socket>()

  // What needs no key: silence, one byte at a time, garbage, again and again; on the blob server too.
  const stops: (() => void)[] = []
  const wave = (): void => {
    stops.push(attack(port, 150, () => undefined))
    stops.push(attack(port, 50, (socket) => trickling.add(socket)))
    stops.push(attack(port, 100, (socket) => socket.end(rubbish)))
    stops.push(attack(httpPort, 150, (socket) => socket.write('GET /blob/')))
    stops.push(attack(httpPort, 50, (socket) => socket.write(`GET /blob/${blob.root} HTTP/1.1\r\nx: ${'y'.repeat(100_000)}`)))
  }
  const trickle = setInterval(() => {
    for (const socket of trickling) if (!socket.destroyed) socket.write('x')
  }, 100)
  closing.push(() => clearInterval(trickle))

  // What needs a key costs nothing either, for keys are free: many streams, each promising a megabyte that never comes to its end.
  const strangers = await Promise.all(
    Array.from({ length: 6 }, async () => {
      const node = await createLibp2p({
        transports: [tcp()],
        connectionEncrypters: [noise()],
        streamMuxers: [yamux()],
        connectionManager: { maxConnections: 100 },
      })
      closing.push(() => node.stop())
      return node
    }),
  )
  let cut = 0
  const promise = async (node: (typeof strangers)[number]): Promise<void> => {
    try {
      const stream = await node.dialProtocol(multiaddr(address), PROTOCOL, { signal: AbortSignal.timeout(5000) })
      const frame = new Uint8Array(300_000)
      new DataView(frame.buffer).setUint32(0, 1 << 20)
      stream.send(frame)
    } catch {
      cut++ // refused, which is what is hoped for; the figures below are what counts
    }
  }

  const honest = await startPeers({ bootstrap: [address] })
  closing.push(() => honest.stop())
  let peak = 0
  let most = 0
  let served = 0
  for (let round = 0; round < 8; round++) {
    wave()
    void Promise.all(strangers.flatMap((node) => Array.from({ length: 60 }, () => promise(node))))
    await sleep(500)
    const reply = await honest.request(address, 'echo', `round ${round}`)
    assert.deepEqual(reply, { ok: true, value: `round ${round}` })
    const part = await fetch(`${before.http}/blob/${blob.root}`, { signal: AbortSignal.timeout(10_000) })
    if (part.status === 200 && (await part.arrayBuffer()).byteLength === blob.bytes) served++
    const { rss, held, connected } = await ask()
    peak = Math.max(peak, rss)
    most = Math.max(most, held)
    assert.ok(connected <= MAX_CONNECTIONS)
  }
  // A newcomer gets in as well.
  const late = await startPeers()
  closing.push(() => late.stop())
  assert.deepEqual(await late.request(address, 'echo', 'late'), { ok: true, value: 'late' })
  assert.equal(served, 8)
  const mb = (bytes: number): string => `${(bytes / 1e6).toFixed(0)} MB`
  console.log(`held: ${mb(before.held)} before, ${mb(most)} at most; resident: ${mb(before.rss)}, ${mb(peak)}; ${cut} streams refused`)
  assert.ok(most - before.held < MAX_HELD_BYTES, `${mb(most - before.held)} more held than before`)
  assert.ok(peak - before.rss < MAX_GROWTH_BYTES, `${mb(peak - before.rss)} more than before`)
  assert.ok(cut > 0, 'no stream was refused')
  for (const stop of stops) stop()
})
