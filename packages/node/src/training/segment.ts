// Running a segment: the steps between two checkpoints, with their probes chained into a digest.

import { nextProbe, PROBE_START } from '@bitloom/dispute'
import { tensorRoot, toBytes } from '@bitloom/graph'
import type { Kind, Meter } from '../meter.ts'
import type { Stepper } from './stepper.ts'

/** Longest time in ms that a burst of steps keeps the process from answering anybody. */
const BURST_MS = 20

export type SegmentOptions = {
  readonly meter: Meter
  readonly kind: Kind
  /** Called after each step with its number within the segment (1, 2, …). */
  readonly onStep?: (step: number) => void
  readonly signal?: AbortSignal
}

/**
 * Runs `steps` steps of what `stepper` has loaded.
 * @returns the probe digest, or undefined where `signal` ended the run
 */
export async function runSegment(stepper: Stepper, steps: number, options: SegmentOptions): Promise<Uint8Array | undefined> {
  const { meter, kind, onStep, signal } = options
  let chain = PROBE_START
  let burst = performance.now()
  for (let step = 1; step <= steps; step++) {
    if (signal?.aborted) return undefined
    meter.measure(kind, stepper.step, 1)
    chain = meter.measure('hash', () => nextProbe(chain, tensorRoot(toBytes(stepper.probe()))))
    onStep?.(step)
    if (performance.now() - burst > BURST_MS) {
      await new Promise((resolve) => setImmediate(resolve))
      burst = performance.now()
    }
  }
  return chain
}
