// RPC endpoints that fail in every way that we know of: reads go on, nothing goes back in silence, and no action is paid for twice.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { CHAIN_ID, type Chain, rpc, startChain } from '@bitloom/node/chain'
import { openStore } from '@bitloom/node/store'
import {
  type Bitloom,
  type ConnectOptions,
  connect,
  deploy,
  deposit,
  type EndpointEvent,
  freeOf,
  type Intent,
  type Journal,
  mint,
  type Network,
  NoGasError,
  PendingError,
  type Place,
  RevertError,
  RpcDownError,
  readOn,
  tokensOf,
  WrongChainError,
  withdraw,
} from '@bitloom/sdk'
import { type Address, type Hex, type LocalAccount, parseEther } from 'viem'
import { generatePrivateKey, mnemonicToAccount, privateKeyToAccount } from 'viem/accounts'
import { until } from './network.ts'
import { type Mood, type RpcProxy, startRpcProxy } from './rpcproxy.ts'

const BLT = 10n ** 18n
const dir = mkdtempSync(join(tmpdir(), 'bitloom-rpc-'))
let chain: Chain
let network: Network
let deployer: LocalAccount
let direct: Bitloom
const proxies: RpcProxy[] = []
before(async () => {
  chain = await startChain({ dir })
  deployer = mnemonicToAccount(chain.mnemonic)
  network = await deploy(chain.rpcUrl, CHAIN_ID, deployer)
  direct = await connect(network, deployer)
  for (let i = 0; i < 3; i++) proxies.push(await startRpcProxy(chain.rpcUrl))
})
after(async () => {
  for (const proxy of proxies) await proxy.stop()
  await chain.stop()
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
})

/** Somebody with ether and tokens. */
async function person(): Promise<LocalAccount> {
  const account = privateKeyToAccount(generatePrivateKey())
  await rpc(chain.rpcUrl, 'anvil_setBalance', [account.address, `0x${parseEther('10').toString(16)}`])
  await mint(direct, account.address, 1000n * BLT)
  return account
}
const well = (): void => {
  for (const proxy of proxies) proxy.be('well')
}
const through = (account: LocalAccount | undefined, urls: readonly string[], options: ConnectOptions = {}): Promise<Bitloom> =>
  connect({ ...network, rpcUrl: urls[0]!, rpcUrls: urls.slice(1) }, account, { timeoutMs: 400, ...options })

type Paid = { readonly hash: Hex; readonly ok: boolean; readonly input: Hex }
/** Every transaction of an account that any block holds: what its gas was spent on. */
async function paidBy(address: Address): Promise<Paid[]> {
  const paid: Paid[] = []
  const head = await direct.chain.getBlockNumber({ cacheTime: 0 })
  for (let n = BigInt(network.fromBlock); n <= head; n++) {
    const { transactions } = await direct.chain.getBlock({ blockNumber: n, includeTransactions: true })
    for (const { from, hash, input } of transactions)
      if (from.toLowerCase() === address.toLowerCase())
        paid.push({ hash, input, ok: (await direct.chain.getTransactionReceipt({ hash })).status === 'success' })
  }
  return paid
}

for (const mood of ['stall', 'deaf', 'refuse', 'error', 'garbage', 'nonsense', 'huge'] as const satisfies readonly Mood[])
  test(`reads and sends go on where the endpoint in use begins to ${mood}`, async (t) => {
    t.after(well)
    const [a, b] = proxies as [RpcProxy, RpcProxy]
    const me = await person()
    const events: EndpointEvent[] = []
    const bitloom = await through(me, [a.url, b.url], { onEvent: (event) => void events.push(event) })
    await deposit(bitloom, 10n * BLT)
    const poured = a.poured()
    a.be(mood)
    assert.equal(await freeOf(bitloom, me.address), 10n * BLT)
    await withdraw(bitloom, BLT)
    assert.equal(await freeOf(bitloom, me.address), 9n * BLT)
    assert.deepEqual(
      events.map(({ kind }) => kind).filter((kind) => kind === 'switched'),
      ['switched'],
      JSON.stringify(events),
    )
    assert.equal(bitloom.endpoints().find(({ inUse }) => inUse)?.endpoint, new URL(b.url).origin)
    if (mood === 'huge') assert.ok(a.poured() - poured < 200 << 20, `${(a.poured() - poured) >> 20} MB were taken`)
    const paid = await paidBy(me.address)
    assert.deepEqual(
      paid.map(({ ok }) => ok),
      [true, true],
      'one transaction an action',
    )
  })

