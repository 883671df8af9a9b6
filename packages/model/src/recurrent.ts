// Recurrent layers, unrolled over their static time so that gradients are those of the ops: RNN, GRU and LSTM as ONNX defines them, of which PyTorch's are cases.

import type { Expr } from '@bitloom/graph'
import { stopGradient, withDerivative } from './derivative.ts'
import { expm1, relu, sigmoid, softplus, tanh } from './math.ts'
import {
  abs,
  add,
  axisOf,
  broadcastTo,
  concat,
  constant,
  div,
  full,
  lt,
  matmul,
  max,
  min,
  mul,
  reshape,
  slice,
  sub,
  transpose,
  unsqueeze,
  where,
} from './tensor.ts'

export type Activate = (x: Expr) => Expr
export type Direction = 'forward' | 'reverse' | 'bidirectional'

export type RecurrentOptions = {
  readonly direction?: Direction
  /** Of each direction in turn, in the order that ONNX names them (f; f, g; f, g, h). */
  readonly activations?: readonly Activate[]
  /** Largest size of what goes into an activation. */
  readonly clip?: number
  /** i32 [batch]: steps of each example; all of them by default. */
  readonly lengths?: Expr
}

/** Weights of each direction: w [directions, gates·hidden, inputs], r [directions, gates·hidden, hidden], b [directions, 2·gates·hidden]. */
export type RecurrentWeights = { readonly w: Expr; readonly r: Expr; readonly b?: Expr | undefined }

/** y [time, directions, batch, hidden], the last h (and c) [directions, batch, hidden]. */
export type Recurrent = { readonly y: Expr; readonly h: Expr; readonly c: Expr | undefined }

/** Activations by the names that ONNX gives them; alpha and beta are theirs by default. */
export function activation(name: string, alpha?: number, beta?: number): Activate {
  switch (name.toLowerCase()) {
    case 'tanh':
      return tanh
    case 'sigmoid':
      return sigmoid
    case 'relu':
      return relu
    case 'softplus':
      return softplus
    case 'softsign':
      return (x) => div(x, add(abs(x), 1))
    case 'affine':
      return (x) => add(mul(x, alpha ?? 1), beta ?? 0)
    case 'leakyrelu':
      return (x) => where(lt(x, 0), mul(x, alpha ?? 0.01), x)
    case 'thresholdedrelu':
      return (x) => where(lt(alpha ?? 1, x), x, 0)
    case 'scaledtanh':
      return (x) => mul(tanh(mul(x, beta ?? 1)), alpha ?? 1)
    case 'hardsigmoid':
      return (x) => min(max(add(mul(x, alpha ?? 0.2), beta ?? 0.5), 0), 1)
    case 'elu':
      return (x) => where(lt(x, 0), mul(expm1(x), alpha ?? 1), x)
    default:
      throw new RecurrentError(`no activation "${name}"`)
  }
}

/** The slices of one axis, one by one. */
export function unstack(x: Expr, axis = 0): Expr[] {
  const at = axisOf(x.shape, axis)
  return Array.from({ length: x.shape[at] }, (_, i) => reshape(slice(x, at, i, i + 1), x.shape.toSpliced(at, 1)))
}

/** Tensors of one shape along a new axis in front. */
const stack = (xs: readonly Expr[]): Expr =>
  concat(
    xs.map((x) => unsqueeze(x, 0)),
    0,
  )

/** Equal parts of the last axis. */
function parts(x: Expr, n: number): Expr[] {
  const size = x.shape[x.shape.length - 1] / n
  return Array.from({ length: n }, (_, i) => slice(x, -1, i * size, (i + 1) * size))
}

/** One direction's weights, and its biases where there are any: [gates·hidden] each. */
type Side = { readonly w: Expr; readonly r: Expr; readonly wb: Expr | undefined; readonly rb: Expr | undefined }

/**
 * A cell: `drives` are what is added to its gates at every step, [time·batch, units] each; from its slices of one step and the states before, the states after
 * (the first is what is put out).
 */
type Cell = (
  side: Side,
  activate: readonly Activate[],
  memory: Memory,
) => {
  readonly drives: readonly Expr[]
  readonly step: (drives: readonly Expr[], states: readonly Expr[], t: number) => readonly Expr[]
}

/** What each step multiplied by recurrent weights, by step. */
type Memory = Expr[][]

/**
 * `drive` [time·batch, units], to which each step adds left·weightᵀ: the weight's gradient is that of the drive times what `memory` then holds, in one product.
 * The step itself multiplies by `held(weight)`, through which no gradient flows; step by step the gradient would be as many products and a long sum of them.
 */
