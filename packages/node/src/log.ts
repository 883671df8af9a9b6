// The node's log, counted: how often each event was said since the start.

import type { Log } from './services.ts'

/** A log that passes every line on and counts it by its event. */
export function countingLog(log: Log): { readonly log: Log; readonly counts: ReadonlyMap<string, number> } {
  const counts = new Map<string, number>()
  return {
    counts,
    log: (event, values) => {
      counts.set(event, (counts.get(event) ?? 0) + 1)
      log(event, values)
    },
  }
}
