// `bitloom node earnings`: what this home's key earned, lost and spent, by task and by role, out of the chain's log; with a plot, or as JSON or CSV.

import { type Entry, entriesOf, type Gas, gasOfMine, isWork, keyAddress, sumBy, timesOf } from '@bitloom/node'
import { connect, readEvents } from '@bitloom/sdk'
import { type Address, formatEther } from 'viem'
import { since } from './amount.ts'
import { type Call, EXIT, RefusedError, UsageError } from './command.ts'
import { homeOf, keyPath } from './home.ts'
import { count, print, printJson, say } from './output.ts'
import { networkOf } from './reach.ts'
import { big, bold, cyan, dim, green, money, red, table } from './render.ts'

const ADDRESS = /^0x[0-9a-fA-F]{40}$/

/** Shows it. @throws {RefusedError} no key here · {UsageError} */
export async function nodeEarnings(call: Call, who: string | undefined): Promise<number> {
  if (who !== undefined && !ADDRESS.test(who)) throw new UsageError(`"${who}" is no address: 0x and 40 hexadecimal digits`)
  if (call.flag('json') && call.flag('csv')) throw new UsageError('Choose one of --json and --csv.')
  const home = homeOf(call.text('home'))
  const me = (who as Address | undefined) ?? keyAddress(keyPath(home))
  if (!me)
    throw new RefusedError(`There is no key in ${home}.\nMake one with: bitloom wallet new, or name an address: bitloom node earnings 0x…`)
  const from = since(call, 'since', Date.now())
  const bitloom = await connect(networkOf(call))
  const { events } = await readEvents(bitloom, BigInt(bitloom.network.fromBlock))
  const all = entriesOf(events, me)
  const gas = call.flag('gas') ? await gasOfMine(bitloom, events, me) : []
  const times = await timesOf(bitloom, [...all.map((e) => e.blockNumber), ...gas.map((g) => g.blockNumber)])
  const after = (block: bigint): boolean => from === undefined || times.get(block)! >= from
  const entries = all.filter((e) => after(e.blockNumber))
  const spent = gas.filter((g) => after(g.blockNumber))
  if (call.flag('csv')) {
    print(csv(entries, times))
    return EXIT.ok
  }
  if (call.flag('json')) {
    for (const e of entries) printJson({ type: 'entry', time: times.get(e.blockNumber), ...e })
    printJson({ type: 'sum', address: me, ...sums(entries), gas: total(spent.map((g) => g.gas)), gasWei: total(spent.map((g) => g.wei)) })
    return EXIT.ok
  }
  if (entries.length === 0) {
    say(`${me} has earned nothing ${from === undefined ? 'yet' : 'in that time'}.\nOffer this computer: bitloom node start --role solver`)
    return EXIT.ok
  }
  const work = entries.filter(isWork)
  print(
    `${bold('earnings')} of ${me}${from === undefined ? '' : ` since ${new Date(1000 * from).toISOString().slice(0, 16).replace('T', ' ')}`}\n`,
  )
  print(byKind(entries))
  if (work.length > 0) print(`\n${byTask(work, spent)}\n\n${plot(work, times)}`)
  const { workWei, ownWei } = sums(entries)
  const transactions =
    spent.length === 0
      ? ''
      : `; ${count(spent.length, 'transaction')}, ${big(total(spent.map((g) => g.gas)))} gas, ${ether(total(spent.map((g) => g.wei)))} ETH`
  print(`\n  ${bold('net')}  ${signed(workWei)} for work${ownWei === 0n ? '' : `, ${signed(ownWei)} for own tasks`}${transactions}`)
  return EXIT.ok
}

const total = (amounts: readonly bigint[]): bigint => amounts.reduce((a, b) => a + b, 0n)
const ether = (wei: bigint): string => Number(formatEther(wei)).toPrecision(3)
const signed = (wei: bigint): string => (wei < 0n ? red(`−${money(-wei)}`) : green(money(wei)))

const sums = (entries: readonly Entry[]): { readonly workWei: bigint; readonly finesWei: bigint; readonly ownWei: bigint } => ({
  workWei: total(entries.filter(isWork).map((e) => e.wei)),
  finesWei: total(entries.filter((e) => e.kind === 'fine').map((e) => e.wei)),
  ownWei: total(entries.filter((e) => !isWork(e)).map((e) => e.wei)),
})

