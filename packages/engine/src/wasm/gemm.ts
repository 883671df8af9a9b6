// Matrix products in the one order docs/numerics.md §4 allows: each output starts at +0 and adds f32(a*b) in ascending k, never fused.
// Lanes and tiles are different outputs, so speed costs no bit: 5x8 register tile, packed operands, K split by storing and reloading C (EVIDENCE §1).
import { type FunctionBuilder, ModuleBuilder } from './assemble.ts'
import { transpose4 } from './lanes.ts'

/** Register tile: 10 accumulators, 2 vectors of B, one splat of A, one product: 14 of the 15 registers V8 leaves us. */
const TILE_M = 5
const TILE_N = 8
/** Depth of a packed block: a B panel is 8 KB (L1), an A block 128 KB (L2). */
const BLOCK_K = 256
const BLOCK_M = 125
/** Bounds the workspace at about 1.2 MB. */
const BLOCK_N = 1024

const ZERO_BYTES = BLOCK_K * 4 + 16
const TILE_BYTES = 256

const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to

/** Bytes of workspace `gemm` needs at these sizes (its first kilobyte must be zero and stays so). */
export const gemmWorkBytes = (m: number, n: number, k: number): number => {
  const kc = Math.min(k, BLOCK_K)
  return roundUp(
    ZERO_BYTES + TILE_BYTES + 4 * kc * (Math.min(roundUp(m, TILE_M), BLOCK_M) + Math.min(roundUp(n, TILE_N), BLOCK_N)) + 64,
    64,
  )
}

/**
 * The parameters of the exported functions, all i32: byte addresses and byte strides.
 * `gemm(a, b, c, m, n, k, aRow, aCol, bRow, bCol, work, cRow)`: C (rows cRow bytes apart, columns adjacent) = A (m x k) · B (k x n); `gemv` without cRow: C contiguous.
 * `gemv` is for few rows: it needs bCol = 4 and no workspace.
 */
export type Gemm = (
  a: number,
  b: number,
  c: number,
  m: number,
  n: number,
  k: number,
  aRow: number,
  aCol: number,
  bRow: number,
  bCol: number,
  work: number,
  cRow: number,
) => void

const i32s = (n: number) => Array.from({ length: n }, () => 'i32' as const)

/** The module with `gemm` and `gemv`; one binary serves every program. */
export const gemmModule = (): ModuleBuilder => {
  const module = new ModuleBuilder()
  const micro = module.func('micro', { params: i32s(6), results: [] }, writeMicro, false)
  const packA = module.func('packA', { params: i32s(7), results: [] }, writePackA, false)
  const packB = module.func('packB', { params: i32s(7), results: [] }, writePackB, false)
  const copyTile = module.func('copyTile', { params: i32s(6), results: [] }, writeCopyTile, false)
  module.func('gemm', { params: i32s(12), results: [] }, (f) => writeGemm(f, micro, packA, packB, copyTile))
  module.func('gemv', { params: i32s(11), results: [] }, writeGemv)
  return module
}

/** micro(pa, pb, c, k, cRow, first): one 5x8 tile of C over a packed block; starts from +0 if `first`, else from what C holds. */
const writeMicro = (f: FunctionBuilder): void => {
  const [pa, pb, c, k, cRow, first] = [0, 1, 2, 3, 4, 5]
  const rows = [c, ...Array.from({ length: TILE_M - 1 }, () => f.local('i32'))]
  const end = f.local('i32')
  const acc = Array.from({ length: TILE_M }, () => [f.local('v128'), f.local('v128')])
  const [a, b0, b1] = [f.local('v128'), f.local('v128'), f.local('v128')]
  for (let i = 1; i < TILE_M; i++)
    f.get(rows[i - 1])
      .get(cRow)
      .op('i32.add')
      .set(rows[i])
  f.get(first)
    .op('i32.eqz')
    .if(() => {
      for (let i = 0; i < TILE_M; i++)
        for (let j = 0; j < 2; j++)
          f.get(rows[i])
            .mem('v128.load', 16 * j)
            .set(acc[i][j])
    })
  f.get(pb).get(k).i32(5).op('i32.shl').op('i32.add').set(end)
  f.while(
    () => f.get(pb).get(end).op('i32.ge_u'),
    () => {
      f.get(pb).mem('v128.load', 0).set(b0)
      f.get(pb).mem('v128.load', 16).set(b1)
      for (let i = 0; i < TILE_M; i++) {
        f.get(pa)
          .mem('v128.load32_splat', 4 * i)
          .set(a)
        f.get(acc[i][0]).get(a).get(b0).op('f32x4.mul').op('f32x4.add').set(acc[i][0])
        f.get(acc[i][1]).get(a).get(b1).op('f32x4.mul').op('f32x4.add').set(acc[i][1])
      }
      f.bump(pa, 4 * TILE_M).bump(pb, 4 * TILE_N)
    },
  )
  for (let i = 0; i < TILE_M; i++)
    for (let j = 0; j < 2; j++)
      f.get(rows[i])
        .get(acc[i][j])
        .mem('v128.store', 16 * j)
}

