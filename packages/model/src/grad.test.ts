// Every op has a gradient rule or says why not, and every rule agrees with central differences of a float64 evaluator.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Expr, input, OP_NAMES, type OpName, type Shape, sizeOf, sourceOf } from '@bitloom/graph'
import { stopGradient } from './derivative.ts'
import { GradientError, gradients, RULES } from './grad.ts'
import * as t from './tensor.ts'

/** A float64 evaluator of exprs: the op table's meaning without rounding. Integers and booleans are exact in a float64. */
function evaluate(root: Expr, slots: readonly Float64Array[], memo = new Map<Expr, Float64Array>()): Float64Array {
  const known = memo.get(root)
  if (known) return known
  const operands = root.inputs.map((x) => evaluate(x, slots, memo))
  const out = compute(root, operands, slots)
  memo.set(root, out)
  return out
}

const SCALAR: Partial<Record<OpName, (a: number, b: number, c: number) => number>> = {
  neg: (a) => -a,
  abs: Math.abs,
  sqrt: Math.sqrt,
  floor: Math.floor,
  cast: (a) => a,
  add: (a, b) => a + b,
  sub: (a, b) => a - b,
  mul: (a, b) => a * b,
  div: (a, b) => a / b,
  min: (a, b) => Math.min(a, b),
  max: (a, b) => Math.max(a, b),
  lt: (a, b) => Number(a < b),
  le: (a, b) => Number(a <= b),
  eq: (a, b) => Number(a === b),
  remu: (a, b) => a % b,
  xor: (a, b) => a ^ b,
  where: (a, b, c) => (a !== 0 ? b : c),
}

function compute(e: Expr, operands: readonly Float64Array[], slots: readonly Float64Array[]): Float64Array {
  const [a, b, c] = operands
  const n = sizeOf(e.shape)
  const each = (f: (i: number) => number): Float64Array => Float64Array.from({ length: n }, (_, i) => f(i))
  const shapes = e.inputs.map((x) => x.shape)
  const clamp = (i: number, rows: number): number => Math.min(Math.max(i, 0), rows - 1)
  switch (e.op) {
    case 'input':
      return slots[e.attrs[0]]
    case 'const':
      return each(() => (e.dtype === 'f32' ? new Float32Array(Uint32Array.of(e.attrs[0]).buffer)[0] : e.attrs[0] | 0))
    case 'iota':
      return each((i) => Math.floor(i / sizeOf(e.shape.slice(e.attrs[0] + 1))) % e.shape[e.attrs[0]])
    case 'gather': {
      const row = n / e.shape[0]
      return each((i) => a[clamp(b[Math.floor(i / row)], shapes[0][0]) * row + (i % row)])
    }
    case 'scatterAdd': {
      const row = n / e.shape[0]
      const out = new Float64Array(n)
      a.forEach((x, i) => {
        out[clamp(b[Math.floor(i / row)], e.shape[0]) * row + (i % row)] += x
      })
      return out
    }
    case 'sum':
    case 'maxOver':
    case 'argmax': {
      const [terms, inner] = [shapes[0][e.attrs[0]], sizeOf(shapes[0].slice(e.attrs[0] + 1))]
      return each((i) => {
        const row = Array.from({ length: terms }, (_, k) => a[Math.floor(i / inner) * terms * inner + k * inner + (i % inner)])
        return e.op === 'sum' ? row.reduce((x, y) => x + y, 0) : e.op === 'argmax' ? row.indexOf(Math.max(...row)) : Math.max(...row)
      })
    }
    case 'dot': {
      const [m, k] = shapes[0].slice(-2)
      const w = shapes[1][shapes[1].length - 1]
      return each((i) => {
        const [row, batch] = [Math.floor(i / w), Math.floor(i / (w * m))]
        let acc = 0
        for (let j = 0; j < k; j++) acc += a[row * k + j] * b[(batch * k + j) * w + (i % w)]
        return acc
      })
    }
    default: {
      const scalar = SCALAR[e.op]
      if (scalar) return each((i) => scalar(a[i], b?.[i], c?.[i]))
      const fill = e.dtype === 'f32' ? new Float32Array(Uint32Array.of(e.attrs[e.attrs.length - 1] ?? 0).buffer)[0] : 0
      return each((i) => {
        const from = sourceOf(e, shapes, i)
        return from === 'fill' ? fill : operands[from.operand][from.index]
      })
    }
  }
}

/** Values without ties, well away from 0 and from each other. */
function values(shape: Shape, seed: number, positive = false): Float64Array {
  const n = sizeOf(shape)
  return Float64Array.from({ length: n }, (_, i) => {
    const x = (((i * 7 + seed * 5) % (n + 6)) + 1.3 + 0.17 * seed) / 4
    return positive || (i * 3 + seed) % 2 === 0 ? x : -x
  })
}

