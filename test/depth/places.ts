// Every kind of place that a training step can be wrong in, as lies about a model: what to plant, and where a game about it has to end.

import { type Ground, type Lie, leafOf, terms } from '@bitloom/dispute'
import { elementOf, type Knowledge } from '@bitloom/dispute/knowledge'
import { chunksOf, type Data, depthOf, fromBytes, sizeOf, stateSlots, toBytes } from '@bitloom/graph'
import type { Model } from './models.ts'

/**
 * A lie with a name, and the verdict that it must come to: the ground, and the numbers of expr, element and term where they are known beforehand.
 * Of the places of one `spot` that follow one another the first that shows is enough: a ReLU, a mask or a rounding may swallow some.
 */
export type Place = {
  readonly kind: string
  readonly spot?: string
  readonly what: string
  readonly lie: Lie
  readonly expect: { readonly ground: Ground; readonly expr?: number; readonly element?: number; readonly term?: number }
}

type Roll = (n: number) => number

const NAN = 0x7fc00000
/** Another word: a small lie, or a large one. */
function flip(dtype: string, word: number, large = false): number {
  if (dtype === 'u8') return word ^ (large ? 0x80 : 1)
  // of a truth value the other one: any word that is not 0 is true
  if (dtype === 'i32' && word < 2) return word ^ 1
  return (word ^ (large ? 0x40400000 : 0x00400001)) >>> 0
}

