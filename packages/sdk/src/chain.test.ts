// The sdk against the contracts themselves, on a chain of its own: addresses, arithmetic, digests, refusals and the log say the same on both sides.

import assert from 'node:assert/strict'
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, test } from 'node:test'
import { constF32, expr, input, makeGraph } from '@bitloom/graph'
import { CHAIN_ID, type Chain, rpc, startChain } from '@bitloom/node/chain'
import type { LocalAccount } from 'viem'
import { generatePrivateKey, mnemonicToAccount, privateKeyToAccount } from 'viem/accounts'
import { digestOf, sealOf } from './actions/audit.ts'
import { readLedger } from './actions/ledger.ts'
import { deposit, freeOf, mint, seatPriceWei, takeSeats, tokensOf, withdraw } from './actions/stake.ts'
import { cancelTask, confirmTask, expireTask, getSpec, getTask, getTerms, submitTask } from './actions/task.ts'
import { type Bitloom, connect, RevertError, RpcDownError, WrongChainError } from './client.ts'
import { deploy } from './deploy.ts'
import { chainTime, type Place, REWIND_BLOCKS, readEvents, readOn } from './events.ts'
import { type Offer, offerHash, signOffer } from './offer.ts'
import { escrowFor, LOCAL_WINDOWS, makeSpec, priceWei, quoteFor, rootsOf, specId, specLie, termsFor } from './spec.ts'

const BLT = 10n ** 18n
const dir = mkdtempSync(join(tmpdir(), 'bitloom-sdk-'))
let chain: Chain
let deployer: LocalAccount
let bitloom: Bitloom
before(async () => {
  chain = await startChain({ dir })
  deployer = mnemonicToAccount(chain.mnemonic)
  bitloom = await connect(await deploy(chain.rpcUrl, CHAIN_ID, deployer), deployer)
})
after(async () => {
  await chain.stop()
  rmSync(dir, { recursive: true, force: true, maxRetries: 3 })
})

const graph = makeGraph(
  [
    { name: 'w', kind: 'state', dtype: 'f32', shape: [3] },
    { name: 'd', kind: 'data', dtype: 'i32', shape: [2] },
  ],
  [expr('add', [input(0, 'f32', [3]), expr('expand', [expr('reshape', [constF32(1)], { shape: [1] })], { shape: [3] })])],
  input(1, 'i32', [2]),
)
const spec = makeSpec(graph, rootsOf([new Float32Array(3)]), rootsOf([new Int32Array(2)]), {
  ...{ stepsPerCheckpoint: 7, checkpointsPerSlice: 3, slices: 4, assurance: 'spot', verifiers: 2, segments: 1, windows: LOCAL_WINDOWS },
})
const marketOf = (b: Bitloom) => ({ chainId: b.network.chainId, market: b.network.contracts.Market })
const offerBy = async (solver: LocalAccount, over: Partial<Offer> = {}) =>
  signOffer(solver, marketOf(bitloom), {
    ...{ solver: solver.address, weiPerTeraop: 3n * 10n ** 20n + 1n, memoryBytes: 1n, operationsPerSecond: 1n, capacity: 1 },
    ...{ validUntil: BigInt(await chainTime(bitloom)) + 600n, minAssurance: 0, salt: `0x${'07'.repeat(32)}`, contact: 'somewhere' },
    ...over,
  })
const refusal = async (call: Promise<unknown>): Promise<string> => {
  const error = await call.then(
    () => assert.fail('it was not refused'),
    (e: unknown) => e,
  )
  assert.ok(error instanceof RevertError, String(error))
  return error.errorName
}

test('seven contracts that know one another lie where the deployer’s nonce put them', async () => {
  const { contracts, fromBlock } = bitloom.network
  for (const address of Object.values(contracts)) assert.ok(((await bitloom.chain.getCode({ address })) ?? '0x').length > 2)
  for (const [where, view, whom] of [
    ['Stake', 'token', 'TestToken'],
    ['Stake', 'court', 'Dispute'],
    ['Market', 'audit', 'Audit'],
    ['Market', 'stake', 'Stake'],
    ['Audit', 'market', 'Market'],
    ['Stake', 'decoys', 'Decoys'],
    ['Market', 'decoys', 'Decoys'],
    ['Audit', 'decoys', 'Decoys'],
    ['Decoys', 'court', 'Dispute'],
    ['Dispute', 'arbiter', 'Arbiter'],
  ] as const)
    assert.equal(await bitloom.read(where, view), contracts[whom], `${where}.${view}`)
  assert.equal((await bitloom.chain.getBlock({ blockNumber: BigInt(fromBlock) })).transactions.length, 1)
})

