// Who may connect, decided before anything is allocated for it: sockets an address and a peer may hold, bans, and where strangers may send us.

import type { ConnectionGater, MultiaddrConnection, PeerId } from '@libp2p/interface'
import { addressGroup, mayReach, reachOf, readAddress, type Scope } from './addresses.ts'
import {
  MAX_CONNECTIONS_PER_ADDRESS,
  MAX_CONNECTIONS_PER_LOCAL_ADDRESS,
  MAX_CONNECTIONS_PER_PEER,
  MAX_PENDING_PER_ADDRESS,
  MAX_PENDING_PER_LOCAL_ADDRESS,
} from './limits.ts'

export interface GateOptions {
  readonly scope: Scope
  /** Addresses that the operator named: these may be dialled wherever they are. */
  readonly trusted: readonly string[]
  /** `who` is a peer's id or an address's group. */
  readonly isBanned: (who: string) => boolean
  /** Connections that a peer has now. */
  readonly connectionsOf: (peer: PeerId) => number
  /** Connections that this node made itself. */
  readonly outbound: () => number
  readonly maxConnections: number
  readonly maxPerAddress?: number
  readonly maxPendingPerAddress?: number
}

export interface Gate {
  readonly gater: ConnectionGater
  /** Whether a stranger's address would be dialled. */
  readonly mayDial: (address: string) => boolean
  /** Sockets open now, those without a key included. */
  readonly sockets: () => number
}

/** Judges connections by what is open now. */
export function openGate(options: GateOptions): Gate {
  const { scope, isBanned } = options
  const trusted = new Set(options.trusted.map(placeOf).filter((place) => place !== undefined))
  const sockets = new Map<string, Set<MultiaddrConnection>>()
  const pending = new Map<string, Set<MultiaddrConnection>>()
  const add = (map: typeof sockets, group: string, socket: MultiaddrConnection): void => {
    const set = map.get(group) ?? new Set()
    map.set(group, set.add(socket))
  }
  const drop = (map: typeof sockets, group: string, socket: MultiaddrConnection): void => {
    const set = map.get(group)
    if (set?.delete(socket) && set.size === 0) map.delete(group)
  }
  const mayDial = (address: string): boolean => {
    const place = readAddress(address)
    if (place === undefined) return false
    if (trusted.has(`${place.host} ${place.port}`)) return true
    // A name may be whatever its owner's server says next.
    return !place.name && mayReach(place.host, place.port, scope)
  }
  const isBannedPeer = (peer: PeerId): boolean => isBanned(peer.toString())
  const gater: ConnectionGater = {
    denyDialMultiaddr: (address) => !mayDial(address.toString()),
    denyDialPeer: isBannedPeer,
    denyInboundConnection(socket) {
      const host = readAddress(socket.remoteAddr.toString())?.host
      if (host === undefined) return socket.remoteAddr.toString().includes('/p2p-circuit') === false
      const group = addressGroup(host)
      const local = reachOf(host) === 'loopback'
      const most = options.maxPerAddress ?? (local ? MAX_CONNECTIONS_PER_LOCAL_ADDRESS : MAX_CONNECTIONS_PER_ADDRESS)
      const mostPending = options.maxPendingPerAddress ?? (local ? MAX_PENDING_PER_LOCAL_ADDRESS : MAX_PENDING_PER_ADDRESS)
      if (isBanned(group) || (sockets.get(group)?.size ?? 0) >= most || (pending.get(group)?.size ?? 0) >= mostPending) return true
      add(sockets, group, socket)
      add(pending, group, socket)
      socket.addEventListener('close', () => {
        drop(sockets, group, socket)
        drop(pending, group, socket)
      })
      return false
    },
    denyInboundEncryptedConnection(peer, socket) {
      const host = readAddress(socket.remoteAddr.toString())?.host
      if (host !== undefined) drop(pending, addressGroup(host), socket)
      // Counted here, for libp2p's own count lets all in that shake hands at the same time.
      const inbound = total(sockets) - total(pending)
      const full = inbound + options.outbound() > options.maxConnections
      return full || isBannedPeer(peer) || options.connectionsOf(peer) >= MAX_CONNECTIONS_PER_PEER
    },
    denyOutboundEncryptedConnection: isBannedPeer,
    denyInboundRelayReservation: isBannedPeer,
    denyOutboundRelayedConnection: (source, destination) => isBannedPeer(source) || isBannedPeer(destination),
    denyInboundRelayedConnection: (relay, remote) => isBannedPeer(relay) || isBannedPeer(remote),
  }
  return { gater, mayDial, sockets: () => total(sockets) }
}

const total = (map: ReadonlyMap<string, ReadonlySet<unknown>>): number => [...map.values()].reduce((sum, set) => sum + set.size, 0)

function placeOf(address: string): string | undefined {
  const place = readAddress(address)
  return place === undefined ? undefined : `${place.host} ${place.port}`
}
