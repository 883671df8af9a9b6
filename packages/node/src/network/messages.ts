// Questions and answers between two peers: one stream a question, a handler a name, every failure an ordinary value.

import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { addressGroup, reachOf, readAddress } from './addresses.ts'
import { type Budget, encodeFrame, NO_ROOM, openBudget, readFrame, sendFrame, type Verdict } from './frames.ts'
import { createLimiter, createTurns, type Limiter } from './limiter.ts'
import {
  BYTES_BURST,
  BYTES_PER_SECOND,
  MAX_ANSWERING,
  MAX_ANSWERING_PER_ADDRESS,
  MAX_ANSWERING_PER_PEER,
  MAX_INCOMING_BYTES,
  MAX_INCOMING_BYTES_PER_PEER,
  MAX_STREAMS_PER_CONNECTION,
  QUESTION_BURST,
  QUESTIONS_PER_SECOND,
} from './limits.ts'
import type { Fault } from './standing.ts'

export const PROTOCOL = '/bitloom/1'
/** The question for addresses, which everybody asks everybody. */
export const ADDRESSES_QUESTION = 'peers'
/** Questions under way to one peer; more wait here, since the peer would reset their streams. */
const MAX_ASKING_PER_PEER = MAX_STREAMS_PER_CONNECTION / 2
const READ_TIMEOUT_MS = 10_000
const HANDLER_TIMEOUT_MS = 60_000
export const REQUEST_TIMEOUT_MS = 15_000
/** A peer that was told 'busy' this often within its bucket's refill is disconnected. */
const MAX_REFUSALS = 500
const MAX_NAME_LENGTH = 64

/** Says whether a body is what a handler expects, and returns it typed; must itself be quick and bounded. */
export type Validate<T> = (body: unknown) => Verdict<T>

export type Handler<T> = (from: string, body: T) => unknown | Promise<unknown>

export type ReplyCode = 'unreachable' | 'timeout' | 'busy' | 'unknown' | 'invalid' | 'refused' | 'failed' | 'malformed'

/** An answer, or why there is none. 'unreachable', 'timeout' and 'malformed' are found here; the others the peer says. */
export type Reply<T = unknown> =
  | { readonly ok: true; readonly value: T }
  | { readonly ok: false; readonly code: ReplyCode; readonly reason: string }

export interface RequestOptions<T> {
  readonly timeoutMs?: number
  readonly signal?: AbortSignal
  /** Checks the answer; one that fails is a 'malformed' reply. */
  readonly validate?: Validate<T>
}

export interface Messages {
  /** Answers questions of this name; one handler a name. What it throws as RefusedError is told to the peer, anything else only to `onError`. */
  handle<T>(name: string, validate: Validate<T>, handler: Handler<T>): void
  /** Asks a peer, by its id (when connected or known) or by a full address. Throws only for a body that is no message. */
  request<T = unknown>(to: string, name: string, body: unknown, options?: RequestOptions<T>): Promise<Reply<T>>
  stop(): Promise<void>
}

export interface MessageLimits {
  readonly questionsPerSecond?: number
  readonly questionBurst?: number
}

export interface MessagesOptions {
  /** Faults of our own handlers. */
  readonly onError?: (error: unknown) => void
  readonly limits?: MessageLimits
  /** What peers do wrong. */
  readonly blame?: (peer: string, fault: Fault) => void
  /** A peer was asked or asked something other than for addresses: it is of use. */
  readonly onUse?: (peer: string) => void
}

/** Starts the protocol on a libp2p node. */
export async function startMessages(
  node: Libp2p,
  { onError = () => undefined, limits = {}, blame = () => undefined, onUse = () => undefined }: MessagesOptions = {},
): Promise<Messages> {
  const handlers = new Map<string, { readonly validate: Validate<unknown>; readonly handler: Handler<unknown> }>()
  const state: AnswerState = {
    handlers,
    onError,
    blame,
    onUse,
    incomingFrom: shareBudget(),
    answeringTo: new Map(),
    questions: createLimiter({
      perSecond: limits.questionsPerSecond ?? QUESTIONS_PER_SECOND,
      burst: limits.questionBurst ?? QUESTION_BURST,
    }),
    bytes: createLimiter({ perSecond: BYTES_PER_SECOND, burst: BYTES_BURST }),
    refusals: createLimiter({ perSecond: MAX_REFUSALS / 60, burst: MAX_REFUSALS }),
    answering: 0,
  }
  const turns = createTurns(MAX_ASKING_PER_PEER)
  await node.handle(PROTOCOL, (stream, connection) => answerStream(state, stream, connection), {
    maxInboundStreams: MAX_STREAMS_PER_CONNECTION,
    maxOutboundStreams: 2 * MAX_STREAMS_PER_CONNECTION,
    runOnLimitedConnection: true,
  })
  return {
    handle<T>(name: string, validate: Validate<T>, handler: Handler<T>) {
      if (handlers.has(name)) throw new RangeError(`handle: ${name} has a handler already`)
      if (!isName(name)) throw new RangeError(`handle: "${name}" is not a name of 1 to ${MAX_NAME_LENGTH} characters`)
      handlers.set(name, { validate, handler: handler as Handler<unknown> })
    },
    async request(to, name, body, options = {}) {
      const timeout = AbortSignal.timeout(options.timeoutMs ?? REQUEST_TIMEOUT_MS)
      const signal = options.signal === undefined ? timeout : AbortSignal.any([options.signal, timeout])
      if (!(await turns.enter(to, signal))) return { ok: false, code: 'timeout', reason: 'waited for earlier questions to this peer' }
      try {
        const asked = await ask(node, to, name, body, signal, options.validate)
        if (asked.peer !== undefined) {
          if (asked.reply.ok && name !== ADDRESSES_QUESTION) onUse(asked.peer)
          if (asked.fault !== undefined && !options.signal?.aborted) blame(asked.peer, asked.fault)
        }
        return asked.reply
      } finally {
        turns.leave(to)
      }
    },
    stop: () => node.unhandle(PROTOCOL),
  }
}

