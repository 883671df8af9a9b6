// Lists of tensors (ONNX sequences), which exporters use for splits and loops: as long as their lengths are known, they are gone before there is a graph.

import type { OnnxNode } from './decode.ts'
import { OnnxError } from './error.ts'
import { isKnown, type Known, known, knownInts, type Value } from './value.ts'

export type List = { readonly list: readonly Value[] }
/** What a name may hold. */
export type Held = Value | List

export const isList = (held: Held): held is List => 'list' in held

/** What the list operators need of the rest: a value known now, and any other operator. */
export type Tools = {
  readonly known: (value: Value) => Known
  readonly run: (
    op: string,
    inputs: readonly (Value | undefined)[],
    outputs: number,
    attributes: OnnxNode['attributes'],
  ) => readonly Value[]
}

type ListOperator = (node: OnnxNode, inputs: readonly (Held | undefined)[], tools: Tools) => Held

const listOf = (held: Held | undefined): readonly Value[] => {
  if (!held || !isList(held)) throw new OnnxError('it needs a list of tensors')
  return held.list
}
const tensorOf = (held: Held | undefined): Value => {
  if (!held || isList(held)) throw new OnnxError('it needs a tensor')
  return held
}

/** Position `at` in a list; negative ones count from the end. */
function position(at: Held | undefined, length: number, tools: Tools): number {
  const given = tools.known(tensorOf(at)).values[0]
  const i = given < 0 ? given + length : given
  if (!Number.isInteger(i) || i < 0 || i >= length) throw new OnnxError(`position ${given} of a list of ${length}`)
  return i
}

const numberOf = (node: OnnxNode, name: string, fallback: number): number => {
  const a = node.attributes[name]
  return typeof a === 'number' ? a : fallback
}

const MOST = 4096

const split: ListOperator = (node, [input, sizes], tools) => {
  const x = tensorOf(input)
  const given = numberOf(node, 'axis', 0)
  const axis = given < 0 ? given + x.shape.length : given
  const d = x.shape[axis]
  if (d === undefined) throw new OnnxError(`axis ${given} of [${x.shape}]`)
  const told = sizes && tools.known(tensorOf(sizes))
  const even = told ? told.values[0] : 1
  if (!(even >= 1) || d / even > MOST) throw new OnnxError(`[${x.shape}] in parts of ${even}`)
  const parts =
    told && told.shape.length === 1 ? [...told.values] : Array.from({ length: Math.ceil(d / even) }, (_, i) => Math.min(even, d - i * even))
  const list = tools.run('Split', [x, knownInts(parts)], parts.length, { axis })
  const keeps = told !== undefined || numberOf(node, 'keepdims', 1) === 1
  return { list: keeps ? list : list.map((part) => tools.run('Squeeze', [part, knownInts([axis])], 1, {})[0]) }
}

const join: ListOperator = (node, [list], tools) => {
  const axis = numberOf(node, 'axis', 0)
  const parts = listOf(list)
  const stacked = numberOf(node, 'new_axis', 0) === 1
  return tools.run('Concat', stacked ? parts.map((part) => tools.run('Unsqueeze', [part, knownInts([axis])], 1, {})[0]) : parts, 1, {
    axis,
  })[0]
}

/** The operators that take or make lists. */
export const LIST_OPERATORS: Readonly<Record<string, ListOperator>> = {
  SequenceEmpty: () => ({ list: [] }),
  SequenceConstruct: (_, inputs) => ({ list: inputs.map(tensorOf) }),
  SequenceAt: (_, [list, at], tools) => listOf(list)[position(at, listOf(list).length, tools)],
  SequenceLength: (_, [list]) => known('i64', [], [listOf(list).length]),
  SequenceInsert: (_, [list, value, at], tools) => {
    const before = listOf(list)
    if (before.length >= MOST) throw new OnnxError(`a list of more than ${MOST} tensors`)
    return { list: before.toSpliced(at ? position(at, before.length + 1, tools) : before.length, 0, tensorOf(value)) }
  },
  SequenceErase: (_, [list, at], tools) => ({ list: listOf(list).toSpliced(at ? position(at, listOf(list).length, tools) : -1, 1) }),
  SplitToSequence: split,
  ConcatFromSequence: join,
}

/** Whether a node's operator is one of them. */
export const isListOperator = (node: OnnxNode): boolean => node.domain === '' && Object.hasOwn(LIST_OPERATORS, node.op)
/** Whether everything that a node reads is known. */
export const allKnown = (inputs: readonly (Held | undefined)[]): boolean =>
  inputs.every((h) => h === undefined || (!isList(h) && isKnown(h)))
