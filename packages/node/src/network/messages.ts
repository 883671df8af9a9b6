// Questions and answers between two peers: one stream a question, a handler a name, every failure an ordinary value.

import type { Connection, Libp2p, Stream } from '@libp2p/interface'
import { multiaddr } from '@multiformats/multiaddr'
import { encodeFrame, readFrame, sendFrame, type Verdict } from './frames.ts'
import { createLimiter, createTurns, type Limiter } from './limiter.ts'

export const PROTOCOL = '/bitloom/1'
/** Questions a second of one peer, and how many may come at once. */
export const QUESTIONS_PER_SECOND = 50
export const QUESTION_BURST = 200
/** Bytes of questions a second of one peer, and how many may come at once. */
export const BYTES_PER_SECOND = 4 << 20
export const BYTES_BURST = 16 << 20
/** Questions being answered at once, for all peers, and streams of one connection. */
const MAX_ANSWERING = 128
const MAX_STREAMS_PER_CONNECTION = 32
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

/** Starts the protocol on a libp2p node. */
export async function startMessages(
  node: Libp2p,
  onError: (error: unknown) => void = () => undefined,
  limits: MessageLimits = {},
): Promise<Messages> {
  const handlers = new Map<string, { readonly validate: Validate<unknown>; readonly handler: Handler<unknown> }>()
  const state: AnswerState = {
    handlers,
    onError,
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
        return await ask(node, to, name, body, signal, options.validate)
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
  readonly questions: Limiter
  readonly bytes: Limiter
  readonly refusals: Limiter
  answering: number
}

async function answerStream(state: AnswerState, stream: Stream, connection: Connection): Promise<void> {
  const from = connection.remotePeer.toString()
  const timer = setTimeout(() => stream.abort(new Error('time-out')), READ_TIMEOUT_MS + HANDLER_TIMEOUT_MS)
  try {
    if (state.answering >= MAX_ANSWERING || !state.questions.take(from) || !state.bytes.take(from, 0)) {
      if (!state.refusals.take(from)) {
        connection.abort(new Error('flood'))
        return
      }
      await finish(stream, { ok: false, code: 'busy', reason: 'too many questions; ask again shortly' })
      return
    }
    state.answering++
    try {
      await finish(stream, await answer(state, stream, from))
    } finally {
      state.answering--
    }
  } catch (error) {
    // The peer left or stalled; a fault of ours was reported where it happened.
    stream.abort(error as Error)
  } finally {
    clearTimeout(timer)
  }
}

async function answer(state: AnswerState, stream: Stream, from: string): Promise<Reply> {
  const timer = setTimeout(() => stream.abort(new Error('no question in time')), READ_TIMEOUT_MS)
  const question = await readFrame(stream).finally(() => clearTimeout(timer))
  state.bytes.charge(from, question.bytes)
  if (!question.ok) return { ok: false, code: 'malformed', reason: question.reason }
  const { name, body } = (question.value ?? {}) as { name?: unknown; body?: unknown }
  const entry = isName(name) ? state.handlers.get(name) : undefined
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
): Promise<Reply<T>> {
  const failed = (code: ReplyCode, reason: string): Reply<T> => ({ ok: false, code, reason })
  let stream: Stream
  try {
    stream = await node.dialProtocol(multiaddr(to.startsWith('/') ? to : `/p2p/${to}`), PROTOCOL, { signal })
  } catch (error) {
    return failed(signal.aborted ? 'timeout' : 'unreachable', (error as Error).message)
  }
  const onAbort = (): void => stream.abort(new Error('aborted'))
  signal.addEventListener('abort', onAbort, { once: true })
  try {
    await sendFrame(stream, { name, body }, signal)
    const frame = await readFrame(stream)
    if (signal.aborted) return failed('timeout', 'no answer in time')
    if (!frame.ok) return failed('malformed', frame.reason)
    const reply = readReply(frame.value)
    if (reply === undefined) return failed('malformed', 'not a reply')
    if (!reply.ok || validate === undefined) return reply as Reply<T>
    const checked = validate(reply.value)
    return checked.ok ? checked : failed('malformed', checked.reason)
  } catch (error) {
    if (isCallersMistake(error)) throw error
    return failed(signal.aborted ? 'timeout' : 'unreachable', (error as Error).message)
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
