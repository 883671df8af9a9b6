// `bitloom dispute`: which disputes there are, and one of them as a walk down to the scalar on which a contract decided.

import type { Graph } from '@bitloom/graph'
import { type Quarrel, readQuarrel } from '@bitloom/node/court'
import { type Bitloom, type ChainEvent, connect, getClaim, getSpec, type Network, RevertError, readEvents, type Spec } from '@bitloom/sdk'
import { type Call, type Command, RefusedError, UsageError } from '../command.ts'
import { graphFromPeers, recipeOfSpec } from '../contents.ts'
import { describeExpr } from '../narrate.ts'
import { type Operation, operationLines, readOperation, wordText } from '../operation.ts'
import { count, print, printJson, say } from '../output.ts'
import { gatherOffers, NETWORK_OPTIONS, networkOf, numberOf, visit } from '../reach.ts'
import { bold, dim, green, money, red, short, table, yellow } from '../render.ts'
import { type Branch, type Decision, type Exchange, reasonOf, type Walk, walk } from '../walk.ts'

export const command: Command = {
  name: 'dispute',
  summary: 'who accused whom, and how it was narrowed to one scalar',
  usage: 'list | show N [--tree]',
  options: {
    ...NETWORK_OPTIONS,
    tree: { type: 'boolean', help: 'show: as a tree of what was agreed on and what was not' },
    names: { type: 'boolean', default: true, help: 'show: names from the graph, which peers have; --no-names does without' },
    json: { type: 'boolean', help: 'for machines' },
  },
  run: async (call) => {
    const [verb, which, ...more] = call.args
    if (more.length > 0) throw new UsageError(`"${more[0]}" is one word too many.\nSee: bitloom dispute --help`)
    if (verb === 'list' && which === undefined) await list(call)
    else if (verb === 'show') await show(call, numberOf(which, 'dispute', 'dispute show 0'))
    else throw new UsageError('Say what: bitloom dispute list, or bitloom dispute show 0')
    return
  },
}

const allEvents = async (bitloom: Bitloom): Promise<ChainEvent[]> => (await readEvents(bitloom, BigInt(bitloom.network.fromBlock))).events

/** A game's events, out of everything. */
const eventsOf = (events: readonly ChainEvent[], gameId: bigint): ChainEvent[] =>
  events.filter((e) => e.contract === 'Dispute' && e.args.gameId === gameId)

const outcomeText = (decided: ChainEvent | undefined, withdrawn: boolean): string => {
  if (withdrawn) return 'moot'
  if (!decided) return yellow('open')
  return decided.args.convicted ? red('the solver lied') : green('the claim stands')
}

async function list(call: Call): Promise<void> {
  const bitloom = await connect(networkOf(call))
  const events = await allEvents(bitloom)
  const games = await Promise.all(
    events
      .filter((e) => e.name === 'Challenged')
      .map(async ({ args }) => {
        const own = eventsOf(events, args.gameId as bigint)
        const claim = await getClaim(bitloom, args.claimId as bigint)
        const decided = own.find((e) => e.name === 'Decided')
        return {
          gameId: args.gameId as bigint,
          taskId: claim.taskId,
          slice: Number(claim.slice),
          segment: Number(args.segment),
          challenger: String(args.challenger),
          solver: String(args.solver),
          moves: own.filter((e) => e.name === 'Moved').length - 1,
          decided,
          withdrawn: own.some((e) => e.name === 'Withdrawn'),
        }
      }),
  )
  if (call.flag('json')) {
    for (const { decided, ...game } of games) printJson({ ...game, convicted: decided ? decided.args.convicted : null })
    return
  }
  if (games.length === 0) {
    say('No claim was ever disputed here.')
    return
  }
  print(
    table(
      ['>dispute', '>task', '>slice', '>segment', 'challenger', 'solver', '>moves', 'outcome'],
      games.map((g) => [
        String(g.gameId),
        String(g.taskId),
        String(g.slice + 1),
        String(g.segment + 1),
        short(g.challenger),
        short(g.solver),
        String(g.moves),
        outcomeText(g.decided, g.withdrawn),
      ]),
    ),
  )
  say(dim(`Walk one down with: bitloom dispute show ${games.at(-1)!.gameId}`))
}

async function quarrelOf(bitloom: Bitloom, gameId: bigint): Promise<Quarrel> {
  try {
    return await readQuarrel(bitloom, gameId)
  } catch (error) {
    if (error instanceof RevertError && error.errorName === 'NoGame')
      throw new RefusedError(`There is no dispute ${gameId} here.\nSee which there are: bitloom dispute list`)
    throw error
  }
}

/** The graph, for names: a recipe's, else from peers; without it the walk has numbers only. */
async function graphFor(call: Call, network: Network, taskId: bigint, spec: Spec): Promise<Graph | undefined> {
  if (!call.flag('names')) return undefined
  const known = await recipeOfSpec(spec)
  if (known) return known.job.graph
  const { node, leave } = await visit(network)
  try {
    await gatherOffers(node, 2000)
    const graph = await graphFromPeers(node, taskId, spec)
    if (!graph) say(dim('No peer has this task’s graph any more, so exprs and slots have numbers only.'))
    return graph
  } finally {
    await leave()
  }
}