/** Places of one model, at its last step; `right` is the honest run. `each`: exprs of every op. */
export function placesOf(model: Model, right: Knowledge, roll: Roll, each: number): Place[] {
  const { graph, steps, job } = model
  const step = steps - 1
  const trace = right.trace(step)
  const word = (expr: number, element: number): number => elementOf(graph, expr, element, trace.tensor(expr))
  const tensor = (expr: number): Data => fromBytes(graph.exprs[expr]!.dtype, trace.tensor(expr))
  const live = reaching(model)
  const places: Place[] = []
  const wrong = (kind: string, expr: number, element: number, told: number, term?: number, spot?: string): void => {
    const e = graph.exprs[expr]!
    const lie: Lie = { kind: 'expr', step, expr, element, word: told >>> 0, ...(term === undefined ? {} : { term }) }
    const at = term === undefined ? {} : { term: firstWrong(right, step, expr, element, term, told >>> 0) }
    const expect = e.op === 'input' ? ({ ground: 'input', expr } as const) : ({ ground: 'scalar', expr, element, ...at } as const)
    const what = `${e.op} ${expr}[${element}]${term === undefined ? '' : ` term ${term}`}`
    places.push({ kind, what, lie, expect, ...(spot === undefined ? {} : { spot }) })
  }
  const replaced = (kind: string, what: string, expr: number, data: Data): void => {
    const e = graph.exprs[expr]!
    places.push({ kind, what, lie: { kind: 'tensor', step, expr, data }, expect: { ground: e.op === 'input' ? 'input' : 'scalar', expr } })
  }

  // every op: first and last element; of a fold, its first, a middle and its last term
  const byOp = new Map<string, number[]>()
  for (const [at, e] of graph.exprs.entries()) if (live.has(at)) byOp.set(e.op, [...(byOp.get(e.op) ?? []), at])
  for (const [op, all] of byOp) {
    // More exprs than games: some lies are swallowed.
    const tried = spread(all, 4 * each, roll)
    for (let n = 0; n < each; n++) {
      const mine = tried.filter((_, i) => i % each === n)
      for (const large of [false, true])
        for (const end of ['first', 'last'])
          for (const expr of mine) {
            const e = graph.exprs[expr]!
            const element = end === 'first' ? 0 : sizeOf(e.shape) - 1
            wrong(`op ${op}`, expr, element, flip(e.dtype, word(expr, element), large), undefined, `${op} ${n} ${end}`)
          }
      for (const end of [0, 0.5, 1])
        for (const large of [false, true])
          for (const expr of mine) {
            const e = graph.exprs[expr]!
            const count = terms(leafOf(graph, expr))
            if (count === 1) continue
            const element = roll(sizeOf(e.shape))
            const term = Math.floor(end * (count - 1))
            wrong(`fold ${op}`, expr, element, flip(e.dtype, word(expr, element), large), term, `fold ${op} ${n} ${end}`)
          }
    }
  }

  // what an input is read from
  const inputs = graph.exprs.flatMap((e, at) => (e.op === 'input' ? [at] : []))
  const slotOf = (at: number): number => graph.exprs[at]!.attrs[0]!
  const named = (name: string): number => inputs.find((at) => graph.slots[slotOf(at)]!.name === name) ?? -1
  const alike = (a: number, b: number): boolean =>
    a !== b && graph.exprs[a]!.dtype === graph.exprs[b]!.dtype && `${graph.exprs[a]!.shape}` === `${graph.exprs[b]!.shape}`
  const pairs = inputs.flatMap((a) => inputs.filter((b) => alike(a, b)).map((b) => [a, b] as const))
  for (const [a, b] of spread(pairs, each, roll))
    replaced('input: another slot', `${graph.slots[slotOf(a)]!.name} read as ${graph.slots[slotOf(b)]!.name}`, a, tensor(b).slice())
  const seed = named('seed')
  replaced('input: another seed', 'seed', seed, tensor(seed).map((x, i) => (i === 0 ? x + 1 : x)) as Data)
  const counter = named('step')
  replaced('input: another step', 'step counter', counter, tensor(counter).map((x) => x + 1) as Data)
  if (named('rates') >= 0) {
    const rates = named('rates')
    replaced('input: another learning rate', 'rates, doubled', rates, tensor(rates).map((x) => 2 * x) as Data)
  }
  for (const at of inputs) {
    const slot = graph.slots[slotOf(at)]!
    if (slot.kind !== 'data' || slot.name === 'seed' || slot.name === 'rates') continue
    const data = tensor(at).slice()
    const row = data.length / slot.shape[0]!
    replaced('input: rows shifted', `${slot.name} by a row`, at, data.map((_, i) => data[(i + row) % data.length]!) as Data)
  }

  // which rows are read: gathers out of data and out of weights
  const gathers = graph.exprs.flatMap((e, at) => (e.op === 'gather' && live.has(at) ? [at] : []))
  for (const at of spread(gathers, 2 * each, roll)) {
    const index = graph.exprs[at]!.inputs[1]!
    if (graph.exprs[index]!.op === 'input' || !live.has(index)) continue
    replaced('another batch', `rows of gather ${at}`, index, tensor(index).map((x) => x + 1) as Data)
    const data = tensor(at).slice()
    const row = data.length / graph.exprs[at]!.shape[0]!
    replaced(
      'another row',
      `gather ${at}, first row doubled`,
      at,
      data.map((x, i) => (i < row ? data[(i + row) % data.length]! : x)) as Data,
    )
  }
  // random words: threefry's last additions
  const random = graph.exprs.flatMap((e, at) => (e.op === 'xor' && live.has(at) ? [at] : []))
  for (const at of spread(random, 2 * each, roll)) replaced('another random number', `xor ${at}`, at, tensor(at).map((x) => ~x) as Data)
  // the learning rate and other constants
  const constants = graph.exprs.flatMap((e, at) => (e.op === 'const' && e.dtype === 'f32' && live.has(at) ? [at] : []))
  for (const at of spread(constants, 2 * each, roll)) wrong('another constant', at, 0, word(at, 0) + 1)

  // state: handed on otherwise than computed; the loss log; probe; padding; tails
  const states = stateSlots(graph)
  for (const slot of new Set([0, states - 1, job.stepSlot, job.lossSlot, roll(states)])) {
    const element = roll(sizeOf(graph.slots[slot]!.shape))
    const told = flip('f32', wordOf(right, graph.next[slot]!, element, step))
    const kind = slot === job.lossSlot ? 'loss log: handed on' : 'state: handed on'
    places.push({
      kind,
      what: graph.slots[slot]!.name,
      lie: { kind: 'slot', step, slot, element, word: told },
      expect: { ground: 'state', expr: graph.next[slot]!, element: slot },
    })
  }
  const early: Lie = { kind: 'slot', step: 0, slot: 0, element: 0, word: flip('f32', wordOf(right, graph.next[0]!, 0, 0)) }
  places.push({ kind: 'state: handed on', what: 'between two steps', lie: early, expect: { ground: 'state', element: 0 } })
  const log = graph.next[job.lossSlot]!
  const at = (model.slots[job.stepSlot]![0]! + step) % sizeOf(graph.slots[job.lossSlot]!.shape)
  wrong('loss log: computed', log, at, flip('f32', word(log, at)))
  for (const s of [0, step]) places.push({ kind: 'probe', what: `step ${s}`, lie: { kind: 'probe', step: s }, expect: { ground: 'probe' } })
  wrong('probe: computed', graph.probe, 0, flip(graph.exprs[graph.probe]!.dtype, word(graph.probe, 0)))
  for (const tree of ['trace', 'state'] as const) {
    const count = tree === 'trace' ? graph.exprs.length : states
    if (2 ** depthOf(count) > count)
      places.push({ kind: 'padding', what: tree, lie: { kind: 'padding', step, tree }, expect: { ground: 'padding' } })
  }
  const lengths = graph.exprs.map((_, k) => trace.tensor(k).length)
  const ragged = lengths.flatMap((n, k) => (2 ** depthOf(chunksOf(n)) > chunksOf(n) && graph.exprs[k]!.op !== 'input' ? [k] : []))
  for (const expr of spread(ragged, each, roll))
    places.push({
      kind: 'padding',
      what: `expr ${expr}`,
      lie: { kind: 'padding', step, tree: { expr } },
      expect: { ground: 'padding', expr },
    })
  const short = lengths.flatMap((n, k) => (n % 1024 !== 0 && graph.exprs[k]!.op !== 'input' ? [k] : []))
  for (const expr of spread(short, each, roll))
    places.push({ kind: 'tail', what: `expr ${expr}`, lie: { kind: 'tail', step, expr }, expect: { ground: 'tail', expr } })

  // NaNs and zeros
  const floats = graph.exprs.flatMap((e, k) => (e.dtype === 'f32' && e.op !== 'input' && live.has(k) ? [k] : []))
  for (const expr of spread(floats, each, roll)) {
    const element = roll(sizeOf(graph.exprs[expr]!.shape))
    if (word(expr, element) !== NAN) wrong('a NaN', expr, element, NAN)
    wrong('another NaN', expr, element, [0x7fc00001, 0xffc00000, 0x7f800001, 0xffffffff][roll(4)]!)
  }
  const zeros = floats.flatMap((k) => {
    const zero = (tensor(k) as Float32Array).indexOf(0) // either zero: indexOf compares as numbers do
    return zero < 0 ? [] : [[k, zero] as const]
  })
  for (const [expr, element] of spread(zeros, 2 * each, roll)) wrong('the other zero', expr, element, word(expr, element) ^ 0x80000000)
  const unlogged = sizeOf(graph.slots[job.lossSlot]!.shape) - 1
  if (word(log, unlogged) === 0) {
    wrong('the other zero', log, unlogged, 0x80000000)
    const lie: Lie = { kind: 'slot', step, slot: job.lossSlot, element: unlogged, word: 0x80000000 }
    places.push({ kind: 'the other zero', what: 'loss log, handed on', lie, expect: { ground: 'state', expr: log, element: job.lossSlot } })
  }
  return places
}

