// What every role stands on: disk, peers, blobs, the chain, a meter; opened together and closed together.

import { join } from 'node:path'
import { type Backend, wasm } from '@bitloom/engine'

import { type Bitloom, type ConnectOptions, chainTime, connect, type Intent, type Network } from '@bitloom/sdk'
import type { Hex, LocalAccount } from 'viem'
import { hexToBytes, keccak256 } from 'viem'
import { choosePort, PortTakenError } from './chain.ts'
import { type Checkpoints, openCheckpoints } from './checkpoints.ts'
import { type ChainClock, openChainClock } from './clock.ts'
import { type Contact, formatContact } from './contact.ts'
import { type Disk, type DiskOptions, openDisk } from './disk.ts'
import { type Meter, openMeter, type Readings } from './meter.ts'
import { type BlobStore, openBlobStore } from './network/blobs.ts'
import { serveBlobs } from './network/blobserver.ts'
import { serveBlobStreams } from './network/blobstreams.ts'
import { fetchFor } from './network/fetching.ts'
import { type Peers, startPeers } from './network/peers.ts'
import { bestAddress, placeNode } from './network/reach.ts'
import { openStore, type Store } from './store.ts'

/** One line of the node's log: what happened, with values; never a key. */
export type Log = (event: string, values?: Readonly<Record<string, unknown>>) => void

export type ServiceOptions = {
  readonly network: Network
  readonly account: LocalAccount
  /** Folder that this node alone owns. */
  readonly dir: string
  /** Listened on; default this computer only. 0.0.0.0: every address it has. */
  readonly host?: string
  /** Name or address to tell others instead, where a router forwards the ports. */
  readonly announce?: string
  /** Nobody can connect to this computer: be reached through relays, and serve blobs on streams. */
  readonly behindRouter?: boolean
  /** Look for neighbours by multicast; default: when listening on an address of a home or company. */
  readonly mdns?: boolean
  readonly peerPort?: number
  /** For peers that come by WebSocket (browsers, proxies). */
  readonly wsPort?: number
  readonly blobPort?: number
  readonly quotaBytes?: number
  /** What trains and checks; WebAssembly on one thread by default. */
  readonly backend?: Backend
  /** How the chain is reached; the transaction under way is kept in the node's store in any case. */
  readonly rpc?: Omit<ConnectOptions, 'journal' | 'onEvent'>
  readonly disk?: DiskOptions
  readonly log: Log
}

export type Services = {
  readonly bitloom: Bitloom
  readonly me: `0x${string}`
  readonly store: Store
  readonly blobs: BlobStore
  readonly checkpoints: Checkpoints
  readonly peers: Peers
  readonly contact: Contact
  readonly meter: Meter
  readonly disk: Disk
  readonly clock: ChainClock
  readonly backend: Backend
  readonly log: Log
  /** Fetches a blob from whoever serves it, into our own store. */
  readonly fetch: (root: Hex, bytes: number, urls: readonly string[]) => Promise<Uint8Array | undefined>
  readonly stop: () => Promise<void>
}

const LOOPBACK = '127.0.0.1'
/** A node behind a router that begins with an offer nobody can follow up had better wait this long for a relay. */
const RELAY_WAIT_MS = 10_000

