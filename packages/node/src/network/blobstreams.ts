// Blobs on streams between peers, for where no HTTP server can be reached: behind a router, through a relay. Slower than HTTP, encrypted, as checked.

import { toHex } from '@bitloom/graph/sha256'
import { type BlobStore, MAX_BLOB_BYTES } from './blobs.ts'
import type { ByteStream } from './frames.ts'
import { GROUP_BYTES, groupsOf } from './groups.ts'
import type { Peers } from './peers.ts'
import { type Answer, type Part, type Patience, partBytes, type Source } from './source.ts'

export const BLOB_PROTOCOL = '/bitloom/blob/1'
/** Streams that one connection may have open for blobs, and answers under way to all peers. */
export const MAX_BLOB_STREAMS = 8
export const MAX_BLOB_ANSWERS = 48
/** Questions on one stream before it must be opened anew. */
const MAX_QUESTIONS = 4096
const QUESTION_BYTES = 48
const NO_GROUPS = 0
/** What is sent at a time; the stream's own buffer holds no more than this of us. */
const PIECE_BYTES = 1 << 17
/** A reader that takes nothing for this long is cut off, and so is a stream on which nothing is asked. */
const IDLE_MS = 20_000

const STATUS = { ok: 0, missing: 1, busy: 2, malformed: 3 } as const

/** A part as 48 bytes: root (32), length (8), first group (4), groups (4; 0 asks for the list of nodes). */
function encodeQuestion({ root, bytes, range }: Part): Uint8Array {
  const question = new Uint8Array(QUESTION_BYTES)
  question.set(Buffer.from(root.slice(2), 'hex'))
  const view = new DataView(question.buffer)
  view.setBigUint64(32, BigInt(bytes))
  if (range === 'groups') view.setUint32(44, NO_GROUPS)
  else {
    view.setUint32(40, Math.floor(range.start / GROUP_BYTES))
    view.setUint32(44, Math.max(1, Math.ceil(range.end / GROUP_BYTES) - Math.floor(range.start / GROUP_BYTES)))
  }
  return question
}

function decodeQuestion(question: Uint8Array): Part | undefined {
  const view = new DataView(question.buffer, question.byteOffset, QUESTION_BYTES)
  const length = view.getBigUint64(32)
  if (length > BigInt(MAX_BLOB_BYTES)) return undefined
  const bytes = Number(length)
  const [first, count] = [view.getUint32(40), view.getUint32(44)]
  const root = toHex(question.subarray(0, 32))
  if (count === NO_GROUPS) return first === 0 ? { root, bytes, range: 'groups' } : undefined
  if (first + count > groupsOf(bytes)) return undefined
  return { root, bytes, range: { start: first * GROUP_BYTES, end: Math.min(bytes, (first + count) * GROUP_BYTES) } }
}

/** Reads a stream in the portions that are asked for. Holds what arrived and was not asked for yet: at most the stream's window. */
function openReader(stream: ByteStream) {
  const pieces = stream[Symbol.asyncIterator]()
  let rest: Uint8Array = new Uint8Array(0)
  return {
    /** At least one byte and at most `most`; undefined at the end. The bytes are valid until the next call. */
    async some(most: number): Promise<Uint8Array | undefined> {
      while (rest.length === 0) {
        const { value, done } = await pieces.next()
        if (done) return undefined
        rest = value instanceof Uint8Array ? value : value.subarray()
      }
      const taken = rest.subarray(0, most)
      rest = rest.subarray(taken.length)
      return taken
    },
    /** Exactly `wanted` bytes; undefined when the stream ends before. */
    async exactly(wanted: number): Promise<Uint8Array | undefined> {
      const all = new Uint8Array(wanted)
      for (let filled = 0; filled < wanted; ) {
        const piece = await this.some(wanted - filled)
        if (piece === undefined) return undefined
        all.set(piece, filled)
        filled += piece.length
      }
      return all
    },
  }
}

