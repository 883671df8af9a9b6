// Quarrels about training steps of real models: one scalar wrong, deep inside one step of a segment, and everything after it honestly made of that.

import { cheat, differs, type Knowledge, moment, probeCommit, replay } from '@bitloom/dispute'
import { elementOf } from '@bitloom/dispute/knowledge'
import { leafOf } from '@bitloom/dispute/leaf'
import { terms } from '@bitloom/dispute/scalar'
import type { Evaluate } from '@bitloom/dispute/trace'
import { wasm } from '@bitloom/engine'
import { chunksOf, type Data, depthOf, fromBytes, type Graph, sizeOf, toBytes } from '@bitloom/graph'
import { mnistJob } from '@bitloom/model'
import type { Job } from '@bitloom/model/step'
import { charGptJob } from '../../bench/chargpt.ts'
import { jobOf } from '../../bench/peers/ours.ts'
import { taskOf } from '../../bench/tasks.ts'
import { dice, type Quarrel } from './dispute-games.ts'

/** The quickstart's network: MLP 784-128-10, batches of 64, over made-up pictures. */
export function mlpJob(): Job {
  const count = 1024
  const roll = dice('pixels')
  const images = Uint8Array.from({ length: count * 784 }, (_, i) => (i % 7 === 0 ? roll(256) : 0))
  const labels = Uint8Array.from({ length: count }, () => roll(10))
  return mnistJob({ images, labels, count, seed: [1, 2], steps: 50 })
}

/** Runs steps that nobody looks into by the compiled program; the bits are the same. */
function quickly(graph: Graph): Evaluate {
  const program = wasm.compile(graph)
  return (g, slots, visit) => {
    if (visit) return wasm.evaluate(g, slots, visit)
    slots.forEach((data, slot) => program.write(slot, toBytes(data)))
    program.step()
    const next = graph.next.map((at, slot) => fromBytes(graph.exprs[at]!.dtype, program.read(slot).slice()))
    return { next, probe: fromBytes(graph.exprs[graph.probe]!.dtype, program.probe()) }
  }
}

/** Tensors of the trace by how far a dispute has to go into them. */
type Where = { readonly job: () => Job; readonly steps: number; readonly step: number; readonly depth: number; readonly terms: number }

export const QUARRELS = {
  /** A product-sum of the first layer. */
  mlp: { job: mlpJob, steps: 50, step: 31, depth: 5, terms: 784 },
  /** A product-sum of the second convolution. */
  cnn: { job: () => jobOf(taskOf('cnn')), steps: 20, step: 11, depth: 11, terms: 144 },
  /** The largest of a char-GPT's tensors that are product-sums: an activation or its gradient, 768 × 512. */
  'chargpt activation': { job: charGptJob, steps: 20, step: 11, depth: 11, terms: 128 },
  /** The longest of its folds: a weight's gradient. */
  'chargpt gradient': { job: charGptJob, steps: 20, step: 11, depth: 8, terms: 768 },
} as const satisfies Record<string, Where>
export type JobName = keyof typeof QUARRELS

/**
 * A quarrel about one wrong product-sum of so deep a tensor and so long a fold.
 * @throws {RangeError} the graph has none
 */
export function jobQuarrel(name: JobName): Quarrel & { readonly graph: Graph; readonly expr: number } {
  const { job: make, steps, step, depth, terms: long }: Where = QUARRELS[name]
  const job = make()
  const { graph } = job
  const slots: Data[] = [...job.state, ...job.data]
  const options = { graph, slots, steps, evaluate: quickly(graph) }
  const challenger = replay(options)
  const expr = graph.exprs.findIndex(
    (e, at) => e.op === 'dot' && depthOf(chunksOf(4 * sizeOf(e.shape))) === depth && terms(leafOf(graph, at)) === long,
  )
  if (expr < 0) throw new RangeError(`${name}: no product-sum of ${long} terms in a tensor of depth ${depth}`)
  const bytes = challenger.trace(step).tensor(expr)
  // one that what follows lets through, past the middle of the tensor
  const solver = liar(options, graph, challenger, { step, expr, bytes, term: Math.floor((2 * long) / 3) })
  return { name, solver, challenger, steps, segment: 1, segments: 4, clockSeconds: 3600, graph, expr }
}

type At = { readonly step: number; readonly expr: number; readonly bytes: Uint8Array; readonly term: number }

function liar(options: Parameters<typeof cheat>[0], graph: Graph, honest: Knowledge, { step, expr, bytes, term }: At): Knowledge {
  const size = sizeOf(graph.exprs[expr]!.shape)
  for (let k = 0; k < 8; k++) {
    let element = Math.floor((size * (5 + k)) / 8 / 1.7)
    while (elementOf(graph, expr, element, bytes) >>> 31 === 1 || elementOf(graph, expr, element, bytes) === 0) element++
    const word = (elementOf(graph, expr, element, bytes) ^ 0x00c00000) >>> 0
    const told = cheat(options, { kind: 'expr', step, expr, element, word, term })
    const { stateRoot, chain } = told.parts(options.steps)
    if (differs(honest, options.steps, moment(stateRoot, probeCommit(chain)))) return told
  }
  throw new RangeError(`expr ${expr}: every lie was swallowed`)
}