test('an answer that is lost after the transaction was sent: it is found by its hash, and sent once', async (t) => {
  t.after(well)
  const [a, b] = proxies as [RpcProxy, RpcProxy]
  const me = await person()
  const bitloom = await through(me, [a.url, b.url])
  await deposit(bitloom, 10n * BLT)
  a.be('lose', { methods: ['eth_sendRawTransaction'], times: 1 })
  await withdraw(bitloom, BLT)
  // and with one endpoint alone, which loses every answer to every broadcast
  const alone = await through(me, [b.url])
  b.be('lose', { methods: ['eth_sendRawTransaction'] })
  await withdraw(alone, 2n * BLT)
  assert.equal(await freeOf(direct, me.address), 7n * BLT)
  assert.deepEqual(
    (await paidBy(me.address)).map(({ ok }) => ok),
    [true, true, true],
  )
})

test('a process that dies between any two steps of sending finds its transaction again: paid once', async (t) => {
  t.after(well)
  const [a] = proxies as [RpcProxy]
  const me = await person()
  await deposit(await through(me, [a.url]), 100n * BLT)
  const path = join(dir, 'outbox.sqlite')
  const withStore = async <T>(work: (journal: Journal) => Promise<T>): Promise<T> => {
    const store = openStore(path)
    try {
      return await work({
        load: () => store.get<Intent>('outbox', 'intent'),
        save: (intent) => void (intent ? store.put('outbox', 'intent', intent) : store.delete('outbox', 'intent')),
      })
    } finally {
      store.close()
    }
  }
  // written down, and killed before it leaves: the broadcast never reaches the chain
  a.be('deaf', { methods: ['eth_sendRawTransaction'] })
  await withStore((journal) =>
    assert.rejects(
      through(me, [a.url], { journal, giveUpMs: 1500, stuckMs: 60_000 }).then((b) => withdraw(b, BLT)),
      PendingError,
    ),
  )
  a.be('well')
  await withStore(async (journal) => {
    const bitloom = await through(me, [a.url], { journal })
    assert.equal(await bitloom.resume(), 'pending')
    await withdraw(bitloom, BLT)
    assert.equal(journal.load(), undefined)
  })
  // sent, and killed before anybody heard of it: all answers about it are lost
  a.be('lose', { methods: ['eth_sendRawTransaction', 'eth_getTransactionReceipt'] })
  await withStore((journal) =>
    assert.rejects(
      through(me, [a.url], { journal }).then((b) => withdraw(b, 2n * BLT)),
      RpcDownError,
    ),
  )
  a.be('well')
  await withStore(async (journal) => {
    const bitloom = await through(me, [a.url], { journal })
    assert.ok(journal.load())
    await withdraw(bitloom, 2n * BLT) // asked for again, since its caller never heard of it
    assert.equal(journal.load(), undefined)
  })
  assert.equal(await freeOf(direct, me.address), 97n * BLT)
  assert.deepEqual(
    (await paidBy(me.address)).map(({ ok }) => ok),
    [true, true, true],
  )
})

test('a transaction that is stuck is offered again at a higher fee, and overtaken by another action, with one nonce each time', async (t) => {
  const me = await person()
  const [a] = proxies as [RpcProxy]
  t.after(async () => {
    well()
    await rpc(chain.rpcUrl, 'evm_setAutomine', [true])
    await rpc(chain.rpcUrl, 'evm_setIntervalMining', [1])
  })
  const journal: { kept?: Intent } = {}
  const bitloom = await through(me, [a.url], {
    ...{ stuckMs: 300, giveUpMs: 1500 },
    journal: {
      load: () => journal.kept,
      save: (intent) => {
        if (intent) journal.kept = intent
        else delete journal.kept
      },
    },
  })
  await deposit(bitloom, 10n * BLT)
  await rpc(chain.rpcUrl, 'evm_setAutomine', [false])
  await rpc(chain.rpcUrl, 'evm_setIntervalMining', [0])
  await assert.rejects(withdraw(bitloom, BLT), PendingError)
  const stuck = journal.kept!
  assert.ok(stuck.raws.length >= 2, `${stuck.raws.length} forms`)
  // something more urgent takes the nonce over
  await assert.rejects(withdraw(bitloom, 2n * BLT), PendingError)
  assert.equal(journal.kept!.nonce, stuck.nonce)
  assert.ok(journal.kept!.fees.most > stuck.fees.most)
  await rpc(chain.rpcUrl, 'evm_mine')
  await withdraw(bitloom, 2n * BLT) // its own receipt
  assert.equal(await freeOf(direct, me.address), 8n * BLT)
  await rpc(chain.rpcUrl, 'evm_setAutomine', [true])
  await withdraw(bitloom, BLT)
  assert.equal(await freeOf(direct, me.address), 7n * BLT)
  assert.deepEqual(
    (await paidBy(me.address)).map(({ ok }) => ok),
    [true, true, true],
  )
})