/** Opens everything. What was opened before a failure is closed again. */
export async function openServices(options: ServiceOptions): Promise<Services> {
  const { network, account, dir, host = LOOPBACK, log } = options
  const closers: (() => unknown)[] = []
  const stop = async (): Promise<void> => {
    for (const close of closers.splice(0).reverse()) await close()
  }
  try {
    const disk = openDisk(dir, log, options.disk)
    const store = openStore(join(dir, 'node.sqlite'), { onFull: disk.release })
    closers.push(() => store.close())
    const bitloom = await connect(network, account, {
      ...options.rpc,
      onEvent: ({ endpoint, kind, reason }) => log(kind === 'switched' ? 'rpc-switched' : 'rpc-trouble', { endpoint, kind, reason }),
      journal: {
        load: () => store.get<Intent>('outbox', account.address),
        save: (intent) => void (intent ? store.put('outbox', account.address, intent) : store.delete('outbox', account.address)),
      },
    })
    const clock = openChainClock(await chainTime(bitloom))
    const meter = openMeter()
    const before = store.get<Readings>('node', 'readings')
    if (before) meter.resume(before)
    closers.push(() => store.put('node', 'readings', meter.readings()))
    const blobs = disk.sparing(
      openBlobStore({
        dir: join(dir, 'blobs'),
        ...(options.quotaBytes === undefined ? {} : { quotaBytes: options.quotaBytes }),
      }),
    )
    const checkpoints = openCheckpoints(store, blobs, meter)
    closers.push(() => checkpoints.close())
    // the ports of the last start, where they are still free: the addresses in our offers and in others' address books stay true
    const former = store.get<Ports>('node', 'ports')
    // what is told to others must be known before it is listened on
    const any = async (): Promise<number> => (options.announce === undefined ? 0 : choosePort(0, host))
    const port = async (chosen: number | undefined, last: number | undefined): Promise<number> =>
      chosen === undefined ? (await freePort(last, host)) || any() : choosePort(chosen, host)
    const ports: Ports = {
      blobs: await port(options.blobPort, former?.blobs),
      peers: await port(options.peerPort, former?.peers),
      ws: await port(options.wsPort, former?.ws),
    }
    const server = await serveBlobs({ store: blobs, host, port: ports.blobs })
    closers.push(() => server.stop())
    // the peer's identity must not reveal the account's key: derived from a signature-free hash of its address and a secret of this folder
    let secret = store.get<Hex>('node', 'peerSecret')
    if (!secret) store.put('node', 'peerSecret', (secret = keccak256(crypto.getRandomValues(new Uint8Array(32)))))
    const placement = placeNode({
      host,
      peerPort: ports.peers,
      wsPort: ports.ws,
      ...(options.announce === undefined ? {} : { announce: options.announce }),
    })
    const peers = await startPeers({
      secret: hexToBytes(secret),
      listen: placement.listen,
      announce: placement.announce,
      bootstrap: network.bootstrap,
      book: { load: () => store.get('node', 'addresses'), save: (addresses) => store.put('node', 'addresses', addresses) },
      // neighbours of another market would only take each other's offers for forgeries
      ...((options.mdns ?? placement.home) ? { mdns: network.contracts.Market.slice(2, 10).toLowerCase() } : {}),
      behindRouter: options.behindRouter ?? false,
      onBan: (who, fault) => log('banned', { who, fault }),
      onError: (error) => log('handler-failed', { error: String(error) }),
    })
    closers.push(() => peers.stop())
    closers.push(await serveBlobStreams(peers, blobs))
    if (options.behindRouter && !(await reserved(peers)))
      log('no-relay', { todo: 'no peer serves as a relay yet: nobody can reach this node' })
    const listened = peers.listening()
    const portOf = (ws: boolean): number =>
      Number(/\/tcp\/(\d+)/.exec(listened.find((text) => text.includes('/ws') === ws) ?? '')?.[1] ?? 0)
    store.put('node', 'ports', { blobs: server.port, peers: portOf(false), ws: portOf(true) } satisfies Ports)
    return {
      bitloom,
      me: account.address,
      store,
      blobs,
      checkpoints,
      peers,
      contact: contactOf(peers, options.behindRouter ? undefined : urlOf(placement.host, server.port)),
      meter,
      disk,
      clock,
      backend: options.backend ?? wasm,
      log,
      fetch: (root, bytes, urls) => fetchFor({ peers, blobs, log }, root, bytes, urls),
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

type Ports = { readonly peers: number; readonly blobs: number; readonly ws: number }

const urlOf = (host: string, port: number): string => `http://${host.includes(':') ? `[${host}]` : host}:${port}`

/** Where this node answers now: relays come and go. Without a URL, blobs are served on streams. */
const contactOf = (peers: Peers, url: string | undefined): Contact => ({
  get peer() {
    return bestAddress(peers.addresses()) ?? `/p2p/${peers.id}`
  },
  get http() {
    return url ?? this.peer
  },
})

/** Waits a while for a relay; false when there is none. */
async function reserved(peers: Peers): Promise<boolean> {
  for (const end = performance.now() + RELAY_WAIT_MS; performance.now() < end; await new Promise((resolve) => setTimeout(resolve, 100)))
    if (peers.addresses().some((address) => address.includes('/p2p-circuit'))) return true
  return false
}

/** `wanted` where nobody else has taken it, else 0: any free one. */
async function freePort(wanted: number | undefined, host: string): Promise<number> {
  if (wanted === undefined) return 0
  try {
    return await choosePort(wanted, host)
  } catch (error) {
    if (error instanceof PortTakenError) return 0
    throw error
  }
}

/** How others reach this node, as it travels in offers. */
export const contactLine = (services: Services): string => formatContact(services.contact)
