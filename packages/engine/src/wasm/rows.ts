// Gather and scatter-add of whole rows: the index decides the address, so they are loops of their own and not nests.
import type { Gather, ScatterAdd } from '../kernel.ts'
import type { FunctionBuilder } from './assemble.ts'

type Address = (buffer: number) => number

/** Pushes clamp(i32 at `pointer`, 0, rows - 1). */
const pushClamped = (f: FunctionBuilder, pointer: number, scratch: number, rows: number): void => {
  f.get(pointer).mem('i32.load').set(scratch)
  f.get(scratch).i32(0).get(scratch).i32(0).op('i32.ge_s').op('select').set(scratch)
  f.get(scratch)
    .i32(rows - 1)
    .get(scratch)
    .i32(rows - 1)
    .op('i32.lt_s')
    .op('select')
}

/** Chunks of `bytes` by the widest access that fits: [bytes a chunk, number of chunks]. */
const chunksOf = (bytes: number): [width: 16 | 4 | 1, count: number][] => {
  const wide = Math.floor(bytes / 16)
  const words = Math.floor((bytes % 16) / 4)
  return (
    [
      [16, wide],
      [4, words],
      [1, bytes % 4],
    ] as [16 | 4 | 1, number][]
  ).filter(([, count]) => count > 0)
}

const repeat = (f: FunctionBuilder, counter: number, count: number, body: () => void): void => {
  f.i32(count).set(counter)
  f.while(
    () => f.get(counter).op('i32.eqz'),
    () => {
      body()
      f.bump(counter, -1)
    },
  )
}

/** out[i] = x[clamp(index[i])]. */
export const emitGather = (f: FunctionBuilder, g: Gather, address: Address): void => {
  const [index, to, from, i, j, scratch] = Array.from({ length: 6 }, () => f.local('i32'))
  f.i32(address(g.index)).set(index).i32(address(g.out)).set(to)
  repeat(f, i, g.count, () => {
    pushClamped(f, index, scratch, g.rows)
    f.i32(g.rowBytes).op('i32.mul').i32(address(g.x)).op('i32.add').set(from)
    for (const [width, count] of chunksOf(g.rowBytes))
      repeat(f, j, count, () => {
        f.get(to).get(from)
        if (width === 16) f.mem('v128.load').mem('v128.store')
        else if (width === 4) f.mem('i32.load').mem('i32.store')
        else f.mem('i32.load8_u').mem('i32.store8')
        f.bump(to, width).bump(from, width)
      })
    f.bump(index, 4)
  })
}

/** out = +0, then out[clamp(index[i])] += source[i] for ascending i: each row folds its sources in order. */
export const emitScatterAdd = (f: FunctionBuilder, s: ScatterAdd, address: Address): void => {
  const [index, from, to, i, j, scratch] = Array.from({ length: 6 }, () => f.local('i32'))
  f.i32(address(s.out))
    .i32(0)
    .i32(s.rows * s.row * 4)
    .op('memory.fill')
  f.i32(address(s.index)).set(index).i32(address(s.source)).set(from)
  repeat(f, i, s.count, () => {
    pushClamped(f, index, scratch, s.rows)
    f.i32(4 * s.row)
      .op('i32.mul')
      .i32(address(s.out))
      .op('i32.add')
      .set(to)
    for (const [width, count] of chunksOf(4 * s.row))
      repeat(f, j, count, () => {
        f.get(to).get(to)
        if (width === 16) f.mem('v128.load').get(from).mem('v128.load').op('f32x4.add').mem('v128.store')
        else f.mem('f32.load').get(from).mem('f32.load').op('f32.add').mem('f32.store')
        f.bump(to, width).bump(from, width)
      })
    f.bump(index, 4)
  })
}
