// pow has C's special cases and a measured error; constant powers are the products they should be.

import assert from 'node:assert/strict'
import { test } from 'node:test'
import { constI32, type Expr, input, interpret, makeGraph } from '@bitloom/graph'
import { compile, goldenInputs, measurePow } from '../../../tools/ulp.ts'
import { gradients } from './grad.ts'
import { pow, power } from './pow.ts'
import { sum } from './tensor.ts'

const [inf, nan] = [Number.POSITIVE_INFINITY, Number.NaN]

test('special cases are those of C17 F.10.4.4', () => {
  const f = compile(pow)
  const edges = [0, -0, 1, -1, 2, -2, 3, -3, 0.5, -0.5, 1.5, -1.5, 2 ** 24, -(2 ** 24), 2 ** 24 - 1, 1e30, -1e30, 1e-30, inf, -inf, nan]
  let seen = 0
  for (const x of edges)
    for (const y of edges) {
      const [a, b] = [Math.fround(x), Math.fround(y)]
      // JavaScript has NaN where C has 1
      const exact = a === 1 || (a === -1 && Math.abs(b) === inf) ? 1 : a ** b
      const size = Math.abs(exact)
      if (size > 0 && size < inf && size !== Math.fround(size)) continue
      const expected = size < 2 ** -126 ? (Object.is(exact, -0) || exact < 0 ? -0 : 0) : Math.fround(exact)
      const got = f(a, b)
      assert.ok(Object.is(got, expected) || Math.abs(got - expected) < 1e-6 * size, `${x} ^ ${y} = ${got}, not ${expected}`)
      seen++
    }
  assert.ok(seen > 350, `${seen} cases`)
})

test('errors stay inside the stated bound, and no result is of another kind', () => {
  const { ulp, at, wrong } = measurePow(200_000)
  assert.ok(ulp < 6, `${ulp} ulp at ${at}`)
  assert.equal(wrong, 0)
})

test('the interpreter and the measured form agree word for word', () => {
  const x = new Float32Array(goldenInputs().buffer)
  const y = x.slice().reverse()
  const slots = [
    { name: 'p', kind: 'state', dtype: 'f32', shape: [2000] },
    { name: 'x', kind: 'data', dtype: 'f32', shape: [2000] },
    { name: 'y', kind: 'data', dtype: 'f32', shape: [2000] },
  ] as const
  const graph = makeGraph(slots, [pow(input(1, 'f32', [2000]), input(2, 'f32', [2000]))], constI32(0))
  const got = interpret(graph, [new Float32Array(2000), x, y]).next[0]
  const f = compile(pow)
  x.forEach((v, i) => {
    assert.ok(Object.is(got[i], f(v, y[i])), `${v} ^ ${y[i]}: ${got[i]} and ${f(v, y[i])}`)
  })
})

test('constant powers', () => {
  for (const exponent of [0, 0.5, 1, 2, 3, -0.5, -1, -2, 2.5, -4]) {
    const f = compile((x) => power(x, exponent))
    for (const x of [0.3, 1, 7.25]) {
      const expected = Math.fround(x) ** exponent
      assert.ok(Math.abs(f(Math.fround(x)) - expected) < 4e-7 * expected, `${x} ^ ${exponent} = ${f(x)}`)
    }
  }
})

test('derivatives with respect to base and exponent', () => {
  const slope = (k: 0 | 1) => compile((x: Expr, y: Expr) => gradients(sum(pow(x, y)), [x, y])[k])
  const [dx, dy] = [slope(0), slope(1)]
  for (const [x, y] of [
    [0.5, 3],
    [2, -1.5],
    [1.25, 0],
    [3, 0.5],
  ] as const) {
    const [byX, byY] = [y * x ** (y - 1), x ** y * Math.log(x)]
    assert.ok(Math.abs(dx(x, y) - byX) < 1e-6 * Math.max(1, Math.abs(byX)), `d/dx ${x} ^ ${y}: ${dx(x, y)}`)
    assert.ok(Math.abs(dy(x, y) - byY) < 1e-6 * Math.max(1, Math.abs(byY)), `d/dy ${x} ^ ${y}: ${dy(x, y)}`)
  }
  assert.equal(dy(0, 2), 0)
  assert.equal(dx(0, 2), 0)
})
