// Any exported model as a recipe: its inputs are found in the data, its loss and optimizer are options, and out comes the same file with trained weights.

import { closeSync, existsSync, fstatSync, openSync, readFileSync, readSync, realpathSync, statSync } from 'node:fs'
import { basename, dirname, extname, join, sep } from 'node:path'
import { type Expr, type Shape, sizeOf } from '@bitloom/graph'
import { type Dataset, splitDataset } from '../data/dataset.ts'
import { type ReadOptions, readData } from '../data/read.ts'
import type { TableData } from '../data/table.ts'
import { bytePairs } from '../data/text.ts'
import { LOSS_NAMES, lossByName } from '../named/loss.ts'
import { OPTIMIZER_NAMES, optimizerByName } from '../named/optimizer.ts'
import { decodeModel, MAX_MODEL_BYTES, type OnnxModel } from '../onnx/decode.ts'
import { type Imported, importModel, type Port } from '../onnx/import.ts'
import type { ReadExternal } from '../onnx/tensorproto.ts'
import { replaceWeights } from '../onnx/weights.ts'
import type { DataTensor } from '../step.ts'
import { cast, concat, div, oneHot, reshape, slice } from '../tensor.ts'
import { corpusOf, inAndOut } from './corpus.ts'
import { allRateOptions, rateOf } from './rates.ts'
import {
  count,
  type ForwardContext,
  flag,
  maybe,
  prepare,
  quantity,
  type Recipe,
  RecipeError,
  recipe,
  type SettingsOf,
  type Source,
} from './recipe.ts'

const options = {
  data: maybe('a csv or parquet table, a folder of images a class, npz/safetensors/idx arrays, or a text', 'PATH'),
  target: maybe('what to predict: a column, or an array by name', 'NAME'),
  validation: quantity(0.1, 'held back: a fraction, drawn at random (of a text: its end), or a number of last examples', { min: 0 }),
  loss: maybe('by default cross_entropy for classes and mse for quantities', 'NAME', LOSS_NAMES),
  'label-smoothing': quantity(0, 'of a cross-entropy', { min: 0, max: 1 }),
  optimizer: { kind: 'text', default: 'adamw', help: 'as PyTorch defines it', value: 'NAME', choices: OPTIMIZER_NAMES } as const,
  momentum: quantity(0, 'of sgd and rmsprop', { min: 0 }),
  'weight-decay': maybe('of the optimizer; by default its own', 'X'),
  ...allRateOptions(1e-3),
  clip: quantity(0, 'largest norm of all gradients together; 0 for none', { min: 0 }),
  'clip-value': quantity(0, 'largest absolute value of a gradient; 0 for none', { min: 0 }),
  batch: count(32, 'examples a step'),
  accumulate: count(1, 'steps whose mean gradient makes one update'),
  freeze: maybe('parameters that stay as they are, as patterns with * and commas', 'PATTERNS'),
  'train-only': maybe('parameters that train, and no others', 'PATTERNS'),
  dims: maybe('sizes of named axes other than the batch: time=64,features=8', 'NAME=N'),
  output: maybe('which output the loss is of; by default the first', 'NAME'),
  drop: maybe('columns of a table to leave out', 'COLUMNS'),
  raw: flag('leave a table’s numbers as they are; else they are standardised by the training rows'),
  scale: quantity(255, 'bytes of images are divided by this', { min: 1e-6 }),
  resize: maybe('bring images to this size', 'WxH'),
  'allow-nan': flag('use missing numbers as NaN'),
  tokens: maybe('of a text: characters, or byte-pairs of GPT-2', 'KIND', ['characters', 'byte-pairs']),
}
type S = SettingsOf<typeof options>

