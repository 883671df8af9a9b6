// What a task has cost its submitter so far and may cost next: read from the chain, so that no restart forgets a wei of it.

import { type Bitloom, type ChainEvent, readEvents } from '@bitloom/sdk'

/** Escrow that went in, less what came back: while somebody holds the task it is what it may cost, once it is halted or over what it did cost. */
export function committedWei(events: readonly ChainEvent[], taskId: bigint): bigint {
  let wei = 0n
  for (const { contract, name, args } of events) {
    if (contract !== 'Market' || args.taskId !== taskId) continue
    if (name === 'Offered') wei += args.escrowWei as bigint
    if (name === 'Halted' || name === 'Finished' || name === 'Cancelled') wei -= args.refundWei as bigint
  }
  return wei
}

/** The same, asked of the chain: whatever events of ours are still on their way. */
export const committedOn = async (bitloom: Bitloom, taskId: bigint, fromBlock: bigint): Promise<bigint> =>
  committedWei((await readEvents(bitloom, fromBlock)).events, taskId)

/** Why another solver is not to be paid for, if it is not. */
export type Refusal = { readonly what: 'budget' | 'deadline'; readonly reason: string }

/**
 * Whether what is left of budget and time reaches for one more offer.
 * @param spentWei spent on the task before
 * @param escrowWei what the offer would put at stake at most
 */
export function reaches(
  limits: { readonly budgetWei?: bigint; readonly deadlineAt?: number },
  spentWei: bigint,
  escrowWei: bigint,
  nowSeconds: number,
  neededSeconds: number,
): Refusal | undefined {
  const { budgetWei, deadlineAt } = limits
  if (budgetWei !== undefined && spentWei + escrowWei > budgetWei)
    return {
      what: 'budget',
      reason: `it needs an escrow of ${escrowWei} wei, ${spentWei} wei are spent, and the budget is ${budgetWei} wei`,
    }
  if (deadlineAt !== undefined && nowSeconds + neededSeconds > deadlineAt)
    return {
      what: 'deadline',
      reason: `it needs about ${Math.ceil(neededSeconds)} s, and ${Math.max(0, deadlineAt - nowSeconds)} s are left to the deadline`,
    }
  return undefined
}