test('the wrong chain and no chain are told apart', async () => {
  await assert.rejects(connect({ ...bitloom.network, chainId: 5 }), WrongChainError)
  await assert.rejects(connect({ ...bitloom.network, rpcUrl: 'http://127.0.0.1:9' }), RpcDownError)
  const watcher = await connect(bitloom.network)
  await assert.rejects(watcher.send('Stake', 'withdraw', [1n]), TypeError)
})

test('an offer’s digest, a price, an escrow: the market counts alike', async () => {
  const { offer } = await offerBy(deployer)
  assert.equal(await bitloom.read('Market', 'offerHash', [offer]), offerHash(marketOf(bitloom), offer))
  const terms = termsFor(spec, offer)
  assert.equal(
    await bitloom.read('Market', 'escrowFor', [BigInt(spec.slices), BigInt(spec.checkpointsPerSlice), terms]),
    escrowFor(spec, terms),
  )
  const quote = quoteFor(spec, graph, offer)
  assert.equal(quote.escrowWei, escrowFor(spec, terms))
  assert.equal(quote.operations, spec.operationsPerStep * 84n)
  // two slices on probation are audited whole, the two after them in two segments each
  assert.equal(quote.expectedWei, 4n * terms.slicePriceWei + (3n + 3n + 2n + 2n) * terms.auditFeeWei)
  assert.equal(quoteFor(spec, graph, offer, 2).expectedWei, 4n * terms.slicePriceWei + 8n * terms.auditFeeWei)
  assert.deepEqual([quote.catchChanceOnProbation, quote.catchChance], [1, 2 / 3])
  assert.equal(priceWei(1n, 1n), 1n, 'rounded up')
  assert.equal(priceWei(1n, 10n ** 12n), 1n)
  assert.equal(priceWei(1n, 10n ** 12n + 1n), 2n)
  assert.equal(termsFor({ ...spec, assurance: 0 }, offer).auditFeeWei, 0n)
})

test('a spec that lies about its graph is found out by its first lying field', () => {
  assert.equal(specLie(spec, graph), undefined)
  for (const field of ['exprs', 'stateSlots', 'dataSlots', 'probe'] as const)
    assert.match(specLie({ ...spec, [field]: spec[field] + 1 }, graph)!, new RegExp(`^${field} is `))
  assert.match(specLie({ ...spec, operationsPerStep: 1n }, graph)!, /^operationsPerStep is 1,/)
  assert.match(specLie({ ...spec, graphId: `0x${'00'.repeat(32)}` }, graph)!, /^graphId is /)
  assert.notEqual(specId(spec), specId({ ...spec, clockSeconds: spec.clockSeconds + 1 }))
})

test('tokens in, a seat, tokens out: the ledger holds every wei', async () => {
  const me = deployer.address
  await mint(bitloom, me, 500n * BLT)
  await deposit(bitloom, 300n * BLT)
  assert.equal(await freeOf(bitloom, me), 300n * BLT)
  await takeSeats(bitloom, 1)
  await withdraw(bitloom, 50n * BLT)
  assert.equal(await freeOf(bitloom, me), 250n * BLT - (await seatPriceWei(bitloom)))
  assert.equal(await tokensOf(bitloom, me), 250n * BLT)
  assert.equal(await refusal(withdraw(bitloom, 1000n * BLT)), 'FreeTooLow')
  const ledger = await readLedger(bitloom)
  assert.equal(ledger.differenceWei, 0n)
  assert.deepEqual([ledger.depositedWei, ledger.withdrawnWei, ledger.seatsWei], [300n * BLT, 50n * BLT, 100n * BLT])
})

