// What an imported model computes, by the defining interpreter: outputs, gradients and running statistics as plain arrays.

import { allocate, type Data, type Expr, input, interpret, makeGraph, type Shape, type Slot, sizeOf } from '@bitloom/graph'
import { gradients } from '../grad.ts'
import { constant, full, total } from '../tensor.ts'
import type { Imported } from './import.ts'

export type Evaluated = {
  readonly outputs: Readonly<Record<string, number[]>>
  readonly updates: Readonly<Record<string, number[]>>
  /** Of the sum of the first output. */
  readonly gradients: Readonly<Record<string, number[]>>
}

/** Evaluates a model with the weights of its file. */
export function evaluated(model: Imported, given: Readonly<Record<string, ArrayLike<number>>> = {}, training = false, step = 0): Evaluated {
  const slots: Slot[] = []
  const data: Data[] = []
  const named = new Map<string, Expr>()
  const place = (key: string, kind: Slot['kind'], dtype: 'f32' | 'i32', shape: Shape, tensor: Data): void => {
    named.set(key, input(slots.length, dtype, shape))
    slots.push({ name: `s${slots.length}`, kind, dtype, shape })
    data.push(tensor)
  }
  const typed = (dtype: string, values: ArrayLike<number>): Data => (dtype === 'f32' ? Float32Array.from(values) : Int32Array.from(values))
  const read =
    (kind: string) =>
    (name: string): Expr => {
      const e = named.get(`${kind} ${name}`)
      if (!e) throw new Error(`there is no ${kind} ${name}`)
      return e
    }
  // results are state slots, which come first; their shapes are known once the model has been applied to stand-ins
  const build = (results: readonly Expr[]): readonly [string, Expr][] => {
    slots.length = data.length = 0
    for (const e of results) place(`result ${slots.length}`, 'state', e.dtype as 'f32' | 'i32', e.shape, allocate(e.dtype, sizeOf(e.shape)))
    for (const p of model.parameters) place(`parameter ${p.name}`, 'data', 'f32', p.shape, p.initial as Float32Array)
    for (const p of model.inputs)
      place(`input ${p.name}`, 'data', p.dtype, p.shape, typed(p.dtype, given[p.name] ?? new Float32Array(sizeOf(p.shape))))
    for (const c of model.constants) place(`constant ${c.name}`, 'data', c.dtype as 'f32' | 'i32', c.shape, c.data)
    const run = model.apply({
      parameter: read('parameter'),
      input: read('input'),
      constant: read('constant'),
      training,
      random: (stream) => [constant(stream, 'i32'), constant(7, 'i32')],
      step: constant(step, 'i32'),
    })
    const first = run.outputs[model.outputs[0].name]
    const targets = [...model.parameters.map((p) => p.name), ...model.inputs.filter((p) => p.dtype === 'f32').map((p) => p.name)]
    const of = [
      ...model.parameters.map((p) => read('parameter')(p.name)),
      ...model.inputs.filter((p) => p.dtype === 'f32').map((p) => read('input')(p.name)),
    ]
    const grads = first.dtype === 'f32' ? gradients(total(first), of) : of.map((e) => full(e.shape, 0))
    return [
      ...Object.entries(run.outputs).map(([name, e]): [string, Expr] => [`output ${name}`, e]),
      ...Object.entries(run.updates).map(([name, e]): [string, Expr] => [`update ${name}`, e]),
      ...targets.map((name, i): [string, Expr] => [`gradient ${name}`, grads[i]]),
    ]
  }
  const results = build(build([]).map(([, e]) => e))
  const graph = makeGraph(
    slots,
    results.map(([, e]) => e),
    constant(0, 'i32'),
  )
  const next = interpret(graph, data).next
  const pick = (kind: string): Record<string, number[]> =>
    Object.fromEntries(results.flatMap(([key], i) => (key.startsWith(`${kind} `) ? [[key.slice(kind.length + 1), [...next[i]]]] : [])))
  return { outputs: pick('output'), updates: pick('update'), gradients: pick('gradient') }
}
