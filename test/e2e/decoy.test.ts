// Errors on purpose: whoever looks finds them and is paid out of the pool, to the wei; who attests unseen loses its seat.

import assert from 'node:assert/strict'
import { after, before, test } from 'node:test'
import { toHex } from '@bitloom/graph'
import { checkReceipt, makeReceipt } from '@bitloom/node'
import { type ChainEvent, getSeal, getTerms, rootsOf, VERIFIERS_JACKPOT_SHARE, WHISTLE_JACKPOT_SHARE } from '@bitloom/sdk'
import { type House, LIGHT, localRoot, type Run, type Submitter, solver, startHouse, verifier } from './network.ts'

/** Codes of Types.sol's Verdict. */
const [SAME, STAMPED, IDLE] = [3, 6, 8]
const ONE_IN = 8
/** A run without a decoy in so many slices: once in 600,000 times. */
const MOST_SLICES = 100

let house: House
let submitter: Submitter
before(async () => {
  house = await startHouse([
    solver('alpha', '100', LIGHT),
    verifier('one', LIGHT),
    verifier('two', LIGHT),
    verifier('lazy', ['--cheat', 'stamp', ...LIGHT]),
  ])
  submitter = await house.submitter()
})
after(() => house.stop())

const stake = (): string => house.embedded.network.contracts.Stake.toLowerCase()
const isPool = (address: unknown): boolean => String(address).toLowerCase() === stake()

/** Every payment out of the pool, with what lay in it before: the ledger's own log, read from its beginning. */
function payments(): { readonly pool: bigint; readonly paid: { readonly event: ChainEvent; readonly before: bigint }[] } {
  let pool = 0n
  const paid: { event: ChainEvent; before: bigint }[] = []
  for (const event of house.events) {
    if (event.contract !== 'Stake') continue
    const wei = event.args.amountWei as bigint
    if (event.name === 'Rewarded') {
      paid.push({ event, before: pool })
      pool -= wei
    } else if (['Released', 'Slashed', 'SeatSlashed'].includes(event.name) && isPool(event.args.to)) pool += wei
  }
  return { pool, paid }
}

const least = (a: bigint, b: bigint): bigint => (a < b ? a : b)

/** Who caught which decoy got what the rules say, as far as a quarter of the pool reaches. */
async function paidRight(claimId: unknown, taskId: bigint, solverAddress: `0x${string}`, slice: number, places: number): Promise<void> {
  const { priceWei } = (await getSeal(house.bitloom, taskId, slice, solverAddress))!
  const opened = house.events.find((e) => e.contract === 'Decoys' && e.name === 'Opened' && e.args.claimId === claimId)!
  const challengers = Number(opened.args.challengers)
  const { paid } = payments()
  for (const caught of house.events.filter((e) => e.contract === 'Decoys' && e.name === 'Caught' && e.args.claimId === claimId)) {
    const reward = paid.findLast(({ event }) => event.transactionHash === caught.transactionHash && event.logIndex < caught.logIndex)!
    assert.equal(reward.event.args.amountWei, caught.args.rewardWei)
    assert.equal(String(reward.event.args.to).toLowerCase(), String(caught.args.catcher).toLowerCase())
    const asVerifier = house.events.some((e) => e.name === 'Settled' && e.transactionHash === caught.transactionHash)
    const share = asVerifier
      ? (priceWei * BigInt(ONE_IN)) / VERIFIERS_JACKPOT_SHARE / BigInt(places)
      : ((priceWei * BigInt(ONE_IN)) / WHISTLE_JACKPOT_SHARE) >> BigInt(challengers - 1)
    assert.equal(caught.args.rewardWei, least(share, reward.before / 4n), `claim ${claimId}: ${house.nameOf(caught.args.catcher)}`)
  }
}

const openedOf = (taskId: bigint): ChainEvent[] => {
  const claims = new Set(house.events.filter((e) => e.name === 'Claimed' && e.args.taskId === taskId).map((e) => e.args.claimId))
  return house.events.filter((e) => e.contract === 'Decoys' && e.name === 'Opened' && claims.has(e.args.claimId))
}
const endsWell = async (run: Run): Promise<void> => {
  assert.equal((await run.outcome).stateRoot, await localRoot(run.job))
  assert.equal(await house.missingWei(), 0n, 'money in minus money out and held')
  assert.deepEqual(house.casualties(), [])
}

