// Threads in WebAssembly: the barrier that all meet at, a step as calls with waits between, and the loop in which a helping thread serves.
// All of it is generated code over words in the shared memory, so a step of hundreds of kernels never goes through JavaScript.
import type { Turn } from '../phases.ts'
import type { FunctionBuilder, ModuleBuilder } from './assemble.ts'

/** Words of the control block, as i32 indices: each that threads fight for on a cache line of its own. */
export const CONTROL = {
  generation: 0,
  arrived: 16,
  sleepers: 32,
  command: 48,
  idle: 64,
  order: 80,
  attached: 96,
  broken: 112,
  reason: 128,
} as const
/** Bytes of the control block: its words, then room for the reason why a thread broke off. */
export const CONTROL_BYTES = 1024
export const REASON_BYTES = CONTROL_BYTES - 4 * CONTROL.reason - 4

/** What a command orders. */
export const ORDER = { step: 0, timed: 1, leave: 2 } as const

/** Rounds of looking before a thread sleeps: some microseconds. Spinning for ever collapses where there are more threads than cores (EVIDENCE §1: 45 to 800 ms a step). */
const SPINS = 3000
/** How long a thread sleeps before it asks whether another broke off. */
const PATIENCE_NS = 1_000_000_000

/** Functions of a program's module that threads need beside its kernels. */
export interface Threading {
  /** Address of the control block. */
  readonly control: number
  /** Index of the imported `late()`: called once a second while waiting at a barrier; it throws to break off. */
  readonly late: number
  /** Index of the imported `tick(kernel)`: called by the first thread after each kernel of a timed step. */
  readonly tick: number
}

/** What the module of a program of several threads exports for them. */
export interface StepExports {
  /** Runs a step (or a timed one) as the first of `threads` threads, telling the others. */
  readonly lead: (order: number, threads: number) => void
  /** Serves as thread `thread` until told to leave. */
  readonly serve: (thread: number, threads: number) => void
}

/** A work's function and the addresses it takes. */
export interface Callee {
  readonly index: number
  readonly units: number
  readonly pointers: readonly number[]
}

const pushPointers = (f: FunctionBuilder, { pointers, index }: Callee): void => {
  for (const pointer of pointers) f.i32(pointer)
  f.call(index)
}

/** Adds `alone`, a step by one thread: every call with all its pieces, in order. */
export const emitAlone = (module: ModuleBuilder, calls: readonly Callee[]): void => {
  module.func('alone', { params: [], results: [] }, (f) => {
    for (const call of calls) {
      f.i32(0).i32(call.units)
      pushPointers(f, call)
    }
  })
}

