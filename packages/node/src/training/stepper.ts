// One graph being run step after step: what the roles need of an engine, and nothing more.

import type { Backend } from '@bitloom/engine'
import { type Data, fromBytes, type Graph, interpret, toBytes } from '@bitloom/graph'

/** Holds a state and steps it. Not shared: a stepper belongs to whoever loads it. */
export type Stepper = {
  readonly graph: Graph
  /** Sets the state, and the data where given, that the next step reads. Copies. */
  readonly load: (state: readonly Data[], data?: readonly Data[]) => void
  readonly step: () => void
  /** The state's tensors in slot order: views, overwritten by the next `step` or `load`. */
  readonly state: () => readonly Data[]
  /** The last step's probe. */
  readonly probe: () => Data
  /** Writes one 32-bit word of a state slot: only for a cheat. */
  readonly poke: (slot: number, element: number, word: number) => void
  /** Lets go of its memory; it cannot step again. */
  readonly close: () => void
}

/** A stepper on a backend. */
export function engineStepper(backend: Backend, graph: Graph): Stepper {
  const program = backend.compile(graph)
  const states = graph.next.length
  const write = (first: number, tensors: readonly Data[]): void => {
    for (const [s, tensor] of tensors.entries()) program.write(first + s, toBytes(tensor))
  }
  return {
    graph,
    load: (state, data) => {
      write(0, state)
      if (data) write(states, data)
    },
    step: () => program.step(),
    state: () => graph.next.map((_, s) => fromBytes(graph.slots[s]!.dtype, program.read(s))),
    probe: () => fromBytes(graph.exprs[graph.probe]!.dtype, program.probe()),
    poke: (slot, element, word) => {
      const bytes = program.read(slot).slice()
      new DataView(bytes.buffer).setUint32(4 * element, word, true)
      program.write(slot, bytes)
    },
    close: () => program.close(),
  }
}

/** The defining stepper: slow, for tests and for machines on which no backend passes its self-test. */
export const interpretingStepper = (graph: Graph): Stepper => {
  let state: Data[] = []
  let data: readonly Data[] = []
  let probe: Data = new Int32Array(0)
  return {
    graph,
    load: (s, d) => {
      state = s.map((t) => t.slice())
      if (d) data = d.map((t) => t.slice())
    },
    step: () => {
      const result = interpret(graph, [...state, ...data])
      state = result.next.map((t) => t.slice())
      probe = result.probe
    },
    state: () => state,
    probe: () => probe,
    poke: (slot, element, word) => {
      const tensor = state[slot]!
      new DataView(tensor.buffer, tensor.byteOffset).setUint32(4 * element, word, true)
    },
    close: () => undefined,
  }
}
