// Labelled images for training and for judging: the digits that install with us, a folder of images, MNIST's four idx files, or tensors named images and labels.

import { readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import type { DataTensor as Named } from '../step.ts'
import { type Dataset, splitDataset } from './dataset.ts'
import { readIdx } from './idx.ts'
import { readMnist } from './mnist.ts'
import { type ReadOptions, readData } from './read.ts'
import { DataError } from './tensors.ts'

/** `images` u8 [count, channels, height, width], `labels` u8 or i32 [count]. */
export type Labelled = {
  readonly train: Dataset
  readonly held: Dataset
  readonly classes: number
  readonly size: readonly [number, number, number]
}

const TRAIN = /^train-(images|labels).*ubyte(\.gz)?$/
const HELD = /^(t10k|test)-(images|labels).*ubyte(\.gz)?$/

/**
 * The images at a path, or the installed digits.
 * @throws {DataError} there are none, or images and labels do not fit each other
 */
export async function readLabelled(path: string | undefined, options: ReadOptions & { readonly validation: number }): Promise<Labelled> {
  if (path === undefined) return fromDigits()
  const files = statSync(path, { throwIfNoEntry: false })?.isDirectory() ? readdirSync(path) : []
  if (files.some((f) => TRAIN.test(f)) && files.some((f) => HELD.test(f))) {
    const one = (pattern: RegExp, what: string): Named => {
      const name = files.sort().find((f) => pattern.test(f) && f.includes(what))
      if (!name) throw new DataError(`${path}: no idx file of ${what} beside ${files.slice(0, 8).join(', ')}`)
      return { name: what, ...plain(readIdx(new Uint8Array(readFileSync(join(path, name))), name)) }
    }
    const part = (pattern: RegExp): Dataset => pairOf([one(pattern, 'images'), one(pattern, 'labels')], path)
    return joined(part(TRAIN), part(HELD), path)
  }
  const set = await readData(path, options)
  const pair = pairOf(set.tensors, path)
  const parts = splitDataset({ ...pair, ...(set.classes ? { classes: set.classes } : {}), notes: set.notes }, options)
  return joined(parts.train, parts.held, path)
}

const plain = ({ dtype, shape, data }: { dtype: Named['dtype']; shape: Named['shape']; data: Named['data'] }) => ({ dtype, shape, data })

function fromDigits(): Labelled {
  const { train, test } = readMnist()
  const part = ({ images, labels, count }: typeof train): Dataset => ({
    tensors: [
      { name: 'images', dtype: 'u8', shape: [count, 1, 28, 28], data: images },
      { name: 'labels', dtype: 'u8', shape: [count], data: labels },
    ],
    count,
    notes: [],
  })
  return { train: part(train), held: part(test), classes: 10, size: [1, 28, 28] }
}

/** The images, as [count, channels, height, width], and the labels, found by name or by what they look like. */
function pairOf(tensors: readonly Named[], path: string): Dataset {
  const images = tensors.find((t) => /image|^x$|pixels/i.test(t.name)) ?? tensors.find((t) => t.shape.length >= 3)
  const labels =
    tensors.find((t) => t !== images && /label|^y$|target/i.test(t.name)) ?? tensors.find((t) => t !== images && t.shape.length === 1)
  if (!images || !labels)
    throw new DataError(
      `${path}: no images and labels among ${tensors.map((t) => `${t.name} [${t.shape}]`).join(', ')}\nName the arrays "images" and "labels".`,
    )
  const [count, ...rest] = images.shape
  const side = Math.sqrt(rest[0])
  const shape = rest.length === 3 ? rest : rest.length === 2 ? [1, ...rest] : Number.isInteger(side) ? [1, side, side] : undefined
  if (!shape || images.dtype !== 'u8')
    throw new DataError(`${path}: "${images.name}" is ${images.dtype} [${images.shape}], not bytes of square or 2-D images`)
  if (labels.shape.length !== 1 || labels.shape[0] !== count || labels.dtype === 'f32')
    throw new DataError(`${path}: "${labels.name}" is ${labels.dtype} [${labels.shape}], not ${count} class numbers`)
  return {
    tensors: [
      { ...images, name: 'images', shape: [count, ...shape] },
      { ...labels, name: 'labels' },
    ],
    count,
    notes: [],
  }
}

function joined(train: Dataset, held: Dataset, path: string): Labelled {
  const size = train.tensors[0].shape.slice(1) as [number, number, number]
  if (`${held.tensors[0].shape.slice(1)}` !== `${size}`)
    throw new DataError(`${path}: images to train on are [${size}], those to judge by are [${held.tensors[0].shape.slice(1)}]`)
  let most = 0
  for (const part of [train, held])
    for (const label of part.tensors[1].data) {
      if (label < 0) throw new DataError(`${path}: a label is ${label}; classes are numbered from 0`)
      most = Math.max(most, label)
    }
  return { train, held, classes: train.classes?.length ?? most + 1, size }
}
