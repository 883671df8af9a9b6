// ResNet-8 for small images (He et al. 2016, §4.2, with one block a stage): seven convolutions with batch norm, and a linear layer; running statistics are state.

import type { Expr } from '@bitloom/graph'
import { conv2d } from '../conv.ts'
import { readLabelled } from '../data/labelled.ts'
import { relu } from '../math.ts'
import { lossByName } from '../named/loss.ts'
import { type Lookup, linear, linearParameters, type Parameter } from '../nn.ts'
import { batchNorm, batchNormParameters, batchNormTraining, runningMoments } from '../norm.ts'
import { sgd } from '../optim.ts'
import { type Key, normal } from '../random.ts'
import { add, cast, div, mean, mul } from '../tensor.ts'
import { type Sheet, writeOnnx } from './layers.onnx.ts'
import { rateOf, rateOptions } from './rates.ts'
import { count, maybe, prepare, quantity, type Recipe, RecipeError, recipe } from './recipe.ts'

type Layer = { readonly name: string; readonly from: number; readonly to: number; readonly kernel: 1 | 3; readonly stride: 1 | 2 }
type Block = { readonly first: Layer; readonly second: Layer; readonly shortcut: Layer | undefined }

/** The stem and the three blocks for images of `channels`. */
function layersOf(channels: number, width: number): { stem: Layer; blocks: Block[] } {
  const stem: Layer = { name: 'stem', from: channels, to: width, kernel: 3, stride: 1 }
  const blocks = [0, 1, 2].map((stage): Block => {
    const [from, to, stride] = [stage === 0 ? width : width << (stage - 1), width << stage, stage === 0 ? 1 : 2] as [number, number, 1 | 2]
    const name = `layer${stage + 1}`
    return {
      first: { name: `${name}.conv1`, from, to, kernel: 3, stride },
      second: { name: `${name}.conv2`, from: to, to, kernel: 3, stride: 1 },
      shortcut: stride === 1 ? undefined : { name: `${name}.shortcut`, from, to, kernel: 1, stride },
    }
  })
  return { stem, blocks }
}

const allOf = ({ stem, blocks }: ReturnType<typeof layersOf>): Layer[] => [
  stem,
  ...blocks.flatMap((b) => [b.first, b.second, ...(b.shortcut ? [b.shortcut] : [])]),
]

/** Convolutions without bias, normal of deviation √(2 / fan out) (He et al. 2015), and their norms. */
const parametersOf = (layers: readonly Layer[]): Parameter[] =>
  layers.flatMap(({ name, from, to, kernel }) => {
    const shape = [to, from, kernel, kernel]
    return [
      { name: `${name}.weight`, shape, initial: (key: Key) => mul(normal(key, shape), Math.sqrt(2 / (to * kernel * kernel))) },
      ...batchNormParameters(`${name}.bn`, to),
    ]
  })

type Updates = Record<string, Expr>

/** Convolution and batch norm; in training the batch's moments, which also move the running ones. */
function unit(p: Lookup, x: Expr, l: Layer, training: boolean, updates: Updates): Expr {
  const y = conv2d(x, p(`${l.name}.weight`), { stride: l.stride, padding: l.kernel === 3 ? 1 : 0 })
  const [weight, bias, m, v] = ['weight', 'bias', 'running_mean', 'running_var'].map((n) => p(`${l.name}.bn.${n}`))
  if (!training) return batchNorm(y, { mean: m, variance: v }, weight, bias)
  const normed = batchNormTraining(y, weight, bias)
  const [n, , height, width] = y.shape
  const next = runningMoments({ mean: m, variance: v }, normed, n * height * width)
  updates[`${l.name}.bn.running_mean`] = next.mean
  updates[`${l.name}.bn.running_var`] = next.variance
  return normed.y
}

function resnet8(p: Lookup, images: Expr, net: ReturnType<typeof layersOf>, training: boolean): { output: Expr; updates: Updates } {
  const updates: Updates = {}
  let x = relu(unit(p, div(cast(images, 'f32'), 255), net.stem, training, updates))
  for (const { first, second, shortcut } of net.blocks) {
    const inner = unit(p, relu(unit(p, x, first, training, updates)), second, training, updates)
    x = relu(add(inner, shortcut ? unit(p, x, shortcut, training, updates) : x))
  }
  return { output: linear(p, 'fc', mean(x, [2, 3])), updates }
}

