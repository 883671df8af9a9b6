// The same bits everywhere: one training run by the defining interpreter and by the WebAssembly engine, compared root by root.

import { stateRoot } from '@bitloom/dispute'
import { wasm } from '@bitloom/engine'
import { interpret, toHex } from '@bitloom/graph'
import { mnistJob } from '@bitloom/model'
import { readMnist } from '@bitloom/model/data/mnist'

const { train } = readMnist()
const count = 512
const job = mnistJob({
  images: train.images.subarray(0, count * 784),
  labels: train.labels.subarray(0, count),
  count,
  seed: [7, 7],
  steps: 3,
  batch: 8,
  hidden: 16,
})

let [law, fast] = [job.state, job.state]
for (let step = 1; step <= job.steps; step++) {
  law = interpret(job.graph, [...law, ...job.data]).next
  fast = wasm.evaluate(job.graph, [...fast, ...job.data]).next
  const [a, b] = [toHex(stateRoot(law)), toHex(stateRoot(fast))]
  console.log(`step ${step}  interpreter ${a.slice(0, 18)}…  wasm ${b.slice(0, 18)}…  ${a === b ? 'same bits' : 'DIFFERENT'}`)
  if (a !== b) process.exit(1)
}
