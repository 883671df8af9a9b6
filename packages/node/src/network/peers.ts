// The node's place among its peers: a libp2p host with few connections, gossip for what all should know, questions for what one should.

import { createHash } from 'node:crypto'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { type GossipSub, gossipsub, TopicValidatorResult } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type { Libp2p, PeerId } from '@libp2p/interface'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import type { Verdict } from './frames.ts'
import { type MessageLimits, type Messages, startMessages } from './messages.ts'

/** Connections this node keeps looking for, and those it will hold at most. */
export const WANTED_CONNECTIONS = 12
export const MAX_CONNECTIONS = 128
/** Largest gossip frame: several offers. */
const MAX_GOSSIP_BYTES = 256 * 1024
const GOSSIP_MEMORY_MS = 120_000
const TEND_EVERY_MS = 5_000
const DIAL_TIMEOUT_MS = 5_000
const MAX_ADDRESSES_TOLD = 64
const MAX_ADDRESS_LENGTH = 256

export interface PeersOptions {
  /** Secret from which the peer's identity is derived; the same secret is the same peer. Default: a fresh one. */
  readonly secret?: Uint8Array
  /** Default: a free port on 127.0.0.1, this computer only. */
  readonly listen?: readonly string[]
  /** Addresses to tell others when they are not those listened on (behind a router). */
  readonly announce?: readonly string[]
  /** Full addresses (ending in /p2p/ID) of peers to begin with; connections to them are renewed. */
  readonly bootstrap?: readonly string[]
  readonly maxConnections?: number
  /** How often lost connections are renewed and new peers asked for. */
  readonly tendEveryMs?: number
  /** How long gossip remembers what it has passed on; default two minutes. */
  readonly gossipMemoryMs?: number
  readonly limits?: MessageLimits
  /** Faults of our own handlers; what peers do wrong is never reported here. */
  readonly onError?: (error: unknown) => void
}

/** What a topic's judge says of a message: pass it on, drop it quietly, or drop it and hold it against who sent it. */
export type Judgement = 'accept' | 'ignore' | 'reject'

export interface Peers extends Pick<Messages, 'handle' | 'request'> {
  readonly id: string
  /** Full addresses under which this node can be reached. */
  addresses(): string[]
  /** Ids of connected peers. */
  connected(): string[]
  connect(address: string): Promise<Verdict<string>>
  /** Calls back for each peer with whom a first connection is ready; returns how to stop that. */
  onConnect(listener: (id: string) => void): () => void
  /** Joins a topic. Every message is judged before it is passed on; returns how to leave. */
  join(topic: string, judge: (from: string, data: Uint8Array) => Judgement | Promise<Judgement>): () => void
  /** Tells a topic; resolves to how many peers it went to at once. */
  publish(topic: string, data: Uint8Array): Promise<number>
  stop(): Promise<void>
}

/** Starts a host. Throws libp2p's error when no address can be listened on. */
export async function startPeers(options: PeersOptions = {}): Promise<Peers> {
  const { listen = ['/ip4/127.0.0.1/tcp/0'], bootstrap = [], maxConnections = MAX_CONNECTIONS } = options
  const local = listen.every((address) => /^\/(ip4\/127\.|ip6\/::1\/)/.test(address))
  const seed = options.secret === undefined ? crypto.getRandomValues(new Uint8Array(32)) : peerSeed(options.secret)
  const node = (await createLibp2p({
    privateKey: await generateKeyPairFromSeed('Ed25519', seed),
    addresses: { listen: [...listen], announce: [...(options.announce ?? [])] },
    transports: [tcp({ maxConnections: 2 * maxConnections })],
    connectionEncrypters: [noise()],
    // By default an eleventh stream before the first is negotiated ends the connection: any honest burst of questions does that.
    streamMuxers: [yamux({ maxEarlyStreams: 64, maxInboundStreams: 256 })],
    connectionManager: {
      maxConnections,
      dialTimeout: DIAL_TIMEOUT_MS,
      // Five a second of one address by default: too few where a whole network lives on one computer.
      inboundConnectionThreshold: local ? 1000 : 10,
      maxIncomingPendingConnections: 32,
    },
    // Its pings abort connections that are merely busy (seen after 20 s of four parallel streams); streams have time-outs of their own.
    connectionMonitor: { abortConnectionOnPingFailure: false },
    services: {
      identify: identify(),
      ping: ping(),
      gossip: gossipsub({
        allowPublishToZeroTopicPeers: true,
        ignoreDuplicatePublishError: true,
        maxInboundDataLength: MAX_GOSSIP_BYTES,
        seenTTL: options.gossipMemoryMs ?? GOSSIP_MEMORY_MS,
        // By content: the same offer told again within two minutes, by whomever, is not passed on again.
        msgIdFn: ({ topic, data }) => createHash('sha256').update(topic).update('\0').update(data).digest(),
        // More than ten peers of one address are punished by default, which starves networks on one computer.
        ...(local ? { scoreParams: { IPColocationFactorWeight: 0 } } : {}),
      }),
    },
  })) as unknown as Libp2p<{ gossip: GossipSub }>
  const messages = await startMessages(node, options.onError, options.limits)
  const { gossip } = node.services
  const id = node.peerId.toString()
  const addresses = (): string[] => node.getMultiaddrs().map((address) => address.toString())
  const connected = (): string[] => node.getPeers().map((peer) => peer.toString())

  const connect = async (address: string): Promise<Verdict<string>> => {
    try {
      const connection = await node.dial(multiaddr(address), { signal: AbortSignal.timeout(DIAL_TIMEOUT_MS) })
      return { ok: true, value: connection.remotePeer.toString() }
    } catch (error) {
      return { ok: false, reason: (error as Error).message }
    }
  }

  // Peers tell each other whom they know, so that the network does not hang on those it began with.
  messages.handle('peers', acceptAnything, async () => knownAddresses(node))
  const stopTending = tend({ id, bootstrap, everyMs: options.tendEveryMs ?? TEND_EVERY_MS, connected, connect, messages })

  return {
    id,
    addresses,
    connected,
    connect,
    handle: messages.handle,
    request: messages.request,
    onConnect(listener) {
      const onEvent = ({ detail }: CustomEvent<PeerId>): void => listener(detail.toString())
      node.addEventListener('peer:connect', onEvent)
      return () => node.removeEventListener('peer:connect', onEvent)
    },
    join(topic, judge) {
      gossip.topicValidators.set(topic, async (from, message) => {
        try {
          const judgement = await judge(from.toString(), message.data)
          return { accept: TopicValidatorResult.Accept, ignore: TopicValidatorResult.Ignore, reject: TopicValidatorResult.Reject }[
            judgement
          ]
        } catch (error) {
          options.onError?.(error)
          return TopicValidatorResult.Ignore
        }
      })
      gossip.subscribe(topic)
      return () => {
        gossip.unsubscribe(topic)
        gossip.topicValidators.delete(topic)
      }
    },
    publish: async (topic, data) => (await gossip.publish(topic, data)).recipients.length,
    async stop() {
      await stopTending()
      await messages.stop()
      await node.stop()
    },
  }
}

