// What the measurements mean: ratios, the bars that were set beforehand and whether each is met, and tables for people.
import type { Profile } from '@bitloom/engine'
import type { ElementwiseRow } from './elementwise.ts'
import type { PeerSpec } from './processes.ts'

export type StepFigure = {
  /** Median over rounds of each round's median, and the best of all. */
  readonly medianMs: number
  readonly bestMs: number
  readonly steps: number
  readonly losses: readonly number[]
  readonly [detail: string]: unknown
}
/** Our own step explained: why a bar is met or missed. */
export type Explained = Readonly<Record<string, Profile>>
export type StepRow = {
  readonly task: string
  readonly title: string
  readonly figures: Readonly<Record<string, StepFigure>>
  readonly profiles: Explained
  readonly missing: Readonly<Record<string, string>>
}
export type ProductRow = {
  readonly shape: string
  /** GFLOP/s: median over rounds of each round's best call, packing and call included. */
  readonly gflops: Readonly<Record<string, number>>
  readonly missing: Readonly<Record<string, string>>
}
export type Results = {
  readonly machine: Readonly<Record<string, unknown>>
  readonly peers: Readonly<Record<string, unknown>>
  readonly steps: readonly StepRow[]
  readonly products: readonly ProductRow[]
  readonly elementwise: Readonly<Record<string, readonly ElementwiseRow[]>>
}
export type Bar = { readonly bar: string; readonly wanted: string; readonly got: string; readonly met: boolean }

const round = (x: number, digits = 2): number => Number(x.toFixed(digits))
/** "wasm 2" is 2 threads of what "wasm 1" is. */
const single = (key: string): string => key.replace(/ 2$/, ' 1')

/** Every bar that this run can say something about. `specs` tell who counts as a JavaScript peer; `avx512` whether the native product's bar applies. */
export function bars(results: Results, specs: readonly PeerSpec[], avx512: boolean): Bar[] {
  const found: Bar[] = []
  const bar = (name: string, got: number, wanted: number, unit = '×', atMost = false): void => {
    found.push({
      bar: name,
      wanted: `${atMost ? '≤' : '≥'} ${wanted}${unit}`,
      got: `${round(got)}${unit}`,
      met: atMost ? got <= wanted : got >= wanted,
    })
  }
  const javascript = specs.filter((s) => s.javascript)
  for (const { task, figures } of results.steps) {
    const ms = (key: string): number | undefined => figures[key]?.medianMs
    for (const threads of [1, 2]) {
      const our = ms(`wasm ${threads}`)
      if (our === undefined) continue
      for (const peer of javascript.filter((s) => s.threads === threads))
        if (ms(peer.key) !== undefined) bar(`${task}: wasm ${threads} ahead of ${peer.key}`, ms(peer.key)! / our, 2)
      const torches = Object.keys(figures).filter((key) => key.startsWith('torch') && key.endsWith(` ${threads}`))
      if (torches.length === 0 || (task !== 'chargpt' && task !== 'gpt')) continue
      const best = Math.min(...torches.map((key) => ms(key)!))
      bar(`${task}: wasm ${threads} against PyTorch`, our / best, 1.7, '×', true)
      const native = ms(`native ${threads}`)
      if (native !== undefined) bar(`${task}: native ${threads} at or ahead of PyTorch`, best / native, 1)
    }
    const [wasm, native] = [ms('wasm 1'), ms('native 1')]
    if (wasm !== undefined && native !== undefined) bar(`${task}: native ahead of wasm`, wasm / native, 2)
    if (task === 'gpt')
      for (const key of ['wasm 2', 'native 2'])
        if (ms(key) !== undefined && ms(single(key)) !== undefined) bar(`gpt: ${key} threads against one`, ms(single(key))! / ms(key)!, 1.8)
  }
  for (const { shape, gflops } of results.products) {
    for (const peer of javascript) {
      const [our, their] = [gflops[`wasm ${peer.threads}`], gflops[peer.key]]
      if (our !== undefined && their !== undefined) bar(`product ${shape}: wasm ${peer.threads} ahead of ${peer.key}`, our / their, 2)
    }
    if (shape !== '512x512x512') continue
    if (gflops['wasm 1'] !== undefined) bar(`product ${shape}: wasm 1`, gflops['wasm 1'], 50, ' GFLOP/s')
    if (avx512 && gflops['native 1'] !== undefined) bar(`product ${shape}: native 1 (AVX-512)`, gflops['native 1'], 180, ' GFLOP/s')
  }
  for (const [key, rows] of Object.entries(results.elementwise))
    for (const row of rows) bar(`${row.kernel}, ${row.elements} elements, ${key}: share of a copy’s bandwidth`, row.share, 0.7, '')
  return found
}

/** Prints everything as tables on stdout. */
export function print(results: Results, judged: readonly Bar[]): void {
  const table = (title: string, rows: readonly object[]): void => {
    console.log(`\n${title}`)
    console.table(rows)
  }
  const everyone = [...new Set(results.steps.flatMap((row) => Object.keys(row.figures)))]
  table(
    'One training step (forward, backward, AdamW), ms: median of the rounds. In brackets: times as long as wasm on as many threads',
    results.steps.map((row) => ({
      task: row.task,
      ...Object.fromEntries(
        everyone.map((key) => {
          const figure = row.figures[key]
          const our = row.figures[`wasm ${/ 2$/.test(key) ? 2 : 1}`] ?? row.figures['wasm 1']
          if (!figure) return [key, '–']
          return [
            key,
            `${round(figure.medianMs, figure.medianMs < 20 ? 2 : 1)}${our ? ` (${round(figure.medianMs / our.medianMs, 1)})` : ''}`,
          ]
        }),
      ),
    })),
  )
  table(
    'Matrix products, GFLOP/s, packing and calls included',
    results.products.map(({ shape, gflops }) => ({ shape, ...gflops })),
  )
  for (const [key, rows] of Object.entries(results.elementwise)) table(`Elementwise kernels, ${key}`, rows)
  for (const { task, profiles } of results.steps)
    for (const [key, { kinds, kernelsMs }] of Object.entries(profiles))
      table(
        `Where ${task}'s ${round(kernelsMs, 1)} ms on ${key} go`,
        kinds.map((row) => ({
          kind: row.name,
          kernels: row.count,
          ms: round(row.ms),
          share: round(row.share),
          'GFLOP/s': round(row.gflops, 1),
          'GB/s': round(row.GBs, 1),
          'of the roof': round(row.ofRoof),
        })),
      )
  for (const { task, missing } of results.steps)
    for (const [key, why] of Object.entries(missing)) console.log(`no figure of ${key} for ${task}: ${why}`)
  for (const [key, about] of Object.entries(results.peers)) console.log(`${key}: ${JSON.stringify(about)}`)
  table(
    'Bars',
    judged.map(({ bar, wanted, got, met }) => ({ bar, wanted, got, '': met ? 'met' : 'MISSED' })),
  )
}