/** A recipe that trains the model of a file. */
export const onnxRecipe = (path: string): Recipe =>
  recipe({
    name: basename(path, extname(path)),
    title: `${basename(path)}, as it was exported`,
    file: path,
    options,
    cut: { stepsPerCheckpoint: 20, checkpointsPerSlice: 10, slices: 5 },
    alone: false,
    prepare: async (s, run) => {
      if (s.data === undefined) throw new RecipeError(`${basename(path)} needs data: --data PATH (a table, images, arrays or a text)`)
      const bytes = bytesOf(path)
      const external = externalOf(path)
      const model = decodeModel(bytes, { external })
      const found = await examplesOf(s, s.data, model)
      const imported = (batch: number): Imported => importModel(model, { external, ...bindings(s, model, found, batch) })
      const batch = batchOf(s, model, found)
      const trains = imported(batch)
      const judgedAtOnce = fixedBatch(model) ?? Math.max(1, Math.min(found.held.count, 4 * batch))
      const judges = found.held.count > 0 ? (judgedAtOnce === batch ? trains : imported(judgedAtOnce)) : undefined
      const loss = lossOf(s, found)
      const made = prepare({
        ...{ name: basename(path, extname(path)), parameters: trains.parameters, batch, steps: s.steps, run, loss },
        forward: (c) => forward(s, trains, found, c),
        optimizer: optimizerByName(s.optimizer, {
          ...(s.momentum > 0 ? { momentum: s.momentum } : {}),
          ...(s['weight-decay'] === undefined ? {} : { weight_decay: numberOf('weight-decay', s['weight-decay']) }),
        }),
        schedule: rateOf(s, s.steps / s.accumulate),
        ...(s.clip > 0 ? { clip: s.clip } : {}),
        ...(s['clip-value'] > 0 ? { clipValue: s['clip-value'] } : {}),
        ...(s.accumulate > 1 ? { accumulate: s.accumulate } : {}),
        train: found.train,
        tables: trains.constants,
        ...(judges
          ? {
              held: {
                ...found.held,
                forward: (c: ForwardContext) => forward(s, judges, found, c),
                tables: judges.constants,
                batch: judgedAtOnce,
              },
            }
          : {}),
      })
      const training = trains.parameters.filter((p) => !p.frozen)
      const size = (list: readonly { shape: Shape }[]): string => list.reduce((n, p) => n + sizeOf(p.shape), 0).toLocaleString('en')
      return {
        ...made,
        about: [
          `${training.length} tensors train (${size(training)} numbers), ${trains.parameters.length - training.length} stay; opset ${trains.opset}; loss ${loss.name}, ${s.optimizer}`,
          ...found.about,
          ...trains.warnings,
        ],
        onnx: (tensor, metadata) => {
          // running statistics move although no optimizer moves them
          const moved = trains.parameters.filter((p) => !p.frozen || !same(tensor(p.name), p.initial as Float32Array))
          return replaceWeights(bytes, Object.fromEntries(moved.map((p) => [trains.names[p.name] ?? p.name, tensor(p.name)])), metadata)
        },
      }
    },
  })

const same = (a: Float32Array, b: Float32Array): boolean => a.every((x, i) => Object.is(x, b[i]))

/** An input's values from the batch's rows, for a port of that dtype. */
type Read = (batch: (name: string) => Expr, dtype: Port['dtype']) => Expr

/** What the data gives: examples of each part, and which of their tensors is what. */
type Found = {
  readonly train: Source
  readonly held: Source & { readonly what: string }
  /** Model inputs by name: which tensor, or what is made of several. */
  readonly inputs: ReadonlyMap<string, { readonly shape: Shape; readonly read: Read }>
  readonly target: (batch: (name: string) => Expr) => Expr
  readonly classes: boolean
  readonly about: readonly string[]
}

async function examplesOf(s: S, data: string, model: OnnxModel): Promise<Found> {
  if (/\.(txt|md)$/i.test(data)) return textExamples(s, model)
  const resize = s.resize === undefined ? undefined : /^(\d+)x(\d+)$/.exec(s.resize)
  if (s.resize !== undefined && !resize) throw new RecipeError(`--resize ${s.resize}: give a size such as 32x32`)
  const set = await readData(data, {
    validation: s.validation,
    standardise: !s.raw,
    allowNan: s['allow-nan'],
    ...(s.target === undefined ? {} : { target: s.target }),
    ...(s.drop === undefined ? {} : { drop: s.drop.split(',').map((c) => c.trim()) }),
    ...(resize ? { resize: [Number(resize[1]), Number(resize[2])] } : {}),
    ...channelsOf(model),
  } satisfies ReadOptions)
  const { train, held } = splitDataset(set, { validation: s.validation })
  const target = targetIn(set, s.target, data)
  const others = set.tensors.filter((t) => t !== target)
  const table = (set as Partial<TableData>).table
  const inputs = new Map<string, { shape: Shape; read: Read }>()
  for (const [i, input] of model.inputs.entries()) {
    const named = others.find((t) => t.name === input.name)
    if (table && model.inputs.length === 1) inputs.set(input.name, columnsOf(table))
    else {
      const tensor = named ?? (model.inputs.length === others.length ? others[i] : undefined)
      if (!tensor)
        throw new RecipeError(
          `the model's inputs are ${model.inputs.map((v) => v.name).join(', ')}; the data has ${set.tensors.map((t) => `${t.name} [${t.shape}]`).join(', ')}\nName the arrays as the inputs are named.`,
        )
      inputs.set(input.name, { shape: tensor.shape.slice(1), read: (batch, dtype) => scaled(s, tensor, batch(tensor.name), dtype) })
    }
  }
  return {
    train: { tensors: train.tensors, count: train.count },
    held: { tensors: held.tensors, count: held.count, what: 'held-out examples' },
    inputs,
    target: (batch) => batch(target.name),
    classes: target.dtype !== 'f32',
    about: [
      `${train.count} examples to train on, ${held.count} held back${set.classes ? `; ${set.classes.length} classes: ${set.classes.slice(0, 8).join(', ')}` : ''}`,
      ...set.notes,
    ],
  }
}

