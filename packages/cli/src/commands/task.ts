// `bitloom task`: what the chain knows of tasks, in plain words; the end of one's own; and what came out of any.

import { existsSync, mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { wasm } from '@bitloom/engine'
import type { Data, Graph } from '@bitloom/graph'
import { writeSafetensors } from '@bitloom/model/safetensors'
import { keyAddress, writeFileAtomic } from '@bitloom/node'
import {
  ASSURANCE,
  type Bitloom,
  type ChainEvent,
  cancelTask,
  chainTime,
  connect,
  getAudit,
  getClaim,
  getSpec,
  getTask,
  getTerms,
  PROBATION,
  readEvents,
  type Spec,
  stepsOf,
  type Task,
} from '@bitloom/sdk'
import type { Hex } from 'viem'
import { writeArtefacts } from '../artefacts.ts'
import { type Call, type Command, EXIT, RefusedError, UsageError } from '../command.ts'
import { graphFromPeers, recipeOfSpec, stateFromPeers } from '../contents.ts'
import { homeOf, keyPath } from '../home.ts'
import { count, print, printJson, say } from '../output.ts'
import { gatherOffers, NETWORK_OPTIONS, networkOf, nobodyThere, numberOf, visit, within } from '../reach.ts'
import { big, bold, dim, green, money, red, short, table, yellow } from '../render.ts'
import { follow, progressText, teller, untilText } from '../story.ts'
import { PASSWORD_OPTION, unlock } from '../unlock.ts'

export const command: Command = {
  name: 'task',
  summary: 'tasks on the network: watch them, cancel your own, fetch what they made',
  usage: 'list [--mine] | show N | watch N | cancel N | fetch N [--out DIR]',
  options: {
    ...NETWORK_OPTIONS,
    ...PASSWORD_OPTION,
    mine: { type: 'boolean', help: 'list: only those of this home’s key' },
    out: { type: 'string', value: 'DIR', help: 'fetch: where the files go (task-N)' },
    raw: { type: 'boolean', help: 'fetch: every tensor of the state by its slot’s name, whatever the recipe' },
    wait: { type: 'string', value: 'S', help: 'fetch: seconds to look for peers that have the state', default: '15' },
    json: { type: 'boolean', help: 'JSON lines' },
  },
  run: async (call) => {
    const [verb, which, ...more] = call.args
    if (more.length > 0) throw new UsageError(`"${more[0]}" is one word too many.\nSee: bitloom task --help`)
    if (verb === 'list' && which === undefined) return list(call)
    const run = { show, watch, cancel, fetch: fetchState }[verb ?? '']
    if (!run) throw new UsageError('Say what: bitloom task list, show N, watch N, cancel N or fetch N')
    const id = numberOf(which, 'task', `task ${verb} 1`)
    const bitloom = await connect(networkOf(call))
    const task = await getTask(bitloom, id)
    if (task.status === 'none') throw new RefusedError(`There is no task ${id} here.\nSee which there are: bitloom task list`)
    return run(call, bitloom, task, await getSpec(bitloom, id))
  },
}

const STATUS_PAINT: Readonly<Record<string, (text: string) => string>> = {
  done: green,
  running: bold,
  halted: red,
  offered: yellow,
  cancelled: dim,
}
const statusText = (status: string): string => (STATUS_PAINT[status] ?? ((t: string) => t))(status)
const assuranceName = (spec: Spec): string =>
  Object.entries(ASSURANCE).find(([, code]) => code === spec.assurance)?.[0] ?? `level ${spec.assurance}`
const allEvents = async (bitloom: Bitloom): Promise<ChainEvent[]> => (await readEvents(bitloom, BigInt(bitloom.network.fromBlock))).events

async function list(call: Call): Promise<number> {
  const bitloom = await connect(networkOf(call))
  const home = homeOf(call.text('home'))
  if (call.flag('mine') && !existsSync(keyPath(home)))
    throw new RefusedError(`There is no key here (${keyPath(home)}), so nothing is yours.\nMake one with: bitloom wallet new`)
  const me = call.flag('mine') ? keyAddress(keyPath(home))?.toLowerCase() : undefined
  const total = (await bitloom.read('Market', 'taskCount')) as bigint
  const ids = Array.from({ length: Number(total) }, (_, i) => BigInt(i + 1))
  const all = await Promise.all(
    ids.map(async (id) => ({ task: await getTask(bitloom, id), spec: await getSpec(bitloom, id), terms: await getTerms(bitloom, id) })),
  )
  const shown = all.filter(({ task }) => me === undefined || task.submitter.toLowerCase() === me)
  if (call.flag('json')) {
    for (const { task, spec, terms } of shown)
      printJson({ ...task, slices: spec.slices, steps: stepsOf(spec), assurance: assuranceName(spec), ...terms })
    return EXIT.ok
  }
  if (shown.length === 0) {
    say(
      me === undefined
        ? 'Nobody has submitted a task here yet.\nBe the first: bitloom train mnist'
        : 'This key has submitted no task here.',
    )
    return EXIT.ok
  }
  print(
    table(
      ['>task', 'status', '>slices', '>steps', 'assurance', '>a slice', 'submitter', 'solver'],
      shown.map(({ task, spec, terms }) => [
        String(task.taskId),
        statusText(task.status),
        `${task.accepted}/${spec.slices}`,
        String(stepsOf(spec)),
        assuranceName(spec),
        money(terms.slicePriceWei),
        short(task.submitter),
        short(task.solver),
      ]),
    ),
  )
  return EXIT.ok
}

async function show(call: Call, bitloom: Bitloom, task: Task, spec: Spec): Promise<number> {
  const [terms, all, now, escrowWei] = await Promise.all([
    getTerms(bitloom, task.taskId),
    allEvents(bitloom),
    chainTime(bitloom),
    bitloom.read('Stake', 'escrowOf', [task.taskId]) as Promise<bigint>,
  ])
  const events = follow(task.taskId)(all)
  const claims = await Promise.all(
    events
      .filter((e) => e.name === 'Claimed')
      .map(async ({ args }) => {
        const [claim, audit] = await Promise.all([getClaim(bitloom, args.claimId as bigint), getAudit(bitloom, args.claimId as bigint)])
        const games = events.filter((e) => e.name === 'Challenged' && e.args.claimId === args.claimId).map((e) => e.args.gameId as bigint)
        return { claim, audit, games }
      }),
  )
  if (call.flag('json')) {
    printJson({ ...task, escrowWei, spec, terms, claims: claims.map(({ claim, audit, games }) => ({ ...claim, audit, disputes: games })) })
    return EXIT.ok
  }
  const dueText = { offered: 'to be confirmed', running: 'next claim due' }[task.status as string]
  const rows: [string, string][] = [
    ['status', statusText(task.status)],
    ['accepted', progressText(task.accepted, spec)],
    ...(dueText && task.openClaim === 0n ? ([[dueText, untilText(task.deadline, now)]] as [string, string][]) : []),
    ['submitter', task.submitter],
    ['solver', task.solver],
    ['in escrow', money(escrowWei)],
    ['price', `${money(terms.slicePriceWei)} a slice, ${money(terms.auditFeeWei)} an audited segment, bond ${money(terms.bondWei)}`],
    [
      'run',
      `${stepsOf(spec)} steps: ${spec.slices} slices × ${spec.checkpointsPerSlice} segments × ${spec.stepsPerCheckpoint} steps, ${big(spec.operationsPerStep)} operations a step`,
    ],
    [
      'assurance',
      `${assuranceName(spec)}${spec.assurance === ASSURANCE.spot ? `: ${count(spec.verifiers, 'verifier')} × ${count(spec.segments, 'segment')} a slice; a solver’s first ${PROBATION} slices whole` : ''}`,
    ],
    ['graph', spec.graphId],
    ['last state', task.state],
  ]
  print([bold(`Task ${task.taskId}`), ...rows.map(([label, value]) => `  ${dim(label.padEnd(16))}${value}`)].join('\n'))
  if (claims.length === 0) return EXIT.ok
  print('')
  print(
    table(
      ['>slice', 'claim', 'solver', 'audit', 'verdicts', 'disputes'],
      claims.map(({ claim, audit, games }) => [
        String(Number(claim.slice) + 1),
        claim.status === 'settled' ? green('accepted') : claim.status === 'void' ? red('void') : yellow('open'),
        short(claim.solver),
        audit.stage,
        verdictsText(audit.assignments),
        games.join(' '),
      ]),
    ),
  )
  if (claims.some(({ games }) => games.length > 0))
    say(dim(`Walk a dispute down with: bitloom dispute show ${claims.find(({ games }) => games.length > 0)!.games[0]}`))
  return EXIT.ok
}

/** `2 segments by 0x12…: same`, for each verifier. */
function verdictsText(assignments: readonly { readonly verifier: string; readonly verdict: string }[]): string {
  const by = new Map<string, { verdict: string; segments: number }>()
  for (const { verifier, verdict } of assignments) by.set(verifier, { verdict, segments: (by.get(verifier)?.segments ?? 0) + 1 })
  return [...by.values()].map(({ verdict, segments }) => `${verdict} on ${segments}`).join(', ')
}

const WATCH_MS = 300

async function watch(call: Call, bitloom: Bitloom, task: Task, spec: Spec): Promise<number> {
  const known = await recipeOfSpec(spec)
  const tell = teller(spec, known?.job.graph)
  const mine = follow(task.taskId)
  let stopped = false
  const stop = (): void => void (stopped = true)
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, stop)
  let from = BigInt(bitloom.network.fromBlock)
  for (;;) {
    const { events, next } = await readEvents(bitloom, from)
    from = next
    for (const event of mine(events)) {
      if (call.flag('json'))
        printJson({
          event: event.name,
          contract: event.contract,
          block: event.blockNumber,
          transaction: event.transactionHash,
          ...event.args,
        })
      else for (const line of tell(event)) print(line)
      if (event.name === 'Finished' || event.name === 'Cancelled') stopped = true
    }
    if (stopped) return EXIT.ok
    await new Promise((resolve) => setTimeout(resolve, WATCH_MS))
  }
}

