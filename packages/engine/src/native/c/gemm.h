// Matrix products in the one order there is: every output starts at +0 and adds f32(a*b) in ascending k, never fused. Tiles and lanes are different outputs, so speed costs no bit;
// a product longer than a block leaves its sums in C and takes them up again, which is exact.
#pragma once
#include "pool.h"
#include "vector.h"

// Register tile: MR rows by NV vectors. Sums, a row of B, one element of A and one product fit into the registers there are.
#if W == 16
#define MR 12
#define NV 2
#elif W == 8
#define MR 6
#define NV 2
#elif defined __x86_64__
#define MR 4
#define NV 3
#else
#define MR 4
#define NV 4
#endif
#define NR (NV * W)
// A panel of B is at most KC x NR (first-level cache), a block of A MC x KC (second level), all packed panels of B at once PACKED_B (third).
#define KC 384L
#define MC (144 / MR * MR)
#define K_MAX 4096L
#define PACKED_B (1L << 20)
// A product of few columns or rows in all is done by one thread with panels of its own.
#define OWN_B (1L << 16)

struct side { float *at; long row, column; };
struct workspace { float a[MC * KC + 2 * W], b[OWN_B + NR], tile[MR * NR]; };
static struct workspace *workspaces[MAX_THREADS];
static float *packed_b;

struct product {
  struct side a, b;
  float *c;
  long m, n, k;
  // The part of k being added, the panels being used, and where their elements lie: `panel` apart, rows `b_row` apart.
  long from_k, to_k, from_panel, to_panel;
  const float *panels;
  long panel, b_row;
  // How a job's units are cut: blocks of rows, by groups of panels.
  long row_block, row_blocks, panel_group;
};

// One tile: mr is a constant wherever this is inlined.
ALWAYS void tile(const int mr, const float *a, long a_row, long a_column, const float *b, long b_row, float *c, long c_row, long k, int first) {
  vf sum[MR][NV];
  for (int i = 0; i < mr; i++)
    for (int v = 0; v < NV; v++) sum[i][v] = first ? (vf){0} : v_load(c + i * c_row + v * W);
  // Twice is 3 % faster than once, four times slower again.
  _Pragma("GCC unroll 2") for (long t = 0; t < k; t++) {
    vf y[NV];
    for (int v = 0; v < NV; v++) y[v] = v_load(b + v * W);
    for (int i = 0; i < mr; i++) {
      vf x = v_splat(a[i * a_row]);
      for (int v = 0; v < NV; v++) sum[i][v] += x * y[v];
    }
    a += a_column, b += b_row;
  }
  for (int i = 0; i < mr; i++)
    for (int v = 0; v < NV; v++) v_store(c + i * c_row + v * W, sum[i][v]);
}
typedef void tile_fn(const float *a, long a_row, const float *b, long b_row, float *c, long c_row, long k, int first);
#define TILE(mr)                                                                                                                     \
  static void packed_##mr(const float *a, long a_row, const float *b, long b_row, float *c, long c_row, long k, int first) {          \
    (void)a_row;                                                                                                                     \
    tile(mr, a, 1, MR, b, b_row, c, c_row, k, first);                                                                                \
  }                                                                                                                                  \
  static void direct_##mr(const float *a, long a_row, const float *b, long b_row, float *c, long c_row, long k, int first) {          \
    tile(mr, a, a_row, 1, b, b_row, c, c_row, k, first);                                                                             \
  }
TILE(1)
TILE(2)
TILE(3)
TILE(4)
#if MR > 4
TILE(5)
TILE(6)
#endif
#if MR > 6
TILE(7)
TILE(8)
TILE(9)
TILE(10)
TILE(11)
TILE(12)
#endif
static tile_fn *const packed_tiles[] = {0, packed_1, packed_2, packed_3, packed_4,
#if MR > 4
  packed_5, packed_6,
#endif
#if MR > 6
  packed_7, packed_8, packed_9, packed_10, packed_11, packed_12,
#endif
};
static tile_fn *const direct_tiles[] = {0, direct_1, direct_2, direct_3, direct_4,
#if MR > 4
  direct_5, direct_6,
#endif
#if MR > 6
  direct_7, direct_8, direct_9, direct_10, direct_11, direct_12,
#endif
};

// Rows of A, `rows` by `k`, into groups of MR: [k][MR] each; absent rows are +0 and their sums are never stored. Writes up to W floats past its end.
static void pack_a(struct side a, long rows, long k, float *to) {
  for (long i = 0; i < rows; i += MR, to += MR * k) {
    const float *from = a.at + i * a.row;
    long here = rows - i < MR ? rows - i : MR, t = 0;
    if (a.column == 1) {
      for (; t + W <= k; t += W) {
        vf x[W];
        for (long r = 0; r < W; r++) x[r] = r < here ? v_load(from + r * a.row + t) : (vf){0};
        v_transpose(x);
        for (long l = 0; l < W; l++) v_store(to + (t + l) * MR, x[l]);
      }
    } else if (a.row == 1 && here == MR) {
      for (; t < k; t++)
        for (int r = 0; r < MR; r++) to[t * MR + r] = from[t * a.column + r];
    }
    for (; t < k; t++)
      for (long r = 0; r < MR; r++) to[t * MR + r] = r < here ? from[r * a.row + t * a.column] : 0;
  }
}

