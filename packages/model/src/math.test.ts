// The functions give their golden bits, are exact where they must be, and stay inside the errors that docs/functions.md states.

import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { test } from 'node:test'
import { input } from '@bitloom/graph'
import { compile, FUNCTIONS, goldenInputs, goldenOutputs, measure } from '../../../tools/ulp.ts'
import { gradients } from './grad.ts'
import { sum } from './tensor.ts'

const golden = JSON.parse(readFileSync(new URL('../../../vectors/functions.json', import.meta.url), 'utf8')) as Record<string, string>
const column = (name: string): number[] => (golden[name].slice(2).match(/.{8}/g) ?? []).map((w) => Number.parseInt(w, 16))

test('the interpreter gives the golden words of every function', () => {
  const x = Uint32Array.from(column('x'))
  assert.equal(x.length, 2000)
  assert.deepEqual(x, goldenInputs())
  for (const [name, words] of Object.entries(goldenOutputs(x))) assert.deepEqual([...words], column(name), name)
})

test('the compiled form that is measured is the graph, word for word', () => {
  const word = new Uint32Array(1)
  const real = new Float32Array(word.buffer)
  for (const [name, { of }] of Object.entries(FUNCTIONS)) {
    const f = compile(of)
    const expected = column(name)
    column('x').forEach((bits, i) => {
      word[0] = bits
      real[0] = f(real[0])
      assert.equal(Number.isNaN(real[0]) ? 0x7fc00000 : word[0], expected[i], `${name}(${bits.toString(16)})`)
    })
  }
})

test('special values', () => {
  const [inf, nan] = [Number.POSITIVE_INFINITY, Number.NaN]
  const table: Record<string, [number, number][]> = {
    exp: [
      [0, 1],
      [-0, 1],
      [inf, inf],
      [-inf, 0],
      [nan, nan],
      [88.72283, 3.4027985e38],
      [88.72284, inf],
      [-87.33655, 0],
      [1e-45, 1],
    ],
    expm1: [
      [0, 0],
      [-0, -0],
      [inf, inf],
      [-inf, -1],
      [nan, nan],
      [1e-45, 1e-45],
      [-100, -1],
    ],
    log: [
      [0, -inf],
      [-0, -inf],
      [1, 0],
      [inf, inf],
      [-1, nan],
      [-inf, nan],
      [nan, nan],
      [2 ** -149, Math.fround(-149 * Math.LN2)],
    ],
    log1p: [
      [0, 0],
      [-0, -0],
      [-1, -inf],
      [-2, nan],
      [inf, inf],
      [nan, nan],
      [1e-45, 1e-45],
    ],
    tanh: [
      [0, 0],
      [-0, -0],
      [inf, 1],
      [-inf, -1],
      [nan, nan],
      [1e-45, 1e-45],
      [20, 1],
      [-20, -1],
    ],
    sigmoid: [
      [0, 0.5],
      [inf, 1],
      [-inf, 0],
      [nan, nan],
    ],
    silu: [
      [0, 0],
      [inf, inf],
      [-inf, -0],
      [nan, nan],
    ],
    softplus: [
      [inf, inf],
      [-inf, 0],
      [nan, nan],
      [100, 100],
    ],
    erf: [
      [0, 0],
      [-0, -0],
      [inf, 1],
      [-inf, -1],
      [nan, nan],
      [4, 1],
      [-4, -1],
    ],
    gelu: [
      [0, 0],
      [inf, inf],
      [-inf, -0],
      [nan, nan],
    ],
    geluTanh: [
      [0, 0],
      [inf, inf],
      [-inf, -0],
      [nan, nan],
    ],
    rsqrt: [
      [0, inf],
      [-0, -inf],
      [4, 0.5],
      [inf, 0],
      [-1, nan],
      [nan, nan],
    ],
    sin: [
      [0, 0],
      [-0, -0],
      [inf, nan],
      [nan, nan],
    ],
    cos: [
      [0, 1],
      [-0, 1],
      [-inf, nan],
      [nan, nan],
    ],
    sinTurns: [
      [0, 0],
      [0.25, 1],
      [0.75, -1],
      [1000.25, 1],
    ],
    cosTurns: [
      [0, 1],
      [0.5, -1],
      [-0.5, -1],
      [0.25, 0],
    ],
  }
  assert.deepEqual(Object.keys(table).sort(), Object.keys(FUNCTIONS).sort())
  for (const [name, rows] of Object.entries(table)) {
    const f = compile(FUNCTIONS[name].of)
    for (const [x, y] of rows) {
      const got = f(Math.fround(x))
      assert.ok(Object.is(got, Math.fround(y)) || (name.endsWith('Turns') && got === y), `${name}(${x}) = ${got}, not ${y}`)
    }
  }
})

/** Bounds that the documentation states, in ulp; every 99,991st input here, all of them in tools/ulp.ts. */
const BOUNDS: Record<string, number> = {
  ...{ exp: 1, expm1: 1.6, log: 0.9, log1p: 0.9, tanh: 1.5, sigmoid: 2.5, silu: 4.2, softplus: 1.7, erf: 1.4, gelu: 2.8 },
  ...{ geluTanh: 3.9, rsqrt: 1.5, sin: 0.9, cos: 0.9, sinTurns: 1.6, cosTurns: 1.6 },
}

test('errors stay inside the stated bounds, and no result is of another kind', () => {
  assert.deepEqual(Object.keys(BOUNDS).sort(), Object.keys(FUNCTIONS).sort())
  for (const [name, bound] of Object.entries(BOUNDS)) {
    const { ulp, at, wrong } = measure(FUNCTIONS[name], 99_991)
    assert.ok(ulp <= bound, `${name}: ${ulp} ulp at ${at}, stated ${bound}`)
    assert.equal(wrong, 0, name)
  }
})

test('derivatives agree with differences of the float64 references', () => {
  for (const [name, { of, reference }] of Object.entries(FUNCTIONS)) {
    const slope = compile((x) => gradients(sum(of(x)), [x])[0])
    for (const x of [0.11, 0.4, 0.83, 1.3, 2.7, ...(/log|rsqrt/.test(name) ? [] : [-0.35, -1.9])]) {
      const at = Math.fround(x)
      const expected = (reference(at + 1e-5) - reference(at - 1e-5)) / 2e-5
      assert.ok(
        Math.abs(slope(at) - expected) < 2e-6 * Math.max(1, Math.abs(expected)),
        `${name}'(${x}) = ${slope(at)}, by differences ${expected}`,
      )
    }
  }
  assert.equal(gradients(sum(input(0, 'f32', [])), [input(0, 'f32', [])])[0].op, 'const')
})
