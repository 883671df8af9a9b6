// The node's place among its peers: a libp2p host with few connections, gossip for what all should know, questions for what one should.

import { createHash } from 'node:crypto'
import { noise } from '@chainsafe/libp2p-noise'
import { yamux } from '@chainsafe/libp2p-yamux'
import { circuitRelayServer, circuitRelayTransport } from '@libp2p/circuit-relay-v2'
import { generateKeyPairFromSeed } from '@libp2p/crypto/keys'
import { dcutr } from '@libp2p/dcutr'
import { type GossipSub, gossipsub, TopicValidatorResult } from '@libp2p/gossipsub'
import { identify } from '@libp2p/identify'
import type { Connection, Libp2p, PeerId, PeerInfo, Stream } from '@libp2p/interface'
import { mdns } from '@libp2p/mdns'
import { ping } from '@libp2p/ping'
import { tcp } from '@libp2p/tcp'
import { webSockets } from '@libp2p/websockets'
import { multiaddr } from '@multiformats/multiaddr'
import { createLibp2p } from 'libp2p'
import { addressGroup, peerOf, reachOf, readAddress, scopeOf } from './addresses.ts'
import { type BookKeeper, openBook } from './book.ts'
import type { Verdict } from './frames.ts'
import { openGate } from './gate.ts'
import { openHeard } from './heard.ts'
import {
  ADDRESS_PATIENCE,
  BAN_MS,
  CONNECTIONS_PER_SECOND,
  DIAL_TIMEOUT_MS,
  GOSSIP_MEMORY_MS,
  HANDSHAKE_TIMEOUT_MS,
  LOCAL_CONNECTIONS_PER_SECOND,
  MAX_ADDRESSES_TOLD,
  MAX_CONNECTIONS,
  MAX_EARLY_STREAMS,
  MAX_GOSSIP_BYTES,
  MAX_PENDING_CONNECTIONS,
  MAX_STREAM_WINDOW_BYTES,
  MAX_STREAMS,
  RELAY_CONNECTION_BYTES,
  RELAY_CONNECTION_MS,
  RELAY_RESERVATIONS,
  RELAY_STREAMS,
  ROOM_SHARE,
  TEND_EVERY_MS,
  WANTED_CONNECTIONS,
} from './limits.ts'
import { ADDRESSES_QUESTION, type MessageLimits, type Messages, startMessages } from './messages.ts'
import { openRoom } from './room.ts'
import { type Fault, openStandings } from './standing.ts'
import { shuffled, startTending } from './tending.ts'

export { MAX_CONNECTIONS, WANTED_CONNECTIONS } from './limits.ts'

/** Relays that a node behind a router looks for. */
const WANTED_RELAYS = 2
const mdnsTag = (network: string): string => `_bitloom-${network}._udp.local`

export interface PeersOptions {
  /** Secret from which the peer's identity is derived; the same secret is the same peer. Default: a fresh one. */
  readonly secret?: Uint8Array
  /** Default: a free port on 127.0.0.1, this computer only. TCP (`/ip4/…/tcp/N`) and WebSocket (`/ip4/…/tcp/N/ws`). */
  readonly listen?: readonly string[]
  /** Addresses to tell others when they are not those listened on (behind a router). */
  readonly announce?: readonly string[]
  /** Full addresses (ending in /p2p/ID) of peers to begin with; connections to them are renewed. */
  readonly bootstrap?: readonly string[]
  /** Where addresses of peers that answered are kept between two lives. Default: in memory only. */
  readonly book?: BookKeeper
  /** Finds neighbours by multicast DNS, those that look for the same network: a short name of letters and digits. Default: does not look. */
  readonly mdns?: string
  /** Behind a router that lets nobody in: be reached through peers that serve as relays. Default: no. */
  readonly behindRouter?: boolean
  /** Serve as a relay for such peers, within limits (limits.ts). Default: yes, unless behind a router. */
  readonly relay?: boolean
  readonly maxConnections?: number
  readonly wantedConnections?: number
  /** How often lost connections are renewed and new peers asked for. */
  readonly tendEveryMs?: number
  /** For tests: how old a connection is before it may make room for newcomers. */
  readonly roomAgeMs?: number
  /** How long gossip remembers what it has passed on; default two minutes. */
  readonly gossipMemoryMs?: number
  readonly limits?: MessageLimits
  /** Faults of our own handlers; what peers do wrong is never reported here. */
  readonly onError?: (error: unknown) => void
  /** A peer, or an address with all its peers, was banned for a while. */
  readonly onBan?: (who: string, fault: Fault) => void
}

