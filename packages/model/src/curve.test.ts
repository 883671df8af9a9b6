// The curve's csv reads back exactly, its SVG is well formed and shows what it should, and the terminal's dots stand where the values are.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { curveCsv, curveSvg, plotTerminal, smooth, sparkline, ticks } from './curve.ts'

const falling = Float32Array.from({ length: 200 }, (_, i) => 2.3 / (1 + i / 20))

test('csv reads back bit for bit', () => {
  const lines = curveCsv(falling, { firstStep: 11, name: 'train_loss' }).split('\n')
  assert.equal(lines[0], 'step,train_loss')
  assert.equal(lines.length, 202)
  assert.equal(lines.at(-1), '')
  assert.deepEqual(
    lines.slice(1, -1).map((l) => l.split(',').map(Number)),
    Array.from(falling, (v, i) => [11 + i, v]),
  )
})

test('smoothing is an unbiased average of what is finite', () => {
  assert.deepEqual(smooth([4, 4, 4], 0.9), [4, 4, 4])
  assert.deepEqual(smooth([1, 3], 0.5), [1, (0.5 * 1 + 3) / 1.5])
  assert.deepEqual(smooth([1, Number.NaN, 3], 0.5), [1, Number.NaN, (0.5 * 1 + 3) / 1.5])
  assert.throws(() => smooth([1], 1), RangeError)
})

test('ticks are round numbers inside the range', () => {
  assert.deepEqual(ticks(0.21, 2.3, 6), [0.5, 1, 1.5, 2])
  assert.deepEqual(ticks(1, 2000, 8), [500, 1000, 1500, 2000])
  assert.deepEqual(ticks(-1e-7, 1e-7, 4), [-1e-7, -5e-8, 0, 5e-8, 1e-7])
  assert.deepEqual(ticks(3, 3, 5), [3])
})

/** Every tag closes what was opened, and nothing is left over; enough of XML for what we write. */
function assertWellFormed(xml: string): void {
  const open: string[] = []
  for (const [tag, slash, name, self] of xml.matchAll(/<(\/?)([a-z]+)(?:\s[^<>]*?)?(\/?)>/g)) {
    if (slash) assert.equal(open.pop(), name, tag)
    else if (!self) open.push(name!)
  }
  assert.deepEqual(open, [])
  assert.equal((xml.match(/</g) ?? []).length, (xml.match(/<\/?[a-z]+(?:\s[^<>]*?)?\/?>/g) ?? []).length)
}

test('the svg stands alone, is well formed whatever it is called, and keeps inside its frame', () => {
  const svg = curveSvg(falling, { title: '<b> & "quotes" \u0000\ud800', width: 500, height: 300 })
  assertWellFormed(svg)
  assert.ok(!/https?:(?!\/\/www\.w3\.org\/2000\/svg)|url\(|@import|<script/.test(svg))
  assert.match(svg, /&#60;b&#62; &#38; &#34;quotes&#34; {2}\ufffd</)
  assert.match(svg, /prefers-color-scheme: dark/)
  for (const [, d] of svg.matchAll(/class="(?:raw|line)" d="([^"]+)"/g))
    for (const [, x, y] of d!.matchAll(/[ML]([\d.-]+) ([\d.-]+)/g))
      assert.ok(+x! >= 64 && +x! <= 480 && +y! >= 48 && +y! <= 256, `${x} ${y}`)
  const raw = /class="raw" d="([^"]+)"/.exec(svg)![1]!
  assert.equal(raw.split('L').length, 200)
  assert.match(raw, /^M64 48L.*L480 256$/)
})

test('runs that went wrong or never began are drawn too', () => {
  for (const values of [[], [1], [2, 2, 2], [Number.NaN], [1, Number.POSITIVE_INFINITY, 3, Number.NaN]]) {
    const svg = curveSvg(values)
    assertWellFormed(svg)
    assert.ok(!/NaN|Infinity|undefined/.test(svg), `${values}`)
    assert.equal(plotTerminal(values, { width: 30, height: 4 }).split('\n').length, 4)
    assert.equal(sparkline(values).length, values.length)
  }
  const broken = /class="raw" d="([^"]+)"/.exec(curveSvg([1, 2, Number.NaN, 3, 4]))![1]!
  assert.equal(broken.split('M').length - 1, 2, 'a gap lifts the pen')
})

test('long runs keep their spikes and stay small', () => {
  const values = Array.from({ length: 100_000 }, () => 1)
  values[54_321] = 9
  const svg = curveSvg(values, { smoothing: 0 })
  assert.ok(svg.length < 100_000, `${svg.length}`)
  assert.match(/class="raw" d="([^"]+)"/.exec(svg)![1]!, / 48L/)
})

test('terminal dots stand where the values are', () => {
  const plot = plotTerminal([0, 1, 2, 3, 4, 5, 6, 7], { width: 16, height: 2 })
  const lines = plot.split('\n')
  assert.equal(lines.length, 2)
  assert.ok(lines.every((l) => l.length === 16))
  assert.match(lines[0]!, /^7\.000 ┤⠀+/)
  assert.match(lines[1]!, /^0\.000 ┤.*⠀$/)
  const count = (s: string) =>
    [...s].reduce((n, c) => n + (c >= '⠀' && c <= '⣿' ? (c.charCodeAt(0) - 0x2800).toString(2).replaceAll('0', '').length : 0), 0)
  assert.ok(count(plot) >= 18, 'a dot at least in every column')
  const flat = plotTerminal([5, 5, 5, 5], { width: 40, height: 3 }).split('\n')
  assert.deepEqual(
    flat.map(count).map((n) => n > 0),
    [false, true, false],
  )
  assert.equal(sparkline([0, 1, 2, 3, 4, 5, 6, 7]), '▁▂▃▄▅▆▇█')
  assert.equal(sparkline(falling, 10).length, 10)
})
