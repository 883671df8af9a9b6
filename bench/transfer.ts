// How fast a blob travels, every byte checked against its root, beside what a plain TCP copy of the same file reaches on the same link: the bar is 70 %.
// Run: node bench/transfer.ts [--mb 500] [--rounds 3] [--link loopback|gigabit|distant|all] [--dir FOLDER] [--json FILE]
// The gigabit link is two network namespaces joined by a pair of devices under `tc tbf`; it needs root and iproute2. The distant one is SIMULATED where the
// kernel has no netem: a process between the two holds every piece back for 5 ms and lets 125 MB/s through each way, for plain copy and ours alike.

import { type ChildProcess, execFileSync, spawn } from 'node:child_process'
import { once } from 'node:events'
import {
  closeSync,
  createReadStream,
  createWriteStream,
  fsyncSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  rmSync,
  writeFileSync,
  writeSync,
} from 'node:fs'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { cpus, loadavg, tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { pipeline } from 'node:stream/promises'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'
import { fetchBlob } from '@bitloom/node/network/blobfetch'
import { openBlobStore, type Root } from '@bitloom/node/network/blobs'
import { serveBlobs } from '@bitloom/node/network/blobserver'
import { serveBlobStreams, streamSource } from '@bitloom/node/network/blobstreams'
import { startPeers } from '@bitloom/node/network/peers'

const SELF = fileURLToPath(import.meta.url)
const BAR = 0.7
type Served = { readonly http: string; readonly second: string; readonly peer: string; readonly port: number }
type Order = { readonly dir: string; readonly root: Root; readonly bytes: number; readonly served: Served; readonly rounds: number }
type Way = 'bare TCP copy' | 'TCP copy by streams' | 'one peer' | 'two peers' | 'libp2p stream'
type Times = Record<Way, { readonly seconds: number[]; readonly cpuSeconds: number[] }>

/** Serves the blob in every way, on one address, and says where. */
async function serve(dir: string, host: string, root: Root): Promise<void> {
  const store = openBlobStore({ dir })
  const servers = [await serveBlobs({ store, host }), await serveBlobs({ store, host })]
  const file = join(dir, root.slice(2, 4), root.slice(4))
  const plain = createServer((socket) => {
    pipeline(createReadStream(file, { highWaterMark: 1 << 20 }), socket).catch(() => undefined) // the reader saw the end
  }).listen(0, host)
  await once(plain, 'listening')
  const peers = await startPeers({ listen: [`/ip4/${host}/tcp/0`] })
  await serveBlobStreams(peers, store)
  const served: Served = {
    http: servers[0]!.url,
    second: servers[1]!.url,
    peer: peers.addresses()[0]!,
    port: (plain.address() as AddressInfo).port,
  }
  process.stdout.write(`${JSON.stringify(served)}\n`)
  process.stdin.resume().on('end', () => process.exit(0))
}

const HOLD_MS = 5
const BYTES_PER_MS = 125_000

/** Stands between: what comes in on a port of its own leaves to the server's HOLD_MS later, and not faster than the rate; the same the other way. */
async function hold(served: Served): Promise<void> {
  /** When the line is free again, for each direction; all connections share it. */
  const free = [0, 0]
  const join = (from: Socket, to: Socket, way: 0 | 1): void => {
    const late: { readonly at: number; readonly piece: Buffer }[] = []
    let held = 0
    let waiting = false
    const most = 2 * 2 * HOLD_MS * BYTES_PER_MS // what a line of this length holds, and as much again for buffers on the way
    const wait = (ms: number): void => {
      if (waiting) return
      waiting = true
      setTimeout(drain, ms)
    }
    const drain = (): void => {
      waiting = false
      while (late.length > 0 && late[0]!.at <= performance.now()) {
        const { piece } = late.shift()!
        held -= piece.length
        to.write(piece)
      }
      if (held < most) from.resume()
      if (late.length > 0) wait(Math.max(1, late[0]!.at - performance.now()))
    }
    from.on('data', (piece: Buffer) => {
      free[way] = Math.max(free[way]!, performance.now()) + piece.length / BYTES_PER_MS
      late.push({ at: free[way]! + HOLD_MS, piece })
      held += piece.length
      if (held >= most) from.pause()
      wait(HOLD_MS)
    })
    from.on('end', () => setTimeout(() => to.end(), 200))
    from.on('error', () => to.destroy())
    from.on('close', () => setTimeout(() => to.destroy(), 400))
  }
  const before = async (port: number): Promise<number> => {
    const server = createServer({ noDelay: true }, (near) => {
      const far = connect({ port, host: '127.0.0.1', noDelay: true })
      join(near, far, 0)
      join(far, near, 1)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    return (server.address() as AddressInfo).port
  }
  const url = async (text: string): Promise<string> => `http://127.0.0.1:${await before(Number(new URL(text).port))}`
  const peerPort = Number(/\/tcp\/(\d+)/.exec(served.peer)![1])
  const shown: Served = {
    http: await url(served.http),
    second: await url(served.second),
    port: await before(served.port),
    peer: served.peer.replace(`/tcp/${peerPort}`, `/tcp/${await before(peerPort)}`),
  }
  process.stdout.write(`${JSON.stringify(shown)}\n`)
  process.stdin.resume().on('end', () => process.exit(0))
}

/** Fetches the blob in every way, in turns, so that what else the machine does falls on all alike. */
async function get({ dir, root, bytes, served, rounds }: Order): Promise<void> {
  const host = new URL(served.http).hostname
  const peers = await startPeers({ listen: [`/ip4/${host === '127.0.0.1' ? host : '0.0.0.0'}/tcp/0`], bootstrap: [served.peer] })
  let count = 0
  const fresh = () => openBlobStore({ dir: join(dir, `in-${count++}`) })
  const fetched = async (urls: readonly string[], sources = false): Promise<void> => {
    const store = fresh()
    const verdict = await fetchBlob({
      root,
      bytes,
      urls,
      store,
      scope: 'loopback',
      ...(sources ? { sources: [streamSource(peers, served.peer)] } : {}),
    })
    if (!verdict.ok) throw new Error(verdict.reason)
    if (verdict.badPeers.length > 0) throw new Error(JSON.stringify(verdict.badPeers))
    rmSync(store.dir, { recursive: true })
  }
  /** As plain as it gets: what a socket gives into one buffer, that into the file. */
  const copied = async (): Promise<void> => {
    const path = join(dir, 'copy')
    const file = openSync(path, 'w')
    const buffer = Buffer.allocUnsafe(1 << 18)
    let copiedBytes = 0
    const callback = (count: number): boolean => {
      for (let done = 0; done < count; ) done += writeSync(file, buffer, done, count - done)
      copiedBytes += count
      return true
    }
    const socket = connect({ port: served.port, host, onread: { buffer, callback } })
    await once(socket, 'close')
    if (copiedBytes !== bytes) throw new Error(`the plain copy has ${copiedBytes} of ${bytes} bytes`)
    fsyncSync(file)
    closeSync(file)
    rmSync(path)
  }
  /** As a Node program would usually copy. */
  const streamed = async (): Promise<void> => {
    const path = join(dir, 'copy')
    await pipeline(connect(served.port, host), createWriteStream(path, { highWaterMark: 1 << 20, flush: true }))
    rmSync(path)
  }
  const ways: Record<Way, () => Promise<void>> = {
    'bare TCP copy': copied,
    'TCP copy by streams': streamed,
    'one peer': () => fetched([served.http]),
    'two peers': () => fetched([served.http, served.second]),
    'libp2p stream': () => fetched([], true),
  }
  const times = Object.fromEntries(Object.keys(ways).map((way) => [way, { seconds: [], cpuSeconds: [] }])) as unknown as Times
  for (let round = 0; round < rounds; round++)
    for (const [way, run] of Object.entries(ways) as [Way, () => Promise<void>][]) {
      const cpu = process.cpuUsage()
      const start = performance.now()
      await run()
      times[way].seconds.push((performance.now() - start) / 1000)
      const { user, system } = process.cpuUsage(cpu)
      times[way].cpuSeconds.push((user + system) / 1e6)
    }
  process.stdout.write(`${JSON.stringify(times)}\n`)
  process.exit(0)
}

type Link = {
  readonly name: string
  readonly host: string
  readonly at: (side: 'far' | 'near') => readonly string[]
  readonly remove: () => void
}

const distant: Link = { name: '1 Gbit/s, 10 ms there and back (simulated)', host: '127.0.0.1', at: () => [], remove: () => undefined }
const loopback: Link = { name: 'loopback', host: '127.0.0.1', at: () => [], remove: () => undefined }

/** Two namespaces and a wire between them. Throws where that cannot be made. */
function gigabit(): Link {
  const [far, near] = [`bw-far-${process.pid}`, `bw-near-${process.pid}`]
  const ip = (...args: string[]): void => void execFileSync('ip', args, { stdio: 'pipe' })
  const remove = (): void => {
    for (const name of [far, near]) {
      try {
        ip('netns', 'del', name)
      } catch (error) {
        process.stderr.write(`${name}: ${String((error as Error).message).split('\n')[0]}\n`)
      }
    }
  }
  try {
    for (const name of [far, near]) ip('netns', 'add', name)
    ip('link', 'add', 'wire0', 'netns', far, 'type', 'veth', 'peer', 'name', 'wire1', 'netns', near)
    for (const [name, device, address] of [
      [far, 'wire0', '10.77.0.1/24'],
      [near, 'wire1', '10.77.0.2/24'],
    ] as const) {
      ip('-n', name, 'addr', 'add', address, 'dev', device)
      ip('-n', name, 'link', 'set', device, 'up')
      ip('-n', name, 'link', 'set', 'lo', 'up')
      const shape = ['tbf', 'rate', '1gbit', 'burst', '256kb', 'latency', '20ms']
      execFileSync('tc', ['-n', name, 'qdisc', 'add', 'dev', device, 'root', ...shape], { stdio: 'pipe' })
    }
  } catch (error) {
    remove()
    throw error
  }
  return {
    name: '1 Gbit/s',
    host: '10.77.0.1',
    at: (side) => ['ip', 'netns', 'exec', side === 'far' ? far : near],
    remove,
  }
}

function start(prefix: readonly string[], args: readonly string[]): { readonly child: ChildProcess; readonly line: Promise<string> } {
  const [command, ...more] = [...prefix, process.execPath, SELF, ...args]
  const child = spawn(command!, more, { stdio: ['pipe', 'pipe', 'inherit'] })
  const line = new Promise<string>((resolve, reject) => {
    createInterface({ input: child.stdout! }).once('line', resolve)
    child.once('exit', (code) => reject(new Error(`${args[0]} ended with status ${code}`)))
  })
  return { child, line }
}

async function main(): Promise<void> {
  const { values } = parseArgs({
    options: {
      mb: { type: 'string', default: '500' },
      rounds: { type: 'string', default: '3' },
      link: { type: 'string', default: 'all' },
      json: { type: 'string' },
      dir: { type: 'string', default: tmpdir() },
    },
  })
  const bytes = Number(values.mb) * 1e6
  const dir = mkdtempSync(join(values.dir, 'bitloom-transfer-'))
  const results: Record<string, unknown>[] = []
  try {
    const store = openBlobStore({ dir: join(dir, 'source') })
    const { root } = await store.put(pseudoNoise(bytes))
    for (const wanted of ['loopback', 'gigabit', 'distant'] as const) {
      if (values.link !== 'all' && values.link !== wanted) continue
      let link: Link
      try {
        link = wanted === 'loopback' ? loopback : wanted === 'distant' ? distant : gigabit()
      } catch (error) {
        console.log(`${wanted}: cannot be made here (${String((error as Error).message).split('\n')[0]})`)
        results.push({ link: wanted, skipped: String((error as Error).message).split('\n')[0] })
        continue
      }
      const server = start(link.at('far'), ['serve', join(dir, 'source'), link.host, root])
      try {
        let served = JSON.parse(await server.line) as Served
        const proxy = wanted === 'distant' ? start([], ['hold', JSON.stringify(served)]) : undefined
        if (proxy) served = JSON.parse(await proxy.line) as Served
        const into = join(dir, wanted)
        mkdirSync(into)
        const order: Order = { dir: into, root, bytes, served, rounds: Number(values.rounds) }
        const times = JSON.parse(await start(link.at('near'), ['get', JSON.stringify(order)]).line) as Times
        results.push(shown(link.name, bytes, times))
        proxy?.child.kill()
      } finally {
        server.child.kill()
        link.remove()
      }
    }
    const machine = { cpu: cpus()[0]!.model, threads: cpus().length, node: process.version, load: loadavg()[0] }
    if (values.json) writeFileSync(values.json, `${JSON.stringify({ machine, bytes, bar: BAR, links: results }, null, 2)}\n`)
  } finally {
    rmSync(dir, { recursive: true })
  }
}

/** Prints a link's table; the best round of each way counts, since others use the machine too, and all rounds are in the results. */
function shown(link: string, bytes: number, times: Times): Record<string, unknown> {
  const best = (way: Way): number => bytes / 1e6 / Math.min(...times[way].seconds)
  const [bare, streams] = [best('bare TCP copy'), best('TCP copy by streams')]
  console.log(`${link}: ${bytes / 1e6} MB, from disk to disk, written through`)
  const rows = (Object.keys(times) as Way[]).map((way) => {
    const cpu = Math.min(...times[way].cpuSeconds)
    const ratios = `${(best(way) / bare).toFixed(2).padStart(5)} of bare ${(best(way) / streams).toFixed(2).padStart(5)} of streams`
    console.log(`  ${way.padEnd(20)} ${best(way).toFixed(0).padStart(5)} MB/s ${ratios}  ${cpu.toFixed(2)} s of CPU`)
    return [way, { bestMBs: best(way), ofBare: best(way) / bare, ofStreams: best(way) / streams, ...times[way] }]
  })
  const met = Math.max(best('one peer'), best('two peers')) >= BAR * Math.max(bare, streams)
  console.log(`  at least ${BAR} of the faster copy: ${met ? 'yes' : 'NO'}`)
  return { link, ...Object.fromEntries(rows), met }
}

/** Bytes that no compression and no sparse file could fake. */
async function* pseudoNoise(bytes: number): AsyncGenerator<Uint8Array> {
  const words = new Uint32Array(1 << 18)
  for (let at = 0, x = 1; at < bytes; at += words.byteLength) {
    for (let i = 0; i < words.length; i++) words[i] = x = (Math.imul(x, 1664525) + 1013904223) >>> 0
    yield new Uint8Array(words.buffer, 0, Math.min(words.byteLength, bytes - at))
  }
}

const [verb, ...rest] = process.argv.slice(2)
if (verb === 'serve') await serve(rest[0]!, rest[1]!, rest[2] as Root)
else if (verb === 'hold') await hold(JSON.parse(rest[0]!) as Served)
else if (verb === 'get') await get(JSON.parse(rest[0]!) as Order)
else await main()
