// Runs ONNX's backend test cases (model.onnx, test_data_set_*/{input,output}_N.pb) through the importer and the interpreter: `npm run onnx-node -- DIR [--json FILE] [--gradients]`.
//
// A case passes where every output has the expected shape and is within ONNX's own tolerance, |ours - theirs| ≤ 1e-7 + 1e-3·|theirs|; integers are held to it too.
// With --gradients the gradients that the project makes of each case are held to float64 differences too.
// Inputs are the model's inputs at run time; one that an operator must know beforehand (a shape, axes, k) is bound as known, and the result says so.

import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type Data, type Expr, sizeOf } from '@bitloom/graph'
import { decodeModel, OnnxError, type OnnxModel, type OnnxTensor } from '@bitloom/model/onnx/decode'
import { OPERATORS } from '@bitloom/model/onnx/ops/index'
import { knownOf } from '@bitloom/model/onnx/value'
import { casesUnder, importedFor, inTraining, outputsOf, setsOf, tensorsOf, wrongGradient } from './onnx-case.ts'
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

function judge(dir: string, gradients: boolean): Verdict {
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
  const sets = setsOf(dir)
  if (sets.length === 0) return { ...about, result: 'skip', reason: 'no test_data_set beside the model' }
  try {
    for (const set of sets) {
      const [inputs, outputs] = [tensorsOf(join(dir, set), 'input'), tensorsOf(join(dir, set), 'output')]
      if (outputs.length === 0) throw new Error(`${set} holds no output to compare with`)
      const reason = skipOf(model, [...inputs, ...outputs])
      if (reason) return { ...about, result: 'skip', reason }
      const given = new Map(model.inputs.map((v, i) => [v.name, inputs[i]]))
      const bound = importedFor(model, given)
      for (const k of bound.known) known.add(k)
      const ours = outputsOf(bound.imported, inTraining(model, given), given)
      const wrong = outputs.map((t, i) => difference(ours[i], t, model.outputs[i].name)).find((w) => w !== undefined)
      const verdict = wrong ?? (gradients ? wrongGradient(bound.imported, inTraining(model, given), given) : undefined)
      if (verdict) return { ...about, result: 'fail', reason: `${set}: ${verdict}` }
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
      'usage: npm run onnx-node -- DIR [--json FILE] [--gradients]\nDIR holds test cases, each a folder with model.onnx and test_data_set_0; Debian: libonnx-testdata.',
    )
    return 2
  }
  if (!existsSync(dir) || !statSync(dir).isDirectory()) {
    console.error(`there is no folder ${dir}`)
    return 2
  }
  const verdicts = casesUnder(dir)
    .sort()
    .map((d) => judge(d, args.includes('--gradients')))
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
  const counts = (of: readonly Verdict[]) => ({ pass: count(of, 'pass'), fail: count(of, 'fail'), skip: count(of, 'skip') })
  const table = { tolerance: { relative: RELATIVE, absolute: ABSOLUTE }, all: counts(verdicts), promised: counts(listed), verdicts }
  if (file) writeFileSync(file, `${JSON.stringify(table, undefined, 1)}\n`)
  return count(verdicts, 'fail') > 0 ? 1 : 0
}

process.exitCode = main(process.argv.slice(2))
