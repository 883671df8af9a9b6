// What this machine promises before it offers anything: the right bits, proved on the spot, and the speed at which it makes them.

import { type Backend, selfTest } from '@bitloom/engine'

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

export class UnfitError extends Error {
  override name = 'node.UnfitError'
}
