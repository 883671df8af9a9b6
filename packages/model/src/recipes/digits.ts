// Recipes for small labelled images: `mnist` (an MLP, or a convolutional network with --model cnn) and `fashion-mnist`, which is the same on other pictures.

import type { Expr } from '@bitloom/graph'
import { conv, convParameters } from '../conv.ts'
import { type Labelled, readLabelled } from '../data/labelled.ts'
import { relu } from '../math.ts'
import { lossByName } from '../named/loss.ts'
import { type Lookup, linear, linearParameters, mlp, mlpParameters, type Parameter } from '../nn.ts'
import { exportMlp } from '../onnx/export.ts'
import { adamw } from '../optim.ts'
import { maxPool2d } from '../pool.ts'
import type { DataTensor } from '../step.ts'
import { cast, div, reshape } from '../tensor.ts'
import { type Sheet, writeOnnx } from './layers.onnx.ts'
import { mnistJob } from './mnist.ts'
import { rateOf, rateOptions } from './rates.ts'
import {
  count,
  maybe,
  type Prepared,
  prepare,
  quantity,
  type Recipe,
  RecipeError,
  type Run,
  recipe,
  type SettingsOf,
  text,
} from './recipe.ts'

const PIXELS = 28 * 28
const CHANNELS = [16, 32] as const

const options = {
  model: text('mlp', 'mlp: 784-hidden-10; cnn: two 3×3 convolutions with pooling, then 10', 'NAME', ['mlp', 'cnn']),
  data: maybe('MNIST’s four idx files (.gz too), a folder of 28×28 images a class, or tensors images and labels', 'DIR|FILE'),
  validation: quantity(0.1, 'of such data without files to test by: how much is held back', { min: 0 }),
  hidden: count(128, 'mlp: width of the hidden layer'),
  batch: count(64, 'examples a step'),
  ...rateOptions(1e-3, 'constant'),
}
type S = SettingsOf<typeof options>

const cnnParameters = (classes: number): Parameter[] => [
  ...convParameters('conv1', 1, CHANNELS[0], 3),
  ...convParameters('conv2', CHANNELS[0], CHANNELS[1], 3),
  ...linearParameters('fc', CHANNELS[1] * 49, classes),
]

/** Bytes [n, 784] to logits: two convolutions, each with ReLU and 2×2 pooling, and a linear layer. */
function cnn(p: Lookup, images: Expr): Expr {
  let x = reshape(div(cast(images, 'f32'), 255), [-1, 1, 28, 28])
  for (const layer of ['conv1', 'conv2']) x = maxPool2d(relu(conv(p, layer, x, { padding: 1 })), 2)
  return linear(p, 'fc', reshape(x, [x.shape[0], -1]))
}

async function prepareDigits(name: string, s: S, run: Run): Promise<Prepared> {
  const found = await readLabelled(s.data, { validation: s.validation, channels: 1 })
  const about = aboutOf(found, s.data)
  if (`${found.size}` !== '1,28,28')
    throw new RecipeError(
      `the images are ${found.size.join('×')}; ${name} takes grey ones of 28×28\nFor other sizes: bitloom train resnet-8 --data …`,
    )
  const classes = s.model === 'mlp' ? 10 : found.classes
  if (found.classes > classes)
    throw new RecipeError(`${found.classes} classes; the mlp has 10 outputs\nTake --model cnn, which has as many as there are.`)
  const flat = (part: 'train' | 'held'): DataTensor[] => [
    { ...found[part].tensors[0], shape: [found[part].count, PIXELS] },
    { ...found[part].tensors[1], dtype: 'u8', data: Uint8Array.from(found[part].tensors[1].data) },
  ]
  const schedule = rateOf(s, s.steps)
  const parameters = s.model === 'mlp' ? mlpParameters([PIXELS, s.hidden, classes]) : cnnParameters(classes)
  const forward = (c: { parameter: Lookup; batch: Lookup }): { output: Expr; target: Expr } => {
    const images = c.batch('images')
    const output = s.model === 'mlp' ? mlp(c.parameter, div(cast(images, 'f32'), 255), 2, relu) : cnn(c.parameter, images)
    return { output, target: c.batch('labels') }
  }
  const { batch, steps } = s
  const made = prepare({
    ...{ name, parameters, forward, schedule, batch, steps, run },
    loss: lossByName('cross_entropy'),
    optimizer: adamw({ weightDecay: 0.01 }),
    train: { tensors: flat('train'), count: found.train.count },
    held: { tensors: flat('held'), count: found.held.count, what: 'held-out images' },
    metrics: ['accuracy', 'loss'],
  })
  const [images, labels] = flat('train').map((t) => t.data) as [Uint8Array, Uint8Array]
  // the MLP's job is the one of `mnistJob`, whose graph the documents, the examples and the tests know by its id
  const job =
    s.model === 'mlp'
      ? mnistJob({
          images,
          labels,
          count: found.train.count,
          seed: run.seed,
          steps,
          batch,
          hidden: s.hidden,
          schedule,
          evaluate: run.evaluate,
        })
      : made.job
  return {
    ...made,
    job: { ...job, name },
    about,
    onnx: (tensor, metadata) => (s.model === 'mlp' ? mlpFile : cnnFile)(name, s, classes, tensor, metadata),
  }
}

