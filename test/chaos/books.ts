// The money of a chaos run, kept a second time: what every account must hold, by the rules of docs/protocol.md §5 applied to what happened.
// Only three things are taken from the contracts' own amounts: what was deposited, each task's terms, and what was taken from a seat. All else is computed here.

import type { ChainEvent, Spec, Terms } from '@bitloom/sdk'
import { escrowFor, solverShareWei } from '@bitloom/sdk'
import { parseEther } from 'viem'

/** Codes of Types.sol's Verdict. */
const SAME = 3
const SEAT = parseEther('100')
const CHALLENGE_BOND = parseEther('10')

export type Books = {
  readonly free: ReadonlyMap<string, bigint>
  readonly locked: ReadonlyMap<string, bigint>
  /** By task. */
  readonly escrow: ReadonlyMap<bigint, bigint>
  /** By seat. */
  readonly seats: ReadonlyMap<bigint, bigint>
  readonly depositedWei: bigint
  readonly poolWei: bigint
  readonly burntWei: bigint
  /** By address: bonds and seats taken from it by a verdict or a missed deadline. */
  readonly takenFrom: ReadonlyMap<string, readonly string[]>
  /** Where an event's own amount was not what the rules say. */
  readonly contradictions: readonly string[]
}

type Claim = { readonly taskId: bigint; readonly parts: Map<string, number[]>; readonly verdicts: Map<string, number> }