/** Checks the gradient of Σ f(x…)·weights against (f(x+h) - f(x-h)) / 2h for every element of every operand. */
function check(shapes: readonly Shape[], f: (...x: Expr[]) => Expr, positive = false): void {
  const xs = shapes.map((shape, slot) => input(slot, 'f32', shape))
  const y = f(...xs)
  const slots = [...shapes.map((shape, i) => values(shape, i + 1, positive)), values(y.shape, 9)]
  const loss = t.sum(t.mul(y, input(shapes.length, 'f32', y.shape)))
  const symbolic = gradients(loss, xs)
  const h = 1e-4
  shapes.forEach((shape, slot) => {
    assert.deepEqual(symbolic[slot].shape, shape)
    const got = evaluate(symbolic[slot], slots)
    got.forEach((g, i) => {
      const at = (d: number): number =>
        evaluate(
          loss,
          slots.map((s, k) => (k === slot ? s.map((x, j) => (j === i ? x + d : x)) : s)),
        )[0]
      const expected = (at(h) - at(-h)) / (2 * h)
      assert.ok(
        Math.abs(g - expected) <= 1e-5 * Math.max(1, Math.abs(expected)),
        `operand ${slot} [${i}]: ${g}, by differences ${expected}`,
      )
    })
  })
}

const index = (values: readonly number[]): Expr => t.vector(values, 'i32')

/** For every op with a rule: functions that use it, over several shapes. */
const CASES: Partial<Record<OpName, () => void>> = {
  neg: () => check([[3, 2]], t.neg),
  abs: () => check([[7]], t.abs),
  sqrt: () => check([[2, 3]], t.sqrt, true),
  add: () => {
    check([[3], [3]], t.add)
    check([[2, 3], [3]], t.add)
  },
  sub: () =>
    check(
      [
        [2, 1],
        [1, 3],
      ],
      t.sub,
    ),
  mul: () => {
    check([[4], [4]], t.mul)
    check(
      [
        [2, 1, 3],
        [4, 1],
      ],
      t.mul,
    )
    check([[3]], (x) => t.mul(x, x))
  },
  div: () =>
    check(
      [
        [2, 3],
        [2, 1],
      ],
      t.div,
    ),
  min: () => check([[9], [9]], t.min),
  max: () => check([[9], [9]], t.max),
  where: () => check([[6], [6]], (a, b) => t.where(index([1, 0, 0, 1, 7, 0]), a, b)),
  reshape: () => check([[2, 6]], (x) => t.mul(t.reshape(x, [3, 4]), t.reshape(x, [3, 4]))),
  permute: () => {
    check([[2, 3, 4]], (x) => t.permute(x, [2, 0, 1]))
    check([[2, 3]], (x) => t.transpose(x))
    check(
      [
        [2, 3],
        [3, 2],
      ],
      (x, y) => t.mul(t.transpose(x), t.permute(y, [0, 1])),
    )
  },
  expand: () => check([[2, 1, 3]], (x) => t.broadcastTo(x, [4, 2, 5, 3])),
  slice: () => {
    check([[7]], (x) => t.slice(x, 0, 1, 6, 2))
    check([[7]], (x) => t.slice(x, 0, 6, -8, -3))
    check([[2, 5]], (x) => t.slice(x, 1, 4, 0, -1))
    check([[2, 5]], (x) => t.slice(x, 1, 3, 4, 2))
    check([[3, 4]], (x) => t.flip(t.flip(x, 0), 1))
  },
  pad: () => {
    check([[3, 2]], (x) => t.pad(x, [1, 0], [0, 2], [2, 1], 5))
    check([[4]], (x) => t.pad(x, [2], [3]))
  },
  concat: () => {
    check(
      [
        [2, 3],
        [2, 1],
        [2, 2],
      ],
      (...xs) => t.concat(xs, 1),
    )
    check([[2]], (x) => t.concat([x, x], 0))
    check([[1]], (x) => t.concat(new Array<Expr>(20).fill(x), 0))
  },
  window: () => {
    check([[7]], (x) => t.window(x, 0, 3))
    check([[9, 2]], (x) => t.window(x, 0, 3, 2))
    check([[2, 11]], (x) => t.window(x, 1, 3, 2, 2))
    check([[5]], (x) => t.window(x, 0, 5))
    check([[2, 10, 3]], (x) => t.window(x, 1, 2, 4, 3))
  },
  gather: () => {
    check([[4, 3]], (x) => t.gather(x, index([2, 0, 2, 9, -1])))
    check([[5]], (x) => t.gather(x, index([1, 1])))
  },
  scatterAdd: () => check([[4, 2]], (x) => t.scatterAdd(x, index([1, 0, 1, 8]), 3)),
  sum: () => {
    check([[2, 3, 4]], (x) => t.sum(x, 1))
    check([[2, 3, 4]], (x) => t.mean(x, [0, 2], true))
    check([[300]], (x) => t.total(t.mul(x, x)))
  },
  maxOver: () => {
    check([[3, 5]], (x) => t.maxOver(x, 1))
    check([[3, 2, 4]], (x) => t.minOver(x, [0, 2]))
  },
  dot: () => {
    check(
      [
        [3, 4],
        [4, 2],
      ],
      t.matmul,
    )
    check(
      [
        [3, 4],
        [2, 4],
      ],
      (x, w) => t.matmul(x, t.transpose(w)),
    )
    check(
      [
        [4, 3],
        [4, 2],
      ],
      (x, y) => t.matmul(t.transpose(x), y),
    )
    check(
      [
        [4, 3],
        [2, 4],
      ],
      (x, y) => t.matmul(t.transpose(x), t.transpose(y)),
    )
    check(
      [
        [2, 3, 4],
        [1, 4, 2],
      ],
      t.matmul,
    )
    check(
      [
        [2, 3, 4],
        [4, 2],
      ],
      t.matmul,
    )
    check([[3, 3]], (x) => t.matmul(x, t.transpose(x)))
    check([[4], [4, 2]], t.matmul)
    check([[2, 4], [4]], t.matmul)
  },
}

