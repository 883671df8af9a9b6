// How fast elementwise kernels go, beside the bandwidth of a plain copy of as many bytes in the same process.
import { type Backend, copyRate, type Program } from '@bitloom/engine'
import { constI32, costOf, type Expr, input, makeGraph, type Slot, toBytes } from '@bitloom/graph'
import { exp, gelu, tanh } from '@bitloom/model/math'
import { adamw } from '@bitloom/model/optim'
import { add, constant, mul, sub } from '@bitloom/model/tensor'
import { ADAMW, matrix } from './tasks.ts'

export type ElementwiseRow = {
  readonly kernel: string
  readonly elements: number
  readonly 'Gel/s': number
  /** Scalar operations of the definition: where they, not memory, are the limit. */
  readonly 'Gop/s': number
  /** Bytes read and written, each once. */
  readonly 'GB/s': number
  /** A copy of as much memory: bytes read and written. */
  readonly 'copy GB/s': number
  readonly share: number
}

/** In the second-level cache (all tensors of a row together under 1 MiB for the chain), and well beyond every cache. */
const SIZES = [2 ** 15, 2 ** 22] as const

/** Best milliseconds of a call, of many within `forMs`. */
const best = (call: () => void, forMs: number): number => {
  let least = Number.POSITIVE_INFINITY
  const until = performance.now() + forMs
  for (let calls = 0; calls < 3 || performance.now() < until; calls++) {
    const start = performance.now()
    call()
    least = Math.min(least, performance.now() - start)
  }
  return least
}

type Kernel = {
  readonly name: string
  readonly states: number
  readonly reads: number
  readonly next: (inputs: readonly Expr[]) => readonly Expr[]
}

const KERNELS: readonly Kernel[] = [
  { name: 'exp', states: 1, reads: 1, next: ([, x]) => [exp(x)] },
  { name: 'tanh', states: 1, reads: 1, next: ([, x]) => [tanh(x)] },
  { name: 'gelu', states: 1, reads: 1, next: ([, x]) => [gelu(x)] },
  { name: 'five ops: ((a·b + a)·b − a) + b', states: 1, reads: 2, next: ([, a, b]) => [add(sub(mul(add(mul(a, b), a), b), a), b)] },
  {
    name: 'AdamW',
    states: 3,
    reads: 4,
    next: ([parameter, m, v, gradient]) => {
      const shared = [constant(0.5), constant(0.25)]
      const after = adamw(ADAMW).update({ name: 'w', parameter, gradient, moments: [m, v], shared, lr: constant(ADAMW.lr) })
      return [after.parameter, ...after.moments]
    },
  },
]

const programOf = (backend: Backend, { states, next, reads }: Kernel, n: number): Program => {
  // a kernel that does not read what it overwrites has one slot more than it reads
  const slots = Array.from(
    { length: states === 1 ? 1 + reads : reads },
    (_, s): Slot => ({
      name: `s${s}`,
      kind: s < states ? 'state' : 'data',
      dtype: 'f32',
      shape: [n],
    }),
  )
  const graph = makeGraph(slots, next(slots.map((_, s) => input(s, 'f32', [n]))), constI32(0))
  const program = backend.compile(graph)
  // moments are not negative, and AdamW shrinks what it is given: nothing may become subnormal while it is timed
  slots.forEach((_, s) => {
    program.write(s, toBytes(matrix(`elements ${s}`, n).map((x) => 0.5 + Math.abs(x))))
  })
  return program
}

/** Every row, on one backend. */
export const elementwiseRows = (backend: Backend, forMs: number): ElementwiseRow[] =>
  SIZES.flatMap((elements) =>
    KERNELS.map((kernel) => {
      const program = programOf(backend, kernel, elements)
      const bytes = 4 * elements * (kernel.states + kernel.reads)
      const repeats = Math.max(1, Math.round(2 ** 19 / elements))
      const ms = best(() => {
        for (let i = 0; i < repeats; i++) program.step()
      }, forMs)
      const copy = copyRate(backend, bytes, forMs)
      const rate = (of: number): number => Number(((repeats * of) / ms / 1e6).toFixed(2))
      program.close()
      return {
        kernel: kernel.name,
        elements,
        'Gel/s': rate(elements),
        'Gop/s': rate(Number(costOf(program.graph).operations)),
        'GB/s': rate(bytes),
        'copy GB/s': Number(copy.toFixed(2)),
        share: Number((rate(bytes) / copy).toFixed(2)),
      }
    }),
  )
