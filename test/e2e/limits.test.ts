// Limits of a submitter that hold whatever happens: the process is killed and started again, solvers fall, money or time runs out. Whole processes, as a person starts them.

import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, test } from 'node:test'
import { committedWei, entriesOf, keyAddress } from '@bitloom/node'
import { type ChainEvent, freeOf, getTask, lockedOf, tokensOf } from '@bitloom/sdk'
import { parseEther } from 'viem'
import { type House, MAIN, solver, startHouse, until, verifier } from './network.ts'

const LIGHT = ['--backend', 'wasm', '--threads', '1']
const START_WEI = parseEther('100000')

let house: House
before(async () => {
  // a verifier first: the first node is the one by which the others find the network
  house = await startHouse([
    { name: 'anchor', args: [...verifier('anchor').args, ...LIGHT] },
    solver('cheap', '100', LIGHT),
    solver('dear', '400', LIGHT),
  ])
})
after(() => house.stop())

type Line = { readonly type: string; readonly [key: string]: unknown }
type Running = {
  readonly child: ChildProcess
  readonly lines: Line[]
  readonly words: () => string
  readonly exited: Promise<number | null>
}

/** `bitloom train mnist` in a process of its own; a slice takes a second or two. */
function train(home: string, ...more: string[]): Running {
  const args = [
    'train',
    'mnist',
    '--home',
    home,
    '--network',
    house.embedded.networkFile,
    '--out',
    join(home, 'out'),
    '--assurance',
    'none',
  ]
  const child = spawn(process.execPath, [MAIN, ...args, '--slices', '4', '--yes', '--json', ...more], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, BITLOOM_PASSWORD: house.embedded.password, NO_COLOR: '1' },
  })
  const lines: Line[] = []
  let words = ''
  createInterface({ input: child.stdout }).on('line', (text) => lines.push(JSON.parse(text) as Line))
  child.stderr.on('data', (chunk) => (words += chunk))
  return { child, lines, words: () => words, exited: new Promise((resolve) => child.once('close', resolve)) }
}
const heard = (run: Running, type: string): Promise<Line> => until(`"${type}" from train`, () => run.lines.find((l) => l.type === type))
const homeOf = async (name: string): Promise<string> => {
  const home = join(house.dir, name)
  await house.embedded.fund(home)
  return home
}
const eventsOf = (taskId: bigint): ChainEvent[] => house.events.filter((e) => e.contract === 'Market' && e.args.taskId === taskId)
const runsIn = (home: string): string[] => (existsSync(join(home, 'runs')) ? readdirSync(join(home, 'runs')) : [])

test('a submitter that is killed goes on with the same task under the same limits: the same command, nothing paid twice', async () => {
  const home = await homeOf('killed')
  const first = train(home, '--budget', '400')
  const { taskId: id } = await heard(first, 'submitted')
  const taskId = BigInt(String(id))
  await heard(first, 'accepted-state')
  first.child.kill('SIGKILL')
  await first.exited
  assert.equal(runsIn(home).length, 1, 'its run is on disk')

  const second = train(home, '--budget', '400')
  assert.equal((await heard(second, 'resumed')).taskId, String(taskId))
  assert.equal(await second.exited, 0, second.words())
  const result = second.lines.find((l) => l.type === 'result')!
  assert.equal(result.root, (await getTask(house.bitloom, taskId)).state)
  assert.equal(house.events.filter((e) => e.name === 'Submitted').length, 1, 'one task')
  assert.deepEqual(runsIn(home), [], 'a run that is over leaves nothing')
  const spent = committedWei(eventsOf(taskId), taskId)
  const me = keyAddress(join(home, 'key.json'))!
  assert.equal(START_WEI - (await tokensOf(house.bitloom, me)) - (await freeOf(house.bitloom, me)), spent, 'to the wei')

  const alone = spawn(process.execPath, [
    MAIN,
    'train',
    'mnist',
    '--local',
    '--slices',
    '4',
    '--json',
    '--quiet',
    '--out',
    join(home, 'alone'),
  ])
  let out = ''
  alone.stdout.on('data', (chunk) => (out += chunk))
  await new Promise((resolve) => alone.once('close', resolve))
  assert.ok(out.includes(String(result.root)), 'the undisturbed run’s root')
})

test('what a budget has left decides who is asked next: the dear one is not, and what was not earned comes back', async () => {
  const home = await homeOf('frugal')
  // slices that take some seconds: the second must not be claimed yet when the first is accepted, or its state goes with the solver that is killed
  const run = train(home, '--steps', '20480', '--patience', '1s', '--budget', '80', '--max-price', '500', '--offers', '2')
  const { taskId: id, escrowWei } = await heard(run, 'submitted')
  const taskId = BigInt(String(id))
  await heard(run, 'accepted-state')
  await house.kill('cheap')
  const { deadline } = await until('the next slice due', async () => {
    const task = await getTask(house.bitloom, taskId)
    return task.status === 'running' && task.openClaim === 0n && task
  })
  const left = deadline - Number((await house.bitloom.chain.getBlock()).timestamp)
  await house.pass(left + 2)
  assert.equal(await run.exited, 1)
  assert.match(
    run.words(),
    /No offer is left for this task within its limits: for 0x\w+ it needs an escrow of \d+ wei, \d+ wei are spent, and the budget is 80000000000000000000 wei/,
  )
  assert.equal((await getTask(house.bitloom, taskId)).status, 'cancelled')
  await house.event('Cancelled', (a) => a.taskId === taskId)
  let held = 0n
  for (const { name, args } of eventsOf(taskId)) {
    if (name === 'Offered') held += args.escrowWei as bigint
    if (name === 'Halted' || name === 'Finished' || name === 'Cancelled') held -= args.refundWei as bigint
    assert.ok(held <= parseEther('80'), `${name}: ${held}`)
  }
  assert.ok(held > 0n && held < BigInt(String(escrowWei)), 'the slices that were accepted are paid, no more')
  assert.deepEqual(runsIn(home), [])
})

test('a deadline that nobody can make costs nothing, and one that can be made is kept', async () => {
  const home = await homeOf('hurried')
  const hopeless = train(home, '--deadline', '3s')
  assert.equal(await hopeless.exited, 3)
  assert.match(hopeless.words(), /This takes about .* with the fastest offer; the deadline is in 3 s\.\nAllow more time/)
  assert.deepEqual(runsIn(home), [])
  const before = Number((await house.bitloom.chain.getBlock()).timestamp)
  const run = train(home, '--deadline', '10m')
  assert.equal(await run.exited, 0, run.words())
  assert.ok(Number((await house.bitloom.chain.getBlock()).timestamp) <= before + 600)
})

test('everybody’s entries in the books add up to what they own', async () => {
  for (const name of ['cheap', 'dear', 'killed', 'frugal', 'hurried']) {
    const who = keyAddress(join(name in { cheap: 1, dear: 1 } ? house.node(name).dir : join(house.dir, name), 'key.json'))!
    const booked = entriesOf(house.events, who).reduce((sum, { wei }) => sum + wei, 0n)
    const [free, locked, tokens] = await Promise.all([
      freeOf(house.bitloom, who),
      lockedOf(house.bitloom, who),
      tokensOf(house.bitloom, who),
    ])
    assert.equal(free + locked + tokens - START_WEI, booked, name)
  }
  assert.equal(await house.missingWei(), 0n)
})
