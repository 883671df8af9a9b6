// A node's figures for whoever watches it: `/metrics` in Prometheus' text format, `/health` in one line that says what is wrong.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Counter, Gauge, Registry } from 'prom-client'
import { PortTakenError } from './chain.ts'
import { KINDS } from './meter.ts'
import type { Services } from './services.ts'

/** A node whose loop has not finished a round for this long is not well: deadlines on chain are minutes. */
export const SILENT_AFTER_MS = 30_000
/** A chain without a new block for this long does not take transactions either: ten blocks of Ethereum. */
export const STILL_AFTER_MS = 120_000

/** What the node's loop tells of itself. */
export type Pulse = {
  /** Milliseconds since the last round of the loop that reached its end. */
  readonly sinceTickMs: () => number
  /** Height of the chain as last read. */
  readonly block: () => bigint
  /** Milliseconds since a block was read that was new. */
  readonly sinceBlockMs: () => number
  readonly working: () => boolean
}

export type Metrics = { readonly url: string; readonly port: number; readonly stop: () => Promise<void> }

/**
 * Serves `/metrics`, `/health` (200, or 503 with a sentence) and `/status` (what is behind that sentence, as JSON).
 * @throws {PortTakenError}
 */
export async function serveMetrics(
  services: Pick<Services, 'blobs' | 'peers' | 'meter' | 'disk'> & { readonly bitloom: Pick<Services['bitloom'], 'endpoints'> },
  pulse: Pulse,
  counts: ReadonlyMap<string, number>,
  { port, host = '127.0.0.1' }: { readonly port: number; readonly host?: string },
): Promise<Metrics> {
  const registry = new Registry()
  const gauge = (name: string, help: string, read: () => number): void => {
    new Gauge({
      name: `bitloom_${name}`,
      help,
      registers: [registry],
      collect() {
        this.set(read())
      },
    })
  }
  gauge('peers', 'Peers connected now', () => services.peers.connected().length)
  gauge('blob_bytes', 'Bytes of blobs on disk', () => services.blobs.usedBytes())
  gauge('blob_quota_bytes', 'Most bytes of blobs that this node keeps', () => services.blobs.quotaBytes)
  gauge('chain_block', 'Height of the chain as last read', () => Number(pulse.block()))
  gauge('block_age_seconds', 'Seconds since a new block was read', () => pulse.sinceBlockMs() / 1000)
  gauge('blocks_behind', 'Blocks that an endpoint has told of and that were not read yet', () => behind())
  gauge(
    'rpc_endpoints_resting',
    'RPC endpoints that are passed over',
    () => services.bitloom.endpoints().filter((one) => one.resting).length,
  )
  gauge('disk_free_bytes', 'Bytes that can still be written', () => services.disk.freeBytes())
  gauge('disk_full', '1 while nothing but what a dispute needs is written', () => (services.disk.full() ? 1 : 0))
  gauge('tick_age_seconds', 'Seconds since the loop last finished a round', () => pulse.sinceTickMs() / 1000)
  gauge('working', '1 while something is trained or checked', () => (pulse.working() ? 1 : 0))
  const labelled = (name: string, help: string, label: string, read: () => Iterable<readonly [string, number]>): void => {
    new Counter({
      name: `bitloom_${name}`,
      help,
      labelNames: [label],
      registers: [registry],
      collect() {
        this.reset()
        for (const [value, count] of read()) this.inc({ [label]: value }, count)
      },
    })
  }
  const readings = (of: 'cpuMs' | 'steps', scale: number): (readonly [string, number])[] => {
    const all = services.meter.readings()
    return KINDS.map((kind) => [kind, all[kind][of] / scale] as const)
  }
  labelled('cpu_seconds_total', 'CPU time by what it went to', 'kind', () => readings('cpuMs', 1000))
  labelled('steps_total', 'Training steps run, by what for', 'kind', () => readings('steps', 1))
  labelled('log_events_total', 'Lines of the log by event', 'event', () => counts)

  const behind = (): number => services.bitloom.endpoints().reduce((most, { head }) => Math.max(most, Number(head - pulse.block())), 0)
  /** What is wrong, most urgent first. */
  const ailments = (): string[] => {
    const [silent, still] = [pulse.sinceTickMs(), pulse.sinceBlockMs()]
    return [
      ...(silent > SILENT_AFTER_MS
        ? [`the chain has not been read for ${Math.round(silent / 1000)} s; see the log for chain-down or tick-failed`]
        : still > STILL_AFTER_MS
          ? [`the chain has made no block for ${Math.round(still / 1000)} s; give another RPC with --rpc if others see blocks`]
          : []),
      ...(services.disk.full()
        ? [`the disk is full (${services.disk.freeBytes()} bytes free); training and fetching wait until there is space`]
        : []),
    ]
  }
  const status = (): object => {
    const wrong = ailments()
    return {
      ok: wrong.length === 0,
      wrong,
      chain: {
        reachable: pulse.sinceTickMs() <= SILENT_AFTER_MS,
        block: String(pulse.block()),
        blockAgeSeconds: pulse.sinceBlockMs() / 1000,
        blocksBehind: behind(),
        endpoints: services.bitloom.endpoints().map((one) => ({ ...one, head: String(one.head) })),
      },
      disk: { freeBytes: services.disk.freeBytes(), full: services.disk.full() },
      blobs: { bytes: services.blobs.usedBytes(), quotaBytes: services.blobs.quotaBytes },
      peers: services.peers.connected().length,
      working: pulse.working(),
      tickAgeSeconds: pulse.sinceTickMs() / 1000,
    }
  }
  const server = createServer({ headersTimeout: 5_000, requestTimeout: 5_000, maxHeaderSize: 8192 }, (request, response) => {
    const say = (status: number, type: string, text: string): void => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(request.method === 'HEAD' ? undefined : text)
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') return say(405, 'text/plain', 'only GET\n')
    if (request.url === '/health') {
      const wrong = ailments()
      return say(wrong.length > 0 ? 503 : 200, 'text/plain', `${wrong.length > 0 ? wrong.join('; ') : 'well'}\n`)
    }
    if (request.url === '/status') return say(200, 'application/json', `${JSON.stringify(status())}\n`)
    if (request.url !== '/metrics') return say(404, 'text/plain', 'there are /metrics, /health and /status\n')
    registry.metrics().then(
      (text) => say(200, registry.contentType, text),
      (error: Error) => say(500, 'text/plain', `${error.name}\n`),
    )
  })
  server.maxConnections = 32
  await new Promise<void>((resolve, reject) => {
    server.once('error', (error: NodeJS.ErrnoException) =>
      reject(error.code === 'EADDRINUSE' ? new PortTakenError(port, { cause: error }) : error),
    )
    server.listen({ port, host, exclusive: true }, resolve)
  })
  const { port: found } = server.address() as AddressInfo
  return {
    url: `http://${host}:${found}`,
    port: found,
    stop: async () => {
      server.closeAllConnections()
      await new Promise((resolve) => server.close(resolve))
    },
  }
}
