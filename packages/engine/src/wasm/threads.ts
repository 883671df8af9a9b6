// Helping threads: started once a process, shared by all programs, one program at a time. A step never needs them: what they do not do, the caller does.
import { CONTROL, CONTROL_BYTES, ORDER, REASON_BYTES, type StepExports } from './barrier.ts'
import { type Code, type Memory, startsWhileBlocked, startWorker, type Worker } from './platform.ts'
import { type ToWorker, workerSource } from './worker.ts'

/** A program as its threads see it. */
export interface Shared {
  readonly memory: Memory
  readonly gemm: Code
  readonly program: Code
  readonly threads: number
  /** Address of the control block, and of each thread's workspace. */
  readonly control: number
  readonly workspace: (thread: number) => number
}

/** How long to wait for threads: milliseconds to come, seconds to reach a barrier. */
const ATTACH_MS = 30_000
const BARRIER_SECONDS = 120

interface Helper {
  readonly worker: Worker
  up: boolean
  /** Why it ended though nobody told it to. */
  ended?: string
}

let helpers: Helper[] = []
let waiting: { readonly count: number; readonly done: () => void; readonly failed: (error: ThreadError) => void }[] = []
/** The program that the helpers serve. */
let served: Team | undefined
let nextId = 1
/** A helper forgets a closed program only when its own garbage is collected, which an idle thread never does: after this much it is replaced. */
const MOST_CLOSED_BYTES = 256 * 2 ** 20
const MOST_CLOSED = 200
let closedBytes = 0
let closedPrograms = 0

const grow = (count: number): void => {
  while (helpers.length < count) {
    const helper: Helper = {
      up: false,
      worker: startWorker(workerSource(), {
        up: () => {
          helper.up = true
          waiting = waiting.filter(({ count: wanted, done }) => {
            if (helpers.slice(0, wanted).some((h) => !h.up)) return true
            done()
            return false
          })
        },
        ended: (reason) => {
          helper.ended = reason
          served = undefined
          replaceHelpers(`a helping thread ended: ${reason}`)
        },
      }),
    }
    helpers.push(helper)
  }
}

/**
 * Starts helpers for programs of `threads` threads ahead of time; resolves when they run. Programs start what they need themselves.
 * Rejects with a ThreadError if one cannot run, or if they are stopped before.
 */
export const startThreads = (threads: number): Promise<void> => {
  grow(threads - 1)
  if (helpers.slice(0, threads - 1).every((h) => h.up)) return Promise.resolve()
  return new Promise((done, failed) => {
    waiting.push({ count: threads - 1, done, failed })
  })
}

/** Ends every helper; programs that still need them start new ones. */
export const stopThreads = (): void => {
  served?.release()
  replaceHelpers('the helping threads were stopped')
}

/** Ends all helpers; the next program to need some starts new ones. */
const replaceHelpers = (why: string): void => {
  closedBytes = 0
  closedPrograms = 0
  const old = helpers
  helpers = []
  for (const { worker } of old) worker.stop()
  const disappointed = waiting
  waiting = []
  for (const { failed } of disappointed) failed(new ThreadError(why))
}

/** One program's hold on the helpers. */
export class Team {
  readonly #shared: Shared
  readonly #id = nextId++
  readonly #words: Int32Array
  /** The helpers that have loaded the program. */
  #loaded: readonly Helper[] = []
  #full = false
  #lateSeconds = 0
  #failure: string | undefined

  constructor(shared: Shared) {
    this.#shared = shared
    this.#words = new Int32Array(shared.memory.buffer, shared.control, CONTROL_BYTES / 4)
    this.#load()
  }