/** What a topic's judge says of a message: pass it on, drop it quietly, or drop it and hold it against who sent it. */
export type Judgement = 'accept' | 'ignore' | 'reject'

export interface Peers extends Pick<Messages, 'handle' | 'request'> {
  readonly id: string
  /** Full addresses under which this node can be reached, direct ones first. */
  addresses(): string[]
  /** Addresses that sockets listen on, whatever is told to others. */
  listening(): string[]
  /** Ids of connected peers. */
  connected(): string[]
  /** Addresses of peers that answered, those met last first. */
  known(): string[]
  connect(address: string): Promise<Verdict<string>>
  /** Calls back for each peer with whom a first connection is ready; returns how to stop that. */
  onConnect(listener: (id: string) => void): () => void
  /** Joins a topic. Every message is judged before it is passed on; returns how to leave. */
  join(topic: string, judge: (from: string, data: Uint8Array) => Judgement | Promise<Judgement>): () => void
  /** Tells a topic; resolves to how many peers it went to at once. */
  publish(topic: string, data: Uint8Array): Promise<number>
  /** Holds something against a peer; enough of it and the peer is cut off and kept out for ten minutes. */
  blame(peer: string, fault: Fault): void
  isBanned(who: string): boolean
  /** Peers and addresses that are banned now. */
  banned(): string[]
  /** Whether a stranger's address (of this kind or http://IP:PORT's) is one this node may be sent to. */
  readonly scope: ReturnType<typeof scopeOf>
  /** Opens a stream to a peer, by id or full address; works over a relay too. Throws libp2p's error. */
  openStream(to: string, protocol: string, signal: AbortSignal): Promise<Stream>
  /** Serves streams of a protocol; returns how to stop that. */
  serveStreams(protocol: string, most: number, serve: (stream: Stream, from: string) => Promise<void>): Promise<() => Promise<void>>
  stop(): Promise<void>
}

