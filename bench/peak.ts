// What this core's 128-bit vectors can do at most: the ceiling over every matrix product in WebAssembly.
import { ModuleBuilder } from '@bitloom/engine/wasm/assemble'
import { compileModule, instantiate, makeMemory } from '@bitloom/engine/wasm/platform'

/** GFLOP/s of ten independent multiply-adds in registers, no memory: the best of `forMs`. */
export const peakGflops = (forMs = 400): number => {
  const [chains, rounds] = [10, 200_000]
  const module = new ModuleBuilder()
  module.func('peak', { params: ['i32'], results: [] }, (f) => {
    const x = f.local('v128')
    const sums = Array.from({ length: chains }, () => f.local('v128'))
    f.i32(64).mem('v128.load').set(x)
    f.while(
      () => f.get(0).op('i32.eqz'),
      () => {
        for (const s of sums) f.get(s).get(x).get(x).op('f32x4.mul').op('f32x4.add').set(s)
        f.bump(0, -1)
      },
    )
    for (const s of sums) f.i32(128).get(s).mem('v128.store')
  })
  const { peak } = instantiate(compileModule(module.bytes()), makeMemory(65536)) as { peak: (rounds: number) => void }
  let least = Number.POSITIVE_INFINITY
  for (const until = performance.now() + forMs; performance.now() < until; ) {
    const start = performance.now()
    peak(rounds)
    least = Math.min(least, performance.now() - start)
  }
  return (8 * chains * rounds) / least / 1e6
}
