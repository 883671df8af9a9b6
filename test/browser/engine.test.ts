// The engine in a real browser: the op vectors, random graphs and a training, on one thread and on two, bit for bit what Node computes.
// BITLOOM_BROWSER names the browser; without one the test is skipped. BITLOOM_BROWSER_GRAPHS sets how many random graphs.
import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { wasm } from '@bitloom/engine'
import type { OpCase } from '../opcases.ts'
import { findBrowser, openBrowser } from './browser.ts'
import { moduleText, serve } from './serve.ts'
import { type Order, type Rows, runSuite } from './suite.ts'
import type { Report } from './worker.ts'

const GRAPHS = Number(process.env.BITLOOM_BROWSER_GRAPHS ?? 200)
const LIMIT_MS = 180_000
const browser = findBrowser()
const skip = browser === undefined ? 'no chromium or chrome on the PATH; BITLOOM_BROWSER=/path/to/browser names one' : false

const { cases } = JSON.parse(readFileSync(new URL('../../vectors/ops.json', import.meta.url), 'utf8')) as { cases: OpCase[] }
const order: Order = { vectors: cases, graphs: { first: 1, count: GRAPHS, block: 25 }, steps: 20 }

/** Here from memory; the browser reads a Blob. */
const rowsOf: Rows = (bytes, rowBytes) => (rows, into) => {
  rows.forEach((row, i) => void into.set(bytes.subarray(row * rowBytes, (row + 1) * rowBytes), i * rowBytes))
}

test(`${cases.length} op vectors, ${GRAPHS} random graphs and a training give the same bits in a browser as in Node, on 1 and 2 threads`, {
  skip,
  timeout: 2 * LIMIT_MS,
}, async () => {
  const served = await serve<Report>(order)
  const opened = openBrowser(browser!, served.url)
  let timer: NodeJS.Timeout | undefined
  try {
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new Error(`the browser said nothing for ${LIMIT_MS / 1000} s`)), LIMIT_MS)
    })
    const ended = opened.ended.then((why) => Promise.reject(new Error(why)))
    const report = await Promise.race([served.report, late, ended])
    assert.equal(report.error, undefined, report.error)
    assert.equal(report.isolated, true, 'COOP and COEP make the page cross-origin isolated')
    const wanted = await runSuite(wasm, order, rowsOf)
    assert.deepEqual(
      report.results.map(({ threads }) => threads),
      [1, 2],
    )
    for (const { threads, hashes } of report.results) assert.deepEqual(hashes, wanted, `${report.agent}, ${threads} threads`)
    console.log(report.results.map(({ threads, ms }) => `${threads} threads: ${(ms / 1000).toFixed(1)} s`).join(', '), report.agent)
  } finally {
    clearTimeout(timer)
    await opened.close()
    await served.close()
  }
})

test('modules are served with bare names written out and types gone', () => {
  const text = moduleText(new URL('./suite.ts', import.meta.url).pathname)
  assert.match(text, /from '\/packages\/graph\/src\/index\.ts'/)
  assert.match(text, /from '\/packages\/model\/src\/loss\.ts'/)
  assert.doesNotMatch(text, /from '@/)
  assert.doesNotMatch(text, /: Backend/)
})
