// Blobs where no HTTP server can be reached: on streams, through a relay, from liars too; and addresses that strangers tell in order to misuse a node.

import assert from 'node:assert/strict'
import { once } from 'node:events'
import { mkdtempSync, rmSync } from 'node:fs'
import { createServer } from 'node:http'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { fetchBlob } from './blobfetch.ts'
import { type BlobStore, openBlobStore } from './blobs.ts'
import { serveBlobs } from './blobserver.ts'
import { BLOB_PROTOCOL, serveBlobStreams, streamSource } from './blobstreams.ts'
import { fetchFor } from './fetching.ts'
import { GROUP_BYTES } from './groups.ts'
import { httpSource } from './httpsource.ts'
import { type Peers, type PeersOptions, startPeers } from './peers.ts'
import type { Source } from './source.ts'

const dir = mkdtempSync(join(tmpdir(), 'bitloom-streams-'))
const closing: (() => unknown)[] = []
after(async () => {
  for (const close of closing.reverse()) await close()
  rmSync(dir, { recursive: true, force: true })
})

let count = 0
const newStore = (): BlobStore => openBlobStore({ dir: join(dir, `s${count++}`) })

async function peer(options: PeersOptions = {}): Promise<Peers> {
  const peers = await startPeers({ tendEveryMs: 200, ...options })
  closing.push(() => peers.stop())
  return peers
}

