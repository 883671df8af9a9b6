// Serves blobs over plain HTTP: ranges of the bytes and the list of 1-MiB groups. Whoever reads checks; whoever serves need not be trusted.

import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { pipeline } from 'node:stream/promises'
import { setTimeout as sleep } from 'node:timers/promises'
import { PortTakenError } from '../chain.ts'
import { addressGroup, reachOf } from './addresses.ts'
import { type BlobStore, MAX_BLOB_BYTES, type Root } from './blobs.ts'

/** Answers under way at once, in all and to one remote address; more are told to come back (503). */
export const MAX_ANSWERS = 64
export const MAX_ANSWERS_PER_REMOTE = 32
const MAX_SOCKETS = 256
/** Sockets of one remote address; of this computer's own more, since a whole network may live on it. */
export const MAX_SOCKETS_PER_REMOTE = 32
const MAX_SOCKETS_PER_LOCAL_REMOTE = 192
/** How often sockets that are too slow with their question are looked for; every half minute by default, which lets them pile up. */
const CHECK_SOCKETS_EVERY_MS = 1_000
const MAX_URL_LENGTH = 256
/** A reader that takes nothing for this long is cut off, and so is one that is slower than the least speed over a whole answer. */
const READER_IDLE_MS = 20_000
const LEAST_BYTES_PER_SECOND = 32 * 1024

export interface ServeOptions {
  readonly store: BlobStore
  /** Default 127.0.0.1: this computer only. */
  readonly host?: string
  /** Default: a free one. */
  readonly port?: number
  readonly maxAnswers?: number
  readonly maxAnswersPerRemote?: number
}

export interface BlobServer {
  /** http://host:port, to which /blob/HEX is added. */
  readonly url: string
  readonly port: number
  stop(): Promise<void>
}

/**
 * Serves `/blob/HEX` (a range or all of it), `/blob/HEX?bytes=N` (seen as N bytes long) and `/blob/HEX?bytes=N&groups=1` (32 bytes a group).
 * Throws PortTakenError.
 */
export async function serveBlobs(options: ServeOptions): Promise<BlobServer> {
  const { store, host = '127.0.0.1', maxAnswers = MAX_ANSWERS, maxAnswersPerRemote = MAX_ANSWERS_PER_REMOTE } = options
  const perRemote = new Map<string, number>()
  let answers = 0
  const server = createServer(
    {
      headersTimeout: 5_000,
      requestTimeout: 10_000,
      keepAliveTimeout: 15_000,
      maxHeaderSize: 8192,
      connectionsCheckingInterval: CHECK_SOCKETS_EVERY_MS,
    },
    (request, response) => {
      const remote = addressGroup(request.socket.remoteAddress ?? '')
      const here = perRemote.get(remote) ?? 0
      if (answers >= maxAnswers || here >= maxAnswersPerRemote) {
        end(response, 503, 'busy; try again shortly', { 'retry-after': '1' })
        return
      }
      answers++
      perRemote.set(remote, here + 1)
      void answer(store, request, response)
        .catch((error: Error) => {
          // The reader left, or the file did while it was read: a cut-off body is all that can be said after the headers.
          if (!response.headersSent) end(response, 500, error.name)
          else response.destroy()
        })
        .finally(() => {
          answers--
          const left = (perRemote.get(remote) ?? 1) - 1
          if (left > 0) perRemote.set(remote, left)
          else perRemote.delete(remote)
        })
    },
  )
  server.maxConnections = MAX_SOCKETS
  const sockets = new Map<string, number>()
  server.on('connection', (socket) => {
    const remote = addressGroup(socket.remoteAddress ?? '')
    const here = (sockets.get(remote) ?? 0) + 1
    if (here > (reachOf(remote) === 'loopback' ? MAX_SOCKETS_PER_LOCAL_REMOTE : MAX_SOCKETS_PER_REMOTE)) {
      socket.destroy()
      return
    }
    sockets.set(remote, here)
    socket.once('close', () => {
      const left = (sockets.get(remote) ?? 1) - 1
      if (left > 0) sockets.set(remote, left)
      else sockets.delete(remote)
    })
  })
  server.setTimeout(READER_IDLE_MS, (socket) => socket.destroy())
  await new Promise<void>((resolve, reject) => {
    server.once('error', (cause: NodeJS.ErrnoException) =>
      reject(cause.code === 'EADDRINUSE' ? new PortTakenError(options.port ?? 0, { cause }) : cause),
    )
    server.listen(options.port ?? 0, host, resolve)
  })
  const { port } = server.address() as AddressInfo
  const shown = host.includes(':') ? `[${host}]` : host
  return {
    url: `http://${shown}:${port}`,
    port,
    stop: () =>
      new Promise((resolve) => {
        server.close(() => resolve())
        server.closeAllConnections()
      }),
  }
}

