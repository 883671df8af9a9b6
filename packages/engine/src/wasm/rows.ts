// Gather and scatter-add of whole rows: the index decides the address, so they are loops of their own and not nests.
import type { Gather, ScatterAdd } from '../kernel.ts'
import type { Cut } from '../split.ts'
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

/** The two parameters: the pieces of the cut to do, [from, to). */
const FROM = 0
const TO = 1

const loop = (f: FunctionBuilder, counter: number, body: () => void): void => {
  f.while(
    () => f.get(counter).op('i32.eqz'),
    () => {
      body()
      f.bump(counter, -1)
    },
  )
}

const repeat = (f: FunctionBuilder, counter: number, count: number, body: () => void): void => {
  f.i32(count).set(counter)
  loop(f, counter, body)
}

/** out[i] = x[clamp(index[i])], in a function of (from, to): rows, unless the work is not cut. */
export const emitGather = (f: FunctionBuilder, g: Gather, { along }: Cut, address: Address): void => {
  const [index, out, row, i, j, scratch] = Array.from({ length: 6 }, () => f.local('i32'))
  f.i32(address(g.index)).set(index).i32(address(g.out)).set(out)
  if (along === 'rows') {
    f.get(index).get(FROM).i32(4).op('i32.mul').op('i32.add').set(index)
    f.get(out).get(FROM).i32(g.rowBytes).op('i32.mul').op('i32.add').set(out)
    f.get(TO).get(FROM).op('i32.sub').set(i)
  } else f.i32(g.count).set(i)
  loop(f, i, () => {
    pushClamped(f, index, scratch, g.rows)
    f.i32(g.rowBytes).op('i32.mul').i32(address(g.x)).op('i32.add').set(row)
    for (const [width, count] of chunksOf(g.rowBytes))
      repeat(f, j, count, () => {
        f.get(out).get(row)
        if (width === 16) f.mem('v128.load').mem('v128.store')
        else if (width === 4) f.mem('i32.load').mem('i32.store')
        else f.mem('i32.load8_u').mem('i32.store8')
        f.bump(out, width).bump(row, width)
      })
    f.bump(index, 4)
  })
}

/** out = +0, then out[clamp(index[i])] += source[i] for ascending i: each row folds its sources in order. In a function of (from, to), by columns or rows. */
export const emitScatterAdd = (f: FunctionBuilder, s: ScatterAdd, { along, unit }: Cut, address: Address): void => {
  const [index, source, from, to, i, j, scratch, bytes] = Array.from({ length: 8 }, () => f.local('i32'))
  const rowBytes = 4 * s.row
  f.i32(address(s.source)).set(source)
  if (along === 'columns') {
    // This thread's part of a row: `bytes` of it, from byte FROM on.
    f.get(FROM)
      .i32(4 * unit)
      .op('i32.mul')
      .set(FROM)
    f.get(TO)
      .i32(4 * unit)
      .op('i32.mul')
      .set(TO)
    f.get(TO).i32(rowBytes).get(TO).i32(rowBytes).op('i32.lt_s').op('select').get(FROM).op('i32.sub').set(bytes)
    f.get(source).get(FROM).op('i32.add').set(source)
    f.i32(address(s.out)).get(FROM).op('i32.add').set(to)
    repeat(f, i, s.rows, () => {
      f.get(to).i32(0).get(bytes).op('memory.fill')
      f.bump(to, rowBytes)
    })
  } else if (along === 'rows') {
    f.i32(address(s.out)).get(FROM).i32(rowBytes).op('i32.mul').op('i32.add')
    f.i32(0).get(TO).get(FROM).op('i32.sub').i32(rowBytes).op('i32.mul').op('memory.fill')
  } else
    f.i32(address(s.out))
      .i32(0)
      .i32(s.rows * rowBytes)
      .op('memory.fill')
  const add = (width: number): void => {
    f.get(to).get(to)
    if (width === 16) f.mem('v128.load').get(from).mem('v128.load').op('f32x4.add').mem('v128.store')
    else f.mem('f32.load').get(from).mem('f32.load').op('f32.add').mem('f32.store')
    f.bump(to, width).bump(from, width)
  }
  const addRow = (): void => {
    f.get(scratch).i32(rowBytes).op('i32.mul').i32(address(s.out)).op('i32.add').set(to)
    f.get(source).set(from)
    if (along !== 'columns') {
      for (const [width, count] of chunksOf(rowBytes)) repeat(f, j, count, () => add(width))
      return
    }
    f.get(to).get(FROM).op('i32.add').set(to)
    f.get(bytes).i32(4).op('i32.shr_u').set(j)
    loop(f, j, () => add(16))
    if (s.row % 4 === 0) return
    f.get(bytes).i32(2).op('i32.shr_u').i32(3).op('i32.and').set(j)
    loop(f, j, () => add(4))
  }
  f.i32(address(s.index)).set(index)
  repeat(f, i, s.count, () => {
    pushClamped(f, index, scratch, s.rows)
    f.set(scratch)
    if (along === 'rows') f.get(scratch).get(FROM).op('i32.sub').get(TO).get(FROM).op('i32.sub').op('i32.lt_u').if(addRow)
    else addRow()
    f.bump(source, rowBytes).bump(index, 4)
  })
}
