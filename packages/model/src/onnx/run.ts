// One pass over an imported model's nodes: values flow along the edges, known ones are computed, the others are written as exprs.

import { type Expr, sizeOf } from '@bitloom/graph'
import { derivativeOf } from '../derivative.ts'
import { RULES } from '../grad.ts'
import { STREAM } from '../random.ts'
import type { OnnxNode } from './decode.ts'
import { OnnxError } from './error.ts'
import { exprOf, type Table, valueOfClosed } from './known.ts'
import { opNode, type Stream } from './op.ts'
import { OPERATORS } from './ops/index.ts'
import { labelOf } from './order.ts'
import { isKnown, type Known, type Value } from './value.ts'

export type Run = {
  readonly outputs: Record<string, Expr>
  readonly updates: Record<string, Expr>
  readonly random: boolean
}

export type Execution = {
  readonly nodes: readonly OnnxNode[]
  readonly env: Map<string, Value>
  /** Parameters by their exprs. */
  readonly parameters: ReadonlyMap<Value, string>
  readonly training: boolean
  readonly store: (table: Table) => Expr
  /** Makes a parameter a constant, because an operator must know it; undefined where it is too large to be one. */
  readonly fix: (parameter: string) => Known | undefined
  readonly random: (stream: number) => Stream
  readonly warnings: Set<string>
  readonly running: Set<string>
  /** Takes the values that depend on nothing that is given later. */
  readonly folded: Map<string, Value>
  readonly outputs: readonly string[]
}

/** Runs the nodes over values; what fails does not stop the others, so that all of it can be said at once. */
export function execute(x: Execution): Run {
  const { env } = x
  const failed = new Set<string>()
  const problems: string[] = []
  const causes: unknown[] = []
  const updates: Record<string, Expr> = {}
  let streams = 0
  const toExpr = (v: Value): Expr => (isKnown(v) ? exprOf(v, x.store) : v)
  const toKnown = (v: Value): Known | undefined => {
    if (isKnown(v)) return v
    const name = x.parameters.get(v)
    if (name !== undefined) return x.fix(name)
    const closed = valueOfClosed(v)
    const leaves = closed ? undefined : parametersUnder(v, x.parameters)
    // computed from weights alone: they are constants of a formula, and the pass starts anew with them known
    if (leaves?.map(x.fix).every((k) => k !== undefined)) throw new Restart()
    return closed
  }
  const attempt = (label: string, f: () => void): boolean => {
    try {
      f()
      return true
    } catch (cause) {
      if (cause instanceof Restart) throw cause
      problems.push(`${label}: ${cause instanceof Error ? cause.message : cause}`)
      causes.push(cause)
      return false
    }
  }
  for (const node of x.nodes) {
    if (node.inputs.some((name) => failed.has(name))) {
      for (const name of node.outputs) failed.add(name)
      continue
    }
    const inputs = node.inputs.map((name) => (name === '' ? undefined : env.get(name)))
    const parameterAt = (name: string): string | undefined => x.parameters.get(env.get(name)!)
    const view = opNode(node, x.training, inputs, {
      toExpr,
      toKnown,
      running: (name) => {
        const parameter = parameterAt(name)
        if (parameter !== undefined) x.running.add(parameter)
      },
      update: (name, next) => {
        const parameter = parameterAt(name)
        if (parameter !== undefined) updates[parameter] = next
      },
      random: () => x.random(STREAM.dropout + streams++),
      warn: (message) => x.warnings.add(`${labelOf(node)}: ${message}`),
    })
    const done = attempt(labelOf(node), () => {
      const result = OPERATORS[operatorOf(node)](view)
      const values = Array.isArray(result) ? (result as readonly (Value | undefined)[]) : [result as Value]
      const closed = inputs.every((v) => v === undefined || isKnown(v))
      node.outputs.forEach((name, i) => {
        if (name === '') return
        const value = values[i]
        if (!value) throw new OnnxError(`output ${i} ("${name}") is not computed`)
        env.set(name, value)
        if (closed && isKnown(value)) x.folded.set(name, value)
      })
    })
    if (!done) for (const name of node.outputs) failed.add(name)
  }
  const outputs: Record<string, Expr> = {}
  for (const name of x.outputs)
    if (!failed.has(name))
      attempt(`output "${name}"`, () => {
        outputs[name] = toExpr(env.get(name)!)
      })
  if (problems.length > 0)
    throw new OnnxError(
      problems.length === 1 ? problems[0] : `${problems.length} operators cannot be imported:\n${listedLines(problems)}`,
      {
        cause: causes[0],
      },
    )
  return { outputs, updates, random: streams > 0 }
}

/** The parameters that an expr is computed from, if it is from nothing else. */
function parametersUnder(e: Expr, parameters: ReadonlyMap<Value, string>): string[] | undefined {
  const names = new Set<string>()
  const seen = new Set<Expr>()
  const stack = [e]
  for (let x = stack.pop(); x; x = stack.pop()) {
    if (seen.has(x)) continue
    seen.add(x)
    const name = parameters.get(x)
    if (name !== undefined) names.add(name)
    else if (x.op === 'input' || seen.size > 1024 || sizeOf(x.shape) > 4096) return undefined
    else stack.push(...x.inputs)
  }
  return [...names]
}

/** Every expr that gradients of `outputs` reach. */
export function smoothReach(outputs: readonly Expr[]): Set<Expr> {
  const reached = new Set<Expr>()
  const stack = [...outputs]
  for (let e = stack.pop(); e; e = stack.pop()) {
    if (e.dtype !== 'f32' || reached.has(e)) continue
    reached.add(e)
    const mark = derivativeOf(e)
    if (mark) stack.push(...mark.of)
    else if (typeof RULES[e.op] === 'function') stack.push(...e.inputs)
  }
  return reached
}

export const operatorOf = (node: OnnxNode): string => (node.domain === '' ? node.op : `${node.domain}.${node.op}`)

/** Lines that stay readable. */
export const listedLines = (lines: readonly string[], most = 40): string =>
  [...lines.slice(0, most), ...(lines.length > most ? [`and ${lines.length - most} more`] : [])].join('\n')

/** Something taken for a weight has turned out to be a constant: what was computed so far is void. */
export class Restart extends Error {
  override name = 'model.Restart'
}
