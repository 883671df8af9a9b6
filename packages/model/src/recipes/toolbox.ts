// Everything that a recipe of one's own is written with: it is handed to the function that a recipe file exports, so that the file runs wherever it lies.

export * from '../data/dataset.ts'
export * from '../data/labelled.ts'
export * from '../data/read.ts'
export * from '../data/text.ts'
export * from '../data/texts.ts'
export * from '../index.ts'
export * from '../named/loss.ts'
export * from '../named/optimizer.ts'
export * from '../named/schedule.ts'
export * from './corpus.ts'
export * from './gpt.ts'
export * from './layers.onnx.ts'
export * from './rates.ts'
export * from './recipe.ts'

import type * as toolbox from './toolbox.ts'

export type Toolbox = typeof toolbox
