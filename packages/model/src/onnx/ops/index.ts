// Every operator that is imported, by name. A theme is a file; operators outside of the standard set are named `domain.Name`.

import type { OpTable } from '../op.ts'
import { arithmetic } from './arithmetic.ts'
import { convolutions } from './conv.ts'
import { losses } from './loss.ts'
import { normalizations } from './norm.ts'
import { recurrent } from './recurrent.ts'
import { resizing } from './resize.ts'
import { trainingOps } from './trainingops.ts'

export const OPERATORS: OpTable = {
  ...arithmetic,
  ...convolutions,
  ...losses,
  ...normalizations,
  ...recurrent,
  ...resizing,
  ...trainingOps,
}
