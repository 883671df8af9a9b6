// How strictly a run is checked, in flags: the level, how many verifiers, how many segments each.

import { ASSURANCE, type Assurance } from '@bitloom/sdk'
import { type Call, UsageError } from './command.ts'

/** The part of a plan that says how it is checked. */
export type Shape = {
  readonly assurance: Assurance
  readonly verifiers: number
  readonly segments: number
  /** One claim in so many is wrong on purpose; 0: none. */
  readonly decoyOneIn: number
}

export const ASSURANCE_OPTIONS = {
  assurance: {
    type: 'string',
    value: 'LEVEL',
    help: `${Object.keys(ASSURANCE).join(', ')}: how much of each slice is run again`,
    default: 'spot',
  },
  verifiers: { type: 'string', value: 'N', help: 'spot, full: verifiers drawn for each slice', default: '2' },
  segments: { type: 'string', value: 'N', help: 'spot: segments each of them runs again', default: '1' },
  quorum: { type: 'string', value: 'K', help: 'quorum: parties that must agree on a whole slice, the solver among them', default: '3' },
  decoys: {
    type: 'string',
    value: 'N',
    help: 'one claim in so many (8 to 1024) is wrong on purpose, and pays whoever finds it; 0: none',
    default: '0',
  },
} as const

/** The level by its name. @throws {UsageError} there is none of that name */
export function assuranceOf(call: Call): Assurance {
  const level = call.text('assurance') ?? 'spot'
  if (!Object.hasOwn(ASSURANCE, level)) throw new UsageError(`--assurance ${level}: levels are ${Object.keys(ASSURANCE).join(', ')}`)
  return level as Assurance
}

/** The shape of a level, by the flags of a call. */
export function shapeOf(call: Call, assurance: Assurance): Shape {
  const verifiers = call.number('verifiers', { min: 1, max: 16, whole: true }) ?? 2
  const segments = call.number('segments', { min: 1, max: 255, whole: true }) ?? 1
  const quorum = call.number('quorum', { min: 2, max: 16, whole: true }) ?? 3
  const decoyOneIn = call.number('decoys', { min: 0, max: 1024, whole: true }) ?? 0
  if (decoyOneIn > 0 && decoyOneIn < 8)
    throw new UsageError(`--decoys ${decoyOneIn}: one claim in 8 at most is wrong on purpose; 0 for none`)
  if (assurance === 'none') return { assurance, verifiers: 0, segments, decoyOneIn: 0 }
  return { assurance, verifiers: assurance === 'quorum' ? quorum - 1 : verifiers, segments, decoyOneIn }
}
