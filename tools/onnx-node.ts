// Runs ONNX's backend test cases (model.onnx, test_data_set_*/{input,output}_N.pb) through the importer and the interpreter: `npm run onnx-node -- DIR [--json FILE]`.
//
// A case passes where every output has the expected shape and is within ONNX's own tolerance, |ours - theirs| ≤ 1e-7 + 1e-3·|theirs|; integers are held to it too.
// Inputs are the model's inputs at run time; one that an operator must know beforehand (a shape, axes, k) is bound as known, and the result says so.

import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { allocate, type Data, type Expr, input, interpret, makeGraph, type Slot, sizeOf } from '@bitloom/graph'
import { constant } from '@bitloom/model'
import { decodeModel, OnnxError, type OnnxModel, type OnnxTensor } from '@bitloom/model/onnx/decode'
import { type Imported, importModel } from '@bitloom/model/onnx/import'
import { OPERATORS } from '@bitloom/model/onnx/ops/index'
import { decodeTensor } from '@bitloom/model/onnx/tensorproto'
import { knownOf } from '@bitloom/model/onnx/value'
import { CASES_SKIPPED, ELEMENTS_SKIPPED, LISTED, OPERATORS_SKIPPED } from './onnx-skips.ts'

type Verdict = {
  readonly case: string
  readonly operators: readonly string[]
  readonly result: 'pass' | 'fail' | 'skip'
  /** One node of an operator that the project promises. */
  readonly listed: boolean
  readonly reason?: string
  /** Inputs that were bound before the import. */
  readonly known?: readonly string[]
}

const RELATIVE = 1e-3
const ABSOLUTE = 1e-7

/** Every folder under `dir` that holds a model and data for it. */
function casesUnder(dir: string): string[] {
  const entries = readdirSync(dir, { withFileTypes: true })
  if (entries.some((e) => e.name === 'model.onnx')) return [dir]
  return entries.filter((e) => e.isDirectory()).flatMap((e) => casesUnder(join(dir, e.name)))
}

const setsOf = (dir: string): string[] => readdirSync(dir).filter((name) => name.startsWith('test_data_set_'))

/** `input_0.pb`, `input_1.pb`, … in order; a missing file is an input that is left out. */
function tensorsOf(dir: string, kind: 'input' | 'output'): OnnxTensor[] {
  const tensors: OnnxTensor[] = []
  for (let i = 0; existsSync(join(dir, `${kind}_${i}.pb`)); i++)
    tensors.push(decodeTensor(new Uint8Array(readFileSync(join(dir, `${kind}_${i}.pb`)))))
  return tensors
}

/** Whether the file itself says that it is in training mode. */
function inTraining(model: OnnxModel, given: ReadonlyMap<string, OnnxTensor>): boolean {
  return model.nodes.some((n) => {
    const mode = n.op === 'Dropout' ? (given.get(n.inputs[2]) ?? model.initializers.get(n.inputs[2])) : undefined
    return n.attributes.training_mode === 1 || (mode !== undefined && Number(mode.data[0]) !== 0)
  })
}

