// One: a training step is a graph, and everybody who runs it gets the same bits.
//   node examples/01-first-graph.ts
//
// A line y = a·x + b is fitted to four points by gradient descent. A few lines say what a step is; the rest looks at it from all sides.

import assert from 'node:assert/strict'
import { wasm } from '@bitloom/engine'
import {
  costOf,
  type Data,
  encodeGraph,
  graphId,
  input,
  interpret,
  makeGraph,
  printGraph,
  type Slot,
  toHex,
  verifyGraph,
} from '@bitloom/graph'
import { gradients } from '@bitloom/model/grad'
import { bitcast, matmul, meanAll, mul, reshape, sub } from '@bitloom/model/tensor'

// State slots are what a step reads and writes; data slots never change.
const slots: Slot[] = [
  { name: 'line', kind: 'state', dtype: 'f32', shape: [2] }, // a and b
  { name: 'points', kind: 'data', dtype: 'f32', shape: [4, 2] }, // x and 1
  { name: 'heights', kind: 'data', dtype: 'f32', shape: [4] }, // y
]
const [line, points, heights] = slots.map((slot, at) => input(at, slot.dtype, slot.shape))

// The step: predict, measure, differentiate, walk downhill.
const error = sub(matmul(points, line), heights)
const loss = meanAll(mul(error, error))
const [slope] = gradients(loss, [line])
const next = sub(line, mul(slope, 0.1))

// The graph also names a probe: a few words that prove that a step was really run.
const graph = makeGraph(slots, [next], bitcast(reshape(loss, [1])))
console.log(printGraph(graph))
console.log('graph id ', toHex(graphId(graph)))
console.log('cost     ', costOf(graph))

// A graph travels as bytes, and a stranger's bytes are checked, never trusted.
const bytes = encodeGraph(graph)
const verdict = verifyGraph(bytes)
assert.ok(verdict.ok)
const tampered = bytes.slice()
tampered[100] ^= 1
console.log('one bit flipped:', verifyGraph(tampered))

// Two evaluators, one meaning: the slow and obvious interpreter, which defines it, and generated WebAssembly.
const data: Data[] = [Float32Array.of(0, 1, 1, 1, 2, 1, 3, 1), Float32Array.of(1, 3, 5, 7)]
let [slow, fast]: [Data[], Data[]] = [[new Float32Array(2)], [new Float32Array(2)]]
for (let step = 0; step < 200; step++) {
  slow = interpret(graph, [...slow, ...data]).next
  fast = wasm.evaluate(graph, [...fast, ...data]).next
  assert.deepEqual(slow, fast)
}
console.log('y = a·x + b with a, b =', [...slow[0]], 'and not one bit of difference in 200 steps')