test('a task: what was submitted stands on chain; each refusal has its name; the log tells it once, in order', async () => {
  const solver = privateKeyToAccount(generatePrivateKey())
  const signed = await offerBy(solver)
  const terms = termsFor(spec, signed.offer)
  const from = (await readEvents(bitloom, BigInt(bitloom.network.fromBlock))).next
  const submitted = await submitTask(bitloom, spec, terms, signed)
  const { taskId } = submitted
  assert.deepEqual(await getSpec(bitloom, taskId), spec)
  assert.deepEqual(await getTerms(bitloom, taskId), terms)
  const task = await getTask(bitloom, taskId)
  assert.deepEqual([task.status, task.solver, task.submitter, task.state], ['offered', solver.address, deployer.address, spec.initialState])
  assert.equal(await bitloom.read('Stake', 'escrowOf', [taskId]), escrowFor(spec, terms))

  assert.equal(await refusal(confirmTask(bitloom, taskId)), 'NotSolver')
  assert.equal(await refusal(expireTask(bitloom, taskId)), 'TooEarly')
  assert.equal(await refusal(cancelTask(bitloom, taskId)), 'TooEarly')
  assert.equal(await refusal(submitTask(bitloom, spec, terms, signed)), 'OfferFull')
  assert.equal(await refusal(submitTask(bitloom, spec, { ...terms, slicePriceWei: terms.slicePriceWei - 1n }, signed)), 'PriceTooLow')
  assert.equal(await refusal(submitTask(bitloom, { ...spec, slices: 0 }, terms, signed)), 'SpecOutOfBounds')
  const forged = { offer: { ...signed.offer, weiPerTeraop: 1n }, signature: signed.signature }
  assert.equal(await refusal(submitTask(bitloom, spec, termsFor(spec, forged.offer), forged)), 'OfferSignedBy')
  const late = await offerBy(solver, { validUntil: 1n })
  assert.equal(await refusal(submitTask(bitloom, spec, terms, late)), 'OfferExpired')

  const { events, next } = await readEvents(bitloom, from)
  const ours = events.filter((e) => e.contract === 'Market')
  assert.deepEqual(
    ours.map((e) => e.name),
    ['Submitted', 'Offered'],
  )
  assert.equal(ours[0]!.args.specId, specId(spec), 'the spec’s id, as the contract encodes it')
  assert.equal(ours[1]!.args.offerHash, offerHash(marketOf(bitloom), signed.offer))
  assert.ok(events.every((e, i) => i === 0 || e.blockNumber > events[i - 1]!.blockNumber || e.logIndex > events[i - 1]!.logIndex))
  assert.ok(ours.every((e) => e.transactionHash === submitted.receipt.transactionHash))
  assert.deepEqual((await readEvents(bitloom, next)).events, [], 'nothing twice')
  assert.equal((await readEvents(bitloom, next + 100n)).next, next + 100n, 'a cursor ahead of the chain stays')
  assert.equal((await readLedger(bitloom)).differenceWei, 0n)
})

test('one connection submits several tasks at once: each permit is made when its turn has come', async () => {
  const offers = await Promise.all([0, 1, 2].map(() => offerBy(privateKeyToAccount(generatePrivateKey()))))
  const before = await tokensOf(bitloom, deployer.address)
  const submitted = await Promise.all(offers.map((signed) => submitTask(bitloom, spec, termsFor(spec, signed.offer), signed)))
  assert.equal(new Set(submitted.map(({ taskId }) => taskId)).size, 3)
  const escrowWei = escrowFor(spec, termsFor(spec, offers[0]!.offer))
  for (const { taskId } of submitted) assert.equal(await bitloom.read('Stake', 'escrowOf', [taskId]), escrowWei)
  assert.ok(before - (await tokensOf(bitloom, deployer.address)) <= 3n * escrowWei)
  assert.equal((await readLedger(bitloom)).differenceWei, 0n)
})

test('seals bind claim, author, verdict, digest and salt', () => {
  const [digest, salt] = [digestOf([`0x${'01'.repeat(32)}`, `0x${'02'.repeat(32)}`]), `0x${'03'.repeat(32)}` as const]
  const me = deployer.address
  const all = [
    sealOf(1n, me, 'same', digest, salt),
    sealOf(2n, me, 'same', digest, salt),
    sealOf(1n, '0x00000000000000000000000000000000000000aa', 'same', digest, salt),
    sealOf(1n, me, 'different', digest, salt),
    sealOf(1n, me, 'same', salt, salt),
    sealOf(1n, me, 'same', digest, digest),
  ]
  assert.equal(new Set(all).size, all.length)
  assert.notEqual(digest, digestOf([`0x${'02'.repeat(32)}`, `0x${'01'.repeat(32)}`]), 'the order counts')
})

