// What this machine promises before it offers anything: the right bits, proved on the spot, and the speed at which it makes them.

import { type Backend, selfTest } from '@bitloom/engine'
import type { Store } from './store.ts'

/**
 * Proves a backend on this machine and measures it.
 * @returns scalar operations a second on matrix products: the figure in its offers
 * @throws {UnfitError} a bit differs from the interpreter's; no silent fallback
 */
export function proveBackend(backend: Backend): bigint {
  const test = selfTest(backend)
  if (!test.ok)
    throw new UnfitError(
      `The backend "${backend.name}" does not compute the right bits on this machine, so this node will not run: ${test.reason}\nSend this line and the output of bitloom doctor to the project.`,
    )
  return BigInt(Math.round(test.gflops * 1e9))
}

/** Of the proof's speed, which is that of matrix products, this much is taken for training until training was timed: an MLP reaches 0.5 to 0.65 of it. */
export const TRAINING_SHARE = 0.5
/** Training that says something about speed. */
const LEAST_MS = 1000
/** Beyond this much training, old times count half. */
const MEMORY_MS = 600_000

/** The speed that is offered: as this machine has trained lately, for whoever asked. */
export type Pace = {
  /** Scalar operations a second. */
  readonly perSecond: () => bigint
  /** Notes that so many operations were trained in so long. */
  readonly trained: (operations: bigint, milliseconds: number) => void
}

type Times = { readonly operations: number; readonly ms: number }

/** Opens the pace kept in a node's store. @param provenPerSecond what the backend's proof measured */
export function openPace(store: Pick<Store, 'get' | 'put'>, provenPerSecond: bigint): Pace {
  let times: Times = store.get<Times>('node', 'pace') ?? { operations: 0, ms: 0 }
  return {
    perSecond: () =>
      BigInt(
        Math.max(1, Math.round(times.ms < LEAST_MS ? Number(provenPerSecond) * TRAINING_SHARE : (1000 * times.operations) / times.ms)),
      ),
    trained: (operations, milliseconds) => {
      const keep = times.ms > MEMORY_MS ? 0.5 : 1
      times = { operations: keep * times.operations + Number(operations), ms: keep * times.ms + milliseconds }
      store.put('node', 'pace', times)
    },
  }
}

export class UnfitError extends Error {
  override name = 'node.UnfitError'
}
