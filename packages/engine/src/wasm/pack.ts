// How a matrix product's operands are laid out for its inner loop: rows of A with adjacent terms, panels of B with adjacent columns, edge tiles by way of a buffer.
import type { FunctionBuilder } from './assemble.ts'
import { transpose4 } from './lanes.ts'

/** packA(src, dst, m, k, line, step): m lines of k elements into rows of `rowBytes`. Lines are `line` bytes apart, their elements `step`. */
export const writePackRows = (f: FunctionBuilder, rowBytes: number): void => {
  const [src, dst, m, k, line, step] = [0, 1, 2, 3, 4, 5]
  const [from, to, left] = [f.local('i32'), f.local('i32'), f.local('i32')]
  const rows = Array.from({ length: 4 }, () => f.local('v128'))
  const scratch = Array.from({ length: 4 }, () => f.local('v128'))
  /** One line, element by element. */
  const single = (): void => {
    f.get(src).set(from).get(dst).set(to).get(k).set(left)
    f.while(
      () => f.get(left).op('i32.eqz'),
      () => {
        f.get(to).get(from).mem('f32.load').mem('f32.store')
        f.get(from).get(step).op('i32.add').set(from)
        f.bump(to, 4).bump(left, -1)
      },
    )
    f.get(src).get(line).op('i32.add').set(src)
    f.bump(dst, rowBytes).bump(m, -1)
  }
  f.get(line)
    .i32(4)
    .op('i32.eq')
    .if(() => {
      f.while(
        () => f.get(m).i32(4).op('i32.lt_s'),
        () => {
          f.get(src).set(from).get(dst).set(to).get(k).set(left)
          f.while(
            () => f.get(left).i32(4).op('i32.lt_s'),
            () => {
              for (const row of rows) {
                f.get(from).mem('v128.load').set(row)
                f.get(from).get(step).op('i32.add').set(from)
              }
              transpose4(f, rows, scratch)
              rows.forEach((row, i) => {
                f.get(to)
                  .get(row)
                  .mem('v128.store', i * rowBytes)
              })
              f.bump(to, 16).bump(left, -4)
            },
          )
          f.while(
            () => f.get(left).op('i32.eqz'),
            () => {
              f.get(from).mem('v128.load').set(rows[0])
              for (let i = 0; i < 4; i++)
                f.get(to)
                  .get(rows[0])
                  .op('v128.store32_lane', i * rowBytes, i)
              f.get(from).get(step).op('i32.add').set(from)
              f.bump(to, 4).bump(left, -1)
            },
          )
          f.bump(src, 16)
            .bump(dst, 4 * rowBytes)
            .bump(m, -4)
        },
      )
    })
  f.while(() => f.get(m).op('i32.eqz'), single)
}
/**
 * Packs `count` lines of `k` elements into panels of `width` lines, interleaved. Lines are `line` bytes apart, their elements `step`.
 * Three ways: elements adjacent (4x4 transposes; an absent line reads the zero area), lines adjacent (whole vectors), anything (scalars).
 */
