// Several RPC endpoints as one: whichever is down, stalls, talks nonsense, lags or serves another chain is passed over, and what was read never goes back in silence.

import { BaseError, type EIP1193RequestFn, http, keccak256, RpcRequestError, stringToHex, type Transport } from 'viem'
import { answerFault } from './answers.ts'

/** What has changed about an endpoint. `endpoint` is its host only: an address may hold a key. */
export type EndpointEvent = {
  readonly endpoint: string
  readonly kind: 'down' | 'behind' | 'other-chain' | 'garbled' | 'switched'
  readonly reason: string
}

export type EndpointState = {
  readonly endpoint: string
  readonly inUse: boolean
  /** Passed over for the moment. */
  readonly resting: boolean
  /** Height of the chain as it told it last; -1 before. */
  readonly head: bigint
  readonly lastTrouble?: string
}

export type EndpointOptions = {
  readonly chainId: number
  /** Addresses whose code every endpoint must agree on. */
  readonly contracts: readonly string[]
  readonly onEvent?: (event: EndpointEvent) => void
  /** Longest wait for one answer, ms. */
  readonly timeoutMs?: number
  /** How long all may lag behind what was read before they are believed, ms: until then it is a lag, afterwards the chain has gone back. */
  readonly patienceMs?: number
  readonly maxAnswerBytes?: number
}

export type Request = { readonly method: string; readonly params?: unknown }

export type Endpoints = {
  /** For viem: every request goes to the endpoint in use, and on to the next where that fails. */
  readonly transport: Transport
  /** Asks every endpoint that is not resting; those that answered, in their order. */
  readonly each: (request: Request) => Promise<unknown[]>
  /** Blocks below this one were read: an endpoint that has not got so far is passed over. */
  readonly reached: (block: bigint) => void
  readonly states: () => EndpointState[]
}

/** One answer: where there is another endpoint to ask, waiting is cut short. */
const [TIMEOUT_ALONE_MS, TIMEOUT_MS] = [10_000, 5_000]
/** Largest answer, bytes: two thousand blocks' logs of a busy market are far below; viem's own bound is lower. */
const MAX_ANSWER_BYTES = 64 << 20
/** Calls made together travel together. */
const BATCH = { batchSize: 32, wait: 0 }
/** Rounds over all endpoints before the chain counts as down, and the pause between them. */
const ROUNDS = 2
const TRIES_ALONE = 3
const PAUSE_MS = 100
/** A failed endpoint rests this long, twice as long each time, up to a minute. */
const [FIRST_REST_MS, LONGEST_REST_MS] = [1_000, 60_000]
const PATIENCE_MS = 10_000
/** The others' heights are asked for this often, and one this many blocks ahead is taken instead. */
const COMPARE_EVERY_MS = 5_000
const LAG_BLOCKS = 3n
/** A block is taken as known to all once this many stand on it. */
const ANCHOR_DEPTH = 3n
/** Tries of a read that lost a race against the next block of a pruned chain. */
const RACES = 8
/** Codes by which servers say that it is they who cannot: internal, limits, methods they do not serve. */
const UNABLE = new Set([-32603, -32005, -32007, -32601, -32004, 429])

type Endpoint = {
  readonly name: string
  readonly ask: (request: Request) => Promise<unknown>
  head: bigint
  vetted: boolean
  restUntil: number
  restMs: number
  trouble: string | undefined
}
type Block = { readonly number: bigint; readonly hash: string }

/** An address without what may be secret in it. */
export function hostOf(url: string): string {
  const parsed = URL.parse(url)
  return parsed ? `${parsed.protocol}//${parsed.host}` : 'an unreadable address'
}

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

