// One piece of work beside the caller at a time: training goes on while a checkpoint is hashed and written, and never gets two ahead of the disk.

export type Lane = {
  /** Begins `work` once the former is done, and does not wait for its end. @throws what the former threw */
  readonly begin: (work: () => Promise<unknown>) => Promise<void>
  /** Settles when nothing is under way. @throws what the last threw, once */
  readonly done: () => Promise<void>
}

export function openLane(): Lane {
  let under: Promise<unknown> = Promise.resolve()
  const done = async (): Promise<void> => {
    const former = under
    under = Promise.resolve()
    await former
  }
  return {
    begin: async (work) => {
      await done()
      under = work()
      // heard by whoever begins or waits next; until then it is nobody's unhandled failure
      under.catch(() => undefined)
    },
    done,
  }
}
