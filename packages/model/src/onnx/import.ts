// A model that somebody exported, as exprs: what it takes, what it gives, what trains, and a function that writes it into a graph.

import { type Expr, MAX_SLOTS, type Shape, sha256, sizeOf, input as slotInput, toHex } from '@bitloom/graph'
import type { Lookup, Parameter } from '../nn.ts'
import { type Key, STREAM } from '../random.ts'
import type { DataTensor } from '../step.ts'
import { constant } from '../tensor.ts'
import { type DecodeOptions, decodeModel, OnnxError, type OnnxModel, type OnnxNode, type OnnxTensor } from './decode.ts'
import { inputsOf } from './inputs.ts'
import { exprOf, type Table, valueOfClosed } from './known.ts'
import { opNode } from './op.ts'
import { OPERATORS } from './ops/index.ts'
import { labelOf, orderOf } from './order.ts'
import { floatsOf, globs, listed, weightsOf } from './trainable.ts'
import { nearestWayOut } from './unsupported.ts'
import { dtypeOf, isKnown, type Known, knownOf, type Value } from './value.ts'

export type ImportOptions = DecodeOptions & {
  /** Sizes of named axes: { batch: 64 }. */
  readonly dims?: Readonly<Record<string, number>>
  /** Whole shapes of inputs, which also bind the names of their axes. */
  readonly inputs?: Readonly<Record<string, Shape>>
  /** Inputs whose value is known already; they are no inputs any more. */
  readonly values?: Readonly<Record<string, OnnxTensor>>
  /** Patterns of parameter names that do not train; * stands for anything. */
  readonly freeze?: readonly string[]
  /** Patterns of parameter names that train, and no others. */
  readonly trainOnly?: readonly string[]
}

/** A tensor that goes in or comes out; integers of every width and truth values are i32. */
export type Port = { readonly name: string; readonly dtype: 'f32' | 'i32'; readonly shape: Shape }

/** What an imported model is written into. */
export type ApplyContext = {
  readonly parameter: Lookup
  readonly input: Lookup
  readonly constant: Lookup
  /** Whether dropout drops and batch norm counts its batch. */
  readonly training: boolean
  readonly random: (stream: number) => Key
  /** i32, rank 0: what random streams are counted by; 0 by default. */
  readonly step?: Expr
}

export type Imported = {
  readonly inputs: readonly Port[]
  readonly outputs: readonly Port[]
  /** Float tensors in the file's order; `frozen` ones are running statistics and what the options froze. */
  readonly parameters: readonly Parameter[]
  /** Tables that the model reads: data slots. */
  readonly constants: readonly DataTensor[]
  readonly opset: number
  /** Whether the model draws random numbers while it trains. */
  readonly random: boolean
  readonly warnings: readonly string[]
  /** The model's outputs in a graph, and the next values of its running statistics. */
  readonly apply: (context: ApplyContext) => {
    readonly outputs: Readonly<Record<string, Expr>>
    readonly updates: Readonly<Record<string, Expr>>
  }
}

/**
 * Reads an ONNX file (opsets 7 to 21).
 * @throws {OnnxError} the file is broken; or an axis has no size; or operators are not supported, all of them named
 */
export function importOnnx(bytes: Uint8Array, options: ImportOptions = {}): Imported {
  return importModel(decodeModel(bytes, options), options)
}