interface AnswerState {
  readonly handlers: ReadonlyMap<string, { readonly validate: Validate<unknown>; readonly handler: Handler<unknown> }>
  readonly onError: (error: unknown) => void
  readonly blame: (peer: string, fault: Fault) => void
  readonly onUse: (peer: string) => void
  /** What a peer's unfinished questions may hold, out of what all may. */
  readonly incomingFrom: (peer: string) => Budget
  /** Answers under way to each peer and address. */
  readonly answeringTo: Map<string, number>
  readonly questions: Limiter
  readonly bytes: Limiter
  readonly refusals: Limiter
  answering: number
}

async function answerStream(state: AnswerState, stream: Stream, connection: Connection): Promise<void> {
  const from = connection.remotePeer.toString()
  const busy = async (): Promise<void> => {
    if (state.refusals.take(from)) return finish(stream, { ok: false, code: 'busy', reason: 'too many questions; ask again shortly' })
    connection.abort(new Error('flood'))
    state.blame(from, 'flood')
  }
  let timer = setTimeout(() => stream.abort(new Error('no question in time')), READ_TIMEOUT_MS)
  try {
    if (!state.questions.take(from) || !state.bytes.take(from, 0)) return await busy()
    // Reading is no answering: whoever never ends a question holds its own streams and a little memory, and nobody's turn.
    const budget = state.incomingFrom(from)
    const question = await readFrame(stream, { budget })
    state.bytes.charge(from, question.bytes)
    if (!question.ok && question.reason === NO_ROOM) return await busy()
    // a line that breaks before the first byte is nobody's fault
    if (!question.ok && question.bytes > 0) state.blame(from, 'malformed')
    if (!question.ok) return await finish(stream, { ok: false, code: 'malformed', reason: question.reason })
    const places = [from, hostOf(connection)].filter((place) => place !== undefined)
    if (state.answering >= MAX_ANSWERING || places.some((place, i) => (state.answeringTo.get(place) ?? 0) >= ANSWERING_MOST[i]!))
      return await busy()
    state.answering++
    for (const place of places) state.answeringTo.set(place, (state.answeringTo.get(place) ?? 0) + 1)
    clearTimeout(timer)
    timer = setTimeout(() => stream.abort(new Error('time-out')), HANDLER_TIMEOUT_MS + READ_TIMEOUT_MS)
    try {
      await finish(stream, await answer(state, question.value, from))
    } finally {
      state.answering--
      for (const place of places) {
        const left = (state.answeringTo.get(place) ?? 1) - 1
        if (left > 0) state.answeringTo.set(place, left)
        else state.answeringTo.delete(place)
      }
    }
  } catch (error) {
    // The peer left or stalled; a fault of ours was reported where it happened.
    stream.abort(error as Error)
  } finally {
    clearTimeout(timer)
  }
}

/** A budget for all, and a share of it for each. The beginning of a question is free: small ones get in whatever large ones are on their way. */
function shareBudget(): (peer: string) => Budget {
  const all = openBudget(MAX_INCOMING_BYTES)
  const held = new Map<string, number>()
  return (peer) => {
    let begun = false
    let own = 0
    return {
      take(bytes) {
        if (!begun) {
          begun = true
          return true
        }
        const now = held.get(peer) ?? 0
        if (now + bytes > MAX_INCOMING_BYTES_PER_PEER || !all.take(bytes)) return false
        held.set(peer, now + bytes)
        own += bytes
        return true
      },
      give() {
        all.give(own)
        const left = (held.get(peer) ?? 0) - own
        if (left > 0) held.set(peer, left)
        else held.delete(peer)
        own = 0
      },
    }
  }
}

/** Answers at once for a peer, and for an address with all its peers. */
const ANSWERING_MOST = [MAX_ANSWERING_PER_PEER, MAX_ANSWERING_PER_ADDRESS]

