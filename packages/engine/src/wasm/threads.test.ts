// Threads: programs share the helpers, small steps leave some idle, whoever breaks off is named, and nothing keeps the process alive.
import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { test } from 'node:test'
import { ClosedError, startThreads, stopThreads, ThreadError, wasm, wasmWith } from '@bitloom/engine'
import { constI32, expr, type Graph, input, makeGraph, toBytes } from '@bitloom/graph'
import type { Kernel } from '../kernel.ts'
import { ORDER } from './barrier.ts'
import { build } from './build.ts'

/** y' = y·a + y, [n, n], read back by a fold: a product, an elementwise kernel, a small one. */
const grown = (n: number): Graph => {
  const [y, a] = [input(0, 'f32', [n, n]), input(2, 'f32', [n, n])]
  const next = expr('add', [expr('dot', [y, a]), y])
  const slots = [
    { name: 'y', kind: 'state' as const, dtype: 'f32' as const, shape: [n, n] },
    { name: 'sums', kind: 'state' as const, dtype: 'f32' as const, shape: [n] },
    { name: 'a', kind: 'data' as const, dtype: 'f32' as const, shape: [n, n] },
  ]
  return makeGraph(slots, [next, expr('sum', [next], { attrs: [1] })], constI32(0))
}
const filled = (n: number): Uint8Array => toBytes(Float32Array.from({ length: n * n }, (_, i) => ((i * 7919) % 101) / (101 * n)))

test('programs of different thread counts take turns with the same helpers', async () => {
  await startThreads(4)
  const sizes = [4, 33, 64]
  const runs = sizes.flatMap((n) =>
    [1, 2, 3, 4].map((threads) => ({ n, threads, program: wasmWith({ threads, small: 0 }).compile(grown(n)) })),
  )
  for (const { n, program } of runs) {
    program.write(0, filled(n))
    program.write(2, filled(n))
  }
  for (let round = 0; round < 5; round++)
    for (const { n, threads, program } of runs) {
      program.step()
      if (threads === 4) program.profile()
      else program.step()
      const same = runs.find((r) => r.n === n)!.program
      for (const slot of [0, 1])
        assert.deepEqual(Uint8Array.from(program.read(slot)), same.read(slot), `${n}, ${threads} threads, round ${round}`)
    }
  for (const { program } of runs) program.close()
})

test('a profile of several threads names every kernel once', () => {
  const program = wasmWith({ threads: 2, small: 0 }).compile(grown(40))
  const times = program.profile()
  assert.equal(times.length, program.kernels)
  assert.ok(times.every(({ ms }) => ms >= 0))
  program.close()
})

test('helpers that were stopped come again for whoever needs them, and closing many programs replaces them', () => {
  const program = wasmWith({ threads: 3, small: 0 }).compile(grown(20))
  const same = wasm.compile(grown(20))
  for (const p of [program, same]) {
    p.write(0, filled(20))
    p.write(2, filled(20))
  }
  for (let round = 0; round < 3; round++) {
    for (const p of [program, same]) p.step()
    assert.deepEqual(Uint8Array.from(program.read(0)), same.read(0))
    stopThreads()
    for (let i = 0; i < 150; i++) {
      const other = wasmWith({ threads: 2, small: 0 }).compile(grown(4))
      other.step()
      other.close()
      other.close()
    }
  }
  program.close()
})

test('who waits for helpers that are stopped is told', async () => {
  const started = startThreads(3)
  stopThreads()
  await assert.rejects(started, new ThreadError('the helping threads were stopped'))
  await startThreads(3)
})

test('a closed program says so', () => {
  for (const threads of [1, 2]) {
    const program = wasmWith({ threads }).compile(grown(8))
    program.step()
    program.close()
    assert.throws(() => program.step(), new ClosedError())
  }
})

test('thread counts that cannot be are refused', () => {
  for (const threads of [0, 1.5, 65, Number.NaN]) assert.throws(() => wasmWith({ threads }), RangeError)
  assert.equal(wasm.compile(grown(4)).threads, 1)
})

test('a thread that breaks off is an error with its reason, not a wait for ever, and other programs go on', () => {
  const n = 1 << 20
  const access = { buffer: 0, dtype: 'f32' as const, offset: 0, strides: [1] }
  const kernel: Kernel = {
    name: 'beyond',
    work: [{ kind: 'nest', shape: [n], nodes: [{ kind: 'const', bits: 0 }], stores: [{ node: 0, access, canonical: false }] }],
    reads: [],
    writes: [0],
    exprs: [],
  }
  // Memory for the first thread's half only: the other one's is out of bounds.
  const buffers = [{ bytes: 2 * n }]
  const { team } = build([kernel], { addresses: [64], end: 64 + 2 * n, slotBytes: 0, liveBytes: 2 * n }, { buffers, threads: 2 })
  const broke = (error: unknown): boolean => error instanceof ThreadError && /thread 1 broke off: .*out of bounds/.test(error.message)
  assert.throws(() => team!.step(ORDER.step), broke)
  assert.throws(() => team!.step(ORDER.step), broke, 'and stays broken')
  const program = wasmWith({ threads: 2, small: 0 }).compile(grown(16))
  program.step()
  program.close()
})

/** Runs `script` as a process of its own; gives its exit status and what it wrote. */
const inProcess = (script: string): { status: number | null; text: string } => {
  const engine = JSON.stringify(new URL('../index.ts', import.meta.url).href)
  const graph = JSON.stringify(import.meta.resolve('@bitloom/graph'))
  const source = `
    const { wasmWith } = await import(${engine})
    const { constI32, expr, input, makeGraph } = await import(${graph})
    const y = input(0, 'f32', [1000, 100])
    const graph = makeGraph([{ name: 'y', kind: 'state', dtype: 'f32', shape: [1000, 100] }], [expr('neg', [y])], constI32(0))
    ${script}`
  const { status, stdout, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', source], {
    timeout: 20_000,
    encoding: 'utf8',
  })
  return { status, text: stdout + stderr }
}

test('idle helpers do not keep a process alive, whether programs are closed or not', () => {
  for (const end of ['', 'program.close()', 'process.exit(0)']) {
    const { status, text } = inProcess(`const program = wasmWith({ threads: 3 }).compile(graph); program.step(); ${end}`)
    assert.equal(status, 0, text)
  }
})

test('a helper that is ended from outside is an error at the next step; a program compiled after it runs', () => {
  const { status, text } = inProcess(`
    const threads = process.getBuiltinModule('node:worker_threads')
    const started = []
    threads.Worker = class extends threads.Worker { constructor(...all) { super(...all); started.push(this) } }
    const program = wasmWith({ threads: 2 }).compile(graph)
    program.step()
    await started[0].terminate()
    await new Promise((done) => setTimeout(done, 20))
    try { program.step() } catch (error) { console.log(error.name, error.message) }
    const other = wasmWith({ threads: 2 }).compile(graph)
    other.step()
    console.log('other', new Uint32Array(other.read(0).slice().buffer)[99999].toString(16), started.length)`)
  assert.equal(status, 0, text)
  assert.match(
    text,
    /engine\.ThreadError a helping thread ended: it exited with code 1\nthe program's state is lost; compile again, or use one thread\nother 80000000 2/,
  )
})
