// What a home and a chain outlive: a backup restored elsewhere goes on with the task; a chain that is killed under everybody comes back, and so does the work.

import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { cpSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { DatabaseSync } from 'node:sqlite'
import { after, before, test } from 'node:test'
import { openStore } from '@bitloom/node'
import { type House, localRoot, MAIN, type Submitter, solver, startHouse, until, verifier } from './network.ts'

const QUICK = ['--backend', 'wasm', '--threads', '1']
let house: House
let submitter: Submitter
before(async () => {
  house = await startHouse([
    solver('alpha', '80', QUICK),
    ...['one', 'two'].map((name) => ({ name, args: [...verifier(name).args, ...QUICK] })),
  ])
  submitter = await house.submitter()
})
after(() => house?.stop())

/** Runs the command line in a process of its own. */
function bitloom(...args: string[]): { readonly status: number | null; readonly out: string; readonly err: string } {
  const { status, stdout, stderr } = spawnSync(process.execPath, [MAIN, ...args], { encoding: 'utf8' })
  return { status, out: stdout, err: stderr }
}

test('a solver’s home, backed up while it trains, goes on with the task in another folder, and in the same root', async () => {
  const run = await submitter.submit({ steps: 400, segments: 4, slices: 3, solvers: ['alpha'] })
  const taskId = await run.taskId
  await house.event('Claimed', (a) => a.taskId === taskId && Number(a.slice) === 0)
  const file = join(house.dir, 'alpha.backup')
  const made = bitloom('backup', '--home', house.node('alpha').dir, '--out', file, '--json')
  assert.equal(made.status, 0, made.err)
  assert.ok((JSON.parse(made.out) as { blobs: number }).blobs > 3)
  const again = bitloom('backup', '--home', house.node('alpha').dir, '--out', file)
  assert.deepEqual([again.status, /never written over/.test(again.err)], [1, true])
  await house.kill('alpha')

  const elsewhere = join(house.dir, 'alpha-elsewhere')
  const restored = bitloom('restore', file, '--home', elsewhere, '--json')
  assert.equal(restored.status, 0, restored.err)
  const store = openStore(join(elsewhere, 'node', 'node.sqlite'))
  assert.ok(store.count('segments') >= 4, `${store.count('segments')} segments came along`)
  store.close()
  const node = await house.start(solver('alpha-elsewhere', '80', QUICK))
  assert.equal(node.address.toLowerCase(), house.embedded.nodes.find(({ name }) => name === 'alpha')!.address.toLowerCase())
  const outcome = await run.outcome
  assert.equal(outcome.stateRoot, await localRoot(run.job))
  assert.equal(outcome.solvers.length, 1, 'nobody had to take over')
  const claims = house.events.filter((e) => e.name === 'Claimed' && e.args.taskId === taskId).map((e) => Number(e.args.slice))
  assert.deepEqual(claims, [0, 1, 2])
  assert.equal(house.events.filter((e) => /Slashed/.test(e.name)).length, 0)
  assert.equal(await house.missingWei(), 0n)
})

test('a home whose store is damaged says so, and one with a newer store is left alone', async () => {
  const home = join(house.dir, 'one-broken')
  await house.kill('one')
  cpSync(house.node('one').dir, home, { recursive: true })
  const path = join(home, 'node', 'node.sqlite')
  await until('the lock to be free', () => {
    openStore(path).close()
    return true
  })
  const db = new DatabaseSync(path)
  db.exec('PRAGMA user_version = 99')
  db.close()
  process.env.BITLOOM_PASSWORD = house.embedded.password
  const start = (): ReturnType<typeof bitloom> =>
    bitloom('node', 'start', '--home', home, '--network', house.embedded.networkFile, '--role', 'verifier', ...QUICK)
  const newer = start()
  assert.deepEqual([newer.status, /written by a newer Bitloom/.test(newer.err)], [1, true], newer.err)
  const back = new DatabaseSync(path)
  back.exec('PRAGMA user_version = 2; PRAGMA wal_checkpoint(TRUNCATE)')
  back.close()
  const bytes = readFileSync(path)
  bytes.fill(0x5a, 4096)
  writeFileSync(path, bytes)
  const broken = start()
  assert.deepEqual([broken.status, /damaged or is not a Bitloom store/.test(broken.err)], [1, true], broken.err)
  delete process.env.BITLOOM_PASSWORD
})
