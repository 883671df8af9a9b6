// Recurrent layers against their formulas in float64, step by step, in both directions and with sequences of several lengths.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { allocate, type Expr, input, interpret, makeGraph, type Shape, type Slot, sizeOf } from '@bitloom/graph'
import { activation, gru, lstm, type Recurrent, RecurrentError, rnn, unstack } from './recurrent.ts'
import { constant, vector } from './tensor.ts'

const [T, B, I, H] = [4, 3, 2, 2]
const draw = (shape: Shape, seed: number): Float32Array =>
  Float32Array.from({ length: sizeOf(shape) }, (_, i) => (((i * 37 + seed * 23) % 61) - 30) / 40)

function run(shapes: readonly Shape[], f: (...x: Expr[]) => readonly Expr[]): Float32Array[] {
  const make = (first: number): readonly Expr[] => f(...shapes.map((s, i) => input(first + i, 'f32', s)))
  const results = make(make(0).length)
  const slots: Slot[] = [
    ...results.map((e, i): Slot => ({ name: `y${i}`, kind: 'state', dtype: e.dtype, shape: e.shape })),
    ...shapes.map((shape, i): Slot => ({ name: `x${i}`, kind: 'data', dtype: 'f32', shape })),
  ]
  const graph = makeGraph(slots, results, constant(0, 'i32'))
  return interpret(graph, [...results.map((e) => allocate(e.dtype, sizeOf(e.shape))), ...shapes.map(draw)]).next as Float32Array[]
}

const all = (r: Recurrent): readonly Expr[] => (r.c ? [r.y, r.h, r.c] : [r.y, r.h])
const sigmoid = (x: number): number => 1 / (1 + Math.exp(-x))

type Net = { x: Float32Array; w: Float32Array; r: Float32Array; b: Float32Array; h: Float32Array; c: Float32Array; p: Float32Array }
/** What gate `g` of unit `k` gets from the input and from state `h`, apart, each with its bias. */
const gate = (n: Net, gates: number, d: number, t: number, e: number, h: readonly number[], g: number, k: number): [number, number] => {
  const row = (d * gates + g) * H + k
  let x = n.b[d * 2 * gates * H + g * H + k]
  let r = n.b[d * 2 * gates * H + gates * H + g * H + k]
  for (let i = 0; i < I; i++) x += n.w[row * I + i] * n.x[(t * B + e) * I + i]
  for (let j = 0; j < H; j++) r += n.r[row * H + j] * h[j]
  return [x, r]
}

type Step = (d: number, t: number, e: number, h: readonly number[], c: readonly number[]) => { h: number[]; c: number[] }

/** y, h and c by the recursion itself. */
function expected(n: Net, directions: number, backwards: boolean, lengths: readonly number[], step: Step): number[][] {
  const y = new Array<number>(T * directions * B * H).fill(0)
  const last: number[][] = [[], []]
  for (let d = 0; d < directions; d++)
    for (let e = 0; e < B; e++) {
      let state = { h: [...n.h.subarray((d * B + e) * H, (d * B + e + 1) * H)], c: [...n.c.subarray((d * B + e) * H, (d * B + e + 1) * H)] }
      for (let s = 0; s < lengths[e]; s++) {
        const t = backwards || d === 1 ? lengths[e] - 1 - s : s
        state = step(d, t, e, state.h, state.c)
        state.h.forEach((v, k) => {
          y[((t * directions + d) * B + e) * H + k] = v
        })
      }
      last[0].push(...state.h)
      last[1].push(...state.c)
    }
  return [y, ...last]
}

const close = (got: readonly Float32Array[], by: readonly number[][], what: string): void => {
  got.forEach((g, o) => {
    assert.equal(g.length, by[o].length)
    g.forEach((v, i) => {
      assert.ok(Math.abs(v - by[o][i]) < 2e-6, `${what}: output ${o} [${i}]: ${v}, not ${by[o][i]}`)
    })
  })
}

const shapesOf = (gates: number, directions: number): Shape[] => [
  [T, B, I],
  [directions, gates * H, I],
  [directions, gates * H, H],
  [directions, 2 * gates * H],
  [directions, B, H],
  [directions, B, H],
  [directions, 3 * H],
]
const netOf = (shapes: readonly Shape[]): Net => {
  const [x, w, r, b, h, c, p] = shapes.map(draw)
  return { x, w, r, b, h, c, p }
}
const units = Array.from({ length: H }, (_, k) => k)