async function answer(store: BlobStore, request: IncomingMessage, response: ServerResponse): Promise<void> {
  if (request.method === 'OPTIONS')
    return end(response, 204, '', { 'access-control-allow-methods': 'GET, HEAD', 'access-control-allow-headers': 'range' })
  if (request.method !== 'GET' && request.method !== 'HEAD') return end(response, 405, 'only GET, HEAD and OPTIONS')
  const asked = readUrl(request.url ?? '')
  if (asked === undefined) return end(response, 400, 'ask for /blob/ and 64 hex digits, with bytes=N and groups=1 if wanted')
  const bytes = asked.bytes ?? store.size(asked.root)
  if (bytes === undefined || !store.has(asked.root, bytes)) return end(response, 404, 'no such blob here')

  const etag = `"${asked.root.slice(2)}"`
  if (asked.groups) {
    const nodes = await store.groups(asked.root, bytes)
    if (nodes === undefined) return end(response, 404, 'no such blob here')
    const list = Buffer.concat(nodes)
    response.writeHead(200, { ...HEADERS, etag, 'content-length': list.length })
    response.end(request.method === 'HEAD' ? undefined : list)
    return
  }
  const range = readRange(request.headers.range, bytes)
  if (range === undefined) return end(response, 416, 'no such range', { 'content-range': `bytes */${bytes}` })
  const { start, end: stop } = range
  const partial = stop - start < bytes || request.headers.range !== undefined
  response.writeHead(partial ? 206 : 200, {
    ...HEADERS,
    etag,
    'accept-ranges': 'bytes',
    'content-length': stop - start,
    ...(partial ? { 'content-range': `bytes ${start}-${stop - 1}/${bytes}` } : {}),
  })
  if (request.method === 'HEAD' || start === stop) {
    response.end()
    return
  }
  const done = new AbortController()
  const late = sleep(READER_IDLE_MS + ((stop - start) / LEAST_BYTES_PER_SECOND) * 1000, undefined, {
    signal: done.signal,
    ref: false,
  }).then(
    () => response.destroy(),
    () => undefined, // the answer was finished in time
  )
  try {
    await pipeline(store.read(asked.root, bytes, start, stop), response)
  } finally {
    done.abort()
    await late
  }
}

/** For browsers: any page may read, also one that is cross-origin isolated. A blob never changes, so it may be kept for ever. */
const HEADERS = {
  'content-type': 'application/octet-stream',
  'cache-control': 'public, max-age=31536000, immutable',
  'access-control-allow-origin': '*',
  'access-control-expose-headers': 'content-range, content-length, etag',
  'cross-origin-resource-policy': 'cross-origin',
  'x-content-type-options': 'nosniff',
}

function end(response: ServerResponse, status: number, text: string, headers: Record<string, string> = {}): void {
  response.writeHead(status, {
    'access-control-allow-origin': '*',
    'cross-origin-resource-policy': 'cross-origin',
    'content-type': 'text/plain',
    ...headers,
  })
  response.end(text)
}

function readUrl(url: string): { readonly root: Root; readonly bytes: number | undefined; readonly groups: boolean } | undefined {
  if (url.length > MAX_URL_LENGTH) return undefined
  const found = /^\/blob\/(?:0x)?([0-9a-fA-F]{64})(?:\?([a-z0-9=&]*))?$/.exec(url)
  if (found === null) return undefined
  const query = new URLSearchParams(found[2] ?? '')
  const text = query.get('bytes')
  const bytes = text === null ? undefined : /^\d{1,15}$/.test(text) ? Number(text) : Number.NaN
  if (bytes !== undefined && !(bytes <= MAX_BLOB_BYTES)) return undefined
  return { root: `0x${found[1].toLowerCase()}`, bytes, groups: query.get('groups') === '1' }
}

/** One range of RFC 9110 §14 as [start, end); the whole without a header; undefined when it cannot be satisfied. Lists of ranges are not offered. */
function readRange(header: string | undefined, bytes: number): { readonly start: number; readonly end: number } | undefined {
  if (header === undefined) return { start: 0, end: bytes }
  const found = /^bytes=(\d{0,15})-(\d{0,15})$/.exec(header)
  if (found === null || (found[1] === '' && found[2] === '')) return undefined
  const start = found[1] === '' ? Math.max(0, bytes - Number(found[2])) : Number(found[1])
  const stop = found[1] === '' || found[2] === '' ? bytes : Math.min(bytes, Number(found[2]) + 1)
  return start < stop ? { start, end: stop } : undefined
}