function textExamples(s: S, model: OnnxModel): Found {
  const [input] = model.inputs
  const last = input.shape?.[1]
  const block = typeof last === 'number' ? last : dimsOf(s)[String(last)]
  if (model.inputs.length !== 1 || !block)
    throw new RecipeError(
      `a text trains models of one input [batch, time]; this one has ${model.inputs.map((v) => `${v.name} [${v.shape}]`).join(', ')}\nGive the length of a window: --dims ${String(last)}=64`,
    )
  const corpus = corpusOf(
    { data: s.data, tokens: s.tokens ?? 'characters', validation: s.validation },
    block,
    s.tokens === 'byte-pairs' ? bytePairs() : undefined,
  )
  return {
    train: corpus.train,
    held: corpus.held,
    inputs: new Map([[input.name, { shape: [block], read: (batch) => inAndOut(batch('windows')).tokens }]]),
    target: (batch) => inAndOut(batch('windows')).target,
    classes: true,
    about: corpus.about,
  }
}

/** Images are read grey where the model's input has one channel. */
const channelsOf = (model: OnnxModel): { channels?: 1 | 3 } =>
  model.inputs[0]?.shape?.length === 4 && model.inputs[0].shape[1] === 1 ? { channels: 1 } : {}

function targetIn(set: Dataset, name: string | undefined, data: string): DataTensor {
  const table = 'table' in set
  const wanted = table || name === undefined ? ['y', 'labels', 'label', 'target', 'targets'] : [name]
  const found =
    set.tensors.find((t) => wanted.includes(t.name)) ??
    (name === undefined ? set.tensors.find((t) => /label|target/i.test(t.name)) : undefined)
  if (!found)
    throw new RecipeError(
      `${data}: ${name === undefined ? 'which array is to be predicted' : `no array "${name}"`}? It has ${set.tensors.map((t) => `${t.name} [${t.shape}]`).join(', ')}\nSay it: --target NAME`,
    )
  return found
}

/** A table as one input: its numbers, then each category one-hot. */
function columnsOf(table: TableData['table']): { shape: Shape; read: Read } {
  const { numeric, categorical } = table
  return {
    shape: [numeric.length + categorical.reduce((n, c) => n + c.values.length, 0)],
    read: (batch) => {
      const parts = numeric.length > 0 ? [batch('x')] : []
      categorical.forEach(({ values }, j) => {
        parts.push(cast(oneHot(reshape(slice(batch('categories'), 1, j, j + 1), [-1]), values.length), 'f32'))
      })
      return parts.length === 1 ? parts[0] : concat(parts, 1)
    },
  }
}

/** Bytes that go into a float input are pixels. */
const scaled = (s: S, tensor: DataTensor, x: Expr, dtype: Port['dtype']): Expr =>
  tensor.dtype === 'u8' && tensor.shape.length > 1 && dtype === 'f32' ? div(cast(x, 'f32'), s.scale) : x

