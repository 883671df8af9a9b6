// `bitloom train`: quote, confirm, live loss, slices, audits, files. With --local: the same bits on this machine alone.

import { join } from 'node:path'
import type { Backend } from '@bitloom/engine'
import type { Data } from '@bitloom/graph'
import { costOf, toHex } from '@bitloom/graph'
import { sparkline } from '@bitloom/model/curve'
import {
  committedWei,
  engineStepper,
  findRun,
  makeReceipt,
  openRuns,
  type Progress,
  runTask,
  startNode,
  trainLocal,
  windowsWithin,
  writeFileAtomic,
} from '@bitloom/node'
import { chainTime, LOCAL_WINDOWS, makeSpec, readLedger, rootsOf, type SignedOffer, type Spec, stepsOf, type Terms } from '@bitloom/sdk'
import type { LocalAccount } from 'viem'
import { secondsIn } from '../amount.ts'
import { writeArtefacts } from '../artefacts.ts'
import { ASSURANCE_OPTIONS, assuranceOf, shapeOf } from '../assurance.ts'
import { backendOf, backendOptions } from '../backend.ts'
import { type Call, type Command, RefusedError, UsageError } from '../command.ts'
import { HOME_OPTION, homeOf, networkPath, RPC_OPTION, readNetwork } from '../home.ts'
import { claimJudging, judgingOf } from '../judging.ts'
import { filtersOf, listOffers, MARKET_OPTIONS, mustHave, orderOf, type Selection, select } from '../market.ts'
import { narrator } from '../narrate.ts'
import { LIMIT_OPTIONS, limitsOf, mayPay, type Priced, priced, quoteOf, quoteText, within } from '../paying.ts'
import { profileReport } from '../profile.ts'
import { chosen, flagsOf, type Judged, judge, makeReady, namesRecipe, type Ready, recipeOf } from '../recipes.ts'
import { bar, bold, dim, green, money, openScreen, percent, seconds, short, yellow } from '../render.ts'
import { clearRunFolder, runFolder } from '../runfolder.ts'
import { progressText } from '../story.ts'
import { figuresOf } from '../summary.ts'
import { PASSWORD_OPTION, unlock } from '../unlock.ts'

export const command: Command = {
  name: 'train',
  summary: 'train a recipe or a model.onnx on the network, or on this machine alone with --local',
  usage:
    'RECIPE|model.onnx|recipe.ts [--local] [the recipe’s options] [--budget BLT] [--deadline TIME] [--assurance none|spot|full|quorum] [--yes]',
  options: {
    ...HOME_OPTION,
    network: { type: 'string', value: 'FILE', help: 'the network’s addresses (HOME/network.json)' },
    ...RPC_OPTION,
    local: { type: 'boolean', help: 'train here, alone: the same final root as on the network' },
    seed: { type: 'string', value: 'N', help: 'initial weights, data order and probes follow from it', default: '1' },
    slices: { type: 'string', value: 'N', help: 'slices of the run, each claimed, audited and paid by itself (the recipe’s own number)' },
    ...ASSURANCE_OPTIONS,
    ...LIMIT_OPTIONS,
    ...MARKET_OPTIONS,
    offers: { type: 'string', value: 'N', help: 'wait for this many offers before choosing', default: '1' },
    wait: { type: 'string', value: 'SECONDS', help: 'and no longer than this', default: '15' },
    out: { type: 'string', value: 'DIR', help: 'where the model goes', default: 'out' },
    ...backendOptions({ backend: 'wasm' }),
    profile: { type: 'boolean', help: 'with --local: where a step’s time goes, kernel by kernel' },
    'claim-evaluation': { type: 'boolean', help: 'have the held-out evaluation computed by the network, too, as a task of its own' },
    ...PASSWORD_OPTION,
    json: { type: 'boolean', help: 'every event as a JSON line on stdout' },
    quiet: { type: 'boolean', help: 'say nothing on stderr' },
  },
  more: async (argv) => {
    const name = argv.find((word, i) => namesRecipe(word) && !STRINGS.has(argv[i - 1] ?? ''))
    return name === undefined ? {} : flagsOf(await recipeOf(name))
  },
  run: async (call) => {
    const [name, ...more] = call.args
    const recipe = await recipeOf(name)
    if (more.length > 0) throw new UsageError(`"${more[0]}" is one word too many.\nSee: bitloom train ${name} --help`)
    const emit = (type: string, values: object): void => {
      if (call.flag('json'))
        process.stdout.write(`${JSON.stringify({ type, ...values }, (_, v) => (typeof v === 'bigint' ? v.toString() : v))}\n`)
    }
    const choice = chosen(recipe, call)
    const { backend } = await backendOf(call)
    const ready = await makeReady(choice, backend)
    if (call.flag('local')) await local(call, ready, backend, emit)
    else await onNetwork(call, ready, backend, emit)
  },
}

