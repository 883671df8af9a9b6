// Looking inside with DEBUG=1..5: 1 what was compiled, in how long and into how many bytes; 2 its kernels; 3 each step's time; 4 each kernel in words; 5 the code.
import type { Backend, Program } from './backend.ts'
import type { Access, Kernel, Node, Work } from './kernel.ts'
import { costOfKernel } from './profile.ts'
import type { View } from './view.ts'

export type DebugLevel = 0 | 1 | 2 | 3 | 4 | 5

/** The level that DEBUG asks for: a digit from 0 to 5. Anything else is somebody else's DEBUG, and 0. */
export const debugLevel = (text: string | undefined): DebugLevel => (/^[0-5]$/.test(text ?? '') ? (Number(text) as DebugLevel) : 0)

/** Offset and strides, or nothing where the view is one element. */
const viewText = ({ offset, strides }: View): string =>
  `${offset === 0 ? '' : `+${offset}`}${strides.length === 0 ? '' : `·(${strides.join(' ')})`}`
const accessText = (access: Access): string => `b${access.buffer}${viewText(access)}`

const nodeText = (node: Node): string => {
  switch (node.kind) {
    case 'load':
      return `load ${node.access.dtype} ${accessText(node.access)}`
    case 'const':
      return `const 0x${(node.bits >>> 0).toString(16).padStart(8, '0')}`
    case 'iota':
      return `iota ${viewText(node.view)}`
    case 'op':
      return `${node.op}${node.from === node.to ? '' : ` ${node.from}→${node.to}`} ${node.args.map((at) => `%${at}`).join(' ')}`
  }
}

const workLines = (work: Work): string[] => {
  switch (work.kind) {
    case 'nest':
      return [
        `for [${work.shape}]${work.fold === undefined ? '' : `, ${work.fold.op} of ${work.fold.terms} terms of the last value`}`,
        ...work.nodes.map((node, at) => `  %${at} = ${nodeText(node)}`),
        ...work.stores.map((s) => `  store ${s.access.dtype} ${accessText(s.access)} ← %${s.node}${s.canonical ? ', one NaN' : ''}`),
      ]
    case 'dot': {
      const { batch, m, n, k, a, b, c } = work
      const side = (x: typeof a): string => `b${x.buffer}+${x.offset}·(${[...x.batch, x.row, x.column].join(' ')})`
      return [
        `product ${batch.length === 0 ? '' : `${batch.join('×')} of `}[${m}×${k}]·[${k}×${n}]: b${c.buffer} ← ${side(a)} · ${side(b)}`,
      ]
    }
    case 'gather':
      return [
        `gather ${work.count} rows of ${work.rowBytes} bytes out of ${work.rows}: b${work.out} ← b${work.x}[b${work.index}]${work.streamed ? ', fetched by the host' : ''}`,
      ]
    case 'scatterAdd':
      return [`scatter-add ${work.count} rows of ${work.row} into ${work.rows}: b${work.out}[b${work.index}] += b${work.source}`]
  }
}

/** A kernel in words: its loops, values and stores; buffers are b0, b1, …, slots first. */
export const kernelText = (kernel: Kernel, at: number): string =>
  [`kernel ${at}: ${kernel.name}`, ...kernel.work.flatMap(workLines).map((line) => `  ${line}`)].join('\n')

const kernelLine = (kernel: Kernel, at: number): string => {
  const { kind, operations, bytes } = costOfKernel(kernel)
  return `  ${String(at).padStart(4)}  ${kind.padEnd(11)} ${String(operations).padStart(12)} op ${String(bytes).padStart(11)} B  ${kernel.name}`
}

/**
 * The same backend, telling `say` what it does, as much as `level` asks for; at 0 the backend itself. Bits are not touched.
 * @param say takes a line or several
 */
export const observed = (backend: Backend, level: DebugLevel, say: (text: string) => void): Backend => {
  if (level === 0) return backend
  const compile: Backend['compile'] = (...given) => {
    const start = performance.now()
    const program = backend.compile(...given)
    const ms = performance.now() - start
    const { graph, kernels, peakBytes, threads, list = [] } = program
    say(
      `${backend.name}: ${graph.exprs.length} exprs became ${kernels} kernels in ${ms.toFixed(1)} ms; ${(peakBytes / 1e6).toFixed(2)} MB at most, ${threads} thread${threads === 1 ? '' : 's'}`,
    )
    if (level >= 2) say(list.map(kernelLine).join('\n'))
    if (level >= 4) say(list.map(kernelText).join('\n'))
    if (level >= 5) say(program.text())
    return level >= 3 ? timed(program, say) : program
  }
  return { ...backend, compile }
}

const timed = (program: Program, say: (text: string) => void): Program => {
  let steps = 0
  return {
    ...program,
    step: () => {
      const start = performance.now()
      program.step()
      say(`step ${++steps}: ${(performance.now() - start).toFixed(3)} ms`)
    },
  }
}
