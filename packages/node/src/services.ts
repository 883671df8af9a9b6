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
import { fetchBlob } from './network/blobfetch.ts'
import { type BlobStore, openBlobStore } from './network/blobs.ts'
import { serveBlobs } from './network/blobserver.ts'
import { type Peers, startPeers } from './network/peers.ts'
import { openStore, type Store } from './store.ts'

/** One line of the node's log: what happened, with values; never a key. */
export type Log = (event: string, values?: Readonly<Record<string, unknown>>) => void

export type ServiceOptions = {
  readonly network: Network
  readonly account: LocalAccount
  /** Folder that this node alone owns. */
  readonly dir: string
  readonly host?: string
  readonly peerPort?: number
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
    const server = await serveBlobs({ store: blobs, host, port: options.blobPort ?? (await freePort(former?.blobs, host)) })
    closers.push(() => server.stop())
    // the peer's identity must not reveal the account's key: derived from a signature-free hash of its address and a secret of this folder
    let secret = store.get<Hex>('node', 'peerSecret')
    if (!secret) store.put('node', 'peerSecret', (secret = keccak256(crypto.getRandomValues(new Uint8Array(32)))))
    const peers = await startPeers({
      secret: hexToBytes(secret),
      listen: [
        `/ip4/${host}/tcp/${options.peerPort === undefined ? await freePort(former?.peers, host) : await choosePort(options.peerPort, host)}`,
      ],
      bootstrap: network.bootstrap,
      book: { load: () => store.get('node', 'addresses'), save: (addresses) => store.put('node', 'addresses', addresses) },
      onBan: (who, fault) => log('banned', { who, fault }),
      onError: (error) => log('handler-failed', { error: String(error) }),
    })
    closers.push(() => peers.stop())
    const [address] = peers.addresses()
    if (address === undefined) throw new Error('the peer host listens on no address')
    store.put('node', 'ports', {
      blobs: Number(new URL(server.url).port),
      peers: Number(/\/tcp\/(\d+)/.exec(address)?.[1] ?? 0),
    } satisfies Ports)
    return {
      bitloom,
      me: account.address,
      store,
      blobs,
      checkpoints,
      peers,
      contact: { peer: address, http: server.url },
      meter,
      disk,
      clock,
      backend: options.backend ?? wasm,
      log,
      fetch: async (root, bytes, urls) => {
        const verdict = await fetchBlob({ root, bytes, urls, store: blobs })
        if (!verdict.ok) {
          log('blob-missing', { root, reason: verdict.reason })
          return undefined
        }
        return blobs.get(root, bytes)
      },
      stop,
    }
  } catch (error) {
    await stop()
    throw error
  }
}

type Ports = { readonly peers: number; readonly blobs: number }

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
