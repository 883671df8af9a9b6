// Our engine as one of the peers: node bench/peers/ours.ts wasm|native THREADS. Job, optimizer and graph are those that the network trains.
import { type Backend, measureRoofline, type Program, profileTable } from '@bitloom/engine'
import { chooseBackend } from '@bitloom/engine/choose'
import { costOf, type Expr, expr, input, makeGraph, toBytes } from '@bitloom/graph'
import { conv } from '@bitloom/model/conv'
import { crossEntropy } from '@bitloom/model/loss'
import { gelu, relu } from '@bitloom/model/math'
import { embedding, type Lookup, layerNorm, linear, mlp, type Parameter, selfAttention } from '@bitloom/model/nn'
import { batchMoments, batchNorm } from '@bitloom/model/norm'
import { adamw } from '@bitloom/model/optim'
import { maxPool2d } from '@bitloom/model/pool'
import { constantRate } from '@bitloom/model/schedule'
import { type Job, trainingStep } from '@bitloom/model/step'
import { add, cast, reshape, slice } from '@bitloom/model/tensor'
import { elementwiseRows } from '../elementwise.ts'
import { ADAMW, type GptSize, matrix, type Task, taskOf } from '../tasks.ts'
import { firstLosses, serve } from '../wire.ts'

const cnnLogits = (p: Lookup, x: Expr): Expr => {
  let h = x
  for (const i of [1, 2]) {
    const y = conv(p, `conv${i}`, h, { padding: 1 })
    h = maxPool2d(relu(batchNorm(y, batchMoments(y), p(`bn${i}.weight`), p(`bn${i}.bias`))), 2)
  }
  return linear(p, 'fc', reshape(h, [h.shape[0], -1]))
}

const gptLogits = (p: Lookup, tokens: Expr, { layers, heads }: GptSize): Expr => {
  let x = add(embedding(p, 'wte', tokens), p('wpe.weight'))
  for (let i = 0; i < layers; i++) {
    const block = `blocks.${i}`
    x = add(x, selfAttention(p, block, layerNorm(p, `${block}.ln1`, x, false), heads, true, false))
    const wide = gelu(linear(p, `${block}.fc`, layerNorm(p, `${block}.ln2`, x, false), false))
    x = add(x, linear(p, `${block}.fc_out`, wide, false))
  }
  return linear(p, 'wte', layerNorm(p, 'ln_f', x, false), false)
}

const lossOf = (task: Task, p: Lookup, batch: Lookup): Expr => {
  if (task.gpt) {
    const windows = cast(batch('labels'), 'i32')
    const { length } = task.gpt
    return crossEntropy(gptLogits(p, slice(windows, 1, 0, length), task.gpt), slice(windows, 1, 1, length + 1))
  }
  const [x, labels] = [batch('images'), cast(batch('labels'), 'i32')]
  return crossEntropy(task.name === 'mlp' ? mlp(p, x, 3, relu) : cnnLogits(p, x), labels)
}

/** A task as the job that solvers train. */
export const jobOf = (task: Task): Job =>
  trainingStep({
    name: task.name,
    parameters: task.weights.map(({ name, shape, values }): Parameter => ({ name, shape, initial: values })),
    data: [
      ...(task.images ? [{ name: 'images', dtype: 'f32' as const, shape: [task.count, ...task.inputShape], data: task.images }] : []),
      { name: 'labels', dtype: 'u8', shape: task.gpt ? [task.count, task.gpt.length + 1] : [task.count], data: task.labels },
    ],
    count: task.count,
    batch: task.batch,
    steps: 1000,
    seed: [1, 2],
    order: 'sequential',
    loss: ({ parameter, batch }) => lossOf(task, parameter, batch),
    optimizer: adamw(ADAMW),
    schedule: constantRate(ADAMW.lr),
  })

/** A program whose one state slot takes the product of two data slots. */
const productProgram = (backend: Backend, m: number, k: number, n: number): Program => {
  const product = expr('dot', [input(1, 'f32', [m, k]), input(2, 'f32', [k, n])])
  const slots = [
    { name: 'c', kind: 'state' as const, dtype: 'f32' as const, shape: [m, n] },
    { name: 'a', kind: 'data' as const, dtype: 'f32' as const, shape: [m, k] },
    { name: 'b', kind: 'data' as const, dtype: 'f32' as const, shape: [k, n] },
  ]
  const program = backend.compile(makeGraph(slots, [product], expr('const', [], { dtype: 'i32', attrs: [0] })))
  program.write(1, toBytes(matrix('a', m * k)))
  program.write(2, toBytes(matrix('b', k * n)))
  return program
}

if (import.meta.main) {
  const [name, threads] = [process.argv[2]!, Number(process.argv[3])]
  const { backend, reason } = await chooseBackend({ backend: name as 'wasm' | 'native', threads })
  let loaded: Program | undefined
  let slow = false
  serve({
    about: async () => ({ backend: backend.name, reason }),
    load: async (taskName) => {
      const job = jobOf(taskOf(taskName))
      loaded?.close()
      const start = performance.now()
      const program = backend.compile(job.graph)
      const compileMs = performance.now() - start
      loaded = program
      const first = performance.now()
      for (const [s, data] of [...job.state, ...job.data].entries()) program.write(s, toBytes(data))
      let at = 0
      const losses = await firstLosses(() => {
        program.step()
        return new DataView(program.read(job.lossSlot).slice().buffer).getFloat32(4 * at++, true)
      })
      slow = performance.now() - first > 1000 * losses.length
      return {
        losses,
        compileMs,
        kernels: program.kernels,
        peakBytes: program.peakBytes,
        gigaOperations: Number(costOf(job.graph).operations) / 1e9,
      }
    },
    step: async () => loaded!.step(),
    profile: async () => profileTable(loaded!, measureRoofline(backend), { steps: slow ? 1 : 5, warm: 0, top: 10 }),
    product: async (m, k, n) => {
      const made = productProgram(backend, m, k, n)
      return { run: () => made.step(), end: () => made.close() }
    },
    elementwise: async (forMs) => elementwiseRows(backend, forMs),
  })
}
