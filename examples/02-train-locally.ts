// Two: a real model on real data, on this machine, without any network: what a solver does when it is paid.
//   node examples/02-train-locally.ts [model.safetensors]
//
// 9,000 handwritten digits, an MLP 784-128-10, AdamW. Order of examples, learning rate, loss log and first weights are all exprs of the seed, so whoever runs this
// gets the model with the root printed at the end: another root is another computation.

import { writeFileSync } from 'node:fs'
import { wasm } from '@bitloom/engine'
import { costOf, fromBytes, graphId, itemsRoot, tensorRoot, toBytes, toHex } from '@bitloom/graph'
import { readMnist } from '@bitloom/model/data/mnist'
import { mnistEvaluation, mnistJob } from '@bitloom/model/recipes/mnist'
import { writeSafetensors } from '@bitloom/model/safetensors'

const { train, test } = readMnist()
const job = mnistJob({ ...train, seed: [2026, 7], epochs: 4 })
const cost = costOf(job.graph)
console.log(`graph    ${toHex(graphId(job.graph))}`)
console.log(`exprs    ${job.graph.exprs.length}, ${cost.operations} scalar operations a step, ${job.steps} steps of ${job.batch}`)

const program = wasm.compile(job.graph)
const slots = [...job.state, ...job.data]
slots.forEach((tensor, slot) => {
  program.write(slot, toBytes(tensor))
})
console.log(`compiled ${program.kernels} kernels, ${(program.peakBytes / 2 ** 20).toFixed(1)} MiB`)

const start = performance.now()
for (let step = 1; step <= job.steps; step++) {
  program.step()
  if (step % 100 !== 0 && step !== job.steps) continue
  const losses = fromBytes('f32', program.read(job.lossSlot))
  const seconds = (performance.now() - start) / 1000
  console.log(`step ${String(step).padStart(4)}  loss ${losses[step - 1].toFixed(4)}  ${(step / seconds).toFixed(0)} steps/s`)
}

// The final state is what a claim would stand for.
const state = job.state.map((_, slot) => program.read(slot).slice())
console.log(`state    ${toHex(itemsRoot(state.map((bytes) => tensorRoot(bytes))))}`)

// How good is it? A graph too, on the digits held back.
const parameters = job.parameters.map((_, slot) => fromBytes('f32', state[slot]))
const held = mnistEvaluation(test.count)
const { next } = wasm.evaluate(held.graph, held.slots(parameters, [test.images, test.labels]))
const [correct, loss] = [held.read(next, 'correct')[0], held.read(next, 'loss')[0]]
console.log(`test     ${correct} of ${test.count} right (${((100 * correct) / test.count).toFixed(2)} %), loss ${loss.toFixed(4)}`)

const path = process.argv[2]
if (path) {
  const entry = (name: string, slot: number) =>
    [name, { dtype: 'F32', shape: job.graph.slots[slot].shape, data: parameters[slot] }] as const
  writeFileSync(path, writeSafetensors(Object.fromEntries(job.parameters.map(entry))))
  console.log(`saved    ${path}`)
}
