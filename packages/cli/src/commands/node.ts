// `bitloom node start`: a node with its roles and rules, until it is stopped. `node status`: what it does and owns. `node earnings`: what it earned.

import { join } from 'node:path'
import { type CheatPlan, type NodeOptions, openStore, type Price, type RoleName, startNode } from '@bitloom/node'
import { powerOf } from '@bitloom/node/machine'
import { parseSchedule, type Rules } from '@bitloom/node/policy'
import { ASSURANCE, type Assurance, connect, deposit, freeOf, seatPriceWei, takeSeats, tokensOf } from '@bitloom/sdk'
import { weiOf } from '../amount.ts'
import { backendOf, backendOptions } from '../backend.ts'
import { type Call, type Command, RefusedError, UsageError } from '../command.ts'
import { HOME_OPTION, homeOf, networkPath, RPC_OPTION, readNetwork } from '../home.ts'
import { addressList } from '../market.ts'
import { nodeEarnings } from '../nodeearnings.ts'
import { nodeStatus } from '../nodestatus.ts'
import { REACH_OPTIONS, reachingOf } from '../reaching.ts'
import { dim, money } from '../render.ts'
import { PASSWORD_OPTION, unlock } from '../unlock.ts'

const ROLES: readonly RoleName[] = ['solver', 'verifier', 'whistleblower']

export const command: Command = {
  name: 'node',
  summary: 'run a node: train for others, check others, earn',
  usage: 'start --role solver,verifier,whistleblower | status | earnings [ADDRESS]',
  options: {
    ...HOME_OPTION,
    network: { type: 'string', value: 'FILE', help: 'the network’s addresses (HOME/network.json)' },
    ...RPC_OPTION,
    role: { type: 'string', value: 'ROLES', help: 'solver, verifier, whistleblower; several with commas', default: 'solver' },
    price: { type: 'string', value: 'BLT', help: 'a solver’s price of 10^12 operations; or auto, with --cost-per-hour', default: '100' },
    'cost-per-hour': { type: 'string', value: 'BLT', help: '--price auto: what an hour of this machine costs you' },
    margin: { type: 'string', value: 'PERCENT', help: '--price auto: and how much more it should bring', default: '25' },
    capacity: { type: 'string', value: 'N', help: 'tasks at a time', default: '1' },
    memory: { type: 'string', value: 'MB', help: 'memory a task may use', default: '2048' },
    'min-assurance': { type: 'string', value: 'LEVEL', help: 'take only tasks that are checked at least like this', default: 'none' },
    schedule: { type: 'string', value: 'SPANS', help: 'new tasks only then, in local time: 22:00-07:00; what it has it finishes' },
    'when-idle': { type: 'string', value: 'PERCENT', help: 'new tasks only while others use at most this much of the processor' },
    'on-battery': { type: 'string', value: 'yes|no', help: 'no: no new tasks while this computer runs on its battery (Linux)' },
    allow: { type: 'string', value: 'LIST', help: 'work only for these submitters: addresses with commas, or a file of them' },
    deny: { type: 'string', value: 'LIST', help: 'never work for these' },
    ...backendOptions({ backend: 'auto' }),
    deposit: { type: 'string', value: 'BLT', help: 'bring this much into the stake first, where less is there' },
    seats: { type: 'string', value: 'N', help: 'a verifier’s seats, taken at the first start', default: '1' },
    ...REACH_OPTIONS,
    metrics: { type: 'string', value: 'PORT', help: 'serve /metrics (Prometheus) and /health there, on this computer only' },
    tick: { type: 'string', value: 'MS', help: 'how often to look for a new block', default: '100' },
    ...PASSWORD_OPTION,
    'watch-share': {
      type: 'string',
      value: 'SHARE',
      help: 'a whistleblower’s: part of all claims to look at though nothing promises a gain (0 to 1; all by default)',
    },
    cheat: {
      type: 'string',
      value: 'HOW',
      help: 'for demonstrations: SLICE (0, 1, …) lies in one element of one step of it; swap: passes the truth off as a decoy; stamp: attests unseen',
    },
    since: { type: 'string', value: 'TIME', help: 'earnings: from then on: 7d, 12h, 2027-01-31' },
    gas: { type: 'boolean', default: true, help: 'earnings: with what was spent on gas (--no-gas: not asked for)' },
    csv: { type: 'boolean', help: 'earnings: one line an entry' },
    json: { type: 'boolean', help: 'start: log as JSON lines on stdout; status, earnings: for machines' },
  },
  run: async (call) => {
    const [verb, who, ...more] = call.args
    if (more.length > 0 || (who !== undefined && verb !== 'earnings'))
      throw new UsageError(`"${more[0] ?? who}" is one word too many.\nSee: bitloom node --help`)
    if (verb === 'start') return start(call)
    if (verb === 'status') return nodeStatus(call)
    if (verb === 'earnings') return nodeEarnings(call, who)
    throw new UsageError('Say what: bitloom node start, bitloom node status or bitloom node earnings')
  },
}

/** The price of a call: a number, or what an hour costs. @throws {UsageError} */
function priceOf(call: Call): Price['weiPerTeraop'] {
  if (call.text('price') !== 'auto') {
    if (call.text('cost-per-hour') !== undefined) throw new UsageError('--cost-per-hour goes with --price auto')
    return weiOf(call, 'price', '100 (or auto)')!
  }
  const costPerHourWei = weiOf(call, 'cost-per-hour', '0.5')
  if (costPerHourWei === undefined)
    throw new UsageError('--price auto needs --cost-per-hour: what an hour of this machine costs you, such as 0.5')
  return { costPerHourWei, marginPercent: call.number('margin', { min: 0, max: 10_000 })! }
}

