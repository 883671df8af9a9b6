// Metrics over real HTTP: figures as they stand when asked, health that says what is wrong, everything else refused.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { PortTakenError } from './chain.ts'
import { openDisk } from './disk.ts'
import { countingLog } from './log.ts'
import { openMeter } from './meter.ts'
import { SILENT_AFTER_MS, STILL_AFTER_MS, serveMetrics } from './metrics.ts'
import { openBlobStore } from './network/blobs.ts'
import { startPeers } from './network/peers.ts'

test('figures are those of the moment, a silent loop is unhealthy, and nothing else is served', async (t) => {
  const dir = mkdtempSync(join(tmpdir(), 'bitloom-metrics-'))
  const peers = await startPeers()
  let free = 100 << 20
  const services = {
    ...{ blobs: openBlobStore({ dir }), meter: openMeter(), peers },
    disk: openDisk(dir, () => undefined, { ballastBytes: 1024, marginBytes: 1 << 20, free: () => free }),
    bitloom: { endpoints: () => [{ endpoint: 'http://127.0.0.1:1', inUse: true, resting: false, head: 45n }] },
  }
  const lines: string[] = []
  const { log, counts } = countingLog((event) => void lines.push(event))
  let silent = 0
  let still = 0
  const pulse = { sinceTickMs: () => silent, block: () => 42n, sinceBlockMs: () => still, working: () => true }
  const metrics = await serveMetrics(services, pulse, counts, { port: 0 })
  t.after(async () => {
    await metrics.stop()
    await peers.stop()
    rmSync(dir, { recursive: true, force: true })
  })
  const read = async (): Promise<string> => (await fetch(`${metrics.url}/metrics`)).text()
  const figureOf = (text: string, line: string): number =>
    Number(
      text
        .split('\n')
        .find((l) => l.startsWith(`${line} `))
        ?.split(' ')[1],
    )

  const before = await read()
  assert.equal(figureOf(before, 'bitloom_blob_bytes'), 0)
  assert.equal(figureOf(before, 'bitloom_chain_block'), 42)
  assert.equal(figureOf(before, 'bitloom_peers'), 0)
  await services.blobs.put(new Uint8Array(12_345).fill(1))
  services.meter.measure('train', () => undefined, 7)
  log('trained')
  log('trained')
  const after = await read()
  assert.equal(figureOf(after, 'bitloom_blob_bytes'), 12_345)
  assert.equal(figureOf(after, 'bitloom_steps_total{kind="train"}'), 7)
  assert.equal(figureOf(after, 'bitloom_log_events_total{event="trained"}'), 2)
  assert.deepEqual(lines, ['trained', 'trained'])
  assert.match(after, /# TYPE bitloom_cpu_seconds_total counter/)

  const health = async (): Promise<[number, string]> => {
    const response = await fetch(`${metrics.url}/health`)
    return [response.status, await response.text()]
  }
  assert.deepEqual(await health(), [200, 'well\n'])
  silent = SILENT_AFTER_MS + 1000
  const [status, sentence] = await health()
  assert.equal(status, 503)
  assert.match(sentence, /has not been read for 31 s/)
  silent = 0
  still = STILL_AFTER_MS + 1000
  assert.match((await health())[1], /has made no block for 121 s/)
  still = 0
  free = 1000
  services.disk.release()
  assert.match((await health())[1], /the disk is full \(1000 bytes free\)/)
  const told = (await (await fetch(`${metrics.url}/status`)).json()) as { ok: boolean; wrong: string[]; chain: Record<string, unknown> }
  assert.equal(told.ok, false)
  assert.equal(told.wrong.length, 1)
  assert.deepEqual([told.chain.block, told.chain.blocksBehind], ['42', 3])
  assert.equal((await fetch(`${metrics.url}/secrets`)).status, 404)
  assert.equal((await fetch(`${metrics.url}/metrics`, { method: 'POST' })).status, 405)
  await assert.rejects(serveMetrics(services, pulse, counts, { port: metrics.port }), PortTakenError)
})
