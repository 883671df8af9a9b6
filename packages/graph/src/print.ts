// A graph for people: one line an expr, or Graphviz dot.

import { ofBits } from './expr.ts'
import type { Graph, GraphExpr } from './graph.ts'

function show(graph: Graph, e: GraphExpr): string {
  if (e.op === 'input') return `input ${graph.slots[e.attrs[0]!]!.name}`
  if (e.op === 'const') return `const ${e.dtype === 'f32' ? ofBits(e.attrs[0]!) : e.attrs[0]! | 0}`
  return [e.op, e.attrs.length > 0 ? `(${e.attrs.join(',')})` : '', ...e.inputs.map((k) => ` %${k}`)].join('')
}

/** `%12 = add %10 %11 : f32[64,10]`, a line an expr, then what feeds each state slot. */
export function printGraph(graph: Graph): string {
  const lines = graph.exprs.map((e, at) => `%${at} = ${show(graph, e)} : ${e.dtype}[${e.shape}]`)
  graph.next.forEach((at, s) => lines.push(`${graph.slots[s]!.name} <- %${at}`))
  return `${[...lines, `probe <- %${graph.probe}`].join('\n')}\n`
}

/** The graph in Graphviz's language: `bitloom graph print --dot | dot -Tsvg`. */
export function printDot(graph: Graph): string {
  const quote = (s: string): string => `"${s.replaceAll('"', '\\"')}"`
  const lines = ['digraph step {', '  rankdir=TB; node [shape=box, fontname="sans-serif"];']
  graph.exprs.forEach((e, at) => {
    const label = e.op === 'input' || e.op === 'const' ? show(graph, e) : e.op
    lines.push(`  e${at} [label=${quote(`${label}\\n${e.dtype}[${e.shape}]`)}];`)
    for (const k of e.inputs) lines.push(`  e${k} -> e${at};`)
  })
  graph.next.forEach((at, s) => lines.push(`  s${s} [shape=ellipse, label=${quote(`next ${graph.slots[s]!.name}`)}]; e${at} -> s${s};`))
  lines.push(`  probe [shape=ellipse]; e${graph.probe} -> probe;`, '}')
  return `${lines.join('\n')}\n`
}
