// Limits a peer: token buckets for what comes in (memory for remembering who asked is bounded too), turns for what goes out.

export interface Limiter {
  /** Takes `cost` tokens of `who` if there are as many; false: too fast. */
  take(who: string, cost?: number): boolean
  /** Takes tokens even beyond zero: for a cost that is known only afterwards. */
  charge(who: string, cost: number): void
}

export interface LimiterOptions {
  readonly perSecond: number
  readonly burst: number
  /** Most peers remembered; beyond it the one that asked longest ago is forgotten. Default 4096. */
  readonly maxPeers?: number
  /** Milliseconds of a clock that never goes back; for tests. */
  readonly now?: () => number
}

/** A limiter that refills every bucket by `perSecond` up to `burst`. */
export function createLimiter({ perSecond, burst, maxPeers = 4096, now = () => performance.now() }: LimiterOptions): Limiter {
  const buckets = new Map<string, { tokens: number; at: number }>()
  const bucketOf = (who: string) => {
    const time = now()
    const bucket = buckets.get(who) ?? { tokens: burst, at: time }
    bucket.tokens = Math.min(burst, bucket.tokens + ((time - bucket.at) / 1000) * perSecond)
    bucket.at = time
    // Reinserted, so that the map's order is that of the last question.
    buckets.delete(who)
    buckets.set(who, bucket)
    if (buckets.size > maxPeers) buckets.delete(buckets.keys().next().value as string)
    return bucket
  }
  return {
    take(who, cost = 1) {
      const bucket = bucketOf(who)
      if (bucket.tokens < cost) return false
      bucket.tokens -= cost
      return true
    },
    charge(who, cost) {
      const bucket = bucketOf(who)
      bucket.tokens = Math.max(-burst, bucket.tokens - cost)
    },
  }
}

export interface Turns {
  /** Waits for one of the places of `who`; false when the signal came first, and then there is no place to leave. */
  enter(who: string, signal: AbortSignal): Promise<boolean>
  leave(who: string): void
}

/** At most `places` at once for each name; the others wait in order. */
export function createTurns(places: number): Turns {
  const queues = new Map<string, { inside: number; readonly waiting: (() => void)[] }>()
  return {
    async enter(who, signal) {
      if (signal.aborted) return false
      const queue = queues.get(who) ?? { inside: 0, waiting: [] }
      queues.set(who, queue)
      if (queue.inside < places) {
        queue.inside++
        return true
      }
      return new Promise((resolve) => {
        const admit = (): void => {
          signal.removeEventListener('abort', giveUp)
          resolve(true)
        }
        const giveUp = (): void => {
          queue.waiting.splice(queue.waiting.indexOf(admit), 1)
          resolve(false)
        }
        queue.waiting.push(admit)
        signal.addEventListener('abort', giveUp, { once: true })
      })
    },
    leave(who) {
      const queue = queues.get(who)
      if (queue === undefined) throw new RangeError(`leave: nobody is inside for ${who}`)
      const next = queue.waiting.shift()
      if (next !== undefined) return next() // the place passes on, so `inside` stays
      if (--queue.inside === 0) queues.delete(who)
    },
  }
}
