// Nodes find each other over real sockets: with the first peer dead, through a full one, over WebSocket, behind a router by a relay, at home by multicast.

import assert from 'node:assert/strict'
import { after, test } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { openBook } from './book.ts'
import type { Verdict } from './frames.ts'
import { MAX_BOOK } from './limits.ts'
import { type Peers, type PeersOptions, startPeers } from './peers.ts'

const closing: (() => unknown)[] = []
after(async () => {
  for (const close of closing.reverse()) await close()
})

async function peer(options: PeersOptions = {}): Promise<Peers> {
  const peers = await startPeers({ tendEveryMs: 200, ...options })
  let running = true
  const { stop } = peers
  const once = async (): Promise<void> => {
    if (running) await stop()
    running = false
  }
  closing.push(once)
  return { ...peers, stop: once }
}

async function until(what: string, seconds: number, probe: () => boolean): Promise<void> {
  for (const end = performance.now() + seconds * 1000; !probe(); await sleep(20))
    if (performance.now() > end) throw new Error(`waited ${seconds} s for ${what}`)
}

const anything = (body: unknown): Verdict<unknown> => ({ ok: true, value: body })

/** What a disk would keep. */
function shelf() {
  let kept: unknown
  return {
    load: () => kept,
    save: (addresses: readonly string[]) => void (kept = JSON.parse(JSON.stringify(addresses))),
    kept: () => kept as string[],
  }
}

test('a node that starts again while its first peer is dead finds the network by the addresses it kept', async () => {
  const hub = await peer()
  const bootstrap = hub.addresses()
  const others = await Promise.all(Array.from({ length: 4 }, () => peer({ bootstrap })))
  const keeper = shelf()
  const one = await peer({ bootstrap, book: keeper })
  await until('the node to know the others', 20, () => keeper.kept()?.length >= 4)
  await one.stop()
  await hub.stop()
  const again = await peer({ bootstrap, book: keeper })
  await until('the network found again', 20, () => again.connected().length >= 4)
  assert.ok(!again.connected().includes(hub.id))
  assert.ok(others.every((other) => again.connected().includes(other.id)))
  // Without what it kept it would be alone: this is what the book is for.
  const forgetful = await peer({ bootstrap })
  await sleep(1500)
  assert.deepEqual(forgetful.connected(), [])
})

test('a book keeps peers that answered, one address each, drops the dead, is bounded, and reads its file like a stranger’s', () => {
  const id = (n: number): string => `12D3KooW${n.toString(36).padStart(44, 'a').replaceAll('0', 'b')}`
  const keeper = shelf()
  const book = openBook(keeper)
  for (let n = 0; n < MAX_BOOK + 50; n++) book.met(`/ip4/10.0.0.1/tcp/${2000 + n}/p2p/${id(n)}`)
  assert.equal(book.addresses().length, MAX_BOOK)
  assert.equal(book.addresses()[0], `/ip4/10.0.0.1/tcp/${2000 + MAX_BOOK + 49}/p2p/${id(MAX_BOOK + 49)}`)
  book.met(`/ip4/10.0.0.2/tcp/99/ws/p2p/${id(100)}`)
  book.met('rubbish')
  book.met('/ip4/10.0.0.3/tcp/5')
  assert.equal(book.addresses().length, MAX_BOOK)
  assert.equal(book.addresses()[0], `/ip4/10.0.0.2/tcp/99/ws/p2p/${id(100)}`)
  for (const time of [1, 2]) {
    assert.equal(book.has(id(100)), true, `miss ${time}`)
    book.missed(`/ip4/10.0.0.2/tcp/99/ws/p2p/${id(100)}`)
  }
  assert.equal(book.has(id(100)), false)
  assert.deepEqual(openBook(keeper).addresses(), book.addresses())
  for (const kept of [undefined, null, 7, 'x', { length: 3 }, [1, null, 'x', '/ip4/999.0.0.1/tcp/1/p2p/x'.padEnd(300, 'x')]])
    assert.deepEqual(openBook({ load: () => kept, save: () => undefined }).addresses(), [])
})

