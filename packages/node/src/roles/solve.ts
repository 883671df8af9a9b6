// Carries out what solver.ts decides: fetches, trains, claims, discloses, defends. Everything that matters is on disk before it is acted upon.

import { claimTree, elementOf, type Lie, packGame, probeCommit, solverMove } from '@bitloom/dispute'
import { fromHex, proofOf, rootOf, sha256, sizeOf, toBytes, toHex } from '@bitloom/graph'
import {
  type ChainEvent,
  claimSlice,
  confirmTask,
  disclose,
  draw,
  expireTask,
  explained,
  getAudit,
  getClaim,
  getMask,
  getSeal,
  getSpec,
  getTask,
  getTerms,
  LOCAL_SECONDS_PER_MOVE,
  openDecoy,
  openTrue,
  RevertError,
  redraw,
  type Spec,
  sealSlice,
  settleTask,
  sliceCommitment,
  solverHazard,
  sweep,
  type Task,
} from '@bitloom/sdk'
import type { Hex } from 'viem'
import { type Bundle, type Contents, contentsKey, fetchContents, rootsRoot } from '../bundle.ts'
import { type Court, play, playIn, viewOf } from '../court.ts'
import { type Book, findBundle, type Leaf, receiveBundles, startsFrom, wantsId } from '../exchange.ts'
import type { Request, Verdict } from '../policy.ts'
import type { Services } from '../services.ts'
import { openLane } from '../training/lane.ts'
import { runSegment } from '../training/segment.ts'
import { engineStepper, type Stepper } from '../training/stepper.ts'
import { apart } from './apart.ts'
import { ANCHOR_MEMORY, falseDigest, type Masked, maskSlice, toShow } from './decoy.ts'
import { secretOf } from './dice.ts'
import { lyingStepper } from './lie.ts'
import { liveGames, noteMoots } from './moot.ts'
import { auditView, taskView } from './read.ts'
import { openReplays } from './replays.ts'
import { type SealedClaim, type SolverAction, solverActions } from './solver.ts'
import { sameAddress } from './views.ts'

/**
 * How to cheat, for demonstrations and tests: a lie in slice `slice` (counted from its first own one); or, of every sealed slice, the truth passed off as
 * the decoy and the decoy as the truth; or, as a verifier, attest what was never looked at.
 */
export type CheatPlan = { readonly slice: number } | { readonly swap: true } | { readonly stamp: true }

export type SolverOptions = {
  readonly memoryBytes: number
  /** Measured at start. */
  readonly operationsPerSecond: bigint
  readonly cheat?: CheatPlan
  /** Whether a task that was offered to this node may be taken, by its own rules. */
  readonly judge?: (request: Request) => Verdict
  /** Hears what was trained, and in how long. */
  readonly onTrained?: (operations: bigint, milliseconds: number) => void
}

/** A segment's end, on disk. */
type SegmentNote = { readonly stateRoot: Hex; readonly probeDigest: Hex; readonly probeCommit: Hex }

/** A task as this solver keeps it. `first`: the slice it began with, from state `startState`. */
type TaskNote = {
  readonly taskId: string
  readonly startState: Hex
  readonly first: number
  readonly refused?: string
  readonly verified: boolean
}

/** What a claim of ours shows, by its root: from before it exists. */
type LeavesNote = { readonly taskId: string; readonly slice: number; readonly leaves: readonly Leaf[]; readonly truth: readonly Leaf[] }

type LieNote = { readonly segment: number; readonly lie: Lie }

/** What is kept in memory of a task: rebuilt from disk after a restart. */
type Loaded = {
  readonly spec: Spec
  readonly contents: Contents
  readonly stepper: Stepper /** Segment whose start the stepper holds; -1 none. */
  at: number
}

/** Steps between two notes of progress. */
const PROGRESS_STEPS = 8

export type Role = {
  readonly onEvent: (event: ChainEvent) => void
  readonly tick: (nowSeconds: number) => Promise<void>
  /** Whether something is being computed beside the loop. */
  readonly working: () => boolean
  /** Pieces of such work that have ended so far: when this has grown there may be something to do, though no block has come. */
  readonly ended: () => number
  /** Settles when nothing is being computed. */
  readonly idle: () => Promise<void>
}

