// Where a submitter keeps a task under way: one folder for each run, found again by the same command line, gone when the run is over.

import { readdirSync, rmSync, statSync } from 'node:fs'
import { join } from 'node:path'
import { openRuns, openStore, type RunNote } from '@bitloom/node'
import { type Spec, specId } from '@bitloom/sdk'
import { homeOf } from './home.ts'

/** The folder of a run: the same for the same training and checking, whatever its windows are. */
export function runFolder(home: string | undefined, spec: Spec): string {
  const windows = {
    confirmSeconds: 0,
    sliceSeconds: 0,
    sealSeconds: 0,
    discloseSeconds: 0,
    revealSeconds: 0,
    challengeSeconds: 0,
    clockSeconds: 0,
  }
  return join(homeOf(home), 'runs', specId({ ...spec, ...windows }).slice(2, 18))
}

export const clearRunFolder = (dir: string): void => rmSync(dir, { recursive: true, force: true, maxRetries: 3 })

/** Runs of this home that were begun and have not ended; a folder that another process holds is named without its runs. */
export function unfinishedRuns(home: string | undefined): { readonly dir: string; readonly runs?: readonly RunNote[] }[] {
  const base = join(homeOf(home), 'runs')
  const folders = statSync(base, { throwIfNoEntry: false })?.isDirectory() ? readdirSync(base) : []
  return folders.map((name) => {
    const dir = join(base, name)
    try {
      const store = openStore(join(dir, 'node.sqlite'))
      try {
        return { dir, runs: openRuns(store) }
      } finally {
        store.close()
      }
    } catch (error) {
      if ((error as Error).name === 'StoreBusyError') return { dir }
      throw error
    }
  })
}
