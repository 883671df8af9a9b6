// Any table: a small MLP on standardised columns, with cross-entropy where the target is a class and squared error where it is a quantity.

import type { Expr } from '@bitloom/graph'
import { requireFinite, splitDataset, tensorOf } from '../data/dataset.ts'
import { readTable } from '../data/read.ts'
import type { TableData } from '../data/table.ts'
import { relu } from '../math.ts'
import { lossByName } from '../named/loss.ts'
import { type Lookup, mlp, mlpParameters } from '../nn.ts'
import { adamw } from '../optim.ts'
import { cast, concat, oneHot, reshape, slice } from '../tensor.ts'
import { writeOnnx } from './layers.onnx.ts'
import { rateOf, rateOptions } from './rates.ts'
import { count, flag, maybe, prepare, quantity, type Recipe, RecipeError, recipe } from './recipe.ts'

/** The columns as f32 [rows, width]: numbers as they are, then each category one-hot. */
function features(set: TableData, batch: Lookup): Expr {
  const { numeric, categorical } = set.table
  const parts: Expr[] = numeric.length > 0 ? [batch('x')] : []
  categorical.forEach(({ values }, j) => {
    const numbers = slice(batch('categories'), 1, j, j + 1)
    parts.push(cast(oneHot(reshape(numbers, [-1]), values.length), 'f32'))
  })
  return parts.length === 1 ? parts[0] : concat(parts, 1)
}

export const tabular: Recipe = recipe({
  name: 'tabular',
  title: 'MLP on the columns of a csv or parquet file: classes by cross-entropy, quantities by squared error, AdamW',
  options: {
    data: maybe('the table: .csv, .tsv or .parquet', 'FILE'),
    target: maybe('the column to predict', 'COLUMN'),
    task: maybe('classification or regression; by default what the target looks like', 'KIND', ['classification', 'regression']),
    drop: maybe('columns to leave out, with commas between', 'COLUMNS'),
    validation: quantity(0.2, 'held back: a fraction, drawn at random, or a number of last rows', { min: 0 }),
    raw: flag('leave the numbers as they are; else they are standardised by the training rows'),
    'allow-nan': flag('use missing numbers as NaN'),
    hidden: count(32, 'width of both hidden layers'),
    batch: count(32, 'rows a step'),
    ...rateOptions(1e-3, 'cosine', 50),
    'weight-decay': quantity(0.1, 'of all parameters', { min: 0 }),
  },
  cut: { stepsPerCheckpoint: 10, checkpointsPerSlice: 10, slices: 5 },
  alone: false,
  prepare: async (s, run) => {
    if (s.data === undefined) throw new RecipeError('tabular needs a table: --data FILE.csv --target COLUMN')
    const drop = s.drop?.split(',').map((c) => c.trim())
    const set = await readTable(s.data, {
      validation: s.validation,
      standardise: !s.raw,
      ...(s.target === undefined ? {} : { target: s.target }),
      ...(s.task === undefined ? {} : { task: s.task as 'classification' | 'regression' }),
      ...(drop ? { drop } : {}),
    })
    if (!s['allow-nan']) requireFinite(set)
    const { train, held } = splitDataset(set, { validation: s.validation })
    const outputs = set.classes?.length ?? 1
    const { numeric, categorical, moments, targetMoments } = set.table
    const width = numeric.length + categorical.reduce((n, c) => n + c.values.length, 0)
    const widths = [width, s.hidden, s.hidden, outputs]
    const batch = Math.min(s.batch, train.count)
    const spread = targetMoments ? [`errors below are in units of its deviation, ${targetMoments.deviation.toPrecision(4)}`] : []
    const made = prepare({
      ...{ name: 'tabular', parameters: mlpParameters(widths), batch, steps: s.steps, run },
      forward: (c) => ({ output: mlp(c.parameter, features(set, c.batch), 3, relu), target: c.batch('y') }),
      loss: lossByName(set.table.task === 'classification' ? 'cross_entropy' : 'mse'),
      optimizer: adamw({ weightDecay: s['weight-decay'] }),
      schedule: rateOf(s, s.steps),
      train: { tensors: train.tensors, count: train.count },
      held: { tensors: held.tensors, count: held.count, what: 'held-out rows' },
    })
    return {
      ...made,
      about: [
        `${train.count} rows to train on, ${held.count} held back; ${numeric.length} numeric and ${categorical.length} categorical columns`,
        set.classes
          ? `"${s.target}" is one of ${set.classes.length} classes: ${set.classes.slice(0, 8).join(', ')}${set.classes.length > 8 ? ', …' : ''}`
          : `"${s.target}" is a quantity`,
        ...set.notes,
        ...spread,
      ],
      onnx: (tensor, metadata) => tableFile(widths, tensor, { ...metadata, 'bitloom.columns': JSON.stringify({ numeric, categorical }) }),
      files: () => ({
        'columns.json': `${JSON.stringify({ numeric, categorical, classes: set.classes, moments, targetMoments, target: tensorOf(set, 'y').dtype }, null, 1)}\n`,
      }),
    }
  },
})

/** `x` f32 [batch, width]: the standardised numbers, then the one-hot categories, as columns.json lists them. */
function tableFile(
  widths: readonly number[],
  tensor: (name: string) => Float32Array,
  metadata: Readonly<Record<string, string>>,
): Uint8Array {
  const output = { name: 'y', dtype: 'f32' as const, shape: ['batch', widths[3]] }
  return writeOnnx(
    { name: 'tabular', input: { name: 'x', dtype: 'f32', shape: ['batch', widths[0]] }, output, metadata },
    tensor,
    (sheet, input) => {
      let x = input
      for (let i = 1; i <= 3; i++) {
        const weight = sheet.weight(`fc${i}.weight`, [widths[i], widths[i - 1]])
        x = sheet.node('Gemm', [x, weight, sheet.weight(`fc${i}.bias`, [widths[i]])], { transB: 1 })
        if (i < 3) x = sheet.node('Relu', [x])
      }
      return x
    },
  )
}
