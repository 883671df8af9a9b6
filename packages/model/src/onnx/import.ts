// A model that somebody exported, as exprs: what it takes, what it gives, what trains, and a function that writes it into a graph.

import { type Expr, MAX_SLOTS, type Shape, sha256, sizeOf, input as slotInput, toHex } from '@bitloom/graph'
import type { Lookup, Parameter } from '../nn.ts'
import type { Key } from '../random.ts'
import type { DataTensor } from '../step.ts'
import { constant } from '../tensor.ts'
import { type DecodeOptions, decodeModel, OnnxError, type OnnxModel, type OnnxNode, type OnnxTensor } from './decode.ts'
import { inputNotes, inputsOf } from './inputs.ts'
import type { Table } from './known.ts'
import { isListOperator } from './lists.ts'
import { OPERATORS } from './ops/index.ts'
import { holdsGraphs, orderOf, readsOf } from './order.ts'
import { parametersOf } from './parameters.ts'
import { execute, listedLines, operatorOf, Restart, type Run, smoothReach } from './run.ts'
import { ELEMENT } from './schema.ts'
import { weightsOf } from './trainable.ts'
import { nearestWayOut } from './unsupported.ts'
import { dtypeOf, type Known, knownOf, MAX_KNOWN, type Value } from './value.ts'

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
  /** Float tensors in the file's order; `frozen` ones are running statistics, what no gradient reaches, and what the options froze. */
  readonly parameters: readonly Parameter[]
  /** The file's names of parameters that have another one here, because theirs can be no slot's (onnx/names.ts). */
  readonly names: Readonly<Record<string, string>>
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
  const names = new Set([...weights.parameters.keys(), ...weights.constants.keys(), ...model.inputs.map((v) => v.name)])
  const outputs = model.outputs.map((o) => o.name)
  const nodes = orderOf(weights.nodes, outputs, names)
  refuseUnsupported(nodes)

  // what an operator must know while importing is a constant of the formula, not a weight
  const fixed = new Set<string>()
  const used = new Set(nodes.flatMap((n) => readsOf(n)).concat(outputs))
  const warnings = new Set<string>(weights.warnings)
  const tables = new Map<string, DataTensor>()
  const running = new Set<string>()
  const folded = new Map<string, Value>()
  const named = (): [string, OnnxTensor][] => [...weights.parameters].filter(([name]) => used.has(name) && !fixed.has(name))
  const stored = [...weights.constants].filter(([name]) => used.has(name)).concat(Object.entries(options.values ?? {}))
  /** What is there before the first node runs, parameters and inputs excepted. */
  const start = (store: (table: Table) => Expr): Map<string, Value> =>
    new Map<string, Value>([
      ...stored.map(([name, t]): [string, Value] => [name, storedValue(t, store)]),
      ...[...fixed].map((name): [string, Value] => [name, knownOf(weights.parameters.get(name)!)]),
    ])
  /** One pass over stand-ins; undefined where something taken for a weight has turned out to be a constant. */
  const attempt = (training: boolean): (Run & { readonly reached: ReadonlySet<string> }) | undefined => {
    const placeholders = placeholderLookup()
    const store = (table: Table): Expr => placeholders(nameTable(tables, table).name, table.dtype as 'f32' | 'i32', table.shape)
    const env = start(store)
    const parameters = new Map<Value, string>()
    for (const [name, t] of named()) {
      const e = placeholders(name, 'f32', t.shape)
      env.set(name, e)
      parameters.set(e, name)
    }
    for (const p of ports) env.set(p.name, placeholders(p.name, p.dtype, p.shape))
    const before = fixed.size
    const fix = (name: string): Known | undefined => {
      if (sizeOf(weights.parameters.get(name)!.shape) > MAX_FIXED) return undefined
      fixed.add(name)
      return knownOf(weights.parameters.get(name)!)
    }
    const random = () => ({ key: [constant(0, 'i32'), constant(0, 'i32')] as const, step: constant(0, 'i32') })
    try {
      const run = execute({ nodes, env, parameters, training, store, fix, random, warnings, running, folded, outputs })
      const reached = smoothReach(Object.values(run.outputs))
      return fixed.size > before
        ? undefined
        : { ...run, reached: new Set([...parameters].flatMap(([e, name]) => (reached.has(e as Expr) ? [name] : []))) }
    } catch (cause) {
      if (cause instanceof Restart) return undefined
      throw cause
    }
  }
  let [trained, evaluated] = [attempt(true), attempt(false)]
  while (!trained || !evaluated) {
    folded.clear()
    tables.clear()
    ;[trained, evaluated] = [attempt(true), attempt(false)]
  }
  const given = evaluated.outputs
  const reached = new Set([...trained.reached, ...evaluated.reached])
  const { parameters, original, notes } = parametersOf(new Map(named()), { reached, running, all: [...weights.parameters.keys()], options })
  for (const note of [...notes, ...inputNotes(model)]) warnings.add(note)

  const apply = (context: ApplyContext) => {
    const store = (table: Table): Expr => context.constant(nameTable(tables, table).name)
    const env = start(store)
    const byExpr = new Map<Value, string>()
    for (const { name, shape } of parameters) {
      const e = fits(context.parameter(name), { name, dtype: 'f32', shape })
      env.set(original.get(name)!, e)
      byExpr.set(e, name)
    }
    for (const p of ports) env.set(p.name, fits(context.input(p.name), p))
    for (const [name, value] of folded) env.set(name, value)
    const run = execute({
      nodes: nodes.filter((n) => !n.outputs.every((o) => o === '' || folded.has(o))),
      env,
      parameters: byExpr,
      training: context.training,
      store,
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
    outputs: outputs.map((name) => portOf(name, given[name])),
    parameters,
    names: Object.fromEntries([...original].filter(([slot, name]) => slot !== name)),
    constants: [...tables.values()],
    opset: model.opset,
    random: trained.random || evaluated.random,
    warnings: [...warnings],
    apply,
  }
}

/** The largest float initializer that may be a constant of a formula (Resize's scales, Clip's bounds). */
const MAX_FIXED = 4096

/** All that is not supported, at once, each with the nearest way out. */
function refuseUnsupported(nodes: readonly OnnxNode[]): void {
  const counts = new Map<string, OnnxNode[]>()
  for (const node of nodes) {
    const name = operatorOf(node)
    if (Object.hasOwn(OPERATORS, name) || holdsGraphs(node) || isListOperator(node)) continue
    counts.set(name, [...(counts.get(name) ?? []), node])
  }
  if (counts.size === 0) return
  const lines = [...counts].map(([name, [first, ...more]]) => {
    const where = first.name || first.outputs[0]
    return `${name} (${more.length > 0 ? `${more.length + 1} times, first ` : ''}at "${where}"): ${nearestWayOut(name)}`
  })
  throw new OnnxError(`${counts.size === 1 ? 'an operator is' : `${counts.size} operators are`} not supported:\n${listedLines(lines)}`)
}

/** Equal tables are one. */
function nameTable(tables: Map<string, DataTensor>, table: Table): DataTensor {
  const bytes = new Uint8Array(table.data.buffer, table.data.byteOffset, table.data.byteLength)
  const key = `${table.dtype}[${table.shape}]${toHex(sha256(bytes))}`
  let entry = tables.get(key)
  if (!entry) {
    entry = { name: `constant.${tables.size}`, ...table }
    tables.set(key, entry)
  }
  return entry
}

/** A stored tensor that is no weight: known, or a table where it is too large to compute with while importing. */
function storedValue(t: OnnxTensor, store: (table: Table) => Expr): Value {
  if (sizeOf(t.shape) <= MAX_KNOWN) return knownOf(t)
  if (!(t.data instanceof BigInt64Array) && !(t.data instanceof Float64Array) && t.element !== ELEMENT.f16) {
    const data = t.data instanceof Float32Array ? t.data : Int32Array.from(t.data)
    return store({ dtype: data instanceof Float32Array ? 'f32' : 'i32', shape: t.shape, data })
  }
  const data = Int32Array.from(t.data as BigInt64Array, Number)
  if (data.some((x, i) => BigInt(x) !== (t.data as BigInt64Array)[i]))
    throw new OnnxError(`tensor "${t.name}" holds integers that no i32 holds`)
  return store({ dtype: 'i32', shape: t.shape, data })
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
