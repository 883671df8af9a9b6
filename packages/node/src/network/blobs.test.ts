// Tests of blobs over real sockets and processes: what is stored is what the root says, hostile peers are named, and a killed fetch goes on.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { createServer, request as httpRequest, type RequestListener } from 'node:http'
import { connect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { tensorRoot } from '@bitloom/graph/merkle'
import { toHex } from '@bitloom/graph/sha256'
import { type FetchOptions, fetchBlob as fetchFrom } from './blobfetch.ts'
import { BlobDamagedError, BlobQuotaError, type BlobStore, openBlobStore } from './blobs.ts'
import { type BlobServer, serveBlobs } from './blobserver.ts'
import { GROUP_BYTES } from './groups.ts'

const dir = mkdtempSync(join(tmpdir(), 'bitloom-blobs-'))
const closing: (() => Promise<unknown>)[] = []
after(async () => {
  for (const close of closing) await close()
  rmSync(dir, { recursive: true, force: true })
})

/** All peers of these tests are on this computer. */
const fetchBlob = (options: FetchOptions) => fetchFrom({ scope: 'loopback', ...options })

let count = 0
const newStore = (quotaBytes?: number): BlobStore =>
  openBlobStore({ dir: join(dir, `s${count++}`), ...(quotaBytes === undefined ? {} : { quotaBytes }) })

/** Deterministic bytes that no compression or sparse file could fake. */
function noise(bytes: number, seed = 1): Uint8Array {
  const words = new Uint32Array(Math.ceil(bytes / 4))
  for (let i = 0, x = seed; i < words.length; i++) words[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0
  return new Uint8Array(words.buffer, 0, bytes)
}

async function served(store: BlobStore, options: { maxAnswers?: number } = {}): Promise<BlobServer> {
  const server = await serveBlobs({ store, ...options })
  closing.push(() => server.stop())
  return server
}

/** A peer that answers as told. */
async function hostile(listener: RequestListener): Promise<string> {
  const server = createServer(listener).listen(0, '127.0.0.1')
  await once(server, 'listening')
  closing.push(() => {
    server.closeAllConnections()
    return new Promise((resolve) => server.close(resolve))
  })
  return `http://127.0.0.1:${(server.address() as { port: number }).port}`
}

/** A peer that serves the truth except where `twist` says otherwise. */
const twisted = (data: Uint8Array, honest: string, twist: (range: { start: number; body: Buffer }) => Buffer): Promise<string> =>
  hostile(async (request, response) => {
    if (request.url?.includes('groups=1')) {
      const list = Buffer.from(await (await fetch(`${honest}${request.url}`)).arrayBuffer())
      response.end(list)
      return
    }
    const [, start, end] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? 'bytes=0-99999999') as RegExpExecArray
    response.writeHead(206)
    response.end(twist({ start: Number(start), body: Buffer.from(data.subarray(Number(start), Number(end) + 1)) }))
  })

test('roots are tensor roots at every size, from bytes and from streams', async () => {
  const store = newStore()
  for (const bytes of [0, 1, 1023, 1024, 1025, 5000, GROUP_BYTES - 1, GROUP_BYTES, GROUP_BYTES + 1, 3 * GROUP_BYTES + 77]) {
    const data = noise(bytes, bytes + 1)
    const { root } = await store.put(data)
    assert.equal(root, toHex(tensorRoot(data)), `${bytes} bytes`)
    assert.deepEqual(await store.get(root), data)
    const streamed = newStore()
    const pieces = (async function* () {
      for (let at = 0; at < bytes; at += 100_003) yield data.subarray(at, at + 100_003)
    })()
    assert.deepEqual(await streamed.put(pieces), { root, bytes })
  }
})

test('two lengths of zeros share a root and a file, and both can be read and fetched', async () => {
  const store = newStore()
  const short = await store.put(new Uint8Array(5 * GROUP_BYTES + 3))
  const long = await store.put(new Uint8Array(7 * GROUP_BYTES))
  assert.equal(short.root, long.root)
  assert.equal(store.list().length, 1)
  assert.equal(store.usedBytes(), 7 * GROUP_BYTES)
  const { url } = await served(store)
  for (const bytes of [5 * GROUP_BYTES + 3, 8 * GROUP_BYTES]) {
    const there = newStore()
    assert.equal((await fetchBlob({ root: short.root, bytes, urls: [url], store: there })).ok, true)
    assert.equal((await there.get(short.root, bytes))?.length, bytes)
  }
  assert.equal(store.has(short.root, 9 * GROUP_BYTES), false)
  assert.equal((await fetch(`${url}/blob/${short.root}?bytes=${9 * GROUP_BYTES}`)).status, 404)
})

test('a store survives reopening, deletes, keeps its quota, and notices a damaged file', async () => {
  const store = newStore(3_000_000)
  const { root } = await store.put(noise(2_000_000))
  await assert.rejects(store.put(noise(1_500_000, 5)), BlobQuotaError)
  assert.equal(store.usedBytes(), 2_000_000)
  assert.deepEqual(readdirSync(join(store.dir, 'incoming')), [])
  await store.put(noise(2_000_000).subarray(0, 900_000))
  writeFileSync(join(store.dir, 'incoming', 'left-over'), 'x')
  const again = openBlobStore({ dir: store.dir })
  assert.equal(again.usedBytes(), 2_900_000)
  assert.equal((await again.get(root))?.length, 2_000_000)
  const path = join(store.dir, root.slice(2, 4), root.slice(4))
  const bytes = readFileSync(path)
  bytes[1_234_567] ^= 1
  writeFileSync(path, bytes)
  await assert.rejects(again.get(root), BlobDamagedError)
  assert.equal(again.has(root), false)
  assert.equal(await again.get(root), undefined)
  assert.throws(() => again.has('0x12'), RangeError)
  const broken = (async function* () {
    yield noise(10)
    throw new Error('source failed')
  })()
  await assert.rejects(again.put(broken), /source failed/)
  assert.equal(again.usedBytes(), 900_000)
})

test('the server answers ranges, HEAD, groups and preflights, and refuses what it does not know', async () => {
  const store = newStore()
  const data = noise(2 * GROUP_BYTES + 10)
  const { root } = await store.put(data)
  const { url } = await served(store)
  const at = `${url}/blob/${root.slice(2)}`
  const whole = await fetch(at)
  assert.equal(whole.status, 200)
  assert.equal(whole.headers.get('access-control-allow-origin'), '*')
  assert.deepEqual(new Uint8Array(await whole.arrayBuffer()), data)
  for (const [range, start, end] of [
    ['bytes=5-9', 5, 10],
    ['bytes=2097152-', 2097152, 2097162],
    ['bytes=-3', 2097159, 2097162],
    ['bytes=2097160-99999999', 2097160, 2097162],
  ] as const) {
    const part = await fetch(at, { headers: { range } })
    assert.equal(part.status, 206)
    assert.equal(part.headers.get('content-range'), `bytes ${start}-${end - 1}/${data.length}`)
    assert.deepEqual(new Uint8Array(await part.arrayBuffer()), data.slice(start, end))
  }
  for (const range of ['bytes=9-5', 'bytes=99999999-', 'bytes=0-1,3-4', 'lines=1-2', 'bytes=-', `bytes=${'9'.repeat(30)}-`])
    assert.equal((await fetch(at, { headers: { range } })).status, 416, range)
  assert.equal((await (await fetch(`${at}?groups=1`)).arrayBuffer()).byteLength, 96)
  const head = await fetch(at, { method: 'HEAD' })
  assert.equal(head.headers.get('content-length'), String(data.length))
  assert.equal((await fetch(at, { method: 'OPTIONS' })).status, 204)
  assert.equal((await fetch(at, { method: 'DELETE' })).status, 405)
  assert.equal((await fetch(`${url}/blob/${'0'.repeat(64)}`)).status, 404)
  for (const path of [
    '/',
    '/blob/12',
    '/blob/../../etc/passwd',
    `/blob/${root}?bytes=-1`,
    `/blob/${root}?bytes=1e9`,
    `/blob/${root}?${'a'.repeat(300)}`,
  ])
    assert.equal((await fetch(`${url}${path}`)).status, 400, path)
})

test('the server bounds answers under way, cuts off silent sockets and survives rubbish', async () => {
  const store = newStore()
  const { root } = await store.put(noise(30 * GROUP_BYTES))
  const server = await served(store, { maxAnswers: 2 })
  // Two readers that ask and never read fill the two places.
  const idle = [1, 2].map(() => {
    const socket = connect(server.port, '127.0.0.1')
    socket.on('error', () => undefined)
    socket.pause()
    socket.write(`GET /blob/${root} HTTP/1.1\r\nHost: x\r\n\r\n`)
    return socket
  })
  await sleep(300)
  assert.equal((await fetch(`${server.url}/blob/${root}`)).status, 503)
  for (const socket of idle) socket.destroy()
  await sleep(200)
  const raw = connect(server.port, '127.0.0.1')
  raw.write(noise(5000, 9))
  raw.on('error', () => undefined)
  raw.resume()
  await once(raw, 'close', { signal: AbortSignal.timeout(5000) })
  const part = await fetch(`${server.url}/blob/${root}`, { headers: { range: 'bytes=0-9' } })
  assert.equal(part.status, 206)
})

test('a blob comes from several peers although one lies, one is short, one sends too much, one stalls, one is not there', async () => {
  const data = noise(12 * GROUP_BYTES + 12345)
  const source = newStore()
  const { root, bytes } = await source.put(data)
  const honest = (await served(source)).url
  const liar = await twisted(data, honest, ({ body }) => {
    body[body.length >> 1] ^= 4
    return body
  })
  const short = await twisted(data, honest, ({ body }) => body.subarray(0, body.length - 1))
  const fat = await twisted(data, honest, ({ body }) => Buffer.concat([body, Buffer.alloc(1 << 22)]))
  const stalled = await hostile((request, response) => {
    if (!request.url?.includes('groups')) response.writeHead(206)
    response.write('x')
  })
  const listLiar = await hostile((_, response) => response.end(Buffer.alloc(13 * 32, 7)))
  const missing = await hostile((_, response) => response.writeHead(404).end())
  const urls = [listLiar, stalled, missing, liar, 'http://127.0.0.1:1', short, 'file:///etc/passwd', fat, honest]
  const store = newStore()
  let last = 0
  const verdict = await fetchBlob({ root, bytes, urls, store, stallMs: 500, onProgress: ({ doneBytes }) => (last = doneBytes) })
  assert.equal(verdict.ok, true, JSON.stringify(verdict))
  assert.equal(last, bytes)
  assert.deepEqual(await store.get(root), data)
  const kinds = Object.fromEntries(verdict.badPeers.map(({ url, kind }) => [url, kind]))
  assert.equal(kinds[listLiar], 'lied')
  assert.equal(kinds[liar], 'lied')
  assert.equal(kinds[fat], 'oversize')
  assert.equal(kinds[missing], 'missing')
  assert.equal(kinds['file:///etc/passwd'], 'forbidden')
  assert.equal(kinds[honest], undefined)
})

test('each kind of bad peer alone is a verdict, and nothing of it enters the store', async () => {
  const data = noise(2 * GROUP_BYTES)
  const source = newStore()
  const { root, bytes } = await source.put(data)
  const honest = (await served(source)).url
  const cases: [string, string][] = [
    [await twisted(data, honest, ({ body }) => Buffer.alloc(body.length)), 'lied'],
    [await twisted(data, honest, ({ body }) => body.subarray(0, -1)), 'truncated'],
    [await twisted(data, honest, ({ body }) => Buffer.concat([body, body])), 'oversize'],
    [await hostile((request) => request.socket.write('HTTP/1.1 206 OK\r\ncontent-length: 1048576\r\n\r\nabc')), 'stalled'],
    [await hostile((request) => request.socket.destroy()), 'unreachable'],
    [await hostile((_, response) => response.writeHead(302, { location: honest }).end()), 'refused'],
    [await hostile((request) => request.socket.end(Buffer.from(noise(3000)))), 'unreachable'],
  ]
  for (const [url, kind] of cases) {
    const store = newStore()
    const verdict = await fetchBlob({ root, bytes, urls: [url], store, stallMs: 300 })
    assert.equal(verdict.ok, false)
    assert.deepEqual(
      verdict.badPeers.map((peer) => [peer.url, peer.kind]),
      [[url, kind]],
    )
    assert.equal(store.has(root), false)
  }
  const none = await fetchBlob({ root, bytes, urls: [], store: newStore() })
  assert.equal(none.ok, false)
  // A wrong length is found out: the list of groups does not fit the root.
  assert.equal((await fetchBlob({ root, bytes: bytes + GROUP_BYTES * 3, urls: [honest], store: newStore() })).ok, false)
})

test('a peer that trickles is left at the deadline, and an abort ends a fetch at once', async () => {
  const data = noise(2 * GROUP_BYTES)
  const source = newStore()
  const { root, bytes } = await source.put(data)
  const honest = (await served(source)).url
  const trickle = await hostile(async (request, response) => {
    if (request.url?.includes('groups')) return response.end(Buffer.from(await (await fetch(`${honest}${request.url}`)).arrayBuffer()))
    response.writeHead(206)
    const timer = setInterval(() => response.write('x'), 50)
    response.on('close', () => clearInterval(timer))
  })
  const store = newStore()
  const slow = await fetchBlob({ root, bytes, urls: [trickle], store, groupDeadlineMs: 300 })
  assert.deepEqual(
    slow.badPeers.map((peer) => peer.kind),
    ['stalled'],
  )
  const start = performance.now()
  const aborted = await fetchBlob({ root, bytes, urls: [trickle], store, signal: AbortSignal.timeout(200) })
  assert.equal(aborted.ok ? '' : aborted.code, 'aborted')
  assert.ok(performance.now() - start < 2000)
  assert.deepEqual(aborted.badPeers, [])
  assert.equal((await fetchBlob({ root, bytes, urls: [trickle, honest], store })).ok, true)
})

test('a quota too small is a verdict that names itself', async () => {
  const source = newStore()
  const { root, bytes } = await source.put(noise(2 * GROUP_BYTES))
  const verdict = await fetchBlob({ root, bytes, urls: [(await served(source)).url], store: newStore(GROUP_BYTES) })
  assert.equal(verdict.ok ? '' : verdict.code, 'quota')
})

test('two fetches of one blob at once share the work', async () => {
  const source = newStore()
  const { root, bytes } = await source.put(noise(3 * GROUP_BYTES))
  const store = newStore()
  const urls = [(await served(source)).url]
  const verdicts = await Promise.all([1, 2, 3].map(() => fetchBlob({ root, bytes, urls, store })))
  assert.deepEqual(
    verdicts.map((v) => v.ok),
    [true, true, true],
  )
  assert.equal(store.usedBytes(), bytes)
})

test('a fetch killed with -9 goes on where it was, and bytes that the crash spoiled are fetched again', async () => {
  const data = noise(20 * GROUP_BYTES + 5)
  const source = newStore()
  const { root, bytes } = await source.put(data)
  const honest = (await served(source)).url
  const asked = new Set<number>() // groups
  // Slow enough that the kill falls in the middle.
  const slow = await hostile(async (request, response) => {
    if (!request.url?.includes('groups')) {
      const [, start, end] = /bytes=(\d+)-(\d+)/.exec(request.headers.range ?? '') as RegExpExecArray
      for (let at = Number(start); at <= Number(end); at += GROUP_BYTES) asked.add(at / GROUP_BYTES)
      await sleep(250)
    }
    const body = httpRequest(
      `${honest}${request.url}`,
      { headers: request.headers.range === undefined ? {} : { range: request.headers.range } },
      (answer) => {
        response.writeHead(answer.statusCode ?? 500)
        answer.pipe(response)
      },
    )
    body.end()
  })
  const folder = join(dir, 'killed')
  const program = `
    import { fetchBlob } from ${JSON.stringify(join(import.meta.dirname, 'blobfetch.ts'))}
    import { openBlobStore } from ${JSON.stringify(join(import.meta.dirname, 'blobs.ts'))}
    const store = openBlobStore({ dir: ${JSON.stringify(folder)} })
    await fetchBlob({ root: ${JSON.stringify(root)}, bytes: ${bytes}, urls: [${JSON.stringify(slow)}], store, scope: 'loopback', onProgress: ({ doneBytes }) => console.log(doneBytes) })`
  const child = spawn(process.execPath, ['--input-type=module-typescript', '-e', program], { stdio: ['ignore', 'pipe', 'inherit'] })
  child.stdout.on('data', (text) => {
    if (Number(String(text).trim().split('\n').at(-1)) > 8 * GROUP_BYTES) child.kill('SIGKILL')
  })
  const [, signal] = await once(child, 'close')
  assert.equal(signal, 'SIGKILL')
  const partial = join(folder, 'partial', `${root.slice(2)}-${bytes}`)
  const marks = readFileSync(`${partial}.marks`)
  const marked = marks.reduce((sum, mark) => sum + mark, 0)
  assert.ok(marked >= 8 && marked < 21)
  const spoiled = readFileSync(partial)
  spoiled[marks.indexOf(1) * GROUP_BYTES + 17] ^= 1
  writeFileSync(partial, spoiled)

  asked.clear()
  const store = openBlobStore({ dir: folder })
  const verdict = await fetchBlob({ root, bytes, urls: [slow], store })
  assert.equal(verdict.ok, true)
  assert.ok(verdict.ok && verdict.resumedBytes >= (marked - 2) * GROUP_BYTES)
  assert.equal(asked.size, 21 - (marked - 1))
  assert.deepEqual(await store.get(root), data)
  assert.deepEqual(readdirSync(join(folder, 'partial')), [])
  assert.equal(store.usedBytes(), bytes)
})
