// The commands as a person types them, each a process of its own, against a real chain and a real solver on this machine.

import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { createServer } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { fileURLToPath } from 'node:url'
import { readSafetensors } from '@bitloom/model/safetensors'
import { type Embedded, startEmbedded } from '@bitloom/node'
import type { Network } from '@bitloom/sdk'
import { checkNetwork } from './checks.ts'
import { type Command, parseCall, RefusedError, UsageError } from './command.ts'

const MAIN = fileURLToPath(new URL('./main.ts', import.meta.url))
const dir = mkdtempSync(join(tmpdir(), 'bitloom-cli-'))
const mine = join(dir, 'mine')
const other = join(dir, 'other')
const PASSWORD = 'correct horse battery'
let embedded: Embedded

type Ran = { readonly code: number | null; readonly out: string; readonly err: string; readonly lines: () => Record<string, unknown>[] }

/** Runs one command line to its end. */
function run(line: string, env: Record<string, string> = {}): Promise<Ran> {
  const { BITLOOM_PASSWORD: _, BITLOOM_HOME: __, FORCE_COLOR: ___, ...inherited } = process.env
  const child = spawn(process.execPath, [MAIN, ...line.split(' ')], { env: { ...inherited, ...env }, stdio: ['ignore', 'pipe', 'pipe'] })
  const [out, err]: [string[], string[]] = [[], []]
  child.stdout.setEncoding('utf8').on('data', (text: string) => out.push(text))
  child.stderr.setEncoding('utf8').on('data', (text: string) => err.push(text))
  return new Promise((resolve) =>
    child.once('close', (code) =>
      resolve({
        code,
        out: out.join(''),
        err: err.join(''),
        lines: () =>
          out
            .join('')
            .trim()
            .split('\n')
            .map((text) => JSON.parse(text) as Record<string, unknown>),
      }),
    ),
  )
}
/** The error with which a command line ends, in this process. */
async function refusal(line: string): Promise<unknown> {
  const [name, ...rest] = line.split(' ')
  const { command } = (await import(`./commands/${name}.ts`)) as { command: Command }
  return (async () => command.run(parseCall(command, rest)))().then(
    () => assert.fail(`${line} did not fail`),
    (error) => error,
  )
}
const on = (home: string): string => `--home ${home} --network ${embedded.networkFile}`

before(async () => {
  embedded = await startEmbedded({
    dir: join(dir, 'dev'),
    command: [process.execPath, MAIN],
    nodes: [{ name: 'solver-1', args: ['--role', 'solver', '--price', '0.02', '--deposit', '10'] }],
  })
  await embedded.fund(mine)
})
after(async () => {
  await embedded?.stop()
  rmSync(dir, { recursive: true, force: true })
})

test('a wallet is made, shown, funded and exported; only by whoever has the password', async () => {
  const none = await run(`wallet new --home ${other}`)
  assert.equal(none.code, 2)
  assert.match(none.err, /BITLOOM_PASSWORD/)
  assert.equal(existsSync(join(other, 'key.json')), false)
  const made = await run(`wallet new --home ${other}`, { BITLOOM_PASSWORD: PASSWORD })
  assert.equal(made.code, 0, made.err)
  const address = made.out.trim()
  assert.match(address, /^0x[0-9a-fA-F]{40}$/)
  assert.equal(statSync(join(other, 'key.json')).mode & 0o077, 0)
  const [poor, wrong, unasked, exported] = await Promise.all([
    run(`wallet show ${on(other)} --json`),
    run(`wallet export --yes --home ${other}`, { BITLOOM_PASSWORD: 'another one' }),
    refusal(`wallet export --home ${other}`),
    run(`wallet export --yes --home ${other}`, { BITLOOM_PASSWORD: PASSWORD }),
  ])
  assert.match(String(await refusal(`wallet new --home ${other}`)), /never overwritten/)
  assert.deepEqual([poor.lines()[0]!.address, poor.lines()[0]!.etherWei, poor.lines()[0]!.seats], [address, '0', 0])
  assert.notEqual(wrong.code, 0)
  assert.match(wrong.err, /wrong password/)
  assert.match(String(unasked), /RefusedError: Not printed/, 'nobody was there to say yes')
  assert.equal(wrong.out, '')
  assert.match(exported.out, /^0x[0-9a-f]{64}\n$/)
  const funded = await run(`wallet fund ${on(other)} --tokens 12.5 --ether 1`)
  assert.equal(funded.code, 0, funded.err)
  const [holdings] = (await run(`wallet show ${on(other)} --json`)).lines()
  assert.deepEqual([holdings!.etherWei, holdings!.tokensWei, holdings!.freeWei], [`${10n ** 18n}`, `${125n * 10n ** 17n}`, '0'])
})

