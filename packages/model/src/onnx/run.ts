// One pass over an imported model's nodes: values flow along the edges, known ones are computed, the others are written as exprs.

import { type Expr, sizeOf } from '@bitloom/graph'
import { derivativeOf } from '../derivative.ts'
import { RULES } from '../grad.ts'
import { STREAM } from '../random.ts'
import type { OnnxNode } from './decode.ts'
import { OnnxError } from './error.ts'
import { exprOf, type Table, valueOfClosed } from './known.ts'
import { allKnown, type Held, isList, isListOperator, LIST_OPERATORS } from './lists.ts'
import { opNode, type Stream } from './op.ts'
import { OPERATORS } from './ops/index.ts'
import { type Graph, graphsOf, holdsGraphs, labelOf, orderOf } from './order.ts'
import { nearestWayOut } from './unsupported.ts'
import { isKnown, type Known, known, knownInts, knownOf, type Value } from './value.ts'

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
type Scope = { readonly get: (name: string) => Held | undefined; readonly set: (name: string, held: Held) => void }

const scopeOf = (env: Map<string, Held>, around?: Scope): Scope => ({
  get: (name) => env.get(name) ?? around?.get(name),
  set: (name, held) => void env.set(name, held),
})

/** Graphs may lie in graphs this deep. */
const MAX_NESTING = 8
/** A loop's turns are written out up to here, and all nodes together, turns counted, up to there. */
const MAX_TURNS = 4096
const MAX_RUN = 2 ** 18
/** Elements of known tensors, and scalar operations of closed graphs, in one pass. */
const MAX_COMPUTED = 2 ** 26