test('honest verifiers catch every decoy and are paid to the wei, and who stamps loses its seat', async () => {
  const decoys: { readonly claimId: unknown; readonly taskId: bigint; readonly slice: number }[] = []
  for (let slices = 0; decoys.length === 0; slices += 10) {
    assert.ok(slices < MOST_SLICES, `no decoy in ${slices} slices, one in ${ONE_IN} expected`)
    const run = await submitter.submit({
      ...{ steps: 10, segments: 2, slices: 10, solvers: ['alpha'], assurance: 'full', verifiers: 2, decoyOneIn: ONE_IN },
    })
    const taskId = await run.taskId
    await endsWell(run)
    const { state, events } = await run.outcome
    const stateRoots = rootsOf(state).map(toHex)
    const receipt = await makeReceipt(house.bitloom, {
      ...{ taskId, spec: run.spec, graph: run.job.graph, events, stateRoots, submitter: submitter.node.services.me, files: {} },
    })
    assert.deepEqual(
      checkReceipt(receipt, undefined).filter((c) => !c.ok),
      [],
    )
    const opened = openedOf(taskId)
    assert.deepEqual(
      receipt.slices.flatMap((s) => (s.decoy ? [[s.claimId, s.decoy.trueRoot, s.decoy.foundBy.length]] : [])),
      opened
        .filter((e) => e.args.decoy === true)
        .map(({ args }) => [
          String(args.claimId),
          args.root,
          house.events.filter((e) => e.name === 'Caught' && e.args.claimId === args.claimId).length,
        ]),
      'the receipt tells of every decoy',
    )
    assert.equal(opened.length, 10, 'every claim is sealed, and opened')
    for (const { args } of opened.filter((e) => e.args.decoy === true)) {
      const claimed = house.events.find((e) => e.name === 'Claimed' && e.args.claimId === args.claimId)!
      assert.notEqual(claimed.args.root, args.root, 'it showed another root than the true one')
      decoys.push({ claimId: args.claimId, taskId, slice: Number(claimed.args.slice) })
    }
  }
  const alpha = house.node('alpha').address
  for (const { claimId, taskId, slice } of decoys) {
    const settled = await house.event('Settled', (a) => a.claimId === claimId)
    const words = house.events.filter((e) => e.contract === 'Audit' && e.name === 'Revealed' && e.args.claimId === claimId)
    const honest = words.filter((e) => house.nameOf(e.args.verifier) !== 'lazy')
    assert.ok(honest.length >= 1)
    assert.ok(
      honest.every((e) => e.args.verdict === SAME),
      'what they said is worth as much as *same* of an ordinary claim',
    )
    const caught = house.events.filter((e) => e.contract === 'Decoys' && e.name === 'Caught' && e.args.claimId === claimId)
    assert.deepEqual(
      caught.map((e) => house.nameOf(e.args.catcher)).sort(),
      honest.map((e) => house.nameOf(e.args.verifier)).sort(),
      'each of them caught it',
    )
    const { auditFeeWei } = await getTerms(house.bitloom, taskId)
    assert.equal(settled.args.verifiersWei, BigInt(honest.length === words.length ? 2 : 1) * auditFeeWei, 'and has its fee besides')
    await paidRight(claimId, taskId, alpha, slice, 2)
  }
  // the pool as its log tells it is the pool
  assert.equal(payments().pool, await house.bitloom.read('Stake', 'poolWei'))
  // with every verifier drawn from three, the lazy one's first place was its last
  const slashed = house.events.filter((e) => e.name === 'VerifierSlashed')
  assert.deepEqual(
    slashed.map((e) => [house.nameOf(e.args.verifier), e.args.takenWei]),
    [['lazy', 100n * 10n ** 18n]],
  )
  assert.ok([STAMPED, IDLE].includes(Number(slashed[0]!.args.verdict)))
})