/** Imports the model; where an operator must know an input, that one is bound and the import tried again. */
function imported(model: OnnxModel, given: ReadonlyMap<string, OnnxTensor>): { model: Imported; known: string[] } {
  const known = new Set<string>()
  for (;;) {
    const open = [...given].filter(([name]) => !known.has(name))
    try {
      const result = importModel(model, {
        inputs: Object.fromEntries(open.map(([name, t]) => [name, t.shape])),
        values: Object.fromEntries([...given].filter(([name]) => known.has(name))),
      })
      return { model: result, known: [...known] }
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

/** The model's outputs for these inputs, in the file's order. */
function outputsOf(m: Imported, training: boolean, given: ReadonlyMap<string, OnnxTensor>): { expr: Expr; data: Data }[] {
  const tensors = [
    ...m.parameters.map((p) => ({ name: `p ${p.name}`, dtype: 'f32' as const, shape: p.shape, data: p.initial as Data })),
    ...m.constants.map((c) => ({ name: `c ${c.name}`, dtype: c.dtype, shape: c.shape, data: c.data })),
    ...m.inputs.map((p) => ({ name: `i ${p.name}`, dtype: p.dtype, shape: p.shape, data: ofDtype(p.dtype, given.get(p.name)!) })),
  ]
  const build = (reserved: number): Expr[] => {
    const lookup = (prefix: string) => (name: string) => {
      const at = tensors.findIndex((t) => t.name === `${prefix} ${name}`)
      return input(reserved + at, tensors[at].dtype, tensors[at].shape)
    }
    const context = {
      parameter: lookup('p'),
      input: lookup('i'),
      constant: lookup('c'),
      training,
      random: () => [constant(1, 'i32'), constant(2, 'i32')] as const,
    }
    const { outputs } = m.apply(context)
    return m.outputs.map((o) => outputs[o.name])
  }
  const exprs = build(build(0).length)
  const slots: Slot[] = [
    ...exprs.map((e, i): Slot => ({ name: `y${i}`, kind: 'state', dtype: e.dtype, shape: e.shape })),
    ...tensors.map((t, i): Slot => ({ name: `x${i}`, kind: 'data', dtype: t.dtype, shape: t.shape })),
  ]
  const graph = makeGraph(slots, exprs, constant(0, 'i32'))
  const { next } = interpret(graph, [...exprs.map((e) => allocate(e.dtype, sizeOf(e.shape))), ...tensors.map((t) => t.data)])
  return exprs.map((expr, i) => ({ expr, data: next[i] }))
}

function ofDtype(dtype: 'f32' | 'i32', t: OnnxTensor): Data {
  const { values } = knownOf(t)
  return dtype === 'f32' ? Float32Array.from(values) : Int32Array.from(values)
}

/** What is wrong with an output, or undefined. */
function difference(ours: { expr: Expr; data: Data }, theirs: OnnxTensor, name: string): string | undefined {
  const { values } = knownOf(theirs)
  if (`${ours.expr.shape}` !== `${theirs.shape}`) return `output "${name}" is [${ours.expr.shape}], not [${theirs.shape}]`
  const float = theirs.data instanceof Float32Array || theirs.data instanceof Float64Array
  if (float !== (ours.expr.dtype === 'f32')) return `output "${name}" is ${ours.expr.dtype}`
  const at = values.findIndex((v, i) => {
    const x = ours.data[i]
    return !(Object.is(x, v) || x === v || Math.abs(x - v) <= ABSOLUTE + RELATIVE * Math.abs(v))
  })
  return at < 0 ? undefined : `output "${name}"[${at}] is ${ours.data[at]}, not ${values[at]}`
}

/** Why a case is not run, from the tables of onnx-skips.ts. */
function skipOf(model: OnnxModel, tensors: readonly OnnxTensor[]): string | undefined {
  const operator = model.nodes.map((n) => n.op).find((op) => Object.hasOwn(OPERATORS_SKIPPED, op))
  if (operator) return `${operator}: ${OPERATORS_SKIPPED[operator]}`
  const elements = [...tensors, ...model.inputs, ...model.outputs, ...model.initializers.values()].map((t) => t.element)
  const element = elements.find((e) => Object.hasOwn(ELEMENTS_SKIPPED, e))
  if (element !== undefined) return ELEMENTS_SKIPPED[element]
  if (tensors.some((t) => t.shape.length > 6)) return 'a tensor of more than six axes: the protocol has six'
  if (tensors.some((t) => sizeOf(t.shape) === 0)) return 'a tensor without elements: every axis of a graph has at least one'
  return undefined
}

function judge(dir: string): Verdict {
  const name = basename(dir)
  let model: OnnxModel
  try {
    model = decodeModel(new Uint8Array(readFileSync(join(dir, 'model.onnx'))))
  } catch (error) {
    const reason = CASES_SKIPPED[name] ?? (error as Error).message.split('\n')[0]
    return { case: name, operators: [], result: Object.hasOwn(CASES_SKIPPED, name) ? 'skip' : 'fail', listed: false, reason }
  }
  const operators = [...new Set(model.nodes.map((n) => n.op))]
  const about = { case: name, operators, listed: model.nodes.length === 1 && LISTED.has(operators[0]) }
  const known = new Set<string>()
  if (Object.hasOwn(CASES_SKIPPED, name)) return { ...about, result: 'skip', reason: CASES_SKIPPED[name] }
  try {
    for (const set of setsOf(dir)) {
      const [inputs, outputs] = [tensorsOf(join(dir, set), 'input'), tensorsOf(join(dir, set), 'output')]
      const reason = skipOf(model, [...inputs, ...outputs])
      if (reason) return { ...about, result: 'skip', reason }
      const given = new Map(model.inputs.map((v, i) => [v.name, inputs[i]]))
      const bound = imported(model, given)
      for (const k of bound.known) known.add(k)
      const ours = outputsOf(bound.model, inTraining(model, given), given)
      const wrong = outputs.map((t, i) => difference(ours[i], t, model.outputs[i].name)).find((w) => w !== undefined)
      if (wrong) return { ...about, result: 'fail', reason: `${set}: ${wrong}` }
    }
  } catch (error) {
    const missing = operators.filter((op) => !Object.hasOwn(OPERATORS, op) && !LISTED.has(op))
    const beyond = error instanceof OnnxError && !operators.some((op) => LISTED.has(op))
    const reason = error instanceof Error ? `${error.name}: ${error.message}` : `${error}`
    const element = /element type (\d+) is not read/.exec(reason)?.[1]
    if (element && Object.hasOwn(ELEMENTS_SKIPPED, element)) return { ...about, result: 'skip', reason: ELEMENTS_SKIPPED[Number(element)] }
    if (missing.length > 0) return { ...about, result: 'skip', reason: `operators that are not promised: ${missing.join(', ')}` }
    return beyond ? { ...about, result: 'skip', reason: `refused: ${reason}` } : { ...about, result: 'fail', reason }
  }
  return { ...about, result: 'pass', ...(known.size > 0 ? { known: [...known] } : {}) }
}

function main(args: readonly string[]): number {
  const at = args.indexOf('--json')
  const file = at < 0 ? undefined : args[at + 1]
  const dir = args.find((a, i) => !a.startsWith('--') && (at < 0 || i !== at + 1))
  if (!dir || (at >= 0 && !file)) {
    console.error(
      'usage: npm run onnx-node -- DIR [--json FILE]\nDIR holds test cases, each a folder with model.onnx and test_data_set_0; Debian: libonnx-testdata.',
    )
    return 2
  }
  const verdicts = casesUnder(dir).sort().map(judge)
  if (verdicts.length === 0) {
    console.error(`there is no folder with a model.onnx under ${dir}`)
    return 2
  }
  for (const v of verdicts) if (v.result === 'fail') console.log(`fail ${v.case}: ${v.reason?.split('\n')[0]}`)
  const count = (of: readonly Verdict[], result: Verdict['result']): number => of.filter((v) => v.result === result).length
  const reasons = new Map<string, number>()
  for (const v of verdicts) if (v.result === 'skip') reasons.set(v.reason!, (reasons.get(v.reason!) ?? 0) + 1)
  for (const [reason, n] of [...reasons].sort((a, b) => b[1] - a[1])) console.log(`skip ${n}: ${reason}`)
  const listed = verdicts.filter((v) => v.listed)
  const tell = (what: string, of: readonly Verdict[]): string =>
    `${what}: ${count(of, 'pass')} pass, ${count(of, 'fail')} fail, ${count(of, 'skip')} skipped`
  console.log(tell('one node of a promised operator', listed))
  console.log(tell('all cases', verdicts))
  if (file) writeFileSync(file, `${JSON.stringify({ tolerance: { relative: RELATIVE, absolute: ABSOLUTE }, verdicts }, undefined, 1)}\n`)
  return count(verdicts, 'fail') > 0 ? 1 : 0
}

process.exitCode = main(process.argv.slice(2))
