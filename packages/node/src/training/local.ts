// Training on this machine alone: the same bits as on the network, and the yardstick of every overhead.

import { stateRoot } from '@bitloom/dispute'
import type { Data } from '@bitloom/graph'
import { toHex } from '@bitloom/graph'
import type { Job } from '@bitloom/model'
import type { Hex } from 'viem'
import { openMeter, type Readings } from '../meter.ts'
import type { Stepper } from './stepper.ts'

export type LocalRun = { readonly state: readonly Data[]; readonly root: Hex; readonly readings: Readings; readonly wallMs: number }

/** Steps between two looks at the clock and the listener. */
const BURST = 16

/**
 * Trains a job from its first step to its last.
 * @param onStep called every few steps with the number done and the last loss
 */
export async function trainLocal(job: Job, stepper: Stepper, onStep?: (done: number, loss: number) => void): Promise<LocalRun> {
  const meter = openMeter()
  const started = performance.now()
  stepper.load(job.state, job.data)
  for (let done = 0; done < job.steps; ) {
    const burst = Math.min(BURST, job.steps - done)
    meter.measure(
      'train',
      () => {
        for (let i = 0; i < burst; i++) stepper.step()
      },
      burst,
    )
    done += burst
    onStep?.(done, stepper.state()[job.lossSlot]![done - 1]!)
    await new Promise((resolve) => setImmediate(resolve))
  }
  const state = stepper.state().map((t) => t.slice())
  return {
    state,
    root: meter.measure('hash', () => toHex(stateRoot(state))),
    readings: meter.readings(),
    wallMs: performance.now() - started,
  }
}