export function openSolver(services: Services, court: Court, options: SolverOptions): Role {
  const { bitloom, me, store, checkpoints, meter, backend, log } = services
  const loaded = new Map<string, Loaded>()
  const stopping = new AbortController()
  let work: Promise<void> | undefined
  let ended = 0

  const noteOf = (taskId: bigint): TaskNote | undefined => store.get<TaskNote>('tasks', String(taskId))
  const segmentKey = (taskId: bigint, segment: number): string => `${taskId}/${String(segment).padStart(9, '0')}`
  const segmentOf = (taskId: bigint, segment: number): SegmentNote | undefined =>
    store.get<SegmentNote>('segments', segmentKey(taskId, segment))
  /** Slices trained, counted from the task's first. */
  const trainedOf = (taskId: bigint, spec: Pick<Spec, 'checkpointsPerSlice'>, from: number): number => {
    let slice = from
    while (segmentOf(taskId, (slice + 1) * spec.checkpointsPerSlice - 1)) slice++
    return slice
  }
  const startOf = (taskId: bigint, segment: number, spec: Spec): Hex => {
    const note = noteOf(taskId)!
    return segment === note.first * spec.checkpointsPerSlice ? note.startState : segmentOf(taskId, segment - 1)!.stateRoot
  }

  receiveBundles(services, (bundle) => {
    // kept only for tasks that the chain says are ours, and only until their contents are verified: after that a stranger could but spoil them
    const note = noteOf(BigInt(bundle.taskId))
    if (note && !note.verified && startsFrom(bundle, note.startState)) store.put('bundles', bundle.taskId, bundle)
  })

  const progress = new Map<string, { readonly step: number; readonly loss: number }>()
  services.peers.handle('progress', wantsId, (_, taskId) => progress.get(String(taskId)) ?? null)
  /** Remembers how far a task is: what its submitter may watch. */
  const noteProgress = (taskId: bigint, step: number, l: Loaded): void => {
    const slot = l.contents.graph.slots.findIndex((s) => s.name === 'loss')
    progress.set(String(taskId), { step, loss: l.stepper.state()[slot]?.[step - 1] ?? Number.NaN })
  }

  /** Bundles whose contents were looked at and are not the task's: anybody may have sent them, so the task itself is not refused for them. */
  const wrong = new Set<string>()
  /** Turns a task down where this node's rules say so. What is our own reason the submitter hears at once, by the chain; a stranger that we do not work for costs us no gas. */
  const declines = async (task: Task): Promise<boolean> => {
    if (task.status !== 'offered' || !options.judge) return false
    const { assurance } = await getSpec(bitloom, task.taskId)
    const verdict = options.judge({ submitter: task.submitter, assurance })
    if (verdict.ok) return false
    log('task-declined', { taskId: task.taskId, submitter: task.submitter, reason: verdict.reason })
    store.put('tasks', String(task.taskId), { ...noteOf(task.taskId)!, refused: verdict.reason })
    if (verdict.whose === 'ours') await expireTask(bitloom, task.taskId)
    return true
  }

  const fetchTask = async (task: Task): Promise<void> => {
    if (await declines(task)) return
    const spec = await getSpec(bitloom, task.taskId)
    const { startState } = noteOf(task.taskId)!
    const may = (b: Bundle): boolean => startsFrom(b, startState) && !wrong.has(contentsKey(b))
    const pushed = store.get<Bundle>('bundles', String(task.taskId))
    const bundle = pushed && may(pushed) ? pushed : await findBundle(services, task.taskId, [], may)
    if (!bundle) return
    const verdict = await fetchContents(bundle, spec, startState, options.memoryBytes, services.fetch)
    if (!verdict.ok) {
      log(verdict.fault === 'task' ? 'task-refused' : 'task-not-here-yet', { taskId: task.taskId, reason: verdict.reason })
      if (verdict.fault === 'task') store.put('tasks', String(task.taskId), { ...noteOf(task.taskId)!, refused: verdict.reason })
      if (verdict.fault === 'bundle') wrong.add(contentsKey(bundle))
      return
    }
    const hazard = await hazardIn(task.taskId, spec, verdict.contents)
    if (hazard !== undefined) {
      log('task-refused', { taskId: task.taskId, reason: hazard })
      store.put('tasks', String(task.taskId), { ...noteOf(task.taskId)!, refused: hazard })
      return
    }
    store.transaction(() => {
      store.put('bundles', String(task.taskId), { ...bundle, urls: [services.contact.http, ...bundle.urls].slice(0, 16) })
      checkpoints.note(bundle.stateRoots)
      store.put('tasks', String(task.taskId), { ...noteOf(task.taskId)!, verified: true })
    })
    log('task-verified', { taskId: task.taskId, exprs: spec.exprs })
  }

  /** Why an honest solver had better not confirm: terms and windows that cannot be kept, or a graph that the engine cannot run. */
  const hazardIn = async (taskId: bigint, spec: Spec, { graph }: Contents): Promise<string | undefined> => {
    const hazard = solverHazard(spec, await getTerms(bitloom, taskId), graph, {
      secondsPerMove: LOCAL_SECONDS_PER_MOVE,
      operationsPerSecond: options.operationsPerSecond,
    })
    if (hazard !== undefined) return hazard
    try {
      backend.compile(graph).close()
      return undefined
    } catch (error) {
      return `the engine cannot run it: ${error instanceof Error ? error.message.split('\n')[0] : String(error)}`
    }
  }

  const load = async (taskId: bigint): Promise<Loaded> => {
    const here = loaded.get(String(taskId))
    if (here) return here
    const spec = await getSpec(bitloom, taskId)
    const bundle = store.get<Bundle>('bundles', String(taskId))!
    const verdict = await fetchContents(bundle, spec, noteOf(taskId)!.startState, options.memoryBytes, services.fetch)
    if (!verdict.ok) throw new Error(`task ${taskId}: what was verified is gone from disk: ${verdict.reason}`)
    const stepper = engineStepper(backend, verdict.contents.graph)
    stepper.load(verdict.contents.state, verdict.contents.data)
    const fresh: Loaded = { spec, contents: verdict.contents, stepper, at: -1 }
    loaded.set(String(taskId), fresh)
    return fresh
  }

  /** One altered element of one weight in one step, and everything after it follows: a lie that only recomputing shows. */
  const lieIn = (taskId: bigint, segment: number, l: Loaded): LieNote | undefined => {
    const { cheat } = options
    const { spec } = l
    if (!cheat || !('slice' in cheat)) return undefined
    const known = store.get<LieNote>('lies', String(taskId))
    if (known) return known.segment === segment ? known : undefined
    const dice = new DataView(sha256(new TextEncoder().encode(`${taskId} ${me}`)).buffer.slice(0))
    const first = (noteOf(taskId)!.first + cheat.slice) * spec.checkpointsPerSlice
    if (segment !== first + (dice.getUint32(0) % spec.checkpointsPerSlice)) return undefined
    const { graph, data } = l.contents
    const expr = graph.next[0]!
    const element = dice.getUint32(4) % sizeOf(graph.exprs[expr]!.shape)
    const step = dice.getUint32(8) % spec.stepsPerCheckpoint
    // the honest value of that element at that step, with one bit of its mantissa flipped
    const probe = engineStepper(backend, graph)
    probe.load(l.stepper.state(), data)
    for (let i = 0; i <= step; i++) probe.step()
    const word = elementOf(graph, expr, element, toBytes(probe.state()[0]!).slice()) ^ 0x1000
    const note: LieNote = { segment, lie: { kind: 'expr', step, expr, element, word } }
    store.put('lies', String(taskId), note)
    log('cheating', { taskId, segment, step, expr, element })
    return note
  }

  const train = async (taskId: bigint, slice: number): Promise<void> => {
    const l = await load(taskId)
    const { checkpointsPerSlice, stepsPerCheckpoint } = l.spec
    // the checkpoint of one segment is hashed and written while the next is trained
    const saving = openLane()
    try {
      for (let segment = slice * checkpointsPerSlice; segment < (slice + 1) * checkpointsPerSlice; segment++) {
        if (segmentOf(taskId, segment)) continue
        if (l.at !== segment) {
          await saving.done()
          const state = await checkpoints.load(l.contents.graph, startOf(taskId, segment, l.spec))
          if (!state) throw new Error(`task ${taskId}: the checkpoint before segment ${segment} is gone`)
          l.stepper.load(state)
        }
        l.at = -1
        const lie = lieIn(taskId, segment, l)
        const began = performance.now()
        const digest = await runSegment(
          lie ? lyingStepper(l.stepper, l.contents.data, backend.evaluate, lie.lie) : l.stepper,
          stepsPerCheckpoint,
          {
            meter,
            kind: 'train',
            signal: stopping.signal,
            onStep: (step) => {
              if (step % PROGRESS_STEPS === 0) noteProgress(taskId, segment * stepsPerCheckpoint + step, l)
            },
          },
        )
        if (!digest) return
        options.onTrained?.(l.spec.operationsPerStep * BigInt(stepsPerCheckpoint), performance.now() - began)
        await saving.begin(async () => {
          const stateRoot = await checkpoints.save(l.stepper.state())
          store.put('segments', segmentKey(taskId, segment), {
            stateRoot,
            probeDigest: toHex(digest),
            probeCommit: toHex(probeCommit(digest)),
          } satisfies SegmentNote)
        })
        l.at = segment + 1
      }
    } finally {
      await saving.done()
    }
    log('trained', { taskId, slice })
  }

  const notesOf = (taskId: bigint, slice: number, spec: Spec): SegmentNote[] =>
    Array.from({ length: spec.checkpointsPerSlice }, (_, j) => segmentOf(taskId, slice * spec.checkpointsPerSlice + j)!)
  const treeOf = (leaves: readonly Leaf[]) =>
    claimTree(leaves.map((n) => ({ stateRoot: fromHex(n.stateRoot), probeCommit: fromHex(n.probeCommit) })))

  const nodeSecret = secretOf(store, 'decoySecret')
  const of = { chainId: bitloom.network.chainId, decoys: bitloom.network.contracts.Decoys }
  const leavesOf = (notes: readonly SegmentNote[]): Leaf[] => notes.map(({ stateRoot, probeCommit }) => ({ stateRoot, probeCommit }))
  /** Both faces of a trained slice of a task with forced errors. */
  const maskedOf = (taskId: bigint, slice: number, spec: Spec): Masked => {
    const m = maskSlice(nodeSecret, of, { taskId, slice, solver: me }, leavesOf(notesOf(taskId, slice, spec)))
    return swaps ? { ...m, truth: m.decoy, decoy: m.truth, trueRoot: m.decoyRoot, decoyRoot: m.trueRoot } : m
  }
  const swaps = options.cheat !== undefined && 'swap' in options.cheat

  /** The leaves to claim a slice by, and those that it will be about in the end; undefined where it has to be sealed first, or its seal to ripen. */
  const leavesToShow = async (
    task: Task,
    spec: Spec,
  ): Promise<(Pick<LeavesNote, 'leaves' | 'truth'> & { readonly anchorHash?: Hex | undefined }) | undefined> => {
    const real = leavesOf(notesOf(task.taskId, task.accepted, spec))
    if (spec.decoyOneIn === 0) return { leaves: real, truth: real }
    const masked = maskedOf(task.taskId, task.accepted, spec)
    const sealed = await getSeal(bitloom, task.taskId, task.accepted, me)
    if (!sealed) {
      await sealSlice(bitloom, task.taskId, task.accepted, sliceCommitment(masked))
      return undefined
    }
    const head = await explained('eth_blockNumber', () => bitloom.chain.getBlockNumber({ cacheTime: 0 }))
    const anchorHash =
      head < sealed.anchorBlock || sealed.used
        ? undefined
        : ((await explained('eth_getBlock', () => bitloom.chain.getBlock({ blockNumber: sealed.anchorBlock }))).hash ?? undefined)
    const plain = sealed.used || head >= sealed.anchorBlock + ANCHOR_MEMORY
    if (plain) return { leaves: real, truth: real }
    const show = toShow(masked, sealed, spec.decoyOneIn, head, anchorHash)
    if (show === 'wait' || (swaps && show === 'truth')) return undefined
    return { leaves: masked[show], truth: masked.truth, anchorHash }
  }

  const claim = async (task: Task): Promise<void> => {
    const spec = await getSpec(bitloom, task.taskId)
    const shown = await leavesToShow(task, spec)
    if (!shown) return
    const { leaves, truth, anchorHash } = shown
    const tree = treeOf(leaves)
    const last = leaves.at(-1)!
    const root = toHex(rootOf(tree))
    // the leaves are published under the claim's root before the claim exists, so that nobody ever has to wait for them
    store.put('leaves', root, { taskId: String(task.taskId), slice: task.accepted, leaves, truth } satisfies LeavesNote)
    await claimSlice(bitloom, {
      taskId: task.taskId,
      slice: task.accepted,
      root,
      endState: last.stateRoot,
      probeCommit: last.probeCommit,
      anchorHash,
      proof: proofOf(tree, leaves.length - 1).map(toHex),
    })
  }

  /** Opens the seal of a claim, if it has one: before its disclosure, or, of a decoy, in the last moment where the audit never gets there. */
  const openSeal = async (task: Task): Promise<void> => {
    const spec = await getSpec(bitloom, task.taskId)
    if (spec.decoyOneIn === 0) return
    const mask = await getMask(bitloom, task.openClaim)
    if (!mask || mask.opened) return
    const masked = maskedOf(task.taskId, task.accepted, spec)
    const { root } = await getClaim(bitloom, task.openClaim)
    const isDecoy = root === masked.decoyRoot
    log('opening', { taskId: task.taskId, claimId: task.openClaim, decoy: isDecoy })
    if (isDecoy)
      await openDecoy(bitloom, task.openClaim, masked.secret, {
        states: masked.truth.map((leaf) => leaf.stateRoot),
        trueCommits: masked.truth.map((leaf) => leaf.probeCommit),
        decoyCommits: masked.decoy.map((leaf) => leaf.probeCommit),
      })
    else await openTrue(bitloom, task.openClaim, masked)
  }

  const discloseClaim = async (task: Task): Promise<void> => {
    await openSeal(task)
    const spec = await getSpec(bitloom, task.taskId)
    const notes = notesOf(task.taskId, task.accepted, spec)
    const { root } = await getClaim(bitloom, task.openClaim)
    // by now every claim is about what its solver says is true
    const masked = swaps && spec.decoyOneIn > 0 ? maskedOf(task.taskId, task.accepted, spec) : undefined
    const swapped = masked?.trueRoot === root
    const tree = treeOf(swapped ? masked.truth : leavesOf(notes))
    const { assignments } = await getAudit(bitloom, task.openClaim)
    await disclose(
      bitloom,
      task.openClaim,
      assignments.map(({ segment }) => ({
        segment,
        stateRoot: notes[segment]!.stateRoot,
        probeDigest: swapped ? falseDigest(masked.secret, segment) : notes[segment]!.probeDigest,
        proof: proofOf(tree, segment).map(toHex),
      })),
    )
  }

  /** How the open claim stands to its seal; undefined where it has none, or where it is opened. */
  const sealedOf = async (task: Task, spec: Spec): Promise<SealedClaim | undefined> => {
    if (spec.decoyOneIn === 0 || task.openClaim === 0n || !sameAddress(task.solver, me)) return undefined
    const mask = await getMask(bitloom, task.openClaim)
    if (!mask || mask.opened) return undefined
    const { root } = await getClaim(bitloom, task.openClaim)
    const decoy = root === maskedOf(task.taskId, task.accepted, spec).decoyRoot
    return { decoy, openBy: Number(mask.openBy), discloseSeconds: spec.discloseSeconds }
  }

  const replays = openReplays(services)
  const segmentName = (taskId: bigint, segment: number): string => `solver ${taskId} ${segment}`
  /** Answers a game, if what it takes is known by now; else it is computed beside the loop, for all games at once and the most urgent first. */
  const defend = async (task: Task, gameId: bigint): Promise<void> => {
    const quarrel = (await court.gamesAbout(task.openClaim)).find((q) => q.gameId === gameId)
    if (!quarrel || quarrel.closed || quarrel.game.toMove !== 'solver') return
    const { checkpointsPerSlice } = await getSpec(bitloom, task.taskId)
    const segment = task.accepted * checkpointsPerSlice + quarrel.segment
    const move = replays.ask({
      segment: segmentName(task.taskId, segment),
      game: String(gameId),
      by: viewOf(quarrel).deadline,
      load: async () => {
        const { contents, spec } = await load(task.taskId)
        const start = await checkpoints.load(contents.graph, startOf(task.taskId, segment, spec))
        if (!start)
          throw new Error(`task ${task.taskId}: the checkpoint before segment ${segment} is gone, so its dispute cannot be answered`)
        const told = store.get<LieNote>('lies', String(task.taskId))
        const run = { graph: contents.graph, start, data: contents.data, steps: spec.stepsPerCheckpoint }
        return told?.segment === segment ? { ...run, lie: told.lie } : run
      },
      answer: (known) => solverMove(quarrel.game, known),
    })
    // in the game that it answers, not in what the game is by now: the contract looks at no value of a bisection
    if (move) await playIn(bitloom, gameId, packGame(quarrel.game), move)
  }

  const fetching = new Map<bigint, Promise<void>>()
  const perform = async (action: SolverAction, task: Task): Promise<void> => {
    switch (action.do) {
      case 'fetch':
        // beside the loop, each task by itself: whoever serves its blobs slowly must not keep us from answering a dispute
        if (!fetching.has(task.taskId))
          fetching.set(
            task.taskId,
            fetchTask(task)
              .catch((error) => log('fetch-failed', { taskId: task.taskId, error: String(error) }))
              .finally(() => {
                fetching.delete(task.taskId)
                ended++
              }),
          )
        return
      case 'confirm':
        if (!(await declines(task))) await confirmTask(bitloom, task.taskId)
        return
      case 'claim':
        return claim(task)
      case 'settle':
        await settleTask(bitloom, task.taskId)
        return
      case 'draw':
        await draw(bitloom, action.claimId)
        return
      case 'redraw':
        await redraw(bitloom, action.claimId)
        return
      case 'sweep':
        await sweep(bitloom, action.claimId)
        return
      case 'disclose':
        return discloseClaim(task)
      case 'open':
        return openSeal(task)
      case 'defend':
        return defend(task, action.gameId)
      case 'timeout':
        await play(bitloom, action.gameId, { kind: 'timeout' })
        return
      case 'train':
        // training is the one action that takes long: it runs beside the loop, one slice at a time
        work ??= train(task.taskId, action.slice)
          .catch((error) => log('training-failed', { taskId: task.taskId, error: String(error) }))
          .finally(() => {
            work = undefined
            ended++
          })
        return
      case 'drop':
        store.delete('active', String(task.taskId))
        loaded.delete(String(task.taskId))
        replays.forget((segment) => segment.startsWith(`solver ${task.taskId} `))
        log('task-dropped', { taskId: task.taskId, status: task.status })
    }
  }

  const forget = (taskId: bigint, slice: number, spec: Spec): void => {
    const first = segmentKey(taskId, slice * spec.checkpointsPerSlice)
    const end = segmentKey(taskId, (slice + 1) * spec.checkpointsPerSlice - 1)
    const within = (key: string): boolean => key >= first && key < end
    // a run may come to one state twice, two runs may be alike, a tensor may be among the data: what is needed under another name stays
    const running = new Set([String(taskId), ...store.list('active').map(({ key }) => key)])
    const notes = [...running].flatMap((id) => store.list<SegmentNote>('segments', { prefix: `${id}/` }))
    const bundles = store.list<Bundle>('bundles').map(({ value }) => value)
    const needed = new Set([
      ...notes.filter(({ key }) => !within(key)).map(({ value }) => value.stateRoot),
      ...bundles.map((b) => rootsRoot(b.stateRoots)),
    ])
    checkpoints.drop(
      notes.filter(({ key, value }) => within(key) && !needed.has(value.stateRoot)).map(({ value }) => value.stateRoot),
      bundles.flatMap((b) => [b.graphRoot, ...b.dataRoots]),
    )
  }

  return {
    onEvent: (event) => {
      const { contract, name, args } = event
      const taskId = args.taskId as bigint
      if (name === 'Offered' && (args.solver as string).toLowerCase() === me.toLowerCase()) {
        store.put('offered', String(taskId), { from: Number(args.fromSlice) })
        store.put('active', String(taskId), true)
      }
      if (name === 'Claimed' && (args.solver as string).toLowerCase() === me.toLowerCase()) {
        const about = store.get<LeavesNote>('leaves', args.root as string)
        if (about) {
          store.put('books', String(args.claimId), { leaves: about.leaves } satisfies Book)
          store.put('own-claims', String(args.claimId), { leaves: about.truth } satisfies Book)
        }
      }
      noteMoots(store, event)
      // a claim that showed a decoy is about the truth from now on
      if (contract === 'Decoys' && name === 'Opened' && args.decoy === true) {
        const truth = store.get<Book>('own-claims', String(args.claimId))
        if (truth) store.put('books', String(args.claimId), truth)
      }
      if (name === 'Settled' && (args.solver as string).toLowerCase() === me.toLowerCase())
        store.put('settled', `${taskId}/${args.slice}`, true)
    },
    tick: async (nowSeconds) => {
      for (const { key } of store.list('settled')) {
        const [taskId, slice] = key.split('/')
        forget(BigInt(taskId!), Number(slice), await getSpec(bitloom, BigInt(taskId!)))
        replays.forget((segment) => segment.startsWith(`solver ${taskId} `))
        store.delete('settled', key)
      }
      for (const { key } of store.list('active')) {
        const taskId = BigInt(key)
        await apart(log, { taskId }, async () => {
          const task = await getTask(bitloom, taskId)
          let note = noteOf(taskId)
          if (!note || (task.status === 'offered' && note.first !== task.accepted)) {
            note = { taskId: key, startState: task.state, first: task.accepted, verified: false }
            store.put('tasks', key, note)
          }
          const spec = note.verified ? await getSpec(bitloom, taskId) : undefined
          const [audit, quarrels] =
            task.openClaim === 0n
              ? [undefined, []]
              : await Promise.all([auditView(bitloom, task.openClaim), court.gamesAbout(task.openClaim)])
          const sealed = spec && (await sealedOf(task, spec))
          const memory = {
            contents: note.verified,
            ...(note.refused === undefined ? {} : { refused: note.refused }),
            ...(sealed === undefined ? {} : { sealed }),
            trained: spec ? trainedOf(taskId, spec, Math.max(note.first, task.accepted)) : note.first,
          }
          for (const action of solverActions(
            me,
            taskView(task, spec?.slices ?? task.accepted + 1),
            audit,
            liveGames(store, quarrels),
            memory,
            nowSeconds,
          )) {
            try {
              await perform(action, task)
            } catch (error) {
              if (!(error instanceof RevertError)) throw error
              // somebody else was quicker, or the chain moved on: the next tick sees it
              log('refused', { action: action.do, taskId, error: error.errorName })
            }
          }
        })
      }
    },
    working: () => work !== undefined || replays.working(),
    ended: () => ended + replays.ended(),
    idle: async () => {
      stopping.abort()
      await Promise.all([work, replays.idle(), ...fetching.values()])
    },
  }
}
