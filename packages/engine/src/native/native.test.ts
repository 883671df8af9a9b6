// What native code promises beside its bits: every vector width proves itself, closed programs say so, a cache that was tampered with is not believed, and a machine without a compiler is told why.
import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { chmodSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { arch, tmpdir } from 'node:os'
import { join } from 'node:path'
import { test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { selfTest, wasm } from '@bitloom/engine'
import { constI32, type Expr, expr, type Graph, input, makeGraph, toBytes } from '@bitloom/graph'
import { chooseBackend } from '../choose.ts'
import { compilerFor, findCompiler } from './compiler.ts'
import { nativeMissing, runtimeFor } from './library.ts'
import { nativeWith } from './run.ts'

const missing = nativeMissing()
const skip = missing === undefined ? false : `no native code here: ${missing}`

/** x' = x + x. */
const doubling = (n: number): Graph => {
  const x = input(0, 'f32', [n])
  return makeGraph([{ name: 'x', kind: 'state', dtype: 'f32', shape: [n] }], [expr('add', [x, x])], constI32(0))
}

/** Runs `code` in a Node of its own with this environment, and gives what it prints. */
const inNode = (code: string, env: Record<string, string>): string =>
  execFileSync(process.execPath, ['--input-type=module-typescript', '-e', code], {
    env: { ...process.env, ...env },
    cwd: fileURLToPath(new URL('../..', import.meta.url)),
    encoding: 'utf8',
  })

test("the machine's own width proves itself", { skip }, () => {
  const result = selfTest(nativeWith())
  assert.ok(result.ok, result.ok ? '' : result.reason)
})

// Vectors wider than the machine's are made of several: the same code as where they are real, but a minute of compiling, so only when asked for.
for (const width of process.env.BITLOOM_ALL_WIDTHS ? [4, 8, 16] : [4])
  test(`${width} lanes prove themselves`, { skip: skip || (arch() !== 'x64' ? 'x64 only' : false) }, () => {
    const { width: best } = findCompiler()
    const compiler = compilerFor(width < best ? 'x86-64' : 'native', width)
    const result = selfTest(nativeWith({ runtime: runtimeFor(compiler) }))
    assert.ok(result.ok, result.ok ? '' : result.reason)
  })

test('products of every way through the code give the bits of WebAssembly on 1, 2 and 3 threads', { skip }, () => {
  const turned = (e: Expr): Expr => expr('permute', [e], { attrs: e.shape.length === 2 ? [1, 0] : [0, 2, 1] })
  const wide = (e: Expr): Expr => expr('expand', [e], { shape: [100, 500] })
  const f32 = (slot: number, ...shape: number[]): Expr => input(slot, 'f32', shape)
  // Few rows and many; depths of one part, of several, and of more than one packing; rests at every edge; batches; rows that repeat.
  const cases: [a: number[], b: number[], value: (slot: number) => Expr][] = []
  for (const [m, k, n] of [
    [7, 5, 9],
    [150, 800, 70],
    [30, 900, 200],
    [145, 400, 333],
    [9, 500, 1000],
    [10, 5000, 40],
    [200, 4500, 20],
    [768, 40, 50],
  ]) {
    // biome-ignore format: a table
    cases.push([[m, k], [k, n], (s) => expr('dot', [f32(s, m, k), f32(s + 1, k, n)])])
    cases.push([[k, m], [k, n], (s) => expr('dot', [turned(f32(s, k, m)), f32(s + 1, k, n)])])
    cases.push([[m, k], [n, k], (s) => expr('dot', [f32(s, m, k), turned(f32(s + 1, n, k))])])
  }
  cases.push([[6, 40, 50], [6, 50, 60], (s) => expr('dot', [f32(s, 6, 40, 50), f32(s + 1, 6, 50, 60)])])
  cases.push([[6, 40, 50], [6, 60, 50], (s) => expr('dot', [f32(s, 6, 40, 50), turned(f32(s + 1, 6, 60, 50))])])
  cases.push([[1, 500], [500, 40], (s) => expr('dot', [wide(f32(s, 1, 500)), f32(s + 1, 500, 40)])])
  const programs = [wasm, nativeWith(), nativeWith({ threads: 2, small: 0 }), nativeWith({ threads: 3 })]
  for (const [a, b, value] of cases) {
    const { shape } = value(1)
    const data = [a, b].map((of, s) => ({ name: `in${s}`, kind: 'data' as const, dtype: 'f32' as const, shape: of }))
    const graph = makeGraph([{ name: 'out', kind: 'state', dtype: 'f32', shape }, ...data], [value(1)], constI32(0))
    const results = programs.map((backend) => {
      const program = backend.compile(graph)
      data.forEach((slot, s) => {
        const size = slot.shape.reduce((x, y) => x * y, 1)
        program.write(s + 1, toBytes(Float32Array.from({ length: size }, (_, i) => Math.fround(((i * 7919 + s) % 1009) / 300 - 1.6))))
      })
      program.step()
      const bytes = Uint8Array.from(program.read(0))
      program.close()
      return bytes
    })
    results.forEach((bytes, i) => {
      assert.ok(Buffer.compare(bytes, results[0]) === 0, `${programs[i].name}: [${a}] · [${b}] to [${shape}]`)
    })
  }
})

test('a closed program says so; threads are counted', { skip }, () => {
  const program = nativeWith({ threads: 2 }).compile(doubling(10))
  assert.equal(program.threads, 2)
  program.write(0, toBytes(new Float32Array(10).fill(1.5)))
  program.step()
  assert.deepEqual(Uint8Array.from(program.read(0)), toBytes(new Float32Array(10).fill(3)))
  program.close()
  assert.throws(() => program.step(), /the program is closed\ncompile the graph again/)
  assert.throws(() => nativeWith({ threads: 0 }), /0 threads: choose a whole number from 1 to 64/)
})

const MAKE = `
  import { nativeWith } from '@bitloom/engine/native/run'
  import { constI32, expr, input, makeGraph } from '@bitloom/graph'
  const x = input(0, 'f32', [3])
  const graph = makeGraph([{ name: 'x', kind: 'state', dtype: 'f32', shape: [3] }], [expr('add', [x, x])], constI32(0))
  const program = nativeWith({ threads: 2 }).compile(graph)
  program.write(0, new Uint8Array(Float32Array.of(1, 2, 3).buffer))
  program.step()
  console.log([...new Float32Array(Uint8Array.from(program.read(0)).buffer)].join())
`

test('a process ends while threads wait; a kept object that was changed is compiled anew; a folder others may write is not used', {
  skip,
}, () => {
  const cache = mkdtempSync(join(tmpdir(), 'bitloom-cache-'))
  try {
    const env = { XDG_CACHE_HOME: cache }
    assert.equal(inNode(MAKE, env).trim(), '2,4,6')
    const folder = join(cache, 'bitloom', 'kernels')
    const objects = (): string[] => readdirSync(folder).sort()
    const names = objects()
    assert.ok(names.length >= 2 && names.every((name) => /^[0-9a-f]{64}\.so$/.test(name)), names.join())
    const before = names.map((name) => readFileSync(join(folder, name)))
    for (const [i, name] of names.entries()) {
      const bytes = Buffer.from(before[i])
      bytes[bytes.length >> 1] ^= 1
      writeFileSync(join(folder, name), bytes)
    }
    assert.equal(inNode(MAKE, env).trim(), '2,4,6')
    assert.deepEqual(objects(), names)
    for (const [i, name] of names.entries()) assert.equal(readFileSync(join(folder, name)).length, before[i].length)

    rmSync(join(folder, names[0]))
    chmodSync(folder, 0o777)
    assert.equal(inNode(MAKE, env).trim(), '2,4,6')
    assert.deepEqual(objects(), names.slice(1), 'nothing was written into it')
  } finally {
    rmSync(cache, { recursive: true })
  }
})

test('without a compiler: WebAssembly with the reason, and an error for whoever insists', () => {
  const code = `
    import { chooseBackend } from '@bitloom/engine/choose'
    const { backend, reason } = await chooseBackend()
    console.log(backend.name + '|' + reason)
    await chooseBackend({ backend: 'native' }).catch((error) => console.log(error.name + '|' + error.message))
  `
  const printed = inNode(code, { PATH: '/nowhere' })
  assert.match(printed, /^wasm\|WebAssembly, because (no C compiler: there is no "cc" in PATH|the package|native kernels are made)/)
  assert.match(printed, /engine\.BackendError\|/)
})

test('where native code works it is chosen; WebAssembly is when asked for', { skip }, async () => {
  const { backend, reason } = await chooseBackend({ threads: 2 })
  assert.equal(backend.name, 'native, 2 threads')
  assert.match(reason, /gave the interpreter's bits/)
  assert.equal((await chooseBackend({ backend: 'wasm' })).backend.name, 'wasm')
})