/** Serves the store's blobs to peers; returns how to stop that. */
export function serveBlobStreams(peers: Peers, store: BlobStore): Promise<() => Promise<void>> {
  let answers = 0
  return peers.serveStreams(BLOB_PROTOCOL, MAX_BLOB_STREAMS, async (stream) => {
    const reader = openReader(stream)
    const watch = setTimeout(() => stream.abort(new Error('idle')), IDLE_MS)
    const send = async (piece: Uint8Array): Promise<void> => {
      watch.refresh()
      if (!stream.send(piece)) await stream.onDrain({ signal: AbortSignal.timeout(IDLE_MS) })
    }
    try {
      for (let asked = 0; asked < MAX_QUESTIONS; asked++) {
        const question = await reader.exactly(QUESTION_BYTES)
        if (question === undefined) break
        const part = decodeQuestion(question)
        if (part === undefined) {
          await send(new Uint8Array([STATUS.malformed]))
          break
        }
        if (answers >= MAX_BLOB_ANSWERS) {
          await send(new Uint8Array([STATUS.busy]))
          continue
        }
        answers++
        try {
          await answer(store, part, send)
        } finally {
          answers--
        }
      }
      await stream.close({ signal: AbortSignal.timeout(IDLE_MS) })
    } finally {
      clearTimeout(watch)
    }
  })
}

async function answer(store: BlobStore, { root, bytes, range }: Part, send: (piece: Uint8Array) => Promise<void>): Promise<void> {
  const nodes = range === 'groups' ? await store.groups(root, bytes) : undefined
  if (!store.has(root, bytes) || (range === 'groups' && nodes === undefined)) return send(new Uint8Array([STATUS.missing]))
  await send(new Uint8Array([STATUS.ok]))
  if (nodes !== undefined) return send(Buffer.concat(nodes))
  const { start, end } = range as { start: number; end: number }
  for await (const piece of store.read(root, bytes, start, end))
    for (let at = 0; at < piece.length; at += PIECE_BYTES) await send(piece.subarray(at, at + PIECE_BYTES))
}

/** A peer as a source, by its id or full address: one stream for each part that is under way, kept for the next. */
export function streamSource(peers: Peers, to: string): Source {
  type Line = { readonly stream: ByteStream & { abort(error: Error): void }; readonly reader: ReturnType<typeof openReader> }
  const idle: Line[] = []
  const all = new Set<Line>()
  const ask = async (part: Part, onBytes: (piece: Uint8Array) => void, patience: Patience, signal: AbortSignal): Promise<Answer> => {
    const wanted = partBytes(part, groupsOf(part.bytes))
    let line: Line
    try {
      line = idle.pop() ?? (await open(signal, patience))
    } catch (error) {
      return { ok: false, kind: 'unreachable', detail: (error as Error).message }
    }
    let filled = 0
    let why: Answer | undefined
    const end = (kind: 'stalled' | 'unreachable', detail: string) => (): void => {
      why ??= { ok: false, kind, detail }
      line.stream.abort(new Error(detail))
    }
    const stall = setTimeout(end('stalled', `nothing for ${patience.stallMs} ms`), patience.stallMs)
    const deadline = setTimeout(end('stalled', `not done in ${patience.deadlineMs} ms`), patience.deadlineMs)
    const onAbort = end('unreachable', 'aborted')
    signal.addEventListener('abort', onAbort, { once: true })
    const over = (answer: Answer): Answer => {
      if (answer.ok) idle.push(line)
      else {
        all.delete(line)
        line.stream.abort(new Error(answer.detail))
      }
      return answer
    }
    try {
      if (!line.stream.send(encodeQuestion(part))) await line.stream.onDrain({ signal })
      const status = (await line.reader.some(1))?.[0]
      if (status === undefined) return over(why ?? { ok: false, kind: 'unreachable', detail: 'the stream ended' })
      if (status === STATUS.missing) {
        idle.push(line)
        return { ok: false, kind: 'missing', detail: '' }
      }
      if (status !== STATUS.ok) return over({ ok: false, kind: 'refused', detail: `status ${status}` })
      while (filled < wanted) {
        const piece = await line.reader.some(wanted - filled)
        if (piece === undefined) return over(why ?? { ok: false, kind: 'truncated', detail: `${filled} of ${wanted} bytes` })
        stall.refresh()
        filled += piece.length
        onBytes(piece)
      }
      return over({ ok: true })
    } catch (error) {
      return over(why ?? { ok: false, kind: filled === 0 ? 'unreachable' : 'truncated', detail: (error as Error).message })
    } finally {
      clearTimeout(stall)
      clearTimeout(deadline)
      signal.removeEventListener('abort', onAbort)
    }
  }
  const open = async (signal: AbortSignal, { stallMs }: Patience): Promise<Line> => {
    const stream = await peers.openStream(to, BLOB_PROTOCOL, AbortSignal.any([signal, AbortSignal.timeout(stallMs)]))
    const line = { stream, reader: openReader(stream) }
    all.add(line)
    return line
  }
  return {
    name: to,
    last: true,
    read: ask,
    close: () => {
      for (const { stream } of all) stream.abort(new Error('done'))
      all.clear()
    },
  }
}