function driven(drive: Expr, weight: Expr, left: () => readonly Expr[]): Expr {
  return withDerivative(drive, [drive, weight], (dy) => [dy, matmul(transpose(dy), concat(left(), 0))])
}
const held = (weight: Expr): Expr => stopGradient(transpose(weight))

/** Every step is some hundred exprs of the graph, which holds 65,536 in all. */
export const MAX_STEPS = 4096

/** Runs a cell over time in each direction. */
function unroll(
  x: Expr,
  weights: RecurrentWeights,
  initial: readonly (Expr | undefined)[],
  options: RecurrentOptions,
  perDirection: number,
  defaults: readonly Activate[],
  cell: (direction: number) => Cell,
): Recurrent {
  const { direction = 'forward', clip, lengths } = options
  const [time, batch, inputs] = x.shape
  const [directions, , hidden] = weights.r.shape
  if (directions !== (direction === 'bidirectional' ? 2 : 1) || weights.w.shape[0] !== directions || weights.w.shape[2] !== inputs)
    throw new RecurrentError(`${direction} over [${x.shape}] with weights [${weights.w.shape}] and [${weights.r.shape}]`)
  if (time > MAX_STEPS)
    throw new RecurrentError(`${time} steps are too many to be written out, at most ${MAX_STEPS} are; cut the sequences`)
  const activations = options.activations ?? []
  if (activations.length !== 0 && activations.length !== perDirection * directions)
    throw new RecurrentError(`${activations.length} activations for ${directions} directions of ${perDirection}`)
  const clipped = (f: Activate): Activate => (clip === undefined ? f : (v) => f(min(max(v, -clip), clip)))
  const of = (tensor: Expr, d: number): Expr => reshape(slice(tensor, 0, d, d + 1), tensor.shape.slice(1))
  const sides = Array.from({ length: directions }, (_, d) => {
    const bias = weights.b && of(weights.b, d)
    const [wb, rb] = bias ? parts(bias, 2) : [undefined, undefined]
    const side: Side = { w: of(weights.w, d), r: of(weights.r, d), wb, rb }
    const activate = defaults.map((f, i) => clipped(activations[d * perDirection + i] ?? f))
    const memory: Memory = []
    const { drives, step } = cell(d)(side, activate, memory)
    const ofStep = drives.map((drive) => unstack(reshape(drive, [time, batch, -1])))
    let states: readonly Expr[] = initial.map((s) => (s ? of(s, d) : full([batch, hidden], 0)))
    const backwards = direction === 'reverse' || d === 1
    const outputs = new Array<Expr>(time)
    for (let n = 0; n < time; n++) {
      const t = backwards ? time - 1 - n : n
      const drive = ofStep.map((slices) => slices[t])
      const next = step(drive, states, t)
      const alive = lengths && broadcastTo(reshape(lt(t, lengths), [batch, 1]), [batch, hidden])
      outputs[t] = alive ? where(alive, next[0], 0) : next[0]
      states = alive ? next.map((s, i) => where(alive, s, states[i])) : next
    }
    return { y: stack(outputs), states }
  })
  const last = (i: number): Expr | undefined => (sides[0].states[i] ? stack(sides.map((s) => s.states[i])) : undefined)
  const y = concat(
    sides.map((s) => unsqueeze(s.y, 1)),
    1,
  )
  return { y, h: last(0)!, c: last(1) }
}

const plus = (x: Expr, bias: Expr | undefined): Expr => (bias ? add(x, bias) : x)
/** What the whole input gives to the gates, in one product: [time·batch, gates·hidden]. */
const fromInput = (x: Expr, w: Expr): Expr => matmul(reshape(x, [-1, x.shape[2]]), transpose(w))
const together = (a: Expr | undefined, b: Expr | undefined): Expr | undefined => (a && b ? add(a, b) : undefined)

/** h' = f(x·Wᵀ + h·Rᵀ + both biases) over x [time, batch, inputs]. */
export function rnn(x: Expr, weights: RecurrentWeights, h?: Expr, options: RecurrentOptions = {}): Recurrent {
  return unroll(x, weights, [h], options, 1, [tanh], () => ({ w, r, wb, rb }, [f], memory) => {
    const recurrent = held(r)
    return {
      drives: [driven(plus(fromInput(x, w), together(wb, rb)), r, () => memory.map(([before]) => before))],
      step: ([gates], [before], t) => {
        memory[t] = [before]
        return [f(add(gates, matmul(before, recurrent)))]
      },
    }
  })
}

