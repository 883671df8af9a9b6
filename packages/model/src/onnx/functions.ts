// Functions that a file brings along are written out where they are called: every node is then one of an operator that somebody knows.

import type { OnnxNode } from './decode.ts'
import { OnnxError } from './error.ts'

/** A function of the file: nodes over names of its own. */
export type OnnxFunction = {
  readonly inputs: readonly string[]
  readonly outputs: readonly string[]
  /** Attributes and, where the file gives one, their defaults. */
  readonly defaults: OnnxNode['attributes']
  readonly nodes: readonly FunctionNode[]
}
/** A node whose attributes may stand for those of the call: name to name. */
export type FunctionNode = OnnxNode & { readonly references: Readonly<Record<string, string>> }

/** Functions may call functions this deep. */
const MAX_DEPTH = 32

/** What a node calls, if it is a function of the file. */
export const functionKey = (node: { readonly domain: string; readonly op: string }): string => `${node.domain}.${node.op}`

/**
 * The nodes with every call written out; names made inside are `call/name`.
 * @throws {OnnxError} functions that call each other in a circle, or more than `most` nodes
 */
export function inlined(nodes: readonly OnnxNode[], functions: ReadonlyMap<string, OnnxFunction>, most: number): OnnxNode[] {
  if (functions.size === 0) return [...nodes]
  const result: OnnxNode[] = []
  let calls = 0
  const place = (node: OnnxNode, depth: number): void => {
    const called = functions.get(functionKey(node))
    if (!called) {
      if (result.length >= most) throw new OnnxError(`more than ${most} nodes once functions are written out`)
      result.push(node)
      return
    }
    const label = `function ${functionKey(node)} at "${node.name || node.outputs[0]}"`
    if (depth >= MAX_DEPTH) throw new OnnxError(`${label}: calls lie ${depth} deep; do functions call each other in a circle?`)
    if (++calls > most) throw new OnnxError(`more than ${most} calls of functions`)
    if (node.inputs.length > called.inputs.length || node.outputs.length > called.outputs.length)
      throw new OnnxError(
        `${label}: ${node.inputs.length} inputs and ${node.outputs.length} outputs; it has ${called.inputs.length} and ${called.outputs.length}`,
      )
    const names = new Map<string, string>(called.inputs.map((name, i) => [name, node.inputs[i] ?? '']))
    const prefix = `${node.name || node.outputs[0]}/${calls}/`
    const attributes = { ...called.defaults, ...node.attributes }
    called.outputs.forEach((name, i) => {
      if (names.has(name)) throw new OnnxError(`${label}: "${name}" is an input and an output`)
      names.set(name, node.outputs[i] || `${prefix}${name}`)
    })
    const inside = (name: string): string => {
      if (name === '') return ''
      if (!names.has(name)) names.set(name, `${prefix}${name}`)
      return names.get(name)!
    }
    for (const body of called.nodes) {
      const own: Record<string, OnnxNode['attributes'][string]> = Object.create(null)
      Object.assign(own, body.attributes)
      for (const [name, of] of Object.entries(body.references)) if (of in attributes) own[name] = attributes[of]
      place(
        {
          ...body,
          name: `${prefix}${body.name || body.op}`,
          inputs: body.inputs.map(inside),
          outputs: body.outputs.map(inside),
          attributes: own,
        },
        depth + 1,
      )
    }
  }
  for (const node of nodes) place(node, 0)
  return result
}