/** `importOnnx` of a decoded file. */
export function importModel(model: OnnxModel, options: ImportOptions = {}): Imported {
  const weights = weightsOf(model)
  const ports = inputsOf(model, options)
  const given = new Set([...weights.parameters.keys(), ...weights.constants.keys(), ...model.inputs.map((v) => v.name)])
  const outputs = model.outputs.map((o) => o.name)
  const nodes = orderOf(weights.nodes, outputs, given)
  refuseUnsupported(nodes)

  const start = new Map<string, Value>()
  for (const [name, t] of weights.constants)
    if (nodes.some((n) => n.inputs.includes(name)) || outputs.includes(name)) start.set(name, knownOf(t))
  for (const [name, t] of Object.entries(options.values ?? {})) start.set(name, knownOf(t))

  // what an operator must know while importing is a constant of the formula, not a weight
  const fixed = new Set<string>()
  const used = new Set(nodes.flatMap((n) => n.inputs).concat(outputs))
  const warnings = new Set<string>(weights.warnings)
  const tables = new Map<string, DataTensor & { readonly key: string }>()
  const running = new Set<string>()
  const folded = new Map<string, Value>()
  const named = (): [string, OnnxTensor][] => [...weights.parameters].filter(([name]) => used.has(name) && !fixed.has(name))
  const attempt = (training: boolean): Run => {
    for (;;) {
      const before = fixed.size
      const placeholders = placeholderLookup()
      const env = new Map(start)
      for (const name of fixed) env.set(name, knownOf(weights.parameters.get(name)!))
      for (const [name, t] of named()) env.set(name, placeholders(name, 'f32', t.shape))
      for (const p of ports) env.set(p.name, placeholders(p.name, p.dtype, p.shape))
      const run = execute({
        nodes,
        env,
        parameters: new Map(named().map(([name]) => [env.get(name)!, name])),
        training,
        store: (table) => {
          const { name, shape } = nameTable(tables, table)
          return placeholders(name, table.dtype as 'f32' | 'i32', shape)
        },
        fix: (name) => {
          if (sizeOf(weights.parameters.get(name)!.shape) > MAX_FIXED) return undefined
          fixed.add(name)
          return knownOf(weights.parameters.get(name)!)
        },
        random: () => ({ key: [constant(0, 'i32'), constant(0, 'i32')], step: constant(0, 'i32') }),
        warnings,
        running,
        folded,
        outputs,
      })
      if (fixed.size === before) return run
      folded.clear()
    }
  }
  const trained = attempt(true)
  const evaluated = attempt(false)
  const random = trained.random || evaluated.random

  const freeze = globs(options.freeze ?? [])
  const only = options.trainOnly && globs(options.trainOnly)
  checkPatterns(options, [...weights.parameters.keys()])
  const endless: string[] = []
  const wide: string[] = []
  const parameters = named().map(([name, t]): Parameter => {
    const { data, rounded } = floatsOf(t)
    if (rounded) wide.push(name)
    const finite = data.every(Number.isFinite)
    if (!finite) endless.push(name)
    const frozen = running.has(name) || freeze(name) || (only !== undefined && !only(name)) || !finite
    return { name, shape: t.shape, initial: data, ...(frozen ? { frozen } : {}) }
  })
  if (wide.length > 0) warnings.add(`${wide.length} weights are stored as float64 and were rounded to float32: ${listed(wide)}`)
  if (endless.length > 0) warnings.add(`${endless.length} tensors hold infinities or NaN and do not train: ${listed(endless)}`)

  const apply = (context: ApplyContext) => {
    const env = new Map(start)
    for (const name of fixed) env.set(name, knownOf(weights.parameters.get(name)!))
    const byExpr = new Map<Value, string>()
    for (const { name, shape } of parameters) {
      const e = fits(context.parameter(name), { name, dtype: 'f32', shape })
      env.set(name, e)
      byExpr.set(e, name)
    }
    for (const p of ports) env.set(p.name, fits(context.input(p.name), p))
    for (const [name, value] of folded) env.set(name, value)
    const run = execute({
      nodes: nodes.filter((n) => !n.outputs.every((o) => o === '' || folded.has(o))),
      env,
      parameters: byExpr,
      training: context.training,
      store: (table) => context.constant(nameTable(tables, table).name),
      fix: () => undefined,
      random: (stream) => ({ key: context.random(stream), step: context.step ?? constant(0, 'i32') }),
      warnings: new Set(),
      running: new Set(),
      folded: new Map(),
      outputs,
    })
    return { outputs: run.outputs, updates: context.training ? run.updates : {} }
  }
  return {
    inputs: ports,
    outputs: outputs.map((name) => portOf(name, evaluated.outputs[name])),
    parameters,
    constants: [...tables.values()].map(({ name, dtype, shape, data }) => ({ name, dtype, shape, data })),
    opset: model.opset,
    random,
    warnings: [...warnings],
    apply,
  }
}