test('test money is for development chains', async () => {
  const public_ = join(dir, 'public.json')
  writeFileSync(public_, JSON.stringify({ ...embedded.network, chainId: 8453 }))
  assert.match(String(await refusal(`wallet fund --home ${mine} --network ${public_}`)), /Chain 8453 is no development chain/)
})

test('offers are heard and quoted, with and without a network', async () => {
  const [offers, quote, assumed] = await Promise.all([
    run(`offers ${on(mine)} --wait 10 --json`),
    run(`quote mnist ${on(mine)} --wait 10 --slices 2 --json`),
    run(`quote mnist --price 0.02 --slices 2 --json --home ${join(dir, 'nowhere')}`),
  ])
  const solver = embedded.nodes[0]!.address
  const [listed] = offers.lines() as { offer: { solver: string; weiPerTeraop: string }; record: { accepted: number } }[]
  assert.equal(offers.lines().length, 1)
  assert.deepEqual([listed!.offer.solver, listed!.offer.weiPerTeraop, listed!.record.accepted], [solver, `${2n * 10n ** 16n}`, 0])
  type Level = { assurance: string; solver: string; expectedWei: string; escrowWei: string; catchChance: number; bondWei: string }
  const levels = (r: Ran): Level[] => r.lines()[0]!.assurance as Level[]
  assert.deepEqual(
    levels(quote).map(({ assurance, expectedWei, escrowWei, catchChance, bondWei }) => ({
      assurance,
      expectedWei,
      escrowWei,
      catchChance,
      bondWei,
    })),
    levels(assumed).map(({ assurance, expectedWei, escrowWei, catchChance, bondWei }) => ({
      assurance,
      expectedWei,
      escrowWei,
      catchChance,
      bondWei,
    })),
    'the same price costs the same',
  )
  const [no, spot, full] = levels(quote)
  assert.equal(no!.solver, solver)
  assert.deepEqual([no!.catchChance, full!.catchChance], [0, 1])
  assert.ok(BigInt(no!.expectedWei) < BigInt(spot!.expectedWei) && BigInt(spot!.escrowWei) === BigInt(full!.escrowWei))
  assert.match(String(await refusal(`offers ${on(mine)} --sort luck`)), /price, speed, record/)
})

test('a task is trained, listed, shown, told, fetched; it cannot be cancelled any more', async () => {
  const out = join(dir, 'out')
  const trained = await run(`train mnist ${on(mine)} --slices 1 --assurance none --yes --out ${out} --wait 20`, {
    BITLOOM_PASSWORD: embedded.password,
  })
  assert.equal(trained.code, 0, trained.err)
  const root = /root (0x[0-9a-f]{64})/.exec(trained.out)![1]
  const [list, shown, watched, fetched, raw] = await Promise.all([
    run(`task list ${on(mine)} --json`),
    run(`task show 1 ${on(mine)} --json`),
    run(`task watch 1 ${on(mine)}`),
    run(`task fetch 1 ${on(mine)} --out ${join(dir, 'fetched')} --wait 20`),
    run(`task fetch 1 ${on(mine)} --raw --out ${join(dir, 'raw')} --wait 20 --json`),
  ])
  assert.deepEqual([list.lines()[0]!.status, list.lines()[0]!.accepted, list.lines()[0]!.state], ['done', 1, root])
  assert.deepEqual([(shown.lines()[0]!.claims as unknown[]).length, shown.lines()[0]!.escrowWei], [1, '0'])
  assert.equal(watched.code, 0, 'watching a finished task ends')
  for (const word of ['submitted', 'offered', 'confirmed', 'claimed by', 'accepted', 'finished'])
    assert.match(watched.out, new RegExp(word))
  assert.equal(fetched.code, 0, fetched.err)
  assert.deepEqual(
    readFileSync(join(dir, 'fetched', 'model.safetensors')),
    readFileSync(join(out, 'model.safetensors')),
    'the same bytes as its submitter got',
  )
  assert.equal(raw.code, 0, raw.err)
  const tensors = readSafetensors(readFileSync(join(dir, 'raw', 'state.safetensors')))
  assert.ok(tensors.has('fc1.weight') && tensors.has('loss') && tensors.has('step'))
  assert.match(String(await refusal(`task cancel 1 ${on(mine)}`)), /RefusedError: Task 1 is done already/)
  assert.match(String(await refusal(`task show 2 ${on(mine)}`)), /no task 2.*\n.*task list/)
  assert.match(String(await refusal(`dispute show 0 ${on(mine)}`)), /no dispute 0/)
})

