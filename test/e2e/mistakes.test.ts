// What people get wrong: each mistake ends at once, with a sentence that says what to do, the right exit code, and nothing lost.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { createKey, keyAddress } from '@bitloom/node'
import { freeOf, type Network, tokensOf } from '@bitloom/sdk'
import { type House, MAIN, solver, startHouse } from './network.ts'

let house: House
/** A funded home, and one with a key and nothing else. */
let rich: string
let poor: string
before(async () => {
  house = await startHouse([solver('only', '100')])
  rich = join(house.dir, 'rich')
  poor = join(house.dir, 'poor')
  await house.embedded.fund(rich)
  mkdirSync(poor)
  createKey(join(poor, 'key.json'), house.embedded.password, { cost: 2 ** 10 })
})
after(() => house.stop())

type Ended = { readonly status: number | null; readonly out: string; readonly words: string }

function bitloom(args: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ended> {
  const child = spawn(process.execPath, [MAIN, ...args], {
    stdio: ['ignore', 'pipe', 'pipe'],
    env: { ...process.env, BITLOOM_PASSWORD: house.embedded.password, NO_COLOR: '1', ...env },
  })
  let [out, words] = ['', '']
  child.stdout.on('data', (chunk) => (out += chunk))
  child.stderr.on('data', (chunk) => (words += chunk))
  return new Promise((resolve) => child.once('close', (status) => resolve({ status, out, words })))
}

/** A network file that differs from the true one. */
function networkFile(name: string, change: Partial<Network>): string {
  const path = join(house.dir, `${name}.json`)
  writeFileSync(path, JSON.stringify({ ...house.embedded.network, ...change }))
  return path
}

const train = (home: string, ...more: string[]): string[] => [
  ...['train', 'mnist', '--slices', '1', '--yes', '--home', home, '--out', join(house.dir, 'out')],
  ...(more.includes('--network') ? more : [...more, '--network', house.embedded.networkFile]),
]
const startArgs = (home: string, ...more: string[]): string[] => [
  ...['node', 'start', '--json', '--home', home],
  ...(more.includes('--network') ? more : [...more, '--network', house.embedded.networkFile]),
]

type Mistake = {
  readonly args: () => readonly string[]
  readonly env?: Readonly<Record<string, string>>
  readonly status: number
  readonly says: RegExp
}

const MISTAKES: Readonly<Record<string, Mistake>> = {
  'the chain is another one': {
    args: () => startArgs(rich, '--network', networkFile('other-chain', { chainId: 1 })),
    ...{ status: 4, says: /serves chain 31337; this network is on chain 1\.\n.*rpcUrl/ },
  },
  'the chain is down': {
    args: () => train(rich, '--network', networkFile('down', { rpcUrl: 'http://127.0.0.1:9' })),
    ...{ status: 4, says: /the chain does not answer.*\nIs it running\?/s },
  },
  'the network file is damaged': {
    args: () => {
      const path = join(house.dir, 'damaged.json')
      writeFileSync(path, '{"chainId": 31337, "rpcUrl"')
      return train(rich, '--network', path)
    },
    ...{ status: 3, says: /damaged\.json is damaged .*\n.*bitloom dev/ },
  },
  'there is no network': {
    args: () => train(rich, '--network', join(house.dir, 'none.json')),
    ...{ status: 3, says: /There is no network here .*\n.*bitloom dev/ },
  },
  'a node without funds for its stake': {
    args: () => startArgs(poor, '--role', 'verifier'),
    ...{ status: 3, says: /This node needs 100 BLT in its stake; it has 0 BLT there and 0 BLT in its wallet\.\n.*wallet fund/ },
  },
  'a submitter without funds': {
    args: () => train(poor),
    ...{ status: 3, says: /The escrow is .* BLT; 0x\w+ has 0 BLT\.\n.*wallet fund/ },
  },
  'nobody offers': {
    args: () => train(rich, '--wait', '1', '--network', networkFile('lonely', { bootstrap: [] })),
    ...{ status: 3, says: /No provider offers to train this\.\n.*node start/ },
  },
  'the budget does not reach': {
    args: () => train(rich, '--budget', '0.0001'),
    ...{ status: 3, says: /This may cost .* BLT; the budget is 0\.0001 BLT\.\nRaise --budget/ },
  },
  'the budget is no amount': { args: () => train(rich, '--budget', 'five'), ...{ status: 2, says: /--budget five: give an amount/ } },
  'there is no key': { args: () => train(house.dir), ...{ status: 3, says: /There is no key here .*\n.*wallet new/ } },
  'the password is wrong': {
    args: () => train(rich),
    env: { BITLOOM_PASSWORD: 'not this one' },
    ...{ status: 1, says: /wrong password for .*key\.json\.\nGive the right one/ },
  },
  'there is no such recipe': { args: () => ['train', 'dreams'], ...{ status: 2, says: /There is no recipe "dreams"/ } },
  'there is no such role': {
    args: () => startArgs(rich, '--role', 'king'),
    ...{ status: 2, says: /--role king: roles are solver, verifier, whistleblower/ },
  },
}

test('every mistake ends with its sentence and its exit code, and costs nothing', async (t) => {
  const { bitloom: chain } = house
  const account = keyAddress(join(rich, 'key.json'))!
  const wealth = async (): Promise<bigint> => (await freeOf(chain, account)) + (await tokensOf(chain, account))
  const before = await wealth()
  const key = readFileSync(join(rich, 'key.json'), 'utf8')
  const names = Object.keys(MISTAKES)
  const results = new Map<string, Ended>()
  // two at a time: each is a process that starts, looks and gives up
  await Promise.all(
    [0, 1].map(async () => {
      for (let name = names.shift(); name !== undefined; name = names.shift()) {
        const { args, env } = MISTAKES[name]!
        results.set(name, await bitloom(args(), env))
      }
    }),
  )
  for (const [name, { status, says }] of Object.entries(MISTAKES))
    await t.test(name, () => {
      const ended = results.get(name)!
      assert.match(ended.words, says)
      assert.equal(ended.status, status, ended.words)
      assert.doesNotMatch(ended.words, /\n\s+at /, 'no stack trace')
    })
  await t.test('and nothing is lost', async () => {
    assert.equal(await wealth(), before)
    assert.equal(readFileSync(join(rich, 'key.json'), 'utf8'), key)
    assert.equal(house.events.filter((e) => e.name === 'Submitted').length, 0)
    assert.equal(await house.missingWei(), 0n)
    assert.deepEqual(house.casualties(), [])
  })
})

test('a port that somebody else has', async () => {
  const holder = createServer()
  await new Promise<void>((resolve) => holder.listen(0, '127.0.0.1', resolve))
  const { port } = holder.address() as { port: number }
  try {
    const [node, chain] = await Promise.all([
      bitloom(startArgs(rich, '--role', 'solver', '--port', String(port))),
      bitloom(['dev', '--home', join(house.dir, 'dev'), '--port', String(port)]),
    ])
    for (const { status, words } of [node, chain]) {
      assert.match(words, new RegExp(`port ${port} is taken by another program; choose another with --port`))
      assert.ok(status === 1 || status === 3, `status ${status}`)
      assert.doesNotMatch(words, /\n\s+at /)
    }
  } finally {
    holder.close()
  }
})

test('two nodes in one home: the second says so, the first goes on', async () => {
  const home = house.node('only').dir
  const { status, words } = await bitloom(startArgs(home))
  assert.match(words, /in use by another Bitloom process\.\nStop that one, or use another data folder\./)
  assert.notEqual(status, 0)
  assert.deepEqual(house.casualties(), [])
})
