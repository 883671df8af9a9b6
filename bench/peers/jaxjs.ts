// jax-js as a peer: node bench/peers/jaxjs.ts. The whole step (loss, gradients, AdamW) is one jitted function; its arrays are counted references, hence `.ref`.
import { ADAMW, CLASSES, type GptSize, matrix, type Task, taskOf } from '../tasks.ts'
import { firstLosses, load, serve } from '../wire.ts'

const jax = await load('@jax-js/jax')
await jax.init('wasm')
jax.defaultDevice('wasm')
const { numpy: np, nn, lax } = jax
type Array = typeof np
type Weights = Readonly<Record<string, Array>>

/** Tensors of f32 or i32. */
const array = (values: Float32Array | Int32Array, shape: readonly number[]): Array =>
  np.array(values, { shape: [...shape], dtype: values instanceof Int32Array ? np.int32 : np.float32 })

const linear = (w: Weights, name: string, x: Array, bias = true): Array => {
  const y = np.matmul(x, w[`${name}.weight`].ref.transpose())
  return bias ? y.add(w[`${name}.bias`].ref) : y
}

const mlpLogits = (w: Weights, x: Array): Array => linear(w, 'fc3', nn.relu(linear(w, 'fc2', nn.relu(linear(w, 'fc1', x)))))

const cnnLogits = (w: Weights, x: Array, batch: number): Array => {
  let h = x
  for (const [i, channels, side] of [
    [1, 16, 28],
    [2, 32, 14],
  ] as const) {
    const channel = (name: string): Array => w[name].ref.reshape([1, channels, 1, 1])
    const y = lax.convGeneralDilated(h, w[`conv${i}.weight`].ref, [1, 1], 'SAME').add(channel(`conv${i}.bias`))
    const centred = y.ref.sub(np.mean(y, [0, 2, 3], { keepdims: true }))
    const variance = np.mean(np.square(centred.ref), [0, 2, 3], { keepdims: true })
    const normal = centred.div(np.sqrt(variance.add(1e-5)))
    const active = nn.relu(normal.mul(channel(`bn${i}.weight`)).add(channel(`bn${i}.bias`)))
    h = np.max(active.reshape([batch, channels, side / 2, 2, side / 2, 2]), [3, 5])
  }
  return linear(w, 'fc', h.reshape([batch, 32 * 7 * 7]))
}

const layerNorm = (w: Weights, name: string, x: Array): Array => {
  const centred = x.ref.sub(np.mean(x, -1, { keepdims: true }))
  const variance = np.mean(np.square(centred.ref), -1, { keepdims: true })
  return centred.div(np.sqrt(variance.add(1e-5))).mul(w[`${name}.weight`].ref)
}

/** Tokens come as one-hot rows [batch, length, symbols]: quicker here than rows taken by number. */
const gptLogits = (w: Weights, hot: Array, mask: Array, batch: number, { layers, heads, width, length }: GptSize): Array => {
  const apart = (x: Array): Array => x.reshape([batch, length, heads, width / heads]).transpose([0, 2, 1, 3])
  let x = np.matmul(hot, w['wte.weight'].ref).add(w['wpe.weight'].ref)
  for (let i = 0; i < layers; i++) {
    const block = `blocks.${i}`
    const qkv = linear(w, `${block}.qkv`, layerNorm(w, `${block}.ln1`, x.ref), false)
    const [q, k, v] = np.split(qkv, 3, -1).map(apart)
    const scores = np
      .matmul(q, k.transpose([0, 1, 3, 2]))
      .mul(1 / Math.sqrt(width / heads))
      .add(mask.ref)
    const mixed = np.matmul(nn.softmax(scores, -1), v).transpose([0, 2, 1, 3]).reshape([batch, length, width])
    x = x.add(linear(w, `${block}.proj`, mixed, false))
    const wide = nn.gelu(linear(w, `${block}.fc`, layerNorm(w, `${block}.ln2`, x.ref), false), { approximate: false })
    x = x.add(linear(w, `${block}.fc_out`, wide, false))
  }
  return linear(w, 'wte', layerNorm(w, 'ln_f', x), false)
}

/** Mean cross-entropy against one-hot rows. */
const crossEntropy = (logits: Array, hot: Array): Array => np.mean(np.sum(nn.logSoftmax(logits, -1).mul(hot), -1)).neg()