/** Options of ours whose value could look like a recipe's name. */
const STRINGS = new Set(['--out', '--home', '--network', '--data', '--weights'])

type Emit = (type: string, values: object) => void

/** A screen on stderr, or silence. */
const screenFor = (call: Call) =>
  call.flag('quiet') ? { line: () => undefined, status: () => undefined, done: () => undefined } : openScreen()

function progressLine(step: number, steps: number, losses: readonly number[], started: number): string {
  const elapsed = performance.now() - started
  const left = step > 0 ? (elapsed / step) * (steps - step) : 0
  const loss = losses[losses.length - 1]
  return ` ${bar(step / steps)} ${String(step).padStart(String(steps).length)}/${steps}  loss ${loss === undefined ? '–' : loss.toFixed(4)} ${sparkline(losses.slice(-400), 20)}  ${dim(`${seconds(elapsed)}, ${seconds(left)} left`)}`
}

/** "accuracy 93.2 %, loss 0.2410 on 997 held-out images". */
function describe(judged: Judged | undefined): string {
  if (!judged) return 'nothing was held back to judge it by'
  const shown = Object.entries(judged.metrics).map(([name, x]) => `${name} ${bold(name === 'accuracy' ? percent(x, 2) : x.toPrecision(4))}`)
  return `${shown.join(', ')} on ${judged.examples} ${judged.what}`
}

/** What a run is, before it starts. */
const headline = ({ recipe, prepared }: Ready): string => [`${bold(recipe.name)}  ${recipe.title}`, ...prepared.about.map(dim)].join('\n')

async function local(call: Call, ready: Ready, backend: Backend, emit: Emit): Promise<void> {
  const { prepared } = ready
  const { job } = prepared
  const screen = screenFor(call)
  screen.line(`${headline(ready)}\n${dim(`${job.steps} steps here, alone, on ${backend.name}; ${prepared.epochs.toFixed(1)} epochs`)}`)
  const losses: number[] = []
  const started = performance.now()
  let drawn = 0
  const stepper = engineStepper(backend, job.graph)
  const run = await trainLocal(job, stepper, (step, loss) => {
    losses.push(loss)
    if (step % 64 === 0 || step === job.steps || performance.now() - drawn > 500) {
      drawn = performance.now()
      screen.status(progressLine(step, job.steps, losses, started))
      emit('progress', { step, steps: job.steps, loss })
    }
  })
  screen.done()
  if (call.flag('profile')) {
    const { text, json } = profileReport(job, backend)
    screen.line(text)
    emit('profile', json)
  }
  const judged = judge(prepared, run.state, backend)
  const { paths } = writeArtefacts(call.text('out')!, ready, run.state, run.root, backend, judged)
  screen.line(`${green('✓')} ${job.steps} steps in ${seconds(run.wallMs)}; ${describe(judged)}`)
  warnOfNan(screen.line, run.state[job.lossSlot]!)
  if (!call.flag('json')) process.stdout.write(`root ${run.root}\n${paths.join('\n')}\n`)
  emit('result', {
    root: run.root,
    steps: job.steps,
    ...judged?.metrics,
    examples: judged?.examples ?? 0,
    wallMs: run.wallMs,
    trainCpuMs: run.readings.train.cpuMs,
    files: paths,
  })
}

