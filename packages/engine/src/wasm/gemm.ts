// Matrix products in the one order docs/numerics.md §4 allows: each output starts at +0 and adds f32(a*b) in ascending k, never fused.
// Lanes and tiles are different outputs, so speed costs no bit: 5x8 register tile, A read in place (or packed into rows), B packed into panels,
// K split by storing and reloading C (EVIDENCE §1). Four terms a turn: measured 46.8 GFLOP/s of 52 at 128 bits on Zen 3, against 40.9 one at a time from packed A.
import { type FunctionBuilder, ModuleBuilder } from './assemble.ts'
import { writeCopyTile, writePackPanels, writePackRows } from './pack.ts'

/** Register tile: 10 accumulators, 2 vectors of B, one splat of A, one product: 14 of the 15 registers V8 leaves us. */
const TILE_M = 5
const TILE_N = 8
/** Terms a turn of the inner loop: five row pointers move once in four terms. */
const TERMS = 4
/** The deepest block of K: five rows of A and a panel of B are 26 KB (L1). K is cut evenly. */
const BLOCK_K = 512
/** Elements of a packed block of B: half a megabyte (L2). Its width is what its depth leaves, at most BLOCK_N. */
const BLOCK_B = 131072
const BLOCK_N = 1024
/** Rows of A that are packed at a time, where its terms are not adjacent. */
const BLOCK_M = 60

/** A packed row of A: a whole block and a vector more, so that rows do not all fall into the same cache sets. */
const ROW_BYTES = 4 * BLOCK_K + 16
const ZERO_BYTES = BLOCK_K * 4 + 16
/** A row of an edge panel's buffer. */
const TILE_ROW = 4 * TILE_N
const TILE_BYTES = TILE_ROW * (TILE_M + 3)

const roundUp = (n: number, to: number): number => Math.ceil(n / to) * to

/** Bytes of workspace `gemm` needs at these sizes (its first two kilobytes must be zero and stay so). */
export const gemmWorkBytes = (m: number, n: number, k: number): number => {
  const panels = Math.min(4 * BLOCK_B, 4 * Math.min(k + 3, BLOCK_K) * roundUp(n, TILE_N))
  return roundUp(ZERO_BYTES + TILE_BYTES + ROW_BYTES * Math.min(m, BLOCK_M) + panels + 64, 64)
}

/**
 * The parameters of the exported function, all i32: byte addresses and byte strides.
 * `gemm(a, b, c, m, n, k, aRow, aCol, bRow, bCol, work, cRow)`: C (rows cRow bytes apart, columns adjacent) = A (m x k) · B (k x n).
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

/** The module with `gemm`; one binary serves every program. */
export const gemmModule = (): ModuleBuilder => {
  const module = new ModuleBuilder()
  const strips = Array.from({ length: TILE_M }, (_, i) =>
    module.func(`strip${i + 1}`, { params: i32s(8), results: [] }, (f) => writeStrip(f, i + 1), false),
  )
  const packA = module.func('packA', { params: i32s(6), results: [] }, (f) => writePackRows(f, ROW_BYTES), false)
  const packB = module.func('packB', { params: i32s(7), results: [] }, (f) => writePackPanels(f, TILE_N), false)
  const copyTile = module.func('copyTile', { params: i32s(6), results: [] }, writeCopyTile, false)
  module.func('gemm', { params: i32s(12), results: [] }, (f) => writeGemm(f, strips, packA, packB, copyTile))
  return module
}