export const resnet: Recipe = recipe({
  name: 'resnet-8',
  title: 'ResNet-8 with batch norm, cross-entropy, SGD with momentum, cosine; on the digits or a folder of images a class',
  options: {
    data: maybe('a folder of png/jpeg images a class, idx files, or tensors images and labels; without it the digits', 'DIR|FILE'),
    validation: quantity(0.1, 'of such data without files to test by: how much is held back', { min: 0 }),
    resize: maybe('bring all images to this size', 'WxH'),
    width: count(16, 'channels of the first stage; the others have 2 and 4 times as many'),
    batch: count(64, 'images a step', { min: 2 }),
    ...rateOptions(0.1, 'cosine', 50, 0.001),
    momentum: quantity(0.9, 'of SGD', { min: 0 }),
    'weight-decay': quantity(5e-4, 'of convolutions and the linear layer', { min: 0 }),
  },
  cut: { stepsPerCheckpoint: 10, checkpointsPerSlice: 10, slices: 4 },
  alone: true,
  prepare: async (s, run) => {
    const resize = s.resize === undefined ? undefined : /^(\d{1,4})x(\d{1,4})$/.exec(s.resize)
    if (s.resize !== undefined && !resize) throw new RecipeError(`--resize ${s.resize}: give a size such as 32x32`)
    const found = await readLabelled(s.data, {
      validation: s.validation,
      ...(resize ? { resize: [Number(resize[1]), Number(resize[2])] } : {}),
    })
    const [channels, height, width] = found.size
    const net = layersOf(channels, s.width)
    const top = 4 * s.width
    const batch = Math.min(s.batch, found.train.count)
    const made = prepare({
      ...{
        name: 'resnet-8',
        parameters: [...parametersOf(allOf(net)), ...linearParameters('fc', top, found.classes)],
        batch,
        steps: s.steps,
        run,
      },
      forward: (c) => ({ ...resnet8(c.parameter, c.batch('images'), net, c.training), target: c.batch('labels') }),
      loss: lossByName('cross_entropy'),
      optimizer: sgd({ momentum: s.momentum, weightDecay: s['weight-decay'], decays: (_, shape) => shape.length > 1 }),
      schedule: rateOf(s, s.steps),
      train: { tensors: found.train.tensors, count: found.train.count },
      held: { tensors: found.held.tensors, count: found.held.count, what: 'held-out images' },
      metrics: ['accuracy', 'loss'],
    })
    return {
      ...made,
      about: [`${found.train.count} images of ${width}×${height} in ${found.classes} classes to train on, ${found.held.count} held back`],
      onnx: (tensor, metadata) => resnetFile(net, [channels, height, width], found.classes, tensor, metadata),
    }
  },
})

function resnetFile(
  net: ReturnType<typeof layersOf>,
  [channels, height, width]: readonly [number, number, number],
  classes: number,
  tensor: (name: string) => Float32Array,
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const input = { name: 'images', dtype: 'u8' as const, shape: ['batch', channels, height, width] }
  const output = { name: 'logits', dtype: 'f32' as const, shape: ['batch', classes] }
  const layer = (sheet: Sheet, x: string, l: Layer): string => {
    const edge = l.kernel === 3 ? 1 : 0
    const y = sheet.node('Conv', [x, sheet.weight(`${l.name}.weight`, [l.to, l.from, l.kernel, l.kernel])], {
      kernel_shape: [l.kernel, l.kernel],
      strides: [l.stride, l.stride],
      pads: [edge, edge, edge, edge],
    })
    const norm = ['weight', 'bias', 'running_mean', 'running_var'].map((n) => sheet.weight(`${l.name}.bn.${n}`, [l.to]))
    return sheet.node('BatchNormalization', [y, ...norm], undefined, { epsilon: 1e-5 })
  }
  return writeOnnx({ name: 'resnet-8', input, output, metadata }, tensor, (sheet, images) => {
    const scaled = sheet.node('Div', [sheet.node('Cast', [images], { to: 1 }), sheet.constant(Float32Array.of(255), [])])
    let x = sheet.node('Relu', [layer(sheet, scaled, net.stem)])
    for (const { first, second, shortcut } of net.blocks) {
      const inner = layer(sheet, sheet.node('Relu', [layer(sheet, x, first)]), second)
      x = sheet.node('Relu', [sheet.node('Add', [inner, shortcut ? layer(sheet, x, shortcut) : x])])
    }
    const flat = sheet.node('Flatten', [sheet.node('GlobalAveragePool', [x])], { axis: 1 })
    return sheet.node('Gemm', [flat, sheet.weight('fc.weight', [classes, net.blocks[2].second.to]), sheet.weight('fc.bias', [classes])], {
      transB: 1,
    })
  })
}
