// Graphs: the exprs of one training step, equal ones merged, in the one canonical order (docs/numerics.md §7).

import type { Dtype } from './dtype.ts'
import type { Expr } from './expr.ts'
import { MAX_SLOTS } from './ops.ts'
import { type Shape, ShapeError, sameShape, sizeOf } from './shape.ts'

/** A tensor that a step reads: `state` slots are also written, `data` slots never change. State slots come first. */
export type Slot = { readonly name: string; readonly kind: 'state' | 'data'; readonly dtype: Dtype; readonly shape: Shape }

/** An expr whose operands are positions in the graph, all smaller than its own. */
export type GraphExpr = Omit<Expr, 'inputs'> & { readonly inputs: readonly number[] }

export type Graph = {
  readonly slots: readonly Slot[]
  readonly exprs: readonly GraphExpr[]
  /** For each state slot, the expr whose value is the slot's next one. */
  readonly next: readonly number[]
  /** The expr whose value is hashed into the segment's probe digest: i32 or f32, at most MAX_PROBE elements. */
  readonly probe: number
}

export const MAX_EXPRS = 65_536
export const MAX_PROBE = 256
export const MAX_NAME = 64

export const stateSlots = (graph: Graph): number => graph.next.length

/**
 * The graph that computes `next` (one expr a state slot) and `probe`.
 *
 * Canonical order is a depth-first walk, operands left to right, from next[0], next[1], … and probe, each expr after its operands; structurally equal exprs
 * are one. It depends on structure alone, and keeps an operand near its reader.
 * @throws {ShapeError} a slot and the expr that feeds it differ, an input reads no slot of its type, too many exprs
 */
export function makeGraph(slots: readonly Slot[], next: readonly Expr[], probe: Expr): Graph {
  const exprs: GraphExpr[] = []
  const byKey = new Map<string, number>()
  const placed = new Map<Expr, number>()
  const place = (root: Expr): number => {
    const stack = [root]
    while (stack.length > 0) {
      const e = stack[stack.length - 1]!
      if (placed.has(e)) {
        stack.pop()
        continue
      }
      const waiting = stack.length
      for (let k = e.inputs.length - 1; k >= 0; k--) if (!placed.has(e.inputs[k]!)) stack.push(e.inputs[k]!)
      if (stack.length > waiting) continue
      stack.pop()
      const inputs = e.inputs.map((x) => placed.get(x)!)
      const key = keyOf(e, inputs)
      let at = byKey.get(key)
      if (at === undefined) {
        at = exprs.length
        if (at >= MAX_EXPRS) throw new ShapeError(`makeGraph: more than ${MAX_EXPRS} exprs`)
        exprs.push({ op: e.op, dtype: e.dtype, shape: e.shape, inputs, attrs: e.attrs })
        byKey.set(key, at)
      }
      placed.set(e, at)
    }
    return placed.get(root)!
  }
  const graph: Graph = { slots, exprs, next: next.map(place), probe: place(probe) }
  checkGraph(graph)
  return graph
}

/** What makes two exprs equal. */
export const keyOf = (e: Omit<GraphExpr, 'inputs'>, inputs: readonly number[]): string =>
  `${e.op} ${e.dtype} ${e.shape} | ${e.attrs} | ${inputs}`

/**
 * Checks what ties slots, exprs and outputs together (op rules are checked where exprs are made or decoded).
 * @throws {ShapeError} naming the slot or expr at fault
 */
export function checkGraph(graph: Graph): void {
  const { slots, exprs, next, probe } = graph
  if (slots.length > MAX_SLOTS) throw new ShapeError(`${slots.length} slots, more than ${MAX_SLOTS}`)
  const states = slots.filter((s) => s.kind === 'state').length
  if (states === 0) throw new ShapeError('a graph needs at least one state slot')
  if (next.length !== states) throw new ShapeError(`${next.length} next exprs for ${states} state slots`)
  const names = new Set<string>()
  slots.forEach((slot, s) => {
    if (slot.kind !== (s < states ? 'state' : 'data')) throw new ShapeError(`slot ${s} "${slot.name}": state slots come first`)
    if (slot.kind === 'state' && slot.dtype === 'u8') throw new ShapeError(`slot ${s} "${slot.name}": u8 is for data only`)
    if (names.has(slot.name)) throw new ShapeError(`slot ${s}: the name "${slot.name}" is taken`)
    if (slot.name.length < 1 || slot.name.length > MAX_NAME || !/^[\x21-\x7e]+$/.test(slot.name))
      throw new ShapeError(`slot ${s}: a name is 1..${MAX_NAME} visible ASCII characters, not "${slot.name.slice(0, 80)}"`)
    names.add(slot.name)
  })
  exprs.forEach((e, i) => {
    if (e.op !== 'input') return
    const slot = slots[e.attrs[0]!]
    if (!slot || slot.dtype !== e.dtype || !sameShape(slot.shape, e.shape))
      throw new ShapeError(
        `expr ${i} reads slot ${e.attrs[0]} as ${e.dtype}[${e.shape}]${slot ? `, which is ${slot.dtype}[${slot.shape}]` : ': no such slot'}`,
      )
  })
  next.forEach((at, s) => {
    const e = exprs[at]
    const slot = slots[s]!
    if (!e || e.dtype !== slot.dtype || !sameShape(e.shape, slot.shape))
      throw new ShapeError(`state slot ${s} "${slot.name}" ${slot.dtype}[${slot.shape}] is fed ${e ? `${e.dtype}[${e.shape}]` : 'nothing'}`)
  })
  const p = exprs[probe]
  if (!p || p.dtype === 'u8' || sizeOf(p.shape) > MAX_PROBE)
    throw new ShapeError(`the probe must be f32 or i32 with at most ${MAX_PROBE} elements`)
}
