// Draws docs/narrowing.svg, the README's picture: how a quarrel about a whole training run becomes one scalar operation.

import { writeFileSync } from 'node:fs'

const LEVELS = [
  ['training run', '3,200 steps'],
  ['slice', '320 steps, claimed and paid as one'],
  ['segment', '32 steps between two checkpoints'],
  ['step', 'one pass of the graph: 894 exprs'],
  ['expr', 'one op applied: f32[128, 784]'],
  ['chunk', '256 of its 100,352 elements'],
  ['scalar', 'one subtraction, done by the contract'],
] as const
const WIDTH = 760
const CENTRE = 235
const ROW = 44
const HEIGHT = ROW * LEVELS.length + 40

const rows = LEVELS.map(([name, detail], i) => {
  const half = 220 - i * 28
  const y = 16 + i * ROW
  const last = i === LEVELS.length - 1
  return `  <rect class="${last ? 'hot' : 'box'}" x="${CENTRE - half}" y="${y}" width="${2 * half}" height="32" rx="6"/>
  <text class="name" x="${CENTRE}" y="${y + 21}">${name}</text>
  <text class="detail" x="${CENTRE + half + 12}" y="${y + 21}">${detail}</text>`
})

const svg = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${HEIGHT}" width="${WIDTH}" height="${HEIGHT}" role="img" aria-label="A dispute narrows a training run to a slice, a segment, a step, an expr, a chunk and one scalar operation that a contract computes">
  <style>
    text { font: 14px system-ui, sans-serif; fill: #1f2328 } .name { text-anchor: middle; font-weight: 600 } .detail { font-size: 12px; fill: #59636e }
    .box { fill: #ddf4ff; stroke: #54aeff } .hot { fill: #ffebe9; stroke: #ff8182 }
    @media (prefers-color-scheme: dark) { text { fill: #f0f6fc } .name { fill: #f0f6fc } .detail { fill: #9198a1 } .box { fill: #121d2f; stroke: #1f6feb } .hot { fill: #3c1618; stroke: #f85149 } }
  </style>
${rows.join('\n')}
  <text class="detail" text-anchor="middle" x="${WIDTH / 2}" y="${HEIGHT - 8}">two moves all the way down: the solver reveals up to 32 values, the challenger picks the first it does not accept</text>
</svg>
`
writeFileSync(new URL('../docs/narrowing.svg', import.meta.url), svg)