test('an endpoint that stands still is left for one that goes on; where all stand still nothing is read backwards', async (t) => {
  t.after(well)
  const [a, b] = proxies as [RpcProxy, RpcProxy]
  const events: EndpointEvent[] = []
  const bitloom = await through(undefined, [a.url, b.url], { onEvent: (event) => void events.push(event), patienceMs: 1500 })
  let place: Place = (await readOn(bitloom, { next: BigInt(network.fromBlock) })).place
  a.be('stale')
  await rpc(chain.rpcUrl, 'anvil_mine', ['0x5'])
  await until('the endpoint that goes on', async () => {
    const on = await readOn(bitloom, place)
    assert.equal(on.rewoundTo, undefined)
    assert.ok(on.place.next >= place.next)
    place = on.place
    return bitloom.endpoints().some((one) => one.inUse && one.endpoint === new URL(b.url).origin)
  })
  assert.ok(events.some(({ kind, endpoint }) => kind === 'behind' && endpoint === new URL(a.url).origin))
  // b dies, and a is far behind: silence first, and then a chain that has gone back, which is said
  await rpc(chain.rpcUrl, 'anvil_mine', ['0x5'])
  place = (await readOn(bitloom, place)).place
  b.be('deaf')
  await assert.rejects(readOn(bitloom, place), RpcDownError)
  const back = await until('a chain that has gone back', () =>
    readOn(bitloom, place).catch((error) => {
      assert.ok(error instanceof RpcDownError)
      return undefined
    }),
  )
  assert.ok(back.rewoundTo !== undefined)
})

test('an endpoint of another chain, or without the contracts, is never used; where none is right that is said', async (t) => {
  t.after(() => {
    well()
    proxies[0]!.pose(CHAIN_ID)
  })
  const [a, b] = proxies as [RpcProxy, RpcProxy]
  a.pose(5)
  const bitloom = await through(undefined, [a.url, b.url])
  assert.equal(bitloom.endpoints().find(({ inUse }) => inUse)?.endpoint, new URL(b.url).origin)
  await assert.rejects(through(undefined, [a.url]), WrongChainError)
  await assert.rejects(
    through(undefined, [a.url, a.url.replace('127.0.0.1', 'localhost')]),
    /No endpoint serves this network: .*chain 5 instead of 31337/,
  )
  const other = await startChain({ dir: mkdtempSync(join(dir, 'other-')) })
  t.after(() => other.stop())
  const two = await through(undefined, [other.rpcUrl, b.url])
  assert.equal(two.endpoints().find(({ inUse }) => inUse)?.endpoint, new URL(b.url).origin)
})

test('a refusal stays a refusal, an internal error is none, and an empty purse is a sentence', async (t) => {
  t.after(well)
  const [a, b] = proxies as [RpcProxy, RpcProxy]
  const me = await person()
  const bitloom = await through(me, [a.url, b.url])
  await assert.rejects(withdraw(bitloom, BLT), (error) => error instanceof RevertError && error.errorName === 'FreeTooLow')
  a.be('error')
  b.be('error')
  await assert.rejects(withdraw(bitloom, BLT), RpcDownError)
  await assert.rejects(tokensOf(bitloom, me.address), RpcDownError)
  well()
  const poor = privateKeyToAccount(generatePrivateKey())
  await mint(direct, poor.address, BLT)
  await assert.rejects(deposit(await through(poor, [a.url, b.url]), BLT), NoGasError)
  assert.deepEqual(await paidBy(poor.address), [])
})

test('a transaction that is in a block and was refused there is a refusal by name, also where that block’s state is forgotten', async (t) => {
  const [owner, one, two] = await Promise.all([person(), person(), person()])
  const [a] = proxies as [RpcProxy]
  t.after(async () => {
    well()
    await rpc(chain.rpcUrl, 'evm_setAutomine', [true])
    await rpc(chain.rpcUrl, 'evm_setIntervalMining', [1])
  })
  const giver = await connect(network, owner)
  for (const { address } of [one, two]) await giver.send('TestToken', 'approve', [address, 1000n * BLT])
  const takers = await Promise.all([one, two].map((who) => through(who, [a.url])))
  await rpc(chain.rpcUrl, 'evm_setAutomine', [false])
  await rpc(chain.rpcUrl, 'evm_setIntervalMining', [0])
  // both are well when they are estimated, and only one of them when they are in a block
  a.be('deaf', { methods: ['eth_sendRawTransaction'] })
  const before = a.asked.get('eth_sendRawTransaction') ?? 0
  const taken = takers.map((bitloom) => bitloom.send('TestToken', 'transferFrom', [owner.address, bitloom.account!.address, 800n * BLT]))
  const settled = Promise.allSettled(taken)
  await until('both signed', () => (a.asked.get('eth_sendRawTransaction') ?? 0) >= before + 2)
  a.be('well')
  await until('both sent', async () => {
    const { pending } = await rpc<{ pending: string }>(chain.rpcUrl, 'txpool_status')
    return Number(pending) === 2
  })
  await rpc(chain.rpcUrl, 'anvil_mine', ['0x40'])
  const ends = await settled
  const refused = ends.filter((end) => end.status === 'rejected')
  assert.equal(refused.length, 1)
  const { reason } = refused[0] as PromiseRejectedResult
  assert.ok(reason instanceof RevertError && reason.errorName !== 'unknown', String(reason))
})
