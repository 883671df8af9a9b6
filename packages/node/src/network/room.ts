// Room for newcomers: a full node lets its oldest idle visitors go, who know others by now, so that the next ten thousand can come in and ask.

import type { Connection, PeerId } from '@libp2p/interface'
import { ROOM_AGE_MS, ROOM_SHARE } from './limits.ts'

export interface RoomOptions {
  readonly maxConnections: number
  /** Younger connections stay. */
  readonly ageMs?: number | undefined
  /** Whether others reach this peer through us. */
  readonly isReserved: (peer: PeerId) => boolean
  readonly faultsOf: (peer: string) => number
}

export interface Room {
  opened(connection: Connection): void
  /** The peer asked or answered something of use: it is busy for a while. */
  used(peer: string): void
  forget(peer: string): void
  /** Lets go of as many as are above the share that leaves room. */
  make(connections: readonly Connection[]): Promise<void>
}

/** Remembers who came when and was of use when, by a clock that never goes back. */
export function openRoom({ maxConnections, ageMs = ROOM_AGE_MS, isReserved, faultsOf }: RoomOptions): Room {
  const since = new WeakMap<Connection, number>()
  const lastUse = new Map<string, number>()
  const from = Math.floor(maxConnections * ROOM_SHARE)
  return {
    opened: (connection) => void since.set(connection, performance.now()),
    used: (peer) => void lastUse.set(peer, performance.now()),
    forget: (peer) => void lastUse.delete(peer),
    async make(connections) {
      if (connections.length <= from) return
      const now = performance.now()
      const idle = connections.filter((connection) => {
        const peer = connection.remotePeer.toString()
        return (
          connection.direction === 'inbound' &&
          now - (since.get(connection) ?? now) > ageMs &&
          now - (lastUse.get(peer) ?? Number.NEGATIVE_INFINITY) > ageMs &&
          !isReserved(connection.remotePeer)
        )
      })
      // Who has faults goes first, then who came first.
      const order = idle.sort(
        (a, b) => faultsOf(b.remotePeer.toString()) - faultsOf(a.remotePeer.toString()) || (since.get(a) ?? 0) - (since.get(b) ?? 0),
      )
      await Promise.all(
        order.slice(0, connections.length - from).map(async (connection) => {
          try {
            await connection.close({ signal: AbortSignal.timeout(1000) })
          } catch (error) {
            connection.abort(error as Error)
          }
        }),
      )
    },
  }
}