async function show(call: Call, gameId: bigint): Promise<void> {
  const network = networkOf(call)
  const bitloom = await connect(network)
  const quarrel = await quarrelOf(bitloom, gameId)
  const claim = await getClaim(bitloom, quarrel.claimId)
  const spec = await getSpec(bitloom, claim.taskId)
  const all = await allEvents(bitloom)
  const events = eventsOf(all, gameId)
  const graph = await graphFor(call, network, claim.taskId, spec)
  const firstStep = (Number(claim.slice) * spec.checkpointsPerSlice + quarrel.segment) * spec.stepsPerCheckpoint
  const walked = walk(events, {
    firstStep,
    steps: spec.stepsPerCheckpoint,
    exprs: spec.exprs,
    stateSlots: spec.stateSlots,
    graph,
  })
  const convicted = all.find(
    (e) =>
      e.name === 'Convicted' &&
      e.args.claimId === quarrel.claimId &&
      e.transactionHash === events.find((d) => d.name === 'Decided')?.transactionHash,
  )
  const scalar = walked.decision?.ground === 'scalar' ? events.find((e) => e.name === 'Decided') : undefined
  const operation = scalar && (await readOperation(bitloom, scalar))
  if (call.flag('json')) {
    printJson({
      gameId,
      taskId: claim.taskId,
      claimId: quarrel.claimId,
      slice: claim.slice,
      segment: quarrel.segment,
      solver: quarrel.solver,
      challenger: quarrel.challenger,
      ...walked,
      operation,
      reason: walked.decision && reasonOf(walked.decision, graph),
      challengerWei: convicted?.args.challengerWei,
    })
    return
  }
  const head = `${bold(`Dispute ${gameId}`)}: ${quarrel.challenger} says that segment ${quarrel.segment + 1} of ${spec.checkpointsPerSlice} in slice ${Number(claim.slice) + 1} of task ${claim.taskId} is wrong, which ${quarrel.solver} claims.`
  print(
    [
      head,
      '',
      ...(call.flag('tree') ? treeLines(walked.branches) : walkLines(walked.exchanges)),
      '',
      ...endLines(walked, graph, Number(claim.slice), convicted?.args.challengerWei as bigint | undefined, quarrel, operation),
    ].join('\n'),
  )
}

/** The walk, a line an exchange. */
export function walkLines(exchanges: readonly Exchange[]): string[] {
  const width = String(exchanges.length).length
  return exchanges.map(
    ({ who, text }, i) =>
      `  ${dim(String(i + 1).padStart(width))}  ${who === 'solver' ? dim('solver    ') : 'challenger'}  ${who === 'solver' ? dim(text) : text}`,
  )
}

/** The walk as a tree: at each fork what both agree on, and where it goes on. */
export function treeLines(branches: readonly Branch[]): string[] {
  const lines: string[] = []
  branches.forEach(({ label, agreed }, depth) => {
    const indent = '   '.repeat(Math.max(0, depth - 1))
    if (depth === 0) {
      lines.push(`  ${label}`)
      return
    }
    if (agreed !== undefined) lines.push(dim(`  ${indent}├─ ${agreed}: agreed`))
    lines.push(`  ${indent}└─ ${depth === branches.length - 1 ? bold(label) : label}`)
  })
  return lines
}

export function endLines(
  { decision, withdrawn, exchanges }: Walk,
  graph: Graph | undefined,
  slice: number,
  challengerWei: bigint | undefined,
  quarrel: Pick<Quarrel, 'solver' | 'challenger' | 'closed'>,
  operation?: Operation,
): string[] {
  if (withdrawn) return ['Moot: the claim fell for another reason, and the challenger has its bond back.']
  if (!decision) return [`${yellow('It is not over')} after ${count(exchanges.length, 'move')}.`]
  return [
    ...valueLines(decision, operation, graph),
    `${bold('Verdict')}: ${decision.convicted ? red('the solver lied') : green('the claim stands')}; ${reasonOf(decision, graph)}.`,
    ...consequences(decision, slice, challengerWei, quarrel),
  ]
}

function valueLines(decision: Decision, operation: Operation | undefined, graph: Graph | undefined): string[] {
  if (decision.ground !== 'scalar') return []
  const dtype = operation?.dtype ?? graph?.exprs[decision.expr]?.dtype
  const name = (at: number): string => (graph ? `expr ${at}, ${describeExpr(graph, at)}` : `expr ${at}`)
  return [
    `One scalar operation decided, of ${name(decision.expr)}, element ${decision.element}:`,
    ...(operation ? operationLines(operation, name) : []),
    `  claimed     ${red(wordText(decision.claimed, dtype))}`,
    `  recomputed  ${green(wordText(decision.computed, dtype))}${operation && operation.computed === decision.computed ? ' by the contract, and here again' : ''}`,
    '',
  ]
}

const consequences = (
  { convicted }: Decision,
  slice: number,
  challengerWei: bigint | undefined,
  { solver, challenger }: Pick<Quarrel, 'solver' | 'challenger'>,
): string[] =>
  convicted
    ? [
        `Slice ${slice + 1} is void, ${short(solver)} lost its bond${challengerWei === undefined ? '' : `, and ${money(challengerWei)} went to ${short(challenger)}`}; the task can go on with another provider.`,
      ]
    : [`${short(challenger)} lost its bond, half of it to ${short(solver)}.`]
