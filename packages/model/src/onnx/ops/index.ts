// Every operator that is imported, by name. A theme is a file; operators outside of the standard set are named `domain.Name`.

import type { OpTable } from '../op.ts'
import { arithmetic } from './arithmetic.ts'

export const OPERATORS: OpTable = { ...arithmetic }
