// TensorFlow.js as a peer: node bench/peers/tfjs.ts wasm|cpu. Embeddings are one-hot products, since the wasm backend has no gradient of a gather.
import { fileURLToPath } from 'node:url'
import { ADAMW, CLASSES, type GptSize, matrix, type Task, taskOf } from '../tasks.ts'
import { firstLosses, load, serve } from '../wire.ts'

const backend = process.argv[2]!
const tf = (await load('@tensorflow/tfjs')).default ?? (await load('@tensorflow/tfjs'))
if (backend === 'wasm') {
  const wasm = await load('@tensorflow/tfjs-backend-wasm')
  wasm.setWasmPaths(fileURLToPath(new URL('../node_modules/@tensorflow/tfjs-backend-wasm/dist/', import.meta.url)))
}
await tf.setBackend(backend)
await tf.ready()
type Tensor = typeof tf
type Weights = ReadonlyMap<string, Tensor>

const linear = (w: Weights, name: string, x: Tensor, bias = true): Tensor => {
  const y = tf.matMul(x, w.get(`${name}.weight`), false, true)
  return bias ? tf.add(y, w.get(`${name}.bias`)) : y
}

const mlpLogits = (w: Weights, x: Tensor): Tensor => linear(w, 'fc3', tf.relu(linear(w, 'fc2', tf.relu(linear(w, 'fc1', x)))))

/** Images are kept as [n, h, w, c], which is what TensorFlow.js computes in. */
const cnnLogits = (w: Weights, x: Tensor): Tensor => {
  let h = tf.transpose(x, [0, 2, 3, 1])
  for (const i of [1, 2]) {
    const filter = tf.transpose(w.get(`conv${i}.weight`), [2, 3, 1, 0])
    const y = tf.add(tf.conv2d(h, filter, 1, 'same'), w.get(`conv${i}.bias`))
    const centred = tf.sub(y, tf.mean(y, [0, 1, 2]))
    const variance = tf.mean(tf.mul(centred, centred), [0, 1, 2])
    const normal = tf.div(centred, tf.sqrt(tf.add(variance, 1e-5)))
    h = tf.maxPool(tf.relu(tf.add(tf.mul(normal, w.get(`bn${i}.weight`)), w.get(`bn${i}.bias`))), 2, 2, 'valid')
  }
  return linear(w, 'fc', tf.reshape(tf.transpose(h, [0, 3, 1, 2]), [h.shape[0], -1]))
}

const layerNorm = (w: Weights, name: string, x: Tensor): Tensor => {
  const centred = tf.sub(x, tf.mean(x, -1, true))
  const variance = tf.mean(tf.mul(centred, centred), -1, true)
  return tf.mul(tf.div(centred, tf.sqrt(tf.add(variance, 1e-5))), w.get(`${name}.weight`))
}

const gelu = (x: Tensor): Tensor => tf.mul(tf.mul(x, 0.5), tf.add(tf.erf(tf.mul(x, Math.SQRT1_2)), 1))

/** Tokens come as one-hot rows [batch·length, symbols]. */
const gptLogits = (w: Weights, hot: Tensor, mask: Tensor, batch: number, { layers, heads, width, length }: GptSize): Tensor => {
  const flat = (x: Tensor): Tensor => tf.reshape(x, [batch * length, width])
  const apart = (x: Tensor): Tensor => tf.transpose(tf.reshape(x, [batch, length, heads, width / heads]), [0, 2, 1, 3])
  let x = flat(tf.add(tf.reshape(tf.matMul(hot, w.get('wte.weight')), [batch, length, width]), w.get('wpe.weight')))
  for (let i = 0; i < layers; i++) {
    const block = `blocks.${i}`
    const qkv = linear(w, `${block}.qkv`, layerNorm(w, `${block}.ln1`, x), false)
    const [q, k, v] = tf.split(qkv, 3, 1).map(apart)
    const scores = tf.add(tf.mul(tf.matMul(q, k, false, true), 1 / Math.sqrt(width / heads)), mask)
    const mixed = flat(tf.transpose(tf.matMul(tf.softmax(scores), v), [0, 2, 1, 3]))
    x = tf.add(x, linear(w, `${block}.proj`, mixed, false))
    const wide = gelu(linear(w, `${block}.fc`, layerNorm(w, `${block}.ln2`, x), false))
    x = tf.add(x, linear(w, `${block}.fc_out`, wide, false))
  }
  return linear(w, 'wte', layerNorm(w, 'ln_f', x), false)
}

