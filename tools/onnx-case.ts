// One of ONNX's backend test cases: its files, the model imported for them, and the graph that computes its outputs or their gradients.

import { existsSync, readdirSync, readFileSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { allocate, type Data, type Expr, type Graph, input, interpret, makeGraph, type Slot, sizeOf } from '@bitloom/graph'
import { add, cast, constant, div, gradients, mul, range, remu, reshape, sub, sum } from '@bitloom/model'
import { inFloat64 } from '@bitloom/model/float64'
import { OnnxError, type OnnxModel, type OnnxTensor } from '@bitloom/model/onnx/decode'
import { type Imported, importModel } from '@bitloom/model/onnx/import'
import { decodeTensor } from '@bitloom/model/onnx/tensorproto'
import { knownOf } from '@bitloom/model/onnx/value'

/** What a model is given, by name. */
export type Given = ReadonlyMap<string, OnnxTensor>

/** Every folder under `dir` that holds a model and data for it. */
export function casesUnder(dir: string): string[] {
  const entries = readdirSync(dir, { withFileTypes: true })
  if (entries.some((e) => e.name === 'model.onnx')) return [dir]
  return entries.flatMap((e) => (statSync(join(dir, e.name)).isDirectory() ? casesUnder(join(dir, e.name)) : []))
}

export const setsOf = (dir: string): string[] => readdirSync(dir).filter((name) => name.startsWith('test_data_set_'))

/** `input_0.pb`, `input_1.pb`, … in order. */
export function tensorsOf(dir: string, kind: 'input' | 'output'): OnnxTensor[] {
  const tensors: OnnxTensor[] = []
  for (let i = 0; existsSync(join(dir, `${kind}_${i}.pb`)); i++)
    tensors.push(decodeTensor(new Uint8Array(readFileSync(join(dir, `${kind}_${i}.pb`)))))
  return tensors
}

/** Whether the file itself says that it is in training mode. */
export function inTraining(model: OnnxModel, given: Given): boolean {
  return model.nodes.some((n) => {
    const mode = n.op === 'Dropout' ? (given.get(n.inputs[2]) ?? model.initializers.get(n.inputs[2])) : undefined
    return n.attributes.training_mode === 1 || (mode !== undefined && Number(mode.data[0]) !== 0)
  })
}

/** Imports the model; where an operator must know an input, that one is bound and the import tried again. */
export function importedFor(model: OnnxModel, given: Given): { readonly imported: Imported; readonly known: readonly string[] } {
  const known = new Set<string>()
  for (;;) {
    const open = [...given].filter(([name]) => !known.has(name))
    try {
      const imported = importModel(model, {
        inputs: Object.fromEntries(open.map(([name, t]) => [name, t.shape])),
        values: Object.fromEntries([...given].filter(([name]) => known.has(name))),
      })
      return { imported, known: [...known] }
    } catch (error) {
      const message = error instanceof OnnxError && error.message.includes('must be known') ? error.message : ''
      const named = [...message.matchAll(/input \d+ \("([^"]*)"\) must be known/g)].map((m) => m[1])
      const direct = open.map(([name]) => name).filter((name) => named.includes(name))
      // what must be known may be computed from a count that the model is given
      const integers = open.filter(([, t]) => !(t.data instanceof Float32Array)).map(([name]) => name)
      const more = message === '' || direct.length > 0 ? direct : integers
      if (more.length === 0) throw error
      for (const name of more) known.add(name)
    }
  }
}

type Leaf = { readonly name: string; readonly dtype: 'f32' | 'i32' | 'u8'; readonly shape: readonly number[]; readonly data: Data }

/** Parameters, tables and inputs of an imported model with their elements. */
function leavesOf(m: Imported, given: Given): Leaf[] {
  return [
    ...m.parameters.map((p) => ({ name: `p ${p.name}`, dtype: 'f32' as const, shape: p.shape, data: p.initial as Data })),
    ...m.constants.map((c) => ({ name: `c ${c.name}`, dtype: c.dtype, shape: c.shape, data: c.data })),
    ...m.inputs.map((p) => ({ name: `i ${p.name}`, dtype: p.dtype, shape: p.shape, data: elementsOf(p.dtype, given.get(p.name)!) })),
  ]
}

function elementsOf(dtype: 'f32' | 'i32', t: OnnxTensor): Data {
  const { values } = knownOf(t)
  return dtype === 'f32' ? Float32Array.from(values) : Int32Array.from(values)
}

/** A graph of what `results` makes of the model's outputs and leaves, and its slots' elements. */
function graphOf(
  m: Imported,
  training: boolean,
  leaves: readonly Leaf[],
  results: (outputs: readonly Expr[], inputs: readonly Expr[]) => readonly Expr[],
): { readonly graph: Graph; readonly results: readonly Expr[]; readonly slots: Data[] } {
  const build = (reserved: number): readonly Expr[] => {
    const inputs = leaves.map((t, i) => input(reserved + i, t.dtype, t.shape))
    const lookup = (prefix: string) => (name: string) => inputs[leaves.findIndex((t) => t.name === `${prefix} ${name}`)]
    const { outputs } = m.apply({
      parameter: lookup('p'),
      input: lookup('i'),
      constant: lookup('c'),
      training,
      random: () => [constant(1, 'i32'), constant(2, 'i32')] as const,
    })
    return results(
      m.outputs.map((o) => outputs[o.name]),
      inputs,
    )
  }
  const exprs = build(build(0).length)
  const slots: Slot[] = [
    ...exprs.map((e, i): Slot => ({ name: `y${i}`, kind: 'state', dtype: e.dtype, shape: e.shape })),
    ...leaves.map((t, i): Slot => ({ name: `x${i}`, kind: 'data', dtype: t.dtype, shape: t.shape })),
  ]
  const blank = exprs.map((e) => allocate(e.dtype, sizeOf(e.shape)))
  return { graph: makeGraph(slots, exprs, constant(0, 'i32')), results: exprs, slots: [...blank, ...leaves.map((t) => t.data)] }
}

/** The model's outputs for what it is given, in the file's order. */
export function outputsOf(m: Imported, training: boolean, given: Given): { readonly expr: Expr; readonly data: Data }[] {
  const { graph, results, slots } = graphOf(m, training, leavesOf(m, given), (outputs) => outputs)
  const { next } = interpret(graph, slots)
  return results.map((expr, i) => ({ expr, data: next[i] }))
}

const STEP = 2 ** -12
/** Elements of each tensor whose gradient is looked at. */
const SAMPLES = 12

/**
 * What is wrong with the gradient of Σ y·cotangent, both in float64: against central differences, wherever those to both sides and over half the step agree (not
 * on an edge of a piecewise function); undefined where nothing is.
 */
export function wrongGradient(m: Imported, training: boolean, given: Given): string | undefined {
  const leaves = leavesOf(m, given)
  const targets = leaves.flatMap((t, i) => (t.dtype === 'f32' && t.data.every((x) => Number.isFinite(x)) ? [i] : []))
  const loss = (outputs: readonly Expr[]): Expr =>
    outputs
      .filter((y) => y.dtype === 'f32')
      .map((y, k) => sum(mul(reshape(y, [sizeOf(y.shape)]), cotangent(sizeOf(y.shape), k))))
      .reduce((a, b) => add(a, b), constant(0))
  const derived = graphOf(m, training, leaves, (outputs, inputs) => {
    const total = loss(outputs)
    return [
      total,
      ...gradients(
        total,
        targets.map((t) => inputs[t]),
      ),
    ]
  })
  const value = graphOf(m, training, leaves, (outputs) => [loss(outputs)])
  const [, ...found] = inFloat64(derived.graph)(derived.slots)
  const run = inFloat64(value.graph)
  const centre = run(value.slots)[0][0]
  for (const [k, t] of targets.entries()) {
    const { name, data } = leaves[t]
    const scale = found[k].reduce((a, x) => Math.max(a, Math.abs(x)), 1)
    for (let s = 0; s < Math.min(SAMPLES, data.length); s++) {
      const i = Math.floor((s * data.length) / Math.min(SAMPLES, data.length))
      const moved = (by: number): number =>
        run(value.slots.map((d, j) => (j === t + 1 ? Float64Array.from(d, (x, q) => (q === i ? x + by : x)) : d)))[0][0]
      const [ahead, behind] = [(moved(STEP) - centre) / STEP, (centre - moved(-STEP)) / STEP]
      const nearer = ((moved(STEP / 2) - centre) * 2) / STEP
      if (!(Math.abs(ahead - behind) < 1e-2 * scale && Math.abs(ahead - nearer) < 1e-2 * scale)) continue
      const by = (ahead + behind) / 2
      if (!(Math.abs(found[k][i] - by) <= 1e-4 * scale))
        return `gradient of "${name.slice(2)}"[${i}] is ${found[k][i]}, by differences ${by}`
    }
  }
  return undefined
}

/** Sixteenths between -1 and 1 that follow no axis. */
const cotangent = (n: number, k: number): Expr => div(sub(cast(remu(add(mul(range(n), 37), 5 + k), 31), 'f32'), 15), 16)
