// What this machine does a second, measured by itself: the figure in its offers.

import type { Backend } from '@bitloom/engine'
import { costOf, expr, input, makeGraph } from '@bitloom/graph'

const SIZE = 256
const WARM_UP_MS = 60
const MEASURE_MS = 120

/** Scalar operations a second of a backend on 256 x 256 products, the bulk of any training step. */
export function measureThroughput(backend: Backend): bigint {
  const x = input(0, 'f32', [SIZE, SIZE])
  const probe = expr('reshape', [expr('slice', [x], { shape: [1, 1], attrs: [0, 0, 1, 1] })], { shape: [1] })
  const graph = makeGraph([{ name: 'x', kind: 'state', dtype: 'f32', shape: [SIZE, SIZE] }], [expr('dot', [x, x])], probe)
  const program = backend.compile(graph)
  program.write(0, new Uint8Array(4 * SIZE * SIZE))
  const run = (ms: number): number => {
    const started = performance.now()
    let steps = 0
    while (performance.now() - started < ms) {
      program.step()
      steps++
    }
    return (steps * 1000) / (performance.now() - started)
  }
  run(WARM_UP_MS)
  return BigInt(Math.round(run(MEASURE_MS) * Number(costOf(graph).operations)))
}
