// `bitloom node status`: what the node here does at this moment, what it owns, and what is due next, from its own board and from the chain.

import { join } from 'node:path'
import { isAlive, keyAddress, type NodeStatus, readStatus } from '@bitloom/node'
import {
  type Bitloom,
  chainTime,
  connect,
  freeOf,
  getAudit,
  getClaim,
  getRecord,
  getSpec,
  getTask,
  getTerms,
  lockedOf,
  tokensOf,
} from '@bitloom/sdk'
import type { Address } from 'viem'
import { type Call, EXIT, RefusedError } from './command.ts'
import { homeOf, keyPath } from './home.ts'
import { count, print, printJson, say, stretch } from './output.ts'
import { networkOf } from './reach.ts'
import { bar, big, bold, dim, green, money, red, short, table, yellow } from './render.ts'
import { untilText } from './story.ts'

/** A task in this node's hands, as the chain and the node see it. */
type Held = {
  readonly taskId: string
  readonly status: string
  readonly ours: boolean
  readonly accepted: number
  readonly slices: number
  readonly trainedSegments: number
  readonly segments: number
  readonly slicePriceWei: bigint
  readonly deadline: number
  readonly openClaim: bigint
  readonly refused?: string
}

async function heldOf(bitloom: Bitloom, me: Address, { taskId, segments, refused }: NodeStatus['tasks'][number]): Promise<Held> {
  const id = BigInt(taskId)
  const [task, spec, terms] = await Promise.all([getTask(bitloom, id), getSpec(bitloom, id), getTerms(bitloom, id)])
  return {
    taskId,
    status: task.status,
    ours: task.solver.toLowerCase() === me.toLowerCase(),
    accepted: task.accepted,
    slices: spec.slices,
    trainedSegments: segments,
    segments: spec.slices * spec.checkpointsPerSlice,
    slicePriceWei: terms.slicePriceWei,
    deadline: task.deadline,
    openClaim: task.openClaim,
    ...(refused === undefined ? {} : { refused }),
  }
}

/** A claim that this node looks at. */
type Watched = {
  readonly claimId: string
  readonly taskId: bigint
  readonly slice: number
  readonly stage: string
  readonly deadline: number
}

async function watchedOf(bitloom: Bitloom, claimId: string): Promise<Watched> {
  const [claim, audit] = await Promise.all([getClaim(bitloom, BigInt(claimId)), getAudit(bitloom, BigInt(claimId))])
  return { claimId, taskId: claim.taskId, slice: Number(claim.slice), stage: audit.stage, deadline: audit.deadline }
}

export type Seat = { readonly index: number; readonly stakeWei: bigint; readonly active: boolean }

/** The seats of an address; one that was left or jailed is not drawn any more. */
export async function seatsOf(bitloom: Bitloom, who: Address): Promise<Seat[]> {
  const places = Number(await bitloom.read('Stake', 'seatCount'))
  const all = (await Promise.all(Array.from({ length: places }, (_, i) => bitloom.read('Stake', 'seatOf', [BigInt(i)])))) as {
    owner: Address
    stakeWei: bigint
    activeUntil: number
  }[]
  return all.flatMap(({ owner, stakeWei, activeUntil }, index) =>
    owner.toLowerCase() === who.toLowerCase() ? [{ index, stakeWei, active: Number(activeUntil) === 0 }] : [],
  )
}