const trainer = (task: Task): (() => Promise<number>) => {
  const { lr, betas, eps, weightDecay } = ADAMW
  const size = task.gpt
  const names = task.weights.map((w) => w.name)
  const each = <T>(make: (name: string) => T): Record<string, T> => Object.fromEntries(names.map((name) => [name, make(name)]))
  const shapes = new Map(task.weights.map((w) => [w.name, w.shape]))
  const zeros = (): Weights => each((name) => np.zeros([...shapes.get(name)!]))

  const lossOf = (w: Weights, x: Array, labels: Array, mask: Array): Array => {
    const hot = nn.oneHot(labels, size?.symbols ?? CLASSES)
    const logits = size
      ? gptLogits(w, nn.oneHot(x, size.symbols), mask, task.batch, size)
      : task.name === 'mlp'
        ? mlpLogits(w, x)
        : cnnLogits(w, x, task.batch)
    const loss = crossEntropy(logits, hot)
    for (const name of names) w[name].dispose()
    mask.dispose()
    return loss
  }
  const update = jax.jit((w: Weights, m: Weights, v: Weights, scale: Array, x: Array, labels: Array, mask: Array) => {
    const [loss, gradients] = jax.valueAndGrad(lossOf)(
      each((name) => w[name].ref),
      x,
      labels,
      mask,
    )
    const next = each((name) => {
      const g = gradients[name]
      const m1 = m[name].mul(betas[0]).add(g.ref.mul(1 - betas[0]))
      const v1 = v[name].mul(betas[1]).add(np.square(g).mul(1 - betas[1]))
      const [first, second] = [scale.ref.slice(0), scale.ref.slice(1)]
      const change = m1.ref.mul(first).div(np.sqrt(v1.ref.mul(second)).add(eps))
      return [w[name].mul(1 - lr * weightDecay).sub(change), m1, v1]
    })
    scale.dispose()
    return [loss, ...[0, 1, 2].map((part) => each((name) => next[name]![part]))]
  })

  let [w, m, v] = [each((name) => array(task.weights[names.indexOf(name)]!.values, shapes.get(name)!)), zeros(), zeros()]
  const mask = array(
    size
      ? Float32Array.from({ length: size.length ** 2 }, (_, i) => (i % size.length > Math.floor(i / size.length) ? -1e9 : 0))
      : new Float32Array(1),
    size ? [size.length, size.length] : [1],
  )
  let step = 0
  return async () => {
    const first = (step * task.batch) % task.count
    step++
    const row = task.labels.length / task.count
    const labels = Int32Array.from(task.labels.subarray(first * row, (first + task.batch) * row))
    const tokens = (shift: number): Array =>
      array(
        Int32Array.from(
          { length: task.batch * size!.length },
          (_, i) => labels[Math.floor(i / size!.length) * row + (i % size!.length) + shift]!,
        ),
        [task.batch, size!.length],
      )
    const pixels = (task.images?.length ?? 0) / task.count
    const x = size ? tokens(0) : array(task.images!.slice(first * pixels, (first + task.batch) * pixels), [task.batch, ...task.inputShape])
    const scale = array(Float32Array.of(lr / (1 - betas[0] ** step), 1 / (1 - betas[1] ** step)), [2])
    let loss: Array
    ;[loss, w, m, v] = update(w, m, v, scale, x, size ? tokens(1) : array(labels, [task.batch]), mask.ref)
    await jax.blockUntilReady(w)
    return (await loss.data())[0]
  }
}

let step: () => Promise<number>
serve({
  about: async () => ({ version: '0.1.25', backend: jax.defaultDevice(), threads: 1, why: 'its threads need a browser’s workers' }),
  load: async (name) => {
    step = trainer(taskOf(name))
    return { losses: await firstLosses(step) }
  },
  step: async () => void (await step()),
  product: async (m, k, n) => {
    const [a, b] = [array(matrix('a', m * k), [m, k]), array(matrix('b', k * n), [k, n])]
    const multiply = jax.jit((x: Array, y: Array) => np.matmul(x, y))
    return {
      run: async () => {
        const c = multiply(a.ref, b.ref)
        await c.blockUntilReady()
        c.dispose()
      },
      end: () => {
        a.dispose()
        b.dispose()
      },
    }
  },
})