export const writePackPanels = (f: FunctionBuilder, width: number): void => {
  const [src, dst, count, k, line, step, zeros] = [0, 1, 2, 3, 4, 5, 6]
  const pointers = Array.from({ length: width }, () => f.local('i32'))
  const left = f.local('i32')
  const end = f.local('i32')
  const i = f.local('i32')
  const value = f.local('f32')
  const vectors = Array.from({ length: width - (width % 4) }, () => f.local('v128'))
  const scratch = Array.from({ length: 4 }, () => f.local('v128'))
  const rowBytes = 4 * width

  f.while(
    () => f.get(count).i32(0).op('i32.le_s'),
    () => {
      f.get(step)
        .i32(4)
        .op('i32.eq')
        .if(
          () => {
            for (let at = 0; at < width; at++) {
              f.get(src).get(line).i32(at).op('i32.mul').op('i32.add')
              f.get(zeros).get(count).i32(at).op('i32.gt_s').op('select').set(pointers[at])
            }
            f.get(k).set(left)
            f.while(
              () => f.get(left).i32(4).op('i32.lt_s'),
              () => {
                vectors.forEach((v, at) => {
                  f.get(pointers[at]).mem('v128.load').set(v)
                })
                for (let group = 0; group < vectors.length; group += 4) transpose4(f, vectors.slice(group, group + 4), scratch)
                for (let at = 0; at < 4; at++)
                  for (let group = 0; group < vectors.length; group += 4)
                    f.get(dst)
                      .get(vectors[group + at])
                      .mem('v128.store', rowBytes * at + 4 * group)
                for (let at = vectors.length; at < width; at++) {
                  f.get(pointers[at]).mem('v128.load').set(scratch[0])
                  for (let lane = 0; lane < 4; lane++)
                    f.get(dst)
                      .get(scratch[0])
                      .op('v128.store32_lane', rowBytes * lane + 4 * at, lane)
                }
                for (const p of pointers) f.bump(p, 16)
                f.bump(dst, 4 * rowBytes).bump(left, -4)
              },
            )
            f.while(
              () => f.get(left).op('i32.eqz'),
              () => {
                pointers.forEach((p, at) => {
                  f.get(dst)
                    .get(p)
                    .mem('f32.load')
                    .mem('f32.store', 4 * at)
                  f.bump(p, 4)
                })
                f.bump(dst, rowBytes).bump(left, -1)
              },
            )
          },
          () => {
            f.get(src).set(pointers[0])
            f.get(dst).get(k).i32(rowBytes).op('i32.mul').op('i32.add').set(end)
            f.get(line).i32(4).op('i32.eq').get(count).i32(width).op('i32.ge_s').op('i32.and')
            f.if(
              () => {
                f.while(
                  () => f.get(dst).get(end).op('i32.ge_u'),
                  () => {
                    for (let at = 0; at + 4 <= width; at += 4)
                      f.get(dst)
                        .get(pointers[0])
                        .mem('v128.load', 4 * at)
                        .mem('v128.store', 4 * at)
                    for (let at = width - (width % 4); at < width; at++)
                      f.get(dst)
                        .get(pointers[0])
                        .mem('f32.load', 4 * at)
                        .mem('f32.store', 4 * at)
                    f.get(pointers[0]).get(step).op('i32.add').set(pointers[0])
                    f.bump(dst, rowBytes)
                  },
                )
              },
              () => {
                f.while(
                  () => f.get(dst).get(end).op('i32.ge_u'),
                  () => {
                    f.get(pointers[0]).set(pointers[1])
                    f.i32(0).set(i)
                    f.while(
                      () => f.get(i).i32(width).op('i32.ge_s'),
                      () => {
                        f.op('f32.const', 0).set(value)
                        f.get(i)
                          .get(count)
                          .op('i32.lt_s')
                          .if(() => f.get(pointers[1]).mem('f32.load').set(value))
                        f.get(dst).get(value).mem('f32.store')
                        f.get(pointers[1]).get(line).op('i32.add').set(pointers[1])
                        f.bump(dst, 4).bump(i, 1)
                      },
                    )
                    f.get(pointers[0]).get(step).op('i32.add').set(pointers[0])
                  },
                )
              },
            )
          },
        )
      f.get(src).get(line).i32(width).op('i32.mul').op('i32.add').set(src)
      f.bump(count, -width)
    },
  )
}

/** copyTile(from, to, rows, cols, fromRow, toRow): the observed part of an edge tile, scalar by scalar. */
export const writeCopyTile = (f: FunctionBuilder): void => {
  const [from, to, rows, cols, fromRow, toRow] = [0, 1, 2, 3, 4, 5]
  const j = f.local('i32')
  f.get(cols).i32(2).op('i32.shl').set(cols)
  f.while(
    () => f.get(rows).op('i32.eqz'),
    () => {
      f.i32(0).set(j)
      f.while(
        () => f.get(j).get(cols).op('i32.ge_s'),
        () => {
          f.get(to).get(j).op('i32.add').get(from).get(j).op('i32.add').mem('f32.load').mem('f32.store')
          f.bump(j, 4)
        },
      )
      f.get(from).get(fromRow).op('i32.add').set(from)
      f.get(to).get(toRow).op('i32.add').set(to)
      f.bump(rows, -1)
    },
  )
}
