// Runs one sample on a backend and on the interpreter and says where the bits first differ.
import type { Backend, Program } from '@bitloom/engine'
import { type Data, type Graph, interpret, toBytes } from '@bitloom/graph'
import type { Sample } from './graphs.ts'

/** The first difference in words a person can act on, or undefined where there is none. */
export const findDifference = (backend: Backend, { graph, slots }: Sample, steps = 3): string | undefined => {
  const wanted: Data[] = []
  interpret(graph, slots, (at, data) => {
    wanted[at] = data
  })
  let found: string | undefined
  backend.evaluate(graph, slots, (at, data) => {
    found ??= differ(wanted[at], data, `traced expr ${at} ${describe(graph, at)}`)
  })
  if (found !== undefined) return found

  const program = backend.compile(graph)
  try {
    return differAfter(program, { graph, slots }, steps)
  } finally {
    program.close()
  }
}

const differAfter = (program: Program, { graph, slots }: Sample, steps: number): string | undefined => {
  slots.forEach((data, s) => {
    program.write(s, toBytes(data))
  })
  let found: string | undefined
  let state = slots
  for (let step = 0; step < steps; step++) {
    const result = interpret(graph, state)
    program.step()
    for (let s = 0; s < graph.next.length; s++) {
      found = differ(
        result.next[s],
        program.read(s),
        `fused step ${step}, slot ${s} (expr ${graph.next[s]} ${describe(graph, graph.next[s])})`,
      )
      if (found !== undefined) return found
    }
    found = differ(result.probe, program.probe(), `fused step ${step}, probe (expr ${graph.probe} ${describe(graph, graph.probe)})`)
    if (found !== undefined) return found
    state = [...result.next.map((data) => data.slice() as Data), ...slots.slice(graph.next.length)]
  }
  return undefined
}

/** Where a step on other backends first leaves other bits than on the first: they all compute the fused step. */
export const findDisagreement = (backends: readonly Backend[], { graph, slots }: Sample, steps: number): string | undefined => {
  const programs = backends.map((backend) => backend.compile(graph))
  try {
    for (const program of programs)
      slots.forEach((data, s) => {
        program.write(s, toBytes(data))
      })
    const [first, ...others] = programs
    for (let step = 0; step < steps; step++) {
      for (const program of programs) program.step()
      for (const [i, other] of others.entries())
        for (let s = 0; s <= graph.next.length; s++) {
          const [wanted, got] = s < graph.next.length ? [first.read(s), other.read(s)] : [first.probe(), other.probe()]
          const at = wanted.findIndex((byte, k) => byte !== got[k])
          if (at >= 0) return `${backends[i + 1].name}, step ${step}, ${s < graph.next.length ? `slot ${s}` : 'probe'}: byte ${at}`
        }
    }
    return undefined
  } finally {
    for (const program of programs) program.close()
  }
}

const describe = (graph: Graph, at: number): string => {
  const e = graph.exprs[at]
  const inputs = e.inputs.map((k) => `${k}:${graph.exprs[k].op} ${graph.exprs[k].dtype}[${graph.exprs[k].shape}]`)
  return `${e.op}(${e.attrs}) ${e.dtype}[${e.shape}] of ${inputs.join(', ') || 'nothing'}`
}

const differ = (wanted: Data, got: Data | Uint8Array, where: string): string | undefined => {
  const a = toBytes(wanted)
  const b = toBytes(got)
  if (a.length !== b.length) return `${where}: ${b.length} bytes, not ${a.length}`
  for (let i = 0; i < a.length; i++) {
    if (a[i] === b[i]) continue
    if (wanted instanceof Uint8Array) return `${where}: byte ${i} is ${b[i]}, not ${a[i]}`
    const at = i - (i % 4)
    const word = (bytes: Uint8Array): number => new DataView(bytes.buffer, bytes.byteOffset + at, 4).getUint32(0, true)
    return `${where}: element ${at / 4} is 0x${word(b).toString(16)}, not 0x${word(a).toString(16)}`
  }
  return undefined
}
