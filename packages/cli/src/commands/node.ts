// `bitloom node start`: a node with its roles, until it is stopped. `node status`: what it is worth.

import { join } from 'node:path'
import { type CheatPlan, keyAddress, type NodeOptions, openStore, type RoleName, startNode } from '@bitloom/node'
import { connect, deposit, freeOf, getRecord, lockedOf, seatPriceWei, takeSeats, tokensOf } from '@bitloom/sdk'
import { parseEther } from 'viem'
import { backendOf, backendOptions } from '../backend.ts'
import { type Call, type Command, RefusedError, UsageError } from '../command.ts'
import { HOME_OPTION, homeOf, keyPath, networkPath, RPC_OPTION, readNetwork } from '../home.ts'
import { big, dim, money, table } from '../render.ts'
import { PASSWORD_OPTION, unlock } from '../unlock.ts'

const ROLES: readonly RoleName[] = ['solver', 'verifier', 'whistleblower']

export const command: Command = {
  name: 'node',
  summary: 'run a node: train for others, check others, earn',
  usage: 'start --role solver,verifier,whistleblower | status',
  options: {
    ...HOME_OPTION,
    network: { type: 'string', value: 'FILE', help: 'the network’s addresses (HOME/network.json)' },
    ...RPC_OPTION,
    role: { type: 'string', value: 'ROLES', help: 'solver, verifier, whistleblower; several with commas', default: 'solver' },
    price: { type: 'string', value: 'BLT', help: 'a solver’s price of 10^12 operations', default: '100' },
    capacity: { type: 'string', value: 'N', help: 'tasks at a time', default: '1' },
    memory: { type: 'string', value: 'MB', help: 'memory a task may use', default: '2048' },
    ...backendOptions({ backend: 'auto' }),
    deposit: { type: 'string', value: 'BLT', help: 'bring this much into the stake first, where less is there' },
    seats: { type: 'string', value: 'N', help: 'a verifier’s seats, taken at the first start', default: '1' },
    host: { type: 'string', value: 'ADDRESS', help: 'listen here; the default is this computer only', default: '127.0.0.1' },
    port: { type: 'string', value: 'PORT', help: 'for peers; any free one by default' },
    metrics: { type: 'string', value: 'PORT', help: 'serve /metrics (Prometheus) and /health there, on this computer only' },
    ...PASSWORD_OPTION,
    cheat: { type: 'string', value: 'SLICE', help: 'for demonstrations: lie in one element of one step of this slice (0, 1, …)' },
    json: { type: 'boolean', help: 'log as JSON lines on stdout' },
  },
  run: async (call) => {
    const [verb] = call.args
    if (verb === 'start') return start(call)
    if (verb === 'status') return status(call)
    throw new UsageError('Say what: bitloom node start, or bitloom node status')
  },
}

function ether(call: Call, name: string): bigint | undefined {
  const text = call.text(name)
  if (text === undefined) return undefined
  if (!/^\d+(\.\d{1,18})?$/.test(text)) throw new UsageError(`--${name} ${text}: give an amount such as 0.01`)
  return parseEther(text)
}

async function start(call: Call): Promise<number> {
  const home = homeOf(call.text('home'))
  const network = readNetwork(call.text('network') ?? networkPath(home), call.text('rpc'))
  const roles = (call.text('role') ?? '').split(',').map((r) => r.trim()) as RoleName[]
  for (const role of roles) if (!ROLES.includes(role)) throw new UsageError(`--role ${role}: roles are ${ROLES.join(', ')}`)
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
  const cheatSlice = call.number('cheat', { min: 0, whole: true })
  const cheat: CheatPlan | undefined = cheatSlice === undefined ? undefined : { slice: cheatSlice }
  const bitloom = await connect(network, key.account)

  const wanted = ether(call, 'deposit') ?? 0n
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
    host: call.text('host')!,
    ...(call.text('port') === undefined ? {} : { peerPort: call.number('port', { min: 1, max: 65535, whole: true })! }),
    ...(call.text('metrics') === undefined ? {} : { metricsPort: call.number('metrics', { min: 0, max: 65535, whole: true })! }),
    log,
    roles,
    memoryBytes: memory * 2 ** 20,
    backend,
    ...(cheat ? { cheat } : {}),
    ...(roles.includes('solver')
      ? {
          price: {
            weiPerTeraop: ether(call, 'price')!,
            capacity: call.number('capacity', { min: 1, max: 1000, whole: true })!,
            minAssurance: 0,
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

async function status(call: Call): Promise<number> {
  const home = homeOf(call.text('home'))
  const network = readNetwork(call.text('network') ?? networkPath(home), call.text('rpc'))
  const address = keyAddress(keyPath(home))
  if (!address) throw new RefusedError(`There is no key in ${home}.\nMake one with: bitloom wallet new`)
  const bitloom = await connect(network)
  const [free, locked, tokens, record] = await Promise.all([
    freeOf(bitloom, address),
    lockedOf(bitloom, address),
    tokensOf(bitloom, address),
    getRecord(bitloom, address),
  ])
  if (call.flag('json'))
    process.stdout.write(
      `${JSON.stringify({ address, freeWei: String(free), lockedWei: String(locked), tokensWei: String(tokens), record })}\n`,
    )
  else
    process.stdout.write(
      `${table(
        ['', '>'],
        [
          ['address', address],
          ['free', money(free)],
          ['bonded', money(locked)],
          ['in the wallet', money(tokens)],
          ['slices accepted', big(record.accepted)],
          ['convictions', big(record.convictions)],
          ['deadlines missed', big(record.missed)],
        ],
      )}\n`,
    )
  return 0
}