/** Deterministic bytes that no compression or sparse file could fake. */
function noise(bytes: number, seed = 1): Uint8Array {
  const words = new Uint32Array(Math.ceil(bytes / 4))
  for (let i = 0, x = seed; i < words.length; i++) words[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0
  return new Uint8Array(words.buffer, 0, bytes)
}

test('blobs of every size come over streams, and whoever has none says so', async () => {
  const source = newStore()
  const serving = await peer()
  await serveBlobStreams(serving, source)
  const asking = await peer()
  for (const bytes of [0, 1, 5000, GROUP_BYTES, GROUP_BYTES + 1, 11 * GROUP_BYTES + 77]) {
    const data = noise(bytes, bytes + 1)
    const { root } = await source.put(data)
    const store = newStore()
    const sources = [streamSource(asking, serving.addresses()[0]!)]
    const verdict = await fetchBlob({ root, bytes, urls: [], sources, store })
    assert.equal(verdict.ok, true, JSON.stringify(verdict))
    assert.deepEqual(await store.get(root), data)
  }
  const { root } = await newStore().put(noise(3 * GROUP_BYTES, 9))
  const verdict = await fetchBlob({
    root,
    bytes: 3 * GROUP_BYTES,
    urls: [],
    sources: [streamSource(asking, serving.id)],
    store: newStore(),
  })
  assert.deepEqual(verdict.ok ? [] : verdict.badPeers, [{ url: serving.id, kind: 'missing', detail: '' }])
})

test('a blob comes through a relay when its holder is behind a router, and streams are the last resort', async () => {
  const relay = await peer()
  const holder = await peer({ listen: [], behindRouter: true, bootstrap: relay.addresses() })
  const source = newStore()
  await serveBlobStreams(holder, source)
  const data = noise(6 * GROUP_BYTES + 5)
  const { root, bytes } = await source.put(data)
  for (const end = performance.now() + 20_000; holder.addresses().length === 0; await sleep(50)) assert.ok(performance.now() < end)
  const asking = await peer({ bootstrap: relay.addresses() })
  const store = newStore()
  const log: unknown[] = []
  // its HTTP address leads nowhere: what an offer of a node behind a router might still say
  const urls = ['http://127.0.0.1:9999', holder.addresses()[0]!]
  const got = await fetchFor({ peers: asking, blobs: store, log: (...line) => log.push(line) }, root, bytes, urls)
  assert.deepEqual(got, data)
  assert.deepEqual(log, [])

  // Where HTTP delivers, nobody's relay is used.
  const server = await serveBlobs({ store: source })
  closing.push(() => server.stop())
  let asked = 0
  const counted: Source = {
    ...streamSource(asking, holder.id),
    async read() {
      asked++
      return { ok: false, kind: 'missing', detail: '' }
    },
  }
  assert.equal((await fetchBlob({ root, bytes, urls: [server.url], sources: [counted], scope: 'loopback', store: newStore() })).ok, true)
  assert.equal(asked, 0)
})

test('a peer that lies on a stream is named, held to it and in the end kept out', async () => {
  const liar = await peer()
  const held = noise(GROUP_BYTES, 3)
  await liar.serveStreams(BLOB_PROTOCOL, 8, async (stream) => {
    for await (const question of stream) {
      void question
      stream.send(new Uint8Array([0]))
      stream.send(held)
    }
  })
  const asking = await peer()
  const log: string[] = []
  const roots: `0x${string}`[] = []
  for (let n = 0; n < 4; n++) roots.push((await newStore().put(noise(GROUP_BYTES, 100 + n))).root)
  for (const root of roots) {
    const got = await fetchFor({ peers: asking, blobs: newStore(), log: (event) => log.push(event) }, root, GROUP_BYTES, [
      liar.addresses()[0]!,
    ])
    assert.equal(got, undefined)
  }
  assert.deepEqual(log, Array(4).fill('blob-missing'))
  assert.deepEqual(asking.banned(), [liar.id])
  assert.equal((await asking.connect(liar.addresses()[0]!)).ok, false)
  // It may shake hands, for that is how it is known; then it is out.
  await liar.connect(asking.addresses()[0]!)
  await sleep(300)
  assert.ok(!asking.connected().includes(liar.id) && !liar.connected().includes(asking.id))
})

test('rubbish on a blob stream is refused, and the holder goes on', async () => {
  const source = newStore()
  const { root, bytes } = await source.put(noise(2 * GROUP_BYTES))
  const holder = await peer()
  await serveBlobStreams(holder, source)
  const bad = await peer()
  const say = async (question: Uint8Array): Promise<number | undefined> => {
    const stream = await bad.openStream(holder.addresses()[0]!, BLOB_PROTOCOL, AbortSignal.timeout(5000))
    stream.send(question)
    await stream.close()
    for await (const piece of stream) return piece.subarray()[0]
    return undefined
  }
  const question = (length: bigint, first: number, groups: number): Uint8Array => {
    const all = new Uint8Array(48)
    all.set(Buffer.from(root.slice(2), 'hex'))
    const view = new DataView(all.buffer)
    view.setBigUint64(32, length)
    view.setUint32(40, first)
    view.setUint32(44, groups)
    return all
  }
  assert.equal(await say(question(BigInt(bytes), 0, 1)), 0)
  assert.equal(await say(question(2n ** 64n - 1n, 0, 1)), 3)
  assert.equal(await say(question(BigInt(bytes), 2, 1)), 3)
  assert.equal(await say(question(BigInt(bytes), 0, 0xffffffff)), 3)
  assert.equal(await say(question(BigInt(bytes), 7, 0)), 3)
  assert.equal(await say(question(BigInt(bytes) * 5n, 0, 1)), 1)
  assert.equal(await say(new Uint8Array(20)), undefined)
  const store = newStore()
  assert.equal((await fetchBlob({ root, bytes, urls: [], sources: [streamSource(bad, holder.id)], store })).ok, true)
})

test('strangers cannot make a node ask where it should not: not its own computer, not its home, not by name, not by redirection, nothing but blobs', async () => {
  let asked = 0
  const paths: string[] = []
  const inner = createServer((request, response) => {
    asked++
    paths.push(request.url ?? '')
    response.writeHead(302, { location: `http://127.0.0.1:${port}/admin` }).end()
  }).listen(0, '127.0.0.1')
  await once(inner, 'listening')
  closing.push(() => new Promise((resolve) => inner.close(resolve)))
  const { port } = inner.address() as { port: number }
  const { root, bytes } = await newStore().put(noise(10))
  const urls = [
    `http://127.0.0.1:${port}`,
    `http://localhost:${port}`,
    `http://127.1:${port}`,
    `http://0x7f000001:${port}`,
    `http://2130706433:${port}`,
    `http://[::1]:${port}`,
    `http://[::ffff:127.0.0.1]:${port}`,
    `http://0.0.0.0:${port}`,
    'http://169.254.169.254',
    `http://user@127.0.0.1:${port}`,
    'ftp://127.0.0.1',
  ]
  for (const scope of ['public', 'private'] as const) {
    const verdict = await fetchBlob({ root, bytes, urls, scope, store: newStore() })
    assert.equal(verdict.ok, false)
    assert.deepEqual(verdict.badPeers.map(({ url, kind }) => [url, kind]).sort(), urls.map((url) => [url, 'forbidden']).sort())
  }
  assert.equal(asked, 0)
  for (const path of ['/admin', '/?q=1', '/#x', '/%2e%2e/admin'])
    assert.equal(httpSource(`http://127.0.0.1:${port}${path}`, 'loopback').ok, false)
  // Where it may go, it asks for that blob only and follows nowhere.
  const verdict = await fetchBlob({ root, bytes, urls: [`http://127.0.0.1:${port}`], scope: 'loopback', store: newStore() })
  assert.equal(verdict.ok ? '' : verdict.badPeers[0]?.kind, 'refused')
  assert.ok(paths.length > 0 && paths.every((path) => path === `/blob/${root.slice(2)}?bytes=10`))
  // Nor do its peers' addresses lead there.
  const careful = await peer({ bootstrap: [`/ip4/8.8.8.8/tcp/4001/p2p/${(await peer()).id}`] })
  assert.equal(careful.scope, 'public')
  const dialled = await careful.connect(`/ip4/127.0.0.1/tcp/${port}`)
  assert.equal(dialled.ok, false)
  assert.equal(asked, paths.length)
})

test('headers without end are cut off', async () => {
  const endless = createServer().listen(0, '127.0.0.1')
  await once(endless, 'listening')
  closing.push(() => new Promise((resolve) => endless.close(resolve)))
  let sent = 0
  endless.on('connection', (socket) => {
    socket.on('error', () => undefined)
    socket.write('HTTP/1.1 200 OK\r\n')
    const more = (): void => {
      if (socket.destroyed || sent > 200e6) return
      socket.write(`x-${sent}: ${'y'.repeat(1000)}\r\n`, () => {
        sent += 1000
        more()
      })
    }
    more()
  })
  const { root, bytes } = await newStore().put(noise(10))
  const { port } = endless.address() as { port: number }
  const verdict = await fetchBlob({ root, bytes, urls: [`http://127.0.0.1:${port}`], scope: 'loopback', store: newStore() })
  assert.equal(verdict.ok, false)
  // three attempts, and what the system's own buffers take of each
  assert.ok(sent < 50e6, `${sent} bytes of headers were taken`)
})
