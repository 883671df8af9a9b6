// Addresses that strangers tell: which of them this node may connect to, so that nobody makes it knock on its owner's own doors.

import { BlockList, isIP } from 'node:net'
import { MAX_ADDRESS_LENGTH } from './limits.ts'

/** How far an address reaches: this computer, a home or company, everywhere; or nowhere that a peer could be. */
export type Reach = 'loopback' | 'private' | 'public' | 'nowhere'

const listOf = (...ranges: readonly (readonly [string, number])[]): BlockList => {
  const list = new BlockList()
  for (const [net, bits] of ranges) list.addSubnet(net, bits, net.includes(':') ? 'ipv6' : 'ipv4')
  return list
}
// IANA's special-purpose registries (RFC 6890 and its successors).
const LOOPBACK = listOf(['127.0.0.0', 8], ['::1', 128])
const PRIVATE = listOf(
  ['10.0.0.0', 8],
  ['172.16.0.0', 12],
  ['192.168.0.0', 16],
  ['100.64.0.0', 10],
  ['198.18.0.0', 15],
  ['192.0.2.0', 24], // the nets of documentation: nobody's in public, some laboratory's at home
  ['198.51.100.0', 24],
  ['203.0.113.0', 24],
  ['fc00::', 7],
)
const NOWHERE = listOf(
  ['0.0.0.0', 8],
  ['169.254.0.0', 16], // link-local, where clouds keep their secrets
  ['192.0.0.0', 24],
  ['224.0.0.0', 3], // multicast, reserved, broadcast
  ['::', 128],
  ['64:ff9b::', 96], // these three carry IPv4 addresses inside
  ['2002::', 16],
  ['2001::', 32],
  ['2001:db8::', 32],
  ['fe80::', 10],
  ['ff00::', 8],
)

/** How far an IP address reaches; 'nowhere' for text that is none. */
export function reachOf(ip: string): Reach {
  const mapped = /^::ffff:(?:0:)?(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)
  if (mapped !== null) return reachOf(mapped[1]!)
  const version = isIP(ip)
  if (version === 0 || ip.includes('%')) return 'nowhere'
  const family = version === 6 ? 'ipv6' : 'ipv4'
  if (LOOPBACK.check(ip, family)) return 'loopback'
  // IPv4 addresses inside IPv6 the old way; of those inside ::ffff:0:0/96 a BlockList knows by itself
  if (version === 6 && EMBEDDED.check(ip, 'ipv6')) return 'nowhere'
  if (NOWHERE.check(ip, family)) return 'nowhere'
  return PRIVATE.check(ip, family) ? 'private' : 'public'
}
const EMBEDDED = listOf(['::', 96])

const WIDTH: Readonly<Record<Reach, number>> = { loopback: 0, private: 1, public: 2, nowhere: -1 }

/** Where a node's network lives. A network on one computer may reach all; one at home everything but this computer; a public one only the public. */
export type Scope = 'loopback' | 'private' | 'public'

/** Whether a stranger's address is one that a node of this scope connects to. */
export function mayReach(ip: string, port: number, scope: Scope): boolean {
  if (!Number.isInteger(port) || port < 1 || port > 65535) return false
  // Below 1024 other people's services listen; a blob's server behind a proxy may be on the web's ports.
  if (port < 1024 && port !== 80 && port !== 443) return false
  return WIDTH[reachOf(ip)] >= WIDTH[scope]
}

/** The scope that the operator's own addresses show: those listened on or announced, and those of the network's first peers. */
export function scopeOf(own: readonly string[], bootstrap: readonly string[]): Scope {
  const reaches = (all: readonly string[]): Reach[] =>
    all.flatMap((text) => {
      const found = readAddress(text)
      return found === undefined ? [] : [found.name ? 'public' : reachOf(found.host)]
    })
  // Who begins with others is in their network, wherever it listens itself.
  const told = reaches(bootstrap)
  const judged = told.length > 0 ? told : reaches(own)
  if (judged.length > 0 && judged.every((reach) => reach === 'loopback')) return 'loopback'
  return judged.some((reach) => reach === 'private' || reach === 'loopback') ? 'private' : 'public'
}

/** A multiaddr's parts. */
export interface PeerAddress {
  readonly host: string
  /** Whether `host` is a name that must be looked up. */
  readonly name: boolean
  readonly port: number
  /** The peer there; for a relayed address, behind the relay. */
  readonly peer: string | undefined
  readonly relay: string | undefined
}

/** Reads an address of a transport that we have (TCP, WebSocket, a relay over them); undefined for anything else. */
export function readAddress(text: string): PeerAddress | undefined {
  if (text.length > MAX_ADDRESS_LENGTH) return undefined
  const found = ADDRESS.exec(text)
  if (found === null) return undefined
  const [, kind, host, port, first, circuit, second] = found
  const name = kind!.startsWith('dns')
  if (name ? !/^[a-z0-9.-]{1,128}$/i.test(host!) : isIP(host!) !== (kind === 'ip6' ? 6 : 4)) return undefined
  if (circuit !== undefined && first === undefined) return undefined
  return {
    host: host!,
    name,
    port: Number(port),
    peer: circuit === undefined ? first : second,
    relay: circuit === undefined ? undefined : first,
  }
}
const ADDRESS =
  /^\/(ip4|ip6|dns4|dns6|dns)\/([^/]+)\/tcp\/(\d{1,5})(?:\/(?:ws|wss|tls\/ws))?(?:\/p2p\/([a-zA-Z0-9]{20,80}))?(?:(\/p2p-circuit)(?:\/p2p\/([a-zA-Z0-9]{20,80}))?)?$/

/** The peer that an address ends in, if it names one. */
export const peerOf = (address: string): string | undefined => readAddress(address)?.peer

/** What counts as one address: an IPv4 address, or the first 64 bits of an IPv6 one, which is what one customer gets. */
export function addressGroup(ip: string): string {
  const mapped = /^::ffff:(\d+\.\d+\.\d+\.\d+)$/i.exec(ip)
  if (mapped !== null) return mapped[1]!
  if (isIP(ip) !== 6) return ip
  const [head = '', tail] = ip.toLowerCase().split('::')
  const left = head === '' ? [] : head.split(':')
  const right = tail === undefined || tail === '' ? [] : tail.split(':')
  const words = tail === undefined ? left : [...left, ...Array<string>(Math.max(0, 8 - left.length - right.length)).fill('0'), ...right]
  return `${words
    .slice(0, 4)
    .map((word) => word.replace(/^0+(?=.)/, ''))
    .join(':')}::/64`
}