// Columns of B, `columns` of them from b.at, k rows, into one panel [k][NR]; absent columns are +0.
static void pack_panel(struct side b, long columns, long k, float *to) {
  long t = 0;
  if (columns >= NR && b.column == 1) {
    for (; t < k; t++)
      for (int v = 0; v < NV; v++) v_store(to + t * NR + v * W, v_load(b.at + t * b.row + v * W));
  } else if (columns >= NR && b.row == 1) {
    for (; t + W <= k; t += W)
      for (int v = 0; v < NV; v++) {
        vf x[W];
        for (int l = 0; l < W; l++) x[l] = v_load(b.at + (v * W + l) * b.column + t);
        v_transpose(x);
        for (int l = 0; l < W; l++) v_store(to + (t + l) * NR + v * W, x[l]);
      }
  }
  for (; t < k; t++)
    for (long j = 0; j < NR; j++) to[t * NR + j] = j < columns ? b.at[t * b.row + j * b.column] : 0;
}

// `rows` rows of C from row i0 by panel j: A's rows packed (a_row 0) or a_row apart.
static void column(const struct product *p, const float *a, long a_row, long i0, long rows, long k, const float *b, long b_row, long j, int first, struct workspace *own) {
  long columns = p->n - j * NR < NR ? p->n - j * NR : NR;
  for (long i = 0; i < rows; i += MR) {
    int mr = rows - i < MR ? (int)(rows - i) : MR;
    float *c = p->c + (i0 + i) * p->n + j * NR;
    tile_fn *one = a_row ? direct_tiles[mr] : packed_tiles[mr];
    const float *ai = a + i * (a_row ? a_row : k);
    if (columns == NR) {
      one(ai, a_row, b, b_row, c, p->n, k, first);
      continue;
    }
    if (!first)
      for (int r = 0; r < mr; r++) memcpy(own->tile + r * NR, c + r * p->n, 4 * (size_t)columns);
    one(ai, a_row, b, b_row, own->tile, NR, k, first);
    for (int r = 0; r < mr; r++) memcpy(c + r * p->n, own->tile + r * NR, 4 * (size_t)columns);
  }
}

// Rows `from` to `to` by the panels `panel_from` to `panel_to` of the product's present part.
static void multiply(const struct product *p, long from, long to, long panel_from, long panel_to, struct workspace *own) {
  // Even parts: a short last one would load and store C for little.
  long depth = p->to_k - p->from_k, parts = (depth + KC - 1) / KC, part = (depth + parts - 1) / parts;
  for (long k0 = p->from_k; k0 < p->to_k; k0 += part) {
    long k = p->to_k - k0 < part ? p->to_k - k0 : part;
    // Few panels use A's elements too seldom to pay for packing.
    int direct = p->a.column == 1 && p->a.row != 0 && p->n <= 4 * NR;
    for (long i0 = from; i0 < to; i0 += MC) {
      long rows = to - i0 < MC ? to - i0 : MC;
      struct side a = {p->a.at + i0 * p->a.row + k0 * p->a.column, p->a.row, p->a.column};
      if (!direct) pack_a(a, rows, k, own->a);
      for (long j = panel_from; j < panel_to; j++) {
        const float *b = p->panels + (j - p->from_panel) * p->panel + (k0 - p->from_k) * p->b_row;
        if (direct) column(p, a.at, a.row, i0, rows, k, b, p->b_row, j, k0 == 0, own);
        else column(p, own->a, 0, i0, rows, k, b, p->b_row, j, k0 == 0, own);
      }
    }
  }
}

static void pack_job(void *const *args, long from, long to, int worker) {
  const struct product *p = (const struct product *)args;
  (void)worker;
  for (long j = p->from_panel + from; j < p->from_panel + to; j++) {
    struct side b = {p->b.at + p->from_k * p->b.row + j * NR * p->b.column, p->b.row, p->b.column};
    pack_panel(b, p->n - j * NR, p->to_k - p->from_k, (float *)p->panels + (j - p->from_panel) * p->panel);
  }
}
static void multiply_job(void *const *args, long from, long to, int worker) {
  const struct product *p = (const struct product *)args;
  for (long unit = from; unit < to; unit++) {
    long i = unit % p->row_blocks * p->row_block, j = p->from_panel + unit / p->row_blocks * p->panel_group;
    long i_end = i + p->row_block < p->m ? i + p->row_block : p->m;
    long j_end = j + p->panel_group < p->to_panel ? j + p->panel_group : p->to_panel;
    multiply(p, i, i_end, j, j_end, workspaces[worker]);
  }
}

