// The quick way to read a range over HTTP: one answer of a known length into one buffer that is used again and again. Node's own client allocates for every 64 KB,
// which took more time than everything else a transfer does. It knows the one answer that our servers give; whatever else comes is for Node's client to judge.

import { connect, type LookupFunction, type Socket } from 'node:net'
import type { Answer, Patience } from './source.ts'

const READ_BYTES = 1 << 18
const MAX_HEADER_BYTES = 8192

export interface PlainRequest {
  readonly path: string
  /** Bytes [start, end) of what is there, as a Range header says it. */
  readonly range: { readonly start: number; readonly end: number }
  /** Gets the body in order, never more than the range has; a piece is valid only during the call. */
  readonly onBytes: (piece: Uint8Array) => void
  readonly patience: Patience
  readonly signal: AbortSignal
}

export interface PlainClient {
  /** 'unusual': nothing was handed on, and a client that knows more should ask again. */
  get(request: PlainRequest): Promise<Answer | 'unusual'>
  close(): void
}

interface Line {
  readonly socket: Socket
  /** Takes what arrives; undefined while nothing is asked. */
  take: ((bytes: Uint8Array) => void) | undefined
  ended: (() => void) | undefined
}

/** A client for one server, which must have passed all checks of addresses; names are looked up by `lookup`. */
export function plainClient(host: string, port: number, lookup: LookupFunction): PlainClient {
  const idle: Line[] = []
  const all = new Set<Line>()
  const shown = host.includes(':') ? `[${host}]` : host

  const open = (): Line => {
    const buffer = Buffer.allocUnsafe(READ_BYTES)
    const socket = connect({
      host,
      port,
      lookup,
      noDelay: true,
      onread: {
        buffer,
        callback: (count) => {
          // What comes unasked is no answer of ours.
          if (line.take === undefined) socket.destroy()
          else line.take(buffer.subarray(0, count))
          return true
        },
      },
    })
    const line: Line = { socket, take: undefined, ended: undefined }
    all.add(line)
    socket.on('error', () => undefined) // 'close' follows, and says all there is to say
    socket.on('end', () => socket.destroy())
    socket.on('close', () => {
      all.delete(line)
      const at = idle.indexOf(line)
      if (at >= 0) idle.splice(at, 1)
      line.ended?.()
    })
    return line
  }

  return {
    get: ({ path, range, onBytes, patience, signal }) =>
      new Promise((resolve) => {
        if (signal.aborted) return resolve({ ok: false, kind: 'unreachable', detail: 'aborted' })
        const wanted = range.end - range.start
        const line = idle.pop() ?? open()
        let head: Buffer | undefined = Buffer.alloc(0)
        let filled = 0
        const settle = (answer: Answer | 'unusual'): void => {
          clearTimeout(stall)
          clearTimeout(deadline)
          signal.removeEventListener('abort', onAbort)
          line.take = undefined
          line.ended = undefined
          if (answer !== 'unusual' && answer.ok) idle.push(line)
          else line.socket.destroy()
          resolve(answer)
        }
        const late = (detail: string) => (): void => settle({ ok: false, kind: 'stalled', detail })
        const stall = setTimeout(late(`nothing for ${patience.stallMs} ms`), patience.stallMs)
        const deadline = setTimeout(late(`not done in ${patience.deadlineMs} ms`), patience.deadlineMs)
        const onAbort = (): void => settle({ ok: false, kind: 'unreachable', detail: 'aborted' })
        signal.addEventListener('abort', onAbort, { once: true })
        line.ended = () => settle(filled === 0 ? 'unusual' : { ok: false, kind: 'truncated', detail: `${filled} of ${wanted} bytes` })
        line.take = (bytes) => {
          stall.refresh()
          let body = bytes
          if (head !== undefined) {
            // copied, since the buffer is read into again
            head = Buffer.concat([head, bytes])
            const end = head.indexOf('\r\n\r\n')
            if (end < 0) {
              if (head.length > MAX_HEADER_BYTES) settle('unusual')
              return
            }
            if (end > MAX_HEADER_BYTES || !isPlainAnswer(head.subarray(0, end).toString('latin1'), range)) return settle('unusual')
            body = head.subarray(end + 4)
            head = undefined
          }
          if (filled + body.length > wanted) return settle({ ok: false, kind: 'oversize', detail: `more than ${wanted} bytes` })
          filled += body.length
          if (body.length > 0) onBytes(body)
          if (filled === wanted) settle({ ok: true })
        }
        line.socket.write(`GET ${path} HTTP/1.1\r\nhost: ${shown}:${port}\r\nrange: bytes=${range.start}-${range.end - 1}\r\n\r\n`)
      }),
    close() {
      for (const { socket } of all) socket.destroy()
      idle.length = 0
    },
  }
}

/** Whether a head is that of exactly this range, of known length, as it is, on a connection that stays open. */
function isPlainAnswer(head: string, { start, end }: PlainRequest['range']): boolean {
  const [status, ...lines] = head.split('\r\n')
  if (!/^HTTP\/1\.1 206\b/.test(status ?? '')) return false
  const fields = new Map<string, string>()
  for (const line of lines) {
    const at = line.indexOf(':')
    const name = line.slice(0, at).toLowerCase()
    // twice the same field, a folded line, a space before the colon: ways to be read in two ways
    if (at < 1 || !/^[a-z0-9-]+$/.test(name) || fields.has(name)) return false
    fields.set(name, line.slice(at + 1).trim())
  }
  return (
    fields.get('content-length') === String(end - start) &&
    (fields.get('content-range') ?? '').startsWith(`bytes ${start}-${end - 1}/`) &&
    !fields.has('transfer-encoding') &&
    !fields.has('content-encoding') &&
    (fields.get('connection') ?? 'keep-alive').toLowerCase() === 'keep-alive'
  )
}