async function cancel(call: Call, connected: Bitloom, task: Task): Promise<number> {
  const again = `See it with: bitloom task show ${task.taskId}`
  if (task.status === 'done' || task.status === 'cancelled')
    throw new RefusedError(`Task ${task.taskId} is ${task.status} already.\n${again}`)
  if (task.status === 'running')
    throw new RefusedError(
      `Task ${task.taskId} is running: its solver holds a bond and works on it, and is paid for slices that are accepted.\nIt can be cancelled when it is halted, or not confirmed in time. ${again}`,
    )
  const now = await chainTime(connected)
  if (task.status === 'offered' && now <= task.deadline)
    throw new RefusedError(
      `Task ${task.taskId} is offered to ${task.solver}, which may still take it.\nIt can be cancelled ${untilText(task.deadline, now)}.`,
    )
  const key = await unlock(call)
  if (key.address.toLowerCase() !== task.submitter.toLowerCase())
    throw new RefusedError(`Task ${task.taskId} is ${task.submitter}'s; your key is ${key.address}.\nOnly its submitter can cancel it.`)
  const bitloom = await connect(connected.network, key.account)
  const { transactionHash } = await cancelTask(bitloom, task.taskId)
  if (call.flag('json')) printJson({ taskId: task.taskId, cancelled: true, transaction: transactionHash })
  else print(`Task ${task.taskId} is cancelled; what was not earned is in your free balance.`)
  return EXIT.ok
}