/** The largest float initializer that may be a constant of a formula (Resize's scales, Clip's bounds). */
const MAX_FIXED = 4096

type Run = {
  readonly outputs: Record<string, Expr>
  readonly updates: Record<string, Expr>
  readonly random: boolean
}

type Execution = {
  readonly nodes: readonly OnnxNode[]
  readonly env: Map<string, Value>
  /** Parameters by their exprs. */
  readonly parameters: ReadonlyMap<Value, string>
  readonly training: boolean
  readonly store: (table: Table) => Expr
  readonly fix: (parameter: string) => Known | undefined
  readonly random: (stream: number) => { readonly key: Key; readonly step: Expr }
  readonly warnings: Set<string>
  readonly running: Set<string>
  /** Takes the values that depend on nothing that is given later. */
  readonly folded: Map<string, Value>
  readonly outputs: readonly string[]
}

/** Runs the nodes over values; what fails does not stop the others, so that all of it can be said at once. */
function execute(x: Execution): Run {
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
    return name === undefined ? valueOfClosed(v) : x.fix(name)
  }
  const attempt = (label: string, f: () => void): boolean => {
    try {
      f()
      return true
    } catch (cause) {
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

const operatorOf = (node: OnnxNode): string => (node.domain === '' ? node.op : `${node.domain}.${node.op}`)

/** All that is not supported, at once, each with the nearest way out. */
function refuseUnsupported(nodes: readonly OnnxNode[]): void {
  const counts = new Map<string, OnnxNode[]>()
  for (const node of nodes) {
    const name = operatorOf(node)
    if (Object.hasOwn(OPERATORS, name)) continue
    counts.set(name, [...(counts.get(name) ?? []), node])
  }
  if (counts.size === 0) return
  const lines = [...counts].map(([name, [first, ...more]]) => {
    const where = first.name || first.outputs[0]
    return `${name} (${more.length > 0 ? `${more.length + 1} times, first ` : ''}at "${where}"): ${nearestWayOut(name)}`
  })
  throw new OnnxError(`${counts.size === 1 ? 'an operator is' : `${counts.size} operators are`} not supported:\n${listedLines(lines)}`)
}

const listedLines = (lines: readonly string[], most = 40): string =>
  [...lines.slice(0, most), ...(lines.length > most ? [`and ${lines.length - most} more`] : [])].join('\n')

/** Names of slots stay in their bounds, and equal tables are one. */
function nameTable(tables: Map<string, DataTensor & { key: string }>, table: Table): DataTensor {
  const bytes = new Uint8Array(table.data.buffer, table.data.byteOffset, table.data.byteLength)
  const key = `${table.dtype}[${table.shape}]${toHex(sha256(bytes))}`
  let entry = tables.get(key)
  if (!entry) {
    entry = { key, name: `constant.${tables.size}`, dtype: table.dtype, shape: table.shape, data: table.data }
    tables.set(key, entry)
  }
  return entry
}

/** Stand-ins for slots while only shapes matter. */
function placeholderLookup(): (name: string, dtype: 'f32' | 'i32', shape: Shape) => Expr {
  const made = new Map<string, Expr>()
  return (name, dtype, shape) => {
    let e = made.get(name)
    if (!e) {
      e = slotInput(made.size % MAX_SLOTS, dtype, shape)
      made.set(name, e)
    }
    return e
  }
}

function fits(e: Expr, port: Port): Expr {
  if (e.dtype !== port.dtype || `${e.shape}` !== `${port.shape}`)
    throw new OnnxError(`"${port.name}" is ${port.dtype}[${port.shape}], but ${e.dtype}[${e.shape}] was given`)
  return e
}

const portOf = (name: string, e: Expr): Port => ({ name, dtype: dtypeOf(e), shape: e.shape })

/** A pattern that matches nothing is a slip of the pen. */
function checkPatterns(options: ImportOptions, names: readonly string[]): void {
  for (const pattern of [...(options.freeze ?? []), ...(options.trainOnly ?? [])])
    if (!names.some(globs([pattern])))
      throw new OnnxError(`the pattern "${pattern}" matches no parameter\nThe parameters are ${listed(names, 20)}`)
}