/** The model on a batch. */
function forward(
  s: S,
  model: Imported,
  found: Found,
  c: ForwardContext,
): { output: Expr; target: Expr; updates: Readonly<Record<string, Expr>> } {
  const ports = new Map(model.inputs.map((p): [string, Port] => [p.name, p]))
  const { outputs, updates } = model.apply({
    parameter: c.parameter,
    constant: c.batch,
    input: (name) => {
      const port = ports.get(name)!
      return reshape(cast(found.inputs.get(name)!.read(c.batch, port.dtype), port.dtype), port.shape)
    },
    training: c.training,
    random: (stream) => c.random!(stream),
    ...(c.step ? { step: c.step } : {}),
  })
  const name = s.output ?? model.outputs[0].name
  const output = outputs[name]
  if (!output) throw new RecipeError(`the model has no output "${name}"; it has ${model.outputs.map((o) => o.name).join(', ')}`)
  return { output, target: found.target(c.batch), updates }
}

function lossOf(s: S, found: Found) {
  const name = s.loss ?? (found.classes ? 'cross_entropy' : 'mse')
  return lossByName(name, s['label-smoothing'] > 0 ? { label_smoothing: s['label-smoothing'] } : {})
}

/** Where the file itself says how many examples a pass has. */
function fixedBatch(model: OnnxModel): number | undefined {
  const first = model.inputs.map((v) => v.shape?.[0])
  return first.length > 0 && first.every((d) => typeof d === 'number') ? (first[0] as number) : undefined
}

function batchOf(s: S, model: OnnxModel, found: Found): number {
  return fixedBatch(model) ?? Math.min(s.batch, found.train.count)
}

/** The sizes of all axes: the first is the batch, others are the data's own or from --dims. */
function bindings(s: S, model: OnnxModel, found: Found, batch: number) {
  const dims = dimsOf(s)
  const inputs: Record<string, Shape> = {}
  for (const v of model.inputs) {
    const given = found.inputs.get(v.name)!
    const axes = v.shape ?? [batch, ...given.shape]
    const shape = axes.map((d, axis) =>
      typeof d === 'number' ? d : axis === 0 ? batch : (dims[d] ?? (axes.length === given.shape.length + 1 ? given.shape[axis - 1] : 0)),
    )
    if (sizeOf(shape) !== shape[0] * sizeOf(given.shape))
      throw new RecipeError(
        `input "${v.name}" is [${axes.join(', ')}], but an example of the data is [${given.shape}]\n${axes.some((d) => typeof d === 'string' && d !== '') ? 'Bind named axes with --dims, or b' : 'B'}ring the data to that shape.`,
      )
    inputs[v.name] = shape
  }
  const list = (text: string | undefined): string[] | undefined => text?.split(',').map((p) => p.trim())
  const [freeze, trainOnly] = [list(s.freeze), list(s['train-only'])]
  return { inputs, ...(freeze ? { freeze } : {}), ...(trainOnly ? { trainOnly } : {}) }
}

function dimsOf(s: S): Record<string, number> {
  if (s.dims === undefined) return {}
  return Object.fromEntries(
    s.dims.split(',').map((pair) => {
      const [name, size] = pair.split('=')
      if (!name || !size || !/^\d{1,9}$/.test(size.trim())) throw new RecipeError(`--dims ${s.dims}: give pairs such as time=64,features=8`)
      return [name.trim(), Number(size)]
    }),
  )
}

function numberOf(name: string, text: string): number {
  const x = Number(text)
  if (text.trim() === '' || !Number.isFinite(x)) throw new RecipeError(`--${name} ${text}: give a number`)
  return x
}

function bytesOf(path: string): Uint8Array {
  const { size } = statSync(path)
  if (size > MAX_MODEL_BYTES) throw new RecipeError(`${path}: ${size} bytes, more than ${MAX_MODEL_BYTES}`)
  return new Uint8Array(readFileSync(path))
}

/** Weights in files beside the model, and nowhere else: the decoder has refused paths that climb, links that do are refused here. */
function externalOf(path: string): ReadExternal {
  const inside = realpathSync(dirname(path)) + sep
  return (location, offset, length) => {
    const full = join(dirname(path), location)
    if (!existsSync(full)) throw new RecipeError(`${path} keeps weights in ${location}, which is not beside it`)
    if (!realpathSync(full).startsWith(inside)) throw new RecipeError(`${path} wants weights from outside of its folder: ${location}`)
    const file = openSync(full, 'r')
    try {
      const rest = fstatSync(file).size - offset
      const bytes = new Uint8Array(Math.max(0, Math.min(rest, length ?? rest, MAX_MODEL_BYTES)))
      return bytes.subarray(0, readSync(file, bytes, 0, bytes.length, offset))
    } finally {
      closeSync(file)
    }
  }
}