// Panels `from` to `to` by all rows, which are few: each panel is packed when it is needed, and used while it is near.
static void panels_job(void *const *args, long from, long to, int worker) {
  struct product p = *(const struct product *)args;
  struct workspace *own = workspaces[worker];
  long parts = (p.k + KC - 1) / KC, part = (p.k + parts - 1) / parts;
  for (long k0 = 0; k0 < p.k; k0 += part) {
    long k = p.k - k0 < part ? p.k - k0 : part;
    struct side a = {p.a.at + k0 * p.a.column, p.a.row, p.a.column};
    pack_a(a, p.m, k, own->a);
    for (long j = from; j < to; j++) {
      struct side b = {p.b.at + k0 * p.b.row + j * NR * p.b.column, p.b.row, p.b.column};
      pack_panel(b, p.n - j * NR, k, own->b);
      column(&p, own->a, 0, 0, p.m, k, own->b, NR, j, k0 == 0, own);
    }
  }
}

// One product by all threads: panels of B are packed together, then rows are shared out.
static void product_shared(struct product p, int threads) {
  long panels = (p.n + NR - 1) / NR;
  if (p.m <= MC && (threads == 1 || panels >= 4 * threads)) {
    share(panels_job, (void *const *)&p, panels, threads == 1 ? 1 : 4 * threads);
    return;
  }
  for (p.from_k = 0; p.from_k < p.k; p.from_k = p.to_k) {
    p.to_k = p.k - p.from_k < K_MAX ? p.k : p.from_k + K_MAX;
    long k = p.to_k - p.from_k, at_once = PACKED_B / (k * NR);
    for (p.from_panel = 0; p.from_panel < panels; p.from_panel = p.to_panel) {
      p.to_panel = panels - p.from_panel < at_once ? panels : p.from_panel + at_once;
      long count = p.to_panel - p.from_panel;
      p.panels = packed_b, p.panel = k * NR, p.b_row = NR;
      share(pack_job, (void *const *)&p, count, threads == 1 || k * count * NR < 16384 ? 1 : 2 * threads);
      long wanted = threads == 1 ? 1 : 4 * threads, rows = (p.m + wanted - 1) / wanted;
      if (rows > MC) rows = MC;
      if (rows < 4 * MR) rows = 4 * MR;
      p.row_block = (rows + MR - 1) / MR * MR;
      p.row_blocks = (p.m + p.row_block - 1) / p.row_block;
      long groups = (wanted + p.row_blocks - 1) / p.row_blocks;
      p.panel_group = (count + groups - 1) / groups;
      long units = p.row_blocks * ((count + p.panel_group - 1) / p.panel_group);
      if (threads == 1) p.row_block = p.m, p.row_blocks = 1, p.panel_group = count, units = 1;
      share(multiply_job, (void *const *)&p, units, units);
    }
  }
}

// One product by the thread that calls, in its own workspace.
static void product_alone(struct product p, struct workspace *own) {
  long panels = (p.n + NR - 1) / NR, whole = p.n / NR;
  p.to_k = p.k;
  // Few rows, or a matrix that stays in the first-level cache: B is read where it lies.
  int direct = p.b.column == 1 && (p.m <= 2 * MR || p.k * p.n <= 4096);
  if (direct) {
    p.panels = p.b.at, p.panel = NR, p.b_row = p.b.row, p.to_panel = whole;
    multiply(&p, 0, p.m, 0, whole, own);
    if (whole == panels) return;
  }
  p.from_panel = direct ? whole : 0, p.to_panel = panels;
  p.panels = own->b, p.panel = p.k * NR, p.b_row = NR;
  pack_job((void *const *)&p, 0, p.to_panel - p.from_panel, 0);
  multiply(&p, 0, p.m, p.from_panel, panels, own);
}

// What the host writes for a batched product; offsets are in elements.
struct dot {
  struct side a, b;
  float *c;
  long m, n, k, rank;
  long size[6], a_step[6], b_step[6];
};
static struct product item(const struct dot *d, long at) {
  struct product p = {.a = d->a, .b = d->b, .c = d->c + at * d->m * d->n, .m = d->m, .n = d->n, .k = d->k};
  for (long axis = d->rank - 1; axis >= 0; axis--) {
    long i = at % d->size[axis];
    at /= d->size[axis];
    p.a.at += i * d->a_step[axis], p.b.at += i * d->b_step[axis];
  }
  return p;
}
static void items_job(void *const *args, long from, long to, int worker) {
  for (long i = from; i < to; i++) product_alone(item((const struct dot *)args, i), workspaces[worker]);
}

static void run_dot(const struct dot *d, int threads) {
  long items = 1;
  for (long axis = 0; axis < d->rank; axis++) items *= d->size[axis];
  int fits = d->k * ((d->n + NR - 1) / NR * NR) <= OWN_B;
  double work = (double)d->m * d->n * d->k;
  if (fits && (items >= 2 * threads || work * items < 1 << 16)) {
    long chunks = threads == 1 || work * items < 1 << 16 ? 1 : items < 4 * threads ? items : 4 * threads;
    share(items_job, (void *const *)d, items, chunks);
    return;
  }
  for (long i = 0; i < items; i++) product_shared(item(d, i), work < 1 << 17 ? 1 : threads);
}
