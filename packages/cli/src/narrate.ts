// The chain's log in plain words: who claimed, who checked, how a dispute walks down.

import { bytesOf, chunksOf, type Graph, sizeOf, unravel } from '@bitloom/graph'
import { type ChainEvent, PLACE_VERDICTS, type Spec } from '@bitloom/sdk'
import { type Place, placeOf } from './place.ts'
import { bold, dim, green, money, red, short, wordAsF32, yellow } from './render.ts'

export type Narrator = { readonly tell: (event: ChainEvent) => readonly string[] }

/** An expr for people: `sub f32[128,784] (the next fc1.weight)`. */
export function describeExpr(graph: Graph, at: number): string {
  const e = graph.exprs[at]
  if (!e) return `expr ${at}, which the graph does not have`
  const slot = graph.next.indexOf(at)
  return `${e.op} ${e.dtype}[${e.shape}]${slot >= 0 ? ` (the next ${graph.slots[slot]!.name})` : ''}`
}

const at = (graph: Graph, expr: number, element: number): string => {
  const e = graph.exprs[expr]
  return e ? `element ${element} = [${unravel(element, e.shape)}]` : `element ${element}`
}

/** Tells one task's events, a line where something is decided and none where nothing is. */
export function narrator(spec: Spec, graph: Graph): Narrator {
  const claims = new Map<string, { slice: number; verifiers: number; segments: number; sealed: number; same: number }>()
  const games = new Map<string, { segment: number; place?: Place }>()
  const claimOf = (event: ChainEvent) => claims.get(String(event.args.claimId))
  return {
    tell: (event) => {
      const { name, args } = event
      const n = (key: string): number => Number(args[key])
      const who = (key: string): string => short(String(args[key]))
      const slice = (i: number): string => `slice ${i + 1}/${spec.slices}`
      switch (name) {
        case 'Confirmed':
          return [`${bold('confirmed')}  ${who('solver')} holds every blob, and has locked its bond`]
        case 'Claimed':
          claims.set(String(args.claimId), { slice: n('slice'), verifiers: 0, segments: 0, sealed: 0, same: 0 })
          return [`${bold(slice(n('slice')))}  claimed by ${who('solver')}  ${dim(`root ${who('root')}`)}`]
        case 'Drawn': {
          const claim = claimOf(event)
          if (claim) claim.verifiers = (args.verifiers as unknown[]).length
          if (claim) claim.segments = (args.segments as unknown[]).length
          return [
            dim(
              `  drawn    ${new Set(args.verifiers as string[]).size} verifiers for segments ${[...(args.segments as number[])]
                .sort((a, b) => a - b)
                .map((s) => s + 1)
                .join(' ')} of ${spec.checkpointsPerSlice}`,
            ),
          ]
        }
        case 'Sealed': {
          const claim = claimOf(event)
          if (claim) claim.sealed++
          return [dim(`  sealed   ${who('verifier')}  ${who('seal')}`)]
        }
        case 'Disclosed':
          return [dim(`  disclosed ${(args.segments as unknown[]).length} probe digests`)]
        case 'Revealed': {
          if (event.contract !== 'Audit') return []
          const verdict = PLACE_VERDICTS[n('verdict')]!
          const paint = verdict === 'same' ? green : verdict === 'different' ? red : yellow
          return [`  ${dim('verdict ')} ${who('verifier')} says ${paint(verdict)}`]
        }
        case 'Caught':
          return [`  ${dim('found   ')} ${who('catcher')} gets ${money(args.rewardWei as bigint)} out of the pool`]
        case 'Redrawn':
          return [yellow(`  redrawn  ${(args.silent as string[]).map(short).join(' ')} did not seal in time`)]
        case 'Settled':
          return [
            `${green('✓')} ${bold(slice(n('slice')))} accepted: ${money(args.solverWei as bigint)} to ${who('solver')}, ${money(args.verifiersWei as bigint)} to verifiers`,
          ]
        case 'Challenged':
          games.set(String(args.gameId), { segment: n('segment') })
          return [
            '',
            `${red(bold('dispute'))} ${bold(String(args.gameId))}  ${who('challenger')} says that segment ${n('segment') + 1} of ${who('solver')}’s claim is wrong`,
          ]
        case 'Moved':
          return moved(event, games, graph)
        case 'StepOpened': {
          const { preState, postState } = args.opened as { preState: string; postState: string }
          return [dim(`  solver      opens the step: state ${short(preState)} → ${short(postState)}`)]
        }
        case 'SealedSlice':
          return [dim(`sealed   ${slice(n('slice'))}: the next block decides whether its claim is wrong on purpose`)]
        case 'Opened':
          return [
            args.decoy ? yellow('  opened   wrong on purpose: whoever ran it again has found it') : dim('  opened   it showed the truth'),
          ]
        case 'Decided':
          return decided(event, graph)
        case 'Convicted':
          return [
            red(
              `  convicted   ${who('solver')}: bond slashed, ${money(args.challengerWei as bigint)} to its challenger, the slice is void`,
            ),
            '',
          ]
        case 'Halted':
          return [
            yellow(
              `halted with ${n('accepted')} of ${spec.slices} slices accepted; ${money(args.refundWei as bigint)} of escrow back with the submitter`,
            ),
          ]
        case 'DeadlineMissed':
          return [yellow(`${who('solver')} missed its deadline, and loses the task and ${money(args.penaltyWei as bigint)}`)]
        case 'Voided':
          return [yellow(`the claim is void${args.fault ? ', by the solver’s fault' : ''}`)]
        case 'VerifierSlashed':
          return [red(`  slashed  verifier ${who('verifier')}: ${money(args.takenWei as bigint)}`)]
        case 'Finished':
          return [`${green(bold('finished'))}  ${money(args.refundWei as bigint)} of escrow not needed and back`]
        default:
          return []
      }
    },
  }
}

