// `bitloom train --profile`: where a step's time goes, kind by kind and kernel by kernel, beside what this machine can do at most.

import { type Backend, measureRoofline, type Profile, type ProfileRow, profileTable } from '@bitloom/engine'
import { type Data, toBytes } from '@bitloom/graph'
import type { Job } from '@bitloom/model'
import { big, bold, dim, percent, table } from './render.ts'

export type ProfileReport = { readonly text: string; readonly json: Profile }

const rows = (list: readonly ProfileRow[]): string[][] =>
  list.map(({ name, kind, count, ms, share, gflops, GBs, ofRoof }) => [
    name,
    name === kind ? '' : kind,
    String(count),
    ms.toFixed(3),
    percent(share),
    gflops.toFixed(1),
    GBs.toFixed(1),
    percent(ofRoof, 0),
  ])

/** A profile for a terminal. */
export function profileText({ kinds, top, roofline, stepMs, kernelsMs, steps, peakBytes, threads }: Profile): string {
  const headers = ['', '', '>kernels', '>ms', '>share', '>GFLOP/s', '>GB/s', '>of the roof']
  const { gflops, cacheGBs, memoryGBs } = roofline
  return [
    `${bold('profile')}  ${stepMs.toFixed(2)} ms a step (${kernelsMs.toFixed(2)} in its kernels), median of ${steps}; ${big(peakBytes, 'B')} of memory, ${threads} thread${threads === 1 ? '' : 's'}`,
    dim(
      `the roof here: products ${gflops.toFixed(1)} GFLOP/s; copies ${cacheGBs.toFixed(0)} GB/s in the cache, ${memoryGBs.toFixed(0)} GB/s in memory`,
    ),
    table(headers, rows(kinds)),
    '',
    table(['slowest', ...headers.slice(1)], rows(top)),
  ].join('\n')
}

/**
 * Runs a job's first steps kernel by kernel.
 * @param options.steps timed steps; each is run twice, once kernel by kernel and once whole
 * @param options.state the state to start from; the job's own first one by default
 */
export function profileReport(
  job: Job,
  backend: Backend,
  options: { readonly steps?: number; readonly top?: number; readonly state?: readonly Data[] } = {},
): ProfileReport {
  const { steps = 10, top = 15, state = job.state } = options
  const roofline = measureRoofline(backend)
  const program = backend.compile(job.graph)
  try {
    for (const [slot, data] of [...state, ...job.data].entries()) program.write(slot, toBytes(data))
    const json = profileTable(program, roofline, { steps, top })
    return { text: profileText(json), json }
  } finally {
    program.close()
  }
}
