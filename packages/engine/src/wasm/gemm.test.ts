// The tiled product gives the bits of a plain left fold: every tile edge, every block edge, each operand as it is and transposed.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { type Gemm, gemmModule, gemmWorkBytes } from './gemm.ts'
import { compileModule, instantiate, makeMemory } from './platform.ts'

const memory = makeMemory(8 * 2 ** 20)
const gemm = instantiate(compileModule(gemmModule().bytes()), memory).gemm as Gemm
const f32 = new Float32Array(memory.buffer)

let word = 1
const draw = (): number => (word = (Math.imul(word, 1664525) + 1013904223) >>> 0) / 2 ** 31 - 1

/** Runs one product with guards around C and the workspace, and compares it with the fold that docs/numerics.md defines. */
const check = (m: number, n: number, k: number, aTransposed: boolean, bTransposed: boolean): void => {
  const [a, b] = [64, 64 + 4 * m * k + 64]
  const c = b + 4 * k * n + 64
  const work = c + 4 * m * n + 64
  const end = work + gemmWorkBytes(m, n, k)
  for (let i = a / 4; i < c / 4; i++) f32[i] = draw()
  f32.fill(7, c / 4 - 1, work / 4)
  f32.fill(0, work / 4, end / 4)
  f32[end / 4] = 5
  const [aRow, aCol] = aTransposed ? [1, m] : [k, 1]
  const [bRow, bCol] = bTransposed ? [1, k] : [n, 1]
  gemm(a, b, c, m, n, k, 4 * aRow, 4 * aCol, 4 * bRow, 4 * bCol, work, 4 * n)
  for (let i = 0; i < m; i++)
    for (let j = 0; j < n; j++) {
      let acc = 0
      for (let t = 0; t < k; t++) acc = Math.fround(acc + Math.fround(f32[a / 4 + i * aRow + t * aCol] * f32[b / 4 + t * bRow + j * bCol]))
      assert.ok(Object.is(f32[c / 4 + i * n + j], acc), `${m}x${k}x${n} at ${i},${j}: ${f32[c / 4 + i * n + j]}, not ${acc}`)
    }
  assert.equal(f32[c / 4 - 1], 7)
  assert.equal(f32[c / 4 + m * n], 7)
  assert.equal(f32[end / 4], 5)
}

const sizes = [
  [1, 1, 1],
  [5, 8, 4],
  [6, 9, 300],
  [13, 31, 17],
  [64, 10, 128],
  [130, 20, 513],
  [251, 3, 256],
  [7, 1100, 5],
  [126, 8, 9],
]
for (const [m, n, k] of sizes)
  test(`${m}x${k} by ${k}x${n} is the strict left fold, also with transposed operands`, () => {
    for (const a of [false, true]) for (const b of [false, true]) check(m, n, k, a, b)
  })
