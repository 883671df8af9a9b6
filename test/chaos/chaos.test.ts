// The chaos bench in short: five processes, a cheat and a crasher among them, a few tasks, every kind of fault. The long form is `npm run chaos`.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import type { ChaosRun } from './bench.ts'
import { openDice } from './dice.ts'
import { drawPlan, type Shape } from './plan.ts'

const WORDS = '--seed 1 --nodes 5 --tasks 3 --lanes 3 --submitters 1 --every 5 --longest 4'.split(' ')

const dir = mkdtempSync(join(tmpdir(), 'bitloom-chaos-test-'))
let run: ChaosRun
let said = ''
before(async () => {
  const json = join(dir, 'chaos.json')
  const child = spawn(process.execPath, [fileURLToPath(new URL('run.ts', import.meta.url)), ...WORDS, '--json', json], {
    stdio: ['ignore', 'ignore', 'pipe'],
  })
  child.stderr.on('data', (chunk) => {
    said += chunk
  })
  await new Promise((resolve) => child.once('exit', resolve))
  try {
    run = JSON.parse(readFileSync(json, 'utf8')) as ChaosRun
  } catch (error) {
    throw new Error(`the run came to no report:\n${said.slice(-4000)}`, { cause: error })
  }
})
after(() => rmSync(dir, { recursive: true, force: true }))

test('everybody honest is whole, every model is right, every lie was paid for, nothing is stuck', (t) => {
  // on a computer without namespaces it is a smaller one, and says so
  t.diagnostic(said.split('\n')[0]!)
  t.diagnostic(`${run.tasks.seconds} s, ${run.chain.transactions} transactions, ${run.faults.survived} faults`)
  assert.deepEqual(
    run.checks.filter((check) => !check.ok),
    [],
    said.slice(-4000),
  )
  assert.ok(run.checks.length >= 10)
  assert.equal(run.tasks.done, run.tasks.asked)
  assert.ok(run.chain.convictions >= 1, 'the cheat was asked, lied and was convicted')
  assert.equal(run.faults.kinds.crash?.faults, 1, 'the crasher died')
  if (run.wire) assert.ok(run.wire.lost > 0 && run.wire.refused > 0, 'packets were lost, and refused')
})

test('a plan is its seed’s: the same again, another for another', () => {
  const shape: Shape = { nodes: 20, tasks: 50, lanes: 8, submitters: 3, everyMs: 6000, longestMs: 15_000, patience: 1, wired: true }
  const plan = drawPlan(openDice('7'), shape)
  assert.deepEqual(drawPlan(openDice('7'), shape), plan)
  assert.notDeepEqual(drawPlan(openDice('8'), shape), plan)
  const count = (character: string): number => plan.nodes.filter((n) => n.character === character).length
  assert.deepEqual([count('honest'), count('cheat'), count('crasher')], [14, 4, 2])
  assert.equal(plan.tasks.length, 50)
  for (const cheat of plan.nodes.filter((n) => n.character !== 'honest'))
    assert.ok(
      plan.tasks.some((task) => task.solvers[0] === cheat.name),
      `${cheat.name} is never asked first`,
    )
  assert.deepEqual(new Set(plan.faults.map((f) => f.kind)).size, 7)
  const unwired = drawPlan(openDice('7'), { ...shape, wired: false })
  assert.deepEqual([...new Set(unwired.faults.map((f) => f.kind))].sort(), ['chain', 'kill', 'slow'])
})