const byKind = (entries: readonly Entry[]): string => {
  const counts = new Map<string, number>()
  for (const { role, kind } of entries) counts.set(`${role} ${kind}`, (counts.get(`${role} ${kind}`) ?? 0) + 1)
  return table(
    ['as', 'what', '>times', '>amount'],
    [...sumBy(entries, ({ role, kind }) => `${role} ${kind}`)].map(([key, wei]) => {
      const [role, ...kind] = key.split(' ')
      return [role!, kind.join(' '), String(counts.get(key)), signed(wei)]
    }),
  )
}

/** The newest tasks that are shown. */
const SHOWN = 12

function byTask(work: readonly Entry[], gas: readonly Gas[]): string {
  const tasks = [...new Set(work.map((e) => e.taskId))].slice(-SHOWN)
  const of = (taskId: bigint | undefined, kinds: readonly Entry['kind'][]): bigint =>
    total(work.filter((e) => e.taskId === taskId && kinds.includes(e.kind)).map((e) => e.wei))
  const left = new Set(work.map((e) => e.taskId)).size - tasks.length
  return `${table(
    ['>task', 'as', '>prices', '>fees', '>won', '>fines', '>net', '>gas'],
    tasks.map((id) => {
      const own = work.filter((e) => e.taskId === id)
      return [
        id === undefined ? '–' : String(id),
        [...new Set(own.map((e) => e.role))].join(', '),
        money(of(id, ['price'])),
        money(of(id, ['audit fee'])),
        money(of(id, ['jackpot', 'conviction', 'defence'])),
        money(of(id, ['fine'])),
        signed(total(own.map((e) => e.wei))),
        big(total(gas.filter((g) => g.taskId === id).map((g) => g.gas))),
      ]
    }),
  )}${left > 0 ? `\n${dim(`  and ${count(left, 'task')} before`)}` : ''}`
}

const COLUMNS = 60
const ROWS = 8

/** The sum of what was earned, over time, in blocks of eighths. */
export function plot(work: readonly Entry[], times: ReadonlyMap<bigint, number>): string {
  const start = times.get(work[0]!.blockNumber)!
  const end = times.get(work.at(-1)!.blockNumber)!
  const step = Math.max(1, (end - start) / COLUMNS)
  const heights = new Array<number>(COLUMNS).fill(0)
  let sum = 0
  let at = 0
  for (let column = 0; column < COLUMNS; column++) {
    for (; at < work.length && times.get(work[at]!.blockNumber)! <= start + step * (column + 1); at++) sum += Number(work[at]!.wei)
    heights[column] = sum
  }
  const [low, high] = [Math.min(0, ...heights), Math.max(0, ...heights)]
  const span = high - low || 1
  const rows = Array.from({ length: ROWS }, (_, r) => {
    const floor = low + (span * (ROWS - 1 - r)) / ROWS
    const cells = heights.map((h) => ' ▁▂▃▄▅▆▇█'[Math.max(0, Math.min(8, Math.round((8 * (h - floor) * ROWS) / span)))]).join('')
    const label = r === 0 ? money(BigInt(Math.round(high))) : r === ROWS - 1 ? money(BigInt(Math.round(low))) : ''
    return `  ${dim(label.padStart(12))} ${cyan(cells)}`
  })
  const when = (unix: number): string => new Date(1000 * unix).toISOString().slice(5, 16).replace('T', ' ')
  return [...rows, `  ${' '.repeat(13)}${dim(when(start))}${dim(when(end).padStart(COLUMNS - 11))}`].join('\n')
}

function csv(entries: readonly Entry[], times: ReadonlyMap<bigint, number>): string {
  const lines = entries.map((e) =>
    [
      new Date(1000 * times.get(e.blockNumber)!).toISOString(),
      e.blockNumber,
      e.transactionHash,
      e.taskId ?? '',
      e.role,
      e.kind,
      e.wei,
      formatEther(e.wei),
    ].join(','),
  )
  return ['time,block,transaction,task,role,kind,wei,blt', ...lines].join('\n')
}
