// An RPC endpoint that misbehaves on command: it stands between a node and a chain, and stalls, loses answers, lies about its head, or talks nonsense.

import { createServer, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'

type Call = { readonly id: number; readonly method: string; readonly params?: readonly unknown[] }
type Answer = { readonly jsonrpc: '2.0'; readonly id: number; result?: unknown; error?: unknown }

/**
 * `stall`: no answer at all · `deaf`: the request is thrown away · `lose`: it is carried out, and the answer is lost · `refuse`: HTTP 503 · `error`: an internal
 * error of JSON-RPC · `garbage`: no JSON · `nonsense`: JSON that answers something else · `huge`: an answer without an end · `stale`: the head stands still.
 */
export type Mood = 'well' | 'stall' | 'deaf' | 'lose' | 'refuse' | 'error' | 'garbage' | 'nonsense' | 'huge' | 'stale'

export type RpcProxy = {
  readonly url: string
  /** From now on; `methods`: only requests with one of these among them, all by default. `times`: then well again. */
  readonly be: (mood: Mood, options?: { readonly methods?: readonly string[]; readonly times?: number }) => void
  /** Answers eth_chainId with this. */
  readonly pose: (chainId: number) => void
  /** Requests so far by method, whatever became of them. */
  readonly asked: ReadonlyMap<string, number>
  /** Bytes of endless answers that somebody took before hanging up. */
  readonly poured: () => number
  readonly stop: () => Promise<void>
}

const MAX_BODY = 4 << 20
const POUR_LIMIT = 256 << 20

/** Starts a proxy before the chain at `target`. */
export async function startRpcProxy(target: string): Promise<RpcProxy> {
  const asked = new Map<string, number>()
  let mood: Mood = 'well'
  let methods: readonly string[] | undefined
  let left = Number.POSITIVE_INFINITY
  let posed: number | undefined
  let frozen: Promise<Map<string, unknown>> | undefined
  let poured = 0

  const forward = async (body: string): Promise<Answer | Answer[]> => {
    const response = await fetch(target, { method: 'POST', headers: { 'content-type': 'application/json' }, body })
    return (await response.json()) as Answer | Answer[]
  }
  const headNow = async (): Promise<Map<string, unknown>> => {
    const ask = async (method: string, params: unknown[]): Promise<unknown> =>
      ((await forward(JSON.stringify({ jsonrpc: '2.0', id: 1, method, params }))) as Answer).result
    return new Map([
      ['eth_blockNumber', await ask('eth_blockNumber', [])],
      ['eth_getBlockByNumber', await ask('eth_getBlockByNumber', ['latest', false])],
    ])
  }
  /** What a proxy that stands still says instead, of calls about the head. */
  const staleAnswer = (call: Call, head: Map<string, unknown>): unknown =>
    call.method === 'eth_blockNumber' || (call.method === 'eth_getBlockByNumber' && call.params?.[0] === 'latest')
      ? head.get(call.method)
      : undefined

  const pour = (response: ServerResponse): void => {
    response.writeHead(200, { 'content-type': 'application/json' })
    const chunk = Buffer.alloc(1 << 20, 32)
    const more = (): void => {
      while (!response.destroyed && poured < POUR_LIMIT) {
        poured += chunk.length
        if (!response.write(chunk)) return void response.once('drain', more)
      }
      response.destroy()
    }
    more()
  }
  const answer = async (body: string, response: ServerResponse): Promise<void> => {
    const parsed = JSON.parse(body) as Call | Call[]
    const calls = Array.isArray(parsed) ? parsed : [parsed]
    for (const { method } of calls) asked.set(method, (asked.get(method) ?? 0) + 1)
    let now: Mood = 'well'
    if (mood !== 'well' && (!methods || calls.some(({ method }) => methods!.includes(method)))) {
      now = mood
      if (--left <= 0) mood = 'well'
    }
    const send = (answers: Answer[]): void =>
      void response.writeHead(200, { 'content-type': 'application/json' }).end(JSON.stringify(Array.isArray(parsed) ? answers : answers[0]))
    if (now === 'stall') return
    if (now === 'deaf') return void response.destroy()
    if (now === 'refuse') return void response.writeHead(503).end('busy')
    if (now === 'garbage')
      return void response.writeHead(200, { 'content-type': 'application/json' }).end('<html>sign in to the Wi-Fi</html>')
    if (now === 'huge') return pour(response)
    if (now === 'error') return send(calls.map(({ id }) => ({ jsonrpc: '2.0', id, error: { code: -32603, message: 'internal error' } })))
    if (now === 'nonsense') return send(calls.map(({ id }) => ({ jsonrpc: '2.0', id, result: { all: 'well' } })))
    const truth = await forward(body)
    if (now === 'lose') return void response.destroy()
    const head = now === 'stale' ? await (frozen ??= headNow()) : undefined
    const byId = new Map((Array.isArray(truth) ? truth : [truth]).map((one) => [one.id, one]))
    send(
      calls.map((call) => {
        const one = byId.get(call.id)!
        if (posed !== undefined && call.method === 'eth_chainId') return { ...one, result: `0x${posed.toString(16)}` }
        const stale = head && staleAnswer(call, head)
        return stale === undefined ? one : { ...one, result: stale }
      }),
    )
  }
  const server = createServer((request, response) => {
    const chunks: Buffer[] = []
    let bytes = 0
    request.on('data', (chunk: Buffer) => {
      bytes += chunk.length
      if (bytes > MAX_BODY) request.destroy()
      else chunks.push(chunk)
    })
    request.on('end', () => void answer(Buffer.concat(chunks).toString(), response).catch(() => response.destroy()))
  })
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    be: (next, options = {}) => {
      mood = next
      methods = options.methods
      left = options.times ?? Number.POSITIVE_INFINITY
      frozen = next === 'stale' ? headNow() : undefined
    },
    pose: (chainId) => {
      posed = chainId
    },
    asked,
    poured: () => poured,
    stop: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