/** Starts a host. Throws libp2p's error when no address can be listened on. */
export async function startPeers(options: PeersOptions = {}): Promise<Peers> {
  const { listen = ['/ip4/127.0.0.1/tcp/0'], bootstrap = [], announce = [], maxConnections = MAX_CONNECTIONS } = options
  const { behindRouter = false, relay = !behindRouter } = options
  const local = listen.every((address) => /^\/(ip4\/127\.|ip6\/::1\/)/.test(address))
  const told = scopeOf([...listen, ...announce], bootstrap)
  const scope = options.mdns && told === 'public' ? 'private' : told
  const seed = options.secret === undefined ? crypto.getRandomValues(new Uint8Array(32)) : peerSeed(options.secret)
  const standings = openStandings()
  const book = openBook(options.book, options.onError)
  const heard = openHeard()
  let connectionsOf: (peer?: PeerId) => Connection[] = () => []
  const gate = openGate({
    scope,
    trusted: [...bootstrap, ...announce],
    isBanned: standings.isBanned,
    maxConnections,
    connectionsOf: (peer) => connectionsOf(peer).length,
    outbound: () => connectionsOf().filter(({ direction }) => direction === 'outbound').length,
  })
  const node = (await createLibp2p({
    privateKey: await generateKeyPairFromSeed('Ed25519', seed),
    addresses: {
      listen: [...listen, ...(behindRouter ? Array<string>(WANTED_RELAYS).fill('/p2p-circuit') : [])],
      announce: [...announce],
    },
    connectionGater: gate.gater,
    transports: [tcp({ maxConnections: 2 * maxConnections }), webSockets(), circuitRelayTransport()],
    connectionEncrypters: [noise()],
    streamMuxers: [
      yamux({
        // By default an eleventh stream before the first is negotiated ends the connection: any honest burst of questions does that.
        maxEarlyStreams: MAX_EARLY_STREAMS,
        maxInboundStreams: MAX_STREAMS,
        streamOptions: { maxStreamWindowSize: MAX_STREAM_WINDOW_BYTES, maxReadBufferLength: 2 * MAX_STREAM_WINDOW_BYTES },
      }),
    ],
    connectionManager: {
      maxConnections,
      dialTimeout: DIAL_TIMEOUT_MS,
      inboundUpgradeTimeout: HANDSHAKE_TIMEOUT_MS,
      inboundStreamProtocolNegotiationTimeout: HANDSHAKE_TIMEOUT_MS,
      // Five a second of one address by default: too few where a whole network lives on one computer.
      inboundConnectionThreshold: local ? LOCAL_CONNECTIONS_PER_SECOND : CONNECTIONS_PER_SECOND,
      maxIncomingPendingConnections: MAX_PENDING_CONNECTIONS,
    },
    // Its pings abort connections that are merely busy (seen after 20 s of four parallel streams); streams have time-outs of their own.
    connectionMonitor: { abortConnectionOnPingFailure: false },
    ...(options.mdns ? { peerDiscovery: [mdns({ serviceTag: mdnsTag(options.mdns) })] } : {}),
    services: {
      identify: identify(),
      ping: ping(),
      dcutr: dcutr(),
      ...(relay
        ? {
            relay: circuitRelayServer({
              hopTimeout: HANDSHAKE_TIMEOUT_MS,
              maxInboundHopStreams: RELAY_STREAMS,
              maxOutboundStopStreams: RELAY_STREAMS,
              reservations: {
                maxReservations: RELAY_RESERVATIONS,
                defaultDurationLimit: RELAY_CONNECTION_MS,
                defaultDataLimit: BigInt(RELAY_CONNECTION_BYTES),
              },
            }),
          }
        : {}),
      gossip: gossipsub({
        allowPublishToZeroTopicPeers: true,
        ignoreDuplicatePublishError: true,
        maxInboundDataLength: MAX_GOSSIP_BYTES,
        seenTTL: options.gossipMemoryMs ?? GOSSIP_MEMORY_MS,
        // By content: the same offer told again within two minutes, by whomever, is not passed on again.
        msgIdFn: ({ topic, data }) => createHash('sha256').update(topic).update('\0').update(data).digest(),
        scoreParams: {
          // What we hold against a peer counts here, before it is enough for a ban; messages that our judges reject are part of it.
          appSpecificScore: (peer) => -standings.faultsOf(peer),
          appSpecificWeight: 1,
          retainScore: BAN_MS,
          // More than ten peers of one address are punished by default, which starves networks on one computer.
          ...(local ? { IPColocationFactorWeight: 0 } : {}),
        },
      }),
    },
  })) as unknown as Libp2p<{ gossip: GossipSub; relay?: { reservations: { has(peer: PeerId): boolean } } }>
  connectionsOf = (peer) => node.getConnections(peer)
  const { gossip } = node.services
  // libp2p's own registry of its listeners, which its interface leaves out
  const transports = (node as unknown as { components: { transportManager: { getListeners(): { getAddrs(): unknown[] }[] } } }).components
    .transportManager
  const id = node.peerId.toString()
  const room = openRoom({
    maxConnections,
    ageMs: options.roomAgeMs,
    isReserved: (peer) => node.services.relay?.reservations.has(peer) ?? false,
    faultsOf: standings.faultsOf,
  })

  const blame = (peer: string, fault: Fault): void => {
    const mine = node.getConnections().filter((connection) => connection.remotePeer.toString() === peer)
    const cutOff = (connections: readonly Connection[]): void => {
      for (const connection of connections) connection.abort(new Error(`banned: ${fault}`))
    }
    const groups = new Set(mine.map(groupOf).filter((group) => group !== undefined))
    if (standings.blame(peer, fault)) {
      options.onBan?.(peer, fault)
      cutOff(mine)
    }
    // An address answers for its peers, for else a fresh key would be a fresh start.
    for (const group of groups)
      if (standings.blame(group, fault, ADDRESS_PATIENCE)) {
        options.onBan?.(group, fault)
        cutOff(node.getConnections().filter((connection) => groupOf(connection) === group))
      }
  }
  const messages = await startMessages(node, {
    blame,
    onUse: room.used,
    ...(options.onError === undefined ? {} : { onError: options.onError }),
    ...(options.limits === undefined ? {} : { limits: options.limits }),
  })
  const addresses = (): string[] => {
    const all = node.getMultiaddrs().map((address) => address.toString())
    const relayed = all.filter((address) => address.includes('/p2p-circuit'))
    return [...all.filter((address) => !relayed.includes(address)), ...relayed]
  }
  const connected = (): string[] => node.getPeers().map((peer) => peer.toString())

  const connect = async (address: string): Promise<Verdict<string>> => {
    try {
      const connection = await node.dial(multiaddr(address), { signal: AbortSignal.timeout(DIAL_TIMEOUT_MS) })
      return { ok: true, value: connection.remotePeer.toString() }
    } catch (error) {
      heard.drop(address)
      return { ok: false, reason: (error as Error).message }
    }
  }

  node.addEventListener('connection:open', ({ detail: connection }) => {
    room.opened(connection)
    // Dialled and answered with the key that it should have: worth remembering.
    if (connection.direction === 'outbound' && connection.limits === undefined)
      book.met(withPeer(connection.remoteAddr.toString(), connection.remotePeer))
  })
  node.addEventListener('peer:identify', ({ detail: { peerId, listenAddrs } }) => {
    const at = listenAddrs.map((address) => withPeer(address.toString(), peerId))
    heard.hear(
      peerId.toString(),
      at.filter((address) => readAddress(address) !== undefined && gate.mayDial(address)),
    )
  })
  node.addEventListener('peer:disconnect', ({ detail: peer }) => {
    room.forget(peer.toString())
    // Or everybody who ever came would stay in memory for hours.
    void node.peerStore.delete(peer).catch(options.onError)
  })

  // Peers tell each other whom they know, so that the network does not hang on those it began with.
  messages.handle(ADDRESSES_QUESTION, acceptAnything, async () =>
    shuffled([...new Set([...heard.addresses(), ...book.addresses()])]).slice(0, MAX_ADDRESSES_TOLD),
  )
  const tending = startTending({
    id,
    bootstrap,
    book,
    everyMs: options.tendEveryMs ?? TEND_EVERY_MS,
    // what is our own choice fills at most half of the room
    wanted: Math.min(options.wantedConnections ?? WANTED_CONNECTIONS, Math.max(1, Math.floor((maxConnections * ROOM_SHARE) / 2))),
    connected,
    connect,
    mayDial: gate.mayDial,
    ask: async (peer) => {
      const reply = await messages.request(peer, ADDRESSES_QUESTION, null, { validate: readAddresses, timeoutMs: DIAL_TIMEOUT_MS })
      return reply.ok ? reply.value : []
    },
    makeRoom: () => room.make(node.getConnections()),
  })
  const onDiscovery = ({ detail }: CustomEvent<PeerInfo>): void => {
    for (const address of detail.multiaddrs.slice(0, 4)) tending.found(withPeer(address.toString(), detail.id))
  }
  node.addEventListener('peer:discovery', onDiscovery)

  return {
    id,
    scope,
    addresses,
    listening: () => transports.getListeners().flatMap((listener) => listener.getAddrs().map(String)),
    connected,
    connect,
    blame,
    known: book.addresses,
    banned: standings.banned,
    isBanned: standings.isBanned,
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
          if (judgement === 'reject') blame(from.toString(), 'forged')
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
    async openStream(to, protocol, signal) {
      const connection = await node.dial(multiaddr(to.startsWith('/') ? to : `/p2p/${to}`), { signal })
      room.used(connection.remotePeer.toString())
      return connection.newStream(protocol, { signal, runOnLimitedConnection: true })
    },
    async serveStreams(protocol, most, serve) {
      const onStream = async (stream: Stream, connection: Connection): Promise<void> => {
        const from = connection.remotePeer.toString()
        room.used(from)
        try {
          await serve(stream, from)
        } catch (error) {
          stream.abort(error as Error) // the peer left or stalled
        }
      }
      await node.handle(protocol, onStream, { maxInboundStreams: most, maxOutboundStreams: 2 * most, runOnLimitedConnection: true })
      return () => node.unhandle(protocol)
    },
    async stop() {
      node.removeEventListener('peer:discovery', onDiscovery)
      await tending.stop()
      await messages.stop()
      await node.stop()
    },
  }
}

const acceptAnything = (): Verdict<null> => ({ ok: true, value: null })

/** 32 bytes that name this secret's peer, from which the secret cannot be found. */
const peerSeed = (secret: Uint8Array): Uint8Array => new Uint8Array(createHash('sha256').update('bitloom/peer/1').update(secret).digest())

const withPeer = (address: string, peer: PeerId): string => (peerOf(address) === undefined ? `${address}/p2p/${peer}` : address)

/** What answers for a connection's address: not for one on this computer, which all its programs share, and not for a relay's. */
function groupOf(connection: Connection): string | undefined {
  const place = readAddress(connection.remoteAddr.toString())
  return place === undefined || place.relay !== undefined || reachOf(place.host) === 'loopback' ? undefined : addressGroup(place.host)
}

/** Up to two addresses of each connected peer, as it says itself. */

/** A stranger's list of addresses: of our transports, and naming their peer. */
function readAddresses(value: unknown): Verdict<string[]> {
  if (!Array.isArray(value) || value.length > MAX_ADDRESSES_TOLD)
    return { ok: false, reason: `not a list of at most ${MAX_ADDRESSES_TOLD} addresses` }
  return { ok: true, value: value.filter((item): item is string => typeof item === 'string' && peerOf(item) !== undefined) }
}