export type GruOptions = RecurrentOptions & {
  /** The reset gate scales h·Rᵀ plus its bias (PyTorch) instead of h. */
  readonly linearBeforeReset?: boolean
}

/** Gates z (update), r (reset), h: h' = (1 - z)·g(…) + z·h (Cho et al. 2014). */
export function gru(x: Expr, weights: RecurrentWeights, h?: Expr, options: GruOptions = {}): Recurrent {
  const { linearBeforeReset = false } = options
  const hidden = weights.r.shape[2]
  const [time, batch] = x.shape
  return unroll(x, weights, [h], options, 2, [sigmoid, tanh], () => ({ w, r, wb, rb }, [f, g], memory) => {
    const of = (v: Expr, part: 'upper' | 'lower'): Expr =>
      part === 'upper' ? slice(v, 0, 0, 2 * hidden) : slice(v, 0, 2 * hidden, 3 * hidden)
    const [upper, lower] = [of(r, 'upper'), of(r, 'lower')]
    const [heldUpper, heldLower] = [held(upper), held(lower)]
    const given = plus(fromInput(x, w), wb)
    const openers = plus(slice(given, 1, 0, 2 * hidden), rb && of(rb, 'upper'))
    const proposers = slice(given, 1, 2 * hidden, 3 * hidden)
    const lowerBias = rb && of(rb, 'lower')
    const first = driven(openers, upper, () => memory.map(([before]) => before))
    if (linearBeforeReset) {
      const own = broadcastTo(lowerBias ?? constant(0), [time * batch, hidden])
      return {
        drives: [first, proposers, driven(own, lower, () => memory.map(([before]) => before))],
        step: ([open, propose, bias], [before], t) => {
          memory[t] = [before]
          const [z, reset] = parts(f(add(open, matmul(before, heldUpper))), 2)
          const proposed = g(add(propose, mul(reset, add(bias, matmul(before, heldLower)))))
          return [add(mul(sub(1, z), proposed), mul(z, before))]
        },
      }
    }
    return {
      drives: [first, driven(plus(proposers, lowerBias), lower, () => memory.map(([, scaled]) => scaled))],
      step: ([open, propose], [before], t) => {
        const [z, reset] = parts(f(add(open, matmul(before, heldUpper))), 2)
        const scaled = mul(reset, before)
        memory[t] = [before, scaled]
        return [add(mul(sub(1, z), g(add(propose, matmul(scaled, heldLower)))), mul(z, before))]
      },
    }
  })
}

export type LstmOptions = RecurrentOptions & {
  /** What the cell itself adds to the gates i, o, f: [directions, 3·hidden]. */
  readonly peepholes?: Expr | undefined
  /** The forget gate is 1 - the input gate. */
  readonly coupled?: boolean
}

/** Gates i, o, f, c: c' = f·c + i·g(…), h' = o·h(c') (Hochreiter and Schmidhuber 1997; Gers et al. 2000). */
export function lstm(x: Expr, weights: RecurrentWeights, h?: Expr, c?: Expr, options: LstmOptions = {}): Recurrent {
  const { peepholes, coupled = false } = options
  const hidden = weights.r.shape[2]
  return unroll(x, weights, [h, c], options, 3, [sigmoid, tanh, tanh], (d) => ({ w, r, wb, rb }, [f, g, out], memory) => {
    const peeps = peepholes && parts(reshape(slice(peepholes, 0, d, d + 1), [3 * hidden]), 3)
    const recurrent = held(r)
    return {
      drives: [driven(plus(fromInput(x, w), together(wb, rb)), r, () => memory.map(([before]) => before))],
      step: ([gates], [before, cell], t) => {
        memory[t] = [before]
        const all = add(gates, matmul(before, recurrent))
        const proposed = g(slice(all, -1, 3 * hidden, 4 * hidden))
        const open = slice(all, -1, 0, 3 * hidden)
        if (!peeps) {
          const [i, o, forget] = parts(f(open), 3)
          const next = add(mul(coupled ? sub(1, i) : forget, cell), mul(i, proposed))
          return [mul(o, out(next)), next]
        }
        const [gi, go, gf] = parts(open, 3)
        const i = f(add(gi, mul(peeps[0], cell)))
        const forget = coupled ? sub(1, i) : f(add(gf, mul(peeps[2], cell)))
        const next = add(mul(forget, cell), mul(i, proposed))
        return [mul(f(add(go, mul(peeps[1], next))), out(next)), next]
      },
    }
  })
}

export class RecurrentError extends Error {
  override name = 'model.RecurrentError'
}