  #load(): void {
    const { threads, memory, gemm, program, control, workspace } = this.#shared
    grow(threads - 1)
    this.#loaded = helpers.slice(0, threads - 1)
    this.#loaded.forEach(({ worker }, i) => {
      const thread = i + 1
      const { attached, generation, broken, reason } = CONTROL
      const words = { attached, generation, broken, reason }
      worker.post({
        ...{ kind: 'load', id: this.#id, thread, memory, gemm, program, workspace: workspace(thread), control, words },
        reasonBytes: REASON_BYTES,
      } satisfies ToWorker)
    })
  }

  /**
   * Runs one step by all threads, or alone where a browser has not brought the helpers up yet.
   * @throws {ThreadError} a helper broke off or ended; the program's state is lost
   */
  step(exports: StepExports, order: number): void {
    const threads = this.#ready()
    this.#lateSeconds = 0
    try {
      exports.lead(order, threads)
    } catch (error) {
      if (error instanceof ThreadError) throw error
      this.#fail(`the first thread broke off: ${error instanceof Error ? error.message : String(error)}`, error)
    }
    if (this.#words[CONTROL.broken] !== 0) this.#fail()
  }

  /** How many threads the next step has. */
  #ready(): number {
    if (this.#failure !== undefined) throw new ThreadError(this.#failure)
    const dead = this.#loaded.find((h) => h.ended !== undefined)
    if (dead !== undefined) this.#fail(`a helping thread ended: ${dead.ended}`)
    // What is queued for a worker that cannot start while we block would come when it is out of date.
    if (!startsWhileBlocked && this.#loaded.some((h) => !h.up)) return 1
    if (served !== this) this.#serve()
    if (this.#full) return this.#shared.threads
    const helping = this.#shared.threads - 1
    this.#until(CONTROL.attached, helping)
    this.#full = true
    return this.#shared.threads
  }

  #serve(): void {
    try {
      served?.release()
    } catch (error) {
      // The other program's failure is thrown at its own next step.
      if (!(error instanceof ThreadError)) throw error
    }
    if (this.#loaded.some((h) => !helpers.includes(h))) this.#load()
    served = this
    for (const { worker } of this.#loaded) worker.post({ kind: 'serve', id: this.#id, threads: this.#shared.threads } satisfies ToWorker)
  }

  /** Lets the helpers go to another program. */
  release(): void {
    if (served !== this) return
    served = undefined
    if (this.#failure !== undefined) return
    // Who has not come yet would come to an order it never saw: let all come first.
    this.#until(CONTROL.attached, this.#shared.threads - 1)
    this.#full = false
    Atomics.store(this.#words, CONTROL.order, ORDER.leave)
    Atomics.add(this.#words, CONTROL.command, 1)
    Atomics.notify(this.#words, CONTROL.command)
    this.#until(CONTROL.attached, 0)
  }

  /** Lets go of the program's memory. */
  close(): void {
    if (this.#loaded.length === 0) return
    try {
      this.release()
    } catch (error) {
      // Who closes a program does not care that its threads broke off.
      if (!(error instanceof ThreadError)) throw error
    }
    for (const { worker } of this.#loaded) worker.post({ kind: 'close', id: this.#id } satisfies ToWorker)
    this.#loaded = []
    closedBytes += this.#words.buffer.byteLength
    closedPrograms++
    if (closedBytes >= MOST_CLOSED_BYTES || closedPrograms >= MOST_CLOSED) stopThreads()
  }

  /** Waits until a word of the control block is `value`. */
  #until(word: number, value: number): void {
    const until = performance.now() + ATTACH_MS
    for (;;) {
      const now = Atomics.load(this.#words, word)
      if (Atomics.load(this.#words, CONTROL.broken) !== 0) this.#fail()
      if (now === value) return
      if (performance.now() > until) this.#fail(`${Math.abs(value - now)} threads did not answer within ${ATTACH_MS / 1000} s`)
      Atomics.wait(this.#words, word, now, 1000)
    }
  }

  /** What the program's first thread imports: called once a second while it waits at a barrier. */
  late(): void {
    if (this.#words[CONTROL.broken] !== 0) this.#fail()
    if (++this.#lateSeconds >= BARRIER_SECONDS) this.#fail(`a thread did not reach the barrier within ${BARRIER_SECONDS} s`)
  }

  #fail(reason?: string, cause?: unknown): never {
    const { broken, generation, command, order, reason: at } = CONTROL
    const length = this.#words[at]
    const text = new TextDecoder().decode(new Uint8Array(this.#words.buffer, this.#words.byteOffset + 4 * (at + 1), length).slice())
    const first = this.#words[broken]
    this.#failure = `${reason ?? `thread ${first} broke off: ${text || 'no reason given'}`}\nthe program's state is lost; compile again, or use one thread`
    // Let whoever still waits go too.
    Atomics.compareExchange(this.#words, broken, 0, -1)
    Atomics.store(this.#words, order, ORDER.leave)
    Atomics.add(this.#words, command, 1)
    for (const word of [generation, command]) Atomics.notify(this.#words, word)
    if (served === this) served = undefined
    this.#full = false
    // A thread that did not answer may never: other programs get new ones.
    if (this.#loaded.some((h) => helpers.includes(h))) replaceHelpers(this.#failure)
    throw new ThreadError(this.#failure, { cause })
  }
}

/** A thread of a program broke off, ended, or never came. */
export class ThreadError extends Error {
  override name = 'engine.ThreadError'
}