/** Adds `lead` and `serve`, which make `calls[turn]` of every turn. */
export const emitThreading = (
  module: ModuleBuilder,
  turns: readonly Turn[],
  calls: readonly Callee[],
  { control, late, tick }: Threading,
): void => {
  const word = (name: keyof typeof CONTROL): number => control + 4 * CONTROL[name]

  const barrier = module.func(
    'barrier',
    { params: ['i32'], results: [] },
    (f) => {
      const [generation, spins] = [f.local('i32'), f.local('i32')]
      f.get(0)
        .i32(1)
        .op('i32.eq')
        .if(() => f.op('return'))
      f.i32(0).mem('i32.atomic.load', word('generation')).set(generation)
      f.i32(0).i32(1).mem('i32.atomic.rmw.add', word('arrived')).i32(1).op('i32.add').get(0).op('i32.eq')
      f.if(() => {
        f.i32(0).i32(0).mem('i32.atomic.store', word('arrived'))
        f.i32(0).get(generation).i32(1).op('i32.add').mem('i32.atomic.store', word('generation'))
        f.i32(0)
          .mem('i32.atomic.load', word('sleepers'))
          .if(() => f.i32(0).i32(-1).mem('memory.atomic.notify', word('generation')).op('drop'))
        f.op('return')
      })
      f.i32(SPINS).set(spins)
      f.while(
        () => f.i32(0).mem('i32.atomic.load', word('generation')).get(generation).op('i32.ne'),
        () => {
          f.get(spins).if(
            () => f.bump(spins, -1),
            () => {
              f.i32(0)
                .mem('i32.atomic.load', word('broken'))
                .if(() => f.call(late))
              f.i32(0).i32(1).mem('i32.atomic.rmw.add', word('sleepers')).op('drop')
              f.i32(0).get(generation).op('i64.const', PATIENCE_NS).mem('memory.atomic.wait32', word('generation')).set(spins)
              f.i32(0).i32(-1).mem('i32.atomic.rmw.add', word('sleepers')).op('drop')
              // 2: the second is over. Woken by one who broke off, the next round says so.
              f.get(spins).i32(2).op('i32.eq')
              f.if(() => f.call(late))
              f.i32(0).set(spins)
            },
          )
        },
      )
    },
    false,
  )

  /** The first piece of thread `thread`: thread * floor(units / threads) + min(thread, units % threads), as `shareOf`. */
  const startOf = module.func(
    'startOf',
    { params: ['i32', 'i32', 'i32'], results: ['i32'] },
    (f) => {
      const [units, thread, threads] = [0, 1, 2]
      const rest = f.local('i32')
      f.get(units).get(threads).op('i32.rem_u').set(rest)
      f.get(units).get(threads).op('i32.div_u').get(thread).op('i32.mul')
      f.get(thread).get(rest).get(thread).get(rest).op('i32.lt_u').op('select').op('i32.add')
    },
    false,
  )

  const step = (name: string, timed: boolean): number =>
    module.func(
      name,
      { params: ['i32', 'i32'], results: [] },
      (f) => {
        const [thread, threads] = [0, 1]
        const [from, to] = [f.local('i32'), f.local('i32')]
        const meet = (): void => void f.get(threads).call(barrier)
        turns.forEach((turn, at) => {
          const call = (): void => pushPointers(f, calls[at])
          if (turn.wait && !timed) meet()
          if (turn.cut.along === 'whole')
            f.get(thread)
              .op('i32.eqz')
              .if(() => {
                f.i32(0).i32(1)
                call()
              })
          else {
            f.i32(turn.cut.units).get(thread).get(threads).call(startOf).set(from)
            f.i32(turn.cut.units).get(thread).i32(1).op('i32.add').get(threads).call(startOf).set(to)
            f.get(from)
              .get(to)
              .op('i32.lt_u')
              .if(() => {
                f.get(from).get(to)
                call()
              })
          }
          if (!timed) return
          meet()
          if (turns[at + 1]?.kernel !== turn.kernel)
            f.get(thread)
              .op('i32.eqz')
              .if(() => f.i32(turn.kernel).call(tick))
        })
        meet()
      },
      false,
    )
  const plain = step('step', false)
  const timed = step('timed', true)
  const run = (f: FunctionBuilder, order: () => void, thread: () => void, threads: number): void => {
    order()
    f.i32(ORDER.timed).op('i32.eq')
    f.if(
      () => {
        thread()
        f.get(threads).call(timed)
      },
      () => {
        thread()
        f.get(threads).call(plain)
      },
    )
  }

  module.func('lead', { params: ['i32', 'i32'], results: [] }, (f) => {
    const [order, threads] = [0, 1]
    f.get(threads)
      .i32(1)
      .op('i32.ne')
      .if(() => {
        f.i32(0).get(order).mem('i32.atomic.store', word('order'))
        f.i32(0).i32(1).mem('i32.atomic.rmw.add', word('command')).op('drop')
        f.i32(0)
          .mem('i32.atomic.load', word('idle'))
          .if(() => f.i32(0).i32(-1).mem('memory.atomic.notify', word('command')).op('drop'))
      })
    run(
      f,
      () => f.get(order),
      () => f.i32(0),
      threads,
    )
  })

  module.func('serve', { params: ['i32', 'i32'], results: [] }, (f) => {
    const [thread, threads] = [0, 1]
    const [seen, spins, order] = [f.local('i32'), f.local('i32'), f.local('i32')]
    f.i32(0).mem('i32.atomic.load', word('command')).set(seen)
    f.i32(0).i32(1).mem('i32.atomic.rmw.add', word('attached')).op('drop')
    f.i32(0).i32(-1).mem('memory.atomic.notify', word('attached')).op('drop')
    f.loop((again) => {
      f.i32(SPINS).set(spins)
      f.while(
        () => f.i32(0).mem('i32.atomic.load', word('command')).get(seen).op('i32.ne'),
        () => {
          f.get(spins).if(
            () => f.bump(spins, -1),
            () => {
              f.i32(0).i32(1).mem('i32.atomic.rmw.add', word('idle')).op('drop')
              f.i32(0).get(seen).op('i64.const', -1).mem('memory.atomic.wait32', word('command')).op('drop')
              f.i32(0).i32(-1).mem('i32.atomic.rmw.add', word('idle')).op('drop')
            },
          )
        },
      )
      f.i32(0).mem('i32.atomic.load', word('command')).set(seen)
      f.i32(0).mem('i32.atomic.load', word('order')).set(order)
      f.get(order)
        .i32(ORDER.leave)
        .op('i32.ne')
        .if(() => {
          run(
            f,
            () => f.get(order),
            () => f.get(thread),
            threads,
          )
          f.br(again)
        })
    })
    f.i32(0).i32(-1).mem('i32.atomic.rmw.add', word('attached')).op('drop')
    f.i32(0).i32(-1).mem('memory.atomic.notify', word('attached')).op('drop')
  })
}