const acceptAnything = (): Verdict<null> => ({ ok: true, value: null })

/** 32 bytes that name this secret's peer, from which the secret cannot be found. */
const peerSeed = (secret: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update('bitloom/peer/1').update(secret).digest())

async function knownAddresses(node: Libp2p): Promise<string[]> {
  const known: string[] = []
  // A peer may be connected and not in the store: just come, or just gone. Asking for it by name would be an error.
  const connected = new Set(node.getPeers().map(String))
  for (const { id: peer, addresses } of await node.peerStore.all()) {
    if (!connected.has(String(peer))) continue
    for (const { multiaddr: address } of addresses.slice(0, 2)) {
      const text = address.toString()
      known.push(text.includes('/p2p/') ? text : `${text}/p2p/${peer}`)
    }
    if (known.length >= MAX_ADDRESSES_TOLD) break
  }
  return known.slice(0, MAX_ADDRESSES_TOLD)
}

interface Tending {
  readonly id: string
  readonly bootstrap: readonly string[]
  readonly everyMs: number
  readonly connected: () => string[]
  readonly connect: (address: string) => Promise<Verdict<string>>
  readonly messages: Messages
}

/** Keeps connections: to the first peers while there are few, then to those that others name. Returns how to end it. */
function tend({ id, bootstrap, everyMs, connected, connect, messages }: Tending): () => Promise<void> {
  let stopped = false
  let wake: () => void = () => undefined
  let turn = 0
  const round = async (): Promise<void> => {
    for (const address of bootstrap) {
      if (stopped || connected().length >= WANTED_CONNECTIONS) return
      if (!connected().some((peer) => address.endsWith(`/p2p/${peer}`)) && !address.endsWith(`/p2p/${id}`)) await connect(address)
    }
    const peers = connected()
    if (stopped || peers.length === 0 || peers.length >= WANTED_CONNECTIONS) return
    // One peer a round, each in its turn.
    const reply = await messages.request(peers[turn++ % peers.length], 'peers', null, {
      validate: readAddresses,
      timeoutMs: DIAL_TIMEOUT_MS,
    })
    if (!reply.ok) return
    for (const address of reply.value) {
      const peer = address.slice(address.lastIndexOf('/') + 1)
      if (stopped || connected().length >= WANTED_CONNECTIONS) return
      if (peer !== id && !connected().includes(peer)) await connect(address)
    }
  }
  const ended = (async () => {
    while (!stopped) {
      await round()
      if (stopped) return
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, everyMs).unref()
        wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
    }
  })()
  return async () => {
    stopped = true
    wake()
    await ended
  }
}

/** A stranger's list of addresses: TCP ones that name their peer. */
function readAddresses(value: unknown): Verdict<string[]> {
  if (!Array.isArray(value) || value.length > MAX_ADDRESSES_TOLD)
    return { ok: false, reason: `not a list of at most ${MAX_ADDRESSES_TOLD} addresses` }
  const good = value.filter(
    (item): item is string =>
      typeof item === 'string' && item.length <= MAX_ADDRESS_LENGTH && /^\/(ip4|ip6|dns4|dns6|dns)\/[^/]+\/tcp\/\d+\/p2p\/\w+$/.test(item),
  )
  return { ok: true, value: good }
}
