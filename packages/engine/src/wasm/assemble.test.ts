// Modules from the assembler run, print as text, and refuse what WebAssembly has no name for.
import assert from 'node:assert/strict'
import { test } from 'node:test'
import { ModuleBuilder } from './assemble.ts'
import { compileModule, instantiate, makeMemory } from './platform.ts'

const sumTo = (): ModuleBuilder => {
  const module = new ModuleBuilder()
  module.func('sumTo', { params: ['i32'], results: ['i32'] }, (f) => {
    const acc = f.local('i32')
    f.while(
      () => f.get(0).op('i32.eqz'),
      () => {
        f.get(acc).get(0).op('i32.add').set(acc)
        f.bump(0, -1)
      },
    )
    f.get(acc)
  })
  return module
}

test('a while loop runs as often as it says', () => {
  const { sumTo: run } = instantiate(compileModule(sumTo().bytes()), makeMemory(1)) as { sumTo: (n: number) => number }
  assert.equal(run(100), 5050)
  assert.equal(run(0), 0)
})

test('constants of every length survive encoding', () => {
  for (const value of [0, 1, -1, 63, 64, -64, -65, 127, 128, 8191, 8192, -8193, 0x7fffffff, -0x80000000]) {
    const module = new ModuleBuilder()
    module.func('value', { params: [], results: ['i32'] }, (f) => f.i32(value))
    const { value: run } = instantiate(compileModule(module.bytes()), makeMemory(1)) as { value: () => number }
    assert.equal(run(), value)
  }
})

test('memory is read at constant offsets, lane by lane', () => {
  const module = new ModuleBuilder()
  module.func('third', { params: [], results: ['i32'] }, (f) => f.i32(16).mem('v128.load', 48).op('i32x4.extract_lane', 2))
  const memory = makeMemory(65536)
  new Int32Array(memory.buffer)[64 / 4 + 2] = 77
  const { third } = instantiate(compileModule(module.bytes()), memory) as { third: () => number }
  assert.equal(third(), 77)
})

test('text shows the nesting', () => {
  const text = sumTo().text()
  assert.match(text, /^\(func \$sumTo \(param i32\) \(result i32\)$/m)
  assert.match(text, /^ {2}block\n {4}loop\n {6}local\.get 0\n {6}i32\.eqz\n {6}br_if 1$/m)
})

test('an instruction that does not exist is named', () => {
  const module = new ModuleBuilder()
  module.func('bad', { params: [], results: [] }, (f) => f.op('f32x4.fma'))
  assert.throws(() => module.bytes(), /unknown instruction f32x4\.fma/)
})
