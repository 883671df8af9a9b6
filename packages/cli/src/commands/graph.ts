// `bitloom graph print`: a graph for people, as text or dot, with its id and its cost.

import { readFileSync } from 'node:fs'
import { costOf, graphId, printDot, printGraph, toHex, verifyGraph } from '@bitloom/graph'
import { type Command, RefusedError, UsageError } from '../command.ts'
import { recipeJob } from '../recipes.ts'
import { big } from '../render.ts'

export const command: Command = {
  name: 'graph',
  summary: 'print the graph of a recipe or of a .graph file: exprs, cost, id',
  usage: 'print RECIPE|FILE.graph [--dot] [--cost] [--json]',
  options: {
    dot: { type: 'boolean', help: 'in Graphviz language' },
    cost: { type: 'boolean', help: 'only what a step costs' },
    json: { type: 'boolean', help: 'for machines' },
  },
  run: async (call) => {
    const [verb, what] = call.args
    if (verb !== 'print' || what === undefined) throw new UsageError('Say what to print: bitloom graph print mnist')
    const graph = await graphOf(what)
    const cost = costOf(graph)
    if (call.flag('json')) {
      process.stdout.write(
        `${JSON.stringify({ id: toHex(graphId(graph)), ...graph, cost }, (_, v) => (typeof v === 'bigint' ? v.toString() : v))}\n`,
      )
      return
    }
    if (call.flag('dot')) {
      process.stdout.write(printDot(graph))
      return
    }
    if (!call.flag('cost')) process.stdout.write(printGraph(graph))
    process.stdout.write(
      `id ${toHex(graphId(graph))}\n${graph.exprs.length} exprs, ${big(cost.operations)} operations a step, ${big(cost.bytes, 'B')} moved, ${big(cost.peakBytes, 'B')} at most in memory, state ${big(cost.stateBytes, 'B')}; a dispute takes at most ${cost.disputeRounds} rounds within a step\n`,
    )
    return
  },
}

async function graphOf(what: string) {
  if (!what.endsWith('.graph')) return (await recipeJob(what, { seed: 0 })).graph
  const verdict = verifyGraph(readFileSync(what))
  if (!verdict.ok) throw new RefusedError(`${what} is not a graph: ${verdict.reason}`)
  return verdict.graph
}