test('many find each other through a first peer that has room for four', async () => {
  const hub = await peer({ maxConnections: 4, roomAgeMs: 500 })
  const others: Peers[] = []
  for (let n = 0; n < 10; n++) others.push(await peer({ bootstrap: hub.addresses() }))
  await until('everybody to know nearly everybody', 60, () =>
    others.every((one) => one.connected().filter((other) => other !== hub.id).length > 5),
  )
  assert.ok(hub.connected().length <= 4, `${hub.connected().length} connections`)
})

test('questions travel over WebSocket as over TCP', async () => {
  const a = await peer({ listen: ['/ip4/127.0.0.1/tcp/0', '/ip4/127.0.0.1/tcp/0/ws'] })
  a.handle('echo', anything, (_, body) => body)
  const ws = a.addresses().find((address) => address.includes('/ws'))
  assert.ok(ws, a.addresses().join(' '))
  const b = await peer()
  assert.deepEqual(await b.request(ws, 'echo', 'x'.repeat(1 << 19)), { ok: true, value: 'x'.repeat(1 << 19) })
})

test('a node behind a router is reached through a relay, and keeps its place in the network', async () => {
  const relay = await peer()
  // No listening socket at all: nobody can reach it but over a connection that it made itself.
  const hidden = await peer({ listen: [], behindRouter: true, bootstrap: relay.addresses() })
  hidden.handle('echo', anything, (from, body) => ({ from, body }))
  await until('a reservation', 20, () => hidden.addresses().some((address) => address.includes('/p2p-circuit')))
  const [address] = hidden.addresses()
  assert.match(address!, new RegExp(`/p2p/${relay.id}/p2p-circuit/p2p/${hidden.id}$`))
  const other = await peer()
  assert.deepEqual(await other.request(address!, 'echo', 5), { ok: true, value: { from: other.id, body: 5 } })
  assert.ok(other.connected().includes(hidden.id))
  // A node that does not serve as a relay is no way in.
  const plain = await peer({ relay: false })
  const lost = await peer({ listen: [], behindRouter: true, bootstrap: plain.addresses() })
  await until('the connection', 10, () => lost.connected().includes(plain.id))
  await sleep(1000)
  assert.deepEqual(lost.addresses(), [])
})

test('neighbours find each other by multicast, without any first peer', async (t) => {
  const { networkInterfaces } = await import('node:os')
  const lan = Object.values(networkInterfaces())
    .flat()
    .find((face) => face !== undefined && face.family === 'IPv4' && !face.internal)
  if (lan === undefined) return t.skip('no interface but loopback: there is no neighbourhood to ask')
  if (!(await multicasts())) return t.skip('this machine does not deliver multicast to itself')
  const listen = [`/ip4/${lan.address}/tcp/0`]
  const a = await peer({ listen, mdns: 'here' })
  const stranger = await peer({ listen, mdns: 'elsewhere' })
  const b = await peer({ listen, mdns: 'here' })
  await until('neighbours', 25, () => a.connected().includes(b.id))
  await sleep(500)
  assert.deepEqual(stranger.connected(), [])
})

/** Whether a datagram to a group that this machine has joined comes back to it. */
async function multicasts(): Promise<boolean> {
  const { createSocket } = await import('node:dgram')
  const socket = createSocket({ type: 'udp4', reuseAddr: true })
  try {
    return await new Promise<boolean>((resolve) => {
      socket.on('error', () => resolve(false))
      socket.on('message', () => resolve(true))
      socket.bind(0, () => {
        try {
          socket.addMembership('224.0.0.251')
        } catch {
          return resolve(false) // no route for multicast: what is asked here
        }
        socket.send('x', socket.address().port, '224.0.0.251')
        setTimeout(() => resolve(false), 2000).unref()
      })
    })
  } finally {
    socket.close()
  }
}