test('the doctor finds all well here, and says what is wrong elsewhere', async () => {
  const holder = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => holder.once('listening', resolve))
  const { port } = holder.address() as { port: number }
  const [well, taken] = await Promise.all([
    run(`doctor ${on(mine)} --wait 20 --json`),
    run(`doctor --home ${join(dir, 'empty')} --port ${port}`),
  ])
  holder.close()
  assert.deepEqual(
    well.lines().filter(({ status }) => status === 'fail'),
    [],
    well.err,
  )
  assert.equal(well.code, 0)
  assert.match(String(well.lines().find(({ check }) => check === 'peers')?.detail), /1 offers heard/)
  assert.equal(taken.code, 1)
  assert.match(taken.out, /fail {2}port/)
  const { network } = embedded
  const failing = async (changed: Partial<Network>): Promise<string> => {
    const found: string[] = []
    for await (const one of checkNetwork({ ...network, bootstrap: [], ...changed }, mine, 100))
      if (one.status === 'fail') found.push(`${one.check}: ${one.detail} ${one.todo}`)
    return found.join('\n')
  }
  assert.match(await failing({ rpcUrl: 'http://127.0.0.1:1' }), /^chain: .*does not answer/)
  assert.match(await failing({ chainId: 1 }), /^chain: .*serves chain 31337/)
  const { Market, Audit } = network.contracts
  assert.match(await failing({ contracts: { ...network.contracts, Market: Audit, Audit: Market } }), /^contracts: .*Market has \d+ bytes/)
  assert.match(await failing({ contracts: { ...network.contracts, Arbiter: `0x${'12'.repeat(20)}` } }), /^contracts: Arbiter is not there/)
})

test('mistakes on the command line end with status 2 and a way on; a missing chain with 4', async () => {
  const gone = join(dir, 'gone2.json')
  writeFileSync(gone, JSON.stringify({ ...embedded.network, rpcUrl: 'http://127.0.0.1:1' }))
  const usage: [string, RegExp][] = [
    ['task', /task list/],
    [`offers twice ${on(mine)}`, /one word too many/],
    [`task show one ${on(mine)}`, /bitloom task show 1/],
    [`dispute show ${on(mine)}`, /bitloom dispute show 0/],
    ['wallet show --colour', /bitloom wallet --help/],
    ['wallet show 0x12', /no address/],
    ['graph print nothing', /mnist/],
    ['quote mnist --price dear', /such as 100/],
    ['doctor --port 99999', /65535/],
  ]
  for (const [line, way] of usage) {
    const error = await refusal(line)
    assert.ok(error instanceof UsageError, `${line}: ${error}`)
    assert.match(error.message, way)
  }
  const none = await refusal(`offers --home ${join(dir, 'empty')}`)
  assert.ok(none instanceof RefusedError && /bitloom dev/.test(none.message))
  const [bad, chain] = await Promise.all([run('wallet show --colour'), run(`offers --home ${mine} --network ${gone}`)])
  assert.deepEqual([bad.code, chain.code], [2, 4])
  for (const { out, err } of [bad, chain]) {
    assert.equal(out, '')
    assert.doesNotMatch(err, /\n\s+at /, 'no stack')
  }
})