const aboutOf = (found: Labelled, path: string | undefined): string[] => [
  `${found.train.count} images to train on, ${found.held.count} held back${path === undefined ? ', real handwritten digits' : ` from ${path}`}`,
]

type Tensor = (name: string) => Float32Array
type Metadata = Readonly<Record<string, string>>

function mlpFile(name: string, s: S, classes: number, tensor: Tensor, metadata: Metadata): Uint8Array {
  const layer = (layerName: string, outputs: number, inputs: number) => ({
    name: layerName,
    weight: { shape: [outputs, inputs], data: tensor(`${layerName}.weight`) },
    bias: { shape: [outputs], data: tensor(`${layerName}.bias`) },
  })
  return exportMlp({
    layers: [layer('fc1', s.hidden, PIXELS), layer('fc2', classes, s.hidden)],
    activation: 'relu',
    inputDtype: 'u8',
    inputDivisor: 255,
    modelName: name,
    metadata,
  })
}

function cnnFile(name: string, _: S, classes: number, tensor: Tensor, metadata: Metadata): Uint8Array {
  const convolution = (sheet: Sheet, x: string, layer: string, from: number, to: number): string => {
    const y = sheet.node('Conv', [x, sheet.weight(`${layer}.weight`, [to, from, 3, 3]), sheet.weight(`${layer}.bias`, [to])], {
      kernel_shape: [3, 3],
      pads: [1, 1, 1, 1],
    })
    return sheet.node('MaxPool', [sheet.node('Relu', [y])], { kernel_shape: [2, 2], strides: [2, 2] })
  }
  return writeOnnx(
    {
      name,
      input: { name: 'x', dtype: 'u8', shape: ['batch', PIXELS] },
      output: { name: 'logits', dtype: 'f32', shape: ['batch', classes] },
      metadata,
    },
    tensor,
    (sheet, input) => {
      const scaled = sheet.node('Div', [sheet.node('Cast', [input], { to: 1 }), sheet.constant(Float32Array.of(255), [])])
      let x = sheet.node('Reshape', [scaled, sheet.constant(BigInt64Array.of(-1n, 1n, 28n, 28n), [4])])
      x = convolution(sheet, x, 'conv1', 1, CHANNELS[0])
      x = convolution(sheet, x, 'conv2', CHANNELS[0], CHANNELS[1])
      const width = CHANNELS[1] * 49
      return sheet.node(
        'Gemm',
        [sheet.node('Flatten', [x], { axis: 1 }), sheet.weight('fc.weight', [classes, width]), sheet.weight('fc.bias', [classes])],
        {
          transB: 1,
        },
      )
    },
  )
}

export const mnist: Recipe = recipe({
  name: 'mnist',
  title: 'MLP 784-128-10 (or a CNN), cross-entropy, AdamW, batch 64, 9,003 real handwritten digits',
  options,
  cut: { stepsPerCheckpoint: 32, checkpointsPerSlice: 10, slices: 10 },
  alone: true,
  prepare: (s, run) => prepareDigits('mnist', s, run),
})

export const fashion: Recipe = recipe({
  name: 'fashion-mnist',
  title: 'the same on Fashion-MNIST’s clothes: a CNN (or MLP), cross-entropy, AdamW; --data with its four idx files',
  options: { ...options, model: { ...options.model, default: 'cnn' } },
  cut: { stepsPerCheckpoint: 50, checkpointsPerSlice: 10, slices: 4 },
  alone: false,
  prepare: (s, run) => {
    if (s.data === undefined)
      throw new RecipeError(
        'fashion-mnist needs its pictures: --data DIR, a folder with train-images-idx3-ubyte.gz, train-labels-idx1-ubyte.gz, t10k-images-idx3-ubyte.gz and t10k-labels-idx1-ubyte.gz\nThey are at https://github.com/zalandoresearch/fashion-mnist (31 MB).',
      )
    return prepareDigits('fashion-mnist', s, run)
  },
})
