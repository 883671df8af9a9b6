// A folder of images, one sub-folder a class: decoded by libraries, checked and bounded by us, in an order that no file system decides.

import { closeSync, openSync, readdirSync, readSync, realpathSync, statSync } from 'node:fs'
import { join, sep } from 'node:path'
import jpeg from 'jpeg-js'
import { PNG } from 'pngjs'
import type { Dataset } from './dataset.ts'
import { DataError, MAX_DATA_BYTES } from './tensors.ts'

/** `data` is u8 [height, width, 4]. */
export type Image = { readonly width: number; readonly height: number; readonly data: Uint8Array }

export type ImageOptions = {
  /** Every image is brought to this many pixels across and down; without it all must be of one size. */
  readonly resize?: readonly [width: number, height: number]
  /** 1 for grey (ITU-R BT.601 luma), 3 for red, green, blue; default 3. Transparency is laid on black. */
  readonly channels?: 1 | 3
}

const MAX_FILE_BYTES = 2 ** 26
const MAX_PIXELS = 2 ** 26
const MAX_IMAGES = 2 ** 20
const MAX_CLASSES = 65_536
const IMAGE = /\.(png|jpe?g)$/i

/**
 * `images` u8 [count, channels, height, width] and `labels` i32 [count]. Classes are the sub-folders' names in order of code units; so are the files.
 * @throws {DataError} there are no classes, or a file is damaged, too large, of another size than the first, or lies outside the folder
 */
export function readImages(directory: string, options: ImageOptions = {}): Dataset {
  const classes = namesIn(directory).filter((n) => statSync(join(directory, n)).isDirectory())
  if (classes.length === 0 || classes.length > MAX_CLASSES)
    throw new DataError(`${directory}: ${classes.length} sub-folders; put each class's images into a folder of its own`)
  const files = classes.flatMap((c, label) =>
    namesIn(join(directory, c))
      .filter((n) => IMAGE.test(n))
      .map((n) => ({ path: join(directory, c, n), label })),
  )
  if (files.length === 0) throw new DataError(`${directory}: no .png, .jpg or .jpeg file in ${classes.length} sub-folders`)
  if (files.length > MAX_IMAGES) throw new DataError(`${directory}: ${files.length} images, more than ${MAX_IMAGES}`)
  const inside = realpathSync(directory) + sep
  const { channels = 3 } = options
  let size = options.resize
  let images = new Uint8Array(0)
  for (const [i, { path }] of files.entries()) {
    if (!realpathSync(path).startsWith(inside)) throw new DataError(`${path}: the link leads out of ${directory}`)
    const found = decodeImage(bytesOf(path), path)
    size ??= [found.width, found.height]
    const [width, height] = size
    if (i === 0) {
      const bytes = files.length * channels * width * height
      if (!(bytes <= MAX_DATA_BYTES))
        throw new DataError(`${directory}: ${files.length} images of ${width}×${height} take ${bytes} bytes, more than ${MAX_DATA_BYTES}`)
      images = new Uint8Array(bytes)
    }
    if (!options.resize && (found.width !== width || found.height !== height))
      throw new DataError(
        `${path} is ${found.width}×${found.height}, ${files[0].path} is ${width}×${height}\nBring all to one size: --resize ${width}x${height}`,
      )
    images.set(planes(options.resize ? resize(found, width, height) : found, channels), i * channels * width * height)
  }
  const [width, height] = size!
  return {
    tensors: [
      { name: 'images', dtype: 'u8', shape: [files.length, channels, height, width], data: images },
      { name: 'labels', dtype: 'i32', shape: [files.length], data: Int32Array.from(files, (f) => f.label) },
    ],
    count: files.length,
    classes,
    notes: options.resize ? [`images brought to ${width}×${height}`] : [],
  }
}

/**
 * The pixels of a png or jpeg file, as u8 red, green, blue, alpha.
 * @throws {DataError} it is neither, is damaged, or has more than 2^26 pixels
 */
export function decodeImage(bytes: Uint8Array, name = 'image'): Image {
  const isPng = bytes.length > 28 && bytes[0] === 0x89 && bytes[1] === 0x50
  const isJpeg = bytes.length > 4 && bytes[0] === 0xff && bytes[1] === 0xd8
  if (!isPng && !isJpeg) throw new DataError(`${name}: neither png nor jpeg`)
  try {
    return isPng
      ? decodePng(bytes, name)
      : jpeg.decode(bytes, { useTArray: true, maxResolutionInMP: MAX_PIXELS / 1e6, maxMemoryUsageInMB: 512 })
  } catch (cause) {
    if (cause instanceof DataError) throw cause
    throw new DataError(`${name}: damaged image: ${(cause as Error).message}`, { cause })
  }
}

function decodePng(bytes: Uint8Array, name: string): Image {
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
  const [width, height] = [view.getUint32(16), view.getUint32(20)]
  if (width * height > MAX_PIXELS || width === 0 || height === 0)
    throw new DataError(`${name}: ${width}×${height} pixels; at most ${MAX_PIXELS} are read`)
  // SAFETY: the decoder unpacks an interlaced image without a bound, so a few bytes could fill the memory
  if (bytes[28] !== 0) throw new DataError(`${name}: interlaced png is not read\nSave it without: convert in.png -interlace none out.png`)
  const image = PNG.sync.read(Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength))
  if (image.data.length !== 4 * width * height) throw new DataError(`${name}: the image is cut short`)
  return { width, height, data: image.data }
}

/** The nearest pixels: cell centres of the new grid on the old one, so that the result needs no rounding and is the same everywhere. */
function resize({ width, height, data }: Image, toWidth: number, toHeight: number): Image {
  const out = new Uint8Array(4 * toWidth * toHeight)
  for (let y = 0; y < toHeight; y++) {
    const row = Math.floor(((2 * y + 1) * height) / (2 * toHeight))
    for (let x = 0; x < toWidth; x++) {
      const from = 4 * (row * width + Math.floor(((2 * x + 1) * width) / (2 * toWidth)))
      out.set(data.subarray(from, from + 4), 4 * (y * toWidth + x))
    }
  }
  return { width: toWidth, height: toHeight, data: out }
}

/** u8 [channels, height, width]: colours times opacity, and for grey (299 r + 587 g + 114 b) / 1000, rounded to nearest. */
function planes({ width, height, data }: Image, channels: 1 | 3): Uint8Array {
  const n = width * height
  const out = new Uint8Array(channels * n)
  for (let i = 0; i < n; i++) {
    const alpha = data[4 * i + 3]
    const [r, g, b] = [0, 1, 2].map((c) => (alpha === 255 ? data[4 * i + c] : Math.round((data[4 * i + c] * alpha) / 255)))
    if (channels === 1) out[i] = Math.round((299 * r + 587 * g + 114 * b) / 1000)
    else {
      out[i] = r
      out[n + i] = g
      out[2 * n + i] = b
    }
  }
  return out
}

const namesIn = (directory: string): string[] =>
  readdirSync(directory)
    .filter((n) => !n.startsWith('.'))
    .sort((a, b) => (a < b ? -1 : 1))

function bytesOf(path: string): Uint8Array {
  const file = openSync(path, 'r')
  try {
    const { size } = statSync(path)
    if (size > MAX_FILE_BYTES) throw new DataError(`${path}: ${size} bytes, more than ${MAX_FILE_BYTES}`)
    const bytes = new Uint8Array(size)
    return bytes.subarray(0, readSync(file, bytes))
  } finally {
    closeSync(file)
  }
}
