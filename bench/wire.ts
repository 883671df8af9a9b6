// How the bench talks to a peer's process: a JSON line in, a JSON line out. One at a time, so that whoever is not being timed sleeps.
import { createInterface } from 'node:readline'
import type { TaskName } from './tasks.ts'

export type Request =
  | { readonly do: 'load'; readonly task: TaskName; readonly dir: string }
  | { readonly do: 'step'; readonly forMs: number }
  | { readonly do: 'product'; readonly m: number; readonly k: number; readonly n: number; readonly forMs: number }
  | { readonly do: 'elementwise'; readonly forMs: number }
  | { readonly do: 'profile' }
  | { readonly do: 'about' }

/** What a peer can do; each answer is a plain object. */
export type Peer = {
  readonly about: () => Promise<Readonly<Record<string, unknown>>>
  /** Makes a task ready and runs its first steps: their losses tell whether all peers do the same work. */
  readonly load?: (task: TaskName) => Promise<{ readonly losses: readonly number[]; readonly [key: string]: unknown }>
  /** One training step, results computed before the promise is kept. */
  readonly step?: () => Promise<void>
  /** A function that multiplies once. */
  readonly product?: (
    m: number,
    k: number,
    n: number,
  ) => Promise<{ readonly run: () => Promise<unknown> | unknown; readonly end: () => unknown }>
  /** Where the loaded task's time goes. */
  readonly profile?: () => Promise<object>
  readonly elementwise?: (forMs: number) => Promise<readonly Readonly<Record<string, unknown>>[]>
}

/** Steps before timing, for a peer that does them in good time: their losses are compared. */
const FIRST_STEPS = 3
const FIRST_MS = 10_000

/** The losses of the first steps: three, or as many as ten seconds hold, at least one. */
export const firstLosses = async (step: () => Promise<number> | number): Promise<number[]> => {
  const losses: number[] = []
  const until = performance.now() + FIRST_MS
  do losses.push(await step())
  while (losses.length < FIRST_STEPS && performance.now() < until)
  return losses
}

/** Milliseconds of each call, as many as `forMs` holds, at least one. */
export const timed = async (call: () => Promise<unknown> | unknown, forMs: number): Promise<number[]> => {
  const times: number[] = []
  const until = performance.now() + forMs
  do {
    const start = performance.now()
    const pending = call()
    if (pending instanceof Promise) await pending
    times.push(performance.now() - start)
  } while (performance.now() < until)
  return times
}

const answer = async (peer: Peer, request: Request): Promise<unknown> => {
  switch (request.do) {
    case 'about':
      return peer.about()
    case 'load':
      if (!peer.load) throw new Error('trains nothing')
      return peer.load(request.task)
    case 'step':
      if (!peer.step) throw new Error('trains nothing')
      return { ms: await timed(peer.step, request.forMs) }
    case 'product': {
      if (!peer.product) throw new Error('multiplies nothing')
      const { m, k, n } = request
      const { run, end } = await peer.product(m, k, n)
      // the first calls run in code that the JavaScript engine has not optimised yet
      await timed(run, request.forMs / 4)
      const ms = await timed(run, request.forMs)
      await end()
      return { ms }
    }
    case 'profile':
      if (!peer.profile) throw new Error('has no profile')
      return peer.profile()
    case 'elementwise':
      if (!peer.elementwise) throw new Error('has no such rows')
      return { rows: await peer.elementwise(request.forMs) }
  }
}

/** Answers requests from stdin until it ends. What libraries print goes to stderr. */
export const serve = (peer: Peer): void => {
  console.log = console.info = console.warn = (...words: unknown[]) => void process.stderr.write(`${words.join(' ')}\n`)
  let last = Promise.resolve()
  createInterface({ input: process.stdin }).on('line', (line) => {
    last = last.then(async () => {
      let reply: unknown
      try {
        reply = await answer(peer, JSON.parse(line) as Request)
      } catch (error) {
        reply = { error: error instanceof Error ? error.message : String(error) }
      }
      process.stdout.write(`${JSON.stringify(reply)}\n`)
    })
  })
  process.stdin.on('end', () => void last.then(() => process.exit(0)))
}

/** Imports a package of bench/node_modules, which the type checker need not know. */
export const load = (name: string) => import(name)