/** Opens endpoints; nothing is asked before the first request. `urls`: at least one, the preferred first. */
export function openEndpoints(urls: readonly string[], options: EndpointOptions): Endpoints {
  const { onEvent = () => undefined, patienceMs = PATIENCE_MS } = options
  const alone = urls.length === 1
  const timeout = options.timeoutMs ?? (alone ? TIMEOUT_ALONE_MS : TIMEOUT_MS)
  const all: Endpoint[] = urls.map((url) => {
    const transport = http(url, { timeout, retryCount: 0, batch: BATCH, maxResponseBodySize: options.maxAnswerBytes ?? MAX_ANSWER_BYTES })(
      {},
    )
    return {
      name: hostOf(url),
      ask: (request) => askOne(transport.request as (request: Request) => Promise<unknown>, request),
      ...{ head: -1n, vetted: false, restUntil: 0, restMs: FIRST_REST_MS, trouble: undefined },
    }
  })
  let current = all[0]!
  /** Highest block that was read. */
  let floor = -1n
  /** Hash of all contracts' code, as the first endpoint told it. */
  let identity: string | undefined
  /** A block that every endpoint must know by this hash, and a younger one that becomes it. */
  let anchor: Block | undefined
  let nextAnchor: Block | undefined
  /** Since when nobody was found fit, ms; what lags is believed once this lasts. */
  let strandedSince: number | undefined
  let comparedAt = performance.now()

  const rest = (endpoint: Endpoint, kind: EndpointEvent['kind'], reason: string): void => {
    const now = performance.now()
    if (now < endpoint.restUntil) return
    endpoint.restUntil = now + endpoint.restMs
    endpoint.restMs = Math.min(LONGEST_REST_MS, endpoint.restMs * 2)
    endpoint.vetted = false
    endpoint.trouble = `${kind}: ${reason}`
    if (!alone) onEvent({ endpoint: endpoint.name, kind, reason })
  }
  const patient = (): boolean => {
    strandedSince ??= performance.now()
    return performance.now() - strandedSince < patienceMs
  }

  /** Whether an endpoint serves this network, as far as the others have. @throws {UnfitError} */
  const vet = async (endpoint: Endpoint): Promise<void> => {
    const ask = (method: string, params: readonly unknown[] = []): Promise<unknown> => endpoint.ask({ method, params })
    const [id, head, ...code] = (await Promise.all([
      ask('eth_chainId'),
      ask('eth_blockNumber'),
      ...options.contracts.map((address) => ask('eth_getCode', [address, 'latest'])),
    ])) as string[]
    if (Number(id) !== options.chainId) throw new UnfitError('other-chain', `it serves chain ${Number(id)} instead of ${options.chainId}`)
    const print = keccak256(stringToHex(code.join()))
    if (code.some((bytes) => bytes === '0x')) throw new UnfitError('other-chain', "the network's contracts are not there")
    if (identity !== undefined && print !== identity) throw new UnfitError('other-chain', "the contracts' code is another than elsewhere")
    endpoint.head = BigInt(head!)
    if (endpoint.head < floor && patient()) throw new UnfitError('behind', `it is at block ${endpoint.head}; ${floor} was read already`)
    if (anchor !== undefined && anchor.number <= endpoint.head) {
      const block = (await ask('eth_getBlockByNumber', [`0x${anchor.number.toString(16)}`, false])) as { hash: string } | null
      if (block !== null && block.hash !== anchor.hash && patient())
        throw new UnfitError('other-chain', `its block ${anchor.number} is another than the one that was read`)
    }
    identity ??= print
    endpoint.vetted = true
  }

  /** The endpoint in use, then those that do not rest, then those that do. */
  const inOrder = (): Endpoint[] => {
    const now = performance.now()
    const others = all.filter((one) => one !== current)
    const order = [current, ...others]
    return [...order.filter((one) => one.restUntil <= now), ...order.filter((one) => one.restUntil > now)]
  }

  /** Notes the height that an answer tells. @returns false where it is below what was read, and patience is left */
  const notesHead = (endpoint: Endpoint, { method, params }: Request, result: unknown): boolean => {
    const block =
      method === 'eth_getBlockByNumber' && (params as unknown[] | undefined)?.[0] === 'latest'
        ? (result as { number: string; hash: string } | null)
        : undefined
    const told = method === 'eth_blockNumber' ? (result as string) : block?.number
    if (told === undefined) return true
    const head = BigInt(told)
    endpoint.head = head
    if (head < floor) {
      if (!alone && patient()) return false
      anchor = nextAnchor = undefined
    }
    floor = head
    if (block && (nextAnchor === undefined || head >= nextAnchor.number + ANCHOR_DEPTH)) {
      anchor = nextAnchor
      nextAnchor = { number: head, hash: block.hash }
    }
    return true
  }

  /** Asks how far the others are, in the background; goes over to one that is clearly ahead. */
  const compare = async (): Promise<void> => {
    const heights = await Promise.all(
      all
        .filter((one) => one.restUntil <= performance.now())
        .map(async (one) => {
          try {
            if (!one.vetted) await vet(one)
            const head = await one.ask({ method: 'eth_blockNumber' })
            one.head = BigInt(head as string)
            return one
          } catch (error) {
            judge(one, error)
            return undefined
          }
        }),
    )
    const best = heights
      .filter((one) => one !== undefined)
      .reduce<Endpoint | undefined>((a, b) => (a && a.head >= b.head ? a : b), undefined)
    if (best && best !== current && best.head >= current.head + LAG_BLOCKS) {
      rest(current, 'behind', `it is at block ${current.head}, ${best.name} at ${best.head}`)
      use(best)
    }
  }
  const use = (endpoint: Endpoint): void => {
    if (endpoint === current) return
    onEvent({
      endpoint: endpoint.name,
      kind: 'switched',
      reason: `${current.name} is passed over (${current.trouble ?? 'no reason kept'})`,
    })
    current = endpoint
  }

  /** What a failure says of its endpoint. @returns whether it was an answer after all, which another would give as well */
  const judge = (endpoint: Endpoint, error: unknown): boolean => {
    if (error instanceof UnfitError) {
      if (error.kind === 'other-chain') endpoint.restMs = LONGEST_REST_MS
      rest(endpoint, error.kind, error.message)
      return false
    }
    const said = rpcErrorIn(error)
    if (said === undefined) {
      rest(endpoint, error instanceof GarbledError ? 'garbled' : 'down', shortOf(error))
      return false
    }
    if (said.code === 3 || /revert/i.test(said.message)) return true
    if (UNABLE.has(said.code)) rest(endpoint, 'down', said.message.slice(0, 200))
    return false
  }

  const request = async (asked: Request): Promise<unknown> => {
    const now = performance.now()
    if (!alone && now - comparedAt > COMPARE_EVERY_MS) {
      comparedAt = now
      void compare()
    }
    let last: unknown
    for (let round = 1; ; round++) {
      for (const endpoint of inOrder()) {
        try {
          if (!alone && !endpoint.vetted) await vet(endpoint)
          const result = await endpoint.ask(asked)
          if (!notesHead(endpoint, asked, result))
            throw new UnfitError('behind', `it is at block ${endpoint.head}; ${floor} was read already`)
          strandedSince = undefined
          endpoint.restMs = FIRST_REST_MS
          endpoint.restUntil = 0
          use(endpoint)
          return result
        } catch (error) {
          if (judge(endpoint, error)) throw error
          // what a server says about the request counts for more than that another one is silent
          if (rpcErrorIn(last) === undefined) last = error
        }
      }
      const said = rpcErrorIn(last)
      if (said !== undefined && !UNABLE.has(said.code)) throw last
      if (round >= (alone ? TRIES_ALONE : ROUNDS) || isTimeout(last)) throw downError(last)
      await pause(PAUSE_MS * round)
    }
  }

  return {
    transport: () => ({
      config: { key: 'bitloom', name: 'Bitloom endpoints', request: request as EIP1193RequestFn, retryCount: 0, type: 'http' },
      request: request as EIP1193RequestFn,
      value: undefined,
    }),
    each: async (asked) => {
      const able = all.filter((one) => one.restUntil <= performance.now())
      const answers = await Promise.all(
        able.map(async (one) => {
          try {
            if (!alone && !one.vetted) await vet(one)
            return { result: await one.ask(asked) }
          } catch (error) {
            judge(one, error)
            return undefined
          }
        }),
      )
      return answers.flatMap((answer) => (answer ? [answer.result] : []))
    },
    reached: (block) => {
      if (block > floor) floor = block
    },
    states: () =>
      all.map((one) => ({
        endpoint: one.name,
        inUse: one === current,
        resting: one.restUntil > performance.now(),
        head: one.head,
        ...(one.trouble === undefined ? {} : { lastTrouble: one.trouble }),
      })),
  }
}

