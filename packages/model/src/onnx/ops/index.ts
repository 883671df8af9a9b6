// Every operator that is imported, by name. A theme is a file; operators outside of the standard set are named `domain.Name`.

import type { OpTable } from '../op.ts'
import { activations } from './activation.ts'
import { arithmetic } from './arithmetic.ts'
import { constants } from './constants.ts'
import { convolutions } from './conv.ts'
import { indexing } from './indexing.ts'
import { linear } from './linear.ts'
import { losses } from './loss.ts'
import { movement } from './movement.ts'
import { normalizations } from './norm.ts'
import { randoms } from './random.ts'
import { recurrent } from './recurrent.ts'
import { reductions } from './reduce.ts'
import { resizing } from './resize.ts'
import { trainingOps } from './trainingops.ts'

export const OPERATORS: OpTable = {
  ...arithmetic,
  ...activations,
  ...constants,
  ...movement,
  ...indexing,
  ...linear,
  ...randoms,
  ...reductions,
  ...convolutions,
  ...losses,
  ...normalizations,
  ...recurrent,
  ...resizing,
  ...trainingOps,
}