/** packA(src, dst, m, k, row, col, zeros): rows into panels [m/5][k][5], absent rows +0. */
const writePackA = (f: FunctionBuilder): void => writePack(f, TILE_M)
/** packB(src, dst, n, k, col, row, zeros): columns into panels [n/8][k][8], absent columns +0. */
const writePackB = (f: FunctionBuilder): void => writePack(f, TILE_N)

/**
 * Packs `count` lines of `k` elements into panels of `width` lines, interleaved. Lines are `line` bytes apart, their elements `step`.
 * Three ways: elements adjacent (4x4 transposes; an absent line reads the zero area), lines adjacent (whole vectors), anything (scalars).
 */
const writePack = (f: FunctionBuilder, width: number): void => {
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
const writeCopyTile = (f: FunctionBuilder): void => {
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

/** Blocks over N, then K, then M; packs; runs the tile kernel over every panel pair, edge tiles through a small buffer. */
const writeGemm = (f: FunctionBuilder, micro: number, packA: number, packB: number, copyTile: number): void => {
  const [a, b, c, m, n, k, aRow, aCol, bRow, bCol, work, cRow] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
  const names = [
    'n0',
    'nc',
    'k0',
    'kc',
    'm0',
    'mc',
    'mBlock',
    'j',
    'i',
    'pa',
    'pb',
    'pc',
    'tile',
    'packedA',
    'packedB',
    'rows',
    'cols',
  ] as const
  const v = Object.fromEntries(names.map((name) => [name, f.local('i32')])) as Record<(typeof names)[number], number>
  const min = (write: () => void, limit: number | (() => void), to: number): void => {
    const second = (): void => {
      if (typeof limit === 'number') f.i32(limit)
      else limit()
    }
    write()
    second()
    write()
    second()
    f.op('i32.lt_s').op('select').set(to)
  }
  /** base + index * stride, for byte addresses. */
  const at = (base: number, index: number, stride: number): void => {
    f.get(base).get(index).get(stride).op('i32.mul').op('i32.add')
  }

  f.get(work).i32(ZERO_BYTES).op('i32.add').set(v.tile)
  f.get(v.tile).i32(TILE_BYTES).op('i32.add').set(v.packedA)
  // Even blocks of M: as many as BLOCK_M asks for, each of whole tiles (so never above BLOCK_M).
  f.get(m)
    .i32(BLOCK_M - 1)
    .op('i32.add')
    .i32(BLOCK_M)
    .op('i32.div_u')
    .set(v.mBlock)
  f.get(m).get(v.mBlock).op('i32.add').i32(1).op('i32.sub').get(v.mBlock).op('i32.div_u')
  f.i32(TILE_M - 1)
    .op('i32.add')
    .i32(TILE_M)
    .op('i32.div_u')
    .i32(TILE_M)
    .op('i32.mul')
    .set(v.mBlock)
  // B's panels lie behind A's, whose size is bounded by the block: roundUp(min(m, mBlock)) * min(k, BLOCK_K) floats.
  min(() => f.get(k), BLOCK_K, v.kc)
  f.get(v.packedA).get(v.mBlock).get(v.kc).op('i32.mul').i32(2).op('i32.shl').op('i32.add').set(v.packedB)

  f.i32(0).set(v.n0)
  f.while(
    () => f.get(v.n0).get(n).op('i32.ge_s'),
    () => {
      min(() => f.get(n).get(v.n0).op('i32.sub'), BLOCK_N, v.nc)
      f.i32(0).set(v.k0)
      f.while(
        () => f.get(v.k0).get(k).op('i32.ge_s'),
        () => {
          min(() => f.get(k).get(v.k0).op('i32.sub'), BLOCK_K, v.kc)
          at(b, v.k0, bRow)
          f.get(v.n0).get(bCol).op('i32.mul').op('i32.add')
          f.get(v.packedB).get(v.nc).get(v.kc).get(bCol).get(bRow).get(work).call(packB)
          f.i32(0).set(v.m0)
          f.while(
            () => f.get(v.m0).get(m).op('i32.ge_s'),
            () => {
              min(
                () => f.get(m).get(v.m0).op('i32.sub'),
                () => f.get(v.mBlock),
                v.mc,
              )
              at(a, v.m0, aRow)
              f.get(v.k0).get(aCol).op('i32.mul').op('i32.add')
              f.get(v.packedA).get(v.mc).get(v.kc).get(aRow).get(aCol).get(work).call(packA)
              f.i32(0).set(v.j)
              f.get(v.packedB).set(v.pb)
              f.while(
                () => f.get(v.j).get(v.nc).op('i32.ge_s'),
                () => {
                  min(() => f.get(v.nc).get(v.j).op('i32.sub'), TILE_N, v.cols)
                  f.i32(0).set(v.i)
                  f.get(v.packedA).set(v.pa)
                  at(c, v.m0, cRow)
                  f.get(v.n0).get(v.j).op('i32.add').i32(2).op('i32.shl').op('i32.add').set(v.pc)
                  f.while(
                    () => f.get(v.i).get(v.mc).op('i32.ge_s'),
                    () => {
                      min(() => f.get(v.mc).get(v.i).op('i32.sub'), TILE_M, v.rows)
                      f.get(v.rows).i32(TILE_M).op('i32.eq').get(v.cols).i32(TILE_N).op('i32.eq').op('i32.and')
                      f.if(
                        () => f.get(v.pa).get(v.pb).get(v.pc).get(v.kc).get(cRow).get(v.k0).op('i32.eqz').call(micro),
                        () => {
                          f.get(v.k0).if(() =>
                            f
                              .get(v.pc)
                              .get(v.tile)
                              .get(v.rows)
                              .get(v.cols)
                              .get(cRow)
                              .i32(4 * TILE_N)
                              .call(copyTile),
                          )
                          f.get(v.pa)
                            .get(v.pb)
                            .get(v.tile)
                            .get(v.kc)
                            .i32(4 * TILE_N)
                            .get(v.k0)
                            .op('i32.eqz')
                            .call(micro)
                          f.get(v.tile)
                            .get(v.pc)
                            .get(v.rows)
                            .get(v.cols)
                            .i32(4 * TILE_N)
                            .get(cRow)
                            .call(copyTile)
                        },
                      )
                      f.get(v.pa)
                        .get(v.kc)
                        .i32(4 * TILE_M)
                        .op('i32.mul')
                        .op('i32.add')
                        .set(v.pa)
                      f.get(v.pc).get(cRow).i32(TILE_M).op('i32.mul').op('i32.add').set(v.pc)
                      f.bump(v.i, TILE_M)
                    },
                  )
                  f.get(v.pb)
                    .get(v.kc)
                    .i32(4 * TILE_N)
                    .op('i32.mul')
                    .op('i32.add')
                    .set(v.pb)
                  f.bump(v.j, TILE_N)
                },
              )
              f.get(v.m0).get(v.mBlock).op('i32.add').set(v.m0)
            },
          )
          f.bump(v.k0, BLOCK_K)
        },
      )
      f.bump(v.n0, BLOCK_N)
    },
  )
}

/** Row by row of A, 32 then 4 then 1 columns of B at a time straight from memory: packing does not pay for a few rows (6.5 GFLOP/s at m = 1). */
const writeGemv = (f: FunctionBuilder): void => {
  const [a, b, c, m, n, k, aRow, aCol, bRow] = [0, 1, 2, 3, 4, 5, 6, 7, 8]
  const [j, left, pa, pb] = Array.from({ length: 4 }, () => f.local('i32'))
  const acc = Array.from({ length: 8 }, () => f.local('v128'))
  const x = f.local('v128')
  const y = f.local('v128')
  const sweep = (columns: number): void => {
    const vectors = Math.ceil(columns / 4)
    f.while(
      () => f.get(j).i32(columns).op('i32.lt_s'),
      () => {
        f.get(a).set(pa)
        f.get(b).get(n).get(j).op('i32.sub').i32(2).op('i32.shl').op('i32.add').set(pb)
        f.get(k).set(left)
        for (let at = 0; at < vectors; at++) f.i32(0).op('i32x4.splat').set(acc[at])
        f.while(
          () => f.get(left).op('i32.eqz'),
          () => {
            f.get(pa).mem('v128.load32_splat').set(x)
            for (let at = 0; at < vectors; at++) {
              f.get(pb)
                .mem(columns === 1 ? 'v128.load32_zero' : 'v128.load', 16 * at)
                .set(y)
              f.get(acc[at]).get(x).get(y).op('f32x4.mul').op('f32x4.add').set(acc[at])
            }
            f.get(pa).get(aCol).op('i32.add').set(pa)
            f.get(pb).get(bRow).op('i32.add').set(pb)
            f.bump(left, -1)
          },
        )
        for (let at = 0; at < vectors; at++) {
          f.get(c).get(acc[at])
          if (columns === 1) f.op('v128.store32_lane', 0, 0)
          else f.mem('v128.store', 16 * at)
        }
        f.bump(c, 4 * columns).bump(j, -columns)
      },
    )
  }
  f.while(
    () => f.get(m).op('i32.eqz'),
    () => {
      f.get(n).set(j)
      for (const columns of [32, 4, 1]) sweep(columns)
      f.get(a).get(aRow).op('i32.add').set(a)
      f.bump(m, -1)
    },
  )
}