/** A run that fell apart says so, with the step, instead of leaving it to be found in a curve. */
function warnOfNan(line: (text: string) => void, loss: ArrayLike<number>): void {
  const at = Array.prototype.findIndex.call(loss, (x: number) => !Number.isFinite(x))
  if (at >= 0) line(`${yellow('!')} the loss is ${loss[at]} from step ${at + 1} on: try a smaller --lr, or gradient clipping`)
}

/** Waits until enough offers are in, or time is up. */
async function gatherOffers(current: () => SignedOffer[], enough: number, waitSeconds: number): Promise<SignedOffer[]> {
  const until = performance.now() + waitSeconds * 1000
  for (;;) {
    const offers = current()
    if (offers.length >= enough || performance.now() > until) return offers
    await new Promise((resolve) => setTimeout(resolve, 100))
  }
}

async function onNetwork(call: Call, ready: Ready, backend: Backend, emit: Emit): Promise<void> {
  const { cut, prepared } = ready
  const { job } = prepared
  const home = homeOf(call.text('home'))
  const network = readNetwork(call.text('network') ?? networkPath(home), call.text('rpc'))
  const shape = shapeOf(call, assuranceOf(call))
  const limits = limitsOf(call)
  const patienceSeconds = secondsIn(call.text('patience')!)
  if (patienceSeconds === undefined) throw new UsageError(`--patience ${call.text('patience')}: give a time such as 60s or 10m`)
  const wanted = filtersOf(call)
  const order = orderOf(call)
  const enough = call.number('offers', { min: 1, max: 1000, whole: true })!
  const wait = call.number('wait', { min: 0, max: 600 })!
  const { account }: { account: LocalAccount } = await unlock(call)
  const screen = screenFor(call)
  const started = performance.now()
  const terms = { ...shape, windows: windowsWithin(LOCAL_WINDOWS, limits.deadlineSeconds, cut.slices) }
  const draft = makeSpec(job.graph, rootsOf(job.state), rootsOf(job.data), { ...cut, ...terms })
  // the submitter's node holds the task's contents until the task is over: a folder of its own for each run, found again by the same command
  const dir = runFolder(call.text('home'), draft)
  const logged: string[] = []
  const node = await startNode({
    network,
    account,
    dir,
    roles: [],
    memoryBytes: 2 ** 32,
    log: (event, values) => void logged.push(`${event} ${JSON.stringify(values, (_, v) => (typeof v === 'bigint' ? v.toString() : v))}`),
  })
  const { bitloom, store } = node.services
  const [begun] = openRuns(store)
  const aborting = new AbortController()
  const interrupt = (): void => aborting.abort()
  for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, interrupt)
  try {
    // one that never reached the chain is forgotten here, so that its price is shown and agreed to again
    const former = begun && (await findRun(bitloom, store, begun.specId))
    const spec = former?.spec ?? draft
    const choose = async (): Promise<Selection> => {
      const memory = Math.max(wanted.minMemoryBytes ?? 0, costOf(job.graph).peakBytes)
      return select(await listOffers(bitloom, node.signedOffers()), { ...wanted, minMemoryBytes: memory, assurance: spec.assurance }, order)
    }
    let listed: readonly Priced[] = []
    if (former) screen.line(`${headline(ready)}\n${bold('going on')}  with the run begun before, in ${dir}`)
    else {
      await gatherOffers(node.signedOffers, enough, wait)
      const chosen = mustHave(
        await choose(),
        'No provider offers to train this.\nStart one with: bitloom node start --role solver, or wait for offers: bitloom offers',
      )
      listed = within(await priced(bitloom, spec, chosen), limits)
      const quote = quoteOf(spec, ready, listed[0]!)
      emit('quote', { spec, quote, seconds: listed[0]!.seconds, offers: listed.map((one) => one.offer) })
      screen.line(headline(ready))
      screen.line(quoteText(ready, spec, listed, quote, limits))
      await mayPay(call, bitloom, account, quote.escrowWei)
    }
    const offers = listed.flatMap(({ signed }) => signed ?? [])

    const losses: number[] = []
    const steps = stepsOf(spec)
    const story = narrator(spec, job.graph)
    let trainingStarted = performance.now()
    const [challengedAt, decidedAt]: number[][] = [[], []]
    const report = (p: Progress): void => {
      emit(p.type, p)
      if (p.type === 'submitted') {
        screen.line(
          `${bold('submitted')}  task ${p.taskId} to ${short(p.solver)}, ${money(p.escrowWei)} in escrow ${dim(p.transaction.slice(0, 18))}`,
        )
        trainingStarted = performance.now()
      }
      if (p.type === 'handed-on')
        screen.line(
          `${bold('handed on')}  to ${short(p.solver)} from slice ${p.fromSlice + 1}, the last accepted checkpoint; ${money(p.escrowWei)} in escrow`,
        )
      if (p.type === 'resumed')
        screen.line(
          `${bold('task')}       ${p.taskId}, ${progressText(p.accepted, spec)} accepted; ${money(p.committedWei)} spent or in escrow so far`,
        )
      if (p.type === 'waiting') screen.line(yellow(`waiting    ${p.reason} Looking for another until ${clock(p.untilSeconds)}`))
      if (p.type === 'late')
        screen.line(yellow(`late       the deadline is over: the solver that has the task may finish it, and nobody else is asked`))
      if (p.type === 'progress') {
        losses.push(p.loss)
        screen.status(progressLine(p.step, steps, losses, trainingStarted))
      }
      if (p.type === 'accepted-state') {
        screen.line(`  ${dim('kept     ')} state ${short(p.stateRoot)} fetched and checked; loss ${p.loss.toFixed(4)}`)
        losses.push(p.loss)
        screen.status(progressLine((p.slice + 1) * spec.checkpointsPerSlice * spec.stepsPerCheckpoint, steps, losses, trainingStarted))
      }
      if (p.type === 'chain') {
        if (p.event.name === 'Challenged') challengedAt!.push(performance.now())
        if (p.event.name === 'Decided') decidedAt!.push(performance.now())
        for (const line of story.tell(p.event)) screen.line(line)
      }
    }
    const outcome = await runTask(node, {
      job,
      spec,
      offers,
      more: async () => (await choose()).kept.flatMap(({ signed }) => signed ?? []),
      patienceSeconds,
      resume: true,
      signal: aborting.signal,
      report,
      ...(limits.budgetWei === undefined ? {} : { budgetWei: limits.budgetWei }),
      ...(limits.deadlineSeconds === undefined ? {} : { deadlineAt: (await chainTime(bitloom)) + Math.ceil(limits.deadlineSeconds) }),
    })
    screen.done()
    await finish(call, {
      ready,
      backend,
      spec,
      node,
      outcome,
      disputeMs: decidedAt!.reduce((n, t, i) => n + t - challengedAt![i]!, 0),
      wallMs: performance.now() - started,
      emit,
      line: screen.line,
    })
    if (call.flag('claim-evaluation')) {
      const again = await choose()
      const judges = (again.kept.length > 0 ? again.kept : listed).flatMap(({ signed }) => signed ?? [])
      const judging = judges.length > 0 ? await judgingOf(node, prepared, outcome.state as Data[], terms, judges) : undefined
      if (!judging) throw new RefusedError('Nothing was held back, so there is nothing to evaluate.')
      screen.line(
        `\n${bold('evaluation')}  ${judging.job.steps} steps over the held-out examples, ${money(judging.escrowWei)} at the very most`,
      )
      const spentWei = committedWei(outcome.events, outcome.taskId)
      if (limits.budgetWei !== undefined && spentWei + judging.escrowWei > limits.budgetWei)
        throw new RefusedError(
          `The evaluation may cost ${money(judging.escrowWei)}, training has cost ${money(spentWei)}, and the budget is ${money(limits.budgetWei)}.\nThe model is in ${call.text('out')}; raise --budget to have it judged by the network, too.`,
        )
      await mayPay(call, bitloom, account, judging.escrowWei)
      const tale = narrator(judging.spec, judging.job.graph)
      const told = (p: Progress): void => {
        emit(`evaluation-${p.type}`, p)
        if (p.type === 'chain') for (const line of tale.tell(p.event)) screen.line(line)
      }
      const { metrics, path } = await claimJudging(node, judging, prepared, judges, told, call.text('out')!)
      const shown = Object.entries(metrics).map(([name, x]) => `${name} ${x.toPrecision(4)}`)
      screen.line(`${green('✓')} claimed, checked and paid: ${shown.join(', ')}  ${dim(path)}`)
      emit('evaluation', { metrics, receipt: path })
    }
  } catch (error) {
    screen.done()
    for (const line of logged.slice(-5)) screen.line(dim(line))
    throw error
  } finally {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.off(signal, interrupt)
    const open = openRuns(store)
    await node.stop()
    if (open.length === 0) clearRunFolder(dir)
    else screen.line(dim(`Task ${open[0]!.taskId ?? '?'} is not over. Start the same command again, and it goes on from here (${dir}).`))
  }
}

