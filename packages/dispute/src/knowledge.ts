// What a player knows of the disputed segment: its own run, computed again from the segment's first checkpoint, only as far as it is asked for.

import {
  type Data,
  fromBytes,
  type Graph,
  itemsRoot,
  merkleTree,
  type StepResult,
  stateSlots,
  type Tree,
  tensorRoot,
  toBytes,
  type Visit,
} from '@bitloom/graph'
import { nextProbe, PROBE_START, tensorRoots } from './commit.ts'
import { leafOf } from './leaf.ts'
import { identity, scalarStep, terms } from './scalar.ts'
import { type Evaluate, recordTrace, type Trace } from './trace.ts'
import { reader } from './witness.ts'

/** Where a run stands after some steps of the segment: what a moment is the hash of. */
export type Parts = { readonly stateRoot: Uint8Array; readonly chain: Uint8Array }

/** One's own run of one segment. Steps are counted within it: moment 0 is its start. */
export type Knowledge = {
  readonly graph: Graph
  /** The state root and probe chain before step `step` (of the last one: after the segment). */
  readonly parts: (step: number) => Parts
  /** The tree over the state slots' tensor roots before step `step`. */
  readonly stateTree: (step: number) => Tree
  /** The tree over the data slots' tensor roots. */
  readonly dataTree: Tree
  /** The trace of step `step`. */
  readonly trace: (step: number) => Trace
  /** The accumulators before term 0, 1, … and after the last of one element of an expr of step `step`. */
  readonly accumulators: (step: number, expr: number, element: number) => Uint32Array
}

/** One step of a run by its number within the segment; a run that is not the same at every step is a cheat's (alter.ts). */
export type Stepper = (step: number, slots: readonly Data[], visit?: Visit) => StepResult

export type Replay = {
  readonly graph: Graph
  /** The slots before the segment's first step: state, then data. They must not change while the knowledge is in use. */
  readonly slots: readonly Data[]
  readonly steps: number
  readonly evaluate: Evaluate
  /** What ran, where it was not `evaluate` at every step. */
  readonly stepper?: Stepper
  /** The parts of moments 0 … steps, where they were recorded while the segment ran: saves running it whole once more. */
  readonly parts?: readonly Parts[]
}

/** Knowledge of a segment by running it again when asked. Holds one state and one trace at a time, and 64 bytes a step. */
export function replay(options: Replay): Knowledge {
  const { graph, slots, steps, evaluate } = options
  const stepper: Stepper = options.stepper ?? ((_, s, visit) => evaluate(graph, s, visit))
  const count = stateSlots(graph)
  const data = slots.slice(count)
  const dataRoots = tensorRoots(data)
  let parts = options.parts
  let at = { step: 0, state: slots.slice(0, count) }
  let traced: { readonly step: number; readonly trace: Trace } | undefined

  const advance = (from: typeof at): { readonly after: typeof at; readonly probe: Data } => {
    const { next, probe } = stepper(from.step, [...from.state, ...data])
    // Copies: an engine may hand out views of the memory that its next step writes to.
    return { after: { step: from.step + 1, state: next.map((t) => t.slice()) }, probe }
  }
  const stateAt = (step: number): readonly Data[] => {
    if (step > steps) throw new RangeError(`step ${step} of a segment of ${steps}`)
    if (step < at.step) at = { step: 0, state: slots.slice(0, count) }
    while (at.step < step) at = advance(at).after
    return at.state
  }
  const run = (): readonly Parts[] => {
    let here = { step: 0, state: slots.slice(0, count) }
    let chain = PROBE_START
    const all: Parts[] = [{ stateRoot: itemsRoot(tensorRoots(here.state)), chain }]
    while (here.step < steps) {
      const { after, probe } = advance(here)
      chain = nextProbe(chain, tensorRoot(toBytes(probe)))
      here = after
      all.push({ stateRoot: itemsRoot(tensorRoots(here.state)), chain })
    }
    return all
  }
  const trace = (step: number): Trace => {
    if (traced?.step !== step) {
      const evaluateStep: Evaluate = (_, s, visit) => stepper(step, s, visit)
      traced = { step, trace: recordTrace(graph, [...stateAt(step), ...data], evaluateStep) }
    }
    return traced.trace
  }
  return {
    graph,
    parts: (step) => (parts ??= run())[step]!,
    stateTree: (step) => merkleTree(tensorRoots(stateAt(step))),
    dataTree: merkleTree(dataRoots.length > 0 ? dataRoots : [new Uint8Array(32)]),
    trace,
    accumulators: (step, expr, element) => accumulatorsOf(graph, expr, element, trace(step).tensor),
  }
}

/** The accumulators of a fold: identity, then one after each term; the last is the element as `tensor(expr)` has it. */
function accumulatorsOf(graph: Graph, expr: number, element: number, tensor: (at: number) => Uint8Array): Uint32Array {
  const leaf = leafOf(graph, expr)
  const read = reader(leaf, (k) => tensor(leaf.positions[k]!))
  const count = terms(leaf)
  const accumulators = new Uint32Array(count + 1)
  accumulators[0] = identity(leaf)
  for (let term = 0; term < count; term++) accumulators[term + 1] = scalarStep(leaf, element, term, accumulators[term]!, read)
  accumulators[count] = elementOf(graph, expr, element, tensor(expr))
  return accumulators
}

/** The word of one element of an expr's tensor. */
export function elementOf(graph: Graph, expr: number, element: number, bytes: Uint8Array): number {
  const { dtype } = graph.exprs[expr]!
  if (dtype === 'u8') return bytes[element]!
  return (fromBytes('i32', bytes.slice(4 * element, 4 * element + 4)) as Int32Array)[0]! >>> 0
}
