// A node's figures for whoever watches it: `/metrics` in Prometheus' text format, `/health` in one line that says what is wrong.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { Counter, Gauge, Registry } from 'prom-client'
import { PortTakenError } from './chain.ts'
import { KINDS } from './meter.ts'
import type { Services } from './services.ts'

/** A node whose loop has not finished a round for this long is not well: deadlines on chain are minutes. */
export const SILENT_AFTER_MS = 30_000

/** What the node's loop tells of itself. */
export type Pulse = {
  /** Milliseconds since the last round of the loop that reached its end. */
  readonly sinceTickMs: () => number
  /** Height of the chain as last read. */
  readonly block: () => bigint
  readonly working: () => boolean
}

export type Metrics = { readonly url: string; readonly port: number; readonly stop: () => Promise<void> }

/**
 * Serves `/metrics` and `/health` (200, or 503 with a sentence).
 * @throws {PortTakenError}
 */
export async function serveMetrics(
  services: Pick<Services, 'blobs' | 'peers' | 'meter'>,
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

  /** What is wrong, if anything. */
  const ailment = (): string | undefined => {
    const silent = pulse.sinceTickMs()
    if (silent > SILENT_AFTER_MS)
      return `the chain has not been read for ${Math.round(silent / 1000)} s; see the log for chain-down or tick-failed`
    return undefined
  }
  const server = createServer({ headersTimeout: 5_000, requestTimeout: 5_000, maxHeaderSize: 8192 }, (request, response) => {
    const say = (status: number, type: string, text: string): void => {
      response.writeHead(status, { 'content-type': type, 'cache-control': 'no-store' }).end(request.method === 'HEAD' ? undefined : text)
    }
    if (request.method !== 'GET' && request.method !== 'HEAD') return say(405, 'text/plain', 'only GET\n')
    if (request.url === '/health') {
      const wrong = ailment()
      return say(wrong ? 503 : 200, 'text/plain', `${wrong ?? 'well'}\n`)
    }
    if (request.url !== '/metrics') return say(404, 'text/plain', 'there are /metrics and /health\n')
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
