// `bitloom graph print`: a graph for people, as text or dot, with its id and what a step of it costs, op by op.

import { existsSync, readFileSync } from 'node:fs'
import { type Cost, costOf, type Graph, graphId, operationsOf, printDot, printGraph, sizeOf, toHex, verifyGraph } from '@bitloom/graph'
import { type Call, type Command, RefusedError, UsageError } from '../command.ts'
import { print, printJson } from '../output.ts'
import { RECIPE_NAMES, readyByName } from '../recipes.ts'
import { big, percent, table } from '../render.ts'

export const command: Command = {
  name: 'graph',
  summary: 'print the graph of a recipe or of a .graph file: exprs, cost, id',
  usage: 'print RECIPE|FILE.graph [--dot] [--cost] [--json]',
  options: {
    dot: { type: 'boolean', help: 'in Graphviz language, for dot -Tsvg' },
    cost: { type: 'boolean', help: 'only what a step costs, op by op' },
    slices: {
      type: 'string',
      value: 'N',
      help: 'of a recipe: its graph holds a log of every step’s loss, so its id depends on how many there are',
    },
    json: { type: 'boolean', help: 'for machines' },
  },
  run: async (call) => {
    const [verb, what, ...more] = call.args
    if (verb !== 'print' || what === undefined) throw new UsageError('Say what to print: bitloom graph print mnist')
    if (more.length > 0) throw new UsageError(`"${more[0]}" is one word too many.\nSee: bitloom graph --help`)
    const graph = await graphOf(call, what)
    const cost = costOf(graph)
    const id = toHex(graphId(graph))
    if (call.flag('json')) printJson({ id, ...graph, cost, ops: opsOf(graph) })
    else if (call.flag('dot')) print(printDot(graph))
    else print([...(call.flag('cost') ? [costTable(graph, cost), ''] : [printGraph(graph)]), summaryOf(graph, cost, id)].join('\n'))
    return
  },
}

const summaryOf = (graph: Graph, cost: Cost, id: string): string =>
  [
    `id      ${id}`,
    `exprs   ${graph.exprs.length} over ${graph.next.length} state and ${graph.slots.length - graph.next.length} data slots`,
    `a step  ${big(cost.operations)} operations, ${big(cost.bytes, 'B')} moved when nothing is fused, ${big(cost.peakBytes, 'B')} of memory at most`,
    `state   ${big(cost.stateBytes, 'B')} a checkpoint; data ${big(cost.dataBytes, 'B')}`,
    `dispute at most ${cost.disputeRounds} exchanges within a step`,
  ].join('\n')

/** What the exprs of one op do together in a step. */
export type OpCost = { readonly op: string; readonly exprs: number; readonly operations: number; readonly elements: number }

/** Costs by op, the dearest first. */
export function opsOf(graph: Graph): OpCost[] {
  const by = new Map<string, OpCost>()
  for (const e of graph.exprs) {
    const was = by.get(e.op) ?? { op: e.op, exprs: 0, operations: 0, elements: 0 }
    by.set(e.op, {
      op: e.op,
      exprs: was.exprs + 1,
      operations: was.operations + operationsOf(graph, e),
      elements: was.elements + sizeOf(e.shape),
    })
  }
  return [...by.values()].sort((a, b) => b.operations - a.operations || b.elements - a.elements)
}

const costTable = (graph: Graph, cost: Cost): string =>
  table(
    ['op', '>exprs', '>operations', '>share', '>elements made'],
    opsOf(graph).map((o) => [
      o.op,
      String(o.exprs),
      o.operations === 0 ? '–' : big(o.operations),
      o.operations === 0 ? '' : percent(o.operations / Number(cost.operations)),
      big(o.elements),
    ]),
  )

async function graphOf(call: Call, what: string): Promise<Graph> {
  const slices = call.number('slices', { min: 1, max: 2 ** 20, whole: true })
  if (!what.endsWith('.graph')) {
    if (!RECIPE_NAMES.includes(what) && existsSync(what))
      throw new RefusedError(`${what} is no .graph file.\nRecipes by name: ${RECIPE_NAMES.join(', ')}`)
    return (await readyByName(what, { seed: 0, ...(slices === undefined ? {} : { slices }) })).prepared.job.graph
  }
  if (slices !== undefined) throw new UsageError('--slices is for recipes; a file holds one graph.')
  const verdict = verifyGraph(readGraph(what))
  if (!verdict.ok) throw new RefusedError(`${what} is not a graph: ${verdict.reason}`)
  return verdict.graph
}

function readGraph(path: string): Uint8Array {
  try {
    return readFileSync(path)
  } catch (error) {
    throw new RefusedError(`${path} cannot be read (${(error as Error).message}).`)
  }
}