/** The address that a connection comes from; none for one on this computer, which all its programs share. */
function hostOf(connection: Connection): string | undefined {
  const host = readAddress(connection.remoteAddr.toString())?.host
  return host === undefined || reachOf(host) === 'loopback' ? undefined : addressGroup(host)
}

async function answer(state: AnswerState, question: unknown, from: string): Promise<Reply> {
  const { name, body } = (question ?? {}) as { name?: unknown; body?: unknown }
  const entry = isName(name) ? state.handlers.get(name) : undefined
  if (name !== ADDRESSES_QUESTION) state.onUse(from)
  if (entry === undefined) return { ok: false, code: 'unknown', reason: isName(name) ? `no handler for ${name}` : 'no name' }
  try {
    const checked = entry.validate(body)
    if (!checked.ok) return { ok: false, code: 'invalid', reason: checked.reason.slice(0, 1000) }
    const reply: Reply = { ok: true, value: (await entry.handler(from, checked.value)) ?? null }
    encodeFrame(reply) // an answer that is too large or no document is a fault of ours, found here and not at the peer
    return reply
  } catch (error) {
    if (error instanceof RefusedError) return { ok: false, code: 'refused', reason: error.message.slice(0, 1000) }
    state.onError(error)
    return { ok: false, code: 'failed', reason: 'the handler failed' }
  }
}

async function finish(stream: Stream, reply: Reply): Promise<void> {
  const signal = AbortSignal.timeout(READ_TIMEOUT_MS)
  await sendFrame(stream, reply, signal)
  await stream.close({ signal })
}

async function ask<T>(
  node: Libp2p,
  to: string,
  name: string,
  body: unknown,
  signal: AbortSignal,
  validate?: Validate<T>,
): Promise<{ readonly reply: Reply<T>; readonly peer?: string; readonly fault?: Fault }> {
  let stream: Stream
  let peer: string
  const failed = (code: ReplyCode, reason: string): Reply<T> => ({ ok: false, code, reason })
  try {
    const connection = await node.dial(multiaddr(to.startsWith('/') ? to : `/p2p/${to}`), { signal })
    peer = connection.remotePeer.toString()
    stream = await connection.newStream(PROTOCOL, { signal, runOnLimitedConnection: true })
  } catch (error) {
    return { reply: failed(signal.aborted ? 'timeout' : 'unreachable', (error as Error).message) }
  }
  const onAbort = (): void => stream.abort(new Error('aborted'))
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await sendFrame(stream, { name, body }, signal)
    const frame = await readFrame(stream)
    if (signal.aborted) return { peer, reply: failed('timeout', 'no answer in time'), fault: 'slow' }
    // a line that breaks before the first byte is nobody's fault
    if (!frame.ok && frame.bytes === 0) return { peer, reply: failed('unreachable', frame.reason) }
    if (!frame.ok) return { peer, reply: failed('malformed', frame.reason), fault: 'malformed' }
    const reply = readReply(frame.value)
    if (reply === undefined) return { peer, reply: failed('malformed', 'not a reply'), fault: 'malformed' }
    if (!reply.ok || validate === undefined) return { peer, reply: reply as Reply<T> }
    const checked = validate(reply.value)
    if (checked.ok) return { peer, reply: checked }
    // null is how peers say that they have no such thing
    return { peer, reply: failed('malformed', checked.reason), ...(reply.value === null ? {} : { fault: 'malformed' }) }
  } catch (error) {
    if (isCallersMistake(error)) throw error
    if (signal.aborted) return { peer, reply: failed('timeout', 'no answer in time'), fault: 'slow' }
    return { peer, reply: failed('unreachable', (error as Error).message) }
  } finally {
    signal.removeEventListener('abort', onAbort)
    // A stream that is read to its end costs nothing to close; any other is reset.
    await stream.close({ signal: AbortSignal.timeout(1000) }).catch((error: Error) => stream.abort(error))
  }
}

const isCallersMistake = (error: unknown): boolean => error instanceof RangeError || (error as Error).name === 'DocumentError'

const isName = (name: unknown): name is string => typeof name === 'string' && name.length > 0 && name.length <= MAX_NAME_LENGTH

const SPOKEN_CODES: readonly unknown[] = ['busy', 'unknown', 'invalid', 'refused', 'failed', 'malformed']

function readReply(value: unknown): Reply | undefined {
  const { ok, value: held, code, reason } = (value ?? {}) as { ok?: unknown; value?: unknown; code?: unknown; reason?: unknown }
  if (ok === true) return { ok, value: held }
  if (ok !== false || !SPOKEN_CODES.includes(code)) return undefined
  return { ok, code: code as ReplyCode, reason: typeof reason === 'string' ? reason.slice(0, 1000) : '' }
}

/** Thrown by a handler to tell the peer why it gets no answer. */
export class RefusedError extends Error {
  constructor(reason: string) {
    super(reason)
    this.name = 'RefusedError'
  }
}
