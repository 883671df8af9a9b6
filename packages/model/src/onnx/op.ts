// How one ONNX operator is turned into exprs: what an importer of an op is given, and what it gives back.

import type { Expr, Shape } from '@bitloom/graph'
import type { Key } from '../random.ts'
import type { OnnxAttribute, OnnxNode, OnnxTensor } from './decode.ts'
import { OnnxError } from './error.ts'
import { type Known, knownOf, type Value } from './value.ts'

/** Turns one node into the values of its outputs, in order; outputs that nobody asks for may be left out. */
export type OpImporter = (node: OpNode) => Value | readonly (Value | undefined)[]
/** Importers by operator name; operators outside of the standard set are named `domain.Name`. */
export type OpTable = Readonly<Record<string, OpImporter>>

/** A random stream of a node's own, and the step to count it by. */
export type Stream = { readonly key: Key; readonly step: Expr }

/** What the frame does for a node while it is imported. */
export type Workshop = {
  readonly toExpr: (value: Value) => Expr
  readonly toKnown: (value: Value) => Known | undefined
  /** As `toKnown`, and what was taken for a weight becomes a constant if that is what it takes. */
  readonly needKnown: (value: Value) => Known | undefined
  readonly running: (name: string) => void
  readonly update: (name: string, next: Expr) => void
  readonly random: () => Stream
  readonly warn: (message: string) => void
}

/** A node as its importer sees it. An attribute or input that is needed and missing, or of another type, is an OnnxError. */
export type OpNode = {
  readonly op: string
  readonly name: string
  /** Version of the operator set that the node is of. */
  readonly opset: number
  /** False in evaluation, where dropout and batch statistics are off whatever the file says. */
  readonly training: boolean
  readonly inputs: readonly (Value | undefined)[]
  /** How many outputs the node lists. */
  readonly outputs: number
  /** Whether output i has a name, so that something may read it. */
  readonly wants: (i: number) => boolean

  readonly has: (attribute: string) => boolean
  readonly int: (attribute: string, fallback?: number) => number
  readonly float: (attribute: string, fallback?: number) => number
  readonly string: (attribute: string, fallback?: string) => string
  readonly ints: (attribute: string, fallback?: readonly number[]) => readonly number[]
  readonly floats: (attribute: string, fallback?: readonly number[]) => readonly number[]
  readonly strings: (attribute: string, fallback?: readonly string[]) => readonly string[]
  readonly tensor: (attribute: string) => Known
  /** An attribute as the file has it (subgraphs, tensors of any type). */
  readonly raw: (attribute: string) => OnnxAttribute | undefined

  /** Input i, which the operator cannot do without. */
  readonly value: (i: number) => Value
  readonly shape: (i: number) => Shape
  readonly expr: (i: number) => Expr
  /** Input i as an expr, if the node has it. */
  readonly optional: (i: number) => Expr | undefined
  /** Input i as a tensor known now; an OnnxError where its value depends on what the model is given. */
  readonly known: (i: number) => Known
  readonly knownOptional: (i: number) => Known | undefined
  /** Input i as numbers known now, flat. */
  readonly knownInts: (i: number) => number[]
  /** A list that newer operator sets have as input i and older ones as an attribute: whichever is there. */
  readonly listAt: (i: number, attribute: string) => readonly number[] | undefined

  /** Any value as an expr; a large known one becomes a table in a data slot. */
  readonly toExpr: (value: Value) => Expr
  /** Any value as one known now, where it is. */
  readonly toKnown: (value: Value) => Known | undefined

  /** Input i as a running statistic: state that `update` writes and no optimizer touches. */
  readonly running: (i: number) => Expr
  /** Gives the next value of the running statistic at input i. */
  readonly update: (i: number, next: Expr) => void
  readonly random: () => Stream
  readonly warn: (message: string) => void
}

const isNumber = (a: OnnxAttribute): boolean => typeof a === 'number'
const isText = (a: OnnxAttribute): boolean => typeof a === 'string'
const isNumbers = (a: OnnxAttribute): boolean => Array.isArray(a) && a.every((x) => typeof x === 'number')
const isTexts = (a: OnnxAttribute): boolean => Array.isArray(a) && a.every((x) => typeof x === 'string')
const isTensor = (a: OnnxAttribute): boolean => typeof a === 'object' && 'data' in a

/** A node, its inputs found, as its importer sees it. */
export function opNode(node: OnnxNode, training: boolean, inputs: readonly (Value | undefined)[], workshop: Workshop): OpNode {
  const attribute = <T>(name: string, is: (a: OnnxAttribute) => boolean, what: string, fallback: T | undefined): T => {
    const a = node.attributes[name]
    if (a !== undefined && is(a)) return a as T
    if (a !== undefined) throw new OnnxError(`attribute "${name}" is no ${what}`)
    if (fallback === undefined) throw new OnnxError(`attribute "${name}" is missing`)
    return fallback
  }
  const value = (i: number): Value => {
    const v = inputs[i]
    if (!v) throw new OnnxError(`input ${i} is missing`)
    return v
  }
  const known = (i: number): Known => {
    const k = workshop.needKnown(value(i))
    if (k) return k
    throw new OnnxError(
      `input ${i} ("${node.inputs[i]}") must be known while importing, but depends on what the model is given\nA graph is static: export the model with this value fixed.`,
    )
  }
  const expr = (i: number): Expr => workshop.toExpr(value(i))
  const has = (name: string): boolean => name in node.attributes
  const ints: OpNode['ints'] = (name, fallback) => attribute(name, isNumbers, 'list of numbers', fallback)
  return {
    op: node.op,
    name: node.name,
    opset: node.opset,
    training,
    inputs,
    outputs: node.outputs.length,
    wants: (i) => (node.outputs[i] ?? '') !== '',
    has,
    int: (name, fallback) => attribute(name, isNumber, 'number', fallback),
    float: (name, fallback) => attribute(name, isNumber, 'number', fallback),
    string: (name, fallback) => attribute(name, isText, 'text', fallback),
    ints,
    floats: ints,
    strings: (name, fallback) => attribute(name, isTexts, 'list of texts', fallback),
    tensor: (name) => knownOf(attribute<OnnxTensor>(name, isTensor, 'tensor', undefined)),
    raw: (name) => node.attributes[name],
    value,
    shape: (i) => value(i).shape,
    expr,
    optional: (i) => (inputs[i] ? expr(i) : undefined),
    known,
    knownOptional: (i) => (inputs[i] ? known(i) : undefined),
    knownInts: (i) => [...known(i).values],
    listAt: (i, name) => (inputs[i] ? [...known(i).values] : has(name) ? ints(name) : undefined),
    toExpr: workshop.toExpr,
    toKnown: workshop.toKnown,
    running: (i) => {
      workshop.running(node.inputs[i] ?? '')
      return expr(i)
    },
    update: (i, next) => workshop.update(node.inputs[i] ?? '', next),
    random: workshop.random,
    warn: workshop.warn,
  }
}
