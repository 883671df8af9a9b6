// Where a node listens and what it tells others: one computer, a home, a server with an address of its own, or behind a router that lets nobody in.

import { isIP } from 'node:net'
import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { reachOf } from './addresses.ts'

export interface ReachOptions {
  /** The address listened on; 0.0.0.0 or :: is every address of this computer. */
  readonly host: string
  /** The name or address under which others reach this computer, where it is not `host`: the router's, with its ports forwarded. */
  readonly announce?: string
  readonly peerPort: number
  readonly wsPort: number
  /** For tests: what the system says of its interfaces. */
  readonly interfaces?: NodeJS.Dict<NetworkInterfaceInfo[]>
}

export interface Placement {
  /** Multiaddrs to listen on. */
  readonly listen: string[]
  /** Multiaddrs to tell instead; none: tell those. */
  readonly announce: string[]
  /** The host in URLs that others are given. */
  readonly host: string
  /** Whether neighbours may be looked for by multicast: this computer is in somebody's home or company. */
  readonly home: boolean
}

/** Turns a host, ports and what is announced into addresses. `announce` needs ports other than 0. */
export function placeNode({ host, announce, peerPort, wsPort, interfaces }: ReachOptions): Placement {
  const kind = isIP(host) === 6 ? 'ip6' : 'ip4'
  const listen = [`/${kind}/${host}/tcp/${peerPort}`, `/${kind}/${host}/tcp/${wsPort}/ws`]
  const everywhere = host === '0.0.0.0' || host === '::'
  const told = announce ?? (everywhere ? widest(interfaces ?? networkInterfaces()) : host)
  const version = isIP(told)
  const shown = version === 6 ? 'ip6' : version === 4 ? 'ip4' : 'dns4'
  return {
    listen,
    announce: announce === undefined ? [] : [`/${shown}/${told}/tcp/${peerPort}`, `/${shown}/${told}/tcp/${wsPort}/ws`],
    host: told,
    home: version !== 0 && reachOf(told) === 'private',
  }
}

/** This computer's address that reaches furthest; the loopback where it has no other. */
function widest(interfaces: NodeJS.Dict<NetworkInterfaceInfo[]>): string {
  const all = Object.values(interfaces).flatMap((faces) => faces ?? [])
  const ips = all.filter(({ family }) => family === 'IPv4').map(({ address }) => address)
  return ips.find((ip) => reachOf(ip) === 'public') ?? ips.find((ip) => reachOf(ip) === 'private') ?? '127.0.0.1'
}

const ORDER: readonly string[] = ['public', 'private', 'loopback', 'nowhere']

/** Of a host's own multiaddrs the one to put in an offer: direct before relayed, TCP before WebSocket, further before nearer. */
export function bestAddress(addresses: readonly string[]): string | undefined {
  const rank = (address: string): number => {
    const [, kind, host] = address.split('/')
    const reach = kind?.startsWith('dns') ? 'public' : reachOf(host ?? '')
    return (address.includes('/p2p-circuit') ? 100 : 0) + 10 * ORDER.indexOf(reach) + (address.includes('/ws') ? 1 : 0)
  }
  return [...addresses].sort((a, b) => rank(a) - rank(b))[0]
}
