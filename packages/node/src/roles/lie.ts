// A cheat's lie: one altered element of one weight in one step, and everything after it follows. For demonstrations and tests, and nothing else.

import { alter, type Evaluate, type Lie } from '@bitloom/dispute'
import type { Data } from '@bitloom/graph'
import type { Stepper } from '../training/stepper.ts'

/**
 * A stepper that tells a lie at its step.
 * @param first the step within the segment that `inner` stands before
 */
export function lyingStepper(inner: Stepper, data: readonly Data[], evaluate: Evaluate, lie: Lie, first = 0): Stepper {
  const altered = alter(inner.graph, evaluate, lie)
  let at = first
  let probe: Data | undefined
  return {
    ...inner,
    step: () => {
      probe = undefined
      if (at++ !== lie.step) return inner.step()
      const result = altered(lie.step, [...inner.state().map((t) => t.slice()), ...data])
      inner.load(result.next)
      probe = result.probe
    },
    probe: () => probe ?? inner.probe(),
  }
}