async function fetchState(call: Call, bitloom: Bitloom, task: Task, spec: Spec): Promise<number> {
  if (task.accepted === 0)
    throw new RefusedError(
      `No slice of task ${task.taskId} is accepted yet, so there is nothing to fetch.\nWatch it with: bitloom task watch ${task.taskId}`,
    )
  const wait = call.number('wait', { min: 1, max: 3600 })! * 1000
  const out = call.text('out') ?? `task-${task.taskId}`
  const known = call.flag('raw') ? undefined : await recipeOfSpec(spec)
  const { node, leave } = await visit(bitloom.network)
  try {
    await gatherOffers(node, Math.min(wait, 3000))
    if (node.services.peers.connected().length === 0) throw nobodyThere(bitloom.network)
    const graph = known?.job.graph ?? (await within(wait, () => graphFromPeers(node, task.taskId, spec)))
    if (!graph)
      throw new RefusedError(
        `No peer has the graph of task ${task.taskId} any more.\nAsk its submitter or its solver, or wait longer with --wait 120.`,
      )
    const state = await within(wait, () => stateFromPeers(node, graph, task.state))
    if (!state)
      throw new RefusedError(
        `No peer has the state ${task.state} any more.\nAsk the submitter or a verifier's operator for it, or wait longer with --wait 120.`,
      )
    const paths = known ? writeArtefacts(out, known.ready, state, task.state, wasm).paths : writeRaw(out, graph, state, task.state)
    if (call.flag('json'))
      printJson({
        taskId: task.taskId,
        accepted: task.accepted,
        slices: spec.slices,
        stateRoot: task.state,
        recipe: known?.name ?? null,
        files: paths,
      })
    else {
      say(
        dim(
          `${progressText(task.accepted, spec)} accepted; state ${task.state}, checked against the chain${known ? `; recipe ${known.name}` : ''}.`,
        ),
      )
      print(paths.join('\n'))
    }
    return EXIT.ok
  } finally {
    await leave()
  }
}

const STORED = { f32: 'F32', i32: 'I32', u8: 'U8' } as const

/** Every state tensor under its slot's name. */
function writeRaw(directory: string, graph: Graph, state: readonly Data[], root: Hex): string[] {
  mkdirSync(directory, { recursive: true })
  const tensors = Object.fromEntries(
    state.map((data, s) => [graph.slots[s]!.name, { dtype: STORED[graph.slots[s]!.dtype], shape: graph.slots[s]!.shape, data }]),
  )
  const path = join(directory, 'state.safetensors')
  writeFileAtomic(path, writeSafetensors(tensors, { 'bitloom.state': root }))
  return [path]
}