/**
 * One request to one endpoint, its answer looked at. Asked again where a pruned chain lost a race: "latest" is resolved, a block arrives, and the state that
 * was just the latest is gone; such a call has changed nothing.
 */
async function askOne(send: (request: Request) => Promise<unknown>, request: Request): Promise<unknown> {
  for (let race = 1; ; race++) {
    try {
      const result = await send(request)
      const fault = answerFault(request.method, request.params, result)
      if (fault !== undefined) throw new GarbledError(`${request.method}: ${fault}`)
      return result
    } catch (error) {
      if (race === RACES || !String((error as { details?: unknown }).details ?? error).includes('BlockOutOfRange')) throw error
    }
  }
}

/** What the server itself said, where it answered with an error. */
export function rpcErrorIn(error: unknown): { readonly code: number; readonly message: string } | undefined {
  if (!(error instanceof BaseError)) return undefined
  const said = error.walk((e) => e instanceof RpcRequestError) as RpcRequestError | null
  return said ? { code: said.code, message: said.details ?? said.shortMessage } : undefined
}

const isTimeout = (error: unknown): boolean =>
  error instanceof BaseError && error.walk((e) => (e as Error).name === 'TimeoutError') !== null
const shortOf = (error: unknown): string =>
  (error instanceof BaseError ? error.shortMessage : error instanceof Error ? error.message : String(error)).slice(0, 200)

/** An endpoint's answer is none. */
class GarbledError extends Error {
  override name = 'sdk.GarbledError'
}

/** An endpoint answers, and must not be used. */
class UnfitError extends Error {
  override name = 'sdk.UnfitError'
  readonly kind: 'behind' | 'other-chain'
  constructor(kind: 'behind' | 'other-chain', reason: string) {
    super(reason)
    this.kind = kind
  }
}

/** No endpoint gave an answer that can be used. Nothing is known of what was asked: a transaction may have been sent all the same. */
export class RpcDownError extends Error {
  override name = 'sdk.RpcDownError'
  /** The last endpoint's trouble in a few words. */
  readonly trouble: string
  constructor(trouble: string, cause?: unknown, what?: string) {
    super(
      `${what === undefined ? '' : `${what}: `}the chain does not answer (${trouble}).\nIs it running? The node tries again by itself; a client can be started again.`,
      { cause },
    )
    this.trouble = trouble
  }
}

/** A server that cannot is no contract that refuses: its error must not pass for a revert further up, so only its words go on. */
function downError(last: unknown): RpcDownError {
  const said = rpcErrorIn(last)?.message.slice(0, 200)
  return said === undefined ? new RpcDownError(shortOf(last), last) : new RpcDownError(said, new Error(shortOf(last)))
}
