// What Node and a browser both run, each in its own engine: every op vector, random graphs, and a short training; the hashes must be the same.
import { type Backend, type RowReader, streamableSlots } from '@bitloom/engine'
import { concatBytes, type Graph, sha256, toBytes, toHex } from '@bitloom/graph'
import { crossEntropy } from '@bitloom/model/loss'
import { relu } from '@bitloom/model/math'
import { mlp, mlpParameters } from '@bitloom/model/nn'
import { adamw } from '@bitloom/model/optim'
import { constantRate } from '@bitloom/model/schedule'
import { trainingStep } from '@bitloom/model/step'
import { randomSample } from '../fuzz/graphs.ts'
import { type OpCase, vectorOf } from '../opcases.ts'

/** What to run, as data. */
export type Order = {
  readonly vectors: readonly OpCase[]
  /** Random graphs of seeds first … first + count - 1, in blocks of `block`. */
  readonly graphs: { readonly first: number; readonly count: number; readonly block: number }
  readonly steps: number
}

/** SHA-256 over all bits of each part, by the part's name. */
export type Hashes = Readonly<Record<string, string>>

type Slots = Parameters<Backend['evaluate']>[1]

/** How this place reads rows of `rowBytes` from bytes that are not in the arena. */
export type Rows = (bytes: Uint8Array, rowBytes: number) => RowReader

/** Every tensor of a traced step, then the state and probe of `steps` fused ones. */
const bitsOf = (backend: Backend, graph: Graph, slots: Slots, steps: number, rows?: Rows): Uint8Array => {
  const parts: Uint8Array[] = []
  backend.evaluate(graph, slots, (_, data) => void parts.push(toBytes(data).slice()))
  const streamed = rows === undefined ? [] : streamableSlots(graph)
  const program = backend.compile(graph, { streamed })
  slots.forEach((data, s) => {
    const bytes = toBytes(data)
    if (rows === undefined || !streamed.includes(s)) program.write(s, bytes)
    else program.source!(s, rows(bytes, bytes.byteLength / graph.slots[s].shape[0]))
  })
  for (let step = 0; step < steps; step++) program.step()
  graph.next.forEach((_, s) => void parts.push(program.read(s).slice()))
  parts.push(program.probe())
  program.close()
  return sha256(concatBytes(...parts))
}

/** Twenty steps or so of a small network: exp, log, gathers, AdamW, all fused, its data read row by row. */
const training = (backend: Backend, steps: number, rows: Rows): Uint8Array => {
  const [count, width, classes] = [64, 20, 4]
  const job = trainingStep({
    name: 'small',
    parameters: mlpParameters([width, 16, classes]),
    data: [
      {
        name: 'x',
        dtype: 'f32',
        shape: [count, width],
        data: Float32Array.from({ length: count * width }, (_, i) => ((i * 37) % 101) / 50 - 1),
      },
      { name: 'y', dtype: 'i32', shape: [count], data: Int32Array.from({ length: count }, (_, i) => (i * i) % classes) },
    ],
    count,
    batch: 16,
    steps,
    seed: [7, 9],
    loss: ({ parameter, batch }) => crossEntropy(mlp(parameter, batch('x'), 2, relu), batch('y')),
    optimizer: adamw(),
    schedule: constantRate(0.01),
  })
  return bitsOf(backend, job.graph, [...job.state, ...job.data], steps, rows)
}

/** Runs everything on a backend; `pause` is waited for after each part. */
export async function runSuite(
  backend: Backend,
  { vectors, graphs, steps }: Order,
  rows: Rows,
  pause: () => Promise<void> = async () => undefined,
): Promise<Hashes> {
  const hashes: Record<string, string> = {}
  for (const [op, cases] of Map.groupBy(vectors, (c) => c.op)) {
    hashes[`vectors of ${op}`] = toHex(
      sha256(
        concatBytes(
          ...cases.map((c) => {
            const { graph, slots } = vectorOf(c)
            return bitsOf(backend, graph, slots, 1)
          }),
        ),
      ),
    )
    await pause()
  }
  for (let first = graphs.first; first < graphs.first + graphs.count; first += graphs.block) {
    const end = Math.min(first + graphs.block, graphs.first + graphs.count)
    const parts: Uint8Array[] = []
    for (let seed = first; seed < end; seed++) {
      const { graph, slots } = randomSample(seed)
      parts.push(bitsOf(backend, graph, slots, 3))
    }
    hashes[`random graphs ${first} to ${end - 1}`] = toHex(sha256(concatBytes(...parts)))
    await pause()
  }
  hashes[`${steps} steps of training`] = toHex(training(backend, steps, rows))
  return hashes
}