const chunksIn = (graph: Graph, expr: number): number => {
  const e = graph.exprs[expr]
  return e ? chunksOf(bytesOf(e.dtype) * sizeOf(e.shape)) : Number.POSITIVE_INFINITY
}

/** One move of a dispute: the solver's reveals are silent, what the challenger narrows it to is not. */
function moved(event: ChainEvent, games: Map<string, { segment: number; place?: Place }>, graph: Graph): readonly string[] {
  const game = games.get(String(event.args.gameId))
  const was = game?.place
  const now = placeOf(event, was)
  if (game) game.place = now
  if (now.level === 'over' || now.toMove !== 'solver') return []
  const { level, from, to, depth, index, expr } = now
  const below = 2 ** depth
  const range = (what: string, count: number): string =>
    below === 1 ? `${what} ${index}` : `${what} ${index * below}–${Math.min(count, (index + 1) * below) - 1}`
  const line = (text: string): string => `  ${dim('narrowed to')} ${text}`
  switch (level) {
    case 'steps':
      return [line(`steps ${from}–${to} of the segment`)]
    case 'open':
      return [line(`step ${from + 1} of the segment`)]
    case 'trace':
      return [line(range('exprs', graph.exprs.length))]
    case 'state':
      return [line(range('slots', graph.next.length))]
    case 'tensor':
    case 'chunk': {
      const shown = was?.expr === undefined && expr !== undefined ? [line(`expr ${expr}: ${describeExpr(graph, expr)}`)] : []
      if (level === 'chunk') return [...shown, line(`chunk ${index} of its tensor: 1,024 bytes, shown on chain`)]
      return shown.length > 0 ? shown : [line(range('chunks', expr === undefined ? Number.POSITIVE_INFINITY : chunksIn(graph, expr)))]
    }
    case 'fold':
      return [line(`terms ${from}–${to} of the fold`)]
    default:
      return []
  }
}

function decided({ args }: ChainEvent, graph: Graph): readonly string[] {
  const [expr, element, term, claimed, computed] = ['expr', 'element', 'term', 'claimed', 'computed'].map((k) => Number(args[k])) as [
    number,
    number,
    number,
    number,
    number,
  ]
  const scalar = Number(args.ground) === 1
  const f32 = graph.exprs[expr]?.dtype === 'f32'
  const show = (word: number): string => (f32 ? wordAsF32(word) : `${word | 0} (0x${word.toString(16)})`)
  const lines = scalar
    ? [
        `  ${bold('the contract computes')} ${describeExpr(graph, expr)}, ${at(graph, expr, element)}${graph.exprs[expr]?.op === 'dot' || graph.exprs[expr]?.op === 'sum' ? `, term ${term}` : ''}`,
        `    claimed   ${red(show(claimed))}`,
        `    computed  ${green(show(computed))}`,
      ]
    : []
  return [...lines, `  ${bold('verdict')}     ${args.convicted ? red('the solver lied') : green('the claim stands')}`]
}
