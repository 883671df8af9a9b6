// Threads that share one job at a time: chunks of it are taken by whoever is free, so a thread that the system has put aside delays nobody.
#pragma once
#include <pthread.h>
#include <stdatomic.h>
#include <stdint.h>

// Work over units `from` to `to` (exclusive); `args` say on what. `worker` is the thread's number, for its workspace.
typedef void work_fn(void *const *args, long from, long to, int worker);

#define MAX_THREADS 64
// Some 30 microseconds of looking before a thread goes to sleep: who looks for longer is out of turns when there is work, where others want the processor too.
#define SPINS 1500

#if defined __x86_64__
#define RELAX() __builtin_ia32_pause()
#elif defined __aarch64__
#define RELAX() __asm__ volatile("yield")
#else
#define RELAX() ((void)0)
#endif

static struct {
  // The number of the job in the upper half, chunks nobody has taken in the lower: taking one is a compare and swap, which fails if the job has changed.
  _Alignas(64) _Atomic uint64_t ticket;
  _Alignas(64) _Atomic uint32_t done;
  _Alignas(64) _Atomic int sleepers;
  // Whether the caller sleeps until the last chunk is done.
  _Atomic int awaited;
  work_fn *work;
  void *const *args;
  long units, chunks;
  int started;
  pthread_mutex_t mutex;
  pthread_cond_t wake, finished;
} pool = {.mutex = PTHREAD_MUTEX_INITIALIZER, .wake = PTHREAD_COND_INITIALIZER, .finished = PTHREAD_COND_INITIALIZER};
// Runs of several host threads take turns.
static pthread_mutex_t owner = PTHREAD_MUTEX_INITIALIZER;

static void plain_arithmetic(void);

// Does one chunk of the present job, if there is any left.
static int take(int worker) {
  uint64_t ticket = atomic_load_explicit(&pool.ticket, memory_order_acquire);
  uint32_t left = (uint32_t)ticket;
  if (left == 0 || !atomic_compare_exchange_strong(&pool.ticket, &ticket, ticket - 1)) return left != 0;
  long units = pool.units, chunks = pool.chunks, at = chunks - left;
  pool.work(pool.args, units * at / chunks, units * (at + 1) / chunks, worker);
  if (atomic_fetch_add(&pool.done, 1) + 1 == chunks && atomic_load(&pool.awaited)) {
    pthread_mutex_lock(&pool.mutex);
    pthread_cond_signal(&pool.finished);
    pthread_mutex_unlock(&pool.mutex);
  }
  return 1;
}

static void *serve(void *number) {
  int worker = (int)(intptr_t)number;
  plain_arithmetic();
  for (;;) {
    int spins = 0;
    while (spins < SPINS) {
      if (take(worker)) spins = 0;
      else spins++, RELAX();
    }
    pthread_mutex_lock(&pool.mutex);
    atomic_fetch_add(&pool.sleepers, 1);
    while ((uint32_t)atomic_load(&pool.ticket) == 0) pthread_cond_wait(&pool.wake, &pool.mutex);
    atomic_fetch_sub(&pool.sleepers, 1);
    pthread_mutex_unlock(&pool.mutex);
  }
  return 0;
}

// The child of a fork has no other threads: it starts its own when it needs them.
static void forked(void) {
  pool.started = 0;
  pool.ticket = 0;
  pool.sleepers = 0;
  pthread_mutex_init(&pool.mutex, 0);
  pool.awaited = 0;
  pthread_cond_init(&pool.wake, 0);
  pthread_cond_init(&pool.finished, 0);
  pthread_mutex_init(&owner, 0);
}

// Starts threads until there are `threads` with the caller; gives how many there are. They end with the process.
static int start_threads(int threads) {
  static int prepared;
  if (!prepared) prepared = pthread_atfork(0, 0, forked) == 0;
  if (threads > MAX_THREADS) threads = MAX_THREADS;
  while (pool.started < threads - 1) {
    pthread_t thread;
    pthread_attr_t attributes;
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    int failed = pthread_create(&thread, &attributes, serve, (void *)(intptr_t)(pool.started + 1));
    pthread_attr_destroy(&attributes);
    if (failed) break;
    pool.started++;
  }
  return pool.started + 1 < threads ? pool.started + 1 : threads;
}

// Runs a job in `chunks` parts and comes back when all are done.
static void share(work_fn *work, void *const *args, long units, long chunks) {
  if (chunks <= 1) {
    work(args, 0, units, 0);
    return;
  }
  pool.work = work, pool.args = args, pool.units = units, pool.chunks = chunks;
  atomic_store_explicit(&pool.done, 0, memory_order_relaxed);
  uint64_t number = (atomic_load(&pool.ticket) >> 32) + 1;
  atomic_store(&pool.ticket, number << 32 | (uint64_t)chunks);
  if (atomic_load(&pool.sleepers) > 0) {
    pthread_mutex_lock(&pool.mutex);
    pthread_cond_broadcast(&pool.wake);
    pthread_mutex_unlock(&pool.mutex);
  }
  while (take(0)) continue;
  for (int spins = 0; spins < SPINS; spins++) {
    if (atomic_load_explicit(&pool.done, memory_order_acquire) == chunks) return;
    RELAX();
  }
  pthread_mutex_lock(&pool.mutex);
  atomic_store(&pool.awaited, 1);
  while (atomic_load(&pool.done) < chunks) pthread_cond_wait(&pool.finished, &pool.mutex);
  atomic_store(&pool.awaited, 0);
  pthread_mutex_unlock(&pool.mutex);
}