test('every op of the op table has a rule or says why it has none', () => {
  assert.deepEqual(Object.keys(RULES).sort(), [...OP_NAMES].sort())
  for (const op of OP_NAMES) assert.ok(typeof RULES[op] === 'function' || RULES[op].none.length > 0, op)
})

for (const op of OP_NAMES) {
  if (typeof RULES[op] !== 'function') continue
  test(`gradient of ${op} agrees with differences`, () => {
    const run = CASES[op]
    assert.ok(run, `no case for ${op}`)
    run()
  })
}

const at = (loss: Expr, x: Expr, slots: readonly Float64Array[]): number[] => [...evaluate(gradients(loss, [x])[0], slots)]

test('ties: abs has 0 at 0, min and max give to the first operand, maxOver to the first maximum', () => {
  const [x, y] = [input(0, 'f32', [3]), input(1, 'f32', [3])]
  const slots = [Float64Array.of(0, 2, 2), Float64Array.of(0, 2, 1)]
  assert.deepEqual(at(t.sum(t.abs(x)), x, slots), [0, 1, 1])
  for (const f of [t.min, t.max]) {
    assert.deepEqual(at(t.sum(f(x, y)), x, slots).slice(0, 2), [1, 1])
    assert.deepEqual(at(t.sum(f(x, y)), y, slots).slice(0, 2), [0, 0])
  }
  assert.deepEqual(at(t.maxOver(x), x, slots), [0, 1, 0])
})

test('a stopped gradient is 0, an unused target too, and equal inputs are one', () => {
  const x = input(0, 'f32', [2])
  const slots = [Float64Array.of(3, 5), Float64Array.of(1, 1)]
  assert.deepEqual(at(t.sum(t.mul(x, stopGradient(x))), x, slots), [3, 5])
  assert.deepEqual(at(t.sum(x), input(1, 'f32', [2]), slots), [0, 0])
  assert.deepEqual(at(t.sum(t.mul(x, input(0, 'f32', [2]))), input(0, 'f32', [2]), slots), [6, 10])
})

test('a loss that is no scalar and an integer target are refused', () => {
  const x = input(0, 'f32', [2])
  assert.throws(() => gradients(x, [x]), GradientError)
  assert.throws(() => gradients(t.sum(x), [t.iota([2], 0)]), GradientError)
})

test('a linear layer is three products, none of a copied weight', () => {
  const [x, w, y] = [input(0, 'f32', [5, 3]), input(1, 'f32', [2, 3]), input(2, 'f32', [5, 2])]
  const [dx, dw] = gradients(t.sum(t.mul(t.matmul(x, t.transpose(w)), y)), [x, w])
  assert.deepEqual([dx.op, dx.inputs[1].op], ['dot', 'input'])
  assert.deepEqual([dw.op, dw.inputs[0].op, dw.inputs[1].op], ['dot', 'permute', 'input'])
})

test('gradients of slices that lie side by side are set side by side, whatever their order; others are added', () => {
  const x = input(0, 'f32', [6, 2])
  const parts = [t.slice(x, 0, 4, 6), t.slice(x, 0, 0, 1), t.slice(x, 0, 1, 4)]
  const loss = (pieces: readonly Expr[]): Expr => pieces.map((p, i) => t.sum(t.mul(t.mul(p, p), i + 1))).reduce((a, b) => t.add(a, b))
  const all = [values([6, 2], 1)]
  const by = (i: number, factor: number): number => (factor === 0 ? 0 : 2 * factor * all[0][i])
  const [whole] = gradients(loss(parts), [x])
  assert.equal(whole.op, 'concat')
  assert.deepEqual(
    [...evaluate(whole, all)],
    [...all[0].keys()].map((i) => by(i, i < 2 ? 2 : i < 8 ? 3 : 1)),
  )
  const [overlapping] = gradients(loss([...parts, t.slice(x, 0, 0, 2)]), [x])
  assert.deepEqual(
    [...evaluate(overlapping, all)],
    [...all[0].keys()].map((i) => by(i, i < 2 ? 6 : i < 4 ? 7 : i < 8 ? 3 : 1)),
  )
  const [gap] = gradients(loss(parts.slice(0, 2)), [x])
  assert.deepEqual(
    [...evaluate(gap, all)],
    [...all[0].keys()].map((i) => by(i, i < 2 ? 2 : i < 8 ? 0 : 1)),
  )
})
