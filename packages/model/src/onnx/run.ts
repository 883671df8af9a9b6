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
import { branchesOf, isBranch, labelOf, orderOf } from './order.ts'
import { nearestWayOut } from './unsupported.ts'
import { isKnown, type Known, knownOf, type Value } from './value.ts'

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

/** Names in a graph, or in one inside of it, which sees those around it. */
type Scope = { readonly get: (name: string) => Value | undefined; readonly set: (name: string, value: Value) => void }

const scopeOf = (env: Map<string, Value>, around?: Scope): Scope => ({
  get: (name) => env.get(name) ?? around?.get(name),
  set: (name, value) => void env.set(name, value),
})

/** Runs the nodes over values; what fails does not stop the others, so that all of it can be said at once. */
export function execute(x: Execution): Run {
  const problems: string[] = []
  const causes: unknown[] = []
  const updates: Record<string, Expr> = {}
  let streams = 0
  const toExpr = (v: Value): Expr => (isKnown(v) ? exprOf(v, x.store) : v)
  const toKnown = (v: Value): Known | undefined => (isKnown(v) ? v : x.parameters.has(v) ? undefined : valueOfClosed(v))
  const needKnown = (v: Value): Known | undefined => {
    const now = toKnown(v)
    if (now || isKnown(v)) return now
    const name = x.parameters.get(v)
    if (name !== undefined) return x.fix(name)
    // computed from weights alone: they are constants of a formula, and the pass starts anew with them known
    const leaves = parametersUnder(v, x.parameters)
    if (leaves.length > 0 && leaves.map(x.fix).every((k) => k !== undefined)) throw new Restart()
    return undefined
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
  const runNode = (node: OnnxNode, scope: Scope, depth: number): readonly (Value | undefined)[] => {
    if (isBranch(node)) return runBranch(node, scope, depth)
    const operator = OPERATORS[operatorOf(node)]
    if (!operator) throw new OnnxError(`it is not supported: ${nearestWayOut(operatorOf(node))}`)
    const parameterAt = (name: string): string | undefined => x.parameters.get(scope.get(name)!)
    const inputs = node.inputs.map((name) => (name === '' ? undefined : scope.get(name)))
    const view = opNode(node, x.training, inputs, {
      toExpr,
      toKnown,
      needKnown,
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
    const result = operator(view)
    return Array.isArray(result) ? (result as readonly (Value | undefined)[]) : [result as Value]
  }
  /** The branch that a condition known now selects. */
  const runBranch = (node: OnnxNode, scope: Scope, depth: number): readonly (Value | undefined)[] => {
    const given = scope.get(node.inputs[0] ?? '')
    const condition = given && needKnown(given)
    if (!condition) throw new OnnxError(`its condition depends on what the model is given; ${nearestWayOut('If')}`)
    if (depth >= MAX_NESTING) throw new OnnxError(`branches inside branches, ${depth} deep`)
    const branch = branchesOf(node)[condition.values[0] !== 0 ? 'then_branch' : 'else_branch']
    if (!branch) throw new OnnxError('the branch is missing')
    const inner = scopeOf(new Map([...branch.initializers].map(([name, t]) => [name, knownOf(t)])), scope)
    const outputs = branch.outputs.map((v) => v.name)
    runAll(orderOf(branch.nodes, outputs, undefined), inner, depth + 1)
    return outputs.map((name) => inner.get(name))
  }
  const failed = new Set<string>()
  const runAll = (nodes: readonly OnnxNode[], scope: Scope, depth: number): void => {
    for (const node of nodes) {
      const skipped = node.inputs.some((name) => failed.has(name))
      const done =
        !skipped &&
        attempt(labelOf(node), () => {
          const values = runNode(node, scope, depth)
          const closed = depth === 0 && node.inputs.every((name) => name === '' || isKnown(scope.get(name)!))
          node.outputs.forEach((name, i) => {
            if (name === '') return
            const value = values[i]
            if (!value) throw new OnnxError(`output ${i} ("${name}") is not computed`)
            scope.set(name, value)
            if (closed && isKnown(value)) x.folded.set(name, value)
          })
        })
      if (!done) for (const name of node.outputs) failed.add(name)
    }
  }
  const top = scopeOf(x.env)
  runAll(x.nodes, top, 0)
  const outputs: Record<string, Expr> = {}
  for (const name of x.outputs)
    if (!failed.has(name))
      attempt(`output "${name}"`, () => {
        outputs[name] = toExpr(top.get(name)!)
      })
  if (problems.length > 0) {
    const message = problems.length === 1 ? problems[0] : `${problems.length} operators cannot be imported:\n${listedLines(problems)}`
    throw new OnnxError(message, { cause: causes[0] })
  }
  return { outputs, updates, random: streams > 0 }
}

/** Branches may lie in branches this deep. */
const MAX_NESTING = 8

/** The parameters that an expr is computed from; none where it is computed from anything else too. */
function parametersUnder(e: Expr, parameters: ReadonlyMap<Value, string>): string[] {
  const names = new Set<string>()
  const seen = new Set<Expr>()
  const stack = [e]
  for (let x = stack.pop(); x; x = stack.pop()) {
    if (seen.has(x)) continue
    seen.add(x)
    const name = parameters.get(x)
    if (name !== undefined) names.add(name)
    else if (x.op === 'input' || seen.size > 1024 || sizeOf(x.shape) > 4096) return []
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