const clock = (unixSeconds: number): string => new Date(1000 * unixSeconds).toTimeString().slice(0, 8)

type Finish = {
  readonly ready: Ready
  readonly backend: Backend
  readonly spec: Spec
  readonly node: Awaited<ReturnType<typeof startNode>>
  readonly outcome: Awaited<ReturnType<typeof runTask>>
  readonly disputeMs: number
  readonly wallMs: number
  readonly emit: Emit
  readonly line: (text: string) => void
}

async function finish(call: Call, f: Finish): Promise<void> {
  const { ready, backend, spec, node, outcome, emit, line } = f
  const { job } = ready.prepared
  const { bitloom, me, meter } = node.services
  const out = call.text('out')!
  const judged = judge(ready.prepared, outcome.state as Data[], backend)
  const artefacts = writeArtefacts(out, ready, outcome.state as Data[], outcome.stateRoot, backend, judged)
  const receipt = await makeReceipt(bitloom, {
    taskId: outcome.taskId,
    spec,
    graph: job.graph,
    events: outcome.events,
    stateRoots: rootsOf(outcome.state as Data[]).map(toHex),
    submitter: me,
    files: artefacts.sha256,
  })
  const receiptPath = join(out, 'receipt.json')
  writeFileAtomic(receiptPath, `${JSON.stringify(receipt, null, 1)}\n`)
  /** What each solver of this task had at stake, by the terms it was asked under. */
  const bonds = new Map(
    outcome.events
      .filter((e) => e.name === 'Offered')
      .map((e) => [String(e.args.solver).toLowerCase(), (e.args.terms as Terms).bondWei] as const),
  )
  const solverOf = new Map(
    outcome.events.filter((e) => e.name === 'Claimed').map((e) => [String(e.args.claimId), String(e.args.solver).toLowerCase()]),
  )
  const bondOf = (claimId: string): bigint => bonds.get(solverOf.get(claimId) ?? '') ?? 0n
  const [figures, ledger] = await Promise.all([figuresOf(bitloom, outcome.events, bondOf), readLedger(bitloom)])
  const paths = [...artefacts.paths, receiptPath]
  line(`${green('✓')} ${describe(judged)}; paid ${money(figures.solversWei + figures.verifiersWei)}; ${seconds(f.wallMs)}`)
  if (!call.flag('json')) process.stdout.write(`root ${outcome.stateRoot}\n${paths.join('\n')}\n`)
  emit('result', {
    root: outcome.stateRoot,
    taskId: outcome.taskId,
    steps: stepsOf(spec),
    ...judged?.metrics,
    examples: judged?.examples ?? 0,
    ...figures,
    disputeSeconds: f.disputeMs / 1000,
    conservationWei: ledger.differenceWei,
    wallMs: f.wallMs,
    solvers: outcome.solvers,
    readings: meter.readings(),
    files: paths,
    escrowWei: outcome.events.find((e) => e.name === 'Offered')!.args.escrowWei as bigint,
  })
}
