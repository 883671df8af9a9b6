// Layers against their formulas in float64.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { constI32, type Expr, input, interpret, makeGraph, type Shape, type Slot, sizeOf } from '@bitloom/graph'
import { gradients } from './grad.ts'
import * as nn from './nn.ts'
import { keyOf } from './random.ts'
import { mul, sum, vector } from './tensor.ts'

const values = (shape: Shape, seed = 0): Float32Array =>
  Float32Array.from({ length: sizeOf(shape) }, (_, i) => (((i * 37 + seed * 11) % 64) - 31.5) / 16)

function evaluated(f: (...x: Expr[]) => readonly Expr[], ...shapes: Shape[]): Float32Array[] {
  const count = f(...shapes.map((s, i) => input(i, 'f32', s))).length
  const inputs = shapes.map((s, i) => input(count + i, 'f32', s))
  const results = f(...inputs)
  const slots: Slot[] = [
    ...results.map((e, i): Slot => ({ name: `y${i}`, kind: 'state', dtype: 'f32', shape: e.shape })),
    ...shapes.map((shape, i): Slot => ({ name: `x${i}`, kind: 'data', dtype: 'f32', shape })),
  ]
  const blank = results.map((e) => new Float32Array(sizeOf(e.shape)))
  const graph = makeGraph(slots, results, constI32(0))
  return interpret(graph, [...blank, ...shapes.map(values)]).next as Float32Array[]
}

const close = (got: ArrayLike<number>, expected: readonly number[]): void => {
  assert.equal(got.length, expected.length)
  expected.forEach((v, i) => {
    assert.ok(Math.abs(got[i] - v) < 2e-6 * Math.max(1, Math.abs(v)), `[${i}]: ${got[i]}, not ${v}`)
  })
}

/** Rows of a flat array. */
const rows = (x: ArrayLike<number>, width: number): number[][] =>
  Array.from({ length: x.length / width }, (_, r) => Array.from({ length: width }, (_, i) => x[r * width + i]))

const softmax = (row: readonly number[]): number[] => {
  const e = row.map((v) => Math.exp(v - Math.max(...row)))
  const all = e.reduce((a, b) => a + b)
  return e.map((v) => v / all)
}

test('softmax and its gradient', () => {
  const [y, dx] = evaluated((x, s) => [nn.softmax(x), gradients(sum(mul(nn.softmax(x), s)), [x])[0]], [3, 5], [3, 5])
  const [x, s] = [rows(values([3, 5], 0), 5), rows(values([3, 5], 1), 5)]
  close(y, x.flatMap(softmax))
  const slope = x.flatMap((row, r) => {
    const p = softmax(row)
    const mean = p.reduce((total, v, i) => total + v * s[r][i], 0)
    return p.map((v, i) => v * (s[r][i] - mean))
  })
  close(dx, slope)
})

test('layer norm', () => {
  const shapes: Shape[] = [[4, 6], [6], [6]]
  const byName = (w: Expr, b: Expr) => (name: string) => (name === 'ln.weight' ? w : b)
  const [y] = evaluated((x, w, b) => [nn.layerNorm(byName(w, b), 'ln', x)], ...shapes)
  const [w, b] = [values([6], 1), values([6], 2)]
  const expected = rows(values([4, 6], 0), 6).flatMap((row) => {
    const mean = row.reduce((a, v) => a + v) / 6
    const variance = row.reduce((a, v) => a + (v - mean) ** 2, 0) / 6
    return row.map((v, i) => ((v - mean) / Math.sqrt(variance + 1e-5)) * w[i] + b[i])
  })
  close(y, expected)
})

for (const causal of [false, true])
  test(`attention${causal ? ', causal' : ''}`, () => {
    const shape = [2, 2, 3, 4]
    const [y] = evaluated((q, k, v) => [nn.attention(q, k, v, causal)], shape, shape, shape)
    const [q, k, v] = [0, 1, 2].map((seed) => rows(values(shape, seed), 4))
    const expected = q.flatMap((query, r) => {
      const [head, now] = [Math.floor(r / 3) * 3, r % 3]
      const scores = [0, 1, 2].map((j) =>
        causal && j > now ? Number.NEGATIVE_INFINITY : query.reduce((a, x, i) => a + x * k[head + j][i], 0) / 2,
      )
      const p = softmax(scores)
      return [0, 1, 2, 3].map((i) => p.reduce((a, w, j) => a + w * v[head + j][i], 0))
    })
    close(y, expected)
  })

test('linear layers and embeddings, with PyTorch’s names', () => {
  const names = nn.mlpParameters([3, 5, 2]).map((p) => `${p.name} ${p.shape}`)
  assert.deepEqual(names, ['fc1.weight 5,3', 'fc1.bias 5', 'fc2.weight 2,5', 'fc2.bias 2'])
  assert.deepEqual(
    nn.linearParameters('head', 3, 2, false).map((p) => p.name),
    ['head.weight'],
  )
  const [y] = evaluated((x, w, b) => [nn.linear((name) => (name === 'fc.weight' ? w : b), 'fc', x)], [2, 2, 3], [4, 3], [4])
  const [w, b] = [rows(values([4, 3], 1), 3), values([4], 2)]
  close(
    y,
    rows(values([2, 2, 3], 0), 3).flatMap((row) => w.map((column, o) => row.reduce((a, x, i) => a + x * column[i], 0) + b[o])),
  )
  const [e] = evaluated((table) => [nn.embedding(() => table, 'wte', vector([2, 0, 2], 'i32'))], [3, 2])
  const table = values([3, 2], 0)
  assert.deepEqual(
    [...e],
    [4, 5, 0, 1, 4, 5].map((i) => table[i]),
  )
  const [drawn] = evaluated(
    (seed) => {
      const [p] = nn.embeddingParameters('wte', 30, 20, 0.02)
      const key = keyOf({ ...seed, op: 'bitcast', dtype: 'i32', inputs: [seed], attrs: [] }, 1)
      return [typeof p.initial === 'function' ? p.initial(key) : seed]
    },
    [2],
  )
  const deviation = Math.sqrt(drawn.reduce((a, v) => a + v * v, 0) / 600)
  assert.ok(Math.abs(deviation - 0.02) < 0.003, `standard deviation ${deviation}`)
})