/** The term after which the told accumulator differs: later than `term` where the honest one is the same for a while (the index of a largest). */
function firstWrong(right: Knowledge, step: number, expr: number, element: number, term: number, told: number): number {
  const honest = right.accumulators(step, expr, element)
  let k = term
  while (honest[k + 1] === told) k++
  return k
}

const wordOf = (right: Knowledge, expr: number, element: number, step: number): number =>
  elementOf(right.graph, expr, element, right.trace(step).tensor(expr))

/** Exprs on which the next state or the probe depends: all of them, in a graph that is made from its outputs; kept for graphs that are not. */
function reaching({ graph }: Model): Set<number> {
  const live = new Set<number>([...graph.next, graph.probe])
  for (let at = graph.exprs.length - 1; at >= 0; at--) if (live.has(at)) for (const k of graph.exprs[at]!.inputs) live.add(k)
  return live
}

/** Up to n of a list: its ends, and others by chance. */
export function spread<T>(all: readonly T[], n: number, roll: Roll): T[] {
  if (all.length <= n) return [...all]
  const chosen = new Set<number>([roll(2) === 0 ? 0 : all.length - 1])
  while (chosen.size < n) chosen.add(roll(all.length))
  return [...chosen].sort((a, b) => a - b).map((i) => all[i]!)
}

/** Whether two tensors are the same, bit for bit. */
export const sameData = (a: Data, b: Data): boolean => Buffer.compare(toBytes(a), toBytes(b)) === 0
