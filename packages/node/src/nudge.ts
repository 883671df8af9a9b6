// The submitter's interest in a claim whose solver or verifiers went away: whatever anybody may do, some seconds after they should have.

import { draw, lapse, redraw, settleTask, sweep } from '@bitloom/sdk'
import { play, viewOf } from './court.ts'
import type { BitloomNode } from './node.ts'
import { choreOf, GRACE_SECONDS } from './roles/chores.ts'
import { auditView } from './roles/read.ts'

/**
 * Watches a task's open claim.
 * @returns looks at a claim and does what is due
 */
export function openNudge({ services, court }: BitloomNode): (taskId: bigint, claimId: bigint, nowSeconds: number) => Promise<void> {
  const { bitloom } = services
  let still = { stage: '', since: 0 }
  return async (taskId, claimId, nowSeconds) => {
    const [audit, quarrels] = await Promise.all([auditView(bitloom, claimId), court.gamesAbout(claimId)])
    const stage = `${claimId} ${audit.stage} ${audit.deadline}`
    if (stage !== still.stage) still = { stage, since: nowSeconds }
    if (nowSeconds <= still.since + GRACE_SECONDS) return
    const games = quarrels.map(viewOf)
    for (const game of games)
      if (!game.decided && nowSeconds > game.deadline + GRACE_SECONDS) await play(bitloom, game.gameId, { kind: 'timeout' })
    const chore = choreOf(audit, games, nowSeconds, GRACE_SECONDS)
    if (chore === 'settle') await settleTask(bitloom, taskId)
    else if (chore !== undefined) await { draw, redraw, lapse, sweep }[chore](bitloom, claimId)
  }
}
