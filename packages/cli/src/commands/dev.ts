// `bitloom dev`: the whole network on this machine until Ctrl-C, with money in your pocket and a second terminal's first command printed.

import { createHash } from 'node:crypto'
import { existsSync, mkdirSync, readFileSync, rmSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import * as artefacts from '@bitloom/contracts'
import { CHAIN_ID, type Embedded, keyAddress, type NodeLine, type NodePlan, startEmbedded, writeFileAtomic } from '@bitloom/node'
import { connect, explained, type Network, tokensOf } from '@bitloom/sdk'
import { type Address, parseEther } from 'viem'
import { type Call, type Command, EXIT, RefusedError, UsageError } from '../command.ts'
import { HOME_OPTION, homeOf, keyPath, networkPath } from '../home.ts'
import { count, print, printJson, say } from '../output.ts'
import { bold, cyan, dim, red, short, table, yellow } from '../render.ts'
import { giveTestMoney } from './wallet.ts'

export const command: Command = {
  name: 'dev',
  summary: 'the whole network on this machine: chain, contracts, nodes',
  usage: '[--solvers 2] [--verifiers 3] [--cheat]',
  options: {
    ...HOME_OPTION,
    solvers: { type: 'string', value: 'N', help: 'nodes that train', default: '2' },
    verifiers: { type: 'string', value: 'N', help: 'nodes that check', default: '3' },
    cheat: { type: 'boolean', help: 'the cheapest solver lies in its second slice' },
    fresh: { type: 'boolean', help: 'forget the chain and the nodes of last time first' },
    port: { type: 'string', value: 'PORT', help: 'of the chain; the last one used, or any free one' },
    json: { type: 'boolean', help: 'everything as JSON lines on stdout' },
  },
  run: async (call) => {
    if (call.args.length > 0) throw new UsageError(`"${call.args[0]}" is one word too many.\nSee: bitloom dev --help`)
    const home = homeOf(call.text('home'))
    mustBeOurs(home)
    if (call.flag('fresh')) rmSync(join(home, 'dev'), { recursive: true, force: true })
    mustBeThisVersion(home)
    const plans = plansOf(
      call.number('solvers', { min: 1, max: 16, whole: true })!,
      call.number('verifiers', { min: 0, max: 32, whole: true })!,
      call.flag('cheat'),
    )
    const asked = call.number('port', { min: 1, max: 65535, whole: true })
    const port = asked ?? formerPort(home)
    const log = logger(call)
    const stop = interruption()
    say(dim(`Starting the chain, its contracts and ${count(plans.length, 'node')} …`))
    let embedded: Embedded
    try {
      embedded = await launch(home, plans, port, asked === undefined, log)
    } catch (error) {
      if (!stop.asked()) throw error
      say(dim('Stopped before it was up.'))
      return EXIT.ok
    }
    try {
      if (!stop.asked()) await welcome(call, home, embedded, plans)
      for (const node of embedded.nodes)
        void node.exited.then((code) => stop.asked() || say(yellow(`${node.name} ended with status ${code}; the rest goes on.`)))
      const end = await Promise.race([stop.done, embedded.chain.exited])
      if (!stop.asked()) throw new RefusedError(`The chain is gone (${end}).\nStart everything again with: bitloom dev`)
      say(dim('Stopping …'))
    } finally {
      stop.now()
      await embedded.stop()
    }
    say(dim('Stopped. Everything is kept: bitloom dev goes on from here.'))
    return EXIT.ok
  },
}

const CHEAP = '80'
const USUAL = ['100', '110', '120']

/** The nodes of a development network; the cheat is the cheapest, so that tasks go to it first. */
export function plansOf(solvers: number, verifiers: number, cheat: boolean): NodePlan[] {
  const plans: NodePlan[] = []
  for (let i = 0; i < solvers; i++) {
    const lies = cheat && i === 0
    plans.push({
      name: `solver-${i + 1}`,
      args: ['--role', 'solver', '--price', lies ? CHEAP : USUAL[i % USUAL.length]!, '--deposit', '100', ...(lies ? ['--cheat', '1'] : [])],
    })
  }
  // a verifier that finds a lie opens a dispute, which takes a bond of its own
  for (let i = 0; i < verifiers; i++)
    plans.push({ name: `verifier-${i + 1}`, args: ['--role', 'verifier', '--seats', '1', '--deposit', '50'] })
  return plans
}

/** @throws {RefusedError} this home belongs to another network than a development one */
function mustBeOurs(home: string): void {
  const network = formerNetwork(home)
  if (network && network.chainId !== CHAIN_ID)
    throw new RefusedError(
      `${networkPath(home)} belongs to the network on chain ${network.chainId}; a development network would overwrite it.\nKeep the two apart: bitloom dev --home DIR`,
    )
}

function formerNetwork(home: string): Network | undefined {
  if (!existsSync(networkPath(home))) return undefined
  try {
    return JSON.parse(readFileSync(networkPath(home), 'utf8')) as Network
  } catch (error) {
    throw new RefusedError(
      `${networkPath(home)} is damaged (${(error as Error).message}).\nMove it away, or use another folder: bitloom dev --home DIR`,
    )
  }
}

/** Which contracts this version deploys: one hash of all their code. */
const contractsPrint = (): string =>
  createHash('sha256')
    .update(
      Object.entries(artefacts)
        .sort(([a], [b]) => (a < b ? -1 : 1))
        .map(([name, { bytecode }]) => `${name} ${bytecode}`)
        .join('\n'),
    )
    .digest('hex')

/** @throws {RefusedError} the network kept here has another version's contracts */
function mustBeThisVersion(home: string): void {
  const path = join(home, 'dev', 'contracts')
  const here = contractsPrint()
  if (existsSync(join(home, 'dev', 'network.json')) && (!existsSync(path) || readFileSync(path, 'utf8').trim() !== here))
    throw new RefusedError(
      `The network kept in ${join(home, 'dev')} has another version's contracts.\nBegin a new one: bitloom dev --fresh`,
    )
  mkdirSync(join(home, 'dev'), { recursive: true, mode: 0o700 })
  writeFileAtomic(path, `${here}\n`)
}

/** The port of last time, so that what points to it keeps working. */
function formerPort(home: string): number | undefined {
  const port = Number(/:(\d+)\/?$/.exec(formerNetwork(home)?.rpcUrl ?? '')?.[1])
  return port > 0 ? port : undefined
}

async function launch(
  home: string,
  nodes: readonly NodePlan[],
  port: number | undefined,
  anyPort: boolean,
  onLine: (line: NodeLine) => void,
): Promise<Embedded> {
  const command = [process.execPath, ...process.execArgv, fileURLToPath(new URL('../main.ts', import.meta.url))]
  const start = (at: number | undefined): Promise<Embedded> =>
    startEmbedded({
      dir: join(home, 'dev'),
      command,
      nodes,
      onLine,
      keep: true,
      supervised: true,
      ...(at === undefined ? {} : { port: at }),
    })
  try {
    return await start(port)
  } catch (error) {
    if (!anyPort || (error as Error).name !== 'PortTakenError') throw error
    return start(undefined)
  }
}

/** What a person's pocket holds at least after each start. */
const POCKET = { etherWei: parseEther('100'), tokensWei: parseEther('10000') }

/** A funded key in the home: the one that is there, or a new one. Says where its password lies when it is ours. */
async function pocket(home: string, embedded: Embedded): Promise<{ readonly address: Address; readonly passwordFile: string | undefined }> {
  const passwordFile = join(home, 'dev-password')
  const path = keyPath(home)
  if (!existsSync(path)) {
    writeFileAtomic(passwordFile, `${embedded.password}\n`)
    return { address: await embedded.fund(home), passwordFile }
  }
  const address = keyAddress(path)
  if (!address)
    throw new RefusedError(
      `${path} names no address, so it is no key of ours.\nMove it away, or use another folder: bitloom dev --home DIR`,
    )
  const bitloom = await connect(embedded.network, embedded.deployer)
  const [ether, tokens] = await Promise.all([
    explained('eth_getBalance', () => bitloom.chain.getBalance({ address })),
    tokensOf(bitloom, address),
  ])
  await giveTestMoney(
    bitloom,
    address,
    ether < POCKET.etherWei / 2n ? POCKET.etherWei : 0n,
    tokens < POCKET.tokensWei / 2n ? POCKET.tokensWei : 0n,
  )
  return { address, passwordFile: existsSync(passwordFile) ? passwordFile : undefined }
}

async function welcome(call: Call, home: string, embedded: Embedded, plans: readonly NodePlan[]): Promise<void> {
  const { network } = embedded
  writeFileAtomic(networkPath(home), `${JSON.stringify(network, null, 2)}\n`)
  const { address, passwordFile } = await pocket(home, embedded)
  if (call.flag('json')) {
    printJson({
      event: 'up',
      networkFile: networkPath(home),
      network,
      key: { address, path: keyPath(home), passwordFile },
      nodes: embedded.nodes.map(({ name, address: of, pid, dir }) => ({ name, address: of, pid, dir })),
    })
    return
  }
  const suffix = call.text('home') === undefined && process.env.BITLOOM_HOME === undefined ? '' : ` --home ${home}`
  const orderOf = (name: string): number => plans.findIndex((plan) => plan.name === name)
  const argOf = (name: string, option: string): string => {
    const { args } = plans.find((plan) => plan.name === name)!
    const i = args.indexOf(`--${option}`)
    return i < 0 ? '' : args[i + 1]!
  }
  print(
    [
      '',
      bold('The network runs on this machine.'),
      `  chain     ${CHAIN_ID} at ${network.rpcUrl}`,
      `  network   ${networkPath(home)}`,
      `  your key  ${address}, funded with test money (${keyPath(home)})`,
      '',
      table(
        ['node', 'role', '>price', 'address'],
        [...embedded.nodes]
          .sort((a, b) => orderOf(a.name) - orderOf(b.name))
          .map((node) => [
            node.name,
            argOf(node.name, 'role'),
            argOf(node.name, 'price'),
            `${node.address}${argOf(node.name, 'cheat') === '' ? '' : red('  cheats')}`,
          ]),
      ),
      '',
      'In a second terminal:',
      cyan(`  bitloom offers${suffix}`),
      cyan(`  bitloom train mnist${suffix}${passwordFile === undefined ? '' : ` --password-file ${passwordFile}`}`),
      ...(passwordFile === undefined ? [dim('  (with the password of your own key)')] : []),
      '',
      'Ctrl-C stops everything.',
      '',
    ].join('\n'),
  )
}

/** A node's log line, for people. */
export function lineText({ node, event, time: _, ...values }: NodeLine): string {
  const shown = Object.entries(values).filter(([, v]) => v !== null && typeof v !== 'object')
  const text = ([k, v]: [string, unknown]): string =>
    `${dim(k)} ${typeof v === 'string' && /^0x[0-9a-fA-F]{40,}$/.test(v) ? short(v) : String(v).split('\n')[0]}`
  return `${dim(node.padEnd(11))} ${event} ${shown.map(text).join(' ')}`.trimEnd()
}

/** What the summary says anyway. */
const UNSAID = new Set(['ready', 'stopped'])

function logger(call: Call): (line: NodeLine) => void {
  if (call.flag('json')) return printJson
  return (line) => {
    if (!UNSAID.has(line.event)) say(lineText(line))
  }
}

/** Waits for Ctrl-C and its kin; a second one is no different, since everybody is told already. */
function interruption(): { readonly done: Promise<void>; readonly asked: () => boolean; readonly now: () => void } {
  let asked = false
  let now = (): void => undefined
  const done = new Promise<void>((resolve) => {
    now = () => {
      asked = true
      resolve()
    }
  })
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => now())
  return { done, asked: () => asked, now: () => now() }
}
