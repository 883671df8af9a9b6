// The order kernels run in, and which new state may be written straight over the old: the arena then holds parameters and moments once.
import type { Slot } from '@bitloom/graph'
import type { Kernel, Nest } from './kernel.ts'
import type { Lowered } from './lower.ts'
import { contiguous, isContiguous } from './view.ts'

export interface Schedule {
  readonly kernels: readonly Kernel[]
  /** For each buffer, the slot whose memory it uses (its own, or the one it is written over), if any. */
  readonly slotOf: readonly (number | undefined)[]
  /** Copies that end the step: the next tensor of `slot` lies in `buffer`. */
  readonly copies: readonly { readonly slot: number; readonly buffer: number }[]
}

/** Orders kernels near their readers (the graph's own order), state updates in place wherever everybody else has read the old tensor. */
export const schedule = (lowered: Lowered): Schedule => {
  const { kernels, buffers, next } = lowered
  const writer = new Map<number, number>()
  kernels.forEach((kernel, at) => {
    for (const b of kernel.writes) writer.set(b, at)
  })
  const after = kernels.map((kernel) => new Set(kernel.reads.flatMap((b) => writer.get(b) ?? [])))
  const slotOf: (number | undefined)[] = buffers.map((b) => b.slot)
  const readers = new Map<number, number[]>()
  kernels.forEach((kernel, at) => {
    for (const b of kernel.reads) if (buffers[b].slot !== undefined) readers.set(b, [...(readers.get(b) ?? []), at])
  })

  const copies: { slot: number; buffer: number }[] = []
  next.forEach((buffer, slot) => {
    if (buffer === slot) return
    const by = writer.get(buffer)!
    const others = (readers.get(slot) ?? []).filter((at) => at !== by)
    // The tensor may be the first part of a larger one.
    const fits = buffers[buffer].bytes === buffers[slot].bytes && slotOf[buffer] === undefined
    if (!fits || !overwrites(kernels[by], buffer, slot) || others.some((at) => leadsTo(after, by, at))) {
      copies.push({ slot, buffer })
      return
    }
    slotOf[buffer] = slot
    for (const at of others) after[by].add(at)
  })
  return { kernels: ordered(kernels, after), slotOf, copies }
}

/** The kernels of a step with the copies that end it as kernels too, so that a step is nothing but kernels. */
export const withCopies = ({ kernels, copies }: Schedule, slots: readonly Slot[]): Kernel[] => [
  ...kernels,
  ...copies.map(({ slot, buffer }): Kernel => {
    const { dtype, shape, name } = slots[slot]
    const place = { dtype, ...contiguous(shape) }
    return {
      name: `copy to ${name}[${shape}]`,
      work: [
        {
          kind: 'nest',
          shape,
          nodes: [{ kind: 'load', access: { buffer, ...place } }],
          stores: [{ node: 0, access: { buffer: slot, ...place }, canonical: false }],
        },
      ],
      reads: [buffer],
      writes: [slot],
      exprs: [],
    }
  }),
]

/** Whether a kernel may write `buffer` over `slot`'s memory: it does not read the slot, or each element only before writing that same element. */
const overwrites = (kernel: Kernel, buffer: number, slot: number): boolean => {
  if (!kernel.reads.includes(slot)) return true
  if (kernel.work.length !== 1 || kernel.work[0].kind !== 'nest') return false
  const nest: Nest = kernel.work[0]
  if (nest.fold !== undefined) return false
  const plain = nest.stores.every((s) => s.access.buffer !== buffer || isContiguous(s.access, nest.shape))
  return plain && nest.nodes.every((node) => node.kind !== 'load' || node.access.buffer !== slot || isContiguous(node.access, nest.shape))
}

/** Whether kernel `to` has to run after kernel `from`. */
const leadsTo = (after: readonly ReadonlySet<number>[], from: number, to: number): boolean => {
  const seen = new Set<number>()
  const stack = [to]
  while (stack.length > 0) {
    const at = stack.pop()!
    if (at === from) return true
    if (seen.has(at)) continue
    seen.add(at)
    stack.push(...after[at])
  }
  return false
}

/** Depth first from the kernels in graph order, each after what it needs. */
const ordered = (kernels: readonly Kernel[], after: readonly ReadonlySet<number>[]): Kernel[] => {
  const last = kernels.map((kernel) => kernel.exprs[kernel.exprs.length - 1])
  const order = kernels.map((_, at) => at).sort((a, b) => last[a] - last[b])
  const rank = new Array<number>(kernels.length)
  order.forEach((at, i) => {
    rank[at] = i
  })
  const done = new Set<number>()
  const result: Kernel[] = []
  for (const root of order) {
    const stack = [root]
    while (stack.length > 0) {
      const at = stack[stack.length - 1]
      const waiting = done.has(at) ? [] : [...after[at]].filter((x) => !done.has(x)).sort((a, b) => rank[b] - rank[a])
      if (waiting.length > 0) {
        stack.push(...waiting)
        continue
      }
      stack.pop()
      if (done.has(at)) continue
      done.add(at)
      result.push(kernels[at])
    }
  }
  return result
}
