// Frames: how one message travels over a stream. Four bytes of length (big-endian), then that many bytes of a document's text in UTF-8.

import { DocumentError, decodeDocument, encodeDocument, MAX_DOCUMENT_DEPTH } from '../document.ts'
import { MAX_MESSAGE_BYTES } from './limits.ts'

export { MAX_MESSAGE_BYTES } from './limits.ts'

const PREFIX_BYTES = 4
/** What a frame that announces more begins with: memory follows what has arrived, not what was promised. */
const FIRST_BYTES = 4096

/** What is said about something a stranger sent: the thing, or why it is not one. */
export type Verdict<T> = { readonly ok: true; readonly value: T } | { readonly ok: false; readonly reason: string }

/** The part of a libp2p stream that a frame needs; also what a test can make. */
export interface ByteStream extends AsyncIterable<Uint8Array | { subarray(): Uint8Array }> {
  send(data: Uint8Array): boolean
  onDrain(options?: { signal?: AbortSignal }): Promise<void>
}

/** The bytes of a message. Throws DocumentError for a value that is no document, RangeError for one over 1 MiB. */
export function encodeFrame(value: unknown): Uint8Array {
  const text = Buffer.from(encodeDocument(value))
  if (text.length > MAX_MESSAGE_BYTES)
    throw new RangeError(`a message of ${text.length} bytes; at most ${MAX_MESSAGE_BYTES}. Send a blob's root instead.`)
  const frame = new Uint8Array(PREFIX_BYTES + text.length)
  new DataView(frame.buffer).setUint32(0, text.length)
  frame.set(text, PREFIX_BYTES)
  return frame
}

/** Sends one message and waits until the stream takes more. */
export async function sendFrame(stream: ByteStream, value: unknown, signal: AbortSignal): Promise<void> {
  if (!stream.send(encodeFrame(value))) await stream.onDrain({ signal })
}

/** Bytes that messages on their way in may hold together; what is given back is all that was taken. */
export interface Budget {
  /** False: there is no room for so many more. */
  take(bytes: number): boolean
  give(bytes: number): void
}

/** Why a message is not read although nothing is wrong with it. */
export const NO_ROOM = 'no room for more messages now; ask again shortly'

/** A budget of `most` bytes. */
export function openBudget(most: number): Budget & { readonly used: () => number } {
  let used = 0
  return {
    take(bytes) {
      if (used + bytes > most) return false
      used += bytes
      return true
    },
    give(bytes) {
      used -= bytes
    },
    used: () => used,
  }
}

/** Reads exactly one message. Holds at most twice what has arrived; the caller's time-out aborts the stream, which ends the wait. */
export async function readFrame(
  stream: ByteStream,
  { maxBytes = MAX_MESSAGE_BYTES, budget }: { readonly maxBytes?: number; readonly budget?: Budget } = {},
): Promise<Verdict<unknown> & { readonly bytes: number }> {
  let taken = 0
  const take = (bytes: number): boolean => {
    if (budget !== undefined && !budget.take(bytes)) return false
    taken += bytes
    return true
  }
  try {
    return await collect(stream, maxBytes, take)
  } finally {
    budget?.give(taken)
  }
}

async function collect(
  stream: ByteStream,
  maxBytes: number,
  take: (bytes: number) => boolean,
): Promise<Verdict<unknown> & { readonly bytes: number }> {
  const prefix = new Uint8Array(PREFIX_BYTES)
  let length = 0
  let body: Uint8Array | undefined
  let filled = 0
  const refuse = (reason: string) => ({ ok: false, reason, bytes: filled }) as const
  for await (const piece of stream) {
    let data = piece instanceof Uint8Array ? piece : piece.subarray()
    if (body === undefined) {
      const taken = Math.min(PREFIX_BYTES - filled, data.length)
      prefix.set(data.subarray(0, taken), filled)
      filled += taken
      data = data.subarray(taken)
      if (filled < PREFIX_BYTES) continue
      length = new DataView(prefix.buffer).getUint32(0)
      if (length > maxBytes) return refuse(`a message of ${length} bytes announced; at most ${maxBytes}`)
      body = new Uint8Array(Math.min(length, FIRST_BYTES))
      if (!take(body.length)) return refuse(NO_ROOM)
      filled = 0
    }
    if (filled + data.length > length) return refuse(`more bytes than the ${length} announced`)
    if (filled + data.length > body.length) {
      const larger = new Uint8Array(Math.min(length, Math.max(filled + data.length, 2 * body.length)))
      if (!take(larger.length - body.length)) return refuse(NO_ROOM)
      larger.set(body.subarray(0, filled))
      body = larger
    }
    body.set(data, filled)
    filled += data.length
    if (filled === length) return { ...parseMessage(body), bytes: filled }
  }
  return refuse(body === undefined ? 'no message' : `ended after ${filled} of ${length} bytes`)
}

/** The value in a message's bytes: UTF-8, a document, no deeper than documents may be. */
export function parseMessage(bytes: Uint8Array): Verdict<unknown> {
  // Looked at before it is parsed, so that a megabyte of brackets costs nothing. Tags double the depth at most.
  if (nestingOf(bytes) > 2 * MAX_DOCUMENT_DEPTH) return { ok: false, reason: `nested deeper than ${MAX_DOCUMENT_DEPTH}` }
  try {
    return { ok: true, value: decodeDocument(new TextDecoder('utf-8', { fatal: true }).decode(bytes)) }
  } catch (error) {
    if (error instanceof DocumentError || error instanceof TypeError) return { ok: false, reason: error.message }
    throw error
  }
}

/** Deepest nesting of brackets outside strings in JSON text; an upper bound when it is not JSON. */
export function nestingOf(text: Uint8Array): number {
  let depth = 0
  let deepest = 0
  let quoted = false
  for (let i = 0; i < text.length; i++) {
    const c = text[i]
    if (quoted) {
      if (c === 0x5c) i++
      else if (c === 0x22) quoted = false
    } else if (c === 0x22) quoted = true
    else if (c === 0x5b || c === 0x7b) deepest = Math.max(deepest, ++depth)
    else if (c === 0x5d || c === 0x7d) depth--
  }
  return deepest
}
