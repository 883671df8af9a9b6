// One graph being run step after step: what the roles need of an engine, and nothing more.

import { type Data, type Graph, interpret } from '@bitloom/graph'

/** Holds a state and steps it. Not shared: a stepper belongs to whoever loads it. */
export type Stepper = {
  /** Sets the state and the data that the next step reads. Copies. */
  readonly load: (state: readonly Data[], data: readonly Data[]) => void
  readonly step: () => void
  /** The state's tensors in slot order: views, valid until the next `step` or `load`. */
  readonly state: () => readonly Data[]
  /** The last step's probe, likewise a view. */
  readonly probe: () => Data
}

/** The defining stepper: slow, for tests and for machines on which no backend passes its self-test. */
export function interpretingStepper(graph: Graph): Stepper {
  let state: readonly Data[] = []
  let data: readonly Data[] = []
  let probe: Data = new Int32Array(0)
  return {
    load: (s, d) => {
      state = s.map((t) => t.slice())
      data = d.map((t) => t.slice())
    },
    step: () => {
      const result = interpret(graph, [...state, ...data])
      state = result.next
      probe = result.probe
    },
    state: () => state,
    probe: () => probe,
  }
}
