// From the sdk's records to the roles' views.

import { type Audit, type Bitloom, explained, getAudit, type Task } from '@bitloom/sdk'
import type { AuditView, Stage, TaskView } from './views.ts'

export const taskView = (task: Task, slices: number): TaskView => ({
  taskId: task.taskId,
  status: task.status === 'none' ? 'cancelled' : task.status,
  submitter: task.submitter,
  solver: task.solver,
  slice: task.accepted,
  slices,
  acceptedState: task.state,
  deadline: task.deadline,
  claimId: task.openClaim,
})

const stageOf = (audit: Audit): Stage => {
  if (audit.passed) return 'passed'
  if (audit.stage === 'window') return 'challenging'
  return audit.stage === 'none' || audit.stage === 'closed' ? 'void' : audit.stage
}

const SEALED = new Set(['sealed', 'same', 'different', 'unavailable', 'stamped', 'missing', 'idle'])
const REVEALED = new Set(['same', 'different', 'unavailable', 'stamped', 'idle'])

/** A claim's audit as it stands now. */
export async function auditView(bitloom: Bitloom, claimId: bigint): Promise<AuditView> {
  const [audit, block] = await Promise.all([
    getAudit(bitloom, claimId),
    explained('eth_blockNumber', () => bitloom.chain.getBlockNumber({ cacheTime: 0 })),
  ])
  const who = (wanted: ReadonlySet<string>) => [...new Set(audit.assignments.filter((a) => wanted.has(a.verdict)).map((a) => a.verifier))]
  return {
    claimId,
    stage: stageOf(audit),
    deadline: audit.deadline,
    drawable: audit.stage === 'drawing' && block >= audit.anchorBlock,
    assignments: audit.assignments.filter((a) => a.verdict !== 'vacant').map(({ segment, verifier }) => ({ segment, verifier })),
    sealed: who(SEALED),
    revealed: who(REVEALED),
  }
}
