// Memory: what is planned is what is held, close to what the graph's cost promised, and every address below 4 GB works.
import assert from 'node:assert/strict'
import { totalmem } from 'node:os'
import { test } from 'node:test'
import { ArenaError, planOf, wasmWith } from '@bitloom/engine'
import { costOf, type Expr, expr, type Graph, input, interpret, makeGraph, type Slot, toBytes } from '@bitloom/graph'

const [rows, columns] = [70, 53]
const f32 = (name: string, ...shape: number[]): Slot => ({ name, kind: 'state', dtype: 'f32', shape })

/** One kernel of each kind over four state slots, the first of them slot `at`; the slots before it stay as they are. */
const everything = (before: readonly Slot[]): Graph => {
  const at = before.length
  const [x, w, table] = [input(at, 'f32', [rows, columns]), input(at + 1, 'f32', [columns, rows]), input(at + 2, 'f32', [rows, columns])]
  const index = input(at + 4, 'i32', [rows])
  const moved = expr('add', [expr('mul', [x, expr('permute', [w], { attrs: [1, 0] })]), expr('gather', [table, index])])
  const next: Expr[] = [
    moved,
    expr('dot', [w, expr('dot', [moved, w])]),
    expr('scatterAdd', [moved, index], { shape: [rows, columns] }),
    expr('sum', [moved], { attrs: [1] }),
  ]
  const slots = [f32('x', rows, columns), f32('w', columns, rows), f32('table', rows, columns), f32('sums', rows)]
  const kept = before.map((slot, s) => input(s, slot.dtype, slot.shape))
  return makeGraph(
    [...before, ...slots, { name: 'index', kind: 'data', dtype: 'i32', shape: [rows] }],
    [...kept, ...next],
    expr('reshape', [expr('sum', [expr('sum', [moved], { attrs: [0] })], { attrs: [0] })], { shape: [] }),
  )
}
const data = [
  ...[rows * columns, rows * columns, rows * columns, rows].map((n, k) =>
    Float32Array.from({ length: n }, (_, i) => ((i * 7919 + k) % 1009) / 1009 - 0.5),
  ),
  Int32Array.from({ length: rows }, (_, i) => ((i * 31) % (rows + 6)) - 3),
]

/** Slots that nobody reads: their pages are never touched, so they cost addresses and no memory. */
const huge = (bytes: number): Slot[] => [{ name: 'huge', kind: 'state', dtype: 'i32', shape: [bytes / 4] }]

for (const [where, below] of [
  ['above 2 GB', 2 ** 31 + 2 ** 28],
  ['just below 4 GB', 2 ** 32 - 3 * 2 ** 20],
] as const)
  test(`tensors ${where} are computed as anywhere else, on 1 and 2 threads`, {
    skip: totalmem() < 2 ** 32 && 'not enough memory for the address space',
  }, () => {
    const wanted = interpret(everything([]), data)
    const graph = everything(huge(below))
    for (const threads of [1, 2]) {
      const program = wasmWith({ threads, small: 0 }).compile(graph)
      assert.ok(program.peakBytes > below && program.peakBytes <= 2 ** 32)
      data.forEach((tensor, s) => {
        program.write(s + 1, toBytes(tensor))
      })
      program.step()
      wanted.next.forEach((tensor, s) => {
        assert.deepEqual(Uint8Array.from(program.read(s + 1)), toBytes(tensor), `slot ${s}, ${threads} threads`)
      })
      assert.deepEqual(program.probe(), toBytes(wanted.probe))
      program.close()
    }
  })

test('a step beyond 4 GB is refused in words before anything is allocated', () => {
  const graph = everything(huge(2 ** 32))
  const refused = (error: unknown): boolean =>
    error instanceof ArenaError &&
    /^the step needs 4\.00 GiB \(4\.00 GiB of it slots\); one WebAssembly memory holds 4\.00 GiB\nmake the batch/.test(error.message)
  assert.throws(() => planOf(graph), refused)
  assert.throws(() => wasmWith({ threads: 2 }).compile(graph), refused)
})

test('the plan is the program, and no more than what the cost of the graph promised but for threads, constants and cache lines', () => {
  const graph = everything([])
  for (const threads of [1, 2, 3]) {
    const plan = planOf(graph, { threads })
    const program = wasmWith({ threads }).compile(graph)
    assert.equal(program.peakBytes, plan.peakBytes)
    assert.equal(program.kernels, plan.kernels)
    program.close()
    assert.equal(plan.slotBytes + plan.liveBytes + plan.otherBytes, plan.peakBytes)
    // A cache line a buffer; what is left is the same for any size of tensors: workspaces, constants, the words threads meet at.
    assert.ok(plan.slotBytes + plan.liveBytes <= costOf(graph).peakBytes + 64 * (graph.slots.length + graph.exprs.length))
    assert.ok(plan.otherBytes <= threads * 1.3 * 2 ** 20)
  }
})
