// A graph that applies a trained model to data and trains nothing: what accuracy and loss are measured with, by any evaluator.

import { allocate, type Data, type Expr, type Graph, input, makeGraph, type Shape, type Slot, sizeOf } from '@bitloom/graph'
import type { Lookup } from './nn.ts'
import type { DataTensor } from './step.ts'
import { full } from './tensor.ts'

/** One output of an evaluation. */
export type Output = { readonly name: string; readonly value: Expr }

/** A graph whose state slots are the parameters (which it leaves alone) and the outputs, and whose data slots are the data. */
export type Evaluation = {
  readonly graph: Graph
  /** The slots' tensors for these parameters and data. */
  readonly slots: (parameters: readonly Data[], data: readonly Data[]) => Data[]
  /** An output's tensor among the graph's next state. */
  readonly read: (next: readonly Data[], name: string) => Data
}

/** The evaluation of `outputs` of parameters and data. */
export function evaluation(
  parameters: readonly { readonly name: string; readonly shape: Shape }[],
  data: readonly Omit<DataTensor, 'data'>[],
  outputs: (read: Lookup) => readonly Output[],
): Evaluation {
  const inputs = new Map<string, Expr>()
  const read: Lookup = (name) => {
    const e = inputs.get(name)
    if (!e) throw new EvaluationError(`there is no slot "${name}"; the slots are ${[...inputs.keys()].join(', ')}`)
    return e
  }
  // outputs are state slots too, so their number must be known before the data slots get theirs
  const build = (reserved: number): readonly Output[] => {
    parameters.forEach((p, at) => {
      inputs.set(p.name, input(at, 'f32', p.shape))
    })
    data.forEach((d, at) => {
      inputs.set(d.name, input(parameters.length + reserved + at, d.dtype, d.shape))
    })
    return outputs(read)
  }
  const results = build(build(0).length)
  const slots: Slot[] = [
    ...parameters.map(({ name, shape }): Slot => ({ name, kind: 'state', dtype: 'f32', shape })),
    ...results.map(({ name, value }): Slot => ({ name, kind: 'state', dtype: value.dtype, shape: value.shape })),
    ...data.map(({ name, dtype, shape }): Slot => ({ name, kind: 'data', dtype, shape })),
  ]
  const graph = makeGraph(slots, [...parameters.map((p) => read(p.name)), ...results.map((r) => r.value)], full([1], 0, 'i32'))
  return {
    graph,
    slots: (given, tensors) => [...given, ...results.map((r) => allocate(r.value.dtype, sizeOf(r.value.shape))), ...tensors],
    read: (next, name) => {
      const at = results.findIndex((r) => r.name === name)
      if (at < 0) throw new EvaluationError(`there is no output "${name}"; the outputs are ${results.map((r) => r.name).join(', ')}`)
      return next[parameters.length + at]
    },
  }
}

export class EvaluationError extends Error {
  override name = 'model.EvaluationError'
}