/** Runs the nodes over values; what fails does not stop the others, so that all of it can be said at once. */
export function execute(x: Execution): Run {
  const problems: string[] = []
  const causes: unknown[] = []
  const updates: Record<string, Expr> = {}
  const failed = new Set<string>()
  let streams = 0
  let ran = 0
  let computed = 0
  const spend = (work: number): void => {
    computed += work
    if (computed > MAX_COMPUTED) throw new OnnxError(`more than ${MAX_COMPUTED} elements to compute while importing`)
  }
  const written = new Map<Known, Expr>()
  const toExpr = (v: Value): Expr => {
    if (!isKnown(v)) return v
    const before = written.get(v)
    if (before) return before
    const e = exprOf(v, x.store)
    written.set(v, e)
    return e
  }
  const toKnown = (v: Value): Known | undefined => (isKnown(v) ? v : x.parameters.has(v) ? undefined : valueOfClosed(v, spend))
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
  const mustKnow = (what: string, held: Held | undefined): number => {
    const k = held && !isList(held) ? needKnown(held) : undefined
    if (k?.values.length !== 1) throw new OnnxError(`${what} depends on what the model is given; ${nearestWayOut('Loop')}`)
    return k.values[0]
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

  /** The values of a node's outputs, by its operator's importer. */
  const runOperator = (node: OnnxNode, inputs: readonly (Value | undefined)[], scope: Scope): readonly (Value | undefined)[] => {
    const operator = OPERATORS[operatorOf(node)]
    if (!operator) throw new OnnxError(`it is not supported: ${nearestWayOut(operatorOf(node))}`)
    const parameterAt = (name: string): string | undefined => x.parameters.get(scope.get(name) as Value)
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

  const runNode = (node: OnnxNode, scope: Scope, depth: number): readonly (Held | undefined)[] => {
    if (++ran > MAX_RUN) throw new OnnxError(`more than ${MAX_RUN} nodes once loops are written out`)
    if (holdsGraphs(node)) {
      if (depth >= MAX_NESTING) throw new OnnxError(`graphs inside graphs, ${depth} deep`)
      return node.op === 'If' ? runBranch(node, scope, depth) : runLoop(node, scope, depth)
    }
    const inputs = node.inputs.map((name) => (name === '' ? undefined : scope.get(name)))
    if (isListOperator(node)) {
      const sizes = (v: Value): Known => {
        const k = needKnown(v)
        if (!k) throw new OnnxError(`a position or size depends on what the model is given; ${nearestWayOut('SequenceAt')}`)
        return k
      }
      const run = (op: string, given: readonly (Value | undefined)[], outputs: number, attributes: OnnxNode['attributes']) => {
        const names = Array.from({ length: outputs }, (_, i) => `${i}`)
        const part = { ...node, op, opset: Math.max(13, node.opset), inputs: given.map((_, i) => `${i}`), outputs: names, attributes }
        return runOperator(part, given, scope) as readonly Value[]
      }
      return [LIST_OPERATORS[node.op](node, inputs, { known: sizes, run })]
    }
    // an Identity may carry a list from one graph into another
    if (node.op === 'Identity' && inputs[0] && isList(inputs[0])) return inputs
    const list = inputs.findIndex((h) => h && isList(h))
    if (list >= 0) throw new OnnxError(`input ${list} is a list of tensors; ${nearestWayOut('SequenceMap')}`)
    return runOperator(node, inputs as (Value | undefined)[], scope)
  }

  /** The branch that a condition known now selects. */
  const runBranch = (node: OnnxNode, scope: Scope, depth: number): readonly (Held | undefined)[] => {
    const condition = mustKnow('its condition', scope.get(node.inputs[0] ?? ''))
    const branch = graphsOf(node)[condition !== 0 ? 'then_branch' : 'else_branch']
    if (!branch) throw new OnnxError('the branch is missing')
    return runInner(branch, orderOf(branch.nodes, namesOf(branch), undefined), new Map(), scope, depth)
  }

  /** A loop whose number of turns is known now, turn by turn. */
  const runLoop = (node: OnnxNode, scope: Scope, depth: number): readonly (Held | undefined)[] => {
    const { body } = graphsOf(node)
    if (!body) throw new OnnxError('the body is missing')
    const at = (i: number): Held | undefined => (node.inputs[i] ? scope.get(node.inputs[i]) : undefined)
    const turns = at(0) ? mustKnow('its number of turns', at(0)) : Number.POSITIVE_INFINITY
    let goesOn = at(1) ? mustKnow('its condition', at(1)) !== 0 : true
    const carried = node.inputs.length - 2
    if (carried < 0 || body.inputs.length !== carried + 2 || body.outputs.length <= carried)
      throw new OnnxError(`a body of ${body.inputs.length} inputs and ${body.outputs.length} outputs for ${carried} carried values`)
    let state: (Held | undefined)[] = node.inputs.slice(2).map((name) => scope.get(name))
    const scanned: Value[][] = body.outputs.slice(carried + 1).map(() => [])
    const ordered = orderOf(body.nodes, namesOf(body), undefined)
    for (let turn = 0; turn < turns && goesOn; turn++) {
      if (turn >= MAX_TURNS) throw new OnnxError(`more than ${MAX_TURNS} turns`)
      const [count, condition, ...names] = body.inputs.map((v) => v.name)
      const env = new Map<string, Held>([
        [count, known('i64', [], [turn])],
        [condition, known('bool', [], [1])],
      ])
      names.forEach((name, i) => {
        const held = state[i]
        if (held) env.set(name, held)
      })
      const [next, ...results] = runInner(body, ordered, env, scope, depth)
      if (problems.length > 0) break
      goesOn = mustKnow('whether it goes on', next) !== 0
      state = results.slice(0, carried)
      results.slice(carried).forEach((held, i) => {
        if (!held || isList(held)) throw new OnnxError('what it collects is no tensor')
        scanned[i].push(held)
      })
    }
    const part = { ...node, opset: 17, inputs: ['', ''], outputs: [''] }
    const stack = (values: readonly Value[]): Value => {
      const rows = values.map((v) => runOperator({ ...part, op: 'Unsqueeze' }, [v, knownInts([0])], scope)[0])
      return runOperator({ ...part, op: 'Concat', attributes: { axis: 0 } }, rows, scope)[0]!
    }
    return [...state, ...scanned.map((values, i) => (node.outputs[carried + i] ? stack(values) : undefined))]
  }

  const runInner = (
    inner: Graph,
    nodes: readonly OnnxNode[],
    env: Map<string, Held>,
    around: Scope,
    depth: number,
  ): readonly (Held | undefined)[] => {
    for (const [name, t] of inner.initializers) env.set(name, knownOf(t))
    const scope = scopeOf(env, around)
    runAll(nodes, scope, depth + 1)
    return namesOf(inner).map((name) => scope.get(name))
  }

  const runAll = (nodes: readonly OnnxNode[], scope: Scope, depth: number): void => {
    for (const node of nodes) {
      // nothing else is tried once the budget is gone
      if (computed > MAX_COMPUTED || ran > MAX_RUN) return
      const skipped = node.inputs.some((name) => failed.has(name))
      const done =
        !skipped &&
        attempt(labelOf(node), () => {
          const before = problems.length
          const held = runNode(node, scope, depth)
          if (problems.length > before) throw new OnnxError('a graph inside of it cannot be imported')
          const closed = depth === 0 && allKnown(node.inputs.map((name) => (name === '' ? undefined : scope.get(name))))
          node.outputs.forEach((name, i) => {
            if (name === '') return
            const value = held[i]
            if (!value) throw new OnnxError(`output ${i} ("${name}") is not computed`)
            if (!isList(value) && isKnown(value)) spend(value.values.length)
            scope.set(name, value)
            if (closed && !isList(value) && isKnown(value)) x.folded.set(name, value)
          })
        })
      if (!done) for (const name of node.outputs) failed.add(name)
    }
  }

  const top = scopeOf(x.env as Map<string, Held>)
  runAll(x.nodes, top, 0)
  const outputs: Record<string, Expr> = {}
  for (const name of x.outputs)
    if (!failed.has(name) && problems.length === 0)
      attempt(`output "${name}"`, () => {
        const held = top.get(name)!
        if (isList(held)) throw new OnnxError(`it is a list of tensors; ${nearestWayOut('SequenceMap')}`)
        outputs[name] = toExpr(held)
      })
  if (problems.length > 0) {
    const message = problems.length === 1 ? problems[0] : `${problems.length} operators cannot be imported:\n${listedLines(problems)}`
    throw new OnnxError(message, { cause: causes[0] })
  }
  return { outputs, updates, random: streams > 0 }
}

const namesOf = (graph: Graph): string[] => graph.outputs.map((v) => v.name)

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
