// A peer's blob server, asked by HTTP. Strangers choose the address, so only addresses that a peer could have are asked, only for blobs, and nothing is followed.

import { lookup as dnsLookup } from 'node:dns'
import { Agent as HttpAgent, get as httpGet, type IncomingMessage } from 'node:http'
import { Agent as HttpsAgent, get as httpsGet } from 'node:https'
import { isIP, type LookupFunction } from 'node:net'
import { mayReach, type Scope } from './addresses.ts'
import { groupsOf } from './groups.ts'
import { plainClient } from './plainhttp.ts'
import { type Answer, type Part, type Patience, partBytes, type Source, type TroubleKind } from './source.ts'

const MAX_URL_LENGTH = 256
const MAX_HEADER_BYTES = 8192

/** The source at a base address such as http://1.2.3.4:5678; or why that is none for a node of this scope. */
export function httpSource(
  url: string,
  scope: Scope,
): { readonly ok: true; readonly source: Source } | { readonly ok: false; readonly detail: string } {
  const base = readBase(url)
  if (base === undefined) return { ok: false, detail: 'not an http address' }
  const { origin, host, port, secure } = base
  if (isIP(host) !== 0 && !mayReach(host, port, scope)) return { ok: false, detail: `${host}:${port} is no address that peers send us to` }
  const agent = secure ? new HttpsAgent({ keepAlive: true }) : new HttpAgent({ keepAlive: true })
  const lookup = guardedLookup(port, scope)
  const plain = secure ? undefined : plainClient(host, port, lookup)
  return {
    ok: true,
    source: {
      name: url,
      last: false,
      async read(part, onBytes, patience, signal) {
        const { root, bytes, range } = part
        if (plain !== undefined && range !== 'groups' && range.end > range.start) {
          const answer = await plain.get({ path: `/blob/${root.slice(2)}?bytes=${bytes}`, range, onBytes, patience, signal })
          if (answer !== 'unusual') return answer
        }
        return download({ origin, secure, agent, lookup, part, onBytes, patience, signal })
      },
      close: () => {
        agent.destroy()
        plain?.close()
      },
    },
  }
}

/** A name's addresses, unless one of them is where we may not go: whoever owns the name chooses them, and may choose others the next time. */
const guardedLookup =
  (port: number, scope: Scope): LookupFunction =>
  (hostname, options, callback) =>
    dnsLookup(hostname, { ...options, all: true }, (error, found) => {
      if (error) return callback(error, '')
      const bad = found.find(({ address }) => !mayReach(address, port, scope))
      if (bad !== undefined) return callback(new ForbiddenAddressError(`${hostname} is ${bad.address}`), '')
      if (options.all) return callback(null, found)
      callback(null, found[0]!.address, found[0]!.family)
    })

interface Download {
  readonly origin: string
  readonly secure: boolean
  readonly agent: HttpAgent
  readonly lookup: LookupFunction
  readonly part: Part
  readonly onBytes: (piece: Uint8Array) => void
  readonly patience: Patience
  readonly signal: AbortSignal
}

/** One answer, or how the peer failed; never hands on more than was asked for. */
function download({ origin, secure, agent, lookup, part, onBytes, patience, signal }: Download): Promise<Answer> {
  const { root, bytes, range } = part
  const wanted = partBytes(part, groupsOf(bytes))
  const whole = range === 'groups' || (range.start === 0 && range.end === bytes)
  const url = `${origin}/blob/${root.slice(2)}?bytes=${bytes}${range === 'groups' ? '&groups=1' : ''}`
  const headers = range === 'groups' || range.start === range.end ? {} : { range: `bytes=${range.start}-${range.end - 1}` }
  return new Promise((resolve) => {
    let filled = 0
    let response: IncomingMessage | undefined
    const settle = (answer: Answer): void => {
      clearTimeout(deadline)
      if (!answer.ok) request.destroy()
      resolve(answer)
    }
    const fail = (kind: TroubleKind, detail: string): void => settle({ ok: false, kind, detail })
    const request = (secure ? httpsGet : httpGet)(
      url,
      { headers, agent, lookup, signal, timeout: patience.stallMs, maxHeaderSize: MAX_HEADER_BYTES },
      (incoming) => {
        response = incoming
        const { statusCode } = incoming
        if (statusCode === 404) return fail('missing', '')
        // A redirection is one of the others.
        if (statusCode !== 206 && !(statusCode === 200 && whole)) return fail('refused', `status ${statusCode}`)
        incoming.on('data', (piece: Uint8Array) => {
          if (filled + piece.length > wanted) return fail('oversize', `more than ${wanted} bytes`)
          filled += piece.length
          onBytes(piece)
        })
        incoming.on('end', () => (filled === wanted ? settle({ ok: true }) : fail('truncated', `${filled} of ${wanted} bytes`)))
        incoming.on('error', () => fail('truncated', `${filled} of ${wanted} bytes`))
      },
    )
    const deadline = setTimeout(() => fail('stalled', `not done in ${patience.deadlineMs} ms`), patience.deadlineMs)
    request.on('timeout', () => fail('stalled', `nothing for ${patience.stallMs} ms`))
    request.on('error', (error: NodeJS.ErrnoException) => {
      if (error instanceof ForbiddenAddressError) return fail('forbidden', error.message)
      fail(response === undefined ? 'unreachable' : 'truncated', error.code ?? error.message)
    })
  })
}

/** A peer's base address; undefined unless it is http(s), a host and a port, and nothing else. */
function readBase(
  url: string,
): { readonly origin: string; readonly host: string; readonly port: number; readonly secure: boolean } | undefined {
  if (url.length > MAX_URL_LENGTH || !URL.canParse(url)) return undefined
  const { protocol, username, password, search, hash, origin, pathname, hostname, port } = new URL(url)
  if (
    (protocol !== 'http:' && protocol !== 'https:') ||
    username !== '' ||
    password !== '' ||
    search !== '' ||
    hash !== '' ||
    pathname !== '/'
  )
    return undefined
  const secure = protocol === 'https:'
  return { origin, host: hostname.replace(/^\[|\]$/g, ''), port: port === '' ? (secure ? 443 : 80) : Number(port), secure }
}

/** A name led to where strangers may not send us. */
class ForbiddenAddressError extends Error {
  override name = 'node.ForbiddenAddressError'
}