/** Shows it. @throws {RefusedError} no key here */
export async function nodeStatus(call: Call): Promise<number> {
  const home = homeOf(call.text('home'))
  const me = keyAddress(keyPath(home))
  if (!me) throw new RefusedError(`There is no key in ${home}.\nMake one with: bitloom wallet new`)
  const board = readStatus(join(home, 'node'))
  const now = Math.floor(Date.now() / 1000)
  const life = board ? isAlive(board, now) : 'gone'
  const bitloom = await connect(networkOf(call))
  const [free, locked, tokens, record, seats, chainNow] = await Promise.all([
    freeOf(bitloom, me),
    lockedOf(bitloom, me),
    tokensOf(bitloom, me),
    getRecord(bitloom, me),
    seatsOf(bitloom, me),
    chainTime(bitloom),
  ])
  const here = life === 'gone' ? undefined : board
  const [held, watched] = await Promise.all([
    Promise.all((here?.tasks ?? []).map((task) => heldOf(bitloom, me, task))),
    Promise.all((here?.claims ?? []).map((claim) => watchedOf(bitloom, claim))),
  ])
  if (call.flag('json')) {
    printJson({
      ...{ address: me, state: life, freeWei: free, lockedWei: locked, tokensWei: tokens, record, seats, tasks: held, claims: watched },
      ...(here ? { node: here } : {}),
    })
    return EXIT.ok
  }
  const seatsWei = seats.reduce((sum, { stakeWei }) => sum + stakeWei, 0n)
  const jailed = seats.filter(({ active }) => !active).length
  const rows: [string, string][] = [
    ['node', stateText(here, life, now)],
    ...(here
      ? ([
          ['roles', here.roles.join(', ')],
          ['peers', `${here.peers}; block ${here.block}`],
        ] as [string, string][])
      : []),
    ...(here?.offer
      ? ([
          [
            'offer',
            `${money(here.offer.weiPerTeraop)} for 10^12 operations, ${big(Number(here.offer.operationsPerSecond))}/s, ${count(here.offer.capacity, 'task')} more; renewed ${untilText(Number(here.offer.validUntil), chainNow)}`,
          ],
        ] as [string, string][])
      : []),
    ...(here?.noOffer === undefined ? [] : ([['no new tasks', yellow(here.noOffer)]] as [string, string][])),
    ['address', me],
    ['stake', `${money(free)} free, ${money(locked)} bonded`],
    ...(seats.length > 0
      ? ([['seats', `${seats.length} (${money(seatsWei)})${jailed > 0 ? red(`; ${jailed} left or jailed, never drawn`) : ''}`]] as [
          string,
          string,
        ][])
      : []),
    ['in the wallet', money(tokens)],
    [
      'record',
      `${count(record.accepted, 'slice')} accepted, ${count(record.convictions, 'dispute')} lost, ${count(record.missed, 'deadline')} missed, ${record.withheld} withheld`,
    ],
  ]
  print(rows.map(([label, value]) => `  ${dim(label.padEnd(14))}${value}`).join('\n'))
  if (held.length > 0) print(`\n${bold('tasks in hand')}\n${heldTable(held, chainNow)}`)
  if (watched.length > 0)
    print(
      `\n${bold('claims being checked')}\n${table(
        ['>claim', '>task', '>slice', 'stage', 'until'],
        watched.map((w) => [w.claimId, String(w.taskId), String(w.slice + 1), w.stage, untilText(w.deadline, chainNow)]),
      )}`,
    )
  if (!here) say(dim('Start it with: bitloom node start'))
  return EXIT.ok
}

function stateText(here: NodeStatus | undefined, life: ReturnType<typeof isAlive>, now: number): string {
  if (!here) return red('not running')
  if (life === 'standing still') return red(`process ${here.pid} has said nothing for ${stretch(now - here.at)}: see its log`)
  const slow = here.tickAgeSeconds > 10 ? yellow(`; its last round ended ${stretch(here.tickAgeSeconds)} ago`) : ''
  return `${green('running')} for ${stretch(now - here.startedAt)}, ${here.working ? 'computing' : 'waiting'} (process ${here.pid})${slow}`
}

const heldTable = (held: readonly Held[], now: number): string =>
  table(
    ['>task', 'status', 'trained', '>accepted', '>a slice', 'next'],
    held.map((one) => [
      one.taskId,
      one.refused === undefined ? one.status : yellow('turned down'),
      `${bar(Math.min(1, Math.max(one.trainedSegments, (one.accepted * one.segments) / one.slices) / one.segments), 12)} ${one.trainedSegments}/${one.segments}`,
      `${one.accepted}/${one.slices}`,
      money(one.slicePriceWei),
      one.refused ??
        (one.status === 'offered'
          ? `to be confirmed ${untilText(one.deadline, now)}`
          : one.openClaim !== 0n
            ? `claim ${one.openClaim} is being checked`
            : one.status === 'running'
              ? `claim due ${untilText(one.deadline, now)}`
              : short(one.status)),
    ]),
  )
