// Ten thousand nodes find each other by the rules of network/peers.ts, round by round. SIMULATED: no sockets, every message arrives within its round.

import {
  BOOTSTRAP_BELOW,
  MAX_ADDRESSES_TOLD,
  MAX_CONNECTIONS,
  MAX_HEARD,
  ROOM_AGE_MS,
  ROOM_FROM,
  TEND_EVERY_MS,
  WANTED_CONNECTIONS,
} from '@bitloom/node/network/limits'
import { words } from '../economics/market.ts'

export type Discovery = {
  readonly nodes: number
  /** Seconds from joining to the first connection, and to WANTED_CONNECTIONS. */
  readonly firstSeconds: Spread
  readonly wantedSeconds: Spread
  readonly connections: Spread
  /** Nodes without any connection when all had joined. */
  readonly alone: number
  /** Share of the living in the largest connected part: at the end, and after the first node and a third of all others died at once and the rest tended for a minute. */
  readonly together: number
  readonly togetherAfterDeaths: number
  /** Connections from one node to all others: the most that gossip needs. */
  readonly hops: number
}
export type Spread = { readonly median: number; readonly p99: number; readonly most: number }

const ROUND_SECONDS = TEND_EVERY_MS / 1000
/** Rounds after which a visitor may have to make room. */
const ROUNDS_HELD = Math.ceil(ROOM_AGE_MS / TEND_EVERY_MS)

/**
 * @param count nodes, joining evenly over `joinSeconds`; each knows only the first
 * @param makesRoom false: without the room that nodes keep for newcomers
 * @param samples false: nodes tell of those they are connected to instead of a sample of all they ever heard of
 */
export function discover(count: number, joinSeconds: number, seed: number, { makesRoom = true, samples = true } = {}): Discovery {
  const random = words(seed)
  const pick = (n: number): number => Math.floor(random() * n)
  const peers: Map<number, number>[] = Array.from({ length: count }, () => new Map()) // peer -> round of connecting
  const inbound: Set<number>[] = Array.from({ length: count }, () => new Set())
  const [first, wanted] = [new Array<number>(count).fill(-1), new Array<number>(count).fill(-1)]
  const joined = (node: number): number => Math.floor((node * joinSeconds) / count / ROUND_SECONDS)
  const alive = new Uint8Array(count).fill(1)
  /** Whom each node was ever connected to: a uniform sample, bounded (network/heard.ts). */
  const known: number[][] = Array.from({ length: count }, () => [])
  const heard = new Uint32Array(count)
  const learn = (node: number, other: number): void => {
    const own = known[node]!
    if (other === node || own.includes(other)) return
    const n = heard[node]!++
    if (own.length < MAX_HEARD) own.push(other)
    else {
      const place = pick(n + 1)
      if (place < MAX_HEARD) own[place] = other
    }
  }

  const connect = (from: number, to: number, round: number): void => {
    if (from === to || !alive[to] || peers[from]!.has(to) || peers[to]!.size >= MAX_CONNECTIONS) return
    peers[from]!.set(to, round)
    peers[to]!.set(from, round)
    inbound[to]!.add(from)
    learn(from, to)
    learn(to, from)
    for (const node of [from, to]) {
      if (first[node]! < 0) first[node] = round
      if (wanted[node]! < 0 && peers[node]!.size >= WANTED_CONNECTIONS) wanted[node] = round
    }
  }
  const part = (a: number, b: number): void => {
    peers[a]!.delete(b)
    peers[b]!.delete(a)
    inbound[a]!.delete(b)
    inbound[b]!.delete(a)
  }
  const tend = (node: number, round: number): void => {
    const own = peers[node]!
    if (makesRoom && own.size > ROOM_FROM)
      for (const peer of inbound[node]!) {
        if (own.size <= ROOM_FROM) break
        if (round - own.get(peer)! >= ROUNDS_HELD) part(node, peer)
      }
    if (own.size >= WANTED_CONNECTIONS) return
    if (own.size < BOOTSTRAP_BELOW) connect(node, 0, round)
    if (own.size === 0) return
    const asked = [...own.keys()][pick(own.size)]!
    const told = samples ? [...known[asked]!] : [...peers[asked]!.keys()]
    for (let i = 0; i < Math.min(MAX_ADDRESSES_TOLD, told.length); i++) {
      const j = i + pick(told.length - i)
      ;[told[i], told[j]] = [told[j]!, told[i]!]
    }
    for (const other of told.slice(0, MAX_ADDRESSES_TOLD)) {
      if (own.size >= WANTED_CONNECTIONS) return
      connect(node, other, round)
    }
  }
  const rounds = Math.ceil(joinSeconds / ROUND_SECONDS) + 24
  const run = (from: number, to: number): void => {
    for (let round = from; round < to; round++)
      for (let node = 0; node < count; node++) if (alive[node] && joined(node) <= round) tend(node, round)
  }
  run(0, rounds)
  const living = (): number[] => peers.flatMap((_, node) => (alive[node] ? [node] : []))
  const largest = (): { size: number; hops: number } => {
    const seen = new Uint8Array(count)
    let best = { size: 0, hops: 0 }
    for (const start of living()) {
      if (seen[start]) continue
      let [edge, size, hops] = [[start], 0, -1]
      seen[start] = 1
      while (edge.length > 0) {
        hops++
        size += edge.length
        edge = edge.flatMap((node) => [...peers[node]!.keys()].filter((peer) => seen[peer] === 0 && (seen[peer] = 1) === 1))
      }
      if (size > best.size) best = { size, hops }
    }
    return best
  }
  const since = (at: number[]): Spread =>
    spread(at.map((round, node) => (round < 0 ? Number.POSITIVE_INFINITY : (round - joined(node)) * ROUND_SECONDS)))
  const before = largest()
  const found = {
    nodes: count,
    firstSeconds: since(first),
    wantedSeconds: since(wanted),
    connections: spread(peers.map((own) => own.size)),
    alone: peers.filter((own) => own.size === 0).length,
    together: before.size / count,
    hops: before.hops,
  }
  for (let node = 0; node < count; node++)
    if (node === 0 || random() < 1 / 3) {
      alive[node] = 0
      for (const peer of [...peers[node]!.keys()]) part(node, peer)
    }
  run(rounds, rounds + 60 / ROUND_SECONDS)
  return { ...found, togetherAfterDeaths: largest().size / living().length }
}

export function spread(values: readonly number[]): Spread {
  const sorted = [...values].sort((a, b) => a - b)
  const at = (share: number): number => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))]!
  return { median: at(0.5), p99: at(0.99), most: sorted[sorted.length - 1]! }
}