/** When and for whom this node takes new tasks. @throws {UsageError} a rule cannot be read, or not be kept here */
function rulesOf(call: Call): Rules {
  const [spans, battery] = [call.text('schedule'), call.text('on-battery')]
  const schedule = spans === undefined ? undefined : parseSchedule(spans)
  if (spans !== undefined && !schedule)
    throw new UsageError(`--schedule ${spans}: give spans of the day such as 22:00-07:00, several with commas`)
  const idle = call.number('when-idle', { min: 0, max: 100 })
  if (battery !== undefined && battery !== 'yes' && battery !== 'no') throw new UsageError(`--on-battery ${battery}: yes or no`)
  if (battery === 'no' && powerOf() === 'unknown')
    throw new UsageError(
      `--on-battery no: this system (${process.platform}) does not say whether it runs on a battery; only Linux's /sys/class/power_supply is understood.\nLeave the option out, or stop the node yourself.`,
    )
  const [allow, deny] = [addressList(call.text('allow'), 'allow'), addressList(call.text('deny'), 'deny')]
  return {
    ...(schedule ? { schedule } : {}),
    ...(idle === undefined ? {} : { idleShare: idle / 100 }),
    ...(battery === undefined ? {} : { onBattery: battery === 'yes' }),
    ...(allow ? { allow } : {}),
    ...(deny ? { deny } : {}),
  }
}

/** The code of a level of assurance. @throws {UsageError} there is none of that name */
function leastAssurance(call: Call): number {
  const level = call.text('min-assurance')!
  if (!Object.hasOwn(ASSURANCE, level)) throw new UsageError(`--min-assurance ${level}: levels are ${Object.keys(ASSURANCE).join(', ')}`)
  return ASSURANCE[level as Assurance]
}

function cheatOf(call: Call): CheatPlan | undefined {
  const how = call.text('cheat')
  if (how === 'swap') return { swap: true }
  if (how === 'stamp') return { stamp: true }
  const slice = call.number('cheat', { min: 0, whole: true })
  return slice === undefined ? undefined : { slice }
}

async function start(call: Call): Promise<number> {
  const home = homeOf(call.text('home'))
  const network = readNetwork(call.text('network') ?? networkPath(home), call.text('rpc'))
  const roles = (call.text('role') ?? '').split(',').map((r) => r.trim()) as RoleName[]
  for (const role of roles) if (!ROLES.includes(role)) throw new UsageError(`--role ${role}: roles are ${ROLES.join(', ')}`)
  const [weiPerTeraop, rules, minAssurance] = [priceOf(call), rulesOf(call), leastAssurance(call)]
  const key = await unlock(call)
  const json = call.flag('json')
  const log = (event: string, values: Readonly<Record<string, unknown>> = {}): void => {
    if (json)
      process.stdout.write(
        `${JSON.stringify({ time: new Date().toISOString(), event, ...values }, (_, v) => (typeof v === 'bigint' ? v.toString() : v))}\n`,
      )
    else
      process.stderr.write(
        `${dim(new Date().toISOString().slice(11, 19))} ${event} ${Object.entries(values)
          .map(([k, v]) => `${dim(k)} ${v}`)
          .join(' ')}\n`,
      )
  }
  const { backend, reason } = await backendOf(call)
  log('backend', { name: backend.name, reason })
  const memory = call.number('memory', { min: 1, max: 4096, whole: true })!
  const seats = call.number('seats', { min: 0, max: 64, whole: true })!
  const cheat = cheatOf(call)
  const watchShare = call.number('watch-share', { min: 0, max: 1 })
  const bitloom = await connect(network, key.account)

  const wanted = weiOf(call, 'deposit', '50') ?? 0n
  const seatWei = roles.includes('verifier') ? (await seatPriceWei(bitloom)) * BigInt(seats) : 0n
  const marker = openStore(join(home, 'setup.sqlite'))
  const seated = marker.has('setup', 'seats')
  const [free, tokens] = await Promise.all([freeOf(bitloom, key.address), tokensOf(bitloom, key.address)])
  const need = wanted + (seated ? 0n : seatWei)
  if (free < need) {
    if (tokens < need - free)
      throw new RefusedError(
        `This node needs ${money(need)} in its stake; it has ${money(free)} there and ${money(tokens)} in its wallet.\nOn a development chain: bitloom wallet fund`,
      )
    await deposit(bitloom, need - free)
  }
  if (!seated && seatWei > 0n) {
    await takeSeats(bitloom, seats)
    marker.put('setup', 'seats', seats)
  }
  marker.close()

  const options: NodeOptions = {
    network,
    account: key.account,
    dir: join(home, 'node'),
    ...reachingOf(call),
    ...(call.text('metrics') === undefined ? {} : { metricsPort: call.number('metrics', { min: 0, max: 65535, whole: true })! }),
    tickMs: call.number('tick', { min: 20, max: 60_000, whole: true })!,
    log,
    roles,
    memoryBytes: memory * 2 ** 20,
    backend,
    ...(cheat ? { cheat } : {}),
    ...(watchShare === undefined ? {} : { watchShare }),
    ...(roles.includes('solver')
      ? {
          price: {
            weiPerTeraop,
            capacity: call.number('capacity', { min: 1, max: 1000, whole: true })!,
            minAssurance,
            rules,
          },
        }
      : {}),
  }
  const node = await startNode(options)
  log('ready', {
    address: key.address,
    roles: roles.join(','),
    ...node.services.contact,
    ...(node.metricsUrl ? { metrics: node.metricsUrl } : {}),
  })
  await new Promise<void>((resolve) => {
    for (const signal of ['SIGINT', 'SIGTERM'] as const) process.once(signal, () => resolve())
  })
  await node.stop()
  log('stopped', { readings: node.services.meter.readings() })
  return 0
}