const trainer = (task: Task): (() => number) => {
  const { lr, betas, eps, weightDecay } = ADAMW
  const size = task.gpt
  const weights = new Map<string, Tensor>(task.weights.map(({ name, shape, values }) => [name, tf.variable(tf.tensor(values, [...shape]))]))
  const variables = [...weights.values()]
  const moments = variables.map((v) => [tf.variable(tf.zerosLike(v)), tf.variable(tf.zerosLike(v))])
  const mask = size
    ? tf.tensor2d(
        Float32Array.from({ length: size.length ** 2 }, (_, i) => (i % size.length > Math.floor(i / size.length) ? -1e9 : 0)),
        [size.length, size.length],
      )
    : undefined
  let step = 0
  return () => {
    const first = (step * task.batch) % task.count
    step++
    return tf.tidy(() => {
      const row = task.labels.length / task.count
      const labels = task.labels.subarray(first * row, (first + task.batch) * row)
      const { value, grads } = tf.variableGrads(() => {
        if (size) {
          const tokens = (shift: number): Tensor =>
            tf.tensor1d(
              Int32Array.from(
                { length: task.batch * size.length },
                (_, i) => labels[Math.floor(i / size.length) * row + (i % size.length) + shift]!,
              ),
              'int32',
            )
          const hot = tf.oneHot(tokens(0), size.symbols).toFloat()
          return tf.losses.softmaxCrossEntropy(tf.oneHot(tokens(1), size.symbols), gptLogits(weights, hot, mask, task.batch, size))
        }
        const each = task.images!.length / task.count
        const x = tf.tensor(task.images!.subarray(first * each, (first + task.batch) * each), [task.batch, ...task.inputShape])
        const logits = task.name === 'mlp' ? mlpLogits(weights, x) : cnnLogits(weights, x)
        return tf.losses.softmaxCrossEntropy(tf.oneHot(tf.tensor1d(labels, 'int32'), CLASSES), logits)
      }, variables)
      const [c1, c2] = betas.map((b) => 1 - b ** step)
      variables.forEach((variable, i) => {
        const gradient = grads[variable.name]
        const [m, v] = moments[i]
        m.assign(tf.add(tf.mul(m, betas[0]), tf.mul(gradient, 1 - betas[0])))
        v.assign(tf.add(tf.mul(v, betas[1]), tf.mul(tf.square(gradient), 1 - betas[1])))
        const change = tf.div(tf.mul(m, lr / c1!), tf.add(tf.div(tf.sqrt(v), Math.sqrt(c2!)), eps))
        variable.assign(tf.sub(tf.mul(variable, 1 - lr * weightDecay), change))
      })
      return value.dataSync()[0]
    })
  }
}

let step: () => number
serve({
  about: async () => ({ version: tf.version.tfjs, backend: tf.getBackend(), threads: 1, why: 'its threaded build needs a browser' }),
  load: async (name) => {
    step = trainer(taskOf(name))
    return { losses: await firstLosses(step) }
  },
  step: async () => void step(),
  product: async (m, k, n) => {
    const [a, b] = [tf.tensor(matrix('a', m * k), [m, k]), tf.tensor(matrix('b', k * n), [k, n])]
    return { run: () => tf.matMul(a, b).dispose(), end: () => [a, b].forEach((t) => t.dispose()) }
  },
})
