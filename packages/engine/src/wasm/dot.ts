// A batched product as a function of (from, to): which panels of which batch's matrix, handed to the shared `gemm`.
import type { Dot } from '../kernel.ts'
import type { Cut } from '../split.ts'
import type { FunctionBuilder } from './assemble.ts'

const FROM = 0
const TO = 1

/** What a generated function needs to call the matrix product: its index, and the global that holds this thread's workspace. */
export interface GemmCall {
  readonly gemm: number
  readonly workspace: number
}

/** Writes the body of a function with parameters (from, to), pieces of the cut: panels of the output's longer side, counted on through the batches. */
export const emitDot = (
  f: FunctionBuilder,
  dot: Dot,
  { along, unit }: Cut,
  address: (buffer: number) => number,
  { gemm, workspace }: GemmCall,
): void => {
  const { batch, m, n, k } = dot
  const byColumns = along === 'columns'
  const size = byColumns ? n : m
  const panels = along === 'whole' ? 1 : Math.ceil(size / unit)
  const batches = batch.reduce((count, axis) => count * axis, 1)
  if (along === 'whole') f.i32(0).set(FROM).i32(batches).set(TO)
  const [matrix, coordinate, a, b, c, panel, start, count, left] = Array.from({ length: 9 }, () => f.local('i32'))

  f.while(
    () => f.get(FROM).get(TO).op('i32.ge_u'),
    () => {
      f.get(FROM).i32(panels).op('i32.div_u').set(matrix)
      f.get(FROM).get(matrix).i32(panels).op('i32.mul').op('i32.sub').set(panel)
      // How many panels of this matrix: to its end, or to the end of what was asked for.
      f.i32(panels).get(panel).op('i32.sub').set(left)
      f.get(TO).get(FROM).op('i32.sub').set(count)
      f.get(left).get(count).get(left).get(count).op('i32.lt_u').op('select').set(left)
      f.get(FROM).get(left).op('i32.add').set(FROM)
      if (along === 'whole') f.i32(0).set(start).i32(size).set(count)
      else {
        f.get(panel).i32(unit).op('i32.mul').set(start)
        f.get(left).i32(unit).op('i32.mul').set(count)
        f.i32(size).get(start).op('i32.sub').set(left)
        f.get(left).get(count).get(left).get(count).op('i32.lt_u').op('select').set(count)
      }

      f.i32(address(dot.c.buffer))
        .get(matrix)
        .i32(4 * m * n)
        .op('i32.mul')
        .op('i32.add')
        .set(c)
      f.i32(address(dot.a.buffer) + 4 * dot.a.offset).set(a)
      f.i32(address(dot.b.buffer) + 4 * dot.b.offset).set(b)
      for (let axis = batch.length - 1; axis >= 0; axis--) {
        f.get(matrix).i32(batch[axis]).op('i32.rem_u').set(coordinate)
        f.get(matrix).i32(batch[axis]).op('i32.div_u').set(matrix)
        for (const [side, local] of [
          [dot.a, a],
          [dot.b, b],
        ] as const)
          f.get(local)
            .get(coordinate)
            .i32(4 * side.batch[axis])
            .op('i32.mul')
            .op('i32.add')
            .set(local)
      }
      const moved = byColumns ? b : a
      f.get(moved)
        .get(start)
        .i32(4 * (byColumns ? dot.b.column : dot.a.row))
        .op('i32.mul')
        .op('i32.add')
        .set(moved)
      f.get(c)
        .get(start)
        .i32(byColumns ? 4 : 4 * n)
        .op('i32.mul')
        .op('i32.add')
        .set(c)

      f.get(a).get(b).get(c)
      if (byColumns) f.i32(m).get(count)
      else f.get(count).i32(n)
      f.i32(k)
      for (const bytes of [dot.a.row, dot.a.column, dot.b.row, dot.b.column]) f.i32(4 * bytes)
      f.op('global.get', workspace)
        .i32(4 * n)
        .call(gemm)
    },
  )
}