test('a chain that replaces blocks is read again from before them: what vanished is not told, what came instead is', async () => {
  const who = privateKeyToAccount(generatePrivateKey())
  const names = (events: readonly { name: string }[]): string[] => events.map((e) => e.name)
  let place: Place = (await readOn(bitloom, { next: BigInt(bitloom.network.fromBlock) })).place
  assert.deepEqual(await readOn(bitloom, place).then(({ rewoundTo, events }) => [rewoundTo, names(events)]), [undefined, []])
  const snapshot = await rpc(chain.rpcUrl, 'evm_snapshot')
  await mint(bitloom, who.address, BLT)
  await deposit(bitloom, BLT)
  const before = await readOn(bitloom, place)
  assert.deepEqual([before.rewoundTo, names(before.events)], [undefined, ['Deposited']])
  place = before.place

  // the same height again, with another history
  assert.equal(await rpc(chain.rpcUrl, 'evm_revert', [snapshot]), true)
  await rpc(chain.rpcUrl, 'anvil_setNextBlockTimestamp', [(await chainTime(bitloom)) + 100])
  while ((await bitloom.chain.getBlockNumber({ cacheTime: 0 })) < place.last!.block + 1n) await rpc(chain.rpcUrl, 'anvil_mine', ['0x1'])
  await deposit(bitloom, 2n * BLT)
  const after = await readOn(bitloom, place)
  const first = BigInt(bitloom.network.fromBlock)
  const back = place.last!.block + 1n - REWIND_BLOCKS
  assert.equal(after.rewoundTo, back > first ? back : first)
  const deposits = after.events.filter((e) => e.name === 'Deposited').map((e) => e.args.amountWei ?? e.args.wei)
  assert.equal(deposits.at(-1), 2n * BLT)
  assert.ok(!deposits.includes(BLT), 'the deposit that the chain has forgotten is told no more')
  assert.deepEqual(await readOn(bitloom, after.place).then(({ rewoundTo }) => rewoundTo), undefined)
})

test('a change that goes deeper than 64 blocks is noticed by older marks: everything after the newest that stands is read again, and that is said', async () => {
  const amounts = (events: readonly { name: string; args: Readonly<Record<string, unknown>> }[]): unknown[] =>
    events.filter((e) => e.name === 'Deposited').map((e) => e.args.amountWei ?? e.args.wei)
  await mint(bitloom, deployer.address, 50n * BLT)
  await rpc(chain.rpcUrl, 'anvil_mine', ['0x50'])
  const snapshot = await rpc(chain.rpcUrl, 'evm_snapshot')
  const fork = await bitloom.chain.getBlockNumber({ cacheTime: 0 })
  let place: Place = (await readOn(bitloom, { next: BigInt(bitloom.network.fromBlock) })).place
  await deposit(bitloom, 3n * BLT)
  for (let i = 0; i < 12; i++) {
    await rpc(chain.rpcUrl, 'anvil_mine', ['0x10'])
    place = (await readOn(bitloom, place)).place
  }
  assert.ok(place.marks!.length <= 16, `${place.marks!.length} marks`)
  assert.equal(await rpc(chain.rpcUrl, 'evm_revert', [snapshot]), true)
  await rpc(chain.rpcUrl, 'anvil_setNextBlockTimestamp', [(await chainTime(bitloom)) + 1000])
  await deposit(bitloom, 4n * BLT)
  await rpc(chain.rpcUrl, 'anvil_mine', ['0x120'])
  const after = await readOn(bitloom, place)
  assert.equal(after.deep, true)
  assert.ok(after.rewoundTo! <= fork + 1n, `from ${after.rewoundTo}, the change began after ${fork}`)
  assert.deepEqual(amounts(after.events).slice(-1), [4n * BLT], 'what came instead')
  assert.ok(!amounts(after.events).includes(3n * BLT), 'what the chain has forgotten')
  assert.deepEqual(await readOn(bitloom, after.place).then(({ rewoundTo, deep }) => [rewoundTo, deep]), [undefined, undefined])
  // a place as an older version kept it, without marks, goes back as far as that version did
  const { marks: _, ...old } = place
  const shallow = await readOn(bitloom, old)
  assert.equal(shallow.rewoundTo, place.last!.block + 1n - REWIND_BLOCKS)
})