/** strip(pa, pb, c, n, k, aRow, cRow, first): TILE rows of A against n/8 panels of B over a block of k terms; from +0 if `first`, else on from what C holds. */
const writeStrip = (f: FunctionBuilder, rows: number): void => {
  const [pa, b, c, n, k, aRow, cRow, first] = [0, 1, 2, 3, 4, 5, 6, 7]
  const a = Array.from({ length: rows }, () => f.local('i32'))
  const [end, out, full] = [f.local('i32'), f.local('i32'), f.local('i32')]
  const acc = Array.from({ length: rows }, () => [f.local('v128'), f.local('v128')])
  const [x, b0, b1] = [f.local('v128'), f.local('v128'), f.local('v128')]
  const terms = (count: number): void => {
    for (let t = 0; t < count; t++) {
      f.get(b)
        .mem('v128.load', 32 * t)
        .set(b0)
      f.get(b)
        .mem('v128.load', 32 * t + 16)
        .set(b1)
      for (let i = 0; i < rows; i++) {
        f.get(a[i])
          .mem('v128.load32_splat', 4 * t)
          .set(x)
        f.get(acc[i][0]).get(x).get(b0).op('f32x4.mul').op('f32x4.add').set(acc[i][0])
        f.get(acc[i][1]).get(x).get(b1).op('f32x4.mul').op('f32x4.add').set(acc[i][1])
      }
    }
    for (let i = 0; i < rows; i++) f.bump(a[i], 4 * count)
    f.bump(b, 32 * count)
  }
  f.while(
    () => f.get(n).op('i32.eqz'),
    () => {
      for (let i = 0; i < rows; i++) {
        if (i === 0) f.get(pa).set(a[0])
        else
          f.get(a[i - 1])
            .get(aRow)
            .op('i32.add')
            .set(a[i])
      }
      f.get(first).if(
        () => {
          for (let i = 0; i < rows; i++) for (const v of acc[i]) f.i32(0).op('i32x4.splat').set(v)
        },
        () => {
          f.get(c).set(out)
          for (let i = 0; i < rows; i++) {
            for (let j = 0; j < 2; j++)
              f.get(out)
                .mem('v128.load', 16 * j)
                .set(acc[i][j])
            if (i + 1 < rows) f.get(out).get(cRow).op('i32.add').set(out)
          }
        },
      )
      f.get(b).get(k).i32(5).op('i32.shl').op('i32.add').set(full)
      f.get(b).get(k).i32(-TERMS).op('i32.and').i32(5).op('i32.shl').op('i32.add').set(end)
      f.while(
        () => f.get(b).get(end).op('i32.ge_u'),
        () => terms(TERMS),
      )
      f.while(
        () => f.get(b).get(full).op('i32.ge_u'),
        () => terms(1),
      )
      f.get(c).set(out)
      for (let i = 0; i < rows; i++) {
        for (let j = 0; j < 2; j++)
          f.get(out)
            .get(acc[i][j])
            .mem('v128.store', 16 * j)
        if (i + 1 < rows) f.get(out).get(cRow).op('i32.add').set(out)
      }
      f.bump(c, 4 * TILE_N).bump(n, -1)
    },
  )
}