/** Keeps the books over all events, in order. `specOf`: the spec of a task; `stake`: the ledger's own address, which stands for the pool. */
export function keepBooks(events: readonly ChainEvent[], specOf: (taskId: bigint) => Spec, stake: string): Books {
  const free = new Map<string, bigint>()
  const locked = new Map<string, bigint>()
  const escrow = new Map<bigint, bigint>()
  const seats = new Map<bigint, bigint>()
  const takenFrom = new Map<string, string[]>()
  const contradictions: string[] = []
  const tasks = new Map<bigint, { submitter: string; solver: string; terms: Terms }>()
  const claims = new Map<bigint, Claim>()
  const games = new Map<bigint, { challenger: string; solver: string }>()
  let [depositedWei, poolWei, burntWei] = [0n, 0n, 0n]

  const who = (x: unknown): string => String(x).toLowerCase()
  const add = <K>(accounts: Map<K, bigint>, key: K, wei: bigint): void => void accounts.set(key, (accounts.get(key) ?? 0n) + wei)
  const lock = (address: string, wei: bigint): void => {
    add(free, address, -wei)
    add(locked, address, wei)
  }
  const take = (address: string, why: string): void => void takenFrom.set(address, [...(takenFrom.get(address) ?? []), why])
  const refund = (taskId: bigint, said: bigint): void => {
    const left = escrow.get(taskId) ?? 0n
    if (left !== said) contradictions.push(`task ${taskId}: ${said} wei came back of an escrow of ${left}`)
    escrow.set(taskId, 0n)
    add(free, tasks.get(taskId)!.submitter, left)
  }

  for (const { contract, name, args: a } of events) {
    const taskId = a.taskId as bigint
    const claimId = a.claimId as bigint
    const task = tasks.get(taskId)
    const bond = task?.terms?.bondWei ?? 0n
    switch (`${contract} ${name}`) {
      case 'Stake Deposited':
        add(free, who(a.who), a.amountWei as bigint)
        depositedWei += a.amountWei as bigint
        break
      case 'Stake SeatTaken':
        add(free, who(a.owner), -SEAT)
        seats.set(a.index as bigint, SEAT)
        break
      case 'Stake SeatSlashed': {
        const to = who(a.to)
        const wei = a.amountWei as bigint
        seats.set(a.index as bigint, seats.get(a.index as bigint)! - wei)
        if (BigInt(to) === 0n) burntWei += wei
        else if (to === stake.toLowerCase()) poolWei += wei
        else add(free, to, wei)
        take(who(a.owner), `seat ${a.index}: ${wei} wei`)
        break
      }
      case 'Market Submitted':
        tasks.set(taskId, { submitter: who(a.submitter), solver: '', terms: undefined as unknown as Terms })
        break
      case 'Market Offered': {
        const terms = a.terms as Terms
        tasks.set(taskId, { submitter: task!.submitter, solver: who(a.solver), terms })
        const spec = specOf(taskId)
        const wei = escrowFor(spec, terms, spec.slices - Number(a.fromSlice))
        if (wei !== a.escrowWei) contradictions.push(`task ${taskId}: ${a.escrowWei} wei escrowed instead of ${wei}`)
        add(free, task!.submitter, -wei)
        add(escrow, taskId, wei)
        break
      }
      case 'Market Confirmed':
        lock(task!.solver, bond)
        break
      case 'Market Claimed':
        claims.set(claimId, { taskId, parts: new Map(), verdicts: new Map() })
        break
      case 'Audit Drawn':
        for (const [i, verifier] of (a.verifiers as string[]).entries()) {
          const { parts } = claims.get(claimId)!
          parts.set(who(verifier), [...(parts.get(who(verifier)) ?? []), Number((a.segments as number[])[i])])
        }
        break
      case 'Audit Redrawn':
        for (const verifier of a.silent as string[]) claims.get(claimId)!.parts.delete(who(verifier))
        break
      case 'Audit Restarted':
        claims.get(claimId)!.parts.clear()
        claims.get(claimId)!.verdicts.clear()
        break
      case 'Audit Revealed':
        claims.get(claimId)!.verdicts.set(who(a.verifier), Number(a.verdict))
        break
      case 'Market Settled': {
        const { parts, verdicts } = claims.get(claimId)!
        let fees = 0n
        for (const [verifier, segments] of parts) {
          if (verdicts.get(verifier) !== SAME) continue
          const wei = task!.terms.auditFeeWei * BigInt(segments.length)
          add(free, verifier, wei)
          fees += wei
        }
        if (fees !== a.verifiersWei) contradictions.push(`claim ${claimId}: verifiers got ${a.verifiersWei} wei instead of ${fees}`)
        add(free, task!.solver, solverShareWei(task!.terms.slicePriceWei))
        poolWei += task!.terms.slicePriceWei - solverShareWei(task!.terms.slicePriceWei)
        add(escrow, taskId, -fees - task!.terms.slicePriceWei)
        break
      }
      case 'Market Finished':
        lock(task!.solver, -bond)
        refund(taskId, a.refundWei as bigint)
        break
      case 'Market Halted':
      case 'Market Cancelled':
        refund(taskId, a.refundWei as bigint)
        break
      case 'Market DeadlineMissed':
        lock(task!.solver, -bond)
        add(free, task!.solver, -bond / 10n)
        add(free, task!.submitter, bond / 10n)
        take(task!.solver, `task ${taskId}: a missed deadline`)
        break
      case 'Market Voided':
        lock(task!.solver, -bond)
        if (!a.fault) break
        add(free, task!.solver, -(bond / 4n))
        add(free, task!.submitter, bond / 4n / 2n)
        poolWei += bond / 4n - bond / 4n / 2n
        take(task!.solver, `task ${taskId}: not disclosed`)
        break
      case 'Market Convicted': {
        const challenger = who(a.challenger)
        add(locked, task!.solver, -bond)
        const reward = bond / 8n < poolWei / 4n ? bond / 8n : poolWei / 4n
        poolWei -= reward
        add(free, challenger, bond / 2n + reward)
        add(free, task!.submitter, bond / 4n)
        burntWei += bond - bond / 2n - bond / 4n
        take(task!.solver, `task ${taskId}: convicted`)
        break
      }
      case 'Dispute Challenged':
        games.set(a.gameId as bigint, { challenger: who(a.challenger), solver: who(a.solver) })
        lock(who(a.challenger), CHALLENGE_BOND)
        break
      case 'Dispute Decided': {
        const { challenger, solver } = games.get(a.gameId as bigint)!
        lock(challenger, -CHALLENGE_BOND)
        if (a.convicted) break
        add(free, challenger, -CHALLENGE_BOND)
        add(free, solver, CHALLENGE_BOND / 2n)
        burntWei += CHALLENGE_BOND - CHALLENGE_BOND / 2n
        take(challenger, `game ${a.gameId}: lost as challenger`)
        break
      }
      case 'Dispute Withdrawn':
        lock(games.get(a.gameId as bigint)!.challenger, -CHALLENGE_BOND)
        break
    }
  }
  return { free, locked, escrow, seats, depositedWei, poolWei, burntWei, takenFrom, contradictions }
}
