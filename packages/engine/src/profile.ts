// Where a step's time goes: every kernel's share, and how near it comes to what the machine can do.
import type { Program } from './backend.ts'
import type { Access, Kernel, Work } from './kernel.ts'
import type { Roofline } from './roofline.ts'
import type { View } from './view.ts'

/** What a kernel does, counted from its definition. */
export interface KernelCost {
  readonly kind: string
  /** Scalar operations; a product's multiply and add are two. */
  readonly operations: number
  /** Bytes of distinct elements read and written, each once. */
  readonly bytes: number
}

export interface ProfileRow extends KernelCost {
  readonly name: string
  /** How many kernels the row stands for. */
  readonly count: number
  /** Median milliseconds a step. */
  readonly ms: number
  /** Of the whole step. */
  readonly share: number
  readonly gflops: number
  readonly GBs: number
  /** The larger of its shares of the product rate and of the copy rate: 1 is as fast as this machine goes. */
  readonly ofRoof: number
}

export interface Profile {
  readonly steps: number
  /** Median milliseconds of a whole step, untimed inside, and the sum of the kernels'. */
  readonly stepMs: number
  readonly kernelsMs: number
  readonly threads: number
  readonly peakBytes: number
  readonly roofline: Roofline
  /** By kind, then the slowest kernels of all. */
  readonly kinds: readonly ProfileRow[]
  readonly top: readonly ProfileRow[]
}

const BYTES = { f32: 4, i32: 4, u8: 1 } as const

const product = (list: readonly number[]): number => list.reduce((a, b) => a * b, 1)

/** How many distinct elements a view shows over `shape`: axes of stride 0 repeat the same ones. */
const distinct = (view: View, shape: readonly number[]): number => {
  const shown = product(shape.filter((_, axis) => view.strides[axis] !== 0))
  // overlapping windows show an element several times: no more than lie between the first and the last
  const span = 1 + shape.reduce((sum, n, axis) => sum + (n - 1) * Math.abs(view.strides[axis] ?? 0), 0)
  return Math.min(shown, span)
}

/** The same elements read by two nodes are read once. */
const loadedBytes = (accesses: readonly Access[], shape: readonly number[]): number =>
  [...new Map(accesses.map((a) => [`${a.buffer}/${a.offset}/${a.strides}`, a])).values()].reduce(
    (sum, a) => sum + BYTES[a.dtype] * distinct(a, shape),
    0,
  )

const costOfWork = (work: Work): KernelCost => {
  switch (work.kind) {
    case 'dot': {
      const { batch, m, n, k, a, b } = work
      const times = product(batch)
      const of = (strides: readonly number[], size: number): number => size * product(batch.filter((_, axis) => strides[axis] !== 0))
      return { kind: 'product', operations: 2 * times * m * n * k, bytes: 4 * (of(a.batch, m * k) + of(b.batch, k * n) + times * m * n) }
    }
    case 'nest': {
      const { shape, nodes, stores, fold } = work
      const inner = fold === undefined ? shape : [...shape, fold.terms]
      const ops = nodes.filter((node) => node.kind === 'op').length + (fold === undefined ? 0 : 1)
      const loads = nodes.flatMap((node) => (node.kind === 'load' ? [node.access] : []))
      const written = stores.reduce((sum, s) => sum + BYTES[s.access.dtype] * product(shape), 0)
      const kind = fold !== undefined ? 'fold' : ops === 0 ? 'copy' : 'elementwise'
      return { kind, operations: ops * product(inner), bytes: loadedBytes(loads, inner) + written }
    }
    case 'gather':
      return { kind: 'gather', operations: 0, bytes: 4 * work.count + 2 * work.count * work.rowBytes }
    case 'scatterAdd':
      return {
        kind: 'scatterAdd',
        operations: work.count * work.row,
        bytes: 4 * (work.count + work.count * work.row + work.rows * work.row),
      }
  }
}

/** What a kernel does: the sum of its works, named after the one that does most. */
export const costOfKernel = (kernel: Kernel): KernelCost => {
  const costs = kernel.work.map(costOfWork)
  const most = costs.reduce<KernelCost | undefined>(
    (a, b) => (a !== undefined && a.operations + a.bytes >= b.operations + b.bytes ? a : b),
    undefined,
  )
  const sum = (of: (cost: KernelCost) => number): number => costs.reduce((total, cost) => total + of(cost), 0)
  return { kind: most?.kind ?? 'nothing', operations: sum((c) => c.operations), bytes: sum((c) => c.bytes) }
}

const median = (list: readonly number[]): number => {
  const sorted = [...list].sort((a, b) => a - b)
  return sorted.length === 0 ? 0 : (sorted[(sorted.length - 1) >> 1] + sorted[sorted.length >> 1]) / 2
}

/**
 * Times `steps` steps kernel by kernel and as many whole (the state goes on by all of them), after `warm` that nobody times.
 * @param top how many of the slowest kernels to name
 * @throws {ProfileError} the program does not list its kernels
 */
export const profileTable = (program: Program, roofline: Roofline, { steps = 10, top = 15, warm = 2 } = {}): Profile => {
  const { list } = program
  if (list === undefined) throw new ProfileError('this backend does not list its kernels, so there is nothing to explain times with')
  for (let i = 0; i < warm; i++) program.step()
  const times: number[][] = list.map(() => [])
  const whole: number[] = []
  for (let i = 0; i < steps; i++) {
    program.profile().forEach(({ ms }, at) => {
      times[at].push(ms)
    })
    const start = performance.now()
    program.step()
    whole.push(performance.now() - start)
  }
  const each = list.map((kernel, at) => ({ name: kernel.name, ms: median(times[at]), ...costOfKernel(kernel) }))
  const kernelsMs = each.reduce((sum, { ms }) => sum + ms, 0)
  const row = (name: string, members: readonly (typeof each)[number][]): ProfileRow => {
    const sum = (of: (one: (typeof each)[number]) => number): number => members.reduce((total, one) => total + of(one), 0)
    const ms = sum((one) => one.ms)
    const [operations, bytes] = [sum((one) => one.operations), sum((one) => one.bytes)]
    // what each needs at least, by whichever ceiling is lower for it
    const leastMs =
      sum((one) =>
        Math.max(one.operations / roofline.gflops, one.bytes / (one.bytes <= roofline.cacheBytes ? roofline.cacheGBs : roofline.memoryGBs)),
      ) / 1e6
    return {
      ...{ name, kind: members[0].kind, count: members.length, operations, bytes, ms },
      share: ms / kernelsMs,
      gflops: operations / ms / 1e6,
      GBs: bytes / ms / 1e6,
      ofRoof: leastMs / ms,
    }
  }
  const bySlowest = (a: ProfileRow, b: ProfileRow): number => b.ms - a.ms
  return {
    steps,
    stepMs: median(whole),
    kernelsMs,
    threads: program.threads,
    peakBytes: program.peakBytes,
    roofline,
    kinds: [...Map.groupBy(each, ({ kind }) => kind)].map(([kind, members]) => row(kind, members)).sort(bySlowest),
    // kernels whose names differ only in the expr that they begin with do the same on other tensors: layer after layer
    top: [...Map.groupBy(each, ({ name }) => name.replace(/^\d+:/, ''))]
      .map(([name, members]) => row(name, members))
      .sort(bySlowest)
      .slice(0, top),
  }
}

/** A profile that cannot be made. */
export class ProfileError extends Error {
  override name = 'engine.ProfileError'
}