/** Blocks over N, then K, then M: packs B's block, and A's where its terms are not adjacent; runs strips of rows over all panels, an edge panel by way of a small buffer. */
const writeGemm = (f: FunctionBuilder, strips: readonly number[], packA: number, packB: number, copyTile: number): void => {
  const [a, b, c, m, n, k, aRow, aCol, bRow, bCol, work, cRow] = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11]
  const names = [
    'n0',
    'nc',
    'k0',
    'kc',
    'kBlock',
    'nBlock',
    'm0',
    'mc',
    'j',
    'edge',
    'pa',
    'paRow',
    'pb',
    'pc',
    'tile',
    'packedA',
    'packedB',
    'cols',
  ] as const
  const v = Object.fromEntries(names.map((name) => [name, f.local('i32')])) as Record<(typeof names)[number], number>
  /** `limit` is a constant, or a local that is pushed. */
  const min = (write: () => void, limit: number | (() => void), to: number): void => {
    const push = (): void => {
      if (typeof limit === 'number') f.i32(limit)
      else limit()
    }
    write()
    push()
    write()
    push()
    f.op('i32.lt_s').op('select').set(to)
  }
  /** base + index * stride, for byte addresses. */
  const at = (base: number, index: number, stride: number): void => {
    f.get(base).get(index).get(stride).op('i32.mul').op('i32.add')
  }

  f.get(work).i32(ZERO_BYTES).op('i32.add').set(v.tile)
  f.get(v.tile).i32(TILE_BYTES).op('i32.add').set(v.packedA)
  // B's panels lie behind A's rows, of which there are min(m, BLOCK_M) at most.
  min(() => f.get(m), BLOCK_M, v.packedB)
  f.get(v.packedB).i32(ROW_BYTES).op('i32.mul').get(v.packedA).op('i32.add').set(v.packedB)

  // K in even blocks of whole turns, N in blocks of whole panels.
  f.get(k)
    .i32(BLOCK_K - 1)
    .op('i32.add')
    .i32(BLOCK_K)
    .op('i32.div_u')
    .set(v.kBlock)
  f.get(k).get(v.kBlock).op('i32.add').i32(1).op('i32.sub').get(v.kBlock).op('i32.div_u')
  f.i32(TERMS - 1)
    .op('i32.add')
    .i32(-TERMS)
    .op('i32.and')
    .set(v.kBlock)
  f.i32(BLOCK_B).get(v.kBlock).op('i32.div_u').i32(-TILE_N).op('i32.and').set(v.nBlock)
  min(() => f.get(v.nBlock), BLOCK_N, v.nBlock)

  f.i32(0).set(v.n0)
  f.while(
    () => f.get(v.n0).get(n).op('i32.ge_s'),
    () => {
      min(
        () => f.get(n).get(v.n0).op('i32.sub'),
        () => f.get(v.nBlock),
        v.nc,
      )
      f.i32(0).set(v.k0)
      f.while(
        () => f.get(v.k0).get(k).op('i32.ge_s'),
        () => {
          min(
            () => f.get(k).get(v.k0).op('i32.sub'),
            () => f.get(v.kBlock),
            v.kc,
          )
          at(b, v.k0, bRow)
          f.get(v.n0).get(bCol).op('i32.mul').op('i32.add')
          f.get(v.packedB).get(v.nc).get(v.kc).get(bCol).get(bRow).get(work).call(packB)
          f.i32(0).set(v.m0)
          f.while(
            () => f.get(v.m0).get(m).op('i32.ge_s'),
            () => {
              min(() => f.get(m).get(v.m0).op('i32.sub'), BLOCK_M, v.mc)
              at(a, v.m0, aRow)
              f.get(v.k0).get(aCol).op('i32.mul').op('i32.add').set(v.pa)
              f.get(aRow).set(v.paRow)
              f.get(aCol)
                .i32(4)
                .op('i32.ne')
                .if(() => {
                  f.get(v.pa).get(v.packedA).get(v.mc).get(v.kc).get(aRow).get(aCol).call(packA)
                  f.get(v.packedA).set(v.pa).i32(ROW_BYTES).set(v.paRow)
                })
              at(c, v.m0, cRow)
              f.get(v.n0).i32(2).op('i32.shl').op('i32.add').set(v.pc)
              /** `rows` rows of A, of which `mc` are left, against the whole block of B. */
              const strip = (rows: number): void => {
                f.get(v.nc).i32(3).op('i32.shr_u').set(v.j)
                f.get(v.pa)
                  .get(v.packedB)
                  .get(v.pc)
                  .get(v.j)
                  .get(v.kc)
                  .get(v.paRow)
                  .get(cRow)
                  .get(v.k0)
                  .op('i32.eqz')
                  .call(strips[rows - 1])
                f.get(v.nc)
                  .i32(TILE_N - 1)
                  .op('i32.and')
                  .set(v.cols)
                f.get(v.cols).if(() => {
                  f.get(v.packedB).get(v.j).get(v.kc).op('i32.mul').i32(5).op('i32.shl').op('i32.add').set(v.pb)
                  f.get(v.pc).get(v.j).i32(5).op('i32.shl').op('i32.add').set(v.edge)
                  f.get(v.k0).if(() => f.get(v.edge).get(v.tile).i32(rows).get(v.cols).get(cRow).i32(TILE_ROW).call(copyTile))
                  f.get(v.pa)
                    .get(v.pb)
                    .get(v.tile)
                    .i32(1)
                    .get(v.kc)
                    .get(v.paRow)
                    .i32(TILE_ROW)
                    .get(v.k0)
                    .op('i32.eqz')
                    .call(strips[rows - 1])
                  f.get(v.tile).get(v.edge).i32(rows).get(v.cols).i32(TILE_ROW).get(cRow).call(copyTile)
                })
                f.get(v.pa).get(v.paRow).i32(rows).op('i32.mul').op('i32.add').set(v.pa)
                f.get(v.pc).get(cRow).i32(rows).op('i32.mul').op('i32.add').set(v.pc)
                f.bump(v.mc, -rows)
              }
              f.while(
                () => f.get(v.mc).i32(TILE_M).op('i32.lt_s'),
                () => strip(TILE_M),
              )
              for (let rows = TILE_M - 1; rows > 0; rows--)
                f.get(v.mc)
                  .i32(rows)
                  .op('i32.eq')
                  .if(() => strip(rows))
              f.bump(v.m0, BLOCK_M)
            },
          )
          f.get(v.k0).get(v.kBlock).op('i32.add').set(v.k0)
        },
      )
      f.get(v.n0).get(v.nBlock).op('i32.add').set(v.n0)
    },
  )
}
