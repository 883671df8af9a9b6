// What every native program shares, compiled once a machine: the threads, matrix products, row gathers, and the loop that runs a step.
#define _GNU_SOURCE
#include "gemm.h"
#include <dlfcn.h>
#include <stdlib.h>
#if defined __linux__
#include <sys/mman.h>
#endif

// One line of a program's table. `chunks` is 1 where sharing would cost more than it gives; a dot decides for itself.
struct command {
  long kind;
  work_fn *work;
  void *const *args;
  long units, chunks;
};
enum { WORK, DOT };

// Rounds to even, keeps subnormals, raises nothing: a library that was built with fast-math may have set this thread otherwise.
static void plain_arithmetic(void) {
#if defined __x86_64__
  __builtin_ia32_ldmxcsr(0x1f80);
#elif defined __aarch64__
  __asm__ volatile("msr fpcr, %0" : : "r"((uint64_t)0));
#endif
}

static long clamp(int32_t index, long rows) { return index < 0 ? 0 : index >= rows ? rows - 1 : index; }

// args: x, index, out, rows, bytes a row. Units are rows of the result.
static void gather(void *const *args, long from, long to, int worker) {
  const char *x = args[0];
  const int32_t *index = args[1];
  char *out = args[2];
  long rows = (long)args[3], bytes = (long)args[4];
  (void)worker;
  for (long i = from; i < to; i++) memcpy(out + i * bytes, x + clamp(index[i], rows) * bytes, (size_t)bytes);
}

// args: source, index, out, rows, count, floats a row. Units are columns in blocks of 16: each output takes its sources in ascending order.
static void scatter_add(void *const *args, long from, long to, int worker) {
  const float *source = args[0];
  const int32_t *index = args[1];
  float *out = args[2];
  long rows = (long)args[3], count = (long)args[4], row = (long)args[5];
  long first = 16 * from, end = 16 * to < row ? 16 * to : row;
  (void)worker;
  for (long r = 0; r < rows; r++) memset(out + r * row + first, 0, 4 * (size_t)(end - first));
  for (long i = 0; i < count; i++) {
    float *to_row = out + clamp(index[i], rows) * row;
    const float *from_row = source + i * row;
    long j = first;
    for (; j + W <= end; j += W) v_store(to_row + j, v_load(to_row + j) + v_load(from_row + j));
    for (; j < end; j++) to_row[j] += from_row[j];
  }
}

#define EXPORT __attribute__((visibility("default")))

// The addresses of gather and scatter_add.
EXPORT void bl_works(int64_t *to) { to[0] = (int64_t)(intptr_t)gather, to[1] = (int64_t)(intptr_t)scatter_add; }
EXPORT int64_t bl_address(void *p) { return (int64_t)(intptr_t)p; }
// Large pages, where the system has them to give: 2 to 14 % of a product's time on a 2021 server.
EXPORT void bl_large_pages(int64_t at, int64_t bytes) {
#if defined __linux__
  int64_t from = (at + 4095) & -4096L;
  madvise((void *)(intptr_t)from, (size_t)(at + bytes - from), MADV_HUGEPAGE);
#else
  (void)at, (void)bytes;
#endif
}

#define LARGE_PAGE (1L << 21)
#define IN_PAGES(bytes) (((int64_t)(bytes) + LARGE_PAGE - 1) / LARGE_PAGE * LARGE_PAGE)
// Bytes of workspace that all programs share with this many threads.
EXPORT int64_t bl_workspace(int32_t threads) { return IN_PAGES(4 * PACKED_B) + threads * IN_PAGES(sizeof(struct workspace)); }

static void *workspace(size_t bytes) {
  void *at = 0;
  if (posix_memalign(&at, LARGE_PAGE, IN_PAGES(bytes)) != 0) return 0;
  bl_large_pages((intptr_t)at, IN_PAGES(bytes));
  return at;
}
// Makes sure of the workspaces of as many threads as there is memory for.
static int reserve(int threads) {
  if (!packed_b) packed_b = workspace(4 * PACKED_B);
  if (!packed_b) return 0;
  for (int t = 0; t < threads; t++) {
    if (!workspaces[t]) workspaces[t] = workspace(sizeof(struct workspace));
    if (!workspaces[t]) return t;
  }
  return threads;
}

// Runs commands `from` to `to` of a table by up to `threads` threads. Gives 0 where there is no memory to work in.
EXPORT int32_t bl_run(const struct command *table, int64_t from, int64_t to, int32_t threads) {
#if defined __x86_64__
  unsigned before = __builtin_ia32_stmxcsr();
#elif defined __aarch64__
  uint64_t before;
  __asm__ volatile("mrs %0, fpcr" : "=r"(before));
#endif
  // Programs of several host threads take turns: the workspaces are one a worker.
  pthread_mutex_lock(&owner);
  plain_arithmetic();
  threads = reserve(threads > MAX_THREADS ? MAX_THREADS : threads);
  if (threads > 1) threads = start_threads(threads);
  for (int64_t i = from; threads > 0 && i < to; i++) {
    const struct command *c = table + i;
    if (c->kind == DOT) run_dot((const struct dot *)c->args, threads);
    else share(c->work, c->args, c->units, threads == 1 ? 1 : c->chunks);
  }
  pthread_mutex_unlock(&owner);
#if defined __x86_64__
  __builtin_ia32_ldmxcsr(before);
#elif defined __aarch64__
  __asm__ volatile("msr fpcr, %0" : : "r"(before));
#endif
  return threads > 0;
}

// Threads may be waiting in this code when the host lets go of the library: it stays.
__attribute__((constructor)) static void stay(void) {
  Dl_info info;
  if (dladdr((void *)stay, &info) && info.dli_fname) dlopen(info.dli_fname, RTLD_NOW | RTLD_NODELETE);
}
