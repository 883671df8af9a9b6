// The wire of a chaos run: a process through which every packet between two namespaces passes. It holds it back, loses it, or lets nobody through.
// This kernel-independent way is taken instead of `tc netem`, which many kernels do not have; addresses are 10.77.0.N, and N is all that is looked at.

import { read, writeSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { openDice } from './dice.ts'
import { first } from './first.ts'

/** What a host's own end of the wire does, in both directions. */
export type Link = {
  /** One way, ms; and how much more at most, uniformly. */
  readonly delayMs: number
  readonly jitterMs: number
  /** Chance in [0, 1] that a packet is lost. */
  readonly loss: number
  /** Hosts of different sides do not reach each other; 0: reaches every side. */
  readonly side: number
  /** Reaches nobody. */
  readonly cut: boolean
}

/** One line on the wire's stdin: hosts by their last byte, those not named as before. */
export type WireOrder = { readonly links: Readonly<Record<string, Partial<Link>>> }
/** Its last line on stdout. */
export type WireCounts = { readonly packets: number; readonly bytes: number; readonly lost: number; readonly refused: number }

const DEVICE = 3
const LARGEST = 65_536
const PERFECT: Link = { delayMs: 0, jitterMs: 0, loss: 0, side: 0, cut: false }

/** Carries packets until stdin ends. */
function carry(seed: string): void {
  const dice = openDice(seed)
  const links = new Map<number, Link>()
  const linkOf = (host: number): Link => links.get(host) ?? PERFECT
  const counts = { packets: 0, bytes: 0, lost: 0, refused: 0 }
  /** Packets by the millisecond at which they are due. */
  const due = new Map<number, Buffer[]>()
  /** When the last packet from one host to another is due: jitter does not let one overtake another. */
  const latest = new Map<number, number>()
  let next = 0
  let waiting = false

  const put = (packet: Buffer): void => {
    try {
      writeSync(DEVICE, packet)
    } catch (error) {
      // no route or no buffer: a packet that is lost, as on any wire
      counts.lost++
      if ((error as NodeJS.ErrnoException).code === 'EBADF') throw error
    }
  }
  const wait = (): void => {
    if (waiting) return
    waiting = true
    setTimeout(release, 1)
  }
  const release = (): void => {
    waiting = false
    const now = Math.floor(performance.now())
    for (; next <= now; next++) {
      const packets = due.get(next)
      if (!packets) continue
      due.delete(next)
      packets.forEach(put)
    }
    if (due.size > 0) wait()
  }
  const take = (packet: Buffer): void => {
    if (packet.length < 20 || packet[0]! >> 4 !== 4) return // this network is IPv4
    counts.packets++
    counts.bytes += packet.length
    const [from, to] = [packet[15]!, packet[19]!]
    const [a, b] = [linkOf(from), linkOf(to)]
    if (a.cut || b.cut || (a.side !== b.side && a.side !== 0 && b.side !== 0)) {
      counts.refused++
      return
    }
    if (dice.unit() >= (1 - a.loss) * (1 - b.loss)) {
      counts.lost++
      return
    }
    const pair = (from << 8) | to
    const now = performance.now()
    const arrives = now + a.delayMs + b.delayMs + dice.unit() * (a.jitterMs + b.jitterMs)
    if (due.size === 0) next = Math.floor(now)
    const at = Math.max(Math.round(arrives), latest.get(pair) ?? 0, next)
    latest.set(pair, at)
    const packets = due.get(at)
    if (packets) packets.push(packet)
    else due.set(at, [packet])
    wait()
  }
  const listen = (buffer: Buffer): void =>
    read(DEVICE, buffer, 0, LARGEST, null, (error, length) => {
      if (error) throw error
      take(Buffer.from(buffer.subarray(0, length)))
      listen(buffer)
    })

  listen(Buffer.alloc(LARGEST))
  const orders = createInterface({ input: process.stdin })
  orders.on('line', (line) => {
    for (const [host, change] of Object.entries((JSON.parse(line) as WireOrder).links))
      links.set(Number(host), { ...linkOf(Number(host)), ...change })
  })
  // an orderly exit would wait for the read under way, and with it for a packet that may never come
  orders.on('close', () => process.stdout.write(`${JSON.stringify(counts)}\n`, () => process.kill(process.pid, 'SIGKILL')))
}

if (import.meta.main) {
  first()
  carry(process.argv[2] ?? '')
}
