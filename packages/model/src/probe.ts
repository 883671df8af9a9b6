// The probe: a few words of a step's gradients, at places that only (seed, step) tell, so that whoever knows the probe digest has run every step.

import { type Expr, sizeOf } from '@bitloom/graph'
import { keyOf, STREAM, words } from './random.ts'
import { bitcast, concat, gather, remu, reshape, slice } from './tensor.ts'

/** Words in a probe. */
export const PROBE_WORDS = 8

/**
 * `PROBE_WORDS` bit patterns (i32) of gradient elements: word i is drawn from tensor i mod count, or, where there are more tensors than words, from the tensor
 * at ⌊i·count/words⌋.
 */
export function probeOf(gradients: readonly Expr[], seed: Expr, step: Expr): Expr {
  const drawn = words(keyOf(seed, STREAM.probe), step, PROBE_WORDS)
  const count = gradients.length
  const spread = Array.from({ length: Math.min(count, PROBE_WORDS) }, (_, i) =>
    count > PROBE_WORDS ? Math.floor((i * count) / PROBE_WORDS) : i,
  )
  const picks = spread.map((tensor, i) => {
    const g = gradients[tensor]
    const n = sizeOf(g.shape)
    return gather(reshape(g, [n]), remu(slice(drawn, 0, i, PROBE_WORDS, spread.length), n))
  })
  return bitcast(concat(picks, 0))
}
