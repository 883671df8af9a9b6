// What every peer is asked to train: four models, their starting weights and their examples, made from nothing but this file so that all start alike.

export type TaskName = 'mlp' | 'cnn' | 'chargpt' | 'gpt'

/** A transformer's sizes. */
export type GptSize = {
  readonly layers: number
  readonly heads: number
  readonly width: number
  readonly length: number
  readonly symbols: number
}

export type Weight = { readonly name: string; readonly shape: readonly number[]; readonly values: Float32Array }

export type Task = {
  readonly name: TaskName
  readonly title: string
  readonly batch: number
  /** Examples; step i trains on rows i·batch … of them, from the front again after the last. */
  readonly count: number
  readonly weights: readonly Weight[]
  /** f32 images [count, ..inputShape], or none where the examples are text. */
  readonly images?: Float32Array
  readonly inputShape: readonly number[]
  /** u8: class numbers [count], or tokens [count, length + 1]. */
  readonly labels: Uint8Array
  readonly gpt?: GptSize
}

/** AdamW's settings, the same for every parameter. */
export const ADAMW = { lr: 1e-3, betas: [0.9, 0.999], eps: 1e-8, weightDecay: 0.01 } as const

/** Batches before the examples start anew. */
const BATCHES = 8
export const CLASSES = 10

/** Numbers in [-1, 1) that a name determines: speed depends on them only in that they are not subnormal. */
const draws = (name: string, n: number): Float32Array => {
  let word = 2166136261
  for (const c of name) word = Math.imul(word ^ c.charCodeAt(0), 16777619) >>> 0
  return Float32Array.from({ length: n }, () => (word = (Math.imul(word, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1)
}

const sizeOf = (shape: readonly number[]): number => shape.reduce((a, b) => a * b, 1)

const drawn = (name: string, shape: readonly number[], spread: number): Weight => ({
  name,
  shape,
  values: draws(name, sizeOf(shape)).map((x) => x * spread),
})
const filled = (name: string, shape: readonly number[], value: number): Weight => ({
  name,
  shape,
  values: new Float32Array(sizeOf(shape)).fill(value),
})

/** `name.weight` [outputs, inputs] and, where asked for, `name.bias`, in ±1/√inputs as PyTorch's. */
const linear = (name: string, inputs: number, outputs: number, bias: boolean): Weight[] => [
  drawn(`${name}.weight`, [outputs, inputs], 1 / Math.sqrt(inputs)),
  ...(bias ? [drawn(`${name}.bias`, [outputs], 1 / Math.sqrt(inputs))] : []),
]

const convolution = (name: string, inputs: number, outputs: number): Weight[] => [
  drawn(`${name}.weight`, [outputs, inputs, 3, 3], 1 / Math.sqrt(9 * inputs)),
  drawn(`${name}.bias`, [outputs], 1 / Math.sqrt(9 * inputs)),
]
const norm = (name: string, width: number): Weight[] => [filled(`${name}.weight`, [width], 1), filled(`${name}.bias`, [width], 0)]

const pictures = (
  name: TaskName,
  batch: number,
  inputShape: readonly number[],
): Pick<Task, 'images' | 'labels' | 'count' | 'inputShape'> => {
  const count = BATCHES * batch
  return {
    count,
    inputShape,
    images: draws(`${name} images`, count * sizeOf(inputShape)),
    labels: Uint8Array.from({ length: count }, (_, i) => (i * i + 7 * i) % CLASSES),
  }
}

const mlp = (): Task => ({
  name: 'mlp',
  title: 'MLP 784-256-128-10, batch 64',
  batch: 64,
  weights: [...linear('fc1', 784, 256, true), ...linear('fc2', 256, 128, true), ...linear('fc3', 128, CLASSES, true)],
  ...pictures('mlp', 64, [784]),
})

const cnn = (): Task => ({
  name: 'cnn',
  title: 'CNN (conv 3×3, batch norm, relu, max pool) × 2 of 16 and 32 channels on 28×28, batch 64',
  batch: 64,
  weights: [
    ...convolution('conv1', 1, 16),
    ...norm('bn1', 16),
    ...convolution('conv2', 16, 32),
    ...norm('bn2', 32),
    ...linear('fc', 32 * 7 * 7, CLASSES, true),
  ],
  ...pictures('cnn', 64, [1, 28, 28]),
})

const transformer = (name: TaskName, title: string, batch: number, size: GptSize): Task => {
  const { layers, width, length, symbols } = size
  const count = BATCHES * batch
  return {
    name,
    title,
    batch,
    count,
    gpt: size,
    inputShape: [length],
    labels: Uint8Array.from({ length: count * (length + 1) }, (_, i) => (i * i + 7 * i) % symbols),
    weights: [
      drawn('wte.weight', [symbols, width], 0.02),
      drawn('wpe.weight', [length, width], 0.02),
      ...Array.from({ length: layers }, (_, i) => [
        filled(`blocks.${i}.ln1.weight`, [width], 1),
        ...linear(`blocks.${i}.qkv`, width, 3 * width, false),
        ...linear(`blocks.${i}.proj`, width, width, false),
        filled(`blocks.${i}.ln2.weight`, [width], 1),
        ...linear(`blocks.${i}.fc`, width, 4 * width, false),
        ...linear(`blocks.${i}.fc_out`, 4 * width, width, false),
      ]).flat(),
      filled('ln_f.weight', [width], 1),
    ],
  }
}

const TASKS: Readonly<Record<TaskName, () => Task>> = {
  mlp,
  cnn,
  chargpt: () =>
    transformer('chargpt', 'char-GPT, 4 layers, 4 heads, width 128, 64 characters, batch 12', 12, {
      layers: 4,
      heads: 4,
      width: 128,
      length: 64,
      symbols: 65,
    }),
  gpt: () =>
    transformer('gpt', 'GPT, 6 layers, 6 heads, width 384, 256 characters, batch 8', 8, {
      layers: 6,
      heads: 6,
      width: 384,
      length: 256,
      symbols: 65,
    }),
}
export const TASK_NAMES = Object.keys(TASKS) as TaskName[]

export const taskOf = (name: TaskName): Task => TASKS[name]()

/** Matrix products [m, k, n]: A is m×k, B is k×n. */
export const PRODUCTS = [
  [64, 64, 64],
  [256, 256, 256],
  [512, 512, 512],
  [1024, 1024, 1024],
  [768, 128, 512],
  [4096, 384, 1536],
] as const

/** Numbers for a matrix. */
export const matrix = (name: string, n: number): Float32Array => draws(name, n)