for (const direction of ['forward', 'reverse', 'bidirectional'] as const)
  for (const lengths of [undefined, [4, 1, 3]]) {
    const directions = direction === 'bidirectional' ? 2 : 1
    const counted = lengths ?? [T, T, T]
    const options = { direction, ...(lengths ? { lengths: vector(lengths, 'i32') } : {}) }
    const against = (gates: number, what: string, f: (...x: Expr[]) => Recurrent, step: (n: Net) => Step): void => {
      const shapes = shapesOf(gates, directions)
      const net = netOf(shapes)
      close(
        run(shapes, (...x) => all(f(...x))),
        expected(net, directions, direction === 'reverse', counted, step(net)),
        `${what}, ${direction}, lengths ${lengths}`,
      )
    }
    test(`RNN, ${direction}${lengths ? ', of several lengths' : ''}`, () => {
      against(
        1,
        'rnn',
        (x, w, r, b, h) => rnn(x, { w, r, b }, h, options),
        (n) => (d, t, e, h, c) => ({
          h: units.map((k) => {
            const [a, b] = gate(n, 1, d, t, e, h, 0, k)
            return Math.tanh(a + b)
          }),
          c: [...c],
        }),
      )
    })
    test(`GRU, ${direction}${lengths ? ', of several lengths' : ''}`, () => {
      for (const linearBeforeReset of [false, true])
        against(
          3,
          'gru',
          (x, w, r, b, h) => gru(x, { w, r, b }, h, { ...options, linearBeforeReset }),
          (n) => (d, t, e, h, c) => {
            const sum = (g: number, k: number, state = h): number => gate(n, 3, d, t, e, state, g, k).reduce((a, b) => a + b)
            const [z, r] = [0, 1].map((g) => units.map((k) => sigmoid(sum(g, k))))
            const proposed = units.map((k) => {
              const [a, b] = gate(n, 3, d, t, e, h, 2, k)
              const reset = h.map((v, j) => v * r[j])
              return Math.tanh(linearBeforeReset ? a + r[k] * b : sum(2, k, reset))
            })
            return { h: units.map((k) => (1 - z[k]) * proposed[k] + z[k] * h[k]), c: [...c] }
          },
        )
    })
    test(`LSTM, ${direction}${lengths ? ', of several lengths' : ''}`, () => {
      for (const peep of [false, true])
        for (const coupled of [false, true])
          against(
            4,
            'lstm',
            (x, w, r, b, h, c, p) => lstm(x, { w, r, b }, h, c, { ...options, coupled, ...(peep ? { peepholes: p } : {}) }),
            (n) => (d, t, e, h, c) => {
              const sum = (g: number, k: number): number => gate(n, 4, d, t, e, h, g, k).reduce((a, b) => a + b)
              const look = (g: number, k: number, cell: number): number => (peep ? n.p[d * 3 * H + g * H + k] * cell : 0)
              const i = units.map((k) => sigmoid(sum(0, k) + look(0, k, c[k])))
              const f = units.map((k) => (coupled ? 1 - i[k] : sigmoid(sum(2, k) + look(2, k, c[k]))))
              const next = units.map((k) => f[k] * c[k] + i[k] * Math.tanh(sum(3, k)))
              return { h: units.map((k) => sigmoid(sum(1, k) + look(1, k, next[k])) * Math.tanh(next[k])), c: next }
            },
          )
    })
  }

test('activations by name, clipped', () => {
  const formulas: Record<string, (x: number) => number> = {
    Relu: (x) => Math.max(x, 0),
    Tanh: Math.tanh,
    Sigmoid: sigmoid,
    Softsign: (x) => x / (1 + Math.abs(x)),
    Softplus: (x) => Math.log1p(Math.exp(x)),
    Affine: (x) => 0.5 * x + 0.25,
    LeakyRelu: (x) => (x < 0 ? 0.5 * x : x),
    ThresholdedRelu: (x) => (x > 0.5 ? x : 0),
    ScaledTanh: (x) => 0.5 * Math.tanh(0.25 * x),
    HardSigmoid: (x) => Math.min(Math.max(0.5 * x + 0.25, 0), 1),
    Elu: (x) => (x < 0 ? 0.5 * Math.expm1(x) : x),
  }
  for (const [name, formula] of Object.entries(formulas)) {
    const [got] = run([[40]], (x) => [activation(name, 0.5, 0.25)(x)])
    close([got], [Array.from(draw([40], 0), formula)], name)
  }
  assert.throws(() => activation('Sinc'), RecurrentError)
})

test('unstacking gives every slice once', () => {
  const parts = run([[5, 3]], (x) => unstack(x, 1))
  const whole = draw([5, 3], 0)
  parts.forEach((p, k) => {
    assert.deepEqual(
      [...p],
      [0, 1, 2, 3, 4].map((row) => whole[row * 3 + k]),
    )
  })
  assert.equal(parts.length, 3)
})

test('weights that do not fit and more steps than a graph can hold are refused', () => {
  const at = (shape: Shape): Expr => input(0, 'f32', shape)
  const sides = { w: at([1, 2, 3]), r: at([1, 2, 2]) }
  assert.throws(() => rnn(at([2, 1, 3]), sides, undefined, { direction: 'bidirectional' }), RecurrentError)
  assert.throws(() => rnn(at([2, 1, 4]), sides), RecurrentError)
  assert.throws(() => rnn(at([2, 1, 3]), sides, undefined, { activations: [(x) => x, (x) => x] }), RecurrentError)
  assert.throws(() => rnn(at([100_000, 1, 3]), sides), /too many to be written out/)
})
