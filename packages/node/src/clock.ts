// The chain's time between two blocks: what offers and windows are judged by, whatever this computer's own clock is set to.

export type ChainClock = {
  /** Notes the newest block's time, unix seconds. A chain that goes back takes the clock with it. */
  readonly set: (chainSeconds: number) => void
  /** The chain's time by now, in unix milliseconds: the newest block's, and what has passed here since that block was first seen. */
  readonly nowMs: () => number
}

/** How far the clock runs on without a new block: a chain that stands still must not make every offer expire. */
const RUN_ON_MS = 60_000

/** A clock that takes its time from the chain and runs on by `monotonic` (milliseconds that never jump). */
export function openChainClock(chainSeconds: number, monotonic: () => number = () => performance.now()): ChainClock {
  let block = chainSeconds
  let seen = monotonic()
  return {
    set: (seconds) => {
      if (seconds === block) return
      block = seconds
      seen = monotonic()
    },
    nowMs: () => block * 1000 + Math.min(RUN_ON_MS, monotonic() - seen),
  }
}
